/* Between golden.c and golden_run.c.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GOLDEN_GOLDEN_RUN_H
#define GOLDEN_GOLDEN_RUN_H

#include "golden/golden.h"

/* The array of that full name in the suite's .npz files, or NULL. */
const struct tensor *golden_lookup(const struct golden *g, const char *name);
void golden_case_end(struct golden_case *c);
/* The case waits for a later part of qatlab: it neither passes nor fails. */
void golden_skip(struct golden_case *c);

#endif

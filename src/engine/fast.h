/* The makers of back end fast, in the order in which they are tried.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef ENGINE_FAST_H
#define ENGINE_FAST_H

#include "engine/fast_tail.h"

struct dnn;

/* Makes the plan's oneDNN engine when first asked. */
enum status plan_dnn(struct plan *p, struct err *e);

extern const struct maker maker_conv, maker_dense, maker_norm, maker_act,
    maker_add, maker_pool, maker_reduce, maker_alias, maker_concat;

#endif

/* Parts of a forward pass. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef ENGINE_PLAN_PART_H
#define ENGINE_PLAN_PART_H

#include "engine/plan_impl.h"

/* Steps [from, to) alone: what those before made is in place. */
enum status plan_forward_steps(struct plan *p, int from, int to,
                               const struct tick *t, struct err *e);
/* The weight steps before `to`, which read no values. */
enum status plan_forward_weights(struct plan *p, int to, struct err *e);

#endif

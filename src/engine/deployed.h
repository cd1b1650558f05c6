/* The deployed forward of a training plan; in other plans all of this but
 * deployed_begin does nothing. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef ENGINE_DEPLOYED_H
#define ENGINE_DEPLOYED_H

#include "engine/plan_impl.h"

/* Before the first unit: makes the plan of mode int, and the step that runs
 * it. */
enum status deployed_begin(struct plan *p, struct err *e);
/* Behind the steps of a node's view of its input, and behind those of a
 * unit's forward: what readers find there becomes deployed. */
enum status deployed_view(struct plan *p, int node, struct err *e);
enum status deployed_unit(struct plan *p, const struct unit *u,
                          struct err *e);
/* A quantizer has become one that integers express in another way. */
bool deployed_stale(const struct plan *p);
size_t deployed_bytes(const struct plan *p);
void deployed_free(struct plan *p);

#endif

/* Statistics of points: weights, activations, and what training does to them.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LAB_LAYER_STATS_H
#define LAB_LAYER_STATS_H

#include "lab/view.h"

/* What the weight quantizer sees: W, or during QAT with folding
 * W * gamma / sqrt(var + eps). malloc'ed; NULL: no weights. */
real *layer_weight_values(const struct lab *l, int node);
/* The quantizer of a weight point as the next forward pass would have it: a
 * new one whose range comes from today's weights x. NULL: none is set, or it
 * cannot have a range. To be freed. */
struct quantizer *layer_weight_quantizer(const struct lab *l, int point,
                                         const real *x);
/* Statistics of any point with a quantizer; needs as for lab_refresh_stats.
 * What cannot be had is not known. */
void point_stats_get(struct lab *l, int point, unsigned needs,
                     struct point_stats *out);
extern const struct point_stats point_stats_unknown;

/* Before a batch: what others did to weights and codes is not training. */
void motion_sync(struct lab *l);
/* At an epoch's end, series `flips` and `osc`: share of all weight codes that
 * moved in it, and that turn back and forth. */
void motion_epoch(struct lab *l);
/* Batches of training that stand behind these numbers. */
int64_t motion_batches(const struct lab *l);

#endif

/* Statistics of weights and of what training does to their codes.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LAB_LAYER_STATS_H
#define LAB_LAYER_STATS_H

#include "lab/view.h"

/* The parameter behind a layer's weight point, or NULL. */
const struct param *layer_weight(const struct graph *g, int node);
/* What the weight quantizer sees: W, or during QAT with folding
 * W * gamma / sqrt(var + eps). malloc'ed. */
real *layer_weight_values(const struct lab *l, int node);
/* The quantizer of a weight point as the next forward pass would have it: a
 * new one whose range comes from today's weights x. NULL: none is set, or it
 * cannot have a range. To be freed. */
struct quantizer *layer_weight_quantizer(const struct lab *l, int point,
                                         const real *x);
/* Statistics of a weight point; false: no quantizer. */
bool layer_weight_stats(struct lab *l, int point, struct qstats *out);

/* At an epoch's end: share of weight codes that differ from those at the
 * last one, per layer and (series `flips`) in all. */
void layer_flips_update(struct lab *l);
void layer_flips_drop(struct lab *l);
double layer_flips(const struct lab *l, int node);      /* NaN: not known */

#endif

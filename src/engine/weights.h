/* How the parameters of one node become those it computes with.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef ENGINE_WEIGHTS_H
#define ENGINE_WEIGHTS_H

#include "engine/plan_impl.h"

/* Of a conv or dense layer with a quantized weight or bias. Indices are
 * buffers; -1: none. channels: O of the weight (O, ...), inner the rest. */
struct weight_prep {
    int node, row, row_bias;
    struct param *weight, *bias;       /* bias may be NULL */
    struct quantizer *q, *q_bias;      /* either may be NULL */
    int point, point_bias;
    struct qview view;
    int64_t channels, inner;
    int bn;                   /* the batch norm that takes part, or -1 */
    enum bn_fold how;
    int scaled;               /* weight * factor, what the quantizer sees */
    int factor, root;         /* gamma / r and r, per channel */
    int dfactor;              /* gradient of factor from behind the product */
    int eff, eff_grad;        /* the weight the operator multiplies by */
    int bias_raw, bias_eff, bias_grad;
    bool bias_steps;          /* the bias is computed by a step */
};

struct weight_prep *weights_of(const struct plan *p, int node);
/* The layer's bias, or NULL. */
struct param *weights_bias(const struct plan *p, int node);

#endif

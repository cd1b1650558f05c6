/* Layers on grids too wide for integers of 32 bits: the forward product as
 * whole numbers in double, exact below 2^53.
 *
 * y = float(sum) * (s_x * s_w[c]) [+ bias], sum of (code - zero) products, in
 * mode fake and, where a target has no rule for such codes, on the float
 * islands of mode int: one number for both back ends and any threads. What
 * comes back from y is float32's, as of any layer.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef ENGINE_WIDE_H
#define ENGINE_WIDE_H

#include "engine/plan_impl.h"
#include "nn/op_conv.h"

/* One axis after another: steps in numbers. */
struct wide_steps {
    int64_t n, c, h, w;
};

struct wide_layer {
    int node;
    bool dense;
    struct conv_geom geom;    /* dense: n rows of 1 x 1 with ci inputs */
    const struct quantizer *qx, *qw;
    int x, eff, y, bias;      /* buffers; bias -1: none */
    struct wide_steps x_step, y_step;
    double *w;                /* (O,KH,KW,I): code - zero; or values */
    double *taps;             /* depthwise: (KH,KW,O) of them, else NULL */
    float *unit;              /* per channel */
    double per_x;             /* x * per_x is code - zero, nearly; */
    bool exact;               /* false: the grids have moved so far that
                               * values are multiplied, in a fixed order */
    bool loops;               /* obvious ones: back end ref */
    int64_t pixels, items;    /* of an item of work, items in all */
    size_t in_bytes, lane_bytes;       /* scratch: the input; a thread's */
};

static inline int64_t wide_inner(const struct wide_layer *l)
{
    const struct conv_geom *g = &l->geom;
    return g->ci / g->groups * g->kh * g->kw;
}

/* *out NULL: the layer is none of them. After weights_forward. */
enum status wide_layer_new(struct plan *p, int node, struct wide_layer **out,
                           struct err *e);
/* Steps: weights, then the product into buffer y; bias: buffer or -1. */
enum status wide_layer_forward(struct plan *p, struct wide_layer *l, int y,
                               int bias, struct err *e);
/* The same into the tail's src. */
struct tail;
enum status wide_layer_tail(struct plan *p, struct wide_layer *l,
                            struct tail *t, struct err *e);
/* All of it for an operator alone: into its raw value, with its own bias.
 * *done false: it is none of them. */
enum status wide_op_forward(struct plan *p, int node, bool *done,
                            struct err *e);

/* ---- sums (wide_sums.c) ---- */

/* Sizes of work items and of the scratch. */
void wide_sums_init(const struct plan *p, struct wide_layer *l);
void wide_sums_run(const struct plan *p, const struct wide_layer *l);

#endif

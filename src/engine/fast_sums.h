/* The products of a layer on codes in mode fake: src = s_x s_w[c] * sum, in
 * the same pass what batch norm and observers want to know of it.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef ENGINE_FAST_SUMS_H
#define ENGINE_FAST_SUMS_H

#include "engine/plan_impl.h"
#include "nn/op_conv.h"

/* What one forward pass has seen of its sums, per channel. */
struct sum_stats;

/* x = unit * sum. */
struct sum_moments {
    double mean, var;         /* over the rows, biased */
};
struct sum_moments sum_stats_moments(const struct sum_stats *s, int64_t c);
/* Smallest and largest x, bias added, as the layer writes them. */
void sum_stats_ends(const struct sum_stats *s, int64_t c, float end[2]);

struct tail;
struct sum_layer;

struct sum_layer_spec {
    int node;
    struct conv_geom geom;
    bool dense;
};
/* *out NULL: the layer is not for codes, or quicker otherwise. */
enum status sum_layer_new(struct plan *p, const struct sum_layer_spec *spec,
                          struct sum_layer **out, struct err *e);
/* Steps: weight codes, then the sums into the tail's src. */
enum status sum_layer_forward(struct plan *p, struct sum_layer *l,
                              struct tail *t, struct err *e);

/* What backward wants to know; w: (O,I,KH,KW), code - zero of the last
 * forward. */
struct sum_layer_view {
    struct conv_geom geom;
    const struct quantizer *qx, *qw;
    int x;                    /* buffer of codes */
    const int16_t *w;
    int64_t channels, inner;
};
struct sum_layer_view sum_layer_look(const struct sum_layer *l);

#endif

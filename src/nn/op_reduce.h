/* Sums over axes, shared by reduce_sum and reduce_mean.
 *
 * A second input, the net's raw input, gives a padding mask (DeepSets):
 * positions whose features (its last axis) all equal `mask` are left out. It
 * has the first input's extents in all axes but the last.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef NN_OP_REDUCE_H
#define NN_OP_REDUCE_H

#include "nn/op_util.h"

/* The axes but batch and last, parted into kept and reduced ones, each with
 * extents and strides in positions (a position: one run of the last axis). */
struct reduce_axes {
    int rank;
    int64_t count;                   /* product of the extents */
    int64_t dim[SHAPE_MAX], stride[SHAPE_MAX];
};

struct reduce_geom {
    int64_t n, positions, row;       /* batch, a sample's runs, last axis */
    bool row_reduced;                /* the last axis is summed too */
    struct reduce_axes kept, gone;
    int64_t features;                /* last axis of the mask's input */
};

struct reduce_geom reduce_geom_of(const struct op_call *c);

enum status reduce_infer(const struct node *n, const struct shape *const in[],
                         struct shape *out, struct err *e);
/* Sums, or with `mean` sums divided by the count of what was left in. */
void reduce_forward(const struct op_call *c, bool mean);
void reduce_backward(const struct op_call *c, bool mean);

extern const struct attr_row reduce_attrs[];

#endif

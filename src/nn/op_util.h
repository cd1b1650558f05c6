/* What several operators share: limits, index ranges, small inference rules.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef NN_OP_UTIL_H
#define NN_OP_UTIL_H

#include "nn/graph.h"

#define OP_CHANNELS_MAX (1 << 20)
#define OP_TAPS_MAX 65536        /* kernels, strides, pads, dilations */
#define OP_PARALLEL_MIN 16384    /* scalar steps below which one thread does */

/* Outputs o in lo .. hi-1 for which 0 <= o * stride + offset < size. */
struct span {
    int64_t lo, hi;
};

struct span span_inside(int64_t outputs, int64_t size, int64_t stride,
                        int64_t offset);

/* Sum of a[i] * b[i] in eight interleaved partial sums: the order is fixed,
 * the loop vectorises, and the error grows with n / 8. */
real dot_reals(const real *a, const real *b, int64_t n);

bool node_has(const struct node *n, const char *attr);   /* value not 0 */
double node_attr_or(const struct node *n, const char *attr, double other);

/* Axis -rank .. rank-1 to 0 .. rank-1; axis 0, the batch, is refused. */
enum status axis_resolve(int64_t axis, const struct shape *s, int *out,
                         struct err *e);

/* The output has the shape of the first input. */
enum status infer_same(const struct node *n, const struct shape *const in[],
                       struct shape *out, struct err *e);

/* "found SHAPE, wanted WHAT", e.g. a rank that the operator cannot take. */
enum status shape_refuse(const struct shape *found, const char *wanted,
                         struct err *e);

/* Two inputs that may differ where one of them has extent 1 (never the
 * batch); the result is the larger extent of each axis. */
enum status infer_broadcast(const struct node *n,
                            const struct shape *const in[],
                            struct shape *out, struct err *e);

#endif

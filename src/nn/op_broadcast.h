/* Walking two values that broadcast against each other: add, mul, sub.
 *
 * Both have the rank of the result; an axis of extent 1 is repeated. The
 * last axis is a row; a walker gives, row by row of a sample, the offsets of
 * both inputs. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef NN_OP_BROADCAST_H
#define NN_OP_BROADCAST_H

#include "nn/op_util.h"

struct broadcast {
    int64_t n;                       /* batch */
    int64_t rows, row;               /* rows a sample, numbers a row */
    int64_t in_row[2];               /* step in the row: 1, or 0 repeated */
    int64_t in_sample[2];            /* numbers a sample of each input */
    int rank;                        /* of the axes between batch and row */
    int64_t dim[SHAPE_MAX];
    int64_t stride[2][SHAPE_MAX];    /* 0: repeated */
};

/* Calls fn on every row of every sample. Forward: rows at the same time;
 * backward: a sample to a thread, so that repeated inputs are summed within
 * their sample. */
typedef void (*broadcast_fn)(const struct op_call *c,
                             const struct broadcast *b, int64_t n,
                             int64_t row);
void broadcast_forward(const struct op_call *c, broadcast_fn fn);
void broadcast_backward(const struct op_call *c, broadcast_fn fn);

/* Offset of input k (0 or 1) at the start of row `row` of sample `n`. */
int64_t broadcast_offset(const struct broadcast *b, int k, int64_t n,
                         int64_t row);

#endif

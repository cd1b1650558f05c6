/* Walking two values that broadcast against each other.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "nn/op_broadcast.h"

static struct broadcast broadcast_of(const struct op_call *c)
{
    const struct shape *y = c->out_shape;
    int last = y->rank - 1;
    struct broadcast b = { .n = y->dim[0], .rows = 1, .row = 1 };
    if (last > 0) {
        b.row = y->dim[last];
        b.rank = last - 1;
    }
    for (int i = 0; i < b.rank; i++) {
        b.dim[i] = y->dim[i + 1];
        b.rows *= b.dim[i];
    }
    for (int k = 0; k < 2; k++) {
        const struct shape *x = c->in_shape[k];
        b.in_row[k] = x->dim[last] == 1 ? 0 : 1;
        b.in_sample[k] = shape_inner(x, 0);
        for (int i = 0; i < b.rank; i++)
            b.stride[k][i] = x->dim[i + 1] == 1 ? 0 : shape_inner(x, i + 1);
    }
    return b;
}

int64_t broadcast_offset(const struct broadcast *b, int k, int64_t n,
                         int64_t row)
{
    int64_t at = n * b->in_sample[k];
    for (int i = b->rank - 1; i >= 0; i--) {
        at += row % b->dim[i] * b->stride[k][i];
        row /= b->dim[i];
    }
    return at;
}

void broadcast_forward(const struct op_call *c, broadcast_fn fn)
{
    struct broadcast b = broadcast_of(c);
    int64_t rows = b.n * b.rows;
#pragma omp parallel for schedule(static) if (rows * b.row > OP_PARALLEL_MIN)
    for (int64_t r = 0; r < rows; r++)
        fn(c, &b, r / b.rows, r % b.rows);
}

void broadcast_backward(const struct op_call *c, broadcast_fn fn)
{
    struct broadcast b = broadcast_of(c);
    int64_t work = b.n * b.rows * b.row;
#pragma omp parallel for schedule(static) if (work > OP_PARALLEL_MIN)
    for (int64_t n = 0; n < b.n; n++)
        for (int64_t row = 0; row < b.rows; row++)
            fn(c, &b, n, row);
}

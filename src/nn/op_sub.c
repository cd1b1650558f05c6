/* sub: a - b, with axes of extent 1 repeated.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "nn/op_broadcast.h"

static void forward_row(const struct op_call *c, const struct broadcast *b,
                        int64_t n, int64_t row)
{
    const real *p = c->in[0] + broadcast_offset(b, 0, n, row);
    const real *q = c->in[1] + broadcast_offset(b, 1, n, row);
    real *y = c->out + (n * b->rows + row) * b->row;
    for (int64_t i = 0; i < b->row; i++)
        y[i] = p[i * b->in_row[0]] - q[i * b->in_row[1]];
}

static enum status forward(const struct op_call *c, struct err *e)
{
    (void)e;
    broadcast_forward(c, forward_row);
    return STATUS_OK;
}

/* da = dy, db = -dy */
static void backward_row(const struct op_call *c, const struct broadcast *b,
                         int64_t n, int64_t row)
{
    const real *dy = c->dout + (n * b->rows + row) * b->row;
    int64_t at[2] = { broadcast_offset(b, 0, n, row),
                      broadcast_offset(b, 1, n, row) };
    for (int64_t i = 0; c->din[0] && i < b->row; i++)
        c->din[0][at[0] + i * b->in_row[0]] += dy[i];
    for (int64_t i = 0; c->din[1] && i < b->row; i++)
        c->din[1][at[1] + i * b->in_row[1]] -= dy[i];
}

static enum status backward(const struct op_call *c, struct err *e)
{
    (void)e;
    broadcast_backward(c, backward_row);
    return STATUS_OK;
}

const struct op op_sub = {
    .name = "sub",
    .onnx_name = "Sub",
    .type = "merge",
    .help = "difference of two values",
    .min_inputs = 2,
    .max_inputs = 2,
    .flags = OP_MERGE | OP_ELEMENTWISE,
    .infer = infer_broadcast,
    .forward = forward,
    .backward = backward,
};

/* Operators that hand the numbers on in the same order.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "nn/op_move.h"

enum status move_forward(const struct op_call *c, struct err *e)
{
    (void)e;
    memcpy(c->out, c->in[0],
           (size_t)shape_count(c->out_shape) * sizeof *c->out);
    return STATUS_OK;
}

enum status move_backward(const struct op_call *c, struct err *e)
{
    (void)e;
    int64_t count = c->din[0] ? shape_count(c->out_shape) : 0;
    for (int64_t i = 0; i < count; i++)
        c->din[0][i] += c->dout[i];
    return STATUS_OK;
}

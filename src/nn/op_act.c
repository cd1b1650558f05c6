/* Running an elementwise activation over a value.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "nn/op_act.h"

#define BLOCK 4096               /* numbers: 16 to 64 KiB, within the cache */

static int64_t block_length(int64_t at, int64_t count)
{
    return count - at < BLOCK ? count - at : BLOCK;
}

enum status act_forward(const struct op_call *c, act_value_fn *value)
{
    int64_t count = shape_count(c->out_shape);
#pragma omp parallel for schedule(static) if (count > OP_PARALLEL_MIN)
    for (int64_t at = 0; at < count; at += BLOCK)
        value(c->node->attr, c->in[0] + at, c->out + at,
              block_length(at, count));
    return STATUS_OK;
}

enum status act_backward(const struct op_call *c, act_slope_fn *slope)
{
    if (!c->din[0])
        return STATUS_OK;
    int64_t count = shape_count(c->out_shape);
#pragma omp parallel for schedule(static) if (count > OP_PARALLEL_MIN)
    for (int64_t at = 0; at < count; at += BLOCK)
        slope(c->node->attr, c->in[0] + at, c->dout + at, c->din[0] + at,
              block_length(at, count));
    return STATUS_OK;
}

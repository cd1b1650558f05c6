/* global_avg_pool: the mean of each channel.
 *
 * x: (N,C,H,W) or (N,C,L), y: (N,C,1,1) or (N,C,1).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "nn/op_util.h"

static enum status infer(const struct node *n, const struct shape *const in[],
                         struct shape *out, struct err *e)
{
    (void)n;
    if (in[0]->rank < 3)
        return shape_refuse(in[0], "channels and at least one more axis", e);
    *out = *in[0];
    for (int i = 2; i < out->rank; i++)
        out->dim[i] = 1;
    return STATUS_OK;
}

static enum status forward(const struct op_call *c, struct err *e)
{
    (void)e;
    int64_t planes = shape_count(c->out_shape);
    int64_t plane = shape_inner(c->in_shape[0], 1);
#pragma omp parallel for schedule(static) if (planes * plane > OP_PARALLEL_MIN)
    for (int64_t p = 0; p < planes; p++) {
        double sum = 0;
        for (int64_t i = 0; i < plane; i++)
            sum += (double)c->in[0][p * plane + i];
        c->out[p] = (real)(sum / (double)plane);
    }
    return STATUS_OK;
}

static enum status backward(const struct op_call *c, struct err *e)
{
    (void)e;
    if (!c->din[0])
        return STATUS_OK;
    int64_t planes = shape_count(c->out_shape);
    int64_t plane = shape_inner(c->in_shape[0], 1);
#pragma omp parallel for schedule(static) if (planes * plane > OP_PARALLEL_MIN)
    for (int64_t p = 0; p < planes; p++) {
        real dy = c->dout[p] / (real)plane;
        for (int64_t i = 0; i < plane; i++)
            c->din[0][p * plane + i] += dy;
    }
    return STATUS_OK;
}

const struct op op_global_avg_pool = {
    .name = "global_avg_pool",
    .onnx_name = "GlobalAveragePool",
    .type = "pool",
    .help = "mean of each channel",
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = infer,
    .forward = forward,
    .backward = backward,
};

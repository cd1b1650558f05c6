/* reduce_mean: mean over axes, with the padding mask of DeepSets.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "nn/op_reduce.h"

static enum status forward(const struct op_call *c, struct err *e)
{
    (void)e;
    reduce_forward(c, true);
    return STATUS_OK;
}

static enum status backward(const struct op_call *c, struct err *e)
{
    (void)e;
    reduce_backward(c, true);
    return STATUS_OK;
}

const struct op op_reduce_mean = {
    .name = "reduce_mean",
    .onnx_name = "ReduceMean",
    .type = "reduce",
    .help = "mean over axes, padding left out",
    .min_inputs = 1,
    .max_inputs = 2,
    .attr = reduce_attrs,
    .infer = reduce_infer,
    .forward = forward,
    .backward = backward,
};

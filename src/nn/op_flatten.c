/* flatten: (N,...) to (N,F). SPDX-License-Identifier: GPL-3.0-or-later */
#include "nn/op_move.h"

static enum status infer(const struct node *n, const struct shape *const in[],
                         struct shape *out, struct err *e)
{
    (void)n;
    (void)e;
    *out = shape_2(in[0]->dim[0], shape_inner(in[0], 0));
    return STATUS_OK;
}

const struct op op_flatten = {
    .name = "flatten",
    .onnx_name = "Flatten",
    .type = "shape",
    .help = "all axes but the batch become one",
    .min_inputs = 1,
    .max_inputs = 1,
    .flags = OP_KEEPS_GRID,
    .infer = infer,
    .forward = move_forward,
    .backward = move_backward,
};

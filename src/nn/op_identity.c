/* identity: y = x; a place for a quantizer of its own.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "nn/op_move.h"

const struct op op_identity = {
    .name = "identity",
    .onnx_name = "Identity",
    .type = "shape",
    .help = "y = x",
    .min_inputs = 1,
    .max_inputs = 1,
    .flags = OP_KEEPS_GRID | OP_ELEMENTWISE,
    .infer = infer_same,
    .forward = move_forward,
    .backward = move_backward,
};

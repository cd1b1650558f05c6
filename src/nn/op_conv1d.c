/* conv1d: convolution over a length, computed as a conv2d of height 1.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "nn/op_conv.h"

static const struct attr_row attrs[] = {
    { .name = "out", .type = ATTR_INT, .lo = 1, .hi = OP_CHANNELS_MAX,
      .help = "output channels" },
    { .name = "kernel_w", .alias = "kernel", .type = ATTR_INT,
      .lo = 1, .hi = OP_TAPS_MAX, .help = "kernel length" },
    { .name = "stride_w", .alias = "stride", .type = ATTR_INT, .def = 1,
      .lo = 1, .hi = OP_TAPS_MAX, .help = "steps from window to window" },
    { .name = "pad_left", .alias = "pad", .type = ATTR_INT,
      .lo = 0, .hi = OP_TAPS_MAX, .help = "zeros before the start" },
    { .name = "pad_right", .alias = "pad", .type = ATTR_INT,
      .lo = 0, .hi = OP_TAPS_MAX, .help = "zeros after the end" },
    { .name = "dilation_w", .alias = "dilation", .type = ATTR_INT, .def = 1,
      .lo = 1, .hi = OP_TAPS_MAX, .help = "steps from tap to tap" },
    { .name = "groups", .type = ATTR_INT, .def = 1,
      .lo = 1, .hi = OP_CHANNELS_MAX,
      .help = "parts that convolve apart; the input channels: depthwise" },
    { .name = "bias", .type = ATTR_BOOL, .def = 1, .lo = 0, .hi = 1,
      .help = "adds a learned number to each output channel" },
    { .name = NULL }
};

const struct op op_conv1d = {
    .name = "conv1d",
    .onnx_name = "Conv",
    .type = "conv",
    .help = "convolution over a length",
    .min_inputs = 1,
    .max_inputs = 1,
    .attr = attrs,
    .param = conv_params,
    .infer = conv_infer,
    .param_shape = conv_param_shape,
    .forward = conv_forward,
    .backward = conv_backward,
    .macs = conv_macs,
};

/* conv2d: two-dimensional convolution, with stride, dilation, groups and
 * pads of its own on each side. SPDX-License-Identifier: GPL-3.0-or-later */
#include "nn/op_conv.h"

static const struct attr_row attrs[] = {
    { .name = "out", .type = ATTR_INT, .lo = 1, .hi = OP_CHANNELS_MAX,
      .help = "output channels" },
    { .name = "kernel_h", .alias = "kernel", .type = ATTR_INT,
      .lo = 1, .hi = OP_TAPS_MAX, .help = "kernel height" },
    { .name = "kernel_w", .alias = "kernel", .type = ATTR_INT,
      .lo = 1, .hi = OP_TAPS_MAX, .help = "kernel width" },
    { .name = "stride_h", .alias = "stride", .type = ATTR_INT, .def = 1,
      .lo = 1, .hi = OP_TAPS_MAX, .help = "rows from window to window" },
    { .name = "stride_w", .alias = "stride", .type = ATTR_INT, .def = 1,
      .lo = 1, .hi = OP_TAPS_MAX, .help = "columns from window to window" },
    { .name = "pad_top", .alias = "pad", .type = ATTR_INT,
      .lo = 0, .hi = OP_TAPS_MAX, .help = "rows of zeros above" },
    { .name = "pad_left", .alias = "pad", .type = ATTR_INT,
      .lo = 0, .hi = OP_TAPS_MAX, .help = "columns of zeros on the left" },
    { .name = "pad_bottom", .alias = "pad", .type = ATTR_INT,
      .lo = 0, .hi = OP_TAPS_MAX, .help = "rows of zeros below" },
    { .name = "pad_right", .alias = "pad", .type = ATTR_INT,
      .lo = 0, .hi = OP_TAPS_MAX, .help = "columns of zeros on the right" },
    { .name = "dilation_h", .alias = "dilation", .type = ATTR_INT, .def = 1,
      .lo = 1, .hi = OP_TAPS_MAX, .help = "rows from tap to tap" },
    { .name = "dilation_w", .alias = "dilation", .type = ATTR_INT, .def = 1,
      .lo = 1, .hi = OP_TAPS_MAX, .help = "columns from tap to tap" },
    { .name = "groups", .type = ATTR_INT, .def = 1,
      .lo = 1, .hi = OP_CHANNELS_MAX,
      .help = "parts that convolve apart; the input channels: depthwise" },
    { .name = "bias", .type = ATTR_BOOL, .def = 1, .lo = 0, .hi = 1,
      .help = "adds a learned number to each output channel" },
    { .name = NULL }
};

const struct op op_conv2d = {
    .name = "conv2d",
    .onnx_name = "Conv",
    .type = "conv",
    .help = "convolution over height and width",
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

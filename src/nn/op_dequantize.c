/* dequantize: codes to real numbers, as ONNX's DequantizeLinear:
 * y = (x - zero_point) * scale. SPDX-License-Identifier: GPL-3.0-or-later */
#include "nn/op_act.h"

/* attr: scale, zero_point */
static void value(const double *attr, const real *x, real *y, int64_t n)
{
    real scale = (real)attr[0], zero = (real)attr[1];
    for (int64_t i = 0; i < n; i++)
        y[i] = (x[i] - zero) * scale;
}

static void slope(const double *attr, const real *x, const real *dy, real *dx,
                  int64_t n)
{
    (void)x;
    real scale = (real)attr[0];
    for (int64_t i = 0; i < n; i++)
        dx[i] += dy[i] * scale;
}

static enum status forward(const struct op_call *c, struct err *e)
{
    (void)e;
    return act_forward(c, value);
}

static enum status backward(const struct op_call *c, struct err *e)
{
    (void)e;
    return act_backward(c, slope);
}

static const struct attr_row attrs[] = {
    { .name = "scale", .type = ATTR_REAL, .lo = 1e-38, .hi = 1e38,
      .help = "size of a step" },
    { .name = "zero_point", .type = ATTR_INT, .lo = -2147483648.0,
      .hi = 2147483647.0, .help = "code of the number 0" },
    { .name = NULL }
};

const struct op op_dequantize = {
    .name = "dequantize",
    .onnx_name = "DequantizeLinear",
    .type = "quant",
    .help = "codes to real numbers",
    .min_inputs = 1,
    .max_inputs = 1,
    .flags = OP_ELEMENTWISE,
    .attr = attrs,
    .infer = infer_same,
    .forward = forward,
    .backward = backward,
};

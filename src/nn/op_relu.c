/* relu: max(x, 0). The slope at 0 is 0; a NaN stays one.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "nn/op_act.h"

static void value(const double *attr, const real *x, real *y, int64_t n)
{
    (void)attr;
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] < 0 ? 0 : x[i];
}

static void slope(const double *attr, const real *x, const real *dy, real *dx,
                  int64_t n)
{
    (void)attr;
    for (int64_t i = 0; i < n; i++)
        dx[i] += x[i] > 0 ? dy[i] : 0;
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

const struct op op_relu = {
    .name = "relu",
    .onnx_name = "Relu",
    .type = "act",
    .help = "max(x, 0)",
    .min_inputs = 1,
    .max_inputs = 1,
    .flags = OP_KINKED | OP_ACTIVATION | OP_ELEMENTWISE |
             OP_RECTIFIER,
    .infer = infer_same,
    .forward = forward,
    .backward = backward,
};

/* tanh: the hyperbolic tangent, slope 1 - y * y.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>

#include "nn/op_act.h"

static void value(const double *attr, const real *x, real *y, int64_t n)
{
    (void)attr;
    for (int64_t i = 0; i < n; i++)
        y[i] = real_tanh(x[i]);
}

static void slope(const double *attr, const real *x, const real *dy, real *dx,
                  int64_t n)
{
    (void)attr;
    for (int64_t i = 0; i < n; i++) {
        real y = real_tanh(x[i]);
        dx[i] += dy[i] * (1 - y * y);
    }
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

const struct op op_tanh = {
    .name = "tanh",
    .onnx_name = "Tanh",
    .type = "act",
    .help = "hyperbolic tangent",
    .min_inputs = 1,
    .max_inputs = 1,
    .flags = OP_ACTIVATION | OP_ELEMENTWISE,
    .infer = infer_same,
    .forward = forward,
    .backward = backward,
};

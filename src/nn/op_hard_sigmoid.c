/* hard_sigmoid: alpha * x + beta limited to 0 .. 1. The defaults are torch's,
 * relu6(x + 3) / 6; ONNX and Keras 2 have alpha 0.2.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "nn/op_act.h"

static real limited(real y)
{
    return y < 0 ? 0 : y > 1 ? 1 : y;
}

static void value(const double *attr, const real *x, real *y, int64_t n)
{
    real alpha = (real)attr[0], beta = (real)attr[1];
    for (int64_t i = 0; i < n; i++)
        y[i] = limited(alpha * x[i] + beta);
}

static void slope(const double *attr, const real *x, const real *dy, real *dx,
                  int64_t n)
{
    real alpha = (real)attr[0], beta = (real)attr[1];
    for (int64_t i = 0; i < n; i++) {
        real y = alpha * x[i] + beta;
        dx[i] += y > 0 && y < 1 ? alpha * dy[i] : 0;
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

static const struct attr_row attrs[] = {
    { .name = "alpha", .type = ATTR_REAL, .def = 1.0 / 6, .lo = -1e6, .hi = 1e6,
      .help = "slope between the limits" },
    { .name = "beta", .type = ATTR_REAL, .def = 0.5, .lo = -1e6, .hi = 1e6,
      .help = "value at 0" },
    { .name = NULL }
};

const struct op op_hard_sigmoid = {
    .name = "hard_sigmoid",
    .onnx_name = "HardSigmoid",
    .type = "act",
    .help = "alpha * x + beta limited to 0 .. 1",
    .min_inputs = 1,
    .max_inputs = 1,
    .flags = OP_KINKED | OP_ACTIVATION | OP_ELEMENTWISE,
    .attr = attrs,
    .infer = infer_same,
    .forward = forward,
    .backward = backward,
};

/* leaky_relu: x above 0, alpha * x elsewhere.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "nn/op_act.h"

static void value(const double *attr, const real *x, real *y, int64_t n)
{
    real alpha = (real)attr[0];
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] > 0 ? x[i] : alpha * x[i];
}

static void slope(const double *attr, const real *x, const real *dy, real *dx,
                  int64_t n)
{
    real alpha = (real)attr[0];
    for (int64_t i = 0; i < n; i++)
        dx[i] += x[i] > 0 ? dy[i] : alpha * dy[i];
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
    { .name = "alpha", .type = ATTR_REAL, .def = 0.01, .lo = -1e6, .hi = 1e6,
      .help = "slope below 0" },
    { .name = NULL }
};

const struct op op_leaky_relu = {
    .name = "leaky_relu",
    .onnx_name = "LeakyRelu",
    .type = "act",
    .help = "x above 0, alpha * x elsewhere",
    .min_inputs = 1,
    .max_inputs = 1,
    .flags = OP_KINKED | OP_ACTIVATION | OP_ELEMENTWISE,
    .attr = attrs,
    .infer = infer_same,
    .forward = forward,
    .backward = backward,
};

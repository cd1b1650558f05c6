/* hard_swish: x * relu6(x + 3) / 6, slope (2 x + 3) / 6 between -3 and 3.
 * Howard et al. 2019, section 5.2.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "nn/op_act.h"

static real limited(real v)
{
    return v < 0 ? 0 : v > 6 ? 6 : v;
}

static real inner_slope(real x)
{
    if (x <= -3)
        return 0;
    return x < 3 ? (2 * x + 3) / 6 : 1;
}

static void value(const double *attr, const real *x, real *y, int64_t n)
{
    (void)attr;
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] * limited(x[i] + 3) / 6;
}

static void slope(const double *attr, const real *x, const real *dy, real *dx,
                  int64_t n)
{
    (void)attr;
    for (int64_t i = 0; i < n; i++)
        dx[i] += dy[i] * inner_slope(x[i]);
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

const struct op op_hard_swish = {
    .name = "hard_swish",
    .onnx_name = "HardSwish",
    .type = "act",
    .help = "x * relu6(x + 3) / 6",
    .min_inputs = 1,
    .max_inputs = 1,
    .flags = OP_KINKED | OP_ACTIVATION | OP_ELEMENTWISE,
    .infer = infer_same,
    .forward = forward,
    .backward = backward,
};

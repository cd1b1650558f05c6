/* silu (swish): x * s with s = 1 / (1 + exp(-x)),
 * slope s (1 + x (1 - s)).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>

#include "nn/op_act.h"

static real sigmoid(real x)
{
    return 1 / (1 + real_exp(-x));
}

static void value(const double *attr, const real *x, real *y, int64_t n)
{
    (void)attr;
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] * sigmoid(x[i]);
}

static void slope(const double *attr, const real *x, const real *dy, real *dx,
                  int64_t n)
{
    (void)attr;
    for (int64_t i = 0; i < n; i++) {
        real s = sigmoid(x[i]);
        dx[i] += dy[i] * s * (1 + x[i] * (1 - s));
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

const struct op op_silu = {
    .name = "silu",
    .type = "act",
    .help = "x * sigmoid(x)",
    .min_inputs = 1,
    .max_inputs = 1,
    .flags = OP_ACTIVATION | OP_ELEMENTWISE,
    .infer = infer_same,
    .forward = forward,
    .backward = backward,
};

/* quantize: real numbers to codes, as ONNX's QuantizeLinear, for graphs that
 * come with their own QDQ pairs.
 *
 * y = clamp(round_half_even(x / scale) + zero_point, lo, hi); the codes are
 * held as real numbers. The gradient is the straight-through one, 1 / scale
 * where nothing was clamped: with the dequantize that follows it is 1.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>

#include "nn/op_act.h"

/* attr: scale, zero_point, lo, hi */
static void value(const double *attr, const real *x, real *y, int64_t n)
{
    real scale = (real)attr[0], zero = (real)attr[1];
    real lo = (real)attr[2], hi = (real)attr[3];
    for (int64_t i = 0; i < n; i++) {
        real q = real_rint(x[i] / scale) + zero;
        y[i] = q < lo ? lo : q > hi ? hi : q;
    }
}

static void slope(const double *attr, const real *x, const real *dy, real *dx,
                  int64_t n)
{
    real scale = (real)attr[0], zero = (real)attr[1];
    real lo = (real)attr[2], hi = (real)attr[3];
    for (int64_t i = 0; i < n; i++) {
        real q = real_rint(x[i] / scale) + zero;
        dx[i] += q >= lo && q <= hi ? dy[i] / scale : 0;
    }
}

static enum status infer(const struct node *n, const struct shape *const in[],
                         struct shape *out, struct err *e)
{
    if (n->attr[2] > n->attr[3])
        return err_set(e, STATUS_ARG, "lo %g is above hi %g", n->attr[2],
                       n->attr[3]);
    return infer_same(n, in, out, e);
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
    { .name = "lo", .type = ATTR_INT, .lo = -2147483648.0,
      .hi = 2147483647.0, .help = "smallest code" },
    { .name = "hi", .type = ATTR_INT, .def = 255, .lo = -2147483648.0,
      .hi = 2147483647.0, .help = "largest code" },
    { .name = NULL }
};

const struct op op_quantize = {
    .name = "quantize",
    .onnx_name = "QuantizeLinear",
    .type = "quant",
    .help = "real numbers to codes",
    .min_inputs = 1,
    .max_inputs = 1,
    .flags = OP_KINKED | OP_ELEMENTWISE,
    .attr = attrs,
    .infer = infer,
    .forward = forward,
    .backward = backward,
};

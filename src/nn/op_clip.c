/* clip: x limited to lo .. hi. As torch's clamp, the slope is 1 at both ends.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <float.h>

#include "nn/op_act.h"

static enum status infer(const struct node *n, const struct shape *const in[],
                         struct shape *out, struct err *e)
{
    if (n->attr[0] > n->attr[1])
        return err_set(e, STATUS_ARG, "lo %g is above hi %g", n->attr[0],
                       n->attr[1]);
    return infer_same(n, in, out, e);
}

static void value(const double *attr, const real *x, real *y, int64_t n)
{
    real lo = (real)attr[0], hi = (real)attr[1];
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] < lo ? lo : x[i] > hi ? hi : x[i];
}

static void slope(const double *attr, const real *x, const real *dy, real *dx,
                  int64_t n)
{
    real lo = (real)attr[0], hi = (real)attr[1];
    for (int64_t i = 0; i < n; i++)
        dx[i] += x[i] >= lo && x[i] <= hi ? dy[i] : 0;
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
    { .name = "lo", .type = ATTR_REAL, .def = (double)-FLT_MAX,
      .lo = (double)-FLT_MAX, .hi = (double)FLT_MAX,
      .help = "smallest value" },
    { .name = "hi", .type = ATTR_REAL, .def = (double)FLT_MAX,
      .lo = (double)-FLT_MAX, .hi = (double)FLT_MAX,
      .help = "largest value" },
    { .name = NULL }
};

const struct op op_clip = {
    .name = "clip",
    .onnx_name = "Clip",
    .type = "act",
    .help = "x limited to lo .. hi",
    .min_inputs = 1,
    .max_inputs = 1,
    .flags = OP_KINKED | OP_ACTIVATION | OP_ELEMENTWISE,
    .attr = attrs,
    .infer = infer,
    .forward = forward,
    .backward = backward,
};

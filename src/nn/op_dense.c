/* dense: a fully connected layer on the last axis.
 *
 * x: (N,...,I), w: (O,I), y: (N,...,O); y[r,o] = b[o] + sum_i w[o,i] x[r,i]
 * with r running over all axes but the last.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "nn/op_util.h"

struct dense_geom {
    int64_t rows, in, out;
};

static struct dense_geom geom_of(const struct op_call *c)
{
    const struct shape *x = c->in_shape[0];
    int64_t in = x->dim[x->rank - 1];
    return (struct dense_geom){
        .rows = shape_outer(x, x->rank - 1),
        .in = in,
        .out = c->out_shape->dim[x->rank - 1],
    };
}

static enum status infer(const struct node *n, const struct shape *const in[],
                         struct shape *out, struct err *e)
{
    if (in[0]->rank < 2)
        return shape_refuse(in[0], "at least one axis of features", e);
    *out = *in[0];
    out->dim[out->rank - 1] = node_int(n, "out");
    return STATUS_OK;
}

static enum status param_shape(const struct node *n,
                               const struct shape *const in[], int param,
                               struct shape *out, struct err *e)
{
    (void)e;
    int64_t outs = node_int(n, "out");
    *out = param == 0 ? shape_2(outs, in[0]->dim[in[0]->rank - 1])
                      : shape_1(outs);
    return STATUS_OK;
}

static int64_t macs(const struct node *n, const struct shape *const in[],
                    const struct shape *out)
{
    (void)n;
    return shape_count(out) * in[0]->dim[in[0]->rank - 1];
}

static enum status forward(const struct op_call *c, struct err *e)
{
    (void)e;
    struct dense_geom g = geom_of(c);
    int64_t count = g.rows * g.out;
#pragma omp parallel for schedule(static) if (count * g.in > OP_PARALLEL_MIN)
    for (int64_t i = 0; i < count; i++) {
        int64_t row = i / g.out, o = i % g.out;
        real sum = dot_reals(c->in[0] + row * g.in, c->param[0] + o * g.in,
                             g.in);
        c->out[i] = c->param[1] ? sum + c->param[1][o] : sum;
    }
    return STATUS_OK;
}

static void add_scaled(real *y, real a, const real *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] += a * x[i];
}

static enum status backward(const struct op_call *c, struct err *e)
{
    (void)e;
    struct dense_geom g = geom_of(c);
    int64_t work = g.rows * g.out * g.in;
    if (c->din[0]) {
#pragma omp parallel for schedule(static) if (work > OP_PARALLEL_MIN)
        for (int64_t r = 0; r < g.rows; r++)
            for (int64_t o = 0; o < g.out; o++)
                add_scaled(c->din[0] + r * g.in, c->dout[r * g.out + o],
                           c->param[0] + o * g.in, g.in);
    }
    if (c->dparam[0]) {
#pragma omp parallel for schedule(static) if (work > OP_PARALLEL_MIN)
        for (int64_t o = 0; o < g.out; o++)
            for (int64_t r = 0; r < g.rows; r++)
                add_scaled(c->dparam[0] + o * g.in, c->dout[r * g.out + o],
                           c->in[0] + r * g.in, g.in);
    }
    for (int64_t o = 0; c->dparam[1] && o < g.out; o++) {
        double sum = 0;
        for (int64_t r = 0; r < g.rows; r++)
            sum += (double)c->dout[r * g.out + o];
        c->dparam[1][o] += (real)sum;
    }
    return STATUS_OK;
}

static const struct attr_row attrs[] = {
    { .name = "out", .type = ATTR_INT, .lo = 1, .hi = 1 << 24,
      .help = "output features" },
    { .name = "bias", .type = ATTR_BOOL, .def = 1, .lo = 0, .hi = 1,
      .help = "adds a learned number to each output feature" },
    { .name = NULL }
};

static const struct param_row params[] = {
    { .name = "weight", .role = PARAM_WEIGHT },
    { .name = "bias", .role = PARAM_BIAS, .unless = "bias" },
    { .name = NULL }
};

const struct op op_dense = {
    .name = "dense",
    .onnx_name = "Gemm",
    .type = "dense",
    .help = "fully connected layer on the last axis",
    .min_inputs = 1,
    .max_inputs = 1,
    .attr = attrs,
    .param = params,
    .infer = infer,
    .param_shape = param_shape,
    .forward = forward,
    .backward = backward,
    .macs = macs,
};

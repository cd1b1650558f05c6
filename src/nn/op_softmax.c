/* softmax: y = exp(x) / sum exp(x) along an axis, after subtracting the
 * largest x. dx = y * (dy - sum y dy).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>

#include "nn/op_util.h"

/* One lane: numbers along the axis, `step` apart. */
struct softmax_geom {
    int64_t lanes, count, step;
};

static struct softmax_geom geom_of(const struct op_call *c)
{
    const struct shape *x = c->in_shape[0];
    int axis = 1;
    axis_resolve(node_int(c->node, "axis"), x, &axis, NULL);
    return (struct softmax_geom){
        .lanes = shape_count(x) / x->dim[axis],
        .count = x->dim[axis],
        .step = shape_inner(x, axis),
    };
}

static int64_t lane_start(const struct softmax_geom *g, int64_t lane)
{
    return lane / g->step * g->step * g->count + lane % g->step;
}

static enum status infer(const struct node *n, const struct shape *const in[],
                         struct shape *out, struct err *e)
{
    int axis;
    TRY(axis_resolve(node_int(n, "axis"), in[0], &axis, e));
    return infer_same(n, in, out, e);
}

static void lane_forward(const struct softmax_geom *g, const real *x, real *y)
{
    real top = x[0], sum = 0;
    for (int64_t i = 1; i < g->count; i++)
        if (x[i * g->step] > top)
            top = x[i * g->step];
    for (int64_t i = 0; i < g->count; i++) {
        y[i * g->step] = real_exp(x[i * g->step] - top);
        sum += y[i * g->step];
    }
    for (int64_t i = 0; i < g->count; i++)
        y[i * g->step] /= sum;
}

static enum status forward(const struct op_call *c, struct err *e)
{
    (void)e;
    struct softmax_geom g = geom_of(c);
    int64_t work = g.lanes * g.count;
#pragma omp parallel for schedule(static) if (work > OP_PARALLEL_MIN)
    for (int64_t lane = 0; lane < g.lanes; lane++) {
        int64_t at = lane_start(&g, lane);
        lane_forward(&g, c->in[0] + at, c->out + at);
    }
    return STATUS_OK;
}

/* saved: room for y, which backward computes again. */
static size_t saved(const struct node *n, const struct shape *const in[],
                    const struct shape *out)
{
    (void)n;
    (void)in;
    return (size_t)shape_count(out);
}

static void lane_backward(const struct softmax_geom *g, const real *y,
                          const real *dy, real *dx)
{
    real sum = 0;
    for (int64_t i = 0; i < g->count; i++)
        sum += y[i * g->step] * dy[i * g->step];
    for (int64_t i = 0; i < g->count; i++)
        dx[i * g->step] += y[i * g->step] * (dy[i * g->step] - sum);
}

static enum status backward(const struct op_call *c, struct err *e)
{
    (void)e;
    if (!c->din[0])
        return STATUS_OK;
    struct softmax_geom g = geom_of(c);
    int64_t work = g.lanes * g.count;
#pragma omp parallel for schedule(static) if (work > OP_PARALLEL_MIN)
    for (int64_t lane = 0; lane < g.lanes; lane++) {
        int64_t at = lane_start(&g, lane);
        lane_forward(&g, c->in[0] + at, c->saved + at);
        lane_backward(&g, c->saved + at, c->dout + at, c->din[0] + at);
    }
    return STATUS_OK;
}

static const struct attr_row attrs[] = {
    { .name = "axis", .type = ATTR_INT, .def = -1, .lo = -SHAPE_MAX,
      .hi = SHAPE_MAX - 1, .help = "axis whose numbers sum to 1" },
    { .name = NULL }
};

const struct op op_softmax = {
    .name = "softmax",
    .onnx_name = "Softmax",
    .type = "softmax",
    .help = "exp(x) / sum exp(x) along an axis",
    .min_inputs = 1,
    .max_inputs = 1,
    .attr = attrs,
    .infer = infer,
    .saved = saved,
    .forward = forward,
    .backward = backward,
};

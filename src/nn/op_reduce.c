/* Sums over axes. SPDX-License-Identifier: GPL-3.0-or-later */
#include "nn/op_reduce.h"

static void axes_push(struct reduce_axes *a, int64_t dim, int64_t stride)
{
    a->dim[a->rank] = dim;
    a->stride[a->rank] = stride;
    a->rank++;
    a->count *= dim;
}

struct reduce_geom reduce_geom_of(const struct op_call *c)
{
    const struct shape *x = c->in_shape[0];
    int64_t axes = node_int(c->node, "axes");
    int last = x->rank - 1;
    struct reduce_geom g = {
        .n = x->dim[0],
        .row = x->dim[last],
        .row_reduced = (axes >> last & 1) != 0,
        .positions = shape_inner(x, 0) / x->dim[last],
        .kept = { .count = 1 },
        .gone = { .count = 1 },
    };
    if (c->node->n_in > 1)
        g.features = c->in_shape[1]->dim[last];
    for (int i = 1; i < last; i++)
        axes_push(axes >> i & 1 ? &g.gone : &g.kept, x->dim[i],
                  shape_inner(x, i) / x->dim[last]);
    return g;
}

static enum status infer_mask(const struct node *n,
                              const struct shape *const in[], struct err *e)
{
    const struct shape *x = in[0], *mask = in[1];
    int last = x->rank - 1;
    if (node_int(n, "axes") >> last & 1)
        return err_set(e, STATUS_ARG, "the last axis cannot be summed under "
                       "a padding mask");
    if (mask->rank != x->rank)
        return shape_refuse(mask, "a mask input of the first input's rank", e);
    for (int i = 0; i < last; i++)
        if (mask->dim[i] != x->dim[i])
            return shape_refuse(mask, "a mask input that differs from the "
                                "first in the last axis alone", e);
    return STATUS_OK;
}

enum status reduce_infer(const struct node *n, const struct shape *const in[],
                         struct shape *out, struct err *e)
{
    int64_t axes = node_int(n, "axes");
    bool keep = node_has(n, "keepdims");
    if (in[0]->rank < 2)
        return shape_refuse(in[0], "at least one axis", e);
    if (axes >> in[0]->rank != 0)
        return shape_refuse(in[0], "an axis for each of axes=", e);
    if (n->n_in > 1)
        TRY(infer_mask(n, in, e));
    *out = (struct shape){ .rank = 0 };
    for (int i = 0; i < in[0]->rank; i++) {
        if (!(axes >> i & 1))
            out->dim[out->rank++] = in[0]->dim[i];
        else if (keep)
            out->dim[out->rank++] = 1;
    }
    if (out->rank == 1)          /* one number a sample: (N,1) */
        out->dim[out->rank++] = 1;
    return STATUS_OK;
}

static int64_t position_of(const struct reduce_axes *a, int64_t index)
{
    int64_t at = 0;
    for (int i = a->rank - 1; i >= 0; i--) {
        at += index % a->dim[i] * a->stride[i];
        index /= a->dim[i];
    }
    return at;
}

static bool is_padding(const struct op_call *c, const struct reduce_geom *g,
                       int64_t position)
{
    if (c->node->n_in < 2)
        return false;
    real pad = (real)node_attr(c->node, "mask");
    const real *x = c->in[1] + position * g->features;
    for (int64_t i = 0; i < g->features; i++)
        if (x[i] != pad)
            return false;
    return true;
}

/* Positions that are left in, of those that fall on one kept index. */
static int64_t count_left(const struct op_call *c,
                          const struct reduce_geom *g, int64_t base)
{
    if (c->node->n_in < 2)
        return g->gone.count;
    int64_t left = 0;
    for (int64_t i = 0; i < g->gone.count; i++)
        left += !is_padding(c, g, base + position_of(&g->gone, i));
    return left > 0 ? left : 1;
}

static real divisor(const struct op_call *c, const struct reduce_geom *g,
                    int64_t base)
{
    return (real)(count_left(c, g, base) * (g->row_reduced ? g->row : 1));
}

static void forward_run(const struct op_call *c, const struct reduce_geom *g,
                        int64_t run, bool mean)
{
    int64_t width = g->row_reduced ? 1 : g->row;
    int64_t base = run / g->kept.count * g->positions +
                   position_of(&g->kept, run % g->kept.count);
    real *y = c->out + run * width;
    for (int64_t i = 0; i < width; i++)
        y[i] = 0;
    for (int64_t k = 0; k < g->gone.count; k++) {
        int64_t position = base + position_of(&g->gone, k);
        if (is_padding(c, g, position))
            continue;
        const real *x = c->in[0] + position * g->row;
        for (int64_t i = 0; i < g->row; i++)
            y[g->row_reduced ? 0 : i] += x[i];
    }
    if (!mean)
        return;
    real d = divisor(c, g, base);
    for (int64_t i = 0; i < width; i++)
        y[i] /= d;
}

void reduce_forward(const struct op_call *c, bool mean)
{
    struct reduce_geom g = reduce_geom_of(c);
    int64_t runs = g.n * g.kept.count;
    int64_t work = g.n * g.positions * g.row;
#pragma omp parallel for schedule(static) if (work > OP_PARALLEL_MIN)
    for (int64_t r = 0; r < runs; r++)
        forward_run(c, &g, r, mean);
}

static void backward_run(const struct op_call *c, const struct reduce_geom *g,
                         int64_t run, bool mean)
{
    int64_t width = g->row_reduced ? 1 : g->row;
    int64_t base = run / g->kept.count * g->positions +
                   position_of(&g->kept, run % g->kept.count);
    const real *dy = c->dout + run * width;
    real d = mean ? divisor(c, g, base) : 1;
    for (int64_t k = 0; k < g->gone.count; k++) {
        int64_t position = base + position_of(&g->gone, k);
        if (is_padding(c, g, position))
            continue;
        real *dx = c->din[0] + position * g->row;
        for (int64_t i = 0; i < g->row; i++)
            dx[i] += dy[g->row_reduced ? 0 : i] / d;
    }
}

void reduce_backward(const struct op_call *c, bool mean)
{
    if (!c->din[0])
        return;
    struct reduce_geom g = reduce_geom_of(c);
    int64_t runs = g.n * g.kept.count;
    int64_t work = g.n * g.positions * g.row;
#pragma omp parallel for schedule(static) if (work > OP_PARALLEL_MIN)
    for (int64_t r = 0; r < runs; r++)
        backward_run(c, &g, r, mean);
}

const struct attr_row reduce_attrs[] = {
    { .name = "axes", .type = ATTR_AXES, .lo = 2, .hi = 254,
      .help = "axes that are summed; the batch is 0 and stays" },
    { .name = "keepdims", .type = ATTR_BOOL, .lo = 0, .hi = 1,
      .help = "summed axes stay with extent 1" },
    { .name = "mask", .type = ATTR_REAL, .def = 0, .lo = -1e30, .hi = 1e30,
      .help = "value of padding in the second input, if there is one" },
    { .name = NULL }
};

/* Geometry of pooling. SPDX-License-Identifier: GPL-3.0-or-later */
#include "nn/op_pool.h"

/* One axis of a pooling window. */
struct axis {
    int64_t size, kernel, stride, before, after, dilation;
};

static int64_t axis_output(const struct axis *a, bool ceil_mode)
{
    int64_t room = a->size + a->before + a->after -
                   a->dilation * (a->kernel - 1) - 1;
    if (room < 0)
        return 0;
    int64_t out = (room + (ceil_mode ? a->stride - 1 : 0)) / a->stride + 1;
    if (ceil_mode && (out - 1) * a->stride >= a->size + a->before)
        out--;
    return out;
}

static struct pool_window axis_window(const struct axis *a, int64_t o)
{
    int64_t start = o * a->stride - a->before;
    int64_t end = start + a->dilation * (a->kernel - 1) + 1;
    int64_t border = a->size + a->after;
    struct pool_window w = { .first = start, .end = end, .step = a->dilation };
    int64_t cut = end < border ? end : border;
    w.padded = (cut - start + a->dilation - 1) / a->dilation;
    if (start < 0)
        w.first = start + (-start + a->dilation - 1) / a->dilation *
                          a->dilation;
    if (w.end > a->size)
        w.end = a->size;
    return w;
}

static struct axis rows_of(const struct pool_geom *g)
{
    return (struct axis){ g->h, g->kh, g->sh, g->pt, g->pb, g->dh };
}

static struct axis cols_of(const struct pool_geom *g)
{
    return (struct axis){ g->w, g->kw, g->sw, g->pl, g->pr, g->dw };
}

static int64_t stride_of(const struct node *n, const char *attr,
                         int64_t kernel)
{
    int64_t stride = node_int(n, attr);
    return stride ? stride : kernel;
}

struct pool_geom pool_geom_of(const struct node *n, const struct shape *in)
{
    struct pool_geom g = {
        .n = in->dim[0],
        .c = in->dim[1],
        .h = 1,
        .w = in->dim[in->rank - 1],
        .kh = 1,
        .kw = node_int(n, "kernel_w"),
        .sh = 1,
        .pl = node_int(n, "pad_left"),
        .pr = node_int(n, "pad_right"),
        .dh = 1,
        .dw = (int64_t)node_attr_or(n, "dilation_w", 1),
        .count_pads = node_attr_or(n, "count_pads", 0) != 0,
    };
    g.sw = stride_of(n, "stride_w", g.kw);
    if (in->rank == 4) {
        g.h = in->dim[2];
        g.kh = node_int(n, "kernel_h");
        g.sh = stride_of(n, "stride_h", g.kh);
        g.pt = node_int(n, "pad_top");
        g.pb = node_int(n, "pad_bottom");
        g.dh = (int64_t)node_attr_or(n, "dilation_h", 1);
    }
    bool ceil_mode = node_has(n, "ceil_mode");
    struct axis rows = rows_of(&g), cols = cols_of(&g);
    g.oh = axis_output(&rows, ceil_mode);
    g.ow = axis_output(&cols, ceil_mode);
    return g;
}

struct pool_window pool_window_row(const struct pool_geom *g, int64_t i)
{
    struct axis a = rows_of(g);
    return axis_window(&a, i);
}

struct pool_window pool_window_col(const struct pool_geom *g, int64_t j)
{
    struct axis a = cols_of(g);
    return axis_window(&a, j);
}

/* Every window must see at least one input. Pads below the kernel's size see
 * to that but for dilated windows that start in the leading pads. */
static enum status check_axis(const struct axis *a, int64_t outputs,
                              struct err *e)
{
    if (outputs < 1)
        return err_set(e, STATUS_ARG, "the input with its pads, %lld, is "
                       "smaller than the window, %lld",
                       (long long)(a->size + a->before + a->after),
                       (long long)(a->dilation * (a->kernel - 1) + 1));
    if (a->before >= a->kernel || a->after >= a->kernel)
        return err_set(e, STATUS_ARG, "pads %lld and %lld, wanted less than "
                       "the kernel, %lld", (long long)a->before,
                       (long long)a->after, (long long)a->kernel);
    for (int64_t o = 0; o < outputs && o * a->stride < a->before; o++) {
        struct pool_window w = axis_window(a, o);
        if (w.first >= w.end)
            return err_set(e, STATUS_ARG, "window %lld lies in the pads "
                           "alone", (long long)o);
    }
    return STATUS_OK;
}

enum status pool_infer(const struct node *n, const struct shape *const in[],
                       struct shape *out, struct err *e)
{
    if (in[0]->rank != 3 && in[0]->rank != 4)
        return shape_refuse(in[0], "channels x height x width, or channels x "
                            "length", e);
    struct pool_geom g = pool_geom_of(n, in[0]);
    struct axis rows = rows_of(&g), cols = cols_of(&g);
    TRY(check_axis(&rows, g.oh, e));
    TRY(check_axis(&cols, g.ow, e));
    *out = in[0]->rank == 3 ? shape_3(g.n, g.c, g.ow)
                            : shape_4(g.n, g.c, g.oh, g.ow);
    return STATUS_OK;
}

static void each_in_plane(const struct op_call *c, const struct pool_geom *g,
                          int64_t plane, pool_fn fn)
{
    int64_t in = plane * g->h * g->w, out = plane * g->oh * g->ow;
    struct pool_at at = {
        .g = g,
        .x = c->in[0] + in,
        .y = c->out ? c->out + out : NULL,
        .dy = c->dout ? c->dout + out : NULL,
        .dx = c->din[0] ? c->din[0] + in : NULL,
    };
    for (int64_t i = 0; i < g->oh; i++) {
        at.row = pool_window_row(g, i);
        for (int64_t j = 0; j < g->ow; j++) {
            at.col = pool_window_col(g, j);
            fn(&at);
            at.y = at.y ? at.y + 1 : NULL;
            at.dy = at.dy ? at.dy + 1 : NULL;
        }
    }
}

void pool_each(const struct op_call *c, pool_fn fn)
{
    struct pool_geom g = pool_geom_of(c->node, c->in_shape[0]);
    int64_t planes = g.n * g.c;
    int64_t work = planes * g.oh * g.ow * g.kh * g.kw;
#pragma omp parallel for schedule(static) if (work > OP_PARALLEL_MIN)
    for (int64_t p = 0; p < planes; p++)
        each_in_plane(c, &g, p, fn);
}

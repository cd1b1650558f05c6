/* pad: zeros around the last two axes, and before and behind the channels.
 *
 * x: (N,C,H,W) or (N,C,L), which counts as height 1 with left and right pads
 * only. Zero lies on every quantization grid, so the grid is kept.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "nn/op_util.h"

struct pad_geom {
    int64_t n, c, h, w, oc, oh, ow;
    int64_t front, top, left;
};

static struct pad_geom geom_of(const struct node *n, const struct shape *x)
{
    bool flat = x->rank == 3;
    struct pad_geom g = {
        .n = x->dim[0],
        .c = x->dim[1],
        .h = flat ? 1 : x->dim[2],
        .w = x->dim[flat ? 2 : 3],
        .front = node_int(n, "pad_front"),
        .top = flat ? 0 : node_int(n, "pad_top"),
        .left = node_int(n, "pad_left"),
    };
    g.oc = g.c + g.front + node_int(n, "pad_back");
    g.oh = g.h + g.top + (flat ? 0 : node_int(n, "pad_bottom"));
    g.ow = g.w + g.left + node_int(n, "pad_right");
    return g;
}

static enum status infer(const struct node *n, const struct shape *const in[],
                         struct shape *out, struct err *e)
{
    if (in[0]->rank != 3 && in[0]->rank != 4)
        return shape_refuse(in[0], "channels x height x width, or channels x "
                            "length", e);
    struct pad_geom g = geom_of(n, in[0]);
    *out = in[0]->rank == 3 ? shape_3(g.n, g.oc, g.ow)
                            : shape_4(g.n, g.oc, g.oh, g.ow);
    return STATUS_OK;
}

/* Start of the output row that holds the input's row r, counted over all. */
static int64_t row_start(const struct pad_geom *g, int64_t r)
{
    int64_t row = r % g->h, plane = r / g->h;
    int64_t channel = plane % g->c, n = plane / g->c;
    return ((n * g->oc + channel + g->front) * g->oh + row + g->top) * g->ow +
           g->left;
}

static enum status forward(const struct op_call *c, struct err *e)
{
    (void)e;
    struct pad_geom g = geom_of(c->node, c->in_shape[0]);
    int64_t rows = g.n * g.c * g.h, count = shape_count(c->out_shape);
    for (int64_t i = 0; i < count; i++)
        c->out[i] = 0;
    for (int64_t r = 0; r < rows; r++) {
        real *y = c->out + row_start(&g, r);
        for (int64_t j = 0; j < g.w; j++)
            y[j] = c->in[0][r * g.w + j];
    }
    return STATUS_OK;
}

static enum status backward(const struct op_call *c, struct err *e)
{
    (void)e;
    if (!c->din[0])
        return STATUS_OK;
    struct pad_geom g = geom_of(c->node, c->in_shape[0]);
    int64_t rows = g.n * g.c * g.h;
    for (int64_t r = 0; r < rows; r++) {
        const real *dy = c->dout + row_start(&g, r);
        for (int64_t j = 0; j < g.w; j++)
            c->din[0][r * g.w + j] += dy[j];
    }
    return STATUS_OK;
}

static const struct attr_row attrs[] = {
    { .name = "pad_top", .alias = "pad", .type = ATTR_INT,
      .lo = 0, .hi = OP_TAPS_MAX, .help = "rows of zeros above" },
    { .name = "pad_left", .alias = "pad", .type = ATTR_INT,
      .lo = 0, .hi = OP_TAPS_MAX, .help = "columns of zeros on the left" },
    { .name = "pad_bottom", .alias = "pad", .type = ATTR_INT,
      .lo = 0, .hi = OP_TAPS_MAX, .help = "rows of zeros below" },
    { .name = "pad_right", .alias = "pad", .type = ATTR_INT,
      .lo = 0, .hi = OP_TAPS_MAX, .help = "columns of zeros on the right" },
    { .name = "pad_front", .type = ATTR_INT,
      .lo = 0, .hi = OP_TAPS_MAX, .help = "channels of zeros before" },
    { .name = "pad_back", .type = ATTR_INT,
      .lo = 0, .hi = OP_TAPS_MAX, .help = "channels of zeros behind" },
    { .name = NULL }
};

const struct op op_pad = {
    .name = "pad",
    .onnx_name = "Pad",
    .type = "shape",
    .help = "zeros around the value",
    .min_inputs = 1,
    .max_inputs = 1,
    .flags = OP_KEEPS_GRID,
    .attr = attrs,
    .infer = infer,
    .forward = forward,
    .backward = backward,
};

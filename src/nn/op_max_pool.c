/* max_pool: the largest value of each window; pads never win. Of equal
 * values the first takes the gradient, as in torch.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "nn/op_pool.h"

/* Index of the largest value in plane x, (H,W); a NaN wins. */
static int64_t window_best(const struct pool_geom *g, const real *x,
                           const struct pool_window *r,
                           const struct pool_window *c)
{
    int64_t best = r->first * g->w + c->first;
    for (int64_t i = r->first; i < r->end; i += r->step) {
        for (int64_t j = c->first; j < c->end; j += c->step) {
            real v = x[i * g->w + j];
            if (v > x[best] || v != v)
                best = i * g->w + j;
        }
    }
    return best;
}

static enum status forward(const struct op_call *c, struct err *e)
{
    (void)e;
    struct pool_geom g = pool_geom_of(c->node, c->in_shape[0]);
    int64_t planes = g.n * g.c;
    int64_t work = planes * g.oh * g.ow * g.kh * g.kw;
#pragma omp parallel for schedule(static) if (work > OP_PARALLEL_MIN)
    for (int64_t p = 0; p < planes; p++) {
        const real *x = c->in[0] + p * g.h * g.w;
        real *y = c->out + p * g.oh * g.ow;
        for (int64_t i = 0; i < g.oh; i++) {
            struct pool_window row = pool_window_row(&g, i);
            for (int64_t j = 0; j < g.ow; j++) {
                struct pool_window col = pool_window_col(&g, j);
                *y++ = x[window_best(&g, x, &row, &col)];
            }
        }
    }
    return STATUS_OK;
}

static enum status backward(const struct op_call *c, struct err *e)
{
    (void)e;
    if (!c->din[0])
        return STATUS_OK;
    struct pool_geom g = pool_geom_of(c->node, c->in_shape[0]);
    int64_t planes = g.n * g.c;
    int64_t work = planes * g.oh * g.ow * g.kh * g.kw;
#pragma omp parallel for schedule(static) if (work > OP_PARALLEL_MIN)
    for (int64_t p = 0; p < planes; p++) {
        const real *x = c->in[0] + p * g.h * g.w;
        const real *dy = c->dout + p * g.oh * g.ow;
        real *dx = c->din[0] + p * g.h * g.w;
        for (int64_t i = 0; i < g.oh; i++) {
            struct pool_window row = pool_window_row(&g, i);
            for (int64_t j = 0; j < g.ow; j++) {
                struct pool_window col = pool_window_col(&g, j);
                dx[window_best(&g, x, &row, &col)] += *dy++;
            }
        }
    }
    return STATUS_OK;
}

static const struct attr_row attrs[] = {
    { .name = "kernel_h", .alias = "kernel", .type = ATTR_INT,
      .lo = 1, .hi = OP_TAPS_MAX, .help = "window height" },
    { .name = "kernel_w", .alias = "kernel", .type = ATTR_INT,
      .lo = 1, .hi = OP_TAPS_MAX, .help = "window width" },
    { .name = "stride_h", .alias = "stride", .type = ATTR_INT,
      .lo = 0, .hi = OP_TAPS_MAX,
      .help = "rows from window to window; 0: the kernel's" },
    { .name = "stride_w", .alias = "stride", .type = ATTR_INT,
      .lo = 0, .hi = OP_TAPS_MAX,
      .help = "columns from window to window; 0: the kernel's" },
    { .name = "pad_top", .alias = "pad", .type = ATTR_INT,
      .lo = 0, .hi = OP_TAPS_MAX, .help = "empty rows above" },
    { .name = "pad_left", .alias = "pad", .type = ATTR_INT,
      .lo = 0, .hi = OP_TAPS_MAX, .help = "empty columns on the left" },
    { .name = "pad_bottom", .alias = "pad", .type = ATTR_INT,
      .lo = 0, .hi = OP_TAPS_MAX, .help = "empty rows below" },
    { .name = "pad_right", .alias = "pad", .type = ATTR_INT,
      .lo = 0, .hi = OP_TAPS_MAX, .help = "empty columns on the right" },
    { .name = "dilation_h", .alias = "dilation", .type = ATTR_INT, .def = 1,
      .lo = 1, .hi = OP_TAPS_MAX, .help = "rows from tap to tap" },
    { .name = "dilation_w", .alias = "dilation", .type = ATTR_INT, .def = 1,
      .lo = 1, .hi = OP_TAPS_MAX, .help = "columns from tap to tap" },
    { .name = "ceil_mode", .type = ATTR_BOOL, .lo = 0, .hi = 1,
      .help = "windows may end outside" },
    { .name = NULL }
};

const struct op op_max_pool = {
    .name = "max_pool",
    .onnx_name = "MaxPool",
    .type = "pool",
    .help = "largest value of each window",
    .min_inputs = 1,
    .max_inputs = 1,
    .flags = OP_KINKED | OP_KEEPS_GRID,
    .attr = attrs,
    .infer = pool_infer,
    .forward = forward,
    .backward = backward,
};

/* avg_pool: the mean of each window. The divisor is the number of inputs in
 * the window, or with count_pads that of all taps up to the padded border,
 * as torch's count_include_pad. SPDX-License-Identifier: GPL-3.0-or-later */
#include "nn/op_pool.h"

static real divisor(const struct pool_geom *g, const struct pool_window *r,
                    const struct pool_window *c)
{
    int64_t count = g->count_pads ? r->padded * c->padded
                                  : (r->end - r->first) * (c->end - c->first);
    return (real)count;
}

static real window_sum(const struct pool_geom *g, const real *x,
                       const struct pool_window *r,
                       const struct pool_window *c)
{
    real sum = 0;
    for (int64_t i = r->first; i < r->end; i++)
        for (int64_t j = c->first; j < c->end; j++)
            sum += x[i * g->w + j];
    return sum;
}

static void window_spread(const struct pool_geom *g, real *dx, real dy,
                          const struct pool_window *r,
                          const struct pool_window *c)
{
    for (int64_t i = r->first; i < r->end; i++)
        for (int64_t j = c->first; j < c->end; j++)
            dx[i * g->w + j] += dy;
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
                *y++ = window_sum(&g, x, &row, &col) /
                       divisor(&g, &row, &col);
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
        const real *dy = c->dout + p * g.oh * g.ow;
        real *dx = c->din[0] + p * g.h * g.w;
        for (int64_t i = 0; i < g.oh; i++) {
            struct pool_window row = pool_window_row(&g, i);
            for (int64_t j = 0; j < g.ow; j++) {
                struct pool_window col = pool_window_col(&g, j);
                window_spread(&g, dx, *dy++ / divisor(&g, &row, &col), &row,
                              &col);
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
      .lo = 0, .hi = OP_TAPS_MAX, .help = "rows of zeros above" },
    { .name = "pad_left", .alias = "pad", .type = ATTR_INT,
      .lo = 0, .hi = OP_TAPS_MAX, .help = "columns of zeros on the left" },
    { .name = "pad_bottom", .alias = "pad", .type = ATTR_INT,
      .lo = 0, .hi = OP_TAPS_MAX, .help = "rows of zeros below" },
    { .name = "pad_right", .alias = "pad", .type = ATTR_INT,
      .lo = 0, .hi = OP_TAPS_MAX, .help = "columns of zeros on the right" },
    { .name = "count_pads", .type = ATTR_BOOL, .def = 1, .lo = 0, .hi = 1,
      .help = "pads count in the divisor" },
    { .name = "ceil_mode", .type = ATTR_BOOL, .lo = 0, .hi = 1,
      .help = "windows may end outside" },
    { .name = NULL }
};

const struct op op_avg_pool = {
    .name = "avg_pool",
    .onnx_name = "AveragePool",
    .type = "pool",
    .help = "mean of each window",
    .min_inputs = 1,
    .max_inputs = 1,
    .attr = attrs,
    .infer = pool_infer,
    .forward = forward,
    .backward = backward,
};

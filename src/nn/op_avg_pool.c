/* avg_pool: the mean of each window. The divisor is the number of inputs in
 * the window, or with count_pads that of all taps up to the padded border,
 * as torch's count_include_pad. SPDX-License-Identifier: GPL-3.0-or-later */
#include "nn/op_pool.h"

static real divisor(const struct pool_at *at)
{
    const struct pool_window *r = &at->row, *c = &at->col;
    int64_t count = at->g->count_pads
                        ? r->padded * c->padded
                        : (r->end - r->first) * (c->end - c->first);
    return (real)count;
}

static void forward_window(const struct pool_at *at)
{
    real sum = 0;
    for (int64_t i = at->row.first; i < at->row.end; i++)
        for (int64_t j = at->col.first; j < at->col.end; j++)
            sum += at->x[i * at->g->w + j];
    *at->y = sum / divisor(at);
}

static void backward_window(const struct pool_at *at)
{
    real dy = *at->dy / divisor(at);
    for (int64_t i = at->row.first; i < at->row.end; i++)
        for (int64_t j = at->col.first; j < at->col.end; j++)
            at->dx[i * at->g->w + j] += dy;
}

static enum status forward(const struct op_call *c, struct err *e)
{
    (void)e;
    pool_each(c, forward_window);
    return STATUS_OK;
}

static enum status backward(const struct op_call *c, struct err *e)
{
    (void)e;
    if (c->din[0])
        pool_each(c, backward_window);
    return STATUS_OK;
}

static const struct attr_row attrs[] = {
    POOL_ATTR_ROWS,
    { .name = "count_pads", .type = ATTR_BOOL, .def = 1, .lo = 0, .hi = 1,
      .help = "pads count in the divisor" },
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

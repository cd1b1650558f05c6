/* max_pool: the largest value of each window; pads never win. Of equal
 * values the first takes the gradient, as in torch.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "nn/op_pool.h"

/* Index of the largest value in the plane; a NaN wins. */
static int64_t window_best(const struct pool_at *at)
{
    const real *x = at->x;
    const struct pool_window *r = &at->row, *c = &at->col;
    int64_t w = at->g->w, best = r->first * w + c->first;
    for (int64_t i = r->first; i < r->end; i += r->step) {
        for (int64_t j = c->first; j < c->end; j += c->step) {
            real v = x[i * w + j];
            if (v > x[best] || v != v)
                best = i * w + j;
        }
    }
    return best;
}

static void forward_window(const struct pool_at *at)
{
    *at->y = at->x[window_best(at)];
}

static void backward_window(const struct pool_at *at)
{
    at->dx[window_best(at)] += *at->dy;
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
    { .name = "dilation_h", .alias = "dilation", .type = ATTR_INT, .def = 1,
      .lo = 1, .hi = OP_TAPS_MAX, .help = "rows from tap to tap" },
    { .name = "dilation_w", .alias = "dilation", .type = ATTR_INT, .def = 1,
      .lo = 1, .hi = OP_TAPS_MAX, .help = "columns from tap to tap" },
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

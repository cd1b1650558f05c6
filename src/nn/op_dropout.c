/* dropout: in training each number is zeroed with probability p and the rest
 * scaled by 1 / (1 - p); in evaluation nothing happens.
 * Srivastava et al. 2014, in torch's inverted form.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "nn/op_move.h"

/* saved: 0 or 1 / (1 - p) for each number. */
static size_t saved(const struct node *n, const struct shape *const in[],
                    const struct shape *out)
{
    (void)n;
    (void)in;
    return (size_t)shape_count(out);
}

/* One draw a number, in order, whatever the number of threads. */
static enum status forward(const struct op_call *c, struct err *e)
{
    if (!c->train)
        return move_forward(c, e);
    if (!c->rng)
        return err_set(e, STATUS_STATE, "dropout has no random stream");
    double p = node_attr(c->node, "p");
    real scale = (real)(1 / (1 - p));
    int64_t count = shape_count(c->out_shape);
    for (int64_t i = 0; i < count; i++) {
        c->saved[i] = rng_uniform(c->rng) < p ? 0 : scale;
        c->out[i] = c->in[0][i] * c->saved[i];
    }
    return STATUS_OK;
}

static enum status backward(const struct op_call *c, struct err *e)
{
    if (!c->train)
        return move_backward(c, e);
    int64_t count = c->din[0] ? shape_count(c->out_shape) : 0;
    for (int64_t i = 0; i < count; i++)
        c->din[0][i] += c->dout[i] * c->saved[i];
    return STATUS_OK;
}

static const struct attr_row attrs[] = {
    { .name = "p", .type = ATTR_REAL, .def = 0.5, .lo = 0, .hi = 0.999,
      .help = "probability that a number is zeroed" },
    { .name = NULL }
};

const struct op op_dropout = {
    .name = "dropout",
    .onnx_name = "Dropout",
    .type = "dropout",
    .help = "zeroes numbers at random in training",
    .min_inputs = 1,
    .max_inputs = 1,
    .flags = OP_TRAIN_ONLY | OP_KEEPS_GRID,
    .attr = attrs,
    .infer = infer_same,
    .saved = saved,
    .forward = forward,
    .backward = backward,
};

/* transpose: axes in another order; the batch stays first.
 *
 * Axis i of the output is axis perm[i] of the input.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "nn/op_util.h"

static enum status infer(const struct node *n, const struct shape *const in[],
                         struct shape *out, struct err *e)
{
    int rank = in[0]->rank, seen = 0;
    if (n->attr[0] != 0)
        return err_set(e, STATUS_ARG, "perm must begin with 0, the batch");
    *out = *in[0];
    for (int i = 0; i < rank; i++) {
        int from = (int)n->attr[i];
        if (from < 0 || from >= rank || seen >> from & 1)
            return err_set(e, STATUS_ARG, "perm must name each axis 0 to %d "
                           "once", rank - 1);
        seen |= 1 << from;
        out->dim[i] = in[0]->dim[from];
    }
    if (rank < SHAPE_MAX && n->attr[rank] >= 0)
        return err_set(e, STATUS_ARG, "perm has more than %d axes", rank);
    return STATUS_OK;
}

/* Where the output's number i, of sample 0, lies in the input. */
static int64_t source_of(const struct op_call *c, int64_t i)
{
    const struct shape *y = c->out_shape;
    int64_t at = 0;
    for (int axis = y->rank - 1; axis > 0; axis--) {
        int from = (int)c->node->attr[axis];
        at += i % y->dim[axis] * shape_inner(c->in_shape[0], from);
        i /= y->dim[axis];
    }
    return at;
}

static enum status forward(const struct op_call *c, struct err *e)
{
    (void)e;
    int64_t sample = shape_inner(c->out_shape, 0), n = c->out_shape->dim[0];
#pragma omp parallel for schedule(static) if (n * sample > OP_PARALLEL_MIN)
    for (int64_t i = 0; i < sample; i++) {
        int64_t from = source_of(c, i);
        for (int64_t k = 0; k < n; k++)
            c->out[k * sample + i] = c->in[0][k * sample + from];
    }
    return STATUS_OK;
}

static enum status backward(const struct op_call *c, struct err *e)
{
    (void)e;
    if (!c->din[0])
        return STATUS_OK;
    int64_t sample = shape_inner(c->out_shape, 0), n = c->out_shape->dim[0];
#pragma omp parallel for schedule(static) if (n * sample > OP_PARALLEL_MIN)
    for (int64_t i = 0; i < sample; i++) {
        int64_t from = source_of(c, i);
        for (int64_t k = 0; k < n; k++)
            c->din[0][k * sample + from] += c->dout[k * sample + i];
    }
    return STATUS_OK;
}

static const struct attr_row attrs[] = {
    { .name = "perm0", .alias = "perm", .type = ATTR_ITEM, .def = -1,
      .lo = 0, .hi = SHAPE_MAX - 1, .help = "0, the batch" },
    { .name = "perm1", .alias = "perm", .type = ATTR_ITEM, .def = -1,
      .lo = 0, .hi = SHAPE_MAX - 1, .help = "what becomes axis 1" },
    { .name = "perm2", .alias = "perm", .type = ATTR_ITEM, .def = -1,
      .lo = 0, .hi = SHAPE_MAX - 1, .help = "what becomes axis 2" },
    { .name = "perm3", .alias = "perm", .type = ATTR_ITEM, .def = -1,
      .lo = 0, .hi = SHAPE_MAX - 1, .help = "what becomes axis 3" },
    { .name = "perm4", .alias = "perm", .type = ATTR_ITEM, .def = -1,
      .lo = 0, .hi = SHAPE_MAX - 1, .help = "what becomes axis 4" },
    { .name = "perm5", .alias = "perm", .type = ATTR_ITEM, .def = -1,
      .lo = 0, .hi = SHAPE_MAX - 1, .help = "what becomes axis 5" },
    { .name = "perm6", .alias = "perm", .type = ATTR_ITEM, .def = -1,
      .lo = 0, .hi = SHAPE_MAX - 1, .help = "what becomes axis 6" },
    { .name = "perm7", .alias = "perm", .type = ATTR_ITEM, .def = -1,
      .lo = 0, .hi = SHAPE_MAX - 1, .help = "what becomes axis 7" },
    { .name = NULL }
};

const struct op op_transpose = {
    .name = "transpose",
    .onnx_name = "Transpose",
    .type = "shape",
    .help = "axes in another order",
    .min_inputs = 1,
    .max_inputs = 1,
    .flags = OP_KEEPS_GRID,
    .attr = attrs,
    .infer = infer,
    .forward = forward,
    .backward = backward,
};

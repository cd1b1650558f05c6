/* concat: values laid one behind the other along an axis.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "nn/op_util.h"

static int axis_of(const struct node *n, const struct shape *s)
{
    int axis = 1;
    axis_resolve(node_int(n, "axis"), s, &axis, NULL);
    return axis;
}

static enum status infer(const struct node *n, const struct shape *const in[],
                         struct shape *out, struct err *e)
{
    int axis;
    TRY(axis_resolve(node_int(n, "axis"), in[0], &axis, e));
    *out = *in[0];
    for (int k = 1; k < n->n_in; k++) {
        if (in[k]->rank != in[0]->rank)
            return shape_refuse(in[k], "the first input's rank", e);
        for (int i = 0; i < in[0]->rank; i++)
            if (i != axis && in[k]->dim[i] != in[0]->dim[i])
                return shape_refuse(in[k], "the first input's extents but "
                                    "along the axis", e);
        out->dim[axis] += in[k]->dim[axis];
    }
    return STATUS_OK;
}

/* Runs that follow each other in one input, and in the output. */
static enum status forward(const struct op_call *c, struct err *e)
{
    (void)e;
    int axis = axis_of(c->node, c->out_shape);
    int64_t outer = shape_outer(c->out_shape, axis);
    int64_t inner = shape_inner(c->out_shape, axis);
    int64_t run = c->out_shape->dim[axis] * inner, at = 0;
    for (int k = 0; k < c->node->n_in; k++) {
        int64_t part = c->in_shape[k]->dim[axis] * inner;
        for (int64_t o = 0; o < outer; o++)
            memcpy(c->out + o * run + at, c->in[k] + o * part,
                   (size_t)part * sizeof *c->out);
        at += part;
    }
    return STATUS_OK;
}

static enum status backward(const struct op_call *c, struct err *e)
{
    (void)e;
    int axis = axis_of(c->node, c->out_shape);
    int64_t outer = shape_outer(c->out_shape, axis);
    int64_t inner = shape_inner(c->out_shape, axis);
    int64_t run = c->out_shape->dim[axis] * inner, at = 0;
    for (int k = 0; k < c->node->n_in; k++) {
        int64_t part = c->in_shape[k]->dim[axis] * inner;
        for (int64_t i = 0; c->din[k] && i < outer * part; i++)
            c->din[k][i] += c->dout[i / part * run + at + i % part];
        at += part;
    }
    return STATUS_OK;
}

static const struct attr_row attrs[] = {
    { .name = "axis", .type = ATTR_INT, .def = 1, .lo = -SHAPE_MAX,
      .hi = SHAPE_MAX - 1, .help = "axis that grows" },
    { .name = NULL }
};

const struct op op_concat = {
    .name = "concat",
    .onnx_name = "Concat",
    .type = "merge",
    .help = "values one behind the other along an axis",
    .min_inputs = 1,
    .max_inputs = OP_MAX_INPUTS,
    .flags = OP_MERGE,
    .attr = attrs,
    .infer = infer,
    .forward = forward,
    .backward = backward,
};

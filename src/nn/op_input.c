/* input: where the data enter. SPDX-License-Identifier: GPL-3.0-or-later */
#include "nn/op_util.h"

static enum status infer(const struct node *n, const struct shape *const in[],
                         struct shape *out, struct err *e)
{
    (void)in;
    *out = shape_1(1);
    for (int i = 0; i < SHAPE_MAX - 1 && n->attr[i] != 0; i++)
        out->dim[out->rank++] = (int64_t)n->attr[i];
    if (out->rank == 1)
        return err_set(e, STATUS_ARG, "an input needs a shape, e.g. 1x28x28");
    return STATUS_OK;
}

/* The value comes from outside: the caller has put it into c->out. */
static enum status forward(const struct op_call *c, struct err *e)
{
    (void)c;
    (void)e;
    return STATUS_OK;
}

static enum status backward(const struct op_call *c, struct err *e)
{
    (void)c;
    (void)e;
    return STATUS_OK;
}

static const struct attr_row attrs[] = {
    { .name = "dim1", .alias = "shape", .type = ATTR_ITEM,
      .lo = 1, .hi = INT32_MAX, .help = "channels, or features" },
    { .name = "dim2", .alias = "shape", .type = ATTR_ITEM,
      .lo = 1, .hi = INT32_MAX, .help = "height, or length" },
    { .name = "dim3", .alias = "shape", .type = ATTR_ITEM,
      .lo = 1, .hi = INT32_MAX, .help = "width" },
    { .name = "dim4", .alias = "shape", .type = ATTR_ITEM,
      .lo = 1, .hi = INT32_MAX, .help = "fourth extent" },
    { .name = "dim5", .alias = "shape", .type = ATTR_ITEM,
      .lo = 1, .hi = INT32_MAX, .help = "fifth extent" },
    { .name = "dim6", .alias = "shape", .type = ATTR_ITEM,
      .lo = 1, .hi = INT32_MAX, .help = "sixth extent" },
    { .name = "dim7", .alias = "shape", .type = ATTR_ITEM,
      .lo = 1, .hi = INT32_MAX, .help = "seventh extent" },
    { .name = NULL }
};

const struct op op_input = {
    .name = "input",
    .type = "input",
    .help = "where the data enter",
    .flags = OP_SOURCE,
    .attr = attrs,
    .infer = infer,
    .forward = forward,
    .backward = backward,
};

/* reshape: the same numbers in another shape; -1 stands for what is left.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "nn/op_move.h"

static enum status infer(const struct node *n, const struct shape *const in[],
                         struct shape *out, struct err *e)
{
    int64_t have = shape_inner(in[0], 0), product = 1;
    int open = -1;
    *out = shape_1(in[0]->dim[0]);
    for (int i = 0; i < SHAPE_MAX - 1 && n->attr[i] != 0; i++) {
        int64_t d = (int64_t)n->attr[i];
        if (d < 0 && open >= 0)
            return err_set(e, STATUS_ARG, "two extents of -1, one is possible");
        if (d < 0)
            open = out->rank;
        else if (__builtin_mul_overflow(product, d, &product))
            return err_set(e, STATUS_ARG, "the extents' product overflows");
        out->dim[out->rank++] = d;
    }
    if (out->rank == 1)
        return err_set(e, STATUS_ARG, "reshape needs a shape, e.g. 16x4x4");
    if (open >= 0) {
        out->dim[open] = have / product;
        product *= have / product;
    }
    if (product != have)
        return err_set(e, STATUS_ARG, "%lld numbers do not fill the shape",
                       (long long)have);
    return STATUS_OK;
}

static const struct attr_row attrs[] = {
    { .name = "dim1", .alias = "shape", .type = ATTR_ITEM,
      .lo = -1, .hi = INT32_MAX, .help = "channels, or features" },
    { .name = "dim2", .alias = "shape", .type = ATTR_ITEM,
      .lo = -1, .hi = INT32_MAX, .help = "height, or length" },
    { .name = "dim3", .alias = "shape", .type = ATTR_ITEM,
      .lo = -1, .hi = INT32_MAX, .help = "width" },
    { .name = "dim4", .alias = "shape", .type = ATTR_ITEM,
      .lo = -1, .hi = INT32_MAX, .help = "fourth extent" },
    { .name = "dim5", .alias = "shape", .type = ATTR_ITEM,
      .lo = -1, .hi = INT32_MAX, .help = "fifth extent" },
    { .name = "dim6", .alias = "shape", .type = ATTR_ITEM,
      .lo = -1, .hi = INT32_MAX, .help = "sixth extent" },
    { .name = "dim7", .alias = "shape", .type = ATTR_ITEM,
      .lo = -1, .hi = INT32_MAX, .help = "seventh extent" },
    { .name = NULL }
};

const struct op op_reshape = {
    .name = "reshape",
    .onnx_name = "Reshape",
    .type = "shape",
    .help = "the same numbers in another shape",
    .min_inputs = 1,
    .max_inputs = 1,
    .flags = OP_KEEPS_GRID,
    .attr = attrs,
    .infer = infer,
    .forward = move_forward,
    .backward = move_backward,
};

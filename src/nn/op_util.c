/* What several operators share. SPDX-License-Identifier: GPL-3.0-or-later */
#include "nn/op_util.h"

struct span span_inside(int64_t outputs, int64_t size, int64_t stride,
                        int64_t offset)
{
    struct span s = { 0, 0 };
    if (offset < 0)
        s.lo = (-offset + stride - 1) / stride;
    if (offset < size)
        s.hi = (size - 1 - offset) / stride + 1;
    if (s.hi > outputs)
        s.hi = outputs;
    if (s.lo > s.hi)
        s.lo = s.hi;
    return s;
}

real dot_reals(const real *a, const real *b, int64_t n)
{
    real s[8] = { 0 };
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int k = 0; k < 8; k++)
            s[k] += a[i + k] * b[i + k];
    for (int k = 0; i < n; i++, k++)
        s[k] += a[i] * b[i];
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

bool node_has(const struct node *n, const char *attr)
{
    return node_attr(n, attr) != 0;
}

double node_attr_or(const struct node *n, const char *attr, double other)
{
    int i = op_attr_index(n->op, attr);
    return i < 0 ? other : n->attr[i];
}

/* Without the batch axis, as people write shapes: 1x28x28. */
static void add_sample_shape(struct str *out, const struct shape *s)
{
    struct shape sample = { .rank = s->rank > 0 ? s->rank - 1 : 0 };
    for (int i = 0; i < sample.rank; i++)
        sample.dim[i] = s->dim[i + 1];
    shape_add(out, &sample);
}

enum status shape_refuse(const struct shape *found, const char *wanted,
                         struct err *e)
{
    struct str s = { 0 };
    add_sample_shape(&s, found);
    enum status status = err_set(e, STATUS_ARG, "found %s, wanted %s",
                                 str_text(&s), wanted);
    str_fini(&s);
    return status;
}

enum status axis_resolve(int64_t axis, const struct shape *s, int *out,
                         struct err *e)
{
    int64_t a = axis < 0 ? axis + s->rank : axis;
    if (a == 0)
        return err_set(e, STATUS_ARG, "axis %lld is the batch",
                       (long long)axis);
    if (a < 0 || a >= s->rank)
        return err_set(e, STATUS_ARG, "axis %lld of a value of rank %d",
                       (long long)axis, s->rank);
    *out = (int)a;
    return STATUS_OK;
}

enum status infer_same(const struct node *n, const struct shape *const in[],
                       struct shape *out, struct err *e)
{
    (void)n;
    (void)e;
    *out = *in[0];
    return STATUS_OK;
}

static enum status broadcast_refuse(const struct shape *a,
                                    const struct shape *b, struct err *e)
{
    struct str s = { 0 };
    add_sample_shape(&s, a);
    str_add(&s, " and ");
    add_sample_shape(&s, b);
    enum status status = err_set(e, STATUS_ARG,
                                 "found %s, wanted equal shapes (or 1 in the "
                                 "axes that differ)", str_text(&s));
    str_fini(&s);
    return status;
}

enum status infer_broadcast(const struct node *n,
                            const struct shape *const in[],
                            struct shape *out, struct err *e)
{
    (void)n;
    const struct shape *a = in[0], *b = in[1];
    if (a->rank != b->rank)
        return broadcast_refuse(a, b, e);
    *out = *a;
    for (int i = 0; i < a->rank; i++) {
        if (a->dim[i] != b->dim[i] && a->dim[i] != 1 && b->dim[i] != 1)
            return broadcast_refuse(a, b, e);
        if (b->dim[i] != 1)
            out->dim[i] = b->dim[i];
    }
    return STATUS_OK;
}

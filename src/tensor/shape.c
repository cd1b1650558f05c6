/* Shapes. SPDX-License-Identifier: GPL-3.0-or-later */
#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>

#include "tensor/tensor.h"

struct shape shape_make(int rank, ...)
{
    assert(rank >= 0 && rank <= SHAPE_MAX);
    struct shape s = { .rank = rank };
    va_list ap;
    va_start(ap, rank);
    for (int i = 0; i < rank; i++)
        s.dim[i] = va_arg(ap, int64_t);
    va_end(ap);
    return s;
}

struct shape shape_1(int64_t a)
{
    return (struct shape){ .rank = 1, .dim = { a } };
}

struct shape shape_2(int64_t a, int64_t b)
{
    return (struct shape){ .rank = 2, .dim = { a, b } };
}

struct shape shape_3(int64_t a, int64_t b, int64_t c)
{
    return (struct shape){ .rank = 3, .dim = { a, b, c } };
}

struct shape shape_4(int64_t a, int64_t b, int64_t c, int64_t d)
{
    return (struct shape){ .rank = 4, .dim = { a, b, c, d } };
}

bool shape_equal(const struct shape *a, const struct shape *b)
{
    if (a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i])
            return false;
    return true;
}

static int64_t product(const struct shape *s, int from, int to)
{
    int64_t n = 1;
    for (int i = from; i < to; i++)
        n *= s->dim[i];
    return n;
}

int64_t shape_count(const struct shape *s)
{
    return product(s, 0, s->rank);
}

int64_t shape_inner(const struct shape *s, int axis)
{
    assert(axis >= 0 && axis < s->rank);
    return product(s, axis + 1, s->rank);
}

int64_t shape_outer(const struct shape *s, int axis)
{
    assert(axis >= 0 && axis < s->rank);
    return product(s, 0, axis);
}

void shape_add(struct str *out, const struct shape *s)
{
    if (s->rank == 0)
        str_add(out, "scalar");
    for (int i = 0; i < s->rank; i++)
        str_printf(out, i ? "x%" PRId64 : "%" PRId64, s->dim[i]);
}

enum status shape_bytes(const struct shape *s, size_t elem, size_t cap,
                        size_t *bytes, struct err *e)
{
    if (s->rank < 0 || s->rank > SHAPE_MAX)
        return err_set(e, STATUS_FORMAT, "%d dimensions, at most %d are read",
                       s->rank, SHAPE_MAX);
    /* A zero may hide behind dimensions whose product overflows: the check
     * of each step stands before the count of elements is believed. */
    size_t total = elem;
    bool zero = false;
    for (int i = 0; i < s->rank; i++) {
        if (s->dim[i] < 0)
            return err_set(e, STATUS_FORMAT, "dimension %d is %" PRId64
                           ", wanted 0 or more", i, s->dim[i]);
        zero = zero || s->dim[i] == 0;
        if (s->dim[i] != 0 &&
            __builtin_mul_overflow(total, (uint64_t)s->dim[i], &total))
            return err_set(e, STATUS_FORMAT,
                           "the product of the dimensions overflows");
    }
    if (zero)
        total = 0;
    if (total > cap)
        return err_set(e, STATUS_FORMAT, "%zu bytes wanted, at most %zu are "
                       "possible", total, cap);
    *bytes = total;
    return STATUS_OK;
}

/* Comparing arrays of numbers within a tolerance.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/assert_near.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/test_main.h"

/* Infinite when one of the two is NaN or infinite and the other differs. */
static double distance(double got, double want)
{
    if (isnan(got) || isnan(want))
        return isnan(got) && isnan(want) ? 0.0 : (double)INFINITY;
    if (isinf(got) || isinf(want))
        return got == want ? 0.0 : (double)INFINITY;
    return fabs(got - want);
}

static double allowed(double want, double rel, double abs)
{
    return isfinite(want) ? abs + rel * fabs(want) : 0.0;
}

static void describe(struct near *r, const struct tensor *got,
                     const struct tensor *want)
{
    snprintf(r->text, sizeof r->text,
             "%" PRId64 " of %" PRId64 " differ, first [%" PRId64 "]: got "
             "%.9g, want %.9g; worst [%" PRId64 "]: got %.9g, want %.9g, "
             "error %.3g",
             r->bad, shape_count(&want->shape), r->first_bad,
             tensor_get(got, r->first_bad), tensor_get(want, r->first_bad),
             r->worst, tensor_get(got, r->worst), tensor_get(want, r->worst),
             r->worst_error);
}

struct near near_compare(const struct tensor *got, const struct tensor *want,
                         double rel, double abs)
{
    struct near r = { .ok = true, .first_bad = -1, .worst = -1 };
    if (!shape_equal(&got->shape, &want->shape)) {
        struct str a = { 0 }, b = { 0 };
        shape_add(&a, &got->shape);
        shape_add(&b, &want->shape);
        snprintf(r.text, sizeof r.text, "got shape %s, want %s",
                 str_text(&a), str_text(&b));
        str_fini(&a);
        str_fini(&b);
        r.ok = false;
        return r;
    }
    int64_t n = shape_count(&want->shape);
    for (int64_t i = 0; i < n; i++) {
        double w = tensor_get(want, i);
        double error = distance(tensor_get(got, i), w);
        if (error > r.worst_error || r.worst < 0) {
            r.worst = i;
            r.worst_error = error;
        }
        if (error <= allowed(w, rel, abs))
            continue;
        if (r.bad++ == 0)
            r.first_bad = i;
    }
    r.ok = r.bad == 0;
    if (!r.ok)
        describe(&r, got, want);
    return r;
}

void assert_tensor_near_at(const struct tensor *got,
                           const struct tensor *want, double rel, double abs,
                           const char *file, int line)
{
    struct near r = near_compare(got, want, rel, abs);
    if (r.ok)
        return;
    print_error("%s\n", r.text);
    _fail(file, line);
}

void assert_array_near_at(struct tensor got, struct tensor want,
                          double tolerance[2], const char *file, int line)
{
    assert_tensor_near_at(&got, &want, tolerance[0], tolerance[1], file, line);
}

void assert_near_at(double got, double want, double rel, double abs,
                    const char *file, int line)
{
    struct shape one = { 0 };
    struct tensor g = tensor_view(DTYPE_F64, &one, &got);
    struct tensor w = tensor_view(DTYPE_F64, &one, &want);
    assert_tensor_near_at(&g, &w, rel, abs, file, line);
}

void *near_drop_const(const void *p)
{
    void *q;
    memcpy(&q, &p, sizeof q);
    return q;
}

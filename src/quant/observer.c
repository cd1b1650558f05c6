/* The table of observers, and scans of data.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "quant/observe.h"

const struct observer_kind *const observer_table[] = {
#define OBSERVER(name) &observer_##name,
#include "quant/observers.def"
#undef OBSERVER
};
const int observer_count =
    (int)(sizeof observer_table / sizeof observer_table[0]);

const struct observer_kind *observer_kind_find(const char *name)
{
    for (int i = 0; i < observer_count; i++)
        if (!strcmp(observer_table[i]->name, name))
            return observer_table[i];
    return NULL;
}

struct extent {
    real lo, hi;
    int bad;                  /* how many are not finite (pieces are short) */
};


/* Lanes of their own for the ends: no reduction to reorder. v - v is 0 for
 * finite values only. */
struct lanes {
    real lo[LANES], hi[LANES];
    int bad[LANES];
};

static inline __attribute__((always_inline)) void
look(struct lanes *s, const real *x, int n)
{
#pragma omp simd
    for (int l = 0; l < n; l++) {
        real v = x[l];

        s->lo[l] = v < s->lo[l] ? v : s->lo[l];
        s->hi[l] = v > s->hi[l] ? v : s->hi[l];
        s->bad[l] += v - v != 0;
    }
}

QUANT_CLONES static struct extent extent_of(const real *x, int64_t n)
{
    struct extent e = {(real)INFINITY, (real)-INFINITY, 0};
    struct lanes s;
    int64_t i = 0;

    for (int l = 0; l < LANES; l++) {
        s.lo[l] = e.lo;
        s.hi[l] = e.hi;
        s.bad[l] = 0;
    }
    for (; i + LANES <= n; i += LANES)
        look(&s, x + i, LANES);
    look(&s, x + i, (int)(n - i));
    for (int l = 0; l < LANES; l++) {
        e.lo = s.lo[l] < e.lo ? s.lo[l] : e.lo;
        e.hi = s.hi[l] > e.hi ? s.hi[l] : e.hi;
        e.bad += s.bad[l];
    }
    return e;
}

static enum status report_bad(const real *x, int64_t n, struct err *e)
{
    long long nan = 0, inf = 0;

    for (int64_t i = 0; i < n; i++) {
        nan += isnan(x[i]) != 0;
        inf += isinf(x[i]) != 0;
    }
    return err_set(e, STATUS_NUMERIC,
                   "%lld NaN and %lld infinite of %lld values", nan, inf,
                   (long long)n);
}

#define PIECE 16384

static int64_t scan_flat(const real *x, int64_t n, real *lo, real *hi)
{
    real a = (real)INFINITY, b = (real)-INFINITY;
    int64_t bad = 0;

#pragma omp parallel for schedule(static) if (n >= QUANT_PARALLEL) \
    reduction(min : a) reduction(max : b) reduction(+ : bad)
    for (int64_t i = 0; i < n; i += PIECE) {
        struct extent t = extent_of(x + i, n - i < PIECE ? n - i : PIECE);

        a = t.lo < a ? t.lo : a;
        b = t.hi > b ? t.hi : b;
        bad += t.bad;
    }
    *lo = a;
    *hi = b;
    return bad;
}

/* Channels innermost: one row of them after the other. */
QUANT_CLONES static int row_extents(const real *x, real *lo, real *hi,
                                    int64_t n)
{
    int bad = 0;

#pragma omp simd reduction(+ : bad)
    for (int64_t c = 0; c < n; c++) {
        real v = x[c];

        lo[c] = v < lo[c] ? v : lo[c];
        hi[c] = v > hi[c] ? v : hi[c];
        bad += v - v != 0;
    }
    return bad;
}

static int64_t scan_rows(const real *x, struct qview v, real *lo, real *hi)
{
    int64_t bad = 0;

    for (int64_t c = 0; c < v.channels; c++) {
        lo[c] = (real)INFINITY;
        hi[c] = (real)-INFINITY;
    }
    for (int64_t r = 0; r < v.outer; r++)
        bad += row_extents(x + r * v.channels, lo, hi, v.channels);
    return bad;
}

static int64_t scan_channels(const real *x, struct qview v, real *lo,
                             real *hi)
{
    int64_t bad = 0;

#pragma omp parallel for schedule(static) reduction(+ : bad) \
    if (view_count(v) >= QUANT_PARALLEL)
    for (int64_t c = 0; c < v.channels; c++) {
        real a = (real)INFINITY, b = (real)-INFINITY;

        for (int64_t o = 0; o < v.outer; o++) {
            struct extent t = extent_of(
                x + (o * v.channels + c) * v.inner, v.inner);

            a = t.lo < a ? t.lo : a;
            b = t.hi > b ? t.hi : b;
            bad += t.bad;
        }
        lo[c] = a;
        hi[c] = b;
    }
    return bad;
}

enum status scan_minmax(const real *x, struct qview v, real *lo, real *hi,
                        struct err *e)
{
    int64_t bad;

    if (view_count(v) == 0)
        return err_set(e, STATUS_NUMERIC, "no values to observe");
    if (v.channels == 1)
        bad = scan_flat(x, v.outer * v.inner, lo, hi);
    else if (v.inner == 1)
        bad = scan_rows(x, v, lo, hi);
    else
        bad = scan_channels(x, v, lo, hi);
    return bad ? report_bad(x, view_count(v), e) : STATUS_OK;
}

const real *observer_seen(const struct observer *o)
{
    return observer_row(o, 2);
}

void observer_keep_seen(struct observer *o, const real *lo, const real *hi)
{
    size_t n = (size_t)o->channels * sizeof *lo;

    memmove(observer_row(o, 2), lo, n);
    memmove(observer_row(o, 3), hi, n);
}

void observer_clear_range(struct observer *o)
{
    for (int64_t c = 0; c < o->channels; c++) {
        observer_row(o, 0)[c] = (real)INFINITY;
        observer_row(o, 1)[c] = (real)-INFINITY;
    }
}

bool observer_read_range(const struct observer *o, real *lo, real *hi)
{
    if (observer_row(o, 0)[0] > observer_row(o, 1)[0])
        return false;
    for (int64_t c = 0; c < o->channels; c++) {
        lo[c] = observer_row(o, 0)[c];
        hi[c] = observer_row(o, 1)[c];
    }
    return true;
}

void observer_describe_range(const struct observer *o,
                             const struct qspec *s, struct str *out)
{
    real lo = observer_row(o, 0)[0], hi = observer_row(o, 1)[0];

    if (lo > hi) {
        str_printf(out, "%s: nothing seen\n", s->observer->name);
        return;
    }
    for (int64_t c = 1; c < o->channels; c++) {
        lo = observer_row(o, 0)[c] < lo ? observer_row(o, 0)[c] : lo;
        hi = observer_row(o, 1)[c] > hi ? observer_row(o, 1)[c] : hi;
    }
    str_printf(out, "%s: %.6g to %.6g", s->observer->name, (double)lo,
               (double)hi);
    if (o->channels > 1)
        str_printf(out, " over %lld channels", (long long)o->channels);
    str_char(out, '\n');
}

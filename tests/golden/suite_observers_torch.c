/* Suite observers-torch: torch's observers and their parameters.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "golden/golden.h"
#include "golden/golden_quant.h"

static bool is_finite(const real *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

static bool has_nan(const real *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (isnan(x[i]))
            return true;
    return false;
}

static void batch_range(const real *x, struct qview v, real *lo, real *hi)
{
    int64_t n = v.outer * v.channels * v.inner;

    for (int64_t c = 0; c < v.channels; c++) {
        lo[c] = (real)INFINITY;
        hi[c] = (real)-INFINITY;
    }
    for (int64_t i = 0; i < n; i++) {
        int64_t c = i / v.inner % v.channels;

        lo[c] = real_fmin(lo[c], x[i]);
        hi[c] = real_fmax(hi[c], x[i]);
    }
}

/* qatlab refuses data with NaN and infinity; torch's running range and its
 * parameters for infinite data are compared through the range alone. */
static bool observe_infinite(struct golden_case *c, struct quantizer *q,
                             const real *x, struct qview v)
{
    struct observer *o = q->observer;
    real *lo = golden_alloc(c, (size_t)q->channels, sizeof *lo);
    real *hi = golden_alloc(c, (size_t)q->channels, sizeof *hi);
    struct err e = {0};

    if (quantizer_observe(q, x, v, &e) != STATUS_NUMERIC)
        golden_fail(c, "data with NaN or infinity was not refused");
    if (has_nan(x, v.outer * v.channels * v.inner))
        return false;
    batch_range(x, v, lo, hi);
    o->kind->update_minmax(o, &q->spec, lo, hi);
    o->kind->range(o, &q->spec, q->lo, q->hi);
    q->spec.kind->set_range(q);
    return true;
}

static void check_grid(struct golden_case *c, struct quantizer *q,
                       long long batch)
{
    if (!golden_find(c, "scale%lld", batch))
        return;
    golden_equal_at(c, "scale", batch, q->scale, q->channels);
    golden_equal_at(c, "zero_point", batch, q->zero_point, q->channels);
}

static void run_range(struct golden_case *c, struct quantizer *q)
{
    for (long long i = 0; i < golden_int(c, "batches", 0); i++) {
        char key[32];
        const real *x;
        struct qview v;
        struct err e;
        int64_t n;

        snprintf(key, sizeof key, "x%lld", i);
        x = golden_reals(c, key, &n);
        v = golden_view(c, q, key);
        if (!x)
            return;
        if (!is_finite(x, n)) {
            if (!observe_infinite(c, q, x, v))
                return;
        } else if (q->ready && !is_finite(q->lo, q->channels)) {
            batch_range(x, v, q->lo, q->hi);
            q->observer->kind->update_minmax(q->observer, &q->spec, q->lo,
                                             q->hi);
            q->observer->kind->range(q->observer, &q->spec, q->lo, q->hi);
            q->spec.kind->set_range(q);
        } else if (!golden_ok(c, quantizer_observe(q, x, v, &e), &e,
                              "observe")) {
            return;
        }
        golden_equal_at(c, "min", i, q->lo, q->channels);
        golden_equal_at(c, "max", i, q->hi, q->channels);
        check_grid(c, q, i);
    }
}

/* Counts within 1e-4 of their total. */
static void check_histogram(struct golden_case *c,
                            const struct quantizer *q, long long batch)
{
    const real *state = q->observer->state;
    int64_t bins = golden_int(c, "bins", 0);
    double total = 0;
    char key[32];

    snprintf(key, sizeof key, "min%lld", batch);
    golden_equal(c, key, state, 1);
    snprintf(key, sizeof key, "max%lld", batch);
    golden_equal(c, key, state + 1, 1);
    for (int64_t i = 0; i < bins; i++)
        total += (double)state[2 + i];
    snprintf(key, sizeof key, "hist%lld", batch);
    golden_near(c, key, state + 2, bins, 1e-4 * total, 0);
}

/* Equal to torch's choice; where norms are nearly equal the search may stop
 * up to two bins away, and the scale then differs accordingly. */
static void check_search(struct golden_case *c, const struct quantizer *q,
                         long long batch)
{
    const real *state = q->observer->state;
    double width = ((double)state[1] - (double)state[0]) /
                   (double)golden_int(c, "bins", 1);
    double steps = (double)(q->hi_code - q->lo_code);
    char key[32];

    if (!golden_find(c, "search_min%lld", batch))
        return;
    snprintf(key, sizeof key, "search_min%lld", batch);
    golden_near(c, key, q->lo, 1, 2.01 * width, 0);
    snprintf(key, sizeof key, "search_max%lld", batch);
    golden_near(c, key, q->hi, 1, 2.01 * width, 0);
    snprintf(key, sizeof key, "scale%lld", batch);
    golden_near(c, key, q->scale, 1, 2 * 2.01 * width / steps, 0);
}

static void run_histogram(struct golden_case *c, struct quantizer *q)
{
    for (long long i = 0; i < golden_int(c, "batches", 0); i++) {
        char key[32];
        const real *x;
        struct err e;

        snprintf(key, sizeof key, "x%lld", i);
        x = golden_reals(c, key, NULL);
        if (!x ||
            !golden_ok(c, quantizer_observe(q, x, golden_view(c, q, key),
                                            &e), &e, "observe"))
            return;
        check_histogram(c, q, i);
        check_search(c, q, i);
    }
}

void golden_observers_torch(struct golden_case *c)
{
    struct quantizer *q;
    struct qspec s;

    golden_torch_spec(c, &s);
    if (!strcmp(s.observer->name, "histogram")) {
        s.observer_param[0] = (double)golden_int(c, "bins", 2048);
        s.observer_param[1] = (double)golden_int(c, "dst_nbins", 256);
        s.observer_param[2] = (double)golden_int(c, "upsample_rate", 16);
    }
    q = golden_quantizer(c, &s, "x0");
    if (!q)
        return;
    if (s.observer->flags & OBS_MINMAX_ONLY)
        run_range(c, q);
    else
        run_histogram(c, q);
}

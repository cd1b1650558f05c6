/* Suite quant-aimet: AIMET's quantizers and encoding analyzers.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "golden/golden.h"
#include "golden/golden_quant.h"
#include "quant/hist.h"

static bool has_scale(const struct golden_case *c)
{
    return !strcmp(golden_text(c, "parametrization", ""), "scale_offset");
}

/* The learned rows as the case has them: min and max, or scale and offset. */
static bool put_learned(struct golden_case *c, struct quantizer *q)
{
    const char *const rows[2][2] = {{"min", "max"}, {"scale", "offset"}};

    for (int i = 0; i < 2; i++) {
        int64_t n;
        const real *v = golden_reals(c, rows[has_scale(c)][i], &n);

        if (!v || n != q->channels)
            return false;
        memcpy(q->learned + i * n, v, (size_t)n * sizeof *v);
    }
    q->spec.kind->refresh(q);
    q->ready = true;
    q->observe = false;
    q->learn = true;
    return true;
}

static void check_grid(struct golden_case *c, const struct quantizer *q)
{
    real *offset = golden_alloc(c, (size_t)q->channels, sizeof *offset);

    for (int64_t i = 0; i < q->channels; i++)
        offset[i] = -q->zero_point[i];
    golden_equal(c, "scale", q->scale, q->channels);
    golden_equal(c, "offset", offset, q->channels);
    golden_equal(c, "min_effective", q->lo, q->channels);
    golden_equal(c, "max_effective", q->hi, q->channels);
}

/* Sums of the absolute terms of d(scale) and d(offset) of a channel. */
struct size {
    double scale, offset;
};

static struct size size_of(const struct quantizer *q, const real *x,
                           const real *dy, struct qview v, int64_t channel)
{
    double s = (double)q->scale[channel], z = (double)q->zero_point[channel];
    double lo = (double)q->lo_code, hi = (double)q->hi_code;
    struct size out = {0, 0};

    for (int64_t i = 0; i < v.outer * v.channels * v.inner; i++) {
        double r = rint((double)x[i] / s), d = fabs((double)dy[i]);
        bool in = r + z >= lo && r + z <= hi;

        if (i / v.inner % v.channels != channel)
            continue;
        out.scale += d * (in ? fabs(r - (double)x[i] / s)
                             : fmax(fabs(lo - z), fabs(hi - z)));
        out.offset += in ? 0 : d * s;
    }
    return out;
}

/* Tolerance: 1e-5 of the terms, as the README has it. */
static void check_learned(struct golden_case *c, const struct quantizer *q,
                          const real *x, const real *dy, struct qview v)
{
    const char *const rows[2][2] = {{"d_min", "d_max"},
                                    {"d_scale", "d_offset"}};

    for (int row = 0; row < 2; row++) {
        double *found = golden_alloc(c, (size_t)q->channels, sizeof *found);
        double *tol = golden_alloc(c, (size_t)q->channels, sizeof *tol);

        if (has_scale(c) && row && q->spec.symmetric)
            return;
        for (int64_t i = 0; i < q->channels; i++) {
            struct size t = size_of(q, x, dy, v, i);
            double n = (double)(q->hi_code - q->lo_code);
            double s = (double)q->scale[i];
            double min = (double)q->learned[i];

            found[i] = (double)q->grad[row * q->channels + i];
            if (has_scale(c))
                tol[i] = row ? t.offset : t.scale;
            else
                tol[i] = t.scale / n + t.offset / s +
                         t.offset * fabs(min) / (s * s * n);
            tol[i] = 1e-5 * tol[i] + 1e-30;
        }
        golden_within(c, rows[has_scale(c)][row], found, tol, q->channels);
    }
}

/* The kind's defaults with the case's codes. */
static void aimet_spec(const struct golden_case *c, const char *kind,
                       struct qspec *s)
{
    struct qspec codes;

    golden_spec(c, &codes);
    *s = codes;
    s->kind = quantizer_kind_find(kind);
    s->kind->defaults(s);
    s->custom_codes = codes.custom_codes;
    s->symmetric = golden_bool(c, "symmetric", false);
    s->grain = golden_bool(c, "per_channel", false) ? GRAIN_CHANNEL
                                                    : GRAIN_TENSOR;
}

static void run_qdq(struct golden_case *c)
{
    struct qview v;
    struct quantizer *q;
    struct qspec s;
    const real *x, *dy;
    real *y, *dx;
    int64_t n;

    aimet_spec(c, has_scale(c) ? "scale_aimet" : "range_aimet", &s);
    q = golden_quantizer(c, &s, "x");
    x = golden_reals(c, "x", &n);
    dy = golden_reals(c, "dy", NULL);
    if (!q || !x || !dy || !put_learned(c, q))
        return;
    check_grid(c, q);
    v = golden_view(c, q, "x");
    y = golden_alloc(c, (size_t)n, sizeof *y);
    dx = golden_alloc(c, (size_t)n, sizeof *dx);
    quantizer_forward(q, x, y, v, true);
    golden_equal(c, "y", y, n);
    quantizer_forward(q, x, y, v, false);
    golden_equal(c, "y_nograd", y, n);
    quantizer_backward(q, x, dy, dx, v);
    golden_equal(c, "dx", dx, n);
    check_learned(c, q, x, dy, v);
}

/* AIMET's analyzers: our observer, its settings by name from the case. */
struct analyzer {
    const char *name, *observer;
    double bins, growth;
    double tolerance;         /* of the range, relative; 0: equal */
};

static const struct analyzer analyzers[] = {
    {"MinMaxEncodingAnalyzer", "minmax", 0, 0, 0},
    {"PercentileEncodingAnalyzer", "percentile", 2048, 0, 1e-6},
    {"SqnrEncodingAnalyzer", "sqnr", 2048, 0, 2e-6},
    {"TfEnhancedEncodingAnalyzer", "sqnr", 512, 3, 2e-6},
    {0},
};

static void set_row(struct qspec *s, const char *name, double v)
{
    int i = qrow_find(s->observer->param, name);

    if (i >= 0)
        s->observer_param[i] = v;
}

static void observer_spec(const struct golden_case *c,
                          const struct analyzer *a, struct qspec *s)
{
    long long steps = golden_int(c, "num_steps", 255);
    double growth = golden_real(c, "growth_limit", a->growth);

    aimet_spec(c, "range_aimet", s);
    s->is_signed = s->symmetric;
    s->custom_codes = true;
    s->lo_code = s->symmetric ? -(steps - steps / 2) : 0;
    s->hi_code = s->lo_code + steps;
    s->observer = observer_kind_find(a->observer);
    memset(s->observer_param, 0, sizeof s->observer_param);
    set_row(s, "bins", golden_real(c, "num_bins", a->bins));
    set_row(s, "p", golden_real(c, "percentile", 100));
    set_row(s, "gamma", golden_real(c, "gamma", 3));
    set_row(s, "growth", isinf(growth) ? 0 : growth);
}

static void check_histogram(struct golden_case *c, const struct quantizer *q,
                            const struct analyzer *a, long long batch)
{
    int bins = (int)golden_int(c, "num_bins", (long long)a->bins);
    size_t n = (size_t)q->channels;
    real *lo = golden_alloc(c, n, sizeof *lo);
    real *hi = golden_alloc(c, n, sizeof *hi);
    real *count = golden_alloc(c, n * (size_t)bins, sizeof *count);

    for (int64_t i = 0; i < q->channels; i++) {
        struct hist_view v;

        if (!hist_channel(q->observer, &q->spec, i, &v)) {
            golden_fail(c, "channel %lld has no histogram", (long long)i);
            return;
        }
        lo[i] = v.seen_lo;
        hi[i] = v.seen_hi;
        memcpy(count + i * bins, v.count, (size_t)bins * sizeof *count);
    }
    golden_equal_at(c, "hist", batch, count, q->channels * bins);
    golden_equal_at(c, "hist_min", batch, lo, q->channels);
    golden_equal_at(c, "hist_max", batch, hi, q->channels);
}

/* Ends within the tolerance of the range's width. */
static void check_range(struct golden_case *c, const struct quantizer *q,
                        const struct analyzer *a, long long batch)
{
    int64_t n = q->channels;

    for (int row = 0; row < 2; row++) {
        double *found = golden_alloc(c, (size_t)n, sizeof *found);
        double *tol = golden_alloc(c, (size_t)n, sizeof *tol);
        char key[32];

        for (int64_t i = 0; i < n; i++) {
            double width = (double)(q->learned[n + i] - q->learned[i]);

            found[i] = (double)q->learned[row * n + i];
            tol[i] = a->tolerance * width;
        }
        snprintf(key, sizeof key, "%s%lld", row ? "max" : "min", batch);
        golden_within(c, key, found, tol, n);
    }
}

static void run_analyzer(struct golden_case *c)
{
    const char *name = golden_text(c, "analyzer", "");
    const struct analyzer *a = analyzers;
    struct quantizer *q;
    struct qspec s;
    struct err e;

    while (a->name && strcmp(a->name, name))
        a++;
    if (!a->name) {
        golden_fail(c, "unknown analyzer '%s'", name);
        return;
    }
    observer_spec(c, a, &s);
    q = golden_quantizer(c, &s, "x0");
    for (long long i = 0; q && i < golden_int(c, "batches", 0); i++) {
        char key[32];
        const real *x;

        snprintf(key, sizeof key, "x%lld", i);
        x = golden_reals(c, key, NULL);
        if (!x ||
            !golden_ok(c, quantizer_observe(q, x, golden_view(c, q, key),
                                            &e), &e, "observe"))
            return;
        check_range(c, q, a, i);
        if (golden_find(c, "hist%lld", i))
            check_histogram(c, q, a, i);
    }
}

static const struct golden_kind kinds[] = {
    {"analyzer", run_analyzer},
    {"qdq", run_qdq},
    {"quantsim", golden_aimet_sim},
    {0},
};

void golden_quant_aimet(struct golden_case *c)
{
    golden_by_kind(c, "kind", kinds);
}

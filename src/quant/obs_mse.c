/* Observer mse: the range with the smallest quantization error.
 *
 * Candidates are fractions of the observed range; the error of each is summed
 * over a histogram with the spec's own rule, grid and rounding. Both ends
 * shrink together, then each alone.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>

#include "quant/hist.h"
#include "quant/uniform.h"

enum { MSE_P, MSE_STEPS, MSE_BINS };

static const struct qrow rows[] = {
    {"p", 2, 1, 8, "exponent of the error: 2 is the mean square"},
    {"steps", 64, 4, 1024, "candidates between nothing and all"},
    {"bins", 1024, 16, 65536, "bins of the histogram"},
    {0},
};

static struct hist settings(const struct qspec *s)
{
    return (struct hist){.bins = (int)s->observer_param[MSE_BINS]};
}

static int64_t state_reals(const struct qspec *s)
{
    struct hist h = settings(s);

    return hist_reals(&h);
}

static void init(struct observer *o, const struct qspec *s)
{
    struct hist h = settings(s);

    hist_init(o, &h);
}

static enum status update(struct observer *o, const struct qspec *s,
                          const real *x, struct qview v, struct err *e)
{
    struct hist h = settings(s);

    return hist_update(o, &h, x, v, e);
}

/* count * error^2 at the middles of n bins from `first`. */
QUANT_CLONES static void square_errors(const struct hist_view *v, int first,
                                       const struct grid *g, real *out,
                                       int64_t n)
{
    real scale = g->scale, inv = g->inv, zero = g->zero_point;
    real lo = g->lo, hi = g->hi;

#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real x = v->lo + v->width * ((real)(first + (int)i) + REAL(0.5));
        real q = real_rint(x * inv) + zero;
        real d;

        q = q < lo ? lo : q;
        q = q > hi ? hi : q;
        d = (q - zero) * scale - x;
        out[i] = v->count[first + (int)i] * d * d;
    }
}

static double sum_squares(const struct hist_view *v, const struct grid *g)
{
    double sum = 0;

    for (int i = 0; i < v->bins; i += QUANT_BLOCK) {
        real part[QUANT_BLOCK];
        int64_t n = v->bins - i < QUANT_BLOCK ? v->bins - i : QUANT_BLOCK;

        square_errors(v, i, g, part, n);
        sum += block_sum(part, n);
    }
    return sum;
}

static double power_errors(const struct hist_view *v, real scale, real zero,
                           const struct qspec *s)
{
    double sum = 0, p = s->observer_param[MSE_P];
    struct grid g = {.scale = scale, .inv = REAL(1.0) / scale,
                     .zero_point = zero};
    int64_t lo, hi;

    qspec_codes(s, &lo, &hi);
    g.lo = (real)lo;
    g.hi = (real)hi;
    if (p == 2)
        return sum_squares(v, &g);
    for (int i = 0; i < v->bins; i++) {
        double x = (double)v->lo + (double)v->width * (i + 0.5);
        double q = rint(x / (double)scale) + (double)zero;

        q = q < (double)lo ? (double)lo : q > (double)hi ? (double)hi : q;
        q = (q - (double)zero) * (double)scale;
        sum += (double)v->count[i] * pow(fabs(q - x), p);
    }
    return sum;
}

struct search {
    const struct qspec *spec;
    const struct hist_view *hist;
    real lo, hi;              /* the best so far */
    double error;
};

static void consider(struct search *s, real lo, real hi)
{
    real scale, zero;
    double error;

    s->spec->rule->compute(s->spec, lo, hi, &scale, &zero);
    error = power_errors(s->hist, scale, zero, s->spec);
    if (error < s->error) {
        s->error = error;
        s->lo = lo;
        s->hi = hi;
    }
}

static void search_range(struct search *s, real lo, real hi)
{
    int steps = (int)s->spec->observer_param[MSE_STEPS];
    real a, b;

    for (int i = steps; i >= 1; i--)
        consider(s, lo * (real)i / (real)steps, hi * (real)i / (real)steps);
    if (s->spec->symmetric)
        return;
    a = s->lo;
    for (int i = steps; i >= 1; i--)
        consider(s, a, hi * (real)i / (real)steps);
    b = s->hi;
    for (int i = steps; i >= 0; i--)
        consider(s, lo * (real)i / (real)steps, b);
}

static bool range(const struct observer *o, const struct qspec *s, real *lo,
                  real *hi)
{
    struct hist h = settings(s);
    bool seen = true;

#pragma omp parallel for schedule(static) reduction(&& : seen) \
    if (o->channels > 1)
    for (int64_t c = 0; c < o->channels; c++) {
        struct hist_view v;
        struct search best = {.spec = s, .hist = &v, .error = INFINITY};

        if (!hist_channel(o, &h, c, &v)) {
            seen = false;
            continue;
        }
        search_range(&best, v.seen_lo, v.seen_hi);
        lo[c] = best.lo;
        hi[c] = best.hi;
    }
    return seen;
}

static void describe(const struct observer *o, const struct qspec *s,
                     struct str *out)
{
    struct hist h = settings(s);

    hist_describe(o, &h, out);
}

const struct observer_kind observer_mse = {
    .name = "mse",
    .help = "range with the smallest error of the quantized values",
    .source = "Banner et al. 2018; Brevitas MSE, ModelOpt mse",
    .flags = OBS_HISTOGRAM,
    .param = rows,
    .state_reals = state_reals,
    .init = init,
    .update = update,
    .range = range,
    .describe = describe,
};

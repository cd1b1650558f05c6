/* Observer mse: the range with the smallest quantization error.
 *
 * Candidates are fractions of the observed range; the error of each is summed
 * over a histogram with the spec's own rule and grid. Both ends shrink
 * together, then each alone; each time in coarse steps, then in finer ones
 * around the best.
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
        QUANT_ALIGNED real part[QUANT_BLOCK];
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

/* Shares of the observed ends, and the error of the best so far. */
struct search {
    const struct qspec *spec;
    const struct hist_view *hist;
    double low, high;
    double error;
};

static void consider(struct search *s, double low, double high)
{
    real scale, zero;
    double error;

    s->spec->rule->compute(s->spec, (real)((double)s->hist->seen_lo * low),
                           (real)((double)s->hist->seen_hi * high), &scale,
                           &zero);
    error = power_errors(s->hist, scale, zero, s->spec);
    if (error < s->error) {
        s->error = error;
        s->low = low;
        s->high = high;
    }
}

/* Finer steps between the neighbours of a coarse one. */
#define FINER 8

/* Tries shares from, from - step, ... above `to` for the ends that move. */
static void walk(struct search *s, double from, double to, double step,
                 const bool move[2])
{
    double low = s->low, high = s->high;

    for (double share = from; share > to; share -= step)
        consider(s, move[0] ? share : low, move[1] ? share : high);
}

static void walk_twice(struct search *s, const bool move[2])
{
    double step = 1 / s->spec->observer_param[MSE_STEPS];
    double best;

    walk(s, 1, step / 2, step, move);
    best = move[0] ? s->low : s->high;
    walk(s, fmin(best + step, 1), fmax(best - step, step / FINER / 2),
         step / FINER, move);
}

static void search_range(struct search *s)
{
    const bool both[2] = {true, true};
    const bool high[2] = {false, true}, low[2] = {true, false};

    walk_twice(s, both);
    if (s->spec->symmetric)
        return;
    walk_twice(s, high);
    walk_twice(s, low);
}

static bool range(const struct observer *o, const struct qspec *s, real *lo,
                  real *hi)
{
    bool seen = true;

#pragma omp parallel for schedule(static) reduction(&& : seen) \
    if (o->channels > 1)
    for (int64_t c = 0; c < o->channels; c++) {
        struct hist_view v;
        struct search best = {.spec = s, .hist = &v, .low = 1, .high = 1,
                              .error = INFINITY};

        if (!hist_channel(o, s, c, &v)) {
            seen = false;
            continue;
        }
        search_range(&best);
        lo[c] = (real)((double)v.seen_lo * best.low);
        hi[c] = (real)((double)v.seen_hi * best.high);
    }
    return seen;
}

const struct observer_kind observer_mse = {
    .name = "mse",
    .help = "range with the smallest error of the quantized values",
    .source = "Banner et al. 2018; Brevitas MSE, ModelOpt mse",
    .flags = OBS_HISTOGRAM,
    .param = rows,
    .bins_row = MSE_BINS,
    .state_reals = hist_state_reals,
    .init = hist_init,
    .update = hist_update,
    .range = range,
    .describe = hist_describe,
};

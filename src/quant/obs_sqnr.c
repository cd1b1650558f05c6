/* Observer sqnr: AIMET's search for the best signal to noise ratio.
 *
 * Candidates are step sizes (and, asymmetric, offsets) over the observed
 * range; the noise of each is the squared error over a histogram, `gamma`
 * times as much where values are clipped. bins=512, growth=3 is AIMET's
 * tf_enhanced. SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/hist.h"

enum { SQNR_BINS, SQNR_GAMMA, SQNR_GROWTH };

/* Candidates, as in AIMET: deltas symmetric and not, offsets. */
#define SYM_DELTAS 101
#define ASYM_DELTAS 17
#define OFFSETS 21

static const struct qrow rows[] = {
    {"bins", 2048, 16, 65536, "bins of the histogram"},
    {"gamma", 3, 0, 1000, "weight of the error of clipped values"},
    {"growth", 0, 0, 1000, "each end moves at most growth/2 first ranges; "
     "0: no limit"},
    {0},
};

struct search {
    const struct hist_view *hist;
    real width;               /* of a bin: its first edges' difference */
    real steps;               /* codes - 1 */
    real least;               /* smallest step size */
    real gamma;
    real delta, offset;       /* the best so far */
    double noise;
};

QUANT_CLONES static void noise_block(const struct search *s, real delta,
                                     real offset, int from, int64_t n,
                                     real *out)
{
    const struct hist_view *h = s->hist;
    real width = s->width, first = h->lo + width / 2, steps = s->steps;

#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real x = first + width * (real)(from + (int)i);
        real q = real_rint(x / delta - offset);
        real c = q < 0 ? 0 : q > steps ? steps : q;
        real d = real_fabs((c + offset) * delta - x);
        real t = d * d * h->count[from + (int)i];

        out[i] = c == q ? t : t * s->gamma;
    }
}

static void consider(struct search *s, real delta, real offset)
{
    double noise = 0;

    for (int i = 0; i < s->hist->bins; i += QUANT_BLOCK) {
        QUANT_ALIGNED real part[QUANT_BLOCK];
        int64_t n = s->hist->bins - i < QUANT_BLOCK ? s->hist->bins - i
                                                    : QUANT_BLOCK;

        noise_block(s, delta, offset, i, n, part);
        noise += block_sum(part, n);
    }
    if (noise < s->noise) {
        s->noise = noise;
        s->delta = delta;
        s->offset = offset;
    }
}

static real at_least(real a, real b)
{
    return a > b ? a : b;
}

static void search_symmetric(struct search *s, real lo, real hi)
{
    real most = 2 * at_least(hi, -lo) / s->steps;
    real offset = -real_ceil(s->steps / 2);

    for (int i = 1; i <= SYM_DELTAS; i++)
        consider(s,
                 at_least(most * (real)i / (real)(SYM_DELTAS - 1), s->least),
                 offset);
}

/* A candidate cut back to the observed range. */
static void consider_within(struct search *s, real delta, real offset,
                            real lo, real hi)
{
    real a = at_least(lo, delta * offset);
    real b = real_fmin(hi, delta * offset + delta * s->steps);
    real d = at_least((b - a) / s->steps, s->least);

    consider(s, d, real_rint(a / d));
}

static void search_asymmetric(struct search *s, real lo, real hi)
{
    real most = (hi - lo) / s->steps;
    real offset = real_rint(lo / most);
    real a = most * offset, b = a + most * s->steps;
    int offsets = s->steps + 2 < OFFSETS ? (int)s->steps + 2 : OFFSETS;
    double stride = (double)s->steps / (offsets - 2);

    for (int i = 1; i <= ASYM_DELTAS; i++) {
        real delta = most * (real)i / (real)(ASYM_DELTAS - 1);

        for (int k = 0; k < offsets - 1; k++)
            consider_within(s, delta,
                            real_rint((real)(k * stride -
                                             (double)s->steps)), a, b);
        consider_within(s, delta, offset, a, b);
    }
}

static void search_channel(const struct qspec *spec,
                           const struct hist_view *h, real lo, real hi,
                           struct search *s)
{
    int64_t low, high;

    qspec_codes(spec, &low, &high);
    *s = (struct search){
        .hist = h,
        .width = hist_edge_gap(h->lo, h->width),
        .steps = (real)(high - low),
        .least = (real)fmin(0x1p-23, 0.01 / (double)(high - low)),
        .gamma = (real)spec->observer_param[SQNR_GAMMA],
        .delta = 1,
        .noise = INFINITY,
    };
    lo = lo < 0 ? lo : 0;
    hi = hi > 0 ? hi : 0;
    hi = at_least(hi, lo + s->least * s->steps);
    if (spec->symmetric)
        search_symmetric(s, lo, hi);
    else
        search_asymmetric(s, lo, hi);
}

static bool range(const struct observer *o, const struct qspec *s, real *lo,
                  real *hi)
{
    bool seen = true;

#pragma omp parallel for schedule(static) reduction(&& : seen) \
    if (o->channels > 1)
    for (int64_t c = 0; c < o->channels; c++) {
        struct hist_view v;
        struct search best;

        if (!hist_channel(o, s, c, &v)) {
            seen = false;
            continue;
        }
        search_channel(s, &v, v.seen_lo, v.seen_hi, &best);
        lo[c] = best.offset * best.delta;
        hi[c] = lo[c] + best.steps * best.delta;
    }
    return seen;
}

const struct observer_kind observer_sqnr = {
    .name = "sqnr",
    .help = "range with the best signal to quantization noise ratio",
    .source = "AIMET SqnrEncodingAnalyzer, tf_enhanced",
    .flags = OBS_HISTOGRAM,
    .param = rows,
    .bins_row = SQNR_BINS,
    .growth_row = SQNR_GROWTH,
    .state_reals = hist_state_reals,
    .init = hist_init,
    .update = hist_update,
    .range = range,
    .describe = hist_describe,
};

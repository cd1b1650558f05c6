/* Observer entropy: the threshold that loses the least information.
 *
 * TensorRT's calibration: of the histogram of |x|, the first i bins are
 * merged into as many steps as the grid has on one side; the i with the
 * smallest Kullback-Leibler divergence between the counts (with what was cut
 * off in the last bin) and the merged counts spread over the bins that were
 * not empty gives the threshold.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/hist.h"

#include "base/arena.h"

enum { ENTROPY_BINS, ENTROPY_STRIDE };

static const struct qrow rows[] = {
    {"bins", 2048, 256, 65536, "bins of the histogram"},
    {"stride", 1, 1, 256, "bins between two thresholds"},
    {0},
};

/* Running sums over the bins of |x|: counts, count * log(count), bins that
 * are not empty; entry k: of the first k bins. */
struct sums {
    double *count, *log, *filled;
    int bins;
    real width;               /* of a bin of |x| */
};

/* Folds a histogram of x into running sums of |x|. */
static void fold(const struct hist_view *v, real top, struct sums *s)
{
    int n = s->bins;

    s->width = top / (real)n;
    for (int k = 0; k <= n; k++)
        s->count[k] = s->log[k] = s->filled[k] = 0;
    for (int k = 0; k < v->bins; k++) {
        real x = real_fabs(v->lo + v->width * ((real)k + REAL(0.5)));
        int at = (int)(x / s->width);

        s->count[1 + (at < n ? at : n - 1)] += (double)v->count[k];
    }
    for (int k = 1; k <= n; k++) {
        double c = s->count[k];

        s->log[k] = s->log[k - 1] + (c > 0 ? c * log(c) : 0);
        s->filled[k] = s->filled[k - 1] + (c > 0);
        s->count[k] += s->count[k - 1];
    }
}

/* Sum of p * log(p / q) over the first `kept` bins merged into `steps`, both
 * made to sum to 1. INFINITY where q is 0 and p is not. */
static double divergence(const struct sums *s, int kept, int steps)
{
    double all = s->count[s->bins], inside = s->count[kept];
    double last = inside - s->count[kept - 1];
    double cut = all - inside;
    double sum = s->log[kept], merged = 0;

    if (inside <= 0 || (last <= 0 && cut > 0))
        return INFINITY;
    if (cut > 0)
        sum += (last + cut) * log(last + cut) - last * log(last);
    for (int j = 0; j < steps; j++) {
        int a = (int)((int64_t)j * kept / steps);
        int b = (int)((int64_t)(j + 1) * kept / steps);
        double n = s->count[b] - s->count[a];
        double mean = n / (s->filled[b] - s->filled[a]);

        if (n <= 0)
            continue;
        merged += n * log(mean);
        if (j == steps - 1)
            merged += cut * log(mean);
    }
    return (sum - merged) / all - log(all) + log(inside);
}

/* The last of the best thresholds, in bins. */
static int best_threshold(const struct sums *s, int steps, int stride)
{
    double best = INFINITY;
    int at = s->bins;

    for (int kept = steps; kept <= s->bins; kept += stride) {
        double d = divergence(s, kept, steps);

        if (d <= best) {
            best = d;
            at = kept;
        }
    }
    return at;
}

static int steps_of(const struct qspec *s, int bins)
{
    int64_t lo, hi, n;

    qspec_codes(s, &lo, &hi);
    n = s->symmetric && s->is_signed ? hi + 1 : hi - lo + 1;
    if (n < 2)
        n = 2;
    return n < bins ? (int)n : bins;
}

static void channel_range(const struct qspec *spec,
                          const struct hist_view *v, struct sums *s,
                          real *lo, real *hi)
{
    real top = real_fmax(real_fabs(v->seen_lo), real_fabs(v->seen_hi));
    real t;

    *lo = v->seen_lo;
    *hi = v->seen_hi;
    if (!(top > 0))
        return;
    fold(v, top, s);
    t = s->width *
        (real)best_threshold(s, steps_of(spec, s->bins),
                             (int)spec->observer_param[ENTROPY_STRIDE]);
    *lo = *lo < -t ? -t : *lo;
    *hi = *hi > t ? t : *hi;
}

static bool range(const struct observer *o, const struct qspec *s, real *lo,
                  real *hi)
{
    int bins = (int)s->observer_param[ENTROPY_BINS];
    size_t n = (size_t)bins + 1;
    double *memory = mem_alloc(3 * n, sizeof *memory);
    struct sums sums = {memory, memory + n, memory + 2 * n, bins, 0};
    bool seen = memory != NULL;

    for (int64_t c = 0; c < o->channels && seen; c++) {
        struct hist_view v;

        seen = hist_channel(o, s, c, &v);
        if (seen)
            channel_range(s, &v, &sums, &lo[c], &hi[c]);
    }
    mem_free(memory);
    return seen;
}

const struct observer_kind observer_entropy = {
    .name = "entropy",
    .help = "threshold with the smallest Kullback-Leibler divergence",
    .source = "TensorRT entropy calibration (Migacz 2017)",
    .flags = OBS_HISTOGRAM,
    .param = rows,
    .bins_row = ENTROPY_BINS,
    .state_reals = hist_state_reals,
    .init = hist_init,
    .update = hist_update,
    .range = range,
    .describe = hist_describe,
};

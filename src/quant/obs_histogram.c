/* Observer histogram: torch's HistogramObserver.
 *
 * Counts over the range seen so far. When the range grows, every old bin is
 * cut into `upsample` parts and each part goes to the new bin its middle lies
 * in. The range offered is found by a search that drops bins from the side
 * with more bins per share of the values as long as the squared error of
 * `levels` steps does not grow. float32 like torch where it shows.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/hist.h"

enum { HISTOGRAM_BINS, HISTOGRAM_LEVELS, HISTOGRAM_UPSAMPLE };

static const struct qrow rows[] = {
    {"bins", 2048, 16, 65536, "bins of the histogram"},
    {"levels", 0, 0, 65536, "steps of the search; 0: two to the bits"},
    {"upsample", 16, 1, 128, "parts of a bin when the range grows"},
    {0},
};

/* A channel's block: smallest, largest, counts, work area. */
enum { SEEN_LO, SEEN_HI, COUNTS };

static int bins_of(const struct qspec *s)
{
    return (int)s->observer_param[HISTOGRAM_BINS];
}

static int64_t state_reals(const struct qspec *s)
{
    return COUNTS + 2 * (int64_t)bins_of(s);
}

static real *block_of(const struct observer *o, const struct qspec *s,
                      int64_t channel)
{
    return o->state + channel * state_reals(s);
}

static void init(struct observer *o, const struct qspec *s)
{
    for (int64_t i = 0; i < o->channels * state_reals(s); i++)
        o->state[i] = 0;
    for (int64_t c = 0; c < o->channels; c++) {
        block_of(o, s, c)[SEEN_LO] = (real)INFINITY;
        block_of(o, s, c)[SEEN_HI] = (real)-INFINITY;
    }
}

/* Point i of n evenly spaced ones, both ends exact: torch.linspace, whose
 * loop is compiled with fused multiply-add. */
static inline __attribute__((always_inline)) real
spaced(real lo, real hi, int64_t n, int64_t i)
{
    real step = (hi - lo) / (real)(n - 1);

    return i < n / 2 ? real_fma(step, (real)i, lo)
                     : real_fma(-step, (real)(n - 1 - i), hi);
}

/* The bin of the new range whose edges enclose x; `from` is where the last
 * one was found (x rises). */
static inline __attribute__((always_inline)) int64_t
find_bin(real lo, real hi, int64_t bins, real x, int64_t from)
{
    while (from < bins - 1 && spaced(lo, hi, bins + 1, from + 1) <= x)
        from++;
    return from;
}

struct ends {
    real lo, hi;
};

QUANT_CLONES_FMA static void upscale(const struct qspec *s,
                                     const real *block, struct ends to,
                                     real *out)
{
    int64_t bins = bins_of(s);
    int64_t parts = (int64_t)s->observer_param[HISTOGRAM_UPSAMPLE];
    real lo = block[SEEN_LO], hi = block[SEEN_HI];
    real half = REAL(0.5) * ((hi - lo) / (real)(bins * parts));
    int64_t at = 0;

    for (int64_t i = 0; i < bins * parts; i++) {
        real middle = spaced(lo, hi, bins * parts + 1, i) + half;

        at = find_bin(to.lo, to.hi, bins, middle, at);
        out[at] += block[COUNTS + i / parts] / (real)parts;
    }
}

/* Old counts over the new range, in out (zeroed). */
static void carry_over(const struct qspec *s, const real *block,
                       struct ends to, real *out)
{
    int bins = bins_of(s);

    if (block[SEEN_LO] == block[SEEN_HI]) {
        real one[1] = {block[SEEN_LO]};
        real all = (real)block_sum(block + COUNTS, bins);

        hist_count(one, 1, to.lo, to.hi, bins, out);
        for (int i = 0; i < bins; i++)
            out[i] *= all;
        return;
    }
    upscale(s, block, to, out);
}

struct batch {
    const real *x;
    struct qview v;
};

static const real *row_of(const struct batch *b, int64_t channel, int64_t o)
{
    return b->x + (o * b->v.channels + channel) * b->v.inner;
}

/* Ends of the finite values; false when there are none. */
static bool finite_ends(const struct batch *b, int64_t channel,
                        struct ends *e)
{
    *e = (struct ends){(real)INFINITY, (real)-INFINITY};
    for (int64_t o = 0; o < b->v.outer; o++) {
        const real *x = row_of(b, channel, o);

        for (int64_t i = 0; i < b->v.inner; i++) {
            if (isinf(x[i]))
                continue;
            e->lo = x[i] < e->lo ? x[i] : e->lo;
            e->hi = x[i] > e->hi ? x[i] : e->hi;
        }
    }
    return e->lo <= e->hi;
}

static void add_batch(const struct qspec *s, real *block,
                      const struct batch *b, int64_t channel)
{
    int bins = bins_of(s);
    real *work = block + COUNTS + bins;
    struct ends e;

    if (!finite_ends(b, channel, &e))
        return;
    for (int i = 0; i < bins; i++)
        work[i] = 0;
    if (block[SEEN_LO] <= block[SEEN_HI]) {
        e.lo = e.lo < block[SEEN_LO] ? e.lo : block[SEEN_LO];
        e.hi = e.hi > block[SEEN_HI] ? e.hi : block[SEEN_HI];
        if (e.lo != block[SEEN_LO] || e.hi != block[SEEN_HI]) {
            carry_over(s, block, e, work);
            for (int i = 0; i < bins; i++)
                block[COUNTS + i] = work[i];
        }
        for (int i = 0; i < bins; i++)
            work[i] = 0;
    }
    for (int64_t o = 0; o < b->v.outer; o++)
        hist_count(row_of(b, channel, o), b->v.inner, e.lo, e.hi, bins,
                   work);
    for (int i = 0; i < bins; i++)
        block[COUNTS + i] += work[i];
    block[SEEN_LO] = e.lo;
    block[SEEN_HI] = e.hi;
}

/* torch drops infinite values; NaN is refused. */
static enum status update(struct observer *o, const struct qspec *s,
                          const real *x, struct qview v, struct err *e)
{
    struct batch b = {x, v};
    int64_t n = view_count(v), nan = 0;

    for (int64_t i = 0; i < n; i++)
        nan += x[i] != x[i];
    if (nan || !n)
        return err_set(e, STATUS_NUMERIC, "%lld NaN of %lld values",
                       (long long)nan, (long long)n);
#pragma omp parallel for schedule(static) if (n >= QUANT_PARALLEL)
    for (int64_t c = 0; c < v.channels; c++)
        add_batch(s, block_of(o, s, c), &b, c);
    return STATUS_OK;
}

/* The search's state: bins first..last are kept. */
struct search {
    const real *count;
    const real *running;      /* sums of counts */
    int64_t bins, levels;
    double width;             /* of a bin */
    double total;
};

/* density * (b^3 - a^3) / 3: squared distance summed over a piece. */
static inline real piece_error(real density, real a, real b)
{
    return density * ((b * b * b - a * a * a) / REAL(3.0));
}

/* Step of the coarse grid in which x lies, 0 .. top. */
static inline real step_of(real x, real step, real top)
{
    real d = real_floor(x / step);

    d = d < 0 ? 0 : d;
    return d > top ? top : d;
}

QUANT_CLONES static void error_block(const struct search *s, int64_t first,
                                     double step, int64_t from, int64_t n,
                                     real *out)
{
    real width = (real)s->width, dw = (real)step, h = (real)(step / 2);
    real top = (real)(s->levels - 1);

#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real a = (real)(from + i - first) * width;
        real b = a + width;
        real da = step_of(a, dw, top), db = step_of(b, dw, top);
        real density = s->count[from + i] / width;
        real t;

        t = piece_error(density, a - (da + REAL(0.5)) * dw, h);
        t += (db - da - 1) * piece_error(density, -h, h);
        t += piece_error(density, -h, b - (db * dw + h));
        out[i] = t;
    }
}

static double error_of(const struct search *s, int64_t first, int64_t last)
{
    double step = s->width * (double)(last - first + 1) / (double)s->levels;
    double sum = 0;

    if (step == 0)
        return 0;
    for (int64_t i = 0; i < s->bins; i += QUANT_BLOCK) {
        QUANT_ALIGNED real part[QUANT_BLOCK];
        int64_t n = s->bins - i < QUANT_BLOCK ? s->bins - i : QUANT_BLOCK;

        error_block(s, first, step, i, n, part);
        sum += block_sum(part, n);
    }
    return sum;
}

#define SHARE 1e-5                     /* of the values, a move of the search */

static void search_bins(const struct search *s, int64_t *out_first,
                        int64_t *out_last)
{
    double alpha = 0, beta = 1, best = INFINITY;
    int64_t first = 0, last = s->bins - 1;

    while (alpha < beta) {
        double a = alpha + SHARE, b = beta - SHARE, error;
        int64_t l = first, r = last, to_first = first, to_last = last;

        while (l < last && (double)s->running[l] < a * s->total)
            l++;
        while (r > first && (double)s->running[r] > b * s->total)
            r--;
        if (l - first > last - r) {
            to_first = l;
            alpha = a;
        } else {
            to_last = r;
            beta = b;
        }
        if (to_first == first && to_last == last)
            continue;
        error = error_of(s, to_first, to_last);
        if (error > best)
            break;
        best = error;
        first = to_first;
        last = to_last;
    }
    *out_first = first;
    *out_last = last;
}

static void search_range(const struct qspec *spec, real *block, real *lo,
                         real *hi)
{
    int bins = bins_of(spec);
    int levels = (int)spec->observer_param[HISTOGRAM_LEVELS];
    real *running = block + COUNTS + bins;
    real width = (block[SEEN_HI] - block[SEEN_LO]) / (real)bins;
    struct search s = {.count = block + COUNTS, .running = running,
                       .bins = bins};
    int64_t first, last;
    double sum = 0;

    for (int i = 0; i < bins; i++) {
        sum += (double)block[COUNTS + i];
        running[i] = (real)sum;
    }
    s.levels = levels ? levels : (int64_t)1 << spec->bits;
    s.width = ((double)block[SEEN_HI] - (double)block[SEEN_LO]) / bins;
    s.total = (double)(real)sum;
    search_bins(&s, &first, &last);
    *lo = block[SEEN_LO] + width * (real)first;
    *hi = block[SEEN_LO] + width * (real)(last + 1);
}

static bool range(const struct observer *o, const struct qspec *s, real *lo,
                  real *hi)
{
    for (int64_t c = 0; c < o->channels; c++)
        if (block_of(o, s, c)[SEEN_LO] > block_of(o, s, c)[SEEN_HI])
            return false;
#pragma omp parallel for schedule(static) if (o->channels > 1)
    for (int64_t c = 0; c < o->channels; c++)
        search_range(s, block_of(o, s, c), &lo[c], &hi[c]);
    return true;
}

static void describe(const struct observer *o, const struct qspec *s,
                     struct str *out)
{
    const real *block = block_of(o, s, 0);

    if (block[SEEN_LO] > block[SEEN_HI]) {
        str_add(out, "histogram: nothing seen\n");
        return;
    }
    str_printf(out, "histogram: %.0f values in %d bins from %.6g to %.6g\n",
               block_sum(block + COUNTS, bins_of(s)), bins_of(s),
               (double)block[SEEN_LO], (double)block[SEEN_HI]);
}

const struct observer_kind observer_histogram = {
    .name = "histogram",
    .help = "range with the smallest squared error, by torch's search",
    .source = "torch HistogramObserver",
    .flags = OBS_HISTOGRAM,
    .param = rows,
    .state_reals = state_reals,
    .init = init,
    .update = update,
    .range = range,
    .describe = describe,
};

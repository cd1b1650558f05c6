/* Histograms inside observer states.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/hist.h"

#include <math.h>

struct hist {
    int bins;
    double growth;
};

static struct hist hist_of(const struct qspec *s)
{
    const struct observer_kind *k = s->observer;

    return (struct hist){
        .bins = (int)s->observer_param[k->bins_row],
        .growth = k->growth_row ? s->observer_param[k->growth_row] : 0,
    };
}

/* Reals a channel needs: the block, and one of the same size to work in. */
static int64_t hist_reals(const struct hist *h)
{
    return HIST_HEAD + 2 * (int64_t)h->bins;
}

static real *hist_block(const struct observer *o, const struct hist *h,
                        int64_t channel)
{
    return o->state + channel * hist_reals(h);
}

int64_t hist_state_reals(const struct qspec *s)
{
    struct hist h = hist_of(s);

    return hist_reals(&h);
}

void hist_init(struct observer *o, const struct qspec *s)
{
    struct hist h = hist_of(s);

    for (int64_t i = 0; i < hist_reals(&h) * o->channels; i++)
        o->state[i] = 0;
    for (int64_t c = 0; c < o->channels; c++) {
        hist_block(o, &h, c)[HIST_LO] = (real)INFINITY;
        hist_block(o, &h, c)[HIST_HI] = (real)-INFINITY;
    }
}

void hist_count(const real *x, int64_t n, real lo, real hi, int bins,
                real *count)
{
    if (!(hi > lo)) {
        lo -= 1;
        hi += 1;
    }
    for (int64_t i = 0; i < n; i++) {
        int64_t b;

        if (!(x[i] >= lo && x[i] <= hi))
            continue;
        b = (int64_t)((x[i] - lo) / (hi - lo) * (real)bins);
        count[b < bins ? b : bins - 1] += 1;
    }
}

/* Counts what lies outside into the end bins. */
static void count_outside(const real *x, int64_t n, real lo, real hi,
                          int bins, real *count)
{
    for (int64_t i = 0; i < n; i++) {
        count[0] += x[i] < lo ? REAL(1.0) : 0;
        count[bins - 1] += x[i] > hi ? REAL(1.0) : 0;
    }
}

struct span {
    real lo, hi;
};

/* A range without width becomes one wide, as torch.histc has it. */
static struct span widened(real lo, real hi)
{
    if (lo == hi)
        return (struct span){lo - REAL(0.5), hi + REAL(0.5)};
    return (struct span){lo, hi};
}

real hist_edge_gap(real lo, real width)
{
    return (width + lo) - lo;
}

static int64_t bin_of(real x, real lo, real width, int bins)
{
    real b = (x - lo) / width;

    if (!(b > 0))
        return 0;
    return b < (real)(bins - 1) ? (int64_t)b : bins - 1;
}

/* Moves old counts into the bins of a wider range. A bin that lies over two
 * new ones is split, in whole counts. */
static void redistribute(const struct hist *h, const real *block,
                         struct span to, real *out)
{
    const real *old = block + HIST_HEAD;
    struct span from = widened(block[HIST_LO], block[HIST_HI]);
    real bins = (real)h->bins;
    real wide = (to.hi - to.lo) / bins;
    real width = (from.hi - from.lo) / bins;
    real gap = hist_edge_gap(from.lo, width);

    for (int i = 0; i < h->bins; i++)
        out[i] = 0;
    for (int i = 0; i < h->bins; i++) {
        real start = from.lo + width * (real)i;
        int64_t b = bin_of(start, to.lo, wide, h->bins);
        real end = to.lo + wide * (real)(b + 1);
        real part = real_rint((end - start) / gap * old[i]);

        part = part < old[i] ? part : old[i];
        out[b] += part;
        if (part < old[i])
            out[bin_of(start + wide, to.lo, wide, h->bins)] +=
                old[i] - part;
    }
}

/* The rows of one channel, each n long. */
struct rows {
    const real *x;
    struct qview v;
    int64_t channel;
};

static const real *row_at(const struct rows *r, int64_t i)
{
    return r->x + (i * r->v.channels + r->channel) * r->v.inner;
}

static void count_rows(const struct rows *r, struct span s, int bins,
                       real *count)
{
    for (int64_t i = 0; i < r->v.outer; i++) {
        hist_count(row_at(r, i), r->v.inner, s.lo, s.hi, bins, count);
        count_outside(row_at(r, i), r->v.inner, s.lo, s.hi, bins, count);
    }
}

static void first_batch(const struct hist *h, real *block,
                        const struct rows *r, struct span seen)
{
    real room = (real)h->growth * (seen.hi - seen.lo) / 2;

    block[HIST_LO] = seen.lo;
    block[HIST_HI] = seen.hi;
    block[HIST_LIMIT_LO] = h->growth > 0 ? seen.lo - room : (real)-INFINITY;
    block[HIST_LIMIT_HI] = h->growth > 0 ? seen.hi + room : (real)INFINITY;
    count_rows(r, widened(seen.lo, seen.hi), h->bins, block + HIST_HEAD);
}

/* AIMET takes the end of the range from its last edge, which may lie an ulp
 * beside the largest value seen; counts are then redistributed too, unless
 * the limit brings it back. */
static real last_edge(const struct hist *h, real lo, real hi)
{
    real bins = (real)h->bins;

    return lo == hi ? hi : bins * ((hi - lo) / bins) + lo;
}

static void next_batch(const struct hist *h, real *block,
                       const struct rows *r, struct span seen)
{
    real *count = block + HIST_HEAD;
    real *work = count + h->bins;
    struct span to = {block[HIST_LO],
                      last_edge(h, block[HIST_LO], block[HIST_HI])};

    if (seen.lo < to.lo)
        to.lo = real_fmax(seen.lo, real_fmin(block[HIST_LIMIT_LO], to.lo));
    to.hi = real_fmin(real_fmax(seen.hi, to.hi), block[HIST_LIMIT_HI]);
    if (to.lo != block[HIST_LO] || to.hi != block[HIST_HI]) {
        redistribute(h, block, to, work);
        for (int i = 0; i < h->bins; i++)
            count[i] = work[i];
        block[HIST_LO] = to.lo;
        block[HIST_HI] = to.hi;
    }
    count_rows(r, widened(to.lo, to.hi), h->bins, count);
}

/* The scan's ends go through the work area of each block. */
enum status hist_update(struct observer *o, const struct qspec *s,
                        const real *x, struct qview v, struct err *e)
{
    struct hist h = hist_of(s);

    for (int64_t c = 0; c < v.channels; c++) {
        real *work = hist_block(o, &h, c) + HIST_HEAD + h.bins;
        real lo = (real)INFINITY, hi = (real)-INFINITY;

        for (int64_t i = 0; i < v.outer; i++) {
            struct qview row = {1, 1, v.inner};
            real a, b;

            TRY(scan_minmax(x + (i * v.channels + c) * v.inner, row, &a, &b,
                            e));
            lo = a < lo ? a : lo;
            hi = b > hi ? b : hi;
        }
        work[0] = lo;
        work[1] = hi;
    }
#pragma omp parallel for schedule(static) \
    if (view_count(v) >= QUANT_PARALLEL)
    for (int64_t c = 0; c < v.channels; c++) {
        real *block = hist_block(o, &h, c);
        real *work = block + HIST_HEAD + h.bins;
        struct span seen = {work[0], work[1]};
        struct rows rows = {x, v, c};

        if (block[HIST_LO] > block[HIST_HI])
            first_batch(&h, block, &rows, seen);
        else
            next_batch(&h, block, &rows, seen);
    }
    return STATUS_OK;
}

bool hist_channel(const struct observer *o, const struct qspec *s,
                  int64_t channel, struct hist_view *out)
{
    struct hist h = hist_of(s);
    const real *block = hist_block(o, &h, channel);
    struct span edge = widened(block[HIST_LO], block[HIST_HI]);

    if (block[HIST_LO] > block[HIST_HI])
        return false;
    *out = (struct hist_view){
        .seen_lo = block[HIST_LO],
        .seen_hi = block[HIST_HI],
        .lo = edge.lo,
        .hi = edge.hi,
        .width = (edge.hi - edge.lo) / (real)h.bins,
        .count = block + HIST_HEAD,
        .bins = h.bins,
        .total = block_sum(block + HIST_HEAD, h.bins),
    };
    return true;
}

void hist_describe(const struct observer *o, const struct qspec *s,
                   struct str *out)
{
    struct hist_view v;

    if (!hist_channel(o, s, 0, &v)) {
        str_printf(out, "%s: nothing seen\n", o->kind->name);
        return;
    }
    str_printf(out, "%s: %.0f values in %d bins from %.6g to %.6g",
               o->kind->name, v.total, v.bins, (double)v.lo, (double)v.hi);
    if (o->channels > 1)
        str_printf(out, " (channel 0 of %lld)", (long long)o->channels);
    str_char(out, '\n');
}

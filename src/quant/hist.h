/* Histograms inside observer states: bounded, over a range that grows.
 *
 * Per channel a block of reals: ends of the range, ends it may grow to,
 * counts. Collecting and merging follow AIMET's histogram observer, in
 * float32 like it. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef QUANT_HIST_H
#define QUANT_HIST_H

#include "quant/observe.h"

enum { HIST_LO, HIST_HI, HIST_LIMIT_LO, HIST_LIMIT_HI, HIST_HEAD };

/* Members of struct observer_kind, for kinds that name the row of their
 * bins, and of their growth: each end may move by half of that many first
 * ranges; 0: no limit. NaN and infinity: STATUS_NUMERIC, nothing changed. */
int64_t hist_state_reals(const struct qspec *s);
void hist_init(struct observer *o, const struct qspec *s);
enum status hist_update(struct observer *o, const struct qspec *s,
                        const real *x, struct qview v, struct err *e);
void hist_describe(const struct observer *o, const struct qspec *s,
                   struct str *out);

/* One channel's range and counts; false: nothing seen. Edges are
 * lo + k * (hi - lo) / bins, a range without width being widened by 0.5. */
struct hist_view {
    real seen_lo, seen_hi;    /* range as observed (within its limits) */
    real lo, hi, width;       /* of the edges; width of a bin */
    const real *count;
    int bins;
    double total;
};
bool hist_channel(const struct observer *o, const struct qspec *s,
                  int64_t channel, struct hist_view *out);

/* Width of a bin as AIMET has it: the first edge behind lo, rounded, less
 * lo. */
real hist_edge_gap(real lo, real width);

/* torch.histc: counts of x between lo and hi added into count; what lies
 * outside is left out. */
void hist_count(const real *x, int64_t n, real lo, real hi, int bins,
                real *count);

#endif

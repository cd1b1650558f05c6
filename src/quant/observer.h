/* Observers: watch data, propose a range.
 *
 * Memory is bounded and fixed at creation. State lies in the quantizer's
 * state block. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef QUANT_OBSERVER_H
#define QUANT_OBSERVER_H

#include "quant/quantizer.h"

enum observer_flags {
    OBS_MINMAX_ONLY = 1 << 0,  /* update needs only per-channel min and max;
                                  rows 2 and 3 of the state keep the last */
    OBS_HISTOGRAM = 1 << 1,
};

struct observer {
    const struct observer_kind *kind;
    int64_t channels;
    real *state;              /* kind->state_reals(spec) * channels reals */
    int64_t n_state;
};

struct observer_kind {
    const char *name, *help, *source;
    unsigned flags;
    const struct qrow *param; /* NULL name ends; values in observer_param */
    int bins_row, growth_row; /* OBS_HISTOGRAM; growth_row 0: no such row */
    int64_t (*state_reals)(const struct qspec *s);      /* per channel */
    void (*init)(struct observer *o, const struct qspec *s);
    /* One batch. STATUS_NUMERIC when x holds NaN or infinity. */
    enum status (*update)(struct observer *o, const struct qspec *s,
                          const real *x, struct qview v, struct err *e);
    /* OBS_MINMAX_ONLY: the same from min and max. */
    void (*update_minmax)(struct observer *o, const struct qspec *s,
                          const real *lo, const real *hi);
    /* Range per channel; false while nothing has been seen. */
    bool (*range)(const struct observer *o, const struct qspec *s, real *lo,
                  real *hi);
    void (*describe)(const struct observer *o, const struct qspec *s,
                     struct str *out);
};

/* OBS_MINMAX_ONLY: per channel the smallest and then the largest value of the
 * last batch, 2 * channels reals. */
const real *observer_seen(const struct observer *o);
void observer_keep_seen(struct observer *o, const real *lo, const real *hi);

#define OBSERVER(name) extern const struct observer_kind observer_##name;
#include "quant/observers.def"
#undef OBSERVER
extern const struct observer_kind *const observer_table[];
extern const int observer_count;
const struct observer_kind *observer_kind_find(const char *name);

#endif

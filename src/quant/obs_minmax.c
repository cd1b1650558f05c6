/* Observer minmax: the smallest and largest value ever seen.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/observe.h"

/* Rows: lo, hi, this batch's lo, hi. */
static int64_t state_reals(const struct qspec *s)
{
    (void)s;
    return 4;
}

static void init(struct observer *o, const struct qspec *s)
{
    (void)s;
    observer_clear_range(o);
}

static void update_minmax(struct observer *o, const struct qspec *s,
                          const real *lo, const real *hi)
{
    real *a = observer_row(o, 0), *b = observer_row(o, 1);

    (void)s;
    for (int64_t c = 0; c < o->channels; c++) {
        a[c] = lo[c] < a[c] ? lo[c] : a[c];
        b[c] = hi[c] > b[c] ? hi[c] : b[c];
    }
}

static enum status update(struct observer *o, const struct qspec *s,
                          const real *x, struct qview v, struct err *e)
{
    real *lo = observer_row(o, 2), *hi = observer_row(o, 3);

    TRY(scan_minmax(x, v, lo, hi, e));
    update_minmax(o, s, lo, hi);
    return STATUS_OK;
}

static bool range(const struct observer *o, const struct qspec *s, real *lo,
                  real *hi)
{
    (void)s;
    return observer_read_range(o, lo, hi);
}

const struct observer_kind observer_minmax = {
    .name = "minmax",
    .help = "smallest and largest value seen",
    .source = "torch MinMaxObserver, AIMET min-max",
    .flags = OBS_MINMAX_ONLY,
    .state_reals = state_reals,
    .init = init,
    .update = update,
    .update_minmax = update_minmax,
    .range = range,
    .describe = observer_describe_range,
};

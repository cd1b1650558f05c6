/* Observer fixed: the range is given, data is only looked at for NaN.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/observe.h"

enum { FIXED_LO, FIXED_HI };

static const struct qrow rows[] = {
    {"lo", -1, -1e30, 1e30, "low end of the range"},
    {"hi", 1, -1e30, 1e30, "high end of the range"},
    {0},
};

/* Rows: lo, hi (as given), this batch's lo, hi. */
static int64_t state_reals(const struct qspec *s)
{
    (void)s;
    return 4;
}

static void init(struct observer *o, const struct qspec *s)
{
    for (int64_t c = 0; c < o->channels; c++) {
        observer_row(o, 0)[c] = (real)s->observer_param[FIXED_LO];
        observer_row(o, 1)[c] = (real)s->observer_param[FIXED_HI];
    }
}

static void update_minmax(struct observer *o, const struct qspec *s,
                          const real *lo, const real *hi)
{
    (void)o;
    (void)s;
    (void)lo;
    (void)hi;
}

static enum status update(struct observer *o, const struct qspec *s,
                          const real *x, struct qview v, struct err *e)
{
    (void)s;
    return scan_minmax(x, v, observer_row(o, 2), observer_row(o, 3), e);
}

static bool range(const struct observer *o, const struct qspec *s, real *lo,
                  real *hi)
{
    (void)s;
    return observer_read_range(o, lo, hi);
}

const struct observer_kind observer_fixed = {
    .name = "fixed",
    .help = "a range given by fixed.lo and fixed.hi",
    .source = "torch FixedQParamsObserver",
    .flags = OBS_MINMAX_ONLY,
    .param = rows,
    .state_reals = state_reals,
    .init = init,
    .update = update,
    .update_minmax = update_minmax,
    .range = range,
    .describe = observer_describe_range,
};

/* Observer ema: moving average of each batch's smallest and largest value.
 *
 * Forms: 0 torch: the first batch as it is, then m + c * (batch - m);
 * 1 TensorFlow (tfmot): starts at -6, 6, zero joins each batch's range, then
 * m - (m - batch) * c; 2: the mean over all batches (AIMET's and Brevitas's
 * calibration by averaging), c is not used.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/observe.h"

enum { EMA_C, EMA_FORM };
enum { FORM_TORCH, FORM_TF, FORM_MEAN };

static const struct qrow rows[] = {
    {"c", 0.01, 0, 1, "weight of a new batch (torch averaging_constant)"},
    {"form", FORM_TORCH, 0, 2, "0 torch, 1 TensorFlow, 2 mean of batches"},
    {0},
};

/* Rows: lo, hi, this batch's lo, hi, batches seen. */
static int64_t state_reals(const struct qspec *s)
{
    (void)s;
    return 5;
}

static bool has_form(const struct qspec *s, int form)
{
    return (int)s->observer_param[EMA_FORM] == form;
}

static void init(struct observer *o, const struct qspec *s)
{
    observer_clear_range(o);
    for (int64_t c = 0; c < o->channels; c++) {
        observer_row(o, 4)[c] = 0;
        if (!has_form(s, FORM_TF))
            continue;
        observer_row(o, 0)[c] = -6;
        observer_row(o, 1)[c] = 6;
    }
}

/* Product and sum are rounded separately, as in the packages. */
static real average(const struct qspec *s, real old, real now, real seen)
{
    real c = (real)s->observer_param[EMA_C];
    real step;

    if (has_form(s, FORM_TF)) {
        step = (old - now) * c;
        return old - step;
    }
    if (seen == 0)
        return now;
    step = has_form(s, FORM_MEAN) ? (now - old) / (seen + 1)
                                  : c * (now - old);
    return old + step;
}

static void update_minmax(struct observer *o, const struct qspec *s,
                          const real *lo, const real *hi)
{
    real *a = observer_row(o, 0), *b = observer_row(o, 1);
    real *seen = observer_row(o, 4);
    bool zero = has_form(s, FORM_TF);

    for (int64_t c = 0; c < o->channels; c++) {
        real l = zero && lo[c] > 0 ? 0 : lo[c];
        real h = zero && hi[c] < 0 ? 0 : hi[c];

        a[c] = average(s, a[c], l, seen[c]);
        b[c] = average(s, b[c], h, seen[c]);
        seen[c] += 1;
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
    return observer_row(o, 4)[0] > 0 && observer_read_range(o, lo, hi);
}

const struct observer_kind observer_ema = {
    .name = "ema",
    .help = "moving average of the batches' smallest and largest values",
    .source = "torch MovingAverageMinMaxObserver, tfmot "
              "MovingAverageQuantizer",
    .flags = OBS_MINMAX_ONLY,
    .param = rows,
    .state_reals = state_reals,
    .init = init,
    .update = update,
    .update_minmax = update_minmax,
    .range = range,
    .describe = observer_describe_range,
};

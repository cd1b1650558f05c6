/* Observer percentile: clips the outermost values, from a histogram.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/hist.h"

enum { PERCENTILE_P, PERCENTILE_BINS };

static const struct qrow rows[] = {
    {"p", 99.99, 50, 100, "percent of the values that stay inside"},
    {"bins", 2048, 16, 65536, "bins of the histogram"},
    {0},
};

/* Left edge of the first bin whose running count reaches `share`. Counts are
 * summed in `real`, one after the other, as AIMET does. */
static real edge_at(const struct hist_view *v, real share)
{
    real sum = 0;
    int k = 0;

    for (; k < v->bins; k++) {
        sum += v->count[k];
        if (sum >= share)
            break;
    }
    return (real)k * v->width + v->lo;
}

static real running_total(const struct hist_view *v)
{
    real sum = 0;

    for (int k = 0; k < v->bins; k++)
        sum += v->count[k];
    return sum;
}

static bool range(const struct observer *o, const struct qspec *s, real *lo,
                  real *hi)
{
    double p = s->observer_param[PERCENTILE_P];
    struct hist_view v;

    for (int64_t c = 0; c < o->channels; c++) {
        real total;

        if (!hist_channel(o, s, c, &v))
            return false;
        total = running_total(&v);
        if (p == 100) {
            lo[c] = v.lo;
            hi[c] = (real)v.bins * v.width + v.lo;
        } else {
            lo[c] = edge_at(&v, total * (real)(1 - p / 100));
            hi[c] = edge_at(&v, total * (real)p / REAL(100.0));
        }
    }
    return true;
}

const struct observer_kind observer_percentile = {
    .name = "percentile",
    .help = "clips all but p percent of the values at either end",
    .source = "AIMET PercentileEncodingAnalyzer",
    .flags = OBS_HISTOGRAM,
    .param = rows,
    .bins_row = PERCENTILE_BINS,
    .state_reals = hist_state_reals,
    .init = hist_init,
    .update = hist_update,
    .range = range,
    .describe = hist_describe,
};

/* Observer absmean: LSQ's first step size, 2 * mean|x| / sqrt(Qp), over all
 * that was seen, offered as the range of the grid with that step.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>

#include "quant/observe.h"

/* Rows: lo, hi (scratch of the finite check), sum of |x|, how many; the sums
 * are kept as two reals each, high and low part. */
enum { ROW_LO, ROW_HI, ROW_SUM, ROW_SUM_LOW, ROW_COUNT, ROW_COUNT_LOW,
       ROWS };

static int64_t state_reals(const struct qspec *s)
{
    (void)s;
    return ROWS;
}

static void init(struct observer *o, const struct qspec *s)
{
    (void)s;
    for (int64_t i = 0; i < ROWS * o->channels; i++)
        o->state[i] = 0;
}

static double read_pair(const struct observer *o, int row, int64_t c)
{
    return (double)observer_row(o, row)[c] +
           (double)observer_row(o, row + 1)[c];
}

static void add_pair(struct observer *o, int row, int64_t c, double v)
{
    double sum = read_pair(o, row, c) + v;
    real high = (real)sum;

    observer_row(o, row)[c] = high;
    observer_row(o, row + 1)[c] = (real)(sum - (double)high);
}

struct call {
    struct observer *o;
    const real *x;
    int64_t per_channel;
};

QUANT_CLONES static void magnitudes(const real *x, real *v, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        v[i] = real_fabs(x[i]);
}

static void piece(void *ctx, int64_t channel, int64_t at, int64_t n,
                  double *sum)
{
    const struct call *c = ctx;

    (void)channel;
    for (int64_t i = 0; i < n; i += QUANT_BLOCK) {
        QUANT_ALIGNED real v[QUANT_BLOCK];
        int64_t m = n - i < QUANT_BLOCK ? n - i : QUANT_BLOCK;

        magnitudes(c->x + at + i, v, m);
        sum[0] += block_sum(v, m);
    }
}

static void done(void *ctx, int64_t channel, const double *sum)
{
    const struct call *c = ctx;

    add_pair(c->o, ROW_SUM, channel, sum[0]);
    add_pair(c->o, ROW_COUNT, channel, (double)c->per_channel);
}

static enum status update(struct observer *o, const struct qspec *s,
                          const real *x, struct qview v, struct err *e)
{
    struct call c = {.o = o, .x = x, .per_channel = v.outer * v.inner};

    (void)s;
    TRY(scan_minmax(x, v, observer_row(o, ROW_LO), observer_row(o, ROW_HI),
                    e));
    view_sum(v, piece, done, &c);
    return STATUS_OK;
}

static bool range(const struct observer *o, const struct qspec *s, real *lo,
                  real *hi)
{
    int64_t low, high;
    double top;

    if (observer_row(o, ROW_COUNT)[0] == 0)
        return false;
    qspec_codes(s, &low, &high);
    top = high > 0 ? (double)high : 1;
    for (int64_t c = 0; c < o->channels; c++) {
        double mean = read_pair(o, ROW_SUM, c) / read_pair(o, ROW_COUNT, c);
        double step = 2 * mean / sqrt(top);

        lo[c] = (real)(step * (double)low);
        hi[c] = (real)(step * top);
    }
    return true;
}

static void describe(const struct observer *o, const struct qspec *s,
                     struct str *out)
{
    (void)s;
    if (observer_row(o, ROW_COUNT)[0] == 0)
        str_add(out, "absmean: nothing seen\n");
    else
        str_printf(out, "absmean: mean|x| %.6g of %.0f values\n",
                   read_pair(o, ROW_SUM, 0) / read_pair(o, ROW_COUNT, 0),
                   read_pair(o, ROW_COUNT, 0));
}

const struct observer_kind observer_absmean = {
    .name = "absmean",
    .help = "range of a grid with step 2 * mean|x| / sqrt(highest code)",
    .source = "Esser et al. 2019, section 2.1",
    .state_reals = state_reals,
    .init = init,
    .update = update,
    .range = range,
    .describe = describe,
};

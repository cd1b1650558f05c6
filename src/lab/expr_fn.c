/* Functions of the expression language, a row each.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <gsl/gsl_fit.h>
#include <gsl/gsl_sort_double.h>
#include <gsl/gsl_statistics_double.h>

#include "base/arena.h"
#include "lab/expr.h"

/* ---- numbers ---- */

static double scalar_abs(const double *a, int n)
{
    (void)n;
    return fabs(a[0]);
}

static double scalar_sqrt(const double *a, int n)
{
    (void)n;
    return sqrt(a[0]);
}

static double scalar_log2(const double *a, int n)
{
    (void)n;
    return log2(a[0]);
}

static double scalar_log(const double *a, int n)
{
    (void)n;
    return log(a[0]);
}

static double scalar_exp(const double *a, int n)
{
    (void)n;
    return exp(a[0]);
}

static double scalar_floor(const double *a, int n)
{
    (void)n;
    return floor(a[0]);
}

static double scalar_round(const double *a, int n)
{
    (void)n;
    return rint(a[0]);
}

static double scalar_mod(const double *a, int n)
{
    (void)n;
    return fmod(a[0], a[1]);
}

static double scalar_min(const double *a, int n)
{
    double m = a[0];
    for (int i = 1; i < n; i++)
        m = a[i] < m ? a[i] : m;
    return m;
}

static double scalar_max(const double *a, int n)
{
    double m = a[0];
    for (int i = 1; i < n; i++)
        m = a[i] > m ? a[i] : m;
    return m;
}

static double scalar_nan(const double *a, int n)
{
    (void)n;
    return isnan(a[0]) ? 1 : 0;
}

static double scalar_inf(const double *a, int n)
{
    (void)n;
    return isinf(a[0]) ? 1 : 0;
}

/* ---- series: y over x in epochs ---- */

/* How many of the last points: the argument, or all. */
static int window(const struct series_view *s, const double *arg, int n)
{
    if (n < 1 || !(arg[0] >= 1))
        return n < 1 ? s->n : 0;
    return arg[0] < s->n ? (int)arg[0] : s->n;
}

static bool less_is_better(const char *name)
{
    return strstr(name, "loss") || strstr(name, "mse") || strstr(name, "mae") ||
           strstr(name, "mpe");
}

static double series_best(const struct series_view *s, const double *arg,
                          int n)
{
    (void)arg;
    (void)n;
    bool less = less_is_better(s->name);
    double best = (double)NAN;
    for (int i = 0; i < s->n; i++) {
        bool better = less ? s->y[i] < best : s->y[i] > best;
        if (isnan(best) || better)
            best = s->y[i];
    }
    return best;
}

static double series_last(const struct series_view *s, const double *arg,
                          int n)
{
    int back = n < 1 ? 1 : arg[0] >= 1 ? (int)fmin(arg[0], 1e9) : 1;
    return back <= s->n ? s->y[s->n - back] : (double)NAN;
}

static double series_mean(const struct series_view *s, const double *arg,
                          int n)
{
    int k = window(s, arg, n);
    return k ? gsl_stats_mean(s->y + s->n - k, 1, (size_t)k) : (double)NAN;
}

static double series_delta(const struct series_view *s, const double *arg,
                           int n)
{
    int k = n < 1 ? 1 : arg[0] >= 1 ? (int)fmin(arg[0], 1e9) : 1;
    return k < s->n ? s->y[s->n - 1] - s->y[s->n - 1 - k] : (double)NAN;
}

static double series_ema(const struct series_view *s, const double *arg,
                         int n)
{
    double f = n < 1 ? 0.1 : arg[0];
    double v = s->n ? s->y[0] : (double)NAN;
    for (int i = 1; i < s->n; i++)
        v += f * (s->y[i] - v);
    return v;
}

/* Slope per epoch of a straight line through the last k points. */
static double series_trend(const struct series_view *s, const double *arg,
                           int n)
{
    int k = window(s, arg, n);
    double c0, c1, cov00, cov01, cov11, sumsq;
    if (k < 2)
        return (double)NAN;
    gsl_fit_linear(s->x + s->n - k, 1, s->y + s->n - k, 1, (size_t)k, &c0,
                   &c1, &cov00, &cov01, &cov11, &sumsq);
    return c1;
}

/* ---- tensors ---- */

static double tensor_min(const float *x, int64_t n, const double *arg,
                         int n_arg)
{
    (void)arg;
    (void)n_arg;
    float m = n ? x[0] : NAN;
    for (int64_t i = 1; i < n; i++)
        m = x[i] < m ? x[i] : m;
    return (double)m;
}

static double tensor_max(const float *x, int64_t n, const double *arg,
                         int n_arg)
{
    (void)arg;
    (void)n_arg;
    float m = n ? x[0] : NAN;
    for (int64_t i = 1; i < n; i++)
        m = x[i] > m ? x[i] : m;
    return (double)m;
}

static double tensor_absmax(const float *x, int64_t n, const double *arg,
                            int n_arg)
{
    (void)arg;
    (void)n_arg;
    float m = 0;
    for (int64_t i = 0; i < n; i++)
        m = fabsf(x[i]) > m ? fabsf(x[i]) : m;
    return (double)m;
}

static double tensor_mean(const float *x, int64_t n, const double *arg,
                          int n_arg)
{
    (void)arg;
    (void)n_arg;
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)x[i];
    return n ? sum / (double)n : (double)NAN;
}

static double tensor_std(const float *x, int64_t n, const double *arg,
                         int n_arg)
{
    double mean = tensor_mean(x, n, arg, n_arg), sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += ((double)x[i] - mean) * ((double)x[i] - mean);
    return n ? sqrt(sum / (double)n) : (double)NAN;
}

static double tensor_pct(const float *x, int64_t n, const double *arg,
                         int n_arg)
{
    (void)n_arg;
    if (n == 0 || !(arg[0] >= 0 && arg[0] <= 1))
        return (double)NAN;
    double *sorted = xmalloc((size_t)n * sizeof *sorted);
    for (int64_t i = 0; i < n; i++)
        sorted[i] = (double)x[i];
    gsl_sort(sorted, 1, (size_t)n);
    double v = gsl_stats_quantile_from_sorted_data(sorted, 1, (size_t)n,
                                                   arg[0]);
    free(sorted);
    return v;
}

static double tensor_nan(const float *x, int64_t n, const double *arg,
                         int n_arg)
{
    (void)arg;
    (void)n_arg;
    for (int64_t i = 0; i < n; i++)
        if (isnan(x[i]))
            return 1;
    return 0;
}

static double tensor_inf(const float *x, int64_t n, const double *arg,
                         int n_arg)
{
    (void)arg;
    (void)n_arg;
    for (int64_t i = 0; i < n; i++)
        if (isinf(x[i]))
            return 1;
    return 0;
}

/* ---- tensors against their quantizer ---- */

static double quant_sqnr(const struct qstats *st)
{
    return st->sqnr_db;
}

static double quant_mse(const struct qstats *st)
{
    return st->mse;
}

static double quant_sat(const struct qstats *st)
{
    return st->count ? (double)st->clipped / (double)st->count : (double)NAN;
}

static double quant_dead(const struct qstats *st)
{
    return (double)st->dead_levels;
}

static double quant_maxerr(const struct qstats *st)
{
    return st->max_error;
}

const struct expr_fn expr_fn_table[] = {
    { .name = "abs", .args = "x", .min_args = 1, .max_args = 1,
      .scalar = scalar_abs, .help = "absolute value" },
    { .name = "absmax", .args = "t", .min_args = 1, .max_args = 1,
      .tensor = tensor_absmax, .help = "largest magnitude of a tensor" },
    { .name = "best", .args = "m", .min_args = 1, .max_args = 1,
      .series = series_best,
      .help = "best value of a metric so far (least for losses)" },
    { .name = "dead", .args = "t", .min_args = 1, .max_args = 1,
      .quant = quant_dead, .help = "levels of the grid that no value uses" },
    { .name = "delta", .args = "m,k", .min_args = 1, .max_args = 2,
      .series = series_delta, .help = "last value minus the one k before" },
    { .name = "ema", .args = "m,f", .min_args = 1, .max_args = 2,
      .series = series_ema, .help = "exponential moving average, factor f" },
    { .name = "exp", .args = "x", .min_args = 1, .max_args = 1,
      .scalar = scalar_exp, .help = "exponential" },
    { .name = "floor", .args = "x", .min_args = 1, .max_args = 1,
      .scalar = scalar_floor, .help = "next whole number below" },
    { .name = "inf", .args = "x", .min_args = 1, .max_args = 1,
      .scalar = scalar_inf, .tensor = tensor_inf,
      .help = "1 when infinite (a tensor: any element)" },
    { .name = "last", .args = "m,k", .min_args = 1, .max_args = 2,
      .series = series_last, .help = "k-th value from the end" },
    { .name = "log", .args = "x", .min_args = 1, .max_args = 1,
      .scalar = scalar_log, .help = "natural logarithm" },
    { .name = "log2", .args = "x", .min_args = 1, .max_args = 1,
      .scalar = scalar_log2, .help = "logarithm to base 2" },
    { .name = "max", .args = "a,b..", .min_args = 1, .max_args = 8,
      .scalar = scalar_max, .tensor = tensor_max,
      .help = "largest number, or element of a tensor" },
    { .name = "maxerr", .args = "t", .min_args = 1, .max_args = 1,
      .quant = quant_maxerr, .help = "largest quantization error" },
    { .name = "mean", .args = "m,k", .min_args = 1, .max_args = 2,
      .series = series_mean, .tensor = tensor_mean,
      .help = "mean of the last k values, or of a tensor" },
    { .name = "min", .args = "a,b..", .min_args = 1, .max_args = 8,
      .scalar = scalar_min, .tensor = tensor_min,
      .help = "smallest number, or element of a tensor" },
    { .name = "mod", .args = "a,b", .min_args = 2, .max_args = 2,
      .scalar = scalar_mod, .help = "remainder of a / b" },
    { .name = "mse", .args = "t", .min_args = 1, .max_args = 1,
      .quant = quant_mse, .help = "mean squared quantization error" },
    { .name = "nan", .args = "x", .min_args = 1, .max_args = 1,
      .scalar = scalar_nan, .tensor = tensor_nan,
      .help = "1 when not a number (a tensor: any element)" },
    { .name = "pct", .args = "t,p", .min_args = 2, .max_args = 2,
      .tensor = tensor_pct, .help = "percentile: pct(conv1.w, 99.9%)" },
    { .name = "round", .args = "x", .min_args = 1, .max_args = 1,
      .scalar = scalar_round, .help = "nearest whole number, ties to even" },
    { .name = "sat", .args = "t", .min_args = 1, .max_args = 1,
      .quant = quant_sat, .help = "share of values outside the range" },
    { .name = "sqnr", .args = "t", .min_args = 1, .max_args = 1,
      .quant = quant_sqnr,
      .help = "signal to quantization noise ratio in dB" },
    { .name = "sqrt", .args = "x", .min_args = 1, .max_args = 1,
      .scalar = scalar_sqrt, .help = "square root" },
    { .name = "std", .args = "t", .min_args = 1, .max_args = 1,
      .tensor = tensor_std, .help = "standard deviation of a tensor" },
    { .name = "trend", .args = "m,k", .min_args = 1, .max_args = 2,
      .series = series_trend,
      .help = "slope per epoch over the last k values" },
};
const int expr_fn_count = sizeof expr_fn_table / sizeof expr_fn_table[0];

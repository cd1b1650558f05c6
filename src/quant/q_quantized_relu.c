/* Quantizer quantized_relu (QKeras).
 *
 * nb = bits, less one with a negative slope; m = 2^nb, mi = 2^integer.
 * xq = mi * clip(rne(x * m / mi) / m, 0, 1 - 1/m), and with a slope a + mi * a
 * * clip(rne(a * x * m / mi) / (a m), -1, 0); use_sigmoid: hard_sigmoid(x/mi)
 * * m is rounded instead and 2 p / m - 1 clipped. The differentiable part u is
 * relu(x) (or leaky) up to the largest value, or to relu_upper_bound.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "quant/qkeras.h"

enum {
    SET_INTEGER, SET_SIGMOID, SET_SLOPE, SET_BOUND, SET_CLIP, SET_NOISE,
    SET_STE
};

static const struct qrow settings[] = {
    {"integer", 0, 0, 30, "bits left of the binary point"},
    {"use_sigmoid", 0, 0, 1, "normalise by the hard sigmoid"},
    {"negative_slope", 0, 0, 1, "a power of two; 0: none"},
    {"relu_upper_bound", -1, -1, 1e30, "where the relu ends; -1: None"},
    {"is_quantized_clip", 1, 0, 1, "u ends at the largest value"},
    QKERAS_NOISE_ROWS,
    {0},
};

static const struct qkeras_arg args[] = {
    {"bits", QARG_BITS, 0},
    {"integer", QARG_INT, SET_INTEGER},
    {"use_sigmoid", QARG_BOOL, SET_SIGMOID},
    {"negative_slope", QARG_NUMBER, SET_SLOPE},
    {"use_stochastic_rounding", QARG_STOCHASTIC, 0},
    {"relu_upper_bound", QARG_OPTIONAL, SET_BOUND},
    {"is_quantized_clip", QARG_BOOL, SET_CLIP},
    {"qnoise_factor", QARG_NUMBER, SET_NOISE},
    {"var_name", QARG_UNUSED, 0},
    {"use_ste", QARG_BOOL, SET_STE},
    {"use_variables", QARG_UNUSED, 0},
    {0},
};

static void defaults(struct qspec *s)
{
    qkeras_defaults(s);
    s->is_signed = false;
}

static int value_bits(const struct qspec *s)
{
    return s->bits - (s->param[SET_SLOPE] != 0);
}

static enum status check(const struct qspec *s, struct err *e)
{
    double slope = s->param[SET_SLOPE];
    int power;

    if (s->is_signed || s->narrow)
        return err_set(e, STATUS_ARG, "quantized_relu is unsigned, its "
                       "negative side is negative_slope");
    if (slope != 0 && frexp(slope, &power) != 0.5)
        return err_set(e, STATUS_ARG, "quantized_relu: negative_slope %g is "
                       "no power of two", slope);
    if (slope != 0 && s->bits < 2)
        return err_set(e, STATUS_ARG, "quantized_relu: %d bit leaves none "
                       "for values beside the slope's", s->bits);
    return qkeras_check(s, -1, e);
}

/* Both sides lie on the grid of step mi / m. */
static void span(const struct qspec *s, int64_t *lo, int64_t *hi)
{
    int64_t m = (int64_t)1 << value_bits(s);

    *hi = m - 1;
    *lo = -(int64_t)(s->param[SET_SLOPE] * (double)m);
}

static void set_range(struct quantizer *q)
{
    const struct qspec *s = &q->spec;
    real step = (real)ldexp(1, spec_int(s, SET_INTEGER) - value_bits(s));

    for (int64_t c = 0; c < q->channels; c++)
        qkeras_set_step(q, c, step);
}

/* Where u stops rising. */
static real top_of(const struct qspec *s)
{
    double unit = ldexp(1, spec_int(s, SET_INTEGER));

    if (spec_int(s, SET_CLIP))
        return (real)(unit - unit / ldexp(1, value_bits(s)));
    return s->param[SET_BOUND] >= 0 ? spec_real(s, SET_BOUND)
                                    : (real)INFINITY;
}

static struct qkeras_relu relu_of(const struct qspec *s)
{
    return (struct qkeras_relu){spec_real(s, SET_SLOPE), top_of(s)};
}

/* p = x * m / mi, or hard_sigmoid(x / mi) * m. */
QUANT_CLONES static void ratio_run(bool sigmoid, real m, real unit,
                                   const real *x, real *p, int64_t n)
{
    if (sigmoid) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            real t = REAL(0.5) * (x[i] / unit) + REAL(0.5);

            p[i] = within(t, 0, 1) * m;
        }
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            p[i] = x[i] * m / unit;
    }
}

/* v: rounded p over `over`; adds factor * clip(v, lo, hi). */
QUANT_CLONES static void add_clipped(bool sigmoid, real over, real factor,
                                     const real limits[2], const real *v,
                                     real *xq, int64_t n)
{
    real lo = limits[0], hi = limits[1];
    real twice = sigmoid ? 2 : 1, less = sigmoid ? 1 : 0;

#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        xq[i] += factor * within(twice * (v[i] / over) - less, lo, hi);
}

QUANT_CLONES static void scale_run(const real *p, real factor, real *v,
                                   int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        v[i] = p[i] * factor;
}

static void values(const struct qkeras_run *r, const real *x, real *xq,
                   real *u, int64_t n)
{
    const struct qspec *s = &r->q->spec;
    bool sigmoid = spec_int(s, SET_SIGMOID);
    real slope = spec_real(s, SET_SLOPE), bound = spec_real(s, SET_BOUND);
    real m = (real)ldexp(1, value_bits(s));
    real unit = (real)ldexp(1, spec_int(s, SET_INTEGER));
    QUANT_ALIGNED real p[QUANT_BLOCK], v[QUANT_BLOCK];

    qkeras_relu_block(relu_of(s), x, u, n);
    ratio_run(sigmoid, m, unit, x, p, n);
    memset(xq, 0, (size_t)n * sizeof *xq);
    scale_run(p, 1, v, n);
    qkeras_round(r, v, n, REAL(0.5));
    add_clipped(sigmoid, m, unit, (real[]){0, 1 - 1 / m}, v, xq, n);
    if (slope > 0) {
        scale_run(p, slope, v, n);
        qkeras_round_again(r, v, n, REAL(0.5));
        add_clipped(sigmoid, slope * m, unit * slope, (real[]){-1, 0}, v, xq,
                    n);
    }
    for (int64_t i = 0; i < n && bound > 0 && !spec_int(s, SET_CLIP); i++)
        xq[i] = xq[i] <= bound ? xq[i] : bound;
}

/* Without a negative side. m and mi are powers of two, their inverses
 * exact. */
QUANT_CLONES static void whole_run(struct qkeras_relu k, real m, real unit,
                                   const real *x, real *y, int64_t n)
{
    real per_unit = m / unit, step = unit / m, top = m - 1;

#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real u = qkeras_relu_of(&k, x[i]);
        real xq = within(real_rint(x[i] * per_unit), 0, top) * step;

        y[i] = u + (xq - u);
    }
}

static bool whole(const struct qkeras_run *r, const real *x, real *y,
                  int64_t n)
{
    const struct qspec *s = &r->q->spec;
    bool bounded = s->param[SET_BOUND] > 0 && !spec_int(s, SET_CLIP);

    if (r->noise->on || s->param[SET_SLOPE] != 0 || bounded ||
        spec_int(s, SET_SIGMOID))
        return false;
    whole_run(relu_of(s), (real)ldexp(1, value_bits(s)),
              (real)ldexp(1, spec_int(s, SET_INTEGER)), x, y, n);
    return true;
}

static void back(const struct qkeras_run *r, const real *x, const real *dy,
                 real *dx, int64_t n)
{
    qkeras_relu_back(relu_of(&r->q->spec), r->gain, x, dy, dx, n);
}

static void head(const struct quantizer *q, struct str *out)
{
    str_printf(out, "u = relu up to %.9g, step %.9g, codes %lld to %lld\n",
               (double)top_of(&q->spec), (double)q->scale[0],
               (long long)q->lo_code, (long long)q->hi_code);
}

static const struct qkeras_parts parts = {
    .args = args,
    .noise_row = SET_NOISE,
    .values = values,
    .whole = whole,
    .back = back,
    .head = head,
};

const struct quantizer_kind quantizer_quantized_relu = {
    .name = "quantized_relu",
    .help = "QKeras relu in fixed point",
    .source = "QKeras 0.9.0 quantized_relu",
    .flags = QK_UNIFORM | QK_ACTIVATIONS | QK_OWN_SCALE,
    .min_bits = 1,
    .max_bits = 24,
    .param = settings,
    .check = check,
    .set_range = set_range,
    .forward = qkeras_forward,
    .backward = qkeras_backward,
    .codes = qkeras_codes,
    .surrogate = qkeras_surrogate,
    .describe = qkeras_describe,
    .example = "bits conv1 a=quantized_relu(6,2)",
    .defaults = defaults,
    .parse = qkeras_parse,
    .print = qkeras_print,
    .span = span,
    .qkeras = &parts,
};

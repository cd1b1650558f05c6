/* Quantizer quantized_relu_po2 (QKeras): relu in powers of two.
 *
 * As quantized_po2, all bits for the exponent; negative values become the
 * smallest power, or with negative_slope a the negative power of a |x|. The
 * differentiable part is relu(x) (leaky) up to max_value.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>

#include "quant/qkeras_po2.h"

enum { SET_SLOPE = PO2_ROWS, SET_NOISE, SET_STE };

static const struct qrow settings[] = {
    QKERAS_PO2_ROWS,
    {"negative_slope", 0, 0, 1, "a power of two; 0: none"},
    QKERAS_NOISE_ROWS,
    {0},
};

static const struct qkeras_arg args[] = {
    {"bits", QARG_BITS, 0},
    {"max_value", QARG_OPTIONAL, PO2_MAX},
    {"negative_slope", QARG_NUMBER, SET_SLOPE},
    {"use_stochastic_rounding", QARG_STOCHASTIC, 0},
    {"quadratic_approximation", QARG_BOOL, PO2_QUADRATIC},
    {"log2_rounding", QARG_LOG2, PO2_FLOOR},
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

static enum status check(const struct qspec *s, struct err *e)
{
    double slope = s->param[SET_SLOPE];
    int power;

    if (s->is_signed)
        return err_set(e, STATUS_ARG, "quantized_relu_po2 is unsigned, its "
                       "negative side is negative_slope");
    if (slope != 0 && frexp(slope, &power) != 0.5)
        return err_set(e, STATUS_ARG, "quantized_relu_po2: negative_slope %g "
                       "is no power of two", slope);
    return qkeras_po2_check(s, s->bits, e);
}

static struct po2_range range_of(const struct qspec *s)
{
    return qkeras_po2_range(s, s->bits);
}

static void set_range(struct quantizer *q)
{
    qkeras_po2_set_range(q, range_of(&q->spec));
}

static real top_of(const struct qspec *s)
{
    return s->param[PO2_MAX] >= 0 ? spec_real(s, PO2_MAX) : (real)INFINITY;
}

static struct qkeras_relu relu_of(const struct qspec *s)
{
    return (struct qkeras_relu){spec_real(s, SET_SLOPE), top_of(s)};
}

/* max(x, 0), or max(-x, 0) * slope. */
QUANT_CLONES static void one_side(const real *x, real factor, real *a,
                                  int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        a[i] = at_least(x[i] * factor, 0);
}

static void values(const struct qkeras_run *r, const real *x, real *xq,
                   real *u, int64_t n)
{
    const struct qspec *s = &r->q->spec;
    struct po2_range range = range_of(s);
    real slope = spec_real(s, SET_SLOPE);
    QUANT_ALIGNED real below[QUANT_BLOCK];

    one_side(x, 1, u, n);
    qkeras_po2_values(r, &range, u, xq, n);
    if (slope != 0) {
        one_side(x, -slope, u, n);
        qkeras_po2_values(r, &range, u, below, n);
        for (int64_t i = 0; i < n; i++)
            xq[i] = x[i] >= 0 ? xq[i] : -below[i];
    }
    qkeras_relu_block(relu_of(s), x, u, n);
}

/* Without a negative side. */
QUANT_CLONES static void whole_run(struct qkeras_relu k,
                                   struct qkeras_power p, const real *x,
                                   real *y, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real u = qkeras_relu_of(&k, x[i]);

        y[i] = u + (qkeras_po2_of(&p, at_least(x[i], 0)) - u);
    }
}

static bool whole(const struct qkeras_run *r, const real *x, real *y,
                  int64_t n)
{
    const struct qspec *s = &r->q->spec;
    struct po2_range range = range_of(s);
    struct qkeras_power p = qkeras_power_of(r, &range);

    if (p.root || p.draws || s->param[SET_SLOPE] != 0)
        return false;
    whole_run(relu_of(s), p, x, y, n);
    return true;
}

static void back(const struct qkeras_run *r, const real *x, const real *dy,
                 real *dx, int64_t n)
{
    qkeras_relu_back(relu_of(&r->q->spec), r->gain, x, dy, dx, n);
}

static void head(const struct quantizer *q, struct str *out)
{
    struct po2_range range = range_of(&q->spec);

    str_printf(out, "u = relu up to %.9g, exponents %d to %d\n",
               (double)top_of(&q->spec), range.lo, range.hi);
}

static const struct qkeras_parts parts = {
    .args = args,
    .noise_row = SET_NOISE,
    .values = values,
    .whole = whole,
    .back = back,
    .head = head,
};

const struct quantizer_kind quantizer_quantized_relu_po2 = {
    .name = "quantized_relu_po2",
    .help = "QKeras relu in powers of two",
    .source = "QKeras 0.9.0 quantized_relu_po2",
    .flags = QK_ACTIVATIONS | QK_OWN_SCALE,
    .min_bits = 1,
    .max_bits = 8,
    .param = settings,
    .check = check,
    .set_range = set_range,
    .forward = qkeras_forward,
    .backward = qkeras_backward,
    .surrogate = qkeras_surrogate,
    .describe = qkeras_describe,
    .example = "bits conv1 a=quantized_relu_po2(4)",
    .defaults = defaults,
    .parse = qkeras_parse,
    .print = qkeras_print,
    .qkeras = &parts,
};

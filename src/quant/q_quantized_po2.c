/* Quantizer quantized_po2 (QKeras): sign times a power of two.
 *
 * bits hold the sign and the exponent, with a sign of its own when max_value
 * is None or above 1: exponents -2^e .. 2^e - 1, e = bits - 1 (- 1). y =
 * sign(x) * 2^clip(round(log2|x|)); |x| < 1e-7 becomes the smallest exponent;
 * quadratic_approximation: even exponents; gradient 1.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/qkeras_po2.h"

enum { SET_NOISE = PO2_ROWS, SET_STE };

static const struct qrow settings[] = {
    QKERAS_PO2_ROWS,
    QKERAS_NOISE_ROWS,
    {0},
};

static const struct qkeras_arg args[] = {
    {"bits", QARG_BITS, 0},
    {"max_value", QARG_OPTIONAL, PO2_MAX},
    {"use_stochastic_rounding", QARG_STOCHASTIC, 0},
    {"quadratic_approximation", QARG_BOOL, PO2_QUADRATIC},
    {"log2_rounding", QARG_LOG2, PO2_FLOOR},
    {"qnoise_factor", QARG_NUMBER, SET_NOISE},
    {"var_name", QARG_UNUSED, 0},
    {"use_ste", QARG_BOOL, SET_STE},
    {"use_variables", QARG_UNUSED, 0},
    {0},
};

static enum status check(const struct qspec *s, struct err *e)
{
    if (!s->is_signed)
        return err_set(e, STATUS_ARG, "quantized_po2 is signed: without a "
                       "sign take quantized_relu_po2");
    return qkeras_po2_check(s, s->bits - 1, e);
}

static struct po2_range range_of(const struct qspec *s)
{
    return qkeras_po2_range(s, s->bits - 1);
}

static void set_range(struct quantizer *q)
{
    qkeras_po2_set_range(q, range_of(&q->spec));
}

QUANT_CLONES static void magnitude_run(const real *x, real *a, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        a[i] = real_fabs(x[i]);
}

QUANT_CLONES static void sign_run(const real *x, real *xq, real *u,
                                  int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        xq[i] = pick(x[i] < 0, -xq[i], xq[i]);
        u[i] = x[i];
    }
}

static void values(const struct qkeras_run *r, const real *x, real *xq,
                   real *u, int64_t n)
{
    struct po2_range range = range_of(&r->q->spec);

    magnitude_run(x, u, n);
    qkeras_po2_values(r, &range, u, xq, n);
    sign_run(x, xq, u, n);
}

QUANT_CLONES static void whole_run(struct qkeras_power p, const real *x,
                                   real *y, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real xq = qkeras_po2_of(&p, real_fabs(x[i]));

        y[i] = x[i] + (pick(x[i] < 0, -xq, xq) - x[i]);
    }
}

static bool whole(const struct qkeras_run *r, const real *x, real *y,
                  int64_t n)
{
    struct po2_range range = range_of(&r->q->spec);
    struct qkeras_power p = qkeras_power_of(r, &range);

    if (p.root || p.draws)
        return false;
    whole_run(p, x, y, n);
    return true;
}

static void head(const struct quantizer *q, struct str *out)
{
    struct po2_range range = range_of(&q->spec);

    str_printf(out, "exponents %d to %d\n", range.lo, range.hi);
}

static const struct qkeras_parts parts = {
    .args = args,
    .noise_row = SET_NOISE,
    .values = values,
    .whole = whole,
    .head = head,
};

const struct quantizer_kind quantizer_quantized_po2 = {
    .name = "quantized_po2",
    .help = "QKeras powers of two with a sign",
    .source = "QKeras 0.9.0 quantized_po2",
    .flags = QK_WEIGHTS | QK_ACTIVATIONS | QK_OWN_SCALE,
    .min_bits = 2,
    .max_bits = 8,
    .param = settings,
    .check = check,
    .set_range = set_range,
    .forward = qkeras_forward,
    .backward = qkeras_backward,
    .surrogate = qkeras_surrogate,
    .describe = qkeras_describe,
    .example = "bits conv1 w=quantized_po2(4)",
    .defaults = qkeras_defaults,
    .parse = qkeras_parse,
    .print = qkeras_print,
    .qkeras = &parts,
};

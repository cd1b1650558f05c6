/* Quantizer quantized_bits (QKeras): see qkeras_bits.c.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "quant/qkeras_bits.h"

static const struct qrow settings[] = {
    QKERAS_INTEGER_ROW,
    QKERAS_ALPHA_ROWS,
    QKERAS_NOISE_ROWS,
    {0},
};

static const struct qkeras_arg args[] = {
    {"bits", QARG_BITS, 0},
    {"integer", QARG_INT, BITS_INTEGER},
    {"symmetric", QARG_NARROW, 0},
    {"keep_negative", QARG_SIGNED, 0},
    {"alpha", QARG_ALPHA, BITS_SCALING},
    {"use_stochastic_rounding", QARG_STOCHASTIC, 0},
    {"scale_axis", QARG_UNUSED, 0},
    {"qnoise_factor", QARG_NUMBER, BITS_NOISE},
    {"var_name", QARG_UNUSED, 0},
    {"use_ste", QARG_BOOL, BITS_STE},
    {"use_variables", QARG_UNUSED, 0},
    {0},
};

static enum status parse(const char *text, struct qspec *s, struct err *e)
{
    TRY(qkeras_parse(text, s, e));
    s->narrow |= spec_int(s, BITS_SCALING) >= SCALING_AUTO;
    return STATUS_OK;
}

static void values(const struct qkeras_run *r, const real *x, real *xq,
                   real *u, int64_t n)
{
    memcpy(u, x, (size_t)n * sizeof *u);
    qkeras_bits_values(r, x, xq, n);
}

QUANT_CLONES static void whole_run(struct qkeras_fixed f, const real *x,
                                   real *y, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] + (qkeras_fixed_of(&f, x[i]) - x[i]);
}

static bool whole(const struct qkeras_run *r, const real *x, real *y,
                  int64_t n)
{
    struct qkeras_fixed f;

    if (!qkeras_bits_fixed(r, &f))
        return false;
    whole_run(f, x, y, n);
    return true;
}

static void head(const struct quantizer *q, struct str *out)
{
    str_printf(out, "step %.9g, codes %lld to %lld\n", (double)q->scale[0],
               (long long)q->lo_code, (long long)q->hi_code);
}

static const struct qkeras_parts parts = {
    .args = args,
    .noise_row = BITS_NOISE,
    .prepare = qkeras_bits_prepare,
    .values = values,
    .whole = whole,
    .head = head,
};

const struct quantizer_kind quantizer_quantized_bits = {
    .name = "quantized_bits",
    .help = "QKeras fixed point, alpha none, a number, auto or auto_po2",
    .source = "QKeras 0.9.0 quantized_bits",
    .flags = QK_UNIFORM | QK_WEIGHTS | QK_ACTIVATIONS | QK_OWN_SCALE,
    .min_bits = 1,
    .max_bits = 24,
    .param = settings,
    .check = qkeras_bits_check,
    .set_range = qkeras_bits_set_range,
    .forward = qkeras_forward,
    .backward = qkeras_backward,
    .codes = qkeras_codes,
    .surrogate = qkeras_surrogate,
    .describe = qkeras_describe,
    .example = "bits conv1 w=quantized_bits(6,0,alpha=1)",
    .defaults = qkeras_defaults,
    .parse = parse,
    .print = qkeras_print,
    .scratch_bytes = qkeras_scratch,
    .span = qkeras_bits_span,
    .on_weights = qkeras_bits_on_weights,
    .qkeras = &parts,
};

/* Quantizer quantized_hswish (QKeras): quantized_bits of the hard swish
 * h = x * min(relu(x + shift), bound) / bound; dx = dy * dh/dx.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/arena.h"
#include "quant/qkeras_bits.h"

enum { SET_SHIFT = BITS_ROWS, SET_BOUND };

static const struct qrow settings[] = {
    QKERAS_INTEGER_ROW,
    QKERAS_ALPHA_ROWS,
    QKERAS_NOISE_ROWS,
    {"relu_shift", 3, 1e-6, 1e6, "added to x before the relu"},
    {"relu_upper_bound", 6, 1e-6, 1e6, "where the relu ends, and divisor"},
    {0},
};

static const struct qkeras_arg args[] = {
    {"bits", QARG_BITS, 0},
    {"integer", QARG_INT, BITS_INTEGER},
    {"symmetric", QARG_NARROW, 0},
    {"alpha", QARG_ALPHA, BITS_SCALING},
    {"use_stochastic_rounding", QARG_STOCHASTIC, 0},
    {"scale_axis", QARG_UNUSED, 0},
    {"qnoise_factor", QARG_NUMBER, BITS_NOISE},
    {"var_name", QARG_UNUSED, 0},
    {"use_ste", QARG_BOOL, BITS_STE},
    {"use_variables", QARG_UNUSED, 0},
    {"relu_shift", QARG_NUMBER, SET_SHIFT},
    {"relu_upper_bound", QARG_NUMBER, SET_BOUND},
    {0},
};

static enum status parse(const char *text, struct qspec *s, struct err *e)
{
    TRY(qkeras_parse(text, s, e));
    s->narrow |= spec_int(s, BITS_SCALING) >= SCALING_AUTO;
    return STATUS_OK;
}

QUANT_CLONES static void hswish(real shift, real bound, const real *x,
                                real *h, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real t = x[i] + shift;
        real relu = pick(t <= bound, at_least(t, 0), bound);

        h[i] = x[i] * relu / bound;
    }
}

QUANT_CLONES static void slope_run(real shift, real bound, const real *x,
                                   real *slope, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real t = x[i] + shift;
        real relu = pick(t <= bound, at_least(t, 0), bound);
        bool rises = (t > 0) & (t <= bound);

        slope[i] = relu / bound + pick(rises, x[i] / bound, 0);
    }
}

/* Automatic scales are those of h. Without memory for it they stay. */
static void prepare(struct quantizer *q, const real *x, struct qview v,
                    bool train)
{
    real *h;

    if (spec_int(&q->spec, BITS_SCALING) < SCALING_AUTO)
        return;
    h = mem_alloc((size_t)view_count(v), sizeof *h);
    if (!h)
        return;
    hswish(spec_real(&q->spec, SET_SHIFT), spec_real(&q->spec, SET_BOUND), x,
           h, view_count(v));
    qkeras_bits_prepare(q, h, v, train);
    mem_free(h);
}

static void values(const struct qkeras_run *r, const real *x, real *xq,
                   real *u, int64_t n)
{
    const struct qspec *s = &r->q->spec;

    hswish(spec_real(s, SET_SHIFT), spec_real(s, SET_BOUND), x, u, n);
    qkeras_bits_values(r, u, xq, n);
}

static void slopes(const struct qkeras_run *r, const real *x, real *slope,
                   int64_t n)
{
    const struct qspec *s = &r->q->spec;

    slope_run(spec_real(s, SET_SHIFT), spec_real(s, SET_BOUND), x, slope, n);
}

static void head(const struct quantizer *q, struct str *out)
{
    str_printf(out, "u = hard swish, step %.9g, codes %lld to %lld\n",
               (double)q->scale[0], (long long)q->lo_code,
               (long long)q->hi_code);
}

static const struct qkeras_parts parts = {
    .args = args,
    .noise_row = BITS_NOISE,
    .prepare = prepare,
    .values = values,
    .slopes = slopes,
    .head = head,
};

const struct quantizer_kind quantizer_quantized_hswish = {
    .name = "quantized_hswish",
    .help = "QKeras hard swish in fixed point",
    .source = "QKeras 0.9.0 quantized_hswish",
    .flags = QK_UNIFORM | QK_ACTIVATIONS | QK_OWN_SCALE,
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
    .example = "bits conv1 a=quantized_hswish(8,2)",
    .defaults = qkeras_defaults,
    .parse = parse,
    .print = qkeras_print,
    .scratch_bytes = qkeras_scratch,
    .span = qkeras_bits_span,
    .qkeras = &parts,
};

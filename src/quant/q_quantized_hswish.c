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

struct swish {
    real shift, bound;
};

static struct swish swish_of(const struct qspec *s)
{
    return (struct swish){spec_real(s, SET_SHIFT), spec_real(s, SET_BOUND)};
}

SELECT_INLINE real relu_of(const struct swish *k, real x)
{
    real t = x + k->shift;

    return pick(t <= k->bound, at_least(t, 0), k->bound);
}

SELECT_INLINE real hswish_of(const struct swish *k, real x)
{
    return x * relu_of(k, x) / k->bound;
}

QUANT_CLONES static void hswish(struct swish k, const real *x, real *h,
                                int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        h[i] = hswish_of(&k, x[i]);
}

QUANT_CLONES static void whole_run(struct swish k, struct qkeras_fixed f,
                                   const real *x, real *y, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real u = hswish_of(&k, x[i]);

        y[i] = u + (qkeras_fixed_of(&f, u) - u);
    }
}

/* relu / bound, and x / bound where the relu rises. */
QUANT_CLONES static void back_run(struct swish k, real gain, const real *x,
                                  const real *dy, real *dx, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real t = x[i] + k.shift, relu = relu_of(&k, x[i]);
        bool rises = (t > 0) & (t <= k.bound);
        real slope = (relu + pick(rises, x[i], 0)) / k.bound;

        dx[i] = gain * (dy[i] * slope);
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
    hswish(swish_of(&q->spec), x, h, view_count(v));
    qkeras_bits_prepare(q, h, v, train);
    mem_free(h);
}

static void values(const struct qkeras_run *r, const real *x, real *xq,
                   real *u, int64_t n)
{
    hswish(swish_of(&r->q->spec), x, u, n);
    qkeras_bits_values(r, u, xq, n);
}

static bool whole(const struct qkeras_run *r, const real *x, real *y,
                  int64_t n)
{
    struct qkeras_fixed f;

    if (!qkeras_bits_fixed(r, &f))
        return false;
    whole_run(swish_of(&r->q->spec), f, x, y, n);
    return true;
}

static void back(const struct qkeras_run *r, const real *x, const real *dy,
                 real *dx, int64_t n)
{
    back_run(swish_of(&r->q->spec), r->gain, x, dy, dx, n);
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
    .whole = whole,
    .back = back,
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

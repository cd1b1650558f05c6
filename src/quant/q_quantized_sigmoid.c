/* Quantizer quantized_sigmoid (QKeras).
 *
 * p = sigmoid(x), or hard_sigmoid(x) = clip(x / 2 + 1/2, 0, 1); y =
 * clip(rne(p * m) / m, symmetric / m, 1 - 1/m), m = 2^bits.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>

#include "quant/qkeras.h"
#include "quant/vmath.h"

enum { SET_REAL };

static const struct qrow settings[] = {
    {"use_real_sigmoid", 0, 0, 1, "1: sigmoid, 0: its straight line"},
    {0},
};

static const struct qkeras_arg args[] = {
    {"bits", QARG_BITS, 0},
    {"symmetric", QARG_NARROW, 0},
    {"use_real_sigmoid", QARG_BOOL, SET_REAL},
    {"use_stochastic_rounding", QARG_STOCHASTIC, 0},
    {0},
};

static void defaults(struct qspec *s)
{
    qkeras_defaults(s);
    s->is_signed = false;
}

static enum status check(const struct qspec *s, struct err *e)
{
    if (s->is_signed)
        return err_set(e, STATUS_ARG, "quantized_sigmoid is unsigned");
    return qkeras_check(s, -1, e);
}

static void span(const struct qspec *s, int64_t *lo, int64_t *hi)
{
    *lo = s->narrow;
    *hi = ((int64_t)1 << s->bits) - 1;
}

static void set_range(struct quantizer *q)
{
    for (int64_t c = 0; c < q->channels; c++)
        qkeras_set_step(q, c, (real)ldexp(1, -q->spec.bits));
}

QUANT_CLONES static void half_run(const real *x, real *v, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        v[i] = REAL(0.5) * x[i];
}

/* v: x / 2, or tanh(x / 2). */
QUANT_CLONES static void scale_run(bool smooth, real m, real *v, int64_t n)
{
    real factor = smooth ? REAL(0.5) : 1;

#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        v[i] = within(factor * v[i] + REAL(0.5), 0, 1) * m;
}

/* Rounded p * m into v; sigmoid(x) = (1 + tanh(x / 2)) / 2. */
static void codes_of(const struct qkeras_run *r, const real *x, real *v,
                     int64_t n)
{
    bool smooth = spec_int(&r->q->spec, SET_REAL);

    half_run(x, v, n);
    if (smooth)
        tanh_block(v, v, n);
    scale_run(smooth, 1 / r->step, v, n);
    qkeras_round(r, v, n, REAL(0.5));
}

static void values(const struct qkeras_run *r, const real *x, real *xq,
                   real *u, int64_t n)
{
    codes_of(r, x, xq, n);
    qkeras_clip_codes(r, xq, u, n);
}

/* factor * slope where the value and x are inside. */
QUANT_CLONES static void slope_run(const real limits[3], real factor,
                                   const real *x, const real *v, real *slope,
                                   int64_t n)
{
    real lo = limits[0], hi = limits[1], edge = limits[2];

#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        bool in = (v[i] >= lo) & (v[i] <= hi) & (real_fabs(x[i]) <= edge);

        slope[i] = pick(in, factor * slope[i], 0);
    }
}

/* sigmoid' = sech(x / 2)^2 / 4, hard_sigmoid' = 1/2 on [-1, 1]. */
static void slopes(const struct qkeras_run *r, const real *x, real *slope,
                   int64_t n)
{
    bool smooth = spec_int(&r->q->spec, SET_REAL);
    real limits[3] = {(real)r->q->lo_code, (real)r->q->hi_code,
                      smooth ? (real)INFINITY : 1};
    QUANT_ALIGNED real v[QUANT_BLOCK];

    codes_of(r, x, v, n);
    if (smooth) {
        half_run(x, slope, n);
        sech2_block(slope, slope, n);
    }
    slope_run(limits, smooth ? REAL(0.25) : REAL(0.5), x, v, slope, n);
}

static real smooth(const struct qkeras_run *r, real x0, real x)
{
    real code, t = x / 2;

    codes_of(r, &x0, &code, 1);
    if (code < (real)r->q->lo_code || code > (real)r->q->hi_code)
        return 0;
    if (spec_int(&r->q->spec, SET_REAL))
        tanh_block(&t, &t, 1);
    else
        return x0 < -1 || x0 > 1 ? 0 : t;
    return t / 2;
}

static void head(const struct quantizer *q, struct str *out)
{
    str_printf(out, "m = 2^%d, step 1/m, codes %lld to %lld\n",
               q->spec.bits, (long long)q->lo_code,
               (long long)q->hi_code);
}

static const struct qkeras_parts parts = {
    .args = args,
    .noise_row = -1,
    .values = values,
    .slopes = slopes,
    .smooth = smooth,
    .head = head,
};

const struct quantizer_kind quantizer_quantized_sigmoid = {
    .name = "quantized_sigmoid",
    .help = "QKeras sigmoid in fixed point",
    .source = "QKeras 0.9.0 quantized_sigmoid",
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
    .example = "bits conv1 a=quantized_sigmoid(8)",
    .defaults = defaults,
    .parse = qkeras_parse,
    .print = qkeras_print,
    .span = span,
    .qkeras = &parts,
};

/* Quantizer quantized_tanh (QKeras).
 *
 * p = tanh(x), or 2 hard_sigmoid(x) - 1 = clip(x, -1, 1); y = clip(rne(p * m)
 * / m, -1 + symmetric / m, 1 - 1/m), m = 2^(bits-1). The gradient passes where
 * x and the rounded value are inside their closed ranges.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>

#include "quant/qkeras.h"
#include "quant/vmath.h"

enum { SET_REAL };

static const struct qrow settings[] = {
    {"use_real_tanh", 0, 0, 1, "1: tanh, 0: its straight-line stand-in"},
    {0},
};

static const struct qkeras_arg args[] = {
    {"bits", QARG_BITS, 0},
    {"use_stochastic_rounding", QARG_STOCHASTIC, 0},
    {"symmetric", QARG_NARROW, 0},
    {"use_real_tanh", QARG_BOOL, SET_REAL},
    {0},
};

static enum status check(const struct qspec *s, struct err *e)
{
    if (!s->is_signed)
        return err_set(e, STATUS_ARG, "quantized_tanh is signed");
    return qkeras_check(s, -1, e);
}

static void span(const struct qspec *s, int64_t *lo, int64_t *hi)
{
    int64_t m = (int64_t)1 << (s->bits - 1);

    *lo = -m + s->narrow;
    *hi = m - 1;
}

static void set_range(struct quantizer *q)
{
    for (int64_t c = 0; c < q->channels; c++)
        qkeras_set_step(q, c, (real)ldexp(1, 1 - q->spec.bits));
}

/* hard_tanh(x) * m, or v * m where v holds tanh(x). */
QUANT_CLONES static void scale_run(bool smooth, real m, const real *x,
                                   real *v, int64_t n)
{
    if (smooth) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            v[i] *= m;
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            real t = within(REAL(0.5) * x[i] + REAL(0.5), 0, 1);

            v[i] = (2 * t - 1) * m;
        }
    }
}

/* Rounded p * m into v. */
static void codes_of(const struct qkeras_run *r, const real *x, real *v,
                     int64_t n)
{
    bool smooth = spec_int(&r->q->spec, SET_REAL);

    if (smooth)
        tanh_block(x, v, n);
    scale_run(smooth, 1 / r->step, x, v, n);
    qkeras_round(r, v, n, REAL(0.5));
}

static void values(const struct qkeras_run *r, const real *x, real *xq,
                   real *u, int64_t n)
{
    codes_of(r, x, xq, n);
    qkeras_clip_codes(r, xq, u, n);
}

/* tf.clip passes the gradient on its closed range. */
QUANT_CLONES static void slope_run(const real limits[3], const real *x,
                                   const real *v, real *slope, int64_t n)
{
    real lo = limits[0], hi = limits[1], edge = limits[2];

#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        bool in = (v[i] >= lo) & (v[i] <= hi) & (real_fabs(x[i]) <= edge);

        slope[i] = pick(in, slope[i], 0);
    }
}

static void slopes(const struct qkeras_run *r, const real *x, real *slope,
                   int64_t n)
{
    bool smooth = spec_int(&r->q->spec, SET_REAL);
    real limits[3] = {(real)r->q->lo_code, (real)r->q->hi_code,
                      smooth ? (real)INFINITY : 1};
    QUANT_ALIGNED real v[QUANT_BLOCK];

    codes_of(r, x, v, n);
    if (smooth)
        sech2_block(x, slope, n);
    slope_run(limits, x, v, slope, n);
}

static real smooth(const struct qkeras_run *r, real x0, real x)
{
    real code, t = x;

    codes_of(r, &x0, &code, 1);
    if (code < (real)r->q->lo_code || code > (real)r->q->hi_code)
        return 0;
    if (spec_int(&r->q->spec, SET_REAL))
        tanh_block(&x, &t, 1);
    else if (x0 < -1 || x0 > 1)
        return 0;
    return t;
}

static void head(const struct quantizer *q, struct str *out)
{
    str_printf(out, "m = 2^%d, step 1/m, codes %lld to %lld\n",
               q->spec.bits - 1, (long long)q->lo_code,
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

const struct quantizer_kind quantizer_quantized_tanh = {
    .name = "quantized_tanh",
    .help = "QKeras tanh in fixed point",
    .source = "QKeras 0.9.0 quantized_tanh",
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
    .example = "bits conv1 a=quantized_tanh(8)",
    .defaults = qkeras_defaults,
    .parse = qkeras_parse,
    .print = qkeras_print,
    .span = span,
    .qkeras = &parts,
};

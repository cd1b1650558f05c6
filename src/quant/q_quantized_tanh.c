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

/* The constants of a call: 1 / m, m, the limits of the codes, where the
 * gradient ends. */
struct squash {
    real step, m, lo, hi, edge;
    bool smooth;
};

static struct squash squash_of(const struct qkeras_run *r)
{
    bool smooth = spec_int(&r->q->spec, SET_REAL);

    return (struct squash){
        .step = r->step,
        .m = 1 / r->step,
        .lo = (real)r->q->lo_code,
        .hi = (real)r->q->hi_code,
        .edge = smooth ? (real)INFINITY : 1,
        .smooth = smooth,
    };
}

/* p * m; smooth is a constant at each call. */
SELECT_INLINE real position(const struct squash *k, real x, bool smooth)
{
    real t = within(REAL(0.5) * x + REAL(0.5), 0, 1);

    return (smooth ? tanh_of(x) : 2 * t - 1) * k->m;
}

QUANT_CLONES static void position_run(struct squash k, const real *x, real *v,
                                      int64_t n)
{
    if (k.smooth) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            v[i] = position(&k, x[i], true);
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            v[i] = position(&k, x[i], false);
    }
}

static void values(const struct qkeras_run *r, const real *x, real *xq,
                   real *u, int64_t n)
{
    position_run(squash_of(r), x, xq, n);
    qkeras_round(r, xq, n, REAL(0.5));
    qkeras_clip_codes(r, xq, u, n);
}

SELECT_INLINE real value_of(const struct squash *k, real x, bool smooth)
{
    return within(real_rint(position(k, x, smooth)), k->lo, k->hi) * k->step;
}

QUANT_CLONES static void whole_run(struct squash k, const real *x, real *y,
                                   int64_t n)
{
    if (k.smooth) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            y[i] = value_of(&k, x[i], true);
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            y[i] = value_of(&k, x[i], false);
    }
}

static bool whole(const struct qkeras_run *r, const real *x, real *y,
                  int64_t n)
{
    if (!r->noise->on)
        whole_run(squash_of(r), x, y, n);
    return !r->noise->on;
}

/* tf.clip passes the gradient on its closed range. */
SELECT_INLINE real slope_of(const struct squash *k, real x, bool smooth)
{
    real v = real_rint(position(k, x, smooth));
    bool in = (v >= k->lo) & (v <= k->hi) & (real_fabs(x) <= k->edge);

    return pick(in, smooth ? sech2_of(x) : 1, 0);
}

QUANT_CLONES static void back_run(struct squash k, real gain, const real *x,
                                  const real *dy, real *dx, int64_t n)
{
    if (k.smooth) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            dx[i] = gain * (dy[i] * slope_of(&k, x[i], true));
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            dx[i] = gain * (dy[i] * slope_of(&k, x[i], false));
    }
}

static void back(const struct qkeras_run *r, const real *x, const real *dy,
                 real *dx, int64_t n)
{
    back_run(squash_of(r), r->gain, x, dy, dx, n);
}

static real smooth(const struct qkeras_run *r, real x0, real x)
{
    real code, t = x;

    position_run(squash_of(r), &x0, &code, 1);
    code = real_rint(code);
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
    .whole = whole,
    .back = back,
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

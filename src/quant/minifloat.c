/* Small floating-point formats: rounding, saturation, bit patterns.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/minifloat.h"

#include <math.h>

/* The usual exponent bits by width: fp4 e2m1, fp6 e3m2, fp8 e4m3, fp16. */
static int usual_exponent(int bits)
{
    return bits >= 10 ? 5 : bits >= 7 ? 4 : bits >= 6 ? 3 : 2;
}

static int exponent_bits(const struct qspec *s)
{
    int e = spec_int(s, MINIFLOAT_EXP);

    return e ? e : usual_exponent(s->bits);
}

/* ONNX, OCP: e4m3 keeps one NaN, e5m2 and wider are IEEE, below 8 bits all
 * codes are numbers. */
static int special_of(const struct qspec *s)
{
    int special = spec_int(s, MINIFLOAT_SPECIAL);

    if (special >= 0)
        return special;
    if (s->bits < 8)
        return SPECIAL_NONE;
    return s->bits == 8 && exponent_bits(s) == 4 ? SPECIAL_LAST
                                                 : SPECIAL_IEEE;
}

void minifloat_defaults(struct qspec *s)
{
    kind_plain(s, USE_ROUND | USE_GRAD);
    s->is_signed = true;
}

enum status minifloat_check(const struct qspec *s, struct err *e)
{
    int exponent = exponent_bits(s), mantissa = s->bits - 1 - exponent;

    if (!s->is_signed)
        return err_set(e, STATUS_ARG, "%s is signed", s->kind->name);
    if (exponent < 2 || mantissa < 0 ||
        (mantissa < 1 && special_of(s) == SPECIAL_LAST))
        return err_set(e, STATUS_ARG, "%s: %d bits with %d exponent bits "
                       "leave %d for the mantissa", s->kind->name, s->bits,
                       exponent, mantissa);
    return kind_check(s, USE_ROUND | USE_GRAD, e);
}

void minifloat_span(const struct qspec *s, int64_t *lo, int64_t *hi)
{
    *lo = 0;
    *hi = ((int64_t)1 << s->bits) - 1;
}

struct minifloat minifloat_format(const struct qspec *s)
{
    int special = special_of(s);
    struct minifloat f = {.exponent_bits = exponent_bits(s)};
    int bias = (1 << (f.exponent_bits - 1)) - 1;
    int steps;

    f.mantissa_bits = s->bits - 1 - f.exponent_bits;
    f.least = 1 - bias;
    f.top = (1 << f.exponent_bits) - 1 - bias - (special == SPECIAL_IEEE);
    steps = (2 << f.mantissa_bits) - 1 - (special == SPECIAL_LAST);
    f.max = (real)ldexp(steps, f.top - f.mantissa_bits);
    return f;
}

/* v = x / step, and the exponent of step in e. Powers are applied in two
 * halves, so that none leaves the range of normal numbers. */
QUANT_CLONES static void to_steps(const struct minifloat_run *r,
                                  const real *x, real *v, real *e, int64_t n)
{
    real_int least = r->format->least, top = r->format->top;
    real_int m = r->format->mantissa_bits;
    real scale = r->scale;

#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real u = x[i] / scale;
        real_int k = real_exponent(real_fabs(u));
        real_int half;

        k = pick_int(k < least, least, k);
        k = pick_int(k > top, top, k) - m;
        half = k / 2;
        v[i] = u * real_pow2(-half) * real_pow2(half - k);
        e[i] = (real)k;
    }
}

QUANT_CLONES static void from_steps(const struct minifloat_run *r,
                                    const real *v, const real *e, real *y,
                                    int64_t n)
{
    real max = r->format->max, scale = r->scale;

#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real_int k = (real_int)e[i];
        real_int half = k / 2;
        real u = v[i] * real_pow2(half) * real_pow2(k - half);

        y[i] = within(u, -max, max) * scale;
    }
}

static void round_by_noise(const struct noise *z, int64_t at, real *v,
                           int64_t n)
{
    QUANT_ALIGNED real u[QUANT_BLOCK];

    noise_block(z, at, 0, u, n);
    for (int64_t i = 0; i < n; i++)
        v[i] = real_floor(v[i] + u[i]);
}

/* In one pass, half to even, for formats whose powers are normal numbers.
 * invert, a constant at each call: 1 / scale is exact, so that its product has
 * the bits of the quotient. */
SELECT_INLINE void nearest(const struct minifloat *f, real scale, bool invert,
                           const real *x, real *y, int64_t n)
{
    real over = 1 / scale;
    real_int least = f->least - f->mantissa_bits;
    real_int top = f->top - f->mantissa_bits;
    real_int bias = REAL_BIAS, m = f->mantissa_bits;
    real max = f->max;

#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real u = invert ? x[i] * over : x[i] / scale;
        real_int k = real_exponent(real_fabs(u)) - m;
        real up, down;

        k = pick_int(k < least, least, k);
        k = pick_int(k > top, top, k);
        up = real_from_bits((real_bits)(bias - k) << REAL_FRACTION);
        down = real_from_bits((real_bits)(bias + k) << REAL_FRACTION);
        y[i] = within(real_rint(u * up) * down, -max, max) * scale;
    }
}

QUANT_CLONES static void nearest_run(const struct minifloat *f, real scale,
                                     const real *x, real *y, int64_t n)
{
    nearest(f, scale, false, x, y, n);
}

static bool has_normal_powers(const struct minifloat *f)
{
    return f->least - f->mantissa_bits > -REAL_BIAS &&
           f->top - f->mantissa_bits < REAL_BIAS;
}

/* The power of two is kept where float's normal numbers can hold it. */
SELECT_INLINE real shared_scale(const struct minifloat *f, real absmax)
{
    real_int e = real_exponent(absmax) - (real_int)f->top;

    return real_pow2(e < -126 ? -126 : e > 127 ? 127 : e);
}

real minifloat_shared_scale(const struct minifloat *f, real absmax)
{
    return shared_scale(f, absmax);
}

SELECT_INLINE void row_scales(const struct minifloat *f, const real *x,
                              real *scale, int64_t rows, int64_t n)
{
    for (int64_t r = 0; r < rows; r++)
        scale[r] = shared_scale(f, absmax_inline(x + r * n, n));
}

/* A power of two from 2^-126 to 2^127 has an exact 1 / s. */
SELECT_INLINE void row_values(const struct minifloat *f, const real *x,
                              real *y, const real *scale, int64_t rows,
                              int64_t n)
{
    for (int64_t r = 0; r < rows; r++)
        nearest(f, scale[r], true, x + r * n, y + r * n, n);
}

#define FEW_ROWS 8

/* A few rows' scales, then their values: no value waits for its maximum. The
 * standard's block gets code of its own, loops of known length. */
QUANT_CLONES static void block_rows(const struct minifloat *f, const real *x,
                                    real *y, real *scale, struct qview v)
{
    const struct minifloat own = *f;
    int64_t n = v.inner;

    for (int64_t r = 0; r < v.channels; r += FEW_ROWS) {
        int64_t rows = v.channels - r < FEW_ROWS ? v.channels - r : FEW_ROWS;
        real s[FEW_ROWS];

        if (n == 32) {
            row_scales(&own, x + r * 32, s, rows, 32);
            row_values(&own, x + r * 32, y + r * 32, s, rows, 32);
        } else {
            row_scales(&own, x + r * n, s, rows, n);
            row_values(&own, x + r * n, y + r * n, s, rows, n);
        }
        if (scale)
            memcpy(scale + r, s, (size_t)rows * sizeof *s);
    }
}

bool minifloat_block_rows(const struct minifloat *f, const real *x, real *y,
                          real *scale, struct qview v)
{
    if (!has_normal_powers(f))
        return false;
    block_rows(f, x, y, scale, v);
    return true;
}

void minifloat_forward(const struct minifloat_run *r, const real *x, real *y,
                       int64_t n)
{
    if (r->rounding == ROUND_HALF_EVEN && has_normal_powers(r->format)) {
        nearest_run(r->format, r->scale, x, y, n);
        return;
    }
    for (int64_t i = 0; i < n; i += QUANT_BLOCK) {
        QUANT_ALIGNED real v[QUANT_BLOCK], e[QUANT_BLOCK];
        int64_t m = n - i < QUANT_BLOCK ? n - i : QUANT_BLOCK;

        to_steps(r, x + i, v, e, m);
        if (r->rounding == ROUND_STOCHASTIC)
            round_by_noise(r->noise, r->at + i, v, m);
        else
            round_block(r->rounding, NULL, v, m);
        from_steps(r, v, e, y + i, m);
    }
}

/* What lies less than half a step above the largest value rounds to it. */
QUANT_CLONES static void mask(real limit, const real *x, const real *dy,
                              real *dx, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        dx[i] = pick(real_fabs(x[i]) < limit, dy[i], 0);
}

void minifloat_backward(const struct minifloat_run *r, const real *x,
                        const real *dy, real *dx, int64_t n)
{
    const struct minifloat *f = r->format;
    real step = real_pow2((real_int)(f->top - f->mantissa_bits));

    mask((f->max + step / 2) * r->scale, x, dy, dx, n);
}

int32_t minifloat_code(const struct minifloat *f, real value)
{
    int32_t sign = signbit(value) ? 1 : 0, biased, mantissa;
    int m = f->mantissa_bits, e;
    double a = fabs((double)value);

    e = a > 0 ? (int)floor(log2(a)) : f->least;
    if (a > 0 && ldexp(1.0, e) > a)
        e--;
    e = e < f->least ? f->least : e;
    mantissa = (int32_t)ldexp(a, m - e);
    biased = mantissa >> m ? e - f->least + 1 : 0;
    return sign << (f->exponent_bits + m) | biased << m |
           (mantissa & ((1 << m) - 1));
}

static void describe_run(const struct minifloat_run *r, real v,
                         struct str *out)
{
    const struct minifloat *f = r->format;
    real y;

    minifloat_forward(r, &v, &y, 1);
    str_printf(out, "e%dm%d: normal from 2^%d, largest %.9g\n",
               f->exponent_bits, f->mantissa_bits, f->least, (double)f->max);
    str_printf(out, "y = s * nearest(x / s), s = %.9g: %.9g -> %.9g\n",
               (double)r->scale, (double)v, (double)y);
    str_printf(out, "code 0x%x, error %.3g\n",
               (unsigned)minifloat_code(f, y / r->scale), (double)(y - v));
}

struct minifloat_call minifloat_call_of(const struct quantizer *q, bool train)
{
    bool draws = train && q->spec.rounding == ROUND_STOCHASTIC;

    return (struct minifloat_call){
        .format = minifloat_format(&q->spec),
        .noise = noise_new(draws ? q->rng : NULL),
    };
}

struct minifloat_run minifloat_run_of(const struct quantizer *q,
                                      const struct minifloat_call *c,
                                      int64_t at)
{
    enum rounding r = q->spec.rounding;

    return (struct minifloat_run){
        .format = &c->format,
        .scale = 1,
        .rounding = r == ROUND_STOCHASTIC && !c->noise.on ? ROUND_HALF_EVEN
                                                          : r,
        .noise = &c->noise,
        .at = at,
    };
}

static struct minifloat_run run_of(const struct kcall *c, int64_t channel)
{
    const struct quantizer *q = c->cq;
    const struct minifloat_call *m = c->own;
    struct minifloat_run r = minifloat_run_of(q, m, 0);

    r.scale = q->scale[channel];
    return r;
}

static void forward_piece(void *ctx, int64_t channel, int64_t at, int64_t n)
{
    const struct kcall *c = ctx;
    struct minifloat_run r = run_of(c, channel);

    r.at = at;
    minifloat_forward(&r, c->x + at, c->y + at, n);
}

static void backward_piece(void *ctx, int64_t channel, int64_t at, int64_t n)
{
    const struct kcall *c = ctx;
    struct minifloat_run r = run_of(c, channel);

    minifloat_backward(&r, c->x + at, c->dy + at, c->dx + at, n);
}

static void codes_piece(void *ctx, int64_t channel, int64_t at, int64_t n)
{
    const struct kcall *c = ctx;
    struct minifloat_run r = run_of(c, channel);

    for (int64_t i = at; i < at + n; i++) {
        real y;

        minifloat_forward(&r, c->x + i, &y, 1);
        c->code[i] = minifloat_code(r.format, y / r.scale);
    }
}

void minifloat_kind_forward(struct quantizer *q, const real *x, real *y,
                            struct qview v, bool train)
{
    struct minifloat_call m = minifloat_call_of(q, train);
    struct kcall c = kcall_forward(q, x, y, v, train);

    c.own = &m;
    view_each(v, forward_piece, &c);
}

void minifloat_kind_backward(struct quantizer *q, const real *x,
                             const real *dy, real *dx, struct qview v)
{
    struct minifloat_call m = minifloat_call_of(q, false);
    struct kcall c = kcall_backward(q, x, dy, dx, v);

    c.own = &m;
    pass_or_mask(&c, backward_piece);
}

void minifloat_kind_codes(const struct quantizer *q, const real *x,
                          int32_t *code, struct qview v)
{
    struct minifloat_call m = minifloat_call_of(q, false);
    struct kcall c = kcall_codes(q, x, code, v);

    c.own = &m;
    view_each(v, codes_piece, &c);
}

void minifloat_kind_surrogate(const struct quantizer *base,
                              const struct quantizer *q, const real *x0,
                              const real *x, real *y, struct qview v)
{
    struct minifloat f = minifloat_format(&base->spec);
    real half = real_pow2((real_int)(f.top - f.mantissa_bits)) / 2;

    (void)q;
    for (int64_t i = 0; i < view_count(v); i++) {
        real s = base->scale[i / v.inner % v.channels];
        bool in = real_fabs(x0[i]) < (f.max + half) * s;

        y[i] = in || base->spec.grad == QGRAD_PASS ? x[i] : 0;
    }
}

void minifloat_kind_describe(const struct quantizer *q, real v,
                             struct str *out)
{
    struct minifloat_call m = minifloat_call_of(q, false);
    struct kcall c = {.cq = q, .own = &m};
    struct minifloat_run r = run_of(&c, 0);
    real one = 1, slope;

    describe_run(&r, v, out);
    minifloat_backward(&r, &v, &one, &slope, 1);
    str_printf(out, "gradient: dx = %s\n",
               slope > 0 || q->spec.grad == QGRAD_PASS ? "dy" : "0");
}

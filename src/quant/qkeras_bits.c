/* quantized_bits: fixed-point values, or codes times an automatic scale.
 *
 * m = 2^(bits - signed), mi = 2^integer. alpha None or a number: xq = alpha *
 * mi * clip(rne(x * m / mi), -m or -m + 1 or 0, m - 1) / m; one signed bit:
 * alpha * sign(x). 'auto': s = 2 max|x / mi| / levels per channel, levels =
 * 2 (2^(bits-1) - 1), z = sign(x) * min(floor(|x / mi| / s + 1/2), levels/2),
 * xq = s * z * mi. 'auto_po2': s rounded to a power of two, then five times z
 * and s = po2(mean(x z) / (mean(z z) + eps)); the last z is kept, made with
 * the s before the last. SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/qkeras_bits.h"

#include <math.h>

#define ITERATIONS 5

static bool is_auto(const struct qspec *s)
{
    return spec_int(s, BITS_SCALING) >= SCALING_AUTO;
}

static bool is_sign(const struct qspec *s)
{
    return s->bits == 1 && s->is_signed;
}

static real power(int e)
{
    return (real)ldexp(1, e);
}

/* m / mi: codes per unit. */
static real codes_per_unit(const struct qspec *s)
{
    return power(s->bits - s->is_signed - spec_int(s, BITS_INTEGER));
}

void qkeras_bits_span(const struct qspec *s, int64_t *lo, int64_t *hi)
{
    int64_t m = (int64_t)1 << (s->bits - s->is_signed);

    *hi = is_sign(s) ? 1 : m - 1;
    *lo = is_sign(s) ? -1 : s->is_signed ? -m + s->narrow : 0;
    if (is_auto(s) && s->bits > 1) {
        *hi = ((int64_t)1 << (s->bits - 1)) - 1;
        *lo = -*hi;
    }
}

void qkeras_bits_set_range(struct quantizer *q)
{
    const struct qspec *s = &q->spec;
    real alpha = qkeras_alpha(s, BITS_SCALING);

    for (int64_t c = 0; c < q->channels; c++)
        qkeras_set_step(q, c, is_sign(s) ? alpha
                                         : alpha / codes_per_unit(s));
}

enum status qkeras_bits_check(const struct qspec *s, struct err *e)
{
    if (is_auto(s) && s->bits < 2)
        return err_set(e, STATUS_ARG, "%s: one bit has no automatic alpha",
                       s->kind->name);
    return qkeras_check(s, BITS_SCALING, e);
}

void qkeras_bits_on_weights(struct qspec *s)
{
    if (spec_int(s, BITS_SCALING) == SCALING_NONE)
        s->narrow = true;
    qkeras_on_weights(s, BITS_SCALING);
}

/* z of x / mi for scale s; a scale of 0 gives the sign's 0. */
static inline __attribute__((always_inline)) real auto_code(real x, real s,
                                                            real top)
{
    real v = real_floor(real_fabs(x) / s + REAL(0.5));
    real sign = pick(x > 0, 1, pick(x < 0, -1, 0));

    return sign * pick(v < top, v, top);
}

struct search {
    struct quantizer *q;
    const real *x;
    real unit, top;           /* mi, levels / 2 */
    int64_t n;                /* elements per channel */
};

static void sum_piece(void *ctx, int64_t channel, int64_t at, int64_t n,
                      double *sum)
{
    const struct search *f = ctx;
    real s = qkeras_before(f->q)[channel];

    for (int64_t i = 0; i < n; i += QUANT_BLOCK) {
        QUANT_ALIGNED real xz[QUANT_BLOCK], zz[QUANT_BLOCK];
        int64_t k = n - i < QUANT_BLOCK ? n - i : QUANT_BLOCK;

        for (int64_t j = 0; j < k; j++) {
            real x = f->x[at + i + j] / f->unit;
            real z = auto_code(x, s, f->top);

            xz[j] = x * z;
            zz[j] = z * z;
        }
        sum[0] += block_sum(xz, k);
        sum[1] += block_sum(zz, k);
    }
}

static void next_scale(void *ctx, int64_t channel, const double *sum)
{
    const struct search *f = ctx;

    f->q->scale[channel] = qkeras_po2(qkeras_least_squares(sum, f->n));
}

/* First guesses into `before`. */
static void first_scales(const struct search *f, struct qview v)
{
    struct quantizer *q = f->q;
    real *before = qkeras_before(q), most = 0;

    view_absmax(f->x, v, before);
    for (int64_t c = 0; c < v.channels; c++)
        most = before[c] > most ? before[c] : most;
    for (int64_t c = 0; c < v.channels; c++) {
        real m = qkeras_is_vector(v) ? most : before[c];

        before[c] = m / f->unit * 2 / (2 * f->top);
    }
}

void qkeras_bits_prepare(struct quantizer *q, const real *x, struct qview v,
                         bool train)
{
    struct search f = {.q = q,
                       .x = x,
                       .unit = power(spec_int(&q->spec, BITS_INTEGER)),
                       .top = (real)q->hi_code,
                       .n = v.outer * v.inner};
    bool po2 = spec_int(&q->spec, BITS_SCALING) == SCALING_AUTO_PO2;
    real *before = qkeras_before(q);

    (void)train;
    if (!is_auto(&q->spec) || f.n == 0)
        return;
    first_scales(&f, v);
    for (int64_t c = 0; c < v.channels; c++) {
        before[c] = po2 ? qkeras_po2(before[c]) : before[c];
        q->scale[c] = before[c];
    }
    for (int i = 0; i < ITERATIONS && po2; i++) {
        for (int64_t c = 0; c < v.channels; c++)
            before[c] = q->scale[c];
        view_sum(v, sum_piece, next_scale, &f);
    }
    for (int64_t c = 0; c < v.channels; c++)
        qkeras_set_step(q, c, q->scale[c] * f.unit);
}

static struct qkeras_fixed fixed_of(const struct qkeras_run *r)
{
    real per_unit = codes_per_unit(&r->q->spec);

    return (struct qkeras_fixed){
        .per_unit = per_unit,
        .lo = (real)r->q->lo_code,
        .hi = (real)r->q->hi_code,
        .unit = 1 / per_unit,
        .alpha = r->step * per_unit,
    };
}

bool qkeras_bits_fixed(const struct qkeras_run *r, struct qkeras_fixed *f)
{
    const struct qspec *s = &r->q->spec;

    *f = fixed_of(r);
    return !is_auto(s) && !is_sign(s) && !r->noise->on;
}

QUANT_CLONES static void fixed_codes(const real *x, real per_unit, real *v,
                                     int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        v[i] = x[i] * per_unit;
}

QUANT_CLONES static void fixed_values(struct qkeras_fixed f, real *v,
                                      int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        v[i] = qkeras_fixed_value(&f, v[i]);
}

QUANT_CLONES static void auto_values(const struct qkeras_run *r,
                                     const real *x, real unit, real top,
                                     real *xq, int64_t n)
{
    real step = r->step, s = r->before;

#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        xq[i] = step * auto_code(x[i] / unit, s, top);
}

void qkeras_bits_values(const struct qkeras_run *r, const real *x, real *xq,
                        int64_t n)
{
    const struct qspec *s = &r->q->spec;
    struct qkeras_fixed f = fixed_of(r);

    if (is_auto(s)) {
        auto_values(r, x, power(spec_int(s, BITS_INTEGER)),
                    (real)r->q->hi_code, xq, n);
    } else if (is_sign(s)) {
        for (int64_t i = 0; i < n; i++)
            xq[i] = x[i] >= 0 ? r->step : -r->step;
    } else {
        fixed_codes(x, f.per_unit, xq, n);
        qkeras_round(r, xq, n, 1);
        fixed_values(f, xq, n);
    }
}

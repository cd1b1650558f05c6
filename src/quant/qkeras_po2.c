/* Powers of two as QKeras rounds them.
 *
 * QKeras takes rne(log(a) / ln 2) in float: the exponent, plus one above
 * sqrt(2) * 2^k. Within a few units in the last place of that border its
 * logarithm's own error decides; here it is the exact value.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/qkeras_po2.h"

#include <math.h>

#define ROOT2 REAL(1.4142135623730951)

struct po2_range qkeras_po2_range(const struct qspec *s, int exponent_bits)
{
    bool exponent_sign = s->param[PO2_MAX] < 0 || s->param[PO2_MAX] > 1;
    int bits = exponent_bits - exponent_sign;
    struct po2_range r;

    r.lo = -(1 << (bits > 0 ? bits : 0));
    r.hi = (1 << (bits > 0 ? bits : 0)) - 1;
    if (spec_int(s, PO2_QUADRATIC))
        r.hi = 2 * (r.hi / 2);
    return r;
}

enum status qkeras_po2_check(const struct qspec *s, int exponent_bits,
                             struct err *e)
{
    bool exponent_sign = s->param[PO2_MAX] < 0 || s->param[PO2_MAX] > 1;

    if (s->narrow)
        return err_set(e, STATUS_ARG, "%s does not go with narrow",
                       s->kind->name);
    if (s->param[PO2_MAX] == 0)
        return err_set(e, STATUS_ARG, "%s: max_value is 0", s->kind->name);
    if (exponent_bits - exponent_sign < 0)
        return err_set(e, STATUS_ARG, "%s: %d bits leave none for the "
                       "exponent", s->kind->name, s->bits);
    return qkeras_check(s, -1, e);
}

void qkeras_po2_set_range(struct quantizer *q, struct po2_range range)
{
    int factor = spec_int(&q->spec, PO2_QUADRATIC) ? 2 : 1;

    for (int64_t c = 0; c < q->channels; c++) {
        qkeras_set_step(q, c, 1);
        q->hi[c] = real_pow2(range.hi * factor);
        q->lo[c] = q->spec.is_signed ? -q->hi[c] : 0;
    }
}

struct qkeras_power qkeras_power_of(const struct qkeras_run *r,
                                    const struct po2_range *range)
{
    const struct qspec *s = &r->q->spec;
    const real_bits one = (real_bits)1 << REAL_FRACTION;
    bool root = spec_int(s, PO2_QUADRATIC), down = spec_int(s, PO2_FLOOR);
    real_bits border = real_to_bits(ROOT2) & (one - 1);

    return (struct qkeras_power){
        .max = s->param[PO2_MAX] >= 0 ? spec_real(s, PO2_MAX)
                                      : (real)INFINITY,
        .up = down ? 0 : one - 1 - border,
        .lo = range->lo,
        .hi = range->hi,
        .factor = root ? 2 : 1,
        .root = root,
        .draws = r->noise->on && s->rounding == ROUND_STOCHASTIC && !down,
    };
}

/* Values from eps to max_value; sqrt of them when quadratic. */
QUANT_CLONES static void limit_run(struct qkeras_power p, const real *a,
                                   real *t, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        t[i] = qkeras_po2_limited(&p, a[i]);
    for (int64_t i = 0; p.root && i < n; i++)
        t[i] = real_sqrt(t[i]);
}

QUANT_CLONES static void exponent_run(struct qkeras_power p, const real *t,
                                      real *e, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        e[i] = (real)qkeras_po2_exponent(&p, t[i]);
}

/* QKeras's stochastic_round_po2: up with the probability that keeps the mean
 * at t. */
static void draw_exponents(const struct qkeras_run *r, const real *t, real *e,
                           int64_t n)
{
    const real ln2 = REAL(0.6931471805599453);
    QUANT_ALIGNED real draw[QUANT_BLOCK];

    noise_block(r->noise, r->at, 0, draw, n);

    for (int64_t i = 0; i < n; i++) {
        real k = real_rint(real_log(t[i] + QKERAS_EPS) / ln2);
        real low = real_pow2((real_int)k) > t[i] ? k - 1 : k;
        real from = real_pow2((real_int)low);
        real at = from + from * draw[i];

        e[i] = t[i] < at ? low : low + 1;
    }
}

QUANT_CLONES static void power_run(struct qkeras_power p, const real *a,
                                   const real *e, real *xq, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        xq[i] = qkeras_po2_power(&p, a[i], (real_int)e[i]);
}

void qkeras_po2_values(const struct qkeras_run *r,
                       const struct po2_range *range, const real *a,
                       real *xq, int64_t n)
{
    struct qkeras_power p = qkeras_power_of(r, range);
    QUANT_ALIGNED real t[QUANT_BLOCK], e[QUANT_BLOCK];

    limit_run(p, a, t, n);
    if (p.draws)
        draw_exponents(r, t, e, n);
    else
        exponent_run(p, t, e, n);
    power_run(p, a, e, xq, n);
}

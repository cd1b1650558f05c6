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

/* Values from eps to max_value; sqrt of them when quadratic. */
QUANT_CLONES static void limit_run(real max, bool root, const real *a,
                                   real *t, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real v = at_least(a[i], QKERAS_EPS);

        t[i] = pick(v >= max, max, v);
    }
    for (int64_t i = 0; root && i < n; i++)
        t[i] = real_sqrt(t[i]);
}

/* Nearest exponents, or those below. */
QUANT_CLONES static void exponent_run(const real *t, real *e, bool down,
                                      int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real_int k = real_exponent(t[i]);
        real fraction = t[i] * real_pow2(-k);

        e[i] = (real)k + (!down && fraction > ROOT2 ? REAL(1.0) : 0);
    }
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

QUANT_CLONES static void power_run(const real *a, const real *e, int lo,
                                   int hi, int factor, real *xq, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real_int k = (real_int)e[i];

        k = pick_int(k < lo, lo, k);
        k = pick_int(k > hi, hi, k) * factor;
        xq[i] = real_pow2(pick_int(a[i] < QKERAS_EPS, lo, k));
    }
}

void qkeras_po2_values(const struct qkeras_run *r,
                       const struct po2_range *range, const real *a,
                       real *xq, int64_t n)
{
    const struct qspec *s = &r->q->spec;
    bool quadratic = spec_int(s, PO2_QUADRATIC);
    bool down = spec_int(s, PO2_FLOOR);
    real max = s->param[PO2_MAX] >= 0 ? spec_real(s, PO2_MAX)
                                      : (real)INFINITY;
    QUANT_ALIGNED real t[QUANT_BLOCK], e[QUANT_BLOCK];

    limit_run(max, quadratic, a, t, n);
    if (r->noise->on && s->rounding == ROUND_STOCHASTIC && !down)
        draw_exponents(r, t, e, n);
    else
        exponent_run(t, e, down, n);
    power_run(a, e, range->lo, range->hi, quadratic ? 2 : 1, xq, n);
}

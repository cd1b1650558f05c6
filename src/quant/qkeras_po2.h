/* Powers of two, shared by quantized_po2 and quantized_relu_po2.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef QUANT_QKERAS_PO2_H
#define QUANT_QKERAS_PO2_H

#include "quant/qkeras.h"

/* The first settings of both kinds. */
enum { PO2_MAX, PO2_QUADRATIC, PO2_FLOOR, PO2_ROWS };
#define QKERAS_PO2_ROWS                                             \
    {"max_value", -1, -1, 1e30, "largest value; -1: None"},         \
    {"quadratic_approximation", 0, 0, 1, "even exponents only"},    \
    {"log2_floor", 0, 0, 1, "log2_rounding 'floor' instead of 'rnd'"}

/* Exponents before doubling (quadratic). */
struct po2_range {
    int lo, hi;
};
/* exponent_bits: bits without the value's sign. */
struct po2_range qkeras_po2_range(const struct qspec *s, int exponent_bits);
enum status qkeras_po2_check(const struct qspec *s, int exponent_bits,
                             struct err *e);
void qkeras_po2_set_range(struct quantizer *q, struct po2_range range);
/* The constants of a call. */
struct qkeras_power {
    real max;                 /* values from eps to this one */
    real_bits up;             /* added to a value's bits, moves it to the next
                               * exponent where it is to be rounded up */
    real_int lo, hi, factor;
    bool root, draws;         /* of the exponent's square root; at random */
};
struct qkeras_power qkeras_power_of(const struct qkeras_run *r,
                                    const struct po2_range *range);

SELECT_INLINE real qkeras_po2_limited(const struct qkeras_power *p, real a)
{
    real v = at_least(a, QKERAS_EPS);

    return pick(v >= p->max, p->max, v);
}

/* 2^(factor * e), e inside its range; the least for what is below eps. */
SELECT_INLINE real qkeras_po2_power(const struct qkeras_power *p, real a,
                                    real_int e)
{
    e = pick_int(e < p->lo, p->lo, e);
    e = pick_int(e > p->hi, p->hi, e) * p->factor;
    return real_pow2(pick_int(a < QKERAS_EPS, p->lo, e));
}

/* The nearest exponent of t > 0, or the one below. */
SELECT_INLINE real_int qkeras_po2_exponent(const struct qkeras_power *p,
                                           real t)
{
    return (real_int)((real_to_bits(t) + p->up) >> REAL_FRACTION) - REAL_BIAS;
}

/* The power of two for a >= 0, neither root nor draws. */
SELECT_INLINE real qkeras_po2_of(const struct qkeras_power *p, real a)
{
    real t = qkeras_po2_limited(p, a);

    return qkeras_po2_power(p, a, qkeras_po2_exponent(p, t));
}

/* The same over n elements, with all settings. */
void qkeras_po2_values(const struct qkeras_run *r,
                       const struct po2_range *range, const real *a,
                       real *xq, int64_t n);

#endif

/* tanh and its derivative as vector code.
 *
 * e = exp(-2|x|) by range reduction to |r| <= ln(2)/2 and a Taylor polynomial
 * (relative error below 1e-8); tanh = (1 - e) / (1 + e), near 0 the continued
 * fraction x / (1 + x^2 / (3 + x^2 / (5 + x^2 / (7 + x^2 / 9)))).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/vmath.h"

#include "quant/kernel.h"

#ifdef REAL_IS_DOUBLE

void tanh_block(const real *x, real *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = tanh(x[i]);
}

void sech2_block(const real *x, real *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double e = exp(-2 * fabs(x[i]));

        y[i] = 4 * e / ((1 + e) * (1 + e));
    }
}

void tanh_sech2_block(const real *x, real *t, real *d, int64_t n)
{
    sech2_block(x, d, n);
    tanh_block(x, t, n);
}

#else

/* exp(a) for a <= 0; below -87 that of -87. */
static inline __attribute__((always_inline)) float exp_negative(float a)
{
    float k, r, p;

    a = at_least(a, -87.0f);
    k = rintf(a * 1.44269504f);
    r = a - k * 0.693359375f;
    r = r - k * -2.12194440e-4f;
    p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r * r + r + 1.0f;
    return p * real_from_bits((real_bits)((real_int)k + REAL_BIAS)
                              << REAL_FRACTION);
}

/* One division for both ways; e = exp(-2|x|). */
static inline __attribute__((always_inline)) float tanh_of(float x, float e)
{
    float a = fabsf(x), q = x * x;
    bool near = a < 0.625f;
    float over = pick(near, a * (945 + q * (105 + q)), 1 - e);
    float under = pick(near, 945 + q * (420 + 15 * q), 1 + e);

    return pick(x == x, copysignf(over / under, x), x);
}

static inline __attribute__((always_inline)) float sech2_of(float e)
{
    return 4 * e / ((1 + e) * (1 + e));
}

QUANT_CLONES void tanh_block(const real *x, real *y, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = tanh_of(x[i], exp_negative(-2 * fabsf(x[i])));
}

QUANT_CLONES void tanh_sech2_block(const real *x, real *t, real *d, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float v = x[i], e = exp_negative(-2 * fabsf(v));

        t[i] = tanh_of(v, e);
        d[i] = sech2_of(e);
    }
}

QUANT_CLONES void sech2_block(const real *x, real *y, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = sech2_of(exp_negative(-2 * fabsf(x[i])));
}

#endif

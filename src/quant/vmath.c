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
    return p * real_pow2((real_int)k);
}

QUANT_CLONES void tanh_block(const real *x, real *y, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float a = fabsf(x[i]);
        float e = exp_negative(-2 * a);
        float far = (1 - e) / (1 + e);
        float q = x[i] * x[i];
        float near = a * (945 + q * (105 + q)) / (945 + q * (420 + 15 * q));
        float t = pick(a < 0.625f, near, far);

        y[i] = pick(x[i] == x[i], copysignf(t, x[i]), x[i]);
    }
}

QUANT_CLONES void sech2_block(const real *x, real *y, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float e = exp_negative(-2 * fabsf(x[i]));

        y[i] = 4 * e / ((1 + e) * (1 + e));
    }
}

#endif

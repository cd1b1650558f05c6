/* Vector functions that quantizers need and libm has in scalar form only.
 *
 * Inline, without calls and branches, so that compilers turn loops over them
 * into vector code; the same bits on every machine. The build with double
 * reals uses libm. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef QUANT_VMATH_H
#define QUANT_VMATH_H

#include <math.h>

#include "quant/select.h"

/* tanh(x): relative error below 4e-7, also where it so comes out above 1;
 * exactly 1 from 9.02 on. Its derivative 1 - tanh(x)^2: relative error below
 * 9e-7 for |x| < 4, absolute error below 2e-9 beyond; above 0 up to 130. */
#ifdef REAL_IS_DOUBLE

SELECT_INLINE real tanh_of(real x)
{
    return tanh(x);
}

SELECT_INLINE real sech2_of(real x)
{
    double e = exp(-2 * fabs(x));

    return 4 * e / ((1 + e) * (1 + e));
}

#else

/* x P(x^2) / Q(x^2) of least largest relative error, 2.2e-8, up to where float
 * tanh is 1. The common factor 1.55 is the one whose coefficients round best.
 * Pairs of terms are added side by side, as one after the other each would
 * wait for the last. */
SELECT_INLINE real tanh_of(real x)
{
    float a = at_most(fabsf(x), 9.02f), q = a * a, qq = q * q;
    float b = real_from_bits(real_to_bits(a) | (real_to_bits(x) & REAL_SIGN));
    float p = (1.54999995f + 0.207385585f * q) +
              qq * ((5.41574694e-3f + 3.1904241e-5f * q) +
                    qq * 2.06442738e-8f);
    float r = (1.54999995f + 0.724051952f * q) +
              qq * ((4.01001424e-2f + 5.08878089e-4f * q) +
                    qq * 1.20310267e-6f);

    return b * p / r;
}

/* 1 / cosh(x)^2 with a polynomial in x^2 for cosh: coefficients of least
 * largest error relative to the result + 0.1. */
SELECT_INLINE real sech2_of(real x)
{
    float q = x * x, qq = q * q;
    float c = ((0.999999992f + 0.500000107f * q) +
               qq * (4.16664661e-2f + 1.38901296e-3f * q)) +
              qq * qq * ((2.47689467e-5f + 2.79606187e-7f * q) +
                         qq * (1.85036089e-9f + 1.75944831e-11f * q));

    return 1 / (c * c);
}

#endif

/* Over n elements; x and y may be the same. */
void tanh_block(const real *x, real *y, int64_t n);
void sech2_block(const real *x, real *y, int64_t n);

#endif

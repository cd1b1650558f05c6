/* Vector functions that quantizers need and libm has in scalar form only.
 *
 * Plain loops without calls, so that compilers turn them into vector code;
 * the same bits on every machine. The build with double reals uses libm.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef QUANT_VMATH_H
#define QUANT_VMATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "tensor/real.h"

/* y = tanh(x) and y = 1 - tanh(x)^2, the latter without cancellation; within
 * 2 units in the last place. x and y may be the same. */
void tanh_block(const real *x, real *y, int64_t n);
void sech2_block(const real *x, real *y, int64_t n);

/* Exponent and fraction bits of a positive normal number. */
#ifdef REAL_IS_DOUBLE
typedef uint64_t real_bits;
typedef int64_t real_int;
#define REAL_FRACTION 52
#define REAL_BIAS 1023
#else
typedef uint32_t real_bits;
typedef int32_t real_int;
#define REAL_FRACTION 23
#define REAL_BIAS 127
#endif

static inline real_bits real_to_bits(real x)
{
    real_bits u;

    memcpy(&u, &x, sizeof u);
    return u;
}

static inline real real_from_bits(real_bits u)
{
    real x;

    memcpy(&x, &u, sizeof x);
    return x;
}

/* floor(log2(x)) for x > 0 normal. */
static inline real_int real_exponent(real x)
{
    return (real_int)(real_to_bits(x) >> REAL_FRACTION) - REAL_BIAS;
}

/* 2^e; 0 below the normal numbers, infinity above. */
static inline real real_pow2(real_int e)
{
    real_int b = e + REAL_BIAS;

    b = b < 0 ? 0 : b > 2 * REAL_BIAS + 1 ? 2 * REAL_BIAS + 1 : b;
    return real_from_bits((real_bits)b << REAL_FRACTION);
}

#endif

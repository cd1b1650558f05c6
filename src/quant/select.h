/* Choices without branches: what a loop needs to become vector code.
 *
 * Compilers turn `a < b ? c : d` into jumps where another condition depends on
 * it, because a comparison may raise a floating-point flag; a choice by bits
 * never is a jump. Also the bits of reals: exponents and powers of two.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef QUANT_SELECT_H
#define QUANT_SELECT_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "tensor/real.h"

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

#define REAL_SIGN ((real_bits)1 << (8 * sizeof(real) - 1))

#define SELECT_INLINE static inline __attribute__((always_inline))

SELECT_INLINE real_bits real_to_bits(real x)
{
    real_bits u;

    memcpy(&u, &x, sizeof u);
    return u;
}

SELECT_INLINE real real_from_bits(real_bits u)
{
    real x;

    memcpy(&x, &u, sizeof x);
    return x;
}

/* c ? a : b */
SELECT_INLINE real pick(bool c, real a, real b)
{
    real_bits m = (real_bits)0 - (real_bits)c;

    return real_from_bits((real_to_bits(a) & m) | (real_to_bits(b) & ~m));
}

SELECT_INLINE real_int pick_int(bool c, real_int a, real_int b)
{
    real_int m = -(real_int)c;

    return (a & m) | (b & ~m);
}

/* NaN stays NaN. */
SELECT_INLINE real at_least(real x, real lo)
{
    return pick(x < lo, lo, x);
}

SELECT_INLINE real at_most(real x, real hi)
{
    return pick(x > hi, hi, x);
}

SELECT_INLINE real within(real x, real lo, real hi)
{
    return at_most(at_least(x, lo), hi);
}

/* floor(log2(x)) for x > 0 normal. */
SELECT_INLINE real_int real_exponent(real x)
{
    return (real_int)(real_to_bits(x) >> REAL_FRACTION) - REAL_BIAS;
}

/* 2^e; 0 below the normal numbers, infinity above. */
SELECT_INLINE real real_pow2(real_int e)
{
    real_int b = e + REAL_BIAS;

    b = pick_int(b < 0, 0, b);
    b = pick_int(b > 2 * REAL_BIAS + 1, 2 * REAL_BIAS + 1, b);
    return real_from_bits((real_bits)b << REAL_FRACTION);
}

#endif

/* tanh and its derivative over blocks.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/vmath.h"

#include "quant/kernel.h"

QUANT_CLONES void tanh_block(const real *x, real *y, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = tanh_of(x[i]);
}

QUANT_CLONES void sech2_block(const real *x, real *y, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = sech2_of(x[i]);
}

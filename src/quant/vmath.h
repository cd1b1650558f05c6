/* Vector functions that quantizers need and libm has in scalar form only.
 *
 * Plain loops without calls, so that compilers turn them into vector code;
 * the same bits on every machine. The build with double reals uses libm.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef QUANT_VMATH_H
#define QUANT_VMATH_H

#include <math.h>

#include "quant/select.h"

/* y = tanh(x) and y = 1 - tanh(x)^2, the latter without cancellation; within
 * 2 units in the last place. x and y may be the same. */
void tanh_block(const real *x, real *y, int64_t n);
void sech2_block(const real *x, real *y, int64_t n);
/* Both at once. */
void tanh_sech2_block(const real *x, real *t, real *d, int64_t n);

#endif

/* The number type of tensor/, nn/ and quant/: float, or double in the second
 * build that the gradient tests link. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TENSOR_REAL_H
#define TENSOR_REAL_H

#ifdef REAL_IS_DOUBLE
typedef double real;
#define DTYPE_REAL DTYPE_F64
#define REAL(x) x
#define real_exp exp
#define real_log log
#define real_sqrt sqrt
#define real_fabs fabs
#define real_floor floor
#define real_ceil ceil
#define real_rint rint
#define real_round round
#define real_trunc trunc
#define real_tanh tanh
#define real_fmax fmax
#define real_fmin fmin
#define real_fma fma
#define real_exp2 exp2
#define real_log2 log2
#else
typedef float real;
#define DTYPE_REAL DTYPE_F32
#define REAL(x) x##f
#define real_exp expf
#define real_log logf
#define real_sqrt sqrtf
#define real_fabs fabsf
#define real_floor floorf
#define real_ceil ceilf
#define real_rint rintf
#define real_round roundf
#define real_trunc truncf
#define real_tanh tanhf
#define real_fmax fmaxf
#define real_fmin fminf
#define real_fma fmaf
#define real_exp2 exp2f
#define real_log2 log2f
#endif

#endif

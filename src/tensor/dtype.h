/* One element of any type, as a double.
 *
 * Slow and general: for casts, printing and files; kernels know their type.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TENSOR_DTYPE_H
#define TENSOR_DTYPE_H

#include "tensor/tensor.h"

double dtype_read(enum dtype type, const void *p);   /* p: any alignment */

/* Rounds to nearest even for floats; integers cut off fractions and
 * saturate, NaN becomes 0. 64-bit integers are exact up to 2^53. */
void dtype_write(enum dtype type, void *p, double v);

enum dtype dtype_find(const char *name);  /* "int8"; DTYPE_COUNT: none */

#endif

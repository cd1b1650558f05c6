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
/* The power of two for a >= 0. */
void qkeras_po2_values(const struct qkeras_run *r,
                       const struct po2_range *range, const real *a,
                       real *xq, int64_t n);

#endif

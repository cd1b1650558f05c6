/* What quantized_sigmoid and quantized_tanh share: a curve into [0, 1], or
 * [-1, 1] for the kind with a sign, or its straight line, on a grid of
 * 1 / m. Setting SQUASH_REAL chooses the curve.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef QUANT_QKERAS_SQUASH_H
#define QUANT_QKERAS_SQUASH_H

#include "quant/qkeras.h"

enum { SQUASH_REAL };

/* Members of the kinds and of their parts. */
void qkeras_squash_span(const struct qspec *s, int64_t *lo, int64_t *hi);
void qkeras_squash_set_range(struct quantizer *q);
void qkeras_squash_values(const struct qkeras_run *r, const real *x, real *xq,
                          real *u, int64_t n);
bool qkeras_squash_whole(const struct qkeras_run *r, const real *x, real *y,
                         int64_t n);
void qkeras_squash_back(const struct qkeras_run *r, const real *x,
                        const real *dy, real *dx, int64_t n);
real qkeras_squash_smooth(const struct qkeras_run *r, real x0, real x);
void qkeras_squash_head(const struct quantizer *q, struct str *out);

#endif

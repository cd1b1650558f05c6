/* Arithmetic of uniform grids: what affine, LSQ and their relatives share.
 *
 * x goes to a code by four steps whose order the spec picks: ratio (x / s or
 * x * (1/s)), zero point (before or after rounding), rounding, clamping
 * (first or last); y = (code - zero point) * s.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef QUANT_UNIFORM_H
#define QUANT_UNIFORM_H

#include <math.h>

#include "quant/kernel.h"

/* One channel's grid and the spec's arithmetic. */
struct grid {
    const struct qspec *spec;
    real scale, inv, zero_point;
    real lo, hi;              /* codes */
    enum rounding rounding;   /* the one in force: stochastic needs rng */
    struct rng *rng;
};
void grid_init(struct grid *g, const struct quantizer *q, int64_t channel,
               bool train);

/* Codes before clamping (NaN and what is beyond 2^63 become below lo), as
 * reals; n <= QUANT_BLOCK. */
void grid_codes(const struct grid *g, const real *x, real *v, int64_t n);
/* Clamped codes to values, in place. */
void grid_values(const struct grid *g, real *v, int64_t n);

/* Rounds n reals in place; rng only for ROUND_STOCHASTIC. */
void round_block(enum rounding r, struct rng *rng, real *v, int64_t n);

/* The kind functions of a plain uniform quantizer. */
void uniform_set_range(struct quantizer *q);
void uniform_forward(struct quantizer *q, const real *x, real *y,
                     struct qview v, bool train);
void uniform_backward(struct quantizer *q, const real *x, const real *dy,
                      real *dx, struct qview v);
void uniform_codes(const struct quantizer *q, const real *x, int32_t *code,
                   struct qview v);
void uniform_describe(const struct quantizer *q, real v, struct str *out);

/* LSQ's factor 1 / sqrt(N * Qp), N: elements of the point per batch item, or
 * of the view when the quantizer belongs to no point. */
double uniform_grad_scale(const struct quantizer *q, struct qview v);

#endif

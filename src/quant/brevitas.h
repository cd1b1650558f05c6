/* Brevitas's scales, shared by its weight and activation quantizers.
 *
 * scale = threshold / int_scale; int_scale is the largest code magnitude
 * (2^(b-1) - 1 signed and narrow, 2^(b-1) signed, 2^b - 1 unsigned), with
 * power-of-two scales 2^(b-1) or 2^b. The learned value is the threshold
 * (restrict 0), its log2 (1), or its log2 rounded up straight-through (2).
 * Asymmetric ("Shifted"): threshold = max - min(min, 0), zero point =
 * clamp(rne(-min / scale)). SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef QUANT_BREVITAS_H
#define QUANT_BREVITAS_H

#include "quant/kinds.h"

enum brevitas_restrict { BREVITAS_FLOAT, BREVITAS_LOG, BREVITAS_PO2 };
enum { BREVITAS_ROW_THRESHOLD, BREVITAS_ROW_LOW };

#define BREVITAS_RESTRICT_HELP "0: threshold, 1: its log2, 2: power of two"

void brevitas_defaults(struct qspec *s);
enum status brevitas_check(const struct qspec *s, struct err *e);
void brevitas_span(const struct qspec *s, int64_t *lo, int64_t *hi);

/* x / s + z is rounded, then clamped; the spec's own order for z = 0. */
void brevitas_forward(struct quantizer *q, const real *x, real *y,
                      struct qview v, bool train);
struct grid brevitas_grid(const struct quantizer *q, struct qspec *spec,
                          int64_t channel);

/* All of these take the restriction in force. */
real brevitas_int_scale(const struct quantizer *q, int restriction);
real brevitas_value(real threshold, int restriction);
real brevitas_scale(const struct quantizer *q, real value, int restriction);
/* d scale / d learned value. */
double brevitas_slope(const struct quantizer *q, real value,
                      int restriction);
real brevitas_zero_point(const struct quantizer *q, real low, real scale);
/* Scale and zero point of all channels from the learned values. */
void brevitas_refresh(struct quantizer *q, int restriction);

/* Gradients of the scale and of the low end from scale_backward's sums; the
 * low end moves the zero point |low| / s (straight-through, not where it is
 * clamped). */
struct brevitas_grads {
    double scale, low;
};
struct brevitas_grads brevitas_gradients(const struct quantizer *q,
                                         int64_t channel, real low,
                                         const double *sum);

/* For surrogates: scale and real-valued zero point of q's learned values, and
 * a value with them. */
struct ends_at {
    real scale, zero_point;
};
struct ends_at brevitas_ends(const struct quantizer *base,
                             const struct quantizer *q, int64_t channel,
                             int restriction);
real brevitas_smooth(const struct quantizer *base, int64_t channel, real x0,
                     real x, struct ends_at e, bool pass);

static inline bool brevitas_has_range(const struct quantizer *q)
{
    return q->hi[0] > q->lo[0];
}

#endif

/* AIMET's learned grids: what range_aimet (min and max are learned) and
 * scale_aimet (scale and offset are learned) share.
 *
 * Real value = (code + offset) * scale. Forward passes with gradients divide
 * (x / scale), those without multiply by 1.0f / scale, as aimet-torch does;
 * dx = dy where the code is in range; dscale = sum dy * (inside ?
 * rne(x/s) - x/s : clamped code + offset), doffset = sum of dy * scale
 * outside. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef QUANT_AIMET_H
#define QUANT_AIMET_H

#include "quant/kinds.h"

void aimet_defaults(struct qspec *s);
enum status aimet_check(const struct qspec *s, struct err *e);
void aimet_forward(struct quantizer *q, const real *x, real *y,
                   struct qview v, bool train);
/* dx, and per channel d(scale), d(offset) handed to `done`; ctx is a kcall. */
void aimet_backward(struct quantizer *q, const real *x, const real *dy,
                    real *dx, struct qview v, done_fn done);

/* The range that AIMET's min-max analyzer makes of q->lo, q->hi: with 0 in it,
 * at least N smallest scales wide, symmetric on the grid's ends. */
void aimet_range(const struct quantizer *q, int64_t channel, real *min,
                 real *max);
/* Smallest scale: min(2^-23, 0.01 / N). */
real aimet_least_scale(const struct quantizer *q);
/* Offset of a symmetric grid: -rne((lo + hi) / 2). */
real aimet_middle(const struct quantizer *q);
/* -zero point, limited to the codes; at -hi .. -lo. */
real aimet_offset(const struct quantizer *q, real offset);

/* The surrogate's value: scale s, offset moved by `moved` from base's. */
real aimet_smooth(const struct quantizer *base, int64_t channel, real x0,
                  real x, real s, real moved);

#endif

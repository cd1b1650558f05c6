/* quantized_bits, shared with quantized_hswish.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef QUANT_QKERAS_BITS_H
#define QUANT_QKERAS_BITS_H

#include "quant/qkeras.h"

/* The first settings of both kinds. */
enum {
    BITS_INTEGER, BITS_SCALING, BITS_ALPHA, BITS_NOISE, BITS_STE, BITS_ROWS
};
#define QKERAS_INTEGER_ROW \
    {"integer", 0, 0, 30, "bits left of the binary point, sign not counted"}

void qkeras_bits_span(const struct qspec *s, int64_t *lo, int64_t *hi);
void qkeras_bits_set_range(struct quantizer *q);
enum status qkeras_bits_check(const struct qspec *s, struct err *e);
void qkeras_bits_on_weights(struct qspec *s);
/* The automatic scales of x; nothing when alpha is None or a number. */
void qkeras_bits_prepare(struct quantizer *q, const real *x, struct qview v,
                         bool train);
/* Fixed scales, no draws: alpha * (clip(rne(x * per_unit)) * unit), in
 * QKeras's order. False: the settings are others. */
struct qkeras_fixed {
    real per_unit, lo, hi, unit, alpha;
};
bool qkeras_bits_fixed(const struct qkeras_run *r, struct qkeras_fixed *f);
SELECT_INLINE real qkeras_fixed_value(const struct qkeras_fixed *f, real code)
{
    return f->alpha * (within(code, f->lo, f->hi) * f->unit);
}
SELECT_INLINE real qkeras_fixed_of(const struct qkeras_fixed *f, real x)
{
    return qkeras_fixed_value(f, real_rint(x * f->per_unit));
}
/* xq from x, which is left as it is. */
void qkeras_bits_values(const struct qkeras_run *r, const real *x, real *xq,
                        int64_t n);

#endif

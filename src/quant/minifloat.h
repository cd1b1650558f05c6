/* Small floating-point formats: fp8 e4m3 and e5m2, fp6, fp4 e2m1, fp16, bf16
 * and others by exponent and mantissa bits.
 *
 * value = (-1)^s * 2^(e - bias) * (1 + m / 2^M), subnormal where e = 0; bias
 * = 2^(E-1) - 1. What the top codes mean: nothing special (fp4, fp6), NaN in
 * the last one (fp8 e4m3fn), or infinity and NaN in the top binade (IEEE:
 * fp16, bf16, fp8 e5m2). Values beyond the largest saturate.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef QUANT_MINIFLOAT_H
#define QUANT_MINIFLOAT_H

#include "quant/kinds.h"

enum minifloat_special { SPECIAL_NONE, SPECIAL_LAST, SPECIAL_IEEE };

struct minifloat {
    int exponent_bits, mantissa_bits;
    int least, top;           /* exponents of the normal binades */
    real max;                 /* largest finite value */
};

/* Settings `exp` and `special` are the first two rows of each kind. */
enum { MINIFLOAT_EXP, MINIFLOAT_SPECIAL };
#define MINIFLOAT_ROWS                                                    \
    {"exp", 0, 0, 8, "exponent bits; 0: the usual number for the width"}, \
    {"special", -1, -1, 2,                                                \
     "top codes: 0 numbers, 1 last is NaN, 2 IEEE; -1: as usual"}

void minifloat_defaults(struct qspec *s);
enum status minifloat_check(const struct qspec *s, struct err *e);
void minifloat_span(const struct qspec *s, int64_t *lo, int64_t *hi);
struct minifloat minifloat_format(const struct qspec *s);

/* y = scale * nearest(x / scale); x and y may be the same. noise is for
 * stochastic rounding, `at` the index of x[0]. */
struct minifloat_run {
    const struct minifloat *format;
    real scale;
    enum rounding rounding;
    const struct noise *noise;
    int64_t at;
};
void minifloat_forward(const struct minifloat_run *r, const real *x, real *y,
                       int64_t n);
/* What the runs of one pass share, and one of them: scale 1, index `at`. */
struct minifloat_call {
    struct minifloat format;
    struct noise noise;
};
struct minifloat_call minifloat_call_of(const struct quantizer *q,
                                        bool train);
struct minifloat_run minifloat_run_of(const struct quantizer *q,
                                      const struct minifloat_call *c,
                                      int64_t at);
/* MX: 2^(floor(log2 absmax) - top). */
real minifloat_shared_scale(const struct minifloat *f, real absmax);
/* v.channels blocks of v.inner values, each with its shared scale (kept in
 * scale unless that is NULL), to the nearest; false: the format needs the
 * general way. */
bool minifloat_block_rows(const struct minifloat *f, const real *x, real *y,
                          real *scale, struct qview v);
/* dx = dy where |x| does not round beyond the largest value. */
void minifloat_backward(const struct minifloat_run *r, const real *x,
                        const real *dy, real *dx, int64_t n);
/* Bit pattern of a value of the format (scale taken out). */
int32_t minifloat_code(const struct minifloat *f, real value);

/* The kind functions of minifloat and minifloat_scaled: grid from q->scale. */
void minifloat_kind_forward(struct quantizer *q, const real *x, real *y,
                            struct qview v, bool train);
void minifloat_kind_backward(struct quantizer *q, const real *x,
                             const real *dy, real *dx, struct qview v);
void minifloat_kind_codes(const struct quantizer *q, const real *x,
                          int32_t *code, struct qview v);
void minifloat_kind_surrogate(const struct quantizer *base,
                              const struct quantizer *q, const real *x0,
                              const real *x, real *y, struct qview v);
void minifloat_kind_describe(const struct quantizer *q, real v,
                             struct str *out);

#endif

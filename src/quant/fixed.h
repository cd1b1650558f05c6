/* Fixed point as HLS ap_fixed<W,I,Q,O,N>: W bits in all, I of them before the
 * point (the sign's counted), raw value * 2^(I - W).
 *
 * The rule, for widths to 48: v = x * 2^(W - I) is exact in double; Q makes it
 * whole, then O brings it into W bits. What no mode can know (wrapping of
 * infinity, NaN) becomes 0, or the lowest code where numbers saturate.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef QUANT_FIXED_H
#define QUANT_FIXED_H

#include "quant/kinds.h"

#define FIXED_WIDTH_MAX 48

enum fixed_rounding {
    FIXED_TRN, FIXED_TRN_ZERO, FIXED_RND, FIXED_RND_ZERO, FIXED_RND_INF,
    FIXED_RND_MIN_INF, FIXED_RND_CONV, FIXED_ROUNDINGS
};
enum fixed_overflow {
    FIXED_WRAP, FIXED_SAT, FIXED_SAT_ZERO, FIXED_SAT_SYM, FIXED_WRAP_SM,
    FIXED_OVERFLOWS
};
extern const char *const fixed_rounding_name[FIXED_ROUNDINGS];
extern const char *const fixed_overflow_name[FIXED_OVERFLOWS];

struct fixed_type {
    int width, integer;
    bool is_signed;
    enum fixed_rounding rounding;
    enum fixed_overflow overflow;
    int saturated;            /* N: bits that WRAP and WRAP_SM keep */
};

/* "16,6[,RND[,SAT[,0]]]", modes with or without AP_; is_signed is the
 * caller's. */
enum status fixed_parse(const char *text, struct fixed_type *t,
                        struct err *e);
enum status fixed_check(const struct fixed_type *t, struct err *e);
/* Lowest and highest raw value. */
void fixed_span(const struct fixed_type *t, int64_t *lo, int64_t *hi);
int64_t fixed_from_double(const struct fixed_type *t, double x);
/* raw of type `from` assigned to t. */
int64_t fixed_cast(const struct fixed_type *from, int64_t raw,
                   const struct fixed_type *t);

/* n <= QUANT_BLOCK values: v = x * 2^(W - I), whole, not yet in range... */
void fixed_round(const struct fixed_type *t, const double *v, double *whole,
                 int64_t n);
/* ... and raw values of them, in place; v as before rounding. */
void fixed_wrap(const struct fixed_type *t, const double *v, double *whole,
                int64_t n);

/* Members of the kinds fixed and ufixed (fixed_kind.c). */
enum { FIXED_INTEGER, FIXED_ROUNDING, FIXED_OVERFLOW, FIXED_SATURATED };
#define FIXED_ROWS                                                          \
    {"integer", 6, -100, 100, "bits before the point, the sign's counted"}, \
    {"rounding", FIXED_TRN, 0, FIXED_ROUNDINGS - 1,                         \
     "0 TRN, 1 TRN_ZERO, 2 RND, 3 RND_ZERO, 4 RND_INF, 5 RND_MIN_INF, "     \
     "6 RND_CONV"},                                                         \
    {"overflow", FIXED_WRAP, 0, FIXED_OVERFLOWS - 1,                        \
     "0 WRAP, 1 SAT, 2 SAT_ZERO, 3 SAT_SYM, 4 WRAP_SM"},                    \
    {"saturated", 0, 0, FIXED_WIDTH_MAX, "bits that WRAP, WRAP_SM keep"}

/* Values are floats: all codes of so many bits are exact. */
#define FIXED_KIND_BITS 24

struct fixed_type fixed_type_of(const struct qspec *s);
void fixed_kind_defaults(struct qspec *s, bool is_signed);
enum status fixed_kind_check(const struct qspec *s, bool is_signed,
                             struct err *e);
enum status fixed_kind_parse(const char *text, struct qspec *s,
                             struct err *e);
void fixed_kind_print(const struct qspec *s, struct str *out);
void fixed_kind_span(const struct qspec *s, int64_t *lo, int64_t *hi);
void fixed_kind_set_range(struct quantizer *q);
void fixed_kind_forward(struct quantizer *q, const real *x, real *y,
                        struct qview v, bool train);
void fixed_kind_backward(struct quantizer *q, const real *x, const real *dy,
                         real *dx, struct qview v);
void fixed_kind_codes(const struct quantizer *q, const real *x,
                      int32_t *code, struct qview v);
void fixed_kind_surrogate(const struct quantizer *base,
                          const struct quantizer *q, const real *x0,
                          const real *x, real *y, struct qview v);
void fixed_kind_describe(const struct quantizer *q, real v, struct str *out);

#endif

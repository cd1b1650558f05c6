/* What QKeras's binary and ternary quantizers share.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef QUANT_QKERAS_SIGN_H
#define QUANT_QKERAS_SIGN_H

#include "quant/qkeras.h"

/* The first settings of all of them, and of the ternary ones. */
enum {
    SIGN_SCALING, SIGN_ALPHA, SIGN_ROWS,
    TERNARY_THRESHOLD = SIGN_ROWS, TERNARY_UNROLLS, TERNARY_ROWS
};
#define QKERAS_TERNARY_ROWS                                              \
    {"threshold", -1, -1, 1e30, "from where values count; -1: None"},    \
    {"number_of_unrolls", 5, 1, 100, "steps of the automatic scale"}

enum status qkeras_sign_check(const struct qspec *s, struct err *e);
void qkeras_sign_set_range(struct quantizer *q);
void qkeras_sign_on_weights(struct qspec *s);
void qkeras_sign_head(const struct quantizer *q, struct str *out);
/* u: tanh(x) with alpha None, else x; with its gradient. */
void qkeras_sign_base(const struct qspec *s, const real *x, real *u,
                      int64_t n);
void qkeras_sign_back(const struct qkeras_run *r, const real *x,
                      const real *dy, real *dx, int64_t n);
/* x >= 0 ? high : low. */
void qkeras_sign_values(real high, real low, const real *x, real *xq,
                        int64_t n);
/* y = x >= 0 ? alpha : low, NaN where x is; false but for alpha None without
 * draws. */
bool qkeras_sign_whole(const struct qkeras_run *r, real low, const real *x,
                       real *y, int64_t n);
/* Automatic alphas of q = sign(x), or with zero_one of q = (x >= 0). */
void qkeras_sign_scales(struct quantizer *q, const real *x, struct qview v,
                        bool zero_one);
/* Standard deviations + eps into qkeras_before (1 without automatic alpha). */
void qkeras_sign_deviations(struct quantizer *q, const real *x,
                            struct qview v);
/* high where sigmoid(k * x + b) (smooth), or hard_sigmoid, reaches a draw,
 * else low. */
struct qkeras_chance {
    real k, b;
    bool smooth;
    real high, low;
};
void qkeras_draw(const struct qkeras_run *r, const struct qkeras_chance *c,
                 uint32_t salt, const real *x, real *hit, int64_t n);
/* y = x + (hit - x) of the draws with salt 0. */
void qkeras_draw_whole(const struct qkeras_run *r,
                       const struct qkeras_chance *c, const real *x, real *y,
                       int64_t n);

enum status qkeras_ternary_check(const struct qspec *s, struct err *e);
void qkeras_ternary_span(const struct qspec *s, int64_t *lo, int64_t *hi);
void qkeras_ternary_prepare(struct quantizer *q, const real *x,
                            struct qview v, bool train);
void qkeras_ternary_values(const struct qkeras_run *r, const real *x,
                           real *xq, int64_t n);
/* Their y; false but for alpha None. */
bool qkeras_ternary_whole(const struct qkeras_run *r, const real *x, real *y,
                          int64_t n);

#endif

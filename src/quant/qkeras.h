/* What the QKeras quantizers share: scales by alpha, straight-through mixing,
 * arguments by their constructors' names.
 *
 * Every QKeras quantizer is y = u + f * (xq - u) (use_ste) or (1 - f) * u +
 * f * xq, with xq the quantized value, u the differentiable part and f its
 * qnoise_factor; both operations are done, as QKeras does, so that y has
 * QKeras's bits. dx = dy * du/dx (times 1 - f without use_ste).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef QUANT_QKERAS_H
#define QUANT_QKERAS_H

#include "quant/kinds.h"

/* keras.backend.epsilon() */
#define QKERAS_EPS REAL(1e-7)

/* Row `scaling`: how alpha was given. The row after it is alpha's number. */
enum qkeras_scaling {
    SCALING_NONE, SCALING_NUMBER, SCALING_AUTO, SCALING_AUTO_PO2
};
#define QKERAS_ALPHA_ROWS                                              \
    {"scaling", SCALING_NONE, 0, 3,                                    \
     "alpha: 0 None, 1 a number, 2 'auto', 3 'auto_po2'"},             \
    {"alpha", 1, -1e30, 1e30, "the number"}
#define QKERAS_NOISE_ROWS                                              \
    {"qnoise_factor", 1, 0, 1, "share of the quantized value"},        \
    {"use_ste", 1, 0, 1, "1: x + f * (q(x) - x); 0: gradient 1 - f"}

/* One call on one channel. */
struct qkeras_run {
    struct quantizer *q;
    int64_t channel;
    real step;                /* q->scale of the channel; 0 where the data
                               * asked for that and q->scale is the least */
    real before;              /* the scale that made the codes, see auto */
    const struct noise *noise; /* off: evaluation, or nothing is random */
    int64_t at;               /* index of the first element */
    real gain;                /* of every gradient: 1, or 1 - qnoise_factor
                               * without use_ste */
};

struct qkeras_arg;

/* A quantizer by its parts; rows are -1 where it has none. */
struct qkeras_parts {
    const struct qkeras_arg *args;      /* of the constructor, in order */
    int noise_row;            /* qnoise_factor, followed by use_ste */
    bool random;              /* draws in training whatever the rounding */
    bool always_random;       /* draws in evaluation too */
    /* Scales of all channels from x, before anything else; NULL: fixed. */
    void (*prepare)(struct quantizer *q, const real *x, struct qview v,
                    bool train);
    /* n <= QUANT_BLOCK elements: quantized values and differentiable part. */
    void (*values)(const struct qkeras_run *r, const real *x, real *xq,
                   real *u, int64_t n);
    /* n < 2^31: y = u + (xq - u), what full noise with use_ste is, in a single
     * loop; x and y may be the same. False: not with these settings, nothing
     * is done. Where u is a tanh y is xq: QKeras's y is that but for rounding
     * noise of its tanh, whose bits are its own. NULL: never. */
    bool (*whole)(const struct qkeras_run *r, const real *x, real *y,
                  int64_t n);
    /* Any n: dx = gain * (dy * du/dx); dx and dy may be the same. NULL: du/dx
     * is 1. */
    void (*back)(const struct qkeras_run *r, const real *x, const real *dy,
                 real *dx, int64_t n);
    /* The function that back has the slope of, its branches as at x0, one
     * element; NULL: u itself. */
    real (*smooth)(const struct qkeras_run *r, real x0, real x);
    /* The first lines of describe: the constants. */
    void (*head)(const struct quantizer *q, struct str *out);
};

/* Members of struct quantizer_kind, made of the kind's parts. */
void qkeras_forward(struct quantizer *q, const real *x, real *y,
                    struct qview v, bool train);
void qkeras_backward(struct quantizer *q, const real *x, const real *dy,
                     real *dx, struct qview v);
void qkeras_surrogate(const struct quantizer *base,
                      const struct quantizer *q, const real *x0,
                      const real *x, real *y, struct qview v);
/* xq / step, for kinds whose values lie on an even grid. */
void qkeras_codes(const struct quantizer *q, const real *x, int32_t *code,
                  struct qview v);
/* "y = ..." and the gradient for one value. */
void qkeras_describe(const struct quantizer *q, real v, struct str *out);

/* Rounds to multiples of `precision`: half to even in evaluation, at random
 * in training with use_stochastic_rounding (QKeras: precision 1, 1/2, 1/3,
 * 1/8, depending on the quantizer; in evaluation always 1). */
void qkeras_round(const struct qkeras_run *r, real *v, int64_t n,
                  real precision);
/* A second rounding of the same elements draws anew. */
void qkeras_round_again(const struct qkeras_run *r, real *v, int64_t n,
                        real precision);

/* Relu with a slope below 0, ending at `top`, and its gradient. */
struct qkeras_relu {
    real slope, top;
};
SELECT_INLINE real qkeras_relu_of(const struct qkeras_relu *k, real x)
{
    return pick(x <= k->top, pick(x > 0, x, k->slope * x), k->top);
}
void qkeras_relu_block(struct qkeras_relu k, const real *x, real *u,
                       int64_t n);
void qkeras_relu_back(struct qkeras_relu k, real gain, const real *x,
                      const real *dy, real *dx, int64_t n);
/* Codes to values: step * clip(v), also into u. */
void qkeras_clip_codes(const struct qkeras_run *r, real *v, real *u,
                       int64_t n);

/* 2^rne(ln(s + eps) / ln 2) in float, as QKeras's auto_po2. */
real qkeras_po2(real s);
/* Alpha as a factor; 1 for None and auto. */
real qkeras_alpha(const struct qspec *s, int scaling_row);
/* QKeras's scale of a rank-1 array: every element is a channel, but the first
 * guess is made from all of them. */
bool qkeras_is_vector(struct qview v);
/* mean(x q) / (mean(q q) + eps) from the channel's two sums over n. */
real qkeras_least_squares(const double *sum, int64_t n);
/* q->scale >= the smallest normal number, zero points 0, range from codes. */
void qkeras_set_step(struct quantizer *q, int64_t channel, real step);
/* One real per channel: the scale before the last step of an automatic
 * search, whose codes are kept. */
size_t qkeras_scratch(const struct qspec *s, int64_t channels);
static inline real *qkeras_before(const struct quantizer *q)
{
    return q->scratch;
}

/* Constructor arguments, in order. */
enum qkeras_type {
    QARG_BITS, QARG_INT, QARG_BOOL, QARG_NUMBER,
    QARG_OPTIONAL,            /* number, or None: -1 */
    QARG_ALPHA,               /* number, None, 'auto', 'auto_po2' */
    QARG_SIGNED,              /* keep_negative */
    QARG_NARROW,              /* symmetric */
    QARG_STOCHASTIC,          /* use_stochastic_rounding */
    QARG_LOG2,                /* 'rnd' or 'floor' */
    QARG_UNUSED               /* None or False only */
};
struct qkeras_arg {
    const char *name;
    enum qkeras_type type;
    int row;                  /* of the kind's settings, where it has one */
};

/* Everything that a QKeras quantizer does not use, neutral; its defaults. */
void qkeras_defaults(struct qspec *s);
enum status qkeras_check(const struct qspec *s, int scaling_row,
                         struct err *e);
/* alpha None on a layer's weights becomes 'auto_po2', symmetric. */
void qkeras_on_weights(struct qspec *s, int scaling_row);

/* "6,0,alpha='auto'": a strict grammar, nothing is evaluated: values are
 * numbers, True, False, None and quoted words; keywords follow positions.
 * Arguments that are not given get the constructor's defaults. */
enum status qkeras_parse(const char *text, struct qspec *s, struct err *e);
void qkeras_print(const struct qspec *s, struct str *out);

#endif

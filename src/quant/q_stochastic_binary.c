/* Quantizer stochastic_binary (QKeras).
 *
 * Evaluation: qkeras_binary. Training: q = 1 with probability
 * sigmoid(temperature * x / std), else -1; std of the channel with an
 * automatic alpha, else 1. SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "quant/qkeras_sign.h"

enum { SET_TEMPERATURE = SIGN_ROWS, SET_REAL };

static const struct qrow settings[] = {
    QKERAS_ALPHA_ROWS,
    {"temperature", 6, 1e-6, 1e6, "slope of the sigmoid"},
    {"use_real_sigmoid", 1, 0, 1, "0: hard sigmoid"},
    {0},
};

static const struct qkeras_arg args[] = {
    {"alpha", QARG_ALPHA, SIGN_SCALING},
    {"temperature", QARG_NUMBER, SET_TEMPERATURE},
    {"use_real_sigmoid", QARG_BOOL, SET_REAL},
    {0},
};

static void span(const struct qspec *s, int64_t *lo, int64_t *hi)
{
    (void)s;
    *lo = -1;
    *hi = 1;
}

static void prepare(struct quantizer *q, const real *x, struct qview v,
                    bool train)
{
    (void)train;
    qkeras_sign_deviations(q, x, v);
    if (spec_int(&q->spec, SIGN_SCALING) >= SCALING_AUTO)
        qkeras_sign_scales(q, x, v, false);
}

static struct qkeras_chance chance_of(const struct qkeras_run *r)
{
    const struct qspec *s = &r->q->spec;

    return (struct qkeras_chance){spec_real(s, SET_TEMPERATURE) / r->before,
                                  0, spec_int(s, SET_REAL), r->step,
                                  -r->step};
}

static void values(const struct qkeras_run *r, const real *x, real *xq,
                   real *u, int64_t n)
{
    const struct qspec *s = &r->q->spec;
    struct qkeras_chance c = chance_of(r);

    if (!r->noise->on) {
        qkeras_sign_base(s, x, u, n);
        qkeras_sign_values(r->step, -r->step, x, xq, n);
        return;
    }
    memcpy(u, x, (size_t)n * sizeof *u);
    qkeras_draw(r, &c, 0, x, xq, n);
}

static bool whole(const struct qkeras_run *r, const real *x, real *y,
                  int64_t n)
{
    struct qkeras_chance c = chance_of(r);

    if (!r->noise->on)
        return qkeras_sign_whole(r, -r->step, x, y, n);
    qkeras_draw_whole(r, &c, x, y, n);
    return true;
}

/* Training has no tanh: the gradient is that of evaluation only where no
 * stream draws. */
static void back(const struct qkeras_run *r, const real *x, const real *dy,
                 real *dx, int64_t n)
{
    if (r->q->rng)
        pass_gradient(dy, dx, n);
    else
        qkeras_sign_back(r, x, dy, dx, n);
}

static real smooth(const struct qkeras_run *r, real x0, real x)
{
    real u = x;

    (void)x0;
    if (!r->q->rng)
        qkeras_sign_base(&r->q->spec, &x, &u, 1);
    return u;
}

static const struct qkeras_parts parts = {
    .args = args,
    .noise_row = -1,
    .random = true,
    .prepare = prepare,
    .values = values,
    .whole = whole,
    .back = back,
    .smooth = smooth,
    .head = qkeras_sign_head,
};

const struct quantizer_kind quantizer_stochastic_binary = {
    .name = "stochastic_binary",
    .help = "QKeras sign, drawn by a sigmoid in training",
    .source = "QKeras 0.9.0 stochastic_binary",
    .flags = QK_UNIFORM | QK_STOCHASTIC | QK_WEIGHTS | QK_ACTIVATIONS |
             QK_OWN_SCALE,
    .min_bits = 1,
    .max_bits = 1,
    .param = settings,
    .check = qkeras_sign_check,
    .set_range = qkeras_sign_set_range,
    .forward = qkeras_forward,
    .backward = qkeras_backward,
    .codes = qkeras_codes,
    .surrogate = qkeras_surrogate,
    .describe = qkeras_describe,
    .example = "bits conv1 w=stochastic_binary(alpha=1)",
    .defaults = qkeras_defaults,
    .parse = qkeras_parse,
    .print = qkeras_print,
    .scratch_bytes = qkeras_scratch,
    .span = span,
    .on_weights = qkeras_sign_on_weights,
    .qkeras = &parts,
};

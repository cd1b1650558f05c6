/* Quantizer stochastic_ternary (QKeras).
 *
 * Evaluation: qkeras_ternary. Training (automatic alpha only): with T = alpha
 * / 2 and x, T over the channel's standard deviation, q = (b0 + b1) / 2, b0
 * and b1 drawn as +-1 by sigmoid(temperature * (x -+ T)).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/qkeras_sign.h"

enum { SET_TEMPERATURE = TERNARY_ROWS, SET_REAL };

static const struct qrow settings[] = {
    QKERAS_ALPHA_ROWS,
    QKERAS_TERNARY_ROWS,
    {"temperature", 8, 1e-6, 1e6, "slope of the sigmoids"},
    {"use_real_sigmoid", 1, 0, 1, "0: hard sigmoid"},
    {0},
};

static const struct qkeras_arg args[] = {
    {"alpha", QARG_ALPHA, SIGN_SCALING},
    {"threshold", QARG_OPTIONAL, TERNARY_THRESHOLD},
    {"temperature", QARG_NUMBER, SET_TEMPERATURE},
    {"use_real_sigmoid", QARG_BOOL, SET_REAL},
    {"number_of_unrolls", QARG_INT, TERNARY_UNROLLS},
    {0},
};

static bool is_auto(const struct qspec *s)
{
    return spec_int(s, SIGN_SCALING) >= SCALING_AUTO;
}

/* In training `before` is the deviation, the draws need no codes. */
static void prepare(struct quantizer *q, const real *x, struct qview v,
                    bool train)
{
    qkeras_ternary_prepare(q, x, v, train);
    if (train && q->rng)
        qkeras_sign_deviations(q, x, v);
}

QUANT_CLONES static void add_hits(real step, const real *b1, real *xq,
                                  int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        xq[i] = step * (xq[i] + b1[i] - 1);
}

static void draw(const struct qkeras_run *r, const real *x, real *xq,
                 int64_t n)
{
    const struct qspec *s = &r->q->spec;
    real k = spec_real(s, SET_TEMPERATURE), half = r->step / (2 * r->before);
    struct qkeras_chance c = {k / r->before, -k * half,
                              spec_int(s, SET_REAL), 1, 0};
    QUANT_ALIGNED real b1[QUANT_BLOCK];

    qkeras_draw(r, &c, 0, x, xq, n);
    c.b = k * half;
    qkeras_draw(r, &c, 1, x, b1, n);
    add_hits(r->step, b1, xq, n);
}

static void values(const struct qkeras_run *r, const real *x, real *xq,
                   real *u, int64_t n)
{
    qkeras_sign_base(&r->q->spec, x, u, n);
    if (r->noise->on && is_auto(&r->q->spec))
        draw(r, x, xq, n);
    else
        qkeras_ternary_values(r, x, xq, n);
}

static const struct qkeras_parts parts = {
    .args = args,
    .noise_row = -1,
    .random = true,
    .prepare = prepare,
    .values = values,
    .whole = qkeras_ternary_whole,
    .back = qkeras_sign_back,
    .head = qkeras_sign_head,
};

const struct quantizer_kind quantizer_stochastic_ternary = {
    .name = "stochastic_ternary",
    .help = "QKeras ternary, drawn by sigmoids in training",
    .source = "QKeras 0.9.0 stochastic_ternary",
    .flags = QK_UNIFORM | QK_STOCHASTIC | QK_WEIGHTS | QK_ACTIVATIONS |
             QK_OWN_SCALE,
    .min_bits = 2,
    .max_bits = 2,
    .param = settings,
    .check = qkeras_ternary_check,
    .set_range = qkeras_sign_set_range,
    .forward = qkeras_forward,
    .backward = qkeras_backward,
    .codes = qkeras_codes,
    .surrogate = qkeras_surrogate,
    .describe = qkeras_describe,
    .example = "bits conv1 w=stochastic_ternary(alpha='auto')",
    .defaults = qkeras_defaults,
    .parse = qkeras_parse,
    .print = qkeras_print,
    .scratch_bytes = qkeras_scratch,
    .span = qkeras_ternary_span,
    .on_weights = qkeras_sign_on_weights,
    .qkeras = &parts,
};

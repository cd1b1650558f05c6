/* Quantizer qkeras_binary: QKeras's binary(...).
 *
 * q = x >= 0 ? 1 : -1 (use_01: 1 or 0), y = u + (alpha * q - u). alpha None:
 * u = tanh(x), else u = x; automatic: see qkeras_sign.c.
 * use_stochastic_rounding: in training x is first rounded at random to
 * multiples of f / 8, f = 2 min(max|x|, 1) of its channel.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/qkeras_sign.h"

enum { SET_01 = SIGN_ROWS };

static const struct qrow settings[] = {
    QKERAS_ALPHA_ROWS,
    {"use_01", 0, 0, 1, "1: values 0 and alpha"},
    {0},
};

static const struct qkeras_arg args[] = {
    {"use_01", QARG_BOOL, SET_01},
    {"alpha", QARG_ALPHA, SIGN_SCALING},
    {"use_stochastic_rounding", QARG_STOCHASTIC, 0},
    {0},
};

static void span(const struct qspec *s, int64_t *lo, int64_t *hi)
{
    *hi = 1;
    *lo = spec_int(s, SET_01) ? 0 : -1;
}

static void prepare(struct quantizer *q, const real *x, struct qview v,
                    bool train)
{
    bool zero_one = spec_int(&q->spec, SET_01);

    if (q->spec.rounding == ROUND_STOCHASTIC && train)
        view_absmax(x, v, qkeras_before(q));
    if (spec_int(&q->spec, SIGN_SCALING) >= SCALING_AUTO)
        qkeras_sign_scales(q, x, v, zero_one);
}

/* x rounded to multiples of f / 8. */
static void round_input(const struct qkeras_run *r, const real *x, real *t,
                        int64_t n)
{
    real f = 2 * (r->before > 1 ? 1 : r->before);

    for (int64_t i = 0; i < n; i++)
        t[i] = f > 0 ? x[i] / f : 0;
    qkeras_round(r, t, n, REAL(0.125));
    for (int64_t i = 0; i < n; i++)
        t[i] *= f;
}

static real low_of(const struct qkeras_run *r)
{
    return spec_int(&r->q->spec, SET_01) ? 0 : -r->step;
}

static void values(const struct qkeras_run *r, const real *x, real *xq,
                   real *u, int64_t n)
{
    const struct qspec *s = &r->q->spec;
    QUANT_ALIGNED real t[QUANT_BLOCK];

    if (r->noise->on && s->rounding == ROUND_STOCHASTIC) {
        round_input(r, x, t, n);
        x = t;
    }
    qkeras_sign_base(s, x, u, n);
    qkeras_sign_values(r->step, low_of(r), x, xq, n);
}

static bool whole(const struct qkeras_run *r, const real *x, real *y,
                  int64_t n)
{
    return qkeras_sign_whole(r, low_of(r), x, y, n);
}

static const struct qkeras_parts parts = {
    .args = args,
    .noise_row = -1,
    .prepare = prepare,
    .values = values,
    .whole = whole,
    .back = qkeras_sign_back,
    .head = qkeras_sign_head,
};

const struct quantizer_kind quantizer_qkeras_binary = {
    .name = "qkeras_binary",
    .help = "QKeras binary(): the sign times alpha",
    .source = "QKeras 0.9.0 binary",
    .flags = QK_UNIFORM | QK_WEIGHTS | QK_ACTIVATIONS | QK_OWN_SCALE,
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
    .example = "bits conv1 w=qkeras_binary(alpha=1)",
    .defaults = qkeras_defaults,
    .parse = qkeras_parse,
    .print = qkeras_print,
    .scratch_bytes = qkeras_scratch,
    .span = span,
    .on_weights = qkeras_sign_on_weights,
    .qkeras = &parts,
};

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

static enum status parse(const char *text, struct qspec *s, struct err *e)
{
    return qkeras_parse(args, text, s, e);
}

static void print(const struct qspec *s, struct str *out)
{
    qkeras_print(args, s, out);
}

static enum status check(const struct qspec *s, struct err *e)
{
    return qkeras_sign_check(s, e);
}

static void span(const struct qspec *s, int64_t *lo, int64_t *hi)
{
    *hi = 1;
    *lo = spec_int(s, SET_01) ? 0 : -1;
}

static void set_range(struct quantizer *q)
{
    qkeras_sign_set_range(q);
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

static void values(const struct qkeras_run *r, const real *x, real *xq,
                   real *u, int64_t n)
{
    const struct qspec *s = &r->q->spec;
    real low = spec_int(s, SET_01) ? 0 : -r->step;
    real t[QUANT_BLOCK];

    if (r->noise->on && s->rounding == ROUND_STOCHASTIC) {
        round_input(r, x, t, n);
        x = t;
    }
    qkeras_sign_base(s, x, u, n);
    qkeras_sign_values(r->step, low, x, xq, n);
}

static void slopes(const struct qkeras_run *r, const real *x, real *slope,
                   int64_t n)
{
    qkeras_sign_slopes(&r->q->spec, x, slope, n);
}

static const struct qkeras_map map = {
    .noise_row = -1,
    .prepare = prepare,
    .values = values,
    .slopes = slopes,
};

static void forward(struct quantizer *q, const real *x, real *y,
                    struct qview v, bool train)
{
    qkeras_forward(&map, q, x, y, v, train);
}

static void backward(struct quantizer *q, const real *x, const real *dy,
                     real *dx, struct qview v)
{
    qkeras_backward(&map, q, x, dy, dx, v);
}

static void codes(const struct quantizer *q, const real *x, int32_t *code,
                  struct qview v)
{
    qkeras_codes(&map, q, x, code, v);
}

static void surrogate(const struct quantizer *base,
                      const struct quantizer *q, const real *x0,
                      const real *x, real *y, struct qview v)
{
    (void)q;
    qkeras_surrogate(&map, base, x0, x, y, v);
}

static void describe(const struct quantizer *q, real v, struct str *out)
{
    str_printf(out, "alpha = %.9g\n", (double)q->scale[0]);
    qkeras_describe(&map, q, v, out);
}

const struct quantizer_kind quantizer_qkeras_binary = {
    .name = "qkeras_binary",
    .help = "QKeras binary(): the sign times alpha",
    .source = "QKeras 0.9.0 binary",
    .flags = QK_UNIFORM | QK_WEIGHTS | QK_ACTIVATIONS | QK_OWN_SCALE,
    .min_bits = 1,
    .max_bits = 1,
    .param = settings,
    .check = check,
    .set_range = set_range,
    .forward = forward,
    .backward = backward,
    .codes = codes,
    .surrogate = surrogate,
    .describe = describe,
    .example = "bits conv1 w=qkeras_binary(alpha=1)",
    .defaults = qkeras_defaults,
    .parse = parse,
    .print = print,
    .scratch_bytes = qkeras_scratch,
    .span = span,
    .on_weights = qkeras_sign_on_weights,
};

/* Quantizer qkeras_ternary: QKeras's ternary(...): -alpha, 0, alpha.
 *
 * alpha None or a number: q = |x| >= threshold ? sign(x) : 0 (threshold None:
 * 0.33). Automatic: see qkeras_sign.c.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/qkeras_sign.h"

static const struct qrow settings[] = {
    QKERAS_ALPHA_ROWS,
    QKERAS_TERNARY_ROWS,
    {0},
};

static const struct qkeras_arg args[] = {
    {"alpha", QARG_ALPHA, SIGN_SCALING},
    {"threshold", QARG_OPTIONAL, TERNARY_THRESHOLD},
    {"use_stochastic_rounding", QARG_STOCHASTIC, 0},
    {"number_of_unrolls", QARG_INT, TERNARY_UNROLLS},
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
    return qkeras_ternary_check(s, e);
}

static void set_range(struct quantizer *q)
{
    qkeras_sign_set_range(q);
}

static void values(const struct qkeras_run *r, const real *x, real *xq,
                   real *u, int64_t n)
{
    qkeras_sign_base(&r->q->spec, x, u, n);
    qkeras_ternary_values(r, x, xq, n);
}

static void slopes(const struct qkeras_run *r, const real *x, real *slope,
                   int64_t n)
{
    qkeras_sign_slopes(&r->q->spec, x, slope, n);
}

static const struct qkeras_map map = {
    .noise_row = -1,
    .prepare = qkeras_ternary_prepare,
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

const struct quantizer_kind quantizer_qkeras_ternary = {
    .name = "qkeras_ternary",
    .help = "QKeras ternary(): -alpha, 0, alpha",
    .source = "QKeras 0.9.0 ternary",
    .flags = QK_UNIFORM | QK_WEIGHTS | QK_ACTIVATIONS | QK_OWN_SCALE,
    .min_bits = 2,
    .max_bits = 2,
    .param = settings,
    .check = check,
    .set_range = set_range,
    .forward = forward,
    .backward = backward,
    .codes = codes,
    .surrogate = surrogate,
    .describe = describe,
    .example = "bits conv1 w=qkeras_ternary(alpha=1)",
    .defaults = qkeras_defaults,
    .parse = parse,
    .print = print,
    .scratch_bytes = qkeras_scratch,
    .span = qkeras_ternary_span,
    .on_weights = qkeras_sign_on_weights,
};

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

static void values(const struct qkeras_run *r, const real *x, real *xq,
                   real *u, int64_t n)
{
    qkeras_sign_base(&r->q->spec, x, u, n);
    qkeras_ternary_values(r, x, xq, n);
}

static const struct qkeras_parts parts = {
    .args = args,
    .noise_row = -1,
    .prepare = qkeras_ternary_prepare,
    .values = values,
    .whole = qkeras_ternary_whole,
    .back = qkeras_sign_back,
    .head = qkeras_sign_head,
};

const struct quantizer_kind quantizer_qkeras_ternary = {
    .name = "qkeras_ternary",
    .help = "QKeras ternary(): -alpha, 0, alpha",
    .source = "QKeras 0.9.0 ternary",
    .flags = QK_UNIFORM | QK_WEIGHTS | QK_ACTIVATIONS | QK_OWN_SCALE,
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
    .example = "bits conv1 w=qkeras_ternary(alpha=1)",
    .defaults = qkeras_defaults,
    .parse = qkeras_parse,
    .print = qkeras_print,
    .scratch_bytes = qkeras_scratch,
    .span = qkeras_ternary_span,
    .on_weights = qkeras_sign_on_weights,
    .qkeras = &parts,
};

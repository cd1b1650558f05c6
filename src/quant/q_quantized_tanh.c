/* Quantizer quantized_tanh (QKeras): tanh, or its straight line, in fixed
 * point from -1 to 1 - 1/m, see qkeras_squash.c.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/qkeras_squash.h"

static const struct qrow settings[] = {
    {"use_real_tanh", 0, 0, 1, "1: tanh, 0: its straight-line stand-in"},
    {0},
};

static const struct qkeras_arg args[] = {
    {"bits", QARG_BITS, 0},
    {"use_stochastic_rounding", QARG_STOCHASTIC, 0},
    {"symmetric", QARG_NARROW, 0},
    {"use_real_tanh", QARG_BOOL, SQUASH_REAL},
    {0},
};

static enum status check(const struct qspec *s, struct err *e)
{
    if (!s->is_signed)
        return err_set(e, STATUS_ARG, "quantized_tanh is signed");
    return qkeras_check(s, -1, e);
}

static const struct qkeras_parts parts = {
    .args = args,
    .noise_row = -1,
    .values = qkeras_squash_values,
    .whole = qkeras_squash_whole,
    .back = qkeras_squash_back,
    .smooth = qkeras_squash_smooth,
    .head = qkeras_squash_head,
};

const struct quantizer_kind quantizer_quantized_tanh = {
    .name = "quantized_tanh",
    .help = "QKeras tanh in fixed point",
    .source = "QKeras 0.9.0 quantized_tanh",
    .flags = QK_UNIFORM | QK_ACTIVATIONS | QK_OWN_SCALE,
    .min_bits = 1,
    .max_bits = 24,
    .param = settings,
    .check = check,
    .set_range = qkeras_squash_set_range,
    .forward = qkeras_forward,
    .backward = qkeras_backward,
    .codes = qkeras_codes,
    .surrogate = qkeras_surrogate,
    .describe = qkeras_describe,
    .example = "bits conv1 a=quantized_tanh(8)",
    .defaults = qkeras_defaults,
    .parse = qkeras_parse,
    .print = qkeras_print,
    .span = qkeras_squash_span,
    .qkeras = &parts,
};

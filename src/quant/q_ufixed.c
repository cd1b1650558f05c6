/* Quantizer ufixed: HLS fixed point without a sign, see fixed_kind.c.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/fixed.h"

static const struct qrow settings[] = {
    FIXED_ROWS,
    {0},
};

static void defaults(struct qspec *s)
{
    fixed_kind_defaults(s, false);
}

static enum status check(const struct qspec *s, struct err *e)
{
    return fixed_kind_check(s, false, e);
}

const struct quantizer_kind quantizer_ufixed = {
    .name = "ufixed",
    .help = "HLS fixed point <W,I,rounding,overflow,N> without a sign",
    .source = "ap_ufixed of Vitis HLS, hls4ml",
    .flags = QK_UNIFORM | QK_WEIGHTS | QK_ACTIVATIONS | QK_OWN_SCALE |
             QK_BINARY_STEP,
    .min_bits = 1,
    .max_bits = FIXED_KIND_BITS,
    .param = settings,
    .check = check,
    .set_range = fixed_kind_set_range,
    .forward = fixed_kind_forward,
    .backward = fixed_kind_backward,
    .codes = fixed_kind_codes,
    .surrogate = fixed_kind_surrogate,
    .describe = fixed_kind_describe,
    .example = "bits relu* a=ufixed<12,4,RND,SAT>",
    .defaults = defaults,
    .parse = fixed_kind_parse,
    .print = fixed_kind_print,
    .span = fixed_kind_span,
};

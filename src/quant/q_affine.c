/* Quantizer affine: y = s * (clamp(round(x / s) + z, lo, hi) - z).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/uniform.h"

static enum status check(const struct qspec *s, struct err *e)
{
    if (s->symmetric && s->float_zp)
        return err_set(e, STATUS_ARG,
                       "affine: a real zero point is never symmetric: asym");
    return STATUS_OK;
}

const struct quantizer_kind quantizer_affine = {
    .name = "affine",
    .help = "even grid, scale and zero point from an observer",
    .source = "torch FakeQuantize, ONNX QuantizeLinear, AIMET",
    .flags = QK_UNIFORM | QK_WEIGHTS | QK_ACTIVATIONS,
    .min_bits = 1,
    .max_bits = 32,
    .check = check,
    .set_range = uniform_set_range,
    .forward = uniform_forward,
    .backward = uniform_backward,
    .codes = uniform_codes,
    .describe = uniform_describe,
    .example = "bits conv1 w=affine:4,sym,channel",
};

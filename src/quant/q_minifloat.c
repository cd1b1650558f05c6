/* Quantizer minifloat: values of a small floating-point format, no scale.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/minifloat.h"

static const struct qrow settings[] = {
    MINIFLOAT_ROWS,
    {0},
};

static void set_range(struct quantizer *q)
{
    struct minifloat f = minifloat_format(&q->spec);

    for (int64_t c = 0; c < q->channels; c++) {
        q->scale[c] = 1;
        q->zero_point[c] = 0;
        q->lo[c] = -f.max;
        q->hi[c] = f.max;
    }
}

const struct quantizer_kind quantizer_minifloat = {
    .name = "minifloat",
    .help = "small floating point: fp4, fp8, fp16, bf16 by exponent bits",
    .source = "OCP FP8 and MX formats, ONNX float8, IEEE 754",
    .flags = QK_WEIGHTS | QK_ACTIVATIONS | QK_OWN_SCALE,
    .min_bits = 3,
    .max_bits = 16,
    .param = settings,
    .check = minifloat_check,
    .set_range = set_range,
    .forward = minifloat_kind_forward,
    .backward = minifloat_kind_backward,
    .codes = minifloat_kind_codes,
    .surrogate = minifloat_kind_surrogate,
    .describe = minifloat_kind_describe,
    .example = "bits conv1 w=minifloat:8,exp=5",
    .defaults = minifloat_defaults,
    .span = minifloat_span,
};

/* Quantizer minifloat_scaled: small floating point times a scale that puts
 * the observed range on the format's largest value: s = max|x| / max, y = s *
 * nearest(x / s). SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/minifloat.h"

static const struct qrow settings[] = {
    MINIFLOAT_ROWS,
    {0},
};

static void set_range(struct quantizer *q)
{
    struct minifloat f = minifloat_format(&q->spec);
    real eps = (real)q->spec.eps;

    for (int64_t c = 0; c < q->channels; c++) {
        real m = q->hi[c] > -q->lo[c] ? q->hi[c] : -q->lo[c];

        q->scale[c] = m / f.max > eps ? m / f.max : eps;
        q->zero_point[c] = 0;
    }
}

const struct quantizer_kind quantizer_minifloat_scaled = {
    .name = "minifloat_scaled",
    .help = "small floating point times max|x| / largest value",
    .source = "FP8 training with per-tensor scales (OCP FP8)",
    .flags = QK_WEIGHTS | QK_ACTIVATIONS,
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
    .example = "bits conv1 w=minifloat_scaled:8,channel",
    .defaults = minifloat_defaults,
    .span = minifloat_span,
};

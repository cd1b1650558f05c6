/* Quantizer scale_aimet: AIMET's range learning, scale and offset learned.
 *
 * The offset is rounded and clamped to -hi .. -lo, straight-through; a
 * symmetric grid's offset stays -rne((lo + hi) / 2).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/aimet.h"

enum { ROW_SCALE, ROW_OFFSET };

static const struct qrow learned[] = {
    {"scale", 1, 0, 1e30, "step size"},
    {"offset", 0, -1e9, 1e9, "lowest code's value is scale * (lo + offset)"},
    {0},
};

static void refresh(struct quantizer *q)
{
    real least = aimet_least_scale(q);

    for (int64_t c = 0; c < q->channels; c++) {
        real s = *learned_at(q, ROW_SCALE, c);
        real offset = aimet_offset(q,
                                   real_rint(*learned_at(q, ROW_OFFSET, c)));

        if (q->spec.symmetric) {
            offset = aimet_middle(q);
            *learned_at(q, ROW_OFFSET, c) = offset;
        }
        s = s > least ? s : least;
        *learned_at(q, ROW_SCALE, c) = s;
        q->scale[c] = s;
        q->zero_point[c] = -offset;
        q->lo[c] = s * ((real)q->lo_code + offset);
        q->hi[c] = s * ((real)q->hi_code + offset);
    }
}

static void set_range(struct quantizer *q)
{
    real n = (real)(q->hi_code - q->lo_code), least = aimet_least_scale(q);

    for (int64_t c = 0; c < q->channels; c++) {
        real min, max, s;

        aimet_range(q, c, &min, &max);
        s = real_fabs(max - min) / n;
        s = s > least ? s : least;
        *learned_at(q, ROW_SCALE, c) = s;
        *learned_at(q, ROW_OFFSET, c) =
            real_rint(min / s) - (real)q->lo_code;
    }
    refresh(q);
}

static void add_grad(void *ctx, int64_t channel, const double *sum)
{
    const struct kcall *c = ctx;
    struct quantizer *q = c->q;

    if (!q->learn)
        return;
    learned_add(q, ROW_SCALE, channel, sum[0]);
    if (!q->spec.symmetric)
        learned_add(q, ROW_OFFSET, channel,
                    sum[1] * (double)q->scale[channel]);
}

static void backward(struct quantizer *q, const real *x, const real *dy,
                     real *dx, struct qview v)
{
    aimet_backward(q, x, dy, dx, v, add_grad);
}

static void surrogate(const struct quantizer *base,
                      const struct quantizer *q, const real *x0,
                      const real *x, real *y, struct qview v)
{
    for (int64_t i = 0; i < view_count(v); i++) {
        int64_t c = i / v.inner % v.channels;
        real moved = q->learned[v.channels + c] -
                     base->learned[v.channels + c];

        y[i] = aimet_smooth(base, c, x0[i], x[i], q->learned[c],
                            base->spec.symmetric ? 0 : moved);
    }
}

static void describe(const struct quantizer *q, real v, struct str *out)
{
    str_printf(out, "scale = %.9g, offset = %.9g learned\n",
               (double)q->learned[0], (double)q->learned[q->channels]);
    uniform_describe(q, v, out);
}

const struct quantizer_kind quantizer_scale_aimet = {
    .name = "scale_aimet",
    .help = "AIMET range learning: scale and offset are learned",
    .source = "aimet-torch 2 QuantizeDequantize, scale and offset",
    .flags = QK_UNIFORM | QK_WEIGHTS | QK_ACTIVATIONS,
    .min_bits = 2,
    .max_bits = 16,
    .learned = learned,
    .check = aimet_check,
    .set_range = set_range,
    .refresh = refresh,
    .forward = aimet_forward,
    .backward = backward,
    .codes = uniform_codes,
    .surrogate = surrogate,
    .describe = describe,
    .example = "bits conv1 w=scale_aimet:4,channel",
    .defaults = aimet_defaults,
};

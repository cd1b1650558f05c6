/* Quantizer range_aimet: AIMET's range learning, min and max learned.
 *
 * scale = |max - min| / N, N = hi - lo; symmetric: offset = -rne((lo+hi)/2);
 * asymmetric: offset = clamp(rne(min / scale) - lo, -hi, -lo) with a
 * straight-through round. So dmax = dscale / N, dmin = -dscale / N, and
 * asymmetric, where the offset is not clamped, through min / scale:
 * dmin += doffset * (1 / s + min / (s^2 N)), dmax -= doffset * min / (s^2 N).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/aimet.h"

enum { ROW_MIN, ROW_MAX };

static const struct qrow learned[] = {
    {"min", -1, -1e30, 1e30, "low end of the range"},
    {"max", 1, -1e30, 1e30, "high end of the range"},
    {0},
};

static real steps(const struct quantizer *q)
{
    return (real)(q->hi_code - q->lo_code);
}

/* The offset before clamping. */
static real free_offset(const struct quantizer *q, real min, real scale)
{
    return real_rint(min / scale) - (real)q->lo_code;
}

static void refresh(struct quantizer *q)
{
    real least = aimet_least_scale(q);

    for (int64_t c = 0; c < q->channels; c++) {
        real min = *learned_at(q, ROW_MIN, c);
        real max = *learned_at(q, ROW_MAX, c);
        real s = real_fabs(max - min) / steps(q);
        real offset;

        s = s > least ? s : least;
        offset = q->spec.symmetric
                     ? aimet_middle(q)
                     : aimet_offset(q, free_offset(q, min, s));
        q->scale[c] = s;
        q->zero_point[c] = -offset;
        q->lo[c] = s * ((real)q->lo_code + offset);
        q->hi[c] = s * ((real)q->hi_code + offset);
    }
}

static void set_range(struct quantizer *q)
{
    for (int64_t c = 0; c < q->channels; c++)
        aimet_range(q, c, learned_at(q, ROW_MIN, c),
                    learned_at(q, ROW_MAX, c));
    refresh(q);
}

static void add_grad(void *ctx, int64_t channel, const double *sum)
{
    const struct kcall *c = ctx;
    struct quantizer *q = c->q;
    double n = (double)steps(q), s = (double)q->scale[channel];
    real min = *learned_at(q, ROW_MIN, channel);
    real offset = free_offset(q, min, q->scale[channel]);
    double dmin = -sum[0] / n, dmax = sum[0] / n;

    if (!q->learn)
        return;
    if (!q->spec.symmetric && offset == aimet_offset(q, offset)) {
        double doffset = sum[1] * s;
        double through = doffset * (double)min / (s * s * n);

        dmin += doffset / s + through;
        dmax -= through;
    }
    learned_add(q, ROW_MIN, channel, dmin);
    learned_add(q, ROW_MAX, channel, dmax);
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
        real min0 = base->learned[c], min = q->learned[c];
        real s = real_fabs(q->learned[v.channels + c] - min) / steps(q);
        real free0 = free_offset(base, min0, base->scale[c]);
        real moved = min / s - min0 / base->scale[c];

        if (base->spec.symmetric || free0 != aimet_offset(base, free0))
            moved = 0;
        y[i] = aimet_smooth(base, c, x0[i], x[i], s, moved);
    }
}

static void describe(const struct quantizer *q, real v, struct str *out)
{
    str_printf(out, "min = %.9g, max = %.9g learned, s = |max - min| / %lld\n",
               (double)q->learned[0], (double)q->learned[q->channels],
               (long long)(q->hi_code - q->lo_code));
    uniform_describe(q, v, out);
}

const struct quantizer_kind quantizer_range_aimet = {
    .name = "range_aimet",
    .help = "AIMET range learning: min and max are learned",
    .source = "aimet-torch 2 QuantizeDequantize",
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
    .example = "bits conv1 w=range_aimet:4,channel",
    .defaults = aimet_defaults,
};

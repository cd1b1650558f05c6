/* Quantizer tqt: trained quantization thresholds.
 *
 * Jain et al. (arXiv 1903.08066): s = 2^ceil(log2 t) / 2^(b-1), unsigned
 * / 2^b; y = clip(rne(x / s)) * s (eq. 1-4); dx = dy where the unclipped code
 * is in range (eq. 8); dlog2_t = s * ln 2 * sum dy * (rne(x/s) - x/s inside,
 * n or p outside) (eq. 7). Scales are powers of two: no multiplier is needed
 * in hardware. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>

#include "quant/kinds.h"

static const struct qrow learned[] = {
    {"log2_t", 0, -120, 120, "log2 of the clipping threshold"},
    {0},
};

static void defaults(struct qspec *s)
{
    kind_plain(s, USE_SIGN);
    s->divide = true;
}

static enum status check(const struct qspec *s, struct err *e)
{
    return kind_check(s, USE_SIGN | USE_ORDER, e);
}

static void refresh(struct quantizer *q)
{
    int fraction = q->spec.is_signed ? q->spec.bits - 1 : q->spec.bits;

    for (int64_t c = 0; c < q->channels; c++) {
        real t = q->learned[c];

        t = t < -100 ? -100 : t > 100 ? 100 : t;
        q->learned[c] = t;
        q->scale[c] = (real)ldexp(1.0, (int)real_ceil(t) - fraction);
        q->zero_point[c] = 0;
        q->lo[c] = q->scale[c] * (real)q->lo_code;
        q->hi[c] = q->scale[c] * (real)q->hi_code;
    }
}

static void set_range(struct quantizer *q)
{
    for (int64_t c = 0; c < q->channels; c++) {
        real t = q->hi[c];

        if (q->spec.is_signed && -q->lo[c] > t)
            t = -q->lo[c];
        q->learned[c] = real_log2(t > (real)q->spec.eps ? t
                                                        : (real)q->spec.eps);
    }
    refresh(q);
}

static void backward_piece(void *ctx, int64_t channel, int64_t at, int64_t n,
                           double *sum)
{
    const struct kcall *c = ctx;
    struct grid g;

    grid_init(&g, c->cq, channel, false);
    scale_backward(&g, c->x + at, c->dy + at, c->dx + at, n, sum,
                   SCALE_MASKED);
}

static void add_grad(void *ctx, int64_t channel, const double *sum)
{
    const struct kcall *c = ctx;

    if (c->q->learn)
        learned_add(c->q, 0, channel,
                    (double)c->q->scale[channel] * log(2.0) * sum[0]);
}

static void backward(struct quantizer *q, const real *x, const real *dy,
                     real *dx, struct qview v)
{
    struct kcall c = kcall_backward(q, x, dy, dx, v);

    view_sum(v, backward_piece, add_grad, &c);
}

static void surrogate(const struct quantizer *base,
                      const struct quantizer *q, const real *x0,
                      const real *x, real *y, struct qview v)
{
    for (int64_t i = 0; i < view_count(v); i++) {
        int64_t c = i / v.inner % v.channels;
        real s0 = base->scale[c];
        real s = s0 * real_exp2(q->learned[c] - base->learned[c]);
        struct place p = place_of(base, c, x0[i]);

        y[i] = p.inside ? x[i] + s * (p.code - x0[i] / s0) : s * p.code;
    }
}

static void describe(const struct quantizer *q, real v, struct str *out)
{
    str_printf(out, "log2 t = %.9g, s = 2^ceil(log2 t) / 2^%d = %.9g\n",
               (double)q->learned[0],
               q->spec.is_signed ? q->spec.bits - 1 : q->spec.bits,
               (double)q->scale[0]);
    uniform_describe(q, v, out);
}

const struct quantizer_kind quantizer_tqt = {
    .name = "tqt",
    .help = "learned log2 threshold, power-of-two scale",
    .source = "Jain et al. 2019, arXiv 1903.08066",
    .flags = QK_UNIFORM | QK_WEIGHTS | QK_ACTIVATIONS,
    .min_bits = 2,
    .max_bits = 16,
    .learned = learned,
    .check = check,
    .set_range = set_range,
    .refresh = refresh,
    .forward = uniform_forward,
    .backward = backward,
    .codes = uniform_codes,
    .surrogate = surrogate,
    .describe = describe,
    .example = "bits conv1 w=tqt:8",
    .defaults = defaults,
};

/* Quantizer brevitas_ternary: -scale, 0, scale with a constant scale.
 *
 * Brevitas TernaryQuant: y = 0 where |x| <= threshold * scale, else sign(x) *
 * scale; dx = dy * scale where not zeroed.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/kinds.h"

enum { SET_SCALE, SET_THRESHOLD };

static const struct qrow settings[] = {
    {"scale", 1, 1e-30, 1e30, "magnitude of the outer values"},
    {"threshold", 0.5, 0, 1e30, "zero up to threshold * scale"},
    {0},
};

static void defaults(struct qspec *s)
{
    kind_plain(s, 0);
    s->is_signed = true;
    s->bits = 2;
}

static enum status check(const struct qspec *s, struct err *e)
{
    if (!s->is_signed)
        return err_set(e, STATUS_ARG, "brevitas_ternary is signed");
    return kind_check(s, 0, e);
}

static void span(const struct qspec *s, int64_t *lo, int64_t *hi)
{
    (void)s;
    *lo = -1;
    *hi = 1;
}

static void set_range(struct quantizer *q)
{
    for (int64_t c = 0; c < q->channels; c++) {
        q->scale[c] = spec_real(&q->spec, SET_SCALE);
        q->zero_point[c] = 0;
        q->lo[c] = -q->scale[c];
        q->hi[c] = q->scale[c];
    }
}

static real limit_of(const struct quantizer *q, int64_t channel)
{
    return spec_real(&q->spec, SET_THRESHOLD) * q->scale[channel];
}

QUANT_CLONES static void forward_run(real s, real limit, const real *x,
                                     real *y, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real outer = pick(x[i] > 0, s, -s);

        y[i] = pick(real_fabs(x[i]) > limit, outer, 0);
    }
}

QUANT_CLONES static void backward_run(real s, real limit, const real *x,
                                      const real *dy, real *dx, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        dx[i] = pick(real_fabs(x[i]) > limit, dy[i] * s, 0);
}

static void forward_piece(void *ctx, int64_t channel, int64_t at, int64_t n)
{
    const struct kcall *c = ctx;

    forward_run(c->cq->scale[channel], limit_of(c->cq, channel), c->x + at,
                c->y + at, n);
}

static void backward_piece(void *ctx, int64_t channel, int64_t at, int64_t n)
{
    const struct kcall *c = ctx;

    backward_run(c->cq->scale[channel], limit_of(c->cq, channel), c->x + at,
                 c->dy + at, c->dx + at, n);
}

static void codes_piece(void *ctx, int64_t channel, int64_t at, int64_t n)
{
    const struct kcall *c = ctx;
    real limit = limit_of(c->cq, channel);

    for (int64_t i = at; i < at + n; i++)
        c->code[i] = (c->x[i] > limit) - (c->x[i] < -limit);
}

static void forward(struct quantizer *q, const real *x, real *y,
                    struct qview v, bool train)
{
    struct kcall c = kcall_forward(q, x, y, v, train);

    view_each(v, forward_piece, &c);
}

static void backward(struct quantizer *q, const real *x, const real *dy,
                     real *dx, struct qview v)
{
    struct kcall c = kcall_backward(q, x, dy, dx, v);

    view_each(v, backward_piece, &c);
}

static void codes(const struct quantizer *q, const real *x, int32_t *code,
                  struct qview v)
{
    struct kcall c = kcall_codes(q, x, code, v);

    view_each(v, codes_piece, &c);
}

static void surrogate(const struct quantizer *base,
                      const struct quantizer *q, const real *x0,
                      const real *x, real *y, struct qview v)
{
    (void)q;
    for (int64_t i = 0; i < view_count(v); i++) {
        int64_t c = i / v.inner % v.channels;

        y[i] = real_fabs(x0[i]) > limit_of(base, c) ? x[i] * base->scale[c]
                                                    : 0;
    }
}

static void describe(const struct quantizer *q, real v, struct str *out)
{
    real s = q->scale[0], limit = limit_of(q, 0);
    bool zero = !(real_fabs(v) > limit);

    str_printf(out, "|x| = %.9g %s threshold * s = %.9g: y = %.9g\n",
               (double)real_fabs(v), zero ? "<=" : ">", (double)limit,
               (double)(zero ? 0 : v > 0 ? s : -s));
    str_printf(out, "gradient: dx = %s\n", zero ? "0" : "dy * s");
}

const struct quantizer_kind quantizer_brevitas_ternary = {
    .name = "brevitas_ternary",
    .help = "-scale, 0, scale, gradient dy * scale",
    .source = "Brevitas TernaryQuant",
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
    .example = "bits conv1 w=brevitas_ternary:2,scale=0.1",
    .defaults = defaults,
    .span = span,
};

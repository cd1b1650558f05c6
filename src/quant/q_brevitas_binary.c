/* Quantizer brevitas_binary: sign times a constant scale.
 *
 * Brevitas BinaryQuant and ClampedBinaryQuant (SignedBinaryWeight*,
 * SignedBinaryAct*): y = scale where x >= 0, else -scale; dx = dy * scale,
 * clamped only where |x| <= scale. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>

#include "quant/kinds.h"

enum { SET_SCALE, SET_CLAMPED };

static const struct qrow settings[] = {
    {"scale", 1, 1e-30, 1e30, "magnitude of the two values"},
    {"clamped", 0, 0, 1, "1: gradient only where |x| <= scale"},
    {0},
};

static void defaults(struct qspec *s)
{
    kind_plain(s, 0);
    s->is_signed = true;
    s->bits = 1;
}

static enum status check(const struct qspec *s, struct err *e)
{
    if (!s->is_signed)
        return err_set(e, STATUS_ARG, "brevitas_binary is signed");
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

QUANT_CLONES static void forward_run(real s, const real *x, real *y,
                                     int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = pick(x[i] >= 0, s, -s);
}

QUANT_CLONES static void backward_run(real s, real limit, const real *x,
                                      const real *dy, real *dx, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        dx[i] = pick(real_fabs(x[i]) <= limit, dy[i] * s, 0);
}

static void forward_piece(void *ctx, int64_t channel, int64_t at, int64_t n)
{
    const struct kcall *c = ctx;

    forward_run(c->cq->scale[channel], c->x + at, c->y + at, n);
}

static void backward_piece(void *ctx, int64_t channel, int64_t at, int64_t n)
{
    const struct kcall *c = ctx;
    real s = c->cq->scale[channel];
    bool clamped = spec_int(&c->cq->spec, SET_CLAMPED);

    backward_run(s, clamped ? s : (real)INFINITY, c->x + at, c->dy + at,
                 c->dx + at, n);
}

static void codes_piece(void *ctx, int64_t channel, int64_t at, int64_t n)
{
    const struct kcall *c = ctx;

    (void)channel;
    for (int64_t i = at; i < at + n; i++)
        c->code[i] = c->x[i] >= 0 ? 1 : -1;
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
    bool clamped = spec_int(&base->spec, SET_CLAMPED);

    (void)q;
    for (int64_t i = 0; i < view_count(v); i++) {
        real s = base->scale[i / v.inner % v.channels];

        y[i] = clamped && real_fabs(x0[i]) > s ? 0 : x[i] * s;
    }
}

static void describe(const struct quantizer *q, real v, struct str *out)
{
    real s = q->scale[0];
    bool clamped = spec_int(&q->spec, SET_CLAMPED);

    str_printf(out, "y = %.9g >= 0 ? s : -s = %.9g\n", (double)v,
               (double)(v >= 0 ? s : -s));
    str_printf(out, "gradient: dx = %s\n",
               clamped && real_fabs(v) > s ? "0" : "dy * s");
}

const struct quantizer_kind quantizer_brevitas_binary = {
    .name = "brevitas_binary",
    .help = "sign times a constant scale, gradient dy * scale",
    .source = "Brevitas BinaryQuant, ClampedBinaryQuant",
    .flags = QK_UNIFORM | QK_WEIGHTS | QK_ACTIVATIONS | QK_OWN_SCALE,
    .min_bits = 1,
    .max_bits = 1,
    .param = settings,
    .check = check,
    .set_range = set_range,
    .forward = forward,
    .backward = backward,
    .codes = codes,
    .surrogate = surrogate,
    .describe = describe,
    .example = "bits conv1 w=brevitas_binary:1,scale=0.1",
    .defaults = defaults,
    .span = span,
};

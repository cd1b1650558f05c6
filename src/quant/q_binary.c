/* Quantizer binary: the sign times a scale.
 *
 * Rastegari et al., XNOR-Net (arXiv 1603.05279): y = alpha * sign(x), alpha =
 * mean|x| of the tensor or channel, found in every forward pass; dx = dy *
 * (1/n + alpha * [|x| <= clip]) (section 3.1). With scale=V alpha is V and dx
 * = dy * V * [|x| <= clip] (binarised activations, Courbariaux et al. 2016).
 * With learning on, alpha is a parameter: dalpha = sum dy * sign(x).
 * "binary(...)" with arguments is QKeras's.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <assert.h>
#include <math.h>

#include "quant/kinds.h"

enum { SET_SCALE, SET_CLIP };

static const struct qrow settings[] = {
    {"scale", 0, 0, 1e30, "alpha; 0: mean|x| in every forward pass"},
    {"clip", 1, 0, 1e30, "gradient where |x| <= clip; 0: everywhere"},
    {0},
};

static const struct qrow learned[] = {
    {"alpha", 1, 0, 1e30, "magnitude of the two values"},
    {0},
};

static enum status parse(const char *text, struct qspec *s, struct err *e)
{
    s->kind = &quantizer_qkeras_binary;
    return s->kind->parse(text, s, e);
}

static void defaults(struct qspec *s)
{
    kind_plain(s, 0);
    s->is_signed = true;
    s->bits = 1;
}

static enum status check(const struct qspec *s, struct err *e)
{
    if (!s->is_signed)
        return err_set(e, STATUS_ARG, "binary is signed");
    return kind_check(s, 0, e);
}

static void span(const struct qspec *s, int64_t *lo, int64_t *hi)
{
    (void)s;
    *lo = -1;
    *hi = 1;
}

static void put_scale(struct quantizer *q, int64_t c, real alpha)
{
    real eps = (real)q->spec.eps;

    q->scale[c] = alpha > eps ? alpha : eps;
    q->zero_point[c] = 0;
    q->lo[c] = -q->scale[c];
    q->hi[c] = q->scale[c];
    q->learned[c] = q->scale[c];
}

static void refresh(struct quantizer *q)
{
    for (int64_t c = 0; c < q->channels; c++)
        put_scale(q, c, q->learned[c]);
}

static void set_range(struct quantizer *q)
{
    for (int64_t c = 0; c < q->channels; c++) {
        real fixed = spec_real(&q->spec, SET_SCALE);

        put_scale(q, c, fixed > 0 ? fixed : q->hi[c] > 0 ? q->hi[c] : 1);
    }
}

static bool is_found(const struct quantizer *q)
{
    return !q->learn && q->spec.param[SET_SCALE] == 0;
}

static void mean_piece(void *ctx, int64_t channel, int64_t at, int64_t n,
                       double *sum)
{
    const struct kcall *c = ctx;

    (void)channel;
    sum[0] += abs_sum(c->x + at, n);
}

static void mean_done(void *ctx, int64_t channel, const double *sum)
{
    const struct kcall *c = ctx;
    int64_t n = c->view.outer * c->view.inner;

    put_scale(c->q, channel, (real)(sum[0] / (double)(n ? n : 1)));
}

QUANT_CLONES static void forward_run(real alpha, const real *x, real *y,
                                     int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = pick(x[i] >= 0, alpha, -alpha);
}

static void forward_piece(void *ctx, int64_t channel, int64_t at, int64_t n)
{
    const struct kcall *c = ctx;

    forward_run(c->q->scale[channel], c->x + at, c->y + at, n);
}

static void forward(struct quantizer *q, const real *x, real *y,
                    struct qview v, bool train)
{
    struct kcall c = kcall_forward(q, x, y, v, train);

    assert(v.channels == q->channels);
    if (is_found(q))
        view_sum(v, mean_piece, mean_done, &c);
    view_each(v, forward_piece, &c);
}

/* inside, outside: factors of dy; term: dy * sign(x). */
QUANT_CLONES static void backward_run(const real *x, const real *dy,
                                      real *dx, real *term, int64_t n,
                                      const real factor[3])
{
    real clip = factor[0], inside = factor[1], outside = factor[2];

#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real d = dy[i];

        term[i] = pick(x[i] >= 0, d, -d);
        dx[i] = d * pick(real_fabs(x[i]) <= clip, inside, outside);
    }
}

static void backward_piece(void *ctx, int64_t channel, int64_t at, int64_t n,
                           double *sum)
{
    const struct kcall *c = ctx;
    struct quantizer *q = c->q;
    int64_t count = c->view.outer * c->view.inner;
    real clip = spec_real(&q->spec, SET_CLIP);
    real through = is_found(q) ? REAL(1.0) / (real)count : 0;
    real factor[3] = {clip > 0 ? clip : (real)INFINITY,
                      q->scale[channel] + through, through};

    for (int64_t i = 0; i < n; i += QUANT_BLOCK) {
        QUANT_ALIGNED real term[QUANT_BLOCK];
        int64_t k = n - i < QUANT_BLOCK ? n - i : QUANT_BLOCK;

        backward_run(c->x + at + i, c->dy + at + i, c->dx + at + i, term, k,
                     factor);
        sum[0] += block_sum(term, k);
    }
}

static void add_grad(void *ctx, int64_t channel, const double *sum)
{
    const struct kcall *c = ctx;

    if (c->q->learn)
        learned_add(c->q, 0, channel, sum[0]);
}

static void backward(struct quantizer *q, const real *x, const real *dy,
                     real *dx, struct qview v)
{
    struct kcall c = kcall_backward(q, x, dy, dx, v);

    view_sum(v, backward_piece, add_grad, &c);
}

static void codes_piece(void *ctx, int64_t channel, int64_t at, int64_t n)
{
    const struct kcall *c = ctx;

    (void)channel;
    for (int64_t i = at; i < at + n; i++)
        c->code[i] = c->x[i] >= 0 ? 1 : -1;
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
    real clip = spec_real(&base->spec, SET_CLIP);
    real n = (real)(v.outer * v.inner);

    for (int64_t i = 0; i < view_count(v); i++) {
        int64_t c = i / v.inner % v.channels;
        bool inside = clip == 0 || real_fabs(x0[i]) <= clip;

        y[i] = (x[i] - x0[i]) * ((inside ? base->scale[c] : 0) +
                                 (is_found(base) ? 1 / n : 0));
        if (base->learn)
            y[i] += x0[i] >= 0 ? q->learned[c] : -q->learned[c];
    }
}

static void describe(const struct quantizer *q, real v, struct str *out)
{
    real clip = spec_real(&q->spec, SET_CLIP);

    str_printf(out, "alpha = %.9g (%s)\n", (double)q->scale[0],
               q->learn ? "learned" : is_found(q) ? "mean|x|" : "fixed");
    str_printf(out, "y = alpha * sign(%.9g) = %.9g\n", (double)v,
               (double)(v >= 0 ? q->scale[0] : -q->scale[0]));
    str_printf(out, "gradient: dx = dy * (alpha * [|x| <= %g]%s)\n",
               clip > 0 ? (double)clip : (double)INFINITY,
               is_found(q) ? " + 1/n" : "");
}

const struct quantizer_kind quantizer_binary = {
    .name = "binary",
    .help = "the sign times mean|x|, a constant or a learned scale",
    .source = "Rastegari et al. 2016, arXiv 1603.05279",
    .flags = QK_UNIFORM | QK_WEIGHTS | QK_ACTIVATIONS | QK_OWN_SCALE,
    .min_bits = 1,
    .max_bits = 1,
    .param = settings,
    .learned = learned,
    .check = check,
    .set_range = set_range,
    .refresh = refresh,
    .forward = forward,
    .backward = backward,
    .codes = codes,
    .surrogate = surrogate,
    .describe = describe,
    .example = "bits conv1 w=binary:1,channel",
    .defaults = defaults,
    .parse = parse,
    .span = span,
};

/* Quantizer pact: activations clipped at a learned alpha.
 *
 * Choi et al., PACT (arXiv 1805.06085): y = clip(x, 0, alpha) (eq. 1),
 * yq = rne(y * (2^k - 1) / alpha) * alpha / (2^k - 1) (eq. 2); dx = dy where
 * 0 <= x < alpha, dalpha = sum of dy where x >= alpha (eq. 3).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/kinds.h"

static const struct qrow learned[] = {
    {"alpha", 6, 0, 1e30, "where activations are clipped"},
    {0},
};

static void defaults(struct qspec *s)
{
    kind_plain(s, 0);
    s->is_signed = false;
}

static enum status check(const struct qspec *s, struct err *e)
{
    if (s->is_signed)
        return err_set(e, STATUS_ARG, "pact clips at 0: unsigned");
    return kind_check(s, 0, e);
}

static void refresh(struct quantizer *q)
{
    real eps = (real)q->spec.eps;

    for (int64_t c = 0; c < q->channels; c++) {
        real a = q->learned[c] > eps ? q->learned[c] : eps;

        q->learned[c] = a;
        q->scale[c] = a / (real)q->hi_code;
        q->zero_point[c] = 0;
        q->lo[c] = 0;
        q->hi[c] = a;
    }
}

static void set_range(struct quantizer *q)
{
    for (int64_t c = 0; c < q->channels; c++)
        q->learned[c] = q->hi[c];
    refresh(q);
}

static inline __attribute__((always_inline)) real clipped(real x, real alpha)
{
    return within(x, 0, alpha);
}

QUANT_CLONES static void forward_run(real alpha, real n, const real *x,
                                     real *y, int64_t count)
{
    real up = n / alpha, down = alpha / n;

#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        y[i] = real_rint(clipped(x[i], alpha) * up) * down;
}

static void forward_piece(void *ctx, int64_t channel, int64_t at, int64_t n)
{
    const struct kcall *c = ctx;

    forward_run(c->cq->learned[channel], (real)c->cq->hi_code, c->x + at,
                c->y + at, n);
}

static void forward(struct quantizer *q, const real *x, real *y,
                    struct qview v, bool train)
{
    struct kcall c = kcall_forward(q, x, y, v, train);

    view_each(v, forward_piece, &c);
}

/* term: dy above alpha. */
QUANT_CLONES static void backward_run(real alpha, const real *x,
                                      const real *dy, real *dx, real *term,
                                      int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real d = dy[i];
        bool above = x[i] >= alpha;

        term[i] = pick(above, d, 0);
        dx[i] = pick((x[i] >= 0) & !above, d, 0);
    }
}

static void backward_piece(void *ctx, int64_t channel, int64_t at, int64_t n,
                           double *sum)
{
    const struct kcall *c = ctx;
    real alpha = c->cq->learned[channel];

    for (int64_t i = 0; i < n; i += QUANT_BLOCK) {
        QUANT_ALIGNED real term[QUANT_BLOCK];
        int64_t m = n - i < QUANT_BLOCK ? n - i : QUANT_BLOCK;

        backward_run(alpha, c->x + at + i, c->dy + at + i, c->dx + at + i,
                     term, m);
        sum[0] += block_sum(term, m);
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
    real alpha = c->cq->learned[channel];
    real up = (real)c->cq->hi_code / alpha;

    for (int64_t i = at; i < at + n; i++)
        c->code[i] = (int32_t)real_rint(clipped(c->x[i], alpha) * up);
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
    for (int64_t i = 0; i < view_count(v); i++) {
        int64_t c = i / v.inner % v.channels;

        y[i] = x0[i] >= base->learned[c] ? q->learned[c]
               : x0[i] >= 0              ? x[i]
                                         : 0;
    }
}

static void describe(const struct quantizer *q, real v, struct str *out)
{
    real alpha = q->learned[0], n = (real)q->hi_code;
    real t = clipped(v, alpha);
    real code = real_rint(t * (n / alpha));

    str_printf(out, "alpha = %.9g, n = 2^%d - 1 = %.0f\n", (double)alpha,
               q->spec.bits, (double)n);
    str_printf(out, "clip(x, 0, alpha) = %.9g\n", (double)t);
    str_printf(out, "code = rne(%.9g * n / alpha) = %.0f\n", (double)t,
               (double)code);
    str_printf(out, "y = code * alpha / n = %.9g\n",
               (double)(code * (alpha / n)));
    str_printf(out, "gradient: %s\n",
               v >= alpha ? "dalpha = dy, dx = 0"
               : v >= 0   ? "dx = dy"
                          : "dx = 0");
}

const struct quantizer_kind quantizer_pact = {
    .name = "pact",
    .help = "activations clipped at a learned alpha",
    .source = "Choi et al. 2018, arXiv 1805.06085",
    .flags = QK_UNIFORM | QK_ACTIVATIONS,
    .min_bits = 1,
    .max_bits = 16,
    .learned = learned,
    .check = check,
    .set_range = set_range,
    .refresh = refresh,
    .forward = forward,
    .backward = backward,
    .codes = codes,
    .surrogate = surrogate,
    .describe = describe,
    .example = "bits conv1 a=pact:4",
    .defaults = defaults,
};

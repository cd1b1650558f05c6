/* Quantizer dorefa_act: activations in [0, 1].
 *
 * Zhou et al., DoReFa-Net (arXiv 1606.06160): y = rne((2^k - 1) *
 * clip(x, 0, 1)) / (2^k - 1) (eq. 5 with a bounded activation function);
 * dx = dy where 0 <= x <= 1. SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/kinds.h"

static void defaults(struct qspec *s)
{
    kind_plain(s, 0);
    s->is_signed = false;
}

static enum status check(const struct qspec *s, struct err *e)
{
    if (s->is_signed)
        return err_set(e, STATUS_ARG, "dorefa_act clips at 0: unsigned");
    return kind_check(s, 0, e);
}

static void set_range(struct quantizer *q)
{
    for (int64_t c = 0; c < q->channels; c++) {
        q->scale[c] = REAL(1.0) / (real)q->hi_code;
        q->zero_point[c] = 0;
        q->lo[c] = 0;
        q->hi[c] = 1;
    }
}

static inline __attribute__((always_inline)) real code_of(real x, real n)
{
    return real_rint(n * within(x, 0, 1));
}

QUANT_CLONES static void forward_run(real n, const real *x, real *y,
                                     int64_t count)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        y[i] = code_of(x[i], n) / n;
}

QUANT_CLONES static void backward_run(const real *x, const real *dy,
                                      real *dx, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        dx[i] = pick((x[i] >= 0) & (x[i] <= 1), dy[i], 0);
}

static void forward_piece(void *ctx, int64_t channel, int64_t at, int64_t n)
{
    const struct kcall *c = ctx;

    (void)channel;
    forward_run((real)c->cq->hi_code, c->x + at, c->y + at, n);
}

static void backward_piece(void *ctx, int64_t channel, int64_t at, int64_t n)
{
    const struct kcall *c = ctx;

    (void)channel;
    backward_run(c->x + at, c->dy + at, c->dx + at, n);
}

static void codes_piece(void *ctx, int64_t channel, int64_t at, int64_t n)
{
    const struct kcall *c = ctx;

    (void)channel;
    for (int64_t i = at; i < at + n; i++)
        c->code[i] = (int32_t)code_of(c->x[i], (real)c->cq->hi_code);
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
    (void)base;
    (void)q;
    for (int64_t i = 0; i < view_count(v); i++)
        y[i] = x0[i] >= 0 && x0[i] <= 1 ? x[i] : 0;
}

static void describe(const struct quantizer *q, real v, struct str *out)
{
    real n = (real)q->hi_code;
    real code = code_of(v, n);

    str_printf(out, "n = 2^%d - 1 = %.0f\n", q->spec.bits, (double)n);
    str_printf(out, "code = rne(n * clip(%.9g, 0, 1)) = %.0f\n", (double)v,
               (double)code);
    str_printf(out, "y = code / n = %.9g\n", (double)(code / n));
    str_printf(out, "gradient: dx = %s\n", v >= 0 && v <= 1 ? "dy" : "0");
}

const struct quantizer_kind quantizer_dorefa_act = {
    .name = "dorefa_act",
    .help = "activations clipped to [0, 1]",
    .source = "Zhou et al. 2016, arXiv 1606.06160",
    .flags = QK_UNIFORM | QK_ACTIVATIONS | QK_OWN_SCALE,
    .min_bits = 1,
    .max_bits = 16,
    .check = check,
    .set_range = set_range,
    .forward = forward,
    .backward = backward,
    .codes = codes,
    .surrogate = surrogate,
    .describe = describe,
    .example = "bits conv1 a=dorefa_act:4",
    .defaults = defaults,
};

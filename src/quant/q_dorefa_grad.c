/* Quantizer dorefa_grad: gradients with dithering.
 *
 * Zhou et al., DoReFa-Net (arXiv 1606.06160, eq. 12): per sample m = max|x|,
 * y = 2m * (quantize_k(x / 2m + 1/2 + N) - 1/2), N uniform in +-1/2 step. It
 * stands in the backward pass, so its own gradient is dy. Without a random
 * stream, and in evaluation, the noise is 0.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <assert.h>
#include <math.h>

#include "quant/kinds.h"

static void defaults(struct qspec *s)
{
    kind_plain(s, 0);
    s->is_signed = true;
    s->grain = GRAIN_CHANNEL;
}

static enum status check(const struct qspec *s, struct err *e)
{
    if (!s->is_signed)
        return err_set(e, STATUS_ARG, "dorefa_grad is signed");
    return kind_check(s, 0, e);
}

static void span(const struct qspec *s, int64_t *lo, int64_t *hi)
{
    *hi = ((int64_t)1 << s->bits) - 1;
    *lo = -*hi;
}

/* The constants of a call: 2m, n, 1 / n. */
struct dither {
    real width, n, per_step;
    struct over over;
};

static struct dither dither_of(int bits, real m)
{
    real n = (real)(((int64_t)1 << bits) - 1);

    return (struct dither){2 * m, n, 1 / n, over_of(n)};
}

SELECT_INLINE real code_of(const struct dither *d, real x, real noise)
{
    real q = real_rint(
        d->n * (x / d->width + REAL(0.5) + noise * d->per_step));

    return within(q, 0, d->n);
}

SELECT_INLINE real value_of(const struct dither *d, real code, bool divide)
{
    return d->width * (over_divide(&d->over, code, divide) - REAL(0.5));
}

QUANT_CLONES void dorefa_gradient(int bits, real m, const real *x,
                                  const real *noise, real *y, int64_t count)
{
    const struct dither d = dither_of(bits, m);

    if (d.over.lo == 0) {
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            y[i] = value_of(&d, code_of(&d, x[i], noise[i]), true);
    } else {
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            y[i] = value_of(&d, code_of(&d, x[i], noise[i]), false);
    }
}

/* The same with noise from draws. */
QUANT_CLONES static void drawn_gradient(struct dither d, struct draws z,
                                        const real *x, real *y,
                                        uint32_t count)
{
    uint32_t at = z.first, by = z.by;

    if (d.over.lo == 0) {
#pragma omp simd linear(at : by)
        for (uint32_t i = 0; i < count; i++) {
            y[i] = value_of(&d, code_of(&d, x[i], noise_centred(at)), true);
            at += by;
        }
    } else {
#pragma omp simd linear(at : by)
        for (uint32_t i = 0; i < count; i++) {
            y[i] = value_of(&d, code_of(&d, x[i], noise_centred(at)), false);
            at += by;
        }
    }
}

static void forward_piece(void *ctx, int64_t channel, int64_t at, int64_t n)
{
    static const real none[QUANT_BLOCK];
    const struct kcall *c = ctx;
    const struct noise *z = c->own;
    int bits = c->q->spec.bits;
    real m = c->q->hi[channel];

    for (int64_t i = at; i < at + n; i += QUANT_BLOCK) {
        int64_t k = at + n - i < QUANT_BLOCK ? at + n - i : QUANT_BLOCK;

        if (z->on)
            drawn_gradient(dither_of(bits, m), noise_draws(z, i, 0), c->x + i,
                           c->y + i, (uint32_t)k);
        else
            dorefa_gradient(bits, m, c->x + i, none, c->y + i, k);
    }
}

static void forward(struct quantizer *q, const real *x, real *y,
                    struct qview v, bool train)
{
    struct noise z = noise_new(train ? q->rng : NULL);
    struct kcall c = kcall_forward(q, x, y, v, train);

    c.own = &z;
    assert(v.channels == q->channels);
    view_absmax(x, v, q->hi);
    for (int64_t k = 0; k < v.channels; k++) {
        q->hi[k] = q->hi[k] > REAL(1e-30) ? q->hi[k] : REAL(1e-30);
        q->lo[k] = -q->hi[k];
        q->scale[k] = q->hi[k] / (real)q->hi_code;
    }
    view_each(v, forward_piece, &c);
}

static void backward(struct quantizer *q, const real *x, const real *dy,
                     real *dx, struct qview v)
{
    (void)q;
    (void)x;
    pass_gradient(dy, dx, view_count(v));
}

static void surrogate(const struct quantizer *base,
                      const struct quantizer *q, const real *x0,
                      const real *x, real *y, struct qview v)
{
    (void)base;
    (void)q;
    (void)x0;
    pass_gradient(x, y, view_count(v));
}

static void describe(const struct quantizer *q, real v, struct str *out)
{
    real n = (real)q->hi_code, m = q->hi[0] > 0 ? q->hi[0] : 1, none = 0, y;

    dorefa_gradient(q->spec.bits, m, &v, &none, &y, 1);
    str_printf(out, "m = max|x| = %.9g, n = 2^%d - 1 = %.0f\n", (double)m,
               q->spec.bits, (double)n);
    str_printf(out, "y = 2m * (clip(rne(n * (x / 2m + 1/2) + noise), 0, n) "
               "/ n - 1/2) = %.9g without noise\n", (double)y);
    str_add(out, "gradient: dx = dy\n");
}

const struct quantizer_kind quantizer_dorefa_grad = {
    .name = "dorefa_grad",
    .help = "gradients, per sample, with dithering",
    .source = "Zhou et al. 2016, arXiv 1606.06160, eq. 12",
    .flags = QK_STOCHASTIC | QK_OWN_SCALE,
    .min_bits = 1,
    .max_bits = 16,
    .check = check,
    .forward = forward,
    .backward = backward,
    .surrogate = surrogate,
    .describe = describe,
    .example = "bits conv1 a=dorefa_grad:4",
    .defaults = defaults,
    .span = span,
};

/* Quantizer mx: blocks of small floats that share a power-of-two scale.
 *
 * OCP Microscaling Formats 1.0, section 5.2 and 6.3: per block of (by
 * default) 32 values s = 2^(floor(log2 max|x|) - e_max), e_max the exponent
 * of the element format's largest binade, kept as e8m0 (2^-127 .. 2^127);
 * y = s * nearest(x / s), saturating. The scale is found in every forward
 * pass. Gradient: dx = dy, or masked beyond the largest value.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/minifloat.h"

static const struct qrow settings[] = {
    MINIFLOAT_ROWS,
    {0},
};

static void defaults(struct qspec *s)
{
    minifloat_defaults(s);
    s->grain = GRAIN_GROUP;
    s->group = 32;
    s->grad = QGRAD_PASS;
}

/* The power of two is kept where float's normal numbers can hold it. */
static real block_scale(const struct minifloat *f, real absmax)
{
    real_int e = real_exponent(absmax) - (real_int)f->top;

    return real_pow2(e < -126 ? -126 : e > 127 ? 127 : e);
}

static struct minifloat_run run_of(const struct kcall *c)
{
    const struct quantizer *q = c->cq;
    bool chance = c->train && q->rng;
    enum rounding r = q->spec.rounding;

    return (struct minifloat_run){
        .format = c->own,
        .rounding = r == ROUND_STOCHASTIC && !chance ? ROUND_HALF_EVEN : r,
        .rng = chance ? q->rng : NULL,
    };
}

typedef void (*block_fn)(const struct kcall *c, struct minifloat_run *r,
                         int64_t at, int64_t n);

static void forward_block(const struct kcall *c, struct minifloat_run *r,
                          int64_t at, int64_t n)
{
    minifloat_forward(r, c->x + at, c->y + at, n);
}

static void backward_block(const struct kcall *c, struct minifloat_run *r,
                           int64_t at, int64_t n)
{
    minifloat_backward(r, c->x + at, c->dy + at, c->dx + at, n);
}

static void codes_block(const struct kcall *c, struct minifloat_run *r,
                        int64_t at, int64_t n)
{
    for (int64_t i = at; i < at + n; i++) {
        real y;

        minifloat_forward(r, c->x + i, &y, 1);
        c->code[i] = minifloat_code(r->format, y / r->scale);
    }
}

/* A block is a channel of the view: outer runs of inner elements. */
static void block(const struct kcall *c, int64_t channel, block_fn fn)
{
    struct qview v = c->view;
    struct minifloat_run r = run_of(c);
    real absmax = 0;

    for (int64_t o = 0; o < v.outer; o++) {
        real m = absmax_of(c->x + (o * v.channels + channel) * v.inner,
                           v.inner);

        absmax = m > absmax ? m : absmax;
    }
    r.scale = block_scale(r.format, absmax);
    for (int64_t o = 0; o < v.outer; o++)
        fn(c, &r, (o * v.channels + channel) * v.inner, v.inner);
    if (c->q && channel < c->q->channels) {
        c->q->scale[channel] = r.scale;
        c->q->hi[channel] = r.scale * r.format->max;
        c->q->lo[channel] = -c->q->hi[channel];
    }
}

/* Random draws keep the order of the elements: one thread. */
static void run_blocks(const struct kcall *c, block_fn fn)
{
    bool serial = c->cq->spec.rounding == ROUND_STOCHASTIC;

#pragma omp parallel for schedule(static) \
    if (!serial && view_count(c->view) >= QUANT_PARALLEL)
    for (int64_t k = 0; k < c->view.channels; k++)
        block(c, k, fn);
}

static void forward(struct quantizer *q, const real *x, real *y,
                    struct qview v, bool train)
{
    struct minifloat f = minifloat_format(&q->spec);
    struct kcall c = kcall_forward(q, x, y, v, train);

    c.own = &f;
    run_blocks(&c, forward_block);
}

static void backward(struct quantizer *q, const real *x, const real *dy,
                     real *dx, struct qview v)
{
    struct minifloat f = minifloat_format(&q->spec);
    struct kcall c = kcall_backward(q, x, dy, dx, v);

    c.own = &f;
    if (q->spec.grad == QGRAD_PASS)
        pass_gradient(dy, dx, view_count(v));
    else
        run_blocks(&c, backward_block);
}

static void codes(const struct quantizer *q, const real *x, int32_t *code,
                  struct qview v)
{
    struct minifloat f = minifloat_format(&q->spec);
    struct kcall c = kcall_codes(q, x, code, v);

    c.own = &f;
    run_blocks(&c, codes_block);
}

static void describe(const struct quantizer *q, real v, struct str *out)
{
    struct minifloat f = minifloat_format(&q->spec);

    str_printf(out, "blocks of %d, s = 2^(floor(log2 max|x|) - %d)\n",
               q->spec.group, f.top);
    minifloat_kind_describe(q, v, out);
}

const struct quantizer_kind quantizer_mx = {
    .name = "mx",
    .help = "blocks of small floats with a shared power-of-two scale",
    .source = "OCP Microscaling Formats (MX) 1.0",
    .flags = QK_WEIGHTS | QK_ACTIVATIONS | QK_OWN_SCALE,
    .min_bits = 3,
    .max_bits = 16,
    .param = settings,
    .check = minifloat_check,
    .forward = forward,
    .backward = backward,
    .codes = codes,
    .surrogate = minifloat_kind_surrogate,
    .describe = describe,
    .example = "bits conv1 w=mx:4",
    .defaults = defaults,
    .span = minifloat_span,
};

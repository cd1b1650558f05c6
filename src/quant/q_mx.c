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

typedef void (*block_fn)(const struct kcall *c, struct minifloat_run *r,
                         int64_t at, int64_t n);

static void forward_block(const struct kcall *c, struct minifloat_run *r,
                          int64_t at, int64_t n)
{
    r->at = at;
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

static void put_range(struct quantizer *q, int64_t channel, real max)
{
    q->hi[channel] = q->scale[channel] * max;
    q->lo[channel] = -q->hi[channel];
}

/* A block is a channel of the view: outer runs of inner elements. */
static void block(const struct kcall *c, int64_t channel, block_fn fn)
{
    struct qview v = c->view;
    struct minifloat_run r = minifloat_run_of(c->cq, c->own, 0);
    real absmax = 0;

    for (int64_t o = 0; o < v.outer; o++) {
        real m = absmax_of(c->x + (o * v.channels + channel) * v.inner,
                           v.inner);

        absmax = m > absmax ? m : absmax;
    }
    r.scale = minifloat_shared_scale(r.format, absmax);
    for (int64_t o = 0; o < v.outer; o++)
        fn(c, &r, (o * v.channels + channel) * v.inner, v.inner);
    if (c->q && channel < c->q->channels) {
        c->q->scale[channel] = r.scale;
        put_range(c->q, channel, r.format->max);
    }
}

static void run_blocks(const struct kcall *c, block_fn fn)
{
#pragma omp parallel for schedule(static) \
    if (view_count(c->view) >= QUANT_PARALLEL)
    for (int64_t k = 0; k < c->view.channels; k++)
        block(c, k, fn);
}

#define ROWS 256              /* blocks a thread takes at once */

/* Blocks that lie one after the other, to the nearest value. */
static bool run_rows(const struct kcall *c)
{
    const struct minifloat_call *m = c->own;
    const struct minifloat *f = &m->format;
    struct quantizer *q = c->q;
    struct qview v = c->view;
    bool done = v.outer == 1 && q->spec.rounding == ROUND_HALF_EVEN;

#pragma omp parallel for schedule(static) reduction(&& : done) \
    if (done && view_count(v) >= QUANT_PARALLEL)
    for (int64_t k = 0; k < v.channels; k += ROWS) {
        struct qview part = {1, v.channels - k, v.inner};
        real *scale = k + ROWS <= q->channels ? q->scale + k : NULL;

        if (part.channels > ROWS)
            part.channels = ROWS;
        if (v.channels <= q->channels)
            scale = q->scale + k;
        done = done && minifloat_block_rows(f, c->x + k * v.inner,
                                            c->y + k * v.inner, scale, part);
    }
    for (int64_t k = 0; k < q->channels && done; k++)
        put_range(q, k, f->max);
    return done;
}

static void forward(struct quantizer *q, const real *x, real *y,
                    struct qview v, bool train)
{
    struct minifloat_call m = minifloat_call_of(q, train);
    struct kcall c = kcall_forward(q, x, y, v, train);

    c.own = &m;
    if (!run_rows(&c))
        run_blocks(&c, forward_block);
}

static void backward(struct quantizer *q, const real *x, const real *dy,
                     real *dx, struct qview v)
{
    struct minifloat_call m = minifloat_call_of(q, false);
    struct kcall c = kcall_backward(q, x, dy, dx, v);

    c.own = &m;
    if (q->spec.grad == QGRAD_PASS)
        pass_gradient(dy, dx, view_count(v));
    else
        run_blocks(&c, backward_block);
}

static void codes(const struct quantizer *q, const real *x, int32_t *code,
                  struct qview v)
{
    struct minifloat_call m = minifloat_call_of(q, false);
    struct kcall c = kcall_codes(q, x, code, v);

    c.own = &m;
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

/* Quantizer learnable: scale and zero point both learned.
 *
 * torch's _LearnableFakeQuantize. Forward: scale at least eps, zero point
 * clamp(rne(z)), then the arithmetic of FakeQuantize. Backward, per element,
 * q = rne(fma(x, 1/s, z)) with z = trunc(clamp(zero_point + 0.5)) per tensor
 * and the forward's per channel:
 * inside:  dx = dy, ds = dy * ((q - z) * s - x) / s * g, dz = 0
 * outside: dx = 0, ds = dy * (end - z) * g, dz = -dy * s * g
 * same=1 takes q and z of the forward, as torchao's autograd does.
 * g = 1 / sqrt(elements * highest code), or 1. A symmetric zero point has a
 * gradient too, but is set back to 0 before it is used.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/uniform.h"

enum { LEARNABLE_GSCALE, LEARNABLE_FORWARD };

static const struct qrow settings[] = {
    {"gscale", 1, 0, 1, "1: gradients times 1/sqrt(N*hi); 0: as they are"},
    {"same", 0, 0, 1, "1: backward rounds as forward (torchao); 0: torch's"},
    {0},
};

static const struct qrow learned[] = {
    {"scale", 1, 0, 1e30, "scale"},
    {"zero_point", 0, -1e10, 1e10, "zero point, rounded in the forward"},
    {0},
};

static enum status check(const struct qspec *s, struct err *e)
{
    if (s->float_zp || s->zp_before || s->clamp_first || s->divide)
        return err_set(e, STATUS_ARG, "learnable has torch's arithmetic: "
                       "reciprocal, zp=after, clamp=last");
    return STATUS_OK;
}

static real clamp(const struct quantizer *q, real z)
{
    return z < (real)q->lo_code   ? (real)q->lo_code
           : z > (real)q->hi_code ? (real)q->hi_code
                                  : z;
}

static void refresh(struct quantizer *q)
{
    real *scale = q->learned, *zero = q->learned + q->channels;
    real eps = (real)q->spec.eps;

    for (int64_t c = 0; c < q->channels; c++) {
        scale[c] = scale[c] > eps ? scale[c] : eps;
        if (q->spec.symmetric)
            zero[c] = 0;
        q->scale[c] = scale[c];
        q->zero_point[c] = clamp(q, real_rint(zero[c]));
        q->lo[c] = ((real)q->lo_code - q->zero_point[c]) * scale[c];
        q->hi[c] = ((real)q->hi_code - q->zero_point[c]) * scale[c];
    }
}

/* The observed range stays as it is in q->lo, q->hi. */
static void set_range(struct quantizer *q)
{
    uniform_set_range(q);
    for (int64_t c = 0; c < q->channels; c++) {
        q->learned[c] = q->scale[c];
        q->learned[q->channels + c] = q->zero_point[c];
    }
}

/* Zero point of the backward pass. */
static real back_zero(const struct quantizer *q, int64_t channel)
{
    real z = q->learned[q->channels + channel];

    if (q->channels > 1 || q->spec.grain != GRAIN_TENSOR ||
        q->spec.param[LEARNABLE_FORWARD] != 0)
        return q->zero_point[channel];
    return real_trunc(clamp(q, z + REAL(0.5)));
}

struct call {
    struct quantizer *q;
    const real *x, *dy;
    real *dx;
    double factor;
};

/* same: the code as in the forward; else torch's backward kernel. */
static inline __attribute__((always_inline)) void
terms(const struct grid *g, const struct call *at, real *term, int64_t n,
      bool same)
{
    const real *x = at->x, *dy = at->dy;
    real *dx = at->dx;
    real *ds = term, *dz = term + QUANT_BLOCK;
    real s = g->scale, inv = g->inv, z = g->zero_point;
    real lo = g->lo, hi = g->hi;

#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real d = dy[i];
        real c = same ? real_rint(x[i] * inv) + z
                      : real_rint(real_fma(x[i], inv, z));
        bool in = c >= lo && c <= hi;
        real end = (c > hi ? hi : lo) - z;
        real inside = real_fma(c - z, s, -x[i]) * inv;

        ds[i] = d * (in ? inside : end);
        dz[i] = in ? 0 : -d * s;
        dx[i] = d * (in ? REAL(1.0) : REAL(0.0));
    }
}

QUANT_CLONES static void block_torch(const struct grid *g,
                                     const struct call *at, real *term,
                                     int64_t n)
{
    terms(g, at, term, n, false);
}

QUANT_CLONES static void block_same(const struct grid *g,
                                    const struct call *at, real *term,
                                    int64_t n)
{
    terms(g, at, term, n, true);
}

static void backward_piece(void *ctx, int64_t channel, int64_t at,
                           int64_t n, double *sum)
{
    const struct call *c = ctx;
    bool same = c->q->spec.param[LEARNABLE_FORWARD] != 0;
    struct grid g;

    grid_init(&g, c->q, channel, false);
    g.zero_point = back_zero(c->q, channel);
    for (int64_t i = 0; i < n; i += QUANT_BLOCK) {
        real term[2 * QUANT_BLOCK];
        int64_t m = n - i < QUANT_BLOCK ? n - i : QUANT_BLOCK;
        struct call b = {.x = c->x + at + i, .dy = c->dy + at + i,
                         .dx = c->dx + at + i};

        (same ? block_same : block_torch)(&g, &b, term, m);
        sum[0] += block_sum(term, m);
        sum[1] += block_sum(term + QUANT_BLOCK, m);
    }
}

static void add_grads(void *ctx, int64_t channel, const double *sum)
{
    const struct call *c = ctx;

    if (!c->q->learn)
        return;
    c->q->grad[channel] += (real)(c->factor * sum[0]);
    c->q->grad[c->q->channels + channel] += (real)(c->factor * sum[1]);
}

static void backward(struct quantizer *q, const real *x, const real *dy,
                     real *dx, struct qview v)
{
    struct call c = {.q = q, .x = x, .dy = dy, .dx = dx, .factor = 1};
    double n = (double)view_count(v) * (double)q->hi_code;

    if (q->spec.param[LEARNABLE_GSCALE] != 0 && n > 0)
        c.factor = 1 / sqrt(n);
    view_sum(v, backward_piece, add_grads, &c);
}

static void describe(const struct quantizer *q, real v, struct str *out)
{
    str_printf(out, "learned: scale %.9g, zero point %.9g\n",
               (double)q->learned[0], (double)q->learned[q->channels]);
    uniform_describe(q, v, out);
}

const struct quantizer_kind quantizer_learnable = {
    .name = "learnable",
    .help = "learned scale and zero point, torch's arithmetic",
    .source = "torch.ao _LearnableFakeQuantize",
    .flags = QK_UNIFORM | QK_WEIGHTS | QK_ACTIVATIONS,
    .min_bits = 2,
    .max_bits = 16,
    .param = settings,
    .learned = learned,
    .check = check,
    .set_range = set_range,
    .refresh = refresh,
    .forward = uniform_forward,
    .backward = backward,
    .codes = uniform_codes,
    .describe = describe,
    .example = "bits conv1 w=learnable:4",
};

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
#include "quant/select.h"
#include "quant/uniform.h"

enum { LEARNABLE_GSCALE, LEARNABLE_SAME };

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

/* Whatever the order of operations was before, it is torch's now. */
static void defaults(struct qspec *s)
{
    s->divide = false;
    s->zp_before = false;
    s->clamp_first = false;
    s->float_zp = false;
}

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
        q->spec.param[LEARNABLE_SAME] != 0)
        return q->zero_point[channel];
    return real_trunc(clamp(q, z + REAL(0.5)));
}

struct call {
    struct quantizer *q;
    const real *x, *dy;
    real *dx;
    double factor;
};

/* What one element gives: its gradient, and what it adds to those of scale
 * and zero point. */
struct term {
    real dx, scale, zero;
};

/* same: the code is the forward's, else that of torch's backward kernel. */
SELECT_INLINE struct term backward_element(const struct grid *g, real x,
                                           real d, bool same)
{
    real s = g->scale, inv = g->inv, z = g->zero_point;
    real code = same ? real_rint(x * inv) + z
                     : real_rint(real_fma(x, inv, z));
    bool in = (code >= g->lo) & (code <= g->hi);
    real end = pick(code > g->hi, g->hi, g->lo) - z;

    return (struct term){
        pick(in, d, 0),
        d * pick(in, real_fma(code - z, s, -x) * inv, end),
        d * pick(in, 0, -s)};
}

SELECT_INLINE void backward_block(const struct grid *grid,
                                  const struct call *c, int64_t n,
                                  double *sum, bool same)
{
    const struct grid g = *grid;
    const real *x = c->x, *dy = c->dy;
    real *dx = c->dx, a[LANES] = {0}, b[LANES] = {0};
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES)
#pragma omp simd
        for (int l = 0; l < LANES; l++) {
            struct term t = backward_element(&g, x[i + l], dy[i + l], same);

            dx[i + l] = t.dx;
            a[l] += t.scale;
            b[l] += t.zero;
        }
    for (int l = 0; i < n; i++, l++) {
        struct term t = backward_element(&g, x[i], dy[i], same);

        dx[i] = t.dx;
        a[l] += t.scale;
        b[l] += t.zero;
    }
    sum[0] = lanes_sum(a, sum[0]);
    sum[1] = lanes_sum(b, sum[1]);
}

QUANT_CLONES_FMA static void backward_torch(const struct grid *g,
                                            const struct call *c, int64_t n,
                                            double *sum)
{
    backward_block(g, c, n, sum, false);
}

QUANT_CLONES_FMA static void backward_same(const struct grid *g,
                                           const struct call *c, int64_t n,
                                           double *sum)
{
    backward_block(g, c, n, sum, true);
}

static void backward_piece(void *ctx, int64_t channel, int64_t at,
                           int64_t n, double *sum)
{
    struct call c = *(const struct call *)ctx;
    bool same = c.q->spec.param[LEARNABLE_SAME] != 0;
    struct grid g;

    grid_init(&g, c.q, channel, false);
    g.zero_point = back_zero(c.q, channel);
    c.x += at;
    c.dy += at;
    c.dx += at;
    for (int64_t i = 0; i < n; i += QUANT_BLOCK) {
        int64_t m = n - i < QUANT_BLOCK ? n - i : QUANT_BLOCK;

        (same ? backward_same : backward_torch)(&g, &c, m, sum);
        c.x += QUANT_BLOCK;
        c.dy += QUANT_BLOCK;
        c.dx += QUANT_BLOCK;
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

/* Inside: x + s * r, r frozen; outside: s * (end - z). */
static real smooth(const struct quantizer *base, const struct quantizer *q,
                   int64_t c, real x0, real x)
{
    bool same = base->spec.param[LEARNABLE_SAME] != 0;
    real z = back_zero(base, c);
    real s = q->learned[c];
    real moved = q->learned[q->channels + c] -
                 base->learned[q->channels + c];
    real inv = REAL(1.0) / base->scale[c];
    real code = same ? real_rint(x0 * inv) + z
                     : real_rint(real_fma(x0, inv, z));

    if (code < (real)base->lo_code)
        return s * ((real)base->lo_code - z - moved);
    if (code > (real)base->hi_code)
        return s * ((real)base->hi_code - z - moved);
    return x + s * (code - z - x0 * inv);
}

static void surrogate(const struct quantizer *base,
                      const struct quantizer *q, const real *x0,
                      const real *x, real *y, struct qview v)
{
    for (int64_t i = 0; i < view_count(v); i++)
        y[i] = smooth(base, q, i / v.inner % v.channels, x0[i], x[i]);
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
    .surrogate = surrogate,
    .describe = describe,
    .example = "bits conv1 w=learnable:4",
    .defaults = defaults,
};

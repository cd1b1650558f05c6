/* Quantizer lsqplus: learned step size and offset.
 *
 * Bhalgat et al., LSQ+ (arXiv 2004.09576): r = (x - beta) / s,
 * q = rne(clip(r, n, p)), y = q * s + beta (eq. 3, 4); dx = dy where
 * n < r < p; ds = g * sum dy * (rne(r) - r inside, n or p at and beyond the
 * ends) (eq. 6); dbeta = g * sum of dy outside (eq. 7); g as LSQ's. The real
 * zero point is -beta / s.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "quant/observer.h"
#include "quant/select.h"
#include "quant/uniform.h"

enum { LSQPLUS_GSCALE };
enum { STEP, BETA };

static const struct qrow settings[] = {
    {"gscale", 1, 0, 1, "1: gradients times 1/sqrt(N*Qp); 0: as they are"},
    {0},
};

static const struct qrow learned[] = {
    {"step", 1, 0, 1e30, "step size: the scale"},
    {"beta", 0, -1e30, 1e30, "offset: the value of code 0"},
    {0},
};

static void defaults(struct qspec *s)
{
    s->symmetric = false;
    s->divide = true;
    s->clamp_first = true;
    s->observer = observer_kind_find("minmax");
}

static enum status check(const struct qspec *s, struct err *e)
{
    if (s->symmetric)
        return err_set(e, STATUS_ARG,
                       "lsqplus learns an offset: asym, or kind lsq");
    return STATUS_OK;
}

static real *row(const struct quantizer *q, int which)
{
    return q->learned + which * q->channels;
}

static void refresh(struct quantizer *q)
{
    real eps = (real)q->spec.eps;

    for (int64_t c = 0; c < q->channels; c++) {
        real s = row(q, STEP)[c] > eps ? row(q, STEP)[c] : eps;
        real beta = row(q, BETA)[c];

        row(q, STEP)[c] = s;
        q->scale[c] = s;
        q->zero_point[c] = -beta / s;
        q->lo[c] = (real)q->lo_code * s + beta;
        q->hi[c] = (real)q->hi_code * s + beta;
    }
}

/* The lowest code on the smallest value, the highest on the largest. */
static void set_range(struct quantizer *q)
{
    real steps = (real)(q->hi_code - q->lo_code);

    for (int64_t c = 0; c < q->channels; c++) {
        real s = (q->hi[c] - q->lo[c]) / steps;

        row(q, STEP)[c] = s;
        row(q, BETA)[c] = q->lo[c] - (real)q->lo_code * s;
    }
    refresh(q);
}

struct call {
    struct quantizer *q;
    const real *x, *dy;
    real *y, *dx;
    int32_t *code;
    double factor;
};

struct lsqplus_grid {
    real step, beta, lo, hi;
};

/* q = rne(clip((x - beta) / s, lo, hi)), NaN to lo */
SELECT_INLINE real code_of(const struct lsqplus_grid *g, real x)
{
    real r = (x - g->beta) / g->step;

    r = pick(r > g->lo, r, g->lo);
    return real_rint(pick(r < g->hi, r, g->hi));
}

static struct lsqplus_grid grid_of(const struct quantizer *q, int64_t channel)
{
    return (struct lsqplus_grid){q->scale[channel], row(q, BETA)[channel],
                                 (real)q->lo_code, (real)q->hi_code};
}

QUANT_CLONES static void forward_run(const struct lsqplus_grid *grid,
                                     const real *x, real *y, int64_t n)
{
    const struct lsqplus_grid g = *grid;

#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = code_of(&g, x[i]) * g.step + g.beta;
}

static void forward_piece(void *ctx, int64_t channel, int64_t at, int64_t n)
{
    const struct call *c = ctx;
    struct lsqplus_grid g = grid_of(c->q, channel);

    forward_run(&g, c->x + at, c->y + at, n);
}

static void forward(struct quantizer *q, const real *x, real *y,
                    struct qview v, bool train)
{
    struct call c = {.q = q, .x = x, .y = y};

    (void)train;
    view_each(v, forward_piece, &c);
}

/* dx = dy inside; sum: of the step's gradient, rne(r) - r inside and the end
 * outside, and of the offset's, dy outside. */
QUANT_CLONES static void backward_run(const struct lsqplus_grid *g,
                                      const struct call *c, int64_t n,
                                      double *sum)
{
    real s = g->step, beta = g->beta, lo = g->lo, hi = g->hi;
    real a[LANES] = {0}, b[LANES] = {0};
    const real *x = c->x, *dy = c->dy;
    real *dx = c->dx;
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES)
#pragma omp simd
        for (int l = 0; l < LANES; l++) {
            real d = dy[i + l], r = (x[i + l] - beta) / s;
            bool in = (r > lo) & (r < hi);
            real end = pick(r <= lo, lo, hi);

            a[l] += d * pick(in, real_rint(r) - r, end);
            b[l] += pick(in, 0, d);
            dx[i + l] = pick(in, d, 0);
        }
    for (int l = 0; i < n; i++, l++) {
        real d = dy[i], r = (x[i] - beta) / s;
        bool in = (r > lo) & (r < hi);

        a[l] += d * (in ? real_rint(r) - r : r <= lo ? lo : hi);
        b[l] += in ? 0 : d;
        dx[i] = in ? d : 0;
    }
    sum[STEP] = lanes_sum(a, sum[STEP]);
    sum[BETA] = lanes_sum(b, sum[BETA]);
}

static void backward_piece(void *ctx, int64_t channel, int64_t at,
                           int64_t n, double *sum)
{
    const struct call *c = ctx;
    struct lsqplus_grid g = grid_of(c->q, channel);

    for (int64_t i = at; i < at + n; i += QUANT_BLOCK) {
        const struct call part = {
            .x = c->x + i, .dy = c->dy + i, .dx = c->dx + i};
        int64_t left = at + n - i;

        backward_run(&g, &part, left < QUANT_BLOCK ? left : QUANT_BLOCK, sum);
    }
}

static void add_grads(void *ctx, int64_t channel, const double *sum)
{
    const struct call *c = ctx;

    for (int k = STEP; c->q->learn && k <= BETA; k++)
        c->q->grad[k * c->q->channels + channel] +=
            (real)(c->factor * sum[k]);
}

static void backward(struct quantizer *q, const real *x, const real *dy,
                     real *dx, struct qview v)
{
    struct call c = {.q = q, .x = x, .dy = dy, .dx = dx, .factor = 1};

    if (q->spec.param[LSQPLUS_GSCALE] != 0)
        c.factor = uniform_grad_scale(q, v);
    view_sum(v, backward_piece, add_grads, &c);
}

static void codes(const struct quantizer *q, const real *x, int32_t *code,
                  struct qview v)
{
    for (int64_t i = 0; i < view_count(v); i++) {
        struct lsqplus_grid g = grid_of(q, i / v.inner % v.channels);

        code[i] = (int32_t)code_of(&g, x[i]);
    }
}

/* Inside: x + s * (rne(r) - r) with the residual frozen; outside: the end. */
static void surrogate(const struct quantizer *base,
                      const struct quantizer *q, const real *x0,
                      const real *x, real *y, struct qview v)
{
    real lo = (real)base->lo_code, hi = (real)base->hi_code;

    for (int64_t i = 0; i < view_count(v); i++) {
        int64_t c = i / v.inner % v.channels;
        real r = (x0[i] - row(base, BETA)[c]) / base->scale[c];
        real s = row(q, STEP)[c], beta = row(q, BETA)[c];

        if (r <= lo)
            y[i] = lo * s + beta;
        else if (r >= hi)
            y[i] = hi * s + beta;
        else
            y[i] = x[i] + s * (real_rint(r) - r);
    }
}

static void describe(const struct quantizer *q, real v, struct str *out)
{
    struct lsqplus_grid g = grid_of(q, 0);
    real s = g.step, beta = g.beta, r = (v - beta) / s, k = code_of(&g, v);

    str_printf(out, "learned: s = %.9g, beta = %.9g, codes %lld to %lld\n",
               (double)s, (double)beta, (long long)q->lo_code,
               (long long)q->hi_code);
    str_printf(out, "ratio = (x - beta) / s = (%.9g - %.9g) / %.9g = %.9g\n",
               (double)v, (double)beta, (double)s, (double)r);
    str_printf(out, "code = half_even(clamp(ratio)) = %.9g\n", (double)k);
    str_printf(out, "y = code * s + beta = %.9g\n",
               (double)(k * s + beta));
    str_printf(out, "gradient: dx = %s\n",
               r > (real)q->lo_code && r < (real)q->hi_code ? "dy" : "0");
}

const struct quantizer_kind quantizer_lsqplus = {
    .name = "lsqplus",
    .help = "learned step size and offset",
    .source = "Bhalgat et al. 2020, arXiv 2004.09576",
    .flags = QK_UNIFORM | QK_WEIGHTS | QK_ACTIVATIONS,
    .min_bits = 1,
    .max_bits = 16,
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
    .example = "bits conv1 a=lsqplus:4,unsigned",
    .defaults = defaults,
};

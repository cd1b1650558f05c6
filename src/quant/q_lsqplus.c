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

/* r = (x - beta) / s */
QUANT_CLONES static void ratios(real s, real beta, const real *x, real *r,
                                int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        r[i] = (x[i] - beta) / s;
}

/* q = rne(clip(r, lo, hi)), NaN to lo */
QUANT_CLONES static void round_codes(real lo, real hi, real *r, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real v = r[i] > lo ? r[i] : lo;

        v = v < hi ? v : hi;
        r[i] = real_rint(v);
    }
}

QUANT_CLONES static void values(real s, real beta, real *v, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        v[i] = v[i] * s + beta;
}

/* rne(r) - r, and the end on r's side. */
QUANT_CLONES static void residuals(real lo, real hi, const real *r,
                                   real *term, real *end, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        term[i] = real_rint(r[i]) - r[i];
        end[i] = r[i] <= lo ? lo : hi;
    }
}

static void codes_block(const struct quantizer *q, int64_t channel,
                        const real *x, real *code, int64_t n)
{
    ratios(q->scale[channel], row(q, BETA)[channel], x, code, n);
    round_codes((real)q->lo_code, (real)q->hi_code, code, n);
}

static void forward_piece(void *ctx, int64_t channel, int64_t at, int64_t n)
{
    const struct call *c = ctx;

    for (int64_t i = 0; i < n; i += QUANT_BLOCK) {
        real v[QUANT_BLOCK];
        int64_t m = n - i < QUANT_BLOCK ? n - i : QUANT_BLOCK;

        codes_block(c->q, channel, c->x + at + i, v, m);
        values(c->q->scale[channel], row(c->q, BETA)[channel], v, m);
        memcpy(c->y + at + i, v, (size_t)m * sizeof v[0]);
    }
}

static void forward(struct quantizer *q, const real *x, real *y,
                    struct qview v, bool train)
{
    struct call c = {.q = q, .x = x, .y = y};

    (void)train;
    view_each(v, forward_piece, &c);
}

static void backward_piece(void *ctx, int64_t channel, int64_t at,
                           int64_t n, double *sum)
{
    const struct call *c = ctx;
    const struct quantizer *q = c->q;
    real lo = (real)q->lo_code, hi = (real)q->hi_code;

    for (int64_t i = 0; i < n; i += QUANT_BLOCK) {
        real r[QUANT_BLOCK], term[QUANT_BLOCK], end[QUANT_BLOCK];
        int64_t m = n - i < QUANT_BLOCK ? n - i : QUANT_BLOCK;
        const real *dy = c->dy + at + i;

        ratios(q->scale[channel], row(q, BETA)[channel], c->x + at + i, r,
               m);
        residuals(lo, hi, r, term, end, m);
        block_between(r, lo, hi, r, m);
        block_choose(r, term, end, term, m);
        sum[STEP] += block_dot(term, dy, m);
        sum[BETA] += block_sum(dy, m) - block_dot(r, dy, m);
        block_choose(r, dy, NULL, c->dx + at + i, m);
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
        real k;

        codes_block(q, i / v.inner % v.channels, x + i, &k, 1);
        code[i] = (int32_t)k;
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
    real s = q->scale[0], beta = row(q, BETA)[0];
    real r, k;

    ratios(s, beta, &v, &r, 1);
    codes_block(q, 0, &v, &k, 1);
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

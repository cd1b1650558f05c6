/* Scales of QKeras's binary and ternary quantizers.
 *
 * Automatic alpha of q: mean(x q) / (mean(q q) + eps) per channel, 'auto_po2'
 * rounded to a power of two; an array of rank 1 has one alpha per element.
 * Ternary: s = 2 max|x| / 3 (a power of two), then number_of_unrolls times
 * q = sign(x) where |rne(x / s)| >= 1 (half or more of s), s = alpha of q; the
 * last q is kept. SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/qkeras_sign.h"

#include <math.h>
#include <string.h>

#include "quant/vmath.h"

static bool is_auto(const struct qspec *s)
{
    return spec_int(s, SIGN_SCALING) >= SCALING_AUTO;
}

static bool is_po2(const struct qspec *s)
{
    return spec_int(s, SIGN_SCALING) == SCALING_AUTO_PO2;
}

enum status qkeras_sign_check(const struct qspec *s, struct err *e)
{
    if (s->narrow || !s->is_signed)
        return err_set(e, STATUS_ARG, "%s does not go with %s",
                       s->kind->name, s->narrow ? "narrow" : "unsigned");
    if (s->rounding == ROUND_STOCHASTIC && (s->kind->flags & QK_STOCHASTIC))
        return err_set(e, STATUS_ARG, "%s draws in its own way, not by "
                       "round=stochastic", s->kind->name);
    return qkeras_check(s, SIGN_SCALING, e);
}

void qkeras_sign_set_range(struct quantizer *q)
{
    for (int64_t c = 0; c < q->channels; c++)
        qkeras_set_step(q, c, qkeras_alpha(&q->spec, SIGN_SCALING));
}

void qkeras_sign_on_weights(struct qspec *s)
{
    qkeras_on_weights(s, SIGN_SCALING);
}

void qkeras_sign_head(const struct quantizer *q, struct str *out)
{
    str_printf(out, "alpha = %.9g\n", (double)q->scale[0]);
}

void qkeras_sign_base(const struct qspec *s, const real *x, real *u,
                      int64_t n)
{
    if (spec_int(s, SIGN_SCALING) == SCALING_NONE)
        tanh_block(x, u, n);
    else
        memcpy(u, x, (size_t)n * sizeof *u);
}

QUANT_CLONES void qkeras_sign_values(real high, real low, const real *x,
                                     real *xq, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        xq[i] = pick(x[i] >= 0, high, low);
}

void qkeras_sign_slopes(const struct qspec *s, const real *x, real *slope,
                        int64_t n)
{
    if (spec_int(s, SIGN_SCALING) == SCALING_NONE)
        sech2_block(x, slope, n);
}

/* Half the argument: sigmoid(t) = 1/2 + tanh(t / 2) / 2, hard_sigmoid(t) =
 * 1/2 + t / 2. */
QUANT_CLONES static void half_run(real k, real b, const real *x, real *p,
                                  int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        p[i] = REAL(0.5) * (k * x[i] + b);
}

/* Draws are from 0 to below 1: a chance that QKeras clips to 1 always hits
 * without that, one that it clips to 0 never. */
QUANT_CLONES static void hit_run(const struct qkeras_chance *c,
                                 const real *draw, real *hit, int64_t n)
{
    real factor = c->smooth ? REAL(0.5) : 1, high = c->high, low = c->low;

#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        hit[i] = pick(factor * hit[i] + REAL(0.5) >= draw[i], high, low);
}

void qkeras_draw(const struct qkeras_run *r, const struct qkeras_chance *c,
                 uint32_t salt, const real *x, real *hit, int64_t n)
{
    QUANT_ALIGNED real draw[QUANT_BLOCK];

    noise_block(r->noise, r->at, salt, draw, n);
    half_run(c->k, c->b, x, hit, n);
    if (c->smooth)
        tanh_block(hit, hit, n);
    hit_run(c, draw, hit, n);
}

/* A pass over the data with a value q per element. */
struct pass {
    struct quantizer *q;
    const real *x;
    int64_t n;                /* elements per channel */
    bool zero_one;
};

static real alpha_of(const struct pass *p, const double *sum)
{
    real s = qkeras_least_squares(sum, p->n);

    return is_po2(&p->q->spec) ? qkeras_po2(s) : s;
}

QUANT_CLONES static void square_run(const real *x, real *xx, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        xx[i] = x[i] * x[i];
}

QUANT_CLONES static void sign_run(real low, const real *x, real *xq,
                                  real *qq, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real q = pick(x[i] >= 0, 1, low);

        xq[i] = x[i] * q;
        qq[i] = q * q;
    }
}

static void sign_piece(void *ctx, int64_t channel, int64_t at, int64_t n,
                       double *sum)
{
    const struct pass *p = ctx;

    (void)channel;
    for (int64_t i = 0; i < n; i += QUANT_BLOCK) {
        QUANT_ALIGNED real xq[QUANT_BLOCK], qq[QUANT_BLOCK];
        int64_t k = n - i < QUANT_BLOCK ? n - i : QUANT_BLOCK;

        sign_run(p->zero_one ? 0 : -1, p->x + at + i, xq, qq, k);
        sum[0] += block_sum(xq, k);
        sum[1] += block_sum(qq, k);
    }
}

static void sign_done(void *ctx, int64_t channel, const double *sum)
{
    const struct pass *p = ctx;

    qkeras_set_step(p->q, channel, alpha_of(p, sum));
}

void qkeras_sign_scales(struct quantizer *q, const real *x, struct qview v,
                        bool zero_one)
{
    struct pass p = {q, x, v.outer * v.inner, zero_one};

    if (p.n > 0)
        view_sum(v, sign_piece, sign_done, &p);
}

static void moments_piece(void *ctx, int64_t channel, int64_t at, int64_t n,
                          double *sum)
{
    const struct pass *p = ctx;
    const real *x = p->x + at;

    (void)channel;
    sum[0] += block_sum(x, n);
    for (int64_t i = 0; i < n; i += QUANT_BLOCK) {
        QUANT_ALIGNED real xx[QUANT_BLOCK];
        int64_t k = n - i < QUANT_BLOCK ? n - i : QUANT_BLOCK;

        square_run(x + i, xx, k);
        sum[1] += block_sum(xx, k);
    }
}

static void moments_done(void *ctx, int64_t channel, const double *sum)
{
    const struct pass *p = ctx;
    double n = (double)p->n, mean = sum[0] / n;
    double variance = sum[1] / n - mean * mean;

    qkeras_before(p->q)[channel] =
        (real)sqrt(variance > 0 ? variance : 0) + QKERAS_EPS;
}

void qkeras_sign_deviations(struct quantizer *q, const real *x,
                            struct qview v)
{
    struct pass p = {q, x, v.outer * v.inner, false};
    struct qview all = {1, 1, v.channels};

    if (!is_auto(&q->spec)) {
        for (int64_t c = 0; c < q->channels; c++)
            qkeras_before(q)[c] = 1;
    } else if (qkeras_is_vector(v)) {
        p.n = v.channels;
        view_sum(all, moments_piece, moments_done, &p);
        for (int64_t c = 1; c < v.channels; c++)
            qkeras_before(q)[c] = qkeras_before(q)[0];
    } else if (p.n > 0) {
        view_sum(v, moments_piece, moments_done, &p);
    }
}

enum status qkeras_ternary_check(const struct qspec *s, struct err *e)
{
    if (is_auto(s) && s->param[TERNARY_THRESHOLD] >= 0)
        return err_set(e, STATUS_ARG, "%s: an automatic alpha finds its "
                       "threshold: None", s->kind->name);
    if (!is_auto(s) && s->rounding == ROUND_STOCHASTIC)
        return err_set(e, STATUS_ARG, "%s: stochastic rounding needs alpha "
                       "'auto' or 'auto_po2'", s->kind->name);
    return qkeras_sign_check(s, e);
}

void qkeras_ternary_span(const struct qspec *s, int64_t *lo, int64_t *hi)
{
    (void)s;
    *lo = -1;
    *hi = 1;
}

/* |x / s| rounds to one or more; nothing does when s is 0. */
static inline __attribute__((always_inline)) real ternary_code(real x, real s)
{
    real v = real_rint(x / s);
    bool far = (s > 0) & (real_fabs(v) >= 1);

    return pick(far, pick(x > 0, 1, -1), 0);
}

QUANT_CLONES static void ternary_run(real s, const real *x, real *xq,
                                     real *qq, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real q = ternary_code(x[i], s);

        xq[i] = x[i] * q;
        qq[i] = q * q;
    }
}

static void ternary_piece(void *ctx, int64_t channel, int64_t at, int64_t n,
                          double *sum)
{
    const struct pass *p = ctx;
    real s = qkeras_before(p->q)[channel];

    for (int64_t i = 0; i < n; i += QUANT_BLOCK) {
        QUANT_ALIGNED real xq[QUANT_BLOCK], qq[QUANT_BLOCK];
        int64_t k = n - i < QUANT_BLOCK ? n - i : QUANT_BLOCK;

        ternary_run(s, p->x + at + i, xq, qq, k);
        sum[0] += block_sum(xq, k);
        sum[1] += block_sum(qq, k);
    }
}

static void ternary_done(void *ctx, int64_t channel, const double *sum)
{
    const struct pass *p = ctx;

    p->q->scale[channel] = alpha_of(p, sum);
}

void qkeras_ternary_prepare(struct quantizer *q, const real *x,
                            struct qview v, bool train)
{
    struct pass p = {q, x, v.outer * v.inner, false};
    real *before = qkeras_before(q), most = 0;

    (void)train;
    if (!is_auto(&q->spec) || p.n == 0)
        return;
    view_absmax(x, v, before);
    for (int64_t c = 0; c < v.channels; c++)
        most = before[c] > most ? before[c] : most;
    for (int64_t c = 0; c < v.channels; c++) {
        real s = 2 * (qkeras_is_vector(v) ? most : before[c]) / 3;

        q->scale[c] = is_po2(&q->spec) ? qkeras_po2(s) : s;
    }
    for (int i = 0; i < spec_int(&q->spec, TERNARY_UNROLLS); i++) {
        for (int64_t c = 0; c < v.channels; c++)
            before[c] = q->scale[c];
        view_sum(v, ternary_piece, ternary_done, &p);
    }
    for (int64_t c = 0; c < v.channels; c++)
        qkeras_set_step(q, c, q->scale[c]);
}

/* Training with stochastic rounding draws multiples of s / 3; half of s or
 * more counts. */
static void drawn_codes(const struct qkeras_run *r, const real *x, real *xq,
                        int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        xq[i] = r->before > 0 ? x[i] / r->before : 0;
    qkeras_round(r, xq, n, REAL(1.0) / 3);
    for (int64_t i = 0; i < n; i++)
        xq[i] = real_fabs(xq[i]) >= REAL(0.5)
                    ? (x[i] > 0 ? r->step : x[i] < 0 ? -r->step : 0)
                    : 0;
}

/* Automatic: limit is the scale that made the codes; else the threshold. */
QUANT_CLONES static void ternary_values(bool automatic, real limit, real step,
                                        const real *x, real *xq, int64_t n)
{
    if (automatic) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            xq[i] = step * ternary_code(x[i], limit);
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            real sign = pick(x[i] > 0, step, pick(x[i] < 0, -step, 0));

            xq[i] = pick(real_fabs(x[i]) >= limit, sign, 0);
        }
    }
}

void qkeras_ternary_values(const struct qkeras_run *r, const real *x,
                           real *xq, int64_t n)
{
    const struct qspec *s = &r->q->spec;
    real threshold = s->param[TERNARY_THRESHOLD] >= 0
                         ? spec_real(s, TERNARY_THRESHOLD)
                         : REAL(0.33);

    if (is_auto(s) && r->noise->on && s->rounding == ROUND_STOCHASTIC)
        drawn_codes(r, x, xq, n);
    else
        ternary_values(is_auto(s), is_auto(s) ? r->before : threshold,
                       r->step, x, xq, n);
}

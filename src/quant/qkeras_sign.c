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

QUANT_CLONES static void whole_run(real high, real low, const real *x,
                                   real *y, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = pick(x[i] == x[i], pick(x[i] >= 0, high, low), x[i]);
}

bool qkeras_sign_whole(const struct qkeras_run *r, real low, const real *x,
                       real *y, int64_t n)
{
    if (spec_int(&r->q->spec, SIGN_SCALING) != SCALING_NONE || r->noise->on)
        return false;
    whole_run(r->step, low, x, y, n);
    return true;
}

QUANT_CLONES static void tanh_back(real gain, const real *x, const real *dy,
                                   real *dx, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        dx[i] = gain * (dy[i] * sech2_of(x[i]));
}

void qkeras_sign_back(const struct qkeras_run *r, const real *x,
                      const real *dy, real *dx, int64_t n)
{
    if (spec_int(&r->q->spec, SIGN_SCALING) == SCALING_NONE)
        tanh_back(r->gain, x, dy, dx, n);
    else
        pass_gradient(dy, dx, n);
}

/* tanh(h) as over / under, for comparisons that need no division: within
 * 1.4e-6, not below 1 from 7.2 on. A chance so is within 7e-7, which would
 * take some 10^12 draws to notice; tanh_of is closer, but costs more. */
struct ratio {
    real over, under;
};

SELECT_INLINE struct ratio near_tanh(real h)
{
    real b = within(h, REAL(-7.2), REAL(7.2)), q = b * b, qq = q * q;
    real over = (REAL(9.99994449e-01) + REAL(1.22723259e-01) * q) +
                qq * (REAL(2.25073021e-03) + REAL(3.80936846e-06) * q);
    real under = (1 + REAL(4.56037921e-01) * q) +
                 qq * (REAL(2.09486122e-02) + REAL(1.39533376e-04) * q);

    return (struct ratio){b * over, under};
}

/* Whether 1/2 + h reaches a draw, h = tanh(t / 2) / 2 of sigmoid(t) or t / 2
 * of hard_sigmoid(t). Draws are from 0 to below 1, here less 1/2: a chance
 * that QKeras clips to 1 always hits without that, one that it clips to 0
 * never. smooth is a constant at each call. */
SELECT_INLINE bool reaches(real half, real centred, bool smooth)
{
    struct ratio t = {2 * half, 1};

    if (smooth)
        t = near_tanh(half);
    return t.over >= (centred + centred) * t.under;
}

SELECT_INLINE real hit_of(const struct qkeras_chance *half, real x,
                          uint32_t place, bool smooth)
{
    bool hit = reaches(half->k * x + half->b, noise_centred(place), smooth);

    return pick(hit, half->high, half->low);
}

static struct qkeras_chance half_of(struct qkeras_chance c)
{
    c.k *= REAL(0.5);
    c.b *= REAL(0.5);
    return c;
}

QUANT_CLONES static void hit_run(struct qkeras_chance c, struct draws d,
                                 const real *x, real *hit, uint32_t n)
{
    uint32_t at = d.first, by = d.by;

    if (c.smooth) {
#pragma omp simd linear(at : by)
        for (uint32_t i = 0; i < n; i++) {
            hit[i] = hit_of(&c, x[i], at, true);
            at += by;
        }
    } else {
#pragma omp simd linear(at : by)
        for (uint32_t i = 0; i < n; i++) {
            hit[i] = hit_of(&c, x[i], at, false);
            at += by;
        }
    }
}

void qkeras_draw(const struct qkeras_run *r, const struct qkeras_chance *c,
                 uint32_t salt, const real *x, real *hit, int64_t n)
{
    hit_run(half_of(*c), noise_draws(r->noise, r->at, salt), x, hit,
            (uint32_t)n);
}

QUANT_CLONES static void mix_hit_run(struct qkeras_chance c, struct draws d,
                                     const real *x, real *y, uint32_t n)
{
    uint32_t at = d.first, by = d.by;

    if (c.smooth) {
#pragma omp simd linear(at : by)
        for (uint32_t i = 0; i < n; i++) {
            y[i] = x[i] + (hit_of(&c, x[i], at, true) - x[i]);
            at += by;
        }
    } else {
#pragma omp simd linear(at : by)
        for (uint32_t i = 0; i < n; i++) {
            y[i] = x[i] + (hit_of(&c, x[i], at, false) - x[i]);
            at += by;
        }
    }
}

void qkeras_draw_whole(const struct qkeras_run *r,
                       const struct qkeras_chance *c, const real *x, real *y,
                       int64_t n)
{
    mix_hit_run(half_of(*c), noise_draws(r->noise, r->at, 0), x, y,
                (uint32_t)n);
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

SELECT_INLINE real far_value(real limit, real step, real x)
{
    real sign = pick(x > 0, step, pick(x < 0, -step, 0));

    return pick(real_fabs(x) >= limit, sign, 0);
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
        for (int64_t i = 0; i < n; i++)
            xq[i] = far_value(limit, step, x[i]);
    }
}

QUANT_CLONES static void ternary_whole(real limit, real step, const real *x,
                                       real *y, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = pick(x[i] == x[i], far_value(limit, step, x[i]), x[i]);
}

static real threshold_of(const struct qspec *s)
{
    return s->param[TERNARY_THRESHOLD] >= 0 ? spec_real(s, TERNARY_THRESHOLD)
                                            : REAL(0.33);
}

bool qkeras_ternary_whole(const struct qkeras_run *r, const real *x, real *y,
                          int64_t n)
{
    const struct qspec *s = &r->q->spec;

    if (spec_int(s, SIGN_SCALING) != SCALING_NONE)
        return false;
    ternary_whole(threshold_of(s), r->step, x, y, n);
    return true;
}

void qkeras_ternary_values(const struct qkeras_run *r, const real *x,
                           real *xq, int64_t n)
{
    const struct qspec *s = &r->q->spec;

    if (is_auto(s) && r->noise->on && s->rounding == ROUND_STOCHASTIC)
        drawn_codes(r, x, xq, n);
    else
        ternary_values(is_auto(s), is_auto(s) ? r->before : threshold_of(s),
                       r->step, x, xq, n);
}

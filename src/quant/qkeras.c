/* QKeras quantizers: the loops around their element functions.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/qkeras.h"

#include <float.h>
#include <math.h>

#ifdef REAL_IS_DOUBLE
#define REAL_SMALLEST DBL_MIN
#define LN2 0.6931471805599453
#else
#define REAL_SMALLEST FLT_MIN
#define LN2 0.6931472f
#endif

/* The kind and its draws, as a call's own part. */
struct qkeras_pass {
    const struct qkeras_parts *parts;
    const struct noise *noise;
};

static real noise_of(const struct qkeras_parts *m, const struct qspec *s)
{
    return m->noise_row < 0 ? 1 : spec_real(s, m->noise_row);
}

static bool ste_of(const struct qkeras_parts *m, const struct qspec *s)
{
    return m->noise_row < 0 || spec_int(s, m->noise_row + 1);
}

static struct qkeras_run run_of(const struct kcall *c, int64_t channel)
{
    static const struct noise off = {.on = false};
    const struct qkeras_pass *p = c->own;
    const struct qkeras_parts *m = p->parts;
    struct quantizer *q = c->q;

    return (struct qkeras_run){
        .q = q,
        .channel = channel,
        .step = q->scale[channel] > REAL_SMALLEST ? q->scale[channel] : 0,
        .before = m->prepare ? qkeras_before(q)[channel] : 0,
        .noise = p->noise ? p->noise : &off,
        .gain = ste_of(m, &q->spec) ? 1 : 1 - noise_of(m, &q->spec),
    };
}

static struct noise noise_of_pass(const struct qkeras_parts *m,
                                  const struct quantizer *q, bool train)
{
    bool draws = m->always_random ||
                 (train &&
                  (m->random || q->spec.rounding == ROUND_STOCHASTIC));

    return noise_new(draws ? q->rng : NULL);
}

QUANT_CLONES static void mix(real f, bool ste, const real *xq, const real *u,
                             real *y, int64_t n)
{
    real rest = 1 - f;

    if (ste) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            y[i] = u[i] + f * (xq[i] - u[i]);
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            y[i] = rest * u[i] + f * xq[i];
    }
}

static void forward_piece(void *ctx, int64_t channel, int64_t at, int64_t n)
{
    const struct kcall *c = ctx;
    const struct qkeras_pass *p = c->own;
    const struct qkeras_parts *m = p->parts;
    const struct qspec *s = &c->q->spec;
    struct qkeras_run r = run_of(c, channel);
    bool full = m->whole && ste_of(m, s) && noise_of(m, s) == 1;

    r.at = at;
    if (full && m->whole(&r, c->x + at, c->y + at, n))
        return;
    for (int64_t i = 0; i < n; i += QUANT_BLOCK) {
        QUANT_ALIGNED real xq[QUANT_BLOCK], u[QUANT_BLOCK];
        int64_t k = n - i < QUANT_BLOCK ? n - i : QUANT_BLOCK;

        r.at = at + i;
        m->values(&r, c->x + at + i, xq, u, k);
        mix(noise_of(m, s), ste_of(m, s), xq, u, c->y + at + i, k);
    }
}

void qkeras_forward(struct quantizer *q, const real *x, real *y,
                    struct qview v, bool train)
{
    const struct qkeras_parts *m = q->spec.kind->qkeras;
    struct noise z = noise_of_pass(m, q, train);
    struct qkeras_pass p = {m, &z};
    struct kcall c = kcall_forward(q, x, y, v, train);

    c.own = &p;
    if (m->prepare)
        m->prepare(q, x, v, train);
    view_each(v, forward_piece, &c);
}

QUANT_CLONES static void scale_gradient(real gain, const real *dy, real *dx,
                                        int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        dx[i] = gain * dy[i];
}

static void back_block(const struct qkeras_run *r, const real *x,
                       const real *dy, real *dx, int64_t n)
{
    const struct qkeras_parts *m = r->q->spec.kind->qkeras;

    if (m->back)
        m->back(r, x, dy, dx, n);
    else
        scale_gradient(r->gain, dy, dx, n);
}

static void backward_piece(void *ctx, int64_t channel, int64_t at, int64_t n)
{
    const struct kcall *c = ctx;
    struct qkeras_run r = run_of(c, channel);

    back_block(&r, c->x + at, c->dy + at, c->dx + at, n);
}

void qkeras_backward(struct quantizer *q, const real *x, const real *dy,
                     real *dx, struct qview v)
{
    const struct qkeras_parts *m = q->spec.kind->qkeras;
    struct qkeras_pass p = {m, NULL};
    struct kcall c = kcall_backward(q, x, dy, dx, v);

    c.own = &p;
    if (!m->back && ste_of(m, &q->spec))
        pass_gradient(dy, dx, view_count(v));
    else
        view_each(v, backward_piece, &c);
}

void qkeras_surrogate(const struct quantizer *base,
                      const struct quantizer *q, const real *x0,
                      const real *x, real *y, struct qview v)
{
    (void)q;
    const struct qkeras_parts *m = base->spec.kind->qkeras;
    struct quantizer copy = *base;
    struct qkeras_pass p = {m, NULL};
    struct kcall c = kcall_forward(&copy, x, y, v, false);

    c.own = &p;
    for (int64_t i = 0; i < view_count(v); i++) {
        struct qkeras_run r = run_of(&c, i / v.inner % v.channels);
        real xq, u;

        if (m->smooth)
            u = m->smooth(&r, x0[i], x[i]);
        else
            m->values(&r, x + i, &xq, &u, 1);
        y[i] = r.gain * u;
    }
}

static void codes_piece(void *ctx, int64_t channel, int64_t at, int64_t n)
{
    const struct kcall *c = ctx;
    const struct qkeras_pass *p = c->own;
    const struct qkeras_parts *m = p->parts;
    struct qkeras_run r = run_of(c, channel);

    for (int64_t i = 0; i < n; i += QUANT_BLOCK) {
        QUANT_ALIGNED real xq[QUANT_BLOCK], u[QUANT_BLOCK];
        int64_t k = n - i < QUANT_BLOCK ? n - i : QUANT_BLOCK;

        m->values(&r, c->x + at + i, xq, u, k);
        for (int64_t j = 0; j < k; j++)
            c->code[at + i + j] =
                r.step > 0 ? (int32_t)real_rint(xq[j] / r.step) : 0;
    }
}

void qkeras_codes(const struct quantizer *q, const real *x, int32_t *code,
                  struct qview v)
{
    const struct qkeras_parts *m = q->spec.kind->qkeras;
    /* Scales found from x land in the arrays that both copies share. */
    struct quantizer found = *q;
    struct qkeras_pass p = {m, NULL};
    struct kcall c = kcall_codes(q, x, code, v);

    c.q = &found;
    c.own = &p;
    if (m->prepare)
        m->prepare(&found, x, v, false);
    view_each(v, codes_piece, &c);
}

void qkeras_describe(const struct quantizer *q, real v, struct str *out)
{
    const struct qkeras_parts *m = q->spec.kind->qkeras;
    struct quantizer copy = *q;
    struct kcall c = kcall_forward(&copy, &v, NULL, (struct qview){1, 1, 1},
                                   false);
    struct qkeras_pass p = {m, NULL};
    struct qkeras_run r;
    real xq, u, one = 1, slope, y;

    c.own = &p;
    r = run_of(&c, 0);
    m->values(&r, &v, &xq, &u, 1);
    mix(noise_of(m, &q->spec), ste_of(m, &q->spec), &xq, &u, &y, 1);
    back_block(&r, &v, &one, &slope, 1);
    m->head(q, out);
    str_printf(out, "u = %.9g, quantized %.9g\n", (double)u, (double)xq);
    str_printf(out, "y = u + %.9g * (quantized - u) = %.9g\n",
               (double)noise_of(m, &q->spec), (double)y);
    str_printf(out, "gradient: dx = %.9g * dy\n", (double)slope);
}

/* tf.floor where the fraction is below the draw, else tf.ceil. */
QUANT_CLONES static void draw_run(const real *draw, real k, real *v,
                                  int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real t = v[i] * k, low = real_floor(t);

        v[i] = pick(t - low < draw[i], low, real_ceil(t)) / k;
    }
}

static void round_salted(const struct qkeras_run *r, uint32_t salt, real *v,
                         int64_t n, real precision)
{
    QUANT_ALIGNED real draw[QUANT_BLOCK];

    if (!r->noise->on || r->q->spec.rounding != ROUND_STOCHASTIC) {
        round_block(ROUND_HALF_EVEN, NULL, v, n);
        return;
    }
    noise_block(r->noise, r->at, salt, draw, n);
    draw_run(draw, 1 / precision, v, n);
}

void qkeras_round(const struct qkeras_run *r, real *v, int64_t n,
                  real precision)
{
    round_salted(r, 0, v, n, precision);
}

void qkeras_round_again(const struct qkeras_run *r, real *v, int64_t n,
                        real precision)
{
    round_salted(r, 1, v, n, precision);
}

QUANT_CLONES void qkeras_relu_block(struct qkeras_relu k, const real *x,
                                    real *u, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        u[i] = qkeras_relu_of(&k, x[i]);
}

QUANT_CLONES void qkeras_relu_back(struct qkeras_relu k, real gain,
                                   const real *x, const real *dy, real *dx,
                                   int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real slope = pick(x[i] > k.top, 0, pick(x[i] > 0, 1, k.slope));

        dx[i] = gain * (dy[i] * slope);
    }
}

QUANT_CLONES static void clip_run(real lo, real hi, real step, real *v,
                                  real *u, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        v[i] = within(v[i], lo, hi) * step;
        u[i] = v[i];
    }
}

void qkeras_clip_codes(const struct qkeras_run *r, real *v, real *u,
                       int64_t n)
{
    clip_run((real)r->q->lo_code, (real)r->q->hi_code, r->step, v, u, n);
}

real qkeras_po2(real s)
{
    return real_pow2((real_int)real_rint(real_log(s + QKERAS_EPS) / LN2));
}

real qkeras_alpha(const struct qspec *s, int scaling_row)
{
    return spec_int(s, scaling_row) == SCALING_NUMBER
               ? spec_real(s, scaling_row + 1)
               : 1;
}

bool qkeras_is_vector(struct qview v)
{
    return v.outer * v.inner == 1 && v.channels > 1;
}

real qkeras_least_squares(const double *sum, int64_t n)
{
    real qx = (real)(sum[0] / (double)n), qq = (real)(sum[1] / (double)n);

    return qx / (qq + QKERAS_EPS);
}

void qkeras_set_step(struct quantizer *q, int64_t channel, real step)
{
    real s = step > REAL_SMALLEST ? step : REAL_SMALLEST;

    q->scale[channel] = s;
    q->zero_point[channel] = 0;
    q->lo[channel] = s * (real)q->lo_code;
    q->hi[channel] = s * (real)q->hi_code;
}

size_t qkeras_scratch(const struct qspec *s, int64_t channels)
{
    (void)s;
    return (size_t)channels * sizeof(real);
}

void qkeras_defaults(struct qspec *s)
{
    kind_plain(s, USE_SIGN);
    if (s->rounding != ROUND_STOCHASTIC)
        s->rounding = ROUND_HALF_EVEN;
    s->is_signed = true;
    s->narrow = false;
}

enum status qkeras_check(const struct qspec *s, int scaling_row,
                         struct err *e)
{
    int scaling = scaling_row < 0 ? SCALING_NONE : spec_int(s, scaling_row);

    TRY(kind_check(s, USE_SIGN | USE_NARROW | USE_STOCHASTIC, e));
    if (scaling == SCALING_NUMBER && !(s->param[scaling_row + 1] > 0))
        return err_set(e, STATUS_ARG, "%s: alpha is %g, not above 0",
                       s->kind->name, s->param[scaling_row + 1]);
    return STATUS_OK;
}

void qkeras_on_weights(struct qspec *s, int scaling_row)
{
    if (spec_int(s, scaling_row) != SCALING_NONE)
        return;
    s->param[scaling_row] = SCALING_AUTO_PO2;
    s->grain = GRAIN_CHANNEL;
    s->group = 0;
}

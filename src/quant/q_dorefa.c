/* Quantizer dorefa: weights squeezed into [-1, 1] by tanh.
 *
 * Zhou et al., DoReFa-Net (arXiv 1606.06160). k = 1 (eq. 7): y = mean|w| *
 * sign(w), dx = dy. k > 1 (eq. 9): r = tanh(w) / (2 m) + 1/2 with
 * m = max|tanh(w)|, y = 2 rne((2^k - 1) r) / (2^k - 1) - 1 (over one
 * denominator, so that small values are as exact as large ones); rounding is
 * straight-through, and m is differentiated: with t = tanh(w)
 * dw_i = (1 - t_i^2) * (dy_i / m - [i is the arg-max] sign(t_i) / m^2 *
 * sum_j dy_j t_j). SPDX-License-Identifier: GPL-3.0-or-later */
#include <assert.h>
#include <math.h>

#include "quant/kinds.h"
#include "quant/vmath.h"

enum { DOREFA_MAX_GRAD };

static const struct qrow settings[] = {
    {"max_grad", 1, 0, 1, "1: the maximum is differentiated; 0: a constant"},
    {0},
};

static void defaults(struct qspec *s)
{
    kind_plain(s, 0);
    s->is_signed = true;
}

static enum status check(const struct qspec *s, struct err *e)
{
    if (!s->is_signed)
        return err_set(e, STATUS_ARG, "dorefa is signed: for activations "
                       "take dorefa_act");
    return kind_check(s, 0, e);
}

/* Levels 2 code / n - 1: codes -n, -n + 2 .. n of scale 1 / n. */
static void span(const struct qspec *s, int64_t *lo, int64_t *hi)
{
    *hi = ((int64_t)1 << s->bits) - 1;
    *lo = -*hi;
}

static void set_range(struct quantizer *q)
{
    for (int64_t c = 0; c < q->channels; c++) {
        q->scale[c] = REAL(1.0) / (real)q->hi_code;
        q->zero_point[c] = 0;
        q->lo[c] = -1;
        q->hi[c] = 1;
    }
}

static void mean_piece(void *ctx, int64_t channel, int64_t at, int64_t n,
                       double *sum)
{
    const struct kcall *c = ctx;

    (void)channel;
    sum[0] += abs_sum(c->x + at, n);
}

static void mean_done(void *ctx, int64_t channel, const double *sum)
{
    const struct kcall *c = ctx;
    int64_t n = c->view.outer * c->view.inner;
    real mean = (real)(sum[0] / (double)(n ? n : 1));

    c->q->scale[channel] = mean;
    c->q->lo[channel] = -mean;
    c->q->hi[channel] = mean;
}

/* m per channel goes to q->hi while a call runs. tanh rises, so the largest
 * |tanh(w)| is that of the largest |w|. */
static real largest_tanh(real absmax)
{
    real m;

    tanh_block(&absmax, &m, 1);
    return m > REAL(1e-30) ? m : REAL(1e-30);
}

/* half: 1 / 2m. */
SELECT_INLINE real code_of(real t, real half, real n)
{
    return real_rint(n * (t * half + REAL(0.5)));
}

QUANT_CLONES static void forward_run(real m, real n, real *t, real *y,
                                     int64_t count)
{
    real half = 1 / (2 * m);

#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        y[i] = (2 * code_of(t[i], half, n) - n) / n;
}

static void forward_piece(void *ctx, int64_t channel, int64_t at, int64_t n)
{
    const struct kcall *c = ctx;
    real m = largest_tanh(c->q->hi[channel]);

    for (int64_t i = 0; i < n; i += QUANT_BLOCK) {
        real t[QUANT_BLOCK];
        int64_t k = n - i < QUANT_BLOCK ? n - i : QUANT_BLOCK;

        tanh_block(c->x + at + i, t, k);
        forward_run(m, (real)c->q->hi_code, t, c->y + at + i, k);
    }
}

static void sign_piece(void *ctx, int64_t channel, int64_t at, int64_t n)
{
    const struct kcall *c = ctx;
    real s = c->q->scale[channel];

    for (int64_t i = at; i < at + n; i++)
        c->y[i] = c->x[i] >= 0 ? s : -s;
}

static void forward(struct quantizer *q, const real *x, real *y,
                    struct qview v, bool train)
{
    struct kcall c = kcall_forward(q, x, y, v, train);

    assert(v.channels == q->channels);
    if (q->spec.bits == 1) {
        view_sum(v, mean_piece, mean_done, &c);
        view_each(v, sign_piece, &c);
        return;
    }
    view_absmax(x, v, q->hi);
    view_each(v, forward_piece, &c);
    set_range(q);
}

/* dx = (1 - t^2) * dy / m, term = dy * t; t comes in term, 1 - t^2 in d. */
QUANT_CLONES static void backward_run(real m, const real *dy, const real *d,
                                      real *dx, real *term, int64_t n)
{
    real over = 1 / m;

#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real g = dy[i];

        term[i] = g * term[i];
        dx[i] = g * over * d[i];
    }
}

static void backward_piece(void *ctx, int64_t channel, int64_t at, int64_t n,
                           double *sum)
{
    const struct kcall *c = ctx;
    real m = largest_tanh(c->q->hi[channel]);

    for (int64_t i = 0; i < n; i += QUANT_BLOCK) {
        real t[QUANT_BLOCK], d[QUANT_BLOCK];
        int64_t k = n - i < QUANT_BLOCK ? n - i : QUANT_BLOCK;

        tanh_sech2_block(c->x + at + i, t, d, k);
        backward_run(m, c->dy + at + i, d, c->dx + at + i, t, k);
        sum[0] += block_sum(t, k);
    }
}

/* The arg-max takes the path through m. */
static void backward_done(void *ctx, int64_t channel, const double *sum)
{
    const struct kcall *c = ctx;
    int64_t at = view_find_abs(c->x, c->view, channel, c->q->hi[channel]);
    double m = (double)largest_tanh(c->q->hi[channel]);
    real d;

    if (at < 0 || spec_int(&c->q->spec, DOREFA_MAX_GRAD) == 0)
        return;
    sech2_block(c->x + at, &d, 1);
    c->dx[at] -= (real)((c->x[at] < 0 ? -1 : 1) * sum[0] / (m * m) *
                        (double)d);
}

static void backward(struct quantizer *q, const real *x, const real *dy,
                     real *dx, struct qview v)
{
    struct kcall c = kcall_backward(q, x, dy, dx, v);

    assert(v.channels == q->channels);
    if (q->spec.bits == 1) {
        pass_gradient(dy, dx, view_count(v));
        return;
    }
    view_absmax(x, v, q->hi);
    view_sum(v, backward_piece, backward_done, &c);
    set_range(q);
}

static void codes_piece(void *ctx, int64_t channel, int64_t at, int64_t n)
{
    const struct kcall *c = ctx;
    const real *absmax = c->own;
    real m = largest_tanh(absmax[channel]), levels = (real)c->cq->hi_code;

    for (int64_t i = at; i < at + n; i++) {
        real t;

        if (c->cq->spec.bits == 1) {
            c->code[i] = c->x[i] >= 0 ? 1 : -1;
            continue;
        }
        tanh_block(c->x + i, &t, 1);
        c->code[i] = (int32_t)(2 * code_of(t, 1 / (2 * m), levels) - levels);
    }
}

static void codes(const struct quantizer *q, const real *x, int32_t *code,
                  struct qview v)
{
    struct kcall c = kcall_codes(q, x, code, v);

    /* One channel's rows after the other: no room for all maxima here. */
    for (int64_t k = 0; k < v.channels; k++) {
        real absmax = 0;

        for (int64_t o = 0; o < v.outer; o++) {
            real m = absmax_of(x + (o * v.channels + k) * v.inner, v.inner);

            absmax = m > absmax ? m : absmax;
        }
        c.own = &absmax;
        for (int64_t o = 0; o < v.outer; o++)
            codes_piece(&c, 0, (o * v.channels + k) * v.inner, v.inner);
    }
}

/* tanh(x) / m, m the tanh of the element that was largest at x0. */
static void surrogate(const struct quantizer *base,
                      const struct quantizer *q, const real *x0,
                      const real *x, real *y, struct qview v)
{
    bool moves = spec_int(&base->spec, DOREFA_MAX_GRAD);

    (void)q;
    for (int64_t c = 0; c < v.channels; c++) {
        real most = 0, m = 1;
        int64_t at = 0;

        for (int64_t i = 0; i < view_count(v); i++)
            if (i / v.inner % v.channels == c && real_fabs(x0[i]) > most) {
                most = real_fabs(x0[i]);
                at = i;
            }
        tanh_block(moves ? x + at : x0 + at, &m, 1);
        for (int64_t i = 0; i < view_count(v); i++) {
            if (i / v.inner % v.channels != c)
                continue;
            tanh_block(x + i, &y[i], 1);
            y[i] = base->spec.bits == 1 ? x[i] : y[i] / real_fabs(m);
        }
    }
}

static void describe(const struct quantizer *q, real v, struct str *out)
{
    real t;

    if (q->spec.bits == 1) {
        str_printf(out, "y = mean|w| * sign(w) = %.9g\n",
                   (double)(v >= 0 ? q->scale[0] : -q->scale[0]));
        str_add(out, "gradient: dx = dy\n");
        return;
    }
    tanh_block(&v, &t, 1);
    str_printf(out, "n = 2^%d - 1 = %lld, tanh(%.9g) = %.9g\n", q->spec.bits,
               (long long)q->hi_code, (double)v, (double)t);
    str_add(out, "y = 2 rne(n * (tanh(w) / (2 m) + 1/2)) / n - 1, "
                 "m = max|tanh(w)| of this layer's weights\n"
                 "gradient: dx = dy * (1 - tanh(w)^2) / m\n");
}

const struct quantizer_kind quantizer_dorefa = {
    .name = "dorefa",
    .help = "weights through tanh into [-1, 1]; one bit: mean|w| * sign",
    .source = "Zhou et al. 2016, arXiv 1606.06160",
    .flags = QK_UNIFORM | QK_WEIGHTS | QK_OWN_SCALE,
    .min_bits = 1,
    .max_bits = 16,
    .param = settings,
    .check = check,
    .set_range = set_range,
    .forward = forward,
    .backward = backward,
    .codes = codes,
    .surrogate = surrogate,
    .describe = describe,
    .example = "bits conv1 w=dorefa:4",
    .defaults = defaults,
    .span = span,
};

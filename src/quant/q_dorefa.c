/* Quantizer dorefa: weights squeezed into [-1, 1] by tanh.
 *
 * Zhou et al., DoReFa-Net (arXiv 1606.06160). k = 1 (eq. 7): y = mean|w| *
 * sign(w), dx = dy. k > 1 (eq. 9): r = tanh(w) / (2 m) + 1/2 with
 * m = max|tanh(w)| of the layer, y = 2 rne((2^k - 1) r) / (2^k - 1) - 1 (over
 * one denominator, so that small values are as exact as large ones); rounding
 * is straight-through, and m is differentiated: with t = tanh(w)
 * dw_i = (1 - t_i^2) * (dy_i / m - [i is the arg-max] sign(t_i) / m^2 *
 * sum_j dy_j t_j).
 *
 * The paper's nets have batch norm, which takes up the new size of the
 * weights; a net without gets every layer's gain multiplied by 1 / m. With
 * rescale=1 the result v of eq. 9 is y = m v, so that y is near w for small w
 * (the form of zzzxxxttt/pytorch_DoReFaNet, there with m held constant):
 * dw_i = (1 - t_i^2) * (dy_i + [i is the arg-max] sign(t_i) *
 * sum_j dy_j (v_j - t_j / m)). SPDX-License-Identifier: GPL-3.0-or-later */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "quant/kinds.h"
#include "quant/vmath.h"

enum { DOREFA_MAX_GRAD, DOREFA_RESCALE };

static const struct qrow settings[] = {
    {"max_grad", 1, 0, 1, "1: the maximum is differentiated; 0: a constant"},
    {"rescale", 0, 0, 1, "1: times max|tanh(w)|, which keeps the layer's "
                         "gain; 0: as the paper"},
    {0},
};

/* The paper's maximum is the layer's; a channel's own is asked for. */
static void defaults(struct qspec *s)
{
    kind_plain(s, 0);
    s->is_signed = true;
    s->grain = GRAIN_TENSOR;
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

static void set_end(struct quantizer *q, int64_t channel, real end)
{
    q->scale[channel] = end / (real)q->hi_code;
    q->zero_point[channel] = 0;
    q->lo[channel] = -end;
    q->hi[channel] = end;
}

static void set_range(struct quantizer *q)
{
    for (int64_t c = 0; c < q->channels; c++)
        set_end(q, c, 1);
}

static bool rescales(const struct quantizer *q)
{
    return spec_int(&q->spec, DOREFA_RESCALE) != 0;
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

/* What a call leaves behind: the largest |w| in q->hi becomes the range. */
static void leave_range(struct quantizer *q)
{
    for (int64_t c = 0; c < q->channels; c++)
        set_end(q, c, rescales(q) ? largest_tanh(q->hi[c]) : 1);
}

/* half: 1 / 2m. */
SELECT_INLINE real code_of(real t, real half, real n)
{
    return real_rint(n * (t * half + REAL(0.5)));
}

/* The constants of a channel: 1 / 2m, what the result is multiplied with,
 * division by n. */
struct squeeze {
    real half, gain;
    struct over over;
};

static struct squeeze squeeze_of(const struct quantizer *q, real absmax)
{
    real m = largest_tanh(absmax);

    return (struct squeeze){1 / (2 * m), rescales(q) ? m : 1,
                            over_of((real)q->hi_code)};
}

/* The result of eq. 9; divide is a constant at each call. */
SELECT_INLINE real squeezed(const struct squeeze *s, real t, bool divide)
{
    real n = s->over.n;

    return over_divide(&s->over, 2 * code_of(t, s->half, n) - n, divide);
}

/* t: tanh(w). A pass of its own: a longer chain of operations per element
 * leaves the processor fewer elements to work on at a time. */
QUANT_CLONES static void forward_run(const struct squeeze *s, const real *t,
                                     real *y, int64_t n)
{
    const struct squeeze k = *s;

    if (k.over.lo == 0) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            y[i] = squeezed(&k, t[i], true) * k.gain;
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            y[i] = squeezed(&k, t[i], false) * k.gain;
    }
}

/* What a training forward leaves for backward: tanh(w), which costs most of
 * both, and the largest |w|. x NULL: nothing. */
struct kept {
    const real *x;
    int64_t n, room;
    real *t;
    int64_t start;            /* from where the largest is found soon */
    real absmax[];            /* per channel */
};

static size_t scratch_bytes(const struct qspec *s, int64_t channels)
{
    (void)s;
    return sizeof(struct kept) + (size_t)channels * sizeof(real);
}

static void scratch_fini(void *scratch)
{
    mem_free(((struct kept *)scratch)->t);
}

/* Where memory is short backward finds everything again. */
static void keep(struct kept *k, const struct kcall *c, int64_t start)
{
    int64_t n = view_count(c->view);

    k->x = NULL;
    if (!c->train)
        return;
    if (n > k->room) {
        mem_free(k->t);
        k->t = mem_alloc((size_t)n, sizeof *k->t);
        k->room = k->t ? n : 0;
    }
    if (!k->t)
        return;
    k->x = c->x;
    k->n = n;
    k->start = start;
    memcpy(k->absmax, c->q->hi,
           (size_t)c->view.channels * sizeof *k->absmax);
}

static void forward_piece(void *ctx, int64_t channel, int64_t at, int64_t n)
{
    const struct kcall *c = ctx;
    const struct kept *kept = c->q->scratch;
    const struct squeeze s = squeeze_of(c->q, c->q->hi[channel]);

    for (int64_t i = at; i < at + n; i += QUANT_BLOCK) {
        QUANT_ALIGNED real block[QUANT_BLOCK];
        int64_t k = at + n - i < QUANT_BLOCK ? at + n - i : QUANT_BLOCK;
        real *t = kept->x ? kept->t + i : block;

        tanh_block(c->x + i, t, k);
        forward_run(&s, t, c->y + i, k);
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
    keep(q->scratch, &c, view_absmax(x, v, q->hi));
    view_each(v, forward_piece, &c);
    leave_range(q);
}

/* What one element gives: its gradient, and its term of the path through m:
 * (1 - t^2) dy / m and dy t; rescaled (1 - t^2) dy and dy (v - t / m). */
struct slope_term {
    real dx, path;
};

SELECT_INLINE struct slope_term slope_of(const struct squeeze *s, real t,
                                         real dy, bool rescaled)
{
    real over = 2 * s->half, d = (1 - t) * (1 + t);

    if (rescaled)
        return (struct slope_term){
            dy * d, dy * (squeezed(s, t, false) - t * over)};
    return (struct slope_term){dy * over * d, dy * t};
}

/* A block with its t; the sum of the path's terms. */
SELECT_INLINE double slope_block(const struct squeeze *s, const real *t,
                                 const real *dy, real *dx, int64_t n,
                                 bool rescaled)
{
    const struct squeeze k = *s;
    real path[LANES] = {0};
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES)
#pragma omp simd
        for (int l = 0; l < LANES; l++) {
            struct slope_term e = slope_of(&k, t[i + l], dy[i + l], rescaled);

            dx[i + l] = e.dx;
            path[l] += e.path;
        }
    for (int l = 0; i < n; i++, l++) {
        struct slope_term e = slope_of(&k, t[i], dy[i], rescaled);

        dx[i] = e.dx;
        path[l] += e.path;
    }
    return lanes_sum(path, 0);
}

QUANT_CLONES static double backward_run(const struct squeeze *s,
                                        const real *t, const real *dy,
                                        real *dx, int64_t n)
{
    return slope_block(s, t, dy, dx, n, false);
}

QUANT_CLONES static double rescaled_run(const struct squeeze *s,
                                        const real *t, const real *dy,
                                        real *dx, int64_t n)
{
    return slope_block(s, t, dy, dx, n, true);
}

/* Where the largest |w| is found soon; tanh(w), or NULL. */
struct path {
    int64_t start;
    const real *t;
};

static void backward_piece(void *ctx, int64_t channel, int64_t at, int64_t n,
                           double *sum)
{
    const struct kcall *c = ctx;
    const struct path *path = c->own;
    const struct squeeze s = squeeze_of(c->q, c->q->hi[channel]);

    for (int64_t i = at; i < at + n; i += QUANT_BLOCK) {
        QUANT_ALIGNED real block[QUANT_BLOCK];
        int64_t k = at + n - i < QUANT_BLOCK ? at + n - i : QUANT_BLOCK;
        const real *t = path->t ? path->t + i : block;

        if (!path->t)
            tanh_block(c->x + i, block, k);
        sum[0] += rescales(c->q)
                      ? rescaled_run(&s, t, c->dy + i, c->dx + i, k)
                      : backward_run(&s, t, c->dy + i, c->dx + i, k);
    }
}

/* The arg-max takes the path through m. */
static void backward_done(void *ctx, int64_t channel, const double *sum)
{
    const struct kcall *c = ctx;
    const struct path *from = c->own;
    int64_t at = view_find_abs(c->x, c->view, channel, c->q->hi[channel],
                               from->start);
    double m = (double)largest_tanh(c->q->hi[channel]);
    double path = rescales(c->q) ? sum[0] : -sum[0] / (m * m);
    real d;

    if (at < 0 || spec_int(&c->q->spec, DOREFA_MAX_GRAD) == 0)
        return;
    sech2_block(c->x + at, &d, 1);
    c->dx[at] += (real)((c->x[at] < 0 ? -1 : 1) * path * (double)d);
}

static void backward(struct quantizer *q, const real *x, const real *dy,
                     real *dx, struct qview v)
{
    struct kcall c = kcall_backward(q, x, dy, dx, v);
    const struct kept *kept = q->scratch;
    struct path path = {0};

    assert(v.channels == q->channels);
    if (q->spec.bits == 1) {
        pass_gradient(dy, dx, view_count(v));
        return;
    }
    if (kept->x == x && kept->n == view_count(v)) {
        path = (struct path){kept->start, kept->t};
        memcpy(q->hi, kept->absmax, (size_t)v.channels * sizeof *q->hi);
    } else {
        path.start = view_absmax(x, v, q->hi);
    }
    c.own = &path;
    view_sum(v, backward_piece, backward_done, &c);
    leave_range(q);
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

/* The channel's element with the largest |x|. */
static int64_t largest_at(const real *x, struct qview v, int64_t channel)
{
    real most = 0;
    int64_t at = 0;

    for (int64_t i = 0; i < view_count(v); i++)
        if (i / v.inner % v.channels == channel && real_fabs(x[i]) > most) {
            most = real_fabs(x[i]);
            at = i;
        }
    return at;
}

/* v - t / m of one value: what rounding adds, before m. */
static real residual(const struct quantizer *q, real x, real m)
{
    real t, n = (real)q->hi_code;

    tanh_block(&x, &t, 1);
    return (2 * code_of(t, 1 / (2 * m), n) - n) / n - t / m;
}

/* tanh(x) / m, m the tanh of the element that was largest at x0; rescaled:
 * m * (tanh(x) / m + r), r the residual at x0. */
static void surrogate(const struct quantizer *base,
                      const struct quantizer *q, const real *x0,
                      const real *x, real *y, struct qview v)
{
    bool moves = spec_int(&base->spec, DOREFA_MAX_GRAD);

    (void)q;
    for (int64_t c = 0; c < v.channels; c++) {
        int64_t at = largest_at(x0, v, c);
        real m = 1, m0 = largest_tanh(real_fabs(x0[at]));

        tanh_block(moves ? x + at : x0 + at, &m, 1);
        m = real_fabs(m);
        for (int64_t i = 0; i < view_count(v); i++) {
            if (i / v.inner % v.channels != c)
                continue;
            tanh_block(x + i, &y[i], 1);
            if (base->spec.bits == 1)
                y[i] = x[i];
            else if (rescales(base))
                y[i] += m * residual(base, x0[i], m0);
            else
                y[i] /= m;
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
    str_printf(out, "y = %s2 rne(n * (tanh(w) / (2 m) + 1/2)) / n - 1%s, "
               "m = max|tanh(w)| of this %s's weights\n",
               rescales(q) ? "m * (" : "", rescales(q) ? ")" : "",
               q->channels > 1 ? "channel" : "layer");
    str_printf(out, "gradient: dx = dy * (1 - tanh(w)^2)%s\n",
               rescales(q) ? "" : " / m");
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
    .scratch_bytes = scratch_bytes,
    .scratch_fini = scratch_fini,
};

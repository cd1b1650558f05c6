/* Quantizer ternary: -s, 0, s with a threshold t.
 *
 * Li and Liu, Ternary Weight Networks (arXiv 1605.04711): t = 0.7 mean|x|, s
 * = mean of the |x| above t, found in every forward pass, dx = dy (eq. 5, 6).
 * With threshold=T and scale=S above 0 both are fixed. With learning on, s
 * and t are parameters of y = s * clip(rne(x / 2t), -1, 1), differentiated
 * straight-through: dx = dy * s / 2t and dt = -sum dy * s * x / 2t^2 where the
 * rounded value is not clipped, ds = sum dy * code.
 * "ternary(...)" with arguments is QKeras's.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <assert.h>

#include "quant/kinds.h"

enum { SET_FACTOR, SET_THRESHOLD, SET_SCALE };
enum { ROW_SCALE, ROW_THRESHOLD };

static const struct qrow settings[] = {
    {"factor", 0.7, 0, 100, "t = factor * mean|x|"},
    {"threshold", 0, 0, 1e30, "fixed t; 0: found from the data"},
    {"scale", 0, 0, 1e30, "fixed s; 0: found from the data"},
    {0},
};

static const struct qrow learned[] = {
    {"scale", 1, 0, 1e30, "magnitude of the outer values"},
    {"threshold", 0.5, 0, 1e30, "from where values are not 0"},
    {0},
};

static enum status parse(const char *text, struct qspec *s, struct err *e)
{
    s->kind = &quantizer_qkeras_ternary;
    return s->kind->parse(text, s, e);
}

static void defaults(struct qspec *s)
{
    kind_plain(s, 0);
    s->is_signed = true;
    s->bits = 2;
}

static enum status check(const struct qspec *s, struct err *e)
{
    if (!s->is_signed)
        return err_set(e, STATUS_ARG, "ternary is signed");
    return kind_check(s, 0, e);
}

static void span(const struct qspec *s, int64_t *lo, int64_t *hi)
{
    (void)s;
    *lo = -1;
    *hi = 1;
}

static void refresh(struct quantizer *q)
{
    real eps = (real)q->spec.eps;

    for (int64_t c = 0; c < q->channels; c++) {
        real *s = learned_at(q, ROW_SCALE, c);
        real *t = learned_at(q, ROW_THRESHOLD, c);

        *s = *s > eps ? *s : eps;
        *t = *t > eps ? *t : eps;
        q->scale[c] = *s;
        q->zero_point[c] = 0;
        q->lo[c] = -*s;
        q->hi[c] = *s;
    }
}

/* From a range: half of it is the threshold, as if s were the step. */
static void set_range(struct quantizer *q)
{
    real scale = spec_real(&q->spec, SET_SCALE);
    real threshold = spec_real(&q->spec, SET_THRESHOLD);

    for (int64_t c = 0; c < q->channels; c++) {
        real s = q->hi[c] > -q->lo[c] ? q->hi[c] : -q->lo[c];

        s = scale > 0 ? scale : s > 0 ? s : 1;
        *learned_at(q, ROW_SCALE, c) = s;
        *learned_at(q, ROW_THRESHOLD, c) = threshold > 0 ? threshold : s / 2;
    }
    refresh(q);
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

    *learned_at(c->q, ROW_THRESHOLD, channel) =
        (real)(c->q->spec.param[SET_FACTOR] * sum[0] / (double)(n ? n : 1));
}

/* |x| above t, and 1 for each of them. */
QUANT_CLONES static void above_run(real t, const real *x, real *a,
                                   real *count, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real v = real_fabs(x[i]);

        a[i] = pick(v > t, v, 0);
        count[i] = pick(v > t, 1, 0);
    }
}

static void above_piece(void *ctx, int64_t channel, int64_t at, int64_t n,
                        double *sum)
{
    const struct kcall *c = ctx;
    real t = *learned_at(c->q, ROW_THRESHOLD, channel);

    for (int64_t i = 0; i < n; i += QUANT_BLOCK) {
        QUANT_ALIGNED real a[QUANT_BLOCK], count[QUANT_BLOCK];
        int64_t k = n - i < QUANT_BLOCK ? n - i : QUANT_BLOCK;

        above_run(t, c->x + at + i, a, count, k);
        sum[0] += block_sum(a, k);
        sum[1] += block_sum(count, k);
    }
}

static void above_done(void *ctx, int64_t channel, const double *sum)
{
    const struct kcall *c = ctx;

    *learned_at(c->q, ROW_SCALE, channel) =
        sum[1] > 0 ? (real)(sum[0] / sum[1]) : 0;
}

static void find(struct kcall *c)
{
    struct quantizer *q = c->q;
    real threshold = spec_real(&q->spec, SET_THRESHOLD);
    real scale = spec_real(&q->spec, SET_SCALE);

    if (threshold > 0)
        for (int64_t k = 0; k < q->channels; k++)
            *learned_at(q, ROW_THRESHOLD, k) = threshold;
    else
        view_sum(c->view, mean_piece, mean_done, c);
    if (scale > 0)
        for (int64_t k = 0; k < q->channels; k++)
            *learned_at(q, ROW_SCALE, k) = scale;
    else
        view_sum(c->view, above_piece, above_done, c);
    refresh(q);
}

QUANT_CLONES static void forward_run(real s, real t, const real *x, real *y,
                                     int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real outer = pick(x[i] > 0, s, -s);

        y[i] = pick(real_fabs(x[i]) > t, outer, 0);
    }
}

static void forward_piece(void *ctx, int64_t channel, int64_t at, int64_t n)
{
    const struct kcall *c = ctx;

    forward_run(c->q->scale[channel],
                *learned_at(c->q, ROW_THRESHOLD, channel), c->x + at,
                c->y + at, n);
}

static void forward(struct quantizer *q, const real *x, real *y,
                    struct qview v, bool train)
{
    struct kcall c = kcall_forward(q, x, y, v, train);

    assert(v.channels == q->channels);
    if (!q->learn)
        find(&c);
    view_each(v, forward_piece, &c);
}

/* Terms of ds and dt. rne(x / 2t) is beyond 1 from |x| = 3t on. */
QUANT_CLONES static void backward_run(real s, real t, const real *x,
                                      const real *dy, real *dx, real *term,
                                      int64_t n)
{
    real *ds = term, *dt = term + QUANT_BLOCK;
    real slope = s / (2 * t), turn = -s / (2 * t * t);

#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real d = dy[i], a = real_fabs(x[i]);
        bool inside = a < 3 * t;

        ds[i] = pick(a > t, pick(x[i] > 0, d, -d), 0);
        dt[i] = pick(inside, d * x[i] * turn, 0);
        dx[i] = pick(inside, d * slope, 0);
    }
}

static void backward_piece(void *ctx, int64_t channel, int64_t at, int64_t n,
                           double *sum)
{
    const struct kcall *c = ctx;
    real s = c->q->scale[channel];
    real t = *learned_at(c->q, ROW_THRESHOLD, channel);

    for (int64_t i = 0; i < n; i += QUANT_BLOCK) {
        real term[2 * QUANT_BLOCK];
        int64_t k = n - i < QUANT_BLOCK ? n - i : QUANT_BLOCK;

        backward_run(s, t, c->x + at + i, c->dy + at + i, c->dx + at + i,
                     term, k);
        sum[0] += block_sum(term, k);
        sum[1] += block_sum(term + QUANT_BLOCK, k);
    }
}

static void add_grad(void *ctx, int64_t channel, const double *sum)
{
    const struct kcall *c = ctx;

    learned_add(c->q, ROW_SCALE, channel, sum[0]);
    learned_add(c->q, ROW_THRESHOLD, channel, sum[1]);
}

static void backward(struct quantizer *q, const real *x, const real *dy,
                     real *dx, struct qview v)
{
    struct kcall c = kcall_backward(q, x, dy, dx, v);

    if (q->learn)
        view_sum(v, backward_piece, add_grad, &c);
    else
        pass_gradient(dy, dx, view_count(v));
}

static void codes_piece(void *ctx, int64_t channel, int64_t at, int64_t n)
{
    const struct kcall *c = ctx;
    real t = c->cq->learned[ROW_THRESHOLD * c->cq->channels + channel];

    for (int64_t i = at; i < at + n; i++)
        c->code[i] = (c->x[i] > t) - (c->x[i] < -t);
}

static void codes(const struct quantizer *q, const real *x, int32_t *code,
                  struct qview v)
{
    struct kcall c = kcall_codes(q, x, code, v);

    view_each(v, codes_piece, &c);
}

static void surrogate(const struct quantizer *base,
                      const struct quantizer *q, const real *x0,
                      const real *x, real *y, struct qview v)
{
    for (int64_t i = 0; i < view_count(v); i++) {
        int64_t c = i / v.inner % v.channels;
        real s = q->learned[c], t = q->learned[v.channels + c];
        real v0 = x0[i] / (2 * base->learned[v.channels + c]);
        real code = real_rint(v0);

        if (!base->learn)
            y[i] = x[i];
        else if (real_fabs(code) <= 1)
            y[i] = s * (x[i] / (2 * t) + code - v0);
        else
            y[i] = x0[i] > 0 ? s : -s;
    }
}

static void describe(const struct quantizer *q, real v, struct str *out)
{
    real s = q->scale[0], t = q->learned[ROW_THRESHOLD * q->channels];
    real y = v > t ? s : v < -t ? -s : 0;

    str_printf(out, "t = %.9g, s = %.9g (%s)\n", (double)t, (double)s,
               q->learn ? "learned" : "from the data or fixed");
    str_printf(out, "y = |%.9g| > t ? sign(x) * s : 0 = %.9g\n", (double)v,
               (double)y);
    str_printf(out, "gradient: dx = %s\n",
               !q->learn                ? "dy"
               : real_fabs(v) < 3 * t ? "dy * s / 2t"
                                      : "0");
}

const struct quantizer_kind quantizer_ternary = {
    .name = "ternary",
    .help = "-s, 0, s; threshold and scale from the data, fixed or learned",
    .source = "Li and Liu 2016, arXiv 1605.04711",
    .flags = QK_UNIFORM | QK_WEIGHTS | QK_OWN_SCALE,
    .min_bits = 2,
    .max_bits = 2,
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
    .example = "bits conv1 w=ternary:2,channel",
    .defaults = defaults,
    .parse = parse,
    .span = span,
};

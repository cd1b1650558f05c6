/* Quantizer brevitas_act: activations whose learned scale starts from
 * statistics.
 *
 * Brevitas Int8ActPerTensorFloat and its relatives: in the first `collect`
 * training forwards the threshold is a percentile of |x| of the batch
 * (asymmetric: of x, from a low to a high one), its average 0.9 old + 0.1 new
 * is kept, and the gradient flows through the threshold into the element it
 * was taken from; these batches' scales are not rounded to powers of two.
 * Then the threshold is a parameter that starts from the average. Clamped
 * elements get no gradient unless grad=pass. Evaluation uses the average or
 * the parameter.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>

#include "base/arena.h"
#include "quant/brevitas.h"

enum { SET_COLLECT, SET_HIGH, SET_LOW, SET_RESTRICT, SET_INIT };

static const struct qrow settings[] = {
    {"collect", 300, 0, 1e9, "training forwards that collect statistics"},
    {"percentile", 99.999, 0, 100, "of |x|, or of x when asymmetric"},
    {"low_percentile", 0.001, 0, 100, "asymmetric: of the low end"},
    {"restrict", BREVITAS_FLOAT, 0, 2, BREVITAS_RESTRICT_HELP},
    {"init", 1, 1e-10, 1e30, "threshold before any statistics"},
    {0},
};

static const struct qrow learned[] = {
    {"threshold", 1, -1e30, 1e30, "clipping threshold, or its log2"},
    {"low", 0, -1e30, 0, "lowest value (asymmetric)"},
    {0},
};

/* Where a batch's threshold came from: scratch, one per channel. */
struct source {
    bool collecting;
    real high, low;           /* statistics of the batch */
};

static size_t scratch_bytes(const struct qspec *s, int64_t channels)
{
    (void)s;
    return (size_t)channels * sizeof(struct source);
}

static int restriction(const struct quantizer *q)
{
    return spec_int(&q->spec, SET_RESTRICT);
}

static void refresh(struct quantizer *q)
{
    brevitas_refresh(q, restriction(q));
    for (int64_t c = 0; c < q->channels; c++) {
        real t = q->scale[c] * brevitas_int_scale(q, restriction(q));
        real low = *learned_at(q, BREVITAS_ROW_LOW, c);

        q->lo[c] = q->spec.symmetric ? (q->spec.is_signed ? -t : 0) : low;
        q->hi[c] = q->spec.symmetric ? t : low + t;
    }
}

/* Before any range: the initial threshold. */
static void set_range(struct quantizer *q)
{
    for (int64_t c = 0; c < q->channels; c++) {
        bool none = q->lo[c] == 0 && q->hi[c] == 0;
        real low = q->lo[c] < 0 ? q->lo[c] : 0;
        real t = q->hi[c] > -low ? q->hi[c] : -low;

        if (!q->spec.symmetric)
            t = real_fabs(q->hi[c] - low);
        else if (!q->spec.is_signed)
            t = q->hi[c];
        t = none ? spec_real(&q->spec, SET_INIT) : t;
        *learned_at(q, BREVITAS_ROW_THRESHOLD, c) =
            brevitas_value(t, restriction(q));
        *learned_at(q, BREVITAS_ROW_LOW, c) = q->spec.symmetric ? 0 : low;
    }
    refresh(q);
}

/* All of a channel's elements, one run after the other. */
static int64_t gather(const real *x, struct qview v, int64_t c, real *to)
{
    int64_t n = 0;

    for (int64_t o = 0; o < v.outer; o++)
        for (int64_t i = 0; i < v.inner; i++)
            to[n++] = x[(o * v.channels + c) * v.inner + i];
    return n;
}

static int64_t rank_between(double k, int64_t n)
{
    return k < 1 ? 1 : k > (double)n ? n : (int64_t)k;
}

/* The batch's percentiles (of the absolute values when symmetric). */
static void find_source(const struct quantizer *q, real *value, int64_t n,
                        struct source *s)
{
    const double *set = q->spec.param;
    double part = (double)n / 100;

    for (int64_t i = 0; i < n && q->spec.symmetric; i++)
        value[i] = real_fabs(value[i]);
    s->high = select_kth(value, n,
                         rank_between(floor(set[SET_HIGH] * part + 0.5), n));
    s->low = 0;
    if (!q->spec.symmetric)
        s->low = select_kth(value, n,
                            rank_between(ceil(set[SET_LOW] * part), n));
    if (s->low > 0)
        s->low = 0;
}

static real moved(real old, real now, bool first)
{
    return first ? now : old * REAL(0.9) + REAL(0.1) * now;
}

/* This batch's scale into q->scale, the average into the learned rows. */
static void collect_channel(struct quantizer *q, int64_t c,
                            const struct source *s, bool first)
{
    int r = restriction(q);
    real t = real_fabs(s->high - s->low);
    real old = q->spec.symmetric ? q->hi[c] : q->hi[c] - q->lo[c];
    real *low = learned_at(q, BREVITAS_ROW_LOW, c);

    t = t > REAL(1e-10) ? t : REAL(1e-10);
    *low = q->spec.symmetric ? 0 : moved(*low, s->low, first);
    q->hi[c] = *low + moved(old, t, first);
    q->lo[c] = q->spec.symmetric && q->spec.is_signed ? -q->hi[c] : *low;
    *learned_at(q, BREVITAS_ROW_THRESHOLD, c) =
        brevitas_value(q->hi[c] - *low, r);
    q->scale[c] = t / brevitas_int_scale(q, r);
    q->zero_point[c] = brevitas_zero_point(q, s->low, q->scale[c]);
}

/* Without memory for the selection the last scale stays. */
static void collect(struct quantizer *q, const real *x, struct qview v)
{
    struct source *s = q->scratch;
    int64_t n = v.outer * v.inner;
    real *value = mem_alloc((size_t)n, sizeof *value);
    bool first = q->steps <= 1;

    if (!value)
        return;
    for (int64_t c = 0; c < v.channels; c++) {
        gather(x, v, c, value);
        find_source(q, value, n, &s[c]);
        s[c].collecting = isfinite(s[c].high) && isfinite(s[c].low);
        if (s[c].collecting)
            collect_channel(q, c, &s[c], first);
    }
    mem_free(value);
}

static void forward(struct quantizer *q, const real *x, real *y,
                    struct qview v, bool train)
{
    struct source *s = q->scratch;
    bool fresh = train && q->observe &&
                 q->steps <= (int64_t)q->spec.param[SET_COLLECT] &&
                 v.channels == q->channels && v.outer * v.inner > 0;

    for (int64_t c = 0; c < q->channels; c++)
        s[c].collecting = false;
    if (fresh)
        collect(q, x, v);
    else
        refresh(q);
    brevitas_forward(q, x, y, v, train);
}

static void backward_piece(void *ctx, int64_t channel, int64_t at, int64_t n,
                           double *sum)
{
    const struct kcall *c = ctx;
    struct qspec spec;
    struct grid g = brevitas_grid(c->cq, &spec, channel);

    bool pass = c->cq->spec.grad == QGRAD_PASS;

    scale_backward(&g, c->x + at, c->dy + at, c->dx + at, n, sum,
                   SCALE_DIVIDED | (pass ? SCALE_PASS : 0));
}

/* The elements that the batch's statistics came from. */
static void add_to_source(const struct kcall *c, int64_t channel,
                          const double *sum)
{
    const struct quantizer *q = c->cq;
    const struct source *s = (const struct source *)q->scratch + channel;
    struct equal at = {c->x, c->dx, c->view, channel, false};
    struct brevitas_grads d = brevitas_gradients(q, channel, s->low, sum);
    double t = d.scale / (double)brevitas_int_scale(q, restriction(q));

    if (q->spec.symmetric) {
        view_add_equal(&at, s->high, true, t);
        return;
    }
    view_add_equal(&at, s->high, false, t);
    if (s->low < 0)
        view_add_equal(&at, s->low, false, d.low - t);
}

static void backward_done(void *ctx, int64_t channel, const double *sum)
{
    const struct kcall *c = ctx;
    struct quantizer *q = c->q;
    const struct source *s = (const struct source *)q->scratch + channel;
    real value = *learned_at(q, BREVITAS_ROW_THRESHOLD, channel);
    real low = *learned_at(q, BREVITAS_ROW_LOW, channel);
    struct brevitas_grads d;

    if (s->collecting) {
        add_to_source(c, channel, sum);
        return;
    }
    if (!q->learn)
        return;
    d = brevitas_gradients(q, channel, low, sum);
    learned_add(q, BREVITAS_ROW_THRESHOLD, channel,
                d.scale * brevitas_slope(q, value, restriction(q)));
    learned_add(q, BREVITAS_ROW_LOW, channel, d.low);
}

static void backward(struct quantizer *q, const real *x, const real *dy,
                     real *dx, struct qview v)
{
    struct kcall c = kcall_backward(q, x, dy, dx, v);

    view_sum(v, backward_piece, backward_done, &c);
}

/* Of the learned phase; the collecting one belongs to its batch. */
static void surrogate(const struct quantizer *base,
                      const struct quantizer *q, const real *x0,
                      const real *x, real *y, struct qview v)
{
    bool pass = base->spec.grad == QGRAD_PASS;

    for (int64_t i = 0; i < view_count(v); i++) {
        int64_t c = i / v.inner % v.channels;
        struct ends_at e = brevitas_ends(base, q, c, restriction(base));

        y[i] = brevitas_smooth(base, c, x0[i], x[i], e, pass);
    }
}

static void describe(const struct quantizer *q, real v, struct str *out)
{
    str_printf(out, "threshold%s = %.9g, s = threshold / %.0f\n",
               restriction(q) == BREVITAS_FLOAT ? "" : " (log2)",
               (double)q->learned[0],
               (double)brevitas_int_scale(q, restriction(q)));
    if (q->steps < (int64_t)q->spec.param[SET_COLLECT])
        str_printf(out, "statistics: %lld of %.0f training forwards\n",
                   (long long)q->steps, q->spec.param[SET_COLLECT]);
    uniform_describe(q, v, out);
}

const struct quantizer_kind quantizer_brevitas_act = {
    .name = "brevitas_act",
    .help = "activations, scale from statistics, then learned",
    .source = "Brevitas Int8Act*, Uint8Act*, ShiftedUint8Act*",
    .flags = QK_UNIFORM | QK_ACTIVATIONS | QK_OWN_SCALE,
    .min_bits = 2,
    .max_bits = 16,
    .param = settings,
    .learned = learned,
    .check = brevitas_check,
    .set_range = set_range,
    .refresh = refresh,
    .forward = forward,
    .backward = backward,
    .codes = uniform_codes,
    .surrogate = surrogate,
    .describe = describe,
    .example = "bits conv1 a=brevitas_act:4,unsigned",
    .defaults = brevitas_defaults,
    .span = brevitas_span,
    .scratch_bytes = scratch_bytes,
};

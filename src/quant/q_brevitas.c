/* Quantizer brevitas: weights with a scale found from them in every forward
 * pass, and differentiated.
 *
 * Int8WeightPerTensorFloat and its relatives: threshold = max|w| or mean|w|;
 * asymmetric max(w) - min(w, 0). Rounding is straight-through, and so is the
 * clamp: dw = dy * s / s, plus, through the scale, ds = sum dy * (q - z - w/s)
 * times ds/dthreshold at the largest element (shared by equal ones per tensor,
 * at the first one per channel; mean: everywhere). With learning on, the
 * threshold is a parameter instead (ParameterFromStats), and clamped weights
 * get no gradient unless grad=pass.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <assert.h>
#include <math.h>

#include "quant/brevitas.h"
#include "quant/observe.h"

enum { SET_STAT, SET_RESTRICT };
enum { STAT_MAX, STAT_MEAN };

static const struct qrow settings[] = {
    {"stat", STAT_MAX, 0, 1, "threshold from 0: max|w|, 1: mean|w|"},
    {"restrict", BREVITAS_FLOAT, 0, 2, BREVITAS_RESTRICT_HELP},
    {0},
};

static const struct qrow learned[] = {
    {"threshold", 1, -1e30, 1e30, "clipping threshold, or its log2"},
    {"low", 0, -1e30, 0, "lowest value (asymmetric)"},
    {0},
};

static void defaults(struct qspec *s)
{
    brevitas_defaults(s);
    s->narrow = s->is_signed;
}

static enum status check(const struct qspec *s, struct err *e)
{
    if (!s->symmetric && spec_int(s, SET_STAT) == STAT_MEAN)
        return err_set(e, STATUS_ARG, "brevitas: stat=1 (mean|w|) is for "
                       "symmetric grids");
    return brevitas_check(s, e);
}

static int restriction(const struct quantizer *q)
{
    return spec_int(&q->spec, SET_RESTRICT);
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

    c->q->hi[channel] = (real)(sum[0] / (double)(n > 0 ? n : 1));
}

/* Range of the weights into q->lo, q->hi: -T, T, or smallest (at most 0) and
 * largest. Weights that are not finite keep the range there was. */
static void find_range(struct quantizer *q, const real *x, struct qview v)
{
    struct kcall c = kcall_forward(q, x, NULL, v, false);

    if (!q->spec.symmetric) {
        if (scan_minmax(x, v, q->lo, q->hi, NULL) != STATUS_OK)
            for (int64_t k = 0; k < v.channels; k++)
                q->lo[k] = q->hi[k] = 0;
        for (int64_t k = 0; k < v.channels; k++)
            q->lo[k] = q->lo[k] < 0 ? q->lo[k] : 0;
        return;
    }
    if (spec_int(&q->spec, SET_STAT) == STAT_MEAN)
        view_sum(v, mean_piece, mean_done, &c);
    else
        view_absmax(x, v, q->hi);
    for (int64_t k = 0; k < v.channels; k++)
        q->lo[k] = -q->hi[k];
}

static real threshold(const struct quantizer *q, int64_t c)
{
    return q->spec.symmetric ? q->hi[c] : real_fabs(q->hi[c] - q->lo[c]);
}

/* The learned values that q->lo, q->hi ask for. */
static void follow_range(struct quantizer *q)
{
    for (int64_t c = 0; c < q->channels; c++) {
        *learned_at(q, BREVITAS_ROW_THRESHOLD, c) =
            brevitas_value(threshold(q, c), restriction(q));
        *learned_at(q, BREVITAS_ROW_LOW, c) =
            q->spec.symmetric ? 0 : q->lo[c];
    }
}

static void refresh(struct quantizer *q)
{
    brevitas_refresh(q, restriction(q));
    for (int64_t c = 0; c < q->channels && q->learn; c++) {
        q->lo[c] = q->scale[c] * ((real)q->lo_code - q->zero_point[c]);
        q->hi[c] = q->scale[c] * ((real)q->hi_code - q->zero_point[c]);
    }
}

static void set_range(struct quantizer *q)
{
    for (int64_t c = 0; c < q->channels; c++) {
        q->lo[c] = q->lo[c] < 0 ? q->lo[c] : 0;
        if (q->spec.symmetric && -q->lo[c] > q->hi[c])
            q->hi[c] = -q->lo[c];
    }
    follow_range(q);
}

static void forward(struct quantizer *q, const real *x, real *y,
                    struct qview v, bool train)
{
    assert(v.channels == q->channels);
    if (!q->learn || !brevitas_has_range(q)) {
        find_range(q, x, v);
        follow_range(q);
    }
    refresh(q);
    brevitas_forward(q, x, y, v, train);
}

static void backward_piece(void *ctx, int64_t channel, int64_t at, int64_t n,
                           double *sum)
{
    const struct kcall *c = ctx;
    struct qspec spec;
    struct grid g = brevitas_grid(c->cq, &spec, channel);

    bool pass = !c->cq->learn || c->cq->spec.grad == QGRAD_PASS;

    scale_backward(&g, c->x + at, c->dy + at, c->dx + at, n, sum,
                   SCALE_DIVIDED | (pass ? SCALE_PASS : 0));
}

/* d scale / d threshold where the threshold comes from the data. */
static double data_slope(const struct quantizer *q, int64_t c)
{
    if (restriction(q) == BREVITAS_FLOAT)
        return 1 / (double)brevitas_int_scale(q, BREVITAS_FLOAT);
    return (double)q->scale[c] / (double)threshold(q, c);
}

static void add_mean(const struct kcall *c, int64_t channel, double g)
{
    struct qview v = c->view;
    real each = (real)(g / (double)(v.outer * v.inner));

    for (int64_t o = 0; o < v.outer; o++) {
        int64_t from = (o * v.channels + channel) * v.inner;

        for (int64_t i = from; i < from + v.inner; i++)
            c->dx[i] += c->x[i] > 0 ? each : c->x[i] < 0 ? -each : 0;
    }
}

static void backward_done(void *ctx, int64_t channel, const double *sum)
{
    const struct kcall *c = ctx;
    struct quantizer *q = c->q;
    struct equal at = {c->x, c->dx, c->view, channel, c->view.channels == 1};
    real hi = q->hi[channel], lo = q->lo[channel];
    double g;

    if (q->learn) {
        real value = *learned_at(q, BREVITAS_ROW_THRESHOLD, channel);
        real low = *learned_at(q, BREVITAS_ROW_LOW, channel);
        struct brevitas_grads d = brevitas_gradients(q, channel, low, sum);

        learned_add(q, BREVITAS_ROW_THRESHOLD, channel,
                    d.scale * brevitas_slope(q, value, restriction(q)));
        learned_add(q, BREVITAS_ROW_LOW, channel, d.low);
        return;
    }
    if (threshold(q, channel) <= 0)
        return;
    g = sum[0] * data_slope(q, channel);
    if (q->spec.symmetric && spec_int(&q->spec, SET_STAT) == STAT_MEAN) {
        add_mean(c, channel, g);
    } else if (q->spec.symmetric) {
        view_add_equal(&at, hi, true, g);
    } else {
        view_add_equal(&at, hi, false, g);
        if (lo < 0)
            view_add_equal(&at, lo, false, -g);
    }
}

static void backward(struct quantizer *q, const real *x, const real *dy,
                     real *dx, struct qview v)
{
    struct kcall c = kcall_backward(q, x, dy, dx, v);

    assert(v.channels == q->channels);
    view_sum(v, backward_piece, backward_done, &c);
}

/* The threshold at x, by the elements that gave it at x0. */
static real smooth_threshold(const struct quantizer *base, const real *x0,
                             const real *x, struct qview v, int64_t c)
{
    real hi = base->hi[c], lo = base->lo[c], top = 0, bottom = 0, sum = 0;

    for (int64_t i = 0; i < view_count(v); i++) {
        if (i / v.inner % v.channels != c)
            continue;
        sum += x0[i] < 0 ? -x[i] : x[i];
        if (base->spec.symmetric && real_fabs(x0[i]) == hi)
            top = x0[i] < 0 ? -x[i] : x[i];
        if (!base->spec.symmetric && x0[i] == hi)
            top = x[i];
        if (!base->spec.symmetric && lo < 0 && x0[i] == lo)
            bottom = x[i];
    }
    if (spec_int(&base->spec, SET_STAT) == STAT_MEAN)
        return sum / (real)(v.outer * v.inner);
    return top - bottom;
}

static void surrogate(const struct quantizer *base,
                      const struct quantizer *q, const real *x0,
                      const real *x, real *y, struct qview v)
{
    bool pass = !base->learn || base->spec.grad == QGRAD_PASS;

    for (int64_t c = 0; c < v.channels; c++) {
        real s0 = base->scale[c];
        struct ends_at e = brevitas_ends(base, q, c, restriction(base));

        if (!base->learn) {
            e.scale = s0 * smooth_threshold(base, x0, x, v, c) /
                      threshold(base, c);
            e.zero_point = base->zero_point[c];
        }
        for (int64_t i = 0; i < view_count(v); i++)
            if (i / v.inner % v.channels == c)
                y[i] = brevitas_smooth(base, c, x0[i], x[i], e, pass);
    }
}

static void describe(const struct quantizer *q, real v, struct str *out)
{
    str_printf(out, "threshold %s%.9g, s = threshold / %.0f\n",
               q->learn ? "learned: " : "from the weights: ",
               (double)threshold(q, 0),
               (double)brevitas_int_scale(q, restriction(q)));
    uniform_describe(q, v, out);
    str_add(out, q->learn ? "gradient: dw = dy within the range\n"
                          : "gradient: dw = dy, also beyond the ends; the "
                            "largest weight also takes the scale's\n");
}

const struct quantizer_kind quantizer_brevitas = {
    .name = "brevitas",
    .help = "weights, scale from the weights and differentiated, or learned",
    .source = "Brevitas Int8Weight*, ShiftedUint8Weight*",
    .flags = QK_UNIFORM | QK_WEIGHTS | QK_OWN_SCALE,
    .min_bits = 2,
    .max_bits = 16,
    .param = settings,
    .learned = learned,
    .check = check,
    .set_range = set_range,
    .refresh = refresh,
    .forward = forward,
    .backward = backward,
    .codes = uniform_codes,
    .surrogate = surrogate,
    .describe = describe,
    .example = "bits conv1 w=brevitas:4,channel",
    .defaults = defaults,
    .span = brevitas_span,
};

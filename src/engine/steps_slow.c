/* Folding as torch's fused modules do it for better numerical stability
 * (conv_fused.py, _forward_slow), which also stands a gamma of 0.
 *
 * In training with live statistics the layer runs twice: y0 = conv(x, w) gives
 * the batch's mean and variance, with which the running ones move first; then
 *   z = conv(x, Q(w f)) r / s + beta - gamma mean / s,
 * f = gamma / r, r = sqrt(running_var + eps), s = sqrt(batch_var + eps). Else
 *   z = conv(x, Q(w f)) + beta - gamma (running_mean - bias) / r.
 * The gradient goes through mean and s into y0, r is a constant.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/plan_impl.h"

#include <math.h>

#include "engine/weights.h"

enum { MEAN, DEVIATION, VECTORS };

struct slow {
    int node;
    struct weight_prep *w;
    struct node_params plain; /* the parameters as they are */
    int y0, acc, z;           /* buffers; y0 -1: running statistics */
    int vec;                  /* VECTORS of a channel each */
    int dz, dacc, dy0;
    int64_t outer, channels, inner;
};

static const struct param *bn_row(const struct plan *p, const struct slow *s,
                                  bool state, int row)
{
    const struct node *n = &p->graph->node[s->w->bn];
    return &p->graph->param[state ? n->state[row] : n->param[row]];
}

static double bn_eps(const struct plan *p, const struct slow *s)
{
    return node_attr(&p->graph->node[s->w->bn], "eps");
}

static float bias_of(const struct slow *s, int64_t o)
{
    return s->w->bias ? s->w->bias->value[o] : 0.0f;
}

static float *vector(const struct plan *p, const struct slow *s, int row)
{
    return plan_floats(p, s->vec) + row * s->channels;
}

/* ---- batch statistics of y0 ---- */

static void moments(const struct slow *s, const float *y, int64_t o,
                    double out[2])
{
    double sum = 0, squares = 0;
    double count = (double)(s->outer * s->inner);
    for (int64_t n = 0; n < s->outer; n++)
        for (int64_t i = 0; i < s->inner; i++)
            sum += (double)y[(n * s->channels + o) * s->inner + i];
    double mean = sum / count;
    for (int64_t n = 0; n < s->outer; n++) {
        for (int64_t i = 0; i < s->inner; i++) {
            double d =
                (double)y[(n * s->channels + o) * s->inner + i] - mean;
            squares += d * d;
        }
    }
    out[0] = mean;
    out[1] = squares / count;
}

static enum status stats_run(struct plan *p, struct step *step,
                             struct err *e)
{
    (void)e;
    const struct slow *s = *(struct slow *const *)step->priv;
    double share = node_attr(&p->graph->node[s->w->bn], "momentum");
    double count = (double)(s->outer * s->inner), eps = bn_eps(p, s);
    float *mean = bn_row(p, s, true, 0)->value;
    float *var = bn_row(p, s, true, 1)->value;
    for (int64_t o = 0; o < s->channels; o++) {
        double m[2];
        moments(s, plan_floats(p, s->y0), o, m);
        vector(p, s, MEAN)[o] = (float)m[0];
        vector(p, s, DEVIATION)[o] = (float)sqrt(m[1] + eps);
        double unbiased = m[1] * count / (count > 1 ? count - 1 : 1);
        double with_bias = m[0] + (double)bias_of(s, o);
        mean[o] = (float)((1 - share) * (double)mean[o] + share * with_bias);
        var[o] = (float)((1 - share) * (double)var[o] + share * unbiased);
    }
    return STATUS_OK;
}

/* ---- z ---- */

static enum status map_run(struct plan *p, struct step *step, struct err *e)
{
    (void)e;
    const struct slow *s = *(struct slow *const *)step->priv;
    const float *gamma = bn_row(p, s, false, 0)->value;
    const float *beta = bn_row(p, s, false, 1)->value;
    const float *running = bn_row(p, s, true, 0)->value;
    const float *acc = plan_floats(p, s->acc);
    float *z = plan_floats(p, s->z);
    for (int64_t r = 0; r < s->outer * s->channels; r++) {
        int64_t o = r % s->channels;
        float root = plan_floats(p, s->w->root)[o];
        bool batch = s->y0 >= 0;
        float mean = batch ? vector(p, s, MEAN)[o]
                           : running[o] - bias_of(s, o);
        float deviation = batch ? vector(p, s, DEVIATION)[o] : root;
        float a = batch ? root / deviation : 1.0f;
        float b = beta[o] - gamma[o] * mean / deviation;
        for (int64_t i = r * s->inner; i < (r + 1) * s->inner; i++)
            z[i] = acc[i] * a + b;
    }
    return STATUS_OK;
}

/* ---- backward ---- */

/* Sums over channel o of dz and of dz acc. */
static void gradient_sums(const struct plan *p, const struct slow *s,
                          int64_t o, double out[2])
{
    const float *dz = plan_floats(p, s->dz), *acc = plan_floats(p, s->acc);
    out[0] = out[1] = 0;
    for (int64_t n = 0; n < s->outer; n++) {
        int64_t at = (n * s->channels + o) * s->inner;
        for (int64_t i = at; i < at + s->inner; i++) {
            out[0] += (double)dz[i];
            out[1] += (double)dz[i] * (double)acc[i];
        }
    }
}

/* dy0 = dmean / M + dvar 2 (y0 - mean) / M */
static void spread(const struct plan *p, const struct slow *s, int64_t o,
                   double dmean, double dvar)
{
    const float *y0 = plan_floats(p, s->y0);
    float *dy0 = plan_floats(p, s->dy0);
    double count = (double)(s->outer * s->inner);
    double mean = (double)vector(p, s, MEAN)[o];
    for (int64_t n = 0; n < s->outer; n++) {
        int64_t at = (n * s->channels + o) * s->inner;
        for (int64_t i = at; i < at + s->inner; i++)
            dy0[i] = (float)((dmean + 2 * dvar * ((double)y0[i] - mean)) /
                             count);
    }
}

static void back_channel(const struct plan *p, const struct slow *s,
                         int64_t o)
{
    double sum[2];
    gradient_sums(p, s, o, sum);
    bool batch = s->y0 >= 0;
    double gamma = (double)bn_row(p, s, false, 0)->value[o];
    double root = (double)plan_floats(p, s->w->root)[o];
    double mean = batch ? (double)vector(p, s, MEAN)[o]
                        : (double)bn_row(p, s, true, 0)->value[o] -
                              (double)bias_of(s, o);
    double deviation = batch ? (double)vector(p, s, DEVIATION)[o] : root;
    bn_row(p, s, false, 0)->grad[o] += (float)(-sum[0] * mean / deviation);
    bn_row(p, s, false, 1)->grad[o] += (float)sum[0];
    plan_floats(p, s->w->dfactor)[o] = 0.0f;
    if (s->w->bias)
        s->w->bias->grad[o] +=
            batch ? 0.0f : (float)(sum[0] * gamma / root);
    if (batch) {
        double square = deviation * deviation;
        double ds = sum[0] * gamma * mean / square - sum[1] * root / square;
        spread(p, s, o, -sum[0] * gamma / deviation, ds / (2 * deviation));
    }
    const float *dz = plan_floats(p, s->dz);
    float *dacc = plan_floats(p, s->dacc);
    float a = batch ? (float)(root / deviation) : 1.0f;
    for (int64_t n = 0; n < s->outer; n++) {
        int64_t at = (n * s->channels + o) * s->inner;
        for (int64_t i = at; i < at + s->inner; i++)
            dacc[i] = dz[i] * a;
    }
}

static enum status back_run(struct plan *p, struct step *step, struct err *e)
{
    (void)e;
    const struct slow *s = *(struct slow *const *)step->priv;
    for (int64_t o = 0; o < s->channels; o++)
        back_channel(p, s, o);
    return STATUS_OK;
}

static const struct step_kind stats_kind = {
    .name = "statistics",
    .phase = PHASE_FORWARD,
    .run = stats_run,
};

static const struct step_kind map_kind = {
    .name = "fold slow",
    .phase = PHASE_FORWARD,
    .run = map_run,
};

static const struct step_kind back_kind = {
    .name = "fold slow bwd",
    .phase = PHASE_BACKWARD,
    .run = back_run,
};

/* ---- building ---- */

static bool slow_fits(struct plan *p, struct unit *u)
{
    return p->opts.fold == FOLD_SLOW && plan_fold_bn(p, u->node[0]) >= 0;
}

static struct step *slow_step(struct plan *p, const struct step_kind *kind,
                              struct slow *s)
{
    struct step *step = plan_step(p, kind, s->node, sizeof(s));
    if (!step)
        return NULL;
    *(struct slow **)step->priv = s;
    const int touched[] = {s->y0, s->vec, s->acc, s->w->root, s->w->dfactor};
    for (size_t i = 0; i < sizeof(touched) / sizeof(touched[0]); i++)
        step_touch(p, step, touched[i]);
    return step;
}

/* The node's operator with given parameters and a given place for y. */
static enum status run_layer(struct plan *p, struct slow *s,
                             const struct node_params *params, int y,
                             struct err *e)
{
    struct value *v = &p->value[s->node];
    const struct node_params keep = v->params;
    int raw = v->raw;
    v->params = *params;
    v->raw = y;
    enum status st = op_forward_step(p, s->node, e);
    v->raw = raw;
    v->params = keep;
    return st;
}

/* Without its bias, which batch norm takes away again. */
static void make_plain(struct plan *p, struct slow *s)
{
    const struct node *n = &p->graph->node[s->node];
    for (int i = 0; i < OP_MAX_PARAMS; i++) {
        s->plain.value[i] = s->plain.grad[i] = -1;
        if (n->param[i] < 0 || n->op->param[i].role != PARAM_WEIGHT)
            continue;
        s->plain.value[i] = plan_buffer_param(p, n->param[i], false);
        if (p->opts.train)
            s->plain.grad[i] = plan_buffer_param(p, n->param[i], true);
    }
}

static void find_view(struct plan *p, struct slow *s, const struct shape *y)
{
    bool last = y->rank < 3 || p->graph->node[s->node].op == &op_dense;
    int64_t count = shape_count(y);
    s->channels = y->dim[last ? y->rank - 1 : 1];
    s->outer = last ? count / s->channels : y->dim[0];
    s->inner = count / s->outer / s->channels;
}

static enum status twice(struct plan *p, struct slow *s,
                         const struct shape *y, struct err *e)
{
    make_plain(p, s);
    s->y0 = plan_buffer(p, DTYPE_F32, y, LAYOUT_NCHW);
    s->vec = plan_buffer_vector(p, VECTORS * s->channels);
    if (p->out_of_memory)
        return err_memory(e, "plan");
    return run_layer(p, s, &s->plain, s->y0, e);
}

static enum status slow_forward(struct plan *p, struct unit *u,
                                struct err *e)
{
    int node = u->node[0];
    struct slow *s = arena_alloc(p->arena, sizeof(*s));
    /* What the statistics step looks up, until the weights are prepared. */
    struct weight_prep *early = arena_alloc(p->arena, sizeof(*early));
    if (!s || !early)
        return err_memory(e, "plan");
    u->priv = s;
    s->node = node;
    s->y0 = s->vec = s->acc = s->dz = s->dacc = s->dy0 = -1;
    TRY(quant_in_forward(p, node, e));
    plan_make_value(p, node);
    struct shape y = node_shape(&p->graph->node[node], p->opts.batch);
    find_view(p, s, &y);
    int bn = plan_fold_bn(p, node);
    bool batch = p->opts.train && !p->graph->node[bn].bn_frozen;
    if (batch)
        TRY(twice(p, s, &y, e));
    *early = (struct weight_prep){.bn = bn, .root = -1, .dfactor = -1};
    early->bias = weights_bias(p, node);
    s->w = early;
    if (batch && !slow_step(p, &stats_kind, s))
        return err_memory(e, "plan");
    TRY(weights_forward(p, node, e));
    s->w = weights_of(p, node);
    s->acc = plan_buffer(p, DTYPE_F32, &y, LAYOUT_NCHW);
    const struct value *v = &p->value[node];
    bool logical = p->buf[v->raw].layout == LAYOUT_NCHW;
    s->z = logical ? v->raw : plan_buffer(p, DTYPE_F32, &y, LAYOUT_NCHW);
    if (p->out_of_memory)
        return err_memory(e, "plan");
    TRY(run_layer(p, s, &v->params, s->acc, e));
    struct step *map = slow_step(p, &map_kind, s);
    if (!map)
        return err_memory(e, "plan");
    step_touch(p, map, s->z);
    if (!logical) {
        struct copy_spec copy = {node, s->z, p->value[node].raw, false,
                                 PHASE_FORWARD};
        TRY(copy_step(p, &copy, e));
    }
    return quant_out_forward(p, node, e);
}

static enum status slow_backward(struct plan *p, struct unit *u,
                                 struct err *e)
{
    struct slow *s = u->priv;
    struct value *v = &p->value[s->node];
    TRY(quant_out_backward(p, s->node, e));
    s->dz = plan_logical(p, s->node, plan_raw_grad(p, s->node),
                         PHASE_BACKWARD);
    s->dacc = plan_buffer_like(p, s->acc);
    if (s->y0 >= 0)
        s->dy0 = plan_buffer_like(p, s->acc);
    struct step *back = slow_step(p, &back_kind, s);
    if (!back)
        return err_memory(e, "plan");
    step_touch(p, back, s->dz);
    step_touch(p, back, s->dacc);
    step_touch(p, back, s->dy0);
    TRY(op_backward_step(p, s->node, s->dacc, e));
    if (s->dy0 >= 0) {
        const struct node_params keep = v->params;
        v->params = s->plain;
        enum status st = op_backward_step(p, s->node, s->dy0, e);
        v->params = keep;
        TRY(st);
    }
    TRY(weights_backward(p, s->node, e));
    return quant_in_backward(p, s->node, e);
}

const struct maker maker_slow = {
    .name = "slow fold",
    .fits = slow_fits,
    .forward = slow_forward,
    .backward = slow_backward,
};

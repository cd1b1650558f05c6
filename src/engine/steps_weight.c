/* Effective parameters: what an operator multiplies by when its weights are
 * quantized, and how batch norm takes part during QAT.
 *
 * factor[o] = gamma[o] / r[o], r = sqrt(running_var + eps).
 * FOLD_QAT: q = Q(w * factor), y = conv(x, q) / factor + bias, then batch
 *   norm of y: torch.ao's fused modules (conv_fused.py, approximate path).
 * FOLD_PRE: q = Q(w * factor), y = conv(x, q) + (bias - mean) * factor +
 *   beta, and batch norm does nothing more.
 * FOLD_SLOW: torch's other way, steps_slow.c.
 * FOLD_OFF: q = Q(w).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/plan_impl.h"

#include <math.h>
#include <string.h>

#include "engine/sheet.h"
#include "engine/weights.h"
#include "quant/fingerprint.h"

struct weight_step {
    struct weight_prep *w;
    struct plan *plan;
    struct qview view;
};

struct weight_prep *weights_of(const struct plan *p, int node)
{
    return p->value[node].params.prep;
}

static bool quantizes(const struct plan *p, const struct quantizer *q)
{
    return q && p->opts.mode != MODE_FLOAT;
}

/* The quantizer at one of a node's points, or NULL. */
static struct quantizer *point_q(const struct plan *p, int node,
                                 enum point_kind kind)
{
    int point = p->graph->node[node].point[kind];
    struct quantizer *q = point < 0 ? NULL : p->graph->point[point].q;
    return quantizes(p, q) ? q : NULL;
}

int plan_fold_bn(const struct plan *p, int node)
{
    if (p->opts.fold == FOLD_OFF || !point_q(p, node, POINT_WEIGHT))
        return -1;
    int bn = graph_group_bn(p->graph, node);
    if (bn < 0 || p->graph->node[bn].bn_folded)
        return -1;
    /* Other operators may stand between in a group made by hand, or another
     * quantizer; and a dense layer on sequences has its outputs on the last
     * axis, where batch norm does not look. */
    const struct node *n = &p->graph->node[node];
    if (p->graph->node[bn].in[0] != node || point_q(p, bn, POINT_IN) ||
        (n->op == &op_dense && n->shape.rank > 2))
        return -1;
    return bn;
}

bool plan_bn_absorbed(const struct plan *p, int node)
{
    const struct node *n = &p->graph->node[node];
    if (!(n->op->flags & OP_BATCH_NORM))
        return false;
    return n->bn_folded ||
           (p->opts.fold != FOLD_QAT && plan_fold_bn(p, n->head) == node);
}

static const float *bn_values(const struct plan *p, int bn, int row)
{
    return p->graph->param[p->graph->node[bn].param[row]].value;
}

static float *bn_grads(const struct plan *p, int bn, int row)
{
    return p->graph->param[p->graph->node[bn].param[row]].grad;
}

ENGINE_CLONES static void scale_row(const float *w, float factor,
                                    float *scaled, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        scaled[i] = w[i] * factor;
}

static bool is_large(const struct weight_prep *w)
{
    return w->channels * w->inner > SHEET_PARALLEL;
}

/* r and factor from the running statistics before this batch moves them;
 * scaled = w * factor. */
static void scale_weights(const struct plan *p, struct weight_prep *w)
{
    const struct node *bn = &p->graph->node[w->bn];
    const float *var = p->graph->param[bn->state[1]].value;
    const float *gamma = bn_values(p, w->bn, 0);
    const float *weight = w->weight->value;
    float eps = (float)node_attr(bn, "eps");
    float *r = plan_floats(p, w->root);
    float *factor = plan_floats(p, w->factor);
    float *scaled = plan_floats(p, w->scaled);
#pragma omp parallel for schedule(static) if (is_large(w))
    for (int64_t o = 0; o < w->channels; o++) {
        r[o] = sqrtf(var[o] + eps);
        factor[o] = gamma[o] / r[o];
        scale_row(weight + o * w->inner, factor[o], scaled + o * w->inner,
                  w->inner);
    }
}

/* Observes and quantizes; weights without a range get one from the values. */
static enum status quantize_param(const struct plan *p, struct quantizer *q,
                                  int point, const float *x, float *y,
                                  struct qview v, struct err *e)
{
    if (quant_observes(p, q)) {
        enum status st = quantizer_observe(q, x, v, e);
        if (st)
            return err_wrap(e, st, "%s", p->graph->point[point].name);
    }
    if (quant_fakes(p, q))
        quantizer_forward(q, x, y, v, p->opts.train);
    else
        memcpy(y, x, (size_t)(v.outer * v.channels * v.inner) * sizeof(*y));
    return STATUS_OK;
}

static enum status weight_run(struct plan *p, struct step *s, struct err *e)
{
    struct weight_step *c = s->priv;
    struct weight_prep *w = c->w;
    const float *x = w->weight->value;
    if (w->bn >= 0) {
        scale_weights(p, w);
        x = plan_floats(p, w->scaled);
    }
    return quantize_param(p, w->q, w->point, x, plan_floats(p, w->eff),
                          c->view, e);
}

static enum status bias_run(struct plan *p, struct step *s, struct err *e)
{
    struct weight_step *c = s->priv;
    struct weight_prep *w = c->w;
    const float *b = w->bias ? w->bias->value : NULL;
    float *raw = plan_floats(p, w->bias_raw);
    if (w->how == FOLD_PRE) {
        const float *factor = plan_floats(p, w->factor);
        const float *beta = bn_values(p, w->bn, 1);
        const struct node *bn = &p->graph->node[w->bn];
        const float *mean = p->graph->param[bn->state[0]].value;
        for (int64_t o = 0; o < w->channels; o++)
            raw[o] = ((b ? b[o] : 0.0f) - mean[o]) * factor[o] + beta[o];
        b = raw;
    }
    if (!w->q_bias)
        return STATUS_OK;
    return quantize_param(p, w->q_bias, w->point_bias, b,
                          plan_floats(p, w->bias_eff), c->view, e);
}

#define LANES 8               /* of a sum */

/* dw += d * factor; returns the sum of d * w. */
ENGINE_CLONES static double unscale_row(const float *d, const float *w,
                                        float factor, float *dw, int64_t n)
{
    double lane[LANES] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
#pragma omp simd
        for (int l = 0; l < LANES; l++) {
            lane[l] += (double)d[i + l] * (double)w[i + l];
            dw[i + l] += d[i + l] * factor;
        }
    for (; i < n; i++) {
        sum += (double)d[i] * (double)w[i];
        dw[i] += d[i] * factor;
    }
    for (int l = 0; l < LANES; l++)
        sum += lane[l];
    return sum;
}

/* dw += dscaled * factor; dfactor[o] += sum_i dscaled[o,i] * w[o,i];
 * dgamma += dfactor / r. The running variance is a constant, as in torch. */
static void unscale_grads(const struct plan *p, struct weight_prep *w,
                          const float *dscaled)
{
    const float *weight = w->weight->value;
    float *dw = w->weight->grad;
    const float *r = plan_floats(p, w->root);
    const float *factor = plan_floats(p, w->factor);
    const float *dfactor = plan_floats(p, w->dfactor);
    float *dgamma = bn_grads(p, w->bn, 0);
#pragma omp parallel for schedule(static) if (is_large(w))
    for (int64_t o = 0; o < w->channels; o++) {
        int64_t at = o * w->inner;
        double d = (double)dfactor[o] +
                   unscale_row(dscaled + at, weight + at, factor[o], dw + at,
                               w->inner);
        dgamma[o] += (float)(d / (double)r[o]);
    }
}

static enum status weight_back(struct plan *p, struct step *s, struct err *e)
{
    (void)e;
    struct weight_step *c = s->priv;
    struct weight_prep *w = c->w;
    const float *dy = plan_floats(p, w->eff_grad);
    bool fold = w->bn >= 0;
    const float *x = fold ? plan_floats(p, w->scaled) : w->weight->value;
    float *dx = fold ? plan_scratch_data(p) : w->weight->grad;
    if (quant_fakes(p, w->q))
        quantizer_backward(w->q, x, dy, dx, c->view);
    else
        memcpy(dx, dy, (size_t)(w->channels * w->inner) * sizeof(*dx));
    if (fold)
        unscale_grads(p, w, dx);
    return STATUS_OK;
}

/* FOLD_PRE: b' = (b - mean) * factor + beta. */
static void unfold_bias_grad(const struct plan *p, struct weight_prep *w,
                             const float *dy)
{
    const float *factor = plan_floats(p, w->factor);
    const struct node *bn = &p->graph->node[w->bn];
    const float *mean = p->graph->param[bn->state[0]].value;
    float *dfactor = plan_floats(p, w->dfactor);
    float *dbeta = bn_grads(p, w->bn, 1);
    for (int64_t o = 0; o < w->channels; o++) {
        float b = w->bias ? w->bias->value[o] : 0.0f;
        dbeta[o] += dy[o];
        dfactor[o] += dy[o] * (b - mean[o]);
        if (w->bias)
            w->bias->grad[o] += dy[o] * factor[o];
    }
}

static enum status bias_back(struct plan *p, struct step *s, struct err *e)
{
    (void)e;
    struct weight_step *c = s->priv;
    struct weight_prep *w = c->w;
    const float *dy = plan_floats(p, w->bias_grad);
    float *temp = plan_scratch_data(p);
    if (w->q_bias && quant_fakes(p, w->q_bias)) {
        const float *x = w->how == FOLD_PRE ? plan_floats(p, w->bias_raw)
                                            : w->bias->value;
        quantizer_backward(w->q_bias, x, dy, temp, c->view);
        dy = temp;
    }
    if (w->how == FOLD_PRE) {
        unfold_bias_grad(p, w, dy);
        return STATUS_OK;
    }
    for (int64_t o = 0; o < w->channels; o++)
        w->bias->grad[o] += dy[o];
    return STATUS_OK;
}

static const struct step_kind weight_kind = {
    .name = "weights",
    .phase = PHASE_WEIGHTS,
    .run = weight_run,
};

static const struct step_kind bias_kind = {
    .name = "bias",
    .phase = PHASE_WEIGHTS,
    .run = bias_run,
};

static const struct step_kind weight_back_kind = {
    .name = "weights bwd",
    .phase = PHASE_BACKWARD,
    .run = weight_back,
};

static const struct step_kind bias_back_kind = {
    .name = "bias bwd",
    .phase = PHASE_BACKWARD,
    .run = bias_back,
};

static struct step *weight_step(struct plan *p, const struct step_kind *kind,
                                struct weight_prep *w)
{
    struct step *s = plan_step(p, kind, w->node, sizeof(struct weight_step));
    if (!s)
        return NULL;
    struct weight_step *c = s->priv;
    c->w = w;
    c->view = w->view;
    return s;
}

/* A learned parameter of a role, or NULL; its row in *row. */
static struct param *param_of(const struct plan *p, int node,
                              enum param_role role, int *row)
{
    const struct node *n = &p->graph->node[node];
    for (int i = 0; n->op->param && n->op->param[i].name; i++) {
        if (n->op->param[i].role != role || n->param[i] < 0)
            continue;
        *row = i;
        return &p->graph->param[n->param[i]];
    }
    return NULL;
}

struct param *weights_bias(const struct plan *p, int node)
{
    int row;
    return param_of(p, node, PARAM_BIAS, &row);
}

/* The parameters as they are. */
static void plain_params(struct plan *p, int node)
{
    struct node_params *np = &p->value[node].params;
    const struct node *n = &p->graph->node[node];
    for (int i = 0; i < OP_MAX_PARAMS; i++) {
        np->value[i] = np->grad[i] = -1;
        if (!n->op->param || n->param[i] < 0)
            continue;
        np->value[i] = plan_buffer_param(p, n->param[i], false);
        if (p->opts.train)
            np->grad[i] = plan_buffer_param(p, n->param[i], true);
    }
}

static void prepare_weight(struct plan *p, struct weight_prep *w)
{
    struct node_params *np = &p->value[w->node].params;
    w->eff = plan_buffer_like(p, np->value[w->row]);
    w->eff_grad = p->opts.train ? plan_buffer_like(p, w->eff) : -1;
    np->value[w->row] = w->eff;
    np->grad[w->row] = w->eff_grad;
    np->fresh[w->row] = true;
    if (w->bn >= 0) {
        w->scaled = plan_buffer_like(p, w->eff);
        w->factor = plan_buffer_vector(p, w->channels);
        w->root = plan_buffer_vector(p, w->channels);
        w->dfactor = p->opts.train ? plan_buffer_vector(p, w->channels) : -1;
        plan_scratch(p, (size_t)(w->channels * w->inner) * sizeof(float));
    }
    struct step *s = weight_step(p, &weight_kind, w);
    if (!s)
        return;
    /* Draws come from one stream, in the order of the layers; the slow way
     * takes statistics that this batch has moved. */
    s->apart = !is_large(w) && !quantizer_may_draw(w->q) &&
               w->how != FOLD_SLOW;
    step_touch(p, s, w->eff);
    step_touch(p, s, w->scaled);
    step_touch(p, s, w->factor);
    step_touch(p, s, w->root);
}

/* The bias that the operator or the channel step after it adds. */
static void prepare_bias(struct plan *p, struct weight_prep *w)
{
    struct node_params *np = &p->value[w->node].params;
    bool pre = w->how == FOLD_PRE;
    w->bias_eff = w->bias ? np->value[w->row_bias] : -1;
    w->bias_grad = w->bias ? np->grad[w->row_bias] : -1;
    if (w->bn >= 0 && w->bias)
        np->value[w->row_bias] = np->grad[w->row_bias] = -1;
    if (!pre && !w->q_bias)
        return;
    if (pre)
        w->bias_raw = w->bias_eff = plan_buffer_vector(p, w->channels);
    if (w->q_bias)
        w->bias_eff = plan_buffer_vector(p, w->channels);
    w->bias_grad = p->opts.train ? plan_buffer_vector(p, w->channels) : -1;
    w->bias_steps = true;
    if (w->bn < 0) {
        np->value[w->row_bias] = w->bias_eff;
        np->grad[w->row_bias] = w->bias_grad;
        np->fresh[w->row_bias] = true;
    }
    plan_scratch(p, (size_t)w->channels * sizeof(float));
    struct step *s = weight_step(p, &bias_kind, w);
    if (!s)
        return;
    ((struct weight_step *)s->priv)->view = (struct qview){1, 1, w->channels};
    step_touch(p, s, w->factor);
    step_touch(p, s, w->bias_raw);
    step_touch(p, s, w->bias_eff);
}

static void find_view(const struct plan *p, struct weight_prep *w)
{
    struct shape s = w->weight->shape;
    int axis = 0;
    struct shape ignored;
    w->channels = s.dim[0];
    w->inner = shape_inner(&s, 0);
    if (!w->q)
        return;
    point_shape(p->graph, w->point, &ignored, &axis);
    w->view = quantizer_view(w->q, &s, axis);
}

static const struct weight_prep no_prep = {
    .bn = -1,
    .eff = -1,
    .eff_grad = -1,
    .scaled = -1,
    .factor = -1,
    .root = -1,
    .dfactor = -1,
    .bias_raw = -1,
    .bias_eff = -1,
    .bias_grad = -1,
};

enum status weights_forward(struct plan *p, int node, struct err *e)
{
    plain_params(p, node);
    int row = -1;
    struct param *weight = param_of(p, node, PARAM_WEIGHT, &row);
    struct quantizer *q = point_q(p, node, POINT_WEIGHT);
    struct quantizer *q_bias = point_q(p, node, POINT_BIAS);
    if (!weight || (!q && !q_bias))
        return p->out_of_memory ? err_memory(e, "plan") : STATUS_OK;
    struct weight_prep *w = arena_alloc(p->arena, sizeof(*w));
    if (!w)
        return err_memory(e, "plan");
    *w = no_prep;
    w->node = node;
    w->weight = weight;
    w->row = row;
    w->q = q;
    w->bias = param_of(p, node, PARAM_BIAS, &w->row_bias);
    w->q_bias = w->bias || plan_fold_bn(p, node) >= 0 ? q_bias : NULL;
    w->point = p->graph->node[node].point[POINT_WEIGHT];
    w->point_bias = p->graph->node[node].point[POINT_BIAS];
    w->bn = plan_fold_bn(p, node);
    w->how = w->bn >= 0 ? p->opts.fold : FOLD_OFF;
    /* Before folding for good, only the float bias exists apart; in the slow
     * way batch norm takes it up. */
    if ((w->how == FOLD_QAT && !w->bias) || w->how == FOLD_SLOW)
        w->q_bias = NULL;
    p->value[node].params.prep = w;
    find_view(p, w);
    if (w->q)
        prepare_weight(p, w);
    prepare_bias(p, w);
    return p->out_of_memory ? err_memory(e, "plan") : STATUS_OK;
}

enum status weights_backward(struct plan *p, int node, struct err *e)
{
    struct weight_prep *w = p->value[node].params.prep;
    if (!w)
        return STATUS_OK;
    if (w->bias_steps) {
        struct step *s = weight_step(p, &bias_back_kind, w);
        if (!s)
            return err_memory(e, "plan");
        ((struct weight_step *)s->priv)->view =
            (struct qview){1, 1, w->channels};
        step_touch(p, s, w->bias_raw);
        step_touch(p, s, w->bias_grad);
        step_touch(p, s, w->factor);
        step_touch(p, s, w->dfactor);
    }
    if (!w->q)
        return STATUS_OK;
    struct step *s = weight_step(p, &weight_back_kind, w);
    if (!s)
        return err_memory(e, "plan");
    step_touch(p, s, w->eff_grad);
    step_touch(p, s, w->scaled);
    step_touch(p, s, w->factor);
    step_touch(p, s, w->root);
    step_touch(p, s, w->dfactor);
    return STATUS_OK;
}

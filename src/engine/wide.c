/* Which layers are wide, and their steps.
 *
 * A layer is wide when one of its grids has more than 8 bits and its sums are
 * not exact in float32: reach of the input x reach of the weights x fan-in
 * above 2^24. Up to 2^53 doubles hold them.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/wide.h"

#include <math.h>

#include "engine/fast_tail.h"
#include "engine/int_impl.h"
#include "engine/weights.h"
#include "quant/uniform.h"

#define FLOAT_EXACT 16777216.0             /* 2^24 */
#define DOUBLE_EXACT 9007199254740992.0    /* 2^53 */

/* The farthest code that its value in float32 still tells: a value is off by
 * 2^-24 of itself at most, or by nothing, or, of kinds with arithmetic of
 * their own, by 1e-6. */
#define REACH_UNIFORM 8388608.0            /* 2^23 */
#define REACH_BINARY 16777216.0            /* 2^24 */
#define REACH_OTHER 262144.0               /* 2^18 */

/* ---- grids ---- */

static double reach_limit(const struct qspec *s)
{
    if (s->kind->flags & QK_BINARY_STEP)
        return REACH_BINARY;
    return s->kind->forward == uniform_forward ? REACH_UNIFORM : REACH_OTHER;
}

/* Largest |code - zero| for any zero point among the codes. */
static double reach_of(const struct quantizer *q)
{
    double lo = (double)q->lo_code, hi = (double)q->hi_code;
    bool centred = (q->spec.symmetric && q->spec.is_signed) ||
                   (q->spec.kind->flags & QK_BINARY_STEP);
    return centred ? fmax(-lo, hi) : hi - lo;
}

static bool is_even(const struct plan *p, const struct quantizer *q)
{
    const struct qspec *s = &q->spec;
    return quant_fakes(p, q) && (s->kind->flags & QK_UNIFORM) &&
           s->kind->codes && s->grain != GRAIN_GROUP && !s->float_zp &&
           s->delay == 0 && s->noise == 1 && q->noise_factor == 1 &&
           reach_of(q) <= reach_limit(s);
}

/* The largest |code - zero| as the zero points are now; infinite when they
 * are no codes. */
static double reach_now(const struct quantizer *q)
{
    double most = 0;
    for (int64_t c = 0; c < q->channels; c++) {
        double z = (double)q->zero_point[c];
        if (z != rint(z))
            return INFINITY;
        most = fmax(most, fmax(fabs((double)q->hi_code - z),
                               fabs((double)q->lo_code - z)));
    }
    return most <= reach_limit(&q->spec) ? most : INFINITY;
}

/* Operators whose numbers are some of their input's, or 0. */
static const struct op *const grid_keepers[] = {
    &op_max_pool, &op_flatten, &op_reshape, &op_identity, &op_transpose,
    &op_relu,
};

static bool keeps_grid(const struct plan *p, int node)
{
    const struct op *op = p->graph->node[node].op;
    for (size_t i = 0; i < sizeof(grid_keepers) / sizeof(grid_keepers[0]); i++)
        if (op == grid_keepers[i])
            return true;
    return plan_op_rests(p, node);
}

/* Whose grid the layer's input lies on, or NULL. */
static const struct quantizer *input_grid(const struct plan *p, int node)
{
    const struct quantizer *q = p->value[node].q_in;
    for (int at = node; !q;) {
        at = p->graph->node[at].in[0];
        q = p->value[at].q;
        if (q)
            break;
        if (!keeps_grid(p, at))
            return NULL;
        q = p->value[at].q_in;
    }
    bool fits = q->channels == 1 && q->spec.grain == GRAIN_TENSOR &&
                is_even(p, q);
    return fits ? q : NULL;
}

/* ---- which layers ---- */

static bool is_product(const struct node *n)
{
    bool dense = n->op == &op_dense && n->shape.rank != 4;
    return dense || n->op == &op_conv2d || n->op == &op_conv1d;
}

static bool is_wide(const struct quantizer *qx, const struct quantizer *qw,
                    int64_t inner)
{
    int64_t span_x = qx->hi_code - qx->lo_code;
    int64_t span_w = qw->hi_code - qw->lo_code;
    double most = reach_of(qx) * reach_of(qw) * (double)inner;
    return (span_x > 255 || span_w > 255) && most > FLOAT_EXACT &&
           most <= DOUBLE_EXACT;
}

/* (N,C,H,W), (N,C,L) or rows. */
static struct wide_steps steps_of(const struct plan *p,
                                  const struct wide_layer *l, int buffer,
                                  int64_t channels)
{
    const struct buffer *b = &p->buf[buffer];
    int64_t step[SHAPE_MAX];
    if (l->dense)
        return (struct wide_steps){.n = channels, .c = 1};
    int_steps(&b->shape, b->layout, step);
    bool line = b->shape.rank == 3;
    return (struct wide_steps){.n = step[0], .c = step[1],
                               .h = line ? 0 : step[2],
                               .w = step[line ? 2 : 3]};
}

enum status wide_layer_new(struct plan *p, int node, struct wide_layer **out,
                           struct err *e)
{
    *out = NULL;
    const struct weight_prep *prep = p->value[node].params.prep;
    if (!is_product(&p->graph->node[node]) || !prep || !prep->q ||
        prep->how == FOLD_SLOW || p->opts.mode == MODE_FLOAT)
        return STATUS_OK;
    const struct quantizer *qx = input_grid(p, node);
    struct conv_geom geom = conv_geom_of(&p->graph->node[node],
                                         plan_shape(p, plan_in(p, node, 0)));
    if (!qx || !is_even(p, prep->q) ||
        !is_wide(qx, prep->q, geom.ci / geom.groups * geom.kh * geom.kw))
        return STATUS_OK;
    struct wide_layer *l = arena_alloc(p->arena, sizeof(*l));
    if (!l)
        return err_memory(e, "plan");
    *l = (struct wide_layer){
        .node = node,
        .dense = p->graph->node[node].op == &op_dense,
        .geom = geom,
        .qx = qx,
        .qw = prep->q,
        .x = plan_in(p, node, 0),
        .eff = prep->eff,
        .loops = p->backend->layout == LAYOUT_NCHW,
    };
    l->x_step = steps_of(p, l, l->x, geom.ci);
    *out = l;
    return STATUS_OK;
}

/* ---- steps ---- */

/* Code - zero of the weights, channels last; the largest sum of magnitudes
 * of a channel comes back. */
static double fill_weights(struct plan *p, struct wide_layer *l, bool codes)
{
    const struct conv_geom *g = &l->geom;
    const float *w = plan_floats(p, l->eff);
    int64_t taps = g->kh * g->kw, ci = g->ci / g->groups;
    double most = 0;
    for (int64_t o = 0; o < g->co; o++) {
        const struct quantizer *q = l->qw;
        double per = codes ? 1.0 / (double)q->scale[q->channels == 1 ? 0 : o]
                           : 1.0;
        double sum = 0;
        for (int64_t c = 0; c < ci; c++)
            for (int64_t k = 0; k < taps; k++) {
                double v = (double)w[(o * ci + c) * taps + k] * per;
                v = codes ? rint(v) : v;
                l->w[(o * taps + k) * ci + c] = v;
                sum += fabs(v);
            }
        most = fmax(most, sum);
    }
    for (int64_t k = 0; l->taps && k < taps; k++)
        for (int64_t o = 0; o < g->co; o++)
            l->taps[k * g->co + o] = l->w[o * taps + k];
    return most;
}

static enum status weights_run(struct plan *p, struct step *s, struct err *e)
{
    (void)e;
    struct wide_layer *l = *(struct wide_layer **)s->priv;
    double reach = reach_now(l->qx), most = INFINITY;
    bool codes = isfinite(reach) && isfinite(reach_now(l->qw));
    if (codes)
        most = fill_weights(p, l, true);
    l->exact = most * reach <= DOUBLE_EXACT;
    if (!l->exact)
        fill_weights(p, l, false);
    l->per_x = l->exact ? 1.0 / (double)l->qx->scale[0] : 1.0;
    for (int64_t o = 0; o < l->geom.co; o++) {
        real scale = l->qw->scale[l->qw->channels == 1 ? 0 : o];
        l->unit[o] = l->exact ? (float)(l->qx->scale[0] * scale) : 1.0f;
    }
    return STATUS_OK;
}

static enum status layer_run(struct plan *p, struct step *s, struct err *e)
{
    (void)e;
    wide_sums_run(p, *(struct wide_layer **)s->priv);
    return STATUS_OK;
}

static const struct step_kind weights_kind = {
    .name = "weights f64",
    .phase = PHASE_WEIGHTS,
    .run = weights_run,
};

static const struct step_kind layer_kind[2] = {
    {.name = "conv f64 fwd", .phase = PHASE_FORWARD, .run = layer_run},
    {.name = "dense f64 fwd", .phase = PHASE_FORWARD, .run = layer_run},
};

static void *array(struct plan *p, int64_t n, size_t size)
{
    void *a = arena_alloc(p->arena, (size_t)n * size);
    if (!a)
        p->out_of_memory = true;
    return a;
}

enum status wide_layer_forward(struct plan *p, struct wide_layer *l, int y,
                               int bias, struct err *e)
{
    const struct conv_geom *g = &l->geom;
    int64_t n = g->co * wide_inner(l);
    l->y = y;
    l->bias = bias;
    l->y_step = steps_of(p, l, y, g->co);
    wide_sums_init(p, l);
    l->w = array(p, n, sizeof(double));
    l->unit = array(p, g->co, sizeof(float));
    if (!l->loops && g->groups > 1 && g->groups == g->ci && g->co == g->ci)
        l->taps = array(p, n, sizeof(double));
    plan_scratch(p, l->in_bytes + l->lane_bytes * (size_t)p->threads);
    struct step *w = plan_step(p, &weights_kind, l->node, sizeof(l));
    struct step *s = plan_step(p, &layer_kind[l->dense], l->node, sizeof(l));
    if (!w || !s || p->out_of_memory)
        return err_memory(e, "plan");
    *(struct wide_layer **)w->priv = l;
    *(struct wide_layer **)s->priv = l;
    s->flops = 2.0 * (double)node_macs(p->graph, &p->graph->node[l->node]) *
               (double)p->opts.batch;
    step_touch(p, w, l->eff);
    step_touch(p, s, l->x);
    step_touch(p, s, bias);
    step_touch(p, s, y);
    return STATUS_OK;
}

enum status wide_layer_tail(struct plan *p, struct wide_layer *l,
                            struct tail *t, struct err *e)
{
    return wide_layer_forward(p, l, t->src, tail_give_bias(t) ? t->bias : -1,
                              e);
}

static int own_bias(const struct plan *p, int node)
{
    const struct node *n = &p->graph->node[node];
    for (int i = 0; n->op->param[i].name; i++)
        if (n->op->param[i].role == PARAM_BIAS)
            return p->value[node].params.value[i];
    return -1;
}

enum status wide_op_forward(struct plan *p, int node, bool *done,
                            struct err *e)
{
    struct wide_layer *l;
    TRY(wide_layer_new(p, node, &l, e));
    *done = l != NULL;
    if (!l)
        return STATUS_OK;
    p->value[node].saved = -1;
    return wide_layer_forward(p, l, p->value[node].raw, own_bias(p, node), e);
}

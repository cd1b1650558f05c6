/* Convolution in (N,H,W,C), with what follows it as a tail.
 *
 * By oneDNN: weights are kept as (O,I,KH,KW) and brought into each
 * primitive's own layout when they have changed, that is in every step. Of
 * one input channel by thin_conv.c: oneDNN takes three times as long (5x5,
 * 1 -> 6 at 28x28). SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/fast.h"

#include "engine/fast_bf16.h"
#include "engine/onednn.h"
#include "engine/thin_conv.h"
#include "engine/wide.h"

struct conv_step {
    struct dnn_conv *conv;    /* or: */
    struct dnn_reorder *reorder;
    int x, w, bias, y, from, to;
};

struct conv_unit {
    struct tail *tail;
    struct conv_geom geom;
    struct dnn_conv *forward; /* its step owns it; NULL: on codes */
    int w_forward;            /* weights in its layout */
    struct sum_layer *codes;  /* or NULL */
    struct bf16_grad half;
};

static enum status conv_bind(struct plan *p, struct step *s, struct err *e)
{
    struct conv_step *c = s->priv;
    void *scratch = plan_scratch_data(p);
    if (c->reorder)
        return dnn_reorder_bind(c->reorder, plan_data(p, c->from),
                                plan_data(p, c->to), scratch, e);
    const struct dnn_conv_data at = {
        .x = plan_data(p, c->x),
        .w = plan_data(p, c->w),
        .bias = plan_data(p, c->bias),
        .y = plan_data(p, c->y),
        .scratch = scratch,
    };
    return dnn_conv_bind(c->conv, &at, e);
}

static enum status conv_run(struct plan *p, struct step *s, struct err *e)
{
    (void)p;
    const struct conv_step *c = s->priv;
    return dnn_conv_run(c->conv, e);
}

static enum status reorder_run(struct plan *p, struct step *s, struct err *e)
{
    (void)p;
    const struct conv_step *c = s->priv;
    return dnn_reorder_run(c->reorder, e);
}

static void conv_fini(struct step *s)
{
    struct conv_step *c = s->priv;
    dnn_conv_free(c->conv);
    dnn_reorder_free(c->reorder);
}

#define CONV(what, when)                                              \
    {.name = what, .phase = when, .bind = conv_bind, .run = conv_run, \
     .fini = conv_fini}

static const struct step_kind conv_kind[] = {
    [DNN_FORWARD] = CONV("conv f32 fwd", PHASE_FORWARD),
    [DNN_BACK_DATA] = CONV("conv f32 bwd data", PHASE_BACKWARD),
    [DNN_BACK_WEIGHTS] = CONV("conv f32 bwd weights", PHASE_BACKWARD),
};

static const struct step_kind half_kind[] = {
    [DNN_BACK_DATA] = CONV("conv bf16 bwd data", PHASE_BACKWARD),
    [DNN_BACK_WEIGHTS] = CONV("conv bf16 bwd weights", PHASE_BACKWARD),
};

static const struct step_kind inward_kind = {
    .name = "weights layout",
    .phase = PHASE_WEIGHTS,
    .bind = conv_bind,
    .run = reorder_run,
    .fini = conv_fini,
};

static const struct step_kind outward_kind = {
    .name = "weights layout",
    .phase = PHASE_BACKWARD,
    .bind = conv_bind,
    .run = reorder_run,
    .fini = conv_fini,
};

/* A step with nothing in it yet: what is made next belongs to it. */
static struct conv_step *step_new(struct plan *p,
                                  const struct step_kind *kind, int node,
                                  struct step **out)
{
    struct step *s = plan_step(p, kind, node, sizeof(struct conv_step));
    *out = s;
    if (!s)
        return NULL;
    struct conv_step *c = s->priv;
    c->x = c->w = c->bias = c->y = c->from = c->to = -1;
    return c;
}

static enum status layout_step(struct plan *p, int node,
                               const struct dnn_conv *conv, int from, int to,
                               bool inward, struct err *e)
{
    struct step *s;
    struct conv_step *c =
        step_new(p, inward ? &inward_kind : &outward_kind, node, &s);
    if (!c)
        return err_memory(e, "plan");
    TRY(dnn_reorder_new(p->dnn, conv, inward, &c->reorder, e));
    c->from = from;
    c->to = to;
    plan_scratch(p, dnn_reorder_scratch_bytes(c->reorder));
    step_touch(p, s, from);
    step_touch(p, s, to);
    return STATUS_OK;
}

static int weight_buffer(struct plan *p, const struct dnn_conv *c)
{
    size_t bytes = dnn_conv_weight_bytes(c) + sizeof(float) - 1;
    return plan_buffer_vector(p, (int64_t)(bytes / sizeof(float)));
}

struct conv_ends {
    int x, w, bias, y;
};

static enum status conv_step(struct plan *p, int node,
                             const struct dnn_conv_spec *spec,
                             struct dnn_conv *conv,
                             const struct conv_ends *at, struct err *e)
{
    struct step *s;
    const struct step_kind *kind = spec->bf16 ? half_kind : conv_kind;
    struct conv_step *c = step_new(p, &kind[spec->dir], node, &s);
    if (!c) {
        dnn_conv_free(conv);
        return err_memory(e, "plan");
    }
    c->conv = conv;
    c->x = at->x;
    c->w = at->w;
    c->bias = spec->bias ? at->bias : -1;
    c->y = at->y;
    plan_scratch(p, dnn_conv_scratch_bytes(conv));
    step_touch(p, s, c->x);
    step_touch(p, s, c->w);
    step_touch(p, s, c->bias);
    step_touch(p, s, c->y);
    s->flops = 2.0 * (double)node_macs(p->graph, &p->graph->node[node]) *
               (double)p->opts.batch;
    return STATUS_OK;
}

static bool conv_fits(struct plan *p, struct unit *u)
{
    if (p->graph->node[u->node[0]].op != &op_conv2d)
        return false;
    tail_claim(p, u, true);
    return true;
}

/* ---- of one input channel ---- */

struct thin_step {
    struct thin_conv conv;
    int x, w, bias, y, ends;  /* buffers */
    enum dnn_dir dir;
};

static enum status thin_bind(struct plan *p, struct step *s, struct err *e)
{
    (void)e;
    struct thin_step *t = s->priv;
    float *const at[] = {
        [DNN_FORWARD] = plan_floats(p, t->y),
        [DNN_BACK_DATA] = plan_floats(p, t->x),
        [DNN_BACK_WEIGHTS] = plan_floats(p, t->w),
    };
    t->conv.x = plan_floats(p, t->x);
    t->conv.w = plan_floats(p, t->w);
    t->conv.y = plan_floats(p, t->y);
    t->conv.bias = plan_floats(p, t->bias);
    t->conv.to = at[t->dir];
    t->conv.ends = plan_floats(p, t->ends);
    t->conv.scratch = plan_scratch_data(p);
    return STATUS_OK;
}

static enum status thin_run(struct plan *p, struct step *s, struct err *e)
{
    static void (*const run[])(const struct thin_conv *) = {
        [DNN_FORWARD] = thin_conv_forward,
        [DNN_BACK_DATA] = thin_conv_back_data,
        [DNN_BACK_WEIGHTS] = thin_conv_back_weights,
    };
    (void)p;
    (void)e;
    const struct thin_step *t = s->priv;
    run[t->dir](&t->conv);
    return STATUS_OK;
}

#define THIN(what, when) \
    {.name = what, .phase = when, .bind = thin_bind, .run = thin_run}

static const struct step_kind thin_kind[] = {
    [DNN_FORWARD] = THIN("conv thin fwd", PHASE_FORWARD),
    [DNN_BACK_DATA] = THIN("conv thin bwd data", PHASE_BACKWARD),
    [DNN_BACK_WEIGHTS] = THIN("conv thin bwd weights", PHASE_BACKWARD),
};

static enum status thin_step(struct plan *p, const struct unit *u,
                             enum dnn_dir dir, const struct conv_ends *at,
                             struct err *e)
{
    const struct conv_unit *c = u->priv;
    int node = u->node[0];
    struct step *s = plan_step(p, &thin_kind[dir], node,
                               sizeof(struct thin_step));
    if (!s)
        return err_memory(e, "plan");
    *(struct thin_step *)s->priv = (struct thin_step){
        .conv = {.geom = c->geom, .threads = p->threads},
        .x = at->x,
        .w = at->w,
        .bias = at->bias,
        .y = at->y,
        .ends = dir == DNN_FORWARD ? tail_wants_ends(p, c->tail) : -1,
        .dir = dir,
    };
    plan_scratch(p, thin_conv_scratch(&c->geom, p->threads));
    step_touch(p, s, at->x);
    step_touch(p, s, at->w);
    step_touch(p, s, at->bias);
    step_touch(p, s, at->y);
    step_touch(p, s, ((struct thin_step *)s->priv)->ends);
    s->flops = 2.0 * (double)node_macs(p->graph, &p->graph->node[node]) *
               (double)p->opts.batch;
    return STATUS_OK;
}

/* The product's buffer, and the tail that makes the unit's value of it. */
static struct conv_unit *unit_new(struct plan *p, struct unit *u)
{
    struct conv_unit *c = arena_alloc(p->arena, sizeof(*c));
    if (!c)
        return NULL;
    int node = u->node[0];
    const struct node *n = &p->graph->node[node];
    c->geom = conv_geom_of(n, plan_shape(p, plan_in(p, node, 0)));
    struct shape y = node_shape(n, p->opts.batch);
    struct tail_spec spec = {
        .src = plan_buffer(p, DTYPE_F32, &y, LAYOUT_NHWC),
        .src2 = -1,
    };
    if (p->out_of_memory)
        return NULL;
    c->tail = tail_new(p, u, &spec);
    u->priv = c;
    return c->tail ? c : NULL;
}

/* Products of floats. */
static enum status float_forward(struct plan *p, struct unit *u,
                                 struct err *e)
{
    struct conv_unit *c = u->priv;
    struct tail *t = c->tail;
    int node = u->node[0], w = p->value[node].params.value[0];
    struct conv_ends at = {plan_in(p, node, 0), w, -1, t->src};
    if (thin_conv_fits(&c->geom)) {
        at.bias = tail_give_bias(t) ? t->bias : -1;
        return thin_step(p, u, DNN_FORWARD, &at, e);
    }
    const struct dnn_conv_spec spec = {
        .geom = c->geom,
        .dir = DNN_FORWARD,
        .bias = tail_give_bias(t),
    };
    TRY(dnn_conv_new(p->dnn, &spec, &c->forward, e));
    c->w_forward = weight_buffer(p, c->forward);
    at.w = c->w_forward;
    at.bias = t->bias;
    enum status st = layout_step(p, node, c->forward, w, at.w, true, e);
    if (st) {
        dnn_conv_free(c->forward);
        return st;
    }
    return conv_step(p, node, &spec, c->forward, &at, e);
}

static enum status conv_forward_unit(struct plan *p, struct unit *u,
                                     struct err *e)
{
    int node = u->node[0];
    TRY(quant_in_forward(p, node, e));
    TRY(weights_forward(p, node, e));
    struct conv_unit *c = unit_new(p, u);
    if (!c)
        return err_memory(e, "plan");
    TRY(plan_dnn(p, e));
    const struct sum_layer_spec spec = {.node = node, .geom = c->geom};
    struct wide_layer *wide;
    TRY(wide_layer_new(p, node, &wide, e));
    TRY(sum_layer_new(p, &spec, &c->codes, e));
    if (wide)
        TRY(wide_layer_tail(p, wide, c->tail, e));
    else if (c->codes)
        TRY(sum_layer_forward(p, c->codes, c->tail, e));
    else
        TRY(float_forward(p, u, e));
    return tail_forward(p, c->tail, e);
}

static enum status data_by_dnn(struct plan *p, struct unit *u, int dx,
                               struct err *e)
{
    struct conv_unit *c = u->priv;
    int node = u->node[0];
    const struct bf16_grad *half = &c->half;
    const struct dnn_conv_spec spec = {
        .geom = c->geom, .dir = DNN_BACK_DATA, .bf16 = half->native,
    };
    struct dnn_conv *conv;
    TRY(dnn_conv_new(p->dnn, &spec, &conv, e));
    struct conv_ends at = {dx, c->w_forward, -1,
                           half->on ? half->dy : c->tail->dx};
    int plain = half->on ? half->w : p->value[node].params.value[0];
    if (!c->forward || !dnn_conv_same_weights(conv, c->forward)) {
        at.w = weight_buffer(p, conv);
        enum status st = layout_step(p, node, conv, plain, at.w, true, e);
        if (st) {
            dnn_conv_free(conv);
            return st;
        }
    }
    return conv_step(p, node, &spec, conv, &at, e);
}

static bool is_thin(const struct conv_unit *c)
{
    return !c->half.on && thin_conv_fits(&c->geom);
}

static enum status back_data(struct plan *p, struct unit *u, struct err *e)
{
    const struct conv_unit *c = u->priv;
    int node = u->node[0], sum;
    int dx = plan_in_part(p, node, 0, &sum);
    if (dx < 0)
        return STATUS_OK;
    const struct conv_ends at = {dx, p->value[node].params.value[0], -1,
                                 c->tail->dx};
    if (is_thin(c))
        TRY(thin_step(p, u, DNN_BACK_DATA, &at, e));
    else
        TRY(data_by_dnn(p, u, dx, e));
    if (sum < 0)
        return STATUS_OK;
    struct copy_spec copy = {node, dx, sum, true, PHASE_BACKWARD};
    return copy_step(p, &copy, e);
}

static enum status back_weights(struct plan *p, struct unit *u,
                                struct err *e)
{
    struct conv_unit *c = u->priv;
    const struct bf16_grad *half = &c->half;
    int node = u->node[0], dw = p->value[node].params.grad[0];
    const struct conv_ends plain = {plan_in(p, node, 0), dw, -1,
                                    c->tail->dx};
    if (is_thin(c))
        return thin_step(p, u, DNN_BACK_WEIGHTS, &plain, e);
    const struct dnn_conv_spec spec = {
        .geom = c->geom, .dir = DNN_BACK_WEIGHTS, .bf16 = half->native,
    };
    struct dnn_conv *conv;
    TRY(dnn_conv_new(p->dnn, &spec, &conv, e));
    struct conv_ends at = {half->on ? half->x : plan_in(p, node, 0),
                           weight_buffer(p, conv), -1,
                           half->on ? half->dy : c->tail->dx};
    TRY(conv_step(p, node, &spec, conv, &at, e));
    TRY(layout_step(p, node, conv, at.w, dw, false, e));
    return half->on ? bf16_finish(p, node, c->codes, dw, e) : STATUS_OK;
}

static enum status conv_backward_unit(struct plan *p, struct unit *u,
                                      struct err *e)
{
    struct conv_unit *c = u->priv;
    int node = u->node[0];
    TRY(tail_backward(p, c->tail, e));
    TRY(bf16_begin(p, node, c->codes, c->tail->dx, &c->half, e));
    TRY(back_data(p, u, e));
    TRY(back_weights(p, u, e));
    TRY(weights_backward(p, node, e));
    return quant_in_backward(p, node, e);
}

static enum status conv_value(const struct plan *p, const struct unit *u,
                              int node, float *out, struct err *e)
{
    const struct conv_unit *c = u->priv;
    return tail_value(p, c->tail, node, out, e);
}

static enum status conv_value_grad(const struct plan *p,
                                   const struct unit *u, int node,
                                   float *out, struct err *e)
{
    const struct conv_unit *c = u->priv;
    return tail_value_grad(p, c->tail, node, out, e);
}

const struct maker maker_conv = {
    .name = "conv",
    .fits = conv_fits,
    .forward = conv_forward_unit,
    .backward = conv_backward_unit,
    .value = conv_value,
    .value_grad = conv_value_grad,
};

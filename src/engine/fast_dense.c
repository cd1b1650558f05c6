/* Dense layers as matrix products, with what follows them as a tail.
 *
 * x: (R,I), w: (O,I), y = x w^T: (R,O); dx = dy w, dw = dy^T x.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/fast.h"

#include "engine/onednn.h"
#include "engine/wide.h"

struct dense_step {
    int a, b, c;              /* buffers */
    struct dnn_product product;
};

struct dense_unit {
    struct tail *tail;
    int64_t rows, in, out;
};

static enum status dense_bind(struct plan *p, struct step *s, struct err *e)
{
    (void)e;
    struct dense_step *d = s->priv;
    d->product.a = plan_floats(p, d->a);
    d->product.b = plan_floats(p, d->b);
    d->product.c = plan_floats(p, d->c);
    return STATUS_OK;
}

static enum status dense_run(struct plan *p, struct step *s, struct err *e)
{
    (void)p;
    const struct dense_step *d = s->priv;
    return dnn_product_run(&d->product, e);
}

static const struct step_kind forward_kind = {
    .name = "dense f32 fwd",
    .phase = PHASE_FORWARD,
    .bind = dense_bind,
    .run = dense_run,
};

static const struct step_kind data_kind = {
    .name = "dense f32 bwd data",
    .phase = PHASE_BACKWARD,
    .bind = dense_bind,
    .run = dense_run,
};

static const struct step_kind weights_kind = {
    .name = "dense f32 bwd weights",
    .phase = PHASE_BACKWARD,
    .bind = dense_bind,
    .run = dense_run,
};

static enum status product_step(struct plan *p, const struct step_kind *kind,
                                int node, const struct dense_step *spec,
                                struct err *e)
{
    struct step *s = plan_step(p, kind, node, sizeof(struct dense_step));
    if (!s)
        return err_memory(e, "plan");
    *(struct dense_step *)s->priv = *spec;
    step_touch(p, s, spec->a);
    step_touch(p, s, spec->b);
    step_touch(p, s, spec->c);
    const struct dnn_product *g = &spec->product;
    s->flops = 2.0 * (double)g->m * (double)g->n * (double)g->k;
    return STATUS_OK;
}

/* Values of rank 4 lie with another last axis here. */
static bool dense_fits(struct plan *p, struct unit *u)
{
    const struct node *n = &p->graph->node[u->node[0]];
    if (n->op != &op_dense || n->shape.rank == 4)
        return false;
    /* Batch norm counts channels on axis 1. */
    tail_claim(p, u, n->shape.rank == 2);
    return true;
}

static enum status dense_forward(struct plan *p, struct unit *u,
                                 struct err *e)
{
    int node = u->node[0];
    const struct node *n = &p->graph->node[node];
    TRY(quant_in_forward(p, node, e));
    TRY(weights_forward(p, node, e));
    struct dense_unit *d = arena_alloc(p->arena, sizeof(*d));
    if (!d)
        return err_memory(e, "plan");
    u->priv = d;
    struct shape y = node_shape(n, p->opts.batch);
    const struct conv_geom geom =
        conv_geom_of(n, plan_shape(p, plan_in(p, node, 0)));
    d->in = geom.ci;
    d->out = geom.co;
    d->rows = geom.n;
    struct tail_spec spec = {
        .src = plan_buffer(p, DTYPE_F32, &y, LAYOUT_NCHW),
        .src2 = -1,
    };
    if (p->out_of_memory)
        return err_memory(e, "plan");
    d->tail = tail_new(p, u, &spec);
    if (!d->tail)
        return err_memory(e, "plan");
    const struct sum_layer_spec on_codes = {
        .node = node,
        .dense = true,
        .geom = geom,
    };
    struct sum_layer *codes;
    TRY(sum_layer_new(p, &on_codes, &codes, e));
    const struct dense_step step = {
        .a = plan_in(p, node, 0),
        .b = p->value[node].params.value[0],
        .c = spec.src,
        .product = {.m = d->rows, .n = d->out, .k = d->in, .b_turned = true},
    };
    struct wide_layer *wide;
    TRY(wide_layer_new(p, node, &wide, e));
    if (wide)
        TRY(wide_layer_tail(p, wide, d->tail, e));
    else if (codes)
        TRY(sum_layer_forward(p, codes, d->tail, e));
    else
        TRY(product_step(p, &forward_kind, node, &step, e));
    return tail_forward(p, d->tail, e);
}

static enum status dense_backward(struct plan *p, struct unit *u,
                                  struct err *e)
{
    const struct dense_unit *d = u->priv;
    int node = u->node[0];
    TRY(tail_backward(p, d->tail, e));
    bool add;
    int dx = plan_in_grad(p, node, 0, &add);
    const struct dense_step data = {
        .a = d->tail->dx,
        .b = p->value[node].params.value[0],
        .c = dx,
        .product = {.m = d->rows, .n = d->in, .k = d->out,
                    .beta = add ? 1.0f : 0.0f},
    };
    if (dx >= 0)
        TRY(product_step(p, &data_kind, node, &data, e));
    const struct dense_step weights = {
        .a = d->tail->dx,
        .b = plan_in(p, node, 0),
        .c = p->value[node].params.grad[0],
        .product = {.m = d->out, .n = d->in, .k = d->rows, .a_turned = true},
    };
    TRY(product_step(p, &weights_kind, node, &weights, e));
    TRY(weights_backward(p, node, e));
    return quant_in_backward(p, node, e);
}

static enum status dense_value(const struct plan *p, const struct unit *u,
                               int node, float *out, struct err *e)
{
    const struct dense_unit *d = u->priv;
    return tail_value(p, d->tail, node, out, e);
}

static enum status dense_value_grad(const struct plan *p,
                                    const struct unit *u, int node,
                                    float *out, struct err *e)
{
    const struct dense_unit *d = u->priv;
    return tail_value_grad(p, d->tail, node, out, e);
}

const struct maker maker_dense = {
    .name = "dense",
    .fits = dense_fits,
    .forward = dense_forward,
    .backward = dense_backward,
    .value = dense_value,
    .value_grad = dense_value_grad,
};

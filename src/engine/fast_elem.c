/* Batch norm, relu and sums that no product comes before: tails over values
 * of other nodes. SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/fast.h"

/* Channels must be the last axis as values lie here. */
static bool norm_fits(struct plan *p, struct unit *u)
{
    const struct node *n = &p->graph->node[u->node[0]];
    if (!(n->op->flags & OP_BATCH_NORM) || plan_bn_absorbed(p, n->id) ||
        (n->shape.rank != 2 && n->shape.rank != 4))
        return false;
    tail_claim(p, u, false);
    return true;
}

static bool act_fits(struct plan *p, struct unit *u)
{
    return tail_has_clamp(p->graph->node[u->node[0]].op);
}

static bool add_fits(struct plan *p, struct unit *u)
{
    const struct node *n = &p->graph->node[u->node[0]];
    if (n->op != &op_add ||
        !shape_equal(&p->graph->node[n->in[0]].shape, &n->shape) ||
        !shape_equal(&p->graph->node[n->in[1]].shape, &n->shape))
        return false;
    tail_claim(p, u, false);
    return true;
}

static enum status elem_forward(struct plan *p, struct unit *u,
                                struct err *e)
{
    int node = u->node[0];
    TRY(quant_in_forward(p, node, e));
    TRY(weights_forward(p, node, e));
    struct tail_spec spec = {
        .src = plan_in(p, node, 0),
        .src2 = p->graph->node[node].n_in > 1 ? plan_in(p, node, 1) : -1,
        .borrowed = true,
    };
    struct tail *t = tail_new(p, u, &spec);
    if (!t)
        return err_memory(e, "plan");
    u->priv = t;
    return tail_forward(p, t, e);
}

static enum status elem_backward(struct plan *p, struct unit *u,
                                 struct err *e)
{
    struct tail *t = u->priv;
    int node = u->node[0];
    TRY(tail_backward(p, t, e));
    for (int i = 0; i < p->graph->node[node].n_in; i++)
        TRY(plan_in_share(p, node, i, t->dx, e));
    return quant_in_backward(p, node, e);
}

static enum status elem_value(const struct plan *p, const struct unit *u,
                              int node, float *out, struct err *e)
{
    return tail_value(p, u->priv, node, out, e);
}

static enum status elem_value_grad(const struct plan *p,
                                   const struct unit *u, int node,
                                   float *out, struct err *e)
{
    return tail_value_grad(p, u->priv, node, out, e);
}

const struct maker maker_norm = {
    .name = "batch norm",
    .fits = norm_fits,
    .forward = elem_forward,
    .backward = elem_backward,
    .value = elem_value,
    .value_grad = elem_value_grad,
};

const struct maker maker_act = {
    .name = "clamp",
    .fits = act_fits,
    .forward = elem_forward,
    .backward = elem_backward,
    .value = elem_value,
    .value_grad = elem_value_grad,
};

const struct maker maker_add = {
    .name = "add",
    .fits = add_fits,
    .forward = elem_forward,
    .backward = elem_backward,
    .value = elem_value,
    .value_grad = elem_value_grad,
};

/* Operators that only move numbers: those whose output has the bytes of its
 * input share its memory, and concat copies runs of channels.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/fast.h"

#include <string.h>

#include "nn/op_util.h"

/* ---- flatten, reshape, identity ---- */

static const struct op *const same_bytes[] = {&op_flatten, &op_reshape,
                                              &op_identity};

static bool moves_nothing(const struct plan *p, const struct node *n)
{
    for (size_t i = 0; i < sizeof(same_bytes) / sizeof(same_bytes[0]); i++)
        if (n->op == same_bytes[i])
            return true;
    return plan_bn_absorbed(p, n->id) || plan_op_rests(p, n->id);
}

/* Numbers keep their order in logical layout: where both sides have rank 4
 * they must keep their places too. */
static bool alias_fits(struct plan *p, struct unit *u)
{
    const struct node *n = &p->graph->node[u->node[0]];
    const struct node *in = &p->graph->node[n->in[0]];
    return moves_nothing(p, n) &&
           (n->shape.rank != 4 || shape_equal(&n->shape, &in->shape));
}

static bool keeps_layout(const struct plan *p, int node)
{
    const struct node *n = &p->graph->node[node];
    return n->shape.rank == 4 ||
           p->graph->node[n->in[0]].shape.rank != 4;
}

static enum status alias_forward(struct plan *p, struct unit *u,
                                 struct err *e)
{
    int node = u->node[0];
    TRY(quant_in_forward(p, node, e));
    int from = plan_in(p, node, 0);
    if (!keeps_layout(p, node))
        from = plan_logical(p, node, from, PHASE_FORWARD);
    struct value *v = &p->value[node];
    struct shape s = node_shape(&p->graph->node[node], p->opts.batch);
    v->raw = v->out = plan_alias(p, from, &s);
    if (v->q)
        v->out = plan_buffer_like(p, v->raw);
    if (p->out_of_memory)
        return err_memory(e, "plan");
    plan_keep(p, v->raw);
    plan_keep(p, v->out);
    return quant_out_forward(p, node, e);
}

static enum status alias_backward(struct plan *p, struct unit *u,
                                  struct err *e)
{
    int node = u->node[0];
    TRY(quant_out_backward(p, node, e));
    int dy = plan_raw_grad(p, node);
    if (!plan_in_wanted(p, node, 0))
        return STATUS_OK;
    int in = plan_in(p, node, 0);
    struct shape x = *plan_shape(p, in);
    dy = plan_alias(p, dy, &x);
    if (p->out_of_memory)
        return err_memory(e, "plan");
    if (keeps_layout(p, node)) {
        TRY(plan_in_share(p, node, 0, dy, e));
        return quant_in_backward(p, node, e);
    }
    p->buf[dy].layout = LAYOUT_NCHW;
    int sum;
    int dx = plan_in_part(p, node, 0, &sum);
    struct copy_spec copy = {node, dy, sum < 0 ? dx : sum, sum >= 0,
                             PHASE_BACKWARD};
    TRY(copy_step(p, &copy, e));
    return quant_in_backward(p, node, e);
}

const struct maker maker_alias = {
    .name = "alias",
    .fits = alias_fits,
    .forward = alias_forward,
    .backward = alias_backward,
};

/* ---- concat along the last axis as values lie here ---- */

struct run {
    int buffer;
    int64_t at, length;       /* channels in a row of the whole */
};

struct concat {
    struct run run[OP_MAX_INPUTS];
    int n;
    int whole;                /* buffer */
    int64_t rows, row;
    bool split;               /* backward: from the whole to the parts */
};

static void copy_rows(const struct concat *c, const struct run *r,
                      float *whole, float *part)
{
    int64_t count = c->rows * r->length;
#pragma omp parallel for schedule(static) if (count > SHEET_PARALLEL)
    for (int64_t i = 0; i < c->rows; i++) {
        float *a = whole + i * c->row + r->at;
        float *b = part + i * r->length;
        memcpy(c->split ? b : a, c->split ? a : b,
               (size_t)r->length * sizeof(float));
    }
}

static enum status concat_run(struct plan *p, struct step *s, struct err *e)
{
    (void)e;
    const struct concat *c = s->priv;
    for (int i = 0; i < c->n; i++)
        if (c->run[i].buffer >= 0)
            copy_rows(c, &c->run[i], plan_floats(p, c->whole),
                      plan_floats(p, c->run[i].buffer));
    return STATUS_OK;
}

static const struct step_kind concat_kind[] = {
    {.name = "concat fwd", .phase = PHASE_FORWARD, .run = concat_run},
    {.name = "concat bwd", .phase = PHASE_BACKWARD, .run = concat_run},
};

static bool concat_fits(struct plan *p, struct unit *u)
{
    const struct node *n = &p->graph->node[u->node[0]];
    if (n->op != &op_concat)
        return false;
    int64_t axis = node_int(n, "axis");
    int rank = n->shape.rank;
    if (axis < 0)
        axis += rank;
    return axis == (rank == 4 ? 1 : rank - 1);
}

static struct step *concat_step(struct plan *p, int node, int whole,
                                bool split)
{
    struct step *s = plan_step(p, &concat_kind[split], node,
                               sizeof(struct concat));
    if (!s)
        return NULL;
    struct concat *c = s->priv;
    const struct node *n = &p->graph->node[node];
    int axis = n->shape.rank == 4 ? 1 : n->shape.rank - 1;
    c->whole = whole;
    c->split = split;
    c->row = n->shape.dim[axis];
    c->rows = shape_count(plan_shape(p, whole)) / c->row;
    c->n = n->n_in;
    step_touch(p, s, whole);
    for (int i = 0; i < c->n; i++) {
        int64_t length = p->graph->node[n->in[i]].shape.dim[axis];
        c->run[i].length = length;
        c->run[i].at =
            i ? c->run[i - 1].at + c->run[i - 1].length : 0;
        c->run[i].buffer = -1;
    }
    return s;
}

static enum status concat_forward(struct plan *p, struct unit *u,
                                  struct err *e)
{
    int node = u->node[0];
    TRY(quant_in_forward(p, node, e));
    plan_make_value(p, node);
    if (p->out_of_memory)
        return err_memory(e, "plan");
    struct step *s = concat_step(p, node, p->value[node].raw, false);
    if (!s)
        return err_memory(e, "plan");
    struct concat *c = s->priv;
    for (int i = 0; i < c->n; i++) {
        c->run[i].buffer = plan_in(p, node, i);
        step_touch(p, s, c->run[i].buffer);
    }
    return quant_out_forward(p, node, e);
}

static enum status concat_backward(struct plan *p, struct unit *u,
                                   struct err *e)
{
    int node = u->node[0], sum[OP_MAX_INPUTS];
    TRY(quant_out_backward(p, node, e));
    struct step *s = concat_step(p, node, plan_raw_grad(p, node), true);
    if (!s)
        return err_memory(e, "plan");
    struct concat *c = s->priv;
    for (int i = 0; i < c->n; i++) {
        c->run[i].buffer = plan_in_part(p, node, i, &sum[i]);
        step_touch(p, s, c->run[i].buffer);
    }
    for (int i = 0; i < c->n; i++) {
        if (sum[i] < 0)
            continue;
        struct copy_spec copy = {node, c->run[i].buffer, sum[i], true,
                                 PHASE_BACKWARD};
        TRY(copy_step(p, &copy, e));
    }
    return quant_in_backward(p, node, e);
}

const struct maker maker_concat = {
    .name = "concat",
    .fits = concat_fits,
    .forward = concat_forward,
    .backward = concat_backward,
};

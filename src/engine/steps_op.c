/* Steps that run an operator by its own kernels, in logical layout: all of
 * back end ref, and what back end fast has nothing better for.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/plan_impl.h"

#include <string.h>

#include "engine/wide.h"

struct op_step {
    const struct op *op;
    struct op_call call;
    int in[OP_MAX_INPUTS], out, saved, param[OP_MAX_PARAMS];
    int din[OP_MAX_INPUTS], dout, dparam[OP_MAX_PARAMS];
    bool fresh[OP_MAX_INPUTS], fresh_param[OP_MAX_PARAMS];
};

static void bind_params(struct plan *p, struct op_step *o)
{
    const struct node *n = o->call.node;
    for (int i = 0; i < OP_MAX_PARAMS; i++) {
        o->call.param[i] = plan_floats(p, o->param[i]);
        o->call.dparam[i] = plan_floats(p, o->dparam[i]);
    }
    for (int i = 0; i < OP_MAX_STATES; i++)
        if (n->state[i] >= 0 && n->op == o->op)
            o->call.state[i] = p->graph->param[n->state[i]].value;
}

static enum status op_bind(struct plan *p, struct step *s, struct err *e)
{
    (void)e;
    struct op_step *o = s->priv;
    struct op_call *c = &o->call;
    for (int i = 0; i < c->node->n_in; i++) {
        c->in[i] = plan_floats(p, o->in[i]);
        c->in_shape[i] = plan_shape(p, o->in[i]);
        c->din[i] = plan_floats(p, o->din[i]);
    }
    c->out = plan_floats(p, o->out);
    c->out_shape = plan_shape(p, o->out >= 0 ? o->out : o->dout);
    c->dout = plan_floats(p, o->dout);
    c->saved = plan_floats(p, o->saved);
    c->rng = p->opts.dropout;
    bind_params(p, o);
    return STATUS_OK;
}

/* Frozen statistics are read when the step runs: freezing needs no new
 * plan in back end ref. */
static void refresh_flags(const struct plan *p, struct op_call *c)
{
    c->train = p->opts.train && !p->opts.observe_only;
    c->freeze_stats = c->node->bn_frozen;
}

static enum status op_run(struct plan *p, struct step *s, struct err *e)
{
    struct op_step *o = s->priv;
    refresh_flags(p, &o->call);
    enum status st = o->op->forward(&o->call, e);
    return st ? err_wrap(e, st, "%s", o->call.node->name) : STATUS_OK;
}

static enum status op_back_run(struct plan *p, struct step *s, struct err *e)
{
    struct op_step *o = s->priv;
    refresh_flags(p, &o->call);
    for (int i = 0; i < o->call.node->n_in; i++)
        if (o->fresh[i])
            memset(o->call.din[i], 0, (size_t)p->buf[o->din[i]].bytes);
    for (int i = 0; i < OP_MAX_PARAMS; i++)
        if (o->fresh_param[i] && o->call.dparam[i])
            memset(o->call.dparam[i], 0, (size_t)p->buf[o->dparam[i]].bytes);
    enum status st = o->op->backward(&o->call, e);
    return st ? err_wrap(e, st, "%s", o->call.node->name) : STATUS_OK;
}

static const struct step_kind op_kind = {
    .name = "op fwd",
    .phase = PHASE_FORWARD,
    .bind = op_bind,
    .run = op_run,
};

static const struct step_kind op_back_kind = {
    .name = "op bwd",
    .phase = PHASE_BACKWARD,
    .bind = op_bind,
    .run = op_back_run,
};

/* A batch norm that is absorbed or folded, and an operator that rests, do
 * nothing of their own. */
static const struct op *effective_op(const struct plan *p, int node)
{
    const struct node *n = &p->graph->node[node];
    bool nothing = plan_bn_absorbed(p, node) || plan_op_rests(p, node);
    return nothing ? &op_identity : n->op;
}

/* Elementwise operators take any layout, if all values lie alike. */
static bool any_layout(const struct plan *p, int node)
{
    const struct node *n = &p->graph->node[node];
    const struct value *v = &p->value[node];
    if (!(effective_op(p, node)->flags & OP_ELEMENTWISE))
        return false;
    const struct buffer *out = &p->buf[v->raw];
    for (int i = 0; i < n->n_in; i++) {
        const struct buffer *in = &p->buf[plan_in(p, node, i)];
        if (!shape_equal(&in->shape, &out->shape) ||
            !layout_same_bytes(in, out))
            return false;
    }
    return true;
}

static struct step *op_step_new(struct plan *p, int node, bool back)
{
    struct step *s = plan_step(p, back ? &op_back_kind : &op_kind, node,
                               sizeof(struct op_step));
    if (!s)
        return NULL;
    struct op_step *o = s->priv;
    const struct node *n = &p->graph->node[node];
    o->op = effective_op(p, node);
    o->call.node = n;
    o->out = o->dout = o->saved = -1;
    for (int i = 0; i < OP_MAX_INPUTS; i++)
        o->in[i] = o->din[i] = -1;
    for (int i = 0; i < OP_MAX_PARAMS; i++) {
        o->param[i] = o->dparam[i] = -1;
        if (o->op == n->op)
            o->param[i] = p->value[node].params.value[i];
        step_touch(p, s, o->param[i]);
    }
    s->flops = (back ? 4.0 : 2.0) * (double)node_macs(p->graph, n) *
               (double)p->opts.batch;
    return s;
}

static int make_saved(struct plan *p, int node)
{
    const struct op *op = effective_op(p, node);
    const struct node *n = &p->graph->node[node];
    if (!op->saved || !p->opts.train)
        return -1;
    struct shape in[OP_MAX_INPUTS];
    const struct shape *ins[OP_MAX_INPUTS] = {NULL};
    for (int i = 0; i < n->n_in; i++) {
        in[i] = *plan_shape(p, plan_in(p, node, i));
        ins[i] = &in[i];
    }
    struct shape out = *plan_shape(p, p->value[node].raw);
    size_t reals = op->saved(n, ins, &out);
    return reals ? plan_buffer_vector(p, (int64_t)reals) : -1;
}

enum status op_forward_step(struct plan *p, int node, struct err *e)
{
    struct value *v = &p->value[node];
    const struct node *n = &p->graph->node[node];
    bool any = any_layout(p, node);
    int in[OP_MAX_INPUTS];
    for (int i = 0; i < n->n_in; i++) {
        in[i] = plan_in(p, node, i);
        if (!any)
            in[i] = plan_logical(p, node, in[i], PHASE_FORWARD);
    }
    struct buffer raw = p->buf[v->raw];
    struct buffer logical = raw;
    logical.layout = LAYOUT_NCHW;
    int out = v->raw;
    bool convert = !any && !layout_same_bytes(&raw, &logical);
    if (convert)
        out = plan_buffer(p, raw.type, &raw.shape, LAYOUT_NCHW);
    v->saved = make_saved(p, node);
    struct step *s = op_step_new(p, node, false);
    if (!s)
        return err_memory(e, "plan");
    struct op_step *o = s->priv;
    for (int i = 0; i < n->n_in; i++) {
        o->in[i] = in[i];
        step_touch(p, s, in[i]);
    }
    o->out = out;
    o->saved = v->saved;
    step_touch(p, s, out);
    step_touch(p, s, o->saved);
    if (!convert)
        return STATUS_OK;
    struct copy_spec spec = {node, out, v->raw, false, PHASE_FORWARD};
    return copy_step(p, &spec, e);
}

/* Gradients of the inputs, in logical layout where the kernel wants it; the
 * buffers that must be added into the real ones afterwards come back. */
static int input_grads(struct plan *p, struct op_step *o, bool any,
                       struct copy_spec *after)
{
    int n_after = 0;
    const struct node *n = o->call.node;
    for (int i = 0; i < n->n_in; i++) {
        bool add;
        int b = plan_in_grad(p, n->id, i, &add);
        if (b < 0)
            continue;
        struct buffer grad = p->buf[b];
        struct buffer logical = grad;
        logical.layout = LAYOUT_NCHW;
        o->din[i] = b;
        o->fresh[i] = !add;
        if (any || layout_same_bytes(&grad, &logical))
            continue;
        o->din[i] = plan_buffer(p, grad.type, &grad.shape, LAYOUT_NCHW);
        o->fresh[i] = true;
        after[n_after++] =
            (struct copy_spec){n->id, o->din[i], b, add, PHASE_BACKWARD};
    }
    return n_after;
}

enum status op_backward_step(struct plan *p, int node, int dout,
                             struct err *e)
{
    struct value *v = &p->value[node];
    const struct node *n = &p->graph->node[node];
    bool any = any_layout(p, node);
    if (!any)
        dout = plan_logical(p, node, dout, PHASE_BACKWARD);
    struct step *s = op_step_new(p, node, true);
    if (!s)
        return err_memory(e, "plan");
    struct op_step *o = s->priv;
    struct copy_spec after[OP_MAX_INPUTS];
    int n_after = input_grads(p, o, any, after);
    for (int i = 0; i < n->n_in; i++) {
        int in = plan_in(p, node, i);
        o->in[i] = any ? in : plan_logical(p, node, in, PHASE_BACKWARD);
        step_touch(p, s, o->in[i]);
        step_touch(p, s, o->din[i]);
    }
    o->dout = dout;
    o->saved = v->saved;
    step_touch(p, s, dout);
    step_touch(p, s, o->saved);
    for (int i = 0; i < OP_MAX_PARAMS && o->op == n->op; i++) {
        o->dparam[i] = v->params.grad[i];
        o->fresh_param[i] = v->params.fresh[i];
        step_touch(p, s, o->dparam[i]);
    }
    for (int i = 0; i < n_after; i++)
        TRY(copy_step(p, &after[i], e));
    return STATUS_OK;
}

static bool op_fits(struct plan *p, struct unit *u)
{
    (void)p;
    (void)u;
    return true;
}

enum status op_numbers_forward(struct plan *p, int node, struct err *e)
{
    bool wide;
    TRY(wide_op_forward(p, node, &wide, e));
    if (!wide)
        TRY(op_forward_step(p, node, e));
    return fold_forward(p, node, e);
}

static enum status op_forward(struct plan *p, struct unit *u, struct err *e)
{
    int node = u->node[0];
    TRY(quant_in_forward(p, node, e));
    TRY(weights_forward(p, node, e));
    plan_make_value(p, node);
    if (p->out_of_memory)
        return err_memory(e, "plan");
    TRY(op_numbers_forward(p, node, e));
    return quant_out_forward(p, node, e);
}

static enum status op_backward(struct plan *p, struct unit *u, struct err *e)
{
    int node = u->node[0];
    if (!p->value[node].wants_grad)
        return STATUS_OK;
    TRY(quant_out_backward(p, node, e));
    int dout = plan_raw_grad(p, node);
    TRY(fold_backward(p, node, &dout, e));
    TRY(op_backward_step(p, node, dout, e));
    TRY(weights_backward(p, node, e));
    return quant_in_backward(p, node, e);
}

static bool input_fits(struct plan *p, struct unit *u)
{
    return p->graph->node[u->node[0]].op->flags & OP_SOURCE;
}

static enum status input_forward(struct plan *p, struct unit *u,
                                 struct err *e)
{
    plan_make_value(p, u->node[0]);
    if (!p->out_of_memory)
        p->buf[p->value[u->node[0]].raw].pinned = true;
    return quant_out_forward(p, u->node[0], e);
}

static enum status input_backward(struct plan *p, struct unit *u,
                                  struct err *e)
{
    return quant_out_backward(p, u->node[0], e);
}

const struct maker maker_input = {
    .name = "input",
    .fits = input_fits,
    .forward = input_forward,
    .backward = input_backward,
};

const struct maker maker_op = {
    .name = "op",
    .fits = op_fits,
    .forward = op_forward,
    .backward = op_backward,
};

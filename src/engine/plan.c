/* Making a plan from a graph, and what can be asked of it.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/plan_impl.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "engine/backend.h"
#include "engine/deployed.h"
#include "engine/fast_tail.h"
#include "engine/int_impl.h"
#include "engine/onednn.h"

const char *const mode_name[MODE_COUNT] = {"float", "fake", "int"};
const char *const grad_name[GRAD_COUNT] = {"auto", "f32", "bf16"};

void plan_opts_default(struct plan_opts *o)
{
    *o = (struct plan_opts){
        .batch = 1,
        .mode = MODE_FLOAT,
        .fold = FOLD_QAT,
        .grad = GRAD_AUTO,
    };
}

static enum status check_opts(const struct plan_opts *o, struct err *e)
{
    if (!o->graph || !o->graph->finished)
        return err_set(e, STATUS_STATE, "no finished model to plan");
    if (o->batch < 1)
        return err_set(e, STATUS_ARG, "batch is %lld, wanted 1 or more",
                       (long long)o->batch);
    if (o->mode == MODE_INT && (o->train || o->observe_only))
        return err_set(e, STATUS_STATE,
                       "mode int evaluates; it neither trains nor "
                       "calibrates");
    if (o->train && o->observe_only)
        return err_set(e, STATUS_ARG, "calibration does not train");
    if (o->deployed && (!o->train || o->mode != MODE_FAKE))
        return err_set(e, STATUS_ARG, "only training in mode fake has a "
                       "deployed forward");
    return STATUS_OK;
}

static bool learns(const struct plan *p, int node)
{
    const struct node *n = &p->graph->node[node];
    const struct value *v = &p->value[node];
    for (int i = 0; n->op->param && n->op->param[i].name; i++)
        if (n->param[i] >= 0)
            return true;
    return (v->q && v->q->learn) || (v->q_in && v->q_in->learn);
}

static void find_gradients(struct plan *p)
{
    for (int i = 0; i < p->graph->n_node; i++) {
        const struct node *n = &p->graph->node[i];
        p->value[i].wants_grad = learns(p, i);
        for (int k = 0; k < n->n_in; k++)
            if (p->value[n->in[k]].wants_grad)
                p->value[i].wants_grad = true;
    }
}

/* Which quantizer acts on which value. */
static void find_quantizers(struct plan *p)
{
    for (int i = 0; i < p->graph->n_point; i++) {
        const struct point *t = &p->graph->point[i];
        if (!t->q || (p->opts.mode == MODE_INT && !t->q->fake))
            continue;
        if (t->kind == POINT_OUT) {
            p->value[t->at].q = t->q;
            p->value[t->at].point = i;
        } else if (t->kind == POINT_IN && p->graph->node[t->at].n_in > 0) {
            p->value[t->at].q_in = t->q;
            p->value[t->at].point_in = i;
        }
    }
}

static enum status make_values(struct plan *p, struct err *e)
{
    int n = p->graph->n_node;
    p->value = arena_alloc(p->arena, (size_t)n * sizeof(*p->value));
    p->input = arena_alloc(p->arena, (size_t)n * sizeof(*p->input));
    p->unit = arena_alloc(p->arena, (size_t)n * sizeof(struct unit *));
    if (!p->value || !p->input || !p->unit)
        return err_memory(e, "plan");
    for (int i = 0; i < n; i++) {
        struct value *v = &p->value[i];
        v->raw = v->out = v->view = v->view_grad = -1;
        v->raw_grad = v->grad = v->saved = v->unit = -1;
        v->point = v->point_in = v->code = v->view_code = -1;
        for (int k = 0; k < OP_MAX_PARAMS; k++)
            v->params.value[k] = v->params.grad[k] = -1;
        if (p->graph->node[i].op->flags & OP_SOURCE)
            p->input[p->n_input++] = i;
    }
    if (p->opts.mode != MODE_FLOAT)
        find_quantizers(p);
    if (p->opts.train)
        find_gradients(p);
    return STATUS_OK;
}

/* A unit for `node`, which belongs to none yet. */
static enum status make_unit(struct plan *p, int node, struct err *e)
{
    struct unit *u = arena_alloc(p->arena, sizeof(*u));
    if (!u)
        return err_memory(e, "plan");
    const struct maker *const *maker =
        p->opts.mode == MODE_INT ? int_makers : p->backend->maker;
    for (int i = 0; maker[i]; i++) {
        memset(u, 0, sizeof(*u));
        u->node[0] = node;
        u->n = 1;
        u->maker = maker[i];
        if (u->maker->fits(p, u))
            break;
    }
    for (int i = 0; i < u->n; i++)
        p->value[u->node[i]].unit = p->n_unit;
    p->unit[p->n_unit++] = u;
    return STATUS_OK;
}

static int by_tail(const void *a, const void *b)
{
    const struct unit *const *x = a;
    const struct unit *const *y = b;
    return (*x)->node[(*x)->n - 1] - (*y)->node[(*y)->n - 1];
}

/* In the order of their last nodes everything that a unit reads exists. */
static enum status make_units(struct plan *p, struct err *e)
{
    for (int i = 0; i < p->graph->n_node; i++)
        if (p->value[i].unit < 0)
            TRY(make_unit(p, i, e));
    qsort(p->unit, (size_t)p->n_unit, sizeof(struct unit *), by_tail);
    for (int i = 0; i < p->n_unit; i++)
        for (int k = 0; k < p->unit[i]->n; k++)
            p->value[p->unit[i]->node[k]].unit = i;
    return STATUS_OK;
}

static enum status lower_forward(struct plan *p, struct err *e)
{
    if (p->opts.deployed)
        TRY(deployed_begin(p, e));
    for (int i = 0; i < p->n_unit; i++) {
        struct unit *u = p->unit[i];
        u->first_step = p->n_step;
        enum status s = u->maker->forward(p, u, e);
        if (s)
            return err_wrap(e, s, "%s", p->graph->node[u->node[0]].name);
        if (p->out_of_memory)
            return err_memory(e, "plan");
        TRY(deployed_unit(p, u, e));
    }
    int out = p->graph->output;
    if (p->opts.mode == MODE_INT)
        TRY(int_finish_plan(p, e));
    p->output = plan_logical(p, out, p->value[out].out, PHASE_FORWARD);
    if (p->out_of_memory)
        return err_memory(e, "plan");
    p->buf[p->buf[p->output].root].pinned = true;
    p->first_backward = p->n_step;
    return STATUS_OK;
}

static enum status lower_output_grad(struct plan *p, struct err *e)
{
    int out = p->graph->output;
    p->output_grad = plan_buffer_like(p, p->output);
    if (p->out_of_memory)
        return err_memory(e, "plan");
    p->buf[p->output_grad].pinned = true;
    p->buf[p->output_grad].written = true;
    struct value *v = &p->value[out];
    v->n_part = 1;
    v->part[0] = p->output_grad;
    /* The caller's: it stays as it was written. */
    v->shared[0] = true;
    if (p->output == v->out)
        return STATUS_OK;
    int grad = plan_buffer_like(p, v->out);
    plan_keep(p, grad);
    p->buf[grad].written = true;
    v->part[0] = v->grad = grad;
    v->shared[0] = false;
    struct copy_spec spec = {out, p->output_grad, grad, false,
                             PHASE_BACKWARD};
    return copy_step(p, &spec, e);
}

static enum status lower_backward(struct plan *p, struct err *e)
{
    TRY(lower_output_grad(p, e));
    for (int i = p->n_unit - 1; i >= 0; i--) {
        struct unit *u = p->unit[i];
        if (!p->value[u->node[u->n - 1]].wants_grad)
            continue;
        enum status s = u->maker->backward(p, u, e);
        if (s)
            return err_wrap(e, s, "%s", p->graph->node[u->node[0]].name);
        if (p->out_of_memory)
            return err_memory(e, "plan");
    }
    return STATUS_OK;
}

struct point_mark {
    struct quantizer *q;
    int at;
    struct qspec spec;
    bool fake, observe, learn;
};

/* What the plan was made from, to see later whether it still holds. */
static enum status take_marks(struct plan *p, struct err *e)
{
    const struct graph *g = p->graph;
    p->mark = arena_alloc(p->arena, ((size_t)g->n_point + 1) *
                                        sizeof(*p->mark));
    p->node_mark = arena_alloc(p->arena, (size_t)g->n_node);
    if (!p->mark || !p->node_mark)
        return err_memory(e, "plan");
    for (int i = 0; i < g->n_point; i++) {
        const struct quantizer *q = g->point[i].q;
        p->mark[i].q = g->point[i].q;
        p->mark[i].at = g->point[i].at;
        if (!q)
            continue;
        p->mark[i].spec = q->spec;
        p->mark[i].fake = q->fake;
        p->mark[i].observe = q->observe;
        p->mark[i].learn = q->learn;
    }
    for (int i = 0; i < g->n_node; i++)
        p->node_mark[i] = node_flags(&g->node[i]);
    p->mark_block = g->value_block;
    return STATUS_OK;
}

static enum status bind_steps(struct plan *p, struct err *e)
{
    for (int i = 0; i < p->n_step; i++)
        if (p->step[i]->kind->bind)
            TRY(p->step[i]->kind->bind(p, p->step[i], e));
    return STATUS_OK;
}

/* Many layers have weights too few to be worth two threads, but together
 * they are. Evaluation keeps the order: a pass may begin at any unit. */
static enum status gather_apart(struct plan *p, struct err *e)
{
    struct step **rest = arena_alloc(
        p->arena, (size_t)(p->first_backward + 1) * sizeof(*rest));
    int n = 0;
    if (!rest)
        return err_memory(e, "plan");
    for (int i = 0; i < p->first_backward; i++) {
        if (p->step[i]->apart && p->n_apart < APART_MAX)
            p->step[p->n_apart++] = p->step[i];
        else
            rest[n++] = p->step[i];
    }
    memcpy(p->step + p->n_apart, rest, (size_t)n * sizeof(*rest));
    return STATUS_OK;
}

static enum status build(struct plan *p, struct err *e)
{
    TRY(make_values(p, e));
    TRY(make_units(p, e));
    TRY(lower_forward(p, e));
    if (p->opts.train)
        TRY(lower_backward(p, e));
    tail_drop_unread(p);
    if (p->opts.train)
        TRY(gather_apart(p, e));
    TRY(plan_place(p, e));
    TRY(bind_steps(p, e));
    return take_marks(p, e);
}

enum status plan_new(const struct plan_opts *o, struct plan **out,
                     struct err *e)
{
    *out = NULL;
    TRY(check_opts(o, e));
    struct plan *p = mem_alloc(1, sizeof(*p));
    if (!p)
        return err_memory(e, "plan");
    p->opts = *o;
    p->graph = o->graph;
    p->threads = omp_get_max_threads();
    p->backend = o->backend ? o->backend : backend_table[0].impl;
    p->opts.backend = p->backend;
    p->opts.target = o->target ? o->target : &target_table[0];
    p->scratch = p->output = p->output_grad = -1;
    p->arena = arena_new();
    enum status s = p->arena ? build(p, e) : err_memory(e, "plan");
    if (s) {
        plan_free(p);
        return s;
    }
    *out = p;
    return STATUS_OK;
}

void plan_free(struct plan *p)
{
    if (!p)
        return;
    for (int i = 0; i < p->n_step; i++)
        if (p->step[i]->kind->fini)
            p->step[i]->kind->fini(p->step[i]);
    deployed_free(p);
    dnn_free(p->dnn);
    mem_unmap(p->memory);
    mem_free(p->buf);
    mem_free(p->step);
    arena_free(p->arena);
    mem_free(p);
}

const struct plan_opts *plan_options(const struct plan *p)
{
    return &p->opts;
}

float *plan_input(struct plan *p, int input)
{
    return plan_floats(p, p->value[p->input[input]].raw);
}

enum layout plan_input_layout(const struct plan *p, int input)
{
    return p->buf[p->value[p->input[input]].raw].layout;
}

int plan_input_count(const struct plan *p)
{
    return p->n_input;
}

const float *plan_output(const struct plan *p)
{
    return plan_floats(p, p->output);
}

int64_t plan_output_count(const struct plan *p)
{
    return shape_count(plan_shape(p, p->output)) / p->opts.batch;
}

float *plan_output_grad(struct plan *p)
{
    return plan_floats(p, p->output_grad);
}

size_t plan_bytes(const struct plan *p)
{
    return p->memory_bytes + arena_bytes(p->arena) +
           (size_t)p->cap_buf * sizeof(*p->buf) +
           (size_t)p->cap_step * sizeof(struct step *) + deployed_bytes(p);
}

unsigned char node_flags(const struct node *n)
{
    return (unsigned char)(n->bn_frozen | n->bn_folded << 1 |
                           n->fold_head << 2);
}

static bool mark_differs(const struct point_mark *m, const struct point *t)
{
    const struct quantizer *q = t->q;
    if (m->q != q || m->at != t->at)
        return true;
    return q && (m->learn != q->learn || m->fake != q->fake ||
                 m->observe != q->observe || !qspec_equal(&m->spec, &q->spec));
}

bool plan_stale(const struct plan *p)
{
    const struct graph *g = p->graph;
    if (p->mark_block != g->value_block ||
        p->threads != omp_get_max_threads())
        return true;
    for (int i = 0; i < g->n_node; i++)
        if (p->node_mark[i] != node_flags(&g->node[i]))
            return true;
    if (p->opts.mode == MODE_FLOAT)
        return false;
    for (int i = 0; i < g->n_point; i++)
        if (mark_differs(&p->mark[i], &g->point[i]))
            return true;
    return deployed_stale(p);
}

/* The deployed forward: a training plan whose values are those of mode int.
 *
 * Such a plan holds one of mode int over the same graph, which runs first.
 * Its own layers run as ever, for what backward needs of them: values before
 * their quantizers, masks, the winners of pools. But behind each of them a
 * step writes the value that the integers gave, scale * (code - zero), into a
 * buffer of its own, and all readers take that one, in backward too. So every
 * layer multiplies deployed inputs, the net's output is that of mode int in
 * every bit, and gradients pass the quantizers as in mode fake.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/deployed.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "engine/int_impl.h"

#define PIECE 4096

struct deployed {
    struct plan *ints;
    unsigned char *fit;       /* by point: what mode int made of it */
};

/* ---- conditions ---- */

static enum status check_norms(const struct graph *g, struct err *e)
{
    for (int i = 0; i < g->n_node; i++) {
        const struct node *n = &g->node[i];
        if ((n->op->flags & OP_BATCH_NORM) && !n->bn_frozen && !n->bn_folded)
            return err_set(e, STATUS_STATE, "%s: batch norm is live; a "
                           "deployed forward wants it frozen (`freeze bn`) "
                           "or folded", n->name);
    }
    return STATUS_OK;
}

static enum status check_point(const struct point *t, struct err *e)
{
    if (t->q->observe)
        return err_set(e, STATUS_STATE, "%s: its observer is on; a deployed "
                       "forward wants fixed ranges (`disable observer *`)",
                       t->name);
    if (!t->q->fake)
        return err_set(e, STATUS_STATE, "%s: its quantizer is off; a "
                       "deployed forward wants all of them on (`enable fake "
                       "*`)", t->name);
    return STATUS_OK;
}

enum status plan_check_deployed(const struct graph *g, struct err *e)
{
    int n = 0;
    TRY(check_norms(g, e));
    for (int i = 0; i < g->n_point; i++) {
        if (!g->point[i].q)
            continue;
        TRY(check_point(&g->point[i], e));
        n++;
    }
    if (n == 0)
        return err_set(e, STATUS_STATE, "no layer has a quantizer; a "
                       "deployed forward wants codes (`bits * w8a8`)");
    return STATUS_OK;
}

/* ---- what a quantizer can become while a plan lives ---- */

enum { FIT_WHOLE = 1, FIT_BEGUN = 2, FIT_PURE = 4 };

/* Learned zero points move between codes, delayed quantizers begin. */
static unsigned char fit_of(const struct quantizer *q)
{
    unsigned fit = FIT_WHOLE;
    for (int64_t c = 0; q && c < q->channels; c++)
        if (q->zero_point[c] != real_rint(q->zero_point[c]) ||
            grid_zero(q->zero_point[c]) != q->zero_point[c])
            fit = 0;
    if (q && (q->spec.delay == 0 || q->steps > q->spec.delay))
        fit |= FIT_BEGUN;
    if (q && q->noise_factor == 1)
        fit |= FIT_PURE;
    return (unsigned char)fit;
}

bool deployed_stale(const struct plan *p)
{
    const struct graph *g = p->graph;
    for (int i = 0; p->deployed && i < g->n_point; i++)
        if (p->deployed->fit[i] != fit_of(g->point[i].q))
            return true;
    return false;
}

/* ---- the integers ---- */

static enum status ints_run(struct plan *p, struct step *s, struct err *e)
{
    (void)s;
    struct plan *ints = p->deployed->ints;
    for (int i = 0; i < p->n_input; i++) {
        const struct buffer *b = &p->buf[p->value[p->input[i]].raw];
        memcpy(plan_input(ints, i), plan_input(p, i), (size_t)b->bytes);
    }
    return plan_forward(ints, p->tick, e);
}

static const struct step_kind ints_kind = {
    .name = "deployed forward",
    .phase = PHASE_FORWARD,
    .run = ints_run,
};

static enum status make_ints(struct plan *p, struct deployed *d,
                             struct err *e)
{
    struct plan_opts o = p->opts;
    o.mode = MODE_INT;
    o.train = o.deployed = false;
    o.keep_values = true;
    o.dropout = NULL;
    return plan_new(&o, &d->ints, e);
}

enum status deployed_begin(struct plan *p, struct err *e)
{
    const struct graph *g = p->graph;
    TRY(plan_check_deployed(g, e));
    struct deployed *d = arena_alloc(p->arena, sizeof(*d));
    if (!d)
        return err_memory(e, "plan");
    p->deployed = d;
    d->fit = arena_alloc(p->arena, (size_t)g->n_point + 1);
    if (!d->fit)
        return err_memory(e, "plan");
    for (int i = 0; i < g->n_point; i++)
        d->fit[i] = fit_of(g->point[i].q);
    TRY(make_ints(p, d, e));
    struct step *s = plan_step(p, &ints_kind, p->input[0], 0);
    if (!s)
        return err_memory(e, "plan");
    for (int i = 0; i < d->ints->n_step; i++) {
        s->bytes += d->ints->step[i]->bytes;
        s->flops += d->ints->step[i]->flops;
    }
    return STATUS_OK;
}

void deployed_free(struct plan *p)
{
    if (p->deployed)
        plan_free(p->deployed->ints);
}

size_t deployed_bytes(const struct plan *p)
{
    return p->deployed ? plan_bytes(p->deployed->ints) : 0;
}

/* ---- values ---- */

struct value_step {
    struct quantizer *grid;   /* NULL: numbers */
    int from;                 /* buffer of the plan of mode int */
    int to;
    int64_t count;
};

static enum status value_run(struct plan *p, struct step *s, struct err *e)
{
    (void)e;
    const struct value_step *v = s->priv;
    const struct plan *ints = p->deployed->ints;
    float *y = plan_floats(p, v->to);
    if (!v->grid) {
        memcpy(y, plan_data(ints, v->from), (size_t)v->count * sizeof(*y));
        return STATUS_OK;
    }
    struct int_grid g = grid_of(v->grid);
    const uint8_t *x = plan_data(ints, v->from);
#pragma omp parallel for schedule(static) if (v->count > 4 * PIECE)
    for (int64_t at = 0; at < v->count; at += PIECE)
        grid_dequantize(&g, x + at, y + at,
                        v->count - at < PIECE ? v->count - at : PIECE);
    return STATUS_OK;
}

static const struct step_kind value_kind = {
    .name = "deployed value",
    .phase = PHASE_FORWARD,
    .run = value_run,
};

/* *at, a buffer of the plan, is from now on another one, which holds what
 * `from` of the plan of mode int does. */
static enum status replace(struct plan *p, int node, int *at, int from,
                           struct quantizer *grid, struct err *e)
{
    assert(layout_same_bytes(&p->deployed->ints->buf[from], &p->buf[*at]));
    int to = plan_buffer_like(p, *at);
    struct step *s = plan_step(p, &value_kind, node,
                               sizeof(struct value_step));
    if (!s)
        return err_memory(e, "plan");
    *(struct value_step *)s->priv = (struct value_step){
        .grid = grid,
        .from = from,
        .to = to,
        .count = shape_count(plan_shape(p, to)),
    };
    step_touch(p, s, to);
    plan_keep(p, to);
    *at = to;
    return STATUS_OK;
}

enum status deployed_view(struct plan *p, int node, struct err *e)
{
    if (!p->deployed)
        return STATUS_OK;
    struct value *v = &p->value[node];
    const struct value *i = &p->deployed->ints->value[node];
    if (i->view_code >= 0)
        return replace(p, node, &v->view, i->view_code, i->q_in, e);
    if (i->view >= 0)
        return replace(p, node, &v->view, i->view, NULL, e);
    return STATUS_OK;
}

/* Inside a fused layer a plan has no value: of mode int, then that of the
 * layer's own float sums stays; of this plan, then nobody reads one. */
static enum status deployed_value(struct plan *p, int node, struct err *e)
{
    struct value *v = &p->value[node];
    const struct value *i = &p->deployed->ints->value[node];
    bool plain = !v->q && (p->graph->node[node].op->flags & OP_SOURCE);
    if (v->out < 0 || plain)
        return STATUS_OK;
    /* Codes for layers on codes come from the new numbers, not from the tail
     * that made the old ones. */
    v->tail = NULL;
    if (i->code >= 0)
        return replace(p, node, &v->out, i->code, i->grid, e);
    if (i->out >= 0)
        return replace(p, node, &v->out, i->out, NULL, e);
    return STATUS_OK;
}

enum status deployed_unit(struct plan *p, const struct unit *u,
                          struct err *e)
{
    for (int i = 0; p->deployed && i < u->n; i++)
        TRY(deployed_value(p, u->node[i], e));
    return STATUS_OK;
}

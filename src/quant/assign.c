/* Which point gets which quantizer.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/assign.h"

#include <string.h>

#include "base/arena.h"

static const struct param *node_param(const struct graph *g,
                                      const struct node *n,
                                      enum param_role role)
{
    for (int i = 0; i < OP_MAX_PARAMS; i++)
        if (n->param[i] >= 0 && g->param[n->param[i]].role == role)
            return &g->param[n->param[i]];
    return NULL;
}

void point_shape(const struct graph *g, int point, struct shape *shape,
                 int *axis)
{
    const struct point *p = &g->point[point];
    const struct node *n = &g->node[p->node];
    const struct param *own = NULL;

    if (p->kind == POINT_WEIGHT)
        own = node_param(g, n, PARAM_WEIGHT);
    if (p->kind == POINT_BIAS)
        own = node_param(g, n, PARAM_BIAS);
    if (own) {
        *shape = own->shape;
        *axis = 0;
        return;
    }
    n = &g->node[p->at];
    if (p->kind == POINT_IN && n->n_in > 0)
        n = &g->node[n->in[0]];
    *shape = n->shape;
    *axis = shape->rank > 1 ? 1 : 0;
}

/* Groups cut the values of one channel into runs of equal length. */
static enum status check_grain(const struct graph *g, int point,
                               const struct qspec *s, struct err *e)
{
    enum point_kind kind = g->point[point].kind;
    struct shape shape;
    int64_t row;
    int axis;

    if (s->grain != GRAIN_GROUP)
        return STATUS_OK;
    if (kind != POINT_WEIGHT)
        return err_set(e, STATUS_ARG,
                       "groups are for weights, not for .%s",
                       point_suffix[kind]);
    point_shape(g, point, &shape, &axis);
    row = shape_inner(&shape, axis);
    if (row % s->group)
        return err_set(e, STATUS_ARG, "group %d does not divide the %lld "
                       "weights of a channel", s->group, (long long)row);
    return STATUS_OK;
}

/* Flags stay as they were, where the new kind can: a kind that learns does so
 * at once unless one before it was told not to. */
static void keep_flags(struct quantizer *q, const struct quantizer *old)
{
    bool learns = q->n_learned > 0;
    bool ranged = learns || !(q->spec.kind->flags & QK_OWN_SCALE);

    q->learn = learns;
    if (!old)
        return;
    q->fake = old->fake;
    q->observe = old->observe;
    q->rng = old->rng;
    if (old->n_learned > 0)
        q->learn = learns && old->learn;
    q->stale = ranged && old->ready;
}

enum status point_set(struct graph *g, int point, const struct qspec *spec,
                      struct err *e)
{
    struct point *p = &g->point[point];
    struct quantizer *q = NULL;
    struct qspec own;
    struct shape shape;
    struct qview v;
    enum status st;
    int axis;

    if (!spec) {
        quantizer_free(p->q);
        p->q = NULL;
        return STATUS_OK;
    }
    own = *spec;
    if (p->kind == POINT_WEIGHT && own.kind->on_weights)
        own.kind->on_weights(&own);
    st = check_grain(g, point, &own, e);
    if (st == STATUS_OK) {
        struct quantizer plan = {.spec = own};

        point_shape(g, point, &shape, &axis);
        v = quantizer_view(&plan, &shape, axis);
        st = quantizer_new(&own, v.channels, &q, e);
    }
    if (st != STATUS_OK)
        return err_wrap(e, st, "%s", p->name);
    q->n_elem = shape_count(&shape);
    keep_flags(q, p->q);
    quantizer_free(p->q);
    p->q = q;
    return STATUS_OK;
}

int layer_weight_point(const struct graph *g, int node)
{
    return g->node[node].point[POINT_WEIGHT];
}

int layer_out_point(const struct graph *g, int node)
{
    const struct node *n = &g->node[node];
    unsigned passes = OP_KEEPS_GRID | OP_TRAIN_ONLY;

    if (n->head != n->id || (g->node[n->tail].op->flags & passes))
        return -1;
    return n->point[POINT_OUT];
}

void graph_drop_quantizers(struct graph *g)
{
    for (int i = 0; i < g->n_point; i++) {
        quantizer_free(g->point[i].q);
        g->point[i].q = NULL;
    }
}

/* The specs of a qconfig with the widths asked for. */
struct specs {
    struct qspec weight, activation, rectified, input, bias;
    bool has_bias;
};

static enum status parse_spec(const char *text, int bits, struct qspec *out,
                              struct err *e)
{
    TRY(qspec_parse(text, NULL, out, e));
    if (bits > 0)
        qspec_set_bits(out, bits);
    return qspec_check(out, e);
}

static enum status parse_config(const struct assign_opts *o,
                                struct specs *s, struct err *e)
{
    const struct qconfig *c = o->config;
    const char *input = c->input ? c->input : c->activation;
    const char *rectified = c->rectified ? c->rectified : c->activation;

    TRY(parse_spec(c->weight, o->weight_bits, &s->weight, e));
    TRY(parse_spec(c->activation, o->activation_bits, &s->activation, e));
    TRY(parse_spec(rectified, o->activation_bits, &s->rectified, e));
    TRY(parse_spec(input, o->activation_bits, &s->input, e));
    s->has_bias = c->bias != NULL;
    return s->has_bias ? parse_spec(c->bias, 0, &s->bias, e) : STATUS_OK;
}

static enum status assign_node(struct graph *g, const struct assign_opts *o,
                               const struct specs *s, int node,
                               struct err *e)
{
    const struct node *n = &g->node[node];
    bool rectified = g->node[n->tail].op->flags & OP_RECTIFIER;
    int weight = layer_weight_point(g, node);
    int out = layer_out_point(g, node);

    if (n->op->flags & OP_SOURCE) {
        if (o->input && out >= 0)
            TRY(point_set(g, out, &s->input, e));
        return STATUS_OK;
    }
    if (weight >= 0)
        TRY(point_set(g, weight, &s->weight, e));
    if (s->has_bias && n->point[POINT_BIAS] >= 0)
        TRY(point_set(g, n->point[POINT_BIAS], &s->bias, e));
    if (out >= 0)
        TRY(point_set(g, out, rectified ? &s->rectified : &s->activation,
                      e));
    return STATUS_OK;
}

/* Quantizers are put aside, so that a failure changes nothing. */
static struct quantizer **put_aside(struct graph *g)
{
    struct quantizer **keep =
        mem_alloc((size_t)g->n_point + 1, sizeof *keep);

    for (int i = 0; keep && i < g->n_point; i++)
        keep[i] = g->point[i].q;
    return keep;
}

static enum status assign_all(struct graph *g, const struct assign_opts *o,
                              const struct specs *s, struct err *e)
{
    int n = o->node ? o->n_node : g->n_node;

    for (int i = 0; i < n; i++)
        TRY(assign_node(g, o, s, o->node ? o->node[i] : i, e));
    return STATUS_OK;
}

/* A trial on empty points tells whether every spec fits its point. */
static enum status try_assign(struct graph *g, const struct assign_opts *o,
                              const struct specs *s, struct err *e)
{
    struct quantizer **keep = put_aside(g);
    enum status st;

    if (!keep)
        return err_memory(e, "quantizers");
    for (int i = 0; i < g->n_point; i++)
        g->point[i].q = NULL;
    st = assign_all(g, o, s, e);
    graph_drop_quantizers(g);
    for (int i = 0; i < g->n_point; i++)
        g->point[i].q = keep[i];
    mem_free(keep);
    return st;
}

enum status assign_qconfig(struct graph *g, const struct assign_opts *o,
                           struct err *e)
{
    struct specs s = {0};
    enum status st = parse_config(o, &s, e);

    if (st == STATUS_OK)
        st = try_assign(g, o, &s, e);
    if (st == STATUS_OK)
        st = assign_all(g, o, &s, e);
    return st == STATUS_OK ? st
                           : err_wrap(e, st, "qconfig %s", o->config->name);
}

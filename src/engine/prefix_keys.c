/* Fingerprints: what the values before a cut depend on.
 *
 * Fixed while a pass goes on: options, the steps of each unit, and each fused
 * group's operators, attributes, weights, statistics and specs. A group counts
 * whole in every unit that has a part of it: batch norm's numbers go into the
 * weights of the layer before. Moving: ranges, grids and learned parameters of
 * its quantizers. Mode float has no quantizers; calibration reads nothing of
 * theirs but the spec.
 *
 * Which buffers a step touches follows what readers want, too: codes beside
 * numbers. That makes no other value, so it counts only for buffers that have
 * no name but their place among the others.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/prefix_impl.h"

#include "quant/fingerprint.h"

static void add_shape(struct hash128 *h, const struct shape *s)
{
    hash128_add_int(h, s->rank);
    for (int i = 0; i < s->rank; i++)
        hash128_add_int(h, s->dim[i]);
}

static struct digest digest_options(const struct plan *p)
{
    const struct plan_opts *o = &p->opts;
    const int64_t whole[] = {
        o->batch, o->mode, o->train, o->observe_only, o->keep_values,
        o->deployed, o->fold, o->grad, o->sums, o->deterministic,
        (int64_t)(intptr_t)o->backend, (int64_t)(intptr_t)o->target,
        p->threads, p->graph->output,
    };
    struct hash128 h;
    hash128_init(&h, 1);
    hash128_add(&h, whole, sizeof whole);
    return hash128_end(&h);
}

/* ---- layers ---- */

static void add_node(struct hash128 *h, const struct graph *g,
                     const struct node *n)
{
    const int64_t whole[] = {n->id, n->head, n->tail, node_flags(n), n->n_in};
    hash128_add(h, whole, sizeof whole);
    hash128_add_text(h, n->op->name);
    for (int i = 0; i < n->n_in; i++)
        hash128_add_int(h, n->in[i]);
    size_t attrs = (size_t)op_attr_count(n->op);
    hash128_add_piece(h, n->attr, attrs * sizeof *n->attr);
    add_shape(h, &n->shape);
    for (int i = 0; i < OP_MAX_PARAMS + OP_MAX_STATES; i++) {
        int at = i < OP_MAX_PARAMS ? n->param[i]
                                   : n->state[i - OP_MAX_PARAMS];
        hash128_add_int(h, at >= 0);
        if (at < 0)
            continue;
        const struct param *w = &g->param[at];
        add_shape(h, &w->shape);
        hash128_add_piece(h, w->value, (size_t)w->count * sizeof *w->value);
    }
}

static bool has_points(const struct plan *p)
{
    return p->opts.mode != MODE_FLOAT;
}

/* The group that a point belongs to, by its head. A value's quantizer may
 * belong to a layer before the one whose value it is. */
static bool in_group(const struct plan *p, const struct point *t, int head)
{
    const struct graph *g = p->graph;
    return t->q && (g->node[t->node].head == head ||
                    g->node[t->at].head == head);
}

static struct digest digest_group(const struct plan *p, int head)
{
    const struct graph *g = p->graph;
    struct hash128 h;
    hash128_init(&h, 2);
    for (int i = 0; i < g->n_node; i++)
        if (g->node[i].head == head)
            add_node(&h, g, &g->node[i]);
    for (int i = 0; has_points(p) && i < g->n_point; i++) {
        const struct point *t = &g->point[i];
        if (!in_group(p, t, head))
            continue;
        const int64_t whole[] = {t->kind, t->node, t->at, t->q->channels};
        hash128_add(&h, whole, sizeof whole);
        qspec_fingerprint(&t->q->spec, &h);
    }
    return hash128_end(&h);
}

static struct digest digest_moving(const struct plan *p, int head)
{
    const struct graph *g = p->graph;
    struct hash128 h;
    hash128_init(&h, 3);
    for (int i = 0; i < g->n_point; i++)
        if (in_group(p, &g->point[i], head))
            quantizer_fingerprint(g->point[i].q, &h);
    return hash128_end(&h);
}

/* ---- steps ---- */

/* Buffers by the order in which steps first touch them: indices would depend
 * on what comes after. */
static void add_buffer(struct hash128 *h, const struct buffer *b, int number)
{
    const int64_t whole[] = {number, b->type, b->layout, b->bytes,
                             b->external};
    hash128_add(h, whole, sizeof whole);
    hash128_add(h, &b->scale, sizeof b->scale);
    hash128_add(h, &b->zero_point, sizeof b->zero_point);
    add_shape(h, &b->shape);
}

static void add_buffers(struct hash128 *h, const struct plan *p,
                        const struct step *s, int *number)
{
    hash128_add_int(h, s->n_buf);
    for (int k = 0; k < s->n_buf; k++) {
        int b = s->buf[k];
        if (number[b] == 0)
            number[b] = ++number[p->n_buf];
        add_buffer(h, &p->buf[b], number[b]);
    }
}

static void add_step(struct hash128 *h, const struct step *s)
{
    hash128_add_text(h, s->kind->name);
    hash128_add_int(h, s->kind->phase);
    hash128_add_int(h, s->node);
    hash128_add(h, &s->flops, sizeof s->flops);
}

static int last_step(const struct plan *p, int unit)
{
    return unit + 1 < p->n_unit ? p->unit[unit + 1]->first_step
                                : p->first_backward;
}

/* Digests by node, of groups; those that are no heads stay empty. */
static void add_groups(struct hash128 *h, const struct plan *p,
                       const struct unit *u, const struct digest *group)
{
    for (int k = 0; k < u->n; k++) {
        int head = p->graph->node[u->node[k]].head;
        hash128_add_int(h, u->node[k]);
        hash128_add(h, &group[head], sizeof group[head]);
    }
}

static void digest_unit(const struct plan *p, int at,
                        const struct digest *group, int *number,
                        struct prefix_keys *out)
{
    const struct unit *u = p->unit[at];
    struct hash128 h, with;
    hash128_init(&h, 4);
    hash128_init(&with, 9);
    hash128_add_text(&h, u->maker->name);
    hash128_add_int(&h, u->n);
    add_groups(&h, p, u, group);
    for (int i = u->first_step; i < last_step(p, at); i++) {
        add_step(&h, p->step[i]);
        add_buffers(&with, p, p->step[i], number);
    }
    out->unit[at] = hash128_end(&h);
    out->lowered[at] = hash128_end(&with);
}

enum status prefix_keys_init(struct prefix_keys *k, const struct plan *p,
                             struct err *e)
{
    const struct graph *g = p->graph;
    struct digest *group = mem_alloc((size_t)g->n_node, sizeof *group);
    int *number = mem_alloc((size_t)p->n_buf + 1, sizeof *number);
    if (!group || !number) {
        mem_free(group);
        mem_free(number);
        return err_memory(e, "fingerprints");
    }
    k->start = digest_options(p);
    for (int i = 0; i < g->n_node; i++)
        if (g->node[i].head == i)
            group[i] = digest_group(p, i);
    for (int i = 0; i < p->n_unit; i++)
        digest_unit(p, i, group, number, k);
    mem_free(group);
    mem_free(number);
    return STATUS_OK;
}

void prefix_keys_look(const struct plan *p, struct digest *moving)
{
    for (int i = 0; i < p->n_unit; i++) {
        const struct unit *u = p->unit[i];
        struct hash128 h;
        hash128_init(&h, 5);
        for (int k = 0; k < u->n; k++) {
            int head = p->graph->node[u->node[k]].head;
            bool again = k > 0 &&
                         p->graph->node[u->node[k - 1]].head == head;
            if (again || !has_points(p) || p->opts.observe_only)
                continue;
            struct digest d = digest_moving(p, head);
            hash128_add(&h, &d, sizeof d);
        }
        moving[i] = hash128_end(&h);
    }
}

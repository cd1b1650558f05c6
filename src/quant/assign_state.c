/* Quantizer states of a graph: to and from bags, and snapshots.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "base/arena.h"
#include "quant/assign.h"

static void bag_key(const struct point *p, struct str *out)
{
    str_clear(out);
    str_printf(out, "quant.%s", p->name);
}

enum status graph_save_quant(const struct graph *g, struct bag *b,
                             struct err *e)
{
    enum status st = STATUS_OK;
    struct str key = {0};
    int count = 0;

    for (int i = 0; i < g->n_point && st == STATUS_OK; i++) {
        if (!g->point[i].q)
            continue;
        bag_key(&g->point[i], &key);
        st = quantizer_save(g->point[i].q, str_text(&key), b, e);
        count++;
    }
    if (st == STATUS_OK) {
        str_clear(&key);
        str_printf(&key, "%d", count);
        st = key.failed ? err_memory(e, "quantizers")
                        : bag_put_text(b, "quant", str_text(&key), e);
    }
    str_fini(&key);
    return st;
}

/* The quantizer must fit its point: its channels are the point's. */
static enum status check_fit(const struct graph *g, int point,
                             const struct quantizer *q, struct err *e)
{
    struct shape shape;
    struct qview v;
    int axis;

    point_shape(g, point, &shape, &axis);
    v = quantizer_view(q, &shape, axis);
    if (v.channels != q->channels)
        return err_set(e, STATUS_FORMAT,
                       "%s: quantizer of %lld channels, the point has %lld",
                       g->point[point].name, (long long)q->channels,
                       (long long)v.channels);
    return STATUS_OK;
}

static enum status load_point(const struct graph *g, const struct bag *b,
                              int point, struct quantizer **out,
                              struct err *e)
{
    struct str key = {0};
    enum status st = STATUS_OK;

    *out = NULL;
    bag_key(&g->point[point], &key);
    if (bag_text(b, str_text(&key)))
        st = quantizer_load(b, str_text(&key), out, e);
    if (st == STATUS_OK && *out)
        st = check_fit(g, point, *out, e);
    str_fini(&key);
    return st;
}

static enum status load_all(const struct graph *g, const struct bag *b,
                            struct quantizer **q, struct err *e)
{
    const char *text = bag_text(b, "quant");
    long long wanted;
    int count = 0;

    if (!text)
        return err_set(e, STATUS_FORMAT, "no text 'quant'");
    TRY(str_to_int(text, &wanted, e));
    for (int i = 0; i < g->n_point; i++) {
        TRY(load_point(g, b, i, &q[i], e));
        count += q[i] != NULL;
    }
    if (count != wanted)
        return err_set(e, STATUS_FORMAT,
                       "%lld quantizers were saved, %d fit the graph",
                       wanted, count);
    return STATUS_OK;
}

enum status graph_load_quant(struct graph *g, const struct bag *b,
                             struct err *e)
{
    struct quantizer **q = mem_alloc((size_t)g->n_point + 1, sizeof *q);
    enum status st;

    if (!q)
        return err_memory(e, "quantizers");
    st = load_all(g, b, q, e);
    for (int i = 0; i < g->n_point; i++) {
        struct quantizer *old = g->point[i].q;

        if (st != STATUS_OK) {
            quantizer_free(q[i]);
            continue;
        }
        if (old && q[i])
            q[i]->rng = old->rng;
        g->point[i].q = q[i];
        quantizer_free(old);
    }
    mem_free(q);
    return st;
}

/* What a training step moves in a quantizer besides its state block. No
 * padding: snapshots are compared byte by byte. */
struct moving {
    int64_t ready, stale, steps;
};

size_t graph_state_bytes(const struct graph *g)
{
    size_t n = 0;

    for (int i = g->n_learned; i < g->n_param; i++)
        n += (size_t)g->param[i].count * sizeof(real);
    for (int i = 0; i < g->n_point; i++)
        if (g->point[i].q)
            n += sizeof(struct moving) +
                 (size_t)g->point[i].q->n_state * sizeof(real);
    return n;
}

void graph_state_get(const struct graph *g, void *bytes)
{
    char *at = bytes;

    for (int i = g->n_learned; i < g->n_param; i++) {
        size_t n = (size_t)g->param[i].count * sizeof(real);

        memcpy(at, g->param[i].value, n);
        at += n;
    }
    for (int i = 0; i < g->n_point; i++) {
        const struct quantizer *q = g->point[i].q;
        struct moving m;

        if (!q)
            continue;
        m = (struct moving){q->ready, q->stale, q->steps};
        memcpy(at, &m, sizeof m);
        memcpy(at + sizeof m, q->state, (size_t)q->n_state * sizeof(real));
        at += sizeof m + (size_t)q->n_state * sizeof(real);
    }
}

void graph_state_set(struct graph *g, const void *bytes)
{
    const char *at = bytes;

    for (int i = g->n_learned; i < g->n_param; i++) {
        size_t n = (size_t)g->param[i].count * sizeof(real);

        memcpy(g->param[i].value, at, n);
        at += n;
    }
    for (int i = 0; i < g->n_point; i++) {
        struct quantizer *q = g->point[i].q;
        struct moving m;

        if (!q)
            continue;
        memcpy(&m, at, sizeof m);
        memcpy(q->state, at + sizeof m, (size_t)q->n_state * sizeof(real));
        q->ready = m.ready != 0;
        q->stale = m.stale != 0;
        q->steps = m.steps;
        at += sizeof m + (size_t)q->n_state * sizeof(real);
    }
}

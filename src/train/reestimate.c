/* Re-estimation of batch norm: running statistics anew from whole batches.
 *
 * QAT leaves running statistics that trail the weights; AIMET's
 * bn_reestimation replaces them by the plain mean of the batch statistics of
 * some batches, quantizers on, observers still.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "base/arena.h"
#include "train/feed.h"

/* What the passes must not change, and the sums that they collect. */
struct reestimate {
    struct graph *graph;
    unsigned char *observing, *frozen;    /* by point, by node */
    void *before;                         /* graph state at the start */
    double *sum;                          /* of batch statistics, by state */
    int64_t batches;
};

static void reestimate_fini(struct reestimate *r)
{
    mem_free(r->observing);
    mem_free(r->frozen);
    mem_free(r->before);
    mem_free(r->sum);
}

static int64_t first_state(const struct graph *g)
{
    return g->n_grad;         /* states lie behind the learned values */
}

static enum status reestimate_init(struct reestimate *r, struct graph *g,
                                   struct err *e)
{
    *r = (struct reestimate){ .graph = g };
    r->observing = mem_alloc((size_t)g->n_point + 1, 1);
    r->frozen = mem_alloc((size_t)g->n_node, 1);
    r->before = mem_alloc(graph_state_bytes(g) + 1, 1);
    r->sum = mem_alloc((size_t)(g->n_value - first_state(g)) + 1,
                       sizeof *r->sum);
    if (r->observing && r->frozen && r->before && r->sum)
        return STATUS_OK;
    reestimate_fini(r);
    return err_memory(e, "the statistics of batch norm");
}

/* Observers off and statistics live; or both as they were. */
static void set_flags(struct reestimate *r, bool begin)
{
    struct graph *g = r->graph;
    for (int i = 0; i < g->n_point; i++) {
        struct quantizer *q = g->point[i].q;
        if (!q)
            continue;
        if (begin)
            r->observing[i] = q->observe;
        q->observe = !begin && r->observing[i];
    }
    for (int i = 0; i < g->n_node; i++) {
        struct node *n = &g->node[i];
        if (begin)
            r->frozen[i] = n->bn_frozen;
        n->bn_frozen = !begin && r->frozen[i];
    }
}

/* batch = (after - (1 - m) before) / m, for each state of each batch norm. */
static void add_batch(struct reestimate *r, const real *before)
{
    const struct graph *g = r->graph;
    int64_t base = first_state(g);
    for (int i = g->n_learned; i < g->n_param; i++) {
        const struct param *p = &g->param[i];
        double m = node_attr(&g->node[p->node], "momentum");
        int64_t at = p->value - g->value_block - base;
        for (int64_t k = 0; k < p->count; k++)
            r->sum[at + k] += ((double)p->value[k] -
                               (1 - m) * (double)before[at + k]) / m;
    }
    r->batches++;
}

static enum status walk(struct reestimate *r, const struct eval_opts *o,
                        struct feed *f, int64_t batches, struct err *e)
{
    struct graph *g = r->graph;
    struct plan_opts p;
    int64_t base = first_state(g), states = g->n_value - base;
    real *start = mem_alloc((size_t)states + 1, sizeof *start);
    enum status s = start ? STATUS_OK : err_memory(e, "running statistics");
    if (s == STATUS_OK)
        memcpy(start, g->value_block + base, (size_t)states * sizeof *start);
    plan_opts_default(&p);
    p.graph = g;
    p.mode = o->mode;
    p.train = true;
    p.fold = o->settings->bn_fold;
    p.backend = o->settings->backend;
    for (int64_t i = 0; s == STATUS_OK && i < batches; i++) {
        int64_t n = feed_next_rows(f);
        struct plan *plan;
        struct loss_input in;
        if (n < 2)            /* a batch of one has no variance */
            break;
        s = feed_plan(f, &p, n, &plan, e);
        if (s == STATUS_OK)
            s = feed_batch(f, plan, n, NULL, &in, e);
        if (s == STATUS_OK)
            s = plan_forward(plan, o->tick, e);
        if (s == STATUS_OK)
            add_batch(r, start);
        if (start)
            memcpy(g->value_block + base, start,
                   (size_t)states * sizeof *start);
    }
    mem_free(start);
    return s;
}

static void store(struct reestimate *r)
{
    struct graph *g = r->graph;
    int64_t base = first_state(g);
    for (int64_t i = 0; r->batches > 0 && i < g->n_value - base; i++)
        g->value_block[base + i] = (real)(r->sum[i] / (double)r->batches);
}

enum status reestimate_run(const struct eval_opts *o, int64_t batches,
                           struct err *e)
{
    struct reestimate r;
    struct feed f;
    TRY(feed_check(o->graph, o->data, o->settings->loss, e));
    TRY(reestimate_init(&r, o->graph, e));
    enum status s = feed_init(&f, o->data, SPLIT_TRAIN,
                              o->batch > 0 ? o->batch : o->settings->batch, e);
    if (s == STATUS_OK) {
        graph_state_get(o->graph, r.before);
        set_flags(&r, true);
        s = walk(&r, o, &f, batches, e);
        set_flags(&r, false);
        graph_state_set(o->graph, r.before);
        if (s == STATUS_OK)
            store(&r);
        feed_fini(&f);
    }
    reestimate_fini(&r);
    return s;
}

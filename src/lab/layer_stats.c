/* Statistics of weights and of what training does to their codes.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "lab/layer_stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "lab/state.h"

const struct param *layer_weight(const struct graph *g, int node)
{
    const struct node *n = &g->node[node];
    for (int i = 0; i < OP_MAX_PARAMS; i++)
        if (n->param[i] >= 0 && g->param[n->param[i]].role == PARAM_WEIGHT)
            return &g->param[n->param[i]];
    return NULL;
}

real *layer_weight_values(const struct lab *l, int node)
{
    const struct graph *g = l->graph;
    const struct param *w = layer_weight(g, node);
    if (!w)
        return NULL;
    real *x = xmalloc((size_t)w->count * sizeof *x);
    memcpy(x, w->value, (size_t)w->count * sizeof *x);
    int bn = graph_group_bn(g, node);
    if (bn < 0 || l->train.bn_fold == FOLD_OFF)
        return x;
    int64_t channels = w->shape.dim[0], inner = w->count / channels;
    real *factor = xmalloc((size_t)channels * sizeof *factor);
    bn_scale_factor(g, bn, factor);
    for (int64_t c = 0; c < channels; c++)
        for (int64_t i = 0; i < inner; i++)
            x[c * inner + i] *= factor[c];
    free(factor);
    return x;
}

static struct qview weight_view(const struct graph *g, int point)
{
    struct shape shape;
    int axis;
    point_shape(g, point, &shape, &axis);
    return quantizer_view(g->point[point].q, &shape, axis);
}

struct quantizer *layer_weight_quantizer(const struct lab *l, int point,
                                         const real *x)
{
    const struct quantizer *q = l->graph->point[point].q;
    struct quantizer *now = NULL;
    if (!q || quantizer_new(&q->spec, q->channels, &now, NULL))
        return NULL;
    bool keep = q->ready && !q->stale && q->n_state == now->n_state;
    if (keep) {
        memcpy(now->state, q->state, (size_t)q->n_state * sizeof *q->state);
        now->ready = true;
    } else if (quantizer_observe(now, x, weight_view(l->graph, point),
                                 NULL) || !now->ready) {
        quantizer_free(now);
        return NULL;
    }
    now->observe = false;
    return now;
}

bool layer_weight_stats(struct lab *l, int point, struct qstats *out)
{
    const struct point *pt = &l->graph->point[point];
    if (!pt->q || pt->kind != POINT_WEIGHT)
        return false;
    real *x = layer_weight_values(l, pt->node);
    struct quantizer *q = x ? layer_weight_quantizer(l, point, x) : NULL;
    if (q)
        quantizer_stats(q, x, weight_view(l->graph, point), out);
    bool known = q != NULL;
    quantizer_free(q);
    free(x);
    return known;
}

/* ---- flips ---- */

static bool has_codes(const struct point *pt)
{
    return pt->kind == POINT_WEIGHT && pt->q && pt->q->ready && pt->q->fake &&
           pt->q->spec.kind->codes;
}

static int64_t count_codes(const struct graph *g)
{
    int64_t n = 0;
    for (int i = 0; i < g->n_point; i++)
        if (has_codes(&g->point[i]))
            n += layer_weight(g, g->point[i].node)->count;
    return n;
}

static void read_codes(struct lab *l, int32_t *code)
{
    const struct graph *g = l->graph;
    for (int i = 0; i < g->n_point; i++) {
        const struct point *pt = &g->point[i];
        if (!has_codes(pt))
            continue;
        real *x = layer_weight_values(l, pt->node);
        pt->q->spec.kind->codes(pt->q, x, code, weight_view(g, i));
        code += layer_weight(g, pt->node)->count;
        free(x);
    }
}

/* Share of codes that differ, by layer and in all (returned). */
static double compare_codes(struct lab *l, const int32_t *now)
{
    struct layer_cache *c = &l->layers;
    const struct graph *g = l->graph;
    int64_t at = 0, moved = 0;
    for (int i = 0; i < g->n_point; i++) {
        if (!has_codes(&g->point[i]))
            continue;
        int64_t n = layer_weight(g, g->point[i].node)->count, k = 0;
        for (int64_t j = at; j < at + n; j++)
            k += now[j] != c->code[j];
        c->flips[g->point[i].node] = (double)k / (double)n;
        moved += k;
        at += n;
    }
    return (double)moved / (double)at;
}

void layer_flips_drop(struct lab *l)
{
    free(l->layers.code);
    free(l->layers.flips);
    l->layers.code = NULL;
    l->layers.flips = NULL;
    l->layers.n_code = 0;
}

void layer_flips_update(struct lab *l)
{
    struct layer_cache *c = &l->layers;
    int64_t n = count_codes(l->graph);
    if (n == 0) {
        layer_flips_drop(l);
        return;
    }
    int32_t *now = xmalloc((size_t)n * sizeof *now);
    read_codes(l, now);
    if (!c->flips) {
        c->flips = xmalloc((size_t)l->graph->n_node * sizeof *c->flips);
        for (int i = 0; i < l->graph->n_node; i++)
            c->flips[i] = (double)NAN;
    }
    /* Codes of another grid cannot be compared: a bit change starts anew. */
    if (c->code && c->n_code == n && c->code_gen == l->gen.quant)
        series_add(l, "flips", lab_epoch(l), compare_codes(l, now));
    free(c->code);
    c->code = now;
    c->n_code = n;
    c->code_gen = l->gen.quant;
}

double layer_flips(const struct lab *l, int node)
{
    return l->layers.flips ? l->layers.flips[node] : (double)NAN;
}

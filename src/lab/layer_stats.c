/* Statistics of points.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "lab/layer_stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "lab/state.h"
#include "lab/tensor_view.h"

real *layer_weight_values(const struct lab *l, int node)
{
    const struct param *w = node_weight(l->graph, node);
    if (!w)
        return NULL;
    real *x = xmalloc((size_t)(w->count + 1) * sizeof *x);
    weight_values(l->graph, node, l->train.bn_fold, x);
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

const struct point_stats point_stats_unknown = {
    .sqnr = (double)NAN, .mse = (double)NAN, .max_error = (double)NAN,
    .saturation = (double)NAN, .dead = (double)NAN,
    .one = (double)NAN, .one_code = (double)NAN,
    .blocked = (double)NAN, .no_grad = (double)NAN, .zero = (double)NAN,
    .flips = (double)NAN, .osc = (double)NAN, .drift = (double)NAN,
};

static void take_qstats(const struct qstats *st, struct point_stats *out)
{
    if (st->count == 0)
        return;
    double n = (double)st->count;
    out->sqnr = st->sqnr_db;
    out->mse = st->mse;
    out->max_error = st->max_error;
    out->saturation = (double)st->clipped / n;
    out->dead = (double)st->dead_levels;
    if (st->levels == 0)
        return;
    out->one = (double)st->most / n;
    out->one_code = (double)st->most_code;
}

/* ---- weights ---- */

/* Channels of the output all of whose weights become 0. */
static double zero_channels(struct quantizer *q, const real *x,
                            const struct param *w, struct qview v)
{
    real *y = xmalloc((size_t)(w->count + 1) * sizeof *y);
    int64_t channels = w->shape.dim[0], inner = w->count / channels, n = 0;
    quantizer_forward(q, x, y, v, false);
    for (int64_t c = 0; c < channels; c++) {
        bool zero = true;
        for (int64_t i = c * inner; i < (c + 1) * inner && zero; i++)
            zero = y[i] == 0;
        n += zero;
    }
    free(y);
    return (double)n;
}

static double without_gradient(struct lab *l, const struct param *w)
{
    struct plan *p;
    int64_t n = 0;
    if (w->frozen || w->count == 0 || lab_probe(l, true, &p, NULL))
        return (double)NAN;
    for (int64_t i = 0; i < w->count; i++)
        n += w->grad[i] == 0;
    return (double)n / (double)w->count;
}

static void weight_stats(struct lab *l, int point, unsigned needs,
                         struct point_stats *out)
{
    const struct point *pt = &l->graph->point[point];
    const struct param *w = node_weight(l->graph, pt->node);
    real *x = layer_weight_values(l, pt->node);
    struct quantizer *q = x ? layer_weight_quantizer(l, point, x) : NULL;
    if (q) {
        struct qstats st;
        struct qview v = weight_view(l->graph, point);
        quantizer_stats(q, x, v, &st);
        take_qstats(&st, out);
        out->zero = zero_channels(q, x, w, v);
        q->fake = pt->q->fake;
        out->blocked = quantizer_blocked(q, x, NULL, v);
        if (needs & NEED_GRAD)
            out->no_grad = without_gradient(l, w);
    }
    quantizer_free(q);
    free(x);
}

/* ---- other points ---- */

#define VALUES_MOST 131072    /* of a point; fewer samples are enough then */

static void some_samples(struct shape *s)
{
    int64_t row = shape_count(s) / s->dim[0], n = VALUES_MOST / (row + 1);
    n = n < 1 ? 1 : n;
    s->dim[0] = s->dim[0] < n ? s->dim[0] : n;
}

/* The values at a point, as the forward pass made them. */
static real *point_values(struct lab *l, const struct point *pt,
                          struct plan *p, struct shape *shape)
{
    const struct graph *g = l->graph;
    const struct node *n = &g->node[pt->node];
    bool in = pt->kind == POINT_IN;
    int at = in ? n->in[0] : pt->at;
    *shape = g->node[at].shape;
    shape->dim[0] = plan_options(p)->batch;
    real *x = xmalloc((size_t)(shape_count(shape) + 1) * sizeof *x);
    if (plan_value(p, at, !in, x, NULL) == STATUS_OK) {
        some_samples(shape);
        return x;
    }
    free(x);
    return NULL;
}

/* The share of today's gradient; of the values where there is none, as at
 * the net's input. A value of 0 stands behind a rectifier, which lets no
 * gradient pass in any case. */
static double blocked_gradient(struct lab *l, int point)
{
    const struct point *pt = &l->graph->point[point];
    struct shape s;
    struct plan *p;
    if (lab_probe(l, true, &p, NULL))
        return (double)NAN;
    real *x = point_values(l, pt, p, &s);
    if (!x)
        return (double)NAN;
    int64_t n = shape_count(&s), row = n / s.dim[0];
    real *dy = xmalloc((size_t)(row * plan_options(p)->batch + 1) *
                       sizeof *dy);
    bool known = pt->kind == POINT_OUT &&
                 plan_value_grad(p, pt->at, dy, NULL) == STATUS_OK;
    for (int64_t i = 0; i < n; i++)
        dy[i] = x[i] == 0 ? 0 : known ? dy[i] : 1;
    struct qview v = quantizer_view(pt->q, &s, s.rank > 1 ? 1 : -1);
    double share = quantizer_blocked(pt->q, x, dy, v);
    free(dy);
    free(x);
    return share;
}

static bool has_range(const struct quantizer *q)
{
    return q->ready || q->spec.kind->flags & QK_OWN_SCALE;
}

static void value_stats(struct lab *l, int point, unsigned needs,
                        struct point_stats *out)
{
    const struct point *pt = &l->graph->point[point];
    struct plan *p;
    struct shape s;
    if (!(needs & NEED_OUT) || !has_range(pt->q) ||
        lab_probe(l, false, &p, NULL))
        return;
    real *x = point_values(l, pt, p, &s);
    if (x) {
        struct qstats st;
        quantizer_stats(pt->q, x, quantizer_view(pt->q, &s,
                                                 s.rank > 1 ? 1 : -1), &st);
        take_qstats(&st, out);
    }
    free(x);
    if (needs & NEED_GRAD)
        out->blocked = blocked_gradient(l, point);
}

static void bias_stats(struct lab *l, int point, unsigned needs,
                       struct point_stats *out)
{
    const struct point *pt = &l->graph->point[point];
    const struct node *n = &l->graph->node[pt->node];
    (void)needs;
    for (int i = 0; i < OP_MAX_PARAMS; i++) {
        const struct param *b = n->param[i] < 0 ? NULL
                                : &l->graph->param[n->param[i]];
        struct qstats st;
        if (!b || b->role != PARAM_BIAS || !has_range(pt->q))
            continue;
        quantizer_stats(pt->q, b->value, weight_view(l->graph, point), &st);
        take_qstats(&st, out);
    }
}

static void no_stats(struct lab *l, int point, unsigned needs,
                     struct point_stats *out)
{
    (void)l;
    (void)point;
    (void)needs;
    (void)out;
}

void point_stats_get(struct lab *l, int point, unsigned needs,
                     struct point_stats *out)
{
    static void (*const by_kind[POINT_KINDS])(struct lab *l, int point,
                                              unsigned needs,
                                              struct point_stats *out) = {
        [POINT_WEIGHT] = weight_stats, [POINT_BIAS] = bias_stats,
        [POINT_IN] = value_stats,      [POINT_OUT] = value_stats,
        [POINT_ACC] = no_stats,
    };
    *out = point_stats_unknown;
    if (!l->graph->point[point].q)
        return;
    by_kind[l->graph->point[point].kind](l, point, needs, out);
    if (!l->trainer)
        return;
    struct motion m;
    trainer_motion(l->trainer, point, &m);
    out->flips = m.flips;
    out->osc = m.oscillating;
    out->drift = m.drift;
}

/* ---- motion ---- */

void motion_sync(struct lab *l)
{
    struct lab_generation *at = &l->layers.motion_at;
    bool model = at->model != l->gen.model;
    if (model || at->quant != l->gen.quant)
        trainer_resync(l->trainer, model);
    *at = l->gen;
}

void motion_epoch(struct lab *l)
{
    double codes = 0, moved = 0, turning = 0;
    for (int i = 0; i < l->graph->n_point; i++) {
        struct motion m;
        trainer_motion(l->trainer, i, &m);
        if (m.codes == 0)
            continue;
        codes += (double)m.codes;
        moved += m.flips * (double)m.codes;
        turning += m.oscillating * (double)m.codes;
    }
    if (codes == 0)
        return;
    series_add(l, "flips", lab_epoch(l), moved / codes);
    series_add(l, "osc", lab_epoch(l), turning / codes);
}

int64_t motion_batches(const struct lab *l)
{
    return l->trainer ? trainer_motion_batches(l->trainer) : 0;
}

/* Watching codes and ranges. SPDX-License-Identifier: GPL-3.0-or-later */
#include "train/watch.h"

#include <math.h>
#include <string.h>

#include "base/arena.h"

const struct motion motion_unknown = {
    .flips = (double)NAN,
    .oscillating = (double)NAN,
    .drift = (double)NAN,
};

/* ---- one point ---- */

static void point_drop(struct watched_point *p)
{
    code_watch_fini(&p->codes);
    mem_free(p->range);
    *p = (struct watched_point){ .motion = motion_unknown };
}

static bool has_codes(const struct point *pt)
{
    return pt->kind == POINT_WEIGHT && pt->q && pt->q->ready && pt->q->fake &&
           pt->q->spec.kind->codes;
}

/* Made anew when another quantizer sits there. */
static void point_fit(struct watched_point *p, const struct graph *g,
                      const struct point *pt)
{
    const struct quantizer *q = pt->q;
    bool codes = has_codes(pt);
    int64_t n = codes ? node_weight(g, pt->node)->count : 0;
    if (p->q == q && p->codes.n == n && q && p->channels == q->channels &&
        qspec_equal(&p->spec, &q->spec))
        return;
    point_drop(p);
    if (!q || !q->ready)
        return;
    p->q = q;
    p->spec = q->spec;
    p->channels = q->channels;
    if (codes)
        (void)code_watch_init(&p->codes, n, NULL);
}

static void range_of(const struct quantizer *q, int64_t c, real *lo,
                     real *hi)
{
    struct affine a;
    *lo = q->lo[c];
    *hi = q->hi[c];
    if (!q->learn || !quantizer_get_affine(q, c, &a))
        return;
    *lo = ((real)a.lo - a.zero_point) * a.scale;
    *hi = ((real)a.hi - a.zero_point) * a.scale;
}

static void range_begin(struct watched_point *p)
{
    size_t n = (size_t)(2 * p->channels);
    if (!p->range)
        p->range = mem_alloc(n + 1, sizeof *p->range);
    for (int64_t c = 0; p->range && c < p->channels; c++)
        range_of(p->q, c, &p->range[c], &p->range[p->channels + c]);
}

/* Sums over channels: (|dlo| + |dhi|) / (hi - lo), of the old range. */
static double range_drift(const struct watched_point *p)
{
    double moved = 0, width = 0;
    if (!p->range || !(p->q->observe || p->q->learn))
        return (double)NAN;
    for (int64_t c = 0; c < p->channels; c++) {
        real lo, hi, lo0 = p->range[c], hi0 = p->range[p->channels + c];
        range_of(p->q, c, &lo, &hi);
        moved += fabs((double)lo - (double)lo0) +
                 fabs((double)hi - (double)hi0);
        width += (double)hi0 - (double)lo0;
    }
    return width > 0 ? moved / width : (double)NAN;
}

static void point_measure(struct watched_point *p)
{
    p->motion = motion_unknown;
    if (!p->q)
        return;
    p->motion.drift = range_drift(p);
    const struct code_watch *c = &p->codes;
    if (!c->seen || c->n == 0)
        return;
    p->motion.codes = c->n;
    p->motion.flips = (double)code_watch_moved(c) / (double)c->n;
    p->motion.oscillating =
        (double)code_watch_oscillating(c) / (double)c->n;
}

/* ---- all of them ---- */

void watch_fini(struct watch *w)
{
    for (int i = 0; i < w->n_point; i++)
        point_drop(&w->point[i]);
    mem_free(w->point);
    mem_free(w->x);
    mem_free(w->code);
    *w = (struct watch){ 0 };
}

static void fit_points(struct watch *w, const struct graph *g)
{
    if (w->n_point != g->n_point)
        watch_fini(w);
    if (!w->point) {
        w->point = mem_alloc((size_t)g->n_point + 1, sizeof *w->point);
        w->n_point = w->point ? g->n_point : 0;
        for (int i = 0; i < w->n_point; i++)
            w->point[i].motion = motion_unknown;
    }
    for (int i = 0; i < w->n_point; i++)
        point_fit(&w->point[i], g, &g->point[i]);
}

/* Room for the codes of the largest point. */
static bool fit_room(struct watch *w)
{
    int64_t most = 0;
    for (int i = 0; i < w->n_point; i++)
        most = w->point[i].codes.n > most ? w->point[i].codes.n : most;
    if (most <= w->most)
        return true;
    mem_free(w->x);
    mem_free(w->code);
    w->x = mem_alloc((size_t)most, sizeof *w->x);
    w->code = mem_alloc((size_t)most, sizeof *w->code);
    w->most = w->x && w->code ? most : 0;
    return w->most > 0;
}

static void look_at(struct watch *w, const struct watch_batch *b, int point)
{
    const struct graph *g = b->graph;
    const struct point *pt = &g->point[point];
    struct watched_point *p = &w->point[point];
    struct shape shape;
    int axis;
    if (p->codes.n == 0)
        return;
    point_shape(g, point, &shape, &axis);
    weight_values(g, pt->node, b->fold, w->x);
    p->spec.kind->codes(p->q, w->x, w->code,
                        quantizer_view(p->q, &shape, axis));
    if (w->begun)
        code_watch_see(&p->codes, w->code, w->since);
    else
        code_watch_reset(&p->codes, w->code);
}

static void look(struct watch *w, const struct watch_batch *b)
{
    fit_points(w, b->graph);
    for (int i = 0; fit_room(w) && i < w->n_point; i++)
        look_at(w, b, i);
    w->since = 0;
}

static void begin(struct watch *w, const struct watch_batch *b)
{
    for (int i = 0; i < w->n_point; i++) {
        struct watched_point *p = &w->point[i];
        if (p->codes.n)
            code_watch_begin(&p->codes);
        if (p->q)
            range_begin(p);
    }
    w->begun = true;
    w->window = 0;
    w->every = watch_interval(b->graph, b->batch);
}

#define LOOK_MACS 50          /* of a weight: a training step does as many
                               * multiply-accumulates in the time */
#define LOOK_SHARE 0.005      /* of the time, at most */
#define LOOK_RARELY 31        /* f reaches 1 / interval: well over threshold */

/* An odd number: what turns at every batch is not missed. A training step has
 * three products per weight, place and row. */
int64_t watch_interval(const struct graph *g, int64_t batch)
{
    double look_macs = LOOK_MACS * (double)g->n_grad;
    double step_macs = 3 * (double)graph_macs(g) * (double)batch;
    double every = look_macs / (LOOK_SHARE * step_macs + 1);
    int64_t n = every > LOOK_RARELY ? LOOK_RARELY : (int64_t)ceil(every);
    return n | 1;
}

void watch_step(struct watch *w, const struct watch_batch *b)
{
    w->window++;
    w->since++;
    if (w->begun && !b->epoch_end && w->since < w->every)
        return;
    look(w, b);
    if (w->begun && b->epoch_end) {
        for (int i = 0; i < w->n_point; i++)
            point_measure(&w->point[i]);
        w->measured = w->window;
    }
    if (!w->begun || b->epoch_end)
        begin(w, b);
}

size_t watch_bytes(const struct watch *w)
{
    size_t n = (size_t)w->most * (sizeof *w->x + sizeof *w->code);
    for (int i = 0; i < w->n_point; i++)
        n += (size_t)w->point[i].codes.n *
             (3 * sizeof(int32_t) + sizeof(float));
    return n;
}

void watch_resync(struct watch *w, bool weights)
{
    if (weights)
        watch_fini(w);
    w->begun = false;
    w->since = 0;
}

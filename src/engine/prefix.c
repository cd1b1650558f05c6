/* One plan's way through the cache of values before a cut.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/prefix_impl.h"

#include <string.h>

#include "engine/plan_part.h"
#include "quant/fingerprint.h"
#include "quant/observer.h"

/* Kept on the way, to be found when the batch is through. */
struct made {
    struct prefix_blob *blob;
    struct digest key;
    int units;                /* that it depends on */
};

struct prefix {
    struct prefix_cache *cache;
    struct plan *plan;
    bool read_only;
    struct prefix_keys keys;
    struct prefix_cuts cuts;
    /* Of the batch that was asked for last. */
    struct digest rows;
    struct digest *unit, *lowered;     /* of all before each cut */
    struct digest *moved;     /* by unit, behind the batch */
    struct made *made;
    int n_made;
    real *seen;               /* what observers saw */
    int from;                 /* the cut that it begins at; 0: none */
    bool found;               /* prefix_find was asked */
};

/* ---- what a cut asks for ---- */

static bool unit_draws(const struct plan *p, const struct unit *u)
{
    const struct graph *g = p->graph;
    if (p->opts.mode == MODE_FLOAT)
        return false;
    for (int i = 0; i < g->n_point; i++) {
        const struct point *t = &g->point[i];
        if (!t->q || !quant_fakes(p, t->q) || !quantizer_may_draw(t->q))
            continue;
        for (int k = 0; k < u->n; k++)
            if (t->node == u->node[k] || t->at == u->node[k])
                return true;
    }
    return false;
}

/* No cut lies behind a unit that draws: leaving it out would leave the stream
 * where it was. */
static int last_cut(const struct plan *p)
{
    for (int i = 0; i < p->n_unit; i++)
        if (unit_draws(p, p->unit[i]))
            return i;
    return p->n_unit;
}

/* Evaluation gives a weight quantizer without a range one in its first
 * forward pass, and some find their scale in each. Done beforehand, the pass
 * moves nothing that its keys are made of. */
static bool weights_move(const struct plan *p)
{
    const struct graph *g = p->graph;
    if (p->opts.mode != MODE_FAKE)
        return false;
    for (int i = 0; i < g->n_point; i++) {
        const struct point *t = &g->point[i];
        bool weight = t->kind == POINT_WEIGHT || t->kind == POINT_BIAS;
        if (t->q && weight && quant_fakes(p, t->q) &&
            (!t->q->ready || (t->q->spec.kind->flags & QK_OWN_SCALE)))
            return true;
    }
    return false;
}

/* ---- keys ---- */

static struct digest digest_of(uint32_t seed, const struct digest *part,
                               int n)
{
    struct hash128 h;
    hash128_init(&h, seed);
    hash128_add(&h, part, (size_t)n * sizeof *part);
    return hash128_end(&h);
}

static void make_keys(struct prefix *x, const struct digest *rows)
{
    const struct prefix_keys *k = &x->keys;
    x->rows = *rows;
    x->unit[0] = x->lowered[0] = k->start;
    prefix_keys_look(x->plan, k->moving);
    for (int i = 0; i < x->cuts.n; i++) {
        const struct digest loose[] = {x->unit[i], k->unit[i], k->moving[i]};
        x->unit[i + 1] = digest_of(7, loose, 3);
        const struct digest tight[] = {x->lowered[i], x->unit[i + 1],
                                       k->lowered[i]};
        x->lowered[i + 1] = digest_of(8, tight, 3);
    }
}

static struct value_keys value_keys(const struct prefix *x)
{
    return (struct value_keys){x->unit, x->lowered, &x->rows};
}

/* Of the mark that a batch has passed the cut and moved nothing before it. */
static struct digest cut_key(const struct prefix *x, int cut)
{
    const struct digest part[] = {x->unit[cut], x->rows};
    return digest_of(11, part, 2);
}

int prefix_unit_count(const struct prefix *x)
{
    return x->cuts.n;
}

struct digest prefix_key(struct prefix *x, int unit,
                         const struct digest *rows)
{
    make_keys(x, rows);
    return cut_key(x, unit);
}

/* ---- calibration ---- */

static struct quantizer *watcher(const struct prefix *x, int i)
{
    int point = x->cuts.watched[i].point;
    return x->plan->graph->point[point].q;
}

/* Whether the observers before the cut can be shown what they would see. */
static bool can_show(const struct prefix *x, int cut, const real *seen)
{
    for (int i = 0; i < x->cuts.n_watched; i++) {
        const struct watched *w = &x->cuts.watched[i];
        const struct quantizer *q = watcher(x, i);
        if (w->unit >= cut)
            break;
        if (quantizer_watches(q) &&
            (!quantizer_takes_minmax(q) || seen[w->at] == 0))
            return false;
    }
    return true;
}

static enum status show(struct prefix *x, struct err *e)
{
    for (int i = 0; i < x->cuts.n_watched; i++) {
        const struct watched *w = &x->cuts.watched[i];
        struct quantizer *q = watcher(x, i);
        if (w->unit >= x->from)
            break;
        const real *lo = x->seen + w->at + 1;
        if (!quantizer_watches(q))
            continue;
        enum status s =
            quantizer_observe_minmax(q, lo, lo + q->channels, e);
        if (s)
            return err_wrap(e, s, "%s", point_name(x->plan, w->point));
    }
    return STATUS_OK;
}

/* Those of units [from, to) keep what they have just seen. A quantizer that
 * does not watch saw nothing, whatever lies there. */
static void note_seen(struct prefix *x, int from, int to)
{
    for (int i = 0; i < x->cuts.n_watched; i++) {
        const struct watched *w = &x->cuts.watched[i];
        const struct quantizer *q = watcher(x, i);
        bool known = quantizer_watches(q) &&
                     (q->observer->kind->flags & OBS_MINMAX_ONLY);
        if (w->unit < from || w->unit >= to)
            continue;
        x->seen[w->at] = known;
        if (known)
            memcpy(x->seen + w->at + 1, observer_seen(q->observer),
                   2 * (size_t)q->channels * sizeof(real));
    }
}

static bool weights_watch(const struct prefix *x)
{
    const struct graph *g = x->plan->graph;
    if (!x->plan->opts.observe_only)
        return false;
    for (int i = 0; i < g->n_point; i++) {
        const struct point *t = &g->point[i];
        bool weight = t->kind == POINT_WEIGHT || t->kind == POINT_BIAS;
        if (t->q && weight && quantizer_watches(t->q))
            return true;
    }
    return false;
}

/* ---- a batch ---- */

/* Everything that is alive at the cut is there, and what observers saw. */
static bool is_there(const struct prefix *x, int cut)
{
    const struct cut *c = &x->cuts.cut[cut];
    const struct value_keys keys = value_keys(x);
    const struct digest key = cut_key(x, cut);
    const struct prefix_blob *mark = prefix_cache_get(x->cache, &key);
    if (!mark || !can_show(x, cut, mark->data))
        return false;
    for (int i = 0; i < c->n_live; i++)
        if (!prefix_value_find(x->cache, x->plan, &c->live[i], &keys))
            return false;
    return true;
}

int prefix_find(struct prefix *x, const struct digest *rows)
{
    double gain = 0;
    x->from = 0;
    x->found = true;
    make_keys(x, rows);
    int last = last_cut(x->plan);
    for (int i = 1; i <= last; i++) {
        const struct cut *c = &x->cuts.cut[i];
        if (!is_there(x, i) || c->gain <= gain)
            continue;
        gain = c->gain;
        x->from = i;
    }
    prefix_cache_count(x->cache, x->from > 0);
    return x->cuts.cut[x->from].nodes;
}

static enum status begin(struct prefix *x, struct err *e)
{
    const struct cut *c = &x->cuts.cut[x->from];
    const struct value_keys keys = value_keys(x);
    const struct digest key = cut_key(x, x->from);
    if (x->from == 0)
        return STATUS_OK;
    if (weights_watch(x))
        TRY(plan_forward_weights(x->plan, c->step, e));
    if (c->n_seen > 0)
        memcpy(x->seen, prefix_cache_get(x->cache, &key)->data,
               (size_t)c->n_seen * sizeof *x->seen);
    TRY(show(x, e));
    for (int i = 0; i < c->n_live; i++)
        prefix_value_restore(prefix_value_find(x->cache, x->plan,
                                               &c->live[i], &keys),
                             x->plan, &c->live[i]);
    return STATUS_OK;
}

static void add_made(struct prefix *x, struct prefix_blob *blob,
                     const struct digest *key, int units)
{
    if (blob)
        x->made[x->n_made++] = (struct made){blob, *key, units};
}

/* At an earlier cut of this batch. */
static bool is_made(const struct prefix *x, const struct live_value *v,
                    const struct value_keys *keys)
{
    struct digest key[2];
    int n = prefix_value_keys(x->plan, v, keys, key);
    for (int i = 0; i < x->n_made; i++)
        for (int k = 0; k < n; k++)
            if (digest_equal(&x->made[i].key, &key[k]))
                return true;
    return false;
}

static void keep_value(struct prefix *x, const struct live_value *v)
{
    const struct value_keys keys = value_keys(x);
    struct digest key;
    if (is_made(x, v, &keys) ||
        prefix_value_find(x->cache, x->plan, v, &keys))
        return;
    struct prefix_blob *b =
        prefix_value_keep(x->cache, x->plan, v, &keys, &key);
    add_made(x, b, &key, v->unit + 1);
}

static void keep_cut(struct prefix *x, int at)
{
    const struct cut *c = &x->cuts.cut[at];
    const struct digest key = cut_key(x, at);
    size_t bytes = (size_t)c->n_seen * sizeof *x->seen;
    for (int i = 0; i < c->n_live; i++)
        keep_value(x, &c->live[i]);
    struct prefix_blob *mark = prefix_blob_new(x->cache, bytes);
    if (mark && bytes > 0)
        memcpy(mark->data, x->seen, bytes);
    add_made(x, mark, &key, at);
}

/* The steps from the cut on, keeping values on the way. */
static enum status run(struct prefix *x, const struct tick *t, struct err *e)
{
    int at = x->from, last = last_cut(x->plan);
    for (int i = at + 1; i <= x->cuts.n; i++) {
        const struct cut *c = &x->cuts.cut[i];
        bool keep = c->keep && i <= last && !x->read_only;
        if (!keep && i < x->cuts.n)
            continue;
        TRY(plan_forward_steps(x->plan, x->cuts.cut[at].step, c->step, t,
                               e));
        note_seen(x, at, i);
        if (keep)
            keep_cut(x, i);
        at = i;
    }
    return STATUS_OK;
}

/* Units before the first one that the batch has moved. */
static int count_still(struct prefix *x)
{
    int n = 0;
    prefix_keys_look(x->plan, x->moved);
    while (n < x->cuts.n && digest_equal(&x->keys.moving[n], &x->moved[n]))
        n++;
    return n;
}

static void settle(struct prefix *x, bool good)
{
    int still = good ? count_still(x) : -1;
    for (int i = 0; i < x->n_made; i++) {
        struct made *m = &x->made[i];
        if (m->units <= still)
            prefix_blob_put(x->cache, m->blob, &m->key);
        else
            prefix_blob_drop(x->cache, m->blob);
    }
    x->n_made = 0;
}

enum status prefix_forward(struct prefix *x, const struct tick *t,
                           struct err *e)
{
    if (!x->found)
        return err_set(e, STATUS_STATE, "no batch was asked for");
    x->found = false;
    enum status s = begin(x, e);
    if (s == STATUS_OK)
        s = run(x, t, e);
    settle(x, s == STATUS_OK);
    return s;
}

/* ---- a pass ---- */

static bool is_useful(const struct prefix_opts *o)
{
    const struct plan_opts *p = &o->plan->opts;
    return o->cache && prefix_cache_bound(o->cache) > 0 && !p->train &&
           !p->keep_values;
}

/* Values and marks at the cuts that are kept. */
static size_t count_made(const struct prefix_cuts *c)
{
    size_t n = 1;
    for (int i = 0; i <= c->n; i++)
        n += c->cut[i].keep ? (size_t)c->cut[i].n_live + 1 : 0;
    return n;
}

static enum status make_arrays(struct prefix *x, struct err *e)
{
    size_t n = (size_t)x->plan->n_unit + 1;
    struct digest **const to[] = {
        &x->keys.unit, &x->keys.lowered, &x->keys.moving,
        &x->unit, &x->lowered, &x->moved,
    };
    for (size_t i = 0; i < sizeof to / sizeof to[0]; i++) {
        *to[i] = mem_alloc(n, sizeof(struct digest));
        if (!*to[i])
            return err_memory(e, "fingerprints");
    }
    return STATUS_OK;
}

static enum status build(struct prefix *x, int64_t rows, struct err *e)
{
    const struct plan *p = x->plan;
    TRY(make_arrays(x, e));
    TRY(prefix_keys_init(&x->keys, p, e));
    TRY(prefix_cuts_init(&x->cuts, p, e));
    TRY(prefix_cuts_choose(&x->cuts, p,
                           (double)rows / (double)p->opts.batch,
                           (double)prefix_cache_bound(x->cache), e));
    x->seen = mem_alloc((size_t)x->cuts.n_seen + 1, sizeof *x->seen);
    x->made = mem_alloc(count_made(&x->cuts), sizeof *x->made);
    return x->seen && x->made ? STATUS_OK : err_memory(e, "cuts");
}

enum status prefix_new(const struct prefix_opts *o, struct prefix **out,
                       struct err *e)
{
    *out = NULL;
    if (!is_useful(o))
        return STATUS_OK;
    struct prefix *x = mem_alloc(1, sizeof *x);
    if (!x)
        return err_memory(e, "fingerprints");
    x->cache = o->cache;
    x->plan = o->plan;
    x->read_only = o->read_only;
    enum status s = build(x, o->rows, e);
    if (s == STATUS_OK && weights_move(o->plan))
        s = plan_forward_weights(o->plan,
                                 x->cuts.cut[last_cut(o->plan)].step, e);
    if (s != STATUS_OK) {
        prefix_free(x);
        return s;
    }
    *out = x;
    return STATUS_OK;
}

void prefix_free(struct prefix *x)
{
    if (!x)
        return;
    struct digest *const from[] = {x->keys.unit, x->keys.lowered,
                                   x->keys.moving, x->unit, x->lowered,
                                   x->moved};
    for (size_t i = 0; i < sizeof from / sizeof from[0]; i++)
        mem_free(from[i]);
    mem_free(x->made);
    mem_free(x->seen);
    prefix_cuts_fini(&x->cuts);
    mem_free(x);
}

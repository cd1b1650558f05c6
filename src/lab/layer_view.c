/* What can be seen of the layers. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "lab/layer_stats.h"
#include "lab/state.h"

/* ---- rows ---- */

static void bits_text(const struct quantizer *q, char out[12])
{
    if (q)
        snprintf(out, 12, "%d", q->spec.bits);
    else
        snprintf(out, 12, "-");
}

/* "ch sym", or "lsq ch" for kinds other than affine. */
static void scheme_text(const struct quantizer *q, char *out, size_t size)
{
    static const char *const grain[GRAIN_COUNT] = { "tn", "ch", "gr" };
    bool affine = strcmp(q->spec.kind->name, "affine") == 0;
    snprintf(out, size, "%s %s",
             affine ? grain[q->spec.grain] : q->spec.kind->name,
             affine ? (q->spec.symmetric ? "sym" : "asym")
                    : grain[q->spec.grain]);
}

static void add_flags(struct layer_view *v, const struct quantizer *q)
{
    if (!q)
        return;
    v->fake |= q->fake;
    v->observe |= q->observe;
    v->learn |= q->learn;
}

static int64_t node_params(const struct graph *g, int node)
{
    int64_t n = 0;
    for (int i = 0; i < g->n_learned; i++)
        if (g->param[i].node == node)
            n += g->param[i].count;
    return n;
}

static void fill_view(struct lab *l, int i, struct layer_view *v)
{
    const struct graph *g = l->graph;
    const struct node *n = &g->node[i];
    int wp = layer_weight_point(g, i), ap = layer_out_point(g, i);
    const struct quantizer *w = wp >= 0 ? g->point[wp].q : NULL;
    const struct quantizer *a = ap >= 0 ? g->point[ap].q : NULL;
    *v = (struct layer_view){
        .node = i,
        .name = n->name,
        .type = node_type(g, n),
        .has_w = wp >= 0,
        .has_a = ap >= 0,
        .has_bn = n->op->flags & OP_BATCH_NORM,
        .bn_frozen = n->bn_frozen || n->bn_folded,
        .weight = point_stats_unknown,
        .out = point_stats_unknown,
        .params = node_params(g, i),
        .macs = node_macs(g, n),
        .shape = n->shape,
    };
    bits_text(w, v->w);
    bits_text(a, v->a);
    if (w || a)
        scheme_text(w ? w : a, v->scheme, sizeof v->scheme);
    add_flags(v, w);
    add_flags(v, a);
    v->changed = layer_changed(l, i);
}

static bool gen_equal(const struct lab_generation *a,
                      const struct lab_generation *b)
{
    return a->model == b->model && a->quant == b->quant &&
           a->settings == b->settings;
}

/* Statistics of the row before are carried over: they are refreshed by
 * lab_refresh_stats only. */
static void build_views(struct lab *l)
{
    struct layer_cache *c = &l->layers;
    int n = l->graph->n_node;
    struct layer_view *old = c->view;
    int n_old = c->n;
    c->view = xmalloc((size_t)(n + 1) * sizeof *c->view);
    c->n = n;
    for (int i = 0; i < n; i++) {
        fill_view(l, i, &c->view[i]);
        if (!old || n_old != n)
            continue;
        if (c->view[i].w[0] != '-' && strcmp(old[i].w, c->view[i].w) == 0)
            c->view[i].weight = old[i].weight;
        if (c->view[i].a[0] != '-' && strcmp(old[i].a, c->view[i].a) == 0)
            c->view[i].out = old[i].out;
    }
    free(old);
    c->at = l->gen;
    c->stats = false;
}

const struct layer_view *lab_layer_views(struct lab *l, int *n)
{
    struct layer_cache *c = &l->layers;
    *n = 0;
    if (!l->graph)
        return NULL;
    if (!c->view || !gen_equal(&c->at, &l->gen))
        build_views(l);
    for (int i = 0; i < c->n; i++)
        c->view[i].selected = l->selected[i];
    *n = c->n;
    return c->view;
}

static void refresh(struct lab *l, int point, unsigned needs, bool all,
                    struct point_stats *out)
{
    struct point_stats fresh = point_stats_unknown;
    if (point >= 0)
        point_stats_get(l, point, needs, &fresh);
    /* Only motion is new. */
    if (!all) {
        out->flips = fresh.flips;
        out->osc = fresh.osc;
        out->drift = fresh.drift;
        return;
    }
    *out = fresh;
}

static int64_t steps_now(const struct lab *l)
{
    return l->trainer ? trainer_steps(l->trainer) : 0;
}

bool lab_stats_fresh(struct lab *l, unsigned needs)
{
    const struct layer_cache *c = &l->layers;
    int n;
    return !lab_layer_views(l, &n) ||
           (c->stats && c->steps == steps_now(l) &&
            (c->needs & needs) == needs);
}

void lab_refresh_stats(struct lab *l, unsigned needs)
{
    struct layer_cache *c = &l->layers;
    int n;
    if (lab_stats_fresh(l, needs))
        return;
    lab_layer_views(l, &n);
    for (int i = 0; i < n; i++) {
        struct layer_view *v = &c->view[i];
        refresh(l, layer_weight_point(l->graph, i), needs, true, &v->weight);
        refresh(l, layer_out_point(l->graph, i), needs, needs & NEED_OUT,
                &v->out);
    }
    c->stats = true;
    c->needs = needs;
    c->steps = steps_now(l);
}

/* ---- one layer in words ---- */

static void range_text(const struct quantizer *q, const real *x,
                       const char *name, struct str *out)
{
    double lo = (double)x[0], hi = lo;
    for (int64_t c = 1; c < q->channels; c++) {
        double v = (double)x[c];
        lo = v < lo ? v : lo;
        hi = v > hi ? v : hi;
    }
    str_printf(out, "  %s %s", name, num_text(lo).s);
    if (lo < hi)
        str_printf(out, " .. %s", num_text(hi).s);
}

static void point_flags(const struct quantizer *q, struct str *out)
{
    str_printf(out, "%c%c%c", q->fake ? 'F' : '-', q->observe ? 'O' : '-',
               q->learn ? 'L' : '-');
}

static bool measured(const struct point_stats *st)
{
    return !isnan(st->sqnr) || !isnan(st->blocked);
}

static void table_cell_text(double v, int width, int decimals,
                            struct str *out)
{
    if (isnan(v))
        str_printf(out, "%*s", width, "");
    else
        str_printf(out, "%*.*f", width, decimals, v);
}

/* One row: what the quantizer does to the values. */
static void stats_row(const struct quantizer *q, const char *name,
                      const struct point_stats *st, struct str *out)
{
    char dead[32] = "";
    if (!q || !measured(st))
        return;
    int64_t levels = q->hi_code - q->lo_code + 1;
    if (!isnan(st->dead) && levels <= 65536)
        snprintf(dead, sizeof dead, "%.0f/%lld", st->dead,
                 (long long)levels);
    str_printf(out, "%-4s", name);
    table_cell_text(st->sqnr, 8, 1, out);
    table_cell_text(100 * st->saturation, 7, 2, out);
    table_cell_text(100 * st->one, 7, 2, out);
    str_printf(out, "%9s", dead);
    table_cell_text(100 * st->blocked, 10, 2, out);
    str_char(out, '\n');
}

/* What the last epoch did to codes and ranges. */
static void motion_text(const struct point_stats *w,
                        const struct point_stats *a, struct str *out)
{
    struct str s = { 0 };
    if (!isnan(w->flips))
        str_printf(out, "codes moved %s  oscillating %s\n",
                   num_percent(w->flips).s, num_percent(w->osc).s);
    if (!isnan(w->drift))
        str_printf(&s, "  w %s", num_percent(w->drift).s);
    if (!isnan(a->drift))
        str_printf(&s, "  out %s", num_percent(a->drift).s);
    if (s.len)
        str_printf(out, "range drift%s\n", str_text(&s));
    str_fini(&s);
}

static void stats_text(struct lab *l, int node, struct str *out)
{
    const struct graph *g = l->graph;
    const struct layer_view *v = &l->layers.view[node];
    int wp = layer_weight_point(g, node), ap = layer_out_point(g, node);
    const struct quantizer *w = wp >= 0 ? g->point[wp].q : NULL;
    const struct quantizer *a = ap >= 0 ? g->point[ap].q : NULL;
    if ((w && measured(&v->weight)) || (a && measured(&v->out)))
        str_printf(out, "%-4s%8s%7s%7s%9s%10s\n", "", "sqnr dB", "sat%",
                   "one%", "dead", "blocked%");
    stats_row(w, "w", &v->weight, out);
    stats_row(a, "out", &v->out, out);
    motion_text(&v->weight, &v->out, out);
    if (v->weight.zero > 0)
        str_printf(out, "%s channels have no weight but 0\n",
                   num_text(v->weight.zero).s);
    if (v->weight.no_grad > 0)
        str_printf(out, "%s of the weights get no gradient\n",
                   num_percent(v->weight.no_grad).s);
}

static void point_text(struct lab *l, int point,
                       const struct point_stats *st, struct str *out)
{
    const struct point *pt = &l->graph->point[point];
    const struct quantizer *q = pt->q;
    struct str spec = { 0 };
    if (!q)
        return;
    qspec_print(&q->spec, &spec);
    str_printf(out, "%-4s", point_suffix[pt->kind]);
    point_flags(q, out);
    str_printf(out, "  %s", str_text(&spec));
    if (q->spec.observer)
        str_printf(out, "  observer %s%s", q->spec.observer->name,
                   q->observe ? " LIVE" : "");
    str_char(out, '\n');
    str_fini(&spec);
    if (!q->ready) {
        str_add(out, pt->kind == POINT_WEIGHT
                         ? "     range follows with the first pass\n"
                         : "     not calibrated: no range yet\n");
    } else {
        str_add(out, "   ");
        range_text(q, q->scale, "scale", out);
        range_text(q, q->zero_point, "zero", out);
        str_add(out, "  range [");
        num_add(out, (double)q->lo[0]);
        str_add(out, ", ");
        num_add(out, (double)q->hi[0]);
        str_printf(out, "]%s%s\n", q->channels > 1 ? " of channel 0" : "",
                   q->stale ? "  STALE" : "");
    }
    if (!isnan(st->mse))
        str_printf(out, "     mse %s  max error %s\n", num_text(st->mse).s,
                   num_text(st->max_error).s);
}

/* The channel with the worst ratio, when there is one range a channel. */
static void worst_channel(struct lab *l, int node, struct str *out)
{
    int point = layer_weight_point(l->graph, node);
    const struct quantizer *set = point >= 0 ? l->graph->point[point].q
                                             : NULL;
    if (!set || set->channels < 2 || set->spec.grain != GRAIN_CHANNEL)
        return;
    const struct param *w = node_weight(l->graph, node);
    real *x = layer_weight_values(l, node);
    struct quantizer *q = layer_weight_quantizer(l, point, x);
    if (!q) {
        free(x);
        return;
    }
    real *y = xmalloc((size_t)w->count * sizeof *y);
    struct qview v = { 1, q->channels, w->count / q->channels };
    quantizer_forward(q, x, y, v, false);
    int64_t worst = -1;
    double least = (double)INFINITY;
    for (int64_t c = 0; c < v.channels; c++) {
        double signal = 0, noise = 0;
        for (int64_t i = c * v.inner; i < (c + 1) * v.inner; i++) {
            signal += (double)x[i] * (double)x[i];
            noise += (double)(x[i] - y[i]) * (double)(x[i] - y[i]);
        }
        double db = noise > 0 ? 10 * log10(signal / noise)
                              : (double)INFINITY;
        if (db < least) {
            least = db;
            worst = c;
        }
    }
    if (worst >= 0)
        str_printf(out, "worst channel %lld (sqnr %s dB)\n",
                   (long long)worst, num_text(least).s);
    quantizer_free(q);
    free(x);
    free(y);
}

static void shape_text(const struct shape *s, struct str *out)
{
    for (int k = 1; k < s->rank; k++)
        str_printf(out, "%s%lld", k > 1 ? "x" : "", (long long)s->dim[k]);
}

void lab_layer_detail(struct lab *l, int node, struct str *out)
{
    int layers;
    if (!lab_layer_views(l, &layers) || node < 0 || node >= layers)
        return;
    const struct graph *g = l->graph;
    const struct node *n = &g->node[node];
    str_add_clean(out, n->name);
    str_printf(out, "  %s  ", n->op->name);
    if (n->n_in > 0) {
        shape_text(&g->node[n->in[0]].shape, out);
        str_add(out, " -> ");
    }
    shape_text(&n->shape, out);
    str_printf(out, "  params %s  macs %s\n",
               num_count((double)node_params(g, node)).s,
               num_count((double)node_macs(g, n)).s);
    if (n->tail != n->head) {
        str_printf(out, "fused with");
        for (int i = 0; i < g->n_node; i++)
            if (g->node[i].head == n->head && i != node)
                str_printf(out, " %s", g->node[i].name);
        str_char(out, '\n');
    }
    if (n->op->flags & OP_BATCH_NORM)
        str_printf(out, "batch norm %s\n", n->bn_folded   ? "folded"
                                           : n->bn_frozen ? "frozen"
                                                          : "live");
    const struct point_stats *of[POINT_KINDS] = {
        [POINT_WEIGHT] = &l->layers.view[node].weight,
        [POINT_OUT] = &l->layers.view[node].out,
    };
    stats_text(l, node, out);
    for (int k = 0; k < POINT_KINDS; k++)
        if (n->point[k] >= 0)
            point_text(l, n->point[k], of[k] ? of[k] : &point_stats_unknown,
                       out);
    worst_channel(l, node, out);
}

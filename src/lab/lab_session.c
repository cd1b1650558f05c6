/* What the lab holds, and what a change of it brings down.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "lab/state.h"
#include "lab/tensor_view.h"

void lab_changed_model(struct lab *l)
{
    l->gen.model++;
    l->gen.quant++;
}

void lab_changed_quant(struct lab *l)
{
    l->gen.quant++;
}

static void graph_drop(struct graph *g)
{
    if (!g)
        return;
    graph_drop_quantizers(g);
    graph_free(g);
}

/* Nobody asks again for values of another model or of other data. */
static void drop_values(struct lab *l)
{
    if (l->cache)
        prefix_cache_clear(l->cache);
}

void lab_set_graph(struct lab *l, struct graph *g)
{
    drop_values(l);
    lab_probe_drop(l);
    lab_drop_trainer(l);
    free(l->layers.view);
    l->layers = (struct layer_cache){ 0 };
    free(l->selected);
    l->selected = NULL;
    graph_drop(l->graph);
    l->graph = g;
    if (g) {
        size_t n = (size_t)g->n_node * sizeof *l->selected;
        l->selected = xmalloc(n + 1);
        memset(l->selected, 0, n + 1);
    }
    l->cursor = g ? 0 : -1;
    l->float_acc = (double)NAN;
    lab_changed_model(l);
}

void lab_set_data(struct lab *l, struct dataset *d)
{
    drop_values(l);
    lab_probe_drop(l);
    lab_drop_trainer(l);
    dataset_free(l->data);
    l->data = d;
    free(l->origin.data);
    l->origin.data = d ? xstrdup(d->spec) : NULL;
    l->float_acc = (double)NAN;
    lab_changed_model(l);
}

/* Samples go into the model's inputs. */
enum status lab_check_fit(const struct lab *l, struct err *e)
{
    if (!l->graph || !l->data)
        return STATUS_OK;
    for (int i = 0; i < l->graph->n_node; i++) {
        const struct node *n = &l->graph->node[i];
        if (!(n->op->flags & OP_SOURCE))
            continue;
        if (shape_equal(&n->shape, &l->data->sample))
            return STATUS_OK;
        struct str has = { 0 }, want = { 0 };
        struct shape a = l->data->sample, b = n->shape;
        for (int k = 1; k < a.rank; k++)
            str_printf(&has, "%s%lld", k > 1 ? "x" : "",
                       (long long)a.dim[k]);
        for (int k = 1; k < b.rank; k++)
            str_printf(&want, "%s%lld", k > 1 ? "x" : "",
                       (long long)b.dim[k]);
        err_set(e, STATUS_STATE, "data %s has samples of %s, model %s takes "
                                 "%s", l->data->name, str_text(&has),
                l->graph->name, str_text(&want));
        str_fini(&has);
        str_fini(&want);
        return STATUS_STATE;
    }
    return STATUS_OK;
}

double lab_clock(const struct lab *l)
{
    return l->opts.deterministic ? 0 : clock_seconds() - l->started;
}

bool lab_any_quant(const struct lab *l)
{
    for (int i = 0; l->graph && i < l->graph->n_point; i++)
        if (l->graph->point[i].q)
            return true;
    return false;
}

/* Weights at their widths, everything else as 32-bit numbers. */
double lab_model_bits(const struct lab *l)
{
    const struct graph *g = l->graph;
    double bits = 0;
    for (int i = 0; g && i < g->n_param; i++) {
        int point = g->node[g->param[i].node].point[POINT_WEIGHT];
        bool weight = g->param[i].role == PARAM_WEIGHT && point >= 0 &&
                      g->point[point].q && g->point[point].q->fake;
        bits += (double)g->param[i].count *
                (weight ? g->point[point].q->spec.bits : 32);
    }
    return bits;
}

/* ---- selection by the screen ---- */

int lab_cursor(const struct lab *l)
{
    return l->cursor;
}

void lab_set_cursor(struct lab *l, int node)
{
    int n = l->graph ? l->graph->n_node : 0;
    l->cursor = node < 0 ? (n ? 0 : -1) : node >= n ? n - 1 : node;
    l->gen.selection++;
}

void lab_select(struct lab *l, int node, bool on)
{
    if (!l->graph || node < 0 || node >= l->graph->n_node)
        return;
    l->selected[node] = on;
    l->gen.selection++;
}

bool lab_is_selected(const struct lab *l, int node)
{
    if (!l->graph)
        return false;
    bool any = false;
    for (int i = 0; i < l->graph->n_node; i++)
        any |= l->selected[i];
    return any ? l->selected[node] : node == l->cursor;
}

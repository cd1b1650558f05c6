/* Quantizers of selected points. SPDX-License-Identifier: GPL-3.0-or-later */
#include "lab/point_list.h"

#include <stdlib.h>

#include "base/arena.h"
#include "lab/json_text.h"
#include "lab/state.h"

static int all_points(const struct graph *g, int *out)
{
    for (int i = 0; i < g->n_point; i++)
        out[i] = i;
    return g->n_point;
}

enum status points_of(struct lab *l, const struct args *a, const char *name,
                      struct point_list *out, struct err *e)
{
    const struct graph *g = l->graph;
    const struct arg *x = args_find(a, name);
    *out = (struct point_list){ 0 };
    out->point = xmalloc((size_t)(g->n_point + 1) * sizeof *out->point);
    int n = x ? selection_points(l, &x->sel, out->point)
              : all_points(g, out->point);
    for (int i = 0; i < n; i++)
        if (g->point[out->point[i]].q)
            out->point[out->n++] = out->point[i];
    bool optional = x && x->sel.n && selection_count(&x->sel) == 0;
    if (out->n || optional)
        return STATUS_OK;
    point_list_fini(out);
    return args_fail(a, x, e, "no quantizer at %s; `bits` sets one",
                     x ? x->text : "any point");
}

void point_list_fini(struct point_list *p)
{
    free(p->point);
    *p = (struct point_list){ 0 };
}

void point_list_print(const struct lab *l, const struct point_list *p,
                      struct str *out)
{
    str_printf(out, "%d point%s:", p->n, p->n == 1 ? "" : "s");
    for (int i = 0; i < p->n && i < 5; i++) {
        str_char(out, ' ');
        str_add_clean(out, l->graph->point[p->point[i]].name);
    }
    if (p->n > 5)
        str_add(out, " ...");
}

void answer_layers(struct lab *l, const int *node, int n)
{
    struct str s = { 0 };
    str_char(&s, '[');
    for (int i = 0; i < n; i++)
        json_value_text(&s, l->graph->node[node[i]].name);
    str_char(&s, ']');
    answer_raw(l, "layers", str_text(&s));
    answer_num(l, "count", n);
    str_fini(&s);
}

void answer_points(struct lab *l, const struct point_list *p)
{
    struct str s = { 0 };
    str_char(&s, '[');
    for (int i = 0; i < p->n; i++)
        json_value_text(&s, l->graph->point[p->point[i]].name);
    str_char(&s, ']');
    answer_raw(l, "points", str_text(&s));
    answer_num(l, "count", p->n);
    str_fini(&s);
}

void muted_begin(struct lab *l, struct muted *m)
{
    struct graph *g = l->graph;
    struct point_list *p = &m->list;
    p->point = xmalloc((size_t)(g->n_point + 1) * sizeof *p->point);
    p->n = 0;
    for (int i = 0; i < g->n_point; i++) {
        struct quantizer *q = g->point[i].q;
        bool own = q && q->spec.kind->flags & QK_OWN_SCALE;
        bool value = g->point[i].kind == POINT_OUT ||
                     g->point[i].kind == POINT_IN;
        if (!q || !value || q->ready || own || !q->fake)
            continue;
        q->fake = false;
        p->point[p->n++] = i;
    }
}

void muted_end(struct lab *l, struct muted *m)
{
    for (int i = 0; i < m->list.n; i++)
        l->graph->point[m->list.point[i]].q->fake = true;
    point_list_fini(&m->list);
}

/* Undo and marks. SPDX-License-Identifier: GPL-3.0-or-later */
#include "lab/history.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "lab/state.h"

/* ---- configuration as a bag ---- */

/* Flags of nodes and parameters, a line each. */
static void print_flags(const struct graph *g, struct str *out)
{
    for (int i = 0; i < g->n_node; i++)
        if (g->node[i].bn_frozen)
            str_printf(out, "bn %d\n", i);
    for (int i = 0; i < g->n_param; i++)
        if (g->param[i].frozen)
            str_printf(out, "param %d\n", i);
}

static void read_flags(struct graph *g, const char *text)
{
    for (int i = 0; i < g->n_node; i++)
        g->node[i].bn_frozen = false;
    for (int i = 0; i < g->n_param; i++)
        g->param[i].frozen = false;
    for (const char *p = text; *p;) {
        int i, n = 0;
        if (sscanf(p, "bn %d\n%n", &i, &n) == 1 && i >= 0 && i < g->n_node)
            g->node[i].bn_frozen = true;
        else if (sscanf(p, "param %d\n%n", &i, &n) == 1 && i >= 0 &&
                 i < g->n_param)
            g->param[i].frozen = true;
        if (n == 0)
            return;
        p += n;
    }
}

static void print_events(const struct lab *l, struct str *out)
{
    for (int i = 0; i < l->events.n; i++)
        str_printf(out, "%.17g %d %s\n", l->events.event[i].epoch,
                   l->events.event[i].done, l->events.event[i].text);
}

void events_read(struct lab *l, const char *text)
{
    events_fini(&l->events);
    while (*text) {
        struct event v = { 0 };
        int done, used = 0;
        size_t n = strcspn(text, "\n");
        if (sscanf(text, "%lf %d %n", &v.epoch, &done, &used) == 2 &&
            (size_t)used <= n) {
            struct str s = { 0 };
            str_add_n(&s, text + used, n - (size_t)used);
            v.text = str_take(&s);
            v.done = done != 0;
            struct event_list *list = &l->events;
            list->event = xrealloc(list->event, (size_t)(list->n + 1) *
                                                    sizeof *list->event);
            list->event[list->n++] = v;
        }
        text += n + (text[n] == '\n');
    }
}

static enum status put_text(struct bag *b, const char *name, struct str *s,
                            struct err *e)
{
    enum status st = bag_put_text(b, name, str_text(s), e);
    str_fini(s);
    return st;
}

static enum status config_fill(struct lab *l, struct bag *b, bool weights,
                               struct err *e)
{
    struct str flags = { 0 }, settings = { 0 }, events = { 0 };
    if (weights)
        TRY(graph_save(l->graph, b, e));
    TRY(graph_save_quant(l->graph, b, e));
    print_flags(l->graph, &flags);
    TRY(put_text(b, "lab.flags", &flags, e));
    settings_save(l, &settings);
    TRY(put_text(b, "lab.settings", &settings, e));
    print_events(l, &events);
    return put_text(b, "lab.events", &events, e);
}

struct bag *config_save(struct lab *l, bool weights, struct err *e)
{
    struct bag *b = bag_new();
    if (!b) {
        err_memory(e, "a snapshot");
        return NULL;
    }
    if (config_fill(l, b, weights, e)) {
        bag_free(b);
        return NULL;
    }
    return b;
}

/* A graph whose structure was changed (folding) is made anew. The trainer
 * and all that hangs on the old one move over. */
static enum status swap_graph(struct lab *l, const struct bag *b,
                              struct err *e)
{
    struct graph *g = NULL;
    struct bag *trainer = NULL;
    TRY(graph_from_bag(b, &g, e));
    if (l->trainer) {
        trainer = bag_new();
        if (!trainer || trainer_save(l->trainer, trainer, NULL)) {
            bag_free(trainer);
            trainer = NULL;
        }
    }
    struct epoch_sums sums = l->epoch;
    lab_set_graph(l, g);
    l->epoch = sums;
    l->trainer_waits = trainer;
    return STATUS_OK;
}

enum status config_load(struct lab *l, const struct bag *b, struct err *e)
{
    if (bag_text(b, "graph"))
        TRY(swap_graph(l, b, e));
    TRY(graph_load_quant(l->graph, b, e));
    const char *flags = bag_text(b, "lab.flags");
    const char *settings = bag_text(b, "lab.settings");
    const char *events = bag_text(b, "lab.events");
    read_flags(l->graph, flags ? flags : "");
    enum status s = settings_load(l, settings ? settings : "", e);
    events_read(l, events ? events : "");
    lab_changed_model(l);
    return s;
}

enum status graph_from_bag(const struct bag *b, struct graph **out,
                           struct err *e)
{
    const char *text = bag_text(b, "graph");
    struct graph *g = NULL;
    if (!text)
        return err_set(e, STATUS_FORMAT, "holds no model (text 'graph')");
    TRY(graph_parse(text, &g, e));
    enum status s = graph_finish(g, NULL, e);
    if (!s)
        s = graph_load(g, b, e);
    if (s) {
        graph_free(g);
        return s;
    }
    *out = g;
    return STATUS_OK;
}

/* ---- undo ---- */

static void stack_clear(struct undo_stack *s)
{
    for (int i = 0; i < s->n; i++) {
        free(s->undo[i].command);
        bag_free(s->undo[i].bag);
    }
    free(s->undo);
    *s = (struct undo_stack){ 0 };
}

static void stack_push(struct undo_stack *s, const char *command,
                       struct bag *bag, int limit)
{
    while (s->n >= limit) {
        free(s->undo[0].command);
        bag_free(s->undo[0].bag);
        memmove(s->undo, s->undo + 1, (size_t)--s->n * sizeof *s->undo);
    }
    if (s->n == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 16;
        s->undo = xrealloc(s->undo, (size_t)s->cap * sizeof *s->undo);
    }
    s->undo[s->n++] = (struct undo){ .command = xstrdup(command),
                                     .bag = bag };
}

void undo_push(struct lab *l, const char *command, struct bag *before)
{
    stack_clear(&l->history.redo);
    stack_push(&l->history.undo, command, before, (int)l->tool.undo_limit);
}

enum status undo_step(struct lab *l, bool redo, struct str *command,
                      struct err *e)
{
    struct undo_stack *from = redo ? &l->history.redo : &l->history.undo;
    struct undo_stack *to = redo ? &l->history.undo : &l->history.redo;
    if (from->n == 0)
        return err_set(e, STATUS_STATE, "nothing to %s",
                       redo ? "redo" : "undo");
    struct undo *u = &from->undo[from->n - 1];
    struct bag *now = config_save(l, bag_text(u->bag, "graph") != NULL, e);
    if (!now)
        return STATUS_MEM;
    enum status s = config_load(l, u->bag, e);
    if (s) {
        bag_free(now);
        return s;
    }
    str_add(command, u->command);
    stack_push(to, u->command, now, (int)l->tool.undo_limit);
    free(u->command);
    bag_free(u->bag);
    from->n--;
    return STATUS_OK;
}

/* ---- marks ---- */

void point_note_take(const struct lab *l, int point, struct point_note *out)
{
    const struct quantizer *q = l->graph->point[point].q;
    *out = (struct point_note){ .lo = (double)NAN, .hi = (double)NAN };
    if (!q)
        return;
    struct str s = { 0 };
    qspec_print(&q->spec, &s);
    snprintf(out->spec, sizeof out->spec, "%s", str_text(&s));
    str_fini(&s);
    out->fake = q->fake;
    out->observe = q->observe;
    out->learn = q->learn;
    for (int64_t c = 0; q->ready && c < q->channels; c++) {
        double lo = (double)q->lo[c], hi = (double)q->hi[c];
        out->lo = isnan(out->lo) || lo < out->lo ? lo : out->lo;
        out->hi = isnan(out->hi) || hi > out->hi ? hi : out->hi;
    }
}

static void mark_fini(struct lab_mark *m)
{
    for (int i = 0; i < m->n_note; i++)
        free(m->point[i]);
    free(m->point);
    free(m->note);
    free(m->name);
    bag_free(m->bag);
}

static void mark_notes(struct lab *l, struct lab_mark *m)
{
    int n = l->graph->n_point;
    m->n_note = n;
    m->note = xmalloc((size_t)(n + 1) * sizeof *m->note);
    m->point = xmalloc((size_t)(n + 1) * sizeof *m->point);
    for (int i = 0; i < n; i++) {
        point_note_take(l, i, &m->note[i]);
        m->point[i] = xstrdup(l->graph->point[i].name);
    }
}

struct lab_mark *mark_find(struct lab *l, const char *name)
{
    for (int i = 0; i < l->history.n_mark; i++)
        if (strcmp(l->history.mark[i].name, name) == 0)
            return &l->history.mark[i];
    return NULL;
}

void mark_delete(struct lab *l, const char *name)
{
    struct history *h = &l->history;
    struct lab_mark *m = mark_find(l, name);
    if (!m)
        return;
    mark_fini(m);
    int i = (int)(m - h->mark);
    memmove(m, m + 1, (size_t)(h->n_mark - i - 1) * sizeof *m);
    h->n_mark--;
}

enum status mark_set(struct lab *l, const char *name, struct err *e)
{
    struct history *h = &l->history;
    struct lab_mark m = { .bag = session_save(l, e), .epoch = lab_epoch(l) };
    if (!m.bag)
        return STATUS_MEM;
    m.name = xstrdup(name);
    mark_notes(l, &m);
    mark_delete(l, name);
    h->mark = xrealloc(h->mark, (size_t)(h->n_mark + 1) * sizeof *h->mark);
    h->mark[h->n_mark++] = m;
    return STATUS_OK;
}

enum status mark_rewind(struct lab *l, const struct lab_mark *m,
                        struct err *e)
{
    return session_load(l, m->bag, false, e);
}

static bool same(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

static bool note_equal(const struct point_note *a, const struct point_note *b)
{
    return strcmp(a->spec, b->spec) == 0 && a->fake == b->fake &&
           a->observe == b->observe && a->learn == b->learn &&
           same(a->lo, b->lo) && same(a->hi, b->hi);
}

bool layer_changed(const struct lab *l, int node)
{
    const struct history *h = &l->history;
    const struct lab_mark *m = h->n_mark ? &h->mark[h->n_mark - 1] : NULL;
    for (int i = 0; i < l->graph->n_point; i++) {
        if (l->graph->point[i].node != node)
            continue;
        struct point_note now;
        point_note_take(l, i, &now);
        bool comparable = m && i < m->n_note &&
                          strcmp(m->point[i], l->graph->point[i].name) == 0;
        if (comparable ? !note_equal(&now, &m->note[i])
                       : now.spec[0] != '\0')
            return true;
    }
    return false;
}

void history_clear(struct lab *l)
{
    stack_clear(&l->history.undo);
    stack_clear(&l->history.redo);
    for (int i = 0; i < l->history.n_mark; i++)
        mark_fini(&l->history.mark[i]);
    free(l->history.mark);
    l->history = (struct history){ 0 };
}

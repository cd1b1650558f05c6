/* Panes: the table, and what all of them share.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ui/pane.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"

static void copy_layer(struct ui_layer *to, const struct layer_view *from)
{
    to->view = *from;
    snprintf(to->name, sizeof to->name, "%s", from->name);
    snprintf(to->type, sizeof to->type, "%s", from->type);
}

/* The first layer with weights. */
static int first_layer(const struct layer_view *v, int n)
{
    for (int i = 0; i < n; i++) {
        if (v[i].params > 0)
            return i;
    }
    return 0;
}

/* In a model that is new here the cursor goes where there is something to
 * see. */
static int place_cursor(const struct ui_model *m, struct lab *l,
                        const struct layer_view *v, int n)
{
    int row = -1, node = lab_cursor(l);
    for (int i = 0; i < n; i++) {
        if (v[i].node == node)
            row = i;
    }
    bool other = n > 0 && (m->n != n || strcmp(m->layer[n - 1].name,
                                               v[n - 1].name) != 0);
    if (n > 0 && (row < 0 || (other && v[row].params == 0))) {
        row = first_layer(v, n);
        lab_set_cursor(l, v[row].node);
    }
    return row;
}

void ui_model_update(struct ui_model *m, struct lab *l)
{
    int n = 0;
    const struct layer_view *v = lab_layer_views(l, &n);
    m->cursor = place_cursor(m, l, v, n);
    if (n > 0)
        m->layer = xrealloc(m->layer, (size_t)n * sizeof *m->layer);
    m->n = n;
    for (int i = 0; i < n; i++) {
        copy_layer(&m->layer[i], &v[i]);
        m->layer[i].view.name = m->layer[i].name;
        m->layer[i].view.type = m->layer[i].type;
    }
    lab_status_view(l, &m->status);
    m->gen = lab_generation(l);
    m->busy = lab_busy(l);
    m->training = lab_training(l);
    m->warn_sqnr = lab_setting_number(l, "warn.sqnr");
    m->bad_sqnr = lab_setting_number(l, "bad.sqnr");
}

void ui_model_fini(struct ui_model *m)
{
    free(m->layer);
    *m = (struct ui_model){ .cursor = -1 };
}

const struct ui_layer *ui_model_cursor(const struct ui_model *m)
{
    return m->cursor >= 0 && m->cursor < m->n ? &m->layer[m->cursor] : NULL;
}

double pane_cpu_seconds(void)
{
    struct timespec t = { 0 };
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

bool pacer_due(const struct pacer *p, double now)
{
    return now >= p->due;
}

void pacer_done(struct pacer *p, double cost, double now)
{
    double wait = cost * p->factor;
    p->due = now + (wait > p->least ? wait : p->least);
}

void budget_earn(struct budget *b, double worked)
{
    b->worked += worked;
    b->left += b->share * worked;
    if (b->left > b->most)
        b->left = b->most;
}

void budget_spend(struct budget *b, double cost)
{
    b->spent += cost;
    b->left -= cost;
}

const struct pane_ops *pane_find(const char *name)
{
    for (int i = 0; i < pane_count; i++) {
        if (!strcmp(pane_table[i]->name, name))
            return pane_table[i];
    }
    return NULL;
}

struct pane *pane_new(const struct pane_ops *ops, const char *arg)
{
    struct pane *p = xmalloc(sizeof *p);
    *p = (struct pane){ .ops = ops, .stale = true };
    snprintf(p->arg, sizeof p->arg, "%s", arg);
    p->state = xmalloc(ops->state_size + 1);
    memset(p->state, 0, ops->state_size + 1);
    if (ops->init)
        ops->init(p);
    return p;
}

void pane_free(struct pane *p)
{
    if (!p)
        return;
    if (p->ops->fini)
        p->ops->fini(p);
    free(p->state);
    free(p);
}

enum status pane_run(struct pane *p, const struct pane_env *env,
                     const char *words, struct err *e)
{
    if (!*words)
        return STATUS_OK;
    p->stale = true;
    for (const struct pane_word *w = p->ops->word; w && w->word; w++) {
        if (!strcmp(w->word, words))
            return w->run(p, env, w->arg, e);
    }
    if (p->ops->pick)
        return p->ops->pick(p, env, words, e);
    return err_set(e, STATUS_ARG, "pane '%s' knows no '%s'", p->ops->name,
                   words);
}

struct area pane_frame(const struct pane *p, const struct pane_env *env,
                       const struct area *box, const struct pane_head *head)
{
    char title[64];
    char letter[2] = { p->letter, 0 };
    snprintf(title, sizeof title, "%c%s %s", p->ops->digit, letter,
             p->letter && head->own_title ? head->own_title : p->ops->title);
    struct area in = area_frame(box, env->look, p->focused, title);
    area_frame_words(box, text_width(title), head->n, head->word);
    return in;
}

void pane_message(const struct area *a, const char *text)
{
    size_t n = text_fit(text, a->w > 2 ? a->w - 2 : a->w);
    char line[256];
    snprintf(line, sizeof line, "%.*s", (int)n, text);
    area_text(a, a->h / 2, (a->w - text_width(line)) / 2, STYLE_DIM, line);
}

#define PANE(name) &pane_##name,
const struct pane_ops *const pane_table[] = {
#include "ui/panes.def"
};
#undef PANE
const int pane_count = sizeof pane_table / sizeof pane_table[0];

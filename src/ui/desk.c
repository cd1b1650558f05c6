/* The desk: which panes there are, where they stand, who has the focus.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ui/desk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/cpu.h"

/* Fewer rows than this and the hints give way. */
enum { HINT_MIN_ROWS = 10 };

/* ---- panes of the tiling ---- */

static void split_tab(const char *tab, char name[TILING_NAME],
                       char arg[TILING_NAME])
{
    size_t n = strcspn(tab, "=");
    memcpy(name, tab, n);
    name[n] = 0;
    snprintf(arg, TILING_NAME, "%s", tab[n] ? tab + n + 1 : "");
}

static struct pane *find_pane(const struct desk *d, const char *tab)
{
    char name[TILING_NAME], arg[TILING_NAME];
    split_tab(tab, name, arg);
    for (int i = 0; i < d->panes; i++) {
        if (!strcmp(d->pane[i]->ops->name, name) &&
            !strcmp(d->pane[i]->arg, arg))
            return d->pane[i];
    }
    return NULL;
}

static void need_pane(struct desk *d, const char *tab)
{
    char name[TILING_NAME], arg[TILING_NAME];
    split_tab(tab, name, arg);
    if (find_pane(d, tab) || d->panes == DESK_PANES)
        return;
    const struct pane_ops *ops = pane_find(name);
    if (ops)
        d->pane[d->panes++] = pane_new(ops, arg);
}

static void need_panes(struct desk *d)
{
    for (int i = 0; i < d->tiling.n; i++) {
        for (int t = 0; t < d->tiling.node[i].tabs; t++)
            need_pane(d, d->tiling.node[i].tab[t]);
    }
}

/* Of panes that share a place, the one that had the focus last. */
static struct pane *top_tab(const struct desk *d,
                            const struct tiling_node *leaf)
{
    struct pane *top = NULL;
    for (int t = 0; t < leaf->tabs; t++) {
        struct pane *p = find_pane(d, leaf->tab[t]);
        if (p && (!top || p->stamp > top->stamp))
            top = p;
    }
    return top;
}

static bool in_tiling(const struct desk *d, const struct pane *p)
{
    for (int i = 0; i < d->tiling.n; i++) {
        const struct tiling_node *leaf = &d->tiling.node[i];
        for (int t = 0; t < leaf->tabs; t++) {
            if (find_pane(d, leaf->tab[t]) == p)
                return true;
        }
    }
    return false;
}

/* a, b .. for panes of one kind that are shown together. */
static void give_letters(struct desk *d)
{
    for (int i = 0; i < d->panes; i++) {
        int same = 0, before = 0;
        for (int k = 0; k < d->panes; k++) {
            if (d->pane[k]->rect.w == 0 ||
                d->pane[k]->ops != d->pane[i]->ops)
                continue;
            same++;
            before += k < i;
        }
        d->pane[i]->letter = same > 1 ? (char)('a' + before) : 0;
    }
}

struct rect desk_pane_rect(const struct desk *d)
{
    int below = d->screen.h >= HINT_MIN_ROWS ? 2 : 1;
    int h = d->screen.h - 1 - below;
    return (struct rect){ .y = 1, .w = d->screen.w, .h = h > 0 ? h : 0 };
}

static void arrange(struct desk *d)
{
    struct rect rect[TILING_NODES];
    struct rect all = desk_pane_rect(d);
    for (int i = 0; i < d->panes; i++)
        d->pane[i]->rect = (struct rect){ 0 };
    if (d->zoomed && d->tiling.n > 0) {
        d->zoomed->rect = all;
    } else {
        tiling_place(&d->tiling, all, rect);
        for (int i = 0; i < d->tiling.n; i++) {
            struct pane *p = top_tab(d, &d->tiling.node[i]);
            if (p)
                p->rect = rect[i];
        }
    }
    give_letters(d);
    d->whole = true;
}

static void use_text(struct desk *d, const char *text)
{
    struct err e;
    if (tiling_parse(text, &d->tiling, &e) != STATUS_OK)
        d->tiling.n = 0;
    need_panes(d);
    if (d->focus && !in_tiling(d, d->focus))
        d->focus = NULL;
    if (d->zoomed && !in_tiling(d, d->zoomed))
        d->zoomed = NULL;
    for (int i = 0; i < d->panes; i++)
        d->pane[i]->focused = d->pane[i] == d->focus;
}

static void choose(struct desk *d)
{
    const struct tiling_row *row = tiling_choose(d->screen.w, d->screen.h,
                                                 d->preset);
    if (!d->fixed && row != d->preset) {
        d->preset = row;
        use_text(d, row->text);
    }
    arrange(d);
}

struct desk *desk_new(struct lab *lab, struct log *log,
                      const struct look *look)
{
    struct desk *d = xmalloc(sizeof *d);
    *d = (struct desk){ .lab = lab, .log = log, .base = *look,
                        .look = *look };
    d->model.cursor = -1;
    d->stats = (struct pacer){ .least = 0.5, .factor = 1000 };
    d->prompt = (struct prompt_view){ "", "", 0 };
    desk_settings(d);
    return d;
}

void desk_free(struct desk *d)
{
    if (!d)
        return;
    for (int i = 0; i < d->panes; i++)
        pane_free(d->pane[i]);
    desk_popup_clear(d);
    ui_model_fini(&d->model);
    screen_fini(&d->screen);
    free(d);
}

void desk_resize(struct desk *d, int w, int h)
{
    screen_resize(&d->screen, w, h);
    choose(d);
    d->repaint = true;
}

struct pane_env desk_env(struct desk *d, double now)
{
    return (struct pane_env){ .lab = d->lab, .log = d->log,
                              .look = &d->look, .model = &d->model,
                              .now = now };
}

static bool pane_shown(const struct desk *d, const struct pane_ops *ops)
{
    for (int i = 0; i < d->panes; i++) {
        if (d->pane[i]->ops == ops && d->pane[i]->rect.w > 0)
            return true;
    }
    return false;
}

void desk_update(struct desk *d, double now)
{
    bool idle = !lab_busy(d->lab);
    lab_set_glance(d->lab, !idle);
    if (pane_shown(d, &pane_layers) && (idle || pacer_due(&d->stats, now))) {
        double began = pane_cpu_seconds();
        lab_refresh_stats(d->lab, idle ? 0 : NEED_OUT);
        pacer_done(&d->stats, pane_cpu_seconds() - began, now);
    }
    ui_model_update(&d->model, d->lab);
    struct pane_env env = desk_env(d, now);
    for (int i = 0; i < d->panes; i++) {
        struct pane *p = d->pane[i];
        p->stale = p->stale || (idle && d->glanced);
        if (p->rect.w > 0 && p->ops->update(p, &env))
            p->stale = true;
    }
    d->glanced = !idle;
    lab_set_glance(d->lab, false);
}

bool desk_behind(const struct desk *d)
{
    return pane_shown(d, &pane_layers) && !lab_busy(d->lab) &&
           !lab_stats_fresh(d->lab, NEED_OUT);
}

void desk_catch_up(struct desk *d)
{
    lab_refresh_stats(d->lab, NEED_OUT);
    for (int i = 0; i < d->panes; i++)
        if (d->pane[i]->ops == &pane_layers)
            d->pane[i]->stale = true;
}

bool desk_stale(const struct desk *d)
{
    for (int i = 0; i < d->panes; i++) {
        if (d->pane[i]->stale && d->pane[i]->rect.w > 0)
            return true;
    }
    return d->whole;
}

/* ---- words ---- */

static const char *skip_word(const char *s, char *word, size_t size)
{
    s += strspn(s, " ");
    size_t n = strcspn(s, " ");
    snprintf(word, size, "%.*s", (int)(n < size ? n : size - 1), s);
    s += n;
    return s + strspn(s, " ");
}

static enum status check_panes(const struct tiling *t, struct err *e)
{
    for (int i = 0; i < t->n; i++) {
        for (int k = 0; k < t->node[i].tabs; k++) {
            char name[TILING_NAME], arg[TILING_NAME];
            split_tab(t->node[i].tab[k], name, arg);
            if (!pane_find(name))
                return err_set(e, STATUS_NOTFOUND, "no pane '%s'; there are "
                               "layers, curves, hist, log", name);
        }
    }
    return STATUS_OK;
}

enum status desk_layout(struct desk *d, const char *words, struct err *e)
{
    words += strspn(words, " ");
    if (!strcmp(words, "redraw")) {
        d->repaint = d->whole = true;
        return STATUS_OK;
    }
    if (!*words || !strcmp(words, "auto")) {
        d->fixed = false;
        d->preset = NULL;
        d->zoomed = NULL;
        choose(d);
        return STATUS_OK;
    }
    const struct tiling_row *row = tiling_find(words);
    struct tiling wanted;
    const char *text = row ? row->text : words;
    TRY(tiling_parse(text, &wanted, e));
    TRY(check_panes(&wanted, e));
    d->fixed = true;
    d->preset = row;
    d->zoomed = NULL;
    use_text(d, text);
    arrange(d);
    return STATUS_OK;
}

static void give_focus(struct desk *d, struct pane *p)
{
    d->focus = p;
    if (p)
        p->stamp = ++d->stamp;
    if (p && d->zoomed)
        d->zoomed = p;
    for (int i = 0; i < d->panes; i++) {
        d->pane[i]->focused = d->pane[i] == p;
        d->pane[i]->stale = true;
    }
    arrange(d);
}

/* The pane a name means: the focused one of that kind, one that is shown,
 * one of the layout. */
static struct pane *named_pane(const struct desk *d, const char *name)
{
    if (d->focus && !strcmp(d->focus->ops->name, name))
        return d->focus;
    struct pane *found = NULL;
    for (int i = 0; i < d->panes; i++) {
        struct pane *p = d->pane[i];
        if (strcmp(p->ops->name, name) != 0 || !in_tiling(d, p))
            continue;
        if (p->rect.w > 0)
            return p;
        found = found ? found : p;
    }
    return found;
}

/* Through the panes that are shown, and the prompt. */
static void focus_step(struct desk *d, int step)
{
    int at = -1;
    for (int i = 0; i < d->panes; i++) {
        if (d->pane[i] == d->focus)
            at = i;
    }
    for (int i = 0; i <= d->panes; i++) {
        at += step;
        if (at < -1)
            at = d->panes - 1;
        if (at >= d->panes)
            at = -1;
        if (at == -1 || d->pane[at]->rect.w > 0)
            break;
    }
    give_focus(d, at < 0 ? NULL : d->pane[at]);
}

static enum status no_pane(const char *name, struct err *e)
{
    if (pane_find(name))
        return err_set(e, STATUS_STATE, "pane '%s' is not in this layout",
                       name);
    return err_set(e, STATUS_NOTFOUND, "no pane '%s'; there are layers, "
                   "curves, hist, log", name);
}

enum status desk_focus(struct desk *d, const char *words, struct err *e)
{
    char name[TILING_NAME];
    const char *rest = skip_word(words, name, sizeof name);
    if (!*name || !strcmp(name, "prompt")) {
        give_focus(d, NULL);
        return STATUS_OK;
    }
    if (!strcmp(name, "next") || !strcmp(name, "prev")) {
        focus_step(d, name[0] == 'n' ? 1 : -1);
        return STATUS_OK;
    }
    if (!strcmp(name, "help")) {
        d->help = !d->help;
        d->help_page = 0;
        d->whole = true;
        return STATUS_OK;
    }
    struct pane *p = named_pane(d, name);
    if (!p)
        return no_pane(name, e);
    if (p != d->focus || p->rect.w == 0)
        give_focus(d, p);
    struct pane_env env = desk_env(d, clock_seconds());
    enum status s = pane_run(p, &env, rest, e);
    /* The cursor may have moved; that much may be asked at any time. */
    int node = lab_cursor(d->lab);
    for (int i = 0; i < d->model.n; i++) {
        if (d->model.layer[i].view.node == node)
            d->model.cursor = i;
    }
    return s;
}

enum status desk_zoom(struct desk *d, const char *words, struct err *e)
{
    char name[TILING_NAME];
    skip_word(words, name, sizeof name);
    struct pane *p = *name && strcmp(name, "off") != 0
        ? named_pane(d, name) : NULL;
    if (*name && strcmp(name, "off") != 0 && !p)
        return no_pane(name, e);
    d->zoomed = p;
    if (p && d->focus)        /* typing goes on where it was */
        give_focus(d, p);
    else
        arrange(d);
    return STATUS_OK;
}

static const struct {
    const char *verb;
    enum status (*run)(struct desk *d, const char *words, struct err *e);
} verbs[] = {
    { "layout", desk_layout },
    { "focus", desk_focus },
    { "zoom", desk_zoom },
};

bool desk_run(struct desk *d, const char *line, struct err *e)
{
    char verb[16];
    const char *words = skip_word(line, verb, sizeof verb);
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (!strcmp(verbs[i].verb, verb)) {
            err_clear(e);
            verbs[i].run(d, words, e);
            return true;
        }
    }
    return false;
}

bool desk_help_key(struct desk *d, const char *key)
{
    static const char *const closing[] = { "Esc", "Enter", "q", "F1" };
    d->whole = true;
    if (!strcmp(key, "Space") && d->help_page + 1 < d->help_pages) {
        d->help_page++;
        return true;
    }
    d->help = false;
    for (size_t i = 0; i < sizeof closing / sizeof closing[0]; i++) {
        if (!strcmp(closing[i], key))
            return true;
    }
    return !strcmp(key, "Space");
}

/* ---- settings and the mouse ---- */

/* A setting that says auto, or is not there, leaves what the front end found
 * out about the terminal. */
static const char *chosen(struct desk *d, const char *setting)
{
    const char *text = lab_setting(d->lab, setting);
    return text && strcmp(text, "auto") != 0 ? text : NULL;
}

void desk_settings(struct desk *d)
{
    d->look = d->base;
    const char *color = chosen(d, "color");
    if (color)
        d->look.color = !strcmp(color, "always");
    const char *name = chosen(d, "glyphs");
    const struct glyphs *glyphs = name ? glyphs_find(name) : NULL;
    if (glyphs && d->base.glyphs != &glyphs_ascii)
        d->look.glyphs = glyphs;
    name = chosen(d, "theme");
    const struct theme *theme = name ? theme_find(name) : NULL;
    if (theme)
        d->look.theme = theme;
    d->whole = true;
}

void desk_mouse(struct desk *d, const char *what, int x, int y)
{
    enum { WHEEL_ROWS = 3 };
    for (int i = 0; i < d->panes; i++) {
        struct pane *p = d->pane[i];
        struct rect r = p->rect;
        if (x < r.x || x >= r.x + r.w || y < r.y || y >= r.y + r.h)
            continue;
        if (!strcmp(what, "Click")) {
            give_focus(d, p);
            return;
        }
        struct pane_env env = desk_env(d, clock_seconds());
        const char *word = !strcmp(what, "WheelUp") ? "up" : "down";
        for (int k = 0; k < WHEEL_ROWS; k++)
            pane_run(p, &env, word, NULL);
        return;
    }
    if (!strcmp(what, "Click"))
        give_focus(d, NULL);
}

/* ---- pop-up of completions ---- */

void desk_popup_clear(struct desk *d)
{
    if (d->popup.n > 0)
        d->whole = true;
    completion_free(d->popup.item, d->popup.n);
    d->popup = (struct popup){ .n = 0 };
}

static bool same_items(const struct popup *p, const struct completion *c,
                       int n)
{
    if (p->n != n)
        return false;
    for (int i = 0; i < n; i++) {
        if (strcmp(p->item[i].text, c[i].text) != 0)
            return false;
    }
    return true;
}

void desk_popup_set(struct desk *d, const struct completion *c, int n)
{
    if (same_items(&d->popup, c, n)) {        /* Tab again: the next page */
        d->popup.first += POPUP_ROWS;
        if (d->popup.first >= n)
            d->popup.first = 0;
        d->whole = true;
        return;
    }
    desk_popup_clear(d);
    d->popup.item = xmalloc((size_t)n * sizeof *c);
    for (int i = 0; i < n; i++) {
        d->popup.item[i].text = xstrdup(c[i].text);
        d->popup.item[i].help = xstrdup(c[i].help ? c[i].help : "");
    }
    d->popup.n = n;
    d->whole = true;
}

/* ---- without a terminal ---- */

enum status desk_snapshot_save(const struct desk_snapshot *s,
                               const char *path, struct err *e)
{
    struct desk *d = desk_new(s->lab, s->log, s->look);
    desk_resize(d, s->w, s->h);
    if (desk_behind(d))
        desk_catch_up(d);
    desk_update(d, 0);
    desk_draw(d, 0);          /* tells the panes their sizes */
    desk_update(d, 1e9);
    d->whole = true;
    desk_draw(d, 0);
    enum status st = screen_save(&d->screen, path, e);
    desk_free(d);
    return st;
}

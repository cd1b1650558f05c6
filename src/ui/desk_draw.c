/* The desk: drawing what changed. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <string.h>

#include "ui/desk.h"
#include "ui/keys.h"
#include "ui/status.h"

enum { HINT_MIN_ROWS = 10, HELP_KEY_WIDTH = 6 };

static int prompt_row(const struct desk *d)
{
    return d->screen.h >= HINT_MIN_ROWS ? d->screen.h - 2 : d->screen.h - 1;
}

/* ---- without panes: the newest lines of the log ---- */

static void draw_tail(const struct desk *d, const struct area *a)
{
    area_clear(a);
    long index = d->log->total - 1;
    for (int row = a->h - 1; row >= 0; row--, index--) {
        const struct log_line *line = log_get(d->log, index);
        if (!line)
            return;
        area_text(a, row, 0, STYLE_TEXT, line->text);
    }
}

static void draw_panes(struct desk *d, const struct area *all,
                       const struct pane_env *env)
{
    if (d->tiling.n == 0) {
        struct rect r = desk_pane_rect(d);
        struct area a = area_part(all, r.x, r.y, r.w, r.h);
        draw_tail(d, &a);
        return;
    }
    for (int i = 0; i < d->panes; i++) {
        struct pane *p = d->pane[i];
        if (p->rect.w <= 0 || p->rect.h <= 0)
            continue;
        if (p->ops->any_time && p->ops->update(p, env))
            p->stale = true;
        if (!p->stale && !d->whole)
            continue;
        struct area box = area_part(all, p->rect.x, p->rect.y, p->rect.w,
                                    p->rect.h);
        p->ops->draw(p, env, &box);
        p->stale = false;
    }
}

/* ---- the bottom row ---- */

/* "F1 help  F2 layers": rows with one hint and neighbouring keys share it:
 * "f o l b switch" would need words, "+ - w bits" does not. */
static int draw_hints(const struct area *a, int row, int col,
                      const char *context)
{
    for (int i = 0; i < key_count; i++) {
        const struct key_row *k = &key_table[i];
        if (strcmp(k->context, context) != 0 || !k->hint)
            continue;
        bool again = i > 0 && key_table[i - 1].hint &&
                     !strcmp(key_table[i - 1].hint, k->hint);
        if (again)
            continue;
        bool pair = i + 1 < key_count && key_table[i + 1].hint &&
                    !strcmp(key_table[i + 1].hint, k->hint);
        const char *other = pair ? key_table[i + 1].key : "";
        int width = text_width(k->key) + text_width(other) + pair + 1 +
                    text_width(k->hint);
        if (col + width > a->w)
            return col;
        col = area_text(a, row, col, STYLE_KEY, k->key) + pair;
        col = area_text(a, row, col, STYLE_KEY, other) + 1;
        col = area_text(a, row, col, STYLE_DIM, k->hint) + 2;
    }
    return col;
}

static int draw_hint(const struct area *a, int row, int col, const char *key,
                     const char *hint)
{
    if (col + text_width(key) + 1 + text_width(hint) > a->w)
        return col;
    col = area_text(a, row, col, STYLE_KEY, key) + 1;
    return area_text(a, row, col, STYLE_DIM, hint) + 2;
}

static void draw_bottom(const struct desk *d, const struct area *all)
{
    int row = d->screen.h - 1;
    if (d->screen.h < HINT_MIN_ROWS)
        return;
    area_fill(all, row, 0, all->w, STYLE_TEXT, ' ');
    if (d->notice[0]) {
        area_text(all, row, 1, STYLE_WARN, d->notice);
        return;
    }
    if (d->prefix) {
        draw_hints(all, row, draw_hint(all, row, 1, "^]", "then:"),
                   "prefix");
        return;
    }
    if (d->focus) {
        int col = draw_hints(all, row, 1, d->focus->ops->name);
        draw_hints(all, row, col, "pane");
        return;
    }
    int col = 1;
    if (d->model.busy)
        col = draw_hint(all, row, col, "^C", "stop");
    col = draw_hints(all, row, col, "global");
    col = draw_hint(all, row, col, "^]", "pane keys");
    const char *hint = d->model.status.hint;
    if (hint[0] && col + text_width(hint) < all->w)
        area_right(all, row, all->w - 1, STYLE_ACCENT, hint);
}

/* ---- what lies over the panes ---- */

static void draw_popup(const struct desk *d, const struct area *all)
{
    const struct popup *p = &d->popup;
    int shown = p->n - p->first < POPUP_ROWS ? p->n - p->first : POPUP_ROWS;
    int room = prompt_row(d);
    if (shown > room - 2)
        shown = room - 2;
    if (shown <= 0)
        return;
    int names = 0, helps = 0;
    for (int i = 0; i < p->n; i++) {
        int name = text_width(p->item[i].text);
        int help = text_width(p->item[i].help);
        names = name > names ? name : names;
        helps = help > helps ? help : helps;
    }
    names = names > 32 ? 32 : names;
    int width = names + 2 + (helps ? helps + 2 : 0) + 2;
    width = width > all->w ? all->w : width;
    struct area box = area_part(all, 0, room - shown - 2, width, shown + 2);
    char title[64] = "";
    if (p->n > shown)
        snprintf(title, sizeof title, "%d-%d of %d, Tab: more", p->first + 1,
                 p->first + shown, p->n);
    struct area in = area_frame(&box, &d->look, true, title);
    for (int i = 0; i < shown; i++) {
        const struct completion *c = &p->item[p->first + i];
        struct area name = area_part(&in, 1, i, names, 1);
        struct area help = area_part(&in, names + 3, i, in.w, 1);
        area_text(&name, 0, 0, STYLE_BOLD, c->text);
        area_text(&help, 0, 0, STYLE_DIM, c->help);
    }
}

/* The list of keys flows through columns, then pages. */
struct help_flow {
    struct area in;
    int rows, columns;        /* of a page */
    int at, page;             /* next line; the page that is shown */
};

enum { HELP_COLUMN = 38 };

static void help_line(struct help_flow *f, const char *key, const char *text)
{
    int at = f->at++ - f->page * f->rows * f->columns;
    if (at < 0 || at >= f->rows * f->columns)
        return;
    struct area cell = area_part(&f->in, at / f->rows * HELP_COLUMN,
                                 at % f->rows, HELP_COLUMN - 1, 1);
    area_text(&cell, 0, 1, STYLE_KEY, key);
    area_text(&cell, 0, *key ? 2 + HELP_KEY_WIDTH : 1,
              *key ? STYLE_TEXT : STYLE_BOLD, text);
}

static void help_context(struct help_flow *f, const char *context,
                         const char *title)
{
    if (f->at > 0)
        help_line(f, "", "");
    help_line(f, "", title);
    for (int i = 0; i < key_count; i++) {
        if (!strcmp(key_table[i].context, context))
            help_line(f, key_table[i].key, key_table[i].help);
    }
}

static void help_all(struct help_flow *f, const struct desk *d)
{
    f->at = 0;
    if (d->focus) {
        help_context(f, d->focus->ops->name, d->focus->ops->title);
        help_context(f, "pane", "All panes");
        help_line(f, "", "");
    }
    help_line(f, "", "At the prompt");
    help_line(f, "Tab", "complete the word");
    help_line(f, "Up", "history, by what is typed");
    help_line(f, "C-c", "stop training; clear the line");
    help_line(f, "C-d", "quit, on an empty line");
    help_line(f, "help", "all commands; apropos WORD");
    help_context(f, "global", "Everywhere");
    help_context(f, "prefix", "After Ctrl-]");
    for (int i = 0; i < pane_count && !d->focus; i++)
        help_context(f, pane_table[i]->name, pane_table[i]->title);
}

static void draw_help(struct desk *d, const struct area *all)
{
    struct rect r = desk_pane_rect(d);
    struct area box = area_part(all, r.x, r.y, r.w, r.h);
    struct help_flow f = { .rows = box.h - 2,
                           .columns = (box.w - 2) / HELP_COLUMN };
    f.columns = f.columns < 1 ? 1 : f.columns;
    if (f.rows < 1)
        return;
    help_all(&f, d);          /* draws nothing: there is no area yet */
    int per_page = f.rows * f.columns;
    d->help_pages = (f.at + per_page - 1) / per_page;
    if (d->help_page >= d->help_pages)
        d->help_page = d->help_pages - 1;
    char title[80];
    snprintf(title, sizeof title, "Keys %d/%d  Esc closes%s",
             d->help_page + 1, d->help_pages,
             d->help_page + 1 < d->help_pages ? ", Space: more" : "");
    f.in = area_frame(&box, &d->look, true, title);
    f.page = d->help_page;
    help_all(&f, d);
}

void desk_draw(struct desk *d, double now)
{
    struct area all = area_all(&d->screen);
    struct pane_env env = desk_env(d, now);
    bool over = d->popup.n > 0 || d->help;
    d->model.busy = lab_busy(d->lab);
    if (d->whole)
        screen_clear(&d->screen);
    if (d->screen.h >= 2) {
        struct area top = area_part(&all, 0, 0, all.w, 1);
        status_draw(&top, &d->model, &d->look);
    }
    draw_panes(d, &all, &env);
    d->whole = over;          /* what is over the panes hides new drawing */
    draw_bottom(d, &all);
    if (d->help)
        draw_help(d, &all);
    if (d->popup.n > 0)
        draw_popup(d, &all);
    struct area line = area_part(&all, 0, prompt_row(d), all.w, 1);
    d->screen.cursor_x = prompt_draw(&line, &d->prompt);
    d->screen.cursor_y = prompt_row(d);
}

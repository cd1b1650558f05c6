/* The layers pane: one row a layer, and what the lab says about the one
 * under the cursor. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "ui/pane.h"

enum { MAX_COLUMNS = 16, CELL_TEXT = 64, DETAIL_MIN_ROWS = 18,
       INDENT = 5 };

struct layers_state {
    int *row;                 /* layers that are shown, in their order */
    int n, top, list_rows, width;
    int sort;
    char filter[48];
    char **detail;            /* lines about the layer under the cursor */
    int details;
    struct lab_generation gen;
    struct pacer stats;
    bool known;               /* gen is of an update */
};

static const double sqnr_full = 50;       /* dB of a full bar */

/* ---- columns: each writes its text and says how it looks ---- */

struct layer_cell {
    const struct ui_layer *layer;
    int index, width;
    const struct pane_env *env;
};

static enum style sqnr_style(const struct layer_cell *c, double v)
{
    return v < c->env->model->bad_sqnr    ? STYLE_BAD
           : v < c->env->model->warn_sqnr ? STYLE_WARN
                                          : STYLE_GOOD;
}

static enum style cell_number(const struct layer_cell *c, char *out)
{
    snprintf(out, CELL_TEXT, "%d", c->index + 1);
    return STYLE_DIM;
}

static enum style cell_name(const struct layer_cell *c, char *out)
{
    snprintf(out, CELL_TEXT, "%s", c->layer->name);
    return c->layer->view.changed ? STYLE_ACCENT : STYLE_TEXT;
}

static enum style cell_type(const struct layer_cell *c, char *out)
{
    snprintf(out, CELL_TEXT, "%s", c->layer->type);
    return STYLE_DIM;
}

static enum style cell_w(const struct layer_cell *c, char *out)
{
    snprintf(out, CELL_TEXT, "%s", c->layer->view.w);
    return c->layer->view.has_w ? STYLE_BOLD : STYLE_DIM;
}

static enum style cell_a(const struct layer_cell *c, char *out)
{
    snprintf(out, CELL_TEXT, "%s", c->layer->view.a);
    return c->layer->view.has_a ? STYLE_BOLD : STYLE_DIM;
}

static enum style cell_flags(const struct layer_cell *c, char *out)
{
    const struct layer_view *v = &c->layer->view;
    snprintf(out, CELL_TEXT, "%c%c%c%c", v->fake ? 'F' : '-',
             v->observe ? 'O' : '-', v->learn ? 'L' : '-',
             v->bn_frozen ? 'B' : '-');
    bool any = v->fake || v->observe || v->learn || v->bn_frozen;
    return any ? STYLE_TEXT : STYLE_DIM;
}

static enum style cell_sqnr(const struct layer_cell *c, char *out)
{
    if (isnan(c->layer->view.weight.sqnr))
        return STYLE_DIM;
    snprintf(out, CELL_TEXT, "%.1f", c->layer->view.weight.sqnr);
    return sqnr_style(c, c->layer->view.weight.sqnr);
}

static enum style cell_out(const struct layer_cell *c, char *out)
{
    if (isnan(c->layer->view.out.sqnr))
        return STYLE_DIM;
    snprintf(out, CELL_TEXT, "%.1f", c->layer->view.out.sqnr);
    return sqnr_style(c, c->layer->view.out.sqnr);
}

static enum style cell_bar(const struct layer_cell *c, char *out)
{
    if (isnan(c->layer->view.weight.sqnr))
        return STYLE_DIM;
    double share = c->layer->view.weight.sqnr / sqnr_full;
    share = share < 0 ? 0 : share > 1 ? 1 : share;
    int filled = (int)lround(share * c->width);
    for (int i = 0; i < c->width && i < 12; i++)
        out += utf8_put(i < filled ? c->env->look->glyphs->full
                                   : c->env->look->glyphs->empty, out);
    return sqnr_style(c, c->layer->view.weight.sqnr);
}

static enum style cell_saturation(const struct layer_cell *c, char *out)
{
    if (isnan(c->layer->view.weight.saturation))
        return STYLE_DIM;
    snprintf(out, CELL_TEXT, "%.1f", 100 * c->layer->view.weight.saturation);
    return c->layer->view.weight.saturation > 0.02 ? STYLE_WARN : STYLE_DIM;
}

static enum style cell_osc(const struct layer_cell *c, char *out)
{
    if (isnan(c->layer->view.weight.osc))
        return STYLE_DIM;
    snprintf(out, CELL_TEXT, "%.1f", 100 * c->layer->view.weight.osc);
    return STYLE_DIM;
}

static enum style cell_scheme(const struct layer_cell *c, char *out)
{
    snprintf(out, CELL_TEXT, "%s", c->layer->view.scheme);
    return STYLE_DIM;
}

static enum style cell_params(const struct layer_cell *c, char *out)
{
    char number[NUMBER_TEXT];
    if (c->layer->view.params > 0)
        snprintf(out, CELL_TEXT, "%s",
                 text_count(number, (double)c->layer->view.params));
    return STYLE_DIM;
}

static enum style cell_shape(const struct layer_cell *c, char *out)
{
    struct str s = { 0 };
    struct shape shape = c->layer->view.shape;
    if (shape.rank > 1 && shape.dim[0] == 1) {        /* the batch */
        shape.rank--;
        memmove(shape.dim, shape.dim + 1,
                (size_t)shape.rank * sizeof shape.dim[0]);
    }
    shape_add(&s, &shape);
    snprintf(out, CELL_TEXT, "%s", str_text(&s));
    str_fini(&s);
    return STYLE_DIM;
}

static const struct column {
    const char *title;
    int least, most;          /* columns; between them by content */
    int rank;                 /* the greatest is dropped first */
    bool right;
    enum style (*cell)(const struct layer_cell *c, char *out);
} columns[] = {
    { "#", 1, 3, 5, true, cell_number },
    { "layer", 6, 20, 0, false, cell_name },
    { "type", 4, 10, 6, false, cell_type },
    { "w", 1, 5, 1, true, cell_w },
    { "a", 1, 5, 2, true, cell_a },
    { "FOLB", 4, 4, 3, false, cell_flags },
    { "scheme", 6, 10, 12, false, cell_scheme },
    { "sqnr", 4, 5, 4, true, cell_sqnr },
    { "dB", 4, 8, 8, false, cell_bar },
    { "sat%", 4, 5, 9, true, cell_saturation },
    { "out dB", 6, 6, 7, true, cell_out },
    { "osc%", 4, 5, 11, true, cell_osc },
    { "params", 6, 6, 10, true, cell_params },
    { "shape", 5, 12, 13, false, cell_shape },
};
enum { COLUMNS = sizeof columns / sizeof columns[0], MARKERS = 2 };

/* ---- sorting and filtering ---- */

static double key_order(const struct ui_layer *l)
{
    return l->view.node;
}

static double key_sqnr(const struct ui_layer *l)
{
    return isnan(l->view.weight.sqnr) ? (double)INFINITY : l->view.weight.sqnr;
}

static double key_saturation(const struct ui_layer *l)
{
    return isnan(l->view.weight.saturation) ? (double)INFINITY
                                     : -l->view.weight.saturation;
}

static double key_out(const struct ui_layer *l)
{
    return isnan(l->view.out.sqnr) ? (double)INFINITY : l->view.out.sqnr;
}

static double key_osc(const struct ui_layer *l)
{
    return isnan(l->view.weight.osc) ? (double)INFINITY
                                     : -l->view.weight.osc;
}

static double key_params(const struct ui_layer *l)
{
    return -(double)l->view.params;
}

/* The column that is sorted by stays when others have no room. */
static const struct sort_row {
    const char *title;
    double (*key)(const struct ui_layer *l);
    enum style (*cell)(const struct layer_cell *c, char *out);
} sorts[] = {
    { "", key_order, NULL },
    { "by sqnr", key_sqnr, cell_sqnr },
    { "by sat", key_saturation, cell_saturation },
    { "by out", key_out, cell_out },
    { "by osc", key_osc, cell_osc },
    { "by params", key_params, cell_params },
};
enum { SORTS = sizeof sorts / sizeof sorts[0] };

static void rebuild_rows(struct layers_state *s, const struct ui_model *m)
{
    s->row = xrealloc(s->row, (size_t)(m->n + 1) * sizeof *s->row);
    s->n = 0;
    double (*key)(const struct ui_layer *) = sorts[s->sort].key;
    for (int i = 0; i < m->n; i++) {
        if (s->filter[0] && !strstr(m->layer[i].name, s->filter) &&
            !strstr(m->layer[i].type, s->filter))
            continue;
        int at = s->n++;      /* stable insertion */
        while (at > 0 && key(&m->layer[s->row[at - 1]]) > key(&m->layer[i])) {
            s->row[at] = s->row[at - 1];
            at--;
        }
        s->row[at] = i;
    }
}

static int cursor_position(const struct layers_state *s,
                           const struct ui_model *m)
{
    for (int i = 0; i < s->n; i++) {
        if (s->row[i] == m->cursor)
            return i;
    }
    return -1;
}

/* ---- update ---- */

static void set_detail(struct layers_state *s, const char *text)
{
    for (int i = 0; i < s->details; i++)
        free(s->detail[i]);
    s->details = 0;
    while (*text) {
        size_t n = strcspn(text, "\n");
        s->detail = xrealloc(s->detail,
                             (size_t)(s->details + 1) * sizeof *s->detail);
        char *line = xmalloc(n + 1);
        memcpy(line, text, n);
        line[n] = 0;
        s->detail[s->details++] = line;
        text += text[n] ? n + 1 : n;
    }
}

static bool update(struct pane *p, const struct pane_env *env)
{
    struct layers_state *s = p->state;
    const struct ui_model *m = env->model;
    if (s->known && !memcmp(&s->gen, &m->gen, sizeof s->gen) && !p->stale)
        return false;
    s->gen = m->gen;
    s->known = true;
    rebuild_rows(s, m);
    struct str text = { 0 };
    const struct ui_layer *l = ui_model_cursor(m);
    if (l && env->lab)
        lab_layer_detail(env->lab, l->view.node, &text);
    set_detail(s, str_text(&text));
    str_fini(&text);
    return true;
}

/* ---- drawing ---- */

struct grid {
    int width[MAX_COLUMNS];   /* 0: not shown */
};

static int content_width(const struct column *c, const struct pane_env *env)
{
    const struct ui_model *m = env->model;
    char cell[CELL_TEXT];
    int most = c->least;
    if (c->cell == cell_bar)
        return c->least;
    for (int i = 0; i < m->n; i++) {
        struct layer_cell in = { &m->layer[i], i, c->most, env };
        cell[0] = 0;
        c->cell(&in, cell);
        int w = text_width(cell);
        most = w > most ? w : most;
    }
    return most > c->most ? c->most : most;
}

static int grid_width(const struct grid *g)
{
    int total = MARKERS - 1;
    for (int i = 0; i < COLUMNS; i++)
        total += g->width[i] ? g->width[i] + 1 : 0;
    return total;
}

/* A column in which nothing stands is left out. */
static bool column_empty(const struct column *c, const struct pane_env *env)
{
    const struct ui_model *m = env->model;
    char cell[CELL_TEXT];
    for (int i = 0; i < m->n; i++) {
        struct layer_cell in = { &m->layer[i], i, c->least, env };
        cell[0] = 0;
        c->cell(&in, cell);
        if (cell[0])
            return false;
    }
    return m->n > 0;
}

static int column_rank(int i, int sort)
{
    return columns[i].cell == sorts[sort].cell ? 0 : columns[i].rank;
}

static struct grid fit_columns(const struct pane_env *env, int room, int sort)
{
    struct grid g = { .width = { 0 } };
    for (int i = 0; i < COLUMNS; i++) {
        if (!column_empty(&columns[i], env))
            g.width[i] = content_width(&columns[i], env);
    }
    while (grid_width(&g) > room) {
        int drop = -1;
        for (int i = 0; i < COLUMNS; i++) {
            if (g.width[i] && (drop < 0 || column_rank(i, sort) >
                                               column_rank(drop, sort)))
                drop = i;
        }
        if (drop < 0 || column_rank(drop, sort) == 0)
            break;
        g.width[drop] = 0;
    }
    for (int i = 0; i < COLUMNS; i++) {
        if (columns[i].cell != cell_bar || !g.width[i])
            continue;
        while (grid_width(&g) < room && g.width[i] < columns[i].most)
            g.width[i]++;
    }
    return g;
}

/* A cell's text cut to its column. */
static void draw_cell(const struct area *a, const int at[2],
                      const struct column *c, int width, const char *text,
                      enum style st)
{
    struct area cell = area_part(a, at[1], at[0], width, 1);
    int w = text_width(text);
    area_text(&cell, 0, c->right && w < width ? width - w : 0, st, text);
}

static void draw_head(const struct area *a, const struct grid *g)
{
    int at[2] = { 0, MARKERS };
    for (int i = 0; i < COLUMNS; i++) {
        if (!g->width[i])
            continue;
        draw_cell(a, at, &columns[i], g->width[i], columns[i].title,
                  STYLE_DIM);
        at[1] += g->width[i] + 1;
    }
}

static void draw_layer(const struct area *a, int row, const struct grid *g,
                       const struct pane_env *env, int index)
{
    const struct ui_layer *l = &env->model->layer[index];
    bool current = index == env->model->cursor;
    if (current)
        area_char(a, row, 0, STYLE_KEY, '>');
    if (l->view.selected)
        area_char(a, row, 1, STYLE_KEY, '*');
    int at[2] = { row, MARKERS };
    for (int i = 0; i < COLUMNS; i++) {
        if (!g->width[i])
            continue;
        char text[CELL_TEXT] = "";
        struct layer_cell in = { l, index, g->width[i], env };
        enum style st = columns[i].cell(&in, text);
        if (current && columns[i].cell == cell_name)
            st = STYLE_KEY;
        draw_cell(a, at, &columns[i], g->width[i], text, st);
        at[1] += g->width[i] + 1;
    }
}

/* Rows of the detail, each line broken where the pane ends. */
static int detail_height(const struct layers_state *s)
{
    int rows = 0;
    for (int i = 0; i < s->details; i++)
        rows += text_rows(s->detail[i], s->width - INDENT);
    return rows;
}

/* Rows at the bottom that the detail takes. In a low pane the list goes
 * first; in a high one it scrolls in at least half of the rows. */
static int detail_rows(const struct layers_state *s, int height)
{
    int want = detail_height(s);
    int list = s->n + 1;
    int room = height - list - 1;
    if (room < want && height >= DETAIL_MIN_ROWS) {
        int least = height / 2 > 7 ? height / 2 : 7;
        room = height - (list < least ? list : least) - 1;
    }
    int rows = room < want ? room : want;
    return rows < 2 ? 0 : rows;
}

/* Returns the row after the line; continued rows are indented. */
static int draw_detail_line(const struct layers_state *s,
                            const struct area *a, int row, int index)
{
    const char *text = s->detail[index];
    enum style st = index ? STYLE_TEXT : STYLE_BOLD;
    for (int part = 0;; part++) {
        size_t n = text_row(text, s->width - INDENT);
        char line[512];
        snprintf(line, sizeof line, "%.*s", (int)n, text);
        area_text(a, row++, part ? INDENT : 1, st, line);
        if (!text[n])
            return row;
        text += n;
    }
}

static const char *const legend[] = {
    "F fake-quant  O observer  L learned  B bn frozen",
    "space select  + - } { bits  f o l b switch  / find",
};

static void draw_detail(const struct layers_state *s, const struct area *a,
                        const struct look *look, int top)
{
    area_fill(a, top - 1, 1, a->w - 2, STYLE_BORDER, look->glyphs->rule);
    int row = top;
    for (int i = 0; i < s->details && row < a->h; i++)
        row = draw_detail_line(s, a, row, i);
    int spare = a->h - row;
    for (int i = 0; i < 2 && spare >= 3; i++)
        area_item(a, a->h - 2 + i, 1, STYLE_DIM, legend[i]);
}

static void scroll_to_cursor(struct layers_state *s, int position)
{
    int rows = s->list_rows;
    if (position >= 0 && position < s->top)
        s->top = position;
    if (position >= s->top + rows)
        s->top = position - rows + 1;
    if (s->top > s->n - rows)
        s->top = s->n - rows;
    if (s->top < 0)
        s->top = 0;
}

static void draw(struct pane *p, const struct pane_env *env,
                 const struct area *box)
{
    struct layers_state *s = p->state;
    char count[48], filter[64];
    snprintf(filter, sizeof filter, "/%s", s->filter);
    if (s->n < env->model->n)
        snprintf(count, sizeof count, "%d of %d", s->n, env->model->n);
    else
        snprintf(count, sizeof count, "%d layers", s->n);
    struct pane_head head = { .n = 0 };
    if (s->filter[0])
        head.word[head.n++] = (struct frame_word){ filter, STYLE_WARN };
    if (s->sort)
        head.word[head.n++] = (struct frame_word){ sorts[s->sort].title,
                                                   STYLE_WARN };
    if (env->model->n)
        head.word[head.n++] = (struct frame_word){ count, STYLE_DIM };
    struct area in = pane_frame(p, env, box, &head);
    if (env->model->n == 0) {
        pane_message(&in, "no model yet: load model lenet5");
        return;
    }
    s->width = in.w > 2 * INDENT ? in.w - 1 : 2 * INDENT;
    int detail = detail_rows(s, in.h);
    s->list_rows = in.h - 1 - (detail ? detail + 1 : 0);
    scroll_to_cursor(s, cursor_position(s, env->model));
    struct grid g = fit_columns(env, in.w - 1, s->sort);
    draw_head(&in, &g);
    for (int i = 0; i < s->list_rows && s->top + i < s->n; i++)
        draw_layer(&in, 1 + i, &g, env, s->row[s->top + i]);
    int used = 1 + (s->n < s->list_rows ? s->n : s->list_rows);
    if (detail)
        draw_detail(s, &in, env->look, used + 1);
}

/* ---- words ---- */

enum { TO_START = -100000, TO_END = 100000, BY_PAGE = 1000 };

static enum status move(struct pane *p, const struct pane_env *env, int arg,
                        struct err *e)
{
    struct layers_state *s = p->state;
    if (s->n == 0)
        return err_set(e, STATUS_STATE, "no layer to move to");
    int page = s->list_rows > 2 ? s->list_rows - 1 : 1;
    int by = arg == BY_PAGE ? page : arg == -BY_PAGE ? -page : arg;
    int at = cursor_position(s, env->model) + by;
    at = at >= s->n ? s->n - 1 : at < 0 ? 0 : at;
    lab_set_cursor(env->lab, env->model->layer[s->row[at]].view.node);
    return STATUS_OK;
}

static enum status select_row(struct pane *p, const struct pane_env *env,
                              int arg, struct err *e)
{
    (void)p;
    (void)arg;
    const struct ui_layer *l = ui_model_cursor(env->model);
    if (!l)
        return err_set(e, STATUS_STATE, "no layer to select");
    lab_select(env->lab, l->view.node, !l->view.selected);
    return STATUS_OK;
}

static enum status select_all(struct pane *p, const struct pane_env *env,
                              int arg, struct err *e)
{
    (void)e;
    const struct layers_state *s = p->state;
    bool on = false;
    for (int i = 0; i < s->n; i++)
        on = on || !env->model->layer[s->row[i]].view.selected;
    for (int i = 0; i < s->n; i++)
        lab_select(env->lab, env->model->layer[s->row[i]].view.node,
                   arg ? on : false);
    return STATUS_OK;
}

static enum status next_sort(struct pane *p, const struct pane_env *env,
                             int arg, struct err *e)
{
    (void)e;
    struct layers_state *s = p->state;
    s->sort = (s->sort + arg + SORTS) % SORTS;
    rebuild_rows(s, env->model);
    return STATUS_OK;
}

/* "/text" shows the layers whose name or type has it; a name goes there. */
static enum status pick(struct pane *p, const struct pane_env *env,
                        const char *words, struct err *e)
{
    struct layers_state *s = p->state;
    if (words[0] == '/') {
        snprintf(s->filter, sizeof s->filter, "%s", words + 1);
        rebuild_rows(s, env->model);
        if (s->n > 0 && cursor_position(s, env->model) < 0)
            lab_set_cursor(env->lab, env->model->layer[s->row[0]].view.node);
        return STATUS_OK;
    }
    for (int i = 0; i < env->model->n; i++) {
        if (!strcmp(env->model->layer[i].name, words)) {
            lab_set_cursor(env->lab, env->model->layer[i].view.node);
            return STATUS_OK;
        }
    }
    return err_set(e, STATUS_NOTFOUND, "no layer named '%s'", words);
}

static void fini(struct pane *p)
{
    struct layers_state *s = p->state;
    set_detail(s, "");
    free(s->detail);
    free(s->row);
}

static const struct pane_word words_table[] = {
    { "up", "one row up", move, -1 },
    { "down", "one row down", move, 1 },
    { "pageup", "one page up", move, -BY_PAGE },
    { "pagedown", "one page down", move, BY_PAGE },
    { "home", "to the first row", move, TO_START },
    { "end", "to the last row", move, TO_END },
    { "select", "select the row, or take it out of @sel", select_row, 0 },
    { "all", "select all rows, or none", select_all, 1 },
    { "none", "select no row", select_all, 0 },
    { "sort", "sort by the next column", next_sort, 1 },
    { "sortback", "sort by the column before", next_sort, -1 },
    { .word = NULL },
};

const struct pane_ops pane_layers = {
    .name = "layers",
    .title = "Layers",
    .help = "bits, flags, SQNR and size of each layer",
    .digit = '1',
    .state_size = sizeof(struct layers_state),
    .fini = fini,
    .update = update,
    .draw = draw,
    .word = words_table,
    .pick = pick,
};

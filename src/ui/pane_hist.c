/* The histogram pane: weights, activations, quantization error or gradients
 * of the layer under the cursor, against clip range and grid.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ui/pane.h"

/* Grid ticks are drawn up to this many levels: a column each at most. */
enum { MAX_TICKS = 33, EDGE = 1 };

static const struct what {
    const char *name, *title;
    enum hist_what what;
} whats[] = {
    { "weight", "Weights", HIST_WEIGHT },
    { "act", "Activations", HIST_ACTIVATION },
    { "error", "Error", HIST_ERROR },
    { "grad", "Gradients", HIST_GRADIENT },
};
enum { WHATS = sizeof whats / sizeof whats[0], WEIGHT = 0, ACTIVATION = 1,
       ERROR = 2 };

struct hist_state {
    int what;
    bool chosen;              /* by a word or the layout */
    bool log, valid, known;
    bool glance;              /* the view is one, see lab_set_glance */
    struct hist_view view;
    char message[512];        /* why there is nothing to show */
    int columns;              /* of the last drawing: bins to ask for */
    int asked_what, asked_node, asked_bins;
    struct lab_generation gen;
    struct pacer pacer;
};

/* ---- update ---- */

/* One bin a column, but not more than the few weights of a small layer can
 * fill: three times the root of their number. */
static int bins_for(const struct hist_state *s, const struct ui_layer *l)
{
    int bins = s->columns < 8 ? 8 : s->columns;
    double most = 3 * sqrt((double)l->view.params);
    bool of_weights = whats[s->what].what == HIST_WEIGHT ||
                      whats[s->what].what == HIST_ERROR;
    if (of_weights && most >= 8 && most < bins)
        bins = (int)most;
    return bins;
}

/* Until somebody chooses: what quantization does to the weights, the weights
 * while they are float, the output of a layer without any. */
static int most_telling(const struct ui_layer *l)
{
    if (!l->view.has_w)
        return ACTIVATION;
    return strcmp(l->view.w, "-") != 0 ? ERROR : WEIGHT;
}

static bool update(struct pane *p, const struct pane_env *env)
{
    struct hist_state *s = p->state;
    const struct ui_layer *l = ui_model_cursor(env->model);
    if (l && !s->chosen)
        s->what = most_telling(l);
    int node = l ? l->view.node : -1;
    int bins = l ? bins_for(s, l) : s->columns;
    bool other = !s->known || s->asked_what != s->what ||
                 s->asked_node != node || s->asked_bins != bins;
    bool moved = memcmp(&s->gen, &env->model->gen, sizeof s->gen) != 0 ||
                 (s->glance && !env->model->busy);
    bool wait = env->model->busy && !pacer_due(&s->pacer, env->now);
    if (!other && (!moved || wait))
        return false;
    double began = pane_cpu_seconds();
    struct err e = { .text = "" };
    s->valid = node >= 0 && lab_hist(env->lab, node, whats[s->what].what,
                                     bins, &s->view, &e) == STATUS_OK;
    snprintf(s->message, sizeof s->message, "%s",
             node < 0 ? "histograms appear here" : e.text);
    pacer_done(&s->pacer, pane_cpu_seconds() - began, env->now);
    s->asked_what = s->what;
    s->asked_node = node;
    s->asked_bins = bins;
    s->gen = env->model->gen;
    s->glance = env->model->busy;
    s->known = true;
    return true;
}

/* ---- drawing ---- */

struct plot {
    const struct hist_view *v;
    struct area a;            /* bars */
    int bars;                 /* columns of bars, from column EDGE on */
    double most;
    bool log;
};

/* The column of a value; may lie outside. */
static int column_of(const struct plot *p, double value)
{
    double t = (value - p->v->lo) / (p->v->hi - p->v->lo);
    t = t < -1 ? -1 : t > 2 ? 2 : t;
    return EDGE + (int)floor(t * p->bars);
}

/* Counts that fall into a column of bars. */
static double column_count(const struct plot *p, int bar)
{
    const struct hist_view *v = p->v;
    int from = bar * v->bins / p->bars;
    int to = (bar + 1) * v->bins / p->bars;
    double n = 0;
    for (int i = from; i < (to > from ? to : from + 1) && i < v->bins; i++)
        n += v->n[i];
    return n;
}

static double bar_height(const struct plot *p, double n)
{
    if (n <= 0 || p->most <= 0)
        return 0;
    double t = p->log ? log1p(n) / log1p(p->most) : n / p->most;
    return t * p->a.h;
}

static void draw_bar(const struct plot *p, int col, double n, enum style st,
                     const struct look *look)
{
    int eighths = (int)lround(8 * bar_height(p, n));
    if (n > 0 && eighths == 0)
        eighths = 1;          /* few is not none */
    for (int row = p->a.h - 1; row >= 0 && eighths > 0; row--) {
        area_char(&p->a, row, col, st,
                  look->glyphs->eighth[eighths < 8 ? eighths : 8]);
        eighths -= 8;
    }
}

static bool clipped(const struct hist_view *v, double value)
{
    return v->has_clip && (value < v->clip_lo || value > v->clip_hi);
}

static void draw_bars(struct plot *p, const struct look *look)
{
    const struct hist_view *v = p->v;
    for (int i = 0; i < p->bars; i++) {
        double n = column_count(p, i);
        p->most = n > p->most ? n : p->most;
    }
    for (int i = 0; i < p->bars; i++) {
        double mid = v->lo + (i + 0.5) / p->bars * (v->hi - v->lo);
        draw_bar(p, EDGE + i, column_count(p, i),
                 clipped(v, mid) ? STYLE_CLIP : STYLE_BAR, look);
    }
    draw_bar(p, 0, v->below, STYLE_BAD, look);
    draw_bar(p, EDGE + p->bars, v->above, STYLE_BAD, look);
}

/* A dashed line beside the outermost bars that are kept. */
static void draw_clip_line(const struct plot *p, double at,
                           const struct look *look)
{
    int col = column_of(p, at);
    if (col < EDGE || col >= EDGE + p->bars)
        return;
    for (int row = 0; row < p->a.h; row++) {
        if (area_blank(&p->a, row, col))
            area_char(&p->a, row, col, STYLE_CLIP, look->glyphs->clip);
    }
}

static void draw_ticks(const struct plot *p, const struct area *in, int row,
                       const struct look *look)
{
    const struct hist_view *v = p->v;
    for (int i = 0; i < v->levels; i++) {
        double value = v->clip_lo + i * v->step;
        int col = column_of(p, value);
        if (col >= EDGE && col <= EDGE + p->bars)
            area_char(in, row, col, STYLE_DIM, look->glyphs->tick);
    }
}

/* Labels in order of importance; one that would touch another is left out. */
static void draw_labels(const struct plot *p, const struct area *in, int row)
{
    const struct hist_view *v = p->v;
    double value[5];
    int n = 0, used = 0, taken[7][2];
    if (v->below > 0) {
        area_char(in, row, 0, STYLE_BAD, '<');
        taken[used][0] = taken[used][1] = 0;
        used++;
    }
    if (v->above > 0) {
        area_char(in, row, in->w - 1, STYLE_BAD, '>');
        taken[used][0] = taken[used][1] = in->w - 1;
        used++;
    }
    if (v->has_clip) {
        value[n++] = v->clip_lo;
        value[n++] = v->clip_hi;
    }
    if (v->lo < 0 && v->hi > 0)
        value[n++] = 0;
    value[n++] = v->lo;
    value[n++] = v->hi;
    for (int i = 0; i < n; i++) {
        char text[NUMBER_TEXT];
        text_number(text, value[i]);
        int width = text_width(text);
        int col = column_of(p, value[i]) - width / 2;
        col = col < 0 ? 0 : col;
        col = col + width > in->w ? in->w - width : col;
        if (col == 0 && v->below > 0)
            col = 2;
        if (col + width == in->w && v->above > 0)
            col -= 2;
        bool room = col >= 0;
        for (int k = 0; k < used; k++)
            room = room && (col + width < taken[k][0] || col > taken[k][1]);
        if (!room)
            continue;
        area_text(in, row, col, STYLE_DIM, text);
        taken[used][0] = col;
        taken[used++][1] = col + width;
    }
}

static void clip_item(const struct hist_view *v, const struct look *look,
                      char *out, size_t size)
{
    char a[NUMBER_TEXT], b[NUMBER_TEXT], mark[5];
    utf8_put(look->glyphs->clip, mark);
    bool even = fabs(v->clip_lo + v->clip_hi) <
                1e-6 * (fabs(v->clip_lo) + fabs(v->clip_hi));
    if (even)
        snprintf(out, size, "clip %s %s%s", mark, look->glyphs->plus_minus,
                 text_number(a, v->clip_hi));
    else
        snprintf(out, size, "clip %s [%s, %s]", mark,
                 text_number(a, v->clip_lo), text_number(b, v->clip_hi));
}

static void draw_range_facts(const struct hist_view *v, const struct area *in,
                             int row, const struct pane_env *env, bool ticks)
{
    char text[80], mark[5];
    int col = 1;
    if (v->has_clip) {
        clip_item(v, env->look, text, sizeof text);
        col = area_item(in, row, col, STYLE_TEXT, text);
        snprintf(text, sizeof text, "outside %.2f%%", 100 * v->outside);
        col = area_item(in, row, col,
                        v->outside > 0.02 ? STYLE_WARN : STYLE_TEXT, text);
    }
    if (!v->has_grid || v->levels <= 0)
        return;
    utf8_put(env->look->glyphs->tick, mark);
    snprintf(text, sizeof text, "%s%s%d levels", ticks ? mark : "",
             ticks ? " " : "", v->levels);
    col = area_item(in, row, col, STYLE_TEXT, text);
    if (v->dead_levels > 0) {
        snprintf(text, sizeof text, "%d dead", v->dead_levels);
        area_item(in, row, col, STYLE_WARN, text);
    }
}

static void draw_error_facts(const struct hist_state *s,
                             const struct area *in, int row)
{
    const struct hist_view *v = &s->view;
    const struct {
        const char *name, *unit;
        double value;
    } facts[] = { { "sqnr", " dB", v->sqnr }, { "mse", "", v->mse },
                  { "max|e|", "", v->max_error } };
    int col = 1;
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        char text[80], number[NUMBER_TEXT];
        if (!isfinite(facts[i].value))
            continue;
        snprintf(text, sizeof text, "%s %s%s", facts[i].name,
                 text_number(number, facts[i].value), facts[i].unit);
        col = area_item(in, row, col, STYLE_DIM, text);
    }
    area_item(in, row, col, STYLE_DIM, s->log ? "log counts" : "");
}

static void draw_hist(const struct hist_state *s, const struct area *in,
                      const struct pane_env *env)
{
    const struct look *look = env->look;
    const struct hist_view *v = &s->view;
    bool ticks = v->has_grid && v->levels > 1 && v->levels <= MAX_TICKS &&
                 in->h >= 7;
    bool ranges = v->has_clip || v->has_grid;
    bool errors = isfinite(v->sqnr) || isfinite(v->mse) || s->log;
    int facts = in->h >= 8 ? ranges + errors : in->h >= 5 ? ranges : 0;
    int labels = in->h >= 3;
    int rows = in->h - facts - labels - ticks;
    struct plot p = { .v = v, .log = s->log, .bars = in->w - 2 * EDGE };
    p.a = area_part(in, 0, 0, in->w, rows);
    if (p.bars < 1 || rows < 1 || !(v->hi > v->lo))
        return;
    draw_bars(&p, look);
    if (v->has_clip) {
        draw_clip_line(&p, v->clip_lo, look);
        draw_clip_line(&p, v->clip_hi, look);
    }
    if (ticks)
        draw_ticks(&p, in, rows, look);
    if (labels)
        draw_labels(&p, in, rows + ticks);
    int row = rows + ticks + labels;
    if (facts > 0 && ranges)
        draw_range_facts(v, in, row++, env, ticks);
    if (row < in->h && errors)
        draw_error_facts(s, in, row);
}

static void draw(struct pane *p, const struct pane_env *env,
                 const struct area *box)
{
    struct hist_state *s = p->state;
    const struct ui_layer *l = ui_model_cursor(env->model);
    struct pane_head head = { .own_title = whats[s->what].title };
    for (int i = 0; i < WHATS; i++) {
        enum style st = i == s->what ? STYLE_BOLD : STYLE_DIM;
        head.word[head.n++] = (struct frame_word){ whats[i].name, st };
    }
    const char *tensor = s->valid ? s->view.title : l ? l->name : NULL;
    if (tensor)
        head.word[head.n++] = (struct frame_word){ tensor, STYLE_ACCENT };
    struct area in = pane_frame(p, env, box, &head);
    s->columns = in.w - 2 * EDGE;
    if (s->columns > HIST_MAX_BINS)
        s->columns = HIST_MAX_BINS;
    if (s->valid && s->asked_what == s->what)
        draw_hist(s, &in, env);
    else
        pane_message(&in, s->message[0] ? s->message
                                        : "histograms appear here");
}

/* ---- words ---- */

static enum status set_log(struct pane *p, const struct pane_env *env,
                           int arg, struct err *e)
{
    (void)env;
    (void)e;
    struct hist_state *s = p->state;
    s->log = arg < 0 ? !s->log : arg;
    return STATUS_OK;
}

static enum status next_what(struct pane *p, const struct pane_env *env,
                             int arg, struct err *e)
{
    (void)env;
    (void)e;
    struct hist_state *s = p->state;
    s->what = (s->what + arg + WHATS) % WHATS;
    s->chosen = true;
    return STATUS_OK;
}

/* The layer before or after, so that one need not leave the histogram. */
static enum status move_layer(struct pane *p, const struct pane_env *env,
                              int arg, struct err *e)
{
    (void)p;
    const struct ui_model *m = env->model;
    int row = m->cursor + arg;
    if (row < 0 || row >= m->n)
        return m->n ? STATUS_OK
                    : err_set(e, STATUS_STATE, "no layer to move to");
    lab_set_cursor(env->lab, m->layer[row].view.node);
    return STATUS_OK;
}

static enum status pick(struct pane *p, const struct pane_env *env,
                        const char *words, struct err *e)
{
    (void)env;
    struct hist_state *s = p->state;
    for (int i = 0; i < WHATS; i++) {
        if (!strcmp(whats[i].name, words) ||
            !strcmp(hist_name[whats[i].what], words)) {
            s->what = i;
            s->chosen = true;
            return STATUS_OK;
        }
    }
    return err_set(e, STATUS_NOTFOUND, "no histogram '%s'; there are "
                   "weight, act, error, grad", words);
}

static const char *shown(const struct pane *p)
{
    const struct hist_state *s = p->state;
    return hist_name[whats[s->what].what];
}

static void init(struct pane *p)
{
    struct hist_state *s = p->state;
    s->pacer = (struct pacer){ .least = 0.25, .factor = 500 };
    s->columns = 40;
    for (int i = 0; i < WHATS; i++) {
        if (!strcmp(whats[i].name, p->arg)) {
            s->what = i;
            s->chosen = true;
        }
    }
}

static const struct pane_word words_table[] = {
    { "next", "the next histogram", next_what, 1 },
    { "prev", "the histogram before", next_what, -1 },
    { "up", "the layer before", move_layer, -1 },
    { "down", "the layer after", move_layer, 1 },
    { "log", "logarithmic counts, or not", set_log, -1 },
    { .word = NULL },
};

const struct pane_ops pane_hist = {
    .name = "hist",
    .title = "Hist",
    .help = "distribution of weights, activations, error, gradients",
    .digit = '3',
    .state_size = sizeof(struct hist_state),
    .init = init,
    .update = update,
    .draw = draw,
    .shown = shown,
    .word = words_table,
    .pick = pick,
};

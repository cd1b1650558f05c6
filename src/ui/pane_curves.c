/* The curves pane: accuracy, loss, learning rate, gradient norm over epochs,
 * with a mark for every command that changed the model.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "ui/pane.h"
#include "ui/raster.h"

enum { LABEL_WIDTH = 5, MAX_EVENTS = 64 };

static const struct metric {
    const char *name;         /* `focus curves NAME`, and in the frame */
    const char *title;
    const char *series[2];    /* of epochs, of batches; NULL: none */
    const char *both;         /* as `plot` takes them */
    bool fraction;
} metrics[] = {
    { "acc", "Accuracy", { "val_acc", "acc" }, "val_acc acc", true },
    { "loss", "Loss", { "val_loss", "loss" }, "val_loss loss", false },
    { "lr", "Learning rate", { NULL, "lr" }, "lr", false },
    { "grad", "Gradient norm", { NULL, "grad_norm" }, "grad_norm", false },
};
enum { METRICS = sizeof metrics / sizeof metrics[0], LOSS = 1 };

static int metric_named(const char *name)
{
    for (int i = 0; i < METRICS; i++) {
        if (!strcmp(metrics[i].name, name))
            return i;
    }
    return 0;
}

static const struct span {
    const char *name;
    double share;             /* of the epochs, from the right */
} spans[] = { { "full", 1 }, { "recent", 0.2 } };
enum { SPANS = sizeof spans / sizeof spans[0] };

struct copy {
    double *x, *y, *smooth;
    int n, cap;
};

struct event {
    double x;
    char text[48];
};

struct curves_state {
    int metric, span;
    bool chosen;              /* the metric, by a word */
    bool log;
    struct copy copy[2];      /* evaluation, training */
    int copied_metric;
    struct event event[MAX_EVENTS];
    int events;
    double lo, hi;            /* y range of the last drawing */
    int range_of;             /* its metric and span, to know when to forget */
    struct lab_generation gen;
    bool known;
};

/* ---- update ---- */

static void copy_series(struct copy *c, struct lab *l, const char *name)
{
    int i = name ? lab_series_find(l, name) : -1;
    if (i < 0) {
        c->n = 0;
        return;
    }
    struct series_view v = lab_series(l, i);
    if (v.n > c->cap) {
        c->cap = v.n + v.n / 2 + 64;
        c->x = xrealloc(c->x, (size_t)c->cap * sizeof *c->x);
        c->y = xrealloc(c->y, (size_t)c->cap * sizeof *c->y);
        c->smooth = xrealloc(c->smooth, (size_t)c->cap * sizeof *c->smooth);
    }
    c->n = v.n;
    if (v.n > 0) {
        memcpy(c->x, v.x, (size_t)v.n * sizeof *c->x);
        memcpy(c->y, v.y, (size_t)v.n * sizeof *c->y);
        chart_smooth((struct points){ c->x, c->y, c->n }, c->smooth);
    }
}

static void copy_metric(struct curves_state *s, struct lab *l)
{
    for (int i = 0; i < 2; i++)
        copy_series(&s->copy[i], l, metrics[s->metric].series[i]);
}

static void copy_events(struct curves_state *s, struct lab *l)
{
    const struct mark_view *mark = NULL;
    int n = lab_event_marks(l, &mark);
    int first = n > MAX_EVENTS ? n - MAX_EVENTS : 0;
    s->events = n - first;
    for (int i = 0; i < s->events; i++) {
        s->event[i].x = mark[first + i].x;
        snprintf(s->event[i].text, sizeof s->event[i].text, "%s",
                 mark[first + i].text);
    }
}

static bool update(struct pane *p, const struct pane_env *env)
{
    struct curves_state *s = p->state;
    const struct lab_generation *gen = &env->model->gen;
    if (s->known && s->gen.metrics == gen->metrics &&
        s->gen.model == gen->model && s->gen.quant == gen->quant &&
        s->copied_metric == s->metric)
        return false;
    copy_metric(s, env->lab);
    if (!s->chosen && s->copy[0].n + s->copy[1].n == 0) {
        s->metric = LOSS;     /* regression has no accuracy */
        copy_metric(s, env->lab);
        if (s->copy[0].n + s->copy[1].n == 0)
            s->metric = metric_named(p->arg);
    }
    copy_events(s, env->lab);
    s->copied_metric = s->metric;
    s->gen = *gen;
    s->known = true;
    return true;
}

/* ---- ranges ---- */

struct range {
    double lo, hi;
};

static void range_take(struct range *r, double v)
{
    if (!isfinite(v))
        return;
    r->lo = v < r->lo || isnan(r->lo) ? v : r->lo;
    r->hi = v > r->hi || isnan(r->hi) ? v : r->hi;
}

/* The y range looks at training through its smooth line, so that one odd
 * batch does not flatten everything else. */
static struct range y_range(const struct curves_state *s, double x0)
{
    struct range r = { (double)NAN, (double)NAN };
    const struct copy *val = &s->copy[0], *train = &s->copy[1];
    for (int i = 0; i < val->n; i++) {
        if (val->x[i] >= x0)
            range_take(&r, val->y[i]);
    }
    for (int i = 0; i < train->n; i++) {
        if (train->x[i] >= x0)
            range_take(&r, train->smooth[i]);
    }
    return r;
}

static void round_range(struct range *r, const struct metric *m, bool log)
{
    if (isnan(r->lo)) {
        *r = (struct range){ 0, 1 };
        return;
    }
    if (log) {
        r->lo = pow(10, floor(4 * log10(r->lo)) / 4);
        r->hi = pow(10, ceil(4 * log10(r->hi)) / 4);
        return;
    }
    double span = r->hi - r->lo;
    if (span < 1e-9 * fabs(r->hi))
        span = fabs(r->hi) * 0.1 + 1e-12;
    double step = chart_nice_step(span / 5);
    double top = m->fraction ? 1 : (double)INFINITY;
    r->lo = floor(r->lo / step - 0.2) * step;
    r->hi = ceil(r->hi / step + 0.2) * step;
    r->hi = r->hi > top ? top : r->hi;
    r->lo = r->lo < 0 ? 0 : r->lo;
}

/* The range moves only when it is off by 5 %, so that it does not tremble. */
static struct range steady_range(struct curves_state *s, struct range want)
{
    int of = s->metric * SPANS * 2 + s->span * 2 + s->log;
    double slack = 0.05 * (want.hi - want.lo);
    if (s->range_of != of + 1 || fabs(s->lo - want.lo) > slack ||
        fabs(s->hi - want.hi) > slack) {
        s->lo = want.lo;
        s->hi = want.hi;
        s->range_of = of + 1;
    }
    return (struct range){ s->lo, s->hi };
}

static double last_x(const struct curves_state *s)
{
    double x = 0;
    for (int i = 0; i < 2; i++) {
        const struct copy *c = &s->copy[i];
        if (c->n && c->x[c->n - 1] > x)
            x = c->x[c->n - 1];
    }
    return x;
}

/* While training, the full view leaves room up to the goal: the curve grows
 * into it instead of being squeezed with every frame. */
static struct range x_range(const struct curves_state *s,
                            const struct ui_model *m)
{
    struct range r = { 0, last_x(s) };
    double goal = m->status.goal_epoch;
    if (s->span == 0 && m->training && isfinite(goal) && goal > r.hi)
        r.hi = goal;
    if (s->span > 0)
        r.lo = r.hi * (1 - spans[s->span].share);
    if (r.hi <= r.lo)
        r.hi = r.lo + 1;
    return r;
}

/* ---- drawing ---- */

static struct points points_from(const struct copy *c, const double *y,
                                 double x0)
{
    int first = 0;
    while (first < c->n && c->x[first] < x0)
        first++;
    first -= first > 0;
    if (c->n == 0)
        return (struct points){ NULL, NULL, 0 };
    return (struct points){ c->x + first, y + first, c->n - first };
}

/* Three digits are enough beside an axis. */
static void label_text(char out[NUMBER_TEXT], double v, bool fraction)
{
    if (fraction)
        snprintf(out, NUMBER_TEXT, "%.2f", v);
    else
        text_short(out, v);
}

struct labels {
    int n, width;             /* width with the blank after it */
    char text[3][NUMBER_TEXT];
};

static int label_row(const struct labels *l, int i, int rows)
{
    return (rows - 1) * i / (l->n - 1);
}

static struct labels make_labels(const struct chart *c, int rows,
                                 bool fraction)
{
    struct labels l = { .n = rows >= 9 ? 3 : 2, .width = LABEL_WIDTH };
    for (int i = 0; i < l.n; i++) {
        double t = 1 - (double)label_row(&l, i, rows) /
                       (rows > 1 ? rows - 1 : 1);
        double v = c->log ? c->y0 * pow(c->y1 / c->y0, t)
                          : c->y0 + t * (c->y1 - c->y0);
        label_text(l.text[i], v, fraction);
        int width = text_width(l.text[i]) + 1;
        l.width = width > l.width ? width : l.width;
    }
    return l;
}

static void draw_x_labels(const struct area *a, int row, int left,
                          const struct chart *c)
{
    static const char unit[] = "epoch";
    int end = a->w - (int)sizeof unit;
    double step = chart_nice_step((c->x1 - c->x0) * 9 /
                                  (c->raster.w > 9 ? c->raster.w : 9));
    int free_from = left;
    for (double x = ceil(c->x0 / step) * step; x <= c->x1; x += step) {
        char text[NUMBER_TEXT];
        text_number(text, fabs(x) < step / 2 ? 0 : x);
        int width = text_width(text);
        int col = left + chart_col(c, x) / 2 - width / 2;
        if (col < free_from || col + width > end)
            continue;
        area_text(a, row, col, STYLE_DIM, text);
        free_from = col + width + 1;
    }
    if (end > free_from)
        area_text(a, row, end, STYLE_DIM, unit);
}

/* On the axis, or above it where a number stands. */
static void draw_events(const struct curves_state *s, const struct area *a,
                        const int at[2], const struct chart *c,
                        const struct look *look)
{
    for (int i = 0; i < s->events; i++) {
        int col = chart_col(c, s->event[i].x) / 2;
        if (s->event[i].x < c->x0 || col < 0 || col >= c->raster.w)
            continue;
        int row = area_blank(a, at[0], at[1] + col) ? at[0] : at[0] - 1;
        area_char(a, row, at[1] + col, STYLE_MARK, look->glyphs->event);
    }
}

/* Least (loss) or greatest (accuracy) point. */
static int best_point(const struct copy *c, bool greatest)
{
    int best = -1;
    for (int i = 0; i < c->n; i++) {
        if (!isfinite(c->y[i]))
            continue;
        if (best < 0 || (greatest ? c->y[i] > c->y[best]
                                  : c->y[i] < c->y[best]))
            best = i;
    }
    return best;
}

static char *value_text(char out[NUMBER_TEXT], const struct metric *m,
                        double v)
{
    return m->fraction ? text_fraction(out, v) : text_number(out, v);
}

static int draw_value_items(const struct curves_state *s,
                            const struct area *a, int row)
{
    const struct metric *m = &metrics[s->metric];
    const struct copy *val = &s->copy[0], *train = &s->copy[1];
    char number[NUMBER_TEXT], epoch[NUMBER_TEXT], text[80];
    int col = 1;
    if (val->n) {
        snprintf(text, sizeof text, "val %s",
                 value_text(number, m, val->y[val->n - 1]));
        col = area_item(a, row, col, STYLE_VAL, text);
        int best = best_point(val, m->fraction);
        if (best >= 0) {
            snprintf(text, sizeof text, "best %s @%s",
                     value_text(number, m, val->y[best]),
                     text_number(epoch, val->x[best]));
            col = area_item(a, row, col, STYLE_TEXT, text);
        }
    }
    if (train->n) {
        double last = m->series[0] ? train->smooth[train->n - 1]
                                   : train->y[train->n - 1];
        snprintf(text, sizeof text, "%s %s",
                 m->series[0] ? "train" : m->name,
                 value_text(number, m, last));
        col = area_item(a, row, col, STYLE_TRAIN, text);
    }
    return col;
}

static void draw_legend(const struct curves_state *s, const struct area *a,
                        int row, const struct pane_env *env)
{
    int col = draw_value_items(s, a, row);
    char number[NUMBER_TEXT], text[96], mark[5];
    double fp32 = env->model->status.float_acc;
    if (metrics[s->metric].fraction && isfinite(fp32) && fp32 > 0) {
        snprintf(text, sizeof text, "float %s", text_fraction(number, fp32));
        col = area_item(a, row, col, STYLE_DIM, text);
    }
    if (s->events) {
        const struct event *last = &s->event[s->events - 1];
        utf8_put(env->look->glyphs->event, mark);
        snprintf(text, sizeof text, "%s %s @%s", mark, last->text,
                 text_number(number, last->x));
        area_item(a, row, col, STYLE_MARK, text);
    }
}

static void draw_plot(struct curves_state *s, const struct area *in,
                      int plot_rows, const struct pane_env *env)
{
    const struct metric *m = &metrics[s->metric];
    struct chart c = { .log = s->log };
    struct range x = x_range(s, env->model);
    struct range y = y_range(s, x.lo);
    if (!(y.lo > 0))
        c.log = false;
    round_range(&y, m, c.log);
    y = steady_range(s, y);
    c.x0 = x.lo, c.x1 = x.hi, c.y0 = y.lo, c.y1 = y.hi;
    struct labels labels = make_labels(&c, plot_rows, m->fraction);
    int left = labels.width;
    raster_init(&c.raster, in->w - left - 1, plot_rows);
    if (m->fraction && env->model->status.float_acc > 0)
        chart_level(&c, env->model->status.float_acc, STYLE_DIM);
    const struct copy *val = &s->copy[0], *train = &s->copy[1];
    chart_band(&c, points_from(train, train->y, x.lo), STYLE_BAND);
    chart_line(&c, points_from(train, train->smooth, x.lo), STYLE_TRAIN);
    chart_line(&c, points_from(val, val->y, x.lo), STYLE_VAL);
    chart_markers(&c, points_from(val, val->y, x.lo), STYLE_VAL);
    struct area plot = area_part(in, left, 0, c.raster.w, plot_rows);
    raster_draw(&c.raster, &plot, env->look);
    for (int i = 0; i < labels.n; i++)
        area_right(in, label_row(&labels, i, plot_rows), left - 1, STYLE_DIM,
                   labels.text[i]);
    if (in->h > plot_rows) {
        draw_x_labels(in, plot_rows, left, &c);
        draw_events(s, in, (int[]){ plot_rows, left }, &c, env->look);
    }
    raster_fini(&c.raster);
}

static void draw(struct pane *p, const struct pane_env *env,
                 const struct area *box)
{
    struct curves_state *s = p->state;
    struct pane_head head = { .own_title = metrics[s->metric].title };
    if (s->log)
        head.word[head.n++] = (struct frame_word){ "log", STYLE_WARN };
    if (s->span)
        head.word[head.n++] = (struct frame_word){ spans[s->span].name,
                                                   STYLE_WARN };
    for (int i = 0; i < METRICS; i++) {
        enum style st = i == s->metric ? STYLE_BOLD : STYLE_DIM;
        head.word[head.n++] = (struct frame_word){ metrics[i].name, st };
    }
    struct area in = pane_frame(p, env, box, &head);
    if (s->copied_metric != s->metric || !s->known)
        return;               /* the copy follows at the end of the batch */
    if (s->copy[0].n + s->copy[1].n == 0) {
        pane_message(&in, env->model->n ? "no points yet: train 1"
                                        : "curves appear here");
        return;
    }
    int below = in.h >= 5 ? 2 : in.h >= 3 ? 1 : 0;
    draw_plot(s, &in, in.h - below, env);
    if (below == 2)
        draw_legend(s, &in, in.h - 1, env);
}

/* ---- words ---- */

static enum status next_metric(struct pane *p, const struct pane_env *env,
                               int arg, struct err *e)
{
    (void)env;
    (void)e;
    struct curves_state *s = p->state;
    s->metric = (s->metric + arg + METRICS) % METRICS;
    s->chosen = true;
    return STATUS_OK;
}

static enum status next_span(struct pane *p, const struct pane_env *env,
                             int arg, struct err *e)
{
    (void)env;
    (void)e;
    struct curves_state *s = p->state;
    s->span = (s->span + arg + SPANS) % SPANS;
    return STATUS_OK;
}

static enum status set_span(struct pane *p, const struct pane_env *env,
                            int arg, struct err *e)
{
    (void)env;
    (void)e;
    ((struct curves_state *)p->state)->span = arg;
    return STATUS_OK;
}

static enum status set_log(struct pane *p, const struct pane_env *env,
                           int arg, struct err *e)
{
    (void)env;
    (void)e;
    struct curves_state *s = p->state;
    s->log = arg < 0 ? !s->log : arg;
    return STATUS_OK;
}

static enum status pick(struct pane *p, const struct pane_env *env,
                        const char *words, struct err *e)
{
    (void)env;
    struct curves_state *s = p->state;
    for (int i = 0; i < METRICS; i++) {
        if (!strcmp(metrics[i].name, words)) {
            s->metric = i;
            s->chosen = true;
            return STATUS_OK;
        }
    }
    return err_set(e, STATUS_NOTFOUND,
                   "no curve '%s'; there are acc, loss, lr, grad", words);
}

static const char *shown(const struct pane *p)
{
    const struct curves_state *s = p->state;
    return metrics[s->metric].both;
}

static void init(struct pane *p)
{
    struct curves_state *s = p->state;
    s->metric = metric_named(p->arg);
    s->chosen = p->arg[0] != 0;
}

static void fini(struct pane *p)
{
    struct curves_state *s = p->state;
    for (int i = 0; i < 2; i++) {
        free(s->copy[i].x);
        free(s->copy[i].y);
        free(s->copy[i].smooth);
    }
}

static const struct pane_word words_table[] = {
    { "next", "the next curve", next_metric, 1 },
    { "prev", "the curve before", next_metric, -1 },
    { "span", "full, or the recent fifth", next_span, 1 },
    { "full", "all epochs", set_span, 0 },
    { "recent", "the recent fifth", set_span, 1 },
    { "log", "logarithmic, or not", set_log, -1 },
    { .word = NULL },
};

const struct pane_ops pane_curves = {
    .name = "curves",
    .title = "Curves",
    .help = "accuracy, loss, learning rate, gradient norm over epochs",
    .digit = '2',
    .state_size = sizeof(struct curves_state),
    .init = init,
    .fini = fini,
    .update = update,
    .draw = draw,
    .shown = shown,
    .word = words_table,
    .pick = pick,
};

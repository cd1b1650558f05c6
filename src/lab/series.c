/* What happened over the epochs. SPDX-License-Identifier: GPL-3.0-or-later */
#include "lab/series.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "lab/state.h"

#define SERIES_MAX 64
#define EVENTS_MAX 4096

static struct series *series_get(struct lab *l, const char *name)
{
    struct series_set *s = &l->series;
    int i = lab_series_find(l, name);
    if (i >= 0)
        return &s->series[i];
    s->series = xrealloc(s->series, (size_t)(s->n + 1) * sizeof *s->series);
    struct series *x = &s->series[s->n++];
    *x = (struct series){ .stride = 1 };
    snprintf(x->name, sizeof x->name, "%s", name);
    x->x = xmalloc(SERIES_POINTS * sizeof *x->x);
    x->y = xmalloc(SERIES_POINTS * sizeof *x->y);
    return x;
}

/* A full series keeps every second point, and from then on takes every
 * second one: memory is bounded and the whole history stays in sight. */
void series_add(struct lab *l, const char *name, double x, double y)
{
    struct series *s = series_get(l, name);
    s->last_x = x;
    s->last_y = y;
    if (s->seen++ % s->stride != 0)
        return;
    if (s->n == SERIES_POINTS) {
        for (int i = 0; i < SERIES_POINTS / 2; i++) {
            s->x[i] = s->x[2 * i];
            s->y[i] = s->y[2 * i];
        }
        s->n = SERIES_POINTS / 2;
        s->stride *= 2;
        if ((s->seen - 1) % s->stride != 0)
            return;
    }
    s->x[s->n] = x;
    s->y[s->n++] = y;
}

double series_value(const struct lab *l, const char *name)
{
    int i = lab_series_find(l, name);
    const struct series *s = i < 0 ? NULL : &l->series.series[i];
    return s && s->seen ? s->last_y : (double)NAN;
}

void series_event(struct lab *l, double x, const char *text)
{
    struct series_set *s = &l->series;
    if (s->n_event == EVENTS_MAX)
        return;
    s->event = xrealloc(s->event,
                        (size_t)(s->n_event + 1) * sizeof *s->event);
    s->event[s->n_event++] = (struct mark_view){ .x = x,
                                                 .text = xstrdup(text) };
}

static void set_fini(struct series_set *s)
{
    for (int i = 0; i < s->n; i++) {
        free(s->series[i].x);
        free(s->series[i].y);
    }
    for (int i = 0; i < s->n_event; i++) {
        union {
            const char *text;
            char *own;
        } u = { .text = s->event[i].text };
        free(u.own);
    }
    free(s->series);
    free(s->event);
    *s = (struct series_set){ 0 };
}

void series_clear(struct lab *l)
{
    set_fini(&l->series);
    l->gen.metrics++;
}

int lab_series_count(const struct lab *l)
{
    return l->series.n;
}

struct series_view lab_series(const struct lab *l, int i)
{
    const struct series *s = &l->series.series[i];
    return (struct series_view){ .name = s->name, .x = s->x, .y = s->y,
                                 .n = s->n };
}

int lab_series_find(const struct lab *l, const char *name)
{
    for (int i = 0; i < l->series.n; i++)
        if (strcmp(l->series.series[i].name, name) == 0)
            return i;
    return -1;
}

int lab_event_marks(const struct lab *l, const struct mark_view **out)
{
    *out = l->series.event;
    return l->series.n_event;
}

/* ---- to and from a bag: text "series", tensors "series.NAME" (2, n) ---- */

static enum status save_one(const struct series *s, struct bag *b,
                            struct err *e)
{
    char key[40];
    struct shape shape = shape_2(2, s->n);
    double *xy = xmalloc((size_t)(2 * s->n + 1) * sizeof *xy);
    memcpy(xy, s->x, (size_t)s->n * sizeof *xy);
    memcpy(xy + s->n, s->y, (size_t)s->n * sizeof *xy);
    snprintf(key, sizeof key, "series.%s", s->name);
    enum status st = s->n ? bag_put(b, key, DTYPE_F64, &shape, xy, e)
                          : STATUS_OK;
    free(xy);
    return st;
}

enum status series_save(const struct lab *l, struct bag *b, struct err *e)
{
    struct str text = { 0 }, events = { 0 };
    enum status st = STATUS_OK;
    for (int i = 0; i < l->series.n && !st; i++) {
        const struct series *s = &l->series.series[i];
        str_printf(&text, "%s %" PRId64 " %" PRId64 " %.17g %.17g\n", s->name,
                   s->seen, s->stride, s->last_x, s->last_y);
        st = save_one(s, b, e);
    }
    for (int i = 0; i < l->series.n_event; i++)
        str_printf(&events, "%.17g %s\n", l->series.event[i].x,
                   l->series.event[i].text);
    if (!st)
        st = bag_put_text(b, "series", str_text(&text), e);
    if (!st)
        st = bag_put_text(b, "series.events", str_text(&events), e);
    str_fini(&text);
    str_fini(&events);
    return st;
}

static enum status load_one(struct lab *l, const struct bag *b,
                            const char *line, struct err *e)
{
    struct series in = { 0 };
    int used = 0;
    if (sscanf(line, "%23s %" SCNd64 " %" SCNd64 " %lf %lf%n", in.name,
               &in.seen, &in.stride, &in.last_x, &in.last_y, &used) != 5 ||
        in.seen < 0 || in.stride < 1 || l->series.n >= SERIES_MAX)
        return err_set(e, STATUS_FORMAT, "bad line in 'series': %.60s", line);
    struct series *s = series_get(l, in.name);
    s->seen = in.seen;
    s->stride = in.stride;
    s->last_x = in.last_x;
    s->last_y = in.last_y;
    char key[40];
    snprintf(key, sizeof key, "series.%s", in.name);
    const struct tensor *t = bag_get(b, key);
    if (!t)
        return STATUS_OK;
    if (t->type != DTYPE_F64 || t->shape.rank != 2 || t->shape.dim[0] != 2 ||
        t->shape.dim[1] > SERIES_POINTS)
        return err_set(e, STATUS_FORMAT, "tensor '%s' is no series", key);
    s->n = (int)t->shape.dim[1];
    const double *xy = t->data;
    memcpy(s->x, xy, (size_t)s->n * sizeof *xy);
    memcpy(s->y, xy + s->n, (size_t)s->n * sizeof *xy);
    return STATUS_OK;
}

static void load_event(struct lab *l, const char *line)
{
    char *end;
    double x = strtod(line, &end);
    if (end != line && *end == ' ')
        series_event(l, x, end + 1);
}

enum status series_load(struct lab *l, const struct bag *b, struct err *e)
{
    struct series_set old = l->series;
    enum status st = STATUS_OK;
    l->series = (struct series_set){ 0 };
    const char *keys[2] = { "series", "series.events" };
    for (int k = 0; k < 2 && !st; k++) {
        char *text = xstrdup(bag_text(b, keys[k]) ? bag_text(b, keys[k])
                                                  : ""), *rest = text;
        for (char *line; !st && (line = strsep(&rest, "\n"));) {
            if (!*line)
                continue;
            if (k == 0)
                st = load_one(l, b, line, e);
            else
                load_event(l, line);
        }
        free(text);
    }
    if (st) {
        set_fini(&l->series);
        l->series = old;
        return st;
    }
    set_fini(&old);
    l->gen.metrics++;
    return STATUS_OK;
}

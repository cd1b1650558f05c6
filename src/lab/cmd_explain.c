/* Command: explain. A point's quantizer with today's numbers.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "lab/layer_stats.h"
#include "lab/point_list.h"
#include "lab/state.h"
#include "lab/tensor_view.h"

/* One point at work: its tensor, and the value that goes through it. */
struct subject {
    const struct point *point;
    struct quantizer *q;      /* a copy of the point's: nothing moves */
    bool found;               /* its range was found here, from the weights */
    struct fetched f;         /* x NULL: no data to take it from */
    real *x;                  /* what the quantizer sees */
    struct qview view;
    int64_t at;               /* of the example in x, in channel 0 */
    real y, dx;
};

static bool has_range(const struct quantizer *q)
{
    return q->ready || q->spec.kind->flags & QK_OWN_SCALE;
}

static struct quantizer *copy_state(const struct quantizer *q)
{
    struct quantizer *now = NULL;
    if (!has_range(q) || quantizer_new(&q->spec, q->channels, &now, NULL))
        return NULL;
    memcpy(now->state, q->state, (size_t)q->n_state * sizeof *q->state);
    now->ready = q->ready;
    now->stale = q->stale;
    return now;
}

/* As the next forward pass will have it; NULL: without a range. */
static void take_quantizer(struct lab *l, struct subject *s, int point)
{
    const struct quantizer *q = s->point->q;
    real *x = s->point->kind == POINT_WEIGHT
                  ? layer_weight_values(l, s->point->node)
                  : NULL;
    s->found = x && (!q->ready || q->stale);
    s->q = x ? layer_weight_quantizer(l, point, x) : copy_state(q);
    free(x);
    if (!s->q)
        return;
    s->q->learn = q->learn;
    s->q->n_elem = q->n_elem;
    s->q->steps = q->steps;
}

/* The first value of channel 0 that is not 0. */
static int64_t find_example(const struct subject *s)
{
    const struct qview *v = &s->view;
    for (int64_t o = 0; o < v->outer; o++)
        for (int64_t i = 0; i < v->inner; i++)
            if (s->x[o * v->channels * v->inner + i] != 0)
                return o * v->channels * v->inner + i;
    return 0;
}

/* The point's tensor; where none can be had, a value a channel, seven tenths
 * up the range. */
static void take_values(struct lab *l, struct subject *s)
{
    const struct quantizer *q = s->q;
    bool has = lab_fetch(l, s->point->name, &s->f, NULL) == STATUS_OK;
    if (has) {
        s->view = quantizer_view(q, &s->f.shape, s->f.axis);
        has = s->view.channels == q->channels && s->f.n > 0;
    }
    if (!has)
        s->view = (struct qview){ 1, q->channels, 1 };
    int64_t n = s->view.outer * s->view.channels * s->view.inner;
    s->x = xmalloc((size_t)n * sizeof *s->x);
    for (int64_t i = 0; i < n; i++)
        s->x[i] = has ? (real)s->f.x[i]
                      : q->lo[i] + REAL(0.7) * (q->hi[i] - q->lo[i]);
    s->at = has ? find_example(s) : 0;
}

/* Forward, and backward with dy = 1 at the example and 0 elsewhere. */
static void push_through(struct subject *s)
{
    const struct quantizer_kind *k = s->q->spec.kind;
    size_t n = (size_t)(s->view.outer * s->view.channels * s->view.inner);
    real *y = xmalloc(n * sizeof *y), *dy = xmalloc(n * sizeof *dy);
    k->forward(s->q, s->x, y, s->view, false);
    s->y = y[s->at];
    memset(dy, 0, n * sizeof *dy);
    dy[s->at] = 1;
    quantizer_zero_grad(s->q);
    k->backward(s->q, s->x, dy, y, s->view);
    s->dx = y[s->at];
    free(y);
    free(dy);
}

/* ---- telling ---- */

static void span_of(const real *v, int64_t n, double *lo, double *hi)
{
    *lo = *hi = (double)v[0];
    for (int64_t i = 1; i < n; i++) {
        *lo = fmin(*lo, (double)v[i]);
        *hi = fmax(*hi, (double)v[i]);
    }
}

static void print_head(const struct subject *s, struct str *out)
{
    const struct quantizer *q = s->point->q;
    str_add_clean(out, s->point->name);
    str_add(out, ": ");
    qspec_print(&q->spec, out);
    str_printf(out, "  fake %s, observer %s, learn %s\n%s%s%s\n",
               q->fake ? "on" : "off", q->observe ? "on" : "off",
               q->learn ? "on" : "off", q->spec.kind->help,
               q->spec.kind->source ? "; " : "",
               q->spec.kind->source ? q->spec.kind->source : "");
}

static void print_range(const struct subject *s, struct str *out)
{
    const struct quantizer *q = s->q;
    const struct observer *o = q->observer;
    double a, b, c, d;
    span_of(q->lo, q->channels, &a, &b);
    span_of(q->hi, q->channels, &c, &d);
    if (q->channels > 1)
        str_printf(out, "range of %lld %s: from %s .. %s to %s .. %s",
                   (long long)q->channels,
                   q->spec.grain == GRAIN_GROUP ? "groups" : "channels",
                   num_text(a).s, num_text(b).s, num_text(c).s,
                   num_text(d).s);
    else
        str_printf(out, "range: %s to %s", num_text(a).s, num_text(c).s);
    if (q->spec.kind->flags & QK_OWN_SCALE)
        str_add(out, ", the kind's own");
    else if (q->learn)
        str_add(out, ", learned");
    else if (s->found)
        str_printf(out, ", from today's weights by %s", o->kind->name);
    else
        str_printf(out, ", observer %s", o->kind->name);
    if (q->stale)
        str_add(out, "; the quantizer was changed since: `calibrate`");
    str_char(out, '\n');
    if (!(q->spec.kind->flags & QK_OWN_SCALE) && o->kind->describe)
        o->kind->describe(o, &q->spec, out);
}

static void print_gradient(const struct subject *s, struct str *out)
{
    const struct quantizer *q = s->q;
    const struct qrow *row = q->spec.kind->learned;
    str_printf(out, "dy = 1 at this value: dx = %s", num_text((double)s->dx).s);
    for (int i = 0; q->learn && row && row[i].name; i++)
        str_printf(out, ", d%s = %s", row[i].name,
                   num_text((double)q->grad[i * q->channels]).s);
    str_char(out, '\n');
}

static void print_stats(const struct subject *s, struct str *out)
{
    const struct qstats *st = &s->f.st;
    if (s->f.has_stats)
        str_printf(out, "all %lld values: sqnr %s dB, mse %s, clipped %s, "
                        "%lld levels used\n", (long long)st->count,
                   num_text(st->sqnr_db).s, num_text(st->mse).s,
                   num_percent((double)st->clipped / (double)st->count).s,
                   (long long)st->levels);
}

static void answer(struct lab *l, const struct subject *s)
{
    const struct quantizer *q = s->q;
    const struct qrow *row = q->spec.kind->learned;
    struct str spec = { 0 };
    qspec_print(&q->spec, &spec);
    answer_text(l, "point", s->point->name);
    answer_text(l, "quantizer", str_text(&spec));
    answer_num(l, "scale", (double)q->scale[0]);
    answer_num(l, "zero_point", (double)q->zero_point[0]);
    answer_num(l, "lo", (double)q->lo[0]);
    answer_num(l, "hi", (double)q->hi[0]);
    answer_num(l, "x", (double)s->x[s->at]);
    answer_num(l, "y", (double)s->y);
    answer_num(l, "dx", (double)s->dx);
    for (int i = 0; q->learn && row && row[i].name; i++) {
        char name[64];
        snprintf(name, sizeof name, "d%s", row[i].name);
        answer_num(l, name, (double)q->grad[i * q->channels]);
    }
    str_fini(&spec);
}

static void explain_values(struct lab *l, struct subject *s,
                           const struct arg *value, struct str *out)
{
    take_values(l, s);
    if (value) {
        s->at = 0;
        s->x[0] = (real)value->number;
    }
    push_through(s);
    print_range(s, out);
    if (s->q->channels > 1)
        str_add(out, "channel 0:\n");
    str_printf(out, "x = %.9g\n", (double)s->x[s->at]);
    s->q->spec.kind->describe(s->q, s->x[s->at], out);
    print_gradient(s, out);
    print_stats(s, out);
}

static void explain_point(struct lab *l, const struct args *a, int point,
                          bool first, struct out *out)
{
    struct subject s = { .point = &l->graph->point[point] };
    struct str text = { 0 };
    print_head(&s, &text);
    take_quantizer(l, &s, point);
    if (s.q)
        explain_values(l, &s, args_find(a, "x"), &text);
    else
        str_add(&text, "no range yet: `calibrate` finds one, or training\n");
    if (!first)
        out_printf(out, OUT_RESULT, " ");
    out_text(out, OUT_RESULT, str_text(&text));
    if (first && s.q)
        answer(l, &s);
    str_fini(&text);
    quantizer_free(s.q);
    free(s.x);
    fetched_fini(&s.f);
}

static enum status exec_explain(struct lab *l, const struct args *a,
                                struct out *out, struct err *e)
{
    const struct arg *value = args_find(a, "x");
    struct point_list p;
    if (value && !isfinite((real)value->number))
        return args_fail(a, value, e, "x= wants a finite number");
    TRY(points_of(l, a, "points", &p, e));
    for (int i = 0; i < p.n; i++)
        explain_point(l, a, p.point[i], i == 0, out);
    answer_num(l, "count", p.n);
    point_list_fini(&p);
    return STATUS_OK;
}

static const struct arg_row explain_args[] = {
    { .name = "points", .kind = ARG_SELECTOR, .required = true,
      .help = "which points: conv2.w; a layer means all of its" },
    { .name = "x", .kind = ARG_NUMBER, .key = true,
      .help = "the value to follow; one of the tensor's own" },
    { 0 },
};

const struct cmd cmd_explain = {
    .name = "explain", .group = "look",
    .help = "follow a value through a point's quantizer",
    .detail =
        "Prints the quantizer as it stands: flags, range and where it came "
        "from, the formula with today's numbers and a value through every "
        "step (of channel 0 where there are several), its gradient, and what "
        "the quantizer does to the whole tensor. Activations need data to be "
        "loaded; without, the value is seven tenths up the range. Nothing "
        "moves.",
    .arg = explain_args,
    .flags = NEEDS_MODEL | NEEDS_QUANT | CMD_RESULT,
    .example_setup = "load model jet; bits fc1 w=4",
    .example = "explain fc1.w x=0.11", .exec = exec_explain,
};

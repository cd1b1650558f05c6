/* Diagnosis. SPDX-License-Identifier: GPL-3.0-or-later */
#include "lab/diagnose.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "lab/cmd.h"
#include "lab/json_text.h"
#include "lab/layer_stats.h"
#include "lab/state.h"
#include "lab/tensor_view.h"

#define BLOCKED_SHARE 0.5     /* of values clipped: most gradient is gone */
#define NAMES_MAX 5

/* ---- gathering names ---- */

struct names {
    struct str *out;
    int n;
};

static void names_add(struct names *s, const char *name)
{
    if (s->n < NAMES_MAX) {
        str_add(s->out, s->n ? " " : "");
        str_add_clean(s->out, name);
    } else if (s->n == NAMES_MAX) {
        str_add(s->out, " ...");
    }
    s->n++;
}

/* Names of the points for which the test holds. */
static bool points_where(struct lab *l, struct str *detail,
                         bool (*test)(struct lab *l, int point))
{
    struct names s = { .out = detail };
    for (int i = 0; l->graph && i < l->graph->n_point; i++)
        if (l->graph->point[i].q && test(l, i))
            names_add(&s, l->graph->point[i].name);
    return s.n > 0;
}

static const struct quantizer *quantizer_at(const struct lab *l, int point)
{
    return l->graph->point[point].q;
}

/* ---- rows ---- */

static bool fake_off(struct lab *l, int point)
{
    const struct quantizer *q = quantizer_at(l, point);
    return q->observe && !q->fake;
}

static bool holds_fake_off(struct lab *l, struct str *detail)
{
    return points_where(l, detail, fake_off);
}

static bool stale(struct lab *l, int point)
{
    const struct quantizer *q = quantizer_at(l, point);
    return q->stale && !q->observe && q->fake && !q->learn;
}

static bool holds_stale(struct lab *l, struct str *detail)
{
    return points_where(l, detail, stale);
}

static bool holds_bn_live(struct lab *l, struct str *detail)
{
    struct names s = { .out = detail };
    int fixed = 0, live = 0;
    if (!l->graph)
        return false;
    for (int i = 0; i < l->graph->n_point; i++) {
        const struct point *pt = &l->graph->point[i];
        if (!pt->q || !pt->q->fake || pt->kind != POINT_OUT || pt->q->learn)
            continue;
        fixed += !pt->q->observe;
        live += pt->q->observe;
    }
    for (int i = 0; i < l->graph->n_node; i++) {
        const struct node *n = &l->graph->node[i];
        if (n->op->flags & OP_BATCH_NORM && !n->bn_frozen && !n->bn_folded)
            names_add(&s, n->name);
    }
    return fixed > 0 && live == 0 && s.n > 0;
}

static bool observing(struct lab *l, int point)
{
    return quantizer_at(l, point)->observe;
}

static bool holds_elsewhere(struct lab *l, struct str *detail)
{
    bool other = l->observed && l->origin.data &&
                 strcmp(l->observed, l->origin.data) != 0;
    return other && points_where(l, detail, observing);
}

static bool holds_no_flips(struct lab *l, struct str *detail)
{
    double flips = series_value(l, "flips");
    if (!l->layers.code || isnan(flips) || flips > 0)
        return false;
    str_printf(detail, "lr %s", num_text(l->train.hyper.lr).s);
    return true;
}

/* A channel whose weights all are zero, or all become zero. */
static bool zero_channel(struct lab *l, int point)
{
    const struct point *pt = &l->graph->point[point];
    struct quantizer q = *pt->q;
    if (pt->kind != POINT_WEIGHT || !q.ready || !q.fake)
        return false;
    const struct param *w = layer_weight(l->graph, pt->node);
    real *x = layer_weight_values(l, pt->node);
    struct shape shape;
    int axis;
    point_shape(l->graph, point, &shape, &axis);
    q.observe = false;
    quantizer_forward(&q, x, x, quantizer_view(&q, &shape, axis), false);
    int64_t channels = shape.dim[0], inner = w->count / channels;
    bool found = false;
    for (int64_t c = 0; c < channels && !found; c++) {
        bool zero = true;
        for (int64_t i = c * inner; i < (c + 1) * inner && zero; i++)
            zero = x[i] == 0;
        found = zero;
    }
    free(x);
    return found;
}

static bool holds_zero_channel(struct lab *l, struct str *detail)
{
    return points_where(l, detail, zero_channel);
}

/* Every output of the layer is the same number, whatever comes in. */
static bool dead_layer(struct lab *l, int point)
{
    const struct point *pt = &l->graph->point[point];
    struct plan *p;
    if (pt->kind != POINT_OUT || lab_probe(l, false, &p, NULL))
        return false;
    struct shape s = l->graph->node[pt->at].shape;
    s.dim[0] = plan_options(p)->batch;
    int64_t n = shape_count(&s);
    float *x = xmalloc((size_t)(n + 1) * sizeof *x);
    bool dead = plan_value(p, pt->at, false, x, NULL) == STATUS_OK && n > 1;
    for (int64_t i = 1; i < n && dead; i++)
        dead = x[i] == x[0];
    free(x);
    return dead;
}

static bool holds_dead_layer(struct lab *l, struct str *detail)
{
    return points_where(l, detail, dead_layer);
}

static bool blocked(struct lab *l, int point)
{
    const struct point *pt = &l->graph->point[point];
    struct fetched f;
    struct err e;
    if (!pt->q->fake || (pt->kind != POINT_OUT && pt->kind != POINT_WEIGHT) ||
        lab_fetch(l, pt->name, &f, &e))
        return false;
    bool most = f.q && f.st.count > 0 &&
                (double)f.st.clipped > BLOCKED_SHARE * (double)f.st.count;
    fetched_fini(&f);
    return most;
}

static bool holds_blocked(struct lab *l, struct str *detail)
{
    return points_where(l, detail, blocked);
}

/* ---- telling ---- */

static void tell(struct lab *l, const struct diagnosis *d, const char *detail)
{
    struct str s = { 0 };
    out_printf(l->out, OUT_WARN, "warning: %s: %s (%s)", d->name, d->help,
               detail);
    json_text(&s, "name", d->name);
    json_text(&s, "msg", d->help);
    json_text(&s, "where", detail);
    stream_event(l, "warn", str_text(&s));
    str_fini(&s);
}

/* A row is told once, and again only after it did not hold. */
static void look(struct lab *l, unsigned flags)
{
    if (!l->graph)
        return;
    for (int i = 0; i < diagnosis_count; i++) {
        const struct diagnosis *d = &diagnosis_table[i];
        struct str detail = { 0 };
        if (!(d->flags & flags))
            continue;
        bool holds = d->holds(l, &detail);
        if (holds && !(l->warned & 1u << i))
            tell(l, d, str_text(&detail));
        l->warned = holds ? l->warned | 1u << i : l->warned & ~(1u << i);
        str_fini(&detail);
    }
}

void diagnose_after(struct lab *l, unsigned cmd_flags)
{
    if (cmd_flags & (CMD_CHANGES | CMD_RECORDED))
        look(l, DIAG_CHEAP);
}

void diagnose_epoch(struct lab *l)
{
    look(l, DIAG_CHEAP | DIAG_EPOCH);
}

/* A model that only guesses has collapsed: the reason is searched for. */
void diagnose_eval(struct lab *l, double acc, int64_t classes)
{
    if (classes > 1 && lab_any_quant(l) && acc < 1.5 / (double)classes)
        look(l, DIAG_EVAL | DIAG_PROBE);
}

int diagnose_all(struct lab *l, struct str *out)
{
    int n = 0;
    for (int i = 0; l->graph && i < diagnosis_count; i++) {
        const struct diagnosis *d = &diagnosis_table[i];
        struct str detail = { 0 };
        if (d->holds(l, &detail)) {
            str_printf(out, "warning: %s: %s (%s)\n", d->name, d->help,
                       str_text(&detail));
            n++;
        }
        str_fini(&detail);
    }
    return n;
}

const struct diagnosis diagnosis_table[] = {
    { .name = "fake off", .flags = DIAG_CHEAP, .holds = holds_fake_off,
      .help = "observers watch while fake-quantization is off; `enable "
              "fake` trains with the grid, `disable observer` keeps the "
              "range" },
    { .name = "stale range", .flags = DIAG_CHEAP, .holds = holds_stale,
      .help = "the grid changed after its range was found, and the observer "
              "is off; `enable observer` and `calibrate` find a new one" },
    { .name = "batch norm live", .flags = DIAG_EPOCH, .holds = holds_bn_live,
      .help = "ranges are fixed but batch norm still moves what they were "
              "found for; `freeze bn`" },
    { .name = "other data", .flags = DIAG_CHEAP, .holds = holds_elsewhere,
      .help = "observers are on and will move to data other than what they "
              "learned from; `disable observer *`" },
    { .name = "nothing moves", .flags = DIAG_EPOCH, .holds = holds_no_flips,
      .help = "no weight code changed in the last epoch: the learning rate "
              "is too small for the grid" },
    { .name = "zero channel", .flags = DIAG_EVAL,
      .holds = holds_zero_channel,
      .help = "all weights of a channel are zero on the grid; more bits, or "
              "`range .. mse`" },
    { .name = "dead layer", .flags = DIAG_PROBE, .holds = holds_dead_layer,
      .help = "the output is the same number for every input; more bits, or "
              "an error-minimising range" },
    { .name = "blocked gradient", .flags = DIAG_PROBE,
      .holds = holds_blocked,
      .help = "more than half of the values lie outside the range, so they "
              "pass no gradient; widen the range, or learn it" },
};
const int diagnosis_count =
    sizeof diagnosis_table / sizeof diagnosis_table[0];

/* The status row. SPDX-License-Identifier: GPL-3.0-or-later */
#include "lab/status_view.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/cpu.h"
#include "lab/state.h"

/* Widths in use, for "QAT w4a4": one each, or several. */
struct widths {
    int lo, hi, n;
};

static void widths_add(struct widths *w, int bits)
{
    w->lo = w->n && w->lo < bits ? w->lo : bits;
    w->hi = w->n && w->hi > bits ? w->hi : bits;
    w->n++;
}

static void widths_text(const struct widths *w, char letter, struct str *out)
{
    if (!w->n)
        return;
    str_printf(out, "%c%d", letter, w->lo);
    if (w->hi != w->lo)
        str_printf(out, "/%d", w->hi);
}

static void precision_text(struct lab *l, char *out, size_t size)
{
    struct widths w = { 0 }, a = { 0 };
    const struct graph *g = l->graph;
    for (int i = 0; g && i < g->n_point; i++) {
        const struct quantizer *q = g->point[i].q;
        bool input = g->node[g->point[i].node].op->flags & OP_SOURCE;
        if (!q || !q->fake || input)
            continue;
        if (g->point[i].kind == POINT_WEIGHT)
            widths_add(&w, q->spec.bits);
        else if (g->point[i].kind == POINT_OUT)
            widths_add(&a, q->spec.bits);
    }
    struct str s = { 0 };
    widths_text(&w, 'w', &s);
    widths_text(&a, 'a', &s);
    bool mixed = w.lo != w.hi || a.lo != a.hi;
    if (s.len)
        snprintf(out, size, "QAT %s%s", str_text(&s), mixed ? " mixed" : "");
    else
        snprintf(out, size, "float");
    str_fini(&s);
}

static void recording_text(const struct lab *l, char *out, size_t size)
{
    const struct record *r = &l->record;
    snprintf(out, size, "%s%s%s", r->qat_path ? r->qat_path : "",
             r->qat_path && r->jsonl_path ? " " : "",
             r->jsonl_path ? r->jsonl_path : "");
}

/* Where the goal ends, and when, once a few batches have been timed. */
static void goal_view(struct lab *l, struct status_view *v)
{
    const struct goal *g = &l->goal;
    if (!g->active)
        return;
    int64_t now = trainer_steps(l->trainer);
    v->seconds = l->opts.deterministic ? 0 : clock_seconds() - g->started;
    if (g->end != INT64_MAX) {
        double left = (double)(g->end - now);
        v->goal_epoch = v->epoch + left / (double)v->batches;
        if (now - g->begin >= 10 && l->speed > 0)
            v->eta = left / l->speed;
    }
    if (g->deadline > 0)
        v->eta = g->deadline - clock_seconds();
}

static const char *run_text(const struct lab *l)
{
    return l->goal.active            ? "RUN"
           : l->goal.failure.status  ? "BREAK"
           : l->script.paused        ? "PAUSED"
                                     : "IDLE";
}

void lab_status_view(struct lab *l, struct status_view *out)
{
    *out = (struct status_view){ .eta = (double)NAN,
                                 .goal_epoch = (double)NAN };
    snprintf(out->model, sizeof out->model, "%s",
             l->graph ? l->graph->name : "");
    snprintf(out->data, sizeof out->data, "%s", l->data ? l->data->name : "");
    snprintf(out->run, sizeof out->run, "%s", run_text(l));
    precision_text(l, out->precision, sizeof out->precision);
    out->epoch = lab_epoch(l);
    if (l->trainer) {
        out->batch = trainer_batch(l->trainer);
        out->batches = trainer_batches(l->trainer);
    }
    out->lr = metric_find("lr")->get(l);
    out->train_loss = l->epoch.n ? l->epoch.loss
                                 : series_value(l, "train_loss");
    out->train_acc = l->epoch.n ? l->epoch.acc
                                : series_value(l, "train_acc");
    out->val_loss = series_value(l, "val_loss");
    out->val_acc = series_value(l, "val_acc");
    out->float_acc = l->float_acc;
    out->batches_per_second = l->opts.deterministic ? 0 : l->speed;
    out->bytes = lab_model_bits(l) / 8;
    recording_text(l, out->recording, sizeof out->recording);
    goal_view(l, out);
    if (!l->graph)
        snprintf(out->hint, sizeof out->hint,
                 "load model lenet5; load data digits");
    else if (!l->data)
        snprintf(out->hint, sizeof out->hint, "load data digits");
}

/* ---- its fields ---- */

#define AT(m) offsetof(struct status_view, m)

const struct status_field status_field_table[] = {
    { "model", "", STATUS_FIELD_TEXT, AT(model), "name of the model" },
    { "data", "", STATUS_FIELD_TEXT, AT(data), "name of the data set" },
    { "run", "", STATUS_FIELD_TEXT, AT(run),
      "IDLE, RUN, PAUSED (an interrupted script) or BREAK (training failed)" },
    { "precision", "", STATUS_FIELD_TEXT, AT(precision),
      "float, or the widths in use" },
    { "epoch", "", STATUS_FIELD_NUMBER, AT(epoch), "epochs trained" },
    { "batch", "", STATUS_FIELD_COUNT, AT(batch), "batches of this epoch" },
    { "batches", "", STATUS_FIELD_COUNT, AT(batches), "batches an epoch" },
    { "goal_epoch", "", STATUS_FIELD_NUMBER, AT(goal_epoch),
      "where the present goal ends" },
    { "eta", "s", STATUS_FIELD_SECONDS, AT(eta), "time left" },
    { "seconds", "s", STATUS_FIELD_SECONDS, AT(seconds),
      "time since the goal began" },
    { "lr", "", STATUS_FIELD_NUMBER, AT(lr), "learning rate" },
    { "train_loss", "", STATUS_FIELD_NUMBER, AT(train_loss),
      "mean loss of this epoch so far" },
    { "train_acc", "fraction", STATUS_FIELD_PERCENT, AT(train_acc),
      "mean accuracy of this epoch so far" },
    { "val_loss", "", STATUS_FIELD_NUMBER, AT(val_loss),
      "loss on the validation split" },
    { "val_acc", "fraction", STATUS_FIELD_PERCENT, AT(val_acc),
      "accuracy on the validation split" },
    { "float_acc", "fraction", STATUS_FIELD_PERCENT, AT(float_acc),
      "last accuracy in float" },
    { "batches_per_second", "1/s", STATUS_FIELD_NUMBER,
      AT(batches_per_second), "speed" },
    { "bytes", "bytes", STATUS_FIELD_BYTES, AT(bytes),
      "size of all parameters at their widths" },
    { "recording", "", STATUS_FIELD_TEXT, AT(recording),
      "files a record goes to" },
    { "hint", "", STATUS_FIELD_TEXT, AT(hint), "what could come next" },
};
const int status_field_count =
    sizeof status_field_table / sizeof status_field_table[0];

static struct num bytes_or_none(double v)
{
    return v > 0 ? num_bytes(v) : num_text(0);
}

static struct num (*const number_text[])(double v) = {
    [STATUS_FIELD_NUMBER] = num_text,     [STATUS_FIELD_COUNT] = num_text,
    [STATUS_FIELD_PERCENT] = num_percent, [STATUS_FIELD_SECONDS] = num_seconds,
    [STATUS_FIELD_BYTES] = bytes_or_none,
};

double status_field_number(const struct status_view *v,
                           const struct status_field *f)
{
    const char *at = (const char *)v + f->offset;
    if (f->kind == STATUS_FIELD_TEXT)
        return (double)NAN;
    if (f->kind == STATUS_FIELD_COUNT) {
        int64_t n;
        memcpy(&n, at, sizeof n);
        return (double)n;
    }
    double x;
    memcpy(&x, at, sizeof x);
    return x;
}

void status_field_text(const struct status_view *v,
                       const struct status_field *f, struct str *out)
{
    if (f->kind == STATUS_FIELD_TEXT)
        str_add_clean(out, (const char *)v + f->offset);
    else if (!isnan(status_field_number(v, f)))
        str_add(out, number_text[f->kind](status_field_number(v, f)).s);
}

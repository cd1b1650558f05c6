/* Goals: one batch a call, an evaluation at the end of each epoch.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "lab/goal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "lab/diagnose.h"
#include "lab/json_text.h"
#include "lab/layer_stats.h"
#include "lab/point_list.h"
#include "lab/state.h"

/* ---- the trainer ---- */

double lab_epoch(const struct lab *l)
{
    return l->trainer ? trainer_epoch(l->trainer) : 0;
}

void lab_drop_trainer(struct lab *l)
{
    trainer_free(l->trainer);
    l->trainer = NULL;
    bag_free(l->trainer_waits);
    l->trainer_waits = NULL;
    l->epoch = (struct epoch_sums){ 0 };
}

enum status lab_trainer(struct lab *l, struct err *e)
{
    if (l->trainer)
        return STATUS_OK;
    TRY(lab_check_fit(l, e));
    TRY(trainer_new(l->graph, l->data, &l->train, &l->trainer, e));
    if (!l->trainer_waits)
        return STATUS_OK;
    enum status s = trainer_load(l->trainer, l->trainer_waits, e);
    if (s) {
        trainer_free(l->trainer);
        l->trainer = NULL;
        return s;
    }
    bag_free(l->trainer_waits);
    l->trainer_waits = NULL;
    return STATUS_OK;
}

/* ---- evaluation ---- */

enum mode lab_mode(const struct lab *l)
{
    for (int i = 0; l->graph && i < l->graph->n_point; i++)
        if (l->graph->point[i].q && l->graph->point[i].q->fake)
            return MODE_FAKE;
    return MODE_FLOAT;
}

enum status lab_eval(struct lab *l, const struct eval_ask *q,
                     struct metrics *out, struct err *e)
{
    struct tick tick = lab_tick(l);
    struct eval_opts o = {
        .graph = l->graph,
        .data = l->data,
        .split = q->split,
        .mode = q->mode,
        .batch = l->tool.eval_batch,
        .limit = q->limit,
        .settings = &l->train,
        .tick = &tick,
        .cache = q->trained ? NULL : l->cache,
        .reused = &l->reused,
    };
    struct muted muted = { 0 };
    if (q->mode == MODE_FAKE)
        muted_begin(l, &muted);
    enum status s = eval_run(&o, out, e);
    muted_end(l, &muted);
    return s;
}

/* ---- setting a goal ---- */

void goal_fini(struct goal *g)
{
    free(g->text);
    free(g->source);
    free(g->line_text);
    free(g->until);
    *g = (struct goal){ 0 };
}

/* The place is copied: its frame may be gone when the goal fails. */
static void goal_place(struct goal *g, const struct where *w)
{
    if (!w)
        return;
    g->source = w->source ? xstrdup(w->source) : NULL;
    g->line_text = xstrdup(w->text);
    g->where = *w;
    g->where.source = g->source;
    g->where.text = g->line_text;
}

static enum status set_rate(struct lab *l, double lr, struct err *e)
{
    struct train_settings s = l->train;
    if (!isnan(lr))
        s.hyper.lr = lr;
    return trainer_set(l->trainer, &s, e);
}

enum status goal_set(struct lab *l, const struct goal_spec *spec,
                     struct err *e)
{
    TRY(lab_trainer(l, e));
    TRY(set_rate(l, spec->lr, e));
    if (spec->epochs > 0)
        trainer_goal(l->trainer, spec->epochs);
    struct goal *g = &l->goal;
    int64_t now = trainer_steps(l->trainer);
    goal_fini(g);
    *g = (struct goal){
        .active = true,
        .text = xstrdup(spec->text),
        .begin = now,
        .recorded = now,
        .end = spec->steps > INT64_MAX - now ? INT64_MAX : now + spec->steps,
        .deadline = spec->seconds > 0 ? clock_seconds() + spec->seconds : 0,
        .until = spec->until ? xstrdup(spec->until) : NULL,
        .epochs = spec->epochs,
        .lr = spec->lr,
        .started = clock_seconds(),
    };
    goal_place(g, l->where);
    l->gen.metrics++;
    return STATUS_OK;
}

bool goal_resume(struct lab *l)
{
    struct goal *g = &l->goal;
    if (g->active || !g->interrupted || !l->trainer)
        return false;
    int64_t now = trainer_steps(l->trainer);
    if (now < g->begin || now >= g->end)
        return false;
    if (set_rate(l, g->lr, NULL))
        return false;
    g->active = true;
    g->interrupted = false;
    g->begin = now;
    g->recorded = now;
    g->goal_recorded = true;             /* the schedule's goal goes on */
    if (g->deadline > 0)
        g->deadline = clock_seconds() + 1e-3;
    g->started = clock_seconds();
    l->gen.metrics++;
    return true;
}

/* ---- its end ---- */

static void answer_goal(struct lab *l)
{
    struct goal *g = &l->goal;
    double seconds = clock_seconds() - g->started;
    answer_begin(l);
    answer_num(l, "epoch", lab_epoch(l));
    answer_num(l, "batch", (double)trainer_batch(l->trainer));
    answer_num(l, "steps", (double)(trainer_steps(l->trainer) - g->begin));
    answer_num(l, "train_loss", series_value(l, "train_loss"));
    answer_num(l, "train_acc", series_value(l, "train_acc"));
    answer_num(l, "val_loss", series_value(l, "val_loss"));
    answer_num(l, "val_acc", series_value(l, "val_acc"));
    answer_num(l, "seconds", l->opts.deterministic ? 0 : seconds);
}

static void stream_goal(struct lab *l)
{
    struct str s = { 0 };
    json_num(&s, "of", (double)l->record.command_seq);
    json_key(&s, "ok");
    json_raw(&s, "true");
    answer_json(l, &s);
    stream_event(l, "result", str_text(&s));
    str_fini(&s);
}

void goal_finish(struct lab *l, enum status why)
{
    struct goal *g = &l->goal;
    if (!g->active)
        return;
    record_steps(l, why == STATUS_STOPPED ? "stopped" : NULL);
    g->active = false;
    g->interrupted = why == STATUS_STOPPED || why == STATUS_LIMIT;
    diagnose_settle(l);
    set_rate(l, (double)NAN, NULL);      /* `lr=` was for this goal only */
    answer_goal(l);
    if (why == STATUS_OK || why == STATUS_STOPPED)
        stream_goal(l);
    l->gen.metrics++;
}

/* What an epoch or more has led to. */
static void goal_diagnose(struct lab *l)
{
    bool whole = trainer_steps(l->trainer) - l->goal.begin >=
                 trainer_batches(l->trainer);
    struct diagnose_result r = { series_value(l, "val_acc"),
                                 series_value(l, "val_loss"),
                                 l->data->classes };
    if (whole)
        diagnose_result(l, &r);
}

/* ---- one batch ---- */

static void mean_add(double *mean, double x, int64_t before, int64_t n)
{
    *mean += (x - *mean) * (double)n / (double)(before + n);
}

static void stream_batch(struct lab *l, const struct batch_result *r)
{
    struct str s = { 0 };
    if (!l->tool.json_batches || !stream_wanted(l))
        return;
    json_num(&s, "epoch", lab_epoch(l));
    json_num(&s, "batch", (double)trainer_batch(l->trainer));
    json_num(&s, "loss", r->loss);
    json_num(&s, "acc", r->acc);
    json_num(&s, "lr", r->lr);
    json_num(&s, "grad_norm", r->grad_norm);
    stream_event(l, "batch", str_text(&s));
    str_fini(&s);
}

static void batch_done(struct lab *l, const struct batch_result *r)
{
    struct epoch_sums *sum = &l->epoch;
    double x = lab_epoch(l);
    mean_add(&sum->loss, r->loss, sum->n, r->n);
    mean_add(&sum->acc, r->acc, sum->n, r->n);
    sum->n += r->n;
    sum->seconds += r->seconds;
    sum->preempted += (double)r->preempted;
    double speed = r->seconds > 0 ? 1 / r->seconds : 0;
    l->speed = l->speed > 0 ? 0.9 * l->speed + 0.1 * speed : speed;
    series_add(l, "loss", x, r->loss);
    series_add(l, "acc", x, r->acc);
    series_add(l, "lr", x, r->lr);
    series_add(l, "grad_norm", x, r->grad_norm);
    stream_batch(l, r);
    l->gen.metrics++;
}

/* Progress, not a result: batch mode keeps it off standard output. */
static void print_epoch(struct lab *l, const struct metrics *val)
{
    struct str s = { 0 };
    bool classes = l->data->classes > 0;
    if (l->tool.progress == PROGRESS_NONE)
        return;
    str_printf(&s, "epoch %s  loss %s", num_text(lab_epoch(l)).s,
               num_text(l->epoch.loss).s);
    if (classes)
        str_printf(&s, "  acc %s", num_percent(l->epoch.acc).s);
    if (val) {
        str_printf(&s, "  val_loss %s", num_text(val->loss).s);
        if (classes)
            str_printf(&s, "  val_acc %s", num_percent(val->acc).s);
        else
            str_printf(&s, "  val_mae %s", num_text(val->mae).s);
    }
    str_printf(&s, "  %s", num_seconds(lab_clock(l) > 0 ? l->epoch.seconds
                                                        : 0).s);
    out_printf(l->out, OUT_NOTE, "%s", str_text(&s));
    str_fini(&s);
}

static void stream_epoch(struct lab *l, const struct metrics *val)
{
    struct str s = { 0 };
    json_num(&s, "epoch", lab_epoch(l));
    json_num(&s, "train_loss", l->epoch.loss);
    json_num(&s, "train_acc", l->epoch.acc);
    if (val) {
        json_text(&s, "mode", mode_name[lab_mode(l)]);
        json_num(&s, "val_loss", val->loss);
        json_num(&s, "val_acc", val->acc);
    }
    json_num(&s, "lr", series_value(l, "lr"));
    json_num(&s, "flips", series_value(l, "flips"));
    json_num(&s, "osc", series_value(l, "osc"));
    json_num(&s, "seconds", lab_clock(l) > 0 ? l->epoch.seconds : 0);
    stream_event(l, "epoch", str_text(&s));
    str_fini(&s);
}

static void epoch_series(struct lab *l, const struct metrics *val)
{
    double x = lab_epoch(l);
    series_add(l, "train_loss", x, l->epoch.loss);
    series_add(l, "train_acc", x, l->epoch.acc);
    if (!val)
        return;
    series_add(l, "val_loss", x, val->loss);
    if (l->data->classes > 0)
        series_add(l, "val_acc", x, val->acc);
    else
        series_add(l, "val_mae", x, val->mae);
}

static enum status epoch_done(struct lab *l, struct err *e)
{
    struct metrics val;
    struct eval_ask ask = { .split = SPLIT_VAL, .mode = lab_mode(l),
                            .limit = l->tool.eval_limit,
                            .trained = true };
    bool has_val = dataset_size(l->data, SPLIT_VAL) > 0;
    enum status s = has_val ? lab_eval(l, &ask, &val, e) : STATUS_OK;
    const struct metrics *m = has_val && !s ? &val : NULL;
    epoch_series(l, m);
    trainer_epoch_loss(l->trainer, m ? m->loss : l->epoch.loss);
    motion_epoch(l);
    print_epoch(l, m);
    stream_epoch(l, m);
    l->last_epoch = l->epoch;
    l->epoch = (struct epoch_sums){ 0 };
    l->gen.metrics++;
    diagnose_epoch(l);
    return s;
}

/* ---- the goal's test ---- */

static enum status until_met(struct lab *l, bool *met, struct err *e)
{
    struct expr_env env = { .lab = l };
    struct expr_result r;
    int fault;
    *met = false;
    if (!l->goal.until)
        return STATUS_OK;
    TRY(expr_eval(&env, l->goal.until, &r, &fault, e));
    *met = value_true(&r.value);
    return STATUS_OK;
}

static enum status goal_fail(struct lab *l, enum status s, struct err *e)
{
    struct goal *g = &l->goal;
    err_clear(&g->failure);
    bool stopped = s == STATUS_STOPPED;
    if (!stopped) {
        g->failure = *e;
        g->failure.status = s;
    }
    goal_finish(l, s);
    if (stopped) {
        out_printf(l->out, OUT_NOTE, "stopped at epoch %.3f", lab_epoch(l));
        l->causes |= g->where.source ? 1u << STATUS_STOPPED : 0;
        return s;
    }
    if (l->nesting == 0)
        dispatch_report(l, &g->where, 0, e);
    if (g->where.source && l->nesting == 0)
        l->causes |= 1u << s;
    return s;
}

enum status goal_work(struct lab *l)
{
    struct err e = { 0 };
    struct goal *g = &l->goal;
    struct batch_result r;
    struct tick tick = lab_tick(l);
    bool met = false;

    enum status s = l->interrupt ? STATUS_STOPPED : events_run(l, &e);
    if (!s && !g->active)
        return STATUS_OK;                /* an event stopped it */
    if (!s) {
        motion_sync(l);
        s = trainer_step(l->trainer, &tick, &r, &e);
    }
    if (s)
        return goal_fail(l, s, &e);
    batch_done(l, &r);
    if (r.epoch_end) {
        s = epoch_done(l, &e);
        if (!s)
            s = until_met(l, &met, &e);
    }
    if (s)
        return goal_fail(l, s, &e);
    bool done = met || trainer_steps(l->trainer) >= g->end ||
                (g->deadline > 0 && clock_seconds() >= g->deadline);
    if (done) {
        goal_finish(l, STATUS_OK);
        goal_diagnose(l);
    } else if (l->interrupt)
        return goal_fail(l, STATUS_STOPPED, &e);
    return STATUS_OK;
}

/* ---- events ---- */

enum status events_run(struct lab *l, struct err *e)
{
    double now = lab_epoch(l);
    for (int i = 0; i < l->events.n; i++) {
        struct event *v = &l->events.event[i];
        if (v->done || now < v->epoch - 1e-9)
            continue;
        v->done = true;
        out_printf(l->out, OUT_NOTE, "at epoch %s: %s", num_text(v->epoch).s,
                   v->text);
        enum status s = dispatch_nested(l, v->text, &l->goal.where, e);
        if (s)
            return err_wrap(e, s, "at %s", num_text(v->epoch).s);
    }
    return STATUS_OK;
}

void events_fini(struct event_list *v)
{
    for (int i = 0; i < v->n; i++)
        free(v->event[i].text);
    free(v->event);
    *v = (struct event_list){ 0 };
}

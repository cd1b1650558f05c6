/* The lab: one unit of work a call.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "lab/lab.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "lab/json_text.h"
#include "lab/state.h"
#include "lab/tensor_view.h"

struct lab *lab_new(const struct lab_opts *o, struct err *e)
{
    struct lab *l = xmalloc(sizeof *l);
    *l = (struct lab){ .opts = *o, .out = o->out, .cursor = -1,
                       .quit_code = -1, .float_acc = (double)NAN };
    l->started = clock_seconds();
    l->qconfig = &qconfig_table[0];
    train_settings_default(&l->train);
    settings_default(l);
    /* Without it everything is computed. */
    if (prefix_cache_new((size_t)l->tool.cache * 1000000, &l->cache, NULL))
        l->cache = NULL;
    l->train.seed = o->seed;
    l->tool.threads = o->threads;
    if (o->threads > 0)
        omp_set_num_threads(o->threads);
    else if (omp_get_max_threads() == omp_get_num_procs())
        omp_set_num_threads(cpu_get()->cores);      /* a quota may be less */
    enum status s = STATUS_OK;
    if (o->record)
        s = record_open(l, o->record, e);
    if (s) {
        lab_free(l);
        return NULL;
    }
    stream_start(l);
    return l;
}

void lab_free(struct lab *l)
{
    if (!l)
        return;
    lab_end(l);
    goal_fini(&l->goal);
    events_fini(&l->events);
    record_close(l);
    history_clear(l);
    series_clear(l);
    lab_probe_drop(l);
    lab_drop_trainer(l);
    lab_set_graph(l, NULL);
    dataset_free(l->data);
    prefix_cache_free(l->cache);
    script_fini(&l->script);
    answer_fini(&l->ans);
    vars_fini(&l->vars);
    str_fini(&l->result);
    free(l->origin.model);
    free(l->origin.data);
    free(l->observed);
    for (int i = 0; i < DIAGNOSES; i++)
        free(l->told[i]);
    free(l);
}

void lab_set_hooks(struct lab *l, const struct lab_hooks *h)
{
    l->hooks = *h;
}

/* ---- submitting ---- */

static void append(struct frame **first, struct frame **last, struct frame *f)
{
    f->below = NULL;
    if (*last)
        (*last)->below = f;
    else
        *first = f;
    *last = f;
}

void lab_submit(struct lab *l, const char *line, struct source from)
{
    struct script *s = &l->script;
    struct frame *f = frame_new(from.name, line, from.line ? from.line : 1);
    if (from.name)
        append(&s->queue, &s->queue_end, f);
    else
        append(&s->typed, &s->typed_end, f);
}

enum status lab_submit_file(struct lab *l, const char *path, int argc,
                            const char *const *argv, struct err *e)
{
    struct frame *f;
    TRY(frame_read(path, &f, e));
    frame_args(f, argc, argv);
    append(&l->script.queue, &l->script.queue_end, f);
    return STATUS_OK;
}

/* ---- state ---- */

bool lab_training(const struct lab *l)
{
    return l->goal.active;
}

bool lab_busy(const struct lab *l)
{
    const struct script *s = &l->script;
    if (l->quit)
        return false;
    return l->goal.active || s->typed ||
           (s->paused ? script_has_typed(s) : !script_empty(s));
}

bool lab_wants_quit(const struct lab *l)
{
    return l->quit;
}

struct lab_generation lab_generation(const struct lab *l)
{
    return l->gen;
}

/* Highest-priority cause first. */
static const enum status cause_order[] = {
    STATUS_STOPPED, STATUS_IO,  STATUS_FORMAT,   STATUS_NUMERIC,
    STATUS_EXPECT,  STATUS_LIMIT, STATUS_USAGE,  STATUS_FAIL,
    STATUS_ARG,     STATUS_NOTFOUND, STATUS_STATE, STATUS_MEM,
};

int lab_exit_code(const struct lab *l)
{
    for (size_t i = 0; i < sizeof cause_order / sizeof cause_order[0]; i++)
        if (l->causes & 1u << cause_order[i])
            return status_exit_code(cause_order[i]);
    return l->quit_code > 0 ? l->quit_code : 0;
}

void lab_end(struct lab *l)
{
    if (l->record.ended)
        return;
    struct str s = { 0 };
    l->record.ended = true;
    json_num(&s, "exit", lab_exit_code(l));
    stream_event(l, "end", str_text(&s));
    str_fini(&s);
}

/* ---- working ---- */

void lab_interrupt(struct lab *l, int level)
{
    if (level > l->interrupt)
        l->interrupt = level;
}

static enum status tick_fn(void *ctx)
{
    struct lab *l = ctx;
    if (l->opts.tick.fn) {
        enum status s = l->opts.tick.fn(l->opts.tick.ctx);
        if (s)
            return s;
    }
    /* Training ends at the batch at level 1; anything else long, and the
     * batch at level 2, ends here. */
    bool now = l->interrupt >= 2 || (l->interrupt == 1 && !l->goal.active);
    return now ? STATUS_STOPPED : STATUS_OK;
}

struct tick lab_tick(struct lab *l)
{
    return (struct tick){ .fn = tick_fn, .ctx = l };
}

static bool over_limit(struct lab *l)
{
    return l->opts.limit_seconds > 0 && !l->limit_hit &&
           clock_seconds() - l->started > l->opts.limit_seconds;
}

static enum status hit_limit(struct lab *l)
{
    struct err e = { 0 };
    l->limit_hit = true;
    err_set(&e, STATUS_LIMIT, "the limit of %s is reached",
            num_seconds(l->opts.limit_seconds).s);
    if (l->goal.active)
        goal_finish(l, STATUS_LIMIT);
    struct where w = { .source = "--limit", .text = "", .line = 1 };
    dispatch_report(l, &w, 0, &e);
    script_clear(&l->script);
    l->causes |= 1u << STATUS_LIMIT;
    return STATUS_LIMIT;
}

/* After a failure the rest of that script, or of that typed line, is
 * dropped, unless we are to keep going. */
static void drop_failed(struct lab *l, bool prompt)
{
    struct script *s = &l->script;
    if (!prompt && !script_has_typed(s)) {
        if (!l->opts.keep_going)
            script_clear(s);
        return;
    }
    while (script_has_typed(s))
        script_pop(s);
}

/* An interrupt pauses scripts; at level 2, and where nobody could go on with
 * them, they are dropped. */
static void settle_interrupt(struct lab *l)
{
    struct script *s = &l->script;
    bool drop = l->interrupt >= 2 || !l->opts.interactive;
    l->interrupt = 0;
    if (script_empty(s))
        return;
    if (drop) {
        script_clear(s);
        out_printf(l->out, OUT_NOTE, "stopped; the rest of the script is "
                                     "dropped");
        return;
    }
    s->paused = true;
    for (struct frame *f = s->top; f; f = f->below)
        f->interrupted = true;
    out_printf(l->out, OUT_NOTE, "stopped; `continue` goes on with the "
                                 "script, `stop` drops it");
}

static enum status settle(struct lab *l, enum status s, bool prompt)
{
    if (s == STATUS_STOPPED || l->interrupt)
        settle_interrupt(l);
    else if (s)
        drop_failed(l, prompt);
    script_trim(&l->script);
    return s;
}

/* A line typed while training runs at the batch boundary, all of it. */
static enum status work_typed_now(struct lab *l, struct frame *f)
{
    enum status s = STATUS_OK;
    for (int i = 0; i < f->n && !s; i++)
        s = dispatch_where(l, &f->item[i]);
    frame_free(f);
    return s;
}

static enum status work_typed(struct lab *l)
{
    struct script *s = &l->script;
    struct frame *f = s->typed;
    s->typed = f->below;
    if (!s->typed)
        s->typed_end = NULL;
    if (l->goal.active)
        return work_typed_now(l, f);
    /* A paused script waits below; the line runs first. */
    script_push(s, f);
    return STATUS_OK;
}

static enum status work_goal(struct lab *l)
{
    bool prompt = !l->goal.where.source;
    enum status s = goal_work(l);
    return s || !l->goal.active ? settle(l, s, prompt) : STATUS_OK;
}

enum status lab_work(struct lab *l)
{
    struct script *s = &l->script;
    if (over_limit(l))
        return hit_limit(l);
    /* One typed line after the other: the next waits for the one that runs,
     * unless that one trains or was interrupted. */
    if (s->typed && (l->goal.active || !script_runs_typed(s)))
        return work_typed(l);
    if (l->goal.active)
        return work_goal(l);
    if (s->paused && !script_has_typed(s))
        return STATUS_OK;
    const struct where *w = script_next(l);
    if (!w || l->quit)
        return STATUS_OK;
    bool prompt = !w->source;
    return settle(l, dispatch_where(l, w), prompt);
}

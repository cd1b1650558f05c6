/* The trainer. A step touches weights and slots last of all, when nothing can
 * fail any more; what the forward pass moves before that (running statistics,
 * observers, streams, the place in the data) is copied first and put back
 * when the batch is given up. SPDX-License-Identifier: GPL-3.0-or-later */
#include "train/train_impl.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "train/metrics.h"

static_assert(sizeof(real) == sizeof(float), "optimisers work on floats");

void train_settings_default(struct train_settings *s)
{
    *s = (struct train_settings){
        .loss = loss_find("ce"),
        .optimizer = optimizer_find("adam"),
        .schedule = schedule_find("constant"),
        .quant_lr_factor = 1.0,
        .quant_decay = true,
        .batch = 64,
        .shuffle = true,
        .bn_fold = FOLD_QAT,
        .grad = GRAD_AUTO,
        .backend = backend_find("fast"),
        .seed = 1,
    };
    s->optimizer->defaults(&s->hyper);
    memcpy(s->schedule_param, s->schedule->param_default,
           sizeof s->schedule_param);
}

/* ---- making ---- */

static enum status make_streams(struct trainer *t, struct err *e)
{
    for (int i = 0; trainer_streams[i] != RNG_STREAMS; i++) {
        enum rng_stream which = trainer_streams[i];
        t->stream[which] = rng_new(t->set.seed, which);
        if (!t->stream[which])
            return err_memory(e, "random streams");
    }
    return STATUS_OK;
}

static void begin_epoch(struct trainer *t)
{
    if (t->set.shuffle)
        batcher_shuffle(&t->feed.batcher, t->stream[RNG_SHUFFLE]);
    else
        batcher_rewind(&t->feed.batcher);
}

static enum status trainer_make(struct trainer *t, struct err *e)
{
    TRY(feed_check(t->graph, t->data, t->set.loss, e));
    TRY(make_streams(t, e));
    TRY(feed_init(&t->feed, t->data, SPLIT_TRAIN, t->set.batch, e));
    TRY(slots_fit(&t->slots, t->set.optimizer, t->graph, e));
    feed_limit(&t->feed, t->set.epoch_batches);
    t->feed.batcher.augment = t->set.augment;
    begin_epoch(t);
    return STATUS_OK;
}

enum status trainer_new(struct graph *g, const struct dataset *d,
                        const struct train_settings *s, struct trainer **out,
                        struct err *e)
{
    struct trainer *t = mem_alloc(1, sizeof *t);
    if (!t)
        return err_memory(e, "trainer");
    t->graph = g;
    t->data = d;
    t->set = *s;
    schedule_state_init(&t->heard);
    enum status status = trainer_make(t, e);
    if (status != STATUS_OK) {
        trainer_free(t);
        return status;
    }
    *out = t;
    return STATUS_OK;
}

void trainer_free(struct trainer *t)
{
    if (!t)
        return;
    feed_fini(&t->feed);
    slots_fini(&t->slots);
    watch_fini(&t->watch);
    for (int i = 0; i < RNG_STREAMS; i++)
        rng_free(t->stream[i]);
    mem_free(t->undo);
    mem_free(t);
}

static bool needs_plans(const struct train_settings *a,
                        const struct train_settings *b)
{
    return a->bn_fold != b->bn_fold || a->grad != b->grad ||
           a->backend != b->backend || a->forward != b->forward ||
           a->target != b->target || a->sums != b->sums;
}

enum status trainer_set(struct trainer *t, const struct train_settings *s,
                        struct err *e)
{
    TRY(feed_check(t->graph, t->data, s->loss, e));
    struct slots fresh = { 0 };
    bool other = s->optimizer != t->set.optimizer;
    if (other)
        TRY(slots_fit(&fresh, s->optimizer, t->graph, e));
    enum status status = feed_resize(&t->feed, s->batch, e);
    if (status != STATUS_OK) {
        slots_fini(&fresh);
        return status;
    }
    if (other) {
        slots_fini(&t->slots);
        t->slots = fresh;
    }
    if (needs_plans(s, &t->set))
        feed_drop_plans(&t->feed);
    if (s->schedule != t->set.schedule)
        schedule_state_init(&t->heard);
    t->set = *s;
    feed_limit(&t->feed, s->epoch_batches);
    t->feed.batcher.augment = s->augment;
    trainer_roll_epoch(t);
    return STATUS_OK;
}

/* ---- the place in the data ---- */

/* A single sample left over is passed by: batch norm has no variance of one.
 */
void trainer_roll_epoch(struct trainer *t)
{
    int64_t left = feed_next_rows(&t->feed);
    if (left > 1 || (left == 1 && t->feed.batch == 1))
        return;
    t->epoch++;
    begin_epoch(t);
}

double trainer_epoch(const struct trainer *t)
{
    const struct feed *f = &t->feed;
    return (double)t->epoch +
           (double)f->batcher.position / (double)f->limit;
}

int64_t trainer_batch(const struct trainer *t)
{
    return t->feed.batcher.position / t->feed.batch;
}

int64_t trainer_batches(const struct trainer *t)
{
    int64_t n = t->feed.limit, batch = t->feed.batch;
    return n / batch + (n % batch > 1 ? 1 : 0);
}

int64_t trainer_steps(const struct trainer *t)
{
    return t->steps;
}

void trainer_goal(struct trainer *t, double epochs)
{
    t->goal_start = trainer_epoch(t);
    t->goal_epochs = epochs;
    schedule_state_init(&t->heard);
}

void trainer_epoch_loss(struct trainer *t, double loss)
{
    const struct schedule_row *s = t->set.schedule;
    if (s->listen)
        s->listen(&t->heard, loss, t->set.hyper.lr, t->set.schedule_param);
}

static double learning_rate(const struct trainer *t)
{
    double epoch = trainer_epoch(t) - t->goal_start;
    return t->set.hyper.lr * t->heard.factor *
           t->set.schedule->factor(epoch, t->goal_epochs,
                                   t->set.schedule_param);
}

/* ---- what a batch may have to put back ---- */

static enum status fit_undo(struct trainer *t, struct err *e)
{
    size_t graph_bytes = graph_state_bytes(t->graph);
    size_t bytes = graph_bytes;
    for (int i = 0; trainer_streams[i] != RNG_STREAMS; i++)
        bytes += rng_state_size(t->stream[trainer_streams[i]]);
    if (bytes != t->undo_bytes) {
        void *fresh = mem_alloc(bytes, 1);
        if (!fresh)
            return err_memory(e, "a copy of the statistics");
        mem_free(t->undo);
        t->undo = fresh;
        t->undo_bytes = bytes;
    }
    t->graph_bytes = graph_bytes;
    return STATUS_OK;
}

static void take_undo(struct trainer *t)
{
    unsigned char *at = t->undo;
    graph_state_get(t->graph, at);
    at += t->graph_bytes;
    for (int i = 0; trainer_streams[i] != RNG_STREAMS; i++) {
        const struct rng *r = t->stream[trainer_streams[i]];
        rng_state_get(r, at);
        at += rng_state_size(r);
    }
}

static void put_undo(struct trainer *t, int64_t position)
{
    const unsigned char *at = t->undo;
    graph_state_set(t->graph, at);
    at += t->graph_bytes;
    for (int i = 0; trainer_streams[i] != RNG_STREAMS; i++) {
        struct rng *r = t->stream[trainer_streams[i]];
        rng_state_set(r, at);
        at += rng_state_size(r);
    }
    t->feed.batcher.position = position;
}

/* Stochastic rounding draws from the trainer's stream, but only while a batch
 * runs: the graph outlives the trainer. */
static void lend_stream(struct trainer *t, struct rng *r)
{
    for (int i = 0; i < t->graph->n_point; i++)
        if (t->graph->point[i].q)
            t->graph->point[i].q->rng = r;
}

/* ---- one batch ---- */

static enum status name_bad_value(const struct plan *p, const struct graph *g,
                                  double loss, struct err *e)
{
    int at = plan_find_nonfinite(p);
    if (isnan(loss))
        loss = fabs(loss);    /* x86 makes NaNs with a sign: "-nan" */
    if (at < 0)
        return err_set(e, STATUS_NUMERIC, "loss is %g", loss);
    return err_set(e, STATUS_NUMERIC, "layer %s gives a value that is not "
                   "finite; loss is %g", g->node[at].name, loss);
}

static enum status name_bad_gradient(const struct graph *g, struct err *e)
{
    for (int i = 0; i < g->n_learned; i++) {
        const struct param *p = &g->param[i];
        if (!p->frozen && !isfinite(optim_square_sum(p->grad, p->count)))
            return err_set(e, STATUS_NUMERIC, "gradient of %s is not finite",
                           p->name);
    }
    for (int i = 0; i < g->n_point; i++) {
        const struct quantizer *q = g->point[i].q;
        if (slots_moves_quant(q) &&
            !isfinite(optim_square_sum(q->grad, q->n_learned)))
            return err_set(e, STATUS_NUMERIC, "gradient of the quantizer at "
                           "%s is not finite", g->point[i].name);
    }
    return err_set(e, STATUS_NUMERIC, "a gradient is not finite");
}

/* First of the parameters after `from` that do not form one stretch with it:
 * neighbours in both blocks, learning, of one age. */
static int end_of_run(const struct trainer *t, int from)
{
    const struct param *p = t->graph->param;
    int to = from + 1;
    while (to < t->graph->n_learned && !p[to].frozen &&
           t->slots.age[to] == t->slots.age[from] &&
           p[to].value == p[to - 1].value + p[to - 1].count &&
           p[to].grad == p[to - 1].grad + p[to - 1].count)
        to++;
    return to;
}

static int64_t run_length(const struct graph *g, int from, int to)
{
    return g->param[to - 1].grad + g->param[to - 1].count -
           g->param[from].grad;
}

static double gradient_square_sum(const struct trainer *t)
{
    const struct graph *g = t->graph;
    double sum = 0.0;
    for (int i = 0, to; i < g->n_learned; i = to) {
        to = i + 1;
        if (g->param[i].frozen)
            continue;
        to = end_of_run(t, i);
        sum += optim_square_sum(g->param[i].grad, run_length(g, i, to));
    }
    for (int i = 0; i < g->n_point; i++)
        if (slots_moves_quant(g->point[i].q))
            sum += optim_square_sum(g->point[i].q->grad,
                                    g->point[i].q->n_learned);
    return sum;
}

/* As torch's clip_grad_norm_. */
static void clip_gradients(struct trainer *t, double norm)
{
    double factor = t->set.clip_norm / (norm + 1e-6);
    if (t->set.clip_norm <= 0.0 || factor >= 1.0)
        return;
    const struct graph *g = t->graph;
    for (int i = 0; i < g->n_learned; i++)
        optim_scale(g->param[i].grad, g->param[i].count, (float)factor);
    for (int i = 0; i < g->n_point; i++)
        if (slots_moves_quant(g->point[i].q))
            optim_scale(g->point[i].q->grad, g->point[i].q->n_learned,
                        (float)factor);
}

static void move_parameters(struct trainer *t, const struct optim_hyper *h)
{
    const struct graph *g = t->graph;
    for (int i = 0, to; i < g->n_learned; i = to) {
        to = i + 1;
        if (g->param[i].frozen)
            continue;
        to = end_of_run(t, i);
        float *slot[OPTIM_MAX_SLOTS] = { NULL };
        for (int k = 0; k < t->slots.count; k++)
            slot[k] = t->slots.slot[k] + (g->param[i].grad - g->grad_block);
        t->set.optimizer->step(h, t->slots.age[i] + 1, run_length(g, i, to),
                               g->param[i].value, g->param[i].grad, slot);
        for (int j = i; j < to; j++)
            t->slots.age[j]++;
    }
}

static void move_quantizers(struct trainer *t, const struct optim_hyper *h)
{
    struct optim_hyper mine = *h;
    mine.lr *= t->set.quant_lr_factor;
    if (!t->set.quant_decay)
        mine.weight_decay = 0.0;
    for (int i = 0; i < t->graph->n_point; i++) {
        struct quantizer *q = t->graph->point[i].q;
        if (!slots_moves_quant(q))
            continue;
        struct quant_slots *s =
            slots_find_quant(&t->slots, t->graph->point[i].name);
        assert(s && s->n == q->n_learned);
        t->set.optimizer->step(&mine, ++s->age, s->n, q->learned, q->grad,
                               s->slot);
        if (q->spec.kind->refresh)
            q->spec.kind->refresh(q);
    }
}

/* Everything that can fail: forward, loss, backward, and whether the numbers
 * are numbers. */
static enum status compute_batch(struct trainer *t, struct plan *p, int64_t n,
                                 const struct tick *tick,
                                 struct batch_result *out, struct err *e)
{
    struct loss_input in;
    TRY(feed_batch(&t->feed, p, n, t->stream[RNG_AUGMENT], &in, e));
    TRY(plan_forward(p, tick, e));
    in.out = plan_output(p);
    in.smoothing = t->set.smoothing;
    out->loss = t->set.loss->run(&in, plan_output_grad(p));
    if (!isfinite(out->loss))
        return name_bad_value(p, t->graph, out->loss, e);
    out->acc = in.label ? (double)metrics_right(&in) / (double)n : 0.0;
    TRY(plan_backward(p, tick, e));
    out->grad_norm = sqrt(gradient_square_sum(t));
    if (!isfinite(out->grad_norm))
        return name_bad_gradient(t->graph, e);
    return STATUS_OK;
}

static enum status next_plan(struct trainer *t, int64_t n, struct plan **out,
                             struct err *e)
{
    struct plan_opts o;
    plan_opts_default(&o);
    o.graph = t->graph;
    o.mode = MODE_FAKE;
    o.train = true;
    o.fold = t->set.bn_fold;
    o.grad = t->set.grad;
    o.backend = t->set.backend;
    o.deployed = t->set.forward == FORWARD_DEPLOYED;
    o.target = t->set.target;
    o.sums = t->set.sums;
    o.dropout = t->stream[RNG_DROPOUT];
    return feed_plan(&t->feed, &o, n, out, e);
}

enum status trainer_step(struct trainer *t, const struct tick *tick,
                         struct batch_result *out, struct err *e)
{
    double start = clock_seconds();
    int64_t preemptions = clock_preemptions();
    int64_t n = feed_next_rows(&t->feed), position = t->feed.batcher.position;
    int64_t epoch = t->epoch;
    struct plan *plan;
    TRY(slots_fit(&t->slots, t->set.optimizer, t->graph, e));
    TRY(next_plan(t, n, &plan, e));
    TRY(fit_undo(t, e));
    take_undo(t);
    struct batch_result result = { .n = n, .lr = learning_rate(t) };
    lend_stream(t, t->stream[RNG_ROUND]);
    enum status s = compute_batch(t, plan, n, tick, &result, e);
    lend_stream(t, NULL);
    if (s != STATUS_OK) {
        put_undo(t, position);
        return s == STATUS_STOPPED
                   ? s
                   : err_wrap(e, s, "epoch %" PRId64 ", batch %" PRId64,
                              t->epoch, trainer_batch(t));
    }
    clip_gradients(t, result.grad_norm);
    struct optim_hyper h = t->set.hyper;
    h.lr = result.lr;
    move_parameters(t, &h);
    move_quantizers(t, &h);
    t->steps++;
    trainer_roll_epoch(t);
    result.epoch_end = t->epoch != epoch;
    struct watch_batch seen = { .graph = t->graph, .fold = t->set.bn_fold,
                                .batch = t->set.batch,
                                .epoch_end = result.epoch_end };
    watch_step(&t->watch, &seen);
    result.preempted = clock_preemptions() - preemptions;
    result.seconds = clock_seconds() - start;
    *out = result;
    return STATUS_OK;
}

/* ---- looking ---- */

const struct train_settings *trainer_settings(const struct trainer *t)
{
    return &t->set;
}

struct plan *trainer_plan(struct trainer *t)
{
    return t->feed.full ? t->feed.full : t->feed.rest;
}

size_t trainer_bytes(const struct trainer *t)
{
    size_t bytes = sizeof *t + t->undo_bytes + watch_bytes(&t->watch);
    bytes += (size_t)t->slots.count * (size_t)t->slots.n * sizeof(float);
    if (t->feed.full)
        bytes += plan_bytes(t->feed.full);
    if (t->feed.rest)
        bytes += plan_bytes(t->feed.rest);
    return bytes;
}

void trainer_motion(const struct trainer *t, int point, struct motion *out)
{
    const struct watch *w = &t->watch;
    *out = point < w->n_point ? w->point[point].motion
                              : motion_unknown;
}

int64_t trainer_motion_batches(const struct trainer *t)
{
    return t->watch.measured;
}

void trainer_resync(struct trainer *t, bool weights)
{
    watch_resync(&t->watch, weights);
}

const char *const train_forward_name[FORWARD_COUNT] = {"fake", "deployed"};

const enum rng_stream trainer_streams[] = {
    RNG_SHUFFLE, RNG_AUGMENT, RNG_DROPOUT, RNG_ROUND, RNG_STREAMS,
};

/* Evaluation, calibration and inference: forward passes that train nothing.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "base/arena.h"
#include "train/feed.h"
#include "train/metrics.h"
#include "train/pass.h"

#define DEFAULT_BATCH 250

static struct plan_opts forward_opts(const struct eval_opts *o,
                                     const struct train_settings *set)
{
    struct plan_opts p;
    plan_opts_default(&p);
    p.graph = o->graph;
    p.mode = o->mode;
    p.fold = set->bn_fold;
    p.backend = set->backend;
    p.target = set->target;
    p.sums = set->sums;
    return p;
}

static struct train_settings settings_of(const struct eval_opts *o)
{
    struct train_settings set;
    if (o->settings)
        set = *o->settings;
    else
        train_settings_default(&set);
    return set;
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static enum status eval_walk(struct pass *pass,
                             const struct train_settings *set,
                             struct metric_sum *sum, struct err *e)
{
    struct feed *f = pass->feed;
    struct plan_opts p = forward_opts(pass->o, set);
    int64_t left = pass->rows;
    for (int64_t n; (n = smaller(feed_next_rows(f), left)) > 0; left -= n) {
        struct plan *plan;
        struct loss_input in;
        TRY(feed_plan(f, &p, n, &plan, e));
        /* The last batch under a limit asks for fewer than the split has. */
        f->batcher.batch = n;
        enum status s = pass_batch(pass, plan, n, &in, e);
        f->batcher.batch = f->batch;
        TRY(s);
        in.smoothing = set->smoothing;
        metrics_add(sum, &in, set->loss->run(&in, NULL));
    }
    return STATUS_OK;
}

enum status eval_run(const struct eval_opts *o, struct metrics *out,
                     struct err *e)
{
    struct train_settings set = settings_of(o);
    struct feed f;
    struct pass pass;
    struct metric_sum sum = { 0 };
    TRY(feed_check(o->graph, o->data, set.loss, e));
    TRY(feed_init(&f, o->data, o->split,
                  o->batch > 0 ? o->batch : DEFAULT_BATCH, e));
    pass_init(&pass, o, &f,
              smaller(f.limit, o->limit > 0 ? o->limit : f.limit));
    enum status s = eval_walk(&pass, &set, &sum, e);
    pass_fini(&pass);
    feed_fini(&f);
    if (s == STATUS_OK)
        metrics_finish(&sum, out);
    return s;
}

static enum status calibrate_walk(struct pass *pass,
                                  const struct train_settings *set,
                                  int64_t batches, struct err *e)
{
    struct feed *f = pass->feed;
    struct plan_opts p = forward_opts(pass->o, set);
    p.mode = MODE_FAKE;       /* a float plan has no points */
    p.observe_only = true;
    for (int64_t i = 0, n; i < batches && (n = feed_next_rows(f)) > 0; i++) {
        struct plan *plan;
        struct loss_input in;
        TRY(feed_plan(f, &p, n, &plan, e));
        TRY(pass_batch(pass, plan, n, &in, e));
    }
    return STATUS_OK;
}

enum status calibrate_run(const struct eval_opts *o, int64_t batches,
                          struct err *e)
{
    struct train_settings set = settings_of(o);
    struct feed f;
    TRY(feed_check(o->graph, o->data, set.loss, e));
    void *before = mem_alloc(graph_state_bytes(o->graph) + 1, 1);
    if (!before)
        return err_memory(e, "a copy of the statistics");
    graph_state_get(o->graph, before);
    enum status s = feed_init(&f, o->data, SPLIT_TRAIN,
                              o->batch > 0 ? o->batch : set.batch, e);
    if (s == STATUS_OK) {
        struct pass pass;
        pass_init(&pass, o, &f, batches < f.limit / f.batch
                                    ? batches * f.batch : f.limit);
        s = calibrate_walk(&pass, &set, batches, e);
        pass_fini(&pass);
        feed_fini(&f);
    }
    if (s != STATUS_OK)
        graph_state_set(o->graph, before);
    mem_free(before);
    return s;
}

/* x (n, C, H, W) into the plan's input. */
static void write_input(struct plan *p, const struct shape *sample,
                        const float *x, int64_t n)
{
    float *to = plan_input(p, 0);
    if (sample->rank == 4 && plan_input_layout(p, 0) == LAYOUT_NHWC)
        nchw_to_nhwc(x, to, n, sample->dim[1],
                     sample->dim[2] * sample->dim[3]);
    else
        memcpy(to, x, (size_t)(n * shape_count(sample)) * sizeof *x);
}

static const struct shape *only_input(const struct graph *g)
{
    const struct shape *found = NULL;
    for (int i = 0; i < g->n_node; i++) {
        if (!(g->node[i].op->flags & OP_SOURCE))
            continue;
        if (found)
            return NULL;
        found = &g->node[i].shape;
    }
    return found;
}

/* Rows [0, n), n a multiple of the plan's batch. */
static enum status infer_rows(const struct eval_opts *o, struct plan *p,
                              const float *x, int64_t n, float *out,
                              struct err *e)
{
    const struct shape *sample = only_input(o->graph);
    int64_t rows = plan_options(p)->batch, outputs = plan_output_count(p);
    for (int64_t at = 0; at < n; at += rows) {
        write_input(p, sample, x + at * shape_count(sample), rows);
        TRY(plan_forward(p, o->tick, e));
        memcpy(out + at * outputs, plan_output(p),
               (size_t)(rows * outputs) * sizeof *out);
    }
    return STATUS_OK;
}

enum status infer_run(const struct eval_opts *o, const float *x, int64_t n,
                      float *out, struct err *e)
{
    const struct shape *sample = only_input(o->graph);
    if (!sample)
        return err_set(e, STATUS_ARG, "model %s has not one input",
                       o->graph->name);
    struct train_settings set = settings_of(o);
    struct plan_opts opts = forward_opts(o, &set);
    int64_t batch = o->batch > 0 ? o->batch : DEFAULT_BATCH, done = 0;
    int64_t outputs = shape_count(&o->graph->node[o->graph->output].shape);
    while (done < n) {
        int64_t left = n - done;
        int64_t rows = left < batch ? left : left / batch * batch;
        struct plan *p = NULL;
        opts.batch = smaller(rows, batch);
        enum status s = plan_new(&opts, &p, e);
        if (s == STATUS_OK)
            s = infer_rows(o, p, x + done * shape_count(sample), rows,
                           out + done * outputs, e);
        plan_free(p);
        TRY(s);
        done += rows;
    }
    return STATUS_OK;
}

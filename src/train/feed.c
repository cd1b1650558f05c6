/* Feeding a split to plans. SPDX-License-Identifier: GPL-3.0-or-later */
#include "train/feed.h"

#include <inttypes.h>
#include <string.h>

#include "base/arena.h"

/* The one input of the graph, or -1. */
static int find_input(const struct graph *g)
{
    int found = -1;
    for (int i = 0; i < g->n_node; i++) {
        if (!(g->node[i].op->flags & OP_SOURCE))
            continue;
        if (found >= 0)
            return -1;
        found = i;
    }
    return found;
}

/* A model of plain features takes samples of any shape with as many reals. */
static bool sample_fits(const struct shape *input, const struct shape *sample)
{
    if (input->rank == 2)
        return shape_count(input) == shape_count(sample);
    return shape_equal(input, sample);
}

static enum status check_sample(const struct graph *g,
                                const struct dataset *d, struct err *e)
{
    int at = find_input(g);
    if (at < 0)
        return err_set(e, STATUS_ARG, "model %s has not one input: a data "
                       "set feeds one", g->name);
    const struct shape *input = &g->node[at].shape;
    if (sample_fits(input, &d->sample))
        return STATUS_OK;
    struct str found = { 0 }, wanted = { 0 };
    shape_add(&found, &d->sample);
    shape_add(&wanted, input);
    enum status s = err_set(e, STATUS_ARG, "data %s has samples of %s, model "
                            "%s takes %s", d->name, str_text(&found),
                            g->name, str_text(&wanted));
    str_fini(&found);
    str_fini(&wanted);
    return s;
}

enum status feed_check(const struct graph *g, const struct dataset *d,
                       const struct loss_row *loss, struct err *e)
{
    TRY(check_sample(g, d, e));
    int64_t outputs = shape_count(&g->node[g->output].shape);
    if (d->classes == 0) {
        if (loss->classes)
            return err_set(e, STATUS_ARG, "loss %s needs classes, data %s "
                           "has targets", loss->name, d->name);
        if (d->targets != outputs)
            return err_set(e, STATUS_ARG, "data %s has %" PRId64 " targets a "
                           "sample, model %s gives %" PRId64, d->name,
                           d->targets, g->name, outputs);
        return STATUS_OK;
    }
    bool binary = outputs == 1 && d->classes <= 2 && !loss->classes;
    if (d->classes > outputs && !binary)
        return err_set(e, STATUS_ARG, "data %s has %" PRId64 " classes, model "
                       "%s gives %" PRId64 " outputs", d->name, d->classes,
                       g->name, outputs);
    return STATUS_OK;
}

static enum status make_buffers(struct feed *f, struct err *e)
{
    size_t n = (size_t)f->batch;
    if (f->data->classes > 0)
        f->label = mem_alloc(n, sizeof *f->label);
    else
        f->target = mem_alloc(n * (size_t)f->data->targets,
                              sizeof *f->target);
    return f->label || f->target ? STATUS_OK
                                 : err_memory(e, "labels of a batch");
}

enum status feed_init(struct feed *f, const struct dataset *d,
                      enum split split, int64_t batch, struct err *e)
{
    *f = (struct feed){ .data = d };
    int64_t n = dataset_size(d, split);
    if (n < 1)
        return err_set(e, STATUS_ARG, "data %s has no %s samples", d->name,
                       split_name[split]);
    if (batch < 1)
        return err_set(e, STATUS_ARG, "batch is %" PRId64 ", at least 1 is "
                       "needed", batch);
    f->batch = batch < n ? batch : n;
    TRY(batcher_init(&f->batcher, d, split, f->batch, e));
    feed_limit(f, 0);
    enum status s = make_buffers(f, e);
    if (s != STATUS_OK)
        feed_fini(f);
    return s;
}

void feed_fini(struct feed *f)
{
    feed_drop_plans(f);
    batcher_fini(&f->batcher);
    mem_free(f->label);
    mem_free(f->target);
    *f = (struct feed){ 0 };
}

void feed_drop_plans(struct feed *f)
{
    plan_free(f->full);
    plan_free(f->rest);
    f->full = f->rest = NULL;
}

enum status feed_resize(struct feed *f, int64_t batch, struct err *e)
{
    struct feed fresh;
    struct batcher *to = &fresh.batcher;
    const struct batcher *from = &f->batcher;
    TRY(feed_init(&fresh, f->data, from->split, batch, e));
    if (fresh.batch == f->batch) {
        feed_fini(&fresh);
        return STATUS_OK;
    }
    memcpy(to->index, from->index, (size_t)from->n * sizeof *to->index);
    to->position = from->position;
    to->augment = from->augment;
    feed_fini(f);
    *f = fresh;
    return STATUS_OK;
}

void feed_limit(struct feed *f, int64_t batches)
{
    int64_t n = f->batcher.n;
    f->limit = batches > 0 && batches <= n / f->batch ? batches * f->batch : n;
}

int64_t feed_next_rows(const struct feed *f)
{
    int64_t left = f->limit - f->batcher.position;
    if (left < 0)
        return 0;
    return left < f->batch ? left : f->batch;
}

enum status feed_plan(struct feed *f, const struct plan_opts *opts,
                      int64_t n, struct plan **out, struct err *e)
{
    struct plan **slot = n == f->batch ? &f->full : &f->rest;
    if (*slot && plan_options(*slot)->batch == n && !plan_stale(*slot)) {
        *out = *slot;
        return STATUS_OK;
    }
    plan_free(*slot);
    *slot = NULL;
    struct plan_opts mine = *opts;
    mine.batch = n;
    TRY(plan_new(&mine, slot, e));
    f->made++;
    *out = *slot;
    return STATUS_OK;
}

/* A label beyond the outputs would be an index out of bounds in the loss. */
static enum status check_labels(const struct feed *f, int64_t n, int64_t c,
                                struct err *e)
{
    int64_t end = c == 1 ? 2 : c;
    for (int64_t i = 0; i < n; i++) {
        if (f->label[i] >= 0 && f->label[i] < end)
            continue;
        return err_set(e, STATUS_FORMAT, "data %s: label %" PRId32 " of "
                       "sample %" PRIu32 " is none of %" PRId64 " classes",
                       f->data->name, f->label[i],
                       f->batcher.index[f->batcher.position - n + i], end);
    }
    return STATUS_OK;
}

enum status feed_batch(struct feed *f, struct plan *p, int64_t n,
                       struct rng *augment, struct loss_input *in,
                       struct err *e)
{
    f->batcher.layout = plan_input_layout(p, 0);
    float *x = f->labels_only ? NULL : plan_input(p, 0);
    int64_t got = batcher_next(&f->batcher, x, f->label, f->target, augment);
    if (got != n)
        return err_set(e, STATUS_STATE, "data %s gave %" PRId64 " samples "
                       "instead of %" PRId64, f->data->name, got, n);
    *in = (struct loss_input){
        .label = f->label, .target = f->target, .n = n,
        .c = plan_output_count(p),
    };
    return f->label ? check_labels(f, n, in->c, e) : STATUS_OK;
}

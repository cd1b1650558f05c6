/* Feeding a split to plans: batches of one size, and a smaller one at the end.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TRAIN_FEED_H
#define TRAIN_FEED_H

#include "train/trainer.h"

/* The model has one input that takes the data's samples, and outputs that the
 * loss can compare with the data's classes or targets. Says what differs. */
enum status feed_check(const struct graph *g, const struct dataset *d,
                       const struct loss_row *loss, struct err *e);

struct feed {
    const struct dataset *data;
    struct batcher batcher;
    int64_t batch;
    int64_t limit;            /* samples of an epoch, at most the split */
    struct plan *full, *rest; /* for `batch` rows, and for fewer */
    int made;                 /* plans so far */
    bool labels_only;         /* the next batch's x is not wanted */
    int32_t *label;           /* (batch) */
    float *target;            /* (batch, targets) */
};

/* batch is cut to the size of the split, which must not be empty. */
enum status feed_init(struct feed *f, const struct dataset *d,
                      enum split split, int64_t batch, struct err *e);
void feed_fini(struct feed *f);
void feed_drop_plans(struct feed *f);
/* Another batch size, at the same sample of the same order. */
enum status feed_resize(struct feed *f, int64_t batch, struct err *e);

/* An epoch is so many batches; 0: the whole split. */
void feed_limit(struct feed *f, int64_t batches);
/* Rows of the next batch; 0 at the end of the epoch. */
int64_t feed_next_rows(const struct feed *f);
/* The plan for n rows, made when there is none or a stale one; `opts` without
 * the batch size. */
enum status feed_plan(struct feed *f, const struct plan_opts *opts,
                      int64_t n, struct plan **out, struct err *e);
/* Writes the next n rows into the plan's input and fills what the loss wants
 * but for output and smoothing. STATUS_FORMAT when a label is not a class. */
enum status feed_batch(struct feed *f, struct plan *p, int64_t n,
                       struct rng *augment, struct loss_input *in,
                       struct err *e);

#endif

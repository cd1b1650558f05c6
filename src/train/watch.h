/* What training does to codes and ranges: how many weight codes move in an
 * epoch, how many turn back and forth, how far ranges drift.
 *
 * Codes are looked at when an epoch ends, and in between every few batches,
 * so few that it costs less than a hundredth of the time. Memory that is
 * short leaves points unwatched; training goes on.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TRAIN_WATCH_H
#define TRAIN_WATCH_H

#include "quant/assign.h"
#include "quant/code_watch.h"
#include "train/trainer.h"

struct watched_point {
    const struct quantizer *q;          /* and spec: what is watched */
    struct qspec spec;
    struct code_watch codes;            /* n 0: has none */
    real *range;              /* (2, channels) lo, hi at the window's begin */
    int64_t channels;
    struct motion motion;     /* of the last whole window */
};

struct watch {
    struct watched_point *point;
    int n_point;
    bool begun;               /* the window */
    int64_t window, since;    /* batches: of the window, since the last look */
    int64_t measured;         /* batches of the last whole window */
    int64_t every;            /* batches between two looks */
    real *x;                  /* (most) one point's weights, and codes */
    int32_t *code;
    int64_t most;
};

void watch_fini(struct watch *w);
/* A batch was trained. */
struct watch_batch {
    const struct graph *graph;
    enum bn_fold fold;
    int64_t batch;            /* rows of a whole batch */
    bool epoch_end;
};
void watch_step(struct watch *w, const struct watch_batch *b);
/* Weights or quantizers were changed from outside: the window begins anew.
 * weights: nothing of what was seen holds any more. */
void watch_resync(struct watch *w, bool weights);
/* Batches between two looks in an epoch. */
int64_t watch_interval(const struct graph *g, int64_t batch);
size_t watch_bytes(const struct watch *w);

#endif

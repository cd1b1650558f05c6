/* The trainer's inside, shared by trainer.c, slots.c and trainer_file.c.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TRAIN_TRAIN_IMPL_H
#define TRAIN_TRAIN_IMPL_H

#include "train/feed.h"
#include "train/optim.h"
#include "train/watch.h"

/* Optimiser state of one quantizer's learned parameters. */
struct quant_slots {
    char *point;              /* its name: numbers change when layers fuse */
    int64_t n, age;           /* parameters; steps taken */
    float *slot[OPTIM_MAX_SLOTS];     /* one block, at slot[0] */
};

/* Optimiser state: of the graph's learned block, in the layout of its
 * gradients, and of the quantizers. */
struct slots {
    int count;                /* float arrays, by the optimiser */
    int64_t n;                /* reals in each: graph->n_grad */
    float *slot[OPTIM_MAX_SLOTS];     /* one block, at slot[0] */
    int64_t *age;             /* (n_learned) steps taken by each parameter */
    int n_age;
    struct quant_slots *quant;
    int n_quant;
};

void slots_fini(struct slots *s);
/* Brings the slots into the graph's sizes: those that fit are kept, others
 * begin at zero. On error nothing has changed. */
enum status slots_fit(struct slots *s, const struct optimizer_row *o,
                      const struct graph *g, struct err *e);
struct quant_slots *slots_find_quant(const struct slots *s,
                                     const char *point);
/* A new entry of zeros, in the place of one of that name. */
enum status slots_add_quant(struct slots *s, const char *point, int64_t n,
                            struct quant_slots **out, struct err *e);
/* A quantizer whose learned parameters the optimiser moves. */
bool slots_moves_quant(const struct quantizer *q);

struct trainer {
    struct graph *graph;
    const struct dataset *data;
    struct train_settings set;
    struct feed feed;
    struct slots slots;
    struct rng *stream[RNG_STREAMS];  /* shuffle, augment, dropout, round */
    int64_t epoch, steps;
    double goal_start, goal_epochs;
    struct schedule_state heard;      /* since the goal was set */
    void *undo;               /* graph state, then the streams */
    size_t undo_bytes, graph_bytes;
    struct watch watch;
};

/* The streams that training draws from; RNG_STREAMS ends. */
extern const enum rng_stream trainer_streams[];
/* The next epoch begins when no batch is left in this one. */
void trainer_roll_epoch(struct trainer *t);

#endif

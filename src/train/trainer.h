/* The trainer: a state machine that does one batch a call.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TRAIN_TRAINER_H
#define TRAIN_TRAINER_H

#include "data/dataset.h"
#include "engine/plan.h"

/* ---- losses: rows of loss_table; all are means over the batch ---- */
struct loss_input {
    const float *out;         /* (n, c) */
    const int32_t *label;     /* classes, or NULL */
    const float *target;      /* (n, c), or NULL */
    int64_t n, c;
    double smoothing;         /* label smoothing */
};
struct loss_row {
    const char *name, *help;
    bool classes;             /* needs labels; others take them as one-hot */
    /* Returns the loss; grad (n, c) may be NULL. */
    double (*run)(const struct loss_input *in, float *grad);
};
extern const struct loss_row loss_table[];     /* ce mse l1 bce hinge2 */
extern const int loss_count;
const struct loss_row *loss_find(const char *name);

/* ---- optimisers: rows of optimizer_table ---- */
struct optim_hyper {
    double lr, momentum, dampening, weight_decay, beta1, beta2, eps, alpha;
    bool nesterov, amsgrad;
};
struct optimizer_row {
    const char *name, *help;
    int slots;                /* float arrays kept per parameter */
    void (*defaults)(struct optim_hyper *h);
    /* One step over n contiguous parameters; t counts from 1. */
    void (*step)(const struct optim_hyper *h, int64_t t, int64_t n,
                 float *w, const float *g, float *const slot[]);
};
extern const struct optimizer_row optimizer_table[]; /* sgd adam adamw rmsprop */
extern const int optimizer_count;
const struct optimizer_row *optimizer_find(const char *name);

/* ---- schedules ---- */
/* What a schedule that listens to the epochs' losses remembers. */
struct schedule_state {
    double factor;            /* on the rate, so far */
    double best;              /* lowest loss; infinite before the first */
    double bad;               /* epochs since then without a lower one */
};
struct schedule_row {
    const char *name, *help;
    /* Factor on the learning rate at epoch e of n (real: with the batch). */
    double (*factor)(double epoch, double epochs, const double param[4]);
    const char *param_name[4];
    double param_default[4];
    /* Optional. An epoch has ended with this loss; lr: before any factor. */
    void (*listen)(struct schedule_state *s, double loss, double lr,
                   const double param[4]);
};
/* constant step cosine plateau */
extern const struct schedule_row schedule_table[];
extern const int schedule_count;
const struct schedule_row *schedule_find(const char *name);
void schedule_state_init(struct schedule_state *s);

/* ---- metrics ---- */
struct metrics {
    int64_t n;
    double loss, acc, top5;               /* acc: top-1 as a fraction */
    double mse, mae, mpe;                 /* regression */
    int64_t excluded;                     /* targets too small for mpe */
};

/* fake: quantizers between float products. deployed: the integers of the
 * target, allowed as plan_check_deployed says; gradients are the same. */
enum train_forward { FORWARD_FAKE, FORWARD_DEPLOYED, FORWARD_COUNT };
extern const char *const train_forward_name[FORWARD_COUNT];

struct train_settings {       /* `train.*`; all undoable and recorded */
    const struct loss_row *loss;
    const struct optimizer_row *optimizer;
    struct optim_hyper hyper;
    const struct schedule_row *schedule;
    double schedule_param[4];
    double quant_lr_factor;   /* learning rate of quantizer parameters */
    bool quant_decay;         /* weight decay on them too, as torch's default */
    int64_t batch;
    int64_t epoch_batches;    /* batches that count as an epoch; 0: all */
    bool shuffle;             /* a new order every epoch */
    double smoothing;
    struct augment augment;
    enum bn_fold bn_fold;
    enum grad_type grad;
    const struct backend *backend;
    enum train_forward forward;
    const struct target_row *target;      /* of integers; NULL: ort */
    enum sum_path sums;       /* likewise */
    uint64_t seed;
    double clip_norm;         /* 0: none */
};

struct trainer;
struct prefix_cache;

void train_settings_default(struct train_settings *s);
/* graph and data stay the caller's and outlive the trainer. */
enum status trainer_new(struct graph *g, const struct dataset *d,
                        const struct train_settings *s, struct trainer **out,
                        struct err *e);
void trainer_free(struct trainer *t);
/* New settings (lr, optimizer ...): slots are kept when they still fit. */
enum status trainer_set(struct trainer *t, const struct train_settings *s,
                        struct err *e);
const struct train_settings *trainer_settings(const struct trainer *t);

/* Length of the present goal for schedules: epochs counted from now. */
void trainer_goal(struct trainer *t, double epochs);
/* How the epoch ended, for schedules that listen: the loss of the validation
 * split, or without one that of training. */
void trainer_epoch_loss(struct trainer *t, double loss);

struct batch_result {
    double loss, acc, grad_norm, lr, seconds;
    int64_t n;
    int64_t preempted;        /* times a thread had to make way meanwhile */
    bool epoch_end;           /* this was the last batch of an epoch */
};
/* One batch: forward, loss, backward, optimiser. Quantizer or graph changes
 * since the last call are taken up. On STATUS_STOPPED, STATUS_NUMERIC (loss
 * or a value not finite: names layer and batch) and every other failure all
 * weights, statistics, observers and streams are those before the batch. */
enum status trainer_step(struct trainer *t, const struct tick *tick,
                         struct batch_result *out, struct err *e);

double trainer_epoch(const struct trainer *t);       /* 2.37 */
int64_t trainer_batch(const struct trainer *t);      /* in this epoch, from 0 */
int64_t trainer_batches(const struct trainer *t);    /* per epoch */
int64_t trainer_steps(const struct trainer *t);      /* since the start */
struct plan *trainer_plan(struct trainer *t);        /* NULL before a step */
size_t trainer_bytes(const struct trainer *t);

/* What the last epoch did to a point; NaN: not known, or it has no such. */
struct motion {
    double flips;             /* share of weight codes that differ now */
    double oscillating;       /* share of them that turn back and forth */
    double drift;             /* change of the range over its width */
    int64_t codes;
};
extern const struct motion motion_unknown;
/* batches: that the last window had, less than an epoch after a change. */
void trainer_motion(const struct trainer *t, int point, struct motion *out);
int64_t trainer_motion_batches(const struct trainer *t);
/* To be told when weights (or only quantizers) were changed by others. */
void trainer_resync(struct trainer *t, bool weights);

/* Slots, streams, position, order of the epoch: bit for bit. Slots of another
 * optimiser, or of other parameters, are left behind when loading, as
 * trainer_set does; another number of samples is STATUS_FORMAT. */
enum status trainer_save(const struct trainer *t, struct bag *b,
                         struct err *e);
enum status trainer_load(struct trainer *t, const struct bag *b,
                         struct err *e);

/* ---- evaluation and calibration (train/eval.c) ---- */
struct eval_opts {
    struct graph *graph;
    const struct dataset *data;
    enum split split;
    enum mode mode;
    int64_t batch;            /* default 250 */
    int64_t limit;            /* samples; 0: all */
    const struct train_settings *settings;  /* loss, bn_fold, back end */
    const struct tick *tick;
    /* Values of earlier passes (engine/prefix.h), for evaluation and
     * calibration; NULL: none. read_only: for one what-if of many, whose
     * values nobody asks for again. *reused, unless NULL: nodes whose values
     * came from there, in every batch. */
    struct prefix_cache *cache;
    bool read_only;
    int *reused;
};
enum status eval_run(const struct eval_opts *o, struct metrics *out,
                     struct err *e);
/* Observers see `batches` training batches, in order of the split. */
enum status calibrate_run(const struct eval_opts *o, int64_t batches,
                          struct err *e);
/* Batch norm's running statistics become the mean of the batch statistics of
 * `batches` training batches, in the given mode; o->settings is needed.
 * Nothing else moves; on error, and when stopped, nothing has changed. */
enum status reestimate_run(const struct eval_opts *o, int64_t batches,
                           struct err *e);
/* One forward pass over given rows x (n, ...), logical layout; out gets
 * (n, outputs). */
enum status infer_run(const struct eval_opts *o, const float *x, int64_t n,
                      float *out, struct err *e);

#endif

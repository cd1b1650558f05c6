/* Data sets: where samples come from, how they are split, and batches.
 *
 * A data set holds its samples as they came (bytes for images) with the
 * normalisation to apply; batches are normalised and augmented when made.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DATA_DATASET_H
#define DATA_DATASET_H

#include "base/hash128.h"
#include "base/rng.h"
#include "tensor/bag.h"

enum split { SPLIT_TRAIN, SPLIT_VAL, SPLIT_TEST, SPLIT_COUNT };
extern const char *const split_name[SPLIT_COUNT];    /* train val test */

/* Samples of train and test lie in two blocks; validation is a part of the
 * training block (never of the test block). */
struct samples {
    struct tensor x;          /* (n, ...) u8 or f32 */
    struct tensor y;          /* (n) i32 classes, or (n, targets) f32 */
    int64_t n;
};

struct dataset {
    char *name;               /* "mnist" */
    char *spec;               /* words that load it again: "mnist DIR" */
    struct samples train, test;
    struct shape sample;      /* (1, C, H, W) ..., batch 1 */
    int64_t classes;          /* 0: regression */
    int64_t targets;          /* reals per target when regression */
    char **class_name;        /* NULL: numbers */
    float mean[16], inv_std[16];   /* per channel (or one for all) */
    int n_norm;               /* 0: as is */
    float scale;              /* u8 -> real before normalising: 1/255 */
    uint32_t *order;          /* training block: train first, then val */
    int64_t n_train, n_val;
    bool image;               /* rank 4: flips, shifts, crops make sense */
};

struct dataset_arg {          /* an argument of a source, for help */
    const char *name, *help;
    bool required;
};

struct dataset_opts {
    uint64_t seed;            /* generators, and the split */
    int64_t n_train, n_test;  /* generators; 0: default. Files: caps.
                                 n_test -1: none */
    double val_fraction;      /* default 0.1 of the training block; from 1 on
                                 a number of samples */
    struct shape like_input;  /* `random`: the loaded model's shapes */
    int64_t like_output;
    bool like_regression;
};

struct dataset_source {
    const char *name, *help, *example;
    const struct dataset_arg *arg;     /* NULL name ends */
    bool generated;
    /* value[i]: what was given for arg[i], NULL: nothing. Fills name-less
     * samples, shape, classes and normalisation; the rest is common. */
    enum status (*load)(struct dataset *d, const char *const *value,
                        const struct dataset_opts *o, struct err *e);
};
extern const struct dataset_source dataset_table[];
extern const int dataset_count;
extern const struct dataset_arg dataset_common_arg[];  /* n test val seed */

void dataset_opts_default(struct dataset_opts *o);
/* words: "mnist DIR", "npz f.npz x=x y=y": argv[0] is the source's name.
 * Words without `name=` fill the source's arguments from the left; the common
 * arguments win over the options. */
enum status dataset_load(int argc, const char *const *argv,
                         const struct dataset_opts *o, struct dataset **out,
                         struct err *e);
void dataset_free(struct dataset *d);
int64_t dataset_size(const struct dataset *d, enum split s);
/* Text "data", lines of `key: value`: name, words, sample, classes or targets,
 * scale, mean, inv_std; enough to load it again and to prepare inputs of a
 * deployed model: (x * scale - mean[channel]) * inv_std[channel]. */
enum status dataset_describe(const struct dataset *d, struct bag *b,
                             struct err *e);
/* The value of `key` in such a text, appended; false: not there. */
bool dataset_described(const char *text, const char *key, struct str *out);

struct augment {
    bool flip;                /* left-right with probability 1/2 */
    int shift;                /* up to so many pixels each way, zero filled:
                                 a random crop of the padded image */
};

/* Walks a split in batches. Shuffled order and augmentation come from their
 * own streams; position and order can be saved and put back. */
struct batcher {
    const struct dataset *data;
    enum split split;
    int64_t batch, position;  /* next sample in `index` */
    uint32_t *index;          /* into the block */
    int64_t n;
    struct augment augment;
    enum layout layout;       /* of the x it writes (rank 4) */
    struct sample_move *move; /* drawn for each sample of the batch */
};

enum status batcher_init(struct batcher *b, const struct dataset *d,
                         enum split s, int64_t batch, struct err *e);
void batcher_fini(struct batcher *b);
void batcher_shuffle(struct batcher *b, struct rng *r); /* new epoch, at 0 */
void batcher_rewind(struct batcher *b);                 /* at 0, same order */
/* Fills x (batch, ...) normalised, and classes y (batch) or targets t
 * (batch, targets); returns samples written, 0 at the end of the epoch.
 * r: augmentation, NULL: none. x NULL: not wanted. Threaded; result
 * independent of threads. */
int64_t batcher_next(struct batcher *b, float *x, int32_t *y, float *t,
                     struct rng *r);
/* Of what the next n samples' x will be without augmentation, in whatever
 * layout: equal contents have equal digests, whoever loaded them. */
struct digest batcher_digest(const struct batcher *b, int64_t n);

#endif

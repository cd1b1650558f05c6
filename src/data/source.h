/* What the loaders of data sets share. Internal to data/.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DATA_SOURCE_H
#define DATA_SOURCE_H

#include "base/file.h"
#include "data/dataset.h"

#define DATA_CAP ((size_t)8 << 30)     /* bytes of one file, inflated */
#define NO_TEST (-1)                   /* n_test: no test samples at all */
#define NORM_MEASURE (-1)              /* n_norm: measure on the train split */

/* n samples of the given shape (batch 1); targets 0: class numbers. */
enum status samples_init(struct samples *s, enum dtype type,
                         const struct shape *sample, int64_t n,
                         int64_t targets, struct err *e);
void samples_fini(struct samples *s);
/* Bytes of one sample of x and of y. */
size_t samples_x_bytes(const struct samples *s);
size_t samples_y_bytes(const struct samples *s);
/* out <- the n rows of `in` that are named. */
enum status samples_gather(struct samples *out, const struct samples *in,
                           const uint32_t *row, int64_t n, struct err *e);

/* STATUS_FORMAT unless both hold samples of the same type and shape. */
enum status samples_same(const struct samples *a, const struct samples *b,
                         struct err *e);

/* Sets sample shape, `image`, and the scale that fits the type of x. */
void dataset_set_shape(struct dataset *d, const struct shape *sample);
/* Copies the names; NULL: none. */
enum status dataset_set_classes(struct dataset *d, int64_t n,
                                const char *const *name, struct err *e);
/* For files without a test set: puts part of the training samples, drawn
 * from the seed, aside: o->n_test of them, by default a fifth. */
enum status dataset_carve_test(struct dataset *d,
                               const struct dataset_opts *o, struct err *e);
/* `classes=N`; NULL leaves *out. */
enum status classes_from_text(const char *text, int64_t *out, struct err *e);
/* Labels of any integer type as int32, checked to be 0 .. classes - 1;
 * classes 0: counted. `what` names them in messages. */
enum status labels_from_tensor(struct tensor *out, const struct tensor *in,
                               int64_t *classes, const char *what,
                               struct err *e);
/* Makes images of what came as (n, H, W), (n, H, W, C) or (n, C, H, W)
 * bytes; samples become (n, C, H, W). */
enum status images_from_tensor(struct tensor *t, bool channels_last,
                               struct err *e);

/* ---- built-in generators ---- */
struct generator {
    struct shape sample;
    enum dtype type;
    int64_t classes, targets;          /* one of them 0 */
    const char *const *class_name;
    int64_t n_train, n_test;           /* defaults */
    /* Draws one sample. label: its class; target: its targets. The stream is
     * the sample's own, so that samples are the same for any number of
     * threads and any size of the set. */
    void (*draw)(const struct generator *g, struct rng *r, int64_t label,
                 void *x, float *target);
};
enum status generator_run(const struct generator *g,
                          const struct dataset_opts *o, struct dataset *d,
                          struct err *e);

/* ---- rows of dataset_table ---- */
extern const struct dataset_arg args_none[], args_random[], args_dir[],
    args_idx[], args_npz[], args_csv[];

#define SOURCE_LOAD(name)                                              \
    enum status load_##name(struct dataset *d, const char *const *value, \
                            const struct dataset_opts *o, struct err *e)
SOURCE_LOAD(digits);
SOURCE_LOAD(shapes);
SOURCE_LOAD(jets);
SOURCE_LOAD(clusters);
SOURCE_LOAD(random);
SOURCE_LOAD(mnist);
SOURCE_LOAD(idx);
SOURCE_LOAD(cifar10);
SOURCE_LOAD(cifar100);
SOURCE_LOAD(npz);
SOURCE_LOAD(csv);

#endif

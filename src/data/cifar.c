/* CIFAR-10 and CIFAR-100, binary version: records of label bytes and 3072
 * pixel bytes, red plane first. SPDX-License-Identifier: GPL-3.0-or-later */
#include "data/cifar.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "data/source.h"

#define PIXELS 3072
#define BATCHES_MAX 9

const struct cifar_form cifar10_form = {
    .label_bytes = 1, .label_at = 0, .classes = 10,
};
/* Coarse label, fine label. */
const struct cifar_form cifar100_form = {
    .label_bytes = 2, .label_at = 1, .classes = 100,
};

static const char *const cifar10_names[10] = {
    "airplane", "automobile", "bird",  "cat",  "deer",
    "dog",      "frog",       "horse", "ship", "truck",
};

static const struct shape image_shape = { 4, { 1, 3, 32, 32 } };

/* Files that become one block. */
struct files {
    char path[BATCHES_MAX][512];
    int n;
};

static enum status count_records(const char *path,
                                 const struct cifar_form *form, int64_t *n,
                                 struct err *e)
{
    size_t size = 0, record = (size_t)form->label_bytes + PIXELS;
    TRY(file_size(path, &size, e));
    if (size == 0 || size > DATA_CAP || size % record != 0)
        return err_set(e, STATUS_FORMAT, "%.300s: %zu bytes, wanted a "
                       "multiple of %zu: records of %d label and %d pixel "
                       "bytes", path, size, record, form->label_bytes,
                       PIXELS);
    *n += (int64_t)(size / record);
    return STATUS_OK;
}

/* Puts the records of one file at sample `start` of the block. */
static enum status unpack(const struct bytes *b, const char *path,
                          const struct cifar_form *form,
                          struct samples *out, int64_t start, struct err *e)
{
    size_t record = (size_t)form->label_bytes + PIXELS;
    int64_t n = (int64_t)(b->size / record);
    unsigned char *x = (unsigned char *)out->x.data + start * PIXELS;
    int32_t *y = (int32_t *)out->y.data + start;
    for (int64_t i = 0; i < n; i++) {
        const unsigned char *p = b->data + (size_t)i * record;
        int label = p[form->label_at];
        if (label >= form->classes)
            return err_set(e, STATUS_FORMAT, "%.300s: label of record %" PRId64
                           " is %d, wanted 0 to %d", path, i, label,
                           form->classes - 1);
        y[i] = label;
        memcpy(x + i * PIXELS, p + form->label_bytes, PIXELS);
    }
    return STATUS_OK;
}

/* The block is sized from all files; they are then read one by one, so that
 * only one is held beside it. */
static enum status read_files(const struct files *f,
                              const struct cifar_form *form,
                              struct samples *out, struct err *e)
{
    int64_t n = 0, end = 0;
    for (int i = 0; i < f->n; i++)
        TRY(count_records(f->path[i], form, &n, e));
    TRY(samples_init(out, DTYPE_U8, &image_shape, n, 0, e));
    enum status s = STATUS_OK;
    size_t record = (size_t)form->label_bytes + PIXELS;
    for (int i = 0; i < f->n && s == STATUS_OK; i++) {
        struct bytes b = { 0 };
        int64_t start = end;
        s = file_read(f->path[i], DATA_CAP, &b, e);
        end += (int64_t)(b.size / record);
        if (s == STATUS_OK && (end > n || b.size % record != 0))
            s = err_set(e, STATUS_IO, "%.300s: changed while it was read",
                        f->path[i]);
        if (s == STATUS_OK)
            s = unpack(&b, f->path[i], form, out, start, e);
        bytes_fini(&b);
    }
    if (s == STATUS_OK && end != n)
        s = err_set(e, STATUS_IO, "%.300s: a file changed while it was read",
                    f->path[0]);
    if (s != STATUS_OK)
        samples_fini(out);
    return s;
}

enum status cifar_read(const char *path, const struct cifar_form *form,
                       struct samples *out, struct err *e)
{
    struct files f = { .n = 1 };
    if (snprintf(f.path[0], sizeof f.path[0], "%s", path) >=
        (int)sizeof f.path[0])
        return err_set(e, STATUS_IO, "%.300s...: the path is too long", path);
    return read_files(&f, form, out, e);
}

static enum status join(const char *dir, const char *name, char path[512],
                        struct err *e)
{
    if (snprintf(path, 512, "%s/%s", dir, name) >= 512)
        return err_set(e, STATUS_IO, "%.300s...: the path is too long", dir);
    return STATUS_OK;
}

static enum status read_one(const char *dir, const char *name,
                            const struct cifar_form *form,
                            struct samples *out, struct err *e)
{
    char path[512];
    TRY(join(dir, name, path, e));
    return cifar_read(path, form, out, e);
}

/* Any of data_batch_1.bin .. data_batch_9.bin, at least one. */
static enum status load_train(const char *dir, struct samples *out,
                              struct err *e)
{
    struct files f = { .n = 0 };
    for (int i = 1; i <= BATCHES_MAX; i++) {
        char name[32];
        snprintf(name, sizeof name, "data_batch_%d.bin", i);
        TRY(join(dir, name, f.path[f.n], e));
        f.n += access(f.path[f.n], F_OK) == 0;
    }
    if (f.n == 0)
        return err_set(e, STATUS_IO, "%.300s: no data_batch_1.bin to "
                       "data_batch_%d.bin there, wanted at least one", dir,
                       BATCHES_MAX);
    return read_files(&f, &cifar10_form, out, e);
}

/* The usual constants, per channel; deviations as others divide by them. */
static void set_norm(struct dataset *d, const float mean[3],
                     const float deviation[3])
{
    d->n_norm = 3;
    for (int c = 0; c < 3; c++) {
        d->mean[c] = mean[c];
        d->inv_std[c] = 1 / deviation[c];
    }
}

enum status load_cifar10(struct dataset *d, const char *const *value,
                         const struct dataset_opts *o, struct err *e)
{
    (void)o;
    TRY(load_train(value[0], &d->train, e));
    TRY(read_one(value[0], "test_batch.bin", &cifar10_form, &d->test, e));
    dataset_set_shape(d, &image_shape);
    set_norm(d, (const float[]){ 0.4914f, 0.4822f, 0.4465f },
             (const float[]){ 0.2470f, 0.2435f, 0.2616f });
    return dataset_set_classes(d, 10, cifar10_names, e);
}

enum status load_cifar100(struct dataset *d, const char *const *value,
                          const struct dataset_opts *o, struct err *e)
{
    (void)o;
    TRY(read_one(value[0], "train.bin", &cifar100_form, &d->train, e));
    TRY(read_one(value[0], "test.bin", &cifar100_form, &d->test, e));
    dataset_set_shape(d, &image_shape);
    set_norm(d, (const float[]){ 0.5071f, 0.4865f, 0.4409f },
             (const float[]){ 0.2673f, 0.2564f, 0.2762f });
    return dataset_set_classes(d, 100, NULL, e);
}

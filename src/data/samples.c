/* Blocks of samples, and making them out of arrays as files hold them.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "data/source.h"

/* Finer than anybody's classes, coarse enough to catch a regression target
 * taken for a label. */
#define CLASSES_CAP 100000

enum status samples_init(struct samples *s, enum dtype type,
                         const struct shape *sample, int64_t n,
                         int64_t targets, struct err *e)
{
    struct shape x = *sample;
    struct shape y = targets ? shape_2(n, targets) : shape_1(n);
    x.dim[0] = n;
    TRY(tensor_init(&s->x, type, &x, e));
    enum status status =
        tensor_init(&s->y, targets ? DTYPE_F32 : DTYPE_I32, &y, e);
    if (status != STATUS_OK)
        tensor_fini(&s->x);
    else
        s->n = n;
    return status;
}

void samples_fini(struct samples *s)
{
    tensor_fini(&s->x);
    tensor_fini(&s->y);
    s->n = 0;
}

static size_t row_bytes(const struct tensor *t)
{
    size_t n = dtype_table[t->type].size;
    for (int i = 1; i < t->shape.rank; i++)
        n *= (size_t)t->shape.dim[i];
    return n;
}

size_t samples_x_bytes(const struct samples *s)
{
    return row_bytes(&s->x);
}

size_t samples_y_bytes(const struct samples *s)
{
    return row_bytes(&s->y);
}

static enum status gather_rows(struct tensor *out, const struct tensor *in,
                               const uint32_t *row, int64_t n, struct err *e)
{
    struct shape s = in->shape;
    s.dim[0] = n;
    TRY(tensor_init(out, in->type, &s, e));
    size_t bytes = row_bytes(in);
    const unsigned char *from = in->data;
    unsigned char *to = out->data;
    for (int64_t i = 0; i < n; i++)
        memcpy(to + (size_t)i * bytes, from + row[i] * bytes, bytes);
    return STATUS_OK;
}

enum status samples_gather(struct samples *out, const struct samples *in,
                           const uint32_t *row, int64_t n, struct err *e)
{
    struct samples s = { .n = n };
    enum status status = gather_rows(&s.x, &in->x, row, n, e);
    if (status == STATUS_OK)
        status = gather_rows(&s.y, &in->y, row, n, e);
    if (status != STATUS_OK) {
        samples_fini(&s);
        return status;
    }
    *out = s;
    return STATUS_OK;
}

enum status samples_same(const struct samples *a, const struct samples *b,
                         struct err *e)
{
    struct shape s = b->x.shape;
    s.dim[0] = a->x.shape.dim[0];
    if (a->x.type == b->x.type && shape_equal(&a->x.shape, &s))
        return STATUS_OK;
    struct str train = { 0 }, test = { 0 };
    shape_add(&train, &a->x.shape);
    shape_add(&test, &b->x.shape);
    err_set(e, STATUS_FORMAT, "training samples are %s %s, test samples %s "
            "%s", dtype_table[a->x.type].name, str_text(&train),
            dtype_table[b->x.type].name, str_text(&test));
    str_fini(&train);
    str_fini(&test);
    return STATUS_FORMAT;
}

void dataset_set_shape(struct dataset *d, const struct shape *sample)
{
    d->sample = *sample;
    d->sample.dim[0] = 1;
    d->image = sample->rank == 4;
    d->scale = d->train.x.type == DTYPE_U8 ? 1.0f / 255 : 1.0f;
}

static enum status copy_names(char **to, int64_t n, const char *const *name,
                              struct err *e)
{
    for (int64_t i = 0; i < n; i++) {
        size_t bytes = strlen(name[i]) + 1;
        to[i] = mem_alloc(bytes, 1);
        if (!to[i])
            return err_memory(e, "class names");
        memcpy(to[i], name[i], bytes);
    }
    return STATUS_OK;
}

enum status dataset_set_classes(struct dataset *d, int64_t n,
                                const char *const *name, struct err *e)
{
    d->classes = n;
    d->targets = 0;
    if (!name)
        return STATUS_OK;
    d->class_name = mem_alloc((size_t)n, sizeof *d->class_name);
    if (!d->class_name)
        return err_memory(e, "class names");
    return copy_names(d->class_name, n, name, e);
}

enum status dataset_carve_test(struct dataset *d,
                               const struct dataset_opts *o, struct err *e)
{
    int64_t n = d->train.n;
    int64_t n_test = o->n_test == NO_TEST ? 0 : o->n_test ? o->n_test : n / 5;
    if (n_test >= n)
        return err_set(e, STATUS_ARG, "test=%" PRId64 " leaves none of %"
                       PRId64 " samples to train on", n_test, n);
    uint32_t *row = mem_alloc((size_t)n, sizeof *row);
    /* Another stream than the split's: with one order for both, the test
     * samples would be the first to be shuffled in each. */
    struct rng *r = rng_new(o->seed, RNG_GENERATE);
    struct samples train = { 0 }, test = { 0 };
    enum status s = row && r ? STATUS_OK : err_memory(e, "the test samples");
    if (s == STATUS_OK) {
        for (int64_t i = 0; i < n; i++)
            row[i] = (uint32_t)i;
        rng_shuffle(r, row, (size_t)n);
        s = samples_gather(&test, &d->train, row, n_test, e);
    }
    if (s == STATUS_OK)
        s = samples_gather(&train, &d->train, row + n_test, n - n_test, e);
    if (s == STATUS_OK) {
        samples_fini(&d->train);
        d->train = train;
        d->test = test;
    } else {
        samples_fini(&test);
    }
    rng_free(r);
    mem_free(row);
    return s;
}

enum status classes_from_text(const char *text, int64_t *out, struct err *e)
{
    long long v = 0;
    if (!text)
        return STATUS_OK;
    enum status s = str_to_int(text, &v, e);
    if (s != STATUS_OK)
        return err_wrap(e, s, "classes=");
    if (v < 1 || v > CLASSES_CAP)
        return err_set(e, STATUS_ARG, "classes=%lld: wanted 1 to %d", v,
                       CLASSES_CAP);
    *out = v;
    return STATUS_OK;
}

static enum status bad_label(const char *what, int64_t i, double v,
                             int64_t classes, struct err *e)
{
    if (classes > 0)
        return err_set(e, STATUS_FORMAT, "%.200s: label %" PRId64 " is %.9g, "
                       "wanted a whole number from 0 to %" PRId64, what, i, v,
                       classes - 1);
    return err_set(e, STATUS_FORMAT, "%.200s: label %" PRId64 " is %.9g, "
                   "wanted a whole number from 0 to %d", what, i, v,
                   CLASSES_CAP - 1);
}

enum status labels_from_tensor(struct tensor *out, const struct tensor *in,
                               int64_t *classes, const char *what,
                               struct err *e)
{
    int64_t n = shape_count(&in->shape);
    if (in->shape.rank < 1 || in->shape.rank > 2 || n != in->shape.dim[0]) {
        struct str shape = { 0 };
        shape_add(&shape, &in->shape);
        err_set(e, STATUS_FORMAT, "%.200s: labels of shape %s, wanted one "
                "number a sample", what, str_text(&shape));
        str_fini(&shape);
        return STATUS_FORMAT;
    }
    struct shape s = shape_1(n);
    struct tensor t;
    TRY(tensor_init(&t, DTYPE_I32, &s, e));
    int32_t *y = t.data, most = -1;
    double cap = (double)(*classes > 0 ? *classes : CLASSES_CAP);
    for (int64_t i = 0; i < n; i++) {
        double v = tensor_get(in, i);
        if (!(v >= 0 && v < cap) || v != floor(v)) {
            tensor_fini(&t);
            return bad_label(what, i, v, *classes, e);
        }
        y[i] = (int32_t)v;
        most = y[i] > most ? y[i] : most;
    }
    if (*classes == 0)
        *classes = most + 1;
    *out = t;
    return STATUS_OK;
}

/* y (n,C,H,W) <- x (n,H,W,C), elements of `size` bytes. */
static enum status channels_first(struct tensor *t, struct err *e)
{
    const int64_t *d = t->shape.dim;
    int64_t n = d[0], hw = d[1] * d[2], c = d[3];
    size_t size = dtype_table[t->type].size;
    struct shape s = shape_4(n, c, d[1], d[2]);
    struct tensor out;
    TRY(tensor_init(&out, t->type, &s, e));
    const unsigned char *from = t->data;
    unsigned char *to = out.data;
    for (int64_t i = 0; i < n; i++)
        for (int64_t p = 0; p < hw; p++)
            for (int64_t k = 0; k < c; k++, from += size)
                memcpy(to + (size_t)((i * c + k) * hw + p) * size, from,
                       size);
    tensor_fini(t);
    *t = out;
    return STATUS_OK;
}

enum status images_from_tensor(struct tensor *t, bool channels_last,
                               struct err *e)
{
    const int64_t *d = t->shape.dim;
    if (t->shape.rank == 3) {
        t->shape = shape_4(d[0], 1, d[1], d[2]);
        return STATUS_OK;
    }
    return t->shape.rank == 4 && channels_last ? channels_first(t, e)
                                               : STATUS_OK;
}

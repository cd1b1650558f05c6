/* Data sets from .npz files. SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <string.h>

#include "base/arena.h"
#include "data/npy.h"
#include "data/source.h"

enum { NPZ_FILE, NPZ_X, NPZ_Y, NPZ_XT, NPZ_YT, NPZ_LAYOUT, NPZ_CLASSES };

/* Names that are tried when none is given: ours, then Keras's. */
static const char *const usual_names[][4] = {
    { "x", "y", "xt", "yt" },
    { "x_train", "y_train", "x_test", "y_test" },
};

struct npz_names {
    const char *x, *y, *xt, *yt;
};

static enum status no_array(const struct bag *b, const char *name,
                            struct err *e)
{
    struct str all = { 0 };
    for (size_t i = 0; i < bag_count(b) && i < 12; i++)
        str_printf(&all, "%s%s", i ? ", " : "", bag_name(b, i));
    err_set(e, STATUS_FORMAT, "no array '%.60s'; there are: %s", name,
            str_text(&all));
    str_fini(&all);
    return STATUS_FORMAT;
}

static enum status choose_names(const struct bag *b, const char *const *value,
                                struct npz_names *out, struct err *e)
{
    size_t k = bag_get(b, usual_names[1][0]) ? 1 : 0;
    const char *const *usual = usual_names[k];
    out->x = value[NPZ_X] ? value[NPZ_X] : usual[0];
    out->y = value[NPZ_Y] ? value[NPZ_Y] : usual[1];
    out->xt = value[NPZ_XT];
    out->yt = value[NPZ_YT];
    if (!out->xt && !out->yt && bag_get(b, usual[2]) && bag_get(b, usual[3])) {
        out->xt = usual[2];
        out->yt = usual[3];
    }
    if (!out->xt != !out->yt)
        return err_set(e, STATUS_ARG, "xt= and yt= go together");
    return STATUS_OK;
}

/* Bytes stay bytes, everything else becomes float. */
static enum status take_x(const struct bag *b, const char *name,
                          bool channels_last, struct tensor *out,
                          struct err *e)
{
    const struct tensor *t = bag_get(b, name);
    if (!t)
        return no_array(b, name, e);
    if (t->shape.rank < 2 || t->shape.rank > 4 || shape_count(&t->shape) < 1) {
        struct str shape = { 0 };
        shape_add(&shape, &t->shape);
        err_set(e, STATUS_FORMAT, "array '%.60s' is %s, wanted samples of 1 "
                "to 3 dimensions: rank 2 to 4, not empty", name,
                str_text(&shape));
        str_fini(&shape);
        return STATUS_FORMAT;
    }
    TRY(tensor_cast(out, t, t->type == DTYPE_U8 ? DTYPE_U8 : DTYPE_F32, e));
    /* Three dimensions of bytes are grey images; of floats, sequences. */
    if (out->shape.rank == 4 || out->type == DTYPE_U8)
        return images_from_tensor(out, channels_last, e);
    return STATUS_OK;
}

static enum status take_y(const struct bag *b, const char *name,
                          int64_t *classes, struct tensor *out, struct err *e)
{
    const struct tensor *t = bag_get(b, name);
    if (!t)
        return no_array(b, name, e);
    if (!dtype_table[t->type].is_float)
        return labels_from_tensor(out, t, classes, name, e);
    if (t->shape.rank < 1 || t->shape.rank > 2 || shape_count(&t->shape) < 1)
        return err_set(e, STATUS_FORMAT, "array '%.60s' has %d dimensions, "
                       "wanted targets (n) or (n, targets)", name,
                       t->shape.rank);
    TRY(tensor_cast(out, t, DTYPE_F32, e));
    if (out->shape.rank == 1)
        out->shape = shape_2(out->shape.dim[0], 1);
    return STATUS_OK;
}

static enum status take_block(const struct bag *b, const char *x,
                              const char *y, bool channels_last,
                              int64_t *classes, struct samples *out,
                              struct err *e)
{
    TRY(take_x(b, x, channels_last, &out->x, e));
    TRY(take_y(b, y, classes, &out->y, e));
    out->n = out->x.shape.dim[0];
    if (out->y.shape.dim[0] != out->n)
        return err_set(e, STATUS_FORMAT, "'%.60s' has %" PRId64 " samples, but "
                       "'%.60s' %" PRId64, x, out->n, y, out->y.shape.dim[0]);
    return STATUS_OK;
}

static enum status read_layout(const char *text, bool *last, struct err *e)
{
    *last = text && strcmp(text, "nhwc") == 0;
    if (text && !*last && strcmp(text, "nchw") != 0)
        return err_set(e, STATUS_ARG, "layout=%.40s: wanted nchw or nhwc",
                       text);
    return STATUS_OK;
}

static enum status same_targets(const struct dataset *d, struct err *e)
{
    const struct tensor *a = &d->train.y, *b = &d->test.y;
    struct shape s = b->shape;
    s.dim[0] = a->shape.dim[0];
    if (a->type == b->type && shape_equal(&a->shape, &s))
        return STATUS_OK;
    return err_set(e, STATUS_FORMAT, "targets of training and test differ in "
                   "type or number");
}

static enum status fill(struct dataset *d, const struct bag *b,
                        const char *const *value,
                        const struct dataset_opts *o, struct err *e)
{
    struct npz_names name;
    bool last = false;
    int64_t classes = 0;
    TRY(read_layout(value[NPZ_LAYOUT], &last, e));
    TRY(classes_from_text(value[NPZ_CLASSES], &classes, e));
    TRY(choose_names(b, value, &name, e));
    TRY(take_block(b, name.x, name.y, last, &classes, &d->train, e));
    if (name.xt) {
        TRY(take_block(b, name.xt, name.yt, last, &classes, &d->test, e));
        TRY(samples_same(&d->train, &d->test, e));
        TRY(same_targets(d, e));
    } else {
        TRY(dataset_carve_test(d, o, e));
    }
    dataset_set_shape(d, &d->train.x.shape);
    /* Bytes are images as they come; floats were prepared by their maker. */
    d->n_norm = d->train.x.type == DTYPE_U8 ? NORM_MEASURE : 0;
    if (d->train.y.type == DTYPE_I32)
        return dataset_set_classes(d, classes, NULL, e);
    d->targets = d->train.y.shape.dim[1];
    return STATUS_OK;
}

enum status load_npz(struct dataset *d, const char *const *value,
                     const struct dataset_opts *o, struct err *e)
{
    struct bag *b = NULL;
    TRY(npz_read(value[NPZ_FILE], &b, e));
    enum status s = fill(d, b, value, o, e);
    if (s != STATUS_OK)
        err_wrap(e, s, "%.300s", value[NPZ_FILE]);
    bag_free(b);
    return s;
}

const struct dataset_arg args_npz[] = {
    [NPZ_FILE] = { .name = "file", .help = "the .npz file",
                   .required = true },
    [NPZ_X] = { .name = "x", .help = "array of training samples: x or "
                                     "x_train" },
    [NPZ_Y] = { .name = "y", .help = "array of their labels (integers) or "
                                     "targets (reals)" },
    [NPZ_XT] = { .name = "xt", .help = "array of test samples; without one, "
                                       "a fifth is set aside" },
    [NPZ_YT] = { .name = "yt", .help = "array of their labels or targets" },
    [NPZ_LAYOUT] = { .name = "layout", .help = "of images: nchw or nhwc" },
    [NPZ_CLASSES] = { .name = "classes", .help = "number of classes; as many "
                                                 "as there are labels" },
    { 0 },
};

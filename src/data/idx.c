/* IDX files, and the sets made of them: MNIST and its relatives.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "data/idx.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "data/endian.h"
#include "data/source.h"

struct idx_type {
    uint8_t code;
    enum dtype type;
};

static const struct idx_type idx_types[] = {
    { 0x08, DTYPE_U8 },  { 0x09, DTYPE_I8 },  { 0x0b, DTYPE_I16 },
    { 0x0c, DTYPE_I32 }, { 0x0d, DTYPE_F32 }, { 0x0e, DTYPE_F64 },
};

static enum status find_type(uint8_t code, enum dtype *out, const char *path,
                             struct err *e)
{
    for (size_t i = 0; i < sizeof idx_types / sizeof idx_types[0]; i++)
        if (idx_types[i].code == code) {
            *out = idx_types[i].type;
            return STATUS_OK;
        }
    return err_set(e, STATUS_FORMAT, "%.300s: IDX element type 0x%02x, wanted "
                   "08, 09, 0b, 0c, 0d or 0e", path, code);
}

/* Two zero bytes, type, number of dimensions, dimensions big-endian. */
static enum status read_header(struct cursor *c, const char *path,
                               enum dtype *type, struct shape *shape,
                               struct err *e)
{
    unsigned zeros = cursor_u16le(c);
    uint8_t code = cursor_u8(c), rank = cursor_u8(c);
    if (c->failed)
        return err_set(e, STATUS_FORMAT, "%.300s: %zu bytes, too short for an "
                       "IDX file", path, c->size);
    if (zeros != 0)
        return err_set(e, STATUS_FORMAT, "%.300s: does not begin with the two "
                       "zero bytes of an IDX file", path);
    TRY(find_type(code, type, path, e));
    if (rank < 1 || rank > SHAPE_MAX)
        return err_set(e, STATUS_FORMAT, "%.300s: %u dimensions, wanted 1 to "
                       "%d", path, rank, SHAPE_MAX);
    *shape = (struct shape){ .rank = rank };
    for (int i = 0; i < rank; i++)
        shape->dim[i] = cursor_u32be(c);
    if (c->failed)
        return err_set(e, STATUS_FORMAT, "%.300s: ends within the IDX header",
                       path);
    return STATUS_OK;
}

/* The tensor takes the bytes over: a set of images is held once. */
static enum status take_bytes(struct bytes *b, const char *path,
                              struct tensor *out, struct err *e)
{
    struct cursor c = cursor_over(b->data, b->size);
    enum dtype type = DTYPE_U8;
    struct shape shape = { 0 };
    TRY(read_header(&c, path, &type, &shape, e));
    size_t elem = dtype_table[type].size, wanted = 0, left = c.size - c.pos;
    enum status s = shape_bytes(&shape, elem, PTRDIFF_MAX, &wanted, e);
    if (s != STATUS_OK)
        return err_wrap(e, s, "%.300s", path);
    if (wanted != left)
        return err_set(e, STATUS_FORMAT, "%.300s: %zu bytes of data, wanted "
                       "%zu for the shape in the header", path, left, wanted);
    memmove(b->data, b->data + c.pos, left);
    if (!host_is_big_endian())
        swap_elements(b->data, left / elem, elem);
    *out = (struct tensor){ .type = type, .shape = shape, .data = b->data };
    b->data = NULL;
    return STATUS_OK;
}

enum status idx_read(const char *path, struct tensor *out, struct err *e)
{
    struct bytes b = { 0 };
    TRY(file_read_gz(path, DATA_CAP, &b, e));
    enum status s = take_bytes(&b, path, out, e);
    bytes_fini(&b);
    return s;
}

/* x of any numbers to bytes or floats, images to (n,C,H,W). */
static enum status read_x(const char *path, struct tensor *out, struct err *e)
{
    struct tensor t = { 0 };
    TRY(idx_read(path, &t, e));
    enum status s = STATUS_OK;
    if (t.type != DTYPE_U8 && t.type != DTYPE_F32) {
        struct tensor f = { 0 };
        s = tensor_cast(&f, &t, DTYPE_F32, e);
        tensor_fini(&t);
        t = f;
    }
    if (s == STATUS_OK && t.shape.rank >= 3)
        s = images_from_tensor(&t, false, e);
    if (s == STATUS_OK && t.shape.rank < 2)
        s = err_set(e, STATUS_FORMAT, "%.300s: one dimension, wanted samples "
                    "of at least one value each: 2 or more", path);
    if (s != STATUS_OK)
        tensor_fini(&t);
    else
        *out = t;
    return s;
}

static enum status read_y(const char *path, int64_t *classes,
                          struct tensor *out, struct err *e)
{
    struct tensor t = { 0 };
    TRY(idx_read(path, &t, e));
    enum status s = labels_from_tensor(out, &t, classes, path, e);
    tensor_fini(&t);
    return s;
}

static enum status read_pair(const char *x, const char *y, int64_t *classes,
                             struct samples *out, struct err *e)
{
    TRY(read_x(x, &out->x, e));
    TRY(read_y(y, classes, &out->y, e));
    out->n = out->x.shape.dim[0];
    if (out->y.shape.dim[0] != out->n)
        return err_set(e, STATUS_FORMAT, "%.150s has %" PRId64 " samples, but "
                       "%.150s %" PRId64 " labels", x, out->n, y,
                       out->y.shape.dim[0]);
    return STATUS_OK;
}

/* DIR/stem in the spellings that are about, plain or .gz. */
static enum status find_file(const char *dir, const char *stem,
                             struct str *out, struct err *e)
{
    char dotted[64];
    snprintf(dotted, sizeof dotted, "%s", stem);
    *strstr(dotted, "-idx") = '.';
    for (int k = 0; k < 4; k++) {
        str_clear(out);
        str_add(out, dir);
        str_char(out, '/');
        str_add(out, k < 2 ? stem : dotted);
        str_add(out, k % 2 ? "-ubyte.gz" : "-ubyte");
        if (out->failed)
            return err_memory(e, "a path");
        if (access(out->text, F_OK) == 0)
            return STATUS_OK;
    }
    return err_set(e, STATUS_IO, "%.300s: neither %s-ubyte nor %s-ubyte.gz "
                   "is there", dir, stem, stem);
}

static enum status load_split(const char *dir, const char *prefix,
                              int64_t *classes, struct samples *out,
                              struct err *e)
{
    struct str x = { 0 }, y = { 0 };
    char stem[64];
    snprintf(stem, sizeof stem, "%s-images-idx3", prefix);
    enum status s = find_file(dir, stem, &x, e);
    snprintf(stem, sizeof stem, "%s-labels-idx1", prefix);
    if (s == STATUS_OK)
        s = find_file(dir, stem, &y, e);
    if (s == STATUS_OK)
        s = read_pair(x.text, y.text, classes, out, e);
    str_fini(&x);
    str_fini(&y);
    return s;
}

enum status load_mnist(struct dataset *d, const char *const *value,
                       const struct dataset_opts *o, struct err *e)
{
    (void)o;
    int64_t classes = 10;
    TRY(load_split(value[0], "train", &classes, &d->train, e));
    TRY(load_split(value[0], "t10k", &classes, &d->test, e));
    TRY(samples_same(&d->train, &d->test, e));
    if (d->train.x.shape.rank != 4 || d->train.x.type != DTYPE_U8)
        return err_set(e, STATUS_FORMAT, "%.300s: training images are not "
                       "grey bytes", value[0]);
    dataset_set_shape(d, &d->train.x.shape);
    /* The constants that everybody uses for MNIST. */
    d->n_norm = 1;
    d->mean[0] = 0.1307f;
    d->inv_std[0] = 1 / 0.3081f;
    return dataset_set_classes(d, classes, NULL, e);
}

enum { IDX_X, IDX_Y, IDX_XT, IDX_YT, IDX_CLASSES };

enum status load_idx(struct dataset *d, const char *const *value,
                     const struct dataset_opts *o, struct err *e)
{
    int64_t classes = 0;
    if (!value[IDX_XT] != !value[IDX_YT])
        return err_set(e, STATUS_ARG, "xt= and yt= go together");
    TRY(classes_from_text(value[IDX_CLASSES], &classes, e));
    TRY(read_pair(value[IDX_X], value[IDX_Y], &classes, &d->train, e));
    if (value[IDX_XT]) {
        TRY(read_pair(value[IDX_XT], value[IDX_YT], &classes, &d->test, e));
        TRY(samples_same(&d->train, &d->test, e));
    } else {
        TRY(dataset_carve_test(d, o, e));
    }
    dataset_set_shape(d, &d->train.x.shape);
    d->n_norm = NORM_MEASURE;
    return dataset_set_classes(d, classes, NULL, e);
}

const struct dataset_arg args_dir[] = {
    { .name = "dir", .help = "folder that holds the files",
      .required = true },
    { 0 },
};

const struct dataset_arg args_idx[] = {
    [IDX_X] = { .name = "x", .help = "samples for training",
                .required = true },
    [IDX_Y] = { .name = "y", .help = "their labels", .required = true },
    [IDX_XT] = { .name = "xt", .help = "samples for testing" },
    [IDX_YT] = { .name = "yt", .help = "their labels" },
    [IDX_CLASSES] = { .name = "classes", .help = "number of classes; as many "
                                                 "as there are labels" },
    { 0 },
};

/* NPY files (numpy.lib.format), read and written.
 *
 * Magic, version, header length, a Python dictionary with exactly the keys
 * descr, fortran_order and shape, then the numbers. The dictionary is read
 * by a small grammar of its own; nothing in it is ever evaluated.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "data/npy.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "data/endian.h"

#define NPY_CAP ((size_t)8 << 30)     /* bytes of a file */
#define HEADER_CAP ((size_t)1 << 16)  /* numpy itself writes below 200 */

static const char magic[] = "\x93NUMPY";
#define MAGIC_SIZE (sizeof magic - 1)

/* The header as text, read left to right. */
struct reader {
    const char *at, *end;
    const char *what;
    struct err *e;
};

struct npy_header {
    enum dtype type;
    bool swap, fortran;
    struct shape shape;
    bool has_descr, has_order, has_shape;
};

static enum status bad_header(const struct reader *r, const char *text)
{
    return err_set(r->e, STATUS_FORMAT, "%.300s: NPY header: %s", r->what,
                   text);
}

static void skip_blanks(struct reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n'))
        r->at++;
}

/* Takes c after blanks. */
static bool take(struct reader *r, char c)
{
    skip_blanks(r);
    if (r->at >= r->end || *r->at != c)
        return false;
    r->at++;
    return true;
}

static bool take_word(struct reader *r, const char *word)
{
    size_t n = strlen(word);
    skip_blanks(r);
    if ((size_t)(r->end - r->at) < n || memcmp(r->at, word, n) != 0)
        return false;
    r->at += n;
    return true;
}

/* A quoted string without escapes, of fewer than `room` characters. */
static bool take_string(struct reader *r, char *out, size_t room)
{
    skip_blanks(r);
    if (r->at >= r->end || (*r->at != '\'' && *r->at != '"'))
        return false;
    char quote = *r->at++;
    size_t n = 0;
    while (r->at < r->end && *r->at != quote) {
        if (*r->at == '\\' || n + 1 >= room)
            return false;
        out[n++] = *r->at++;
    }
    if (r->at >= r->end)
        return false;
    r->at++;
    out[n] = '\0';
    return true;
}

static bool take_number(struct reader *r, int64_t *out)
{
    skip_blanks(r);
    const char *start = r->at;
    int64_t v = 0;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9') {
        if (__builtin_mul_overflow(v, (int64_t)10, &v) ||
            __builtin_add_overflow(v, (int64_t)(*r->at - '0'), &v))
            return false;
        r->at++;
    }
    if (r->at == start)
        return false;
    take(r, 'L');        /* files of Python 2 */
    *out = v;
    return true;
}

static enum status read_descr(struct reader *r, struct npy_header *h)
{
    char text[16];
    skip_blanks(r);
    if (r->at < r->end && *r->at == '[')
        return bad_header(r, "records of several fields, wanted plain "
                             "numbers");
    if (!take_string(r, text, sizeof text))
        return bad_header(r, "descr is not a short string");
    char kind[3] = { text[0] ? text[1] : '\0', '\0', '\0' };
    if (kind[0] == 'O')
        return bad_header(r, "Python objects (a pickle) are never read, "
                             "wanted plain numbers");
    if (!strchr("<>|=", text[0]) || !kind[0] || !text[2] || text[3])
        return bad_header(r, "element type is not a real or whole number "
                             "of 1 to 8 bytes");
    kind[1] = text[2];
    for (int i = 0; i < DTYPE_COUNT; i++) {
        if (strcmp(dtype_table[i].numpy + 1, kind) != 0 || kind[0] == 'V')
            continue;
        h->type = (enum dtype)i;
        h->swap = (text[0] == '>' && !host_is_big_endian()) ||
                  (text[0] == '<' && host_is_big_endian());
        return STATUS_OK;
    }
    return bad_header(r, "element type is not a real or whole number of 1 "
                         "to 8 bytes");
}

static enum status read_order(struct reader *r, struct npy_header *h)
{
    h->fortran = take_word(r, "True");
    if (!h->fortran && !take_word(r, "False"))
        return bad_header(r, "fortran_order is neither True nor False");
    return STATUS_OK;
}

static enum status read_shape(struct reader *r, struct npy_header *h)
{
    h->shape = (struct shape){ 0 };
    if (!take(r, '('))
        return bad_header(r, "shape is not a tuple");
    bool comma = true;
    while (!take(r, ')')) {
        if (!comma)
            return bad_header(r, "shape is not a tuple of numbers");
        if (h->shape.rank == SHAPE_MAX)
            return bad_header(r, "more than 8 dimensions");
        if (!take_number(r, &h->shape.dim[h->shape.rank++]))
            return bad_header(r, "a dimension is not a number from 0 to "
                                 "2^63 - 1");
        comma = take(r, ',');
    }
    if (h->shape.rank == 1 && !comma)
        return bad_header(r, "shape is not a tuple");
    return STATUS_OK;
}

struct header_key {
    const char *name;
    enum status (*read)(struct reader *r, struct npy_header *h);
    size_t seen;              /* offset of the flag in npy_header */
};

static const struct header_key header_keys[] = {
    { "descr", read_descr, offsetof(struct npy_header, has_descr) },
    { "fortran_order", read_order, offsetof(struct npy_header, has_order) },
    { "shape", read_shape, offsetof(struct npy_header, has_shape) },
};

static enum status read_pair(struct reader *r, struct npy_header *h)
{
    char key[32];
    if (!take_string(r, key, sizeof key) || !take(r, ':'))
        return bad_header(r, "is not a dictionary of descr, fortran_order "
                             "and shape");
    for (size_t i = 0; i < sizeof header_keys / sizeof header_keys[0]; i++) {
        if (strcmp(key, header_keys[i].name) != 0)
            continue;
        bool *seen = (bool *)((char *)h + header_keys[i].seen);
        if (*seen)
            return bad_header(r, "a key stands twice");
        *seen = true;
        return header_keys[i].read(r, h);
    }
    return bad_header(r, "unknown key, wanted descr, fortran_order, shape");
}

static enum status read_header(struct reader *r, struct npy_header *h)
{
    *h = (struct npy_header){ 0 };
    if (r->at == r->end || r->end[-1] != '\n')
        return bad_header(r, "does not end in a new line");
    if (!take(r, '{'))
        return bad_header(r, "is not a dictionary");
    bool comma = true;
    while (!take(r, '}')) {
        if (!comma)
            return bad_header(r, "is not a dictionary");
        TRY(read_pair(r, h));
        comma = take(r, ',');
    }
    skip_blanks(r);
    if (r->at != r->end)
        return bad_header(r, "goes on after the dictionary");
    if (!h->has_descr || !h->has_order || !h->has_shape)
        return bad_header(r, "descr, fortran_order or shape is missing");
    return STATUS_OK;
}

/* Magic, version, length, dictionary; the cursor then stands at the data. */
static enum status read_preamble(struct cursor *c, const char *what,
                                 struct npy_header *h, struct err *e)
{
    const unsigned char *m = cursor_take(c, MAGIC_SIZE);
    if (!m || memcmp(m, magic, MAGIC_SIZE) != 0)
        return err_set(e, STATUS_FORMAT,
                       "%.300s: does not begin as an NPY file", what);
    unsigned major = cursor_u8(c), minor = cursor_u8(c);
    if (!c->failed && (major < 1 || major > 3 || minor != 0))
        return err_set(e, STATUS_FORMAT, "%.300s: NPY version %u.%u, wanted "
                       "1.0, 2.0 or 3.0", what, major, minor);
    size_t length = major == 1 ? cursor_u16le(c) : cursor_u32le(c);
    if (c->failed || length > c->size - c->pos || length > HEADER_CAP)
        return err_set(e, STATUS_FORMAT, "%.300s: NPY header of %zu bytes in "
                       "a file of %zu", what, length, c->size);
    const char *text = (const char *)cursor_take(c, length);
    struct reader r = { .at = text, .end = text + length, .what = what,
                        .e = e };
    return read_header(&r, h);
}

/* y (C order) <- x (Fortran order): the first index runs fastest in x. */
static void from_fortran(const unsigned char *x, unsigned char *y,
                         const struct shape *s, size_t size)
{
    int64_t index[SHAPE_MAX] = { 0 }, stride[SHAPE_MAX], n = shape_count(s);
    int64_t from = 0;
    for (int i = 0; i < s->rank; i++)
        stride[i] = i ? stride[i - 1] * s->dim[i - 1] : 1;
    for (int64_t k = 0; k < n; k++) {
        memcpy(y + (size_t)k * size, x + (size_t)from * size, size);
        for (int i = s->rank - 1; i >= 0; i--) {
            from += stride[i];
            if (++index[i] < s->dim[i])
                break;
            from -= stride[i] * s->dim[i];
            index[i] = 0;
        }
    }
}

enum status npy_parse(const void *data, size_t size, const char *what,
                      struct tensor *out, struct err *e)
{
    struct cursor c = cursor_over(data, size);
    struct npy_header h;
    TRY(read_preamble(&c, what, &h, e));
    size_t elem = dtype_table[h.type].size, bytes = 0;
    size_t left = c.size - c.pos;
    enum status s = shape_bytes(&h.shape, elem, PTRDIFF_MAX, &bytes, e);
    if (s != STATUS_OK)
        return err_wrap(e, s, "%.300s", what);
    if (bytes != left)
        return err_set(e, STATUS_FORMAT, "%.300s: %zu bytes of data, wanted "
                       "%zu for the shape in the header", what, left, bytes);
    struct tensor t;
    TRY(tensor_init(&t, h.type, &h.shape, e));
    const unsigned char *from = cursor_take(&c, left);
    if (bytes > 0 && h.fortran && h.shape.rank > 1)
        from_fortran(from, t.data, &h.shape, elem);
    else if (bytes > 0)
        memcpy(t.data, from, bytes);
    if (h.swap)
        swap_elements(t.data, bytes / elem, elem);
    *out = t;
    return STATUS_OK;
}

enum status npy_read(const char *path, struct tensor *out, struct err *e)
{
    struct bytes b = { 0 };
    TRY(file_read(path, NPY_CAP, &b, e));
    enum status s = npy_parse(b.data, b.size, path, out, e);
    bytes_fini(&b);
    return s;
}

static void add_header(struct str *s, const struct tensor *t)
{
    const char *descr = dtype_table[t->type].numpy;
    bool big = host_is_big_endian() && descr[0] == '<';
    str_printf(s, "{'descr': '%c%s', 'fortran_order': False, 'shape': (",
               big ? '>' : descr[0], descr + 1);
    for (int i = 0; i < t->shape.rank; i++)
        str_printf(s, i ? ", %" PRId64 : "%" PRId64, t->shape.dim[i]);
    str_add(s, t->shape.rank == 1 ? ",), }" : "), }");
    /* The data begin at a multiple of 64; magic, version and length take
     * 10 bytes, the new line one. */
    while ((10 + s->len + 1) % 64 != 0 && !s->failed)
        str_char(s, ' ');
    str_char(s, '\n');
}

static enum status format_plain(const struct tensor *t, struct bytes *out,
                                struct err *e)
{
    struct str header = { 0 };
    add_header(&header, t);
    size_t data = tensor_bytes(t), start = 10 + header.len;
    struct bytes b = { .size = start + data };
    b.data = header.failed ? NULL : mem_alloc(b.size, 1);
    if (!b.data) {
        str_fini(&header);
        return err_memory(e, "an NPY file");
    }
    memcpy(b.data, magic, MAGIC_SIZE);
    b.data[6] = 1;                               /* version 1.0 */
    b.data[8] = (unsigned char)(header.len & 0xff);
    b.data[9] = (unsigned char)(header.len >> 8);
    memcpy(b.data + 10, header.text, header.len);
    if (data > 0)
        memcpy(b.data + start, t->data, data);
    str_fini(&header);
    *out = b;
    return STATUS_OK;
}

enum status npy_format(const struct tensor *t, struct bytes *out,
                       struct err *e)
{
    if (t->type != DTYPE_BF16)
        return format_plain(t, out, e);
    struct tensor wide = { 0 };
    TRY(tensor_cast(&wide, t, DTYPE_F32, e));
    enum status s = format_plain(&wide, out, e);
    tensor_fini(&wide);
    return s;
}

enum status npy_write(const char *path, const struct tensor *t, struct err *e)
{
    struct bytes b = { 0 };
    TRY(npy_format(t, &b, e));
    enum status s = file_write_atomic(path, b.data, b.size, e);
    bytes_fini(&b);
    return s;
}

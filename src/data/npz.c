/* NPZ files: zip archives of NPY files, read and written in memory only.
 *
 * Refused: more than 10,000 members, encryption, methods other than stored
 * and deflated, deflate gaining more than 200 to 1, members that overlap,
 * names that stand twice, lead out of the archive, or do not end in ".npy".
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "data/npy.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <zip.h>

#include "base/arena.h"
#include "base/file.h"

#define NPZ_CAP ((size_t)8 << 30)      /* bytes of the archive, and of what it
                                          holds */
#define MEMBERS_CAP 10000
#define RATIO_CAP 200
#define LOCAL_HEADER 30                /* bytes before the name, at least */

struct archive {
    const char *path;
    zip_t *zip;
    size_t file_size;
    uint64_t packed, unpacked;         /* sums over the members so far */
};

/* The error of libzip, with the file in front. */
static enum status zip_failed(struct err *e, const char *path, zip_error_t *z)
{
    enum status s = zip_error_code_zip(z) == ZIP_ER_MEMORY ? STATUS_MEM
                                                           : STATUS_FORMAT;
    return err_set(e, s, "%.300s: not a sound zip archive: %s", path,
                   zip_error_strerror(z));
}

/* A member name as it may be shown, and its length without ".npy". */
static enum status check_name(const struct archive *a, const char *name,
                              size_t *stem, struct err *e)
{
    struct str shown = { 0 };
    str_add_clean(&shown, name);
    size_t n = strlen(name);
    const char *why = NULL;
    if (n < 5 || strcmp(name + n - 4, ".npy") != 0)
        why = "does not end in .npy";
    else if (name[0] == '/' || strstr(name, "..") || strchr(name, '\\'))
        why = "leads out of the archive";
    else if (strlen(str_text(&shown)) != n)
        why = "has control characters";
    else if (n > 250)
        why = "is too long";
    if (why)
        err_set(e, STATUS_FORMAT, "%.300s: the name of member '%.80s' %s",
                a->path, str_text(&shown), why);
    str_fini(&shown);
    *stem = n - 4;
    return why ? STATUS_FORMAT : STATUS_OK;
}

static enum status check_sizes(struct archive *a, const zip_stat_t *st,
                               struct err *e)
{
    bool stored = st->comp_method == ZIP_CM_STORE;
    if (st->encryption_method != ZIP_EM_NONE)
        return err_set(e, STATUS_FORMAT, "%.300s: member '%.80s' is "
                       "encrypted", a->path, st->name);
    if (!stored && st->comp_method != ZIP_CM_DEFLATE)
        return err_set(e, STATUS_FORMAT, "%.300s: member '%.80s' is packed "
                       "by method %u, wanted stored or deflated", a->path,
                       st->name, (unsigned)st->comp_method);
    a->packed += LOCAL_HEADER + strlen(st->name);
    if (__builtin_add_overflow(a->packed, st->comp_size, &a->packed) ||
        a->packed > a->file_size)
        return err_set(e, STATUS_FORMAT, "%.300s: members up to '%.80s' "
                       "take more bytes than the file has (%zu): they "
                       "overlap", a->path, st->name, a->file_size);
    if (stored ? st->size != st->comp_size
               : st->size / RATIO_CAP > st->comp_size)
        return err_set(e, STATUS_FORMAT, "%.300s: member '%.80s' has %" PRIu64
                       " bytes packed into %" PRIu64 ", at most %d to 1 is "
                       "read", a->path, st->name, (uint64_t)st->size,
                       (uint64_t)st->comp_size, stored ? 1 : RATIO_CAP);
    if (__builtin_add_overflow(a->unpacked, st->size, &a->unpacked) ||
        a->unpacked > NPZ_CAP)
        return err_set(e, STATUS_FORMAT, "%.300s: holds more than %zu bytes",
                       a->path, NPZ_CAP);
    return STATUS_OK;
}

/* Reads `size` bytes and then the end, where libzip compares the checksum. */
static enum status read_member(zip_file_t *f, const struct archive *a,
                               const char *name, struct bytes *b,
                               struct err *e)
{
    size_t got = 0;
    unsigned char beyond;
    while (got < b->size) {
        zip_int64_t n = zip_fread(f, b->data + got, b->size - got);
        if (n <= 0)
            return err_set(e, STATUS_FORMAT, "%.300s: member '%.80s' is "
                           "damaged after %zu bytes of %zu: %s", a->path, name,
                           got, b->size,
                           n ? zip_error_strerror(zip_file_get_error(f))
                             : "it ends");
        got += (size_t)n;
    }
    zip_int64_t n = zip_fread(f, &beyond, 1);
    if (n != 0)
        return err_set(e, STATUS_FORMAT, "%.300s: member '%.80s' is damaged: "
                       "%s", a->path, name,
                       n < 0 ? zip_error_strerror(zip_file_get_error(f))
                             : "longer than it says");
    return STATUS_OK;
}

static enum status unpack(const struct archive *a, const zip_stat_t *st,
                          struct bytes *b, struct err *e)
{
    zip_file_t *f = zip_fopen_index(a->zip, st->index, 0);
    if (!f)
        return zip_failed(e, a->path, zip_get_error(a->zip));
    b->size = (size_t)st->size;
    b->data = mem_alloc(b->size, 1);
    enum status s = b->data ? read_member(f, a, st->name, b, e)
                            : err_memory(e, st->name);
    zip_fclose(f);
    return s;
}

static enum status add_member(struct archive *a, zip_uint64_t index,
                              struct bag *out, struct err *e)
{
    zip_stat_t st;
    const zip_uint64_t wanted = ZIP_STAT_NAME | ZIP_STAT_SIZE |
                                ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD |
                                ZIP_STAT_ENCRYPTION_METHOD;
    size_t stem = 0;
    if (zip_stat_index(a->zip, index, ZIP_FL_ENC_RAW, &st) != 0)
        return zip_failed(e, a->path, zip_get_error(a->zip));
    if ((st.valid & wanted) != wanted)
        return err_set(e, STATUS_FORMAT, "%.300s: member %" PRIu64 " has no "
                       "name or size", a->path, (uint64_t)index);
    TRY(check_name(a, st.name, &stem, e));
    TRY(check_sizes(a, &st, e));
    char name[256];
    memcpy(name, st.name, stem);
    name[stem] = '\0';
    if (bag_get(out, name))
        return err_set(e, STATUS_FORMAT, "%.300s: two members are named "
                       "'%.80s'", a->path, st.name);
    struct bytes b = { 0 };
    struct tensor t = { 0 };
    enum status s = unpack(a, &st, &b, e);
    if (s == STATUS_OK) {
        s = npy_parse(b.data, b.size, st.name, &t, e);
        if (s != STATUS_OK)
            err_wrap(e, s, "%.300s", a->path);
    }
    bytes_fini(&b);
    if (s == STATUS_OK)
        s = bag_put_tensor(out, name, &t, e);
    return s;
}

static enum status add_members(struct archive *a, struct bag *out,
                               struct err *e)
{
    zip_int64_t n = zip_get_num_entries(a->zip, 0);
    if (n < 1 || n > MEMBERS_CAP)
        return err_set(e, STATUS_FORMAT, "%.300s: %" PRId64 " members, wanted "
                       "1 to %d", a->path, (int64_t)n, MEMBERS_CAP);
    for (zip_int64_t i = 0; i < n; i++)
        TRY(add_member(a, (zip_uint64_t)i, out, e));
    return STATUS_OK;
}

/* A zip over bytes in memory; the bytes stay the caller's. */
static zip_t *open_bytes(const struct bytes *b, int flags, zip_error_t *z,
                         zip_source_t **source)
{
    *source = zip_source_buffer_create(b->data, b->size, 0, z);
    if (!*source)
        return NULL;
    zip_t *zip = zip_open_from_source(*source, flags, z);
    if (!zip)
        zip_source_free(*source);
    return zip;
}

static enum status read_archive(const char *path, const struct bytes *b,
                                struct bag *out, struct err *e)
{
    zip_error_t z;
    zip_source_t *source;
    zip_error_init(&z);
    struct archive a = { .path = path, .file_size = b->size };
    a.zip = open_bytes(b, ZIP_RDONLY | ZIP_CHECKCONS, &z, &source);
    if (!a.zip) {
        enum status s = zip_failed(e, path, &z);
        zip_error_fini(&z);
        return s;
    }
    zip_error_fini(&z);
    enum status s = add_members(&a, out, e);
    zip_discard(a.zip);
    return s;
}

enum status npz_read(const char *path, struct bag **out, struct err *e)
{
    struct bytes b = { 0 };
    TRY(file_read(path, NPZ_CAP, &b, e));
    struct bag *bag = bag_new();
    enum status s = bag ? read_archive(path, &b, bag, e)
                        : err_memory(e, path);
    bytes_fini(&b);
    if (s != STATUS_OK) {
        bag_free(bag);
        return s;
    }
    *out = bag;
    return STATUS_OK;
}

/* `npy` stays with the caller until the archive is closed. */
static bool pack_member(zip_t *zip, const char *name, const struct bytes *npy)
{
    zip_source_t *source = zip_source_buffer(zip, npy->data, npy->size, 0);
    if (!source)
        return false;
    zip_int64_t i = zip_file_add(zip, name, source, ZIP_FL_ENC_UTF_8);
    if (i < 0) {
        zip_source_free(source);
        return false;
    }
    /* A fixed date (the first that zip can hold, in any time zone), so that
     * equal arrays give equal files. */
    const time_t date = 315619200;     /* 1980-01-02 00:00 UTC */
    return zip_set_file_compression(zip, (zip_uint64_t)i, ZIP_CM_STORE,
                                    0) == 0 &&
           zip_file_set_mtime(zip, (zip_uint64_t)i, date, 0) == 0;
}

static enum status pack_members(const char *path, zip_t *zip,
                                const struct bag *b, struct bytes *npy,
                                struct err *e)
{
    for (size_t i = 0; i < bag_count(b); i++) {
        TRY(npy_format(bag_at(b, i), &npy[i], e));
        struct str name = { 0 };
        str_printf(&name, "%s.npy", bag_name(b, i));
        bool ok = !name.failed && pack_member(zip, name.text, &npy[i]);
        str_fini(&name);
        if (!ok)
            return zip_failed(e, path, zip_get_error(zip));
    }
    return STATUS_OK;
}

/* What zip_close left in the memory source. */
static enum status take_source(zip_source_t *source, const char *path,
                               struct bytes *out, struct err *e)
{
    zip_stat_t st;
    zip_stat_init(&st);
    if (zip_source_stat(source, &st) != 0 || !(st.valid & ZIP_STAT_SIZE) ||
        zip_source_open(source) != 0)
        return zip_failed(e, path, zip_source_error(source));
    out->size = (size_t)st.size;
    out->data = mem_alloc(out->size, 1);
    enum status s = STATUS_OK;
    if (!out->data)
        s = err_memory(e, path);
    else if (zip_source_read(source, out->data, st.size) !=
             (zip_int64_t)st.size)
        s = zip_failed(e, path, zip_source_error(source));
    zip_source_close(source);
    return s;
}

static enum status pack(const char *path, const struct bag *b,
                        struct bytes *npy, struct bytes *out, struct err *e)
{
    zip_error_t z;
    zip_source_t *source;
    const struct bytes empty = { 0 };
    zip_error_init(&z);
    zip_t *zip = open_bytes(&empty, ZIP_CREATE | ZIP_TRUNCATE, &z, &source);
    if (!zip) {
        enum status s = zip_failed(e, path, &z);
        zip_error_fini(&z);
        return s;
    }
    zip_error_fini(&z);
    zip_source_keep(source);           /* zip_close drops its own claim */
    enum status s = pack_members(path, zip, b, npy, e);
    if (s == STATUS_OK && zip_close(zip) == 0) {
        s = take_source(source, path, out, e);
    } else {
        if (s == STATUS_OK)
            s = zip_failed(e, path, zip_get_error(zip));
        zip_discard(zip);
    }
    zip_source_free(source);
    return s;
}

enum status npz_write(const char *path, const struct bag *b, struct err *e)
{
    size_t n = bag_count(b);
    struct bytes whole = { 0 };
    struct bytes *npy = mem_alloc(n, sizeof *npy);
    if (!npy)
        return err_memory(e, path);
    enum status s = pack(path, b, npy, &whole, e);
    for (size_t i = 0; i < n; i++)
        bytes_fini(&npy[i]);
    mem_free(npy);
    if (s == STATUS_OK)
        s = file_write_atomic(path, whole.data, whole.size, e);
    bytes_fini(&whole);
    return s;
}

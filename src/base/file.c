/* Whole-file reads with a cap, gzip, atomic writes.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zlib.h>

#include "base/arena.h"
#include "base/str.h"

/* Errors quote at most this much of a path, so that the reason still fits. */
#define PATH_SHOWN "%.300s"

void bytes_fini(struct bytes *b)
{
    mem_free(b->data);
    *b = (struct bytes){ 0 };
}

static enum status io_error(struct err *e, const char *path, const char *what)
{
    const char *why = strerror(errno);
    return err_set(e, STATUS_IO, PATH_SHOWN ": %s: %s", path, what, why);
}

static enum status read_all(int fd, const char *path, struct bytes *b,
                            struct err *e)
{
    size_t got = 0;
    while (got < b->size) {
        ssize_t n = read(fd, b->data + got, b->size - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return io_error(e, path, "cannot read");
        if (n == 0)
            return err_set(e, STATUS_IO,
                           PATH_SHOWN ": cut short while reading: %zu bytes "
                           "of %zu", path, got, b->size);
        got += (size_t)n;
    }
    return STATUS_OK;
}

static enum status check_file(const struct stat *st, const char *path,
                              struct err *e)
{
    if (S_ISDIR(st->st_mode))
        return err_set(e, STATUS_IO, PATH_SHOWN ": is a directory, wanted a "
                       "file", path);
    if (!S_ISREG(st->st_mode) || st->st_size < 0)
        return err_set(e, STATUS_IO, PATH_SHOWN ": is not a regular file",
                       path);
    return STATUS_OK;
}

enum status file_size(const char *path, size_t *out, struct err *e)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return io_error(e, path, "cannot open");
    TRY(check_file(&st, path, e));
    *out = (size_t)st.st_size;
    return STATUS_OK;
}

static enum status read_fd(int fd, const char *path, size_t cap,
                           struct bytes *out, struct err *e)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return io_error(e, path, "cannot read");
    TRY(check_file(&st, path, e));
    if ((uintmax_t)st.st_size > cap)
        return err_set(e, STATUS_IO, PATH_SHOWN ": %jd bytes, at most %zu are "
                       "read", path, (intmax_t)st.st_size, cap);
    struct bytes b = { .size = (size_t)st.st_size };
    b.data = mem_alloc(b.size, 1);
    if (!b.data)
        return err_memory(e, path);
    enum status s = read_all(fd, path, &b, e);
    if (s != STATUS_OK) {
        bytes_fini(&b);
        return s;
    }
    *out = b;
    return STATUS_OK;
}

enum status file_read(const char *path, size_t cap, struct bytes *out,
                      struct err *e)
{
    /* O_NONBLOCK: opening a named pipe must not wait for its writer. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return io_error(e, path, "cannot open");
    enum status s = read_fd(fd, path, cap, out, e);
    close(fd);
    return s;
}

static enum status grow_output(struct bytes *out, size_t cap, const char *path,
                               struct err *e)
{
    if (out->size >= cap)
        return err_set(e, STATUS_IO, PATH_SHOWN ": inflates to more than %zu "
                       "bytes, at most that many are read", path, cap);
    size_t bigger = out->size > cap / 2 ? cap : out->size * 2;
    unsigned char *p = mem_grow(out->data, out->size, bigger);
    if (!p)
        return err_memory(e, path);
    out->data = p;
    out->size = bigger;
    return STATUS_OK;
}

/* Inflates all members of `in` into `out`, whose size is its capacity;
 * `used` counts what is filled. */
static enum status inflate_members(z_stream *z, struct bytes *out,
                                   size_t cap, const char *path,
                                   size_t *used, struct err *e)
{
    for (;;) {
        if (*used == out->size)
            TRY(grow_output(out, cap, path, e));
        size_t room = out->size - *used;
        uInt step = room > UINT_MAX ? UINT_MAX : (uInt)room;
        z->next_out = out->data + *used;
        z->avail_out = step;
        int rc = inflate(z, Z_NO_FLUSH);
        *used += step - z->avail_out;
        if (rc == Z_STREAM_END) {
            if (z->avail_in == 0)
                return STATUS_OK;
            rc = inflateReset(z);       /* gzip allows members in a row */
        }
        if (rc == Z_MEM_ERROR)
            return err_memory(e, path);
        if (rc == Z_BUF_ERROR || (rc == Z_OK && z->avail_in == 0 &&
                                  z->avail_out != 0))
            return err_set(e, STATUS_FORMAT,
                           PATH_SHOWN ": gzip data ends in the middle", path);
        if (rc != Z_OK)
            return err_set(e, STATUS_FORMAT, PATH_SHOWN ": damaged gzip data "
                           "(%s)", path, z->msg ? z->msg : "no details");
    }
}

/* A gzip file ends in its inflated size modulo 2^32 (RFC 1952). Taken as a
 * first guess, so that an honest file is inflated into one block of its size;
 * a lie costs at most what deflate can gain, 1032 to 1. */
static size_t gzip_size_hint(const struct bytes *in, size_t cap)
{
    size_t said = 0;
    for (size_t i = 0; i < 4 && in->size >= 18; i++)
        said = said << 8 | in->data[in->size - 1 - i];
    if (said == 0 || said / 1032 > in->size)
        said = in->size;
    return said > cap ? cap : said;
}

static enum status inflate_bytes(const struct bytes *in, size_t cap,
                                 const char *path, struct bytes *out,
                                 struct err *e)
{
    if (in->size > UINT_MAX)
        return err_set(e, STATUS_IO, PATH_SHOWN ": %zu bytes of gzip data, at "
                       "most %u are read", path, in->size, UINT_MAX);
    struct bytes b = { .size = gzip_size_hint(in, cap) };
    b.data = mem_alloc(b.size, 1);
    if (!b.data)
        return err_memory(e, path);
    z_stream z = { .next_in = in->data, .avail_in = (uInt)in->size };
    if (inflateInit2(&z, 15 + 16) != Z_OK) {
        bytes_fini(&b);
        return err_memory(e, path);
    }
    size_t used = 0;
    enum status s = inflate_members(&z, &b, cap, path, &used, e);
    inflateEnd(&z);
    if (s != STATUS_OK) {
        bytes_fini(&b);
        return s;
    }
    b.size = used;
    *out = b;
    return STATUS_OK;
}

enum status file_read_gz(const char *path, size_t cap, struct bytes *out,
                         struct err *e)
{
    struct bytes raw = { 0 };
    TRY(file_read(path, cap, &raw, e));
    if (raw.size < 2 || raw.data[0] != 0x1f || raw.data[1] != 0x8b) {
        *out = raw;
        return STATUS_OK;
    }
    enum status s = inflate_bytes(&raw, cap, path, out, e);
    bytes_fini(&raw);
    return s;
}

static enum status write_all(int fd, const char *path, const void *data,
                             size_t n, struct err *e)
{
    const unsigned char *p = data;
    while (n > 0) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return io_error(e, path, "cannot write");
        p += done;
        n -= (size_t)done;
    }
    return STATUS_OK;
}

/* mkstemp makes files that only the owner may read; a file that is saved
 * twice keeps its mode, a new one gets what the umask leaves. */
static mode_t wanted_mode(const char *path)
{
    struct stat st;
    if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
        return st.st_mode & 0777;
    mode_t mask = umask(0);
    umask(mask);
    return 0666 & ~mask;
}

/* The rename is on disk only when the folder is. Not every file system
 * allows this; the data are safe in the file either way. */
static void sync_folder(const char *path)
{
    struct str dir = { 0 };
    const char *slash = strrchr(path, '/');
    if (slash)
        str_add_n(&dir, path, (size_t)(slash - path) + 1);
    else
        str_add(&dir, ".");
    int fd = dir.failed ? -1 : open(dir.text, O_RDONLY | O_DIRECTORY |
                                              O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
    str_fini(&dir);
}

static enum status fill_and_rename(int fd, const char *tmp, const char *path,
                                   struct bytes data, struct err *e)
{
    enum status s = write_all(fd, path, data.data, data.size, e);
    if (s == STATUS_OK && fchmod(fd, wanted_mode(path)) != 0)
        s = io_error(e, path, "cannot set the mode");
    if (s == STATUS_OK && fsync(fd) != 0)
        s = io_error(e, path, "cannot write to disk");
    if (close(fd) != 0 && s == STATUS_OK)
        s = io_error(e, path, "cannot write");
    if (s == STATUS_OK && rename(tmp, path) != 0)
        s = io_error(e, path, "cannot put the new file in place");
    if (s != STATUS_OK)
        unlink(tmp);
    return s;
}

enum status file_write_atomic(const char *path, const void *data, size_t n,
                              struct err *e)
{
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return err_set(e, STATUS_IO, PATH_SHOWN ": is a directory, wanted a "
                       "file", path);
    struct str tmp = { 0 };
    str_printf(&tmp, "%s.tmp-XXXXXX", path);
    if (tmp.failed) {
        str_fini(&tmp);
        return err_memory(e, path);
    }
    enum status s;
    int fd = mkostemp(tmp.text, O_CLOEXEC);
    if (fd < 0) {
        s = io_error(e, path, "cannot write");
    } else {
        struct bytes b = { .size = n };
        memcpy(&b.data, &data, sizeof data);   /* only read from */
        s = fill_and_rename(fd, tmp.text, path, b, e);
    }
    if (s == STATUS_OK)
        sync_folder(path);
    str_fini(&tmp);
    return s;
}

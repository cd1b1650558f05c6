/* Files: whole reads with a cap, atomic writes, bounded cursors.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct bytes {
    unsigned char *data;     /* mem_alloc'ed */
    size_t size;
};

void bytes_fini(struct bytes *b);

/* Of a regular file. */
enum status file_size(const char *path, size_t *out, struct err *e);

/* Reads a regular file of at most `cap` bytes. Errors name the path: not
 * found, a directory, larger than the cap, cut short while reading. */
enum status file_read(const char *path, size_t cap, struct bytes *out,
                      struct err *e);

/* As file_read, but inflates gzip data (recognised by its magic); `cap`
 * bounds the inflated size. */
enum status file_read_gz(const char *path, size_t cap, struct bytes *out,
                         struct err *e);

/* Writes to PATH.tmp-XXXXXX, fsyncs, renames: PATH is old or new, whole. */
enum status file_write_atomic(const char *path, const void *data, size_t n,
                              struct err *e);

/* Bounded reader over bytes: every parser's only input. A read beyond the
 * end sets `failed` and yields zeros. */
struct cursor {
    const unsigned char *data;
    size_t size, pos;
    bool failed;
};

struct cursor cursor_over(const void *data, size_t size);
const unsigned char *cursor_take(struct cursor *c, size_t n);  /* or NULL */
uint8_t cursor_u8(struct cursor *c);
uint16_t cursor_u16le(struct cursor *c);
uint32_t cursor_u32be(struct cursor *c);
uint32_t cursor_u32le(struct cursor *c);
uint64_t cursor_u64le(struct cursor *c);

#endif

/* A fast hash of 128 bits, for telling contents apart within a run: the one
 * that Austin Appleby published as MurmurHash3_x64_128. No guard against
 * somebody who looks for collisions; sha256.h is.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_HASH128_H
#define BASE_HASH128_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hash128 {
    uint64_t h[2];
    uint64_t bytes;           /* seen so far */
    unsigned char held[16];   /* bytes % 16 of them */
};

struct digest {
    uint64_t half[2];
};

void hash128_init(struct hash128 *h, uint32_t seed);
/* Bytes alone: the ends of the pieces do not show. */
void hash128_add(struct hash128 *h, const void *data, size_t n);
/* The piece's length goes in before it, so that they do. */
void hash128_add_piece(struct hash128 *h, const void *data, size_t n);
void hash128_add_int(struct hash128 *h, int64_t v);
void hash128_add_text(struct hash128 *h, const char *text);  /* NULL allowed */
struct digest hash128_end(const struct hash128 *h);

static inline bool digest_equal(const struct digest *a,
                                const struct digest *b)
{
    return a->half[0] == b->half[0] && a->half[1] == b->half[1];
}

#endif

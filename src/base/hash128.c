/* MurmurHash3_x64_128 (Austin Appleby, public domain algorithm), fed in
 * pieces. SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/hash128.h"

#include <string.h>

static const uint64_t factor[2] = {0x87c37b91114253d5, 0x4cf5ad432745937f};

static inline uint64_t rotate(uint64_t x, int n)
{
    return x << n | x >> (64 - n);
}

/* Little-endian, so that a digest is the same everywhere. */
static inline uint64_t load(const unsigned char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}

static inline uint64_t spread_low(uint64_t k)
{
    return rotate(k * factor[0], 31) * factor[1];
}

static inline uint64_t spread_high(uint64_t k)
{
    return rotate(k * factor[1], 33) * factor[0];
}

static void mix_blocks(struct hash128 *h, const unsigned char *p, size_t n)
{
    uint64_t a = h->h[0], b = h->h[1];
    for (size_t i = 0; i < n; i++, p += 16) {
        a = (rotate(a ^ spread_low(load(p)), 27) + b) * 5 + 0x52dce729;
        b = (rotate(b ^ spread_high(load(p + 8)), 31) + a) * 5 + 0x38495ab5;
    }
    h->h[0] = a;
    h->h[1] = b;
}

void hash128_init(struct hash128 *h, uint32_t seed)
{
    *h = (struct hash128){ .h = { seed, seed } };
}

void hash128_add(struct hash128 *h, const void *data, size_t n)
{
    const unsigned char *p = data;
    size_t held = h->bytes % 16;
    h->bytes += n;
    if (held > 0) {
        size_t take = 16 - held < n ? 16 - held : n;
        if (take > 0)
            memcpy(h->held + held, p, take);
        p += take;
        n -= take;
        if (held + take < 16)
            return;
        mix_blocks(h, h->held, 1);
    }
    mix_blocks(h, p, n / 16);
    if (n % 16)
        memcpy(h->held, p + n / 16 * 16, n % 16);
}

void hash128_add_int(struct hash128 *h, int64_t v)
{
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)((uint64_t)v >> (8 * i));
    hash128_add(h, bytes, sizeof bytes);
}

void hash128_add_piece(struct hash128 *h, const void *data, size_t n)
{
    hash128_add_int(h, (int64_t)n);
    hash128_add(h, data, n);
}

void hash128_add_text(struct hash128 *h, const char *text)
{
    hash128_add_int(h, text ? (int64_t)strlen(text) : -1);
    if (text)
        hash128_add(h, text, strlen(text));
}

static uint64_t scatter(uint64_t k)
{
    k = (k ^ k >> 33) * 0xff51afd7ed558ccd;
    k = (k ^ k >> 33) * 0xc4ceb9fe1a85ec53;
    return k ^ k >> 33;
}

struct digest hash128_end(const struct hash128 *h)
{
    unsigned char rest[16] = { 0 };
    size_t held = h->bytes % 16;
    memcpy(rest, h->held, held);
    uint64_t a = h->h[0], b = h->h[1];
    if (held > 8)
        b ^= spread_high(load(rest + 8));
    if (held > 0)
        a ^= spread_low(load(rest));
    a ^= h->bytes;
    b ^= h->bytes;
    a += b;
    b += a;
    a = scatter(a);
    b = scatter(b);
    a += b;
    b += a;
    return (struct digest){ { a, b } };
}

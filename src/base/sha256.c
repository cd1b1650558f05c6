/* SHA-256 (FIPS 180-4, sections 4.1.2, 5 and 6.2).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/sha256.h"

#include <string.h>

/* The first 32 bits of the fractional parts of the cube roots of the first
 * 64 primes. */
static const uint32_t round_constant[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1,
    0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
    0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
    0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
    0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
    0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
    0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

void sha256_init(struct sha256 *h)
{
    static const uint32_t start[8] = {
        0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
    };
    memcpy(h->state, start, sizeof start);
    h->bytes = 0;
}

static uint32_t rotate(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

static uint32_t small_sigma(uint32_t x, int a, int b, int shift)
{
    return rotate(x, a) ^ rotate(x, b) ^ x >> shift;
}

static uint32_t big_sigma(uint32_t x, int a, int b, int c)
{
    return rotate(x, a) ^ rotate(x, b) ^ rotate(x, c);
}

static void spread(const unsigned char *block, uint32_t w[64])
{
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 |
               (uint32_t)block[4 * i + 1] << 16 |
               (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (int i = 16; i < 64; i++)
        w[i] = small_sigma(w[i - 2], 17, 19, 10) + w[i - 7] +
               small_sigma(w[i - 15], 7, 18, 3) + w[i - 16];
}

/* One block of 64 bytes; s: a b c d e f g h of the standard. */
static void compress(struct sha256 *h, const unsigned char *block)
{
    uint32_t w[64], s[8];
    spread(block, w);
    memcpy(s, h->state, sizeof s);
    for (int i = 0; i < 64; i++) {
        uint32_t choose = (s[4] & s[5]) ^ (~s[4] & s[6]);
        uint32_t major = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
        uint32_t t1 = s[7] + big_sigma(s[4], 6, 11, 25) + choose +
                      round_constant[i] + w[i];
        uint32_t t2 = big_sigma(s[0], 2, 13, 22) + major;
        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += t1;
        s[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++)
        h->state[i] += s[i];
}

void sha256_add(struct sha256 *h, const void *data, size_t n)
{
    const unsigned char *p = data;
    size_t held = h->bytes % 64;
    h->bytes += n;
    while (n > 0) {
        size_t take = 64 - held < n ? 64 - held : n;
        if (held == 0 && take == 64) {
            compress(h, p);
        } else {
            memcpy(h->block + held, p, take);
            held += take;
            if (held == 64) {
                compress(h, h->block);
                held = 0;
            }
        }
        p += take;
        n -= take;
    }
}

void sha256_hex(struct sha256 *h, char out[65])
{
    static const char digit[] = "0123456789abcdef";
    static const unsigned char pad[64] = { 0x80 };
    uint64_t bits = h->bytes * 8;
    unsigned char length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)(bits >> (56 - 8 * i));
    sha256_add(h, pad, 1 + (119 - h->bytes % 64) % 64);
    sha256_add(h, length, sizeof length);
    for (int i = 0; i < 64; i++)
        out[i] = digit[h->state[i / 8] >> (28 - 4 * (i % 8)) & 15];
    out[64] = '\0';
}

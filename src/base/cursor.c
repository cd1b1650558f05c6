/* Bounded reader over bytes. SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/file.h"

struct cursor cursor_over(const void *data, size_t size)
{
    return (struct cursor){ .data = data, .size = size };
}

const unsigned char *cursor_take(struct cursor *c, size_t n)
{
    if (c->failed || n > c->size - c->pos) {
        c->failed = true;
        return NULL;
    }
    const unsigned char *p = c->data + c->pos;
    c->pos += n;
    return p;
}

/* n bytes, least significant first; zero beyond the end. */
static uint64_t take_le(struct cursor *c, size_t n)
{
    const unsigned char *p = cursor_take(c, n);
    uint64_t v = 0;
    for (size_t i = p ? n : 0; i > 0; i--)
        v = v << 8 | p[i - 1];
    return v;
}

uint8_t cursor_u8(struct cursor *c)
{
    return (uint8_t)take_le(c, 1);
}

uint16_t cursor_u16le(struct cursor *c)
{
    return (uint16_t)take_le(c, 2);
}

uint32_t cursor_u32le(struct cursor *c)
{
    return (uint32_t)take_le(c, 4);
}

uint64_t cursor_u64le(struct cursor *c)
{
    return take_le(c, 8);
}

uint32_t cursor_u32be(struct cursor *c)
{
    return __builtin_bswap32(cursor_u32le(c));
}

/* UTF-8 text as columns of a terminal.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/columns.h"

#include <string.h>

int utf8_length(unsigned char b)
{
    if (b >= 0xf0 && b < 0xf5)
        return 4;
    if (b >= 0xe0 && b < 0xf0)
        return 3;
    return b >= 0xc2 && b < 0xe0 ? 2 : 1;
}

/* Decodes one character; 0 bytes when it is malformed or overlong. */
static int decode(const char *s, size_t n, uint32_t *out)
{
    unsigned char b = (unsigned char)s[0];
    int len = utf8_length(b);
    if (len == 1) {
        *out = b;
        return b < 0x80 ? 1 : 0;
    }
    if ((size_t)len > n)
        return 0;
    uint32_t c = b & (0xffu >> (len + 1));
    for (int i = 1; i < len; i++) {
        unsigned char t = (unsigned char)s[i];
        if ((t & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (t & 0x3f);
    }
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return 0;
    *out = c;
    return len;
}

struct range {
    uint32_t first, last;
};

/* East Asian wide and full-width blocks, and emoji (Unicode 15, rounded to
 * blocks). */
static const struct range wide[] = {
    { 0x1100, 0x115f },   { 0x2e80, 0x303e },   { 0x3041, 0x33ff },
    { 0x3400, 0x4dbf },   { 0x4e00, 0x9fff },   { 0xa000, 0xa4cf },
    { 0xac00, 0xd7a3 },   { 0xf900, 0xfaff },   { 0xfe30, 0xfe6f },
    { 0xff00, 0xff60 },   { 0xffe0, 0xffe6 },   { 0x1f300, 0x1f64f },
    { 0x1f680, 0x1f6ff }, { 0x1f900, 0x1f9ff }, { 0x20000, 0x3fffd },
};

static const struct range combining[] = {
    { 0x0300, 0x036f }, { 0x0483, 0x0489 }, { 0x0591, 0x05bd },
    { 0x0610, 0x061a }, { 0x064b, 0x065f }, { 0x0900, 0x0902 },
    { 0x0e34, 0x0e3a }, { 0x1ab0, 0x1aff }, { 0x1dc0, 0x1dff },
    { 0x200b, 0x200f }, { 0x20d0, 0x20ff }, { 0xfe00, 0xfe0f },
    { 0xfe20, 0xfe2f },
};

static bool in_ranges(uint32_t c, const struct range *r, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (c >= r[i].first && c <= r[i].last)
            return true;
    return false;
}

/* Columns of a character; -1 for what must be spelled. Not wcwidth: that
 * depends on the locale, and tables must look the same everywhere. */
static int char_width(uint32_t c)
{
    if (c < 0x20 || (c >= 0x7f && c < 0xa0))
        return -1;
    if (in_ranges(c, combining, sizeof combining / sizeof combining[0]))
        return 0;
    return in_ranges(c, wide, sizeof wide / sizeof wide[0]) ? 2 : 1;
}

static void spell(struct unit *u, unsigned char b)
{
    static const char hex[] = "0123456789abcdef";
    u->spelled = true;
    if (b < 0x20 || b == 0x7f) {
        u->ch[0] = '^';
        u->ch[1] = b ^ 0x40u;
        u->n = 2;
    } else {
        u->ch[0] = '\\';
        u->ch[1] = 'x';
        u->ch[2] = (unsigned char)hex[b >> 4];
        u->ch[3] = (unsigned char)hex[b & 15];
        u->n = 4;
    }
    u->width = u->n;
    u->bytes = 1;
}

static void add_marks(struct unit *u, const char *s, size_t n)
{
    for (;;) {
        size_t at = (size_t)u->bytes;
        uint32_t c;
        if (at >= n || (unsigned char)s[at] < 0x80)
            return;
        int len = decode(s + at, n - at, &c);
        if (len == 0 || char_width(c) != 0)
            return;
        if (u->n < UNIT_CHARS)
            u->ch[u->n++] = c;
        u->bytes += len;
    }
}

bool unit_at(const char *s, size_t n, struct unit *out)
{
    memset(out, 0, sizeof *out);
    if (n == 0)
        return false;
    uint32_t c;
    int len = decode(s, n, &c);
    int width = len ? char_width(c) : -1;
    if (width < 0) {
        spell(out, (unsigned char)s[0]);
        return true;
    }
    if (width == 0) {             /* a mark with nothing to stand on */
        out->ch[out->n++] = ' ';
        width = 1;
    }
    out->ch[out->n++] = c;
    out->width = width;
    out->bytes = len;
    add_marks(out, s, n);
    return true;
}

int text_width_n(const char *s, size_t n)
{
    struct unit u;
    int columns = 0;
    while (unit_at(s, n, &u)) {
        columns += u.width;
        s += u.bytes;
        n -= (size_t)u.bytes;
    }
    return columns;
}

int text_width(const char *s)
{
    return text_width_n(s, strlen(s));
}

size_t text_fit(const char *s, int columns)
{
    struct unit u;
    size_t n = strlen(s), at = 0;
    while (unit_at(s + at, n - at, &u) && u.width <= columns) {
        columns -= u.width;
        at += (size_t)u.bytes;
    }
    return at;
}

int utf8_put(uint32_t c, char out[5])
{
    int len = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
    out[len] = 0;
    for (int i = len - 1; i > 0; i--) {
        out[i] = (char)(unsigned char)(0x80 | (c & 0x3f));
        c >>= 6;
    }
    out[0] = (char)(unsigned char)(lead[len] | c);
    return len;
}

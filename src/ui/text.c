/* UTF-8 text as columns of a terminal, and numbers for people.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ui/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>

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

/* Columns of a character; -1 for what must be spelled. The C locale knows
 * no character beyond ASCII: they count as one column, drawn as `?`. */
static int char_width(uint32_t c)
{
    if (c < 0x20 || (c >= 0x7f && c < 0xa0))
        return -1;
    if (c < 0x7f)
        return 1;
    int w = wcwidth((wchar_t)c);
    return w < 0 ? 1 : w;
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

/* True when v was written because it is not finite. */
static bool put_special(char out[NUMBER_TEXT], double v)
{
    if (isfinite(v))
        return false;
    snprintf(out, NUMBER_TEXT, "%s",
             isnan(v) ? "nan" : v > 0 ? "inf" : "-inf");
    return true;
}

static char *drop_leading_zero(char *s)
{
    char *zero = s + (*s == '-');
    if (zero[0] == '0' && zero[1] == '.')
        memmove(zero, zero + 1, strlen(zero));
    return s;
}

char *text_fraction(char out[NUMBER_TEXT], double v)
{
    if (put_special(out, v))
        return out;
    if (fabs(v) < 0.00005)
        v = 0;
    snprintf(out, NUMBER_TEXT, fabs(v) < 0.99995 ? "%.4f" : "%.3f", v);
    return drop_leading_zero(out);
}

/* "2.10e-03" -> "2.1e-3" */
static void tidy_exponent(char *s)
{
    char *e = strchr(s, 'e');
    char *from = e + 1, *to = e;
    while (to[-1] == '0')
        to--;
    if (to[-1] == '.')
        to--;
    *to++ = 'e';
    if (*from == '-')
        *to++ = '-';
    from++;
    while (*from == '0' && from[1])
        from++;
    memmove(to, from, strlen(from) + 1);
}

static char *significant(char out[NUMBER_TEXT], double v, int digits)
{
    if (put_special(out, v))
        return out;
    double a = fabs(v);
    if (a != 0 && (a < 0.01 || a >= 99999.5)) {
        snprintf(out, NUMBER_TEXT, "%.*e", digits > 3 ? 2 : 1, v);
        tidy_exponent(out);
        return out;
    }
    int whole = a >= 1000 ? 4 : a >= 100 ? 3 : a >= 10 ? 2 : 1;
    int places = digits - whole < 3 ? digits - whole : 3;
    snprintf(out, NUMBER_TEXT, "%.*f", places > 0 ? places : 0, v);
    if (strchr(out, '.')) {
        char *end = out + strlen(out);
        while (end[-1] == '0')
            *--end = 0;
        if (end[-1] == '.')
            end[-1] = 0;
    }
    return drop_leading_zero(out);
}

char *text_number(char out[NUMBER_TEXT], double v)
{
    return significant(out, v, 4);
}

char *text_short(char out[NUMBER_TEXT], double v)
{
    return significant(out, v, 3);
}

char *text_count(char out[NUMBER_TEXT], double v)
{
    static const char suffix[] = " kMGTP";
    if (put_special(out, v))
        return out;
    int k = 0;
    while (fabs(v) >= 999.5 && suffix[k + 1]) {
        v /= 1000;
        k++;
    }
    if (k == 0)
        snprintf(out, NUMBER_TEXT, "%.0f", v);
    else
        snprintf(out, NUMBER_TEXT, "%.*f%c", fabs(v) < 99.95 ? 1 : 0, v,
                 suffix[k]);
    return out;
}

char *text_time(char out[NUMBER_TEXT], double seconds)
{
    if (!isfinite(seconds) || seconds < 0 || seconds > 1e7) {
        snprintf(out, NUMBER_TEXT, "-:--");
        return out;
    }
    long s = lround(seconds);
    if (s < 3600)
        snprintf(out, NUMBER_TEXT, "%ld:%02ld", s / 60, s % 60);
    else
        snprintf(out, NUMBER_TEXT, "%ld:%02ld:%02ld", s / 3600,
                 s / 60 % 60, s % 60);
    return out;
}

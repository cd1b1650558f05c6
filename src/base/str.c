/* Growing strings, and making foreign text safe to show.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/str.h"

#include <errno.h>
#include <limits.h>
#include <locale.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

/* Makes room for n more characters and the end mark. The text is malloc'ed,
 * not mem_alloc'ed, because str_take hands it to owners who free() it. */
static bool str_reserve(struct str *s, size_t n)
{
    if (s->failed)
        return false;
    if (n < s->cap - s->len)
        return true;
    if (n > SIZE_MAX / 2 - s->len - 1) {
        s->failed = true;
        return false;
    }
    size_t cap = s->cap ? s->cap : 32;
    while (cap < s->len + n + 1)
        cap *= 2;
    char *text = mem_fails_now() ? NULL : realloc(s->text, cap);
    if (!text) {
        s->failed = true;
        return false;
    }
    if (!s->cap)
        text[0] = '\0';
    s->text = text;
    s->cap = cap;
    return true;
}

void str_fini(struct str *s)
{
    free(s->text);
    *s = (struct str){ 0 };
}

void str_clear(struct str *s)
{
    s->len = 0;
    s->failed = false;
    if (s->text)
        s->text[0] = '\0';
}

void str_add_n(struct str *s, const char *text, size_t n)
{
    if (!str_reserve(s, n))
        return;
    memcpy(s->text + s->len, text, n);
    s->len += n;
    s->text[s->len] = '\0';
}

void str_add(struct str *s, const char *text)
{
    str_add_n(s, text, strlen(text));
}

void str_char(struct str *s, char c)
{
    str_add_n(s, &c, 1);
}

void str_printf(struct str *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) {
        s->failed = true;
        return;
    }
    if (!str_reserve(s, (size_t)n))
        return;
    va_start(ap, fmt);
    vsnprintf(s->text + s->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    s->len += (size_t)n;
}

const char *str_text(const struct str *s)
{
    return s->text ? s->text : "";
}

char *str_take(struct str *s)
{
    if (!s->text)
        str_add_n(s, "", 0);
    char *text = s->text;
    *s = (struct str){ 0 };
    return text;
}

/* Length of the well-formed UTF-8 sequence at p (RFC 3629: no overlong
 * forms, no surrogates, nothing above U+10FFFF) and its code point; 0 when
 * there is none. */
static size_t utf8_next(const unsigned char *p, uint32_t *code)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    size_t n = p[0] < 0x80 ? 1
               : p[0] >= 0xf0 && p[0] < 0xf8 ? 4
               : p[0] >= 0xe0 && p[0] < 0xf0 ? 3
               : p[0] >= 0xc0 && p[0] < 0xe0 ? 2
                                             : 0;
    if (n <= 1) {
        *code = p[0];
        return n;
    }
    uint32_t c = p[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3fu);
    }
    if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 0;
    *code = c;
    return n;
}

/* Characters that move the cursor, start an escape sequence or turn the
 * direction of the text (U+202A..202E, U+2066..2069). */
static bool is_unsafe(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x2028 ||
           c == 0x2029 || c == 0x200e || c == 0x200f ||
           (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

void str_add_clean(struct str *out, const char *s)
{
    const unsigned char *p = (const unsigned char *)s;

    while (*p) {
        uint32_t code = 0;
        size_t n = utf8_next(p, &code);
        if (n && !is_unsafe(code)) {
            str_add_n(out, (const char *)p, n);
            p += n;
            continue;
        }
        for (size_t i = 0; i < (n ? n : 1); i++)
            str_printf(out, "\\x%02X", p[i]);
        p += n ? n : 1;
    }
}

static enum status not_a_number(const char *s, const char *what, struct err *e)
{
    struct str clean = { 0 };
    str_add_clean(&clean, s);
    err_set(e, STATUS_ARG, "'%.60s' is %s", str_text(&clean), what);
    str_fini(&clean);
    return STATUS_ARG;
}

enum status str_to_double(const char *s, double *out, struct err *e)
{
    /* strtod also takes blanks and hexadecimal; a command line should not. */
    if (!s[0] || strchr(" \t\n\v\f\r", s[0]) || strpbrk(s, "xX("))
        return not_a_number(s, "not a number", e);
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!c)
        return err_memory(e, "a locale");
    char *end;
    errno = 0;
    double v = strtod_l(s, &end, c);
    int error = errno;
    freelocale(c);
    if (end == s || *end)
        return not_a_number(s, "not a number", e);
    if (error == ERANGE && (v > 1 || v < -1))
        return not_a_number(s, "too large a number", e);
    *out = v;
    return STATUS_OK;
}

enum status str_to_int(const char *s, long long *out, struct err *e)
{
    const char *digits = s + (s[0] == '-' || s[0] == '+');
    if (!digits[0] || strspn(digits, "0123456789") != strlen(digits))
        return not_a_number(s, "not a whole number", e);
    errno = 0;
    long long v = strtoll(s, NULL, 10);
    if (errno == ERANGE)
        return not_a_number(s, "too large a number", e);
    *out = v;
    return STATUS_OK;
}

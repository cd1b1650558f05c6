/* The output sink, and text on its way to it.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "lab/out.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

void out_text(struct out *o, enum out_level level, const char *lines)
{
    if (o->json_only && level < OUT_WARN)
        return;
    struct str one = { 0 };
    do {
        const char *end = strchr(lines, '\n');
        size_t n = end ? (size_t)(end - lines) : strlen(lines);
        str_clear(&one);
        str_add_n(&one, lines, n);
        o->ops->line(o->ctx, level, str_text(&one));
        lines += n + (end != NULL);
    } while (*lines);
    str_fini(&one);
}

void out_printf(struct out *o, enum out_level level, const char *fmt, ...)
{
    char *text = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    out_text(o, level, text);
    free(text);
}

enum status text_write(const char *path, const char *text, size_t n,
                       bool append, struct err *e)
{
    if (!append)
        return file_write_atomic(path, text, n, e);
    FILE *f = fopen(path, "a");
    if (!f)
        return err_set(e, STATUS_IO, "%s: %s", path, strerror(errno));
    bool bad = fwrite(text, 1, n, f) != n;
    bad |= fclose(f) != 0;
    return bad ? err_set(e, STATUS_IO, "%s: %s", path, strerror(errno))
               : STATUS_OK;
}

/* ---- widths ---- */

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

/* One character: its bytes, and its columns in *width. */
static size_t char_next(const unsigned char *p, int *width)
{
    uint32_t c = p[0];
    size_t n = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 0;
    bool ok = n > 0;
    if (n > 1)
        c &= 0x7fu >> n;
    for (size_t i = 1; ok && i < n; i++) {
        ok = (p[i] & 0xc0) == 0x80;
        c = c << 6 | (p[i] & 0x3fu);
    }
    if (!ok) {
        *width = 4;
        return 1;
    }
    *width = in_ranges(c, combining, sizeof combining / sizeof combining[0])
                 ? 0
             : in_ranges(c, wide, sizeof wide / sizeof wide[0]) ? 2
                                                                : 1;
    return n;
}

int text_width(const char *s)
{
    int total = 0, w;
    for (const unsigned char *p = (const unsigned char *)s; *p; total += w)
        p += char_next(p, &w);
    return total;
}

size_t text_fit(const char *s, int width)
{
    const unsigned char *p = (const unsigned char *)s;
    size_t n = 0;
    int used = 0;
    while (p[n]) {
        int w;
        size_t k = char_next(p + n, &w);
        if (used + w > width)
            break;
        used += w;
        n += k;
    }
    return n;
}

/* ---- capture ---- */

static void capture_line(void *ctx, enum out_level level, const char *text)
{
    struct out_capture *c = ctx;
    if ((int)level >= c->min_level) {
        str_add(&c->text, text);
        str_char(&c->text, '\n');
    }
    if (c->below)
        out_text(c->below, level, text);
}

static void capture_json(void *ctx, const char *object)
{
    struct out_capture *c = ctx;
    if (c->below && c->below->ops->json)
        c->below->ops->json(c->below->ctx, object);
}

static const struct out_ops capture_ops = {
    .line = capture_line,
    .json = capture_json,
};

void out_capture_init(struct out_capture *c, const struct out *like,
                      struct out *below)
{
    *c = (struct out_capture){ .below = below, .min_level = OUT_RESULT };
    if (like)
        c->out = *like;
    c->out.ops = &capture_ops;
    c->out.ctx = c;
    c->out.json_only = false;
}

void out_capture_fini(struct out_capture *c)
{
    str_fini(&c->text);
}

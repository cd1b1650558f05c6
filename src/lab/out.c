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

/* ---- capture ---- */

static void capture_line(void *ctx, enum out_level level, const char *text)
{
    struct out_capture *c = ctx;
    bool keep = (int)level >= c->min_level && (int)level <= c->max_level;
    if (keep) {
        str_add(&c->text, text);
        str_char(&c->text, '\n');
    }
    if (c->below && !(keep && c->apart))
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
    *c = (struct out_capture){ .below = below, .min_level = OUT_RESULT,
                               .max_level = OUT_ERROR };
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

/* The input router. SPDX-License-Identifier: GPL-3.0-or-later */
#include "ui/router.h"

#include <stdio.h>
#include <string.h>

#include "ui/text.h"

enum { ESC = 0x1b, SEQUENCE_MAX = ROUTER_RAW - 1 };
static const double escape_default = 0.04, sequence_timeout = 0.5;
static const char paste_end[] = "\033[201~";

/* Escape sequences with a name, without the leading ESC. */
static const struct {
    const char *sequence, *key;
} named[] = {
    { "[A", "Up" }, { "OA", "Up" }, { "[B", "Down" }, { "OB", "Down" },
    { "[C", "Right" }, { "OC", "Right" }, { "[D", "Left" }, { "OD", "Left" },
    { "[H", "Home" }, { "OH", "Home" }, { "[1~", "Home" }, { "[7~", "Home" },
    { "[F", "End" }, { "OF", "End" }, { "[4~", "End" }, { "[8~", "End" },
    { "[5~", "PgUp" }, { "[6~", "PgDn" }, { "[2~", "Ins" },
    { "[3~", "Del" }, { "[Z", "S-Tab" },
    { "OP", "F1" }, { "[11~", "F1" }, { "[[A", "F1" },
    { "OQ", "F2" }, { "[12~", "F2" }, { "[[B", "F2" },
    { "OR", "F3" }, { "[13~", "F3" }, { "[[C", "F3" },
    { "OS", "F4" }, { "[14~", "F4" }, { "[[D", "F4" },
    { "[15~", "F5" }, { "[[E", "F5" }, { "[17~", "F6" }, { "[18~", "F7" },
    { "[19~", "F8" }, { "[20~", "F9" }, { "[21~", "F10" },
    { "[23~", "F11" }, { "[24~", "F12" },
};

/* Control characters whose key has a name of its own. */
static const struct {
    unsigned char byte;
    const char *key;
} controls[] = {
    { '\r', "Enter" }, { '\n', "Enter" }, { '\t', "Tab" },
    { 0x7f, "Backspace" }, { ' ', "Space" },
};

void router_fini(struct router *r)
{
    str_fini(&r->paste);
    *r = (struct router){ .n = 0 };
}

size_t router_add(struct router *r, const void *bytes, size_t n, double now)
{
    size_t room = sizeof r->queue - r->n;
    n = n < room ? n : room;
    if (r->n == 0)
        r->since = now;
    memcpy(r->queue + r->n, bytes, n);
    r->n += n;
    return n;
}

static void drop(struct router *r, size_t n, double now)
{
    r->n -= n;
    memmove(r->queue, r->queue + n, r->n);
    r->since = now;
}

/* Bytes of the escape sequence at the front; 0 while it is incomplete. */
static size_t sequence_length(const struct router *r)
{
    if (r->n < 2)
        return 0;
    unsigned char kind = r->queue[1];
    if (kind == 'O')
        return r->n < 3 ? 0 : 3;
    if (kind != '[') {        /* Meta and a character */
        size_t need = 1 + (size_t)utf8_length(kind);
        return kind == ESC ? 1 : r->n < need ? 0 : need;
    }
    if (r->n >= 3 && r->queue[2] == '[')      /* Linux console: ESC [ [ A */
        return r->n < 4 ? 0 : 4;
    for (size_t i = 2; i < r->n; i++) {
        if (r->queue[i] >= 0x40 && r->queue[i] <= 0x7e)
            return i + 1;
        if (r->queue[i] < 0x20 || i >= SEQUENCE_MAX)
            return i;         /* not a sequence after all */
    }
    return 0;
}

static void name_sequence(struct input *in)
{
    if (in->raw_len == 1) {
        snprintf(in->key, sizeof in->key, "Esc");
        return;
    }
    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++) {
        if (!strcmp(named[i].sequence, in->raw + 1)) {
            snprintf(in->key, sizeof in->key, "%s", named[i].key);
            return;
        }
    }
    if (in->raw[1] != '[' && in->raw[1] != 'O')
        snprintf(in->key, sizeof in->key, "M-%.4s", in->raw + 1);
}

static void name_character(struct input *in)
{
    unsigned char b = (unsigned char)in->raw[0];
    for (size_t i = 0; i < sizeof controls / sizeof controls[0]; i++) {
        if (b == controls[i].byte) {
            snprintf(in->key, sizeof in->key, "%s", controls[i].key);
            return;
        }
    }
    if (b < 0x20)
        snprintf(in->key, sizeof in->key, "C-%c",
                 b >= 1 && b <= 26 ? b + 0x60 : b + 0x40);
    else
        snprintf(in->key, sizeof in->key, "%.5s", in->raw);
}

static void take(struct router *r, size_t n, double now, struct input *out)
{
    n = n < SEQUENCE_MAX ? n : SEQUENCE_MAX;
    memcpy(out->raw, r->queue, n);
    out->raw[n] = 0;
    out->raw_len = (int)n;
    out->kind = INPUT_KEY;
    drop(r, n, now);
}

/* What of a paste is kept: text, tabs, line feeds (also for returns). */
static void paste_add(struct router *r, const unsigned char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = s[i] == '\r' ? '\n' : s[i];
        if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
            continue;
        if (r->paste.len >= ROUTER_PASTE_MAX) {
            r->too_long = true;
            return;
        }
        str_char(&r->paste, (char)c);
    }
}

/* Takes from the queue what belongs to the paste; true at its end. */
static bool collect_paste(struct router *r, double now, struct input *out)
{
    size_t end_len = sizeof paste_end - 1;
    unsigned char *end = memmem(r->queue, r->n, paste_end, end_len);
    size_t n = end ? (size_t)(end - r->queue) : r->n;
    if (!end) {               /* the end may have come in part */
        for (size_t k = end_len - 1; k > 0; k--) {
            if (n >= k && !memcmp(r->queue + n - k, paste_end, k)) {
                n -= k;
                break;
            }
        }
    }
    paste_add(r, r->queue, n);
    drop(r, n, now);
    if (!end)
        return false;
    drop(r, end_len, now);
    r->pasting = false;
    out->kind = r->too_long ? INPUT_PASTE_TOO_LONG : INPUT_PASTE;
    out->text = str_text(&r->paste);
    return true;
}

static const struct {
    int button;
    const char *key;
} buttons[] = { { 0, "Click" }, { 64, "WheelUp" }, { 65, "WheelDown" } };

/* ESC [ < button ; x ; y M, with m for a release. */
static void take_mouse(struct input *in)
{
    int button, x, y;
    char end;
    in->kind = INPUT_NONE;
    if (sscanf(in->raw + 3, "%d;%d;%d%c", &button, &x, &y, &end) != 4 ||
        end != 'M')
        return;
    for (size_t i = 0; i < sizeof buttons / sizeof buttons[0]; i++) {
        if (buttons[i].button == button) {
            snprintf(in->key, sizeof in->key, "%s", buttons[i].key);
            in->kind = INPUT_MOUSE;
            in->x = x - 1;
            in->y = y - 1;
        }
    }
}

/* The terminal's window got or lost the keyboard: nobody asked. */
static bool is_focus_report(const struct input *in)
{
    return !strcmp(in->raw, "\033[I") || !strcmp(in->raw, "\033[O");
}

static bool next_escape(struct router *r, double now, struct input *out)
{
    size_t n = sequence_length(r);
    if (n == 0 && router_wait(r, now) > 0)
        return false;
    if (n == 0 && r->n > 1) {         /* broken: it never ended */
        drop(r, r->n, now);
        return true;
    }
    take(r, n ? n : 1, now, out);
    if (!strcmp(out->raw, "\033[200~")) {
        r->pasting = true;
        r->too_long = false;
        str_clear(&r->paste);
        out->kind = INPUT_NONE;
    } else if (!strncmp(out->raw, "\033[<", 3)) {
        take_mouse(out);
    } else if (is_focus_report(out)) {
        out->kind = INPUT_NONE;
    } else {
        name_sequence(out);
    }
    return true;
}

static bool next_unit(struct router *r, double now, struct input *out)
{
    if (r->pasting)
        return collect_paste(r, now, out);
    if (r->n == 0)
        return false;
    if (r->queue[0] == ESC)
        return next_escape(r, now, out);
    size_t need = (size_t)utf8_length(r->queue[0]);
    if (r->n < need && router_wait(r, now) > 0)
        return false;
    struct unit u;
    size_t n = r->n < need ? r->n : need;
    bool whole = unit_at((const char *)r->queue, n, &u) && !u.spelled;
    if (r->queue[0] >= 0x80 && !whole) {
        drop(r, 1, now);      /* not UTF-8: no key sends that */
        return true;
    }
    take(r, n, now, out);
    name_character(out);
    return true;
}

bool router_next(struct router *r, double now, struct input *out)
{
    for (;;) {
        *out = (struct input){ .kind = INPUT_NONE };
        if (!next_unit(r, now, out))
            return false;
        if (out->kind != INPUT_NONE)
            return true;
    }
}

double router_wait(const struct router *r, double now)
{
    if (r->pasting || r->n == 0)
        return -1;
    double lone = r->escape_timeout > 0 ? r->escape_timeout : escape_default;
    double limit = r->n == 1 && r->queue[0] == ESC ? lone : sequence_timeout;
    double left = r->since + limit - now;
    return left > 0 ? left : 0;
}

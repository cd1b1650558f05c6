/* The prompt's line in one row, scrolled sideways when it is longer.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "ui/prompt.h"

/* First column shown: 0, or a multiple of half a page that brings the
 * cursor in, one column away from either edge. */
static int first_column(int cursor, int room)
{
    int page = room / 2 > 0 ? room / 2 : 1;
    if (cursor < room)
        return 0;
    return ((cursor - room) / page + 1) * page;
}

/* Draws text that would start at column `at` of the whole line; returns the
 * column after it. */
static int draw_text(const struct area *a, int at, int first, enum style st,
                     const char *text)
{
    size_t n = strlen(text);
    struct unit u;
    while (unit_at(text, n, &u)) {
        char part[64];
        size_t bytes = (size_t)u.bytes < sizeof part ? (size_t)u.bytes
                                                     : sizeof part - 1;
        memcpy(part, text, bytes);
        part[bytes] = 0;
        if (at >= first)
            area_text(a, 0, at - first, st, part);
        else if (at + u.width > first)
            area_char(a, 0, 0, st, ' ');
        at += u.width;
        text += u.bytes;
        n -= (size_t)u.bytes;
    }
    return at;
}

int prompt_draw(const struct area *a, const struct prompt_view *v)
{
    size_t length = strlen(v->line);
    size_t point = v->point < 0 ? 0 : (size_t)v->point;
    point = point > length ? length : point;
    int before = text_width(v->prompt) + text_width_n(v->line, point);
    int first = first_column(before, a->w);
    area_fill(a, 0, 0, a->w, STYLE_TEXT, ' ');
    int end = draw_text(a, 0, first, STYLE_ACCENT, v->prompt);
    end = draw_text(a, end, first, STYLE_TEXT, v->line);
    if (first > 0)
        area_char(a, 0, 0, STYLE_WARN, '<');
    if (end - first > a->w)
        area_char(a, 0, a->w - 1, STYLE_WARN, '>');
    int cursor = before - first;
    return cursor < a->w ? cursor : a->w - 1;
}

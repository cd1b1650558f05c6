/* The screen: a grid of cells in memory.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ui/screen.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

static const struct cell blank = { .ch = { ' ' }, .width = 1 };

static struct cell *cell_at(const struct screen *s, int x, int y)
{
    return &s->cell[(size_t)y * (size_t)s->w + (size_t)x];
}

/* A character of two columns that loses one half loses the other too. */
static void split_wide(const struct screen *s, int x, int y)
{
    struct cell *c = cell_at(s, x, y);
    if (c->width == 0 && x > 0)
        cell_at(s, x - 1, y)[0] = blank;
    if (c->width == 2 && x + 1 < s->w)
        cell_at(s, x + 1, y)[0] = blank;
}

static void put_cell(const struct area *a, int row, int col, struct cell c)
{
    if (row < 0 || row >= a->h || col < 0 || col >= a->w)
        return;
    if (c.width == 2 && col + 1 >= a->w) {
        c = blank;
    }
    int x = a->x + col, y = a->y + row;
    split_wide(a->screen, x, y);
    *cell_at(a->screen, x, y) = c;
    if (c.width == 2) {
        split_wide(a->screen, x + 1, y);
        struct cell right = { .style = c.style };
        *cell_at(a->screen, x + 1, y) = right;
    }
}

void screen_resize(struct screen *s, int w, int h)
{
    s->w = w < 1 ? 1 : w;
    s->h = h < 1 ? 1 : h;
    size_t cells = (size_t)s->w * (size_t)s->h;
    s->cell = xrealloc(s->cell, cells * sizeof *s->cell);
    screen_clear(s);
}

void screen_fini(struct screen *s)
{
    free(s->cell);
    *s = (struct screen){ 0 };
}

void screen_clear(struct screen *s)
{
    for (int i = 0; i < s->w * s->h; i++)
        s->cell[i] = blank;
    s->cursor_x = s->cursor_y = 0;
}

struct area area_all(struct screen *s)
{
    return (struct area){ .screen = s, .w = s->w, .h = s->h };
}

struct area area_part(const struct area *a, int x, int y, int w, int h)
{
    int left = x < 0 ? 0 : x, top = y < 0 ? 0 : y;
    int right = x + w > a->w ? a->w : x + w;
    int bottom = y + h > a->h ? a->h : y + h;
    struct area part = { .screen = a->screen, .x = a->x + left,
                         .y = a->y + top };
    if (right > left && bottom > top) {
        part.w = right - left;
        part.h = bottom - top;
    }
    return part;
}

void area_clear(const struct area *a)
{
    for (int row = 0; row < a->h; row++)
        area_fill(a, row, 0, a->w, STYLE_TEXT, ' ');
}

static void put_spelled(const struct area *a, int row, int col,
                        enum style st, const struct unit *u)
{
    for (int i = 0; i < u->n; i++)
        area_char(a, row, col + i, st, u->ch[i]);
}

static void put_unit(const struct area *a, int row, int col, enum style st,
                     const struct unit *u)
{
    if (u->spelled) {
        put_spelled(a, row, col, st, u);
        return;
    }
    struct cell c = { .style = (uint8_t)st, .width = (uint8_t)u->width };
    memcpy(c.ch, u->ch, sizeof c.ch);
    put_cell(a, row, col, c);
}

int area_text(const struct area *a, int row, int col, enum style st,
              const char *text)
{
    struct unit u;
    size_t n = strlen(text);
    while (unit_at(text, n, &u)) {
        put_unit(a, row, col, st, &u);
        col += u.width;
        text += u.bytes;
        n -= (size_t)u.bytes;
    }
    return col;
}

int area_item(const struct area *a, int row, int col, enum style st,
              const char *text)
{
    if (!*text || col + text_width(text) > a->w)
        return col;
    return area_text(a, row, col, st, text) + 2;
}

int area_printf(const struct area *a, int row, int col, enum style st,
                const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return area_text(a, row, col, st, text);
}

void area_right(const struct area *a, int row, int end, enum style st,
                const char *text)
{
    area_text(a, row, end - text_width(text), st, text);
}

void area_char(const struct area *a, int row, int col, enum style st,
               uint32_t c)
{
    struct cell cell = { .ch = { c }, .style = (uint8_t)st, .width = 1 };
    put_cell(a, row, col, cell);
}

void area_fill(const struct area *a, int row, int col, int n, enum style st,
               uint32_t c)
{
    for (int i = 0; i < n; i++)
        area_char(a, row, col + i, st, c);
}

bool area_blank(const struct area *a, int row, int col)
{
    if (row < 0 || row >= a->h || col < 0 || col >= a->w)
        return false;
    return cell_at(a->screen, a->x + col, a->y + row)->ch[0] == ' ';
}

void area_reverse(const struct area *a, int row)
{
    if (row < 0 || row >= a->h)
        return;
    for (int col = 0; col < a->w; col++)
        cell_at(a->screen, a->x + col, a->y + row)->reverse = 1;
}

struct area area_frame(const struct area *a, const struct look *look,
                       bool focused, const char *title)
{
    const struct border_glyphs *g =
        &look->glyphs->border[focused ? BORDER_HEAVY : BORDER_LIGHT];
    enum style st = focused ? STYLE_FOCUS : STYLE_BORDER;
    area_clear(a);
    if (a->w < 2 || a->h < 2)
        return area_part(a, 0, 0, 0, 0);
    area_fill(a, 0, 0, a->w, st, g->across);
    area_fill(a, a->h - 1, 0, a->w, st, g->across);
    for (int row = 1; row < a->h - 1; row++) {
        area_char(a, row, 0, st, g->down);
        area_char(a, row, a->w - 1, st, g->down);
    }
    area_char(a, 0, 0, st, g->top_left);
    area_char(a, 0, a->w - 1, st, g->top_right);
    area_char(a, a->h - 1, 0, st, g->bottom_left);
    area_char(a, a->h - 1, a->w - 1, st, g->bottom_right);
    struct area head = area_part(a, 1, 0, a->w - 2, 1);
    int width = text_width(title);
    if (width > 0 && width + 3 <= head.w) {
        area_char(&head, 0, 1, st, ' ');
        area_text(&head, 0, 2, focused ? STYLE_FOCUS : STYLE_TITLE, title);
        area_char(&head, 0, 2 + width, st, ' ');
    }
    return area_part(a, 1, 1, a->w - 2, a->h - 2);
}

static int words_width(int n, const struct frame_word *word,
                       const bool drop[])
{
    int width = 0, shown = 0;
    for (int i = 0; i < n; i++) {
        if (!drop[i]) {
            width += text_width(word[i].text) + (shown ? 2 : 0);
            shown++;
        }
    }
    return shown ? width + 2 : 0;
}

/* The first dim word, else the first one at all. */
static int least_word(int n, const struct frame_word *word,
                      const bool drop[])
{
    int least = -1;
    for (int i = n - 1; i >= 0; i--) {
        bool dim = word[i].style == STYLE_DIM;
        if (!drop[i] && (dim || least < 0 || word[least].style != STYLE_DIM))
            least = i;
    }
    return least;
}

void area_frame_words(const struct area *box, int title_width, int n,
                      const struct frame_word *word)
{
    enum { MOST = 16 };
    bool drop[MOST] = { false };
    int room = box->w - 4 - (title_width + 3);
    n = n < MOST ? n : MOST;
    while (words_width(n, word, drop) > room && least_word(n, word, drop) >= 0)
        drop[least_word(n, word, drop)] = true;
    int width = words_width(n, word, drop);
    if (width == 0)
        return;
    int col = box->w - 2 - width;
    area_fill(box, 0, col++, width, STYLE_BORDER, ' ');
    for (int i = 0; i < n; i++) {
        if (!drop[i])
            col = area_text(box, 0, col, word[i].style, word[i].text) + 2;
    }
}

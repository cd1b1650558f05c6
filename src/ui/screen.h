/* The screen: a grid of cells in memory. Panes draw into areas of it; term.c
 * copies it to the terminal; tests and `save screen` read it.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UI_SCREEN_H
#define UI_SCREEN_H

#include "base/err.h"
#include "base/str.h"
#include "ui/look.h"
#include "ui/text.h"

struct cell {
    uint32_t ch[UNIT_CHARS];  /* base, then combining marks; 0 ends */
    uint8_t style;
    uint8_t width;            /* 1, 2; 0: right half of the cell before */
    uint8_t reverse;
    uint8_t pad;
};

struct screen {
    int w, h;
    struct cell *cell;        /* (h, w) */
    int cursor_x, cursor_y;
};

/* Zero-initialised is valid and empty. Sizes below 1 become 1. */
void screen_resize(struct screen *s, int w, int h);
void screen_fini(struct screen *s);
void screen_clear(struct screen *s);

/* A part of the screen; everything drawn is clipped to it. */
struct area {
    struct screen *screen;
    int x, y, w, h;
};

struct area area_all(struct screen *s);
/* Relative to a, clipped to it. */
struct area area_part(const struct area *a, int x, int y, int w, int h);
void area_clear(const struct area *a);
/* Draws text at (row, col), returns the column after it, clipped or not. */
int area_text(const struct area *a, int row, int col, enum style st,
              const char *text);
/* The same for an item of a row of facts: drawn only when it fits as a whole;
 * returns the column for the next one. */
int area_item(const struct area *a, int row, int col, enum style st,
              const char *text);
int area_printf(const struct area *a, int row, int col, enum style st,
                const char *fmt, ...) ERR_FORMAT(5, 6);
/* So that the text ends before column `end`. */
void area_right(const struct area *a, int row, int end, enum style st,
                const char *text);
void area_char(const struct area *a, int row, int col, enum style st,
               uint32_t c);
void area_fill(const struct area *a, int row, int col, int n, enum style st,
               uint32_t c);
bool area_blank(const struct area *a, int row, int col);
void area_reverse(const struct area *a, int row);

/* A box around the area with a title in its top edge; the inside is
 * returned (empty when there is no room). */
struct area area_frame(const struct area *a, const struct look *look,
                       bool focused, const char *title);
/* Words in the top edge, right-aligned; when there is no room, dim ones go
 * first, from the left. */
struct frame_word {
    const char *text;
    enum style style;
};
void area_frame_words(const struct area *box, int title_width, int n,
                      const struct frame_word *word);

/* ---- screen_save.c ---- */
void screen_text(const struct screen *s, struct str *out);
/* By suffix: .txt, .html, .svg. */
enum status screen_save(const struct screen *s, const char *path,
                        struct err *e);

#endif

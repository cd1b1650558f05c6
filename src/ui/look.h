/* How things look: styles and sets of glyphs. Colours are the terminal's own
 * and only repeat what a letter or a number says already.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UI_LOOK_H
#define UI_LOOK_H

#include <stdbool.h>
#include <stdint.h>

enum style {
    STYLE_TEXT, STYLE_DIM, STYLE_BOLD, STYLE_BORDER, STYLE_FOCUS, STYLE_TITLE,
    STYLE_ACCENT, STYLE_GOOD, STYLE_WARN, STYLE_BAD, STYLE_VAL, STYLE_TRAIN,
    STYLE_BAND, STYLE_MARK, STYLE_BAR, STYLE_CLIP, STYLE_CURSOR, STYLE_KEY,
    STYLE_POPUP, STYLE_COUNT
};

struct style_row {
    const char *name;
    int color;                /* 0..7 of the terminal's palette, -1: default */
    bool bold, dim, reverse;
    char dot;                 /* the raster's character without Unicode */
};
extern const struct style_row style_table[STYLE_COUNT];

enum border { BORDER_LIGHT, BORDER_HEAVY, BORDER_KINDS };
struct border_glyphs {
    uint32_t across, down, top_left, top_right, bottom_left, bottom_right;
};

enum raster_kind { RASTER_BRAILLE, RASTER_BLOCK, RASTER_ASCII };

struct glyphs {
    const char *name;
    struct border_glyphs border[BORDER_KINDS];
    enum raster_kind raster;
    uint32_t eighth[9];       /* a column filled from 0 to 8 eighths */
    uint32_t full, empty;     /* of a bar in a table */
    uint32_t clip, tick, event, rule, cut;
    const char *separator, *plus_minus;
};

/* How the styles meet the terminal's palette. */
struct theme {
    const char *name;
    int color[8];             /* instead of these colours; -1: default */
    bool mono;                /* no colours at all */
    bool strong;              /* nothing dim, colours bold */
};
extern const struct theme theme_table[];
extern const int theme_count;
const struct theme *theme_find(const char *name);

struct look {
    const struct glyphs *glyphs;
    const struct theme *theme;
    bool color;
};

extern const struct glyphs *const glyphs_table[];
extern const int glyphs_count;
extern const struct glyphs glyphs_braille, glyphs_blocks, glyphs_ascii;
const struct glyphs *glyphs_find(const char *name);

#endif

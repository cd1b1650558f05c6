/* Styles and glyph sets. SPDX-License-Identifier: GPL-3.0-or-later */
#include "ui/look.h"

#include <stddef.h>
#include <string.h>

enum { BLACK, RED, GREEN, YELLOW, BLUE, MAGENTA, CYAN, WHITE, DEFAULT = -1 };

const struct glyphs *glyphs_find(const char *name)
{
    for (int i = 0; i < glyphs_count; i++) {
        if (!strcmp(glyphs_table[i]->name, name))
            return glyphs_table[i];
    }
    return NULL;
}

const struct theme *theme_find(const char *name)
{
    for (int i = 0; i < theme_count; i++) {
        if (!strcmp(theme_table[i].name, name))
            return &theme_table[i];
    }
    return NULL;
}

#define LINES_UNICODE                                              \
    .border = {                                                    \
        [BORDER_LIGHT] = { 0x2500, 0x2502, 0x250c, 0x2510, 0x2514, \
                           0x2518 },                               \
        [BORDER_HEAVY] = { 0x2501, 0x2503, 0x250f, 0x2513, 0x2517, \
                           0x251b },                               \
    },                                                             \
    .eighth = { ' ', 0x2581, 0x2582, 0x2583, 0x2584, 0x2585,       \
                0x2586, 0x2587, 0x2588 },                          \
    .full = 0x25a0, .empty = 0xb7, .clip = 0x2506, .tick = 0x2575, \
    .event = 0x25b2, .rule = 0x2500, .cut = 0x2026,                \
    .separator = " \u2502 ", .plus_minus = "\u00b1"

const struct glyphs glyphs_braille = {
    .name = "braille",
    .raster = RASTER_BRAILLE,
    LINES_UNICODE,
};

const struct glyphs glyphs_blocks = {
    .name = "blocks",
    .raster = RASTER_BLOCK,
    LINES_UNICODE,
};

const struct glyphs glyphs_ascii = {
    .name = "ascii",
    .raster = RASTER_ASCII,
    .border = {
        [BORDER_LIGHT] = { '-', '|', '+', '+', '+', '+' },
        [BORDER_HEAVY] = { '=', '|', '+', '+', '+', '+' },
    },
    .eighth = { ' ', '.', '.', ':', ':', ':', '#', '#', '#' },
    .full = '#', .empty = '.', .clip = '!', .tick = '\'', .event = '^',
    .rule = '-', .cut = '>', .separator = " | ", .plus_minus = "+-",
};

const struct style_row style_table[STYLE_COUNT] = {
    [STYLE_TEXT] = { .name = "text", .color = DEFAULT, .dot = '*' },
    [STYLE_DIM] = { .name = "dim", .color = DEFAULT, .dim = true,
                    .dot = '-' },
    [STYLE_BOLD] = { .name = "bold", .color = DEFAULT, .bold = true,
                     .dot = '*' },
    [STYLE_BORDER] = { .name = "border", .color = DEFAULT, .dim = true,
                       .dot = '-' },
    [STYLE_FOCUS] = { .name = "focus", .color = CYAN, .dot = '=' },
    [STYLE_TITLE] = { .name = "title", .color = DEFAULT, .bold = true,
                      .dot = '*' },
    [STYLE_ACCENT] = { .name = "accent", .color = CYAN, .dot = '*' },
    [STYLE_GOOD] = { .name = "good", .color = GREEN, .dot = '*' },
    [STYLE_WARN] = { .name = "warn", .color = YELLOW, .dot = '*' },
    [STYLE_BAD] = { .name = "bad", .color = RED, .bold = true, .dot = '*' },
    [STYLE_VAL] = { .name = "val", .color = CYAN, .bold = true, .dot = '*' },
    [STYLE_TRAIN] = { .name = "train", .color = YELLOW, .dot = '.' },
    [STYLE_BAND] = { .name = "band", .color = YELLOW, .dim = true,
                     .dot = ':' },
    [STYLE_MARK] = { .name = "mark", .color = MAGENTA, .dot = '^' },
    [STYLE_BAR] = { .name = "bar", .color = CYAN, .dot = '#' },
    [STYLE_CLIP] = { .name = "clip", .color = RED, .dot = '!' },
    [STYLE_CURSOR] = { .name = "cursor", .color = DEFAULT, .reverse = true,
                       .dot = '*' },
    [STYLE_KEY] = { .name = "key", .color = CYAN, .bold = true, .dot = '*' },
    [STYLE_POPUP] = { .name = "popup", .color = DEFAULT, .reverse = true,
                      .dot = '*' },
};

const struct glyphs *const glyphs_table[] = {
    &glyphs_braille, &glyphs_blocks, &glyphs_ascii,
};
const int glyphs_count = sizeof glyphs_table / sizeof glyphs_table[0];

/* Yellow and cyan cannot be read on white. */
const struct theme theme_table[] = {
    { .name = "dark",
      .color = { BLACK, RED, GREEN, YELLOW, BLUE, MAGENTA, CYAN, WHITE } },
    { .name = "light",
      .color = { BLACK, RED, GREEN, MAGENTA, BLUE, RED, BLUE, BLACK } },
    { .name = "mono", .mono = true,
      .color = { BLACK, RED, GREEN, YELLOW, BLUE, MAGENTA, CYAN, WHITE } },
    { .name = "contrast", .strong = true,
      .color = { BLACK, RED, GREEN, YELLOW, CYAN, MAGENTA, CYAN, WHITE } },
};
const int theme_count = sizeof theme_table / sizeof theme_table[0];

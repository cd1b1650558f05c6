/* The screen as a file: text, HTML, SVG.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "base/file.h"
#include "ui/screen.h"

/* A readable palette on a dark ground, in the terminal's order. */
static const char *const palette[8] = {
    "#3b4252", "#e06c75", "#98c379", "#e5c07b",
    "#61afef", "#c678dd", "#56b6c2", "#d8dee9",
};
static const char ground[] = "#14171c", ink[] = "#cfd6e0";
enum { CELL_W = 9, CELL_H = 18, EDGE = 10 };

static const struct cell *cell_of(const struct screen *s, int x, int y)
{
    return &s->cell[(size_t)y * (size_t)s->w + (size_t)x];
}

static void add_cell(struct str *out, const struct cell *c)
{
    char utf8[5];
    for (int i = 0; i < UNIT_CHARS && c->ch[i]; i++) {
        utf8_put(c->ch[i], utf8);
        str_add(out, utf8);
    }
}

/* Columns that are not blank at the end of the row. */
static int row_length(const struct screen *s, int y)
{
    int n = s->w;
    while (n > 0) {
        const struct cell *c = cell_of(s, n - 1, y);
        if (c->ch[0] != ' ' || c->reverse)
            break;
        n--;
    }
    return n;
}

void screen_text(const struct screen *s, struct str *out)
{
    for (int y = 0; y < s->h; y++) {
        int n = row_length(s, y);
        for (int x = 0; x < n; x++)
            add_cell(out, cell_of(s, x, y));
        str_char(out, '\n');
    }
}

static void add_escaped(struct str *out, const struct cell *c)
{
    static const struct {
        uint32_t c;
        const char *text;
    } escape[] = { { '<', "&lt;" }, { '>', "&gt;" }, { '&', "&amp;" } };
    for (size_t i = 0; i < sizeof escape / sizeof escape[0]; i++) {
        if (c->ch[0] == escape[i].c) {
            str_add(out, escape[i].text);
            return;
        }
    }
    add_cell(out, c);
}

static bool same_look(const struct cell *a, const struct cell *b)
{
    return a->style == b->style && a->reverse == b->reverse;
}

/* How many cells from x on share a look. */
static int run_length(const struct screen *s, int x, int y, int end)
{
    int n = 1;
    while (x + n < end &&
           same_look(cell_of(s, x, y), cell_of(s, x + n, y)))
        n++;
    return n;
}

static bool is_reverse(const struct cell *c)
{
    return c->reverse != style_table[c->style].reverse;
}

static const char *color_of(const struct cell *c)
{
    int color = style_table[c->style].color;
    return color < 0 ? ink : palette[color];
}

static void add_html_run(struct str *out, const struct screen *s, int x,
                         int y, int n)
{
    const struct cell *c = cell_of(s, x, y);
    const struct style_row *st = &style_table[c->style];
    str_printf(out, "<span style=\"color:%s;background:%s%s%s\">",
               is_reverse(c) ? ground : color_of(c),
               is_reverse(c) ? color_of(c) : ground,
               st->bold ? ";font-weight:bold" : "",
               st->dim ? ";opacity:.6" : "");
    for (int i = 0; i < n; i++)
        add_escaped(out, c + i);
    str_add(out, "</span>");
}

static void screen_html(const struct screen *s, struct str *out)
{
    str_printf(out, "<!DOCTYPE html>\n<meta charset=\"utf-8\">\n"
               "<title>qatlab</title>\n<pre style=\"background:%s;"
               "color:%s;font-family:monospace;line-height:1.2;"
               "padding:1em;display:inline-block\">\n", ground, ink);
    for (int y = 0; y < s->h; y++) {
        int end = row_length(s, y);
        for (int x = 0; x < end;) {
            int n = run_length(s, x, y, end);
            add_html_run(out, s, x, y, n);
            x += n;
        }
        str_char(out, '\n');
    }
    str_add(out, "</pre>\n");
}

/* Braille and blocks as shapes: few fonts have them, and none without gaps. */
static bool add_svg_shape(struct str *out, const struct cell *c, int x, int y)
{
    static const int dot[8][2] = { { 0, 0 }, { 0, 1 }, { 0, 2 }, { 1, 0 },
                                   { 1, 1 }, { 1, 2 }, { 0, 3 }, { 1, 3 } };
    uint32_t ch = c->ch[0];
    if (ch >= 0x2581 && ch <= 0x2588) {
        double h = CELL_H * (ch - 0x2580) / 8.0;
        str_printf(out, "<rect x=\"%d\" y=\"%.2f\" width=\"%d.3\" "
                   "height=\"%.2f\" fill=\"%s\"/>\n", x,
                   y + CELL_H - h, CELL_W, h, color_of(c));
        return true;
    }
    if (ch < 0x2800 || ch > 0x28ff)
        return false;
    for (int i = 0; i < 8; i++) {
        if (ch >> i & 1)
            str_printf(out, "<circle cx=\"%.2f\" cy=\"%.2f\" r=\"1.4\" "
                       "fill=\"%s\"%s/>\n",
                       x + CELL_W * (0.25 + 0.5 * dot[i][0]),
                       y + CELL_H * (0.125 + 0.25 * dot[i][1]), color_of(c),
                       style_table[c->style].dim ? " opacity=\".6\"" : "");
    }
    return true;
}

static void add_svg_text(struct str *out, const struct cell *c, int n, int x,
                         int y)
{
    const struct style_row *st = &style_table[c->style];
    while (n > 0 && c[n - 1].ch[0] == ' ')
        n--;
    while (n > 0 && c->ch[0] == ' ') {
        c++;
        n--;
        x += CELL_W;
    }
    if (n == 0)
        return;
    str_printf(out, "<text x=\"%d\" y=\"%d\" textLength=\"%d\" "
               "fill=\"%s\"%s%s>", x, y + 14, n * CELL_W,
               is_reverse(c) ? ground : color_of(c),
               st->bold ? " font-weight=\"bold\"" : "",
               st->dim ? " opacity=\".6\"" : "");
    for (int i = 0; i < n; i++)
        add_escaped(out, c + i);
    str_add(out, "</text>\n");
}

static void add_svg_run(struct str *out, const struct screen *s, int x,
                        int y, int n)
{
    const struct cell *c = cell_of(s, x, y);
    int left = EDGE + x * CELL_W, top = EDGE + y * CELL_H;
    if (is_reverse(c))
        str_printf(out, "<rect x=\"%d\" y=\"%d\" width=\"%d\" "
                   "height=\"%d\" fill=\"%s\"/>\n", left, top, n * CELL_W,
                   CELL_H, color_of(c));
    int from = 0;
    for (int i = 0; i < n; i++) {
        if (!add_svg_shape(out, c + i, left + i * CELL_W, top))
            continue;
        add_svg_text(out, c + from, i - from, left + from * CELL_W, top);
        from = i + 1;
    }
    add_svg_text(out, c + from, n - from, left + from * CELL_W, top);
}

static void screen_svg(const struct screen *s, struct str *out)
{
    int w = 2 * EDGE + s->w * CELL_W, h = 2 * EDGE + s->h * CELL_H;
    str_printf(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" "
               "width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\">\n"
               "<rect width=\"100%%\" height=\"100%%\" rx=\"8\" "
               "fill=\"%s\"/>\n<g font-family=\"DejaVu Sans Mono,"
               "monospace\" font-size=\"15\" xml:space=\"preserve\">\n",
               w, h, w, h, ground);
    for (int y = 0; y < s->h; y++) {
        int end = row_length(s, y);
        for (int x = 0; x < end;) {
            int n = run_length(s, x, y, end);
            add_svg_run(out, s, x, y, n);
            x += n;
        }
    }
    str_add(out, "</g>\n</svg>\n");
}

static const struct {
    const char *suffix;
    void (*render)(const struct screen *s, struct str *out);
} formats[] = {
    { ".txt", screen_text },
    { ".html", screen_html },
    { ".svg", screen_svg },
};

enum status screen_save(const struct screen *s, const char *path,
                        struct err *e)
{
    const char *suffix = strrchr(path, '.');
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if (!suffix || strcmp(suffix, formats[i].suffix) != 0)
            continue;
        struct str text = { 0 };
        formats[i].render(s, &text);
        enum status st = text.failed ? err_memory(e, "the screen's text")
            : file_write_atomic(path, str_text(&text), text.len, e);
        str_fini(&text);
        return st;
    }
    return err_set(e, STATUS_ARG, "'%s': a screen is saved as .txt, .html "
                   "or .svg", path);
}

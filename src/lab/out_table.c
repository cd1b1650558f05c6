/* Tables: aligned text, or files in the format their suffix names.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "lab/json_text.h"
#include "lab/num.h"
#include "lab/out.h"

struct cell {
    char *text;
    bool is_num;
    double num;
};

struct table {
    int columns, n, cap;      /* n: cells */
    char **title;
    struct cell *cell;
};

struct table *table_new(int columns, const char *const *title)
{
    struct table *t = xmalloc(sizeof *t);
    *t = (struct table){ .columns = columns };
    t->title = xmalloc((size_t)columns * sizeof *t->title);
    for (int i = 0; i < columns; i++)
        t->title[i] = xstrdup(title[i]);
    return t;
}

void table_free(struct table *t)
{
    if (!t)
        return;
    for (int i = 0; i < t->n; i++)
        free(t->cell[i].text);
    for (int i = 0; i < t->columns; i++)
        free(t->title[i]);
    free(t->cell);
    free(t->title);
    free(t);
}

static struct cell *table_add(struct table *t)
{
    if (t->n == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 64;
        t->cell = xrealloc(t->cell, (size_t)t->cap * sizeof *t->cell);
    }
    t->cell[t->n] = (struct cell){ 0 };
    return &t->cell[t->n++];
}

void table_cell(struct table *t, const char *fmt, ...)
{
    struct str clean = { 0 };
    char *text = NULL;
    va_list ap;
    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0)
        text = NULL;
    va_end(ap);
    str_add_clean(&clean, text ? text : "");
    free(text);
    table_add(t)->text = str_take(&clean);
}

void table_number(struct table *t, double v, const char *text)
{
    struct cell *c = table_add(t);
    c->text = xstrdup(text);
    c->is_num = true;
    c->num = v;
}

int table_rows(const struct table *t)
{
    return t->n / t->columns;
}

/* Numbers, dashes and blanks stand on the right. */
static bool looks_numeric(const char *s)
{
    return !*s || strcmp(s, "-") == 0 || strcmp(s, "nan") == 0 ||
           strchr("0123456789+-.", *s) != NULL;
}

struct column {
    int width;
    bool right;
};

static struct column column_of(const struct table *t, int c)
{
    struct column k = { .width = text_width(t->title[c]), .right = true };
    for (int r = 0; r < table_rows(t); r++) {
        const struct cell *cell = &t->cell[r * t->columns + c];
        int w = text_width(cell->text);
        k.width = w > k.width ? w : k.width;
        k.right = k.right && (cell->is_num || looks_numeric(cell->text));
    }
    return k;
}

static void put_cell(struct str *s, const char *text, struct column k,
                     bool last)
{
    int pad = k.width - text_width(text);
    if (k.right)
        for (int i = 0; i < pad; i++)
            str_char(s, ' ');
    str_add(s, text);
    if (!k.right && !last)
        for (int i = 0; i < pad; i++)
            str_char(s, ' ');
    if (!last)
        str_add(s, "  ");
}

static void trim_right(struct str *s)
{
    while (s->len && s->text[s->len - 1] == ' ')
        s->text[--s->len] = '\0';
}

/* Aligned columns; lines end in '\n'. width 0: not cut. */
static void table_text(const struct table *t, int width, struct str *out)
{
    struct column *k = xmalloc((size_t)t->columns * sizeof *k);
    for (int c = 0; c < t->columns; c++)
        k[c] = column_of(t, c);
    struct str line = { 0 };
    for (int r = -1; r < table_rows(t); r++) {
        str_clear(&line);
        for (int c = 0; c < t->columns; c++) {
            const char *text =
                r < 0 ? t->title[c] : t->cell[r * t->columns + c].text;
            put_cell(&line, text, k[c], c == t->columns - 1);
        }
        trim_right(&line);
        size_t n = width > 0 ? text_fit(str_text(&line), width) : line.len;
        str_add_n(out, str_text(&line), n);
        str_char(out, '\n');
    }
    str_fini(&line);
    free(k);
}

/* `first: title value, title value` for readers of linear text. */
static void table_sentences(const struct table *t, struct str *out)
{
    for (int r = 0; r < table_rows(t); r++) {
        const struct cell *row = &t->cell[r * t->columns];
        str_printf(out, "%s %s", t->title[0], row[0].text);
        const char *sep = ": ";
        for (int c = 1; c < t->columns; c++) {
            if (!row[c].text[0])
                continue;
            str_printf(out, "%s%s %s", sep, t->title[c], row[c].text);
            sep = ", ";
        }
        str_char(out, '\n');
    }
}

void table_show(const struct table *t, struct out *o)
{
    struct str s = { 0 };
    if (o->plain)
        table_sentences(t, &s);
    else
        table_text(t, o->width, &s);
    if (s.len)
        out_text(o, OUT_RESULT, str_text(&s));
    str_fini(&s);
}

/* ---- files ---- */

static void write_text(const struct table *t, struct str *out)
{
    table_text(t, 0, out);
}

static void write_markdown(const struct table *t, struct str *out)
{
    for (int r = -2; r < table_rows(t); r++) {
        str_char(out, '|');
        for (int c = 0; c < t->columns; c++) {
            const char *rule = column_of(t, c).right ? "---:" : "---";
            const char *text = r == -2   ? t->title[c]
                               : r == -1 ? rule
                                         : t->cell[r * t->columns + c].text;
            str_char(out, ' ');
            for (const char *p = text; *p; p++) {
                if (*p == '|')
                    str_char(out, '\\');
                str_char(out, *p);
            }
            str_add(out, " |");
        }
        str_char(out, '\n');
    }
}

/* RFC 4180: quoted when it holds the separator, a quote or a line feed. */
static void put_field(struct str *out, const char *text, char sep)
{
    if (!strchr(text, sep) && !strpbrk(text, "\"\n")) {
        str_add(out, text);
        return;
    }
    str_char(out, '"');
    for (; *text; text++) {
        if (*text == '"')
            str_char(out, '"');
        str_char(out, *text);
    }
    str_char(out, '"');
}

static void write_separated(const struct table *t, char sep, struct str *out)
{
    for (int r = -1; r < table_rows(t); r++) {
        for (int c = 0; c < t->columns; c++) {
            if (c)
                str_char(out, sep);
            const struct cell *cell = &t->cell[r * t->columns + c];
            if (r < 0)
                put_field(out, t->title[c], sep);
            else if (cell->is_num)
                str_add(out, isnan(cell->num) ? "" : num_exact(cell->num).s);
            else
                put_field(out, cell->text, sep);
        }
        str_char(out, '\n');
    }
}

static void write_csv(const struct table *t, struct str *out)
{
    write_separated(t, ',', out);
}

static void write_tsv(const struct table *t, struct str *out)
{
    write_separated(t, '\t', out);
}

void table_json(const struct table *t, struct str *out)
{
    str_char(out, '[');
    for (int r = 0; r < table_rows(t); r++) {
        json_raw(out, "{");
        for (int c = 0; c < t->columns; c++) {
            const struct cell *cell = &t->cell[r * t->columns + c];
            if (cell->is_num)
                json_num(out, t->title[c], cell->num);
            else
                json_text(out, t->title[c], cell->text);
        }
        str_char(out, '}');
    }
    str_char(out, ']');
}

static void write_json(const struct table *t, struct str *out)
{
    table_json(t, out);
    str_char(out, '\n');
}

static const struct {
    const char *suffix;
    void (*write)(const struct table *t, struct str *out);
} format_table[] = {
    { ".txt", write_text }, { ".md", write_markdown }, { ".csv", write_csv },
    { ".tsv", write_tsv },  { ".json", write_json },
};

enum status table_write(const struct table *t, const char *path, bool append,
                        struct err *e)
{
    const char *dot = strrchr(path, '.');
    for (size_t i = 0; i < sizeof format_table / sizeof format_table[0]; i++) {
        if (!dot || strcmp(dot, format_table[i].suffix) != 0)
            continue;
        struct str s = { 0 };
        format_table[i].write(t, &s);
        enum status st = text_write(path, str_text(&s), s.len, append, e);
        str_fini(&s);
        return st;
    }
    return err_set(e, STATUS_ARG,
                   "'%s' has no suffix that a table can be written as "
                   "(.txt .md .csv .tsv .json)", path);
}

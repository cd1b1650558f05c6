/* The text form of a graph, written.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "nn/graph_text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Columns that names are padded to at most; longer ones stick out. */
#define NAME_COLUMN_MAX 24

bool attrs_share_alias(const struct attr_row *a, const struct attr_row *b)
{
    return a->alias && b->alias && strcmp(a->alias, b->alias) == 0;
}

/* The shortest decimal that reads back as v, with a point in any locale. */
static void add_number(struct str *out, double v)
{
    char text[40];
    if (v == floor(v) && fabs(v) < 1e15) {
        str_printf(out, "%.0f", v);
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        double back = 0;
        snprintf(text, sizeof text, "%.*g", digits, v);
        for (char *p = text; *p; p++)
            if (*p == ',')
                *p = '.';
        if (str_to_double(text, &back, NULL) == STATUS_OK && back == v)
            break;
    }
    str_add(out, text);
}

static void add_axes(struct str *out, int64_t bits)
{
    const char *comma = "";
    for (int i = 0; i < SHAPE_MAX; i++) {
        if (!(bits >> i & 1))
            continue;
        str_printf(out, "%s%d", comma, i);
        comma = ",";
    }
}

/* A list: `1x28x28` when it is the shape, else `perm=0,2,1`. */
static void add_list(struct str *out, const struct attr_row *row,
                     const double *value, int n)
{
    bool shape = strcmp(row->alias, "shape") == 0;
    if (value[0] == row->def)
        return;
    str_char(out, ' ');
    if (!shape)
        str_printf(out, "%s=", row->alias);
    for (int i = 0; i < n && value[i] != row[i].def; i++) {
        if (i > 0)
            str_char(out, shape ? 'x' : ',');
        str_printf(out, "%lld", (long long)value[i]);
    }
}

static void add_named(struct str *out, const char *name,
                      const struct attr_row *row, double value)
{
    str_printf(out, " %s=", name);
    if (row->type == ATTR_AXES)
        add_axes(out, (int64_t)value);
    else
        add_number(out, value);
}

/* How many rows from `row` on have its alias. */
static int group_length(const struct attr_row *row)
{
    int n = 1;
    while (row[n].name && attrs_share_alias(&row[n], row))
        n++;
    return n;
}

static bool all_equal(const double *value, int n)
{
    for (int i = 1; i < n; i++)
        if (value[i] != value[0])
            return false;
    return true;
}

static void add_group(struct str *out, const struct attr_row *row,
                      const double *value, int n)
{
    if (row->type == ATTR_ITEM) {
        add_list(out, row, value, n);
        return;
    }
    bool together = n > 1 && all_equal(value, n);
    for (int i = 0; i < (together ? 1 : n); i++)
        if (value[i] != row[i].def)
            add_named(out, together ? row->alias : row[i].name, &row[i],
                      value[i]);
}

static void add_attrs(struct str *out, const struct node *n)
{
    const struct attr_row *row = n->op->attr;
    for (int i = 0; row && row[i].name; ) {
        int length = group_length(&row[i]);
        add_group(out, &row[i], &n->attr[i], length);
        i += length;
    }
}

static void add_inputs(struct str *out, const struct graph *g,
                       const struct node *n)
{
    if (n->n_in == 0 || (n->n_in == 1 && n->in[0] == n->id - 1))
        return;
    str_add(out, " <");
    for (int i = 0; i < n->n_in; i++) {
        str_char(out, ' ');
        word_add(out, g->node[n->in[i]].name);
    }
}

void graph_print(const struct graph *g, struct str *out)
{
    size_t column = 0;
    for (int i = 0; i < g->n_node; i++) {
        size_t length = strlen(g->node[i].name);
        if (length > column && length <= NAME_COLUMN_MAX)
            column = length;
    }
    str_add(out, "model ");
    word_add(out, g->name);
    str_printf(out, " loss=%s\n", g->loss);
    for (int i = 0; i < g->n_node; i++) {
        const struct node *n = &g->node[i];
        size_t from = out->len;
        word_add(out, n->name);
        do
            str_char(out, ' ');
        while (!out->failed && out->len < from + column + 2);
        str_add(out, n->op->name);
        add_attrs(out, n);
        add_inputs(out, g, n);
        str_char(out, '\n');
    }
}

/* The text form of a graph, read. The text may come from anybody: its length,
 * the number of its layers and the sizes that it asks for are all capped.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "base/arena.h"
#include "nn/graph_text.h"

/* One line on its way to a node. */
struct line {
    struct node_spec spec;
    bool arrow;                  /* inputs are named */
};

static enum status push_value(struct line *l, const char *name, double v,
                              struct err *e)
{
    struct node_spec *s = &l->spec;
    for (int i = 0; i < s->n_attr; i++)
        if (strcmp(s->attr_name[i], name) == 0)
            return err_set(e, STATUS_FORMAT, "%s is given twice", name);
    if (s->n_attr == (int)(sizeof s->attr_name / sizeof *s->attr_name))
        return err_set(e, STATUS_FORMAT, "too many attributes");
    s->attr_name[s->n_attr] = name;
    s->attr_value[s->n_attr++] = v;
    return STATUS_OK;
}

/* Cuts the next item off a list parted by one of `marks`. */
static enum status next_item(char **list, const char *marks, double *out,
                             struct err *e)
{
    long long v;
    char *item = *list;
    char *end = item + strcspn(item, marks);
    *list = *end ? end + 1 : NULL;
    *end = '\0';
    TRY(str_to_int(item, &v, e));
    *out = (double)v;
    return STATUS_OK;
}

static enum status push_axes(struct line *l, const char *name, char *list,
                             struct err *e)
{
    int bits = 0;
    while (list) {
        double axis;
        TRY(next_item(&list, ",", &axis, e));
        if (!(axis >= 1 && axis < SHAPE_MAX))
            return err_set(e, STATUS_FORMAT, "axis %g in %s, wanted 1 to %d",
                           axis, name, SHAPE_MAX - 1);
        bits |= 1 << (int)axis;
    }
    return push_value(l, name, bits, e);
}

static enum status push_items(struct line *l, const struct attr_row *row,
                              char *list, struct err *e)
{
    const char *marks = strcmp(row->alias, "shape") == 0 ? "x" : ",";
    int i = 0;
    while (list) {
        double v;
        TRY(next_item(&list, marks, &v, e));
        if (!row[i].name || !attrs_share_alias(&row[i], row))
            return err_set(e, STATUS_FORMAT, "%s has more than %d items",
                           row->alias, i);
        if (v == row[i].def)
            return err_set(e, STATUS_FORMAT, "%g cannot stand in %s", v,
                           row->alias);
        TRY(push_value(l, row[i].name, v, e));
        i++;
    }
    return STATUS_OK;
}

static const struct attr_row *row_named(const struct op *op, const char *name)
{
    const struct attr_row *row = op->attr;
    for (int i = 0; row && row[i].name; i++)
        if (strcmp(row[i].name, name) == 0 ||
            (row[i].alias && strcmp(row[i].alias, name) == 0))
            return &row[i];
    return NULL;
}

static enum status push_attr(struct line *l, char *word, struct err *e)
{
    char *equals = strchr(word, '=');
    if (equals)
        *equals = '\0';
    const char *name = equals ? word : "shape";
    char *value = equals ? equals + 1 : word;
    const struct attr_row *row = row_named(l->spec.op, name);
    if (!equals && !row)
        return err_set(e, STATUS_FORMAT, "found '%s', wanted name=value or "
                       "'<' and inputs", word);
    if (row && row->type == ATTR_AXES)
        return push_axes(l, name, value, e);
    if (row && row->type == ATTR_ITEM && strcmp(row->name, name) != 0)
        return push_items(l, row, value, e);
    double v;
    enum status status = str_to_double(value, &v, e);
    if (status != STATUS_OK)
        return err_wrap(e, status, "%s", name);
    return push_value(l, name, v, e);
}

static const char *op_name_at(const void *ctx, int i)
{
    const struct op *const *table = ctx;
    return table[i]->name;
}

static enum status find_op(const char *name, const struct op **out,
                           struct err *e)
{
    *out = op_find(name);
    if (*out)
        return STATUS_OK;
    const char *near = str_nearest(name, op_count, op_name_at, op_table);
    if (near)
        return err_set(e, STATUS_FORMAT, "no operator '%s'; did you mean "
                       "'%s'?", name, near);
    return err_set(e, STATUS_FORMAT, "no operator '%s'", name);
}

static enum status push_input(struct line *l, const char *word, struct err *e)
{
    if (l->spec.n_in == OP_MAX_INPUTS)
        return err_set(e, STATUS_FORMAT, "more than %d inputs",
                       OP_MAX_INPUTS);
    l->spec.in[l->spec.n_in++] = word;
    return STATUS_OK;
}

/* What follows a node's name. */
static enum status parse_node(struct graph *g, const char *name, char *at,
                              struct err *e)
{
    struct line l = { .spec = { .name = name } };
    enum word_kind kind;
    char *word;
    TRY(word_next(&at, &kind, &word, e));
    if (kind != WORD_TEXT)
        return err_set(e, STATUS_FORMAT, "layer '%s' has no operator", name);
    TRY(find_op(word, &l.spec.op, e));
    for (;;) {
        TRY(word_next(&at, &kind, &word, e));
        if (kind == WORD_END)
            break;
        if (kind == WORD_ARROW && l.arrow)
            return err_set(e, STATUS_FORMAT, "a second '<'");
        if (kind == WORD_ARROW)
            l.arrow = true;
        else if (l.arrow)
            TRY(push_input(&l, word, e));
        else
            TRY(push_attr(&l, word, e));
    }
    if (!l.arrow && l.spec.op->max_inputs > 0 && g->n_node > 0)
        TRY(push_input(&l, g->node[g->n_node - 1].name, e));
    return graph_add(g, &l.spec, e);
}

/* `model NAME [loss=WORD]` */
static enum status parse_head(char *at, struct graph **out, struct err *e)
{
    enum word_kind kind;
    char *name, *word;
    TRY(word_next(&at, &kind, &name, e));
    if (kind != WORD_TEXT || strlen(name) > GRAPH_NAME_MAX)
        return err_set(e, STATUS_FORMAT, "wanted a name of at most %d bytes "
                       "after 'model'", GRAPH_NAME_MAX);
    *out = graph_new(name);
    if (!*out)
        return err_memory(e, "model");
    TRY(word_next(&at, &kind, &word, e));
    if (kind == WORD_END)
        return STATUS_OK;
    if (kind != WORD_TEXT || strncmp(word, "loss=", 5) != 0)
        return err_set(e, STATUS_FORMAT, "wanted loss= or nothing after the "
                       "model's name");
    TRY(graph_set_loss(*out, word + 5, e));
    TRY(word_next(&at, &kind, &word, e));
    return kind == WORD_END ? STATUS_OK
                            : err_set(e, STATUS_FORMAT, "wanted nothing "
                                      "after loss=");
}

static enum status parse_line(struct graph **g, char *line, struct err *e)
{
    enum word_kind kind;
    char *word;
    TRY(word_next(&line, &kind, &word, e));
    if (kind == WORD_END)
        return STATUS_OK;
    if (*g && kind == WORD_TEXT)
        return parse_node(*g, word, line, e);
    if (*g || kind != WORD_TEXT || strcmp(word, "model") != 0)
        return err_set(e, STATUS_FORMAT, *g ? "wanted a layer's name"
                                            : "wanted 'model NAME' first");
    return parse_head(line, g, e);
}

static enum status parse_lines(char *text, struct graph **g, struct err *e)
{
    char *line;
    for (int number = 1; (line = line_next(&text)); number++) {
        enum status status = parse_line(g, line, e);
        if (status == STATUS_OK)
            continue;
        err_wrap(e, status, "line %d", number);
        err_clean_text(e);
        return status == STATUS_MEM ? status : STATUS_FORMAT;
    }
    if (!*g)
        return err_set(e, STATUS_FORMAT, "the text has no line 'model NAME'");
    return STATUS_OK;
}

enum status graph_parse(const char *text, struct graph **out, struct err *e)
{
    size_t n = strnlen(text, GRAPH_TEXT_MAX + 1);
    *out = NULL;
    if (n > GRAPH_TEXT_MAX)
        return err_set(e, STATUS_FORMAT, "a model's text has more than %zu "
                       "bytes", GRAPH_TEXT_MAX);
    char *copy = mem_alloc(n + 1, 1);
    if (!copy)
        return err_memory(e, "model text");
    memcpy(copy, text, n);
    struct graph *g = NULL;
    enum status status = parse_lines(copy, &g, e);
    if (status == STATUS_OK)
        *out = g;
    else
        graph_free(g);
    mem_free(copy);
    return status;
}

/* Layouts: a tree of weighted splits over named panes.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ui/tiling.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_WEIGHT = 20, MAX_WEIGHT = 1000, MAX_DEPTH = 8 };

struct parser {
    const char *text, *at;
    struct tiling *out;
    struct err *err;
    int depth;
};

static enum status fail(struct parser *p, const char *what)
{
    return err_set(p->err, STATUS_ARG, "layout, column %d: %s",
                   (int)(p->at - p->text) + 1, what);
}

static void skip_blanks(struct parser *p)
{
    while (*p->at == ' ' || *p->at == '\t')
        p->at++;
}

static enum status new_node(struct parser *p, int *out)
{
    if (p->out->n == TILING_NODES)
        return fail(p, "too many parts");
    *out = p->out->n++;
    p->out->node[*out] = (struct tiling_node){
        .weight = DEFAULT_WEIGHT, .first = -1, .next = -1,
    };
    return STATUS_OK;
}

static enum status parse_weight(struct parser *p, int node)
{
    if (*p->at != ':')
        return STATUS_OK;
    p->at++;
    char *end;
    long w = strtol(p->at, &end, 10);
    if (end == p->at || w < 1 || w > MAX_WEIGHT)
        return fail(p, "a weight from 1 to 1000 is wanted after ':'");
    p->at = end;
    p->out->node[node].weight = (int)w;
    return STATUS_OK;
}

static bool name_char(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '=' || c == '.';
}

static enum status parse_leaf(struct parser *p, int node)
{
    struct tiling_node *leaf = &p->out->node[node];
    do {
        if (*p->at == ',')
            p->at++;
        size_t n = 0;
        while (name_char(p->at[n]))
            n++;
        if (n == 0)
            return fail(p, "the name of a pane is wanted");
        if (n >= TILING_NAME || leaf->tabs == TILING_TABS)
            return fail(p, "the name is too long, or too many share a place");
        memcpy(leaf->tab[leaf->tabs], p->at, n);
        leaf->tab[leaf->tabs++][n] = 0;
        p->at += n;
    } while (*p->at == ',');
    return STATUS_OK;
}

static enum status parse_stack(struct parser *p, int *out);

static enum status parse_item(struct parser *p, int *out)
{
    if (*p->at == '(') {
        if (++p->depth > MAX_DEPTH)
            return fail(p, "nested too deeply");
        p->at++;
        TRY(parse_stack(p, out));
        if (*p->at != ')')
            return fail(p, "')' is missing");
        p->at++;
        p->depth--;
    } else {
        TRY(new_node(p, out));
        TRY(parse_leaf(p, *out));
    }
    return parse_weight(p, *out);
}

/* Puts `node` behind `last` under one parent of the given split, made when
 * the second member appears: "a" alone stays a leaf. */
static enum status join(struct parser *p, enum tiling_split split, int *parent,
                        int last, int node)
{
    if (last < 0) {
        *parent = node;
        return STATUS_OK;
    }
    if (*parent == last) {
        int made = 0;
        TRY(new_node(p, &made));
        p->out->node[made].split = split;
        p->out->node[made].first = last;
        *parent = made;
    }
    p->out->node[last].next = node;
    return STATUS_OK;
}

static enum status parse_row(struct parser *p, int *out)
{
    int last = -1;
    for (;;) {
        skip_blanks(p);
        int node = 0;
        TRY(parse_item(p, &node));
        TRY(join(p, TILING_BESIDE, out, last, node));
        last = node;
        skip_blanks(p);
        if (*p->at == 0 || *p->at == '/' || *p->at == ')')
            return STATUS_OK;
    }
}

static enum status parse_stack(struct parser *p, int *out)
{
    int last = -1;
    for (;;) {
        int row;
        TRY(parse_row(p, &row));
        TRY(join(p, TILING_ABOVE, out, last, row));
        last = row;
        if (*p->at != '/')
            return STATUS_OK;
        p->at++;
    }
}

/* The root becomes node 0 by changing places with whatever is there. */
static void move_root(struct tiling *l, int root)
{
    if (root == 0)
        return;
    struct tiling_node t = l->node[0];
    l->node[0] = l->node[root];
    l->node[root] = t;
    for (int i = 0; i < l->n; i++) {
        struct tiling_node *node = &l->node[i];
        node->first = node->first == 0 ? root : node->first;
        node->next = node->next == 0 ? root : node->next;
    }
}

enum status tiling_parse(const char *text, struct tiling *out, struct err *e)
{
    *out = (struct tiling){ .n = 0 };
    struct parser p = { .text = text, .at = text, .out = out, .err = e };
    skip_blanks(&p);
    if (!*p.at)
        return STATUS_OK;
    int root;
    TRY(parse_stack(&p, &root));
    if (*p.at)
        return fail(&p, "nothing was expected here");
    move_root(out, root);
    return STATUS_OK;
}

static void place(const struct tiling *l, int node, struct rect all,
                  struct rect out[TILING_NODES])
{
    out[node] = all;
    const struct tiling_node *parent = &l->node[node];
    if (parent->split == TILING_NONE)
        return;
    int total = 0, before = 0;
    for (int c = parent->first; c >= 0; c = l->node[c].next)
        total += l->node[c].weight;
    bool beside = parent->split == TILING_BESIDE;
    int length = beside ? all.w : all.h;
    for (int c = parent->first; c >= 0; c = l->node[c].next) {
        int from = (2 * length * before + total) / (2 * total);
        before += l->node[c].weight;
        int to = (2 * length * before + total) / (2 * total);
        struct rect part = all;
        if (beside) {
            part.x += from;
            part.w = to - from;
        } else {
            part.y += from;
            part.h = to - from;
        }
        place(l, c, part, out);
    }
}

void tiling_place(const struct tiling *l, struct rect all,
                  struct rect out[TILING_NODES])
{
    memset(out, 0, TILING_NODES * sizeof *out);
    if (l->n > 0)
        place(l, 0, all, out);
}

const struct tiling_row *tiling_find(const char *name)
{
    for (int i = 0; i < tiling_count; i++) {
        if (!strcmp(tiling_table[i].name, name))
            return &tiling_table[i];
    }
    return NULL;
}

const struct tiling_row *tiling_choose(int w, int h,
                                       const struct tiling_row *now)
{
    const struct tiling_row *best = &tiling_table[0];
    for (int i = 0; i < tiling_count; i++) {
        const struct tiling_row *row = &tiling_table[i];
        int slack = now && now >= row ? 2 : 0;
        if (w >= row->min_w - slack && h >= row->min_h - slack)
            best = row;
    }
    return best;
}

const struct tiling_row tiling_table[] = {
    { .name = "none", .help = "status and prompt", .text = "" },
    { .name = "single", .help = "one pane at a time",
      .min_w = 40, .min_h = 10, .text = "layers,curves,hist,log" },
    { .name = "small", .help = "layers, curves or histogram, log",
      .min_w = 80, .min_h = 24,
      .text = "(layers:38 curves,hist:42):14 / log:7" },
    { .name = "medium", .help = "layers with detail, curves, histogram, log",
      .min_w = 100, .min_h = 30,
      .text = "(layers:56 (curves:13 / hist:12):64):26 / log:11" },
    { .name = "wide", .help = "three columns: layers, curves, histograms",
      .min_w = 160, .min_h = 45,
      .text = "(layers:66 (curves=acc / curves=loss):67"
              " (hist=weight / hist=act / hist=error):67):36 / log:11" },
};
const int tiling_count = sizeof tiling_table / sizeof tiling_table[0];

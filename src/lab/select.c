/* Selectors. SPDX-License-Identifier: GPL-3.0-or-later */
#include "lab/select.h"

#include <ctype.h>
#include <limits.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "lab/state.h"

#define DEPTH_MAX 32

struct sel {                  /* a selector being read */
    struct lab *lab;
    const char *text;
    int at, depth, fault;
    bool optional;
    struct err *err;
};

const struct sel_suffix sel_suffix_table[] = {
    { "w", "the weights", SEL_W },
    { "weight", "the weights", SEL_W },
    { "b", "the bias", SEL_B },
    { "bias", "the bias", SEL_B },
    { "in", "the value that comes in", SEL_IN },
    { "out", "the value that goes out", SEL_OUT },
    { "acc", "the sums before bias and scale", SEL_ACC },
    { "err", "what quantization takes away: of the weights, else of the "
             "output", SEL_ERR },
    { "grad", "the gradient: of the weights, else of the output", SEL_GRAD },
    { "scale", "the scales: of the weights, else of the output", SEL_SCALE },
};
const int sel_suffix_count =
    sizeof sel_suffix_table / sizeof sel_suffix_table[0];

static int node_count(const struct sel *p)
{
    return p->lab->graph->n_node;
}

static const struct node *node_at(const struct sel *p, int i)
{
    return &p->lab->graph->node[i];
}

static enum status fail(struct sel *p, int at, const char *what)
{
    p->fault = at;
    return err_set(p->err, STATUS_ARG, "%s", what);
}

static void skip(struct sel *p)
{
    while (isspace((unsigned char)p->text[p->at]))
        p->at++;
}

static bool find_suffix(const char *name, size_t n, enum sel_bit *bit)
{
    for (int i = 0; i < sel_suffix_count; i++) {
        if (strlen(sel_suffix_table[i].name) == n &&
            strncmp(sel_suffix_table[i].name, name, n) == 0) {
            *bit = sel_suffix_table[i].bit;
            return true;
        }
    }
    return false;
}

/* ---- atoms: each marks nodes in `hit` ---- */

struct near_names {
    const struct sel *p;
    char stem[128];
    size_t n;
};

static const char *near_name(const void *ctx, int i)
{
    const struct near_names *q = ctx;
    return node_at(q->p, i)->name;
}

/* "(did you mean ..)": the nearest layer; for `stem*` the nearest stem. */
static void suggest(const struct sel *p, const char *pattern, struct str *out)
{
    struct near_names q = { .p = p };
    size_t n = strlen(pattern);
    if (!glob_has_wildcard(pattern)) {
        const char *near = str_nearest(pattern, node_count(p), near_name, &q);
        if (near)
            str_printf(out, " (did you mean '%s'?)", near);
        return;
    }
    if (n < 3 || n >= sizeof q.stem || pattern[n - 1] != '*' ||
        strcspn(pattern, "*?") != n - 1)
        return;
    int best = 3;
    char found[128] = "";
    for (int i = 0; i < node_count(p); i++) {
        snprintf(q.stem, sizeof q.stem, "%.*s", (int)(n - 1),
                 node_at(p, i)->name);
        char want[128];
        snprintf(want, sizeof want, "%.*s", (int)(n - 1), pattern);
        int d = str_distance(want, q.stem, 2);
        if (d < best) {
            best = d;
            memcpy(found, q.stem, sizeof found);
        }
    }
    if (found[0])
        str_printf(out, " (did you mean '%s*'?)", found);
}

/* The first layers, where no name is near. */
static void first_names(const struct sel *p, struct str *out)
{
    int n = node_count(p), shown = n < 6 ? n : 6;
    for (int i = 0; i < shown; i++) {
        str_add(out, i ? " " : " (there are ");
        str_add_clean(out, node_at(p, i)->name);
    }
    str_add(out, shown < n ? " ..)" : shown ? ")" : "");
}

static enum status no_match(struct sel *p, int at, const char *pattern)
{
    struct str hint = { 0 };
    suggest(p, pattern, &hint);
    if (hint.len == 0)
        first_names(p, &hint);
    p->fault = at;
    err_set(p->err, STATUS_NOTFOUND, "no layer matches '%.80s'%s", pattern,
            str_text(&hint));
    str_fini(&hint);
    return STATUS_NOTFOUND;
}

static int mark_glob(const struct sel *p, const char *pattern, bool *hit)
{
    int n = 0;
    for (int i = 0; i < node_count(p); i++)
        n += hit[i] = glob_match(pattern, node_at(p, i)->name);
    return n;
}

/* A name or a glob, with its `.w` in the same word: the point wins over a
 * layer whose own name ends like that. */
static enum status atom_name(struct sel *p, bool *hit, enum sel_bit *bit)
{
    int begin = p->at;
    size_t n = strcspn(p->text + begin, ",&() \t\n");
    char name[256];
    if (n == 0 || n >= sizeof name)
        return fail(p, begin, n ? "the name is too long"
                                : "a layer is wanted here");
    memcpy(name, p->text + begin, n);
    name[n] = '\0';
    p->at += (int)n;
    char *dot = strrchr(name, '.');
    if (dot && dot != name &&
        find_suffix(dot + 1, strlen(dot + 1), bit)) {
        *dot = '\0';
        if (mark_glob(p, name, hit))
            return STATUS_OK;
        *dot = '.';
        *bit = SEL_LAYER;
    }
    if (mark_glob(p, name, hit) || p->optional || glob_has_wildcard(name))
        return STATUS_OK;
    return no_match(p, begin, name);
}

static enum status atom_quoted(struct sel *p, bool *hit)
{
    int begin = p->at;
    char quote = p->text[p->at++], name[256];
    size_t n = 0;
    while (p->text[p->at] && p->text[p->at] != quote) {
        char c = p->text[p->at++];
        if (c == '\\' && quote == '"' && p->text[p->at])
            c = p->text[p->at++];
        if (n < sizeof name - 1)
            name[n++] = c;
    }
    name[n] = '\0';
    if (!p->text[p->at])
        return fail(p, begin, "the quote is not closed");
    p->at++;
    int i = graph_find(p->lab->graph, name);
    if (i < 0)
        return p->optional ? STATUS_OK : no_match(p, begin, name);
    hit[i] = true;
    return STATUS_OK;
}

/* Other names by which people know types. */
static const struct {
    const char *name, *type;
} type_alias[] = {
    { "linear", "dense" }, { "fc", "dense" },     { "batchnorm", "bn" },
    { "norm", "bn" },      { "activation", "act" },
};

static enum status atom_type(struct sel *p, bool *hit)
{
    int begin = p->at++;
    char type[64];
    size_t n = 0;
    while (isalnum((unsigned char)p->text[p->at]) || p->text[p->at] == '_') {
        if (n < sizeof type - 1)
            type[n++] = p->text[p->at];
        p->at++;
    }
    type[n] = '\0';
    const char *want = type;
    for (size_t i = 0; i < sizeof type_alias / sizeof type_alias[0]; i++)
        if (strcmp(type, type_alias[i].name) == 0)
            want = type_alias[i].type;
    bool known = false;
    for (int i = 0; i < node_count(p); i++) {
        const struct node *node = node_at(p, i);
        hit[i] = strcmp(node_type(p->lab->graph, node), want) == 0 ||
                 strcmp(node->op->name, want) == 0;
        known |= hit[i];
    }
    for (int i = 0; i < op_count && !known; i++)
        known = strcmp(op_table[i]->type, want) == 0 ||
                strcmp(op_table[i]->name, want) == 0;
    if (known || strcmp(want, "dwconv") == 0)
        return STATUS_OK;
    struct str types = { 0 };
    for (int i = 0; i < node_count(p); i++) {
        const char *t = node_type(p->lab->graph, node_at(p, i));
        struct str item = { 0 };
        str_printf(&item, " :%s", t);
        if (!types.len || !strstr(str_text(&types), str_text(&item)))
            str_add(&types, str_text(&item));
        str_fini(&item);
    }
    p->fault = begin;
    err_set(p->err, STATUS_NOTFOUND, "no layer type ':%s' (this model has%s)",
            type, str_text(&types));
    str_fini(&types);
    return STATUS_NOTFOUND;
}

static enum status atom_position(struct sel *p, int begin, bool *hit)
{
    char *end;
    long first = strtol(p->text + p->at, &end, 10), last = first;
    if (*end == '-' && isdigit((unsigned char)end[1]))
        last = strtol(end + 1, &end, 10);
    p->at = (int)(end - p->text);
    if (first < 1 || last < first || last > node_count(p)) {
        p->fault = begin;
        return err_set(p->err, STATUS_NOTFOUND,
                       "the model has layers @1 to @%d", node_count(p));
    }
    for (long i = first; i <= last; i++)
        hit[i - 1] = true;
    return STATUS_OK;
}

/* A set is kept as text: names separated by commas. */
static void mark_list(const struct sel *p, const char *list, bool *hit)
{
    char name[256];
    while (*list) {
        size_t n = strcspn(list, ",");
        snprintf(name, sizeof name, "%.*s", (int)n, list);
        int i = graph_find(p->lab->graph, name);
        if (i >= 0)
            hit[i] = true;
        list += n + (list[n] == ',');
    }
}

static bool set_first(const struct sel *p, bool *hit)
{
    hit[0] = true;
    (void)p;
    return true;
}

static bool set_last(const struct sel *p, bool *hit)
{
    hit[node_count(p) - 1] = true;
    return true;
}

static bool set_selected(const struct sel *p, bool *hit)
{
    int n = 0;
    for (int i = 0; i < node_count(p); i++)
        n += hit[i] = lab_is_selected(p->lab, i);
    return n > 0;
}

static bool set_changed(const struct sel *p, bool *hit)
{
    int n = 0;
    for (int i = 0; i < node_count(p); i++)
        n += hit[i] = layer_changed(p->lab, i);
    return n > 0;
}

static const struct {
    const char *name;
    bool (*mark)(const struct sel *p, bool *hit);
} set_table[] = {
    { "first", set_first },
    { "last", set_last },
    { "sel", set_selected },
    { "changed", set_changed },
};

static enum status atom_set(struct sel *p, bool *hit)
{
    int begin = p->at++;
    if (isdigit((unsigned char)p->text[p->at]))
        return atom_position(p, begin, hit);
    char name[64] = "@";
    size_t n = 1;
    while (isalnum((unsigned char)p->text[p->at]) || p->text[p->at] == '_') {
        if (n < sizeof name - 1)
            name[n++] = p->text[p->at];
        p->at++;
    }
    for (size_t i = 0; i < sizeof set_table / sizeof set_table[0]; i++) {
        if (strcmp(name + 1, set_table[i].name) == 0) {
            set_table[i].mark(p, hit);
            return STATUS_OK;
        }
    }
    struct value v;
    if (!var_get(p->lab, name, &v)) {
        p->fault = begin;
        return err_set(p->err, STATUS_NOTFOUND,
                       "no set '%s' (@first @last @sel @changed, a position "
                       "as @3, or `let %s = ...`)", name, name);
    }
    mark_list(p, v.text, hit);
    return STATUS_OK;
}

static enum status atom_regex(struct sel *p, bool *hit)
{
    int begin = p->at;
    const char *end = strchr(p->text + begin + 1, '/');
    if (!end)
        return fail(p, begin, "the regular expression wants a closing '/'");
    struct str re = { 0 };
    str_add_n(&re, p->text + begin + 1,
              (size_t)(end - (p->text + begin + 1)));
    regex_t compiled;
    int bad = regcomp(&compiled, str_text(&re), REG_EXTENDED | REG_NOSUB);
    str_fini(&re);
    if (bad) {
        char text[100];
        regerror(bad, &compiled, text, sizeof text);
        p->fault = begin;
        return err_set(p->err, STATUS_ARG, "bad regular expression: %s",
                       text);
    }
    for (int i = 0; i < node_count(p); i++)
        hit[i] = regexec(&compiled, node_at(p, i)->name, 0, NULL, 0) == 0;
    regfree(&compiled);
    p->at = (int)(end - p->text) + 1;
    return STATUS_OK;
}

static enum status atom_predicate(struct sel *p, bool *hit)
{
    int begin = p->at++, depth = 1;
    struct str text = { 0 };
    while (p->text[p->at]) {
        char c = p->text[p->at++];
        depth += c == '[' ? 1 : c == ']' ? -1 : 0;
        if (!depth)
            break;
        str_char(&text, c);
    }
    if (depth) {
        str_fini(&text);
        return fail(p, begin, "'[' is not closed");
    }
    int n, fault = 0;
    lab_refresh_stats(p->lab, 0);
    const struct layer_view *view = lab_layer_views(p->lab, &n);
    enum status s = STATUS_OK;
    for (int i = 0; i < n && !s; i++) {
        struct expr_env env = { .lab = p->lab, .layer = &view[i] };
        struct expr_result r;
        s = expr_eval(&env, str_text(&text), &r, &fault, p->err);
        hit[view[i].node] = !s && value_true(&r.value);
    }
    if (s)
        p->fault = begin + 1 + fault;
    str_fini(&text);
    return s;
}

/* ---- the grammar ---- */

static enum status parse_union(struct sel *p, unsigned *bits);

static enum status parse_group(struct sel *p, unsigned *bits)
{
    int begin = p->at++;
    TRY(parse_union(p, bits));
    skip(p);
    if (p->text[p->at] != ')')
        return fail(p, begin, "the bracket is not closed");
    p->at++;
    return STATUS_OK;
}

static const struct {
    char first;
    enum status (*read)(struct sel *p, bool *hit);
} atom_table[] = {
    { '"', atom_quoted }, { '\'', atom_quoted }, { ':', atom_type },
    { '@', atom_set },    { '/', atom_regex },   { '[', atom_predicate },
};

/* `.w` behind a type, set, regex, predicate, quoted name or group. */
static enum status read_suffix(struct sel *p, enum sel_bit *bit)
{
    *bit = SEL_LAYER;
    if (p->text[p->at] != '.')
        return STATUS_OK;
    int begin = p->at++;
    size_t n = strspn(p->text + p->at, "abcdefghijklmnopqrstuvwxyz");
    if (!find_suffix(p->text + p->at, n, bit))
        return fail(p, begin, "after the layer comes .w .b .in .out .acc "
                              ".err .grad or .scale");
    p->at += (int)n;
    return STATUS_OK;
}

static enum status read_atom(struct sel *p, bool *hit, enum sel_bit *bit)
{
    char c = p->text[p->at];
    *bit = SEL_LAYER;
    for (size_t i = 0; i < sizeof atom_table / sizeof atom_table[0]; i++) {
        if (c == atom_table[i].first) {
            TRY(atom_table[i].read(p, hit));
            return read_suffix(p, bit);
        }
    }
    return atom_name(p, hit, bit);
}

static enum status parse_atom(struct sel *p, unsigned *bits)
{
    enum sel_bit bit = SEL_LAYER;
    enum status s;
    skip(p);
    if (p->text[p->at] == '(') {
        s = parse_group(p, bits);
        if (!s)
            s = read_suffix(p, &bit);
        for (int i = 0; !s && bit != SEL_LAYER && i < node_count(p); i++)
            bits[i] = bits[i] ? (unsigned)bit : 0;
        return s;
    }
    bool *hit = xmalloc((size_t)node_count(p) + 1);
    memset(hit, 0, (size_t)node_count(p) + 1);
    s = read_atom(p, hit, &bit);
    for (int i = 0; !s && i < node_count(p); i++)
        bits[i] = hit[i] ? (unsigned)bit : 0;
    free(hit);
    return s;
}

static enum status parse_not(struct sel *p, unsigned *bits)
{
    skip(p);
    if (p->text[p->at] != '!')
        return parse_atom(p, bits);
    if (++p->depth > DEPTH_MAX)
        return fail(p, p->at, "the selector is nested too deeply");
    p->at++;
    TRY(parse_not(p, bits));
    p->depth--;
    /* The complement is taken among things of the same sort. */
    unsigned sort = 0;
    for (int i = 0; i < node_count(p); i++)
        sort |= bits[i];
    for (int i = 0; i < node_count(p); i++)
        bits[i] = (sort ? sort : SEL_LAYER) & ~bits[i];
    return STATUS_OK;
}

static enum status parse_inter(struct sel *p, unsigned *bits)
{
    TRY(parse_not(p, bits));
    for (;;) {
        skip(p);
        if (p->text[p->at] != '&')
            return STATUS_OK;
        p->at += p->text[p->at + 1] == '&' ? 2 : 1;
        unsigned *right = xmalloc((size_t)node_count(p) * sizeof *right);
        enum status s = parse_not(p, right);
        /* A layer holds all its points: `conv*.w & [w>4]`. */
        for (int i = 0; !s && i < node_count(p); i++)
            bits[i] = right[i] == SEL_LAYER  ? bits[i]
                      : bits[i] == SEL_LAYER ? right[i]
                                             : bits[i] & right[i];
        free(right);
        TRY(s);
    }
}

static enum status parse_union(struct sel *p, unsigned *bits)
{
    if (++p->depth > DEPTH_MAX)
        return fail(p, p->at, "the selector is nested too deeply");
    TRY(parse_inter(p, bits));
    for (;;) {
        skip(p);
        if (p->text[p->at] != ',')
            break;
        p->at++;
        unsigned *right = xmalloc((size_t)node_count(p) * sizeof *right);
        enum status s = parse_inter(p, right);
        for (int i = 0; !s && i < node_count(p); i++)
            bits[i] |= right[i];
        free(right);
        TRY(s);
    }
    p->depth--;
    return STATUS_OK;
}

static enum status parse_text(struct lab *l, const char *text, bool optional,
                              struct selection *out, int *fault,
                              struct err *e)
{
    struct sel p = { .lab = l, .text = text, .optional = optional, .err = e };
    *out = (struct selection){ .n = l->graph->n_node };
    out->bits = xmalloc((size_t)(out->n + 1) * sizeof *out->bits);
    memset(out->bits, 0, (size_t)(out->n + 1) * sizeof *out->bits);
    out->text = xstrdup(text);
    enum status s = parse_union(&p, out->bits);
    skip(&p);
    if (!s && text[p.at])
        s = fail(&p, p.at, "this does not belong to the selector");
    if (!s && !optional && selection_count(out) == 0)
        s = no_match(&p, 0, text);
    *fault = p.fault;
    if (s)
        selection_fini(out);
    return s;
}

/* A last `?` allows no match; but where it matches as the wildcard that it
 * also is, it is that: `fc?`. */
enum status selection_parse(struct lab *l, const char *text,
                            struct selection *out, int *fault, struct err *e)
{
    size_t len = strlen(text);
    bool optional = len > 1 && text[len - 1] == '?';
    if (!optional)
        return parse_text(l, text, false, out, fault, e);
    if (parse_text(l, text, false, out, fault, NULL) == STATUS_OK)
        return STATUS_OK;
    char *copy = xstrdup(text);
    copy[len - 1] = '\0';
    enum status s = parse_text(l, copy, true, out, fault, e);
    free(copy);
    return s;
}

void selection_fini(struct selection *s)
{
    free(s->bits);
    free(s->text);
    *s = (struct selection){ 0 };
}

/* ---- what was selected ---- */

int selection_count(const struct selection *s)
{
    int n = 0;
    for (int i = 0; i < s->n; i++)
        n += s->bits[i] != 0;
    return n;
}

bool selection_is_all(const struct selection *s)
{
    for (int i = 0; i < s->n; i++)
        if (!(s->bits[i] & SEL_LAYER))
            return false;
    return s->n > 0;
}

int selection_nodes(const struct selection *s, int *node)
{
    int n = 0;
    for (int i = 0; i < s->n; i++)
        if (s->bits[i])
            node[n++] = i;
    return n;
}

static void print_name(const char *name, struct str *out)
{
    if (!strpbrk(name, ",&!()[]/:@\"' \t*?")) {
        str_add(out, name);
        return;
    }
    str_char(out, '"');
    for (const char *c = name; *c; c++) {
        if (*c == '"' || *c == '\\')
            str_char(out, '\\');
        str_char(out, *c);
    }
    str_char(out, '"');
}

/* The same tensor of every layer prints as `*.w`. */
static bool same_everywhere(const struct selection *s, unsigned *bits)
{
    for (int i = 0; i < s->n; i++)
        if (s->bits[i] != s->bits[0])
            return false;
    *bits = s->n ? s->bits[0] : 0;
    return *bits != 0;
}

static void print_bits(const char *name, unsigned bits, struct str *out)
{
    if (bits & SEL_LAYER) {
        str_printf(out, "%s%s", out->len ? "," : "", name);
        return;
    }
    unsigned done = 0;
    for (int k = 0; k < sel_suffix_count; k++) {
        unsigned bit = sel_suffix_table[k].bit;
        if (bits & bit & ~done)
            str_printf(out, "%s%s.%s", out->len ? "," : "", name,
                       sel_suffix_table[k].name);
        done |= bit;
    }
}

void selection_print(const struct lab *l, const struct selection *s,
                     struct str *out)
{
    unsigned bits;
    struct str list = { 0 };
    if (same_everywhere(s, &bits)) {
        print_bits("*", bits, &list);
    } else {
        for (int i = 0; i < s->n; i++) {
            struct str name = { 0 };
            print_name(l->graph->node[i].name, &name);
            if (s->bits[i])
                print_bits(str_text(&name), s->bits[i], &list);
            str_fini(&name);
        }
    }
    str_add(out, str_text(&list));
    str_fini(&list);
}

int selection_points(const struct lab *l, const struct selection *s, int *out)
{
    const struct graph *g = l->graph;
    int n = 0;
    for (int k = 0; k < g->n_point; k++) {
        const struct point *pt = &g->point[k];
        unsigned want = 0;
        for (int i = 0; i < s->n; i++) {
            unsigned bits = s->bits[i];
            if (bits & SEL_LAYER)
                bits |= SEL_POINTS;
            bool mine = pt->node == i;
            /* An output belongs to the head of its group; naming any layer
             * of the group's tail names it, too. */
            if (pt->kind == POINT_OUT && bits && !mine)
                mine = layer_out_point(g, g->node[i].head) == k;
            if (mine)
                want |= bits;
        }
        if (want & (unsigned)SEL_POINT(pt->kind))
            out[n++] = k;
    }
    return n;
}

void names_print(const struct lab *l, const int *node, int n,
                 const char *what, struct str *out)
{
    str_printf(out, "%d %s%s%s", n, what, n == 1 ? "" : "s", n ? ":" : "");
    for (int i = 0; i < n && i < 5; i++) {
        str_char(out, ' ');
        str_add_clean(out, l->graph->node[node[i]].name);
    }
    if (n > 5)
        str_add(out, " ...");
}

int tensor_name_split(const struct lab *l, const char *name,
                      enum sel_bit *bit)
{
    char layer[256];
    const char *dot = strrchr(name, '.');
    *bit = SEL_LAYER;
    if (!l->graph)
        return -1;
    if (dot && dot != name && find_suffix(dot + 1, strlen(dot + 1), bit)) {
        snprintf(layer, sizeof layer, "%.*s", (int)(dot - name), name);
        int node = graph_find(l->graph, layer);
        if (node >= 0)
            return node;
    }
    *bit = SEL_LAYER;
    return graph_find(l->graph, name);
}

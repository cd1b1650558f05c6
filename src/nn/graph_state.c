/* A graph's values, groups and flags, to and from a bag.
 *
 * Text "graph.flags", a line each, only for what is not as after graph_parse:
 *
 *   group conv1 bn1 relu1      the fused groups, all of them
 *   frozen bn1                 batch norm on running statistics
 *   folded bn1                 batch norm merged into its layer
 *   fold_head conv1            the layer it was merged into
 *   fixed conv1.weight         parameter that the optimiser skips
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "base/arena.h"
#include "nn/graph_text.h"

/* What the flags say, before it is put into the graph. */
struct flags {
    struct node_flags {
        int head, tail;
        bool frozen, folded, fold_head;
    } *node;
    bool *fixed;                 /* by parameter */
};

static void flags_fini(struct flags *f)
{
    mem_free(f->node);
    mem_free(f->fixed);
}

static enum status flags_init(struct flags *f, const struct graph *g,
                              struct err *e)
{
    *f = (struct flags){ 0 };
    f->node = mem_alloc((size_t)g->n_node, sizeof *f->node);
    f->fixed = mem_alloc((size_t)g->n_param + 1, sizeof *f->fixed);
    if (!f->node || !f->fixed) {
        flags_fini(f);
        return err_memory(e, "flags");
    }
    for (int i = 0; i < g->n_node; i++)
        f->node[i].head = f->node[i].tail = i;
    return STATUS_OK;
}

static void add_line(struct str *out, const char *verb, const char *name)
{
    str_printf(out, "%s ", verb);
    word_add(out, name);
    str_char(out, '\n');
}

static void add_group(struct str *out, const struct graph *g, int head)
{
    str_add(out, "group");
    for (int i = head; i <= g->node[head].tail; i++) {
        if (g->node[i].head != head)
            continue;
        str_char(out, ' ');
        word_add(out, g->node[i].name);
    }
    str_char(out, '\n');
}

static void add_flags(struct str *out, const struct graph *g)
{
    for (int i = 0; i < g->n_node; i++) {
        const struct node *n = &g->node[i];
        if (n->head == i && n->tail != i)
            add_group(out, g, i);
        if (n->bn_frozen)
            add_line(out, "frozen", n->name);
        if (n->bn_folded)
            add_line(out, "folded", n->name);
        if (n->fold_head)
            add_line(out, "fold_head", n->name);
    }
    for (int i = 0; i < g->n_param; i++)
        if (g->param[i].frozen)
            add_line(out, "fixed", g->param[i].name);
}

static enum status save_texts(const struct graph *g, struct bag *b,
                              struct err *e)
{
    struct str text = { 0 }, flags = { 0 };
    graph_print(g, &text);
    add_flags(&flags, g);
    enum status status = text.failed || flags.failed
                             ? err_memory(e, "model text") : STATUS_OK;
    if (status == STATUS_OK)
        status = bag_put_text(b, "graph", str_text(&text), e);
    if (status == STATUS_OK)
        status = bag_put_text(b, "graph.flags", str_text(&flags), e);
    str_fini(&text);
    str_fini(&flags);
    return status;
}

enum status graph_save(const struct graph *g, struct bag *b, struct err *e)
{
    TRY(save_texts(g, b, e));
    for (int i = 0; i < g->n_param; i++) {
        const struct param *p = &g->param[i];
        TRY(bag_put(b, p->name, DTYPE_REAL, &p->shape, p->value, e));
    }
    return STATUS_OK;
}

static enum status find_layer(const struct graph *g, const char *name,
                              int *out, struct err *e)
{
    *out = graph_find(g, name);
    if (*out < 0)
        return err_set(e, STATUS_FORMAT, "the model has no layer '%s'", name);
    return STATUS_OK;
}

static enum status read_group(const struct graph *g, struct flags *f,
                              char *at, struct err *e)
{
    int chain[GRAPH_GROUP_MAX], n = 0;
    for (;;) {
        enum word_kind kind;
        char *word;
        TRY(word_next(&at, &kind, &word, e));
        if (kind == WORD_END)
            break;
        if (n == GRAPH_GROUP_MAX)
            return err_set(e, STATUS_FORMAT, "a group has more than %d "
                           "layers", GRAPH_GROUP_MAX);
        TRY(find_layer(g, word, &chain[n], e));
        if (f->node[chain[n]].head != chain[n] ||
            f->node[chain[n]].tail != chain[n])
            return err_set(e, STATUS_FORMAT, "'%s' is in two groups", word);
        n++;
    }
    TRY(graph_check_chain(g, chain, n, e));
    for (int i = 0; i < n; i++) {
        f->node[chain[i]].head = chain[0];
        f->node[chain[i]].tail = chain[n - 1];
    }
    return STATUS_OK;
}

static enum status read_frozen(const struct graph *g, struct flags *f,
                               const char *name, struct err *e)
{
    int i;
    TRY(find_layer(g, name, &i, e));
    f->node[i].frozen = true;
    return STATUS_OK;
}

static enum status read_folded(const struct graph *g, struct flags *f,
                               const char *name, struct err *e)
{
    int i;
    TRY(find_layer(g, name, &i, e));
    f->node[i].folded = true;
    return STATUS_OK;
}

static enum status read_fold_head(const struct graph *g, struct flags *f,
                                  const char *name, struct err *e)
{
    int i;
    TRY(find_layer(g, name, &i, e));
    f->node[i].fold_head = true;
    return STATUS_OK;
}

static enum status read_fixed(const struct graph *g, struct flags *f,
                              const char *name, struct err *e)
{
    int i = graph_param_find(g, name);
    if (i < 0)
        return err_set(e, STATUS_FORMAT, "the model has no parameter '%s'",
                       name);
    f->fixed[i] = true;
    return STATUS_OK;
}

static const struct flag_verb {
    const char *name;
    enum status (*read)(const struct graph *g, struct flags *f,
                        const char *name, struct err *e);
} flag_verbs[] = {
    { .name = "frozen", .read = read_frozen },
    { .name = "folded", .read = read_folded },
    { .name = "fold_head", .read = read_fold_head },
    { .name = "fixed", .read = read_fixed },
};

static enum status read_flag(const struct graph *g, struct flags *f,
                             const char *verb, char *at, struct err *e)
{
    enum word_kind kind;
    char *word;
    TRY(word_next(&at, &kind, &word, e));
    if (kind != WORD_TEXT)
        return err_set(e, STATUS_FORMAT, "wanted a name after '%s'", verb);
    for (size_t i = 0; i < sizeof flag_verbs / sizeof *flag_verbs; i++)
        if (strcmp(flag_verbs[i].name, verb) == 0)
            return flag_verbs[i].read(g, f, word, e);
    return err_set(e, STATUS_FORMAT, "no flag '%s'", verb);
}

static enum status read_flags(const struct graph *g, struct flags *f,
                              char *text, struct err *e)
{
    char *line;
    for (int number = 1; (line = line_next(&text)); number++) {
        enum word_kind kind;
        char *verb;
        enum status status = word_next(&line, &kind, &verb, e);
        if (status == STATUS_OK && kind == WORD_TEXT)
            status = strcmp(verb, "group") == 0
                         ? read_group(g, f, line, e)
                         : read_flag(g, f, verb, line, e);
        if (status == STATUS_OK)
            continue;
        err_wrap(e, status, "graph.flags line %d", number);
        err_clean_text(e);
        return status == STATUS_MEM ? status : STATUS_FORMAT;
    }
    return STATUS_OK;
}

static enum status parse_flags(const struct graph *g, struct flags *f,
                               const char *text, struct err *e)
{
    size_t n = strnlen(text, GRAPH_TEXT_MAX + 1);
    if (n > GRAPH_TEXT_MAX)
        return err_set(e, STATUS_FORMAT, "graph.flags is longer than %zu "
                       "bytes", GRAPH_TEXT_MAX);
    char *copy = mem_alloc(n + 1, 1);
    if (!copy)
        return err_memory(e, "flags");
    memcpy(copy, text, n);
    enum status status = read_flags(g, f, copy, e);
    mem_free(copy);
    return status;
}

static bool same_groups(const struct graph *g, const struct flags *f)
{
    for (int i = 0; i < g->n_node; i++)
        if (g->node[i].head != f->node[i].head ||
            g->node[i].tail != f->node[i].tail)
            return false;
    return true;
}

/* Swaps the groups of the graph and of the flags. */
static void swap_groups(struct graph *g, struct flags *f)
{
    for (int i = 0; i < g->n_node; i++) {
        struct node_flags old = f->node[i];
        f->node[i].head = g->node[i].head;
        f->node[i].tail = g->node[i].tail;
        g->node[i].head = old.head;
        g->node[i].tail = old.tail;
    }
}

static enum status apply_flags(struct graph *g, struct flags *f,
                               struct err *e)
{
    if (!same_groups(g, f)) {
        if (graph_has_quantizers(g))
            return err_set(e, STATUS_STATE, "the saved layers are fused "
                           "otherwise, and quantizers are set");
        swap_groups(g, f);
        enum status status = graph_make_points(g, e);
        if (status != STATUS_OK) {
            swap_groups(g, f);
            return status;
        }
    }
    for (int i = 0; i < g->n_node; i++) {
        g->node[i].bn_frozen = f->node[i].frozen;
        g->node[i].bn_folded = f->node[i].folded;
        g->node[i].fold_head = f->node[i].fold_head;
    }
    for (int i = 0; i < g->n_param; i++)
        g->param[i].frozen = f->fixed[i];
    return STATUS_OK;
}

static enum status load_flags(struct graph *g, const char *text,
                              struct err *e)
{
    struct flags f;
    TRY(flags_init(&f, g, e));
    enum status status = parse_flags(g, &f, text, e);
    if (status == STATUS_OK)
        status = apply_flags(g, &f, e);
    flags_fini(&f);
    return status;
}

static enum status check_param(const struct param *p, const struct bag *b,
                               struct err *e)
{
    const struct tensor *t = bag_get(b, p->name);
    if (!t)
        return err_set(e, STATUS_FORMAT, "there is no '%s'", p->name);
    if (t->type == DTYPE_REAL && shape_equal(&t->shape, &p->shape))
        return STATUS_OK;
    struct str found = { 0 }, wanted = { 0 };
    shape_add(&found, &t->shape);
    shape_add(&wanted, &p->shape);
    enum status status = err_set(e, STATUS_FORMAT, "'%s' is %s %s, wanted %s "
                                 "%s", p->name, dtype_table[t->type].name,
                                 str_text(&found),
                                 dtype_table[DTYPE_REAL].name,
                                 str_text(&wanted));
    str_fini(&found);
    str_fini(&wanted);
    return status;
}

enum status graph_load(struct graph *g, const struct bag *b, struct err *e)
{
    if (!g->finished)
        return err_set(e, STATUS_STATE, "the graph is not finished");
    for (int i = 0; i < g->n_param; i++)
        TRY(check_param(&g->param[i], b, e));
    const char *flags = bag_text(b, "graph.flags");
    if (flags)
        TRY(load_flags(g, flags, e));
    for (int i = 0; i < g->n_param; i++) {
        const struct param *p = &g->param[i];
        memcpy(p->value, bag_get(b, p->name)->data,
               (size_t)p->count * sizeof(real));
    }
    return STATUS_OK;
}

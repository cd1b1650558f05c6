/* Completion: what can stand at a place in a line.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "lab/complete.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "lab/state.h"

/* ---- candidates ---- */

void found_add(struct found *f, const char *name, const char *tail,
               const char *help)
{
    struct str text = { 0 };
    if (strncmp(name, f->prefix, strlen(f->prefix)) != 0)
        return;
    str_printf(&text, "%s%s", name, tail);
    for (int i = 0; i < f->n; i++) {
        if (strcmp(f->item[i].text, str_text(&text)) == 0) {
            str_fini(&text);
            return;
        }
    }
    if (f->n == f->cap) {
        f->cap = f->cap ? 2 * f->cap : 32;
        f->item = xrealloc(f->item, (size_t)f->cap * sizeof *f->item);
    }
    f->item[f->n++] = (struct completion){ .text = str_take(&text),
                                           .help = xstrdup(help ? help : "") };
}

void found_from(struct found *f, const struct place *p, int start)
{
    f->start = start;
    f->prefix = p->line + start;
}

void completion_free(struct completion *c, int n)
{
    for (int i = 0; i < n; i++) {
        free(c[i].text);
        free(c[i].help);
    }
    free(c);
}

/* ---- the command around the cursor ---- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* A walk over the line up to the cursor. */
struct walk {
    char quote;
    int depth;
    bool in_word, comment;
};

static void begin_command(struct place *p, struct walk *w, int at)
{
    p->command = p->begin = at;
    p->n = 0;
    *w = (struct walk){ 0 };
}

static void end_word(struct place *p, struct walk *w, int at)
{
    if (w->in_word && p->n < PLACE_WORDS)
        p->word[p->n++] = (struct word_at){ p->begin, at };
    w->in_word = false;
    p->begin = at + 1;
}

static void walk_char(struct place *p, struct walk *w, int at)
{
    char c = p->line[at];
    if (w->quote) {
        w->quote = c == w->quote ? '\0' : w->quote;
        return;
    }
    if (w->depth == 0 && is_blank(c)) {
        end_word(p, w, at);
        return;
    }
    if (c == '#' && !w->in_word)
        w->comment = true;
    if (!w->in_word)
        p->begin = at;
    w->in_word = true;
    if (c == '"' || c == '\'')
        w->quote = c;
    if (c == '(' || c == '[')
        w->depth++;
    if ((c == ')' || c == ']') && w->depth > 0)
        w->depth--;
}

/* The words of the command at the cursor, from byte `from` on; false: a
 * comment. */
static bool find_place(struct place *p, int from)
{
    struct walk w;
    begin_command(p, &w, from);
    for (int i = from; i < p->point; i++) {
        char c = p->line[i];
        bool ends = !w.quote && w.depth == 0 && (c == ';' || c == '\n');
        if (ends)
            begin_command(p, &w, i + 1);
        else if (!w.comment)
            walk_char(p, &w, i);
    }
    if (!w.in_word)
        p->begin = p->point;
    return !w.comment;
}

char *place_word(const struct place *p, int i)
{
    struct str s = { 0 };
    for (int k = p->word[i].begin; k < p->word[i].end; k++)
        if (p->line[k] != '"' && p->line[k] != '\'')
            str_char(&s, p->line[k]);
    return str_take(&s);
}

/* The command of a verb, or of its only continuation. */
static const struct cmd *find_verb(const char *verb)
{
    const struct cmd *exact = cmd_find(verb), *only = NULL;
    int n = 0;
    for (int i = 0; i < cmd_count && !exact; i++) {
        if (strncmp(cmd_table[i]->name, verb, strlen(verb)) != 0)
            continue;
        only = cmd_table[i];
        n++;
    }
    return exact ? exact : n == 1 ? only : NULL;
}

/* ---- rows that are still open ---- */

struct open_rows {
    const struct cmd *cmd;
    bool taken[32];
};

static bool is_positional(const struct arg_row *r)
{
    return !r->key && r->kind != ARG_FLAG;
}

static bool is_choice_of(const struct arg_row *r, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = r->choices; p && *p;) {
        size_t k = strcspn(p, "|");
        if (k == n && strncmp(p, word, n) == 0)
            return true;
        p += k + (p[k] == '|');
    }
    return false;
}

static bool is_open(const struct open_rows *o, int i)
{
    const struct arg_row *r = &o->cmd->arg[i];
    return !o->taken[i] || r->many || r->kind == ARG_REST;
}

/* A word that stands before the cursor takes its row, as in args.c. */
static void take_word(struct open_rows *o, const char *word)
{
    size_t key = strcspn(word, "=");
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; o->cmd->arg[i].name && i < 32; i++) {
            const struct arg_row *r = &o->cmd->arg[i];
            bool named = r->key ? word[key] && strlen(r->name) == key &&
                                      strncmp(r->name, word, key) == 0
                                : r->kind == ARG_FLAG &&
                                      strcmp(r->name, word) == 0;
            bool passed = r->kind == ARG_CHOICE && !r->required &&
                          !is_choice_of(r, word);
            if (pass == 0 ? !named
                          : !is_positional(r) || !is_open(o, i) || passed)
                continue;
            o->taken[i] = true;
            return;
        }
    }
}

static void add_choices(struct found *f, const struct arg_row *r)
{
    for (const char *p = r->choices; p && *p;) {
        char word[64];
        size_t k = strcspn(p, "|");
        snprintf(word, sizeof word, "%.*s", (int)(k < 63 ? k : 63), p);
        found_add(f, word, "", r->help);
        p += k + (p[k] == '|');
    }
}

static void add_values(struct found *f, struct place *p,
                       const struct arg_row *r)
{
    source_fn source = source_of(p->cmd, r);
    if (r->kind == ARG_CHOICE)
        add_choices(f, r);
    if (source)
        source(f, p);
}

/* What the next words may be: the first open row, and behind optional choices
 * the one after; keys and flags that are not given yet. */
static void add_rows(struct found *f, struct place *p, struct open_rows *o)
{
    bool more = true;
    for (int i = 0; o->cmd->arg[i].name && i < 32; i++) {
        const struct arg_row *r = &o->cmd->arg[i];
        if (!is_positional(r) || !is_open(o, i) || !more)
            continue;
        more = r->kind == ARG_CHOICE && !r->required;
        add_values(f, p, r);
        if (f->start != p->begin)
            return;           /* inside a word that nothing else can be */
    }
    found_from(f, p, p->begin);
    for (int i = 0; o->cmd->arg[i].name && i < 32; i++) {
        const struct arg_row *r = &o->cmd->arg[i];
        if (!is_positional(r) && is_open(o, i))
            found_add(f, r->name, r->key ? "=" : "", r->help);
    }
}

/* `key=value` at the cursor: the row, and where the value begins. */
static const struct arg_row *key_row(const struct place *p, int *value)
{
    const char *word = p->line + p->begin;
    size_t n = strcspn(word, "=");
    if (p->begin + (int)n >= p->point)
        return NULL;
    for (const struct arg_row *r = p->cmd->arg; r && r->name; r++) {
        if (r->key && strlen(r->name) == n && strncmp(r->name, word, n) == 0) {
            *value = p->begin + (int)n + 1;
            return r;
        }
    }
    return NULL;
}

static void complete_arguments(struct found *f, struct place *p)
{
    struct open_rows open = { .cmd = p->cmd };
    int value;
    const struct arg_row *key = key_row(p, &value);
    if (!p->cmd->arg)
        return;
    if (key) {
        found_from(f, p, value);
        p->begin = value;
        add_values(f, p, key);
        return;
    }
    for (int i = 1; i < p->n; i++) {
        char *word = place_word(p, i);
        bool arrow = strncmp(word, "->", 2) == 0;
        if (!arrow)
            take_word(&open, word);
        else if (strcmp(word, "->") == 0 || strcmp(word, "->>") == 0)
            i++;
        free(word);
    }
    add_rows(f, p, &open);
}

/* ---- the line ---- */

static void complete_verb(struct found *f, const struct place *p)
{
    const struct script *s = &p->lab->script;
    for (int i = 0; i < cmd_count; i++)
        found_add(f, cmd_table[i]->name, "", cmd_table[i]->help);
    for (int i = 0; i < s->n_macro; i++)
        found_add(f, s->macro[i].name, "",
                  s->macro[i].doc ? s->macro[i].doc : "defined command");
}

/* Behind `->`: a file. */
static bool complete_redirect(struct found *f, struct place *p)
{
    int at = p->begin;
    bool here = strncmp(p->line + at, "->", 2) == 0 && at + 2 <= p->point;
    if (here) {
        at += 2;
        at += at < p->point && p->line[at] == '>';
    } else if (p->n > 1) {
        char *last = place_word(p, p->n - 1);
        here = strcmp(last, "->") == 0 || strcmp(last, "->>") == 0;
        free(last);
    }
    if (!here)
        return false;
    p->begin = at;
    found_from(f, p, at);
    source_files(f, p);
    return true;
}

static void complete_at(struct found *f, struct place *p, int from);

/* A command in the rest of the line: where it begins; -1: none does. */
static int nested_rest(const struct place *p, int raw)
{
    return raw + (raw < p->point && p->line[raw] == '"');
}

/* Behind `error "..":` and `output "..":`, else an expression. */
static int nested_expect(const struct place *p, int raw)
{
    static const char *const words[] = { "error", "output" };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        size_t n = strlen(words[i]);
        if (strncmp(p->line + raw, words[i], n) != 0)
            continue;
        for (int k = p->point - 1; k > raw; k--)
            if (p->line[k] == ':' && p->line[k - 1] == '"')
                return k + 1;
    }
    return -1;
}

static int nested_shell(const struct place *p, int raw)
{
    (void)p;
    (void)raw;
    return -1;
}

static const struct {
    const char *verb;
    int (*from)(const struct place *p, int raw);
    source_fn otherwise;
} nested_table[] = {
    { "expect", nested_expect, source_expression },
    { "shell", nested_shell, source_files },
    { NULL, nested_rest, NULL },
};

/* Commands whose last argument is a command or an expression; true: the cursor
 * is in it. */
static bool complete_nested(struct found *f, struct place *p)
{
    bool expression;
    int after = cmd_raw_after(p->cmd, &expression), k = 0;
    if (after < 0 || p->n < after)
        return false;
    if (expression) {
        source_expression(f, p);
        return true;
    }
    int raw = p->n > after ? p->word[after].begin : p->begin;
    while (nested_table[k].verb &&
           strcmp(nested_table[k].verb, p->cmd->name) != 0)
        k++;
    int from = nested_table[k].from(p, raw);
    if (from >= 0)
        complete_at(f, p, from);
    else
        nested_table[k].otherwise(f, p);
    return true;
}

/* The command that begins at `from`. */
static void complete_at(struct found *f, struct place *p, int from)
{
    if (!find_place(p, from))
        return;
    found_from(f, p, p->begin);
    if (p->n == 0 && p->line[p->begin] == '!') {
        found_from(f, p, ++p->begin);
        source_files(f, p);
        return;
    }
    if (p->n == 0) {
        complete_verb(f, p);
        return;
    }
    char *verb = place_word(p, 0);
    p->cmd = find_verb(verb);
    free(verb);
    if (p->cmd && !complete_redirect(f, p) && !complete_nested(f, p))
        complete_arguments(f, p);
}

int lab_complete(struct lab *l, const char *line, int point, int *start,
                 struct completion **out)
{
    char *text = xstrdup(line);
    int n = (int)strlen(text);
    struct found f = { 0 };
    struct place p = { .lab = l, .line = text,
                       .point = point < n ? point : n };
    text[p.point] = '\0';
    complete_at(&f, &p, 0);
    if (f.n == 0)             /* `$name` can stand in every word */
        source_variables(&f, &p);
    *start = f.start;
    *out = f.item;
    free(text);
    return f.n;
}

/* The arguments of a command, checked against its rows.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "lab/args.h"

#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "lab/expr.h"
#include "lab/state.h"

const char *const arg_kind_name[ARG_KINDS] = {
    [ARG_WORD] = "word",       [ARG_SELECTOR] = "selector",
    [ARG_INT] = "whole number", [ARG_NUMBER] = "number",
    [ARG_FILE] = "file",       [ARG_DIR] = "folder",
    [ARG_SETTING] = "setting", [ARG_EXPR] = "expression",
    [ARG_REST] = "words",      [ARG_CHOICE] = "choice",
    [ARG_MARK] = "mark",       [ARG_FLAG] = "flag",
    [ARG_COMMAND] = "command", [ARG_MODEL] = "model",
    [ARG_DATA] = "data set",   [ARG_METRIC] = "metric",
    [ARG_TENSOR] = "tensor",   [ARG_VERB] = "command",
};

static bool is_raw(const struct arg_row *r)
{
    return r->kind == ARG_EXPR || r->kind == ARG_COMMAND;
}

static bool is_positional(const struct arg_row *r)
{
    return !r->key && r->kind != ARG_FLAG;
}

int cmd_raw_after(const struct cmd *c, bool *redirect)
{
    int n = 1;
    *redirect = false;
    for (const struct arg_row *r = c->arg; r && r->name; r++) {
        if (is_raw(r)) {
            *redirect = r->kind == ARG_EXPR;
            return n;
        }
        n += is_positional(r);
    }
    return -1;
}

void cmd_usage(const struct cmd *c, struct str *out)
{
    str_add(out, c->name);
    for (const struct arg_row *r = c->arg; r && r->name; r++) {
        str_char(out, ' ');
        if (!r->required)
            str_char(out, '[');
        if (r->kind == ARG_FLAG)
            str_add(out, r->name);
        else if (r->key)
            str_printf(out, "%s=%s", r->name,
                       r->choices ? r->choices : arg_kind_name[r->kind]);
        else
            for (const char *p = r->name; *p; p++)
                str_char(out, (char)(*p >= 'a' && *p <= 'z' ? *p - 32 : *p));
        if (r->many)
            str_add(out, "...");
        if (!r->required)
            str_char(out, ']');
    }
    if (c->flags & CMD_RESULT)
        str_add(out, " [-> FILE]");
}

/* ---- kinds ---- */

struct parse {
    struct lab *lab;
    struct args *args;
    const struct cmd *cmd;
    int at;                   /* word */
    struct err *err;
};

static enum status fail_at(struct parse *p, int column, const char *fmt, ...)
    ERR_FORMAT(3, 4);

static enum status fail_at(struct parse *p, int column, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    *p->args->fault = column;
    return err_set(p->err, STATUS_ARG, "%s", text);
}

static enum status kind_number(struct parse *p, struct arg *a)
{
    struct err e = { 0 };
    if (number_parse(a->text, &a->number, &e))
        return fail_at(p, a->column, "%s wants a number: %s", a->row->name,
                       e.text);
    return STATUS_OK;
}

static enum status kind_int(struct parse *p, struct arg *a)
{
    TRY(kind_number(p, a));
    if (a->number != floor(a->number) || fabs(a->number) > 9e15)
        return fail_at(p, a->column, "%s wants a whole number, not '%s'",
                       a->row->name, a->text);
    return STATUS_OK;
}

static bool in_choices(const char *choices, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = choices; *p;) {
        size_t k = strcspn(p, "|");
        if (k == n && strncmp(p, word, n) == 0)
            return true;
        p += k + (p[k] == '|');
    }
    return false;
}

struct choice_list {
    char text[16][40];
    int n;
};

static void choices_split(const char *choices, struct choice_list *out)
{
    out->n = 0;
    for (const char *p = choices; *p && out->n < 16;) {
        size_t k = strcspn(p, "|");
        snprintf(out->text[out->n++], 40, "%.*s", (int)k, p);
        p += k + (p[k] == '|');
    }
}

static const char *choice_name(const void *ctx, int i)
{
    const struct choice_list *c = ctx;
    return c->text[i];
}

static enum status kind_choice(struct parse *p, struct arg *a)
{
    struct choice_list list;
    if (in_choices(a->row->choices, a->text))
        return STATUS_OK;
    choices_split(a->row->choices, &list);
    const char *near = str_nearest(a->text, list.n, choice_name, &list);
    return fail_at(p, a->column, "'%.60s' is none of %s%s%s%s", a->text,
                   a->row->choices, near ? " (did you mean '" : "",
                   near ? near : "", near ? "'?)" : "");
}

static const char *setting_name(const void *ctx, int i)
{
    (void)ctx;
    return setting_table[i].name;
}

static enum status kind_setting(struct parse *p, struct arg *a)
{
    if (setting_find(a->text) || glob_has_wildcard(a->text))
        return STATUS_OK;
    const char *near = str_nearest(a->text, setting_count, setting_name, NULL);
    return fail_at(p, a->column, "no setting '%.60s'%s%s%s", a->text,
                   near ? " (did you mean '" : "", near ? near : "",
                   near ? "'?)" : "");
}

static const char *mark_name(const void *ctx, int i)
{
    const struct history *h = ctx;
    return h->mark[i].name;
}

static enum status kind_mark(struct parse *p, struct arg *a)
{
    if (mark_find(p->lab, a->text) || p->lab->opts.check_only)
        return STATUS_OK;
    const struct history *h = &p->lab->history;
    const char *near = str_nearest(a->text, h->n_mark, mark_name, h);
    return fail_at(p, a->column, "no mark '%.60s'%s%s%s", a->text,
                   near ? " (did you mean '" : "", near ? near : "",
                   near ? "'?)"
                        : h->n_mark ? "" : ": `mark NAME` makes one");
}

static enum status kind_selector(struct parse *p, struct arg *a)
{
    const struct word *w = &p->args->line.word[p->at];
    const char *form = a->row->key ? a->text : w->form;
    int fault = 0;
    if (!p->lab->graph)
        return fail_at(p, a->column, "no layer matches '%.60s': no model is "
                       "loaded (`load model lenet5`, or a file)", form);
    enum status s = selection_parse(p->lab, form, &a->sel, &fault, p->err);
    /* The place inside the word is known when nothing was put in. */
    bool plain = (int)strlen(form) == w->end - w->begin;
    if (s)
        *p->args->fault = a->column + (plain ? fault : 0);
    return s;
}

/* Checked by the command itself: kinds without an entry here. */
static enum status (*const kind_parse[ARG_KINDS])(struct parse *,
                                                  struct arg *) = {
    [ARG_SELECTOR] = kind_selector, [ARG_INT] = kind_int,
    [ARG_NUMBER] = kind_number,     [ARG_CHOICE] = kind_choice,
    [ARG_SETTING] = kind_setting,   [ARG_MARK] = kind_mark,
};

/* ---- words to rows ---- */

static bool taken(const struct parse *p, const struct arg_row *r)
{
    for (int i = 0; i < p->args->n; i++)
        if (p->args->arg[i].row == r)
            return true;
    return false;
}

static enum status take(struct parse *p, const struct arg_row *r,
                        const char *text, int column)
{
    struct args *a = p->args;
    a->arg = xrealloc(a->arg, (size_t)(a->n + 1) * sizeof *a->arg);
    a->arg[a->n] =
        (struct arg){ .row = r, .text = text, .column = column };
    a->n++;
    return kind_parse[r->kind] ? kind_parse[r->kind](p, &a->arg[a->n - 1])
                               : STATUS_OK;
}

struct key_rows {
    const struct arg_row *row[32];
    int n;
};

static void key_rows(const struct cmd *c, struct key_rows *out)
{
    out->n = 0;
    for (const struct arg_row *r = c->arg; r && r->name && out->n < 32; r++)
        if (r->key)
            out->row[out->n++] = r;
}

static const char *key_name(const void *ctx, int i)
{
    const struct key_rows *k = ctx;
    return k->row[i]->name;
}

static enum status unknown_key(struct parse *p, const struct word *w)
{
    struct key_rows keys;
    char key[64];
    key_rows(p->cmd, &keys);
    snprintf(key, sizeof key, "%.*s", w->value - 1, w->text);
    const char *near = str_nearest(key, keys.n, key_name, &keys);
    if (near)
        return fail_at(p, w->begin, "%s takes no '%s=' (did you mean '%s='?)",
                       p->cmd->name, key, near);
    struct str all = { 0 };
    for (int i = 0; i < keys.n; i++)
        str_printf(&all, "%s %s=", i ? "" : ":", keys.row[i]->name);
    fail_at(p, w->begin, "%s takes no '%s='%s%s", p->cmd->name, key,
            keys.n ? "; it takes" : "", str_text(&all) + (keys.n ? 1 : 0));
    str_fini(&all);
    return STATUS_ARG;
}

static bool row_accepts_any(const struct cmd *c)
{
    for (const struct arg_row *r = c->arg; r && r->name; r++)
        if (r->kind == ARG_REST || is_raw(r))
            return true;
    return false;
}

/* `key=value` for a key row. *done: it was one. */
static enum status take_key(struct parse *p, const struct word *w, bool *done)
{
    *done = false;
    if (!w->value)
        return STATUS_OK;
    for (const struct arg_row *r = p->cmd->arg; r && r->name; r++) {
        bool same = r->key && strlen(r->name) == (size_t)w->value - 1 &&
                    strncmp(r->name, w->text, strlen(r->name)) == 0;
        if (!same)
            continue;
        *done = true;
        if (taken(p, r) && !r->many)
            return fail_at(p, w->begin, "%s= is given twice", r->name);
        if (!w->text[w->value])
            return fail_at(p, w->begin, "%s= wants a value", r->name);
        return take(p, r, w->text + w->value, w->begin);
    }
    return row_accepts_any(p->cmd) ? STATUS_OK : unknown_key(p, w);
}

static enum status take_flag(struct parse *p, const struct word *w,
                             bool *done)
{
    *done = false;
    for (const struct arg_row *r = p->cmd->arg; r && r->name; r++) {
        if (r->kind == ARG_FLAG && !w->quoted && !taken(p, r) &&
            strcmp(r->name, w->text) == 0) {
            *done = true;
            return take(p, r, w->text, w->begin);
        }
    }
    return STATUS_OK;
}

/* The next positional row that this word can fill: optional choices are
 * passed over by words that are none of them. */
static const struct arg_row *next_row(const struct parse *p,
                                      const struct word *w)
{
    for (const struct arg_row *r = p->cmd->arg; r && r->name; r++) {
        bool rest = r->kind == ARG_REST;
        if (!is_positional(r) || (taken(p, r) && !r->many && !rest))
            continue;
        bool skip = r->kind == ARG_CHOICE && !r->required &&
                    !in_choices(r->choices, w->text);
        bool more = false;
        for (const struct arg_row *q = r + 1; q->name; q++)
            more |= is_positional(q);
        if (skip && (more || taken(p, r)))
            continue;
        return r;
    }
    return NULL;
}

/* `a & b` and `a, b` are one selector though blanks stand in it: the words
 * are joined into the first. */
static void join_selector(struct parse *p)
{
    struct line *l = &p->args->line;
    struct word *w = &l->word[p->at];
    while (p->at + 1 < l->n) {
        const struct word *next = &l->word[p->at + 1];
        char last = w->form[0] ? w->form[strlen(w->form) - 1] : ' ';
        if (!strchr(",&!", last) && !strchr(",&", next->form[0]))
            return;
        struct str text = { 0 }, form = { 0 };
        str_printf(&text, "%s %s", w->text, next->text);
        str_printf(&form, "%s %s", w->form, next->form);
        free(w->text);
        free(w->form);
        free(next->text);
        free(next->form);
        w->text = str_take(&text);
        w->form = str_take(&form);
        w->end = next->end;
        memmove(&l->word[p->at + 1], &l->word[p->at + 2],
                (size_t)(l->n - p->at - 2) * sizeof *l->word);
        l->n--;
    }
}

static enum status take_word(struct parse *p)
{
    bool done;
    const struct word *w = &p->args->line.word[p->at];
    TRY(take_key(p, w, &done));
    if (done)
        return STATUS_OK;
    TRY(take_flag(p, w, &done));
    if (done)
        return STATUS_OK;
    const struct arg_row *r = next_row(p, w);
    if (!r)
        return fail_at(p, w->begin, "%s does not take '%.60s'", p->cmd->name,
                       w->text);
    if (r->kind == ARG_SELECTOR)
        join_selector(p);
    return take(p, r, p->args->line.word[p->at].text, w->begin);
}

static enum status check_required(struct parse *p)
{
    for (const struct arg_row *r = p->cmd->arg; r && r->name; r++) {
        if (!r->required || taken(p, r))
            continue;
        struct str usage = { 0 };
        cmd_usage(p->cmd, &usage);
        fail_at(p, 0, "%s%s is missing: %s", r->name, r->key ? "=" : "",
                str_text(&usage));
        str_fini(&usage);
        return STATUS_ARG;
    }
    return STATUS_OK;
}

static char *var_name(void *ctx, const char *name, struct err *e)
{
    struct lab *l = ctx;
    char buf[32];
    struct value v;
    const char *arg = script_arg(&l->script, name, buf, sizeof buf);
    if (arg)
        return xstrdup(arg);
    if (l->opts.check_only && name[0] >= '1' && name[0] <= '9')
        return xstrdup(name);            /* a check has no arguments */
    if (name[0] == '#' || (name[0] >= '0' && name[0] <= '9')) {
        err_set(e, STATUS_NOTFOUND, "no argument '$%s' was given", name);
        return NULL;
    }
    if (name_value(l, name, &v, e))
        return NULL;
    if (v.is_text)
        return xstrdup(v.text);
    return xstrdup(num_exact(v.num).s);
}

static char *var_expr(void *ctx, const char *text, struct err *e)
{
    struct expr_env env = { .lab = ctx };
    struct expr_result r;
    int fault;
    if (expr_eval(&env, text, &r, &fault, e))
        return NULL;
    return xstrdup(r.value.is_text ? r.value.text : num_exact(r.value.num).s);
}

enum status args_parse(struct lab *l, const struct cmd *c, const char *text,
                       struct args *out, struct err *e)
{
    struct parse p = { .lab = l, .args = out, .cmd = c, .err = e };
    struct lex_vars vars = { .ctx = l, .name = var_name, .expr = var_expr };
    struct lex_mode mode = { .vars = &vars };
    int fault = 0;

    out->cmd = c;
    out->source = text;
    mode.raw_after = cmd_raw_after(c, &mode.raw_redirect);
    enum status s = lex_line(text, &mode, &out->line, &fault, e);
    if (s) {
        *out->fault = fault;
        return s;
    }
    if (out->line.redirect && !(c->flags & CMD_RESULT))
        return fail_at(&p, out->line.redirect_at,
                       "%s has no result to write to a file", c->name);
    out->redirect = out->line.redirect;
    out->append = out->line.append;
    for (p.at = 1; p.at < out->line.n; p.at++)
        TRY(take_word(&p));
    return check_required(&p);
}

void args_fini(struct args *a)
{
    for (int i = 0; i < a->n; i++)
        selection_fini(&a->arg[i].sel);
    free(a->arg);
    line_fini(&a->line);
    a->arg = NULL;
    a->n = 0;
}

/* ---- reading ---- */

const struct arg *args_nth(const struct args *a, const char *name, int i)
{
    for (int k = 0; k < a->n; k++)
        if (strcmp(a->arg[k].row->name, name) == 0 && i-- == 0)
            return &a->arg[k];
    return NULL;
}

const struct arg *args_find(const struct args *a, const char *name)
{
    return args_nth(a, name, 0);
}

int args_count(const struct args *a, const char *name)
{
    int n = 0;
    while (args_nth(a, name, n))
        n++;
    return n;
}

const char *args_text(const struct args *a, const char *name)
{
    const struct arg *x = args_find(a, name);
    return x ? x->text : NULL;
}

double args_number(const struct args *a, const char *name, double def)
{
    const struct arg *x = args_find(a, name);
    return x ? x->number : def;
}

bool args_has(const struct args *a, const char *name)
{
    return args_find(a, name) != NULL;
}

enum status args_fail(const struct args *a, const struct arg *arg,
                      struct err *e, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    *a->fault = arg ? arg->column : 0;
    return err_set(e, STATUS_ARG, "%s", text);
}

enum status args_blame(const struct args *a, const struct arg *arg, int at,
                       enum status s)
{
    *a->fault = (arg ? arg->column : 0) + at;
    return s;
}

/* From a command's text to its effect: look-up, arguments, preconditions,
 * undo, execution, record. SPDX-License-Identifier: GPL-3.0-or-later */
#include "lab/dispatch.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "lab/diagnose.h"
#include "lab/json_text.h"
#include "lab/state.h"

#define NESTING_MAX 32

/* ---- finding the command ---- */

/* One letter is enough for these at the prompt; `q` and `qu` are quit for
 * fingers that know other debuggers. */
static const struct {
    const char *letters, *name;
} reserved[] = {
    { "b", "break" },  { "c", "continue" }, { "d", "delete" },
    { "e", "eval" },   { "h", "help" },     { "i", "info" },
    { "l", "list" },   { "m", "mark" },     { "p", "print" },
    { "q", "quit" },   { "qu", "quit" },    { "s", "step" },
    { "t", "train" },  { "u", "until" },    { "w", "watch" },
};

static const struct cmd *find_reserved(const char *verb)
{
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
        if (strcmp(reserved[i].letters, verb) == 0)
            return cmd_find(reserved[i].name);
    return NULL;
}

/* The only command that begins with `verb`; *many: there are several, listed
 * in `names`. */
static const struct cmd *find_prefix(const char *verb, struct str *names,
                                     int *n)
{
    const struct cmd *found = NULL;
    *n = 0;
    for (int i = 0; i < cmd_count; i++) {
        if (strncmp(cmd_table[i]->name, verb, strlen(verb)) != 0)
            continue;
        found = cmd_table[i];
        str_printf(names, "%s%s", (*n)++ ? " " : "", found->name);
    }
    return *n == 1 ? found : NULL;
}

static const char *verb_name(const void *ctx, int i)
{
    const struct lab *l = ctx;
    return i < cmd_count ? cmd_table[i]->name
                         : l->script.macro[i - cmd_count].name;
}

static enum status unknown_verb(struct lab *l, const char *verb, bool prompt,
                                struct err *e)
{
    struct str names = { 0 };
    int n;
    const struct cmd *prefix = find_prefix(verb, &names, &n);
    const char *near = prefix ? prefix->name
                              : str_nearest(verb,
                                            cmd_count + l->script.n_macro,
                                            verb_name, l);
    if (prompt && n > 1)
        err_set(e, STATUS_ARG, "'%.40s' is ambiguous: %s", verb,
                str_text(&names));
    else
        err_set(e, STATUS_ARG, "unknown command '%.40s'%s (%s%s%s)", verb,
                prefix && !prompt ? "; scripts need full names" : "",
                near ? "did you mean '" : "`help` lists them",
                near ? near : "", near ? "'?" : "");
    str_fini(&names);
    return STATUS_ARG;
}

static enum status find_command(struct lab *l, const char *verb, bool prompt,
                                const struct cmd **out, struct err *e)
{
    *out = cmd_find(verb);
    if (*out || macro_find(l, verb))
        return STATUS_OK;
    if (prompt && l->opts.interactive) {
        struct str names = { 0 };
        int n;
        *out = find_reserved(verb);
        if (!*out)
            *out = find_prefix(verb, &names, &n);
        str_fini(&names);
    }
    return *out ? STATUS_OK : unknown_verb(l, verb, prompt, e);
}

/* ---- preconditions ---- */

static enum status check_idle(struct lab *l, const struct cmd *c,
                              struct err *e)
{
    if (c->flags & NEEDS_IDLE && l->goal.active)
        return err_set(e, STATUS_STATE,
                       "'%s' is not possible while '%s' runs: `stop` comes "
                       "first", c->name, l->goal.text);
    return STATUS_OK;
}

/* After the arguments: a selector without a model is its own message. */
static enum status check_needs(struct lab *l, const struct cmd *c,
                               struct err *e)
{
    if (c->flags & NEEDS_MODEL && !l->graph)
        return err_set(e, STATUS_STATE, "'%s' needs a model: `load model "
                                        "lenet5`, or a file", c->name);
    if (c->flags & NEEDS_DATA && !l->data)
        return err_set(e, STATUS_STATE, "'%s' needs data: `load data "
                                        "digits`, or a file", c->name);
    if (c->flags & NEEDS_DATA)
        TRY(lab_check_fit(l, e));
    if (c->flags & NEEDS_QUANT && !lab_any_quant(l))
        return err_set(e, STATUS_STATE, "'%s' needs a quantizer: `bits * "
                                        "w8a8` sets them", c->name);
    return STATUS_OK;
}

/* ---- messages ---- */

void where_print(const struct where *w, struct str *out)
{
    int line = w->line;
    for (int i = 0; i < w->span.begin; i++)
        line += w->text[i] == '\n';
    if (w->source)
        str_printf(out, "%s:%d", w->source, line);
    else
        str_add(out, "prompt");
}

static const char *const code_name[STATUS_COUNT] = {
#define ERR(name, code, text) [STATUS_##name] = #name,
#include "base/errs.def"
#undef ERR
};

static void report_json(struct lab *l, const struct where *w, int column,
                        const struct err *e)
{
    struct str s = { 0 }, src = { 0 };
    char code[24];
    snprintf(code, sizeof code, "%s", code_name[e->status]);
    for (char *p = code; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    where_print(w, &src);
    str_printf(&src, ":%d", column);
    json_text(&s, "src", str_text(&src));
    json_text(&s, "code", code);
    json_text(&s, "msg", e->text);
    stream_event(l, "error", str_text(&s));
    str_fini(&s);
    str_fini(&src);
}

static bool word_ends(char c)
{
    return !c || isspace((unsigned char)c) || c == ';';
}

/* The line of text around byte `at`, and a caret under it. */
static void report_context(struct lab *l, const char *text, int at, int line)
{
    int begin = at, end = at;
    while (begin > 0 && text[begin - 1] != '\n')
        begin--;
    while (text[end] && text[end] != '\n')
        end++;
    struct str s = { 0 }, clean = { 0 }, before = { 0 };
    str_add_n(&s, text + begin, (size_t)(end - begin));
    str_add_clean(&clean, str_text(&s));
    out_printf(l->out, OUT_ERROR, "%5d | %s", line, str_text(&clean));
    str_clear(&s);
    str_add_n(&s, text + begin, (size_t)(at - begin));
    str_add_clean(&before, str_text(&s));
    int pad = text_width(str_text(&before)), n = 0;
    while (!word_ends(text[at + n]) && at + n < end)
        n++;
    str_clear(&s);
    for (int i = 0; i < pad; i++)
        str_char(&s, ' ');
    str_char(&s, '^');
    for (int i = 1; i < n; i++)
        str_char(&s, '~');
    out_printf(l->out, OUT_ERROR, "      | %s", str_text(&s));
    str_fini(&s);
    str_fini(&clean);
    str_fini(&before);
}

/* At the prompt the line stands just above: the word at fault is enough, if
 * the message does not have it. */
static void report_typed(struct lab *l, const struct where *w, int at,
                         const char *message)
{
    struct str word = { 0 }, clean = { 0 };
    for (int i = at; i < w->span.end && !word_ends(w->text[i]); i++)
        str_char(&word, w->text[i]);
    str_add_clean(&clean, str_text(&word));
    const char *value = strchr(str_text(&clean), '=');
    value = value && value[1] ? value + 1 : str_text(&clean);
    if (at <= w->span.begin || (*value && strstr(message, value)))
        out_printf(l->out, OUT_ERROR, "error: %s", message);
    else if (clean.len)
        out_printf(l->out, OUT_ERROR, "error: %s: at '%s'", message,
                   str_text(&clean));
    else
        out_printf(l->out, OUT_ERROR, "error: %s: at the end of the line",
                   message);
    str_fini(&word);
    str_fini(&clean);
}

/* Which scripts lead to the place. */
static void report_chain(struct lab *l, const struct where *w)
{
    const char *last = w->source;
    for (const struct frame *f = l->script.top; f; f = f->below) {
        bool other = f->source && f->next > 0 &&
                     (!last || strcmp(f->source, last) != 0);
        if (!other)
            continue;
        struct str s = { 0 };
        where_print(&f->item[f->next - 1], &s);
        out_printf(l->out, OUT_ERROR, "%s:1: note: sourced from here",
                   str_text(&s));
        str_fini(&s);
        last = f->source;
    }
}

/* Layers below write ", did you mean 'x'?"; a message of a command has it in
 * brackets. */
static struct err with_hint(const struct err *e)
{
    struct err r = *e;
    char *hint = strstr(r.text, "did you mean '");
    size_t n = strlen(r.text);
    if (!hint || hint < r.text + 2 || hint[-1] != ' ' ||
        !strchr(",;", hint[-2]) || r.text[n - 1] != '?')
        return r;
    snprintf(hint - 2, sizeof r.text - (size_t)(hint - 2 - r.text), " (%s)",
             e->text + (hint - r.text));
    return r;
}

void dispatch_report(struct lab *l, const struct where *w, int fault,
                     const struct err *reported)
{
    struct err text = with_hint(reported), *e = &text;
    int at = w->span.begin + fault, line = w->line, column = 1;
    for (int i = 0; i < at; i++) {
        bool follows = (w->text[i] & 0xc0) == 0x80;
        column = w->text[i] == '\n' ? 1 : column + !follows;
        line += w->text[i] == '\n';
    }
    report_json(l, w, column, e);
    if (!w->source) {
        report_typed(l, w, at, e->text);
        return;
    }
    out_printf(l->out, OUT_ERROR, "%s:%d:%d: error: %s", w->source, line,
               column, e->text);
    report_context(l, w->text, at, line);
    report_chain(l, w);
}

/* ---- running ---- */

struct run {
    struct lab *lab;
    const struct where *where;
    const struct cmd *cmd;
    struct args args;
    char *text;               /* the command alone */
    int shift;                /* bytes put in front of the text as written */
    int fault;
    bool redirect_done;
    struct err *err;
};

/* Configuration as it was: put back when the command fails half way. */
struct before {
    struct bag *bag;
    struct lab_generation gen;
};

static enum status before_take(struct run *r, struct before *b)
{
    struct lab *l = r->lab;
    *b = (struct before){ .gen = l->gen };
    if (!(r->cmd->flags & CMD_CHANGES) || !l->graph)
        return STATUS_OK;
    b->bag = config_save(l, r->cmd->flags & CMD_WEIGHTS, r->err);
    return b->bag ? STATUS_OK : STATUS_MEM;
}

static void before_settle(struct run *r, struct before *b, enum status s)
{
    struct lab *l = r->lab;
    if (!b->bag)
        return;
    bool moved = l->gen.quant != b->gen.quant ||
                 l->gen.settings != b->gen.settings ||
                 l->gen.model != b->gen.model;
    if (s == STATUS_OK) {
        undo_push(l, r->text, b->bag);
        return;
    }
    if (moved)
        config_load(l, b->bag, NULL);
    bag_free(b->bag);
}

static void stream_command(struct run *r)
{
    struct lab *l = r->lab;
    struct str s = { 0 }, src = { 0 };
    char at[32];
    where_print(r->where, &src);
    snprintf(at, sizeof at, "%.3f", lab_epoch(l));
    json_text(&s, "src", str_text(&src));
    json_text(&s, "cmd", r->text);
    json_text(&s, "at", at);
    l->record.command_seq = l->record.seq;
    stream_event(l, "command", str_text(&s));
    str_fini(&s);
    str_fini(&src);
}

static void stream_result(struct lab *l)
{
    struct str s = { 0 };
    json_num(&s, "of", (double)l->record.command_seq);
    json_key(&s, "ok");
    json_raw(&s, "true");
    if (l->ans.fresh)
        answer_json(l, &s);
    if (l->result.len)
        json_raw(&s, str_text(&l->result));
    stream_event(l, "result", str_text(&s));
    str_fini(&s);
}

static void run_echo(struct run *r)
{
    if (r->where->source && r->lab->tool.echo)
        out_printf(r->lab->out, OUT_ECHO, "> %s", r->text);
}

/* Results go to the file, unless the command wrote it: then they are what it
 * says about it. */
static enum status run_redirect(struct run *r, const struct str *text)
{
    struct out *out = r->lab->out;
    enum status s = STATUS_OK;
    if (!r->redirect_done)
        s = text_write(r->args.redirect, str_text(text), text->len,
                       r->args.append, r->err);
    else if (text->len)
        out_text(out, OUT_RESULT, str_text(text));
    if (s)
        r->fault = r->args.line.redirect_at;
    else
        out_printf(out, OUT_NOTE, "wrote %s", r->args.redirect);
    return s;
}

/* The command itself, with its output sent where it belongs: notes and
 * warnings never end in a file. */
static enum status run_exec(struct run *r, struct str *result)
{
    struct lab *l = r->lab;
    struct out *out = l->out;
    struct out_capture c;
    out_capture_init(&c, out, out);
    c.apart = r->args.redirect != NULL;
    c.max_level = c.apart ? OUT_RESULT : OUT_ERROR;
    l->out = &c.out;
    enum status s = r->cmd->exec(l, &r->args, &c.out, r->err);
    l->out = out;
    if (s == STATUS_OK && r->args.redirect)
        s = run_redirect(r, &c.text);
    size_t n = strcspn(str_text(&c.text), "\n");
    str_add_n(result, str_text(&c.text), n);
    out_capture_fini(&c);
    return s;
}

static void run_after(struct run *r, const char *result)
{
    struct lab *l = r->lab;
    bool goal = r->cmd->flags & CMD_SETTLES && l->goal.active;
    if (r->cmd->flags & (CMD_CHANGES | CMD_RECORDED) &&
        !(r->cmd->flags & CMD_UNRECORDED)) {
        record_steps(l, NULL);
        record_command(l, &r->args, result);
    }
    if (r->cmd->flags & CMD_CHANGES)
        series_event(l, lab_epoch(l), r->text);
    if (!goal)
        stream_result(l);
    diagnose_command(l);
}

static enum status run_command(struct run *r)
{
    struct lab *l = r->lab;
    struct before before;
    struct str result = { 0 };
    TRY(check_idle(l, r->cmd, r->err));
    TRY(args_parse(l, r->cmd, r->text, &r->args, r->err));
    if (l->opts.check_only && !(r->cmd->flags & CMD_CHECKED))
        return STATUS_OK;
    TRY(check_needs(l, r->cmd, r->err));
    run_echo(r);
    stream_command(r);
    TRY(before_take(r, &before));
    l->ans.fresh = false;
    str_clear(&l->result);
    enum status s = run_exec(r, &result);
    before_settle(r, &before, s);
    if (s == STATUS_OK)
        run_after(r, str_text(&result));
    str_fini(&result);
    return s;
}

/* `NAME a b`: pushes the macro's body with its arguments. */
static enum status run_macro(struct run *r, const struct macro *m)
{
    struct lex_mode mode = { .raw_after = -1 };
    struct line line;
    int depth = 0;
    for (const struct frame *f = r->lab->script.top; f; f = f->below)
        depth++;
    if (depth > 2 * NESTING_MAX)
        return err_set(r->err, STATUS_STATE, "'%s' is nested too deeply",
                       m->name);
    TRY(lex_line(r->text, &mode, &line, &r->fault, r->err));
    const char *argv[9];
    int argc = 0;
    for (int i = 1; i < line.n && argc < 9; i++)
        argv[argc++] = line.word[i].text;
    struct frame *f = frame_copy(m->body, 0, m->body->n);
    frame_args(f, argc, argv);
    script_push(&r->lab->script, f);
    line_fini(&line);
    return STATUS_OK;
}

static void run_text(struct run *r)
{
    const struct where *w = r->where;
    struct str s = { 0 };
    if (w->text[w->span.begin] == '!') {
        str_add(&s, "shell ");
        r->shift = 5;                    /* "!" itself stood there */
    }
    str_add_n(&s, w->text + w->span.begin + (r->shift ? 1 : 0),
              (size_t)(w->span.end - w->span.begin - (r->shift ? 1 : 0)));
    r->text = str_take(&s);
}

/* What the command's abbreviated verb stands for is written out in r->text,
 * so that history and records hold full names. */
static void run_spell(struct run *r, const char *verb)
{
    if (strcmp(verb, r->cmd->name) == 0)
        return;
    struct str s = { 0 };
    str_add(&s, r->cmd->name);
    str_add(&s, r->text + strlen(verb));
    r->shift = (int)strlen(r->cmd->name) - (int)strlen(verb);
    free(r->text);
    r->text = str_take(&s);
}

static enum status run_where(struct lab *l, const struct where *w, int *fault,
                             struct err *e)
{
    struct run r = { .lab = l, .where = w, .err = e };
    char verb[48];
    if (l->nesting >= NESTING_MAX)
        return err_set(e, STATUS_STATE, "commands are nested too deeply");
    r.args.fault = &r.fault;
    r.args.redirect_done = &r.redirect_done;
    run_text(&r);
    lex_verb(r.text, (struct span){ 0, (int)strlen(r.text) }, verb,
             sizeof verb);
    const struct where *outer = l->where;
    l->where = w;
    l->nesting++;
    enum status s = find_command(l, verb, !w->source, &r.cmd, e);
    if (!s && r.cmd) {
        run_spell(&r, verb);
        s = run_command(&r);
    } else if (!s) {
        s = run_macro(&r, macro_find(l, verb));
    }
    l->nesting--;
    l->where = outer;
    args_fini(&r.args);
    free(r.text);
    int at = r.fault - (r.fault > 0 ? r.shift : 0);
    *fault = at > 0 ? at : 0;
    if (s && e && e->status == STATUS_OK)
        err_set(e, s, "%s", status_text(s));
    return s;
}

enum status dispatch_where(struct lab *l, const struct where *w)
{
    struct err e = { 0 };
    int fault = 0;
    enum status s = run_where(l, w, &fault, &e);
    if (s) {
        dispatch_report(l, w, fault, &e);
        if (w->source)
            l->causes |= 1u << s;
        l->failures += w->source != NULL;
    }
    return s;
}

enum status dispatch_nested(struct lab *l, const char *text,
                            const struct where *outer, struct err *e)
{
    struct spans spans;
    bool training = l->goal.active;
    enum status s = STATUS_OK;
    int fault;
    lex_split(text, &spans);
    for (int i = 0; i < spans.n && !s; i++) {
        struct where w = { .source = outer ? outer->source : NULL,
                           .text = text,
                           .line = outer ? outer->line : 1,
                           .span = spans.span[i] };
        s = run_where(l, &w, &fault, e);
        while (!s && !training && l->goal.active)
            s = goal_work(l);
        if (s && l->goal.failure.status && e && e->status == STATUS_OK)
            *e = l->goal.failure;
    }
    spans_fini(&spans);
    return s;
}

enum status result_table(struct lab *l, const struct args *a,
                         struct table *t, struct out *out, struct err *e)
{
    enum status s = STATUS_OK;
    struct str rows = { 0 };
    table_json(t, &rows);
    answer_raw(l, "rows", str_text(&rows));
    str_fini(&rows);
    if (a->redirect) {
        s = table_write(t, a->redirect, a->append, e);
        *a->redirect_done = true;
        if (s)
            *a->fault = a->line.redirect_at;
    } else {
        table_show(t, out);
    }
    table_free(t);
    return s;
}

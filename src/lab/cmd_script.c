/* Commands: let, if, for, define, end, expect, say, pause.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "lab/state.h"

/* ---- let ---- */

/* NAME = TEXT, or @NAME = TEXT; where the text begins. */
static enum status split_let(const struct args *a, char *name, size_t size,
                             int *value, struct err *e)
{
    const struct arg *x = args_find(a, "assignment");
    const char *p = x->text;
    size_t n = *p == '@';
    while (lex_is_name(p[n]) && p[n] != '.')
        n++;
    bool named = n > (*p == '@') && lex_is_name_start(p[*p == '@']);
    size_t equals = n + strspn(p + n, " \t");
    if (!named || p[equals] != '=' || p[equals + 1] == '=')
        return args_fail(a, x, e, "let wants NAME = EXPRESSION");
    if (n >= size)
        return args_fail(a, x, e, "the name is too long");
    memcpy(name, p, n);
    name[n] = '\0';
    *value = (int)(equals + 1 + strspn(p + equals + 1, " \t"));
    return STATUS_OK;
}

static enum status let_set(struct lab *l, const struct args *a,
                           const char *name, int at, struct out *out,
                           struct err *e)
{
    const struct arg *x = args_find(a, "assignment");
    struct selection sel;
    struct str list = { 0 };
    int fault = 0;
    if (!l->graph)
        return args_fail(a, x, e, "a set of layers needs a model");
    enum status s = selection_parse(l, x->text + at, &sel, &fault, e);
    if (s)
        return args_blame(a, x, at + fault, s);
    for (int i = 0; i < sel.n; i++)
        if (sel.bits[i])
            str_printf(&list, "%s%s", list.len ? "," : "",
                       l->graph->node[i].name);
    struct value v = value_text(str_text(&list));
    if (list.len >= sizeof v.text)
        s = args_fail(a, x, e, "the set is too long to keep");
    else
        var_set(l, name, &v);
    if (!s)
        out_printf(out, OUT_NOTE, "%s = %s", name, str_text(&list));
    str_fini(&list);
    selection_fini(&sel);
    return s;
}

static enum status exec_let(struct lab *l, const struct args *a,
                            struct out *out, struct err *e)
{
    const struct arg *x = args_find(a, "assignment");
    struct expr_env env = { .lab = l };
    struct expr_result r;
    char name[40];
    int at = 0, fault;
    TRY(split_let(a, name, sizeof name, &at, e));
    if (name[0] == '@')
        return let_set(l, a, name, at, out, e);
    if (metric_find(name) || strcmp(name, "ans") == 0)
        return args_fail(a, x, e, "'%s' has a meaning of its own; choose "
                                  "another name", name);
    enum status s = expr_eval(&env, x->text + at, &r, &fault, e);
    if (s)
        return args_blame(a, x, at + fault, s);
    var_set(l, name, &r.value);
    struct str text = { 0 };
    value_print(&r.value, &text);
    out_printf(out, OUT_NOTE, "%s = %s", name, str_text(&text));
    str_fini(&text);
    return STATUS_OK;
}

/* ---- blocks ---- */

static void verb_of(const struct frame *f, int i, char *out, int size)
{
    lex_verb(f->item[i].text, f->item[i].span, out, size);
}

/* The block that the running command opens: items (first, end). */
static enum status open_block(struct lab *l, const struct args *a,
                              struct frame **frame, int *end, struct err *e)
{
    struct frame *f = l->script.top;
    bool here = f && f->next > 0 && l->where == &f->item[f->next - 1];
    if (!here)
        return args_fail(a, NULL, e, "a block cannot stand here; write it "
                                     "into a script or on lines of its own");
    *end = block_end(f, f->next - 1);
    if (*end < 0)
        return args_fail(a, NULL, e, "'%s' has no end", a->cmd->name);
    *frame = f;
    return STATUS_OK;
}

static enum status test(struct lab *l, const char *text, bool *holds,
                        int *fault, struct err *e)
{
    struct expr_env env = { .lab = l };
    struct expr_result r;
    TRY(expr_eval(&env, text, &r, fault, e));
    *holds = value_true(&r.value);
    return STATUS_OK;
}

/* The next `elif` or `else` of the same block, or its end. */
static int next_branch(const struct frame *f, int from, int end)
{
    char verb[32];
    for (int i = from; i < end; i++) {
        verb_of(f, i, verb, sizeof verb);
        const struct cmd *c = cmd_find(verb);
        if (c && c->flags & CMD_BLOCK) {
            int inner = block_end(f, i);
            i = inner < 0 ? end : inner;
            continue;
        }
        if (strcmp(verb, "elif") == 0 || strcmp(verb, "else") == 0)
            return i;
    }
    return end;
}

/* The condition behind `elif`, or NULL for `else`. */
static char *branch_test(const struct frame *f, int i)
{
    char verb[32];
    verb_of(f, i, verb, sizeof verb);
    if (strcmp(verb, "else") == 0)
        return NULL;
    struct str s = { 0 };
    const struct where *w = &f->item[i];
    str_add_n(&s, w->text + w->span.begin + strlen(verb),
              (size_t)(w->span.end - w->span.begin) - strlen(verb));
    return str_take(&s);
}

static enum status exec_if(struct lab *l, const struct args *a,
                           struct out *out, struct err *e)
{
    struct frame *f;
    int end, fault;
    bool holds;
    (void)out;
    TRY(open_block(l, a, &f, &end, e));
    int from = f->next, to = next_branch(f, from, end);
    enum status s = test(l, args_text(a, "condition"), &holds, &fault, e);
    if (s)
        return args_blame(a, args_find(a, "condition"), fault, s);
    while (!holds && to < end) {
        char *text = branch_test(f, to);
        holds = !text;
        s = text ? test(l, text, &holds, &fault, e) : STATUS_OK;
        free(text);
        if (s)
            return err_wrap(e, s, "elif");
        from = to + 1;
        to = next_branch(f, from, end);
    }
    f->next = end + 1;
    if (holds)
        script_push(&l->script, frame_block(f, from, to));
    return STATUS_OK;
}

static void loop_add(struct loop *loop, const char *text)
{
    loop->value = xrealloc(loop->value,
                           (size_t)(loop->n + 1) * sizeof *loop->value);
    loop->value[loop->n++] = xstrdup(text);
}

/* `8,6,4`, or layers: `:conv`, `fc*`, `@stem`. */
static enum status loop_values(struct lab *l, const struct args *a,
                               struct loop *loop, struct err *e)
{
    for (int i = 0; i < args_count(a, "values"); i++) {
        const struct arg *x = args_nth(a, "values", i);
        if (strpbrk(x->text, ":@*?[/") && l->graph) {
            struct selection sel;
            int fault = 0;
            enum status s = selection_parse(l, x->text, &sel, &fault, e);
            if (s)
                return args_blame(a, x, fault, s);
            for (int k = 0; k < sel.n; k++)
                if (sel.bits[k])
                    loop_add(loop, l->graph->node[k].name);
            selection_fini(&sel);
            continue;
        }
        char *own = xstrdup(x->text), *rest = own;
        for (char *v; (v = strsep(&rest, ","));)
            if (*v)
                loop_add(loop, v);
        free(own);
    }
    return STATUS_OK;
}

static enum status exec_for(struct lab *l, const struct args *a,
                            struct out *out, struct err *e)
{
    struct frame *f;
    int end;
    const struct arg *var = args_find(a, "var");
    (void)out;
    if (strcmp(args_text(a, "in"), "in") != 0)
        return args_fail(a, args_find(a, "in"), e, "for wants: for NAME in "
                                                   "VALUES");
    for (const char *p = var->text; *p; p++)
        if (!lex_is_name(*p) || *p == '.' || !lex_is_name_start(*var->text))
            return args_fail(a, var, e, "'%.40s' is no name for a variable",
                             var->text);
    TRY(open_block(l, a, &f, &end, e));
    struct frame *body = frame_block(f, f->next, end);
    body->loop = xmalloc(sizeof *body->loop);
    *body->loop = (struct loop){ .var = xstrdup(var->text) };
    body->next = body->n;                /* the first round begins at once */
    enum status s = loop_values(l, a, body->loop, e);
    if (s) {
        frame_free(body);
        return s;
    }
    f->next = end + 1;
    script_push(&l->script, body);
    return STATUS_OK;
}

/* `doc "text"` as the first line of a definition. */
static char *take_doc(const struct frame *f, int *first, int end)
{
    char verb[32];
    if (*first >= end)
        return NULL;
    verb_of(f, *first, verb, sizeof verb);
    if (strcmp(verb, "doc") != 0)
        return NULL;
    struct lex_mode mode = { .raw_after = -1 };
    struct line line;
    struct str s = { 0 };
    int fault;
    const struct where *w = &f->item[(*first)++];
    str_add_n(&s, w->text + w->span.begin,
              (size_t)(w->span.end - w->span.begin));
    char *doc = NULL;
    if (lex_line(str_text(&s), &mode, &line, &fault, NULL) == STATUS_OK) {
        if (line.n > 1)
            doc = xstrdup(line.word[1].text);
        line_fini(&line);
    }
    str_fini(&s);
    return doc;
}

static enum status exec_define(struct lab *l, const struct args *a,
                               struct out *out, struct err *e)
{
    struct script *s = &l->script;
    struct frame *f;
    int end;
    const struct arg *name = args_find(a, "name");
    for (const char *p = name->text; *p; p++)
        if (!lex_is_name(*p) && *p != '-')
            return args_fail(a, name, e, "'%.40s' is no name for a command",
                             name->text);
    if (cmd_find(name->text))
        return args_fail(a, name, e, "'%s' is a command already",
                         name->text);
    TRY(open_block(l, a, &f, &end, e));
    int first = f->next;
    struct macro *m = macro_find(l, name->text);
    if (!m) {
        s->macro = xrealloc(s->macro,
                            (size_t)(s->n_macro + 1) * sizeof *s->macro);
        m = &s->macro[s->n_macro++];
        *m = (struct macro){ .name = xstrdup(name->text) };
    }
    free(m->doc);
    frame_free(m->body);
    m->doc = take_doc(f, &first, end);
    m->body = frame_copy(f, first, end);
    f->next = end + 1;
    out_printf(out, OUT_NOTE, "%s defined", name->text);
    return STATUS_OK;
}

static enum status exec_end(struct lab *l, const struct args *a,
                            struct out *out, struct err *e)
{
    (void)l;
    (void)out;
    return args_fail(a, NULL, e, "no block is open here");
}

/* ---- expect ---- */

static enum status failed(struct err *e, const char *text)
{
    return err_set(e, STATUS_EXPECT, "%s", text);
}

static enum status expect_value(struct lab *l, const struct args *a,
                                struct out *out, struct err *e)
{
    const struct arg *x = args_find(a, "what");
    struct expr_env env = { .lab = l };
    struct expr_result r;
    int fault;
    enum status s = expr_prefix(&env, x->text, &r, &fault, e);
    if (s)
        return args_blame(a, x, fault, s);
    const char *rest = x->text + r.used;
    if (*rest && *rest != '"' && *rest != '\'') {
        err_set(e, STATUS_ARG, "'%.20s' does not belong to the expression",
                rest);
        return args_blame(a, x, r.used, STATUS_ARG);
    }
    int n = r.used;
    while (n > 0 && x->text[n - 1] == ' ')
        n--;
    if (value_true(&r.value)) {
        out_printf(out, OUT_NOTE, "holds: %.*s", n, x->text);
        return STATUS_OK;
    }
    struct str why = { 0 };
    str_printf(&why, "%.*s is false", n, x->text);
    if (r.compared) {
        str_add(&why, ": ");
        value_print(&r.left, &why);
        str_printf(&why, " %s ", r.op);
        value_print(&r.right, &why);
    }
    if (*rest)
        str_printf(&why, " (%.*s)", (int)strlen(rest + 1) - 1, rest + 1);
    failed(e, str_text(&why));
    str_fini(&why);
    return args_blame(a, x, 0, STATUS_EXPECT);
}

/* `KIND "pattern": COMMAND`; the pattern and where the command begins. */
static enum status split_expect(const struct args *a, size_t kind,
                                struct str *pattern, const char **command,
                                struct err *e)
{
    const struct arg *x = args_find(a, "what");
    const char *p = x->text + kind + strspn(x->text + kind, " \t");
    char quote = *p;
    if (quote != '"' && quote != '\'')
        return args_fail(a, x, e, "a text in quotes is wanted: expect error "
                                  "\"no layer\": COMMAND");
    for (p++; *p && *p != quote; p++) {
        if (*p == '\\' && quote == '"' && p[1])
            p++;
        str_char(pattern, *p);
    }
    p += *p == quote;
    p += strspn(p, " \t");
    if (*p != ':' || !p[1 + strspn(p + 1, " \t")])
        return args_fail(a, x, e, "after the text comes `: COMMAND`");
    *command = p + 1;
    return STATUS_OK;
}

static enum status expect_error(struct lab *l, const struct args *a,
                                const char *pattern, const char *command,
                                struct err *e)
{
    struct err got = { 0 };
    struct out_capture quiet;
    struct out *out = l->out;
    out_capture_init(&quiet, out, NULL);
    l->out = &quiet.out;
    enum status s = dispatch_nested(l, command, l->where, &got);
    l->out = out;
    out_capture_fini(&quiet);
    if (s == STATUS_STOPPED)
        return s;
    if (!s) {
        err_set(e, STATUS_EXPECT, "no error came, '%s' was expected",
                pattern);
    } else if (strstr(got.text, pattern)) {
        return STATUS_OK;
    } else {
        err_set(e, STATUS_EXPECT, "the error is '%.200s', '%.100s' was "
                                  "expected", got.text, pattern);
    }
    return args_blame(a, args_find(a, "what"), 0, STATUS_EXPECT);
}

static enum status expect_output(struct lab *l, const struct args *a,
                                 const char *pattern, const char *command,
                                 struct err *e)
{
    struct out_capture c;
    struct out *out = l->out;
    out_capture_init(&c, out, NULL);
    l->out = &c.out;
    enum status s = dispatch_nested(l, command, l->where, e);
    l->out = out;
    while (c.text.len && c.text.text[c.text.len - 1] == '\n')
        c.text.text[--c.text.len] = '\0';
    bool fits = glob_match(pattern, str_text(&c.text));
    if (!s && !fits) {
        err_set(e, STATUS_EXPECT, "the output is '%.300s', '%.100s' was "
                                  "expected", str_text(&c.text), pattern);
        s = args_blame(a, args_find(a, "what"), 0, STATUS_EXPECT);
    }
    out_capture_fini(&c);
    return s;
}

static const struct {
    const char *word;
    enum status (*run)(struct lab *l, const struct args *a,
                       const char *pattern, const char *command,
                       struct err *e);
} expect_table[] = {
    { "error", expect_error },
    { "output", expect_output },
};

static enum status exec_expect(struct lab *l, const struct args *a,
                               struct out *out, struct err *e)
{
    const char *text = args_text(a, "what");
    for (size_t i = 0; i < sizeof expect_table / sizeof expect_table[0];
         i++) {
        size_t n = strlen(expect_table[i].word);
        const char *p = text + n + strspn(text + n, " \t");
        if (strncmp(text, expect_table[i].word, n) != 0 ||
            (*p != '"' && *p != '\''))
            continue;
        struct str pattern = { 0 };
        const char *command = "";
        enum status s = split_expect(a, n, &pattern, &command, e);
        if (!s)
            s = expect_table[i].run(l, a, str_text(&pattern), command, e);
        str_fini(&pattern);
        return s;
    }
    return expect_value(l, a, out, e);
}

/* ---- say, pause ---- */

static enum status exec_say(struct lab *l, const struct args *a,
                            struct out *out, struct err *e)
{
    struct str text = { 0 };
    bool title = args_has(a, "-title");
    (void)e;
    for (int i = 0; i < args_count(a, "text"); i++)
        str_printf(&text, "%s%s", i ? " " : "",
                   args_nth(a, "text", i)->text);
    out_text(out, OUT_RESULT, str_text(&text));
    if (l->hooks.say)
        l->hooks.say(l->hooks.ctx, str_text(&text), title);
    str_fini(&text);
    return STATUS_OK;
}

static enum status exec_pause(struct lab *l, const struct args *a,
                              struct out *out, struct err *e)
{
    double seconds = args_number(a, "seconds", 0);
    (void)out;
    if (!(seconds >= 0 && seconds <= 86400))
        return args_fail(a, args_find(a, "seconds"), e,
                         "pause takes from 0 seconds to a day");
    if (l->hooks.pause)
        l->hooks.pause(l->hooks.ctx, seconds);
    return STATUS_OK;
}

static const struct arg_row let_args[] = {
    { .name = "assignment", .kind = ARG_EXPR, .required = true,
      .help = "NAME = EXPRESSION, or @NAME = SELECTOR" },
    { 0 },
};

const struct cmd cmd_let = {
    .name = "let", .group = "script", .help = "keep a value under a name",
    .detail = "let base = ans.acc keeps the last result's field; $base puts "
              "it into later commands. let @stem = conv1,bn1 names a set of "
              "layers.",
    .arg = let_args, .flags = CMD_CHECKED,
    .example_setup = "load model lenet5; info model",
    .example = "let base = ans.params * 2", .exec = exec_let,
};

static const struct arg_row if_args[] = {
    { .name = "condition", .kind = ARG_EXPR, .required = true,
      .help = "expression" },
    { 0 },
};

const struct cmd cmd_if = {
    .name = "if", .group = "script",
    .help = "run the following lines when a condition holds",
    .detail = "if EXPR, then lines, then optional elif EXPR and else with "
              "theirs, then end.",
    .arg = if_args, .flags = CMD_BLOCK,
    .example = "if 1 > 2; say never; elif 2 > 1; say so; else; say no; end",
    .exec = exec_if,
};

static const struct arg_row for_args[] = {
    { .name = "var", .kind = ARG_WORD, .required = true,
      .help = "variable" },
    { .name = "in", .kind = ARG_WORD, .required = true, .help = "`in`" },
    { .name = "values", .kind = ARG_REST, .required = true, .many = true,
      .help = "values separated by commas, or a selector of layers" },
    { 0 },
};

const struct cmd cmd_for = {
    .name = "for", .group = "script",
    .help = "run the following lines once for each value",
    .detail = "for B in 8,6,4 or for L in :conv, then lines that use $B or "
              "$L, then end.",
    .arg = for_args, .flags = CMD_BLOCK,
    .example_setup = "load model lenet5",
    .example = "for B in 8,4; bits fc1 w=$B; end", .exec = exec_for,
};

static const struct arg_row define_args[] = {
    { .name = "name", .kind = ARG_WORD, .required = true, .help = "name" },
    { 0 },
};

const struct cmd cmd_define = {
    .name = "define", .group = "script", .help = "make a command of lines",
    .detail = "The lines up to end run when the name is given as a command; "
              "$1 to $9 are its arguments. doc \"text\" as the first line is "
              "its help.",
    .arg = define_args, .flags = CMD_BLOCK | CMD_CHECKED,
    .example = "define greet; say hello $1; end", .exec = exec_define,
};

static const struct arg_row none[] = { { 0 } };

/* Met outside an if block, or by --check, which goes through every line. */
static enum status exec_branch(struct lab *l, const struct args *a,
                               struct out *out, struct err *e)
{
    (void)l;
    (void)a;
    (void)out;
    return err_set(e, STATUS_ARG, "there is no if block to which this "
                                  "belongs");
}

const struct cmd cmd_elif = {
    .name = "elif", .group = "script",
    .help = "another condition inside an if block",
    .detail = "The lines behind it run when no condition before it held and "
              "its own does.",
    .arg = if_args, .example = "if 0; say never; elif 1; say so; end",
    .exec = exec_branch,
};

const struct cmd cmd_else = {
    .name = "else", .group = "script",
    .help = "what an if block does when no condition held",
    .detail = "The lines between it and end run when no condition before it "
              "held.", .arg = none,
    .example = "if 0; say never; else; say so; end", .exec = exec_branch,
};

const struct cmd cmd_end = {
    .name = "end", .group = "script", .help = "close a block",
    .detail = "Closes if, for or define.", .arg = none,
    .example = "if 0; end", .exec = exec_end,
};

static const struct arg_row expect_args[] = {
    { .name = "what", .kind = ARG_COMMAND, .required = true,
      .help = "an expression and an optional text; or error \"text\": "
              "COMMAND; or output \"glob\": COMMAND" },
    { 0 },
};

const struct cmd cmd_expect = {
    .name = "expect", .group = "script",
    .help = "fail unless something holds",
    .detail = "expect val_acc >= $base - 1% \"why\": the expression must be "
              "true. expect error \"no layer\": bits nosuch w=4: the command "
              "must fail with a message that holds the text. expect output "
              "\"*3 layers*\": list :conv: what it prints must fit the "
              "pattern. A failed expectation has exit code 3.",
    .arg = expect_args,
    .example = "expect error \"no model\": bits conv1 w=4",
    .exec = exec_expect,
};

static const struct arg_row say_args[] = {
    { .name = "-title", .kind = ARG_FLAG, .help = "as a heading" },
    { .name = "text", .kind = ARG_REST, .required = true, .many = true,
      .help = "what to say" },
    { 0 },
};

const struct cmd cmd_say = {
    .name = "say", .group = "script", .help = "print a text",
    .detail = "For lessons and for the reader of a log.",
    .arg = say_args, .flags = CMD_RESULT, .example = "say \"W4A4\"",
    .exec = exec_say,
};

static const struct arg_row pause_args[] = {
    { .name = "seconds", .kind = ARG_NUMBER,
      .help = "how long; until a key" },
    { 0 },
};

const struct cmd cmd_pause = {
    .name = "pause", .group = "script", .help = "wait for the reader",
    .detail = "Does nothing in batch mode.", .arg = pause_args,
    .example = "pause 2s", .exec = exec_pause,
};

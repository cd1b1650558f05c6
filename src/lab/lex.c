/* The words of the command language.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "lab/lex.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static bool is_space(char c)
{
    return is_blank(c) || c == '\n';
}

bool lex_is_name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

bool lex_is_name(char c)
{
    return lex_is_name_start(c) || (c >= '0' && c <= '9') || c == '.';
}

/* ---- text into commands ---- */

static void spans_add(struct spans *s, const char *text, int begin, int end)
{
    while (begin < end && is_space(text[begin]))
        begin++;
    while (end > begin && is_space(text[end - 1]))
        end--;
    if (begin == end)
        return;
    if (s->n == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 8;
        s->span = xrealloc(s->span, (size_t)s->cap * sizeof *s->span);
    }
    s->span[s->n++] = (struct span){ begin, end };
}

/* Past a quoted part that begins at i; sets *open when it never ends. */
static int skip_quoted(const char *text, int i, bool *open)
{
    char quote = text[i++];
    while (text[i] && text[i] != quote) {
        if (quote == '"' && text[i] == '\\' && text[i + 1])
            i++;
        i++;
    }
    if (!text[i]) {
        *open = true;
        return i;
    }
    return i + 1;
}

/* The state of a walk over text, one character or quoted part a step. */
struct walk {
    const char *text;
    int at, depth;
    bool open;
};

static bool walk_at_comment(const struct walk *w)
{
    return w->text[w->at] == '#' && w->depth == 0 &&
           (w->at == 0 || is_space(w->text[w->at - 1]) ||
            w->text[w->at - 1] == ';');
}

static void walk_step(struct walk *w)
{
    char c = w->text[w->at];
    if (c == '"' || c == '\'') {
        w->at = skip_quoted(w->text, w->at, &w->open);
        return;
    }
    if (c == '(' || c == '[')
        w->depth++;
    else if ((c == ')' || c == ']') && w->depth > 0)
        w->depth--;
    w->at++;
}

static bool walk_at_break(const struct walk *w)
{
    char c = w->text[w->at];
    return w->depth == 0 && (c == ';' || c == '\n');
}

static int line_end(const char *text, int i)
{
    while (text[i] && text[i] != '\n')
        i++;
    return i;
}

/* One command from w->at; leaves w->at behind its separator. */
static void split_one(struct walk *w, struct spans *out)
{
    while (is_space(w->text[w->at]) || w->text[w->at] == ';')
        w->at++;
    int begin = w->at;
    if (w->text[begin] == '!') {
        w->at = line_end(w->text, begin);
        spans_add(out, w->text, begin, w->at);
        return;
    }
    w->depth = 0;
    while (w->text[w->at] && !walk_at_break(w) && !walk_at_comment(w)) {
        if (w->text[w->at] == '\\' && w->text[w->at + 1] == '\n')
            w->at += 2;
        else if (w->text[w->at] == '\\' && !w->text[w->at + 1]) {
            w->open = true;
            w->at++;
        } else {
            walk_step(w);
        }
    }
    w->open |= !w->text[w->at] && w->depth > 0;
    spans_add(out, w->text, begin, w->at);
    if (walk_at_comment(w))
        w->at = line_end(w->text, w->at);
}

void lex_split(const char *text, struct spans *out)
{
    *out = (struct spans){ 0 };
    struct walk w = { .text = text };
    while (text[w.at])
        split_one(&w, out);
    out->open = w.open;
}

void spans_fini(struct spans *s)
{
    free(s->span);
    *s = (struct spans){ 0 };
}

void lex_verb(const char *text, struct span s, char *out, int size)
{
    int n = 0;
    if (text[s.begin] == '!') {
        out[n++] = '!';
    } else {
        for (int i = s.begin; i < s.end && !is_space(text[i]) && n < size - 1;
             i++)
            out[n++] = text[i];
    }
    out[n] = '\0';
}

/* ---- a command into words ---- */

struct lexer {
    const char *text;
    const struct lex_mode *mode;
    int at, depth;
    struct str word, form;
    bool quoted;
    int fault;
    struct err *err;
};

static enum status lexer_fail(struct lexer *x, int at, const char *what)
{
    x->fault = at;
    return err_set(x->err, STATUS_ARG, "%s", what);
}

static void put(struct lexer *x, char c)
{
    str_char(&x->word, c);
    str_char(&x->form, c);
}

static void put_text(struct lexer *x, const char *text, size_t n)
{
    str_add_n(&x->word, text, n);
    str_add_n(&x->form, text, n);
}

/* The end of `${name}` or `$(expr)` whose bracket stands at i; -1: open. */
static int closing(const char *text, int i)
{
    char open = text[i], close = open == '{' ? '}' : ')';
    int depth = 0;
    for (; text[i]; i++) {
        if (text[i] == open)
            depth++;
        else if (text[i] == close && --depth == 0)
            return i;
    }
    return -1;
}

/* The length of the plain name after `$`: letters, digits and single dots
 * between them (`ans.acc`), or one digit, or `#`. */
static int name_length(const char *s)
{
    if (*s == '#' || (*s >= '0' && *s <= '9'))
        return 1;
    if (!lex_is_name_start(*s))
        return 0;
    int n = 1;
    while (lex_is_name(s[n]) &&
           (s[n] != '.' || lex_is_name_start(s[n + 1])))
        n++;
    return n;
}

/* At `$`: puts the variable's value; a lone `$` stands for itself. */
static enum status lex_dollar(struct lexer *x)
{
    const struct lex_vars *vars = x->mode->vars;
    int dollar = x->at, begin = dollar + 1, end;
    char c = x->text[begin];
    bool is_expr = c == '(';

    if (c == '{' || c == '(') {
        end = closing(x->text, begin);
        if (end < 0)
            return lexer_fail(x, dollar, c == '{' ? "'${' is not closed"
                                                  : "'$(' is not closed");
        begin++;
        x->at = end + 1;
    } else {
        end = begin + name_length(x->text + begin);
        x->at = end;
    }
    if (begin == end || !vars) {
        put_text(x, x->text + dollar, (size_t)(x->at - dollar));
        return STATUS_OK;
    }
    struct str name = { 0 };
    str_add_n(&name, x->text + begin, (size_t)(end - begin));
    char *value = (is_expr ? vars->expr : vars->name)(vars->ctx,
                                                      str_text(&name), x->err);
    str_fini(&name);
    if (!value) {
        x->fault = dollar;
        return x->err && x->err->status ? x->err->status : STATUS_NOTFOUND;
    }
    put_text(x, value, strlen(value));
    free(value);
    return STATUS_OK;
}

static const char escapes[] = "n\nt\t\"\"\\\\$$";   /* pairs: letter, char */

/* In brackets, as in quantized_bits(4,0,alpha='auto'), a quote belongs to the
 * word. */
static void put_quote(struct lexer *x, char quote)
{
    str_char(&x->form, quote);
    if (x->depth > 0)
        str_char(&x->word, quote);
}

static enum status lex_double_quoted(struct lexer *x)
{
    int begin = x->at++;
    put_quote(x, '"');
    while (x->text[x->at] != '"') {
        char c = x->text[x->at];
        if (!c)
            return lexer_fail(x, begin, "the quote is not closed");
        if (c == '$') {
            TRY(lex_dollar(x));
            continue;
        }
        x->at++;
        const char *pair = NULL;
        for (const char *p = escapes; c == '\\' && *p && !pair; p += 2)
            pair = *p == x->text[x->at] ? p : NULL;
        if (!pair) {
            put(x, c);
            continue;
        }
        x->at++;
        str_char(&x->word, pair[1]);
        str_char(&x->form, '\\');
        str_char(&x->form, pair[0]);
    }
    put_quote(x, '"');
    x->at++;
    x->quoted = true;
    return STATUS_OK;
}

static enum status lex_single_quoted(struct lexer *x)
{
    int begin = x->at++;
    const char *end = strchr(x->text + x->at, '\'');
    if (!end)
        return lexer_fail(x, begin, "the quote is not closed");
    size_t n = (size_t)(end - (x->text + x->at));
    put_quote(x, '\'');
    put_text(x, x->text + x->at, n);
    put_quote(x, '\'');
    x->at += (int)n + 1;
    x->quoted = true;
    return STATUS_OK;
}

static enum status lex_char(struct lexer *x)
{
    char c = x->text[x->at];
    if (c == '"')
        return lex_double_quoted(x);
    if (c == '\'')
        return lex_single_quoted(x);
    if (c == '$')
        return lex_dollar(x);
    if (c == '(' || c == '[')
        x->depth++;
    else if ((c == ')' || c == ']') && x->depth > 0)
        x->depth--;
    put(x, c);
    x->at++;
    return STATUS_OK;
}

/* Where the value of `key=value` starts in the word, 0 when it is not one.
 * The key must be unquoted, so it is read from the source text. */
static int key_length(const char *source)
{
    if (!lex_is_name_start(source[0]))
        return 0;
    int n = 1;
    while (lex_is_name(source[n]))
        n++;
    return source[n] == '=' && source[n + 1] != '=' ? n + 1 : 0;
}

static void line_add(struct lexer *x, struct line *out, int begin)
{
    if (out->n == out->cap) {
        out->cap = out->cap ? 2 * out->cap : 8;
        out->word = xrealloc(out->word,
                             (size_t)out->cap * sizeof *out->word);
    }
    out->word[out->n++] = (struct word){
        .text = str_take(&x->word), .form = str_take(&x->form),
        .begin = begin, .end = x->at, .quoted = x->quoted,
        .value = key_length(x->text + begin),
    };
    x->quoted = false;
}

static void skip_blanks(struct lexer *x)
{
    for (;;) {
        if (is_space(x->text[x->at]))
            x->at++;
        else if (x->text[x->at] == '\\' && x->text[x->at + 1] == '\n')
            x->at += 2;
        else
            return;
    }
}

static bool at_word_end(const struct lexer *x)
{
    char c = x->text[x->at];
    return !c || (x->depth == 0 &&
                  (is_space(c) || (c == '\\' && x->text[x->at + 1] == '\n')));
}

static enum status lex_word(struct lexer *x)
{
    x->depth = 0;
    int begin = x->at;
    while (!at_word_end(x))
        TRY(lex_char(x));
    if (x->depth)
        return lexer_fail(x, begin, "a bracket is not closed");
    return STATUS_OK;
}

static bool at_redirect(const struct lexer *x)
{
    return x->text[x->at] == '-' && x->text[x->at + 1] == '>';
}

/* `-> file` or `->> file`, with or without the blank. */
static enum status lex_redirect(struct lexer *x, struct line *out)
{
    int arrow = x->at;
    if (out->redirect)
        return lexer_fail(x, arrow, "only one '-> file' is possible");
    x->at += 2;
    out->append = x->text[x->at] == '>';
    x->at += out->append;
    skip_blanks(x);
    out->redirect_at = x->at;
    TRY(lex_word(x));
    if (!x->word.len)
        return lexer_fail(x, arrow, "'->' wants the name of a file");
    out->redirect = str_take(&x->word);
    str_clear(&x->form);
    x->quoted = false;
    return STATUS_OK;
}

/* The rest as it stands, up to a redirection when that is still ours. */
static void lex_raw(struct lexer *x, struct line *out)
{
    int begin = x->at, end = begin;
    struct walk w = { .text = x->text, .at = begin };
    while (w.text[w.at]) {
        bool arrow = x->mode->raw_redirect && w.depth == 0 &&
                     w.text[w.at] == '-' && w.text[w.at + 1] == '>' &&
                     (w.at == begin || is_space(w.text[w.at - 1]));
        if (arrow)
            break;
        bool blank = is_space(w.text[w.at]);
        walk_step(&w);
        end = blank ? end : w.at;
    }
    x->at = w.at;
    if (end == begin)
        return;
    /* A continuation becomes blanks, so that places stay what they are. */
    for (int i = begin; i < end; i++) {
        bool next = x->text[i] == '\\' && x->text[i + 1] == '\n';
        put(x, next || x->text[i] == '\n' ? ' ' : x->text[i]);
    }
    line_add(x, out, begin);
    out->word[out->n - 1].end = end;
    out->word[out->n - 1].value = 0;
}

static enum status lex_words(struct lexer *x, struct line *out)
{
    for (;;) {
        skip_blanks(x);
        if (!x->text[x->at])
            return STATUS_OK;
        bool raw = x->mode->raw_after >= 0 && out->n >= x->mode->raw_after;
        if (at_redirect(x) && (!raw || x->mode->raw_redirect)) {
            TRY(lex_redirect(x, out));
        } else if (raw && out->n == x->mode->raw_after) {
            lex_raw(x, out);
        } else {
            int begin = x->at;
            TRY(lex_word(x));
            line_add(x, out, begin);
        }
    }
}

enum status lex_line(const char *text, const struct lex_mode *m,
                     struct line *out, int *fault, struct err *e)
{
    struct err local = { 0 };
    struct lexer x = { .text = text, .mode = m, .err = e ? e : &local };
    *out = (struct line){ 0 };
    enum status s = lex_words(&x, out);
    *fault = x.fault;
    str_fini(&x.word);
    str_fini(&x.form);
    if (s)
        line_fini(out);
    return s;
}

void line_fini(struct line *l)
{
    for (int i = 0; i < l->n; i++) {
        free(l->word[i].text);
        free(l->word[i].form);
    }
    free(l->word);
    free(l->redirect);
    *l = (struct line){ 0 };
}

void lex_quote(struct str *out, const char *text)
{
    if (*text && !strpbrk(text, " \t\r\n;#\"'$\\") &&
        strncmp(text, "->", 2) != 0) {
        str_add(out, text);
        return;
    }
    str_char(out, '"');
    for (const char *p = text; *p; p++) {
        const char *pair = NULL;
        for (const char *q = escapes; *q && !pair; q += 2)
            pair = q[1] == *p ? q : NULL;
        if (pair)
            str_char(out, '\\');
        str_char(out, pair ? *pair : *p);
    }
    str_char(out, '"');
}

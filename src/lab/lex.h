/* The words of the command language: cutting text into commands, and a
 * command into words with quotes, variables and redirections resolved.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LAB_LEX_H
#define LAB_LEX_H

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"

/* ---- text into commands ---- */

struct span {                 /* one command: text[begin .. end) */
    int begin, end;
};

struct spans {
    struct span *span;
    int n, cap;
    bool open;                /* a quote, bracket or backslash is open */
};

/* Cuts at `;` and line feeds outside quotes and brackets; drops comments and
 * empty commands. A command that begins with `!` reaches to the line's end. */
void lex_split(const char *text, struct spans *out);
void spans_fini(struct spans *s);
/* The first word of a command, copied into `out` and cut to its size. */
void lex_verb(const char *text, struct span s, char *out, int size);

/* ---- a command into words ---- */

struct word {
    char *text;               /* quotes taken off, variables put in */
    char *form;               /* the same with its quotes: for selectors */
    int begin, end;           /* bytes of the command */
    bool quoted;              /* some part stood in quotes */
    int value;                /* `key=value`: where the value starts in text;
                                 0: not of this form */
};

struct line {
    struct word *word;
    int n, cap;
    char *redirect;           /* file after `->`; NULL: none */
    int redirect_at;
    bool append;              /* `->>` */
};

/* Where `$name` and `$(expr)` come from. Results are malloc'ed; NULL with a
 * text in e when there is none. */
struct lex_vars {
    void *ctx;
    char *(*name)(void *ctx, const char *name, struct err *e);
    char *(*expr)(void *ctx, const char *text, struct err *e);
};

/* How the words of a command are to be taken. */
struct lex_mode {
    const struct lex_vars *vars;
    int raw_after;            /* after so many words the rest is one word,
                                 as it stands; -1: never */
    bool raw_redirect;        /* `->` inside the raw rest is still ours */
};

/* On failure *fault is the byte of the command that is to blame. */
enum status lex_line(const char *text, const struct lex_mode *m,
                     struct line *out, int *fault, struct err *e);
void line_fini(struct line *l);

bool lex_is_name_start(char c);
bool lex_is_name(char c);     /* letters, digits, _ and . */
/* Puts quotes around text that would not come back as one word. */
void lex_quote(struct str *out, const char *text);

#endif

/* The arguments of a command, checked against its rows.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LAB_ARGS_H
#define LAB_ARGS_H

#include "lab/cmd.h"
#include "lab/lex.h"
#include "lab/select.h"

struct arg {
    const struct arg_row *row;
    const char *text;         /* the value: behind `key=` */
    int column;               /* byte of the command */
    double number;            /* ARG_INT, ARG_NUMBER */
    struct selection sel;     /* ARG_SELECTOR */
};

struct args {
    const struct cmd *cmd;
    const char *source;       /* the whole command as it stands */
    struct line line;
    struct arg *arg;
    int n;
    const char *redirect;     /* `-> file`, NULL: none */
    bool append;
    int *fault;               /* where a failing command puts its column */
    bool *redirect_done;      /* the command wrote the file itself */
};

enum status args_parse(struct lab *l, const struct cmd *c, const char *text,
                       struct args *out, struct err *e);
void args_fini(struct args *a);

/* First argument of that row's name, or NULL; the i-th of a `many` row. */
const struct arg *args_find(const struct args *a, const char *name);
const struct arg *args_nth(const struct args *a, const char *name, int i);
int args_count(const struct args *a, const char *name);
const char *args_text(const struct args *a, const char *name);   /* or NULL */
double args_number(const struct args *a, const char *name, double def);
bool args_has(const struct args *a, const char *name);
/* Reports that the argument (NULL: the verb) is to blame. */
enum status args_fail(const struct args *a, const struct arg *arg,
                      struct err *e, const char *fmt, ...) ERR_FORMAT(4, 5);
/* The same for an error that e holds already, `at` bytes into the text. */
enum status args_blame(const struct args *a, const struct arg *arg, int at,
                       enum status s);

/* How each kind is called in messages and help. */
extern const char *const arg_kind_name[ARG_KINDS];
/* The number of positional words before the raw rest; -1: no raw rest. */
int cmd_raw_after(const struct cmd *c, bool *redirect);
/* "bits SELECTOR... [w=BITS] ..." for help. */
void cmd_usage(const struct cmd *c, struct str *out);

#endif

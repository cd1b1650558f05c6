/* Commands: one const row each, in the file of its group, listed in
 * cmds.def. Parsing, completion, help, man page, JSON dump, preconditions and
 * the test of examples all loop over the table.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LAB_CMD_H
#define LAB_CMD_H

#include "lab/lab.h"

enum arg_kind {               /* rows in arg_kind_table: parse, complete */
    ARG_WORD, ARG_SELECTOR, ARG_INT, ARG_NUMBER, ARG_FILE, ARG_DIR,
    ARG_SETTING, ARG_EXPR, ARG_REST, ARG_CHOICE, ARG_MARK,
    ARG_FLAG,                 /* a bare word, the row's name; any position */
    ARG_COMMAND,              /* the rest of the line: a command */
    ARG_MODEL, ARG_DATA, ARG_METRIC, ARG_TENSOR, ARG_VERB, ARG_KINDS
};

struct arg_row {
    const char *name;
    enum arg_kind kind;
    bool key;                 /* NAME=value, else positional */
    bool required, many;
    const char *choices;      /* "onnx|encodings" for ARG_CHOICE */
    const char *help;
};

enum cmd_needs {              /* checked by the dispatcher, one wording */
    NEEDS_MODEL = 1 << 0,
    NEEDS_DATA = 1 << 1,
    NEEDS_IDLE = 1 << 2,      /* refused while a goal runs */
    NEEDS_QUANT = 1 << 3,     /* some quantizer is set */
    CMD_CHANGES = 1 << 4,     /* undoable and recorded */
    CMD_RECORDED = 1 << 5,    /* recorded, not undoable: train, load */
    CMD_RESULT = 1 << 6,      /* takes `-> file` */
    CMD_WEIGHTS = 1 << 7,     /* undo must bring back weights, too */
    CMD_BLOCK = 1 << 8,       /* opens a block that `end` closes */
    CMD_SETTLES = 1 << 9,     /* sets a goal: the rest of the line waits */
    CMD_CHECKED = 1 << 10,    /* runs under --check, too */
    CMD_UNRECORDED = 1 << 11, /* not in records: what it leads to is */
};

struct args;                  /* what the parser made of the line: lab/args.h */

struct cmd {
    const char *name, *group, *help;
    const char *detail;       /* paragraphs for `help NAME` and the man page */
    const struct arg_row *arg;            /* NULL name ends */
    unsigned flags;
    const char *example;      /* a line that a test runs */
    const char *example_setup;            /* lines before it, ';' between */
    enum status (*exec)(struct lab *l, const struct args *a, struct out *out,
                        struct err *e);
};

#define CMD(name) extern const struct cmd cmd_##name;
#include "lab/cmds.def"
#undef CMD
extern const struct cmd *const cmd_table[];
extern const int cmd_count;
const struct cmd *cmd_find(const char *name);

#endif

/* What completion of a line is made of. For complete*.c only.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LAB_COMPLETE_H
#define LAB_COMPLETE_H

#include "lab/args.h"

#define PLACE_WORDS 64

/* The command around the cursor: its words before the one under it. */
struct place {
    struct lab *lab;
    const char *line;
    int command;              /* where the command begins */
    int begin, point;         /* the word at the cursor, up to it */
    int n;
    struct word_at { int begin, end; } word[PLACE_WORDS];
    const struct cmd *cmd;
};

/* Candidates that begin with `prefix`. */
struct found {
    struct completion *item;
    int n, cap;
    const char *prefix;       /* of the line, up to the cursor */
    int start;                /* where the replaced part begins */
};

/* The text of word i of the place, malloc'ed, without quotes. */
char *place_word(const struct place *p, int i);

/* Adds lead + name + tail when name begins with the prefix. */
void found_add(struct found *f, const char *name, const char *tail,
               const char *help);
/* Candidates now begin at byte `start` of the line. */
void found_from(struct found *f, const struct place *p, int start);

/* What can stand in an argument of this row; NULL: nothing is known. */
typedef void (*source_fn)(struct found *f, const struct place *p);
source_fn source_of(const struct cmd *c, const struct arg_row *row);
void source_files(struct found *f, const struct place *p);
void source_expression(struct found *f, const struct place *p);
void source_variables(struct found *f, const struct place *p);

#endif

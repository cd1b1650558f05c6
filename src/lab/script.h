/* Lines waiting to run: files, `-c`, standard input, blocks, and what is
 * typed. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LAB_SCRIPT_H
#define LAB_SCRIPT_H

#include "lab/lab.h"
#include "lab/lex.h"

/* Where a command stands: for messages and records. */
struct where {
    const char *source;       /* "FILE", "-", "-c"; NULL: the prompt */
    const char *text;         /* the logical line that holds it */
    int line;                 /* the line's number in the source */
    struct span span;
};

struct loop {                 /* `for VAR in ...` */
    char *var;
    char **value;
    int n, next;
};

struct frame {
    struct frame *below;
    char *source;             /* NULL: the prompt */
    char **text;              /* logical lines; a block has none of its own */
    int n_text;
    struct where *item;       /* commands, in order */
    int n, next;
    char **argv;              /* $1 .. $9; NULL: those of the frame below */
    int argc;
    struct loop *loop;
    bool interrupted;         /* it was under way then, and waits */
};

struct macro {                /* `define NAME ... end` */
    char *name, *doc;
    struct frame *body;       /* copied at each call */
};

struct script {
    struct frame *top;        /* what runs now */
    struct frame *queue, *queue_end;      /* submitted, not begun */
    struct frame *typed, *typed_end;      /* prompt lines, run first */
    bool paused;              /* interrupted: `continue` goes on */
    struct macro *macro;
    int n_macro;
};

/* A frame over a text; the lines are cut into commands. */
struct frame *frame_new(const char *source, const char *text, int line);
/* Items [first, last) of another frame, sharing its texts. */
struct frame *frame_block(const struct frame *f, int first, int last);
struct frame *frame_copy(const struct frame *f, int first, int last);
void frame_free(struct frame *f);
void frame_args(struct frame *f, int argc, const char *const *argv);
/* Reads a script; the frame is named by its path. */
enum status frame_read(const char *path, struct frame **out, struct err *e);

void script_push(struct script *s, struct frame *f);
void script_clear(struct script *s);          /* all but what is typed */
/* Drops files and `-c` lines, below what is typed, too. */
void script_drop_files(struct script *s);
void script_fini(struct script *s);
/* Pops frames that are at their end (loops begin again); the next command,
 * or NULL. */
const struct where *script_next(struct lab *l);
bool script_empty(const struct script *s);
void script_pop(struct script *s);
/* Pops what is at its end. */
void script_trim(struct script *s);
/* A typed line is under way, above whatever else waits. */
bool script_has_typed(const struct script *s);
/* The same, and it was not interrupted. */
bool script_runs_typed(const struct script *s);
const char *script_arg(const struct script *s, const char *name, char *buf,
                       size_t size);          /* "1".."9", "#"; NULL: none */
struct macro *macro_find(struct lab *l, const char *name);

/* The block whose opening command is item `first`: index of its `end`, -1. */
int block_end(const struct frame *f, int first);

#endif

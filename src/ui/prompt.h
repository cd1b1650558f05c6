/* The prompt: GNU readline by its callback interface. This is the only file
 * that includes readline.
 *
 * Two ways to use it: on the plain screen, where readline draws and reads
 * standard input itself; and under panes, where it is fed complete keys and
 * only keeps the line, which the desk draws. Readline's state is global, so
 * there is one prompt. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UI_PROMPT_H
#define UI_PROMPT_H

#include "lab/lab.h"
#include "ui/screen.h"

struct prompt_ops {
    /* A line was accepted; NULL: end of input. */
    void (*line)(void *ctx, const char *text);
    int (*complete)(void *ctx, const char *line, int point, int *start,
                    struct completion **out);
    /* Several candidates (panes only); n == 0 never. */
    void (*show)(void *ctx, const struct completion *c, int n);
};

enum prompt_kind { PROMPT_PLAIN, PROMPT_PANES };

struct prompt_opts {
    enum prompt_kind kind;
    bool escapes;             /* plain: the terminal knows sequences */
    const struct prompt_ops *ops;
    void *ctx;
};

void prompt_open(const struct prompt_opts *o);
void prompt_close(void);
/* Shows the prompt and takes lines, until prompt_disarm. */
void prompt_arm(const char *text);
void prompt_disarm(void);
bool prompt_armed(void);
void prompt_set(const char *text);        /* another prompt, same line */
void prompt_read(void);                   /* plain: input is there */
void prompt_feed(const char *bytes, int n);   /* panes */
void prompt_insert(const char *text);
void prompt_reset(void);                  /* drops the line and any search */
void prompt_redraw(void);                 /* plain: after other output */
bool prompt_vi(void);
void prompt_size(int columns, int rows);

/* What to show, panes only. Valid until the next call. */
struct prompt_view {
    const char *prompt, *line;
    int point;                /* byte offset of the cursor in line */
};
struct prompt_view prompt_view(void);

/* History: kept in `path` line by line; NULL: in memory only. Lines that
 * begin with a blank are not kept, older duplicates are dropped. */
void prompt_history_open(const char *path);
void prompt_history_add(const char *line);
/* Puts `line` in the place of the newest one. */
void prompt_history_replace(const char *line);

/* ---- prompt_draw.c: knows no readline ---- */
/* Draws the view into the first row of a, scrolled by half pages so that the
 * cursor is visible; returns the cursor's column. */
int prompt_draw(const struct area *a, const struct prompt_view *v);

#endif

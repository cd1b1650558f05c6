/* The three front ends over one lab: batch, line, panes.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UI_FRONT_H
#define UI_FRONT_H

#include "lab/lab.h"
#include "ui/look.h"

enum work_kind { WORK_LINE, WORK_SCRIPT, WORK_LOAD };

struct work {                 /* what the command line asks to run, in order */
    enum work_kind kind;
    const char *text;         /* a line, or a path */
    int argc;                 /* of a script */
    const char *const *argv;
};

enum color_mode { COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER };

struct front_opts {
    struct lab_opts lab;      /* out and tick are filled by the front end */
    const struct work *work;
    int works;
    bool json, ascii, plain, norc;
    enum color_mode color;
};

/* Each returns the program's exit code. */
int batch_run(const struct front_opts *o);
int line_run(const struct front_opts *o);
/* STATUS_STATE with the reason, and nothing done, when the terminal cannot
 * show panes. */
enum status tui_run(const struct front_opts *o, int *exit_code,
                    struct err *e);

/* ---- front.c: shared by them ---- */
/* Queues all work; a script that cannot be read is told to the sink. */
enum status front_submit(struct lab *l, const struct front_opts *o,
                         struct err *e);
/* Runs $XDG_CONFIG_HOME/qatlab/rc.qat, line by line; errors do not stop. */
void front_rc(struct lab *l, const struct front_opts *o, struct out *out);
/* $XDG_STATE_HOME/qatlab/NAME, its folder made; false: nowhere to put it. */
bool front_state_path(const char *name, struct str *out);
bool front_utf8(void);                    /* the locale's encoding */
struct look front_look(const struct front_opts *o, bool terminal);
/* Saves the session when it is ended from outside. */
void front_autosave(struct lab *l);
/* "load model 'PATH'" and the like: quotes a word for the language. */
void front_quote(struct str *out, const char *word);

#endif

/* The lab: the state of a session, and the work it has to do.
 *
 * A front end gives lines with lab_submit and calls lab_work while lab_busy:
 * each call runs one command or trains one batch, so prompt and panes stay
 * live without a thread. Long commands call the lab's tick between plan
 * steps. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LAB_LAB_H
#define LAB_LAB_H

#include "lab/out.h"
#include "train/trainer.h"

struct lab;

struct lab_opts {
    struct out *out;
    struct tick tick;         /* called between plan steps of anything long */
    uint64_t seed;
    int threads;              /* 0: all */
    bool deterministic, safe, keep_going, check_only;
    double limit_seconds;     /* --limit; 0: none */
    const char *record;       /* --record FILE, or NULL */
    bool interactive;         /* abbreviations allowed for prompt lines */
};

struct lab *lab_new(const struct lab_opts *o, struct err *e);
void lab_free(struct lab *l);

/* Where a line comes from: "FILE", "-" (standard input), "-c", or NULL for
 * the prompt. Errors print as FILE:line:column. */
struct source {
    const char *name;
    int line;
};

/* Queues a line (continuations joined by the caller through
 * lab_line_complete). A prompt line given while training runs at the next
 * batch boundary if its command allows that, and is refused otherwise. */
void lab_submit(struct lab *l, const char *line, struct source from);
enum status lab_submit_file(struct lab *l, const char *path, int argc,
                            const char *const *argv, struct err *e);
/* False: the text so far is an unfinished line (quote, bracket, backslash,
 * open block). */
bool lab_line_complete(const char *text);

/* What only a screen can do. Without hooks (batch) the commands are accepted
 * and do nothing; NULL members likewise. */
struct lab_hooks {
    void *ctx;
    enum status (*layout)(void *ctx, const char *words, struct err *e);
    /* words: all that follows the verb, "conv2", "layers down", "hist w" */
    enum status (*focus)(void *ctx, const char *words, struct err *e);
    enum status (*zoom)(void *ctx, const char *words, struct err *e);
    enum status (*save_screen)(void *ctx, const char *path, struct err *e);
    void (*say)(void *ctx, const char *text, bool title);
    void (*pause)(void *ctx, double seconds);     /* 0: until a key */
    void (*setting)(void *ctx, const char *name); /* it was just set */
    /* Share of the busy time that went into the screen, for `info run`. */
    double (*cost)(void *ctx);
};
void lab_set_hooks(struct lab *l, const struct lab_hooks *h);

bool lab_busy(const struct lab *l);       /* a goal or queued lines */
bool lab_training(const struct lab *l);
/* One unit of work. Errors were told to the sink already; the status says
 * what happened (for keep_going and exit codes). */
enum status lab_work(struct lab *l);
/* 1: stop at the end of the batch; 2: abandon the batch, and queued lines. */
void lab_interrupt(struct lab *l, int level);
bool lab_wants_quit(const struct lab *l);
/* A setting's value as text and number (a choice: its index); NULL, NaN when
 * there is no such setting. Valid until the next set. */
const char *lab_setting(struct lab *l, const char *name);
double lab_setting_number(const struct lab *l, const char *name);
/* The `end` event of the machine stream, with the exit code; once. */
void lab_end(struct lab *l);
int lab_exit_code(const struct lab *l);   /* highest-priority cause */

/* Completion at byte `point` of `line`: malloc'ed candidates with a one-line
 * description each; *start is where the replaced word begins. */
struct completion {
    char *text, *help;
};
int lab_complete(struct lab *l, const char *line, int point, int *start,
                 struct completion **out);
void completion_free(struct completion *c, int n);

/* For panes and JSON; see lab/view.h. Bumped whenever something changed. */
struct lab_generation {
    unsigned model, quant, metrics, selection, settings;
};
struct lab_generation lab_generation(const struct lab *l);

#endif

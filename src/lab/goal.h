/* Goals: what training is under way, and events at epochs.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LAB_GOAL_H
#define LAB_GOAL_H

#include "lab/script.h"

struct goal {
    bool active;
    char *text;               /* "train 3", for messages and the record */
    char *source, *line_text; /* copies: where it was asked for */
    struct where where;
    int64_t begin, end;       /* trainer steps; end INT64_MAX: open */
    double deadline;          /* clock_seconds; 0: none */
    char *until;              /* expression, or NULL */
    double epochs;            /* length told to the schedule; 0: not told */
    double lr;                /* `lr=`: for this goal only; NaN: none */
    double started;
    int64_t recorded;         /* steps that are in the record already */
    bool goal_recorded;
    bool interrupted;         /* `continue` can take it up again */
    struct err failure;       /* why it ended, when it failed */
};

struct epoch_sums {           /* running means of the present epoch */
    double loss, acc;
    int64_t n;
    double seconds;
    double preempted;         /* times a thread had to make way */
};

struct event {                /* `at 3 disable observer *` */
    double epoch;
    char *text;
    bool done;
};

struct event_list {
    struct event *event;
    int n;
};

struct goal_spec {
    int64_t steps;            /* INT64_MAX: open */
    double seconds, epochs, lr;
    const char *until, *text;
};

/* The trainer, made when it is first needed. */
enum status lab_trainer(struct lab *l, struct err *e);
/* Forgets it; the next one starts at epoch 0. */
void lab_drop_trainer(struct lab *l);
enum status goal_set(struct lab *l, const struct goal_spec *g,
                     struct err *e);
/* One batch, and at the end of an epoch its evaluation. */
enum status goal_work(struct lab *l);
/* Ends it, done or not: answer, record. */
void goal_finish(struct lab *l, enum status why);
/* What `continue` takes up again: false when there is nothing. */
bool goal_resume(struct lab *l);
void goal_fini(struct goal *g);
/* Runs events whose epoch has come. */
enum status events_run(struct lab *l, struct err *e);
void events_fini(struct event_list *v);
/* Evaluation of a split in a mode; quiet. */
struct eval_ask {
    enum split split;
    enum mode mode;
    int64_t limit;
    bool trained;             /* all weights moved: no value is known */
};
enum status lab_eval(struct lab *l, const struct eval_ask *q,
                     struct metrics *out, struct err *e);
enum mode lab_mode(const struct lab *l);      /* fake when any F is on */
double lab_epoch(const struct lab *l);
const char *mode_choices(void);

#endif

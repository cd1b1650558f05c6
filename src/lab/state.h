/* struct lab: everything a command can reach. For the files of lab/ only.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LAB_STATE_H
#define LAB_STATE_H

#include <signal.h>

#include "engine/prefix.h"
#include "lab/answer.h"
#include "lab/dispatch.h"
#include "lab/goal.h"
#include "lab/history.h"
#include "lab/num.h"
#include "lab/record.h"
#include "lab/script.h"
#include "lab/series.h"
#include "lab/settings.h"
#include "lab/view.h"

enum progress { PROGRESS_AUTO, PROGRESS_LINE, PROGRESS_NONE,
                PROGRESS_COUNT };

struct tool_settings {        /* of the program, not of the model */
    int64_t fps, threads, undo_limit, eval_batch, eval_limit, demo_speed;
    int64_t cache;            /* MB */
    int color, glyphs, theme, progress;   /* choices */
    bool mouse, json_batches, echo;
    double warn_sqnr, bad_sqnr, escape_timeout;
};

/* Sources for what was loaded: words that load it again. */
struct origin {
    char *model;              /* "lenet5", "net.txt"; NULL: none */
    char *data;               /* "digits n=500"; NULL: none */
    bool lr_set, optimizer_set;           /* by the user: kept on load */
    uint64_t seed;            /* of the weights, when they were made */
};

struct probe {                /* see tensor_view.h */
    struct plan *plan;
    struct rng *dropout;
    struct lab_generation at;
    double when;
};

#define DIAGNOSES 32          /* room for rows of diagnosis_table */

enum result_grade { GRADE_UNKNOWN, GRADE_GOOD, GRADE_BAD, GRADE_COLLAPSED };

struct layer_cache {
    struct layer_view *view;
    int n;
    struct lab_generation at;
    bool stats;               /* statistics are those of now, */
    unsigned needs;           /* with these of stats_need */
    int64_t steps;            /* trainer steps when they were made */
    struct lab_generation motion_at;      /* when training went on last */
};

struct lab {
    struct lab_opts opts;
    struct out *out;          /* where output goes now */
    struct lab_hooks hooks;
    double started;           /* clock_seconds */

    struct graph *graph;
    struct dataset *data;
    struct trainer *trainer;
    struct bag *trainer_waits;            /* its state, until data is there */
    const struct qconfig *qconfig;
    struct origin origin;

    struct train_settings train;
    struct tool_settings tool;
    struct prefix_cache *cache;           /* values of earlier passes */
    int reused;               /* nodes that the last pass took from there */
    struct lab_generation gen;

    struct script script;
    const struct where *where;            /* of the command that runs */
    int nesting;
    struct goal goal;
    struct epoch_sums epoch, last_epoch;
    struct event_list events;

    struct answer ans;
    struct str result;        /* JSON members of a result that is not `ans` */
    struct vars vars;
    struct series_set series;
    struct history history;
    struct record record;

    struct layer_cache layers;
    bool glance;              /* see lab_set_glance */
    struct probe probe[2][2]; /* a glance or not; with gradients or not */
    bool *selected;           /* by node */
    int cursor;

    unsigned warned;          /* diagnosis rows that were told, */
    char *told[DIAGNOSES];    /* and of which points */
    enum result_grade grade;  /* of the last quantized result, */
    struct lab_generation graded;         /* and what it is of */
    char *observed;           /* data that observers learned from, or NULL */
    double float_acc;         /* last float accuracy; NaN */
    double speed;             /* batches a second */
    unsigned causes;          /* bit by status: what went wrong so far */
    int failures;
    bool quit;
    int quit_code;            /* -1: by causes */
    volatile sig_atomic_t interrupt;
    bool limit_hit;
    char setting_text[128];   /* for lab_setting */
};

/* What loading something new must bring down or up. lab_session.c */
void lab_changed_model(struct lab *l);
void lab_changed_quant(struct lab *l);
void lab_set_graph(struct lab *l, struct graph *g);   /* frees the old */
void lab_set_data(struct lab *l, struct dataset *d);
enum status lab_check_fit(const struct lab *l, struct err *e);
struct tick lab_tick(struct lab *l);
double lab_clock(const struct lab *l);    /* 0 when deterministic */
double lab_model_bits(const struct lab *l);   /* of all parameters */
bool lab_any_quant(const struct lab *l);

#endif

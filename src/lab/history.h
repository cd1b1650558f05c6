/* Undo, marks, and the bag that holds a whole session.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LAB_HISTORY_H
#define LAB_HISTORY_H

#include "lab/lab.h"

struct undo {
    char *command;            /* "bits conv* w=4" */
    struct bag *bag;          /* the configuration to go back to */
};

struct undo_stack {
    struct undo *undo;
    int n, cap;
};

/* A point's state in few words, to tell what differs. */
struct point_note {
    char spec[96];
    bool fake, observe, learn;
    double lo, hi;            /* over channels; NaN when not ready */
};

struct lab_mark {
    char *name;
    struct bag *bag;
    double epoch;
    struct point_note *note;  /* by point of the graph then */
    char **point;             /* its name */
    int n_note;
};

struct history {
    struct undo_stack undo, redo;
    struct lab_mark *mark;
    int n_mark;
};

/* Configuration: quantizers with state, flags, freezes, model settings,
 * events; with weights: the graph's values, too. */
struct bag *config_save(struct lab *l, bool weights, struct err *e);
enum status config_load(struct lab *l, const struct bag *b, struct err *e);

/* A finished graph with the values of a bag, without quantizers. */
enum status graph_from_bag(const struct bag *b, struct graph **out,
                           struct err *e);
void events_read(struct lab *l, const char *text);
/* `load data`: words such as "mnist DIR". */
enum status lab_load_data(struct lab *l, const char *words, struct err *e);
void dataset_like(const struct graph *g, struct dataset_opts *o);

void history_clear(struct lab *l);             /* a new model */
void undo_push(struct lab *l, const char *command, struct bag *before);
/* STATUS_STATE when there is nothing; *command: what was undone. */
enum status undo_step(struct lab *l, bool redo, struct str *command,
                      struct err *e);

enum status mark_set(struct lab *l, const char *name, struct err *e);
struct lab_mark *mark_find(struct lab *l, const char *name);
void mark_delete(struct lab *l, const char *name);
enum status mark_rewind(struct lab *l, const struct lab_mark *m,
                        struct err *e);
void point_note_take(const struct lab *l, int point, struct point_note *out);
/* Does the layer differ from the last mark (or from nothing set)? */
bool layer_changed(const struct lab *l, int node);

/* Everything: graph, quantizers, trainer, settings, events, series, data's
 * words, variables. session_load makes new objects and swaps them in only
 * when all of it was good; `all` false: the data set at hand and variables
 * are kept (rewind: what was measured and noted is not the net's). */
struct bag *session_save(struct lab *l, struct err *e);
enum status session_load(struct lab *l, const struct bag *b, bool all,
                         struct err *e);

#endif

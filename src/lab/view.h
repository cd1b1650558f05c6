/* What can be seen of a lab: plain structs that panes, commands (`list`,
 * `show status`, `hist`, `plot`) and JSON all render. One field table each
 * (name, unit, format) keeps the three in step.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LAB_VIEW_H
#define LAB_VIEW_H

#include "lab/lab.h"

struct status_view {
    char model[48], data[48], run[16];    /* IDLE RUN PAUSED BREAK */
    char precision[32];                   /* "float", "QAT w4a4", "mixed" */
    double epoch, goal_epoch, eta, seconds;
    int64_t batch, batches;
    double lr, train_loss, train_acc, val_loss, val_acc, float_acc;
    double batches_per_second, bytes;
    char recording[64];
    char hint[96];
};
void lab_status_view(struct lab *l, struct status_view *out);

/* What a point's quantizer does to its values, and training to its codes.
 * NaN: not known. Activations are those of a batch of validation samples. */
struct point_stats {
    double sqnr, mse, max_error;
    double saturation;        /* share of values outside the range */
    double dead;              /* levels of the grid that nothing uses */
    double one, one_code;     /* share of the commonest code, and which */
    double blocked;           /* share of the gradient kept back by clipping */
    double no_grad;           /* share of weights without any gradient */
    double zero;              /* channels whose weights are 0 on the grid */
    double flips, osc, drift; /* codes moved, turning; range: last epoch */
};

struct layer_view {
    int node;
    const char *name, *type;
    char w[12], a[12];                    /* "8", "fp8", "-" */
    bool has_w, has_a, has_bn;
    bool fake, observe, learn, bn_frozen;
    char scheme[24];                      /* "ch sym" */
    struct point_stats weight, out;
    int64_t params, macs;
    struct shape shape;
    bool selected, changed;
};
/* All layers, in order; returned array is the lab's, valid until the next
 * call. Cheap: statistics are those of lab_refresh_stats. */
const struct layer_view *lab_layer_views(struct lab *l, int *n);
/* While it is on, what is asked for is a glance: activations and gradients
 * are of a few samples and may be a moment old. For screens that must not
 * hold up the work; never on while a command runs. */
void lab_set_glance(struct lab *l, bool on);

/* Recomputes statistics (all layers) when stale: those of the weights, and
 * what else is asked for. */
enum stats_need {
    NEED_OUT = 1 << 0,        /* of outputs: a forward pass over a batch */
    NEED_GRAD = 1 << 1,       /* of gradients: a backward pass as well */
};
void lab_refresh_stats(struct lab *l, unsigned needs);
bool lab_stats_fresh(struct lab *l, unsigned needs);
/* Text lines about one layer: formula parts, ranges, worst channel. */
void lab_layer_detail(struct lab *l, int node, struct str *out);

int lab_cursor(const struct lab *l);              /* node, -1: none */
void lab_set_cursor(struct lab *l, int node);     /* pane selection */
/* The rows that `@sel` names; none selected: the cursor's. */
void lab_select(struct lab *l, int node, bool on);
bool lab_is_selected(const struct lab *l, int node);

/* Curves. x is in epochs. */
struct series_view {
    const char *name;                     /* "val_acc" */
    const double *x, *y;
    int n;
};
int lab_series_count(const struct lab *l);
struct series_view lab_series(const struct lab *l, int i);
int lab_series_find(const struct lab *l, const char *name);   /* -1 */
struct mark_view {
    double x;
    const char *text;                     /* "bits conv2 w=4" */
};
int lab_event_marks(const struct lab *l, const struct mark_view **out);

enum hist_what { HIST_WEIGHT, HIST_ACTIVATION, HIST_ERROR, HIST_GRADIENT,
                 HIST_COUNT };
extern const char *const hist_name[HIST_COUNT];   /* w out err grad */
#define HIST_MAX_BINS 512
struct hist_view {
    char title[64];                       /* "conv2.w  int4" */
    double lo, hi;
    int bins;
    double n[HIST_MAX_BINS];              /* counts */
    double below, above;                  /* outside [lo, hi] */
    bool has_clip, has_grid;
    double clip_lo, clip_hi, step;
    int levels, dead_levels;
    double sqnr, mse, max_error, outside;
};
/* STATUS_STATE with a text when there is nothing to show (no data yet). */
enum status lab_hist(struct lab *l, int node, enum hist_what what, int bins,
                     struct hist_view *out, struct err *e);

#endif

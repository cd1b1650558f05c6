/* Panes: one file each, ending in a const struct pane_ops, listed in
 * panes.def.
 *
 * update() reads the lab and is only called between pieces of the lab's
 * work; draw() uses what update kept, so that the screen can be drawn, also
 * at a new size, in the middle of a batch.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UI_PANE_H
#define UI_PANE_H

#include "lab/view.h"
#include "ui/tiling.h"
#include "ui/log.h"
#include "ui/screen.h"

/* Copies of what the lab shows, for drawing at any time. */
struct ui_layer {
    struct layer_view view;   /* name and type point to the copies below */
    char name[48], type[24];
};
struct ui_model {
    struct ui_layer *layer;
    int n;
    int cursor;               /* row, -1: none */
    struct status_view status;
    struct lab_generation gen;
    bool busy, training;
    double warn_sqnr, bad_sqnr;           /* settings, dB */
};
void ui_model_update(struct ui_model *m, struct lab *l);
void ui_model_fini(struct ui_model *m);
/* NULL without a cursor. */
const struct ui_layer *ui_model_cursor(const struct ui_model *m);

/* Seconds of processor time that this thread has used: what drawing costs,
 * whatever else the machine does. */
double pane_cpu_seconds(void);

/* Spaces what costs much: after work that took t seconds of processor time
 * the next is due in max(least, t * factor). */
struct pacer {
    double least, factor, due;
};
bool pacer_due(const struct pacer *p, double now);
void pacer_done(struct pacer *p, double cost, double now);

/* What the screen may cost while the lab works. Work earns a share of its
 * processor time, drawing spends it. What can wait is drawn while something
 * is left; it may owe then, and the next waits until that is earned. */
struct budget {
    double share, most;       /* of the work; kept at most, seconds */
    double left;              /* < 0: owed */
    double worked, spent;     /* in all */
};
void budget_earn(struct budget *b, double worked);
void budget_spend(struct budget *b, double cost);

struct pane_env {
    struct lab *lab;          /* words may set cursor and selection, update
                                 may ask anything, draw nothing */
    const struct log *log;
    const struct look *look;
    const struct ui_model *model;
    double now;               /* seconds */
};

struct pane;
struct pane_word {            /* `focus PANE WORD` */
    const char *word, *help;
    enum status (*run)(struct pane *p, const struct pane_env *env, int arg,
                       struct err *e);
    int arg;
};

struct pane_ops {
    const char *name, *title, *help;
    char digit;
    bool any_time;            /* update() asks the lab nothing */
    size_t state_size;
    void (*init)(struct pane *p);         /* state is zeroed; p->arg is set */
    void (*fini)(struct pane *p);         /* may be NULL */
    bool (*update)(struct pane *p, const struct pane_env *env);
    void (*draw)(struct pane *p, const struct pane_env *env,
                 const struct area *box);
    /* How a command names what is shown: "out", "val_acc acc". May be
     * NULL. */
    const char *(*shown)(const struct pane *p);
    const struct pane_word *word;         /* a row without word ends */
    /* Any other words: a metric, a layer, /text. May be NULL. */
    enum status (*pick)(struct pane *p, const struct pane_env *env,
                        const char *words, struct err *e);
};

struct pane {
    const struct pane_ops *ops;
    char arg[TILING_NAME];    /* "loss" of curves=loss, or "" */
    void *state;
    bool focused, stale;      /* stale: draw again */
    char letter;              /* a, b .. when several show the same; or 0 */
    long stamp;               /* when it was last focused: picks the tab */
    struct rect rect;         /* on the screen; w 0: not shown */
};

#define PANE(name) extern const struct pane_ops pane_##name;
#include "ui/panes.def"
#undef PANE
extern const struct pane_ops *const pane_table[];
extern const int pane_count;
const struct pane_ops *pane_find(const char *name);

struct pane *pane_new(const struct pane_ops *ops, const char *arg);
void pane_free(struct pane *p);
/* Runs `focus PANE words`; "" does nothing. */
enum status pane_run(struct pane *p, const struct pane_env *env,
                     const char *words, struct err *e);
/* Frame with "1 Layers" (own title NULL) or, when several of a kind are
 * shown, "2a Accuracy"; returns the inside. */
struct pane_head {
    const char *own_title;
    int n;
    struct frame_word word[12];
};
struct area pane_frame(const struct pane *p, const struct pane_env *env,
                       const struct area *box, const struct pane_head *head);
/* A sentence in the middle of an area. */
void pane_message(const struct area *a, const char *text);

#endif

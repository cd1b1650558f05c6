/* Diagnosis: states that are almost always mistakes, a row each.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LAB_DIAGNOSE_H
#define LAB_DIAGNOSE_H

#include "lab/lab.h"

enum diagnosis_flags {
    DIAG_STATE = 1 << 0,      /* of flags and settings: after every change */
    DIAG_EPOCH = 1 << 1,      /* of motion: after an epoch */
    DIAG_RESULT = 1 << 2,     /* of values: when a result is a bad one; needs
                               * a pass over a batch */
};

struct look;

/* What was found: the points; of measured rows the worst, its number in
 * words, and the names of all, a line each, the worst first. */
struct finding {
    struct str where, fact, all;
};

struct diagnosis {
    const char *name, *help;  /* help: what to do about it */
    unsigned flags;
    bool (*holds)(struct look *k, struct finding *out);
};
extern const struct diagnosis diagnosis_table[];
extern const int diagnosis_count;

/* Each row is told once, until it no longer holds; of measured rows another
 * worst point is news, but not within a run of epochs. */
void diagnose_command(struct lab *l);   /* after one */
void diagnose_epoch(struct lab *l);
void diagnose_settle(struct lab *l);    /* a run ends: what no longer holds */
/* After an evaluation, or training: looks at the weights, and for reasons in
 * all layers when the accuracy (of so many classes; 0: the loss) is that of
 * guessing, or below what was reached before. */
struct diagnose_result {
    double acc, loss;
    int64_t classes;
};
void diagnose_result(struct lab *l, const struct diagnose_result *r);
/* All rows, for `info run`: lines of text; returns how many hold. */
int diagnose_all(struct lab *l, struct str *out);

#endif

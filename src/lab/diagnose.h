/* Diagnosis: states that are almost always mistakes, a row each.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LAB_DIAGNOSE_H
#define LAB_DIAGNOSE_H

#include "lab/lab.h"

enum diagnosis_flags {
    DIAG_CHEAP = 1 << 0,      /* looked at after every change and epoch */
    DIAG_EPOCH = 1 << 1,      /* after an epoch only */
    DIAG_EVAL = 1 << 2,       /* when a model collapsed */
    DIAG_PROBE = 1 << 3,      /* likewise; needs a pass over a batch */
};

struct diagnosis {
    const char *name, *help;  /* help: what to do about it */
    unsigned flags;
    /* True when it holds; detail: where. */
    bool (*holds)(struct lab *l, struct str *detail);
};
extern const struct diagnosis diagnosis_table[];
extern const int diagnosis_count;

/* After a command: cheap rows; each is told once until it no longer holds. */
void diagnose_after(struct lab *l, unsigned cmd_flags);
void diagnose_epoch(struct lab *l);
void diagnose_eval(struct lab *l, double acc, int64_t classes);
/* All rows, for `info run`: lines of text; returns how many hold. */
int diagnose_all(struct lab *l, struct str *out);

#endif

/* Passes of a split through plans that evaluate or calibrate, beginning where
 * the cache of values has something new to compute.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TRAIN_PASS_H
#define TRAIN_PASS_H

#include "engine/prefix.h"
#include "train/feed.h"

struct pass {
    const struct eval_opts *o;
    struct feed *feed;
    int64_t rows;             /* that will go by */
    const struct plan *plan;  /* that `prefix` belongs to, */
    int made;                 /* when so many were made: addresses repeat */
    struct prefix *prefix;    /* NULL: whole passes */
    int reused;               /* nodes left out in every batch so far; -1 */
};

void pass_init(struct pass *s, const struct eval_opts *o, struct feed *f,
               int64_t rows);
void pass_fini(struct pass *s);       /* tells o->reused */
/* The next n rows: in the plan's output, and in `in` but for smoothing. */
enum status pass_batch(struct pass *s, struct plan *plan, int64_t n,
                       struct loss_input *in, struct err *e);

#endif

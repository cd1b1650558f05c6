/* What the training suites share: nets from lists of layers, their data, and
 * comparisons whose tolerance is the largest value's.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GOLDEN_GOLDEN_NET_H
#define GOLDEN_GOLDEN_NET_H

#include "golden/golden.h"
#include "train/trainer.h"

/* The case's `layers` with the values of init/...: default groups, no
 * quantizers. Freed when the case ends; NULL after a difference. */
struct graph *golden_net(struct golden_case *c);
/* Arrays x and y as a data set in their order: batches of the case's size
 * are the batches of the case. */
struct dataset *golden_data(struct golden_case *c);
/* Optimiser, loss and batch size of the case, hyper-parameters from the
 * object `hyper`; no shuffling. */
struct train_settings golden_settings(struct golden_case *c,
                                      const char *hyper);

/* found (n) against array `key`, within tolerance * its largest value +
 * absolute. `where` is put in front of the message (the back end). */
struct golden_check {
    struct golden_case *c;
    const char *where;
    double tolerance, absolute;
};
void golden_check(const struct golden_check *k, const char *key,
                  const float *found, int64_t n);
void golden_check_values(const struct golden_check *k, const char *what,
                         const double *wanted, const float *found,
                         int64_t n);

#endif

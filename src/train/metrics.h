/* Sums behind `struct metrics`. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TRAIN_METRICS_H
#define TRAIN_METRICS_H

#include "train/trainer.h"

struct metric_sum {
    int64_t n;                /* samples */
    int64_t elements;         /* of targets */
    int64_t excluded;         /* targets of 0 */
    double loss, right, right5;
    double squares, absolutes, percents;
};

/* Samples whose label has the largest output; of equal ones the first counts,
 * a NaN never does. With one output the class is output > 0. */
int64_t metrics_right(const struct loss_input *in);
/* Adds a batch whose mean loss was `loss`. */
void metrics_add(struct metric_sum *s, const struct loss_input *in,
                 double loss);
/* Means; what does not apply stays 0. */
void metrics_finish(const struct metric_sum *s, struct metrics *out);

#endif

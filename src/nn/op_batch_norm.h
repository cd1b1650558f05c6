/* What others need to know of a batch norm.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef NN_OP_BATCH_NORM_H
#define NN_OP_BATCH_NORM_H

#include "nn/op_util.h"

struct bn {
    double eps;
    double momentum;     /* running = (1 - momentum) running + momentum batch */
};

struct bn bn_of(const struct node *n);

/* Whether the call normalises by the batch's statistics (and moves the
 * running ones) or by the running ones. */
bool bn_uses_batch(const struct op_call *c);

#endif

/* Sizes and sums over contiguous parameters, beside the optimisers.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TRAIN_OPTIM_H
#define TRAIN_OPTIM_H

#include "train/trainer.h"

#define OPTIM_MAX_SLOTS 3

/* Sum of squares in double: NaN or infinite exactly when some g is. Summed in
 * fixed chunks, so the same for any number of threads. */
double optim_square_sum(const float *g, int64_t n);
void optim_scale(float *g, int64_t n, float factor);

#endif

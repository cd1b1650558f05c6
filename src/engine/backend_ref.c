/* Back end ref: every operator by its own portable kernel, logical layout,
 * the same bits for any number of threads.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/backend.h"
#include "engine/int_impl.h"

static const struct maker *const makers[] = {&maker_input, &maker_slow,
                                            &maker_op, NULL};

const struct backend backend_ref = {
    .layout = LAYOUT_NCHW,
    .maker = makers,
    .ints = &int_kernels_ref,
};

/* Back end fast: oneDNN and fused passes of our own, values in (N,H,W,C).
 * What has no maker here runs by the operator's own kernel.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/backend.h"

#include <omp.h>

#include "engine/fast.h"
#include "engine/int_impl.h"
#include "engine/onednn.h"

enum status plan_dnn(struct plan *p, struct err *e)
{
    return p->dnn ? STATUS_OK : dnn_new(&p->dnn, e);
}

static const struct maker *const makers[] = {
    &maker_input, &maker_slow, &maker_conv, &maker_dense, &maker_norm,
    &maker_add, &maker_act, &maker_pool, &maker_reduce, &maker_alias,
    &maker_concat, &maker_op, NULL,
};

const struct backend backend_fast = {
    .layout = LAYOUT_NHWC,
    .maker = makers,
    .ints = &int_kernels_fast,
};

void engine_describe(struct str *out)
{
    dnn_describe(out);
    str_printf(out, "threads: %d\n", omp_get_max_threads());
    str_add(out, "convolution: oneDNN, float32, (N,H,W,C)\n"
                 "matrix products: oneDNN sgemm\n"
                 "batch norm, relu, sums, quantizers: fused passes\n"
                 "bf16 steps: none\n");
    sums_describe(out);
}

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
    str_add(out, "wide layers (9 to 24 bits): whole numbers in double, "
                 "OpenBLAS dgemm\n");
    str_add(out, "convolution: oneDNN, (N,H,W,C), on codes in training too "
                 "where bytes are exact, else float32; one input channel "
                 "with AVX2: our own\n"
                 "matrix products: likewise, else oneDNN sgemm\n"
                 "batch norm, relu, sums, quantizers: fused passes\n");
    str_printf(out, "gradients: %s\n",
               dnn_has_bf16() ? "bf16 of layers on codes, else float32"
                              : "float32 (no bf16 on this processor; "
                                "engine.grad bf16 rounds as it would)");
    sums_describe(out);
}

/* Gradients of a layer on codes in bf16.
 *
 * With dy the gradient of src and g = bf16(dy * s_w[c]):
 *   dX = backward data of (g, q_w), dW[c] = s_x / s_w[c] * backward weights
 *   of (q_x - z_x, g).
 * Codes minus zero are exact in bf16, so that rounding g is all that is lost.
 * Without a processor that multiplies bf16 the same numbers are multiplied in
 * float32. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef ENGINE_FAST_BF16_H
#define ENGINE_FAST_BF16_H

#include "engine/fast_sums.h"
#include "engine/plan_impl.h"

/* Buffers of the three factors; bf16, or float32 with the values of bf16. */
struct bf16_grad {
    bool on, native;
    int dy, x, w;
};

/* Whether the plan wants it of such a layer; makes the steps that fill the
 * buffers from dy (a buffer of floats). */
enum status bf16_begin(struct plan *p, int node, const struct sum_layer *l,
                       int dy, struct bf16_grad *out, struct err *e);
/* dW, a buffer of floats, (O,I,KH,KW): times s_x / s_w[c]. */
enum status bf16_finish(struct plan *p, int node, const struct sum_layer *l,
                        int dw, struct err *e);

#endif

/* Codes in mode fake: bytes beside the numbers of a value, for layers that
 * sum products of codes.
 *
 * A value lies on a grid when the last quantizer on its way rounds to at most
 * 256 even steps for the whole tensor. stored = code - lowest code.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef ENGINE_FAST_CODES_H
#define ENGINE_FAST_CODES_H

#include "engine/plan_impl.h"
#include "quant/quantizer.h"

/* Whose grid input 0 of a node lies on as the node sees it; NULL: none that
 * a plan in this mode can rely on. */
struct quantizer *codes_grid(const struct plan *p, int node);
/* The node's weight is even codes of at most 8 bits, with a scale for all or
 * one per output channel. */
bool codes_weight_fits(const struct plan *p, int node);
/* The buffer of input 0 as codes, in the layout of the numbers. */
enum status codes_in(struct plan *p, int node, int *buffer, struct err *e);

/* Scale, lowest and zero point as integers. STATUS_STATE when the zero point
 * is not a code, which learned ones may become. */
struct code_grid {
    float scale;
    int32_t lo, zero;
};
enum status codes_grid_now(const struct plan *p, const struct quantizer *q,
                           int64_t channel, struct code_grid *g,
                           struct err *e);

#endif

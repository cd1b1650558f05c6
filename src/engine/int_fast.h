/* Between int_fast.c and int_epilogue.c: layers in (N,H,W,C).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef ENGINE_INT_FAST_H
#define ENGINE_INT_FAST_H

#include "engine/int_impl.h"
#include "engine/sums.h"

/* ---- from sums to codes or numbers (int_epilogue.c) ---- */

/* Per channel, repeated along a line of whole pixels so that few channels
 * vectorise too. */
struct epilogue;
/* Codes of sums, whose first one is at place `at` of its line; as many of n
 * as the processor handles at once: how many. */
typedef int64_t (*epilogue_fn)(const struct epilogue *ep, int64_t at,
                               const void *sum, uint8_t *y, int64_t n);
struct epilogue {
    epilogue_fn whole, f32;   /* of int32; of whole numbers in float32, */
    bool small;               /* where every bias is one, too */
    int64_t channels, width;  /* of a line: channels * repeats */
    int32_t *bias;            /* added to the sum, modulo 2^32 */
    float *add, *mul;         /* numbers: unit in mul, bias in add */
    float lo, hi;             /* codes: relative to zero; numbers: the clamp */
    int32_t shift;            /* zero - lowest code */
    bool codes;
};
enum status epilogue_init(struct plan *p, const struct int_layer *l,
                          struct epilogue *ep, struct err *e);
/* bias: per channel. */
void epilogue_load(const struct int_layer *l, const int32_t *bias,
                   struct epilogue *ep);
/* count sums from the start of a pixel on; y: bytes or floats. */
void epilogue_run(const struct epilogue *ep, const int32_t *sum, void *y,
                  int64_t count);
/* The same from whole numbers in float32. */
void epilogue_run_f32(const struct epilogue *ep, const float *sum, void *y,
                      int64_t count);

#endif

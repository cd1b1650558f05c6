/* Between int_fast.c, int_epilogue.c and int_own.c: layers in (N,H,W,C).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef ENGINE_INT_FAST_H
#define ENGINE_INT_FAST_H

#include "engine/int_impl.h"

/* ---- from sums to codes or numbers (int_epilogue.c) ---- */

/* Per channel, repeated along a line of whole pixels so that few channels
 * vectorise too. */
struct epilogue {
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

/* ---- 16-bit pairs (int_own.c) ---- */

struct own_layer {
    struct conv_geom geom;    /* 1x1 layers: rows of a fixed length */
    int64_t pixels;           /* of a 1x1 layer in all; 0: another one */
    bool depthwise;
    /* A tap run is `pairs` pairs of neighbouring numbers in the padded input,
     * `offset` numbers behind a pixel's first. */
    int64_t runs, pairs;
    int32_t *offset;
    int64_t blocks;           /* of 8 outputs in a group */
    int16_t *packed;          /* (group, block, run, pair, 8, 2) */
    int64_t row;              /* numbers in a padded input row */
    int64_t rows, items;      /* output rows of a work item, items an image */
    size_t sum_bytes, item_bytes;      /* scratch of a thread */
};
enum status own_init(struct plan *p, const struct int_layer *l,
                     struct own_layer *o, struct err *e);
void own_load(const struct int_layer *l, struct own_layer *o);
void own_run(const struct plan *p, const struct int_layer *l,
             const struct own_layer *o, const struct epilogue *ep);
size_t own_scratch_bytes(const struct plan *p, const struct own_layer *o);
const char *own_describe(void);

#endif

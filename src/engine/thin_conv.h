/* Convolutions of one input channel, float32, (N,H,W,C): the first layer of
 * nets on grey images, where general kernels have little to multiply.
 *
 * Stride and dilation 1, kernels 3 or 5 wide. Weights and their gradient lie
 * as (O,1,KH,KW). Vectors hold output channels, sums are made in a fixed
 * order: neither threads nor the processor show in any result.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef ENGINE_THIN_CONV_H
#define ENGINE_THIN_CONV_H

#include <stddef.h>

#include "nn/op_conv.h"

#define THIN_ENDS 3

bool thin_conv_fits(const struct conv_geom *g);

/* x: (N,H,W), y: (N,OH,OW,CO), w: (CO,KH,KW), each or its gradient. */
struct thin_conv {
    struct conv_geom geom;
    int threads;
    const float *x, *w, *y, *bias;        /* bias: (CO), or NULL */
    float *to;                            /* what is made */
    /* Forward, NULL: not wanted. (N, THIN_ENDS): of each image the smallest
     * and the largest y, and 0, or NaN where some is not finite. */
    float *ends;
    void *scratch;                        /* thin_conv_scratch() bytes */
};
size_t thin_conv_scratch(const struct conv_geom *g, int threads);
void thin_conv_forward(const struct thin_conv *c);        /* to: y */
void thin_conv_back_data(const struct thin_conv *c);      /* to: dx */
void thin_conv_back_weights(const struct thin_conv *c);   /* to: dw */

#endif

/* Geometry and kernels of convolutions, shared by conv2d and conv1d (which
 * is a conv2d of height 1) and by whoever runs them faster.
 *
 * x: (N,CI,H,W), w: (CO,CI/groups,KH,KW), y: (N,CO,OH,OW)
 * y[n,o,i,j] = b[o] + sum over c,k,l of
 *              w[o,c,k,l] * x[n,c',i*sh - pt + k*dh,j*sw - pl + l*dw]
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef NN_OP_CONV_H
#define NN_OP_CONV_H

#include "nn/op_util.h"

struct conv_geom {
    int64_t n, ci, co, h, w, oh, ow;
    int64_t kh, kw, sh, sw;
    int64_t pt, pl, pb, pr;      /* pads: top, left, bottom, right */
    int64_t dh, dw;              /* dilation, 1: dense kernel */
    int64_t groups;
};

/* From a node that graph_add has accepted; in: (N,C,H,W) or (N,C,L). A dense
 * layer is one of a single tap, its rows are images of one pixel. */
struct conv_geom conv_geom_of(const struct node *n, const struct shape *in);

/* Each group has one input channel. */
bool conv_is_depthwise(const struct conv_geom *g);

enum status conv_infer(const struct node *n, const struct shape *const in[],
                       struct shape *out, struct err *e);
enum status conv_param_shape(const struct node *n,
                             const struct shape *const in[], int param,
                             struct shape *out, struct err *e);
enum status conv_forward(const struct op_call *c, struct err *e);
enum status conv_backward(const struct op_call *c, struct err *e);
int64_t conv_macs(const struct node *n, const struct shape *const in[],
                  const struct shape *out);

extern const struct param_row conv_params[];

#endif

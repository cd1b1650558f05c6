/* Running an elementwise activation over a value, in blocks, on threads.
 *
 * An activation is two functions over a block of n numbers: y = f(x), and
 * dx += f'(x) dy. attr is the node's attributes by row.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef NN_OP_ACT_H
#define NN_OP_ACT_H

#include "nn/op_util.h"

typedef void act_value_fn(const double *attr, const real *x, real *y,
                          int64_t n);
typedef void act_slope_fn(const double *attr, const real *x, const real *dy,
                          real *dx, int64_t n);

enum status act_forward(const struct op_call *c, act_value_fn *value);
enum status act_backward(const struct op_call *c, act_slope_fn *slope);

#endif

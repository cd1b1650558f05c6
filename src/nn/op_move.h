/* Operators that hand the numbers on in the same order: flatten, reshape,
 * identity. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef NN_OP_MOVE_H
#define NN_OP_MOVE_H

#include "nn/op_util.h"

enum status move_forward(const struct op_call *c, struct err *e);
enum status move_backward(const struct op_call *c, struct err *e);

#endif

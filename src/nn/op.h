/* Operators: one const `struct op` a file, listed in ops.def.
 *
 * Logical layouts are those of ONNX and torch: activations (N,C,H,W),
 * (N,C,L) or (N,F); conv weights (O,I/groups,KH,KW); dense weights (O,I).
 * Axis 0 of every value is the batch: shapes are inferred for batch 1 and the
 * batch is put in by whoever runs the graph. forward and backward here are the
 * portable oracle in `real`; faster ones live in engine/.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef NN_OP_H
#define NN_OP_H

#include "base/err.h"
#include "base/rng.h"
#include "tensor/tensor.h"

#define OP_MAX_INPUTS 8
#define OP_MAX_PARAMS 2       /* learned: weight, bias or gamma, beta */
#define OP_MAX_STATES 2       /* not learned: running mean, variance */

struct node;

enum attr_type {
    ATTR_INT, ATTR_REAL, ATTR_BOOL,
    ATTR_AXES,                /* a set of axes as bits, written axes=1,2 */
    ATTR_ITEM                 /* one of a list, written perm=0,2,1 */
};

/* One attribute. Values are doubles. Rows with the same `alias` are set
 * together by that name (kernel -> kernel_h, kernel_w). A default outside
 * lo..hi means that the attribute must be given. Rows of type ATTR_ITEM with
 * one alias make a list, which ends at the first row that has its default;
 * a list named "shape" is written as a bare word (input 1x28x28). */
struct attr_row {
    const char *name, *alias;
    enum attr_type type;
    double def, lo, hi;
    const char *help;
};

enum param_role {
    PARAM_WEIGHT, PARAM_BIAS, PARAM_GAMMA, PARAM_BETA,
    PARAM_MEAN, PARAM_VAR     /* states */
};

struct param_row {
    const char *name;         /* "weight": "conv1.weight" in files */
    enum param_role role;
    const char *unless;       /* attribute that drops it at 0, or NULL */
};

enum op_flags {
    OP_SOURCE = 1 << 0,       /* input: value comes from outside */
    OP_KINKED = 1 << 1,       /* gradient check must keep off kinks */
    OP_ACTIVATION = 1 << 2,   /* one input, elementwise, fuses after a layer */
    OP_KEEPS_GRID = 1 << 3,   /* output lies on the input's quantization grid:
                                 max_pool, flatten, reshape, identity, ... */
    OP_ELEMENTWISE = 1 << 4,  /* any memory layout will do (two inputs: if
                                 their shapes are equal) */
    OP_TRAIN_ONLY = 1 << 5,   /* identity in evaluation: dropout */
    OP_BATCH_NORM = 1 << 6,
    OP_MERGE = 1 << 7,        /* add, mul, sub, concat: its own quantizer */
    OP_RECTIFIER = 1 << 8,    /* relu, relu6: also fuses after add, mul, sub */
};

/* One call on a batch. Pointers to values are row-major in logical layout.
 * Backward *adds* into din and dparam; a NULL one is not wanted. It reads in,
 * param, saved and dout, never out, which a quantizer may have changed.
 * `saved` may be NULL when train is false. */
struct op_call {
    const struct node *node;
    const struct shape *in_shape[OP_MAX_INPUTS];   /* with the real batch */
    const struct shape *out_shape;
    const real *in[OP_MAX_INPUTS];
    real *out;
    const real *param[OP_MAX_PARAMS];  /* effective values: maybe quantized */
    real *state[OP_MAX_STATES];        /* batch norm's running statistics */
    bool train;               /* batch statistics, dropout on */
    bool freeze_stats;        /* batch norm: use running, do not update */
    real *saved;              /* op->saved() reals, forward to backward */
    struct rng *rng;          /* dropout */
    const real *dout;
    real *din[OP_MAX_INPUTS];
    real *dparam[OP_MAX_PARAMS];
};

struct op {
    const char *name;         /* "conv2d" */
    const char *onnx_name;    /* "Conv", or NULL */
    const char *type;         /* selector type: conv dense bn act pool ... */
    const char *help;
    int min_inputs, max_inputs;
    unsigned flags;
    const struct attr_row *attr;       /* ended by a NULL name */
    const struct param_row *param;     /* ended by a NULL name; may be NULL */
    const struct param_row *state;     /* likewise */

    /* Output shape, and shapes of parameters and states, from input shapes
     * (batch 1). Checks everything; messages start with the found value.
     * `param` counts the rows of `param`, then those of `state`. */
    enum status (*infer)(const struct node *n, const struct shape *const in[],
                         struct shape *out, struct err *e);
    enum status (*param_shape)(const struct node *n,
                               const struct shape *const in[], int param,
                               struct shape *out, struct err *e);
    /* Reals to keep per batch between forward and backward; NULL: none. */
    size_t (*saved)(const struct node *n, const struct shape *const in[],
                    const struct shape *out);
    enum status (*forward)(const struct op_call *c, struct err *e);
    enum status (*backward)(const struct op_call *c, struct err *e);
    /* Multiply-accumulates per sample; NULL: none. */
    int64_t (*macs)(const struct node *n, const struct shape *const in[],
                    const struct shape *out);
};

#define OP(name) extern const struct op op_##name;
#include "nn/ops.def"
#undef OP

/* The table: op_table[0 .. op_count-1], and look-up by name (NULL: none). */
extern const struct op *const op_table[];
extern const int op_count;
const struct op *op_find(const char *name);

int op_attr_count(const struct op *op);
int op_attr_index(const struct op *op, const char *name);   /* -1: none */
int op_param_count(const struct op *op);
int op_state_count(const struct op *op);

#endif

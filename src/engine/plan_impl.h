/* What is inside a plan: buffers, steps, units; for engine/ only.
 *
 * A unit is a set of nodes that one maker lowers together: a single operator,
 * or a fused group. Makers append steps; a step names the buffers it touches,
 * from which their lifetimes follow, and plan_place gives them memory.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef ENGINE_PLAN_IMPL_H
#define ENGINE_PLAN_IMPL_H

#include "base/arena.h"
#include "engine/plan.h"

enum phase { PHASE_WEIGHTS, PHASE_FORWARD, PHASE_BACKWARD, PHASE_COUNT };

/* real value = scale * (stored - zero_point) for integer types. */
struct buffer {
    enum dtype type;
    enum layout layout;       /* of rank-4 shapes */
    struct shape shape;       /* logical, with the batch */
    void *data;
    float scale, zero_point;
    int64_t bytes;
    int first, last;          /* steps that touch it */
    size_t offset;
    bool external;            /* data belongs to the graph */
    bool pinned;              /* keeps its memory for the plan's whole life */
    bool written;             /* building: this gradient has a first writer */
    bool touched;
    int twin;                 /* the same value in logical layout, -1 */
    int root;                 /* the buffer whose memory this is, or itself */
};

#define STEP_BUFFERS 32

struct step;

struct step_kind {
    const char *name;
    enum phase phase;
    /* Once, after buffers have memory: resolve pointers. May be NULL. */
    enum status (*bind)(struct plan *p, struct step *s, struct err *e);
    enum status (*run)(struct plan *p, struct step *s, struct err *e);
    void (*fini)(struct step *s);      /* what priv owns; may be NULL */
};

#define APART_MAX 256

struct step {
    const struct step_kind *kind;
    int node;
    int n_buf, buf[STEP_BUFFERS];
    void *priv;               /* in the plan's arena */
    double seconds, bytes, flops;
    /* Little work on one node's parameters alone: in training such steps come
     * first, and run at the same time, a thread each. */
    bool apart;
};

struct unit;
struct dnn;
struct tail;
struct deployed;

/* Recomputes an inner value of a fused unit into `out`, in logical layout. */
typedef enum status (*value_fn)(const struct plan *p, const struct unit *u,
                                int node, float *out, struct err *e);

struct maker {
    const char *name;
    /* Claims nodes (u->node[0] is the first) and says whether it can. */
    bool (*fits)(struct plan *p, struct unit *u);
    enum status (*forward)(struct plan *p, struct unit *u, struct err *e);
    enum status (*backward)(struct plan *p, struct unit *u, struct err *e);
    value_fn value, value_grad;        /* inner nodes; NULL: none are hidden */
};

#define UNIT_NODES 8

struct unit {
    const struct maker *maker;
    int n, node[UNIT_NODES];  /* in chain order; the last one is the tail */
    int first_step;           /* of its forward; they end at the next unit's */
    void *priv;
};

/* The gradient of a value is the sum of parts, one from each reader, so that
 * nothing need be zeroed or added in memory before it is used. */
#define GRAD_PARTS 3

/* Effective parameters of a node; -1: none. */
struct node_params {
    int value[OP_MAX_PARAMS]; /* buffers the operator reads */
    int grad[OP_MAX_PARAMS];  /* and where its backward adds */
    bool fresh[OP_MAX_PARAMS];         /* grad is to be zeroed first */
    struct weight_prep *prep; /* NULL: the parameters as they are */
};

/* The value of a node; buffers, -1: none. */
struct value {
    int raw, out;             /* before and after its quantizer */
    int view, view_grad;      /* the node's own view of input 0 (POINT_IN) */
    int raw_grad;             /* gradient of raw */
    int grad;                 /* gradient of out, one of the parts; or -1 */
    int part[GRAD_PARTS], n_part;      /* which add up to it */
    bool shared[GRAD_PARTS];  /* that part belongs to others too */
    int saved;                /* what the operator keeps for backward */
    bool wants_grad;
    struct quantizer *q, *q_in;        /* in force in this mode, or NULL */
    int point, point_in;
    int code, view_code;      /* buffers of codes, -1 */
    struct quantizer *grid;   /* whose grid they are; NULL: numbers */
    struct tail *tail;        /* fast, not mode int: what makes it, or NULL */
    int unit;
    struct node_params params;
};

struct int_kernels;

struct backend {
    enum layout layout;       /* of rank-4 values */
    const struct maker *const *maker;  /* tried in order; NULL ends */
    const struct int_kernels *ints;    /* layers of mode int */
};

struct plan {
    struct plan_opts opts;
    struct graph *graph;
    const struct backend *backend;
    struct arena *arena;
    struct buffer *buf;
    int n_buf, cap_buf;
    struct step **step;
    int n_step, cap_step, first_backward;
    int n_apart;              /* the first steps, which run together */
    struct unit **unit;
    int n_unit;
    struct value *value;      /* one a node */
    int *input, n_input;      /* nodes */
    int output, output_grad;  /* buffers, logical layout */
    int scratch;              /* buffer for kernels, -1; grows while building */
    size_t scratch_bytes;
    void *memory;
    size_t memory_bytes;
    struct point_mark *mark;  /* what plan_stale() compares */
    unsigned char *node_mark;
    real *mark_block;
    int threads;              /* that the steps were made for */
    struct dnn *dnn;          /* back end fast; NULL before its first use */
    struct deployed *deployed;         /* NULL: the forward is its own */
    const struct tick *tick;  /* of the pass under way */
    bool profile, out_of_memory;
};

/* Building. Indices of new buffers; errors are kept in out_of_memory. */
int plan_buffer(struct plan *p, enum dtype type, const struct shape *s,
                enum layout layout);
int plan_buffer_like(struct plan *p, int buffer);
int plan_buffer_vector(struct plan *p, int64_t n);      /* n floats */
int plan_buffer_param(struct plan *p, int param, bool grad);
/* The same memory under another shape. Values are never changed once they are
 * made, so readers may share it. */
int plan_alias(struct plan *p, int buffer, const struct shape *s);
/* Keeps it when the plan keeps its values. */
void plan_keep(struct plan *p, int buffer);
void plan_scratch(struct plan *p, size_t bytes);
/* NULL when memory is out: return err_memory(e, "plan"). */
struct step *plan_step(struct plan *p, const struct step_kind *kind, int node,
                       size_t priv_bytes);
void step_touch(struct plan *p, struct step *s, int buffer);  /* -1 allowed */
void *plan_data(const struct plan *p, int buffer);       /* NULL for -1 */
float *plan_floats(const struct plan *p, int buffer);
void *plan_scratch_data(const struct plan *p);
const struct shape *plan_shape(const struct plan *p, int buffer);

/* The buffer in which a node finds input i: a view, or the value. */
int plan_in(const struct plan *p, int node, int i);
/* Where a reader adds the gradient of its input i: -1 when nobody wants it.
 * *add: it holds something already; otherwise the caller writes all of it. */
int plan_in_grad(struct plan *p, int node, int i, bool *add);
/* The same for a reader that cannot add: a buffer to write all of. When *sum
 * is not -1 the buffer is to be added into that one afterwards (copy_step). */
int plan_in_part(struct plan *p, int node, int i, int *sum);
/* The gradient of input i is that buffer, which stays whole. */
enum status plan_in_share(struct plan *p, int node, int i, int buffer,
                          struct err *e);
bool plan_in_wanted(const struct plan *p, int node, int i);
/* The whole gradient of a node's value in one buffer; with its raw value. */
int plan_grad(struct plan *p, int node);
int plan_raw_grad(struct plan *p, int node);
/* Makes the buffers raw and, when a quantizer needs it apart, out. */
void plan_make_value(struct plan *p, int node);

/* Quantizer steps (steps_quant.c): raw -> out of a node, and its view. */
enum status quant_out_forward(struct plan *p, int node, struct err *e);
enum status quant_out_backward(struct plan *p, int node, struct err *e);
enum status quant_in_forward(struct plan *p, int node, struct err *e);
enum status quant_in_backward(struct plan *p, int node, struct err *e);
const char *point_name(const struct plan *p, int point);
/* STATUS_STATE when it is to quantize without a range. */
enum status quant_ready(const struct plan *p, const struct quantizer *q,
                        int point, struct err *e);
bool quant_observes(const struct plan *p, const struct quantizer *q);
bool quant_fakes(const struct plan *p, const struct quantizer *q);
struct qview quant_view(const struct plan *p, const struct quantizer *q,
                        int point, int buffer);

/* Copies between layouts (steps_copy.c). */
struct copy_spec {
    int node, from, to;
    bool add;                 /* to what is there */
    enum phase phase;
};
enum status copy_step(struct plan *p, const struct copy_spec *spec,
                      struct err *e);
/* The same value in logical layout: the buffer itself, or a copy that is
 * made once. */
int plan_logical(struct plan *p, int node, int buffer, enum phase phase);
bool layout_same_bytes(const struct buffer *a, const struct buffer *b);

/* Effective parameters (steps_weight.c, steps_fold.c): fills the node's
 * node_params; fold_forward is what remains to do after the product, and
 * fold_backward turns the gradient of the node into that of the product. */
enum status weights_forward(struct plan *p, int node, struct err *e);
enum status weights_backward(struct plan *p, int node, struct err *e);
enum status fold_forward(struct plan *p, int node, struct err *e);
enum status fold_backward(struct plan *p, int node, int *dout,
                          struct err *e);
/* The batch norm whose factor goes into the node's quantized weight, or -1. */
int plan_fold_bn(const struct plan *p, int node);
/* A batch norm that does nothing of its own. */
bool plan_bn_absorbed(const struct plan *p, int node);

/* One operator by its own kernels in logical layout (steps_op.c). */
extern const struct maker maker_op, maker_input, maker_slow;
enum status op_forward_step(struct plan *p, int node, struct err *e);
/* The node's raw value: by that, or wide.c; then fold_forward. */
enum status op_numbers_forward(struct plan *p, int node, struct err *e);
enum status op_backward_step(struct plan *p, int node, int dout,
                             struct err *e);

/* An operator that does something in training only, and not in this plan. */
bool plan_op_rests(const struct plan *p, int node);

/* Its frozen and folded flags as bits. */
unsigned char node_flags(const struct node *n);

/* Placement (plan_place.c). */
enum status plan_place(struct plan *p, struct err *e);

#endif

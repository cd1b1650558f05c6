/* Graphs: nodes in topological order, their parameters, and the points that
 * can be quantized. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef NN_GRAPH_H
#define NN_GRAPH_H

#include "nn/op.h"
#include "tensor/bag.h"

struct quantizer;             /* quant/quantizer.h; the graph only points */

/* A parameter or a state. value and grad point into the graph's two
 * contiguous blocks (states have no grad). */
struct param {
    char *name;               /* "conv1.weight" */
    enum param_role role;
    int node;
    struct shape shape;
    real *value, *grad;
    int64_t count;
    bool frozen;              /* `freeze weights L`: the optimiser skips it */
};

enum point_kind { POINT_WEIGHT, POINT_BIAS, POINT_IN, POINT_OUT, POINT_ACC,
                  POINT_KINDS };
extern const char *const point_suffix[POINT_KINDS]; /* w b in out acc */

/* A place that can be quantized. POINT_OUT belongs to the head of a fused
 * group (conv1) and is applied after its tail (relu1). q == NULL: none set. */
struct point {
    char *name;               /* "conv1.out" */
    enum point_kind kind;
    int node;                 /* the layer that owns it */
    int at;                   /* node whose value (OUT) or input (IN) it is */
    struct quantizer *q;
};

struct node {
    char *name;
    const struct op *op;
    int id;                   /* index in graph->node, also its value's id */
    int n_in, in[OP_MAX_INPUTS];
    double *attr;             /* by row of op->attr */
    struct shape shape;       /* output, batch 1 */
    int param[OP_MAX_PARAMS], state[OP_MAX_STATES];  /* index, -1: none */
    int point[POINT_KINDS];   /* index of the point, -1: none */
    int head, tail;           /* fused group; itself when alone */
    bool bn_frozen;           /* `freeze bn`: running statistics used, kept */
    bool bn_folded;           /* batch norm merged into the weights: identity */
    bool fold_head;           /* a conv / dense whose batch norm was folded */
};

struct graph {
    char *name;               /* "lenet5" */
    struct node *node;
    int n_node, cap_node;
    bool finished;            /* graph_finish has allocated the parameters */
    struct param *param;      /* learned first, then states */
    int n_param, n_learned;
    struct point *point;
    int n_point;
    int output;               /* node id of the result */
    real *value_block, *grad_block;
    int64_t n_value, n_grad;  /* reals in them; states at the end of values */
    struct arena *arena;      /* nodes, names, attributes */
    char *loss;               /* "ce" or "mse": what the net is trained for */
};

/* Building: graph_new, graph_add ..., graph_finish. */
struct graph *graph_new(const char *name);           /* NULL: no memory */
void graph_free(struct graph *g);                    /* not the quantizers */

struct node_spec {
    const char *name;
    const struct op *op;
    int n_in;
    const char *in[OP_MAX_INPUTS];     /* names of earlier nodes */
    int n_attr;
    const char *attr_name[24];
    double attr_value[24];
};

enum status graph_set_loss(struct graph *g, const char *loss, struct err *e);

/* Appends a node; its inputs exist already. Shapes are inferred and checked
 * at once; errors name the node. On error the graph is as before. */
enum status graph_add(struct graph *g, const struct node_spec *spec,
                      struct err *e);

/* Allocates parameters (torch's default initial values from `rng`, or zeros
 * when NULL), makes the default fused groups and the points. The last node is
 * the output; every other one must be read. */
enum status graph_finish(struct graph *g, struct rng *rng, struct err *e);

/* torch's initial values: U(-1/sqrt(fan_in), +) weights and biases; batch
 * norm 1, 0; running mean 0, variance 1. */
void graph_init_params(struct graph *g, struct rng *rng);

/* Fusing: after graph_finish. graph_fuse_default joins conv/dense [+ batch
 * norm] [+ activation], and add [+ relu], where the inner values have one
 * reader; graph_fuse makes exactly the given chain one group; graph_unfuse
 * separates all. Points move; graph_fuse* fails when quantizers are set. */
void graph_fuse_default(struct graph *g);
enum status graph_fuse(struct graph *g, const int *chain, int n,
                       struct err *e);
void graph_unfuse(struct graph *g);
/* The batch norm of the group led by `head` (conv or dense), or -1. */
int graph_group_bn(const struct graph *g, int head);

/* Gives a layer without a bias one of zeros, as folding batch norm needs.
 * Parameters move to new blocks and points to new indices; plans and slots
 * made before are stale. On error nothing has changed. */
enum status graph_add_bias(struct graph *g, int node, struct err *e);

int graph_find(const struct graph *g, const char *name);       /* -1: none */
int graph_param_find(const struct graph *g, const char *name); /* -1 */
/* "conv1.w", "relu1.out" (resolves to the group's point), "conv1.weight". */
int graph_point_find(const struct graph *g, const char *name); /* -1 */
int graph_readers(const struct graph *g, int value, int *first);
/* The attribute exists, or the op's author erred: 0 and an assertion. */
double node_attr(const struct node *n, const char *name);
int64_t node_int(const struct node *n, const char *name);
/* The node's shape for a batch: axis 0 replaced. */
struct shape node_shape(const struct node *n, int64_t batch);
/* Selector type: the op's, but "dwconv" for a depthwise convolution. */
const char *node_type(const struct graph *g, const struct node *n);
int64_t graph_macs(const struct graph *g);                     /* per sample */
int64_t node_macs(const struct graph *g, const struct node *n);

/* The text form, used by built-in models, checkpoints and model files:
 *
 *   model lenet5 loss=ce
 *   x      input 1x28x28
 *   conv1  conv2d out=6 kernel=5 pad=2
 *   add1   add < bn2 relu0
 *
 * A line is: name, operator, attributes; inputs after `<`, by default the
 * previous line. Names with odd characters stand in double quotes. `#`
 * starts a comment. Errors: "line 3: ...". Hostile input is expected.
 * The graph that comes out wants graph_finish. */
enum status graph_parse(const char *text, struct graph **out, struct err *e);
void graph_print(const struct graph *g, struct str *out);

/* Built-in models (design 13): rows of name, help, text or maker. */
struct model_row {
    const char *name, *help;
    enum status (*make)(struct graph **out, struct err *e);
    const char *text;         /* used when make is NULL */
    const char *data;         /* the built-in data set that fits */
    const char *optimizer;    /* "adam" | "sgd" */
    double lr;
};
extern const struct model_row model_table[];
extern const int model_count;
/* Finished graph with initial values from `rng`. */
enum status model_make(const char *name, struct rng *rng, struct graph **out,
                       struct err *e);

/* Values and states to and from a bag: texts "graph" (the text form) and
 * "graph.flags" (fused groups, what is frozen or folded), tensors
 * "NAME.weight". graph_load wants a finished graph of the same layers and
 * checks every shape before it changes anything; without "graph.flags" it
 * leaves groups and flags alone. */
enum status graph_save(const struct graph *g, struct bag *b, struct err *e);
enum status graph_load(struct graph *g, const struct bag *b, struct err *e);
/* SHA-256 of all weights and statistics, hex (65 bytes). */
void graph_hash(const struct graph *g, char out[65]);

#endif

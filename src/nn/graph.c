/* Building graphs and looking things up in them.
 *
 * Nodes are appended in topological order, so every loop over g->node is a
 * walk from the inputs to the output.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <assert.h>
#include <string.h>

#include "base/arena.h"
#include "nn/graph_parts.h"

struct graph *graph_new(const char *name)
{
    struct graph *g = mem_alloc(1, sizeof *g);
    if (!g)
        return NULL;
    g->output = -1;
    g->arena = arena_new();
    if (g->arena) {
        g->name = arena_strdup(g->arena, name);
        g->loss = arena_strdup(g->arena, "ce");
    }
    if (!g->name || !g->loss) {
        graph_free(g);
        return NULL;
    }
    return g;
}

void graph_free(struct graph *g)
{
    if (!g)
        return;
    mem_free(g->node);
    mem_free(g->param);
    mem_free(g->point);
    mem_free(g->value_block);
    mem_free(g->grad_block);
    arena_free(g->arena);
    mem_free(g);
}

static bool is_word(const char *s)
{
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_");
    return n > 0 && n < 32 && s[n] == '\0';
}

enum status graph_set_loss(struct graph *g, const char *loss, struct err *e)
{
    if (!is_word(loss))
        return err_set(e, STATUS_ARG, "the loss is not a lower-case word");
    char *copy = arena_strdup(g->arena, loss);
    if (!copy)
        return err_memory(e, "loss");
    g->loss = copy;
    return STATUS_OK;
}

/* A name can be shown on a terminal as it is and fits into a line. */
static enum status check_name(const struct graph *g, const char *name,
                              struct err *e)
{
    if (strnlen(name, GRAPH_NAME_MAX + 1) > GRAPH_NAME_MAX)
        return err_set(e, STATUS_ARG, "a layer's name has more than %d bytes",
                       GRAPH_NAME_MAX);
    struct str clean = { 0 };
    enum status status = STATUS_OK;
    str_add_clean(&clean, name);
    if (clean.failed)
        status = err_memory(e, "a layer's name");
    else if (*name == '\0')
        status = err_set(e, STATUS_ARG, "a layer's name is empty");
    else if (strcmp(str_text(&clean), name) != 0)
        status = err_set(e, STATUS_ARG, "the layer's name '%s' has control "
                         "characters or is not UTF-8", str_text(&clean));
    else if (graph_find(g, name) >= 0)
        status = err_set(e, STATUS_ARG, "there are two layers named '%s'",
                         name);
    str_fini(&clean);
    return status;
}

static const char *node_name_at(const void *ctx, int i)
{
    const struct graph *g = ctx;
    return g->node[i].name;
}

static enum status no_such_layer(const struct graph *g, const char *name,
                                 struct err *e)
{
    const char *near = str_nearest(name, g->n_node, node_name_at, g);
    struct str clean = { 0 };
    str_add_clean(&clean, name);
    enum status status =
        near ? err_set(e, STATUS_ARG, "no layer '%s' stands before it; did "
                       "you mean '%s'?", str_text(&clean), near)
             : err_set(e, STATUS_ARG, "no layer '%s' stands before it",
                       str_text(&clean));
    str_fini(&clean);
    return status;
}

static enum status set_inputs(const struct graph *g, struct node *n,
                              const struct node_spec *spec, struct err *e)
{
    const struct op *op = spec->op;
    if (spec->n_in < op->min_inputs || spec->n_in > op->max_inputs) {
        if (op->min_inputs == op->max_inputs)
            return err_set(e, STATUS_ARG, "%s takes %d input%s, found %d",
                           op->name, op->min_inputs,
                           op->min_inputs == 1 ? "" : "s", spec->n_in);
        return err_set(e, STATUS_ARG, "%s takes %d to %d inputs, found %d",
                       op->name, op->min_inputs, op->max_inputs, spec->n_in);
    }
    n->n_in = spec->n_in;
    for (int i = 0; i < n->n_in; i++) {
        n->in[i] = graph_find(g, spec->in[i]);
        if (n->in[i] < 0)
            return no_such_layer(g, spec->in[i], e);
    }
    return STATUS_OK;
}

void node_in_shapes(const struct graph *g, const struct node *n,
                    const struct shape *in[OP_MAX_INPUTS])
{
    for (int i = 0; i < n->n_in; i++)
        in[i] = &g->node[n->in[i]].shape;
}

static enum status infer(const struct graph *g, struct node *n, struct err *e)
{
    const struct shape *in[OP_MAX_INPUTS] = { NULL };
    size_t bytes;
    node_in_shapes(g, n, in);
    TRY(n->op->infer(n, in, &n->shape, e));
    return shape_bytes(&n->shape, sizeof(float), GRAPH_VALUE_MAX, &bytes, e);
}

static enum status reserve_node(struct graph *g, struct err *e)
{
    if (g->n_node == GRAPH_NODES_MAX)
        return err_set(e, STATUS_LIMIT, "more than %d layers",
                       GRAPH_NODES_MAX);
    if (g->n_node < g->cap_node)
        return STATUS_OK;
    int cap = g->cap_node ? 2 * g->cap_node : 16;
    struct node *node = mem_grow(g->node,
                                 (size_t)g->cap_node * sizeof *node,
                                 (size_t)cap * sizeof *node);
    if (!node)
        return err_memory(e, "layers");
    g->node = node;
    g->cap_node = cap;
    return STATUS_OK;
}

static void clear_links(struct node *n)
{
    n->head = n->tail = n->id;
    for (int i = 0; i < OP_MAX_PARAMS; i++)
        n->param[i] = -1;
    for (int i = 0; i < OP_MAX_STATES; i++)
        n->state[i] = -1;
    for (int i = 0; i < POINT_KINDS; i++)
        n->point[i] = -1;
}

static enum status add_node(struct graph *g, const struct node_spec *spec,
                            struct err *e)
{
    struct node n = { .op = spec->op, .id = g->n_node };
    int64_t learned = g->n_grad, all = g->n_value;
    size_t n_attr = (size_t)op_attr_count(spec->op);
    TRY(set_inputs(g, &n, spec, e));
    TRY(reserve_node(g, e));
    n.name = arena_strdup(g->arena, spec->name);
    n.attr = arena_alloc(g->arena, (n_attr + 1) * sizeof *n.attr);
    if (!n.name || !n.attr)
        return err_memory(e, "a layer");
    TRY(node_set_attrs(&n, spec, e));
    TRY(infer(g, &n, e));
    TRY(node_count_params(g, &n, &learned, &all, e));
    clear_links(&n);
    g->n_grad = learned;
    g->n_value = all;
    g->node[g->n_node++] = n;
    return STATUS_OK;
}

enum status graph_add(struct graph *g, const struct node_spec *spec,
                      struct err *e)
{
    if (g->finished)
        return err_set(e, STATUS_STATE, "the graph is finished: no layer can "
                       "be added");
    TRY(check_name(g, spec->name, e));
    enum status status = add_node(g, spec, e);
    if (status != STATUS_OK)
        return err_wrap(e, status, "layer '%s'", spec->name);
    return STATUS_OK;
}

static enum status check_complete(const struct graph *g, struct err *e)
{
    if (g->n_node == 0)
        return err_set(e, STATUS_ARG, "the model has no layers");
    const struct node *last = &g->node[g->n_node - 1];
    if (last->op->flags & OP_SOURCE)
        return err_set(e, STATUS_ARG, "the model ends with its input '%s'",
                       last->name);
    for (int i = 0; i < g->n_node - 1; i++)
        if (graph_readers(g, i, NULL) == 0)
            return err_set(e, STATUS_ARG, "no layer reads '%s', and it is "
                           "not the last", g->node[i].name);
    return STATUS_OK;
}

static void drop_params(struct graph *g)
{
    mem_free(g->param);
    mem_free(g->value_block);
    mem_free(g->grad_block);
    g->param = NULL;
    g->value_block = g->grad_block = NULL;
    g->n_param = g->n_learned = 0;
    for (int i = 0; i < g->n_node; i++)
        clear_links(&g->node[i]);
}

enum status graph_finish(struct graph *g, struct rng *rng, struct err *e)
{
    if (g->finished)
        return err_set(e, STATUS_STATE, "the graph is finished already");
    TRY(check_complete(g, e));
    enum status status = graph_make_params(g, e);
    if (status == STATUS_OK) {
        g->output = g->n_node - 1;
        graph_default_groups(g);
        status = graph_make_points(g, e);
    }
    if (status != STATUS_OK) {
        g->output = -1;
        drop_params(g);
        return status;
    }
    graph_init_params(g, rng);
    g->finished = true;
    return STATUS_OK;
}

int graph_find(const struct graph *g, const char *name)
{
    for (int i = 0; i < g->n_node; i++)
        if (strcmp(g->node[i].name, name) == 0)
            return i;
    return -1;
}

int graph_param_find(const struct graph *g, const char *name)
{
    for (int i = 0; i < g->n_param; i++)
        if (strcmp(g->param[i].name, name) == 0)
            return i;
    return -1;
}

int graph_readers(const struct graph *g, int value, int *first)
{
    int count = 0;
    for (int i = value + 1; i < g->n_node; i++) {
        for (int k = 0; k < g->node[i].n_in; k++) {
            if (g->node[i].in[k] != value)
                continue;
            if (count++ == 0 && first)
                *first = i;
        }
    }
    return count;
}

double node_attr(const struct node *n, const char *name)
{
    int i = op_attr_index(n->op, name);
    assert(i >= 0);
    return i < 0 ? 0 : n->attr[i];
}

int64_t node_int(const struct node *n, const char *name)
{
    return (int64_t)node_attr(n, name);
}

struct shape node_shape(const struct node *n, int64_t batch)
{
    struct shape s = n->shape;
    s.dim[0] = batch;
    return s;
}

const char *node_type(const struct graph *g, const struct node *n)
{
    int groups = op_attr_index(n->op, "groups");
    bool depthwise = groups >= 0 && n->attr[groups] > 1 &&
                     n->attr[groups] == (double)g->node[n->in[0]].shape.dim[1];
    return depthwise ? "dwconv" : n->op->type;
}

int64_t node_macs(const struct graph *g, const struct node *n)
{
    const struct shape *in[OP_MAX_INPUTS] = { NULL };
    node_in_shapes(g, n, in);
    return n->op->macs ? n->op->macs(n, in, &n->shape) : 0;
}

int64_t graph_macs(const struct graph *g)
{
    int64_t sum = 0;
    for (int i = 0; i < g->n_node; i++)
        if (__builtin_add_overflow(sum, node_macs(g, &g->node[i]), &sum))
            return INT64_MAX;
    return sum;
}

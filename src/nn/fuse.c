/* Fused groups: chains of nodes that one quantizer follows.
 *
 * A convolution with its batch norm and activation is deployed as one
 * operator, so only the last value is rounded. The head owns the group's
 * output point; inner values have one reader and are seen by nobody else.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "nn/graph_parts.h"

bool graph_has_quantizers(const struct graph *g)
{
    for (int i = 0; i < g->n_point; i++)
        if (g->point[i].q)
            return true;
    return false;
}

/* A layer with weights: convolution or dense. */
static bool is_layer(const struct op *op)
{
    return op->param && op->param[0].role == PARAM_WEIGHT;
}

/* add, sub, mul; not concat, whose inputs are only laid side by side. */
static bool is_arithmetic_merge(const struct op *op)
{
    unsigned wanted = OP_MERGE | OP_ELEMENTWISE;
    return (op->flags & wanted) == wanted;
}

/* The only node that reads the value, if it has this one input and is still
 * alone; -1 otherwise. */
static int only_reader(const struct graph *g, int value)
{
    int reader = -1;
    if (value == g->output || graph_readers(g, value, &reader) != 1)
        return -1;
    const struct node *n = &g->node[reader];
    bool alone = n->head == reader && n->tail == reader;
    return n->n_in == 1 && alone ? reader : -1;
}

static int follow(const struct graph *g, int *chain, int n, unsigned flag)
{
    int next = only_reader(g, chain[n - 1]);
    if (next < 0 || !(g->node[next].op->flags & flag))
        return n;
    chain[n] = next;
    return n + 1;
}

void graph_join(struct graph *g, const int *chain, int n)
{
    for (int i = 0; i < n; i++) {
        g->node[chain[i]].head = chain[0];
        g->node[chain[i]].tail = chain[n - 1];
    }
}

static void separate_all(struct graph *g)
{
    for (int i = 0; i < g->n_node; i++)
        g->node[i].head = g->node[i].tail = i;
}

static void dissolve(struct graph *g, int head)
{
    for (int i = head + 1; i < g->n_node; i++)
        if (g->node[i].head == head)
            g->node[i].head = g->node[i].tail = i;
    g->node[head].tail = head;
}

void graph_default_groups(struct graph *g)
{
    separate_all(g);
    for (int i = 0; i < g->n_node; i++) {
        const struct op *op = g->node[i].op;
        int chain[3] = { i }, n = 1;
        if (is_layer(op)) {
            n = follow(g, chain, n, OP_BATCH_NORM);
            n = follow(g, chain, n, OP_ACTIVATION);
        } else if (is_arithmetic_merge(op)) {
            n = follow(g, chain, n, OP_RECTIFIER);
        }
        if (n > 1)
            graph_join(g, chain, n);
    }
}

enum status graph_check_chain(const struct graph *g, const int *chain, int n,
                              struct err *e)
{
    if (n < 2 || n > GRAPH_GROUP_MAX)
        return err_set(e, STATUS_ARG, "a group has 2 to %d layers, found %d",
                       GRAPH_GROUP_MAX, n);
    for (int i = 0; i < n; i++) {
        if (chain[i] < 0 || chain[i] >= g->n_node)
            return err_set(e, STATUS_ARG, "no layer number %d", chain[i]);
        if (g->node[chain[i]].op->flags & OP_SOURCE)
            return err_set(e, STATUS_ARG, "the input '%s' cannot be fused",
                           g->node[chain[i]].name);
    }
    for (int i = 1; i < n; i++) {
        const struct node *before = &g->node[chain[i - 1]];
        const struct node *here = &g->node[chain[i]];
        int reader = -1;
        int readers = graph_readers(g, before->id, &reader);
        if (here->n_in != 1 || here->in[0] != before->id)
            return err_set(e, STATUS_ARG, "'%s' does not follow '%s'",
                           here->name, before->name);
        if (readers != 1 || before->id == g->output)
            return err_set(e, STATUS_ARG, "'%s' is read by others than '%s'",
                           before->name, here->name);
    }
    return STATUS_OK;
}

enum status graph_fuse(struct graph *g, const int *chain, int n,
                       struct err *e)
{
    if (!g->finished || graph_has_quantizers(g))
        return err_set(e, STATUS_STATE, "layers are fused before quantizers "
                       "are set");
    TRY(graph_check_chain(g, chain, n, e));
    for (int i = 0; i < n; i++)
        dissolve(g, g->node[chain[i]].head);
    graph_join(g, chain, n);
    enum status status = graph_make_points(g, e);
    if (status != STATUS_OK)
        dissolve(g, chain[0]);
    return status;
}

void graph_fuse_default(struct graph *g)
{
    if (!g->finished || graph_has_quantizers(g))
        return;
    graph_default_groups(g);
    graph_make_points(g, NULL);
}

void graph_unfuse(struct graph *g)
{
    if (!g->finished || graph_has_quantizers(g))
        return;
    separate_all(g);
    graph_make_points(g, NULL);
}

int graph_group_bn(const struct graph *g, int head)
{
    for (int i = head + 1; i <= g->node[head].tail; i++)
        if (g->node[i].head == head && g->node[i].op->flags & OP_BATCH_NORM)
            return i;
    return -1;
}

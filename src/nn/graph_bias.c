/* Giving a finished graph's layer a bias, as folding batch norm needs.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "base/arena.h"
#include "nn/graph_parts.h"

static int bias_row(const struct op *op)
{
    for (int i = 0; i < op_param_count(op); i++)
        if (op->param[i].role == PARAM_BIAS)
            return i;
    return -1;
}

/* What a rebuild replaces, kept until it has succeeded. */
struct old_parts {
    struct param *param;
    real *value_block, *grad_block;
    int n_param, n_learned;
    int64_t n_value, n_grad;
};

static struct old_parts take_parts(struct graph *g)
{
    struct old_parts old = { g->param, g->value_block, g->grad_block,
                             g->n_param, g->n_learned, g->n_value,
                             g->n_grad };
    g->param = NULL;
    g->value_block = NULL;
    g->grad_block = NULL;
    return old;
}

static void free_parts(const struct old_parts *p)
{
    mem_free(p->param);
    mem_free(p->value_block);
    mem_free(p->grad_block);
}

static void put_parts(struct graph *g, const struct old_parts *old)
{
    g->param = old->param;
    g->value_block = old->value_block;
    g->grad_block = old->grad_block;
    g->n_param = old->n_param;
    g->n_learned = old->n_learned;
    g->n_value = old->n_value;
    g->n_grad = old->n_grad;
}

/* Indices of parameters and states, of every node, from g->param. */
static void index_params(struct graph *g)
{
    for (int i = 0; i < g->n_node; i++)
        for (int k = 0; k < OP_MAX_PARAMS; k++)
            g->node[i].param[k] = g->node[i].state[k] = -1;
    for (int i = 0; i < g->n_param; i++) {
        struct node *n = &g->node[g->param[i].node];
        int params = op_param_count(n->op);
        for (int row = 0; row < params; row++)
            if (n->op->param[row].role == g->param[i].role)
                n->param[row] = i;
        for (int row = 0; row < op_state_count(n->op); row++)
            if (n->op->state[row].role == g->param[i].role)
                n->state[row] = i;
    }
}

/* Values, gradients and flags of the parameters that were there before. */
static void copy_params(struct graph *g, const struct old_parts *old)
{
    for (int i = 0; i < old->n_param; i++) {
        const struct param *from = &old->param[i];
        struct param *to = &g->param[graph_param_find(g, from->name)];
        size_t bytes = (size_t)from->count * sizeof(real);
        memcpy(to->value, from->value, bytes);
        if (from->grad)
            memcpy(to->grad, from->grad, bytes);
        to->frozen = from->frozen;
    }
}

/* Points anew, each with the quantizer that it had. */
static enum status rebuild_points(struct graph *g, struct err *e)
{
    size_t cells = (size_t)g->n_node * POINT_KINDS;
    struct quantizer **q = mem_alloc(cells, sizeof(struct quantizer *));
    if (!q)
        return err_memory(e, "points");
    for (int i = 0; i < g->n_point; i++)
        q[g->point[i].node * POINT_KINDS + (int)g->point[i].kind] =
            g->point[i].q;
    enum status status = graph_make_points(g, e);
    for (int i = 0; status == STATUS_OK && i < g->n_point; i++)
        g->point[i].q =
            q[g->point[i].node * POINT_KINDS + (int)g->point[i].kind];
    mem_free(q);
    return status;
}

enum status graph_add_bias(struct graph *g, int node, struct err *e)
{
    struct node *n = &g->node[node];
    int row = bias_row(n->op);
    if (row < 0)
        return err_set(e, STATUS_ARG, "'%s' (%s) cannot have a bias", n->name,
                       n->op->name);
    if (n->param[row] >= 0)
        return STATUS_OK;
    struct old_parts old = take_parts(g);
    double *flag = &n->attr[op_attr_index(n->op, n->op->param[row].unless)];
    *flag = 1;
    struct shape shape;
    const struct shape *in[OP_MAX_INPUTS] = { NULL };
    node_in_shapes(g, n, in);
    enum status status = n->op->param_shape(n, in, row, &shape, e);
    if (status == STATUS_OK) {
        g->n_value += shape_count(&shape);
        g->n_grad += shape_count(&shape);
        status = graph_make_params(g, e);
    }
    if (status == STATUS_OK)
        status = rebuild_points(g, e);
    if (status != STATUS_OK) {
        struct old_parts partial = take_parts(g);
        free_parts(&partial);
        *flag = 0;
        put_parts(g, &old);
        index_params(g);
        return status;
    }
    copy_params(g, &old);
    free_parts(&old);
    return STATUS_OK;
}

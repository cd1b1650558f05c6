/* Parameters and states: shapes, memory, initial values, hash.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/sha256.h"
#include "nn/graph_parts.h"

bool node_has_param(const struct node *n, int row)
{
    const char *unless = n->op->param[row].unless;
    return !unless || node_attr(n, unless) != 0;
}

static enum status param_shape(const struct graph *g, const struct node *n,
                               int row, struct shape *out, struct err *e)
{
    const struct shape *in[OP_MAX_INPUTS] = { NULL };
    node_in_shapes(g, n, in);
    return n->op->param_shape(n, in, row, out, e);
}

enum status node_count_params(const struct graph *g, const struct node *n,
                              int64_t *learned, int64_t *all, struct err *e)
{
    int params = op_param_count(n->op), states = op_state_count(n->op);
    for (int i = 0; i < params + states; i++) {
        struct shape s;
        size_t bytes;
        if (i < params && !node_has_param(n, i))
            continue;
        TRY(param_shape(g, n, i, &s, e));
        TRY(shape_bytes(&s, sizeof(float), GRAPH_PARAM_MAX, &bytes, e));
        *all += (int64_t)(bytes / sizeof(float));
        if (i < params)
            *learned += (int64_t)(bytes / sizeof(float));
    }
    if ((size_t)*all > GRAPH_PARAM_MAX / sizeof(float))
        return err_set(e, STATUS_LIMIT, "the parameters would take more than "
                       "%zu bytes", GRAPH_PARAM_MAX);
    return STATUS_OK;
}

static enum status push_param(struct graph *g, struct node *n, int row,
                              struct err *e)
{
    int params = op_param_count(n->op);
    const struct param_row *r = row < params ? &n->op->param[row]
                                             : &n->op->state[row - params];
    size_t room = strlen(n->name) + strlen(r->name) + 2;
    struct param *p = &g->param[g->n_param];
    p->role = r->role;
    p->node = n->id;
    p->name = arena_alloc(g->arena, room);
    if (!p->name)
        return err_memory(e, "parameters");
    strcpy(p->name, n->name);
    strcat(p->name, ".");
    strcat(p->name, r->name);
    TRY(param_shape(g, n, row, &p->shape, e));
    p->count = shape_count(&p->shape);
    if (row < params)
        n->param[row] = g->n_param;
    else
        n->state[row - params] = g->n_param;
    g->n_param++;
    return STATUS_OK;
}

/* First the learned ones of all nodes, then the states of all nodes. */
static enum status push_all(struct graph *g, struct err *e)
{
    for (int i = 0; i < g->n_node; i++)
        for (int row = 0; row < op_param_count(g->node[i].op); row++)
            if (node_has_param(&g->node[i], row))
                TRY(push_param(g, &g->node[i], row, e));
    g->n_learned = g->n_param;
    for (int i = 0; i < g->n_node; i++) {
        int params = op_param_count(g->node[i].op);
        for (int row = 0; row < op_state_count(g->node[i].op); row++)
            TRY(push_param(g, &g->node[i], params + row, e));
    }
    return STATUS_OK;
}

enum status graph_make_params(struct graph *g, struct err *e)
{
    size_t most = (size_t)g->n_node * (OP_MAX_PARAMS + OP_MAX_STATES);
    g->n_param = 0;
    g->param = mem_alloc(most, sizeof *g->param);
    g->value_block = mem_alloc((size_t)g->n_value + 1, sizeof(real));
    g->grad_block = mem_alloc((size_t)g->n_grad + 1, sizeof(real));
    if (!g->param || !g->value_block || !g->grad_block)
        return err_memory(e, "parameters");
    TRY(push_all(g, e));
    int64_t at = 0;
    for (int i = 0; i < g->n_param; i++) {
        g->param[i].value = g->value_block + at;
        g->param[i].grad = i < g->n_learned ? g->grad_block + at : NULL;
        at += g->param[i].count;
    }
    return STATUS_OK;
}

static void fill(struct param *p, real v)
{
    for (int64_t i = 0; i < p->count; i++)
        p->value[i] = v;
}

/* U(-b, b) with b = 1 / sqrt(fan_in): what torch's kaiming_uniform with
 * a = sqrt(5) comes to, and its rule for the bias. */
static void fill_uniform(struct graph *g, struct param *p, struct rng *rng)
{
    const struct param *w = &g->param[g->node[p->node].param[0]];
    double bound = 1 / sqrt((double)w->count / (double)w->shape.dim[0]);
    for (int64_t i = 0; i < p->count; i++)
        p->value[i] = rng ? (real)((2 * rng_uniform(rng) - 1) * bound) : 0;
}

/* Initial value by role; NAN: random. */
static const real role_start[] = {
    [PARAM_WEIGHT] = NAN,
    [PARAM_BIAS] = NAN,
    [PARAM_GAMMA] = 1,
    [PARAM_BETA] = 0,
    [PARAM_MEAN] = 0,
    [PARAM_VAR] = 1,
};

void graph_init_params(struct graph *g, struct rng *rng)
{
    for (int i = 0; i < g->n_param; i++) {
        real start = role_start[g->param[i].role];
        if (isnan(start))
            fill_uniform(g, &g->param[i], rng);
        else
            fill(&g->param[i], start);
    }
}

void graph_hash(const struct graph *g, char out[65])
{
    struct sha256 h;
    sha256_init(&h);
    sha256_add(&h, g->value_block, (size_t)g->n_value * sizeof(real));
    sha256_hex(&h, out);
}

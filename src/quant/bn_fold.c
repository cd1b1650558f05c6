/* Merging batch norm into the layer before it.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "quant/assign.h"

static const struct param *param_of(const struct graph *g, int index)
{
    return index < 0 ? NULL : &g->param[index];
}

void bn_scale_factor(const struct graph *g, int bn, real *factor)
{
    const struct node *n = &g->node[bn];
    const struct param *gamma = param_of(g, n->param[0]);
    const struct param *var = param_of(g, n->state[1]);
    real eps = (real)node_attr(n, "eps");

    for (int64_t c = 0; c < var->count; c++)
        factor[c] = (gamma ? gamma->value[c] : 1) /
                    real_sqrt(var->value[c] + eps);
}

int weight_fold_bn(const struct graph *g, int node, enum bn_fold fold)
{
    const struct node *n = &g->node[node];
    int bn = fold == FOLD_OFF ? -1 : graph_group_bn(g, node);

    if (bn < 0 || g->node[bn].bn_folded || g->node[bn].in[0] != node)
        return -1;
    /* A quantizer between the two, or outputs on another axis than batch
     * norm's, keep them apart. */
    int in = g->node[bn].point[POINT_IN];
    bool apart = (in >= 0 && g->point[in].q) ||
                 (n->op == &op_dense && n->shape.rank > 2);
    return apart ? -1 : bn;
}

void weight_values(const struct graph *g, int node, enum bn_fold fold,
                   real *x)
{
    const struct param *w = node_weight(g, node);
    int bn = weight_fold_bn(g, node, fold);

    if (bn < 0) {
        memcpy(x, w->value, (size_t)w->count * sizeof *x);
        return;
    }
    const struct param *gamma = param_of(g, g->node[bn].param[0]);
    const struct param *var = param_of(g, g->node[bn].state[1]);
    real eps = (real)node_attr(&g->node[bn], "eps");
    int64_t channels = w->shape.dim[0], inner = w->count / channels;
    for (int64_t c = 0; c < channels; c++) {
        const real *from = w->value + c * inner;
        real *to = x + c * inner;
        real factor = (gamma ? gamma->value[c] : 1) /
                      real_sqrt(var->value[c] + eps);
#pragma omp simd
        for (int64_t i = 0; i < inner; i++)
            to[i] = from[i] * factor;
    }
}

static const struct param *find_role(const struct graph *g,
                                     const struct node *n,
                                     enum param_role role)
{
    for (int i = 0; i < OP_MAX_PARAMS; i++)
        if (n->param[i] >= 0 && g->param[n->param[i]].role == role)
            return &g->param[n->param[i]];
    return NULL;
}

const struct param *node_weight(const struct graph *g, int node)
{
    return find_role(g, &g->node[node], PARAM_WEIGHT);
}

/* The batch norm that directly follows the layer in its group. */
static enum status find_bn(const struct graph *g, int node, int *bn,
                           struct err *e)
{
    const struct node *n = &g->node[node];

    if (!find_role(g, n, PARAM_WEIGHT))
        return err_set(e, STATUS_ARG, "'%s' (%s) has no weights to fold "
                       "batch norm into", n->name, n->op->name);
    *bn = graph_group_bn(g, node);
    if (*bn < 0 || g->node[*bn].in[0] != node)
        return err_set(e, STATUS_ARG, "no batch norm follows '%s' in its "
                       "group", n->name);
    if (g->node[*bn].bn_folded)
        return err_set(e, STATUS_ARG, "batch norm '%s' is folded already",
                       g->node[*bn].name);
    return STATUS_OK;
}

static enum status check_factor(const struct graph *g, int bn,
                                const real *factor, int64_t n,
                                struct err *e)
{
    for (int64_t c = 0; c < n; c++)
        if (!isfinite(factor[c]))
            return err_set(e, STATUS_NUMERIC,
                           "'%s': gamma / sqrt(variance + eps) of channel "
                           "%lld is %g", g->node[bn].name, (long long)c,
                           (double)factor[c]);
    return STATUS_OK;
}

/* W' = W * factor, b' = (b - mean) * factor + beta; W: (channels, inner). */
static void merge(struct graph *g, int node, int bn, const real *factor)
{
    const struct node *n = &g->node[bn];
    const struct param *w = find_role(g, &g->node[node], PARAM_WEIGHT);
    const struct param *b = find_role(g, &g->node[node], PARAM_BIAS);
    const struct param *beta = param_of(g, n->param[1]);
    const struct param *mean = param_of(g, n->state[0]);
    int64_t channels = w->shape.dim[0], inner = w->count / channels;

    for (int64_t c = 0; c < channels; c++) {
        for (int64_t i = c * inner; i < (c + 1) * inner; i++)
            w->value[i] *= factor[c];
        b->value[c] = (b->value[c] - mean->value[c]) * factor[c] +
                      (beta ? beta->value[c] : 0);
    }
}

/* What is merged learns no more. */
static void retire(struct graph *g, int node, int bn)
{
    for (int i = 0; i < OP_MAX_PARAMS; i++)
        if (g->node[bn].param[i] >= 0)
            g->param[g->node[bn].param[i]].frozen = true;
    g->node[bn].bn_folded = true;
    g->node[node].fold_head = true;
}

enum status bn_fold_layer(struct graph *g, int node, struct err *e)
{
    enum status st;
    int64_t channels;
    real *factor;
    int bn = -1;

    TRY(find_bn(g, node, &bn, e));
    channels = g->param[g->node[bn].state[1]].count;
    factor = mem_alloc((size_t)channels, sizeof *factor);
    if (!factor)
        return err_memory(e, "batch norm's factors");
    bn_scale_factor(g, bn, factor);
    st = check_factor(g, bn, factor, channels, e);
    if (st == STATUS_OK)
        st = graph_add_bias(g, node, e);
    if (st == STATUS_OK) {
        merge(g, node, bn, factor);
        retire(g, node, bn);
    }
    mem_free(factor);
    return st;
}

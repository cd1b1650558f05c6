/* Parts of building a graph that lie in files of their own; for nn/ alone.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef NN_GRAPH_PARTS_H
#define NN_GRAPH_PARTS_H

#include "nn/graph.h"

#define GRAPH_NODES_MAX 4096
#define GRAPH_NAME_MAX 200                 /* bytes of a node's name */
#define GRAPH_GROUP_MAX 16                 /* nodes of a fused group */
#define GRAPH_VALUE_MAX ((size_t)1 << 31)  /* bytes of a value, batch 1 */
#define GRAPH_PARAM_MAX ((size_t)1 << 31)  /* bytes of all parameters */

/* Fills n->attr, by row of its operator, from the names of the spec. */
enum status node_set_attrs(struct node *n, const struct node_spec *spec,
                           struct err *e);

/* Adds the reals of one node's parameters and states to the counts; shapes
 * are checked. */
enum status node_count_params(const struct graph *g, const struct node *n,
                              int64_t *learned, int64_t *all, struct err *e);

/* Shapes of a node's inputs, batch 1. */
void node_in_shapes(const struct graph *g, const struct node *n,
                    const struct shape *in[OP_MAX_INPUTS]);

/* Whether the node has the operator's parameter row `row`. */
bool node_has_param(const struct node *n, int row);

/* Allocates g->param and the blocks of values and gradients, zeroed. */
enum status graph_make_params(struct graph *g, struct err *e);

/* Makes g->point anew from the groups; before, the old ones stay. */
enum status graph_make_points(struct graph *g, struct err *e);

void graph_default_groups(struct graph *g);      /* head and tail alone */

/* chain[0 .. n-1] can be one group: each reads the one before, and only the
 * last is read by others. */
enum status graph_check_chain(const struct graph *g, const int *chain, int n,
                              struct err *e);
void graph_join(struct graph *g, const int *chain, int n);
bool graph_has_quantizers(const struct graph *g);

#endif

/* What integers do not express: operators by their own kernels on numbers,
 * between codes; and the net's inputs. Layers on wider grids are exact here
 * too (wide.h): targets have no rule of their own for them.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/int_impl.h"

static bool input_fits(struct plan *p, struct unit *u)
{
    int node = u->node[0];
    if (!(p->graph->node[node].op->flags & OP_SOURCE))
        return false;
    int_settle_grid(p, node, NULL);
    return true;
}

static enum status input_forward(struct plan *p, struct unit *u,
                                 struct err *e)
{
    int node = u->node[0];
    int_make_numbers(p, node);
    if (p->out_of_memory)
        return err_memory(e, "plan");
    p->buf[p->value[node].raw].pinned = true;
    return int_finish_numbers(p, node, e);
}

const struct maker int_maker_input = {
    .name = "input",
    .fits = input_fits,
    .forward = input_forward,
    .value = int_value,
};

static bool island_fits(struct plan *p, struct unit *u)
{
    int_settle_grid(p, u->node[0], NULL);
    return true;
}

static enum status island_forward(struct plan *p, struct unit *u,
                                  struct err *e)
{
    int node = u->node[0];
    const struct node *n = &p->graph->node[node];
    for (int i = 0; i < n->n_in; i++)
        TRY(int_numbers(p, n->in[i], e));
    TRY(quant_in_forward(p, node, e));
    TRY(weights_forward(p, node, e));
    int_make_numbers(p, node);
    if (p->out_of_memory)
        return err_memory(e, "plan");
    TRY(op_numbers_forward(p, node, e));
    return int_finish_numbers(p, node, e);
}

const struct maker int_maker_island = {
    .name = "op on numbers",
    .fits = island_fits,
    .forward = island_forward,
    .value = int_value,
};

const struct maker *const int_makers[] = {
    &int_maker_input, &int_maker_layer, &int_maker_move, &int_maker_pool,
    &int_maker_merge, &int_maker_concat, &int_maker_map, &int_maker_island,
    NULL,
};

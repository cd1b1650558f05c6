/* Units that move codes or map each one by itself: flatten, reshape,
 * transpose, pad, identity; clamps and other functions of one number.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/int_impl.h"

#include <math.h>
#include <string.h>

/* ---- moves ---- */

void int_steps(const struct shape *s, enum layout layout, int64_t *step)
{
    for (int i = 0; i < s->rank; i++)
        step[i] = shape_inner(s, i);
    if (layout != LAYOUT_NHWC || s->rank != 4)
        return;
    step[1] = 1;
    step[2] = s->dim[3] * s->dim[1];
    step[3] = s->dim[1];
}

int64_t int_place(const struct shape *s, const int64_t *step, int64_t i)
{
    int64_t at = 0;
    for (int k = s->rank - 1; k >= 0; k--) {
        at += i % s->dim[k] * step[k];
        i /= s->dim[k];
    }
    return at;
}

/* One run along the last axis. */
static void move_run(const struct byte_move *m, const uint8_t *from,
                     uint8_t *to)
{
    int last = m->rank - 1;
    int64_t n = m->dim[last], a = m->from[last], b = m->to[last];
    if (a == 1 && b == 1) {
        memcpy(to, from, (size_t)n);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        to[i * b] = from[i * a];
}

void byte_move(const struct byte_move *m, const uint8_t *from, uint8_t *to)
{
    int64_t runs = 1;
    for (int i = 0; i < m->rank - 1; i++)
        runs *= m->dim[i];
#pragma omp parallel for schedule(static) \
    if (runs * m->dim[m->rank - 1] > 16384)
    for (int64_t r = 0; r < runs; r++) {
        int64_t a = 0, b = 0, rest = r;
        for (int i = m->rank - 2; i >= 0; i--) {
            a += rest % m->dim[i] * m->from[i];
            b += rest % m->dim[i] * m->to[i];
            rest /= m->dim[i];
        }
        move_run(m, from + a, to + b);
    }
}

static enum status move_run_step(struct plan *p, struct step *s,
                                 struct err *e)
{
    (void)e;
    const struct byte_move_spec *m = s->priv;
    uint8_t *to = plan_data(p, m->out);
    if (m->fill) {
        struct int_grid g = grid_of(m->fill);
        int32_t zero = g.zero < g.lo ? g.lo : g.zero > g.hi ? g.hi : g.zero;
        memset(to, zero - g.lo, (size_t)p->buf[m->out].bytes);
    }
    byte_move(&m->move, plan_data(p, m->in), to + m->offset);
    return STATUS_OK;
}

static const struct step_kind move_kind = {
    .name = "move codes",
    .phase = PHASE_FORWARD,
    .run = move_run_step,
};

/* Axes of one number say nothing. */
static void drop_ones(struct byte_move *m)
{
    int n = 0;
    for (int i = 0; i < m->rank; i++) {
        if (m->dim[i] == 1 && n + m->rank - i > 1)
            continue;
        m->dim[n] = m->dim[i];
        m->from[n] = m->from[i];
        m->to[n] = m->to[i];
        n++;
    }
    m->rank = n;
}

/* Neighbouring axes that lie one inside the other on both sides become one:
 * longer runs. */
static void merge_axes(struct byte_move *m)
{
    int n = 0;
    for (int i = 1; i < m->rank; i++) {
        bool inside = m->from[n] == m->dim[i] * m->from[i] &&
                      m->to[n] == m->dim[i] * m->to[i];
        int64_t dim = inside ? m->dim[n] * m->dim[i] : m->dim[i];
        n += inside ? 0 : 1;
        m->dim[n] = dim;
        m->from[n] = m->from[i];
        m->to[n] = m->to[i];
    }
    m->rank = n + 1;
}

enum status byte_move_step(struct plan *p, int node,
                           const struct byte_move_spec *m, struct err *e)
{
    struct step *s = plan_step(p, &move_kind, node, sizeof(*m));
    if (!s)
        return err_memory(e, "plan");
    struct byte_move_spec *own = s->priv;
    *own = *m;
    drop_ones(&own->move);
    if (own->move.rank > 1)
        merge_axes(&own->move);
    step_touch(p, s, m->in);
    step_touch(p, s, m->out);
    return STATUS_OK;
}

struct byte_move_spec byte_relayout(const struct plan *p, int in, int out)
{
    const struct shape *s = plan_shape(p, in);
    struct byte_move_spec m = {.in = in, .out = out};
    m.move.rank = s->rank;
    memcpy(m.move.dim, s->dim, sizeof(m.move.dim));
    int_steps(s, p->buf[in].layout, m.move.from);
    int_steps(s, p->buf[out].layout, m.move.to);
    return m;
}

/* ---- operators ---- */

/* From codes in `in` to codes of the node's shape, on the same grid. */
typedef enum status (*move_fn)(struct plan *p, int node, int in, int *out,
                               struct err *e);

static enum status move_same(struct plan *p, int node, int in, int *out,
                             struct err *e)
{
    (void)e;
    *out = in;
    if (node == p->graph->output)
        p->buf[in].pinned = true;
    return STATUS_OK;
}

/* In logical order, then as the output lies. */
static enum status move_reshape(struct plan *p, int node, int in, int *out,
                                struct err *e)
{
    struct shape s = *plan_shape(p, in);
    int flat = plan_buffer(p, DTYPE_U8, &s, LAYOUT_NCHW);
    *out = int_buffer(p, node);
    if (p->out_of_memory)
        return err_memory(e, "plan");
    struct buffer row_major = p->buf[*out];
    row_major.layout = LAYOUT_NCHW;
    bool direct = layout_same_bytes(&p->buf[*out], &row_major);
    struct byte_move_spec m = byte_relayout(p, in, flat);
    if (direct)
        m.out = *out;
    TRY(byte_move_step(p, node, &m, e));
    if (direct)
        return STATUS_OK;
    struct shape y = *plan_shape(p, *out);
    m = byte_relayout(p, *out, *out);
    m.in = flat;
    int_steps(&y, LAYOUT_NCHW, m.move.from);
    return byte_move_step(p, node, &m, e);
}

static enum status move_transpose(struct plan *p, int node, int in, int *out,
                                  struct err *e)
{
    *out = int_buffer(p, node);
    if (p->out_of_memory)
        return err_memory(e, "plan");
    int64_t step[SHAPE_MAX];
    struct byte_move_spec m = byte_relayout(p, *out, *out);
    m.in = in;
    int_steps(plan_shape(p, in), p->buf[in].layout, step);
    for (int i = 0; i < m.move.rank; i++)
        m.move.from[i] = step[(int)p->graph->node[node].attr[i]];
    return byte_move_step(p, node, &m, e);
}

static enum status move_pad(struct plan *p, int node, int in, int *out,
                            struct err *e)
{
    const struct node *n = &p->graph->node[node];
    *out = int_buffer(p, node);
    if (p->out_of_memory)
        return err_memory(e, "plan");
    struct byte_move_spec m = byte_relayout(p, in, *out);
    int64_t *to = m.move.to;
    int_steps(plan_shape(p, *out), p->buf[*out].layout, to);
    m.fill = int_input_grid(p, node, 0);
    int last = m.move.rank - 1;
    m.offset = node_int(n, "pad_front") * to[1] +
               node_int(n, "pad_left") * to[last];
    if (last == 3)
        m.offset += node_int(n, "pad_top") * to[2];
    return byte_move_step(p, node, &m, e);
}

static const struct {
    const struct op *op;
    move_fn move;
} move_table[] = {
    {&op_identity, move_same},   {&op_dropout, move_same},
    {&op_flatten, move_reshape}, {&op_reshape, move_reshape},
    {&op_transpose, move_transpose}, {&op_pad, move_pad},
};

static move_fn move_find(const struct plan *p, int node)
{
    if (plan_bn_absorbed(p, node))
        return move_same;
    int n = (int)(sizeof(move_table) / sizeof(move_table[0]));
    for (int i = 0; i < n; i++)
        if (move_table[i].op == p->graph->node[node].op)
            return move_table[i].move;
    return NULL;
}

static bool move_fits(struct plan *p, struct unit *u)
{
    int node = u->node[0];
    if (!move_find(p, node))
        return false;
    struct quantizer *grid = int_input_grid(p, node, 0);
    if (grid)
        int_settle_grid(p, node, grid);
    return grid != NULL;
}

static enum status move_forward_unit(struct plan *p, struct unit *u,
                                     struct err *e)
{
    int node = u->node[0], in, out;
    TRY(int_codes_in(p, node, 0, &in, e));
    TRY(move_find(p, node)(p, node, in, &out, e));
    return int_finish_codes(p, node, out, int_input_grid(p, node, 0), e);
}

const struct maker int_maker_move = {
    .name = "move codes",
    .fits = move_fits,
    .forward = move_forward_unit,
    .value = int_value,
};

/* ---- functions of one number ---- */

static bool map_fits(struct plan *p, struct unit *u)
{
    int node = u->node[0];
    const struct node *n = &p->graph->node[node];
    float lo, hi;
    if (n->n_in != 1 || !(n->op->flags & OP_ELEMENTWISE) || n->op->param)
        return false;
    struct quantizer *grid = int_input_grid(p, node, 0);
    const struct value *v = &p->value[node];
    bool lands = v->q ? grid_class(p, v->q) != GRID_NONE
                      : int_clamp_of(n, &lo, &hi);
    if (!grid || !lands)
        return false;
    int_settle_grid(p, node, grid);
    return true;
}

static enum status map_forward(struct plan *p, struct unit *u, struct err *e)
{
    int node = u->node[0], in;
    struct value *v = &p->value[node];
    TRY(int_codes_in(p, node, 0, &in, e));
    if (v->q)
        TRY(quant_ready(p, v->q, v->point, e));
    struct int_map m = {NULL, int_input_grid(p, node, 0), v->grid, -INFINITY,
                        INFINITY};
    if (v->q)
        m.op = &p->graph->node[node];
    else
        int_clamp_of(&p->graph->node[node], &m.lo, &m.hi);
    v->code = int_buffer(p, node);
    return int_map_step(p, node, &m, in, v->code, e);
}

const struct maker int_maker_map = {
    .name = "codes by table",
    .fits = map_fits,
    .forward = map_forward,
    .value = int_value,
};

/* Values as codes and as numbers: the steps between them.
 *
 * All loops run over bytes or numbers as they lie; pieces have a fixed size,
 * so that threads do not show. SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/int_impl.h"

#include <math.h>
#include <string.h>

#define PIECE 4096
#define LEVELS 256

struct code_step {
    struct quantizer *from, *to;       /* grids; NULL: numbers */
    const struct target_row *target;
    bool by_kind;             /* the quantizer's own rule */
    int point;
    int64_t count;
    struct int_map map;
    int in, out, temp;
};

int int_buffer(struct plan *p, int node)
{
    struct shape s = node_shape(&p->graph->node[node], p->opts.batch);
    int b = plan_buffer(p, DTYPE_U8, &s, p->backend->layout);
    if (!p->out_of_memory)
        p->buf[b].pinned = p->opts.keep_values || node == p->graph->output;
    return b;
}

void int_make_numbers(struct plan *p, int node)
{
    struct value *v = &p->value[node];
    struct shape s = node_shape(&p->graph->node[node], p->opts.batch);
    v->raw = plan_buffer(p, DTYPE_F32, &s, p->backend->layout);
    if (!p->out_of_memory)
        p->buf[v->raw].pinned = p->opts.keep_values;
}

static struct step *code_step(struct plan *p, const struct step_kind *kind,
                              int node, int in, int out)
{
    struct step *s = plan_step(p, kind, node, sizeof(struct code_step));
    if (!s)
        return NULL;
    struct code_step *c = s->priv;
    c->target = p->opts.target;
    c->count = shape_count(plan_shape(p, in));
    c->in = in;
    c->out = out;
    c->temp = -1;
    step_touch(p, s, in);
    step_touch(p, s, out);
    return s;
}

/* ---- numbers to codes ---- */

static int64_t piece(int64_t at, int64_t count)
{
    return count - at < PIECE ? count - at : PIECE;
}

/* The kind's codes are 32-bit integers. */
static void codes_by_kind(const struct plan *p, const struct code_step *c)
{
    const float *x = plan_floats(p, c->in);
    uint8_t *y = plan_data(p, c->out);
    int32_t *code = plan_data(p, c->temp);
    struct qview view = {1, 1, c->count};
    c->to->spec.kind->codes(c->to, x, code, view);
    for (int64_t i = 0; i < c->count; i++)
        y[i] = (uint8_t)(code[i] - (int32_t)c->to->lo_code);
}

static enum status quantize_run(struct plan *p, struct step *s, struct err *e)
{
    const struct code_step *c = s->priv;
    TRY(quant_ready(p, c->to, c->point, e));
    if (c->by_kind) {
        codes_by_kind(p, c);
        return STATUS_OK;
    }
    struct int_grid g = grid_of(c->to);
    const float *x = plan_floats(p, c->in);
    uint8_t *y = plan_data(p, c->out);
#pragma omp parallel for schedule(static) if (c->count > 4 * PIECE)
    for (int64_t at = 0; at < c->count; at += PIECE)
        target_quantize_all(c->target, &g, x + at, y + at,
                            piece(at, c->count));
    return STATUS_OK;
}

static const struct step_kind quantize_kind = {
    .name = "quantize to codes",
    .phase = PHASE_FORWARD,
    .run = quantize_run,
};

static enum status quantize_step(struct plan *p, int node, int point, int in,
                                 int out, struct err *e)
{
    struct step *s = code_step(p, &quantize_kind, node, in, out);
    if (!s)
        return err_memory(e, "plan");
    struct code_step *c = s->priv;
    c->to = p->graph->point[point].q;
    c->point = point;
    TRY(quant_ready(p, c->to, point, e));
    c->by_kind = grid_class(p, c->to) == GRID_CODED;
    if (c->by_kind) {
        struct shape n = shape_1(c->count);
        c->temp = plan_buffer(p, DTYPE_I32, &n, LAYOUT_NCHW);
        step_touch(p, s, c->temp);
    }
    return p->out_of_memory ? err_memory(e, "plan") : STATUS_OK;
}

/* ---- codes to numbers ---- */

static enum status dequantize_run(struct plan *p, struct step *s,
                                  struct err *e)
{
    (void)e;
    const struct code_step *c = s->priv;
    struct int_grid g = grid_of(c->from);
    const uint8_t *x = plan_data(p, c->in);
    float *y = plan_floats(p, c->out);
#pragma omp parallel for schedule(static) if (c->count > 4 * PIECE)
    for (int64_t at = 0; at < c->count; at += PIECE)
        grid_dequantize(&g, x + at, y + at, piece(at, c->count));
    return STATUS_OK;
}

static const struct step_kind dequantize_kind = {
    .name = "dequantize",
    .phase = PHASE_FORWARD,
    .run = dequantize_run,
};

enum status int_numbers(struct plan *p, int node, struct err *e)
{
    struct value *v = &p->value[node];
    if (v->out >= 0)
        return STATUS_OK;
    struct shape s = node_shape(&p->graph->node[node], p->opts.batch);
    int out = plan_buffer(p, DTYPE_F32, &s, p->backend->layout);
    struct step *t = code_step(p, &dequantize_kind, node, v->code, out);
    if (!t)
        return err_memory(e, "plan");
    ((struct code_step *)t->priv)->from = v->grid;
    v->out = out;
    p->buf[out].pinned = p->opts.keep_values;
    return STATUS_OK;
}

/* ---- codes to codes ---- */

static enum status apply_op(const struct node *n, const float *x, float *y,
                            struct err *e)
{
    struct shape s = shape_2(1, LEVELS);
    struct op_call c = {.node = n, .out_shape = &s, .out = y};
    c.in[0] = x;
    c.in_shape[0] = &s;
    return n->op->forward(&c, e);
}

/* What becomes of each byte: number, operator, clamp, nearest code. */
static enum status make_table(const struct code_step *c, uint8_t *table,
                              struct err *e)
{
    const struct int_map *m = &c->map;
    struct int_grid from = grid_of(m->from), to = grid_of(m->to);
    float x[LEVELS], y[LEVELS];
    int32_t limit[2], code[LEVELS];
    for (int i = 0; i < LEVELS; i++)
        table[i] = (uint8_t)i;
    grid_dequantize(&from, table, x, LEVELS);
    if (m->op)
        TRY(apply_op(m->op, x, y, e));
    else
        memcpy(y, x, sizeof(y));
    if (c->by_kind) {
        struct qview view = {1, 1, LEVELS};
        m->to->spec.kind->codes(m->to, y, code, view);
        for (int i = 0; i < LEVELS; i++)
            table[i] = (uint8_t)(code[i] - to.lo);
    } else if (m->from != m->to || m->op) {
        target_quantize_all(c->target, &to, y, table, LEVELS);
    }
    int_clamp_codes(c->target, &to, m->lo, m->hi, limit);
    for (int i = 0; i < LEVELS; i++) {
        int32_t v = table[i] + to.lo;
        v = v > limit[0] ? v : limit[0];
        v = v < limit[1] ? v : limit[1];
        table[i] = (uint8_t)(v - to.lo);
    }
    return STATUS_OK;
}

static enum status map_run(struct plan *p, struct step *s, struct err *e)
{
    const struct code_step *c = s->priv;
    uint8_t table[LEVELS];
    enum status st = make_table(c, table, e);
    if (st)
        return err_wrap(e, st, "%s", p->graph->node[s->node].name);
    const uint8_t *x = plan_data(p, c->in);
    uint8_t *y = plan_data(p, c->out);
#pragma omp parallel for schedule(static) if (c->count > 4 * PIECE)
    for (int64_t i = 0; i < c->count; i++)
        y[i] = table[x[i]];
    return STATUS_OK;
}

static const struct step_kind map_kind = {
    .name = "codes by table",
    .phase = PHASE_FORWARD,
    .run = map_run,
};

enum status int_map_step(struct plan *p, int node, const struct int_map *m,
                         int from, int to, struct err *e)
{
    struct step *s = code_step(p, &map_kind, node, from, to);
    if (!s)
        return err_memory(e, "plan");
    struct code_step *c = s->priv;
    c->map = *m;
    c->by_kind = grid_class(p, m->to) == GRID_CODED;
    return STATUS_OK;
}

/* ---- ends of units ---- */

enum status int_finish_codes(struct plan *p, int node, int buffer,
                             struct quantizer *grid, struct err *e)
{
    struct value *v = &p->value[node];
    if (!v->q) {
        v->code = buffer;
        return STATUS_OK;
    }
    if (!v->grid) {           /* a quantizer on numbers */
        v->code = buffer;
        v->grid = grid;
        TRY(int_numbers(p, node, e));
        v->raw = v->out;
        v->code = -1;
        v->grid = NULL;
        return int_finish_numbers(p, node, e);
    }
    TRY(quant_ready(p, v->q, v->point, e));
    v->code = int_buffer(p, node);
    const struct int_map m = {NULL, grid, v->q, -INFINITY, INFINITY};
    return int_map_step(p, node, &m, buffer, v->code, e);
}

enum status int_finish_numbers(struct plan *p, int node, struct err *e)
{
    struct value *v = &p->value[node];
    if (v->grid) {
        v->out = -1;
        v->code = int_buffer(p, node);
        return quantize_step(p, node, v->point, v->raw, v->code, e);
    }
    v->out = v->raw;
    if (!v->q)
        return STATUS_OK;
    struct shape s = *plan_shape(p, v->raw);
    v->out = plan_buffer(p, DTYPE_F32, &s, p->backend->layout);
    if (p->out_of_memory)
        return err_memory(e, "plan");
    p->buf[v->out].pinned = p->opts.keep_values;
    return quant_out_forward(p, node, e);
}

enum status int_codes_in(struct plan *p, int node, int i, int *buffer,
                         struct err *e)
{
    struct value *v = &p->value[node];
    int source = p->graph->node[node].in[i];
    struct value *from = &p->value[source];
    *buffer = from->code;
    if (i > 0 || !v->q_in)
        return STATUS_OK;
    if (v->view_code < 0) {
        TRY(quant_ready(p, v->q_in, v->point_in, e));
        v->view_code = int_buffer(p, source);
        const struct int_map m = {NULL, from->grid, v->q_in, -INFINITY,
                                  INFINITY};
        if (from->grid)
            TRY(int_map_step(p, node, &m, from->code, v->view_code, e));
        else
            TRY(quantize_step(p, node, v->point_in, from->out, v->view_code,
                              e));
    }
    *buffer = v->view_code;
    return STATUS_OK;
}

/* ---- the end of a plan ---- */

/* Scales and zero points may change while a plan lives: learned ones in
 * training. A zero point between codes has no integers. */
static enum status check_grid(const struct plan *p, const struct quantizer *q,
                              int point, struct err *e)
{
    double zero = (double)q->zero_point[0];
    if (zero == rint(zero) && fabs(zero) <= INT_ZERO_MAX)
        return STATUS_OK;
    return err_set(e, STATUS_STATE, "%s: the zero point became %g, wanted a "
                   "whole number", point_name(p, point), zero);
}

static enum status check_run(struct plan *p, struct step *s, struct err *e)
{
    (void)s;
    for (int i = 0; i < p->graph->n_node; i++) {
        const struct value *v = &p->value[i];
        if (v->q && v->grid == v->q)
            TRY(check_grid(p, v->q, v->point, e));
        if (v->view_code >= 0)
            TRY(check_grid(p, v->q_in, v->point_in, e));
    }
    return STATUS_OK;
}

static const struct step_kind check_kind = {
    .name = "check grids",
    .phase = PHASE_FORWARD,
    .run = check_run,
};

enum status int_finish_plan(struct plan *p, struct err *e)
{
    int out = p->graph->output;
    if (!plan_step(p, &check_kind, out, 0))
        return err_memory(e, "plan");
    return int_numbers(p, out, e);
}

/* ---- reading values ---- */

enum status int_value(const struct plan *p, const struct unit *u, int node,
                      float *out, struct err *e)
{
    const struct value *v = &p->value[node];
    const struct node *n = &p->graph->node[node];
    if (v->code < 0)
        return err_set(e, STATUS_STATE, "%s: integer evaluation goes from "
                       "its sums to the codes of %s; it has no value of its "
                       "own", n->name,
                       p->graph->node[u->node[u->n - 1]].name);
    struct int_grid g = grid_of(v->grid);
    struct shape s = node_shape(n, p->opts.batch);
    int64_t step[SHAPE_MAX], count = shape_count(&s);
    const uint8_t *x = plan_data(p, v->code);
    int_steps(&s, p->buf[v->code].layout, step);
    for (int64_t i = 0; i < count; i++)
        grid_dequantize(&g, x + int_place(&s, step, i), out + i, 1);
    return STATUS_OK;
}

bool plan_on_codes(const struct plan *p, int node)
{
    const struct value *v = &p->value[node];
    bool source = p->graph->node[node].op->flags & OP_SOURCE;
    return p->opts.mode == MODE_INT && (!source || v->code >= 0) &&
           p->unit[v->unit]->maker != &int_maker_island;
}

enum status plan_codes(const struct plan *p, int node, int32_t *out,
                       struct err *e)
{
    if (node < 0 || node >= p->graph->n_node)
        return err_set(e, STATUS_ARG, "node %d, wanted 0 to %d", node,
                       p->graph->n_node - 1);
    const struct value *v = &p->value[node];
    if (v->code < 0)
        return err_set(e, STATUS_STATE, "%s: has no codes here: %s",
                       p->graph->node[node].name,
                       p->opts.mode == MODE_INT
                           ? "it is numbers, or inside a fused layer"
                           : "the mode is not int");
    if (!p->buf[v->code].pinned)
        return err_set(e, STATUS_STATE, "this plan does not keep its values");
    struct shape s = node_shape(&p->graph->node[node], p->opts.batch);
    const uint8_t *x = plan_data(p, v->code);
    int32_t lo = grid_of(v->grid).lo;
    int64_t step[SHAPE_MAX], count = shape_count(&s);
    int_steps(&s, p->buf[v->code].layout, step);
    for (int64_t i = 0; i < count; i++)
        out[i] = x[int_place(&s, step, i)] + lo;
    return STATUS_OK;
}

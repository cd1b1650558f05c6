/* Two values into one on codes, by the target's rules: add, sub, mul with a
 * clamp that follows; concat, each input brought to the output's grid.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/int_impl.h"

#include <math.h>
#include <string.h>

#define PIECE 1024

/* ---- add, sub, mul ---- */

struct merge_step {
    merge_fn run;
    const struct target_row *target;
    struct quantizer *a, *b, *y;
    float lo, hi;
    bool swap;
    int in[2], out;
    /* Axes as they lie in memory, the last one innermost; a step of 0 repeats
     * an input. */
    struct shape dims;
    int64_t step[2][SHAPE_MAX];
};

/* Where the merge's rule stands in the target's row. */
static const struct {
    const struct op *op;
    size_t rule;
} merge_table[] = {
    {&op_add, offsetof(struct target_row, add)},
    {&op_sub, offsetof(struct target_row, sub)},
    {&op_mul, offsetof(struct target_row, mul)},
};

static merge_fn merge_find(const struct target_row *t, const struct op *op)
{
    int n = (int)(sizeof(merge_table) / sizeof(merge_table[0]));
    merge_fn fn = NULL;
    for (int i = 0; i < n; i++)
        if (merge_table[i].op == op)
            memcpy(&fn, (const char *)t + merge_table[i].rule, sizeof(fn));
    return fn;
}

/* n codes that may be one code repeated. */
static const uint8_t *spread(const uint8_t *x, int64_t step, int64_t at,
                             int64_t n, uint8_t *room)
{
    if (step)
        return x + at;
    memset(room, *x, (size_t)n);
    return room;
}

static void merge_run_line(const struct merge_step *c,
                           const struct merge_rule *r, const uint8_t *a,
                           const uint8_t *b, uint8_t *y)
{
    int last = c->dims.rank - 1;
    int64_t n = c->dims.dim[last];
    for (int64_t at = 0; at < n; at += PIECE) {
        uint8_t room[2][PIECE];
        int64_t m = n - at < PIECE ? n - at : PIECE;
        c->run(r, spread(a, c->step[0][last], at, m, room[0]),
               spread(b, c->step[1][last], at, m, room[1]), y + at, m);
    }
}

static enum status merge_run(struct plan *p, struct step *s, struct err *e)
{
    (void)e;
    const struct merge_step *c = s->priv;
    struct merge_rule r = {
        .target = c->target, .a = grid_of(c->a), .b = grid_of(c->b),
        .y = grid_of(c->y), .swap = c->swap,
    };
    int32_t limit[2];
    int_clamp_codes(c->target, &r.y, c->lo, c->hi, limit);
    r.lo = limit[0];
    r.hi = limit[1];
    const uint8_t *a = plan_data(p, c->in[0]), *b = plan_data(p, c->in[1]);
    uint8_t *y = plan_data(p, c->out);
    int last = c->dims.rank - 1;
    int64_t n = c->dims.dim[last], lines = shape_count(&c->dims) / n;
#pragma omp parallel for schedule(static) if (lines * n > 16384)
    for (int64_t i = 0; i < lines; i++) {
        int64_t at[2] = {0, 0}, rest = i;
        for (int k = last - 1; k >= 0; k--) {
            at[0] += rest % c->dims.dim[k] * c->step[0][k];
            at[1] += rest % c->dims.dim[k] * c->step[1][k];
            rest /= c->dims.dim[k];
        }
        merge_run_line(c, &r, a + at[0], b + at[1], y + i * n);
    }
    return STATUS_OK;
}

static const struct step_kind merge_kind = {
    .name = "merge codes",
    .phase = PHASE_FORWARD,
    .run = merge_run,
};

/* A shape's axes in the order of memory. */
static struct shape as_it_lies(const struct buffer *b)
{
    const int64_t *d = b->shape.dim;
    if (b->shape.rank == 4 && b->layout == LAYOUT_NHWC)
        return shape_4(d[0], d[2], d[3], d[1]);
    return b->shape;
}

/* Equal shapes are one line per 4096 codes or so: rows of the last axes. */
static void find_steps(const struct plan *p, struct merge_step *c)
{
    c->dims = as_it_lies(&p->buf[c->out]);
    bool equal = true;
    for (int k = 0; k < 2; k++) {
        struct shape x = as_it_lies(&p->buf[c->in[k]]);
        equal &= shape_equal(&x, &c->dims);
        for (int i = 0; i < x.rank; i++)
            c->step[k][i] = x.dim[i] == 1 && c->dims.dim[i] != 1
                                ? 0
                                : shape_inner(&x, i);
    }
    if (!equal)
        return;
    int64_t count = shape_count(&c->dims);
    int64_t line = count % 4096 == 0 ? 4096 : shape_inner(&c->dims, 0);
    c->dims = shape_2(count / line, line);
    for (int k = 0; k < 2; k++) {
        c->step[k][0] = line;
        c->step[k][1] = 1;
    }
}

/* The last logical axis longer than 1 decides: a is repeated along it. */
static bool is_repeated(const struct shape *a, const struct shape *y)
{
    int i = y->rank - 1;
    while (i > 0 && y->dim[i] == 1)
        i--;
    return y->dim[i] > 1 && a->dim[i] == 1;
}

static bool merge_fits(struct plan *p, struct unit *u)
{
    int node = u->node[0];
    const struct node *n = &p->graph->node[node];
    float lo, hi;
    if (!merge_find(p->opts.target, n->op) || !int_input_grid(p, node, 0) ||
        !int_input_grid(p, node, 1))
        return false;
    int last = node, next = int_only_reader(p, node);
    if (next >= 0 && int_clamp_of(&p->graph->node[next], &lo, &hi))
        last = next;
    struct quantizer *q = p->value[last].q;
    if (!q || grid_class(p, q) != GRID_PLAIN)
        return false;
    if (last != node)
        u->node[u->n++] = last;
    int_settle_grid(p, last, NULL);
    return true;
}

static enum status merge_forward(struct plan *p, struct unit *u,
                                 struct err *e)
{
    int node = u->node[0], last = u->node[u->n - 1], in[2];
    struct value *v = &p->value[last];
    TRY(quant_ready(p, v->q, v->point, e));
    for (int i = 0; i < 2; i++)
        TRY(int_codes_in(p, node, i, &in[i], e));
    v->code = int_buffer(p, last);
    struct step *s = plan_step(p, &merge_kind, node,
                               sizeof(struct merge_step));
    if (!s)
        return err_memory(e, "plan");
    struct merge_step *c = s->priv;
    c->target = p->opts.target;
    c->run = merge_find(c->target, p->graph->node[node].op);
    c->a = int_input_grid(p, node, 0);
    c->b = int_input_grid(p, node, 1);
    c->y = v->grid;
    c->lo = -INFINITY;
    c->hi = INFINITY;
    if (last != node)
        int_clamp_of(&p->graph->node[last], &c->lo, &c->hi);
    c->out = v->code;
    for (int i = 0; i < 2; i++) {
        c->in[i] = in[i];
        step_touch(p, s, in[i]);
    }
    step_touch(p, s, c->out);
    const struct shape *y = plan_shape(p, c->out);
    c->swap = is_repeated(plan_shape(p, in[0]), y) &&
              !is_repeated(plan_shape(p, in[1]), y);
    find_steps(p, c);
    return STATUS_OK;
}

const struct maker int_maker_merge = {
    .name = "merge codes",
    .fits = merge_fits,
    .forward = merge_forward,
    .value = int_value,
};

/* ---- concat ---- */

static bool concat_fits(struct plan *p, struct unit *u)
{
    int node = u->node[0];
    const struct node *n = &p->graph->node[node];
    const struct value *v = &p->value[node];
    if (n->op != &op_concat)
        return false;
    struct quantizer *first = int_input_grid(p, node, 0);
    bool same = true;
    for (int i = 0; i < n->n_in; i++) {
        struct quantizer *q = int_input_grid(p, node, i);
        if (!q)
            return false;
        same &= q == first;
    }
    bool lands = v->q ? grid_class(p, v->q) == GRID_PLAIN : same;
    if (lands)
        int_settle_grid(p, node, first);
    return lands;
}

static enum status concat_forward(struct plan *p, struct unit *u,
                                  struct err *e)
{
    int node = u->node[0];
    const struct node *n = &p->graph->node[node];
    struct value *v = &p->value[node];
    int axis = (int)node_int(n, "axis");
    if (axis < 0)
        axis += n->shape.rank;
    if (v->q)
        TRY(quant_ready(p, v->q, v->point, e));
    v->code = int_buffer(p, node);
    int64_t at = 0;
    for (int i = 0; i < n->n_in; i++) {
        int in;
        struct quantizer *grid = int_input_grid(p, node, i);
        TRY(int_codes_in(p, node, i, &in, e));
        if (grid != v->grid) {
            const struct int_map m = {NULL, grid, v->grid, -INFINITY,
                                      INFINITY};
            int mapped = plan_buffer_like(p, in);
            TRY(int_map_step(p, node, &m, in, mapped, e));
            in = mapped;
        }
        struct byte_move_spec m = byte_relayout(p, in, v->code);
        int_steps(plan_shape(p, v->code), p->buf[v->code].layout,
                  m.move.to);
        m.offset = at * m.move.to[axis];
        at += m.move.dim[axis];
        TRY(byte_move_step(p, node, &m, e));
    }
    return STATUS_OK;
}

const struct maker int_maker_concat = {
    .name = "concat codes",
    .fits = concat_fits,
    .forward = concat_forward,
    .value = int_value,
};

/* Pooling on codes: the largest code of each window, and averages by the
 * target's rules.
 *
 * A value is planes of pixels of n codes each: (N,H,W,C) has N planes and
 * n = C, (N,C,H,W) has N*C planes and n = 1.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/int_impl.h"

#include <string.h>

#include "engine/sheet.h"
#include "nn/op_pool.h"

/* Sums of bytes stay below 2^31. */
#define WINDOW_MAX (1 << 23)

/* Bytes of a line that a thread keeps on its stack. */
#define LINE_BYTES 8192

struct pool_step {
    struct pool_geom geom;
    int64_t planes, n;
    struct pool_window *col;  /* of each output column */
    /* One output row from a plane. */
    void (*row)(const struct pool_step *s, const struct average_rule *rule,
                const uint8_t *x, uint8_t *y, int64_t i);
    average_fn average;
    struct quantizer *from, *to;
    int in, out;
};

static int64_t taps(const struct pool_window *w)
{
    return w->end <= w->first ? 0
                              : (w->end - w->first + w->step - 1) / w->step;
}

ENGINE_CLONES static void largest_of(const uint8_t *x, int64_t taps,
                                     int64_t step, uint8_t *y, int64_t n)
{
    memcpy(y, x, (size_t)n);
    for (int64_t t = 1; t < taps; t++) {
        x += step;
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            y[i] = y[i] > x[i] ? y[i] : x[i];
    }
}

/* The largest of two neighbouring pixels, `columns` times: what most nets
 * do, with too few channels for a loop over them to be vector code. */
static void largest_of_pairs(const uint8_t *x, uint8_t *y, int64_t n,
                             int64_t columns)
{
    for (int64_t j = 0; j < columns; j++, x += 2 * n, y += n)
        for (int64_t i = 0; i < n; i++)
            y[i] = x[i] > x[n + i] ? x[i] : x[n + i];
}

/* Down the rows first, as a whole line; then along it. */
static void max_in_line(const struct pool_step *s, const uint8_t *x,
                        uint8_t *y, const struct pool_window *row)
{
    const struct pool_geom *g = &s->geom;
    int64_t n = s->n, width = g->w * n;
    uint8_t line[LINE_BYTES];
    largest_of(x + row->first * width, taps(row), row->step * width, line,
               width);
    if (g->kw == 2 && g->sw == 2 && g->dw == 1 && g->pl == 0 &&
        2 * g->ow <= g->w) {
        largest_of_pairs(line, y, n, g->ow);
        return;
    }
    for (int64_t j = 0; j < g->ow; j++)
        largest_of(line + s->col[j].first * n, taps(&s->col[j]),
                   s->col[j].step * n, y + j * n, n);
}

static void max_row(const struct pool_step *s,
                    const struct average_rule *rule, const uint8_t *x,
                    uint8_t *y, int64_t i)
{
    (void)rule;
    const struct pool_geom *g = &s->geom;
    int64_t n = s->n, width = g->w * n;
    struct pool_window row = pool_window_row(g, i);
    if (width <= LINE_BYTES) {
        max_in_line(s, x, y, &row);
        return;
    }
    uint8_t part[LINE_BYTES];
    for (int64_t j = 0; j < g->ow; j++)
        for (int64_t k = 0; k < n; k += LINE_BYTES) {
            const struct pool_window *col = &s->col[j];
            int64_t m = n - k < LINE_BYTES ? n - k : LINE_BYTES;
            uint8_t *to = y + j * n + k;
            const uint8_t *from =
                x + (row.first * g->w + col->first) * n + k;
            largest_of(from, taps(&row), row.step * width, to, m);
            for (int64_t t = 1; t < taps(col); t++) {
                largest_of(from + t * col->step * n, taps(&row),
                           row.step * width, part, m);
                for (int64_t q = 0; q < m; q++)
                    to[q] = to[q] > part[q] ? to[q] : part[q];
            }
        }
}

static void average_row(const struct pool_step *s,
                        const struct average_rule *rule, const uint8_t *x,
                        uint8_t *y, int64_t i)
{
    const struct pool_geom *g = &s->geom;
    struct pool_window row = pool_window_row(g, i);
    for (int64_t j = 0; j < g->ow; j++, y += s->n) {
        const struct pool_window *col = &s->col[j];
        struct tap_window w = {
            .x = x + (row.first * g->w + col->first) * s->n,
            .rows = taps(&row),
            .cols = taps(col),
            .row_step = row.step * g->w * s->n,
            .col_step = col->step * s->n,
        };
        w.divisor = g->count_pads ? row.padded * col->padded
                                  : w.rows * w.cols;
        s->average(rule, &w, y, s->n);
    }
}

static enum status pool_run(struct plan *p, struct step *s, struct err *e)
{
    (void)e;
    const struct pool_step *c = s->priv;
    const struct pool_geom *g = &c->geom;
    const struct average_rule rule = {grid_of(c->from), grid_of(c->to)};
    const uint8_t *x = plan_data(p, c->in);
    uint8_t *y = plan_data(p, c->out);
    int64_t rows = c->planes * g->oh;
#pragma omp parallel for schedule(static) \
    if (rows * g->ow * c->n * g->kh * g->kw > 16384)
    for (int64_t r = 0; r < rows; r++)
        c->row(c, &rule, x + r / g->oh * g->h * g->w * c->n,
               y + r * g->ow * c->n, r % g->oh);
    return STATUS_OK;
}

static const struct step_kind max_kind = {
    .name = "max_pool codes",
    .phase = PHASE_FORWARD,
    .run = pool_run,
};

static const struct step_kind average_kind = {
    .name = "average codes",
    .phase = PHASE_FORWARD,
    .run = pool_run,
};

/* One window: the whole plane. */
static struct pool_geom whole_geom(const struct shape *in)
{
    int64_t w = in->dim[in->rank - 1];
    int64_t h = shape_inner(in, 1) / w;
    return (struct pool_geom){
        .n = in->dim[0], .c = in->dim[1], .h = h, .w = w, .oh = 1, .ow = 1,
        .kh = h, .kw = w, .sh = 1, .sw = 1, .dh = 1, .dw = 1,
    };
}

static struct pool_geom window_geom(const struct plan *p, int node,
                                    const struct shape *in)
{
    const struct node *n = &p->graph->node[node];
    return n->op == &op_global_avg_pool ? whole_geom(in)
                                        : pool_geom_of(n, in);
}

static bool is_pool(const struct op *op)
{
    return op == &op_max_pool || op == &op_avg_pool ||
           op == &op_global_avg_pool;
}

static bool pool_fits(struct plan *p, struct unit *u)
{
    int node = u->node[0];
    const struct node *n = &p->graph->node[node];
    const struct value *v = &p->value[node];
    struct quantizer *grid = int_input_grid(p, node, 0);
    if (!is_pool(n->op) || !grid)
        return false;
    bool averages = n->op != &op_max_pool;
    bool lands = v->q ? grid_class(p, v->q) == GRID_PLAIN
                      : p->opts.target->average_keeps_grid;
    if (averages && !lands)
        return false;
    struct shape in = node_shape(&p->graph->node[n->in[0]], p->opts.batch);
    struct pool_geom g = window_geom(p, node, &in);
    if (g.kh * g.kw > WINDOW_MAX)
        return false;
    int_settle_grid(p, node, grid);
    return true;
}

static enum status pool_forward(struct plan *p, struct unit *u,
                                struct err *e)
{
    int node = u->node[0], in;
    const struct op *op = p->graph->node[node].op;
    struct value *v = &p->value[node];
    struct quantizer *grid = int_input_grid(p, node, 0);
    bool averages = op != &op_max_pool;
    if (v->q && averages)
        TRY(quant_ready(p, v->q, v->point, e));
    TRY(int_codes_in(p, node, 0, &in, e));
    int out = int_buffer(p, node);
    struct step *s = plan_step(p, averages ? &average_kind : &max_kind, node,
                               sizeof(struct pool_step));
    if (!s)
        return err_memory(e, "plan");
    struct pool_step *c = s->priv;
    const struct target_row *t = p->opts.target;
    const struct buffer *b = &p->buf[in];
    c->geom = window_geom(p, node, &b->shape);
    bool last = b->shape.rank == 4 && b->layout == LAYOUT_NHWC;
    c->n = last ? c->geom.c : 1;
    c->planes = c->geom.n * c->geom.c / c->n;
    c->row = averages ? average_row : max_row;
    c->col = arena_alloc(p->arena, (size_t)c->geom.ow * sizeof(*c->col));
    if (!c->col)
        return err_memory(e, "plan");
    for (int64_t j = 0; j < c->geom.ow; j++)
        c->col[j] = pool_window_col(&c->geom, j);
    c->average = op == &op_avg_pool ? t->pool : t->mean;
    c->from = grid;
    c->to = averages && v->q ? v->q : grid;
    c->in = in;
    c->out = out;
    step_touch(p, s, in);
    step_touch(p, s, out);
    if (!averages)
        return int_finish_codes(p, node, out, grid, e);
    v->code = out;
    return STATUS_OK;
}

const struct maker int_maker_pool = {
    .name = "pool codes",
    .fits = pool_fits,
    .forward = pool_forward,
    .value = int_value,
};

/* Codes beside the numbers of mode fake: which values and weights have them,
 * and the step that finds them from numbers on a grid. Passes that round
 * write them on their way instead (fast_tail.c).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/fast_codes.h"

#include <math.h>

#include "engine/fast_tail.h"
#include "quant/uniform.h"

#define SPAN 255
#define FAR 511               /* from the lowest code, a zero point at most */
#define PIECE 4096

/* ---- which quantizers ---- */

static bool is_code(const struct quantizer *q, real z)
{
    return z == real_rint(z) && z >= (real)(q->lo_code - FAR) &&
           z <= (real)(q->hi_code + FAR);
}

/* Whether any range leads to a whole zero point near the codes: the rule is
 * asked with some. */
static bool rule_gives_codes(const struct quantizer *q)
{
    static const real ends[][2] = {
        {REAL(-1.0), REAL(1.0)}, {REAL(-7001.0), REAL(3.0)},
        {REAL(-0.37), REAL(901.7)}, {REAL(1000.3), REAL(3000.0)},
    };
    const struct qspec *s = &q->spec;
    if (!s->rule || s->rule->real_zero)
        return false;
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        real scale, zero;
        s->rule->compute(s, ends[i][0], ends[i][1], &scale, &zero);
        if (!is_code(q, zero))
            return false;
    }
    return true;
}

/* Values are scale * (code - zero), always. */
static bool is_even(const struct plan *p, const struct quantizer *q)
{
    const struct qspec *s = &q->spec;
    if (!quant_fakes(p, q) || s->kind->forward != uniform_forward ||
        !(s->kind->flags & QK_UNIFORM) || s->float_zp || s->delay != 0 ||
        s->noise != 1 || q->noise_factor != 1 ||
        q->hi_code - q->lo_code > SPAN || !rule_gives_codes(q))
        return false;
    for (int64_t c = 0; c < q->channels; c++)
        if (!is_code(q, q->zero_point[c]))
            return false;
    return true;
}

static struct quantizer *value_grid(const struct plan *p, struct quantizer *q)
{
    bool fits = q->channels == 1 && q->spec.grain == GRAIN_TENSOR &&
                is_even(p, q);
    return fits ? q : NULL;
}

bool codes_weight_fits(const struct plan *p, int node)
{
    const struct graph *g = p->graph;
    int point = g->node[node].point[POINT_WEIGHT];
    const struct quantizer *q = point < 0 ? NULL : g->point[point].q;
    return q && q->spec.grain != GRAIN_GROUP && is_even(p, q);
}

/* ---- which values ---- */

/* Operators whose numbers are some of their input's, or 0. */
static const struct op *const grid_keepers[] = {
    &op_max_pool, &op_flatten, &op_reshape, &op_identity, &op_transpose,
    &op_relu,
};

static bool keeps_grid(const struct node *n)
{
    for (size_t i = 0; i < sizeof(grid_keepers) / sizeof(grid_keepers[0]); i++)
        if (n->op == grid_keepers[i])
            return true;
    return false;
}

struct quantizer *codes_grid(const struct plan *p, int node)
{
    int at = node;
    if (p->opts.mode != MODE_FAKE)
        return NULL;
    for (;;) {
        if (p->value[at].q_in)
            return value_grid(p, p->value[at].q_in);
        at = p->graph->node[at].in[0];
        if (p->value[at].q)
            return value_grid(p, p->value[at].q);
        if (!keeps_grid(&p->graph->node[at]))
            return NULL;
    }
}

static const char *name_of(const struct plan *p, const struct quantizer *q)
{
    const struct graph *g = p->graph;
    for (int i = 0; i < g->n_point; i++)
        if (g->point[i].q == q)
            return g->point[i].name;
    return "a quantizer";
}

enum status codes_grid_now(const struct plan *p, const struct quantizer *q,
                           int64_t channel, struct code_grid *g,
                           struct err *e)
{
    real z = q->zero_point[channel];
    if (!is_code(q, z))
        return err_set(e, STATUS_STATE, "%s: the zero point became %g, wanted "
                       "a code", name_of(p, q), (double)z);
    *g = (struct code_grid){
        .scale = (float)q->scale[channel],
        .lo = (int32_t)q->lo_code,
        .zero = (int32_t)z,
    };
    return STATUS_OK;
}

/* ---- from numbers to codes ---- */

struct code_step {
    const struct quantizer *q;
    int in, out;
    int64_t count;
};

/* x lies on the grid: x / scale is within rounding of code - zero. */
ENGINE_CLONES static void k_codes(const float *x, float scale, int32_t shift,
                                  uint8_t *y, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = (uint8_t)((int32_t)rintf(x[i] / scale) + shift);
}

static enum status codes_run(struct plan *p, struct step *s, struct err *e)
{
    const struct code_step *c = s->priv;
    struct code_grid g;
    TRY(codes_grid_now(p, c->q, 0, &g, e));
    const float *x = plan_floats(p, c->in);
    uint8_t *y = plan_data(p, c->out);
    int64_t count = c->count;
#pragma omp parallel for schedule(static) if (count > SHEET_PARALLEL)
    for (int64_t at = 0; at < count; at += PIECE)
        k_codes(x + at, g.scale, g.zero - g.lo, y + at,
                count - at < PIECE ? count - at : PIECE);
    return STATUS_OK;
}

static const struct step_kind codes_kind = {
    .name = "codes",
    .phase = PHASE_FORWARD,
    .run = codes_run,
};

static int code_buffer(struct plan *p, int numbers)
{
    int b = plan_buffer(p, DTYPE_U8, plan_shape(p, numbers),
                        p->buf[numbers].layout);
    plan_keep(p, b);
    return b;
}

static enum status make_codes(struct plan *p, int node,
                              const struct quantizer *q, int numbers,
                              int *out, struct err *e)
{
    int b = code_buffer(p, numbers);
    struct step *s = plan_step(p, &codes_kind, node,
                               sizeof(struct code_step));
    if (!s)
        return err_memory(e, "plan");
    *(struct code_step *)s->priv = (struct code_step){
        .q = q,
        .in = numbers,
        .out = b,
        .count = shape_count(plan_shape(p, numbers)),
    };
    step_touch(p, s, numbers);
    step_touch(p, s, b);
    *out = b;
    return STATUS_OK;
}

/* The value has the bytes of its input. */
static bool is_alias(const struct plan *p, int node)
{
    int in = p->graph->node[node].in[0];
    int a = p->value[node].out, b = p->value[in].out;
    return !p->value[node].q && p->value[node].view < 0 && a >= 0 && b >= 0 &&
           p->buf[a].root == p->buf[b].root;
}

static enum status value_codes(struct plan *p, int node,
                               struct quantizer *grid, struct err *e)
{
    struct value *v = &p->value[node];
    if (v->code >= 0)
        return STATUS_OK;
    if (keeps_grid(&p->graph->node[node]) && is_alias(p, node)) {
        int in = p->graph->node[node].in[0];
        TRY(value_codes(p, in, grid, e));
        v->code = plan_alias(p, p->value[in].code, plan_shape(p, v->out));
    } else if (v->q && v->tail && v->tail->q) {
        v->code = code_buffer(p, v->out);
        tail_give_codes(p, v->tail, v->code);
    } else {
        TRY(make_codes(p, node, grid, v->out, &v->code, e));
    }
    v->grid = grid;
    return p->out_of_memory ? err_memory(e, "plan") : STATUS_OK;
}

enum status codes_in(struct plan *p, int node, int *buffer, struct err *e)
{
    struct value *v = &p->value[node];
    struct quantizer *grid = codes_grid(p, node);
    int source = p->graph->node[node].in[0];
    if (v->q_in) {
        if (v->view_code < 0)
            TRY(make_codes(p, node, grid, v->view, &v->view_code, e));
        *buffer = v->view_code;
        return STATUS_OK;
    }
    TRY(value_codes(p, source, grid, e));
    *buffer = p->value[source].code;
    return STATUS_OK;
}

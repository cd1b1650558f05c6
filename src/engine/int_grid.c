/* Which quantizers put values on bytes, and which grid a value lies on.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/int_impl.h"

#include <math.h>

#include "quant/uniform.h"

#define PROBES 64

static bool is_whole(real v)
{
    return v == real_rint(v) && v >= -INT_ZERO_MAX && v <= INT_ZERO_MAX;
}

real grid_zero(real z)
{
    z = z > -INT_ZERO_MAX ? z : -INT_ZERO_MAX;
    return z < INT_ZERO_MAX ? z : INT_ZERO_MAX;
}

struct int_grid grid_of(const struct quantizer *q)
{
    struct affine a = {.scale = 1};
    quantizer_get_affine(q, 0, &a);
    return (struct int_grid){
        .scale = (float)a.scale,
        .zero = (int32_t)grid_zero(a.zero_point),
        .lo = (int32_t)a.lo,
        .hi = (int32_t)a.hi,
    };
}

/* Rounding that differs from the nearest code in ties at most. */
static bool rounds_to_nearest(enum rounding r)
{
    static const bool nearest[ROUND_COUNT] = {
        [ROUND_HALF_EVEN] = true,
        [ROUND_HALF_AWAY] = true,
        [ROUND_HALF_UP] = true,
        [ROUND_STOCHASTIC] = true,     /* in evaluation: half to even */
    };
    return nearest[r];
}

/* Numbers beside the codes, up to nearly half way to the next one, from three
 * codes below to three above. */
static void make_probes(const struct quantizer *q, real *x, int32_t *code)
{
    static const double beside[4] = {0.48, -0.48, 0.2, -0.2};
    double span = (double)(q->hi_code - q->lo_code) + 6;
    for (int i = 0; i < PROBES; i++) {
        double k = (double)q->lo_code - 3 + floor(span * i / (PROBES - 1));
        double v = k + beside[i % 4];
        double c = k;
        if (c < (double)q->lo_code)
            c = (double)q->lo_code;
        if (c > (double)q->hi_code)
            c = (double)q->hi_code;
        x[i] = (real)((v - (double)q->zero_point[0]) * (double)q->scale[0]);
        code[i] = (int32_t)c;
    }
}

/* Kinds with arithmetic of their own: whether their codes are the nearest
 * ones of a scale that does not follow the data. */
static bool probes_as_nearest(struct quantizer *q)
{
    real x[PROBES], y[PROBES];
    int32_t want[PROBES], code[PROBES];
    struct qview view = {1, 1, PROBES};
    bool same = true;
    for (int round = 0; round < 2 && same; round++) {
        real scale = q->scale[0];
        make_probes(q, x, want);
        q->spec.kind->forward(q, x, y, view, false);
        if (q->scale[0] != scale && round == 0)
            continue;         /* it was not computed before */
        same = q->scale[0] == scale;
        q->spec.kind->codes(q, x, code, view);
        for (int i = 0; i < PROBES; i++)
            same &= code[i] == want[i];
    }
    return same;
}

static bool is_applied(const struct plan *p, const struct quantizer *q)
{
    return q && quant_fakes(p, q) && q->noise_factor == 1 &&
           (q->spec.delay == 0 || q->steps > q->spec.delay);
}

enum grid_class grid_class(const struct plan *p, struct quantizer *q)
{
    if (!is_applied(p, q) || !(q->spec.kind->flags & QK_UNIFORM) ||
        !q->spec.kind->codes || q->channels != 1 ||
        q->spec.grain != GRAIN_TENSOR || q->spec.float_zp ||
        q->hi_code - q->lo_code > 255 || !is_whole(q->zero_point[0]))
        return GRID_NONE;
    if (q->spec.kind->forward == uniform_forward)
        return rounds_to_nearest(q->spec.rounding) ? GRID_PLAIN : GRID_CODED;
    if (q->spec.kind->flags & QK_OWN_SCALE)
        return probes_as_nearest(q) ? GRID_PLAIN : GRID_NONE;
    return q->ready && !probes_as_nearest(q) ? GRID_CODED : GRID_PLAIN;
}

/* ---- weights ---- */

/* Codes of at most nine bits and whole zero points. */
static bool codes_fit(const struct quantizer *q)
{
    for (int64_t c = 0; c < q->channels; c++) {
        if (!is_whole(q->zero_point[c]))
            return false;
        int64_t z = (int64_t)q->zero_point[c];
        if (q->hi_code - z > 511 || z - q->lo_code > 511)
            return false;
    }
    return true;
}

bool int_weights_fit(struct plan *p, int node)
{
    const struct graph *g = p->graph;
    int point = g->node[node].point[POINT_WEIGHT];
    struct quantizer *q = point < 0 ? NULL : g->point[point].q;
    if (!is_applied(p, q) || !(q->spec.kind->flags & QK_UNIFORM) ||
        !q->spec.kind->codes || q->spec.grain == GRAIN_GROUP ||
        q->spec.float_zp)
        return false;
    return q->hi_code - q->lo_code <= 511 && (!q->ready || codes_fit(q));
}

/* ---- the grids of values ---- */

struct quantizer *int_input_grid(const struct plan *p, int node, int i)
{
    const struct value *v = &p->value[node];
    if (i == 0 && v->q_in)
        return grid_class(p, v->q_in) ? v->q_in : NULL;
    return p->value[p->graph->node[node].in[i]].grid;
}

void int_settle_grid(struct plan *p, int node, struct quantizer *grid)
{
    struct value *v = &p->value[node];
    v->grid = grid;
    if (v->q)
        v->grid = grid_class(p, v->q) ? v->q : NULL;
}

int int_only_reader(const struct plan *p, int node)
{
    int reader = -1;
    if (p->value[node].q || node == p->graph->output ||
        graph_readers(p->graph, node, &reader) != 1)
        return -1;
    bool takes = p->graph->node[reader].n_in == 1 && !p->value[reader].q_in;
    return takes ? reader : -1;
}

/* ---- clamps ---- */

static const struct {
    const struct op *op;
    float lo, hi;
} clamp_table[] = {
    {&op_relu, 0.0f, INFINITY},
    {&op_relu6, 0.0f, 6.0f},
    {&op_clip, -INFINITY, INFINITY},
};

bool int_clamp_of(const struct node *n, float *lo, float *hi)
{
    int count = (int)(sizeof(clamp_table) / sizeof(clamp_table[0]));
    int i = 0;
    while (i < count && clamp_table[i].op != n->op)
        i++;
    if (i == count)
        return false;
    *lo = clamp_table[i].lo;
    *hi = clamp_table[i].hi;
    if (op_attr_index(n->op, "lo") >= 0) {
        *lo = (float)node_attr(n, "lo");
        *hi = (float)node_attr(n, "hi");
    }
    return true;
}

void int_clamp_codes(const struct target_row *t, const struct int_grid *g,
                     float lo, float hi, int32_t out[2])
{
    out[0] = lo > -INFINITY ? target_quantize(t, g, lo) : g->lo;
    out[1] = hi < INFINITY ? target_quantize(t, g, hi) : g->hi;
}

/* What a layer of mode int multiplies by and adds: weight codes, batch norm
 * folded by its running statistics as the fake forward sees it (steps_weight.c:
 * Q(w * f), f = gamma / sqrt(var + eps), bias (b - mean) * f + beta), the
 * target's numbers per channel, and how large sums can become.
 *
 * It is made anew when one of the arrays that it is made from has changed.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/int_impl.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/uniform.h"

/* ---- what it is made from ---- */

#define PARTS 18

struct part {
    const float *at;
    int64_t n;
};

static int quantizer_parts(const struct quantizer *q, struct part *to)
{
    if (!q)
        return 0;
    to[0] = (struct part){q->scale, q->channels};
    to[1] = (struct part){q->zero_point, q->channels};
    to[2] = (struct part){q->learned, q->n_learned};
    return 3;
}

static int param_part(const struct param *w, struct part *to)
{
    if (!w)
        return 0;
    *to = (struct part){w->value, w->count};
    return 1;
}

static const struct param *bn_param(const struct plan *p,
                                    const struct int_layer *l, bool state,
                                    int row)
{
    const struct node *n = &p->graph->node[l->bn];
    return &p->graph->param[state ? n->state[row] : n->param[row]];
}

static int find_parts(const struct plan *p, const struct int_layer *l,
                      struct part *to)
{
    int n = param_part(l->weight, to);
    n += param_part(l->bias, to + n);
    for (int i = 0; i < 4 && l->bn >= 0; i++)
        n += param_part(bn_param(p, l, i >= 2, i % 2), to + n);
    n += quantizer_parts(l->qw, to + n);
    n += quantizer_parts(l->qb, to + n);
    n += quantizer_parts(l->qx, to + n);
    n += quantizer_parts(l->qy, to + n);
    assert(n <= PARTS);
    return n;
}

/* Compares with what was seen, and keeps it. */
static bool has_changed(const struct plan *p, struct int_layer *l)
{
    struct part part[PARTS];
    int n = find_parts(p, l, part);
    bool changed = !l->ready;
    float *seen = l->seen;
    for (int i = 0; i < n; i++) {
        size_t bytes = (size_t)part[i].n * sizeof(float);
        if (bytes && memcmp(seen, part[i].at, bytes) != 0) {
            memcpy(seen, part[i].at, bytes);
            changed = true;
        }
        seen += part[i].n;
    }
    return changed;
}

/* ---- codes ---- */

/* The weight that the quantizer sees; f per output channel, or NULL. */
static const float *folded(const struct plan *p, const struct int_layer *l,
                           float *f)
{
    if (l->bn < 0)
        return l->weight->value;
    const float *var = bn_param(p, l, true, 1)->value;
    const float *gamma = bn_param(p, l, false, 0)->value;
    float eps = (float)node_attr(&p->graph->node[l->bn], "eps");
    int64_t inner = int_layer_inner(l);
    for (int64_t o = 0; o < l->geom.co; o++) {
        f[o] = gamma[o] / sqrtf(var[o] + eps);
        for (int64_t i = o * inner; i < (o + 1) * inner; i++)
            l->real[i] = l->weight->value[i] * f[o];
    }
    return l->real;
}

/* The scale may be found by the forward pass itself, and a weight without a
 * range gets one there. */
static enum status find_scale(const struct plan *p, struct int_layer *l,
                              const float *x, struct err *e)
{
    bool own = l->qw->spec.kind->flags & QK_OWN_SCALE;
    if (own || !l->qw->ready)
        quantizer_forward(l->qw, x, l->quantized, l->view, false);
    if (own || l->qw->ready)
        return STATUS_OK;
    return err_set(e, STATUS_NUMERIC, "%s: no range can be found",
                   point_name(p, l->point_w));
}

static int64_t channel_of(const struct quantizer *q, int64_t o)
{
    return q->channels == 1 ? 0 : o;
}

static enum status find_codes(const struct plan *p, struct int_layer *l,
                              const float *x, struct err *e)
{
    TRY(find_scale(p, l, x, e));
    l->qw->spec.kind->codes(l->qw, x, l->code, l->view);
    int64_t inner = int_layer_inner(l);
    for (int64_t o = 0; o < l->geom.co; o++) {
        int64_t c = channel_of(l->qw, o);
        float z = l->qw->zero_point[c];
        int32_t zero = (int32_t)grid_zero(z);
        if (z != (float)zero)
            return err_set(e, STATUS_STATE, "%s: the zero point became %g, "
                           "wanted a whole number",
                           point_name(p, l->point_w), (double)z);
        for (int64_t i = o * inner; i < (o + 1) * inner; i++) {
            int32_t w = l->code[i] - zero;
            if (w < -511 || w > 511)
                return err_set(e, STATUS_STATE, "%s: code %d is %d from the "
                               "zero point, wanted at most 511",
                               point_name(p, l->point_w), l->code[i], w);
            l->w[i] = (int16_t)w;
        }
    }
    return STATUS_OK;
}

/* ---- bias and scales ---- */

static void find_bias(const struct plan *p, struct int_layer *l,
                      const float *f)
{
    int64_t n = l->geom.co;
    for (int64_t o = 0; o < n; o++)
        l->b[o] = l->bias ? l->bias->value[o] : 0.0f;
    if (l->qb && l->how != FOLD_PRE)
        quantizer_forward(l->qb, l->b, l->b, l->view_b, false);
    if (l->bn >= 0) {
        const float *mean = bn_param(p, l, true, 0)->value;
        const float *beta = bn_param(p, l, false, 1)->value;
        for (int64_t o = 0; o < n; o++)
            l->b[o] = (l->b[o] - mean[o]) * f[o] + beta[o];
    }
    if (l->qb && l->how == FOLD_PRE)
        quantizer_forward(l->qb, l->b, l->b, l->view_b, false);
}

/* How far a channel's sum can be from 0. */
static int64_t reach_of(const struct int_layer *l, int64_t o)
{
    int64_t inner = int_layer_inner(l), sum = 0;
    for (int64_t i = o * inner; i < (o + 1) * inner; i++)
        sum += abs(l->w[i]);
    return sum;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static void find_bounds(struct int_layer *l)
{
    struct sum_bounds *b = &l->bounds;
    int64_t n = l->geom.co * int_layer_inner(l);
    *b = (struct sum_bounds){
        .input = larger(labs(l->gx.hi - l->gx.zero),
                        labs(l->gx.lo - l->gx.zero)),
        .stored = l->gx.hi - l->gx.lo,
    };
    for (int64_t i = 0; i < n; i++) {
        b->weight_lo = l->w[i] < b->weight_lo ? l->w[i] : b->weight_lo;
        b->weight_hi = l->w[i] > b->weight_hi ? l->w[i] : b->weight_hi;
    }
}

/* Sum and bias together fit 32 bits: a bias beyond that is cut off. */
static enum status find_channel(const struct plan *p, struct int_layer *l,
                                int64_t o, struct err *e)
{
    int64_t reach = reach_of(l, o), whole = 0;
    int64_t room = INT32_MAX - reach * l->bounds.input;
    if (room < 0)
        return err_set(e, STATUS_NUMERIC, "%s: sums of %lld products need "
                       "more than 32 bits", p->graph->node[l->node].name,
                       (long long)int_layer_inner(l));
    l->bounds.weights = larger(l->bounds.weights, reach);
    l->unit[o] = l->gx.scale * l->qw->scale[channel_of(l->qw, o)];
    if (!l->qy)
        return STATUS_OK;
    const struct bias_rule rule = {
        .b = l->b[o],
        .unit = l->unit[o],
        .per_channel = l->qw->spec.grain == GRAIN_CHANNEL,
    };
    l->target->bias(&rule, &whole, &l->rest[o]);
    whole = whole > room ? room : whole < -room ? -room : whole;
    l->whole[o] = (int32_t)whole;
    l->mul[o] = l->unit[o] / l->gy.scale;
    return STATUS_OK;
}

static enum status make(const struct plan *p, struct int_layer *l,
                        struct err *e)
{
    float *f = l->rest;       /* free until the channels are made */
    TRY(find_codes(p, l, folded(p, l, f), e));
    find_bias(p, l, f);
    l->gx = grid_of(l->qx);
    find_bounds(l);
    if (l->qy) {
        int32_t limit[2];
        l->gy = grid_of(l->qy);
        int_clamp_codes(l->target, &l->gy, l->lo, l->hi, limit);
        l->out_lo = limit[0];
        l->out_hi = limit[1];
    }
    for (int64_t o = 0; o < l->geom.co; o++)
        TRY(find_channel(p, l, o, e));
    return STATUS_OK;
}

enum status int_weights_update(struct plan *p, struct int_layer *l,
                               bool *changed, struct err *e)
{
    *changed = has_changed(p, l);
    if (!*changed)
        return STATUS_OK;
    l->ready = false;
    TRY(make(p, l, e));
    /* Making it may have given the weight its range. */
    has_changed(p, l);
    l->ready = true;
    return STATUS_OK;
}

static void *array(struct plan *p, int64_t n, size_t size)
{
    void *a = arena_alloc(p->arena, (size_t)n * size);
    if (!a)
        p->out_of_memory = true;
    return a;
}

enum status int_weights_init(struct plan *p, struct int_layer *l,
                             struct err *e)
{
    struct part part[PARTS];
    int64_t n = l->weight->count, co = l->geom.co, seen = 0;
    for (int i = find_parts(p, l, part) - 1; i >= 0; i--)
        seen += part[i].n;
    l->w = array(p, n, sizeof(*l->w));
    l->code = array(p, n, sizeof(*l->code));
    l->quantized = array(p, n, sizeof(float));
    l->real = l->bn >= 0 ? array(p, n, sizeof(float)) : NULL;
    l->seen = array(p, seen, sizeof(float));
    l->unit = array(p, co, sizeof(float));
    l->b = array(p, co, sizeof(float));
    l->whole = array(p, co, sizeof(*l->whole));
    l->rest = array(p, co, sizeof(float));
    l->mul = array(p, co, sizeof(float));
    if (p->out_of_memory)
        return err_memory(e, "plan");
    bool changed;
    return int_weights_update(p, l, &changed, e);
}

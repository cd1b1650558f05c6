/* The map between a product and the next layer: backward, and inner values.
 *
 * With dz the gradient of z, xhat = (x - mean) inverse / factor over M rows,
 * S1 = sum dz and S2 = sum dz xhat per channel:
 *   dbeta = S1, dgamma = S2,
 *   on batch statistics dx = a (dz - S1 / M - xhat S2 / M), else dx = a dz.
 * The factor of folded weights divides: y = x / factor + bias, so
 *   dfactor = -sum dy (y - bias) / factor. On batch statistics sum dy = 0 and
 *   sum xhat^2 = M var / (var + eps), which leaves
 *   dfactor = -gamma S2 eps inverse^2 / factor; else
 *   dfactor = -(gamma S2 + gamma inverse (mean - bias) S1) / factor.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "engine/fast_tail.h"

static float *bn_grad(const struct plan *p, const struct tail *t, int row)
{
    const struct node *n = &p->graph->node[t->bn];
    return p->graph->param[n->param[row]].grad;
}

static void set_factor_grad(const struct plan *p, const struct tail *t,
                            int64_t c, double s1, double s2)
{
    double factor = (double)tail_factor(p, t, c);
    double gamma = (double)tail_bn_param(p, t, 0)[c];
    double inverse = (double)tail_vec(p, t, VEC_INVERSE)[c];
    double bias = t->bias >= 0 ? (double)plan_floats(p, t->bias)[c] : 0.0;
    double mean = (double)tail_vec(p, t, VEC_Y_MEAN)[c] - bias;
    double eps = node_attr(&p->graph->node[t->bn], "eps");
    double d = tail_uses_batch(p, t)
                   ? gamma * s2 * eps * inverse * inverse
                   : gamma * s2 + gamma * inverse * mean * s1;
    plan_floats(p, t->w->dfactor)[c] = (float)(-d / factor);
}

/* From the sums of dz and dz (x - mean). */
static void finish_norm(const struct plan *p, const struct tail *t,
                        const double *sum, const double *product)
{
    bool batch = tail_uses_batch(p, t);
    double rows = (double)t->sheet.rows;
    float *shift = tail_wide(p, t, WIDE_SHIFT);
    float *slope = tail_wide(p, t, WIDE_SLOPE);
    float *dbias = plan_floats(p, t->bias_grad);
    for (int64_t c = 0; c < t->sheet.channels; c++) {
        double inverse = (double)tail_vec(p, t, VEC_INVERSE)[c];
        double unit = inverse / (double)tail_factor(p, t, c);
        double s1 = sum[c], s2 = product[c] * unit;
        bn_grad(p, t, 0)[c] += (float)s2;
        bn_grad(p, t, 1)[c] += (float)s1;
        shift[c] = (float)(s1 / rows);
        slope[c] = (float)(s2 * unit / rows);
        double gamma = (double)tail_bn_param(p, t, 0)[c];
        if (dbias)
            dbias[c] = batch ? 0.0f : (float)(gamma * inverse * s1);
        if (t->w)
            set_factor_grad(p, t, c, s1, s2);
    }
}

static void finish_bias(const struct plan *p, const struct tail *t,
                        const double *sum)
{
    float *dbias = plan_floats(p, t->bias_grad);
    float *dfactor = t->w ? plan_floats(p, t->w->dfactor) : NULL;
    for (int64_t c = 0; c < t->sheet.channels; c++) {
        dbias[c] = (float)sum[c];
        if (dfactor)
            dfactor[c] = 0.0f;
    }
}

static bool clamps(const struct tail *t)
{
    return t->lo > -INFINITY || t->hi < INFINITY;
}

static void fill_back(const struct plan *p, const struct tail *t,
                      struct sheet_back *b)
{
    memset(b, 0, sizeof(*b));
    tail_map(p, t, &b->map);
    b->map.mask = plan_data(p, t->mask);
    if (t->bn < 0 && t->mask < 0 && clamps(t))
        b->map.y = plan_floats(p, t->dst);
    for (int i = 0; i < t->n_part; i++)
        b->part[i] = plan_floats(p, t->part[i]);
    b->n_part = t->n_part;
    b->mean = t->bn >= 0 ? tail_wide(p, t, WIDE_MEAN) : NULL;
    /* A lone part that passes whole is the result already. */
    bool whole = t->bn < 0 && t->mask < 0 && !clamps(t) && t->n_part == 1;
    b->dx = whole ? NULL : plan_floats(p, t->dx);
}

/* Scratch: the table, then two sums per channel. */
static enum status back_run(struct plan *p, struct step *s, struct err *e)
{
    (void)e;
    const struct tail *t = *(struct tail *const *)s->priv;
    double *sum = (double *)(void *)((char *)plan_scratch_data(p) +
                                     sheet_table_bytes(&t->sheet));
    struct sheet_back b;
    fill_back(p, t, &b);
    b.scale = t->bn >= 0 && !tail_uses_batch(p, t);
    if (t->bn >= 0 || t->bias_grad >= 0) {
        b.sum = sum;
        b.product = sum + t->sheet.channels;
    }
    sheet_backward(&t->sheet, &b, plan_scratch_data(p));
    if (t->bn >= 0)
        finish_norm(p, t, b.sum, b.product);
    else if (t->bias_grad >= 0)
        finish_bias(p, t, b.sum);
    return STATUS_OK;
}

static void repeat_channels(const struct sheet *s, float *wide)
{
    for (int64_t r = 1; r < s->repeat; r++)
        memcpy(wide + r * s->channels, wide,
               (size_t)s->channels * sizeof(float));
}

static enum status norm_run(struct plan *p, struct step *s, struct err *e)
{
    (void)e;
    const struct tail *t = *(struct tail *const *)s->priv;
    repeat_channels(&t->sheet, tail_wide(p, t, WIDE_SHIFT));
    repeat_channels(&t->sheet, tail_wide(p, t, WIDE_SLOPE));
    const struct sheet_norm n = {
        .x = plan_floats(p, t->src),
        .a = tail_wide(p, t, WIDE_A),
        .mean = tail_wide(p, t, WIDE_MEAN),
        .shift = tail_wide(p, t, WIDE_SHIFT),
        .slope = tail_wide(p, t, WIDE_SLOPE),
        .dx = plan_floats(p, t->dx),
    };
    sheet_norm_backward(&t->sheet, &n);
    return STATUS_OK;
}

static const struct step_kind back_kind = {
    .name = "map bwd",
    .phase = PHASE_BACKWARD,
    .run = back_run,
};

static const struct step_kind norm_kind = {
    .name = "norm bwd",
    .phase = PHASE_BACKWARD,
    .run = norm_run,
};

/* The gradient of dst: the parts as they are, or one buffer. */
static void find_parts(struct plan *p, struct tail *t, bool *mine)
{
    int last = t->unit->node[t->unit->n - 1];
    struct value *v = &p->value[last];
    if ((v->q && !t->q) || p->opts.keep_values) {
        t->n_part = 1;
        t->part[0] = v->q && !t->q ? plan_raw_grad(p, last)
                                   : plan_grad(p, last);
        *mine = v->q && !t->q;
        return;
    }
    t->n_part = v->n_part;
    memcpy(t->part, v->part, sizeof(t->part));
    *mine = v->n_part == 1 && !v->shared[0];
}

enum status tail_backward(struct plan *p, struct tail *t, struct err *e)
{
    int last = t->unit->node[t->unit->n - 1];
    bool mine;
    if (!t->q)
        TRY(quant_out_backward(p, last, e));
    find_parts(p, t, &mine);
    bool changes = clamps(t) || t->mask >= 0 || t->bn >= 0;
    if (!changes && t->n_part == 1) {
        t->dx = t->part[0];
        if (t->bias_grad < 0)
            return STATUS_OK;
    } else if (mine && !p->opts.keep_values) {
        t->dx = t->part[0];
    } else {
        t->dx = plan_buffer_like(p, t->src);
        plan_keep(p, t->dx);
    }
    struct step *s = tail_step(p, &back_kind, t);
    if (!s)
        return err_memory(e, "plan");
    for (int i = 0; i < t->n_part; i++)
        step_touch(p, s, t->part[i]);
    step_touch(p, s, t->dx);
    step_touch(p, s, t->mask);
    if (t->bn < 0 && t->mask < 0 && clamps(t))
        step_touch(p, s, t->dst);
    step_touch(p, s, t->bias_grad);
    if (t->w)
        step_touch(p, s, t->w->dfactor);
    if (!tail_uses_batch(p, t))
        return STATUS_OK;
    s = tail_step(p, &norm_kind, t);
    if (!s)
        return err_memory(e, "plan");
    step_touch(p, s, t->dx);
    return STATUS_OK;
}

/* ---- inner values, for those who look ---- */

static int place_of(const struct tail *t, int node)
{
    for (int i = 0; i < t->unit->n; i++)
        if (t->unit->node[i] == node)
            return i;
    return 0;
}

/* How far the chain has come after a node: past the norm, past the clamp. */
static void cut_map(const struct plan *p, const struct tail *t, int node,
                    struct sheet_map *m)
{
    bool norm = false, clamp = false;
    for (int i = 0; i <= place_of(t, node); i++) {
        norm = norm || t->unit->node[i] == t->bn;
        clamp = clamp ||
                tail_has_clamp(p->graph->node[t->unit->node[i]].op);
    }
    tail_map(p, t, m);
    m->grid.on = false;
    if (!clamp) {
        m->lo = -INFINITY;
        m->hi = INFINITY;
    }
    if (t->bn >= 0 && !norm)
        m->a = m->b = NULL;
}

static void to_logical(const struct plan *p, const struct tail *t,
                       const float *x, float *out)
{
    const struct buffer *b = &p->buf[t->src];
    const int64_t *d = b->shape.dim;
    if (b->layout == LAYOUT_NHWC)
        nhwc_to_nchw(x, out, d[0], d[1], d[2] * d[3]);
    else
        memcpy(out, x, (size_t)b->bytes);
}

/* The layer before batch norm: y = x / factor + bias. */
static void unfold(const struct plan *p, const struct tail *t, float *x,
                   bool gradient)
{
    const float *bias = plan_floats(p, t->bias);
    for (int64_t i = 0; i < t->sheet.count; i++) {
        int64_t c = i % t->sheet.channels;
        float f = tail_factor(p, t, c);
        if (gradient)
            x[i] *= f;
        else
            x[i] = x[i] / f + (bias ? bias[c] : 0.0f);
    }
}

enum status tail_value(const struct plan *p, const struct tail *t, int node,
                       float *out, struct err *e)
{
    float *x = mem_alloc((size_t)t->sheet.count, sizeof(*x));
    if (!x)
        return err_memory(e, "a value");
    struct sheet_map m;
    cut_map(p, t, node, &m);
    m.y = x;
    sheet_apply(&t->sheet, &m);
    if (t->bn >= 0 && !m.a)
        unfold(p, t, x, false);
    to_logical(p, t, x, out);
    mem_free(x);
    return STATUS_OK;
}

/* Only nodes before the last: the gradient of z, or of the layer. */
enum status tail_value_grad(const struct plan *p, const struct tail *t,
                            int node, float *out, struct err *e)
{
    bool layer = t->bn >= 0 && place_of(t, node) == 0 &&
                 t->unit->node[0] != t->bn;
    float *x = mem_alloc((size_t)t->sheet.count, sizeof(*x));
    void *table = mem_alloc(1, sheet_table_bytes(&t->sheet) + 1);
    if (!x || !table) {
        mem_free(x);
        mem_free(table);
        return err_memory(e, "a value");
    }
    if (layer || t->bn < 0) {
        memcpy(x, plan_floats(p, t->dx),
               (size_t)t->sheet.count * sizeof(*x));
        if (layer)
            unfold(p, t, x, true);
    } else {
        struct sheet_back b;
        fill_back(p, t, &b);
        b.dx = x;
        sheet_backward(&t->sheet, &b, table);
    }
    to_logical(p, t, x, out);
    mem_free(table);
    mem_free(x);
    return STATUS_OK;
}

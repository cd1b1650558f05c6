/* The map between a product and the next layer: forward.
 *
 * Batch norm over M rows: y = x / factor + bias is what it normalises (factor
 * 1 and bias 0 when nothing is folded), z = gamma (y - mean) / sqrt(var + eps)
 * + beta = a x + b. The map is monotone in x for each channel, in floating
 * point too, so the observer's range follows from each channel's smallest and
 * largest x. SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/fast_tail.h"

#include <math.h>
#include <string.h>

#include "engine/thin_conv.h"
#include "quant/observer.h"
#include "quant/uniform.h"

/* ---- which nodes, which quantizer ---- */

/* Activations that are a clamp whose slope is 0 at both ends. */
static const struct {
    const struct op *op;
    float lo, hi;
} clamp_table[] = {
    {&op_relu, 0.0f, INFINITY},
    {&op_relu6, 0.0f, 6.0f},
};

static int clamp_find(const struct op *op)
{
    int n = (int)(sizeof(clamp_table) / sizeof(clamp_table[0]));
    for (int i = 0; i < n; i++)
        if (clamp_table[i].op == op)
            return i;
    return -1;
}

bool tail_has_clamp(const struct op *op)
{
    return clamp_find(op) >= 0;
}

/* Its one reader takes it as it is. */
static bool value_is_inner(const struct plan *p, int node)
{
    const struct value *v = &p->value[node];
    int reader = -1;
    return !v->q && node != p->graph->output &&
           graph_readers(p->graph, node, &reader) == 1 &&
           p->graph->node[reader].n_in == 1 && !p->value[reader].q_in;
}

static int only_reader(const struct plan *p, int node)
{
    int reader = -1;
    graph_readers(p->graph, node, &reader);
    return reader;
}

static bool claim_next(struct plan *p, struct unit *u)
{
    int last = u->node[u->n - 1];
    if (u->n == UNIT_NODES || !value_is_inner(p, last))
        return false;
    u->node[u->n] = only_reader(p, last);
    return true;
}

void tail_claim(struct plan *p, struct unit *u, bool norm)
{
    if (norm && claim_next(p, u) &&
        (p->graph->node[u->node[u->n]].op->flags & OP_BATCH_NORM))
        u->n++;
    if (claim_next(p, u) &&
        clamp_find(p->graph->node[u->node[u->n]].op) >= 0)
        u->n++;
}

/* Quantizers that the passes of sheet.c can do. */
static bool is_common(const struct quantizer *q)
{
    const struct qspec *s = &q->spec;
    return s->kind->forward == uniform_forward &&
           s->kind->backward == uniform_backward && !s->kind->init &&
           q->channels == 1 && s->grain == GRAIN_TENSOR && !q->learn &&
           s->rounding == ROUND_HALF_EVEN && !s->zp_before &&
           !s->clamp_first && !s->float_zp && s->grad == QGRAD_MASKED &&
           s->delay == 0 && q->noise_factor == 1 &&
           !(s->kind->flags & QK_OWN_SCALE) &&
           (s->observer->flags & OBS_MINMAX_ONLY);
}

/* ---- constants of the map ---- */

float *tail_wide(const struct plan *p, const struct tail *t, int row)
{
    return t->wide < 0 ? NULL
                       : plan_floats(p, t->wide) + row * t->sheet.width;
}

float *tail_vec(const struct plan *p, const struct tail *t, int row)
{
    return t->vec < 0 ? NULL
                      : plan_floats(p, t->vec) + row * t->sheet.channels;
}

const float *tail_bn_param(const struct plan *p, const struct tail *t,
                           int row)
{
    const struct node *n = &p->graph->node[t->bn];
    return p->graph->param[n->param[row]].value;
}

static float *bn_state(const struct plan *p, const struct tail *t, int row)
{
    const struct node *n = &p->graph->node[t->bn];
    return p->graph->param[n->state[row]].value;
}

bool tail_uses_batch(const struct plan *p, const struct tail *t)
{
    return t->bn >= 0 && p->opts.train && !p->graph->node[t->bn].bn_frozen;
}

float tail_factor(const struct plan *p, const struct tail *t, int64_t c)
{
    return t->w && t->w->how == FOLD_QAT ? plan_floats(p, t->w->factor)[c]
                                         : 1.0f;
}

/* From mean and variance of y: a, b, and what backward needs. */
static void set_channel(const struct plan *p, const struct tail *t,
                        int64_t c, double mean, double var)
{
    double eps = node_attr(&p->graph->node[t->bn], "eps");
    double inverse = 1 / sqrt(var + eps);
    float factor = tail_factor(p, t, c);
    float bias = t->bias >= 0 ? plan_floats(p, t->bias)[c] : 0.0f;
    float a = (float)inverse * tail_bn_param(p, t, 0)[c];
    float b = tail_bn_param(p, t, 1)[c] - (float)(mean - (double)bias) * a;
    tail_wide(p, t, WIDE_A)[c] = a / factor;
    tail_wide(p, t, WIDE_B)[c] = b;
    tail_vec(p, t, VEC_Y_MEAN)[c] = (float)mean;
    tail_vec(p, t, VEC_MEAN)[c] =
        (float)((mean - (double)bias) * (double)factor);
    tail_vec(p, t, VEC_INVERSE)[c] = (float)inverse;
}

/* The first repeat is filled; the rest of the line follows. */
static void repeat_row(const struct plan *p, const struct tail *t, int row)
{
    float *wide = tail_wide(p, t, row);
    int64_t c = t->sheet.channels;
    for (int64_t r = 1; r < t->sheet.repeat; r++)
        memcpy(wide + r * c, wide, (size_t)c * sizeof(float));
}

static void widen_norm(const struct plan *p, const struct tail *t)
{
    repeat_row(p, t, WIDE_A);
    repeat_row(p, t, WIDE_B);
    sheet_widen(&t->sheet, tail_vec(p, t, VEC_MEAN),
                tail_wide(p, t, WIDE_MEAN));
}

static void set_running(const struct plan *p, const struct tail *t)
{
    for (int64_t c = 0; c < t->sheet.channels; c++)
        set_channel(p, t, c, (double)bn_state(p, t, 0)[c],
                    (double)bn_state(p, t, 1)[c]);
    widen_norm(p, t);
}

static void set_bias(const struct plan *p, const struct tail *t)
{
    sheet_widen(&t->sheet, plan_floats(p, t->bias),
                tail_wide(p, t, WIDE_B));
}

void tail_map(const struct plan *p, const struct tail *t,
              struct sheet_map *m)
{
    *m = (struct sheet_map){
        .x = plan_floats(p, t->src),
        .x2 = plan_floats(p, t->src2),
        .a = t->bn >= 0 ? tail_wide(p, t, WIDE_A) : NULL,
        .b = t->has_bias ? NULL : tail_wide(p, t, WIDE_B),
        .lo = t->lo,
        .hi = t->hi,
    };
    if (!t->q || !quant_fakes(p, t->q))
        return;
    struct grid g;
    grid_init(&g, t->q, 0, false);
    m->grid = (struct round_grid){
        .scale = g.scale,
        .inv = g.inv,
        .zero_point = g.zero_point,
        .lo = g.lo,
        .hi = g.hi,
        .divide = t->q->spec.divide,
        .on = true,
    };
}

/* ---- the statistics step ---- */

static void update_running(const struct plan *p, const struct tail *t,
                           int64_t c, double mean, double var)
{
    double m = node_attr(&p->graph->node[t->bn], "momentum");
    double rows = (double)t->sheet.rows;
    double unbiased = var * rows / (rows > 1 ? rows - 1 : 1);
    float *running_mean = bn_state(p, t, 0) + c;
    float *running_var = bn_state(p, t, 1) + c;
    *running_mean = (float)((1 - m) * (double)*running_mean + m * mean);
    *running_var = (float)((1 - m) * (double)*running_var + m * unbiased);
}

/* What is known of one channel of src. */
struct channel {
    double mean, var;
    float end[2];
};

static struct channel measured(const struct tail *t,
                               const struct sheet_moments *s,
                               const float *shift, int64_t c)
{
    double rows = (double)t->sheet.rows, part = s->sum[c] / rows;
    return (struct channel){
        .mean = (double)shift[c] + part,
        .var = s->square[c] / rows - part * part,
        .end = {s->lo[c], s->hi[c]},
    };
}

static struct channel collected(const struct tail *t, int64_t c)
{
    struct sum_moments m = sum_stats_moments(t->stats, c);
    struct channel k = {.mean = m.mean, .var = m.var};
    sum_stats_ends(t->stats, c, k.end);
    return k;
}

/* Mean and variance of y from those of src. */
static void set_batch(const struct plan *p, const struct tail *t, int64_t c,
                      const struct channel *k)
{
    double factor = (double)tail_factor(p, t, c);
    double bias = t->bias >= 0 ? (double)plan_floats(p, t->bias)[c] : 0.0;
    double var = (k->var > 0 ? k->var : k->var == k->var ? 0 : k->var) /
                 (factor * factor);
    double mean = k->mean / factor + bias;
    set_channel(p, t, c, mean, var);
    update_running(p, t, c, mean, var);
}

/* Smallest and largest value before the clamp. */
struct ends {
    float lo, hi;
    bool odd;                 /* some are not finite */
};

static const struct ends no_ends = {INFINITY, -INFINITY, false};

static void join_ends(const struct plan *p, const struct tail *t, int64_t c,
                      const float end[2], struct ends *e)
{
    const float *a = t->bn >= 0 ? tail_wide(p, t, WIDE_A) : NULL;
    const float *b = t->bn >= 0 ? tail_wide(p, t, WIDE_B) : NULL;
    float u = a ? end[0] * a[c] + b[c] : end[0];
    float v = a ? end[1] * a[c] + b[c] : end[1];
    e->odd = e->odd || !isfinite(u) || !isfinite(v);
    e->lo = fminf(e->lo, fminf(u, v));
    e->hi = fmaxf(e->hi, fmaxf(u, v));
}

/* The clamp is monotone too. */
static void range_of_ends(const struct tail *t, const struct ends *e,
                          float range[2])
{
    float lo = e->lo, hi = e->hi;
    range[0] = e->odd ? NAN : lo < t->lo ? t->lo : lo > t->hi ? t->hi : lo;
    range[1] = e->odd ? NAN : hi > t->hi ? t->hi : hi < t->lo ? t->lo : hi;
}

static enum status observe_range(const struct plan *p, const struct tail *t,
                                 const float range[2], struct err *e)
{
    enum status s = quantizer_observe_minmax(t->q, &range[0], &range[1], e);
    return s ? err_wrap(e, s, "%s", point_name(p, t->point)) : STATUS_OK;
}

/* Scratch: the table, then sums per channel. */
static struct sheet_moments scratch_moments(const struct plan *p,
                                            const struct tail *t)
{
    int64_t n = t->sheet.channels;
    char *at = (char *)plan_scratch_data(p) + sheet_table_bytes(&t->sheet);
    struct sheet_moments s;
    s.sum = (double *)(void *)at;
    s.square = s.sum + n;
    s.lo = (float *)(void *)(s.square + n);
    s.hi = s.lo + n;
    return s;
}

size_t tail_scratch_bytes(const struct tail *t)
{
    return sheet_table_bytes(&t->sheet) +
           (size_t)t->sheet.channels *
               (2 * sizeof(double) + 2 * sizeof(float)) +
           (size_t)t->sheet.blocks * 3 * sizeof(float);
}

static enum status stats_run(struct plan *p, struct step *s, struct err *e)
{
    const struct tail *t = *(struct tail *const *)s->priv;
    const float *x = plan_floats(p, t->src);
    float *shift = tail_wide(p, t, WIDE_SHIFT);
    struct sheet_moments m = scratch_moments(p, t);
    struct ends ends = no_ends;
    if (!t->stats) {
        /* A value of each channel is never far from its mean, in units of its
         * deviation: squares of the differences keep their digits. */
        sheet_widen(&t->sheet, x, shift);
        sheet_measure(&t->sheet, x, shift, plan_scratch_data(p), &m);
    }
    for (int64_t c = 0; c < t->sheet.channels; c++) {
        struct channel k =
            t->stats ? collected(t, c) : measured(t, &m, shift, c);
        set_batch(p, t, c, &k);
        join_ends(p, t, c, k.end, &ends);
    }
    widen_norm(p, t);
    if (!t->q || !quant_observes(p, t->q))
        return STATUS_OK;
    float range[2];
    range_of_ends(t, &ends, range);
    return observe_range(p, t, range, e);
}

/* ---- the map step ---- */

/* Of what a thin convolution left: no batch norm, and the bias is in it. */
static struct ends thin_ends(const struct plan *p, const struct tail *t)
{
    const float *at = plan_floats(p, t->ends);
    int64_t images = plan_shape(p, t->src)->dim[0];
    struct ends ends = no_ends;
    for (int64_t n = 0; n < images; n++, at += THIN_ENDS) {
        ends.lo = fminf(ends.lo, at[0]);
        ends.hi = fmaxf(ends.hi, at[1]);
        ends.odd = ends.odd || at[2] != 0.0f;
    }
    return ends;
}

static enum status observe_map(struct plan *p, const struct tail *t,
                               struct err *e)
{
    struct sheet_map m;
    float range[2];
    bool finite;
    if (t->ends >= 0) {
        struct ends ends = thin_ends(p, t);
        range_of_ends(t, &ends, range);
        return observe_range(p, t, range, e);
    }
    if (t->stats) {
        struct ends ends = no_ends;
        for (int64_t c = 0; c < t->sheet.channels; c++) {
            float end[2];
            sum_stats_ends(t->stats, c, end);
            join_ends(p, t, c, end, &ends);
        }
        range_of_ends(t, &ends, range);
        return observe_range(p, t, range, e);
    }
    tail_map(p, t, &m);
    sheet_range(&t->sheet, &m, plan_scratch_data(p), range, &finite);
    if (!finite)
        range[0] = range[1] = NAN;
    return observe_range(p, t, range, e);
}

static enum status map_run(struct plan *p, struct step *s, struct err *e)
{
    const struct tail *t = *(struct tail *const *)s->priv;
    bool batch = tail_uses_batch(p, t);
    if (t->bn >= 0 && !batch)
        set_running(p, t);
    else if (t->bn < 0 && t->bias >= 0 && !t->has_bias)
        set_bias(p, t);
    if (t->q) {
        if (!batch && quant_observes(p, t->q))
            TRY(observe_map(p, t, e));
        TRY(quant_ready(p, t->q, t->point, e));
        if (p->opts.train)
            t->q->steps++;
    }
    struct sheet_map m;
    tail_map(p, t, &m);
    m.y = t->codes_alone ? NULL : plan_floats(p, t->dst);
    m.mask = plan_data(p, t->mask);
    m.code = plan_data(p, t->code);
    sheet_apply(&t->sheet, &m);
    return STATUS_OK;
}

static const struct step_kind stats_kind = {
    .name = "statistics",
    .phase = PHASE_FORWARD,
    .run = stats_run,
};

static const struct step_kind map_kind = {
    .name = "map fwd",
    .phase = PHASE_FORWARD,
    .run = map_run,
};

/* ---- building ---- */

/* Nothing is left to do. */
static bool is_plain(const struct tail *t)
{
    return t->bn < 0 && (t->bias < 0 || t->has_bias) && !t->q && t->src2 < 0 &&
           !(t->lo > -INFINITY) && !(t->hi < INFINITY);
}

bool tail_give_bias(struct tail *t)
{
    t->has_bias = t->bn < 0 && t->bias >= 0;
    return t->has_bias;
}

static void find_bias(struct plan *p, struct tail *t)
{
    int head = t->unit->node[0];
    const struct node *n = &p->graph->node[head];
    const struct node_params *np = &p->value[head].params;
    struct weight_prep *w = np->prep;
    t->bias = t->bias_grad = -1;
    if (w && w->bn >= 0) {
        t->w = w;
        t->bias = w->bias_eff;
        t->bias_grad = w->bias_grad;
        return;
    }
    for (int i = 0; n->op->param && n->op->param[i].name; i++) {
        if (n->op->param[i].role != PARAM_BIAS)
            continue;
        t->bias = np->value[i];
        t->bias_grad = np->grad[i];
    }
}

static void find_chain(struct plan *p, struct tail *t)
{
    const struct unit *u = t->unit;
    for (int i = 0; i < u->n; i++) {
        const struct node *n = &p->graph->node[u->node[i]];
        int clamp = clamp_find(n->op);
        if (clamp >= 0) {
            t->lo = clamp_table[clamp].lo;
            t->hi = clamp_table[clamp].hi;
        }
        if ((n->op->flags & OP_BATCH_NORM) && !plan_bn_absorbed(p, n->id))
            t->bn = n->id;
    }
}

/* Channels are the last axis as values lie here: (N,H,W,C), (N,F). */
static void find_sheet(struct plan *p, struct tail *t)
{
    const struct buffer *b = &p->buf[t->src];
    int64_t count = shape_count(&b->shape);
    int64_t channels = b->layout == LAYOUT_NHWC
                           ? b->shape.dim[1]
                           : b->shape.dim[b->shape.rank - 1];
    sheet_init(&t->sheet, count / channels, channels);
}

static void make_vectors(struct plan *p, struct tail *t)
{
    if (t->bn >= 0) {
        t->wide = plan_buffer_vector(p, TAIL_WIDE * t->sheet.width);
        t->vec = plan_buffer_vector(p, TAIL_VEC * t->sheet.channels);
    } else if (t->bias >= 0) {
        t->wide = plan_buffer_vector(p, (WIDE_B + 1) * t->sheet.width);
    }
    if (t->wide >= 0)
        plan_keep(p, t->wide);
    if (t->vec >= 0)
        plan_keep(p, t->vec);
    plan_scratch(p, tail_scratch_bytes(t));
}

/* The tail node's value; with a common quantizer only what comes after it. */
static void make_output(struct plan *p, struct tail *t)
{
    int last = t->unit->node[t->unit->n - 1];
    struct value *v = &p->value[last];
    bool in_place = !p->opts.keep_values && t->src2 < 0 && !t->borrowed &&
                    (t->bn < 0 || !p->opts.train);
    if (v->q && is_common(v->q)) {
        t->q = v->q;
        t->point = v->point;
        v->raw = -1;
        v->out = in_place ? t->src : plan_buffer_like(p, t->src);
        t->dst = v->out;
        /* Without batch norm backward keeps a byte instead of x. */
        if (p->opts.train && t->bn < 0)
            t->mask = plan_buffer(p, DTYPE_U8, plan_shape(p, t->src),
                                  p->buf[t->src].layout);
    } else if (in_place) {
        v->raw = v->out = t->dst = t->src;
        if (v->q && (p->opts.train || p->opts.keep_values))
            v->out = plan_buffer_like(p, v->raw);
    } else {
        plan_make_value(p, last);
        t->dst = v->raw;
    }
    plan_keep(p, v->out);
}

int tail_wants_ends(struct plan *p, struct tail *t)
{
    int64_t images = plan_shape(p, t->src)->dim[0];
    bool plain = t->bn < 0 && t->src2 < 0 && (t->bias < 0 || t->has_bias);
    if (plain && t->q && quant_observes(p, t->q))
        t->ends = plan_buffer_vector(p, THIN_ENDS * images);
    return t->ends;
}

void tail_give_codes(struct plan *p, struct tail *t, int buffer)
{
    t->code = buffer;
    step_touch(p, t->map, buffer);
}

/* Steps behind `map` touch a buffer. */
static bool is_read(const struct plan *p, int buffer, const struct step *map)
{
    int i = 0;
    while (i < p->n_step && p->step[i] != map)
        i++;
    for (i++; i < p->n_step; i++)
        for (int k = 0; k < p->step[i]->n_buf; k++)
            if (p->step[i]->buf[k] == buffer)
                return true;
    return false;
}

static void untouch(struct plan *p, struct step *s, int buffer)
{
    int n = 0;
    for (int k = 0; k < s->n_buf; k++)
        if (s->buf[k] != buffer)
            s->buf[n++] = s->buf[k];
    s->n_buf = n;
    s->bytes -= (double)p->buf[buffer].bytes;
}

void tail_drop_unread(struct plan *p)
{
    for (int i = 0; i < p->graph->n_node; i++) {
        struct tail *t = p->value[i].tail;
        if (!t || t->code < 0)
            continue;
        int numbers = p->buf[t->dst].root;
        if (p->buf[numbers].pinned || is_read(p, numbers, t->map))
            continue;
        if (t->dst != t->src)
            untouch(p, t->map, numbers);
        t->codes_alone = true;
    }
}

struct tail *tail_new(struct plan *p, const struct unit *u,
                      const struct tail_spec *spec)
{
    struct tail *t = arena_alloc(p->arena, sizeof(*t));
    if (!t) {
        p->out_of_memory = true;
        return NULL;
    }
    t->unit = u;
    t->src = spec->src;
    t->src2 = spec->src2;
    t->borrowed = spec->borrowed;
    t->bn = t->wide = t->vec = t->mask = t->dx = t->bias_grad = -1;
    t->bias = t->point = t->code = t->ends = -1;
    t->lo = -INFINITY;
    t->hi = INFINITY;
    find_chain(p, t);
    if (!spec->borrowed)
        find_bias(p, t);
    find_sheet(p, t);
    make_vectors(p, t);
    make_output(p, t);
    p->value[u->node[u->n - 1]].tail = t;
    const int kept[] = {t->src, t->mask, t->bias, t->w ? t->w->factor : -1};
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
        if (kept[i] >= 0)
            plan_keep(p, kept[i]);
    return p->out_of_memory ? NULL : t;
}

struct step *tail_step(struct plan *p, const struct step_kind *kind,
                              struct tail *t)
{
    struct step *s = plan_step(p, kind, t->unit->node[t->unit->n - 1],
                               sizeof(struct tail *));
    if (!s)
        return NULL;
    *(struct tail **)s->priv = t;
    /* Backward needs x only for its place among the batch's values. */
    if (kind->phase == PHASE_FORWARD || t->bn >= 0)
        step_touch(p, s, t->src);
    step_touch(p, s, t->wide);
    step_touch(p, s, t->vec);
    step_touch(p, s, t->bias);
    if (t->w)
        step_touch(p, s, t->w->factor);
    return s;
}

enum status tail_forward(struct plan *p, struct tail *t, struct err *e)
{
    if (tail_uses_batch(p, t) && !tail_step(p, &stats_kind, t))
        return err_memory(e, "plan");
    if (is_plain(t) && t->dst == t->src)
        return quant_out_forward(p, t->unit->node[t->unit->n - 1], e);
    struct step *s = tail_step(p, &map_kind, t);
    if (!s)
        return err_memory(e, "plan");
    t->map = s;
    step_touch(p, s, t->src2);
    step_touch(p, s, t->dst);
    step_touch(p, s, t->mask);
    step_touch(p, s, t->ends);
    if (t->q)
        return STATUS_OK;
    return quant_out_forward(p, t->unit->node[t->unit->n - 1], e);
}

/* Layers on codes in mode fake.
 *
 * Weight codes are found anew in every pass, from the quantized weights: they
 * lie on their grid, so w / s_w[c] is within rounding of code - zero. Sums
 * come in pieces, while they are in the second-level cache, and leave as
 *   src = float(sum) * (s_x * s_w[c]) [+ bias],
 * one rounding each, which is monotone: the smallest and largest sum of a
 * channel are where src is smallest and largest. Sums of sums and of their
 * squares are whole numbers, held exactly: batch statistics do not depend on
 * how the sums were made, nor by how many threads.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/fast_sums.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/fast_codes.h"
#include "engine/fast_tail.h"
#include "engine/sums.h"

#define LINE 256              /* sums of a line at least */
#define LINES 16              /* of a piece */
#define AT_ONCE 4             /* lines that a kernel call takes */
#define DOUBLE_EXACT 9007199254740992.0    /* 2^53 */

__extension__ typedef __int128 wide_int;

/* What is collected. */
enum collect { COLLECT_NOTHING, COLLECT_ENDS, COLLECT_ALL };

/* One thread's, by place in a line. Whole numbers in doubles. */
struct lanes {
    double *sum, *square;
    int32_t *lo, *hi;
    int64_t lines;            /* since they went to the totals */
    int32_t *whole;           /* room for sums that come in float32 */
};

struct sum_stats {
    int64_t rows, channels;
    const float *unit, *bias; /* per channel; bias NULL: none */
    wide_int *sum, *square;
    int32_t *lo, *hi;
};

struct sum_layer {
    struct sum_layer_spec spec;
    struct sum_bounds bounds; /* expected */
    struct sums sums;
    struct quantizer *qx, *qw;
    struct tail *tail;
    int x, y, eff, bias;      /* buffers */
    int16_t *w;
    float *unit;              /* per channel */
    /* Along a line of whole pixels. */
    int64_t width;
    int32_t *offset;
    float *wide_unit, *wide_bias;
    enum collect collect;
    int64_t lines_exact;      /* that lanes can take before they are full */
    struct lanes *lanes;      /* one a thread */
    struct sum_stats stats;
};

/* ---- kernels ---- */

struct take {
    const int32_t *offset;
    const float *unit, *bias;
    struct lanes lanes;
    int64_t width;            /* from line to line */
};

static inline __attribute__((always_inline)) int32_t
low(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static inline __attribute__((always_inline)) int32_t
high(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

/* n places of `lines` lines, 1 or AT_ONCE. */
static inline __attribute__((always_inline)) void
take_lines(const struct take *t, const int32_t *sum, float *y, int64_t n,
           bool four, enum collect collect)
{
    const int32_t *offset = t->offset;
    const float *unit = t->unit, *bias = t->bias;
    double *s = t->lanes.sum, *q = t->lanes.square;
    int32_t *lo = t->lanes.lo, *hi = t->lanes.hi;
    int64_t a = four ? t->width : 0, b = 2 * a, c = 3 * a;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        int32_t o = offset[i];
        int32_t v0 = sum[i] + o, v1 = sum[a + i] + o;
        int32_t v2 = sum[b + i] + o, v3 = sum[c + i] + o;
        float u = unit[i], z = bias[i];
        y[i] = (float)v0 * u + z;
        if (four) {
            y[a + i] = (float)v1 * u + z;
            y[b + i] = (float)v2 * u + z;
            y[c + i] = (float)v3 * u + z;
        }
        if (collect >= COLLECT_ENDS) {
            lo[i] = low(lo[i], low(low(v0, v1), low(v2, v3)));
            hi[i] = high(hi[i], high(high(v0, v1), high(v2, v3)));
        }
        if (collect == COLLECT_ALL) {
            double d0 = v0, d1 = v1, d2 = v2, d3 = v3;
            s[i] += four ? (d0 + d1) + (d2 + d3) : d0;
            q[i] += four ? (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3)
                         : d0 * d0;
        }
    }
}

typedef void (*take_fn)(const struct take *t, const int32_t *sum, float *y,
                        int64_t n);

ENGINE_CLONES static void take_4(const struct take *t, const int32_t *sum,
                                 float *y, int64_t n)
{
    take_lines(t, sum, y, n, true, COLLECT_NOTHING);
}

ENGINE_CLONES static void take_1(const struct take *t, const int32_t *sum,
                                 float *y, int64_t n)
{
    take_lines(t, sum, y, n, false, COLLECT_NOTHING);
}

ENGINE_CLONES static void take_4_ends(const struct take *t,
                                      const int32_t *sum, float *y, int64_t n)
{
    take_lines(t, sum, y, n, true, COLLECT_ENDS);
}

ENGINE_CLONES static void take_1_ends(const struct take *t,
                                      const int32_t *sum, float *y, int64_t n)
{
    take_lines(t, sum, y, n, false, COLLECT_ENDS);
}

ENGINE_CLONES static void take_4_all(const struct take *t, const int32_t *sum,
                                     float *y, int64_t n)
{
    take_lines(t, sum, y, n, true, COLLECT_ALL);
}

ENGINE_CLONES static void take_1_all(const struct take *t, const int32_t *sum,
                                     float *y, int64_t n)
{
    take_lines(t, sum, y, n, false, COLLECT_ALL);
}

static const take_fn take_table[][2] = {
    [COLLECT_NOTHING] = {take_1, take_4},
    [COLLECT_ENDS] = {take_1_ends, take_4_ends},
    [COLLECT_ALL] = {take_1_all, take_4_all},
};

/* ---- collecting ---- */

static void clear_lanes(const struct sum_layer *l, struct lanes *s)
{
    s->lines = 0;
    memset(s->sum, 0, (size_t)l->width * sizeof(double));
    memset(s->square, 0, (size_t)l->width * sizeof(double));
}

static void clear_ends(int32_t *lo, int32_t *hi, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        lo[i] = INT32_MAX;
        hi[i] = INT32_MIN;
    }
}

/* A thread's lanes go to the totals: whole numbers, so their order does not
 * matter. */
static void flush_lanes(struct sum_layer *l, struct lanes *s)
{
    struct sum_stats *t = &l->stats;
#pragma omp critical(engine_sum_stats)
    for (int64_t i = 0; i < l->width; i++) {
        int64_t c = i % t->channels;
        t->sum[c] += (wide_int)s->sum[i];
        t->square[c] += (wide_int)s->square[i];
    }
    clear_lanes(l, s);
}

static void begin_stats(const struct plan *p, struct sum_layer *l)
{
    struct sum_stats *t = &l->stats;
    if (l->collect == COLLECT_NOTHING)
        return;
    memset(t->sum, 0, (size_t)t->channels * sizeof(*t->sum));
    memset(t->square, 0, (size_t)t->channels * sizeof(*t->square));
    clear_ends(t->lo, t->hi, t->channels);
    for (int i = 0; i < p->threads; i++) {
        clear_lanes(l, &l->lanes[i]);
        clear_ends(l->lanes[i].lo, l->lanes[i].hi, l->width);
    }
}

static void end_stats(const struct plan *p, struct sum_layer *l)
{
    struct sum_stats *t = &l->stats;
    if (l->collect == COLLECT_NOTHING)
        return;
    for (int k = 0; k < p->threads; k++) {
        struct lanes *s = &l->lanes[k];
        if (s->lines > 0)
            flush_lanes(l, s);
        for (int64_t i = 0; i < l->width; i++) {
            int64_t c = i % t->channels;
            t->lo[c] = low(t->lo[c], s->lo[i]);
            t->hi[c] = high(t->hi[c], s->hi[i]);
        }
    }
}

/* var = (rows * sum of squares - square of the sum) / rows^2, times unit^2:
 * the difference is exact. */
struct sum_moments sum_stats_moments(const struct sum_stats *s, int64_t c)
{
    double unit = (double)s->unit[c], rows = (double)s->rows;
    wide_int spread = s->square[c] * s->rows - s->sum[c] * s->sum[c];
    return (struct sum_moments){
        .mean = unit * ((double)s->sum[c] / rows),
        .var = unit * unit * ((double)spread / (rows * rows)),
    };
}

void sum_stats_ends(const struct sum_stats *s, int64_t c, float end[2])
{
    float bias = s->bias ? s->bias[c] : 0.0f;
    end[0] = (float)s->lo[c] * s->unit[c] + bias;
    end[1] = (float)s->hi[c] * s->unit[c] + bias;
}

/* ---- pieces ---- */

struct piece_call {
    struct sum_layer *layer;
    float *y;
};

static void take_lines_of(struct sum_layer *l, const struct lanes *lanes,
                          enum collect collect, const int32_t *sum, float *y,
                          int64_t count)
{
    const take_fn *fn = take_table[collect];
    const struct take t = {
        .offset = l->offset,
        .unit = l->wide_unit,
        .bias = l->wide_bias,
        .lanes = *lanes,
        .width = l->width,
    };
    int64_t at = 0, four = AT_ONCE * l->width;
    for (; at + four <= count; at += four)
        fn[1](&t, sum + at, y + at, l->width);
    for (; at < count; at += l->width)
        fn[0](&t, sum + at, y + at,
              count - at < l->width ? count - at : l->width);
}

/* Sums whose squares are beyond doubles: one by one. */
static void add_exactly(struct sum_layer *l, const int32_t *sum,
                        int64_t count)
{
    struct sum_stats *t = &l->stats;
#pragma omp critical(engine_sum_stats)
    for (int64_t i = 0; i < count; i++) {
        wide_int v = sum[i] + l->offset[i % l->width];
        t->sum[i % t->channels] += v;
        t->square[i % t->channels] += v * v;
    }
}

/* At most AT_ONCE lines. */
static void take_few(struct sum_layer *l, struct lanes *lanes,
                     const int32_t *sum, float *y, int64_t count)
{
    enum collect collect = l->collect;
    if (collect == COLLECT_ALL && l->lines_exact < AT_ONCE) {
        add_exactly(l, sum, count);
        collect = COLLECT_ENDS;
    } else if (collect == COLLECT_ALL) {
        if (lanes->lines + AT_ONCE > l->lines_exact)
            flush_lanes(l, lanes);
        lanes->lines += AT_ONCE;
    }
    take_lines_of(l, lanes, collect, sum, y, count);
}

static void take_piece(void *ctx, const struct sums_piece *piece)
{
    const struct piece_call *c = ctx;
    struct sum_layer *l = c->layer;
    struct lanes *lanes = &l->lanes[piece->thread];
    int64_t step = AT_ONCE * l->width;
    float *y = c->y + piece->at;
    for (int64_t at = 0; at < piece->count; at += step) {
        int64_t n = piece->count - at < step ? piece->count - at : step;
        const int32_t *sum = piece->i32 + at;
        if (piece->f32) {
            sums_to_int(piece->f32 + at, lanes->whole, n);
            sum = lanes->whole;
        }
        take_few(l, lanes, sum, y + at, n);
    }
}

/* ---- weights ---- */

struct code_range {
    int32_t lo, hi, reach;    /* smallest, largest, sum of magnitudes */
};

/* A weight that is no number becomes one far outside. */
ENGINE_CLONES static void k_weight_codes(const float *x, float scale,
                                         int16_t *w, int64_t n,
                                         struct code_range *range)
{
    int32_t lo = range->lo, hi = range->hi, reach = 0;
#pragma omp simd reduction(min : lo) reduction(max : hi) reduction(+ : reach)
    for (int64_t i = 0; i < n; i++) {
        float v = rintf(x[i] / scale);
        v = v > -512.0f ? v : -512.0f;
        v = v < 511.0f ? v : 511.0f;
        int32_t k = (int32_t)v;
        w[i] = (int16_t)k;
        lo = k < lo ? k : lo;
        hi = k > hi ? k : hi;
        reach += k < 0 ? -k : k;
    }
    *range = (struct code_range){lo, hi, reach};
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static void find_weights(struct plan *p, struct sum_layer *l)
{
    const float *x = plan_floats(p, l->eff);
    int64_t inner = sums_inner(&l->sums), reach = 0;
    struct code_range range = {0, 0, 0};
    for (int64_t o = 0; o < l->stats.channels; o++) {
        float scale = l->qw->scale[l->qw->channels == 1 ? 0 : o];
        k_weight_codes(x + o * inner, scale, l->w + o * inner, inner, &range);
        reach = larger(reach, range.reach);
    }
    l->sums.bounds.weight_lo = range.lo;
    l->sums.bounds.weight_hi = range.hi;
    l->sums.bounds.weights = reach;
}

static void widen(const struct plan *p, struct sum_layer *l,
                  const struct code_grid *x)
{
    int64_t channels = l->stats.channels;
    const float *bias = plan_floats(p, l->bias);
    for (int64_t o = 0; o < channels; o++) {
        float scale = l->qw->scale[l->qw->channels == 1 ? 0 : o];
        l->unit[o] = x->scale * scale;
    }
    l->stats.bias = bias;
    for (int64_t i = 0; i < l->width; i++) {
        l->offset[i] = l->sums.offset[i % channels];
        l->wide_unit[i] = l->unit[i % channels];
        l->wide_bias[i] = bias ? bias[i % channels] : 0.0f;
    }
}

static enum status weights_run(struct plan *p, struct step *s, struct err *e)
{
    struct sum_layer *l = *(struct sum_layer **)s->priv;
    struct code_grid x;
    TRY(codes_grid_now(p, l->qx, 0, &x, e));
    find_weights(p, l);
    struct sum_bounds *b = &l->sums.bounds;
    b->stored = l->qx->hi_code - l->qx->lo_code;
    b->input = larger(llabs(l->qx->hi_code - x.zero),
                      llabs(l->qx->lo_code - x.zero));
    int64_t most = b->input * b->weights;
    if (most > INT32_MAX)
        return err_set(e, STATUS_NUMERIC, "%s: sums of %lld products need "
                       "more than 32 bits",
                       p->graph->node[l->spec.node].name,
                       (long long)sums_inner(&l->sums));
    double square = (double)most * (double)most;
    l->lines_exact =
        square > 0 ? (int64_t)fmin(DOUBLE_EXACT / square, 0x1p40) : 1 << 30;
    l->sums.lowest = x.lo - x.zero;
    TRY(sums_load(&l->sums, e));
    widen(p, l, &x);
    return STATUS_OK;
}

static const struct step_kind weights_kind = {
    .name = "weight codes",
    .phase = PHASE_WEIGHTS,
    .run = weights_run,
};

/* ---- steps ---- */

static enum status layer_bind(struct plan *p, struct step *s, struct err *e)
{
    struct sum_layer *l = *(struct sum_layer **)s->priv;
    return sums_bind(p, &l->sums, plan_data(p, l->x), e);
}

static enum status layer_run(struct plan *p, struct step *s, struct err *e)
{
    struct sum_layer *l = *(struct sum_layer **)s->priv;
    struct piece_call piece = {l, plan_floats(p, l->y)};
    const struct sums_call call = {
        .plan = p,
        .sums = &l->sums,
        .x = plan_data(p, l->x),
        .sink = take_piece,
        .ctx = &piece,
    };
    begin_stats(p, l);
    TRY(sums_run(&call, e));
    end_stats(p, l);
    return STATUS_OK;
}

static void layer_fini(struct step *s)
{
    struct sum_layer *l = *(struct sum_layer **)s->priv;
    if (l)
        sums_fini(&l->sums);
}

/* By whether it is dense, by how the sums are made, as planned. */
static const struct step_kind layer_kind[2][SUM_COUNT] = {
    {
        [SUM_INT8] = {"conv int8 fwd", PHASE_FORWARD, layer_bind, layer_run,
                      layer_fini},
        [SUM_F32] = {"conv whole f32 fwd", PHASE_FORWARD, layer_bind,
                     layer_run, layer_fini},
        [SUM_OWN] = {"conv int16 fwd", PHASE_FORWARD, layer_bind, layer_run,
                     layer_fini},
    },
    {
        [SUM_INT8] = {"dense int8 fwd", PHASE_FORWARD, layer_bind, layer_run,
                      layer_fini},
        [SUM_F32] = {"dense whole f32 fwd", PHASE_FORWARD, layer_bind,
                     layer_run, layer_fini},
        [SUM_OWN] = {"dense int16 fwd", PHASE_FORWARD, layer_bind, layer_run,
                     layer_fini},
    },
};

/* ---- building ---- */

static void *array(struct plan *p, int64_t n, size_t size)
{
    void *a = arena_alloc(p->arena, (size_t)n * size);
    if (!a)
        p->out_of_memory = true;
    return a;
}

/* The largest numbers that the grids allow; of sums what is usual: weights
 * are scaled by their largest, and half of that is much for a mean. */
static struct sum_bounds expected(const struct quantizer *qx,
                                  const struct quantizer *qw, int64_t inner)
{
    int64_t span = qw->hi_code - qw->lo_code;
    bool centred = qw->spec.symmetric && qw->spec.is_signed;
    struct sum_bounds b = {
        .input = qx->hi_code - qx->lo_code,
        .stored = qx->hi_code - qx->lo_code,
        .weight_lo = centred ? qw->lo_code : -span,
        .weight_hi = centred ? qw->hi_code : span,
    };
    b.weights = inner * larger(-b.weight_lo, b.weight_hi) / 2;
    return b;
}

static bool fits(const struct plan *p, const struct sum_layer_spec *spec)
{
    const struct conv_geom *g = &spec->geom;
    int64_t inner = g->ci / g->groups * g->kh * g->kw;
    return p->opts.sums != SUM_FLOAT && codes_grid(p, spec->node) &&
           codes_weight_fits(p, spec->node) &&
           inner < INT32_MAX / (256 * 256);
}

/* Measured on AVX2, the whole way to the map: bytes are up to 3 times as fast
 * as float32; sums of few products cost more to carry on than they save, small
 * layers cannot pay for their weight codes, and groups cut pixels up. Whole
 * numbers in float32 and pairs of 16 bits are no faster than floats. */
#define INNER_LEAST 48
#define CHANNELS_LEAST 4
#define MACS_LEAST (1 << 23)

static bool is_quicker(const struct sum_layer_spec *spec,
                       const struct sum_bounds *b)
{
    const struct conv_geom *g = &spec->geom;
    int64_t inner = g->ci * g->kh * g->kw;
    return sums_int8_exact(b) && g->groups == 1 && inner >= INNER_LEAST &&
           g->ci >= CHANNELS_LEAST &&
           g->n * g->oh * g->ow * g->co * inner >= MACS_LEAST;
}

static enum status allocate(struct plan *p, struct sum_layer *l,
                            struct err *e)
{
    int64_t co = l->stats.channels, width = l->width;
    l->w = array(p, co * sums_inner(&l->sums), sizeof(*l->w));
    l->unit = array(p, co, sizeof(float));
    l->offset = array(p, width, sizeof(*l->offset));
    l->wide_unit = array(p, width, sizeof(float));
    l->wide_bias = array(p, width, sizeof(float));
    l->lanes = array(p, p->threads, sizeof(*l->lanes));
    l->stats.sum = array(p, co, sizeof(wide_int));
    l->stats.square = array(p, co, sizeof(wide_int));
    l->stats.lo = array(p, co, sizeof(int32_t));
    l->stats.hi = array(p, co, sizeof(int32_t));
    for (int i = 0; i < p->threads && !p->out_of_memory; i++) {
        struct lanes *s = &l->lanes[i];
        s->sum = array(p, width, sizeof(double));
        s->square = array(p, width, sizeof(double));
        s->lo = array(p, width, sizeof(int32_t));
        s->hi = array(p, width, sizeof(int32_t));
        s->whole = array(p, AT_ONCE * width, sizeof(int32_t));
    }
    l->stats.unit = l->unit;
    l->sums.w = l->w;
    return p->out_of_memory ? err_memory(e, "plan") : STATUS_OK;
}

enum status sum_layer_new(struct plan *p, const struct sum_layer_spec *spec,
                          struct sum_layer **out, struct err *e)
{
    *out = NULL;
    if (!fits(p, spec))
        return STATUS_OK;
    const struct conv_geom *g = &spec->geom;
    struct quantizer *qx = codes_grid(p, spec->node);
    struct quantizer *qw = p->value[spec->node].params.prep->q;
    struct sum_bounds b =
        expected(qx, qw, g->ci / g->groups * g->kh * g->kw);
    if (p->opts.sums == SUM_AUTO && !is_quicker(spec, &b))
        return STATUS_OK;
    struct sum_layer *l = arena_alloc(p->arena, sizeof(*l));
    if (!l)
        return err_memory(e, "plan");
    l->spec = *spec;
    l->qx = qx;
    l->qw = qw;
    l->bounds = b;
    l->eff = p->value[spec->node].params.prep->eff;
    l->width = g->co * ((LINE + g->co - 1) / g->co);
    l->stats.channels = g->co;
    l->stats.rows = g->n * g->oh * g->ow;
    TRY(codes_in(p, spec->node, &l->x, e));
    *out = l;
    return STATUS_OK;
}

/* Where the map's range follows from its ends. */
static enum collect collect_for(const struct plan *p, const struct tail *t)
{
    if (tail_uses_batch(p, t))
        return COLLECT_ALL;
    return t->q && quant_observes(p, t->q) ? COLLECT_ENDS : COLLECT_NOTHING;
}

enum status sum_layer_forward(struct plan *p, struct sum_layer *l,
                              struct tail *t, struct err *e)
{
    int node = l->spec.node;
    l->tail = t;
    l->y = t->src;
    l->bias = tail_give_bias(t) ? t->bias : -1;
    l->collect = collect_for(p, t);
    if (l->collect != COLLECT_NOTHING)
        t->stats = &l->stats;
    struct step *w = plan_step(p, &weights_kind, node, sizeof(l));
    struct step *s = plan_step(p, &layer_kind[0][SUM_OWN], node, sizeof(l));
    if (!w || !s)
        return err_memory(e, "plan");
    *(struct sum_layer **)w->priv = l;
    *(struct sum_layer **)s->priv = l;     /* from here on layer_fini acts */
    const struct conv_geom *g = &l->spec.geom;
    const struct sums_spec spec = {
        .geom = *g,
        .dense = l->spec.dense,
        .want = p->opts.sums,
        .bounds = l->bounds,
        .piece = l->width * LINES,
    };
    TRY(sums_init(p, &l->sums, &spec, e));
    TRY(allocate(p, l, e));
    s->kind = &layer_kind[l->spec.dense][l->sums.planned];
    s->flops = 2.0 * (double)node_macs(p->graph, &p->graph->node[node]) *
               (double)p->opts.batch;
    step_touch(p, w, l->eff);
    step_touch(p, w, l->bias);
    step_touch(p, w, l->sums.weights);
    step_touch(p, s, l->x);
    step_touch(p, s, l->sums.weights);
    step_touch(p, s, l->y);
    return STATUS_OK;
}

struct sum_layer_view sum_layer_look(const struct sum_layer *l)
{
    return (struct sum_layer_view){
        .geom = l->spec.geom,
        .qx = l->qx,
        .qw = l->qw,
        .x = l->x,
        .w = l->w,
        .channels = l->stats.channels,
        .inner = sums_inner(&l->sums),
    };
}

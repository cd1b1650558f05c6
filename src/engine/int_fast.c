/* Integer layers in (N,H,W,C): three ways to the same sums, and the choice.
 *
 * int8: oneDNN multiplies bytes by signed bytes. x counts from the lowest
 *   code, so a constant per channel is missing from every sum, and at the
 *   borders a part of it, which `delta` holds by which taps are inside.
 *   Exact when sums of bytes stay below 2^24 (they pass through float32) and
 *   pairs of products below 2^15, or the processor adds them in 32 bits,
 *   which a probe has shown for this very primitive.
 * f32: oneDNN multiplies whole numbers in float32: exact below 2^24.
 * own: int_own.c, exact always.
 * A few images are summed at a time, so that the sums are still in the
 * second-level cache when the epilogue reads them.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "engine/fast.h"
#include "engine/int_fast.h"
#include "engine/onednn_int.h"
#include "engine/sheet.h"

#define EXACT (1 << 24)       /* whole numbers of float32 */
#define CHUNK_BYTES (1 << 20) /* of sums */
#define DELTA_MAX (1 << 20)   /* numbers */

struct fast_layer {
    struct dnn_sums *dnn;     /* int8 or f32, as planned; NULL: own */
    bool exact_pairs;         /* shown by the probe */
    enum sum_path path;       /* of the weights that are loaded */
    struct conv_geom chunk;   /* g.n images of the whole */
    int64_t chunks;
    int weights;              /* buffer */
    size_t at_input, at_sums; /* in the scratch */
    struct epilogue epilogue;
    struct own_layer own;
    int32_t *bias;            /* per channel, as the epilogue adds it */
    /* Which taps lie inside: classes of output rows and columns. */
    int *row_class, *col_class, row_classes, col_classes;
    int64_t *row_sample, *col_sample;  /* an output of each class */
    int32_t *delta;           /* (row class, column class, channel) */
    bool borders;
};

/* ---- bounds ---- */

static bool pairs_fit(const struct sum_bounds *b)
{
    int64_t w = -b->weight_lo > b->weight_hi ? -b->weight_lo : b->weight_hi;
    return 2 * b->stored * w <= INT16_MAX;
}

static bool int8_fits(const struct sum_bounds *b)
{
    return b->weight_lo >= INT8_MIN && b->weight_hi <= INT8_MAX &&
           b->stored * b->weights < EXACT;
}

static bool f32_fits(const struct sum_bounds *b)
{
    return b->input * b->weights < EXACT;
}

/* With the weights there are now; an exact way always. */
static enum sum_path choose(const struct int_layer *l)
{
    const struct fast_layer *f = l->priv;
    if (f->dnn && l->sums == SUM_INT8 && int8_fits(&l->bounds) &&
        (f->exact_pairs || pairs_fit(&l->bounds)))
        return SUM_INT8;
    if (f->dnn && l->sums == SUM_F32 && f32_fits(&l->bounds))
        return SUM_F32;
    return SUM_OWN;
}

/* ---- borders ---- */

/* Outputs along an axis by which taps are inside: first and last one. */
struct axis {
    int64_t outputs, size, kernel, stride, before, dilation;
};

static bool tap_inside(const struct axis *a, int64_t o, int64_t k)
{
    int64_t at = o * a->stride - a->before + k * a->dilation;
    return at >= 0 && at < a->size;
}

static bool same_taps(const struct axis *a, int64_t o, int64_t other)
{
    for (int64_t k = 0; k < a->kernel; k++)
        if (tap_inside(a, o, k) != tap_inside(a, other, k))
            return false;
    return true;
}

/* class[o] for every output; class 0 is that of all taps. sample[c]: an
 * output of class c, -1: there is none. */
static int find_classes(const struct axis *a, int *class, int64_t *sample)
{
    int n = 1;
    sample[0] = -1;
    for (int64_t o = 0; o < a->outputs; o++) {
        bool whole = true;
        for (int64_t k = 0; k < a->kernel && whole; k++)
            whole = tap_inside(a, o, k);
        class[o] = whole ? 0 : -1;
        for (int c = n - 1; c > 0 && class[o] < 0; c--)
            if (same_taps(a, o, sample[c]))
                class[o] = c;
        if (class[o] < 0)
            class[o] = n++;
        sample[class[o]] = o;
    }
    return n;
}

static struct axis rows_of(const struct conv_geom *g)
{
    return (struct axis){g->oh, g->h, g->kh, g->sh, g->pt, g->dh};
}

static struct axis cols_of(const struct conv_geom *g)
{
    return (struct axis){g->ow, g->w, g->kw, g->sw, g->pl, g->dw};
}

/* false: too many classes for a table. */
static bool borders_init(struct plan *p, const struct int_layer *l,
                         struct fast_layer *f)
{
    const struct conv_geom *g = &l->geom;
    struct axis rows = rows_of(g), cols = cols_of(g);
    size_t room = (size_t)(g->oh + g->ow + 2);
    f->row_sample = arena_alloc(p->arena, room * sizeof(int64_t));
    f->row_class = arena_alloc(p->arena, room * sizeof(int));
    if (!f->row_sample || !f->row_class)
        return false;
    f->col_sample = f->row_sample + g->oh + 1;
    f->col_class = f->row_class + g->oh;
    f->row_classes = find_classes(&rows, f->row_class, f->row_sample);
    f->col_classes = find_classes(&cols, f->col_class, f->col_sample);
    int64_t count = (int64_t)f->row_classes * f->col_classes * g->co;
    if (count > DELTA_MAX)
        return false;
    f->borders = f->row_classes * f->col_classes > 1;
    f->delta = arena_alloc(p->arena, (size_t)count * sizeof(*f->delta));
    return f->delta != NULL;
}

/* Sum of the weights whose taps are outside for output (i, j). */
static int32_t weight_outside(const struct int_layer *l, int64_t o,
                              int64_t i, int64_t j)
{
    const struct conv_geom *g = &l->geom;
    struct axis rows = rows_of(g), cols = cols_of(g);
    const int16_t *w = l->w + o * int_layer_inner(l);
    int32_t sum = 0;
    for (int64_t c = 0; c < g->ci / g->groups; c++)
        for (int64_t k = 0; k < g->kh; k++)
            for (int64_t m = 0; m < g->kw; m++, w++)
                if (!tap_inside(&rows, i, k) || !tap_inside(&cols, j, m))
                    sum += *w;
    return sum;
}

static void load_borders(const struct int_layer *l, struct fast_layer *f)
{
    uint32_t zero = (uint32_t)(l->gx.zero - l->gx.lo);
    int32_t *delta = f->delta;
    for (int r = 0; r < f->row_classes; r++)
        for (int c = 0; c < f->col_classes; c++) {
            int64_t i = f->row_sample[r], j = f->col_sample[c];
            for (int64_t o = 0; o < l->geom.co && i >= 0 && j >= 0; o++)
                delta[o] = (int32_t)(zero *
                                     (uint32_t)weight_outside(l, o, i, j));
            delta += l->geom.co;
        }
}

static void add_delta(const int32_t *delta, int32_t *sum, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        sum[i] = (int32_t)((uint32_t)sum[i] + (uint32_t)delta[i]);
}

/* One output row of sums. */
static void mend_row(const struct fast_layer *f, int64_t i, int32_t *sum)
{
    const struct conv_geom *g = &f->chunk;
    int r = f->row_class[i];
    for (int64_t j = 0; j < g->ow; j++) {
        int c = f->col_class[j];
        if (r + c > 0)
            add_delta(f->delta + (r * f->col_classes + c) * g->co,
                      sum + j * g->co, g->co);
    }
}

/* ---- building ---- */

static int64_t chunk_images(const struct plan *p, const struct conv_geom *g)
{
    int64_t bytes = g->oh * g->ow * g->co * (int64_t)sizeof(int32_t);
    int64_t limit = CHUNK_BYTES / bytes, best = 0;
    limit = limit > p->threads ? limit : p->threads;
    for (int64_t n = 1; n <= g->n && n <= limit; n++)
        if (g->n % n == 0)
            best = n;
    /* A batch without fitting divisors goes in one piece. */
    return 2 * best >= (limit < g->n ? limit : g->n) ? best : g->n;
}

static size_t aligned(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static enum status make_dnn(struct plan *p, struct int_layer *l,
                            enum sum_path path, struct err *e)
{
    struct fast_layer *f = l->priv;
    const struct conv_geom *g = &f->chunk;
    const struct dnn_sums_spec spec = {*g, l->dense, path == SUM_INT8};
    TRY(plan_dnn(p, e));
    TRY(dnn_sums_new(p->dnn, &spec, &f->dnn, e));
    if (!f->dnn)
        return STATUS_OK;
    l->sums = path;
    size_t inputs = (size_t)(g->n * g->h * g->w * g->ci) * sizeof(float);
    size_t sums = (size_t)(g->n * g->oh * g->ow * g->co) * sizeof(float);
    f->at_input = aligned(dnn_sums_scratch_bytes(f->dnn));
    f->at_sums = f->at_input + (path == SUM_F32 ? aligned(inputs) : 0);
    plan_scratch(p, f->at_sums + sums);
    size_t bytes = dnn_sums_weight_bytes(f->dnn);
    f->weights = plan_buffer_vector(p, (int64_t)(bytes / sizeof(float) + 1));
    if (p->out_of_memory)
        return err_memory(e, "plan");
    p->buf[f->weights].pinned = true;
    return STATUS_OK;
}

/* What is exact with today's weights and not slow, in order of speed. */
static enum status plan_path(struct plan *p, struct int_layer *l,
                             struct err *e)
{
    struct fast_layer *f = l->priv;
    enum sum_path want = p->opts.sums;
    l->sums = SUM_OWN;
    bool int8 = want == SUM_AUTO || want == SUM_INT8;
    if (int8 && int8_fits(&l->bounds) && borders_init(p, l, f) &&
        (pairs_fit(&l->bounds) || dnn_has_vnni()))
        TRY(make_dnn(p, l, SUM_INT8, e));
    if (!f->dnn && want != SUM_OWN && f32_fits(&l->bounds))
        TRY(make_dnn(p, l, SUM_F32, e));
    return STATUS_OK;
}

static enum status fast_build(struct plan *p, struct step *s,
                              struct int_layer *l, struct err *e)
{
    struct fast_layer *f = arena_alloc(p->arena, sizeof(*f));
    if (!f)
        return err_memory(e, "plan");
    l->priv = f;
    f->weights = -1;
    f->bias = arena_alloc(p->arena, (size_t)l->geom.co * sizeof(*f->bias));
    if (!f->bias)
        return err_memory(e, "plan");
    f->chunk = l->geom;
    f->chunk.n = chunk_images(p, &l->geom);
    f->chunks = l->geom.n / f->chunk.n;
    TRY(epilogue_init(p, l, &f->epilogue, e));
    TRY(own_init(p, l, &f->own, e));
    plan_scratch(p, own_scratch_bytes(p, &f->own));
    TRY(plan_path(p, l, e));
    step_touch(p, s, f->weights);
    return STATUS_OK;
}

static void fast_fini(struct int_layer *l)
{
    struct fast_layer *f = l->priv;
    if (f)
        dnn_sums_free(f->dnn);
}

/* ---- the probe ---- */

/* Products of the largest numbers, as many as keep the sum exact in float32:
 * saturating pairs would show. */
static void probe_weights(const struct int_layer *l, int8_t *w)
{
    int64_t inner = int_layer_inner(l), most = EXACT / (255 * 127) - 1;
    for (int64_t i = 0; i < l->geom.co * inner; i++)
        w[i] = i % inner < most ? INT8_MAX : 0;
}

static int32_t probe_sum(const struct int_layer *l, int64_t i, int64_t j)
{
    const struct conv_geom *g = &l->geom;
    struct axis rows = rows_of(g), cols = cols_of(g);
    int64_t most = EXACT / (255 * 127) - 1, n = 0, count = 0;
    for (int64_t c = 0; c < g->ci / g->groups; c++)
        for (int64_t k = 0; k < g->kh; k++)
            for (int64_t m = 0; m < g->kw; m++, n++)
                count += n < most && tap_inside(&rows, i, k) &&
                         tap_inside(&cols, j, m);
    return (int32_t)(count * 255 * 127);
}

/* Before any forward: the layer's own buffers serve as input and output. */
static enum status probe(struct plan *p, struct int_layer *l, struct err *e)
{
    struct fast_layer *f = l->priv;
    const struct conv_geom *g = &f->chunk;
    char *scratch = plan_scratch_data(p);
    int32_t *sum = (void *)(scratch + f->at_sums);
    probe_weights(l, (void *)l->code);
    TRY(dnn_sums_load(f->dnn, l->code, e));
    memset(plan_data(p, l->x), 255, (size_t)p->buf[l->x].bytes);
    TRY(dnn_sums_run(f->dnn, plan_data(p, l->x), sum, e));
    f->exact_pairs = true;
    for (int64_t i = 0; i < g->oh; i++)
        for (int64_t j = 0; j < g->ow; j++) {
            int32_t want = probe_sum(l, i, j);
            for (int64_t o = 0; o < g->co; o++)
                if (sum[(i * g->ow + j) * g->co + o] != want)
                    f->exact_pairs = false;
        }
    return STATUS_OK;
}

static enum status fast_bind(struct plan *p, struct int_layer *l,
                             struct err *e)
{
    struct fast_layer *f = l->priv;
    if (!f->dnn)
        return STATUS_OK;
    TRY(dnn_sums_bind(f->dnn, plan_data(p, f->weights), plan_scratch_data(p),
                      e));
    if (l->sums == SUM_INT8 && dnn_has_vnni())
        TRY(probe(p, l, e));
    return STATUS_OK;
}

/* ---- loading ---- */

static enum status load_int8(struct int_layer *l, struct err *e)
{
    struct fast_layer *f = l->priv;
    int64_t inner = int_layer_inner(l);
    int32_t zero = l->gx.zero - l->gx.lo;
    int8_t *w = (void *)l->code;
    for (int64_t o = 0; o < l->geom.co; o++) {
        int32_t sum = 0;
        for (int64_t i = o * inner; i < (o + 1) * inner; i++) {
            w[i] = (int8_t)l->w[i];
            sum += l->w[i];
        }
        f->bias[o] = (int32_t)((uint32_t)f->bias[o] -
                               (uint32_t)zero * (uint32_t)sum);
    }
    if (f->borders)
        load_borders(l, f);
    return dnn_sums_load(f->dnn, w, e);
}

static enum status load_f32(struct int_layer *l, struct err *e)
{
    const struct fast_layer *f = l->priv;
    for (int64_t i = 0; i < l->weight->count; i++)
        l->quantized[i] = (float)l->w[i];
    return dnn_sums_load(f->dnn, l->quantized, e);
}

static enum status fast_load(struct plan *p, struct int_layer *l,
                             struct err *e)
{
    (void)p;
    struct fast_layer *f = l->priv;
    f->path = choose(l);
    for (int64_t o = 0; o < l->geom.co; o++)
        f->bias[o] = l->qy ? l->whole[o] : 0;
    if (f->path == SUM_INT8)
        TRY(load_int8(l, e));
    else if (f->path == SUM_F32)
        TRY(load_f32(l, e));
    else
        own_load(l, &f->own);
    epilogue_load(l, f->bias, &f->epilogue);
    return STATUS_OK;
}

/* ---- running ---- */

/* Lines of sums a thread takes at a time. */
#define LINES 4

struct fast_call {
    const struct int_layer *l;
    const struct fast_layer *f;
    const uint8_t *x;         /* of the chunk */
    char *y;
    void *sums;
    float *input;
    size_t y_size;
};

static void finish_int8(const struct fast_call *c)
{
    const struct fast_layer *f = c->f;
    const struct conv_geom *g = &f->chunk;
    int64_t row = g->ow * g->co, rows = g->n * g->oh;
    int32_t *sum = c->sums;
    if (f->borders && c->l->gx.zero != c->l->gx.lo) {
#pragma omp parallel for schedule(static) if (rows * row > SHEET_PARALLEL)
        for (int64_t r = 0; r < rows; r++)
            mend_row(f, r % g->oh, sum + r * row);
    }
    int64_t count = rows * row, piece = f->epilogue.width * LINES;
#pragma omp parallel for schedule(static) if (count > SHEET_PARALLEL)
    for (int64_t at = 0; at < count; at += piece)
        epilogue_run(&f->epilogue, sum + at, c->y + (size_t)at * c->y_size,
                     count - at < piece ? count - at : piece);
}

static void finish_f32(const struct fast_call *c)
{
    const struct fast_layer *f = c->f;
    const struct conv_geom *g = &f->chunk;
    int64_t count = g->n * g->oh * g->ow * g->co;
    int64_t piece = f->epilogue.width * LINES;
    const float *sum = c->sums;
#pragma omp parallel for schedule(static) if (count > SHEET_PARALLEL)
    for (int64_t at = 0; at < count; at += piece)
        epilogue_run_f32(&f->epilogue, sum + at,
                         c->y + (size_t)at * c->y_size,
                         count - at < piece ? count - at : piece);
}

ENGINE_CLONES static void whole_numbers(const uint8_t *x, float *y, int64_t n,
                                        int32_t shift)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = (float)(x[i] + shift);
}

static void widen_input(const struct fast_call *c)
{
    const struct conv_geom *g = &c->f->chunk;
    int64_t count = g->n * g->h * g->w * g->ci, piece = 4096;
    int32_t shift = c->l->gx.lo - c->l->gx.zero;
#pragma omp parallel for schedule(static) if (count > SHEET_PARALLEL)
    for (int64_t at = 0; at < count; at += piece)
        whole_numbers(c->x + at, c->input + at,
                      count - at < piece ? count - at : piece, shift);
}

static enum status run_chunk(const struct fast_call *c, struct err *e)
{
    struct dnn_sums *dnn = c->f->dnn;
    if (c->f->path == SUM_INT8) {
        TRY(dnn_sums_run(dnn, c->x, c->sums, e));
        finish_int8(c);
        return STATUS_OK;
    }
    widen_input(c);
    TRY(dnn_sums_run(dnn, c->input, c->sums, e));
    finish_f32(c);
    return STATUS_OK;
}

static enum status fast_run(struct plan *p, struct int_layer *l,
                            struct err *e)
{
    const struct fast_layer *f = l->priv;
    if (f->path == SUM_OWN) {
        own_run(p, l, &f->own, &f->epilogue);
        return STATUS_OK;
    }
    const struct conv_geom *g = &f->chunk;
    char *scratch = plan_scratch_data(p);
    struct fast_call c = {
        .l = l, .f = f,
        .x = plan_data(p, l->x),
        .y = plan_data(p, l->y),
        .sums = scratch + f->at_sums,
        .input = (void *)(scratch + f->at_input),
        .y_size = l->qy ? 1 : sizeof(float),
    };
    for (int64_t i = 0; i < f->chunks; i++) {
        TRY(run_chunk(&c, e));
        c.x += g->n * g->h * g->w * g->ci;
        c.y += (size_t)(g->n * g->oh * g->ow * g->co) * c.y_size;
    }
    return STATUS_OK;
}

const struct int_kernels int_kernels_fast = {
    .channels_last = true,
    .build = fast_build,
    .bind = fast_bind,
    .load = fast_load,
    .run = fast_run,
    .fini = fast_fini,
};

void int_describe(struct str *out)
{
    bool vnni = dnn_has_vnni();
    str_printf(out, "mode int: bytes by oneDNN %s\n",
               vnni ? "(VNNI adds products in 32 bits; every primitive is "
                      "probed)"
                    : "where 2 max|code| max|weight| <= 32767 (no VNNI: "
                      "pairs of products saturate in 16 bits)");
    str_printf(out, "mode int: else whole numbers in float32 where sums stay "
                    "below 2^24, else 16-bit pairs, %s\n",
               own_describe());
}

/* Three ways to the same sums, and the choice.
 *
 * int8: oneDNN multiplies bytes by signed bytes. x counts from the lowest
 *   code, so a constant per channel is missing from every sum (`offset`), and
 *   at the borders a part of it, which `delta` holds by which taps are inside.
 *   Exact when sums of bytes stay below 2^24 (they pass through float32) and
 *   pairs of products below 2^15, or the processor adds them in 32 bits,
 *   which a probe has shown for this very primitive.
 * f32: oneDNN multiplies whole numbers in float32: exact below 2^24. Of one
 *   input channel thin_conv.c does.
 * own: int_own.c, exact always.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/sums.h"

#include <omp.h>
#include <string.h>

#include "engine/fast.h"
#include "engine/onednn_int.h"
#include "engine/sheet.h"
#include "engine/thin_conv.h"

#define EXACT (1 << 24)       /* whole numbers of float32 */
#define CHUNK_BYTES (1 << 18) /* of sums: half a second-level cache */
#define DELTA_MAX (1 << 20)   /* numbers */

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

bool sums_int8_exact(const struct sum_bounds *b)
{
    return int8_fits(b) && (pairs_fit(b) || dnn_has_vnni());
}

/* With the weights there are now; an exact way always. */
static enum sum_path choose(const struct sums *s)
{
    if (s->planned == SUM_INT8 && int8_fits(&s->bounds) &&
        (s->exact_pairs || pairs_fit(&s->bounds)))
        return SUM_INT8;
    if (s->planned == SUM_F32 && f32_fits(&s->bounds))
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
static bool borders_init(struct plan *p, struct sums *s)
{
    const struct conv_geom *g = &s->spec.geom;
    struct axis rows = rows_of(g), cols = cols_of(g);
    size_t room = (size_t)(g->oh + g->ow + 2);
    s->row_sample = arena_alloc(p->arena, room * sizeof(int64_t));
    s->row_class = arena_alloc(p->arena, room * sizeof(int));
    if (!s->row_sample || !s->row_class)
        return false;
    s->col_sample = s->row_sample + g->oh + 1;
    s->col_class = s->row_class + g->oh;
    s->row_classes = find_classes(&rows, s->row_class, s->row_sample);
    s->col_classes = find_classes(&cols, s->col_class, s->col_sample);
    int64_t count = (int64_t)s->row_classes * s->col_classes * g->co;
    if (count > DELTA_MAX)
        return false;
    s->borders = s->row_classes * s->col_classes > 1;
    s->delta = arena_alloc(p->arena, (size_t)count * sizeof(*s->delta));
    s->tap_sum = arena_alloc(p->arena, (size_t)(g->kh * g->kw) *
                                           sizeof(*s->tap_sum));
    return s->delta && s->tap_sum;
}

/* Of channel o, for every tap the sum over its inputs. */
static void add_taps(struct sums *s, int64_t o)
{
    const struct conv_geom *g = &s->spec.geom;
    int64_t taps = g->kh * g->kw, inner = sums_inner(s);
    const int16_t *w = s->w + o * inner;
    memset(s->tap_sum, 0, (size_t)taps * sizeof(*s->tap_sum));
    for (int64_t i = 0; i < inner; i += taps)
        for (int64_t t = 0; t < taps; t++)
            s->tap_sum[t] += w[i + t];
}

/* Sum of the weights whose taps are outside for output (i, j). */
static int32_t weight_outside(const struct sums *s, int64_t i, int64_t j)
{
    const struct conv_geom *g = &s->spec.geom;
    struct axis rows = rows_of(g), cols = cols_of(g);
    const int32_t *tap = s->tap_sum;
    int32_t sum = 0;
    for (int64_t k = 0; k < g->kh; k++)
        for (int64_t m = 0; m < g->kw; m++, tap++)
            if (!tap_inside(&rows, i, k) || !tap_inside(&cols, j, m))
                sum += *tap;
    return sum;
}

static void load_borders(struct sums *s, int64_t o)
{
    int32_t *delta = s->delta + o;
    add_taps(s, o);
    for (int r = 0; r < s->row_classes; r++)
        for (int c = 0; c < s->col_classes; c++) {
            int64_t i = s->row_sample[r], j = s->col_sample[c];
            if (i >= 0 && j >= 0)
                *delta = (int32_t)((uint32_t)-s->lowest *
                                   (uint32_t)weight_outside(s, i, j));
            delta += s->spec.geom.co;
        }
}

static void add_delta(const int32_t *delta, int32_t *sum, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        sum[i] = (int32_t)((uint32_t)sum[i] + (uint32_t)delta[i]);
}

/* One output row of sums. */
static void mend_row(const struct sums *s, int64_t i, int32_t *sum)
{
    const struct conv_geom *g = &s->chunk;
    int r = s->row_class[i];
    for (int64_t j = 0; j < g->ow; j++) {
        int c = s->col_class[j];
        if (r + c > 0)
            add_delta(s->delta + (r * s->col_classes + c) * g->co,
                      sum + j * g->co, g->co);
    }
}

/* ---- building ---- */

/* Every thread sums some images alone, so that it finds the sums in its own
 * second-level cache. A batch of fewer images than threads goes in one piece,
 * which all threads share. Chunks are as many for each thread; the last one
 * begins early enough to be whole. */
static void find_chunks(const struct plan *p, struct sums *s)
{
    const struct conv_geom *g = &s->spec.geom;
    int64_t bytes = g->oh * g->ow * g->co * (int64_t)sizeof(int32_t);
    int64_t most = bytes < CHUNK_BYTES ? CHUNK_BYTES / bytes : 1;
    s->lanes = 0;
    s->chunks = 1;
    if (g->n < p->threads)
        return;
    s->lanes = p->threads;
    int64_t rounds = (g->n + most * s->lanes - 1) / (most * s->lanes);
    s->chunk.n = (g->n + rounds * s->lanes - 1) / (rounds * s->lanes);
    s->chunks = (g->n + s->chunk.n - 1) / s->chunk.n;
}

static size_t aligned(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

/* Scratch: `shared` bytes, then each lane's input, sums, and `own` bytes. */
static void place_lanes(struct plan *p, struct sums *s, size_t shared,
                        size_t own)
{
    const struct conv_geom *g = &s->chunk;
    size_t inputs = (size_t)(g->n * g->h * g->w * g->ci) * sizeof(float);
    size_t sums = (size_t)(g->n * g->oh * g->ow * g->co) * sizeof(float);
    size_t lanes = s->lanes > 0 ? (size_t)s->lanes : 1;
    s->at_lanes = aligned(shared);
    s->input_bytes = s->planned == SUM_F32 ? aligned(inputs) : 0;
    s->sums_bytes = aligned(sums);
    s->lane_bytes = s->input_bytes + s->sums_bytes + aligned(own);
    plan_scratch(p, s->at_lanes + lanes * s->lane_bytes);
}

/* A lane works alone, or all threads on one chunk. */
static int thin_threads(const struct plan *p, const struct sums *s)
{
    return s->lanes > 0 ? 1 : p->threads;
}

static void make_thin(struct plan *p, struct sums *s)
{
    s->thin = true;
    s->planned = SUM_F32;
    place_lanes(p, s, 0, thin_conv_scratch(&s->chunk, thin_threads(p, s)));
}

static enum status make_dnn(struct plan *p, struct sums *s,
                            enum sum_path path, struct err *e)
{
    const struct conv_geom *g = &s->chunk;
    const struct dnn_sums_spec spec = {
        .geom = *g,
        .dense = s->spec.dense,
        .bytes = path == SUM_INT8,
        .lanes = s->lanes,
    };
    TRY(plan_dnn(p, e));
    TRY(dnn_sums_new(p->dnn, &spec, &s->dnn, e));
    if (!s->dnn)
        return STATUS_OK;
    s->planned = path;
    place_lanes(p, s, dnn_sums_scratch_bytes(s->dnn), 0);
    size_t bytes = dnn_sums_weight_bytes(s->dnn);
    s->weights = plan_buffer_vector(p, (int64_t)(bytes / sizeof(float) + 1));
    if (p->out_of_memory)
        return err_memory(e, "plan");
    p->buf[s->weights].pinned = true;
    return STATUS_OK;
}

/* Kernels for bytes take input channels by four: with fewer they multiply
 * zeros (5x5 1 -> 6 at 28x28, 64 images: 0.72 ms, whole floats 0.61). */
#define BYTE_CHANNELS 4

/* What is exact with the numbers expected and not slow, in order of speed. */
static enum status plan_path(struct plan *p, struct sums *s, struct err *e)
{
    const struct sum_bounds *b = &s->spec.bounds;
    enum sum_path want = s->spec.want;
    s->planned = SUM_OWN;
    bool int8 = want == SUM_AUTO || want == SUM_FLOAT || want == SUM_INT8;
    bool few = s->spec.geom.ci < BYTE_CHANNELS && !s->spec.dense;
    if (want != SUM_INT8 && want != SUM_OWN && few && f32_fits(b)) {
        if (thin_conv_fits(&s->chunk))
            make_thin(p, s);
        else
            TRY(make_dnn(p, s, SUM_F32, e));
    }
    if (s->planned == SUM_OWN && int8 && sums_int8_exact(b) &&
        borders_init(p, s))
        TRY(make_dnn(p, s, SUM_INT8, e));
    if (s->planned == SUM_OWN && want != SUM_OWN && f32_fits(b))
        TRY(make_dnn(p, s, SUM_F32, e));
    return STATUS_OK;
}

enum status sums_init(struct plan *p, struct sums *s,
                      const struct sums_spec *spec, struct err *e)
{
    *s = (struct sums){.spec = *spec, .chunk = spec->geom, .weights = -1};
    const struct conv_geom *g = &s->spec.geom;
    size_t co = (size_t)g->co;
    s->offset = arena_alloc(p->arena, co * sizeof(*s->offset));
    s->staging = arena_alloc(p->arena, co * (size_t)sums_inner(s) *
                                           sizeof(float));
    if (!s->offset || !s->staging)
        return err_memory(e, "plan");
    find_chunks(p, s);
    TRY(own_init(p, s, &s->own, e));
    plan_scratch(p, own_scratch_bytes(p, &s->own));
    return plan_path(p, s, e);
}

void sums_fini(struct sums *s)
{
    dnn_sums_free(s->dnn);
    s->dnn = NULL;
}

/* ---- the probe ---- */

/* Products of the largest numbers, as many as keep the sum exact in float32:
 * saturating pairs would show. */
static void probe_weights(const struct sums *s, int8_t *w)
{
    int64_t inner = sums_inner(s), most = EXACT / (255 * 127) - 1;
    for (int64_t i = 0; i < s->spec.geom.co * inner; i++)
        w[i] = i % inner < most ? INT8_MAX : 0;
}

static int32_t probe_sum(const struct conv_geom *g, int64_t i, int64_t j)
{
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
static enum status probe(struct plan *p, struct sums *s, void *x,
                         struct err *e)
{
    const struct conv_geom *g = &s->chunk;
    char *scratch = plan_scratch_data(p);
    int32_t *sum = (void *)(scratch + s->at_lanes + s->input_bytes);
    probe_weights(s, s->staging);
    TRY(dnn_sums_load(s->dnn, s->staging, e));
    memset(x, 255, (size_t)(g->n * g->h * g->w * g->ci));
    TRY(dnn_sums_run(s->dnn, 0, x, sum, e));
    s->exact_pairs = true;
    for (int64_t i = 0; i < g->oh; i++)
        for (int64_t j = 0; j < g->ow; j++) {
            int32_t want = probe_sum(g, i, j);
            for (int64_t o = 0; o < g->co; o++)
                if (sum[(i * g->ow + j) * g->co + o] != want)
                    s->exact_pairs = false;
        }
    return STATUS_OK;
}

enum status sums_bind(struct plan *p, struct sums *s, void *x, struct err *e)
{
    if (!s->dnn)
        return STATUS_OK;
    TRY(dnn_sums_bind(s->dnn, plan_data(p, s->weights), plan_scratch_data(p),
                      e));
    if (s->planned == SUM_INT8 && dnn_has_vnni())
        TRY(probe(p, s, x, e));
    return STATUS_OK;
}

/* ---- loading ---- */

ENGINE_CLONES static int32_t load_bytes(const int16_t *w, int8_t *to,
                                        int64_t n)
{
    int32_t sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) {
        to[i] = (int8_t)w[i];
        sum += w[i];
    }
    return sum;
}

ENGINE_CLONES static void load_reals(const int16_t *w, float *to, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        to[i] = (float)w[i];
}

static enum status load_int8(struct sums *s, struct err *e)
{
    int64_t inner = sums_inner(s);
    int8_t *to = s->staging;
    for (int64_t o = 0; o < s->spec.geom.co; o++) {
        int32_t sum = load_bytes(s->w + o * inner, to + o * inner, inner);
        s->offset[o] = (int32_t)((uint32_t)s->lowest * (uint32_t)sum);
        if (s->borders && s->lowest)
            load_borders(s, o);
    }
    return dnn_sums_load(s->dnn, s->staging, e);
}

enum status sums_load(struct sums *s, struct err *e)
{
    int64_t co = s->spec.geom.co;
    s->path = choose(s);
    memset(s->offset, 0, (size_t)co * sizeof(*s->offset));
    if (s->path == SUM_INT8)
        return load_int8(s, e);
    if (s->path == SUM_F32) {
        load_reals(s->w, s->staging, co * sums_inner(s));
        return s->thin ? STATUS_OK : dnn_sums_load(s->dnn, s->staging, e);
    }
    own_load(s, &s->own);
    return STATUS_OK;
}

/* ---- running ---- */

/* Sums of a chunk, which begins at element `first` of the output; the first
 * `skip` of them belong to the chunk before. */
struct chunk {
    const struct sums_call *call;
    int64_t first, skip, count;
    void *sums;
    const uint8_t *x;
    float *input;
    void *own;                /* scratch of thin_conv.c */
    bool shared;              /* by all threads; else `lane` does it alone */
    int lane;
};

static void give_piece(const struct chunk *c, int64_t at, int thread)
{
    const struct sums *s = c->call->sums;
    int64_t size = s->spec.piece, left = c->count - at;
    bool whole = s->path == SUM_INT8;
    const struct sums_piece piece = {
        .i32 = whole ? (const int32_t *)c->sums + at : NULL,
        .f32 = whole ? NULL : (const float *)c->sums + at,
        .at = c->first + at,
        .count = left < size ? left : size,
        .thread = thread,
    };
    c->call->sink(c->call->ctx, &piece);
}

static void give_pieces(const struct chunk *c)
{
    int64_t size = c->call->sums->spec.piece;
    if (!c->shared) {
        for (int64_t at = c->skip; at < c->count; at += size)
            give_piece(c, at, c->lane);
        return;
    }
#pragma omp parallel for schedule(static) num_threads(c->call->plan->threads)
    for (int64_t at = c->skip; at < c->count; at += size)
        give_piece(c, at, omp_get_thread_num());
}

static void mend_borders(const struct chunk *c)
{
    const struct sums *s = c->call->sums;
    const struct conv_geom *g = &s->chunk;
    int64_t row = g->ow * g->co, rows = g->n * g->oh;
    int32_t *sum = c->sums;
#pragma omp parallel for schedule(static) if (c->shared)
    for (int64_t r = 0; r < rows; r++)
        mend_row(s, r % g->oh, sum + r * row);
}

ENGINE_CLONES static void whole_numbers(const uint8_t *x, float *y, int64_t n,
                                        int32_t shift)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = (float)(x[i] + shift);
}

ENGINE_CLONES void sums_to_int(const float *x, int32_t *y, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = (int32_t)x[i];
}

static void widen_input(const struct chunk *c)
{
    const struct sums *s = c->call->sums;
    const struct conv_geom *g = &s->chunk;
    int64_t count = g->n * g->h * g->w * g->ci, piece = 4096;
#pragma omp parallel for schedule(static) if (c->shared)
    for (int64_t at = 0; at < count; at += piece)
        whole_numbers(c->x + at, c->input + at,
                      count - at < piece ? count - at : piece, s->lowest);
}

static enum status run_f32(const struct chunk *c, struct err *e)
{
    const struct sums *s = c->call->sums;
    if (!s->thin)
        return dnn_sums_run(s->dnn, c->lane, c->input, c->sums, e);
    const struct thin_conv t = {
        .geom = s->chunk,
        .threads = thin_threads(c->call->plan, s),
        .x = c->input,
        .w = s->staging,
        .to = c->sums,
        .scratch = c->own,
    };
    thin_conv_forward(&t);
    return STATUS_OK;
}

static enum status run_chunk(const struct chunk *c, struct err *e)
{
    const struct sums *s = c->call->sums;
    if (s->path == SUM_INT8) {
        TRY(dnn_sums_run(s->dnn, c->lane, c->x, c->sums, e));
        if (s->borders && s->lowest)
            mend_borders(c);
    } else {
        widen_input(c);
        TRY(run_f32(c, e));
    }
    give_pieces(c);
    return STATUS_OK;
}

/* Chunk i, by one lane. */
static enum status run_lane(const struct sums_call *call, int64_t i, int lane,
                            struct err *e)
{
    const struct sums *s = call->sums;
    const struct conv_geom *g = &s->chunk;
    int64_t image = i * g->n, last = s->spec.geom.n - g->n;
    int64_t begin = image < last ? image : last;
    int64_t out = g->oh * g->ow * g->co;
    char *memory = (char *)plan_scratch_data(call->plan) + s->at_lanes +
                   (size_t)lane * s->lane_bytes;
    const struct chunk c = {
        .call = call,
        .first = begin * out,
        .skip = (image - begin) * out,
        .count = g->n * out,
        .sums = memory + s->input_bytes,
        .x = call->x + begin * g->h * g->w * g->ci,
        .input = (void *)memory,
        .own = memory + s->input_bytes + s->sums_bytes,
        .shared = s->lanes == 0,
        .lane = lane,
    };
    return run_chunk(&c, e);
}

enum status sums_run(const struct sums_call *call, struct err *e)
{
    const struct sums *s = call->sums;
    if (s->path == SUM_OWN) {
        own_run(call);
        return STATUS_OK;
    }
    if (s->lanes == 0)
        return run_lane(call, 0, 0, e);
    enum status first = STATUS_OK;
#pragma omp parallel for schedule(dynamic, 1) num_threads(s->lanes)
    for (int64_t i = 0; i < s->chunks; i++) {
        struct err mine;
        enum status st = run_lane(call, i, omp_get_thread_num(), &mine);
        if (st == STATUS_OK)
            continue;
#pragma omp critical(engine_sums_error)
        if (first == STATUS_OK) {
            first = st;
            *e = mine;
        }
    }
    return first;
}

void sums_describe(struct str *out)
{
    bool vnni = dnn_has_vnni();
    str_printf(out, "sums of codes: bytes by oneDNN %s\n",
               vnni ? "(VNNI adds products in 32 bits; every primitive is "
                      "probed)"
                    : "where 2 max|code| max|weight| <= 32767 (no VNNI: "
                      "pairs of products saturate in 16 bits)");
    str_printf(out, "sums of codes: else whole numbers in float32 where sums "
                    "stay below 2^24, else 16-bit pairs, %s\n",
               own_describe());
}

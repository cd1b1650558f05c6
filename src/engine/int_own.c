/* Sums of products by a kernel of our own: 16-bit numbers in pairs, exact for
 * any codes and weights, on any processor.
 *
 * The input of a work item (some output rows of an image) is widened to
 * code - zero with zeros around it, so that padding and zero points need no
 * thought; a tile is 4 pixels by 8 or 16 outputs, where one instruction
 * multiplies pairs and adds them to 32-bit sums (vpmaddwd). The sums of a row
 * go to the sink while they are in the first-level cache.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/sums.h"

#include <omp.h>
#include <string.h>

#include "base/cpu.h"
#include "engine/sheet.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define OWN_AVX2 1
#include <immintrin.h>
#else
#define OWN_AVX2 0
#endif

#define OUTS 8                /* outputs of a block */
#define PIXELS 4              /* of a tile */
#define SLACK 64              /* bytes that a last pair may read too far */
#define FLAT 64               /* pixels of a 1x1 layer's row at most */

/* ---- tiles ---- */

struct tile {
    const int16_t *x[PIXELS];
    const int16_t *w;         /* a second block lies `block` numbers behind */
    int64_t block, runs, pairs;
    const int32_t *offset;
    int32_t sum[PIXELS][2 * OUTS];
};

/* blocks: 1 or 2 */
typedef void (*tile_fn)(struct tile *t, int blocks);

static void tile_portable(struct tile *t, int blocks)
{
    memset(t->sum, 0, sizeof(t->sum));
    for (int b = 0; b < blocks; b++) {
        const int16_t *w = t->w + b * t->block;
        for (int64_t r = 0; r < t->runs; r++)
            for (int64_t k = 0; k < t->pairs; k++, w += 2 * OUTS)
                for (int p = 0; p < PIXELS; p++) {
                    const int16_t *x = t->x[p] + t->offset[r] + 2 * k;
                    int32_t *sum = t->sum[p] + b * OUTS;
                    for (int o = 0; o < OUTS; o++)
                        sum[o] += x[0] * w[2 * o] + x[1] * w[2 * o + 1];
                }
    }
}

#if OWN_AVX2

#define AVX2 __attribute__((target("avx2")))

AVX2 static inline __m256i pair_at(const int16_t *x)
{
    int32_t pair;
    memcpy(&pair, x, sizeof(pair));
    return _mm256_set1_epi32(pair);
}

AVX2 static inline __m256i load8(const int16_t *w)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)w);
}

AVX2 static inline void store8(int32_t *to, __m256i v)
{
    _mm256_storeu_si256((__m256i *)(void *)to, v);
}

AVX2 static void tile_avx2_wide(struct tile *t)
{
    __m256i a[PIXELS], b[PIXELS];
    for (int p = 0; p < PIXELS; p++)
        a[p] = b[p] = _mm256_setzero_si256();
    const int16_t *w = t->w, *v = t->w + t->block;
    for (int64_t r = 0; r < t->runs; r++) {
        int64_t at = t->offset[r], end = at + 2 * t->pairs;
        for (; at < end; at += 2, w += 2 * OUTS, v += 2 * OUTS) {
            __m256i w0 = load8(w), w1 = load8(v);
            for (int p = 0; p < PIXELS; p++) {
                __m256i x = pair_at(t->x[p] + at);
                a[p] = _mm256_add_epi32(a[p], _mm256_madd_epi16(x, w0));
                b[p] = _mm256_add_epi32(b[p], _mm256_madd_epi16(x, w1));
            }
        }
    }
    for (int p = 0; p < PIXELS; p++) {
        store8(t->sum[p], a[p]);
        store8(t->sum[p] + OUTS, b[p]);
    }
}

AVX2 static void tile_avx2_narrow(struct tile *t)
{
    __m256i a[PIXELS];
    for (int p = 0; p < PIXELS; p++)
        a[p] = _mm256_setzero_si256();
    const int16_t *w = t->w;
    for (int64_t r = 0; r < t->runs; r++) {
        int64_t at = t->offset[r], end = at + 2 * t->pairs;
        for (; at < end; at += 2, w += 2 * OUTS) {
            __m256i w0 = load8(w);
            for (int p = 0; p < PIXELS; p++) {
                __m256i x = pair_at(t->x[p] + at);
                a[p] = _mm256_add_epi32(a[p], _mm256_madd_epi16(x, w0));
            }
        }
    }
    for (int p = 0; p < PIXELS; p++)
        store8(t->sum[p], a[p]);
}

static void tile_avx2(struct tile *t, int blocks)
{
    if (blocks == 2)
        tile_avx2_wide(t);
    else
        tile_avx2_narrow(t);
}

static tile_fn tile_best(void)
{
    return cpu_get()->avx2 ? tile_avx2 : tile_portable;
}

#else

static tile_fn tile_best(void)
{
    return tile_portable;
}

#endif

const char *own_describe(void)
{
    return tile_best() == tile_portable ? "portable code" : "AVX2";
}

/* ---- shape of the work ---- */

static bool is_flat(const struct conv_geom *g)
{
    return g->kh == 1 && g->kw == 1 && g->sh == 1 && g->sw == 1 &&
           g->pt == 0 && g->pl == 0 && g->pb == 0 && g->pr == 0;
}

static int64_t up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* All pixels of the batch in rows of equal length, the last one shorter. */
static void flatten(struct own_sums *o, int threads)
{
    struct conv_geom *g = &o->geom;
    o->pixels = g->n * g->oh * g->ow;
    int64_t row = up(up(o->pixels, 2 * threads), PIXELS) * PIXELS;
    row = row < FLAT ? row : FLAT;
    g->n = 1;
    g->h = g->oh = up(o->pixels, row);
    g->w = g->ow = row;
}

/* Whole kernel rows when neighbouring taps are neighbours in memory. */
static void find_runs(struct own_sums *o)
{
    const struct conv_geom *g = &o->geom;
    int64_t channels = g->ci / g->groups;
    bool joined = g->groups == 1 && g->dw == 1;
    int64_t length = joined ? g->kw * channels : channels;
    int64_t step = joined ? g->kw : 1;
    o->pairs = up(length, 2);
    o->runs = 0;
    for (int64_t k = 0; k < g->kh; k++)
        for (int64_t m = 0; m < g->kw; m += step)
            o->offset[o->runs++] =
                (int32_t)(k * g->dh * o->row + m * g->dw * g->ci);
}

/* Two items a thread at least, as far as there are rows. */
static void find_items(struct own_sums *o, int threads)
{
    const struct conv_geom *g = &o->geom;
    int64_t wanted = up(2 * threads, g->n);
    o->rows = up(g->oh, wanted < g->oh ? wanted : g->oh);
    if (o->pixels)
        o->rows = 1;
    o->items = up(g->oh, o->rows);
}

static size_t padded(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

/* Number k of run r of an output: index of the weight, -1: none. */
static int32_t weight_at(const struct own_sums *o, int64_t out, int64_t r,
                         int64_t k)
{
    const struct conv_geom *g = &o->geom;
    int64_t channels = g->ci / g->groups, taps = g->kh * g->kw;
    int64_t tap = r * (taps / o->runs) + k / channels;
    if (k / channels >= taps / o->runs)
        return -1;
    return (int32_t)((out * channels + k % channels) * taps + tap);
}

static void place_depthwise(struct own_sums *o)
{
    int64_t taps = o->geom.kh * o->geom.kw, co = o->geom.co;
    for (int64_t t = 0; t < taps; t++)
        for (int64_t c = 0; c < co; c++)
            o->from[t * co + c] = (int32_t)(c * taps + t);
}

static void place_blocks(struct own_sums *o)
{
    const struct conv_geom *g = &o->geom;
    int64_t outs = g->co / g->groups;
    int32_t *to = o->from;
    for (int64_t b = 0; b < g->groups * o->blocks; b++)
        for (int64_t r = 0; r < o->runs; r++)
            for (int64_t k = 0; k < o->pairs; k++)
                for (int64_t i = 0; i < 2 * OUTS; i++) {
                    int64_t in_group = b % o->blocks * OUTS + i / 2;
                    int64_t out = b / o->blocks * outs + in_group;
                    *to++ = in_group < outs
                                ? weight_at(o, out, r, 2 * k + i % 2)
                                : -1;
                }
}

static enum status make_packed(struct plan *p, struct own_sums *o,
                               struct err *e)
{
    const struct conv_geom *g = &o->geom;
    o->numbers = o->depthwise ? g->kh * g->kw * g->co
                              : g->groups * o->blocks * o->runs * o->pairs *
                                    2 * OUTS;
    size_t n = (size_t)o->numbers;
    o->packed = arena_alloc(p->arena, n * sizeof(*o->packed));
    o->from = arena_alloc(p->arena, n * sizeof(*o->from));
    if (!o->packed || !o->from)
        return err_memory(e, "plan");
    if (o->depthwise)
        place_depthwise(o);
    else
        place_blocks(o);
    return STATUS_OK;
}

enum status own_init(struct plan *p, const struct sums *s,
                     struct own_sums *o, struct err *e)
{
    o->geom = s->spec.geom;
    const struct conv_geom *g = &o->geom;
    if (is_flat(g))
        flatten(o, p->threads);
    int64_t outs = g->co / g->groups;
    o->depthwise = g->groups > 1 && g->ci == g->groups && outs == 1;
    o->row = (g->w + g->pl + g->pr) * g->ci;
    o->offset = arena_alloc(p->arena,
                            (size_t)(g->kh * g->kw) * sizeof(*o->offset));
    if (!o->offset)
        return err_memory(e, "plan");
    find_runs(o);
    find_items(o, p->threads);
    o->blocks = up(outs, OUTS);
    TRY(make_packed(p, o, e));
    int64_t in_rows = (o->rows - 1) * g->sh + (g->kh - 1) * g->dh + 1;
    o->sum_bytes = padded((size_t)(g->ow * g->co) * sizeof(int32_t));
    o->item_bytes =
        o->sum_bytes + padded((size_t)(in_rows * o->row) * 2 + SLACK);
    return STATUS_OK;
}

size_t own_scratch_bytes(const struct plan *p, const struct own_sums *o)
{
    return (size_t)p->threads * o->item_bytes;
}

void own_load(const struct sums *s, struct own_sums *o)
{
    const int32_t *from = o->from;
    for (int64_t i = 0; i < o->numbers; i++)
        o->packed[i] = from[i] < 0 ? 0 : s->w[from[i]];
}

/* ---- rows ---- */

ENGINE_CLONES static void widen(const uint8_t *x, int16_t *y, int64_t n,
                                int32_t shift)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = (int16_t)(x[i] + shift);
}

/* Input row `row` of image n (may lie outside) with its padding. */
static void pad_row(const struct sums *s, const uint8_t *x, int64_t row,
                    int16_t *to)
{
    const struct own_sums *o = &s->own;
    const struct conv_geom *g = &o->geom;
    if (row < 0 || row >= g->h) {
        memset(to, 0, (size_t)o->row * sizeof(*to));
        return;
    }
    int64_t have = g->w;
    if (o->pixels && o->pixels - row * g->w < have)
        have = o->pixels - row * g->w;
    int64_t left = g->pl * g->ci, n = have * g->ci;
    memset(to, 0, (size_t)left * sizeof(*to));
    widen(x + row * g->w * g->ci, to + left, n, s->lowest);
    memset(to + left + n, 0, (size_t)(o->row - left - n) * sizeof(*to));
}

ENGINE_CLONES static void add_products(const int16_t *x, const int16_t *w,
                                       int32_t *sum, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        sum[i] += x[i] * w[i];
}

static void depthwise_row(const struct own_sums *o, const int16_t *x,
                          int32_t *sum)
{
    const struct conv_geom *g = &o->geom;
    memset(sum, 0, (size_t)(g->ow * g->co) * sizeof(*sum));
    for (int64_t j = 0; j < g->ow; j++)
        for (int64_t t = 0; t < g->kh * g->kw; t++)
            add_products(x + j * g->sw * g->ci + o->offset[t],
                         o->packed + t * g->co, sum + j * g->co, g->co);
}

/* The outputs of one or two blocks for all pixels of a row. */
static void block_row(const struct own_sums *o, tile_fn fn, struct tile *t,
                      const int16_t *x, int32_t *sum, int64_t outs)
{
    const struct conv_geom *g = &o->geom;
    for (int64_t j = 0; j < g->ow; j += PIXELS) {
        int64_t n = g->ow - j < PIXELS ? g->ow - j : PIXELS;
        for (int64_t i = 0; i < PIXELS; i++)
            t->x[i] = x + (j + (i < n ? i : 0)) * g->sw * g->ci;
        fn(t, outs > OUTS ? 2 : 1);
        for (int64_t i = 0; i < n; i++)
            memcpy(sum + (j + i) * g->co, t->sum[i],
                   (size_t)outs * sizeof(*sum));
    }
}

static void tiles_row(const struct own_sums *o, const int16_t *x,
                      int32_t *sum)
{
    const struct conv_geom *g = &o->geom;
    tile_fn fn = tile_best();
    int64_t outs = g->co / g->groups, channels = g->ci / g->groups;
    struct tile t = {
        .block = o->runs * o->pairs * 2 * OUTS,
        .runs = o->runs,
        .pairs = o->pairs,
        .offset = o->offset,
    };
    for (int64_t k = 0; k < g->groups; k++)
        for (int64_t b = 0; b < o->blocks; b += 2) {
            int64_t left = outs - b * OUTS;
            t.w = o->packed + (k * o->blocks + b) * t.block;
            block_row(o, fn, &t, x + k * channels,
                      sum + k * outs + b * OUTS,
                      left < 2 * OUTS ? left : 2 * OUTS);
        }
}

/* ---- running ---- */

static void run_item(const struct sums_call *c, int64_t item, char *scratch,
                     int thread)
{
    const struct own_sums *o = &c->sums->own;
    const struct conv_geom *g = &o->geom;
    int64_t n = item / o->items, first = item % o->items * o->rows;
    int64_t end = first + o->rows < g->oh ? first + o->rows : g->oh;
    int32_t *sum = (void *)scratch;
    int16_t *x = (void *)(scratch + o->sum_bytes);
    int64_t top = first * g->sh - g->pt;
    int64_t rows = (end - first - 1) * g->sh + (g->kh - 1) * g->dh + 1;
    for (int64_t r = 0; r < rows; r++)
        pad_row(c->sums, c->x + n * g->h * g->w * g->ci, top + r,
                x + r * o->row);
    for (int64_t i = first; i < end; i++) {
        const int16_t *at = x + (i - first) * g->sh * o->row;
        if (o->depthwise)
            depthwise_row(o, at, sum);
        else
            tiles_row(o, at, sum);
        int64_t pixel = (n * g->oh + i) * g->ow, have = g->ow;
        if (o->pixels && o->pixels - pixel < have)
            have = o->pixels - pixel;
        const struct sums_piece piece = {
            .i32 = sum,
            .at = pixel * g->co,
            .count = have * g->co,
            .thread = thread,
        };
        c->sink(c->ctx, &piece);
    }
}

void own_run(const struct sums_call *c)
{
    const struct own_sums *o = &c->sums->own;
    char *scratch = plan_scratch_data(c->plan);
    int64_t items = o->geom.n * o->items;
#pragma omp parallel for schedule(static) num_threads(c->plan->threads)
    for (int64_t i = 0; i < items; i++) {
        int thread = omp_get_thread_num();
        run_item(c, i, scratch + (size_t)thread * o->item_bytes, thread);
    }
}

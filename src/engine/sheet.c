/* Passes over rows x channels. The kernels work on up to SHEET_CHUNK reals of
 * one line, in stages through a buffer that stays in the first-level cache, so
 * that few kernels make all combinations.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/sheet.h"

#include <math.h>
#include <string.h>

#define LINE_MIN 256
#define BLOCK_REALS 32768
#define BLOCK_LINES_MAX 128

static int64_t gcd(int64_t a, int64_t b)
{
    while (b) {
        int64_t r = a % b;
        a = b;
        b = r;
    }
    return a;
}

void sheet_init(struct sheet *s, int64_t rows, int64_t channels)
{
    int64_t repeat = 16 / gcd(channels, 16);
    while (repeat * channels < LINE_MIN)
        repeat *= 2;
    if (repeat > rows)
        repeat = rows > 0 ? rows : 1;
    int64_t width = repeat * channels;
    int64_t block = BLOCK_REALS / width;
    block = block < 1 ? 1 : block > BLOCK_LINES_MAX ? BLOCK_LINES_MAX : block;
    int64_t lines = (rows + repeat - 1) / repeat;
    *s = (struct sheet){
        .rows = rows,
        .channels = channels,
        .repeat = repeat,
        .width = width,
        .lines = lines,
        .count = rows * channels,
        .block_lines = block,
        .blocks = (lines + block - 1) / block,
    };
}

void sheet_widen(const struct sheet *s, const float *v, float *wide)
{
    for (int64_t r = 0; r < s->repeat; r++)
        memcpy(wide + r * s->channels, v,
               (size_t)s->channels * sizeof(float));
}

size_t sheet_wide_bytes(const struct sheet *s)
{
    return (size_t)s->width * sizeof(float);
}

size_t sheet_table_bytes(const struct sheet *s)
{
    return (size_t)(s->blocks * s->channels) *
           (2 * sizeof(double) + 2 * sizeof(float));
}

/* ---- kernels: n contiguous reals, n <= SHEET_CHUNK ---- */

ENGINE_CLONES static void k_affine(const float *x, const float *a,
                                   const float *b, float *z, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        z[i] = x[i] * a[i] + b[i];
}

ENGINE_CLONES static void k_add(const float *x, const float *b, float *z,
                                int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        z[i] = x[i] + b[i];
}

/* Codes beyond 2^63 clamp to the lowest code, as quant/uniform.c says. */
#define CODE_LIMIT 9223372036854775808.0f

static inline __attribute__((always_inline)) float
limit(float v, float lo, float hi)
{
    v = v < lo ? lo : v;
    return v > hi ? hi : v;
}

static inline __attribute__((always_inline)) float
code_of(float t, const struct round_grid *g, bool divide)
{
    return rintf(divide ? t / g->scale : t * g->inv) + g->zero_point;
}

/* What a map does after z: clamp, then grid. */
struct finish {
    struct round_grid grid;
    float lo, hi;
};

/* Where the gradient passes: inside the clamp and inside the grid. A NaN lies
 * outside. v: the code before it is cut to the grid. */
static inline __attribute__((always_inline)) int
is_inside(float z, float v, const struct finish *f)
{
    return (z > f->lo) & (z < f->hi) & (v >= f->grid.lo) & (v <= f->grid.hi);
}

/* Where a chunk's results go; NULL: not wanted. */
struct round_out {
    float *y;
    unsigned char *code, *mask;
};

static inline __attribute__((always_inline)) void
round_block(const struct finish *finish, const float *z,
            const struct round_out *to, int64_t n, bool divide, bool value,
            bool code, bool mask)
{
    const struct finish f = *finish;
    float *y = to->y;
    unsigned char *c = to->code, *m = to->mask;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float v = code_of(limit(z[i], f.lo, f.hi), &f.grid, divide);
        if (mask)
            m[i] = (unsigned char)is_inside(z[i], v, &f);
        v = limit(v < CODE_LIMIT ? v : -CODE_LIMIT, f.grid.lo, f.grid.hi);
        if (value)
            y[i] = (v - f.grid.zero_point) * f.grid.scale;
        if (code)
            c[i] = (unsigned char)(int32_t)(v - f.grid.lo);
    }
}

static inline __attribute__((always_inline)) void
round_chunk(const struct finish *f, const float *z,
            const struct round_out *to, int64_t n, bool divide)
{
    if (to->mask && to->code && to->y)
        round_block(f, z, to, n, divide, true, true, true);
    else if (to->mask && to->code)
        round_block(f, z, to, n, divide, false, true, true);
    else if (to->mask)
        round_block(f, z, to, n, divide, true, false, true);
    else if (to->code && to->y)
        round_block(f, z, to, n, divide, true, true, false);
    else if (to->code)
        round_block(f, z, to, n, divide, false, true, false);
    else
        round_block(f, z, to, n, divide, true, false, false);
}

ENGINE_CLONES static void k_round_mul(const struct finish *f, const float *z,
                                      const struct round_out *to, int64_t n)
{
    round_chunk(f, z, to, n, false);
}

ENGINE_CLONES static void k_round_div(const struct finish *f, const float *z,
                                      const struct round_out *to, int64_t n)
{
    round_chunk(f, z, to, n, true);
}

static inline __attribute__((always_inline)) void
gate(const struct finish *finish, const float *z, float *d, int64_t n,
     bool divide)
{
    const struct finish f = *finish;
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        d[i] = is_inside(z[i],
                         code_of(limit(z[i], f.lo, f.hi), &f.grid, divide), &f)
                   ? d[i]
                   : 0.0f;
}

ENGINE_CLONES static void k_gate_mul(const struct finish *f, const float *z,
                                     float *d, int64_t n)
{
    gate(f, z, d, n, false);
}

ENGINE_CLONES static void k_gate_div(const struct finish *f, const float *z,
                                     float *d, int64_t n)
{
    gate(f, z, d, n, true);
}

/* d stays where lo < z < hi, else 0. */
ENGINE_CLONES static void k_between(const float *z, float lo, float hi,
                                    float *d, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        d[i] = z[i] > lo && z[i] < hi ? d[i] : 0.0f;
}

/* NaN stays NaN. */
ENGINE_CLONES static void k_clamp(const float *z, float lo, float hi,
                                  float *t, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        t[i] = limit(z[i], lo, hi);
}

ENGINE_CLONES static void k_mark_between(const float *z, float lo, float hi,
                                         unsigned char *mask, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        mask[i] = (unsigned char)((z[i] > lo) & (z[i] < hi));
}

ENGINE_CLONES static void k_by_bytes(const unsigned char *mask, float *d,
                                     int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        d[i] = mask[i] ? d[i] : 0.0f;
}

/* acc: 4 rows of SHEET_CHUNK: sums, squares, smallest, largest. */
ENGINE_CLONES static void k_moments(const float *x, const float *shift,
                                    float *acc, int64_t n)
{
    float *s = acc, *q = acc + SHEET_CHUNK;
    float *lo = acc + 2 * SHEET_CHUNK, *hi = acc + 3 * SHEET_CHUNK;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float d = x[i] - shift[i];
        s[i] += d;
        q[i] += d * d;
        lo[i] = x[i] < lo[i] ? x[i] : lo[i];
        hi[i] = x[i] > hi[i] ? x[i] : hi[i];
    }
}

ENGINE_CLONES static void k_sums(const float *d, const float *x,
                                 const float *mean, float *acc, int64_t n)
{
    float *s = acc, *q = acc + SHEET_CHUNK;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        s[i] += d[i];
        q[i] += d[i] * (x[i] - mean[i]);
    }
}

ENGINE_CLONES static void k_sum(const float *d, float *acc, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        acc[i] += d[i];
}

ENGINE_CLONES static void k_multiply(const float *d, const float *a, float *y,
                                     int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = d[i] * a[i];
}

ENGINE_CLONES static void k_norm_backward(const struct sheet_norm *p,
                                          int64_t at, int64_t col, int64_t n)
{
    const float *x = p->x + at, *a = p->a + col, *mean = p->mean + col;
    const float *shift = p->shift + col, *slope = p->slope + col;
    float *dx = p->dx + at;
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        dx[i] = a[i] * (dx[i] - shift[i] - (x[i] - mean[i]) * slope[i]);
}

/* acc: RANGE_LANES smallest, largest, and sums that a NaN or an infinity
 * turns into NaN. Lanes, because the order of a reduction is fixed. */
#define RANGE_LANES 32

ENGINE_CLONES static void k_range(const float *t, float *acc, int64_t n)
{
    float lo[RANGE_LANES], hi[RANGE_LANES], odd[RANGE_LANES];
    memcpy(lo, acc, sizeof(lo));
    memcpy(hi, acc + RANGE_LANES, sizeof(hi));
    memcpy(odd, acc + 2 * RANGE_LANES, sizeof(odd));
    int64_t i = 0;
    for (; i + RANGE_LANES <= n; i += RANGE_LANES) {
#pragma omp simd
        for (int j = 0; j < RANGE_LANES; j++) {
            float v = t[i + j];
            lo[j] = v < lo[j] ? v : lo[j];
            hi[j] = v > hi[j] ? v : hi[j];
            odd[j] += v * 0.0f;
        }
    }
    for (; i < n; i++) {
        lo[0] = t[i] < lo[0] ? t[i] : lo[0];
        hi[0] = t[i] > hi[0] ? t[i] : hi[0];
        odd[0] += t[i] * 0.0f;
    }
    memcpy(acc, lo, sizeof(lo));
    memcpy(acc + RANGE_LANES, hi, sizeof(hi));
    memcpy(acc + 2 * RANGE_LANES, odd, sizeof(odd));
}

/* ---- walking ---- */

typedef void (*chunk_fn)(void *ctx, int64_t at, int64_t col, int64_t n);

/* The chunks of one block, column by column: every chunk of a column has the
 * same place in its line. */
struct column {
    int64_t at, step, times;  /* first real, from line to line, lines */
    int64_t col, n;
    int64_t last;             /* reals of the last line's chunk */
};

static bool next_column(const struct sheet *s, int64_t block,
                        struct column *c)
{
    int64_t first = block * s->block_lines;
    int64_t lines = s->lines - first;
    if (lines > s->block_lines)
        lines = s->block_lines;
    if (c->col >= s->width)
        return false;
    c->at = first * s->width + c->col;
    c->step = s->width;
    c->times = lines;
    c->n = s->width - c->col;
    if (c->n > SHEET_CHUNK)
        c->n = SHEET_CHUNK;
    /* Only the very last line can be short. */
    int64_t end = s->count - (c->at + (lines - 1) * s->width);
    c->last = end < c->n ? end : c->n;
    if (c->last < 0)
        c->last = 0;
    return true;
}

static int64_t chunk_length(const struct column *c, int64_t line)
{
    return line == c->times - 1 ? c->last : c->n;
}

/* ---- forward ---- */

/* z of one chunk: in `t`, or x itself when there is nothing to do. */
static const float *map_z(const struct sheet_map *m, int64_t at, int64_t col,
                          int64_t n, float *t)
{
    const float *z = m->x + at;
    if (m->a && m->b) {
        k_affine(z, m->a + col, m->b + col, t, n);
        z = t;
    } else if (m->b) {
        k_add(z, m->b + col, t, n);
        z = t;
    }
    if (m->x2) {
        k_add(z, m->x2 + at, t, n);
        z = t;
    }
    return z;
}

static bool clamps(const struct sheet_map *m)
{
    return m->lo > -INFINITY || m->hi < INFINITY;
}

static struct finish finish_of(const struct sheet_map *m)
{
    return (struct finish){m->grid, m->lo, m->hi};
}

static void gate_chunk(const struct sheet_map *m, const float *z, float *d,
                       int64_t n)
{
    const struct finish f = finish_of(m);
    if (m->grid.on)
        (m->grid.divide ? k_gate_div : k_gate_mul)(&f, z, d, n);
    else if (clamps(m))
        k_between(z, m->lo, m->hi, d, n);
}

static void apply_chunk(const struct sheet_map *m, int64_t at, int64_t col,
                        int64_t n)
{
    float buffer[SHEET_CHUNK];
    const float *z = map_z(m, at, col, n, buffer);
    const struct round_out to = {
        .y = m->y ? m->y + at : NULL,
        .code = m->code ? m->code + at : NULL,
        .mask = m->mask ? m->mask + at : NULL,
    };
    const struct finish f = finish_of(m);
    if (m->grid.on) {
        (m->grid.divide ? k_round_div : k_round_mul)(&f, z, &to, n);
        return;
    }
    if (to.mask)
        k_mark_between(z, m->lo, m->hi, to.mask, n);
    if (clamps(m))
        k_clamp(z, m->lo, m->hi, to.y, n);
    else if (z != to.y)
        memcpy(to.y, z, (size_t)n * sizeof(float));
}

void sheet_apply(const struct sheet *s, const struct sheet_map *m)
{
#pragma omp parallel for schedule(static) if (s->count > SHEET_PARALLEL)
    for (int64_t b = 0; b < s->blocks; b++) {
        struct column c = {.col = 0};
        for (; next_column(s, b, &c); c.col += c.n)
            for (int64_t i = 0; i < c.times; i++)
                apply_chunk(m, c.at + i * c.step, c.col, chunk_length(&c, i));
    }
}

static void range_block(const struct sheet *s, const struct sheet_map *m,
                        int64_t b, float part[3])
{
    float acc[3 * RANGE_LANES];
    for (int j = 0; j < RANGE_LANES; j++) {
        acc[j] = INFINITY;
        acc[RANGE_LANES + j] = -INFINITY;
        acc[2 * RANGE_LANES + j] = 0.0f;
    }
    struct column c = {.col = 0};
    for (; next_column(s, b, &c); c.col += c.n) {
        for (int64_t i = 0; i < c.times; i++) {
            float t[SHEET_CHUNK];
            int64_t n = chunk_length(&c, i);
            k_range(map_z(m, c.at + i * c.step, c.col, n, t), acc, n);
        }
    }
    memcpy(part, (float[3]){INFINITY, -INFINITY, 0.0f}, 3 * sizeof(float));
    for (int j = 0; j < RANGE_LANES; j++) {
        part[0] = fminf(part[0], acc[j]);
        part[1] = fmaxf(part[1], acc[RANGE_LANES + j]);
        part[2] += acc[2 * RANGE_LANES + j];
    }
}

void sheet_range(const struct sheet *s, const struct sheet_map *m,
                 float *part, float range[2], bool *finite)
{
#pragma omp parallel for schedule(static) if (s->count > SHEET_PARALLEL)
    for (int64_t b = 0; b < s->blocks; b++)
        range_block(s, m, b, part + 3 * b);
    float ends[2] = {INFINITY, -INFINITY}, odd = 0;
    for (int64_t b = 0; b < s->blocks; b++) {
        ends[0] = fminf(ends[0], part[3 * b]);
        ends[1] = fmaxf(ends[1], part[3 * b + 1]);
        odd += part[3 * b + 2];
    }
    /* The clamp is monotone: it may be applied to the ends alone. */
    k_clamp(ends, m->lo, m->hi, range, 2);
    *finite = odd == 0.0f;
}

/* ---- per-channel sums ---- */

struct table {
    double *sum, *square;     /* (blocks, channels) */
    float *lo, *hi;
};

static struct table table_at(const struct sheet *s, void *memory)
{
    int64_t n = s->blocks * s->channels;
    struct table t;
    t.sum = memory;
    t.square = t.sum + n;
    t.lo = (float *)(void *)(t.square + n);
    t.hi = t.lo + n;
    return t;
}

static void clear_row(const struct sheet *s, const struct table *t,
                      int64_t block)
{
    int64_t at = block * s->channels;
    for (int64_t c = at; c < at + s->channels; c++) {
        t->sum[c] = t->square[c] = 0;
        t->lo[c] = INFINITY;
        t->hi[c] = -INFINITY;
    }
}

/* Lanes of one column go to their channels. */
static void fold_lanes(const struct sheet *s, const struct table *t,
                       int64_t block, const struct column *c,
                       const float *acc)
{
    int64_t base = block * s->channels;
    int64_t channel = c->col % s->channels;
    for (int64_t i = 0; i < c->n; i++) {
        int64_t at = base + channel;
        t->sum[at] += (double)acc[i];
        t->square[at] += (double)acc[SHEET_CHUNK + i];
        float lo = acc[2 * SHEET_CHUNK + i], hi = acc[3 * SHEET_CHUNK + i];
        t->lo[at] = lo < t->lo[at] ? lo : t->lo[at];
        t->hi[at] = hi > t->hi[at] ? hi : t->hi[at];
        channel = channel + 1 == s->channels ? 0 : channel + 1;
    }
}

static void clear_lanes(float *acc)
{
    memset(acc, 0, 2 * SHEET_CHUNK * sizeof(float));
    for (int i = 0; i < SHEET_CHUNK; i++) {
        acc[2 * SHEET_CHUNK + i] = INFINITY;
        acc[3 * SHEET_CHUNK + i] = -INFINITY;
    }
}

static void measure_block(const struct sheet *s, const float *x,
                          const float *shift, const struct table *t,
                          int64_t b)
{
    clear_row(s, t, b);
    struct column c = {.col = 0};
    for (; next_column(s, b, &c); c.col += c.n) {
        float acc[4 * SHEET_CHUNK];
        clear_lanes(acc);
        for (int64_t i = 0; i < c.times; i++)
            k_moments(x + c.at + i * c.step, shift + c.col, acc,
                      chunk_length(&c, i));
        fold_lanes(s, t, b, &c, acc);
    }
}

void sheet_measure(const struct sheet *s, const float *x, const float *shift,
                   void *table, const struct sheet_moments *out)
{
    struct table t = table_at(s, table);
#pragma omp parallel for schedule(static) if (s->count > SHEET_PARALLEL)
    for (int64_t b = 0; b < s->blocks; b++)
        measure_block(s, x, shift, &t, b);
    for (int64_t c = 0; c < s->channels; c++) {
        double sum = 0, square = 0;
        float lo = INFINITY, hi = -INFINITY;
        for (int64_t b = 0; b < s->blocks; b++) {
            int64_t at = b * s->channels + c;
            sum += t.sum[at];
            square += t.square[at];
            lo = t.lo[at] < lo ? t.lo[at] : lo;
            hi = t.hi[at] > hi ? t.hi[at] : hi;
        }
        out->sum[c] = sum;
        out->square[c] = square;
        out->lo[c] = lo;
        out->hi[c] = hi;
    }
}

/* ---- backward ---- */

/* d = sum of the parts where the gradient passes. */
static void back_chunk(const struct sheet_back *b, int64_t at, int64_t col,
                       int64_t n, float *d)
{
    const struct sheet_map *m = &b->map;
    memcpy(d, b->part[0] + at, (size_t)n * sizeof(float));
    for (int k = 1; k < b->n_part; k++)
        k_sum(b->part[k] + at, d, n);
    if (m->mask) {
        k_by_bytes(m->mask + at, d, n);
        return;
    }
    if (!clamps(m) && !m->grid.on)
        return;
    float z[SHEET_CHUNK];
    gate_chunk(m, m->y ? m->y + at : map_z(m, at, col, n, z), d, n);
}

static void back_block(const struct sheet *s, const struct sheet_back *b,
                       const struct table *t, int64_t block)
{
    bool sums = b->sum != NULL;
    if (sums)
        clear_row(s, t, block);
    struct column c = {.col = 0};
    for (; next_column(s, block, &c); c.col += c.n) {
        float acc[4 * SHEET_CHUNK];
        clear_lanes(acc);
        for (int64_t i = 0; i < c.times; i++) {
            int64_t at = c.at + i * c.step, n = chunk_length(&c, i);
            float keep[SHEET_CHUNK];
            back_chunk(b, at, c.col, n, keep);
            if (b->mean && sums)
                k_sums(keep, b->map.x + at, b->mean + c.col, acc, n);
            else if (sums)
                k_sum(keep, acc, n);
            if (b->dx && b->scale)
                k_multiply(keep, b->map.a + c.col, b->dx + at, n);
            else if (b->dx)
                memcpy(b->dx + at, keep, (size_t)n * sizeof(float));
        }
        if (sums)
            fold_lanes(s, t, block, &c, acc);
    }
}

void sheet_backward(const struct sheet *s, const struct sheet_back *b,
                    void *table)
{
    struct table t = table_at(s, table);
#pragma omp parallel for schedule(static) if (s->count > SHEET_PARALLEL)
    for (int64_t k = 0; k < s->blocks; k++)
        back_block(s, b, &t, k);
    for (int64_t c = 0; b->sum && c < s->channels; c++) {
        double sum = 0, product = 0;
        for (int64_t k = 0; k < s->blocks; k++) {
            sum += t.sum[k * s->channels + c];
            product += t.square[k * s->channels + c];
        }
        b->sum[c] = sum;
        if (b->product)
            b->product[c] = product;
    }
}

void sheet_norm_backward(const struct sheet *s, const struct sheet_norm *p)
{
#pragma omp parallel for schedule(static) if (s->count > SHEET_PARALLEL)
    for (int64_t b = 0; b < s->blocks; b++) {
        struct column c = {.col = 0};
        for (; next_column(s, b, &c); c.col += c.n)
            for (int64_t i = 0; i < c.times; i++)
                k_norm_backward(p, c.at + i * c.step, c.col,
                                chunk_length(&c, i));
    }
}

/* Products of whole numbers in double: blocks of pixels as rows of a matrix,
 * multiplied by OpenBLAS's dgemm; depthwise layers and back end ref by loops
 * of our own.
 *
 * Every partial sum is a whole number below 2^53: order, threads and fused
 * multiplication do not show. Where grids have moved out of that, all goes
 * through the plain loops, whose order is fixed.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/wide.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include <cblas.h>

#include "engine/sheet.h"

/* Of an item: rows of the matrix, and the bytes of it that the second-level
 * cache takes beside the weights. */
#define PIXELS_LEAST 16
#define PIXELS_MOST 512
#define BLOCK_BYTES (256 * 1024)
#define OPENBLAS_OWN_THREADS 1

struct wide_call {
    const struct wide_layer *l;
    const float *x, *bias;
    float *y;
    double *in;               /* (N,H + pads,W + pads,C) */
};

/* A pixel of the output. */
struct pixel {
    int64_t n, i, j;
};

static struct pixel pixel_of(const struct conv_geom *g, int64_t at)
{
    return (struct pixel){at / (g->oh * g->ow), at / g->ow % g->oh,
                          at % g->ow};
}

static int64_t pixel_count(const struct conv_geom *g)
{
    return g->n * g->oh * g->ow;
}

static bool is_gemm(const struct wide_layer *l)
{
    return l->exact && !l->loops && !l->taps;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* ---- numbers to whole numbers ---- */

static int64_t padded_rows(const struct conv_geom *g)
{
    return g->h + g->pt + g->pb;
}

static int64_t padded_width(const struct conv_geom *g)
{
    return g->w + g->pl + g->pr;
}

static int64_t input_count(const struct conv_geom *g)
{
    return g->n * padded_rows(g) * padded_width(g) * g->ci;
}

ENGINE_CLONES static void k_whole(const float *x, double per, double *a,
                                  int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        a[i] = rint((double)x[i] * per);
}

/* Row h of image n. */
static void stage_row(const struct wide_call *c, int64_t n, int64_t h,
                      double *a)
{
    const struct wide_layer *l = c->l;
    const struct conv_geom *g = &l->geom;
    const struct wide_steps *s = &l->x_step;
    const float *x = c->x + n * s->n + h * s->h;
    if (l->exact && s->c == 1 && (g->w == 1 || s->w == g->ci)) {
        k_whole(x, l->per_x, a, g->w * g->ci);
        return;
    }
    for (int64_t i = 0; i < g->w; i++)
        for (int64_t k = 0; k < g->ci; k++) {
            double v = (double)x[i * s->w + k * s->c] * l->per_x;
            a[i * g->ci + k] = l->exact ? rint(v) : v;
        }
}

/* All of the input, 0 in the pads. */
static void stage(const struct plan *p, const struct wide_call *c)
{
    const struct conv_geom *g = &c->l->geom;
    int64_t rows = padded_rows(g), row = padded_width(g) * g->ci;
#pragma omp parallel for schedule(static) num_threads(p->threads) \
    if (input_count(g) > SHEET_PARALLEL)
    for (int64_t r = 0; r < g->n * rows; r++) {
        double *a = c->in + r * row;
        int64_t h = r % rows - g->pt;
        if (h < 0 || h >= g->h) {
            memset(a, 0, (size_t)row * sizeof(*a));
            continue;
        }
        memset(a, 0, (size_t)(g->pl * g->ci) * sizeof(*a));
        stage_row(c, r / rows, h, a + g->pl * g->ci);
        memset(a + (g->pl + g->w) * g->ci, 0,
               (size_t)(g->pr * g->ci) * sizeof(*a));
    }
}

/* The input below the first tap of a pixel. */
static const double *below(const struct wide_call *c, int64_t at)
{
    const struct conv_geom *g = &c->l->geom;
    struct pixel q = pixel_of(g, at);
    int64_t row = q.n * padded_rows(g) + q.i * g->sh;
    return c->in + (row * padded_width(g) + q.j * g->sw) * g->ci;
}

/* From one tap to the next in the input. */
static int64_t tap_at(const struct conv_geom *g, int64_t k)
{
    int64_t row = k / g->kw * g->dh, column = k % g->kw * g->dw;
    return (row * padded_width(g) + column) * g->ci;
}

/* One row of the matrix: (KH,KW,I) of a group below pixel at. */
static void gather_row(const struct wide_call *c, int64_t group, int64_t at,
                       double *a)
{
    const struct conv_geom *g = &c->l->geom;
    int64_t ci = g->ci / g->groups;
    const double *from = below(c, at) + group * ci;
    bool runs = g->dw == 1 && g->groups == 1;
    int64_t run = runs ? g->kw * ci : ci, taps = g->kh * g->kw;
    for (int64_t k = 0; k < taps; k += runs ? g->kw : 1, a += run)
        memcpy(a, from + tap_at(g, k), (size_t)run * sizeof(*a));
}

/* ---- whole numbers to numbers ---- */

ENGINE_CLONES static void k_finish(const double *sum, const float *unit,
                                   const float *bias, float *y, int64_t n)
{
    if (!bias) {
#pragma omp simd
        for (int64_t o = 0; o < n; o++)
            y[o] = (float)sum[o] * unit[o] + 0.0f;
        return;
    }
#pragma omp simd
    for (int64_t o = 0; o < n; o++)
        y[o] = (float)sum[o] * unit[o] + bias[o];
}

static void finish_row(const struct wide_call *c, int64_t first, int64_t at,
                       const double *sum, int64_t n)
{
    const struct wide_layer *l = c->l;
    const struct wide_steps *s = &l->y_step;
    const float *unit = l->unit + first;
    const float *bias = c->bias ? c->bias + first : NULL;
    struct pixel q = pixel_of(&l->geom, at);
    float *y = c->y + q.n * s->n + q.i * s->h + q.j * s->w + first * s->c;
    if (s->c == 1) {
        k_finish(sum, unit, bias, y, n);
        return;
    }
    for (int64_t o = 0; o < n; o++)
        y[o * s->c] = (float)sum[o] * unit[o] + (bias ? bias[o] : 0.0f);
}

/* ---- by matrices ---- */

/* The matrix is the input itself. */
static bool is_plain(const struct conv_geom *g)
{
    return g->kh == 1 && g->kw == 1 && g->sh == 1 && g->sw == 1 &&
           g->groups == 1 && padded_rows(g) == g->h &&
           padded_width(g) == g->w;
}

static void gemm_item(const struct wide_call *c, int64_t from, int64_t rows,
                      double *sum)
{
    const struct wide_layer *l = c->l;
    const struct conv_geom *g = &l->geom;
    int64_t inner = wide_inner(l), co = g->co / g->groups;
    double *room = sum + l->pixels * co;
    for (int64_t group = 0; group < g->groups; group++) {
        const double *a = room;
        if (is_plain(g))
            a = below(c, from);
        else
            for (int64_t r = 0; r < rows; r++)
                gather_row(c, group, from + r, room + r * inner);
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)rows,
                    (blasint)co, (blasint)inner, 1.0, a, (blasint)inner,
                    l->w + group * co * inner, (blasint)inner, 0.0, sum,
                    (blasint)co);
        for (int64_t r = 0; r < rows; r++)
            finish_row(c, group * co, from + r, sum + r * co, co);
    }
}

/* ---- depthwise ---- */

ENGINE_CLONES static void k_add_tap(const double *x, const double *w,
                                    double *sum, int64_t n)
{
#pragma omp simd
    for (int64_t o = 0; o < n; o++)
        sum[o] += x[o] * w[o];
}

static void depth_item(const struct wide_call *c, int64_t from, int64_t rows,
                       double *sum)
{
    const struct wide_layer *l = c->l;
    const struct conv_geom *g = &l->geom;
    for (int64_t at = from; at < from + rows; at++) {
        const double *x = below(c, at);
        memset(sum, 0, (size_t)g->co * sizeof(*sum));
        for (int64_t k = 0; k < g->kh * g->kw; k++)
            k_add_tap(x + tap_at(g, k), l->taps + k * g->co, sum, g->co);
        finish_row(c, 0, at, sum, g->co);
    }
}

/* ---- by loops ---- */

static double loop_sum(const struct wide_call *c, int64_t at, int64_t o)
{
    const struct wide_layer *l = c->l;
    const struct conv_geom *g = &l->geom;
    int64_t ci = g->ci / g->groups, first = o / (g->co / g->groups) * ci;
    const double *w = l->w + o * wide_inner(l), *x = below(c, at) + first;
    double sum = 0;
    for (int64_t k = 0; k < g->kh * g->kw; k++)
        for (int64_t m = 0; m < ci; m++)
            sum += x[tap_at(g, k) + m] * w[k * ci + m];
    return sum;
}

static void loop_item(const struct wide_call *c, int64_t from, int64_t rows)
{
    for (int64_t at = from; at < from + rows; at++)
        for (int64_t o = 0; o < c->l->geom.co; o++) {
            double sum = loop_sum(c, at, o);
            finish_row(c, o, at, &sum, 1);
        }
}

/* ---- all ---- */

void wide_sums_init(const struct plan *p, struct wide_layer *l)
{
    const struct conv_geom *g = &l->geom;
    int64_t count = pixel_count(g), inner = wide_inner(l);
    int64_t share = (count + 2 * p->threads - 1) / (2 * p->threads);
    int64_t fit = BLOCK_BYTES / (inner * (int64_t)sizeof(double));
    l->pixels = least(least(share, fit), PIXELS_MOST);
    if (l->pixels < PIXELS_LEAST)
        l->pixels = PIXELS_LEAST;
    l->items = (count + l->pixels - 1) / l->pixels;
    int64_t room = l->pixels * (inner + g->co / g->groups);
    l->lane_bytes = (size_t)(room > g->co ? room : g->co) * sizeof(double);
    l->in_bytes = (size_t)input_count(g) * sizeof(double);
    /* Its OpenMP flavour follows omp_set_num_threads, and takes one thread
     * inside a parallel region; a pool of its own must not come on top. */
    if (openblas_get_parallel() == OPENBLAS_OWN_THREADS)
        openblas_set_num_threads(1);
}

void wide_sums_run(const struct plan *p, const struct wide_layer *l)
{
    char *scratch = plan_scratch_data(p);
    const struct wide_call c = {
        .l = l,
        .in = (double *)(void *)scratch,
        .x = plan_floats(p, l->x),
        .bias = plan_floats(p, l->bias),
        .y = plan_floats(p, l->y),
    };
    int64_t count = pixel_count(&l->geom);
    stage(p, &c);
    scratch += l->in_bytes;
#pragma omp parallel for schedule(dynamic, 1) num_threads(p->threads) \
    if (l->items > 1)
    for (int64_t i = 0; i < l->items; i++) {
        int64_t from = i * l->pixels, rows = least(count - from, l->pixels);
        double *room = (double *)(void *)(scratch + l->lane_bytes *
                                          (size_t)omp_get_thread_num());
        if (is_gemm(l))
            gemm_item(&c, from, rows, room);
        else if (l->taps && l->exact)
            depth_item(&c, from, rows, room);
        else
            loop_item(&c, from, rows);
    }
}

/* Convolutions of one input channel.
 *
 * An image is copied into a frame of zeros first, so that no tap needs to ask
 * whether it is inside. Forward and to the weights a vector holds LANES
 * channels of a pixel and may reach into the next one: there is room behind
 * the last, and what comes later overwrites it, or is dropped. To the image a
 * vector holds pixels. SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/thin_conv.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/cpu.h"
#include "engine/sheet.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define THIN_AVX2 1
#include <immintrin.h>
#else
#define THIN_AVX2 0
#endif

#define LANES 8
#define PIXELS 7              /* at once: sums stay in registers */
#define SPAN 4                /* vectors of pixels at once */
#define KERNEL_MAX 7          /* rows */
#define KERNEL_WIDE 5         /* columns */
#define CHANNELS_MAX 64
#define FRAME_MAX 65536       /* reals */
#define PART_IMAGES 8         /* whose weight gradients are one sum */

/* ---- sizes ---- */

static int64_t blocks_of(const struct conv_geom *g)
{
    return (g->co + LANES - 1) / LANES;
}

/* The image with its borders, and the output with as many around it as taps
 * can reach. */
static int64_t x_width(const struct conv_geom *g)
{
    return g->w + g->pl + g->pr;
}

static int64_t x_frame(const struct conv_geom *g)
{
    return (g->h + g->pt + g->pb) * x_width(g) + PIXELS + LANES;
}

static int64_t y_width(const struct conv_geom *g)
{
    return g->ow + 2 * (g->kw - 1);
}

static int64_t y_plane(const struct conv_geom *g)
{
    return (g->oh + 2 * (g->kh - 1)) * y_width(g);
}

static int64_t y_frame(const struct conv_geom *g)
{
    return y_plane(g) * g->co + SPAN * LANES;
}

bool thin_conv_fits(const struct conv_geom *g)
{
    bool channels = g->co <= LANES || g->co % LANES == 0;
    bool kernel = (g->kw == 3 || g->kw == KERNEL_WIDE) &&
                  g->kh <= KERNEL_MAX && g->sh == 1 && g->sw == 1 &&
                  g->dh == 1 && g->dw == 1;
    bool borders = g->pt < g->kh && g->pb < g->kh && g->pl < g->kw &&
                   g->pr < g->kw;
    return THIN_AVX2 && cpu_get()->avx2 && cpu_get()->fma && g->ci == 1 &&
           g->groups == 1 && g->co <= CHANNELS_MAX && channels && kernel &&
           borders && g->ow >= LANES &&
           x_frame(g) <= FRAME_MAX && y_frame(g) <= FRAME_MAX;
}

static int64_t taps_of(const struct conv_geom *g)
{
    return g->kh * g->kw;
}

/* Reals of all weights as (blocks, KH, KW, LANES). */
static int64_t wide_weights(const struct conv_geom *g)
{
    return blocks_of(g) * taps_of(g) * LANES;
}

static int64_t parts_of(const struct conv_geom *g)
{
    return (g->n + PART_IMAGES - 1) / PART_IMAGES;
}

static int64_t lane_reals(const struct conv_geom *g)
{
    return x_frame(g) + y_frame(g);
}

size_t thin_conv_scratch(const struct conv_geom *g, int threads)
{
    int64_t reals = (1 + parts_of(g)) * wide_weights(g) +
                    threads * lane_reals(g);
    return (size_t)reals * sizeof(float);
}

#if THIN_AVX2

#define THIN static __attribute__((target("avx2,fma")))
#define THIN_INLINE \
    static inline __attribute__((target("avx2,fma"), always_inline))

/* ---- scratch ---- */

static float *weights_at(const struct thin_conv *c)
{
    return c->scratch;
}

static float *part_at(const struct thin_conv *c, int64_t part)
{
    return weights_at(c) + (1 + part) * wide_weights(&c->geom);
}

/* This thread's frames; a thread of somebody else's team is alone here. */
static float *frames_at(const struct thin_conv *c)
{
    int thread = c->threads > 1 ? omp_get_thread_num() : 0;
    return part_at(c, parts_of(&c->geom)) + thread * lane_reals(&c->geom);
}

/* Channels beyond the last one are 0. */
static void widen_weights(const struct thin_conv *c)
{
    const struct conv_geom *g = &c->geom;
    float *to = weights_at(c);
    for (int64_t b = 0; b < blocks_of(g); b++)
        for (int64_t t = 0; t < taps_of(g); t++)
            for (int64_t l = 0; l < LANES; l++, to++) {
                int64_t o = b * LANES + l;
                *to = o < g->co ? c->w[o * taps_of(g) + t] : 0.0f;
            }
}

/* Image n of x in its frame, whose borders are 0. */
static void frame_x(const struct thin_conv *c, int64_t n, float *frame)
{
    const struct conv_geom *g = &c->geom;
    const float *x = c->x + n * g->h * g->w;
    memset(frame, 0, (size_t)x_frame(g) * sizeof(float));
    frame += g->pt * x_width(g) + g->pl;
    for (int64_t i = 0; i < g->h; i++)
        memcpy(frame + i * x_width(g), x + i * g->w,
               (size_t)g->w * sizeof(float));
}

/* ---- forward ---- */

/* PIXELS pixels, LANES channels; x: the first tap of the first pixel. */
THIN_INLINE void forward_pixels(const struct conv_geom *g, const float *x,
                                const float *w, __m256 sum[PIXELS],
                                int64_t kw)
{
    int64_t width = x_width(g);
    for (int64_t k = 0; k < g->kh; k++)
        for (int64_t m = 0; m < kw; m++, w += LANES) {
            __m256 v = _mm256_loadu_ps(w);
#pragma GCC unroll 8
            for (int p = 0; p < PIXELS; p++) {
                __m256 a = _mm256_broadcast_ss(x + k * width + m + p);
                sum[p] = _mm256_fmadd_ps(a, v, sum[p]);
            }
        }
}

/* A block of channels of one row; behind it LANES reals may be changed. */
THIN_INLINE void forward_row(const struct thin_conv *c, const float *x,
                             int64_t block, float *row, int64_t kw)
{
    const struct conv_geom *g = &c->geom;
    const float *w = weights_at(c) + block * taps_of(g) * LANES;
    float bias[LANES] = {0};
    for (int64_t l = 0; c->bias && l < LANES; l++)
        if (block * LANES + l < g->co)
            bias[l] = c->bias[block * LANES + l];
    for (int64_t j = 0; j < g->ow; j += PIXELS) {
        int64_t at = j + PIXELS > g->ow ? g->ow - PIXELS : j;
        __m256 sum[PIXELS];
        for (int p = 0; p < PIXELS; p++)
            sum[p] = _mm256_loadu_ps(bias);
        forward_pixels(g, x + at, w, sum, kw);
        for (int p = 0; p < PIXELS; p++)
            _mm256_storeu_ps(row + (at + p) * g->co + block * LANES, sum[p]);
    }
}

struct ends {
    __m256 lo, hi, odd;
};

THIN_INLINE void ends_of_8(struct ends *e, const float *y)
{
    __m256 v = _mm256_loadu_ps(y);
    e->lo = _mm256_min_ps(v, e->lo);
    e->hi = _mm256_max_ps(v, e->hi);
    e->odd = _mm256_add_ps(e->odd, _mm256_mul_ps(v, _mm256_setzero_ps()));
}

/* n >= LANES; the last vector may see some twice. A NaN is no end. */
THIN_INLINE void ends_of_row(struct ends *e, const float *y, int64_t n)
{
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        ends_of_8(e, y + i);
    if (i < n)
        ends_of_8(e, y + n - LANES);
}

THIN_INLINE void ends_out(const struct ends *e, float *to)
{
    float lo[LANES], hi[LANES], odd[LANES];
    _mm256_storeu_ps(lo, e->lo);
    _mm256_storeu_ps(hi, e->hi);
    _mm256_storeu_ps(odd, e->odd);
    memcpy(to, (float[THIN_ENDS]){lo[0], hi[0], odd[0]},
           THIN_ENDS * sizeof(float));
    for (int l = 1; l < LANES; l++) {
        to[0] = lo[l] < to[0] ? lo[l] : to[0];
        to[1] = hi[l] > to[1] ? hi[l] : to[1];
        to[2] += odd[l];
    }
}

THIN_INLINE void forward_image(const struct thin_conv *c, int64_t n,
                               int64_t kw)
{
    const struct conv_geom *g = &c->geom;
    int64_t width = g->ow * g->co;
    float *x = frames_at(c), *spare = x + x_frame(g);
    float *y = c->to + n * g->oh * width;
    struct ends ends = {_mm256_set1_ps(INFINITY), _mm256_set1_ps(-INFINITY),
                        _mm256_setzero_ps()};
    frame_x(c, n, x);
    for (int64_t i = 0; i < g->oh; i++, y += width) {
        /* Behind the last row lies an image of another thread. */
        float *row = i < g->oh - 1 ? y : spare;
        for (int64_t b = 0; b < blocks_of(g); b++)
            forward_row(c, x + i * x_width(g), b, row, kw);
        if (c->ends)
            ends_of_row(&ends, row, width);
    }
    memcpy(y - width, spare, (size_t)width * sizeof(float));
    if (c->ends)
        ends_out(&ends, c->ends + n * THIN_ENDS);
}

THIN void forward_3(const struct thin_conv *c, int64_t n)
{
    forward_image(c, n, 3);
}

THIN void forward_5(const struct thin_conv *c, int64_t n)
{
    forward_image(c, n, 5);
}

/* ---- backward to the weights ---- */

/* dw of `rows` rows of the kernel from one output row; x: the input of the
 * first of them. Two at a time: enough sums that none waits for itself. */
THIN_INLINE void weights_rows(const struct conv_geom *g, const float *x,
                              const float *y, float *dw, int64_t kw,
                              int64_t rows)
{
    int64_t width = x_width(g), taps = rows * kw;
    __m256 sum[2 * KERNEL_WIDE];
#pragma GCC unroll 10
    for (int64_t t = 0; t < taps; t++)
        sum[t] = _mm256_loadu_ps(dw + t * LANES);
    for (int64_t j = 0; j < g->ow; j++) {
        __m256 d = _mm256_loadu_ps(y + j * g->co);
#pragma GCC unroll 10
        for (int64_t t = 0; t < taps; t++) {
            const float *at = x + t / kw * width + j + t % kw;
            sum[t] = _mm256_fmadd_ps(_mm256_broadcast_ss(at), d, sum[t]);
        }
    }
#pragma GCC unroll 10
    for (int64_t t = 0; t < taps; t++)
        _mm256_storeu_ps(dw + t * LANES, sum[t]);
}

/* Gradient of y: a copy where the last vector reaches beyond its pixel. */
static const float *gradient_of(const struct thin_conv *c, int64_t n,
                                float *frame)
{
    const struct conv_geom *g = &c->geom;
    int64_t count = g->oh * g->ow * g->co;
    if (g->co % LANES == 0)
        return c->y + n * count;
    memcpy(frame, c->y + n * count, (size_t)count * sizeof(float));
    memset(frame + count, 0, LANES * sizeof(float));
    return frame;
}

THIN_INLINE void weights_image(const struct thin_conv *c, int64_t n,
                               float *dw, int64_t kw)
{
    const struct conv_geom *g = &c->geom;
    float *x = frames_at(c);
    int64_t row = g->ow * g->co;
    frame_x(c, n, x);
    const float *y = gradient_of(c, n, x + x_frame(g));
    for (int64_t b = 0; b < blocks_of(g); b++, y += LANES,
                 dw += taps_of(g) * LANES)
        for (int64_t i = 0; i < g->oh; i++) {
            const float *from = x + i * x_width(g), *d = y + i * row;
            int64_t k = 0;
            for (; k + 2 <= g->kh; k += 2)
                weights_rows(g, from + k * x_width(g), d,
                             dw + k * kw * LANES, kw, 2);
            if (k < g->kh)
                weights_rows(g, from + k * x_width(g), d,
                             dw + k * kw * LANES, kw, 1);
        }
}

THIN_INLINE void weights_part(const struct thin_conv *c, int64_t part,
                              int64_t kw)
{
    const struct conv_geom *g = &c->geom;
    float *dw = part_at(c, part);
    int64_t first = part * PART_IMAGES, end = first + PART_IMAGES;
    memset(dw, 0, (size_t)wide_weights(g) * sizeof(float));
    for (int64_t n = first; n < end && n < g->n; n++)
        weights_image(c, n, dw, kw);
}

THIN void weights_3(const struct thin_conv *c, int64_t part)
{
    weights_part(c, part, 3);
}

THIN void weights_5(const struct thin_conv *c, int64_t part)
{
    weights_part(c, part, 5);
}

static void add_parts(const struct thin_conv *c)
{
    const struct conv_geom *g = &c->geom;
    int64_t taps = taps_of(g);
    for (int64_t o = 0; o < g->co; o++)
        for (int64_t t = 0; t < taps; t++) {
            int64_t at = (o / LANES * taps + t) * LANES + o % LANES;
            double sum = 0;
            for (int64_t p = 0; p < parts_of(g); p++)
                sum += (double)part_at(c, p)[at];
            c->to[o * taps + t] = (float)sum;
        }
}

/* ---- backward to the image ---- */

/* The gradient of y as a plane a channel, with zeros around it: vectors hold
 * pixels here. */
static void frame_planes(const struct thin_conv *c, int64_t n, float *frame)
{
    const struct conv_geom *g = &c->geom;
    const float *y = c->y + n * g->oh * g->ow * g->co;
    memset(frame, 0, (size_t)y_frame(g) * sizeof(float));
    frame += (g->kh - 1) * y_width(g) + g->kw - 1;
    for (int64_t i = 0; i < g->oh; i++, frame += y_width(g))
        for (int64_t j = 0; j < g->ow; j++, y += g->co)
            for (int64_t o = 0; o < g->co; o++)
                frame[o * y_plane(g) + j] = y[o];
}

/* SPAN vectors of dx; y: the output pixel that the first tap reaches from the
 * first of them. */
THIN_INLINE void data_pixels(const struct thin_conv *c, const float *y,
                             __m256 sum[SPAN], int64_t kw)
{
    const struct conv_geom *g = &c->geom;
    const float *w = c->w;
    for (int64_t o = 0; o < g->co; o++, y += y_plane(g))
        for (int64_t k = 0; k < g->kh; k++)
            for (int64_t m = 0; m < kw; m++, w++) {
                const float *d = y - k * y_width(g) - m;
                __m256 v = _mm256_broadcast_ss(w);
#pragma GCC unroll 8
                for (int p = 0; p < SPAN; p++)
                    sum[p] = _mm256_fmadd_ps(_mm256_loadu_ps(d + p * LANES),
                                             v, sum[p]);
            }
}

THIN_INLINE void data_image(const struct thin_conv *c, int64_t n, int64_t kw)
{
    const struct conv_geom *g = &c->geom;
    float *frame = frames_at(c) + x_frame(g), *dx = c->to + n * g->h * g->w;
    frame_planes(c, n, frame);
    frame += (g->pt + g->kh - 1) * y_width(g) + g->pl + kw - 1;
    for (int64_t i = 0; i < g->h; i++, frame += y_width(g), dx += g->w)
        for (int64_t j = 0; j < g->w; j += SPAN * LANES) {
            int64_t left = g->w - j;
            float row[SPAN * LANES];
            __m256 sum[SPAN];
            for (int p = 0; p < SPAN; p++)
                sum[p] = _mm256_setzero_ps();
            data_pixels(c, frame + j, sum, kw);
            for (int p = 0; p < SPAN; p++)
                _mm256_storeu_ps(row + p * LANES, sum[p]);
            memcpy(dx + j, row,
                   (size_t)(left < SPAN * LANES ? left : SPAN * LANES) *
                       sizeof(float));
        }
}

THIN void data_3(const struct thin_conv *c, int64_t n)
{
    data_image(c, n, 3);
}

THIN void data_5(const struct thin_conv *c, int64_t n)
{
    data_image(c, n, 5);
}

/* By width: 3, 5. */
typedef void (*thin_fn)(const struct thin_conv *c, int64_t n);
static const thin_fn forward_fn[] = {forward_3, forward_5};
static const thin_fn weights_fn[] = {weights_3, weights_5};
static const thin_fn data_fn[] = {data_3, data_5};

/* ---- all images ---- */

static void run_all(const struct thin_conv *c, const thin_fn *by_width,
                    int64_t times)
{
    const struct conv_geom *g = &c->geom;
    thin_fn fn = by_width[g->kw == KERNEL_WIDE];
    int64_t macs = g->n * g->oh * g->ow * g->co * taps_of(g);
#pragma omp parallel for schedule(static) num_threads(c->threads) \
    if (c->threads > 1 && macs > SHEET_PARALLEL)
    for (int64_t i = 0; i < times; i++)
        fn(c, i);
}

void thin_conv_forward(const struct thin_conv *c)
{
    widen_weights(c);
    run_all(c, forward_fn, c->geom.n);
}

void thin_conv_back_weights(const struct thin_conv *c)
{
    run_all(c, weights_fn, parts_of(&c->geom));
    add_parts(c);
}

void thin_conv_back_data(const struct thin_conv *c)
{
    run_all(c, data_fn, c->geom.n);
}

#else

/* Never called: thin_conv_fits() says no. */
void thin_conv_forward(const struct thin_conv *c)
{
    (void)c;
}

void thin_conv_back_data(const struct thin_conv *c)
{
    (void)c;
}

void thin_conv_back_weights(const struct thin_conv *c)
{
    (void)c;
}

#endif

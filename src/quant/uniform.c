/* Uniform grids: rounding, codes, values, masks.
 *
 * Two shapes of arithmetic are hot and have loops of their own: ratio by
 * reciprocal or by division, half to even, zero point after rounding, clamp
 * last (torch and AIMET). Every other combination runs through blocks of
 * small passes. SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/uniform.h"

#include <string.h>

#include <math.h>

/* Codes are converted to 64-bit integers in the packages; what does not fit
 * becomes the smallest integer on x86 and so clamps to the lowest code. */
#define CODE_LIMIT REAL(9223372036854775808.0)

typedef void (*round_fn)(real *v, int64_t n, struct rng *rng);

QUANT_CLONES static void half_even(real *v, int64_t n, struct rng *rng)
{
    (void)rng;
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        v[i] = real_rint(v[i]);
}

QUANT_CLONES static void half_away(real *v, int64_t n, struct rng *rng)
{
    (void)rng;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real t = real_trunc(v[i]);
        real one = v[i] < 0 ? REAL(-1.0) : REAL(1.0);

        v[i] = real_fabs(v[i] - t) >= REAL(0.5) ? t + one : t;
    }
}

QUANT_CLONES static void half_up(real *v, int64_t n, struct rng *rng)
{
    (void)rng;
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        v[i] = real_floor(v[i] + REAL(0.5));
}

QUANT_CLONES static void down(real *v, int64_t n, struct rng *rng)
{
    (void)rng;
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        v[i] = real_floor(v[i]);
}

QUANT_CLONES static void up(real *v, int64_t n, struct rng *rng)
{
    (void)rng;
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        v[i] = real_ceil(v[i]);
}

QUANT_CLONES static void to_zero(real *v, int64_t n, struct rng *rng)
{
    (void)rng;
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        v[i] = real_trunc(v[i]);
}

/* floor(v + u), u uniform in [0, 1): up with the probability of the
 * fraction. Without a stream: half to even. */
static void stochastic(real *v, int64_t n, struct rng *rng)
{
    if (!rng) {
        half_even(v, n, rng);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        v[i] = real_floor(v[i] + (real)rng_uniform(rng));
}

static const round_fn rounding_table[ROUND_COUNT] = {
    [ROUND_HALF_EVEN] = half_even,
    [ROUND_HALF_AWAY] = half_away,
    [ROUND_HALF_UP] = half_up,
    [ROUND_FLOOR] = down,
    [ROUND_CEIL] = up,
    [ROUND_TO_ZERO] = to_zero,
    [ROUND_STOCHASTIC] = stochastic,
};

void round_block(enum rounding r, struct rng *rng, real *v, int64_t n)
{
    rounding_table[r](v, n, rng);
}

/* The hot loops; divide and first are constants at each call. Conditions are
 * joined by & so that they become masks. Clamping first, as LSQ has it, is
 * the same as last for half to even between integer ends, but for values
 * beyond 64 bits; masks need no limit either. */
static inline __attribute__((always_inline)) real
code_of(real x, const struct grid *g, bool divide, bool first)
{
    real v = real_rint(divide ? x / g->scale : x * g->inv) + g->zero_point;

    if (first)
        return v;
    return v < CODE_LIMIT ? v : -CODE_LIMIT;
}

static inline __attribute__((always_inline)) void
hot_forward(const struct grid *gp, const real *x, real *y, int64_t n,
            bool divide, bool first)
{
    const struct grid g = *gp;

#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real v = code_of(x[i], &g, divide, first);

        v = v > g.lo ? v : g.lo;
        v = v < g.hi ? v : g.hi;
        y[i] = (v - g.zero_point) * g.scale;
    }
}

static inline __attribute__((always_inline)) void
hot_backward(const struct grid *gp, const real *x, const real *dy, real *dx,
             int64_t n, bool divide)
{
    const struct grid g = *gp;

#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real v = code_of(x[i], &g, divide, true);
        int in = (v >= g.lo) & (v <= g.hi);

        dx[i] = in ? dy[i] : 0;
    }
}

typedef void (*hot_forward_fn)(const struct grid *g, const real *x, real *y,
                               int64_t n);

QUANT_CLONES static void forward_mul(const struct grid *g, const real *x,
                                     real *y, int64_t n)
{
    hot_forward(g, x, y, n, false, false);
}

QUANT_CLONES static void forward_div(const struct grid *g, const real *x,
                                     real *y, int64_t n)
{
    hot_forward(g, x, y, n, true, false);
}

QUANT_CLONES static void forward_mul_first(const struct grid *g,
                                           const real *x, real *y, int64_t n)
{
    hot_forward(g, x, y, n, false, true);
}

QUANT_CLONES static void forward_div_first(const struct grid *g,
                                           const real *x, real *y, int64_t n)
{
    hot_forward(g, x, y, n, true, true);
}

/* By divide, by clamp_first. */
static const hot_forward_fn hot_forwards[2][2] = {
    {forward_mul, forward_mul_first},
    {forward_div, forward_div_first},
};

QUANT_CLONES static void backward_mul(const struct grid *g, const real *x,
                                      const real *dy, real *dx, int64_t n)
{
    hot_backward(g, x, dy, dx, n, false);
}

QUANT_CLONES static void backward_div(const struct grid *g, const real *x,
                                      const real *dy, real *dx, int64_t n)
{
    hot_backward(g, x, dy, dx, n, true);
}

/* A real-valued zero point is one fused multiply-add, as in torch. */
QUANT_CLONES_FMA static void ratios_float(const struct grid *g,
                                          const real *x, real *v, int64_t n)
{
    real inv = g->inv, z = g->zero_point;

#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        v[i] = real_fma(x[i], inv, z);
}

QUANT_CLONES static void ratios_int(const struct grid *g, const real *x,
                                    real *v, int64_t n)
{
    real inv = g->inv, scale = g->scale;
    real z = g->spec->zp_before ? g->zero_point : 0;

    if (g->spec->divide) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            v[i] = x[i] / scale + z;
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            v[i] = x[i] * inv + z;
    }
}

/* v = x / s or x * inv, with the zero point when it comes before rounding. */
static void ratios(const struct grid *g, const real *x, real *v, int64_t n)
{
    (g->spec->float_zp ? ratios_float : ratios_int)(g, x, v, n);
}

QUANT_CLONES static void clamp(real lo, real hi, real *v, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real t = v[i] < lo ? lo : v[i];

        v[i] = t > hi ? hi : t;
    }
}

QUANT_CLONES static void shift_and_limit(real z, real *v, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real t = v[i] + z;

        v[i] = t < CODE_LIMIT ? t : -CODE_LIMIT;
    }
}

/* Zero point that is still to be added after rounding. */
static real zero_after(const struct grid *g)
{
    return g->spec->zp_before ? 0 : g->zero_point;
}

void grid_codes(const struct grid *g, const real *x, real *v, int64_t n)
{
    real z = zero_after(g);

    ratios(g, x, v, n);
    if (g->spec->clamp_first)
        clamp(g->lo - z, g->hi - z, v, n);
    round_block(g->rounding, g->rng, v, n);
    shift_and_limit(z, v, n);
}

QUANT_CLONES void grid_values(const struct grid *g, real *v, int64_t n)
{
    real z = g->zero_point, s = g->scale;

    if (g->spec->float_zp) {
        for (int64_t i = 0; i < n; i++)
            v[i] = (real)(((double)v[i] - (double)z) * (double)s);
        return;
    }
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        v[i] = (v[i] - z) * s;
}

/* Clamping first, the mask compares the unrounded value; else the code. */
static void masks(const struct grid *g, const real *x, real *m, int64_t n)
{
    real z = zero_after(g);
    real lo = g->lo, hi = g->hi;

    if (g->spec->clamp_first) {
        ratios(g, x, m, n);
        lo -= z;
        hi -= z;
    } else {
        grid_codes(g, x, m, n);
    }
    block_inside(m, lo, hi, m, n);
}

static bool is_hot(const struct qspec *s, enum rounding r)
{
    return r == ROUND_HALF_EVEN && !s->zp_before && !s->float_zp;
}

void grid_init(struct grid *g, const struct quantizer *q, int64_t channel,
               bool train)
{
    bool chance = train && q->rng;

    *g = (struct grid){
        .spec = &q->spec,
        .scale = q->scale[channel],
        .inv = REAL(1.0) / q->scale[channel],
        .zero_point = q->zero_point[channel],
        .lo = (real)q->lo_code,
        .hi = (real)q->hi_code,
        .rounding = q->spec.rounding,
        .rng = chance ? q->rng : NULL,
    };
    if (g->rounding == ROUND_STOCHASTIC && !chance)
        g->rounding = ROUND_HALF_EVEN;
}

struct call {
    const struct quantizer *cq;
    const real *x, *dy;
    real *y, *dx;
    int32_t *code;
    bool train;
};

static void forward_piece(void *ctx, int64_t channel, int64_t at, int64_t n)
{
    const struct call *c = ctx;
    struct grid g;

    grid_init(&g, c->cq, channel, c->train);
    if (is_hot(g.spec, g.rounding)) {
        hot_forwards[g.spec->divide][g.spec->clamp_first](
            &g, c->x + at, c->y + at, n);
        return;
    }
    for (int64_t i = 0; i < n; i += QUANT_BLOCK) {
        QUANT_ALIGNED real v[QUANT_BLOCK];
        int64_t m = n - i < QUANT_BLOCK ? n - i : QUANT_BLOCK;

        grid_codes(&g, c->x + at + i, v, m);
        clamp(g.lo, g.hi, v, m);
        grid_values(&g, v, m);
        memcpy(c->y + at + i, v, (size_t)m * sizeof v[0]);
    }
}

static void backward_piece(void *ctx, int64_t channel, int64_t at, int64_t n)
{
    const struct call *c = ctx;
    struct grid g;

    grid_init(&g, c->cq, channel, false);
    if (is_hot(g.spec, g.rounding) && !g.spec->clamp_first) {
        (g.spec->divide ? backward_div : backward_mul)(
            &g, c->x + at, c->dy + at, c->dx + at, n);
        return;
    }
    for (int64_t i = 0; i < n; i += QUANT_BLOCK) {
        QUANT_ALIGNED real m[QUANT_BLOCK];
        int64_t k = n - i < QUANT_BLOCK ? n - i : QUANT_BLOCK;

        masks(&g, c->x + at + i, m, k);
        block_choose(m, c->dy + at + i, NULL, c->dx + at + i, k);
    }
}

/* Ends that are not exact as reals are put in as integers. */
static void code_ints(const struct grid *g, const struct quantizer *q,
                      const real *v, int32_t *code, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        code[i] = (int32_t)(v[i] <= g->lo   ? q->lo_code
                            : v[i] >= g->hi ? q->hi_code
                                            : (int64_t)v[i]);
}

QUANT_CLONES static void small_code_ints(real lo, real hi, const real *v,
                                         int32_t *code, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real t = v[i] < lo ? lo : v[i];

        code[i] = (int32_t)(t > hi ? hi : t);
    }
}

#define SMALL_CODE (1 << 24)  /* exact in a float */

static void codes_piece(void *ctx, int64_t channel, int64_t at, int64_t n)
{
    const struct call *c = ctx;
    const struct quantizer *q = c->cq;
    bool small = q->lo_code >= -SMALL_CODE && q->hi_code <= SMALL_CODE;
    struct grid g;

    grid_init(&g, q, channel, false);
    for (int64_t i = 0; i < n; i += QUANT_BLOCK) {
        QUANT_ALIGNED real v[QUANT_BLOCK];
        int64_t m = n - i < QUANT_BLOCK ? n - i : QUANT_BLOCK;

        grid_codes(&g, c->x + at + i, v, m);
        if (small)
            small_code_ints(g.lo, g.hi, v, c->code + at + i, m);
        else
            code_ints(&g, q, v, c->code + at + i, m);
    }
}

/* Channels innermost (N,H,W,C): every element of a row has a grid of its own,
 * so the loop runs over channels. */
QUANT_CLONES static void forward_row(const struct quantizer *q,
                                     const real *x, real *y)
{
    const real *scale = q->scale, *zero = q->zero_point;
    real lo = (real)q->lo_code, hi = (real)q->hi_code;
    real divide = q->spec.divide ? REAL(1.0) : 0;
    int64_t n = q->channels;

#pragma omp simd
    for (int64_t c = 0; c < n; c++) {
        real s = scale[c], z = zero[c];
        real ratio = divide > 0 ? x[c] / s : x[c] * (REAL(1.0) / s);
        real v = real_rint(ratio) + z;

        v = v < CODE_LIMIT ? v : -CODE_LIMIT;
        v = v > lo ? v : lo;
        v = v < hi ? v : hi;
        y[c] = (v - z) * s;
    }
}

QUANT_CLONES static void backward_row(const struct quantizer *q,
                                      const real *x, const real *dy,
                                      real *dx)
{
    const real *scale = q->scale, *zero = q->zero_point;
    real lo = (real)q->lo_code, hi = (real)q->hi_code;
    real divide = q->spec.divide ? REAL(1.0) : 0;
    int64_t n = q->channels;

#pragma omp simd
    for (int64_t c = 0; c < n; c++) {
        real s = scale[c];
        real ratio = divide > 0 ? x[c] / s : x[c] * (REAL(1.0) / s);
        real v = real_rint(ratio) + zero[c];
        int in = (v >= lo) & (v <= hi);

        dx[c] = in ? dy[c] : 0;
    }
}

/* Rows of channels, one after the other in memory. */
static bool by_rows(const struct quantizer *q, struct qview v)
{
    return v.inner == 1 && v.channels > 1 && !q->spec.clamp_first &&
           is_hot(&q->spec, q->spec.rounding);
}

static void forward_rows(const struct call *c, struct qview v)
{
#pragma omp parallel for schedule(static) \
    if (view_count(v) >= QUANT_PARALLEL)
    for (int64_t r = 0; r < v.outer; r++)
        forward_row(c->cq, c->x + r * v.channels, c->y + r * v.channels);
}

static void backward_rows(const struct call *c, struct qview v)
{
#pragma omp parallel for schedule(static) \
    if (view_count(v) >= QUANT_PARALLEL)
    for (int64_t r = 0; r < v.outer; r++)
        backward_row(c->cq, c->x + r * v.channels, c->dy + r * v.channels,
                     c->dx + r * v.channels);
}

/* One random stream is drawn in element order: no threads then. */
static void run_pieces(struct qview v, piece_fn fn, struct call *c)
{
    if (c->train && c->cq->rng &&
        c->cq->spec.rounding == ROUND_STOCHASTIC) {
        for (int64_t r = 0; r < v.outer * v.channels; r++)
            fn(c, r % v.channels, r * v.inner, v.inner);
        return;
    }
    view_each(v, fn, c);
}

void uniform_forward(struct quantizer *q, const real *x, real *y,
                     struct qview v, bool train)
{
    struct call c = {.cq = q, .x = x, .y = y, .train = train};

    if (by_rows(q, v))
        forward_rows(&c, v);
    else
        run_pieces(v, forward_piece, &c);
}

void uniform_backward(struct quantizer *q, const real *x, const real *dy,
                      real *dx, struct qview v)
{
    struct call c = {.cq = q, .x = x, .dy = dy, .dx = dx};

    if (q->spec.grad == QGRAD_PASS) {
        int64_t n = view_count(v);

        for (int64_t i = 0; i < n && dx != dy; i++)
            dx[i] = dy[i];
        return;
    }
    if (by_rows(q, v))
        backward_rows(&c, v);
    else
        view_each(v, backward_piece, &c);
}

void uniform_codes(const struct quantizer *q, const real *x, int32_t *code,
                   struct qview v)
{
    struct call c = {.cq = q, .x = x, .code = code};

    view_each(v, codes_piece, &c);
}

void uniform_set_range(struct quantizer *q)
{
    for (int64_t c = 0; c < q->channels; c++)
        q->spec.rule->compute(&q->spec, q->lo[c], q->hi[c], &q->scale[c],
                              &q->zero_point[c]);
}

double uniform_grad_scale(const struct quantizer *q, struct qview v)
{
    int64_t n = q->n_elem > 0 ? q->n_elem : view_count(v);
    double top = q->hi_code > 0 ? (double)q->hi_code : 1;

    return 1 / sqrt((double)(n > 0 ? n : 1) * top);
}

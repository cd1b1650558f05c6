/* Diagnosis: what a quantizer does to data.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "quant/uniform.h"

/* Codes that span more than this have no table of levels. */
#define LEVELS_MAX 65536

struct sums {
    double signal, noise, mean, worst;
    int64_t clipped;
};

static void add_error(struct sums *s, real x, real y)
{
    double d = (double)y - (double)x;

    s->signal += (double)x * (double)x;
    s->noise += d * d;
    s->mean += d;
    if (fabs(d) > s->worst)
        s->worst = fabs(d);
}

static void finish(const struct sums *s, struct qstats *out)
{
    double n = out->count ? (double)out->count : 1;

    out->clipped = s->clipped;
    out->mse = s->noise / n;
    out->mean_error = s->mean / n;
    out->max_error = s->worst;
    out->sqnr_db = s->noise > 0 ? 10 * log10(s->signal / s->noise)
                                : (double)INFINITY;
}

/* How often each code comes up; count NULL: too many codes, or no memory. */
struct levels {
    int64_t *count;
    int64_t lo, n;
};

static void levels_init(struct levels *l, int64_t lo, int64_t hi)
{
    *l = (struct levels){.lo = lo, .n = hi - lo + 1};
    if (l->n <= LEVELS_MAX)
        l->count = mem_alloc((size_t)l->n, sizeof *l->count);
}

/* Frees the table. */
static void levels_finish(struct levels *l, struct qstats *out)
{
    for (int64_t i = 0; l->count && i < l->n; i++) {
        out->levels += l->count[i] > 0;
        if (l->count[i] > out->most) {
            out->most = l->count[i];
            out->most_code = l->lo + i;
        }
    }
    mem_free(l->count);
}

/* One block of one channel of a uniform grid. */
static void uniform_block(const struct grid *g, const real *x, int64_t n,
                          struct sums *s, struct levels *l)
{
    QUANT_ALIGNED real code[QUANT_BLOCK], y[QUANT_BLOCK];

    grid_codes(g, x, code, n);
    for (int64_t i = 0; i < n; i++) {
        bool out = code[i] < g->lo || code[i] > g->hi;

        s->clipped += out;
        code[i] = code[i] < g->lo ? g->lo : code[i] > g->hi ? g->hi
                                                            : code[i];
        y[i] = code[i];
        if (l->count)
            l->count[(int64_t)code[i] - l->lo]++;
    }
    grid_values(g, y, n);
    for (int64_t i = 0; i < n; i++)
        add_error(s, x[i], y[i]);
}

static void uniform_stats(const struct quantizer *q, const real *x,
                          struct qview v, struct sums *s,
                          struct qstats *out)
{
    struct levels l;

    levels_init(&l, q->lo_code, q->hi_code);
    for (int64_t r = 0; r < v.outer * v.channels; r++) {
        struct grid g;

        grid_init(&g, q, r % v.channels, false);
        for (int64_t i = 0; i < v.inner; i += QUANT_BLOCK) {
            int64_t n = v.inner - i < QUANT_BLOCK ? v.inner - i
                                                  : QUANT_BLOCK;

            uniform_block(&g, x + r * v.inner + i, n, s, &l);
        }
    }
    levels_finish(&l, out);
    if (out->levels)
        out->dead_levels = q->hi_code - q->lo_code + 1 - out->levels;
}

static void count_codes(const struct quantizer *q, const real *x,
                        struct qview v, struct qstats *out)
{
    int64_t n = view_count(v);
    int32_t *code = mem_alloc((size_t)n + 1, sizeof *code);
    struct levels l = {.count = NULL};
    int32_t lo, hi;

    if (!code)
        return;
    q->spec.kind->codes(q, x, code, v);
    lo = hi = code[0];
    for (int64_t i = 1; i < n; i++) {
        lo = code[i] < lo ? code[i] : lo;
        hi = code[i] > hi ? code[i] : hi;
    }
    levels_init(&l, lo, hi);
    for (int64_t i = 0; l.count && i < n; i++)
        l.count[code[i] - lo]++;
    levels_finish(&l, out);
    mem_free(code);
}

/* Kinds without an even grid: how many levels there are is not known, only
 * those that come up; what lies beyond the outermost of them was clipped. */
static void other_stats(struct quantizer *q, const real *x, struct qview v,
                        struct sums *s, struct qstats *out)
{
    int64_t n = view_count(v);
    real *y = mem_alloc((size_t)n + 1, sizeof *y);
    real lo, hi;

    if (!y)
        return;
    q->spec.kind->forward(q, x, y, v, false);
    lo = hi = y[0];
    for (int64_t i = 0; i < n; i++) {
        add_error(s, x[i], y[i]);
        lo = y[i] < lo ? y[i] : lo;
        hi = y[i] > hi ? y[i] : hi;
    }
    for (int64_t i = 0; i < n; i++)
        s->clipped += x[i] < lo || x[i] > hi;
    mem_free(y);
    if (n > 0 && q->spec.kind->codes)
        count_codes(q, x, v, out);
}

void quantizer_stats(struct quantizer *q, const real *x, struct qview v,
                     struct qstats *out)
{
    struct sums s = {0};

    memset(out, 0, sizeof *out);
    out->count = view_count(v);
    if (!q->ready || v.channels != q->channels)
        return;
    if ((q->spec.kind->flags & QK_UNIFORM) &&
        q->spec.kind->forward == uniform_forward)
        uniform_stats(q, x, v, &s, out);
    else
        other_stats(q, x, v, &s, out);
    finish(&s, out);
}

/* ---- blocked gradients ---- */

static double magnitude(const real *dy, int64_t i)
{
    return dy ? fabs((double)dy[i]) : 1;
}

/* At the ends of its range a quantizer may stop the gradient of values that
 * it does not move (LSQ: 0 behind a ReLU): those are not clipped. */
static double blocked_share(struct quantizer *q, const real *x,
                            const real *dy, real *y, real *dx,
                            struct qview v)
{
    int64_t n = view_count(v);
    double all = 0, blocked = 0;

    for (int64_t i = 0; i < n; i++)
        y[i] = dy ? dy[i] : 1;
    quantizer_backward(q, x, y, dx, v);
    quantizer_forward(q, x, y, v, false);
    for (int64_t i = 0; i < n; i++) {
        double d = magnitude(dy, i);

        all += d;
        blocked += dx[i] == 0 && y[i] != x[i] ? d : 0;
    }
    return all > 0 ? blocked / all : (double)NAN;
}

double quantizer_blocked(struct quantizer *q, const real *x, const real *dy,
                         struct qview v)
{
    size_t n = (size_t)view_count(v) + 1, rows = (size_t)q->n_learned;
    real *y = mem_alloc(n, sizeof *y), *dx = mem_alloc(n, sizeof *dx);
    real *grad = mem_alloc(rows + 1, sizeof *grad);
    double share = (double)NAN;

    if (y && dx && grad && q->ready && v.channels == q->channels) {
        memcpy(grad, q->grad, rows * sizeof *grad);
        share = blocked_share(q, x, dy, y, dx, v);
        memcpy(q->grad, grad, rows * sizeof *grad);
    }
    mem_free(grad);
    mem_free(dx);
    mem_free(y);
    return share;
}

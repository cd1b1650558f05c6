/* Diagnosis: what a quantizer does to data.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "quant/uniform.h"

/* A grid of more codes than this has no table of used levels. */
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

/* One block of one channel of a uniform grid; used: a flag per code. */
static void uniform_block(const struct quantizer *q, const struct grid *g,
                          const real *x, int64_t n, struct sums *s,
                          unsigned char *used)
{
    real code[QUANT_BLOCK], y[QUANT_BLOCK];

    grid_codes(g, x, code, n);
    for (int64_t i = 0; i < n; i++) {
        bool out = code[i] < g->lo || code[i] > g->hi;

        s->clipped += out;
        code[i] = code[i] < g->lo ? g->lo : code[i] > g->hi ? g->hi
                                                            : code[i];
        y[i] = code[i];
        if (used)
            used[(int64_t)code[i] - q->lo_code] = 1;
    }
    grid_values(g, y, n);
    for (int64_t i = 0; i < n; i++)
        add_error(s, x[i], y[i]);
}

static void uniform_stats(const struct quantizer *q, const real *x,
                          struct qview v, struct sums *s,
                          unsigned char *used)
{
    for (int64_t r = 0; r < v.outer * v.channels; r++) {
        struct grid g;

        grid_init(&g, q, r % v.channels, false);
        for (int64_t i = 0; i < v.inner; i += QUANT_BLOCK) {
            int64_t n = v.inner - i < QUANT_BLOCK ? v.inner - i
                                                  : QUANT_BLOCK;

            uniform_block(q, &g, x + r * v.inner + i, n, s, used);
        }
    }
}

static void count_levels(const struct quantizer *q, const real *x,
                         struct qview v, struct sums *s,
                         struct qstats *out)
{
    int64_t levels = q->hi_code - q->lo_code + 1;
    unsigned char *used =
        levels <= LEVELS_MAX ? mem_alloc((size_t)levels, 1) : NULL;

    uniform_stats(q, x, v, s, used);
    for (int64_t i = 0; used && i < levels; i++)
        out->levels += used[i];
    out->dead_levels = used ? levels - out->levels : 0;
    mem_free(used);
}

static int compare_real(const void *a, const void *b)
{
    real x = *(const real *)a, y = *(const real *)b;

    return (x > y) - (x < y);
}

/* Kinds without an even grid: the values that came out are the levels; what
 * lies beyond the outermost of them was clipped. */
static void other_stats(struct quantizer *q, const real *x, struct qview v,
                        struct sums *s, struct qstats *out)
{
    int64_t n = view_count(v);
    real *y = mem_alloc((size_t)n + 1, sizeof *y);

    if (!y)
        return;
    q->spec.kind->forward(q, x, y, v, false);
    for (int64_t i = 0; i < n; i++)
        add_error(s, x[i], y[i]);
    qsort(y, (size_t)n, sizeof *y, compare_real);
    for (int64_t i = 0; i < n; i++) {
        out->levels += i == 0 || y[i] != y[i - 1];
        s->clipped += x[i] < y[0] || x[i] > y[n - 1];
    }
    mem_free(y);
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
        count_levels(q, x, v, &s, out);
    else
        other_stats(q, x, v, &s, out);
    finish(&s, out);
}

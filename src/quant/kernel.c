/* Pieces of a view, and sums that do not depend on the number of threads.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/kernel.h"

#define PIECE 16384
#define SUM_PIECES 64

void view_each(struct qview v, piece_fn fn, void *ctx)
{
    int64_t rows = v.outer * v.channels;
    int64_t per_row = (v.inner + PIECE - 1) / PIECE;
    int64_t items = rows * per_row;

#pragma omp parallel for schedule(static) \
    if (rows * v.inner >= QUANT_PARALLEL)
    for (int64_t i = 0; i < items; i++) {
        int64_t row = i / per_row;
        int64_t from = i % per_row * PIECE;
        int64_t n = v.inner - from < PIECE ? v.inner - from : PIECE;

        fn(ctx, row % v.channels, row * v.inner + from, n);
    }
}

/* One channel, one row: cut into at most SUM_PIECES pieces whose borders
 * depend on the count alone. */
static void sum_flat(int64_t count, sum_fn fn, done_fn done, void *ctx)
{
    double part[SUM_PIECES][SUM_MAX] = {{0}};
    double total[SUM_MAX] = {0};
    int64_t piece = (count + SUM_PIECES - 1) / SUM_PIECES;
    int64_t n_piece;

    if (piece < 1024)
        piece = 1024;
    piece = (piece + LANES - 1) / LANES * LANES;
    n_piece = (count + piece - 1) / piece;
#pragma omp parallel for schedule(static) if (count >= QUANT_PARALLEL)
    for (int64_t i = 0; i < n_piece; i++) {
        int64_t from = i * piece;
        int64_t n = count - from < piece ? count - from : piece;

        fn(ctx, 0, from, n, part[i]);
    }
    for (int64_t i = 0; i < n_piece; i++)
        for (int k = 0; k < SUM_MAX; k++)
            total[k] += part[i][k];
    done(ctx, 0, total);
}

void view_sum(struct qview v, sum_fn fn, done_fn done, void *ctx)
{
    if (v.channels == 1) {
        sum_flat(v.outer * v.inner, fn, done, ctx);
        return;
    }
#pragma omp parallel for schedule(static) \
    if (view_count(v) >= QUANT_PARALLEL)
    for (int64_t c = 0; c < v.channels; c++) {
        double sum[SUM_MAX] = {0};

        for (int64_t o = 0; o < v.outer; o++)
            fn(ctx, c, (o * v.channels + c) * v.inner, v.inner, sum);
        done(ctx, c, sum);
    }
}

QUANT_CLONES double block_sum(const real *v, int64_t n)
{
    double lane[LANES] = {0};
    double sum = 0;
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES)
#pragma omp simd
        for (int l = 0; l < LANES; l++)
            lane[l] += (double)v[i + l];
    for (; i < n; i++)
        sum += (double)v[i];
    for (int l = 0; l < LANES; l++)
        sum += lane[l];
    return sum;
}

QUANT_CLONES double block_dot(const real *a, const real *b, int64_t n)
{
    double lane[LANES] = {0};
    double sum = 0;
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES)
#pragma omp simd
        for (int l = 0; l < LANES; l++)
            lane[l] += (double)(a[i + l] * b[i + l]);
    for (; i < n; i++)
        sum += (double)(a[i] * b[i]);
    for (int l = 0; l < LANES; l++)
        sum += lane[l];
    return sum;
}

QUANT_CLONES void block_inside(const real *v, real lo, real hi, real *mask,
                               int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        int in = (v[i] >= lo) & (v[i] <= hi);

        mask[i] = in ? REAL(1.0) : REAL(0.0);
    }
}

QUANT_CLONES void block_between(const real *v, real lo, real hi, real *mask,
                                int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        int in = (v[i] > lo) & (v[i] < hi);

        mask[i] = in ? REAL(1.0) : REAL(0.0);
    }
}

QUANT_CLONES static void choose_or_zero(const real *mask, const real *a,
                                        real *out, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        out[i] = mask[i] > 0 ? a[i] : 0;
}

QUANT_CLONES static void choose(const real *mask, const real *a,
                                const real *b, real *out, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        out[i] = mask[i] > 0 ? a[i] : b[i];
}

void block_choose(const real *mask, const real *a, const real *b, real *out,
                  int64_t n)
{
    if (b)
        choose(mask, a, b, out, n);
    else
        choose_or_zero(mask, a, out, n);
}

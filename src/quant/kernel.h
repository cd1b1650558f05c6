/* What the loops of quant/ share: function multiversioning, piecewise sums in
 * a fixed order. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef QUANT_KERNEL_H
#define QUANT_KERNEL_H

#include "quant/quantizer.h"

/* The same C compiled for several processors, picked at run time. Without
 * contraction every version gives the same bits. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define QUANT_CLONES \
    __attribute__((target_clones("avx512f", "avx2", "default")))
/* For loops with real_fma, which avx2 alone does not have. */
#define QUANT_CLONES_FMA \
    __attribute__((target_clones("avx512f", "fma", "default")))
#else
#define QUANT_CLONES
#define QUANT_CLONES_FMA
#endif

/* Elements a loop handles between two looks at a table: fits the first-level
 * cache with its temporaries. */
#define QUANT_BLOCK 512

/* For a block's temporaries: vectors that do not straddle cache lines. */
#define QUANT_ALIGNED _Alignas(64)

/* From here on a loop is worth several threads. */
#define QUANT_PARALLEL 32768

static inline int64_t view_count(struct qview v)
{
    return v.outer * v.channels * v.inner;
}

/* Calls fn on contiguous pieces: n elements from index `at`, all of one
 * channel. Pieces may run at the same time. */
typedef void (*piece_fn)(void *ctx, int64_t channel, int64_t at, int64_t n);
void view_each(struct qview v, piece_fn fn, void *ctx);

/* The same with up to SUM_MAX sums per channel, added in an order that does
 * not depend on the number of threads. fn adds into sum; done gets each
 * channel's total. */
#define SUM_MAX 4
typedef void (*sum_fn)(void *ctx, int64_t channel, int64_t at, int64_t n,
                       double *sum);
typedef void (*done_fn)(void *ctx, int64_t channel, const double *sum);
void view_sum(struct qview v, sum_fn fn, done_fn done, void *ctx);

/* Partial sums of a block, side by side; what reals lose in a block is far
 * below what a gradient in real has. */
#define LANES 16
static inline double lanes_sum(const real *lane, double sum)
{
    for (int l = 0; l < LANES; l++)
        sum += (double)lane[l];
    return sum;
}

/* Sum of n reals, and of n products of reals, in a fixed order, in double. */
double block_sum(const real *v, int64_t n);
double block_dot(const real *a, const real *b, int64_t n);

/* Small passes over at most a block, for kinds to put together. A condition
 * that another one depends on, or a product with a choice, keeps gcc from
 * using vectors: so each has a pass of its own. */
/* 1 where lo <= v <= hi (closed) or lo < v < hi, else 0. */
void block_inside(const real *v, real lo, real hi, real *mask, int64_t n);
void block_between(const real *v, real lo, real hi, real *mask, int64_t n);
/* out = mask > 0 ? a : b; b NULL: 0. out may be a, b or mask. */
void block_choose(const real *mask, const real *a, const real *b, real *out,
                  int64_t n);

#endif

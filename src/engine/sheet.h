/* Values seen as rows x channels, and the passes over them.
 *
 * A sheet is a channels-last value, contiguous. Passes run over lines: a line
 * is as many rows as make at least 256 reals, so that short channel counts
 * vectorise too; numbers per channel are repeated along it ("wide"). Blocks
 * of lines have a fixed size, partial sums are kept per block and added in
 * order: the number of threads does not show in any result.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef ENGINE_SHEET_H
#define ENGINE_SHEET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The same C for several processors, picked at run time. Without contraction
 * every version gives the same bits. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define ENGINE_CLONES \
    __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define ENGINE_CLONES
#endif

#define SHEET_CHUNK 512       /* reals a kernel call handles */
#define SHEET_PARALLEL 16384  /* reals below which one thread does it */

struct sheet {
    int64_t rows, channels;
    int64_t repeat, width;    /* rows a line, reals a line */
    int64_t lines;            /* the last one may be short */
    int64_t count;            /* reals in all */
    int64_t block_lines;
    int64_t blocks;
};

void sheet_init(struct sheet *s, int64_t rows, int64_t channels);
/* wide[i] = v[i % channels] for a whole line. */
void sheet_widen(const struct sheet *s, const float *v, float *wide);
size_t sheet_wide_bytes(const struct sheet *s);

/* A grid to round to: hot form of quant/uniform.h. */
struct round_grid {
    float scale, inv, zero_point, lo, hi;
    bool divide, on;
};

/* z = a x + b [+ x2], t = min(max(z, lo), hi), y = grid(t). */
struct sheet_map {
    const float *x, *x2;      /* x2 may be NULL */
    const float *a, *b;       /* wide; NULL: 1 and 0 */
    float lo, hi;
    struct round_grid grid;
    float *y;                 /* may be x; NULL: codes alone */
    unsigned char *mask;      /* where the gradient passes, or NULL */
    unsigned char *code;      /* y's codes, from the lowest on, or NULL */
};
void sheet_apply(const struct sheet *s, const struct sheet_map *m);

/* Smallest and largest t; *finite false when some z is NaN or infinite.
 * part: 3 floats a block. */
void sheet_range(const struct sheet *s, const struct sheet_map *m,
                 float *part, float range[2], bool *finite);

/* Per channel: sum and sum of squares of x - shift, smallest, largest x.
 * shift: wide. table: sheet_table_bytes(). */
struct sheet_moments {
    double *sum, *square;
    float *lo, *hi;
};
void sheet_measure(const struct sheet *s, const float *x, const float *shift,
                   void *table, const struct sheet_moments *out);
size_t sheet_table_bytes(const struct sheet *s);

#define SHEET_PARTS 3

/* dz = (sum of the parts) where clamp and grid let it pass, else 0, with z
 * from x as above, or from mask when there is one, or from y (the value after
 * the clamp) when there is no grid. Writes a dz to dx when `scale`, else dz;
 * nothing when dx is NULL.
 * Per channel sums of dz and of dz (x - mean). */
struct sheet_back {
    struct sheet_map map;     /* x, a, b, lo, hi, grid, mask; y: see above */
    const float *part[SHEET_PARTS];
    int n_part;
    const float *mean;        /* wide; NULL: no second sum */
    bool scale;
    float *dx;
    double *sum, *product;    /* per channel; NULL: not wanted */
};
void sheet_backward(const struct sheet *s, const struct sheet_back *b,
                    void *table);

/* dx = a (dz - shift - (x - mean) slope), in place; all wide. */
struct sheet_norm {
    const float *x, *a, *mean, *shift, *slope;
    float *dx;
};
void sheet_norm_backward(const struct sheet *s, const struct sheet_norm *n);

#endif

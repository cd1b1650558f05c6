/* Sums of products of codes, exact, in (N,H,W,C): what integer layers are
 * made of, in evaluation and in training.
 *
 * The input is bytes that count from the grid's lowest code, the weights are
 * code - zero. Sums are made a few images at a time and handed to a sink
 * while they are still in the second-level cache. How they are made is
 * chosen from what is exact for the numbers at hand; every way gives the same
 * integers. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef ENGINE_SUMS_H
#define ENGINE_SUMS_H

#include "engine/plan_impl.h"
#include "nn/op_conv.h"

/* Conditions under which one way of summing is exact. */
struct sum_bounds {
    int64_t input;            /* largest |code - zero| */
    int64_t stored;           /* largest byte */
    int64_t weight_lo, weight_hi;      /* code - zero */
    int64_t weights;          /* largest sum of |weight| of a channel */
};

/* ---- the kernel of our own (int_own.c) ---- */

struct own_sums {
    struct conv_geom geom;    /* 1x1 layers: rows of a fixed length */
    int64_t pixels;           /* of a 1x1 layer in all; 0: another one */
    bool depthwise;
    /* A tap run is `pairs` pairs of neighbouring numbers in the padded input,
     * `offset` numbers behind a pixel's first. */
    int64_t runs, pairs;
    int32_t *offset;
    int64_t blocks;           /* of 8 outputs in a group */
    int64_t numbers;          /* in packed */
    int16_t *packed;          /* (group, block, run, pair, 8, 2) */
    int32_t *from;            /* which weight each of them is; -1: 0 */
    int64_t row;              /* numbers in a padded input row */
    int64_t rows, items;      /* output rows of a work item, items an image */
    size_t sum_bytes, item_bytes;      /* scratch of a thread */
};

/* ---- all ways ---- */

struct sums_spec {
    struct conv_geom geom;    /* dense: n rows of 1 x 1 with ci inputs */
    bool dense;
    enum sum_path want;       /* SUM_AUTO: the quickest that is exact */
    struct sum_bounds bounds; /* expected */
    int64_t piece;            /* sums for the sink at a time, whole pixels */
};

struct dnn_sums;

struct sums {
    struct sums_spec spec;
    struct dnn_sums *dnn;     /* int8 or f32, as planned; NULL: own, thin */
    bool thin;                /* f32 by thin_conv.c */
    bool exact_pairs;         /* shown by the probe */
    enum sum_path planned, path;       /* path: of the weights loaded */
    struct conv_geom chunk;   /* geom.n of the whole's images */
    int64_t chunks;
    int lanes;                /* threads, each on chunks of its own; 0: one
                                 chunk that all threads share */
    int weights;              /* buffer */
    size_t at_lanes;          /* in the scratch: input and sums of each */
    size_t input_bytes, sums_bytes, lane_bytes;
    struct own_sums own;
    /* The caller sets these three before sums_load. w: (O,I,KH,KW). */
    const int16_t *w;
    int32_t lowest;           /* of the input: lowest code - zero */
    struct sum_bounds bounds;
    /* To be added to what the sink gets, per channel, modulo 2^32. */
    int32_t *offset;
    void *staging;            /* weights as the library wants them */
    /* Which taps lie inside: classes of output rows and columns. */
    int *row_class, *col_class, row_classes, col_classes;
    int64_t *row_sample, *col_sample;  /* an output of each class */
    int32_t *tap_sum;         /* (tap): weights of one channel */
    int32_t *delta;           /* (row class, column class, channel) */
    bool borders;
};

static inline int64_t sums_inner(const struct sums *s)
{
    const struct conv_geom *g = &s->spec.geom;
    return g->ci / g->groups * g->kh * g->kw;
}

/* Takes scratch and buffers of the plan; the step that runs touches
 * s->weights. */
enum status sums_init(struct plan *p, struct sums *s,
                      const struct sums_spec *spec, struct err *e);
void sums_fini(struct sums *s);
/* x: the layer's input buffer, which the probe overwrites. */
enum status sums_bind(struct plan *p, struct sums *s, void *x,
                      struct err *e);
/* Chooses the path for today's weights and brings them into its form. */
enum status sums_load(struct sums *s, struct err *e);

/* Whole pixels: `count` sums from element `at` of the output on, as int32 or
 * as whole numbers in float32. Pieces may come at the same time, from threads
 * 0 .. plan->threads - 1. */
struct sums_piece {
    const int32_t *i32;
    const float *f32;         /* NULL: i32 */
    int64_t at, count;
    int thread;
};
typedef void (*sums_sink)(void *ctx, const struct sums_piece *piece);

struct sums_call {
    const struct plan *plan;
    struct sums *sums;
    const uint8_t *x;
    sums_sink sink;
    void *ctx;
};
enum status sums_run(const struct sums_call *c, struct err *e);

/* Float whole numbers as int32. */
void sums_to_int(const float *x, int32_t *y, int64_t n);

enum status own_init(struct plan *p, const struct sums *s,
                     struct own_sums *o, struct err *e);
void own_load(const struct sums *s, struct own_sums *o);
void own_run(const struct sums_call *c);
size_t own_scratch_bytes(const struct plan *p, const struct own_sums *o);
const char *own_describe(void);

/* Bytes are exact within such bounds on this machine. */
bool sums_int8_exact(const struct sum_bounds *b);

/* How sums of codes are made on this machine and why, a line each. */
void sums_describe(struct str *out);

#endif

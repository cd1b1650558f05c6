/* Mode int inside engine/: values as codes, layers as sums of products.
 *
 * A value is codes when the last quantizer on its way has a grid of at most
 * 256 codes for the whole tensor; struct value's `grid` is that quantizer and
 * `code` the buffer of bytes (stored = code - lo). Everything else is float
 * islands: operators run by their own kernels on numbers, the same in every
 * back end. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef ENGINE_INT_IMPL_H
#define ENGINE_INT_IMPL_H

#include "engine/plan_impl.h"
#include "engine/sums.h"
#include "engine/target.h"
#include "nn/op_conv.h"
#include "quant/quantizer.h"

/* The makers of mode int, in the order in which they are tried. */
extern const struct maker *const int_makers[];
extern const struct maker int_maker_input, int_maker_layer, int_maker_move,
    int_maker_map, int_maker_pool, int_maker_merge, int_maker_concat,
    int_maker_island;

/* ---- grids (int_grid.c) ---- */

/* Zero points farther away belong to no real data; sums of pairs in 16 bits
 * rely on it. */
#define INT_ZERO_MAX (1 << 14)

/* How a quantizer's arithmetic relates to codes. */
enum grid_class {
    GRID_NONE,                /* no bytes: values stay numbers */
    GRID_CODED,               /* bytes, by the kind's own rule from numbers */
    GRID_PLAIN                /* bytes, nearest code: what targets do */
};
enum grid_class grid_class(const struct plan *p, struct quantizer *q);
struct int_grid grid_of(const struct quantizer *q);
real grid_zero(real z);       /* within what an int32_t and sums can take */

/* Whose grid input i of a node lies on, the node's own view counted; NULL:
 * numbers. */
struct quantizer *int_input_grid(const struct plan *p, int node, int i);
/* The grid of a value once its own quantizer has seen it, when it lies on
 * `grid` (or NULL) before. Stores it in the value. */
void int_settle_grid(struct plan *p, int node, struct quantizer *grid);
/* The value has one reader, no quantizer, and that reader takes it as it is:
 * the reader's index, else -1. */
int int_only_reader(const struct plan *p, int node);

/* ---- values as codes and numbers (int_value.c) ---- */

int int_buffer(struct plan *p, int node);      /* bytes for a node's value */
/* The buffer in which input i is found as codes: the view or the value. */
enum status int_codes_in(struct plan *p, int node, int i, int *buffer,
                         struct err *e);
/* The value as numbers in value[node].out, dequantized when needed. */
enum status int_numbers(struct plan *p, int node, struct err *e);
/* Codes on `grid` in `buffer` are the node's value before its quantizer. */
enum status int_finish_codes(struct plan *p, int node, int buffer,
                             struct quantizer *grid, struct err *e);
/* value[node].raw holds numbers; its quantizer is still to be applied. */
enum status int_finish_numbers(struct plan *p, int node, struct err *e);
void int_make_numbers(struct plan *p, int node);       /* value[node].raw */
/* After all units: the output as numbers. */
enum status int_finish_plan(struct plan *p, struct err *e);
/* Byte maps from one grid to another; op (NULL: none) works on the numbers
 * between. lo and hi are taken from a clamp when no quantizer follows. */
struct int_map {
    const struct node *op;
    struct quantizer *from, *to;
    float lo, hi;             /* real bounds; infinite: none */
};
enum status int_map_step(struct plan *p, int node, const struct int_map *m,
                         int from, int to, struct err *e);
/* Every unit's value_fn. */
enum status int_value(const struct plan *p, const struct unit *u, int node,
                      float *out, struct err *e);

/* Real bounds of relu, relu6, clip; false: another operator. */
bool int_clamp_of(const struct node *n, float *lo, float *hi);
/* Codes that the clamp leaves on a grid. */
void int_clamp_codes(const struct target_row *t, const struct int_grid *g,
                     float lo, float hi, int32_t out[2]);

/* Moves of bytes: positions of a common index space, steps in bytes. */
struct byte_move {
    int rank;
    int64_t dim[SHAPE_MAX], from[SHAPE_MAX], to[SHAPE_MAX];
};
void byte_move(const struct byte_move *m, const uint8_t *from, uint8_t *to);
/* Steps of a value's logical axes as it lies in memory, and where the
 * logical index i is. */
void int_steps(const struct shape *s, enum layout layout, int64_t *step);
int64_t int_place(const struct shape *s, const int64_t *step, int64_t i);
struct byte_move_spec {
    struct byte_move move;
    int in, out;
    int64_t offset;           /* in the output */
    struct quantizer *fill;   /* zeros of that grid everywhere else */
};
enum status byte_move_step(struct plan *p, int node,
                           const struct byte_move_spec *m, struct err *e);
/* All of `in`, logical axes, into `out` of the same shape. */
struct byte_move_spec byte_relayout(const struct plan *p, int in, int out);

/* ---- layers (int_layer.c, int_weights.c) ---- */

struct int_layer {
    int node, last;
    bool dense;
    struct conv_geom geom;    /* dense: n rows of 1 x 1 with ci inputs */
    const struct target_row *target;
    struct quantizer *qx, *qw, *qb, *qy;   /* qb, qy may be NULL */
    int point_w, point_b;
    struct param *weight, *bias;       /* bias may be NULL */
    int bn;                   /* folded batch norm, or -1 */
    enum bn_fold how;
    struct qview view, view_b;
    float lo, hi;             /* clamp that follows, real */
    int x, y;                 /* buffers, as the kernels want them */
    /* Prepared by the weights step; in the plan's arena. */
    int16_t *w;               /* (O,I,KH,KW): code - zero */
    /* Room for the weight folded, quantized, as codes. */
    float *real, *quantized;
    int32_t *code;
    float *unit;              /* sx * sw per output channel */
    float *b;                 /* bias per output channel */
    int32_t *whole;
    float *rest, *mul;
    float *seen;              /* what all that was made from */
    int64_t n_seen;
    bool ready, loaded;
    struct int_grid gx, gy;
    int32_t out_lo, out_hi;   /* codes after the clamp */
    struct sum_bounds bounds;
    const struct int_kernels *kernels;
    void *priv;               /* theirs */
    enum sum_path sums;       /* how, as planned; SUM_AUTO: obvious loops */
};

static inline int64_t int_layer_inner(const struct int_layer *l)
{
    return l->geom.ci / l->geom.groups * l->geom.kh * l->geom.kw;
}

/* Allocates what the weights step fills, and fills it once. */
enum status int_weights_init(struct plan *p, struct int_layer *l,
                             struct err *e);
/* Sets *changed when something had to be made anew. */
enum status int_weights_update(struct plan *p, struct int_layer *l,
                               bool *changed, struct err *e);
/* A weight quantizer whose values are scale * (code - zero) with codes of at
 * most nine bits; scales per tensor or output channel. */
bool int_weights_fit(struct plan *p, int node);

/* ---- kernels ---- */

struct int_kernels {
    bool channels_last;       /* x and y of layers as (N,H,W,C) */
    /* After int_weights_init: buffers, primitives, scratch. */
    enum status (*build)(struct plan *p, struct step *s, struct int_layer *l,
                         struct err *e);
    enum status (*bind)(struct plan *p, struct int_layer *l, struct err *e);
    enum status (*load)(struct plan *p, struct int_layer *l, struct err *e);
    enum status (*run)(struct plan *p, struct int_layer *l, struct err *e);
    void (*fini)(struct int_layer *l);
};
extern const struct int_kernels int_kernels_ref, int_kernels_fast;

#endif

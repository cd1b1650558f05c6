/* Everything between a product (or a sum) and the next layer, as one map over
 * rows x channels: z = a x + b [+ x2], t = clamp(z), y = grid(t).
 *
 * It covers what is left of folded weights, bias, batch norm, relu and relu6,
 * and the quantizer when that is of the common form; other quantizers are
 * steps of their own after it. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef ENGINE_FAST_TAIL_H
#define ENGINE_FAST_TAIL_H

#include "engine/fast_sums.h"
#include "engine/plan_impl.h"
#include "engine/sheet.h"
#include "engine/weights.h"

/* Vectors of a line, and of a channel, that a tail keeps. */
enum { WIDE_A, WIDE_B, WIDE_MEAN, WIDE_SHIFT, WIDE_SLOPE, TAIL_WIDE };
enum { VEC_MEAN, VEC_INVERSE, VEC_Y_MEAN, TAIL_VEC };

struct tail {
    struct sheet sheet;
    const struct unit *unit;
    int src, src2;            /* buffers; src2 -1 unless a sum */
    bool borrowed;            /* src is another node's value */
    int dst;                  /* the last node's raw or out */
    int bn;                   /* node that normalises here, -1 */
    struct weight_prep *w;    /* folded: src = factor * convolution */
    int bias, bias_grad;      /* buffers, -1 */
    float lo, hi;             /* clamp */
    struct quantizer *q;      /* NULL: none, or a step of its own */
    int point;
    int wide, vec;            /* buffers, -1 */
    int mask;                 /* buffer of bytes, -1 */
    int code;                 /* dst as codes, buffer, -1 */
    const struct sum_stats *stats;     /* of src; NULL: it is to be measured */
    int ends;                 /* likewise, as thin_conv.h has them; buffer */
    int part[SHEET_PARTS], n_part;     /* of the gradient that comes in */
    int dx;                   /* gradient of src */
    bool has_bias;            /* src has the bias in it already */
    struct step *map;         /* the step that maps; NULL: none */
    bool codes_alone;         /* nobody reads dst: it is not written */
};

struct tail_spec {
    int src, src2;
    bool borrowed;
};

/* Grows the unit from its last node: [batch norm] [relu, relu6], as far as
 * inner values have one reader and no quantizer. */
void tail_claim(struct plan *p, struct unit *u, bool norm);
bool tail_has_clamp(const struct op *op);

/* Makes the value of the unit's last node. NULL: out of memory. */
struct tail *tail_new(struct plan *p, const struct unit *u,
                      const struct tail_spec *spec);
/* The product may add the bias while it writes; when true, it must. */
bool tail_give_bias(struct tail *t);
/* A buffer for the ends that its map wants to know, -1: it wants none. To be
 * asked after tail_give_bias(). */
int tail_wants_ends(struct plan *p, struct tail *t);
/* Its map writes codes beside the numbers. */
void tail_give_codes(struct plan *p, struct tail *t, int buffer);
/* Once all steps are made: numbers that no step reads beside their codes are
 * not written. */
void tail_drop_unread(struct plan *p);
enum status tail_forward(struct plan *p, struct tail *t, struct err *e);
/* Afterwards t->dx is the gradient of src, and of src2; -1: there is none to
 * compute, the parts are it. */
enum status tail_backward(struct plan *p, struct tail *t, struct err *e);
/* A node's value before its quantizer, and an inner node's gradient. */
enum status tail_value(const struct plan *p, const struct tail *t, int node,
                       float *out, struct err *e);
enum status tail_value_grad(const struct plan *p, const struct tail *t,
                            int node, float *out, struct err *e);

/* Between fast_tail*.c. */
float *tail_wide(const struct plan *p, const struct tail *t, int row);
float *tail_vec(const struct plan *p, const struct tail *t, int row);
const float *tail_bn_param(const struct plan *p, const struct tail *t,
                           int row);
bool tail_uses_batch(const struct plan *p, const struct tail *t);
float tail_factor(const struct plan *p, const struct tail *t, int64_t c);
void tail_map(const struct plan *p, const struct tail *t,
              struct sheet_map *m);
size_t tail_scratch_bytes(const struct tail *t);
struct step *tail_step(struct plan *p, const struct step_kind *kind,
                       struct tail *t);

#endif

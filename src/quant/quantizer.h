/* Quantizers: data that says how values meet a grid, and the tables of kinds.
 *
 * A `struct qspec` is what a user asked for: plain data that can be compared,
 * printed and parsed. A `struct quantizer` is a spec at work on one point:
 * scale, zero point, learned parameters, observer. Real value =
 * scale * (code - zero_point) for uniform kinds.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef QUANT_QUANTIZER_H
#define QUANT_QUANTIZER_H

#include "base/rng.h"
#include "quant/qspec.h"
#include "tensor/bag.h"

/* x seen as [outer][channels][inner]; channels is 1 per tensor. For weights
 * (O,I,KH,KW) per channel: 1, O, I*KH*KW; activations (N,C,H,W) per channel:
 * N, C, H*W. Groups: outer 1, channels = count / group, inner = group. */
struct qview {
    int64_t outer, channels, inner;
};

struct observer;

struct quantizer {
    struct qspec spec;
    bool fake, observe, learn;   /* the flags F, O, L */
    bool ready;               /* a range has been set or observed */
    bool stale;               /* spec changed after the range was found */
    int64_t channels;
    int64_t lo_code, hi_code; /* of the grid, from the spec */
    /* One block holds everything that training changes, so that a batch can
     * be abandoned by copying it back: arrays below and the observer's. */
    real *state;
    int64_t n_state;
    real *scale, *zero_point; /* per channel */
    real *lo, *hi;            /* range in use, per channel */
    real *learned, *grad;     /* learned parameters, row by row, and grads */
    int64_t n_learned;        /* rows * channels (or fewer: kind decides) */
    struct observer *observer;
    struct rng *rng;          /* stochastic rounding; borrowed, may be NULL */
    double noise_factor;      /* 1: quantized, 0: float, between: mixed */
    int64_t steps;            /* training forwards seen (delayed starts) */
    int64_t n_elem;           /* elements of the last forward per batch item */
    void *scratch;            /* kind's own, sized at attach */
};

enum quantizer_flags {
    QK_UNIFORM = 1 << 0,      /* integer codes on an even grid */
    QK_STOCHASTIC = 1 << 1,
    QK_WEIGHTS = 1 << 2,      /* meant for weights */
    QK_ACTIVATIONS = 1 << 3,
    QK_OWN_SCALE = 1 << 4,    /* needs no range: its scale is fixed, or found
                               * from x in every forward */
    QK_BINARY_STEP = 1 << 5,  /* the scale is a power of two and stays */
};

struct qkeras_parts;

struct quantizer_kind {
    const char *name, *help, *source;   /* source: paper or package */
    unsigned flags;
    int min_bits, max_bits;
    const struct qrow *param;           /* settings; NULL name ends; or NULL */
    const struct qrow *learned;         /* learned parameters; likewise */
    enum status (*check)(const struct qspec *s, struct err *e);
    /* Scale, zero point and learned parameters from q->lo, q->hi. */
    void (*set_range)(struct quantizer *q);
    /* Learned initial values from data (LSQ: 2*mean|x|/sqrt(Qp)); NULL: from
     * the range. */
    void (*init)(struct quantizer *q, const real *x, struct qview v);
    /* After the optimiser moved q->learned: scale etc. follow. NULL: none. */
    void (*refresh)(struct quantizer *q);
    void (*forward)(struct quantizer *q, const real *x, real *y,
                    struct qview v, bool train);
    /* dx = gradient (not added); adds into q->grad when q->learn. x is what
     * the last training forward had there, if it was at the same place. */
    void (*backward)(struct quantizer *q, const real *x, const real *dy,
                     real *dx, struct qview v);
    /* Integer codes; NULL for kinds without. */
    void (*codes)(const struct quantizer *q, const real *x, int32_t *code,
                  struct qview v);
    /* The smooth function whose derivative backward is, for the gradient
     * check: rounding residuals and the choice of branches are frozen at
     * (base, x0); x and q->learned (not refreshed) are what varies. NULL:
     * s * (clamp(x/s) + r) with r = round - ratio at x0, s = q->scale after
     * refresh (straight-through, house-style section 8). */
    void (*surrogate)(const struct quantizer *base,
                      const struct quantizer *q, const real *x0,
                      const real *x, real *y, struct qview v);
    /* Lines of the formula with today's numbers, value v through it. */
    void (*describe)(const struct quantizer *q, real v, struct str *out);
    const char *example;                /* "bits conv1 w=lsq:4" */
    /* Optional. What choosing the kind implies for the rest of the spec. */
    void (*defaults)(struct qspec *s);
    /* Optional. Own strings: NAME(...) and NAME<...>, the text between the
     * brackets; print writes the whole text after the name. */
    enum status (*parse)(const char *args, struct qspec *s, struct err *e);
    void (*print)(const struct qspec *s, struct str *out);
    /* Optional. Lowest and highest code, where width and sign do not say
     * (ternary: -1 and 1). */
    void (*span)(const struct qspec *s, int64_t *lo, int64_t *hi);
    /* Optional. What the kind becomes on a layer's weights (QKeras kernel
     * quantizers without alpha: auto_po2). */
    void (*on_weights)(struct qspec *s);
    /* Optional. Bytes of q->scratch; not saved, not part of the state. And
     * what frees memory that it holds. */
    size_t (*scratch_bytes)(const struct qspec *s, int64_t channels);
    void (*scratch_fini)(void *scratch);
    const struct qkeras_parts *qkeras;  /* of QKeras's kinds; else NULL */
};

#define QUANTIZER(name) extern const struct quantizer_kind quantizer_##name;
#include "quant/quantizers.def"
#undef QUANTIZER
extern const struct quantizer_kind *const quantizer_table[];
extern const int quantizer_count;
const struct quantizer_kind *quantizer_kind_find(const char *name);
int quantizer_learned_rows(const struct quantizer_kind *k);

/* channels: of the point's view. Flags start fake, observe on; learn off. */
enum status quantizer_new(const struct qspec *s, int64_t channels,
                          struct quantizer **out, struct err *e);
void quantizer_free(struct quantizer *q);
/* The view of a tensor of this shape (with batch); axis: channel axis. */
struct qview quantizer_view(const struct quantizer *q,
                            const struct shape *shape, int axis);

/* Training forward's first half: the observer sees x, the range follows. */
enum status quantizer_observe(struct quantizer *q, const real *x,
                              struct qview v, struct err *e);
/* The same when per-channel min and max are known already; allowed when the
 * observer needs no more (observer flag OBS_MINMAX_ONLY). */
enum status quantizer_observe_minmax(struct quantizer *q, const real *lo,
                                     const real *hi, struct err *e);
/* Whether these two would look at what they are given; and whether smallest
 * and largest values would then do as well as the data. */
bool quantizer_watches(const struct quantizer *q);
bool quantizer_takes_minmax(const struct quantizer *q);
/* Fake-quantized y; x and y may be the same. A quantizer that is not ready
 * gets its range from x (weights) or is an error (activations). */
void quantizer_forward(struct quantizer *q, const real *x, real *y,
                       struct qview v, bool train);
void quantizer_backward(struct quantizer *q, const real *x, const real *dy,
                        real *dx, struct qview v);
enum status quantizer_set_range(struct quantizer *q, const real *lo,
                                const real *hi, int64_t n, struct err *e);
/* Scale and zero point as they are, n of each: 1 or one per channel. Scales
 * must be finite and positive, zero points codes of the type. */
enum status quantizer_set_grid(struct quantizer *q, const real *scale,
                               const real *zero_point, int64_t n,
                               struct err *e);
void quantizer_zero_grad(struct quantizer *q);
/* Switches learning on: learned parameters start from the range in use. */
enum status quantizer_enable_learn(struct quantizer *q, bool on,
                                   struct err *e);

/* Affine view for engines: false when the kind is not uniform. */
struct affine {
    real scale, zero_point;   /* not a whole number: zp=float, lsqplus */
    int64_t lo, hi;           /* codes */
};
bool quantizer_get_affine(const struct quantizer *q, int64_t channel,
                          struct affine *a);

/* Diagnosis of x against q: one pass. */
struct qstats {
    int64_t count, clipped, levels, dead_levels;
    int64_t most, most_code;  /* how often the commonest code comes up */
    double mse, max_error, sqnr_db, mean_error;
};
void quantizer_stats(struct quantizer *q, const real *x, struct qview v,
                     struct qstats *out);
/* The share of a gradient dy (sum of magnitudes; NULL: 1 everywhere) that
 * clipping keeps from x: where dx is 0 and q moves the value. NaN when q has
 * no range or memory is short. Nothing of q changes. */
double quantizer_blocked(struct quantizer *q, const real *x, const real *dy,
                         struct qview v);

enum status quantizer_save(const struct quantizer *q, const char *name,
                           struct bag *b, struct err *e);
enum status quantizer_load(const struct bag *b, const char *name,
                           struct quantizer **out, struct err *e);

#endif

/* What the quantizer kinds beyond the plain uniform grid share: calls as data
 * for the loops of kernel.h, checks of a spec's options, learned scales.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef QUANT_KINDS_H
#define QUANT_KINDS_H

#include "quant/select.h"
#include "quant/uniform.h"

/* One forward or backward, as the context of view_each and view_sum. */
struct kcall {
    struct quantizer *q;
    const struct quantizer *cq;
    const real *x, *dy;
    real *y, *dx;
    int32_t *code;
    bool train;
    struct qview view;
    const void *own;          /* what a kind adds */
};

struct kcall kcall_forward(struct quantizer *q, const real *x, real *y,
                           struct qview v, bool train);
struct kcall kcall_backward(struct quantizer *q, const real *x,
                            const real *dy, real *dx, struct qview v);
struct kcall kcall_codes(const struct quantizer *q, const real *x,
                         int32_t *code, struct qview v);

/* Uniform draws in [0, 1) as a hash of a key and the element's index: they
 * depend on neither the order nor the number of threads, and the key comes
 * from the stream, one per pass. */
struct noise {
    bool on;
    uint32_t key[2];
};
struct noise noise_new(struct rng *rng);      /* NULL: off */
/* The draws from index `at` on; salt tells several draws apart. */
struct draws {
    uint32_t first, by;
};
struct draws noise_draws(const struct noise *z, int64_t at, uint32_t salt);
/* n of them, n < 2^31. */
void noise_block(const struct noise *z, int64_t at, uint32_t salt, real *u,
                 int64_t n);

/* A 32-bit finalizer: every input bit reaches every output bit. */
SELECT_INLINE uint32_t noise_mixed(uint32_t v)
{
    v = (v ^ v >> 16) * 0x7feb352dU;
    v = (v ^ v >> 15) * 0x846ca68bU;
    return v ^ v >> 16;
}

/* Draw i after `at`: the key chooses where in the finalizer's inputs the draws
 * begin, and the odd distance from one to the next. */
SELECT_INLINE real noise_at(struct draws d, int i)
{
    uint32_t v = noise_mixed(d.first + (uint32_t)i * d.by);

    return (real)(int32_t)(v >> 8) * (REAL(1.0) / (1 << 24));
}

/* The draw of such an input less 1/2, just as exact, for loops that step from
 * input to input: a multiplication less. */
SELECT_INLINE real noise_centred(uint32_t place)
{
    int32_t v = (int32_t)(noise_mixed(place) >> 8) - (1 << 23);

    return (real)v * (REAL(1.0) / (1 << 24));
}

/* dx = dy; they may be the same. */
void pass_gradient(const real *dy, real *dx, int64_t n);
/* grad=pass: dx = dy; else piece by piece, which masks. */
void pass_or_mask(struct kcall *c, piece_fn piece);

/* Largest |x| per channel; NaN is left out, infinity becomes the largest
 * finite number, so that no scale made from it is NaN. Returns an index from
 * where view_find_abs finds the largest soon; for several channels 0. */
int64_t view_absmax(const real *x, struct qview v, real *out);
real absmax_of(const real *x, int64_t n);
/* The same inside a loop; magnitudes are ordered like their bits. */
SELECT_INLINE real absmax_inline(const real *x, int64_t n)
{
    const real_bits infinity = (real_bits)(2 * REAL_BIAS + 1)
                               << REAL_FRACTION;
    real_bits most = 0;

#pragma omp simd reduction(max : most)
    for (int64_t i = 0; i < n; i++) {
        real_bits u = real_to_bits(real_fabs(x[i]));
        real_bits number = u > infinity ? 0 : u;

        most = number > most ? number : most;
    }
    return real_from_bits(most < infinity ? most : infinity - 1);
}
/* Sum of |x|, in a fixed order. */
double abs_sum(const real *x, int64_t n);

/* Adds g at the elements of a channel that equal `value` (magnitude: whose
 * magnitude does; there with the element's sign): shared equally by all of
 * them, or all of it at the first one. */
struct equal {
    const real *x;
    real *dx;
    struct qview view;
    int64_t channel;
    bool share;
};
void view_add_equal(const struct equal *a, real value, bool magnitude,
                    double g);

/* Index of the first element of channel c, of those from index `start` on,
 * with |x| == m, or -1. */
int64_t view_find_abs(const real *x, struct qview v, int64_t c, real m,
                      int64_t start);

/* w / n with the bits of the division, for whole n and whole |w| <= n, without
 * dividing where n < 2^10. There hi, a short 1 / n, makes w hi exact, and
 * w hi + w lo is within 2^-36 w / n of w / n before it is rounded, which
 * itself is at least 2^-35 w / n away from where rounding changes (doubles:
 * 2^-94, 2^-64). */
struct over {
    real n, hi, lo;           /* lo 0: hi is all of 1 / n, as it rounds */
};
struct over over_of(real n);
SELECT_INLINE real over_divide(const struct over *o, real w, bool divide)
{
    return divide ? w / o->n : w * o->hi + w * o->lo;
}

/* Setting i of the kind as an integer, as a real. */
static inline int spec_int(const struct qspec *s, int i)
{
    return (int)s->param[i];
}

static inline real spec_real(const struct qspec *s, int i)
{
    return (real)s->param[i];
}

/* Learned parameter `row` of a channel, and its gradient. */
static inline real *learned_at(struct quantizer *q, int row, int64_t channel)
{
    return q->learned + row * q->channels + channel;
}

static inline void learned_add(struct quantizer *q, int row, int64_t channel,
                               double g)
{
    q->grad[row * q->channels + channel] += (real)g;
}

/* Options of a spec that a kind makes use of; kind_plain sets the others to
 * neutral values, kind_check reports them when they are set all the same. */
enum kind_uses {
    USE_ROUND = 1 << 0,       /* round= */
    USE_NARROW = 1 << 1,
    USE_ORDER = 1 << 2,       /* divide, zp=, clamp= */
    USE_GRAD = 1 << 3,        /* grad= */
    USE_SIGN = 1 << 4,        /* signed and unsigned */
    USE_ASYM = 1 << 5,
    USE_STOCHASTIC = 1 << 6,  /* of round= nothing but stochastic */
};
void kind_plain(struct qspec *s, unsigned uses);
enum status kind_check(const struct qspec *s, unsigned uses, struct err *e);

/* The gradients of y = s * (clamp(rne(x / s) + z) - z) on n elements:
 * sum[0] += dy * (inside ? rne(x/s) - x/s : code - z), sum[1] += outside dy,
 * dx = inside dy; sum[1] stays 0 for symmetric grids. dx and dy may be the
 * same. */
enum scale_grad {
    SCALE_MASKED = 0,
    SCALE_DIVIDED = 1 << 0,   /* dx = dy * s / s: what automatic
                               * differentiation makes of x / s * s */
    SCALE_PASS = 1 << 1,      /* the clamp too is straight-through: dx = dy,
                               * sum[0] += dy * (code - z - x/s) everywhere */
};
void scale_backward(const struct grid *g, const real *x, const real *dy,
                    real *dx, int64_t n, double *sum, unsigned how);

/* One value on a uniform grid, for surrogates: the clamped code less the zero
 * point, and whether it is inside. */
struct place {
    real code;
    bool inside;
};
struct place place_of(const struct quantizer *q, int64_t channel, real x);

/* The k-th smallest of n values (k from 1); v is reordered. */
real select_kth(real *v, int64_t n, int64_t k);

/* DoReFa's gradient quantizer (eq. 12) with the noise given:
 * y = 2m * (clip(rne(n * (x / 2m + 1/2 + noise / n)), 0, n) / n - 1/2),
 * n = 2^bits - 1, noise in [-1/2, 1/2). */
void dorefa_gradient(int bits, real m, const real *x, const real *noise,
                     real *y, int64_t count);

#endif

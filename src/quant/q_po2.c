/* Quantizer po2: 0 and powers of two with a sign.
 *
 * The code's magnitude k = 1 .. K stands for 2^(top - K + k), 0 for 0; K =
 * 2^(bits-1) - 1 signed, 2^bits - 1 unsigned; top = floor(log2(4/3 max|x|)),
 * the power nearest to the largest value (Zhou et al., INQ, arXiv 1702.03044,
 * eq. 3). Rounding to the nearest value (a tie goes up, INQ eq. 4), or with
 * log=1 to the nearest exponent. dx = dy up to the largest value's half-way
 * point. SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/kinds.h"

enum { SET_LOG };

static const struct qrow settings[] = {
    {"log", 0, 0, 1, "1: nearest exponent, 0: nearest value"},
    {0},
};

static void defaults(struct qspec *s)
{
    kind_plain(s, USE_SIGN | USE_GRAD);
}

static enum status check(const struct qspec *s, struct err *e)
{
    return kind_check(s, USE_SIGN | USE_GRAD, e);
}

static void span(const struct qspec *s, int64_t *lo, int64_t *hi)
{
    *hi = ((int64_t)1 << (s->bits - s->is_signed)) - 1;
    *lo = s->is_signed ? -*hi : 0;
}

/* q->scale: the largest power. */
static void set_range(struct quantizer *q)
{
    real eps = (real)q->spec.eps;

    for (int64_t c = 0; c < q->channels; c++) {
        real m = q->hi[c];

        if (q->spec.is_signed && -q->lo[c] > m)
            m = -q->lo[c];
        m = m > eps ? m : eps;
        q->scale[c] = real_pow2(real_exponent(m * (REAL(4.0) / 3)));
        q->zero_point[c] = 0;
        q->hi[c] = q->scale[c];
        q->lo[c] = q->spec.is_signed ? -q->scale[c] : 0;
    }
}

/* One channel's powers: exponents, and the fraction that rounds up. */
struct powers {
    real_int lo, hi;
    real turn, from;          /* from: smallest magnitude that is not 0 */
    bool is_signed;
};

static struct powers powers_of(const struct quantizer *q, int64_t channel)
{
    bool log = spec_int(&q->spec, SET_LOG);
    struct powers p = {.hi = real_exponent(q->scale[channel]),
                       .turn = log ? REAL(1.4142135623730951) : REAL(1.5),
                       .is_signed = q->spec.is_signed};

    p.lo = p.hi - (real_int)q->hi_code + 1;
    p.from = real_pow2(p.lo - 1) * (log ? p.turn : 1);
    return p;
}

static inline __attribute__((always_inline)) real_int
exponent_of(real a, const struct powers *p)
{
    real_int e = real_exponent(a);

    e += a * real_pow2(-e) >= p->turn;
    e = pick_int(e < p->lo, p->lo, e);
    return pick_int(e > p->hi, p->hi, e);
}

static inline __attribute__((always_inline)) real
value_of(real x, const struct powers *p)
{
    real a = pick(p->is_signed | (x > 0), real_fabs(x), 0);
    real y = pick(a >= p->from, real_pow2(exponent_of(a, p)), 0);

    return pick(x < 0, -y, y);
}

QUANT_CLONES static void forward_run(const struct powers *pp, const real *x,
                                     real *y, int64_t n)
{
    const struct powers p = *pp;

#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = value_of(x[i], &p);
}

static void forward_piece(void *ctx, int64_t channel, int64_t at, int64_t n)
{
    const struct kcall *c = ctx;
    struct powers p = powers_of(c->cq, channel);

    forward_run(&p, c->x + at, c->y + at, n);
}

static void forward(struct quantizer *q, const real *x, real *y,
                    struct qview v, bool train)
{
    struct kcall c = kcall_forward(q, x, y, v, train);

    view_each(v, forward_piece, &c);
}

QUANT_CLONES static void backward_run(real lo, real hi, const real *x,
                                      const real *dy, real *dx, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        dx[i] = pick((x[i] > lo) & (x[i] < hi), dy[i], 0);
}

static void backward_piece(void *ctx, int64_t channel, int64_t at, int64_t n)
{
    const struct kcall *c = ctx;
    struct powers p = powers_of(c->cq, channel);
    real end = c->cq->scale[channel] * p.turn;

    backward_run(p.is_signed ? -end : -p.from, end, c->x + at, c->dy + at,
                 c->dx + at, n);
}

static void backward(struct quantizer *q, const real *x, const real *dy,
                     real *dx, struct qview v)
{
    struct kcall c = kcall_backward(q, x, dy, dx, v);

    pass_or_mask(&c, backward_piece);
}

static void codes_piece(void *ctx, int64_t channel, int64_t at, int64_t n)
{
    const struct kcall *c = ctx;
    struct powers p = powers_of(c->cq, channel);

    for (int64_t i = at; i < at + n; i++) {
        real y = value_of(c->x[i], &p);
        int32_t k = y != 0 ? (int32_t)(exponent_of(real_fabs(y), &p) - p.lo)
                                 + 1
                           : 0;

        c->code[i] = y < 0 ? -k : k;
    }
}

static void codes(const struct quantizer *q, const real *x, int32_t *code,
                  struct qview v)
{
    struct kcall c = kcall_codes(q, x, code, v);

    view_each(v, codes_piece, &c);
}

static void surrogate(const struct quantizer *base,
                      const struct quantizer *q, const real *x0,
                      const real *x, real *y, struct qview v)
{
    (void)q;
    for (int64_t i = 0; i < view_count(v); i++) {
        int64_t c = i / v.inner % v.channels;
        struct powers p = powers_of(base, c);
        real end = base->scale[c] * p.turn;
        bool in = x0[i] < end && x0[i] > (p.is_signed ? -end : -p.from);

        y[i] = in || base->spec.grad == QGRAD_PASS ? x[i] : 0;
    }
}

static void describe(const struct quantizer *q, real v, struct str *out)
{
    struct powers p = powers_of(q, 0);
    real y = value_of(v, &p), end = q->scale[0] * p.turn;
    bool in = v < end && v > (p.is_signed ? -end : -p.from);

    str_printf(out, "powers 2^%d to 2^%d, 0 below %.9g\n", (int)p.lo,
               (int)p.hi, (double)p.from);
    str_printf(out, "y = %.9g -> %.9g, error %.3g\n", (double)v, (double)y,
               (double)(y - v));
    str_printf(out, "gradient: dx = %s\n",
               in || q->spec.grad == QGRAD_PASS ? "dy" : "0");
}

const struct quantizer_kind quantizer_po2 = {
    .name = "po2",
    .help = "0 and powers of two with a sign",
    .source = "Zhou et al. 2017 (INQ), arXiv 1702.03044",
    .flags = QK_WEIGHTS | QK_ACTIVATIONS,
    .min_bits = 2,
    .max_bits = 8,
    .param = settings,
    .check = check,
    .set_range = set_range,
    .forward = forward,
    .backward = backward,
    .codes = codes,
    .surrogate = surrogate,
    .describe = describe,
    .example = "bits conv1 w=po2:4",
    .defaults = defaults,
    .span = span,
};

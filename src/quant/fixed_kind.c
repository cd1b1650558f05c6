/* Quantizer kinds fixed and ufixed: values through an HLS fixed-point type.
 *
 * The gradient passes straight through where the rounded value fits the type
 * and is 0 where it does not: an overflow that wraps puts the value somewhere
 * else, and the slope there says nothing about the way back. grad=pass lets
 * it through everywhere. SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/fixed.h"

#include <math.h>

struct fixed_type fixed_type_of(const struct qspec *s)
{
    return (struct fixed_type){
        .width = s->bits,
        .integer = spec_int(s, FIXED_INTEGER),
        .is_signed = s->is_signed,
        .rounding = (enum fixed_rounding)spec_int(s, FIXED_ROUNDING),
        .overflow = (enum fixed_overflow)spec_int(s, FIXED_OVERFLOW),
        .saturated = spec_int(s, FIXED_SATURATED),
    };
}

/* ---- specs ---- */

void fixed_kind_defaults(struct qspec *s, bool is_signed)
{
    kind_plain(s, USE_GRAD);
    s->is_signed = is_signed;
    s->grain = GRAIN_TENSOR;
}

static enum status too_wide(int width, struct err *e)
{
    return err_set(e, STATUS_ARG, "%d bits: values are float32 numbers, which "
                   "hold fixed point of up to %d bits", width,
                   FIXED_KIND_BITS);
}

enum status fixed_kind_check(const struct qspec *s, bool is_signed,
                             struct err *e)
{
    struct fixed_type t = fixed_type_of(s);

    TRY(kind_check(s, USE_GRAD | USE_SIGN, e));
    if (s->is_signed != is_signed)
        return err_set(e, STATUS_ARG, "%s is always %s: write %s<%d,%d>",
                       s->kind->name, is_signed ? "signed" : "unsigned",
                       is_signed ? "ufixed" : "fixed", t.width, t.integer);
    return fixed_check(&t, e);
}

enum status fixed_kind_parse(const char *text, struct qspec *s,
                             struct err *e)
{
    struct fixed_type t = fixed_type_of(s);

    TRY(fixed_parse(text, &t, e));
    if (t.width > FIXED_KIND_BITS)
        return too_wide(t.width, e);
    qspec_set_bits(s, t.width);
    s->param[FIXED_INTEGER] = t.integer;
    s->param[FIXED_ROUNDING] = t.rounding;
    s->param[FIXED_OVERFLOW] = t.overflow;
    s->param[FIXED_SATURATED] = t.saturated;
    return STATUS_OK;
}

void fixed_kind_print(const struct qspec *s, struct str *out)
{
    struct fixed_type t = fixed_type_of(s);

    str_printf(out, "<%d,%d,%s,%s,%d>", t.width, t.integer,
               fixed_rounding_name[t.rounding],
               fixed_overflow_name[t.overflow], t.saturated);
}

void fixed_kind_span(const struct qspec *s, int64_t *lo, int64_t *hi)
{
    struct fixed_type t = fixed_type_of(s);

    fixed_span(&t, lo, hi);
}

void fixed_kind_set_range(struct quantizer *q)
{
    struct fixed_type t = fixed_type_of(&q->spec);
    real step = (real)ldexp(1, t.integer - t.width);

    for (int64_t c = 0; c < q->channels; c++) {
        q->scale[c] = step;
        q->zero_point[c] = 0;
        q->lo[c] = (real)q->lo_code * step;
        q->hi[c] = (real)q->hi_code * step;
    }
}

/* ---- values ---- */

QUANT_CLONES static void scale_up(const real *x, double by, double *v,
                                  int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        v[i] = (double)x[i] * by;
}

QUANT_CLONES static void scale_down(const double *q, double by, real *y,
                                    int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = (real)(q[i] * by);
}

static double per_unit(const struct fixed_type *t)
{
    return ldexp(1, t->width - t->integer);
}

/* Raw values of one block. */
static void block_codes(const struct fixed_type *t, const real *x, double *q,
                        int64_t n)
{
    QUANT_ALIGNED double v[QUANT_BLOCK];

    scale_up(x, per_unit(t), v, n);
    fixed_round(t, v, q, n);
    fixed_wrap(t, v, q, n);
}

static int64_t block_at(int64_t at, int64_t end)
{
    return end - at < QUANT_BLOCK ? end - at : QUANT_BLOCK;
}

/* Truncation, from 0 or downwards, and wrapping without saturated bits, as the
 * type's default has it, in reals: x times a power of two is exact but for
 * numbers so small that their whole part is 0 or -1, as are whole parts. */
struct truncation {
    real per_unit, step, below;
    int32_t lo;
    uint32_t mask;
};

static bool can_truncate(const struct fixed_type *t)
{
    int fraction = t->width - t->integer;

    return t->rounding <= FIXED_TRN_ZERO && fraction >= -60 && fraction <= 60;
}

static struct truncation truncation_of(const struct quantizer *q,
                                       const struct fixed_type *t)
{
    return (struct truncation){
        .per_unit = (real)per_unit(t),
        .step = q->scale[0],
        .below = t->rounding == FIXED_TRN ? 1 : 0,
        .lo = (int32_t)q->lo_code,
        .mask = (uint32_t)(q->hi_code - q->lo_code),
    };
}

/* floor(v), or with below 0 trunc(v). */
SELECT_INLINE real truncated(const struct truncation *t, real x)
{
    real v = x * t->per_unit, a = real_fabs(v), k = real_rint(a);
    real whole = k - pick(k > a, 1, 0);

    whole = pick(v < 0, -whole, whole);
    return whole - pick(whole * t->step > x, t->below, 0);
}

/* Values below 2^30; how many were. */
QUANT_CLONES static int wrap_run(const struct truncation *by, const real *x,
                                 real *y, int64_t n)
{
    const struct truncation t = *by;
    int small = 0;

#pragma omp simd reduction(+ : small)
    for (int64_t i = 0; i < n; i++) {
        real q = truncated(&t, x[i]);
        bool fits = real_fabs(q) < (1 << 30);
        int32_t code = (int32_t)pick(fits, q, 0);

        code = (int32_t)(((uint32_t)(code - t.lo) & t.mask)) + t.lo;
        y[i] = (real)code * t.step;
        small += fits;
    }
    return small;
}

static bool wraps(const struct fixed_type *t)
{
    return can_truncate(t) && t->overflow == FIXED_WRAP && t->saturated == 0;
}

static void forward_piece(void *ctx, int64_t channel, int64_t at, int64_t n)
{
    const struct kcall *c = ctx;
    struct fixed_type t = fixed_type_of(&c->cq->spec);
    struct truncation by = truncation_of(c->cq, &t);
    double q[QUANT_BLOCK], step = 1 / per_unit(&t);

    (void)channel;
    for (int64_t i = at; i < at + n; i += QUANT_BLOCK) {
        int64_t k = block_at(i, at + n);

        if (wraps(&t) && wrap_run(&by, c->x + i, c->y + i, k) == k)
            continue;
        block_codes(&t, c->x + i, q, k);
        scale_down(q, step, c->y + i, k);
    }
}

void fixed_kind_forward(struct quantizer *q, const real *x, real *y,
                        struct qview v, bool train)
{
    struct kcall c = kcall_forward(q, x, y, v, train);

    view_each(v, forward_piece, &c);
}

QUANT_CLONES static void keep_inside(const double *q, double lo, double hi,
                                     const real *dy, real *dx, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        int in = (q[i] >= lo) & (q[i] <= hi);

        dx[i] = in ? dy[i] : 0;
    }
}

QUANT_CLONES static void keep_truncated(const struct truncation *by,
                                        const struct kcall *c, int64_t at,
                                        int64_t n)
{
    const struct truncation t = *by;
    const real lo = (real)t.lo, hi = lo + (real)t.mask;
    const real *x = c->x + at, *dy = c->dy + at;
    real *dx = c->dx + at;

#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real q = truncated(&t, x[i]);

        dx[i] = pick((q >= lo) & (q <= hi), dy[i], 0);
    }
}

static void backward_piece(void *ctx, int64_t channel, int64_t at, int64_t n)
{
    const struct kcall *c = ctx;
    struct fixed_type t = fixed_type_of(&c->cq->spec);
    struct truncation by = truncation_of(c->cq, &t);
    QUANT_ALIGNED double v[QUANT_BLOCK], q[QUANT_BLOCK];

    (void)channel;
    for (int64_t i = at; i < at + n; i += QUANT_BLOCK) {
        int64_t k = block_at(i, at + n);

        if (can_truncate(&t)) {
            keep_truncated(&by, c, i, k);
            continue;
        }
        scale_up(c->x + i, per_unit(&t), v, k);
        fixed_round(&t, v, q, k);
        keep_inside(q, (double)c->cq->lo_code, (double)c->cq->hi_code,
                    c->dy + i, c->dx + i, k);
    }
}

void fixed_kind_backward(struct quantizer *q, const real *x, const real *dy,
                         real *dx, struct qview v)
{
    struct kcall c = kcall_backward(q, x, dy, dx, v);

    pass_or_mask(&c, backward_piece);
}

static void codes_piece(void *ctx, int64_t channel, int64_t at, int64_t n)
{
    const struct kcall *c = ctx;
    struct fixed_type t = fixed_type_of(&c->cq->spec);
    QUANT_ALIGNED double q[QUANT_BLOCK];

    (void)channel;
    for (int64_t i = at; i < at + n; i += QUANT_BLOCK) {
        int64_t k = block_at(i, at + n);

        block_codes(&t, c->x + i, q, k);
        for (int64_t j = 0; j < k; j++)
            c->code[i + j] = (int32_t)q[j];
    }
}

void fixed_kind_codes(const struct quantizer *q, const real *x,
                      int32_t *code, struct qview v)
{
    struct kcall c = kcall_codes(q, x, code, v);

    view_each(v, codes_piece, &c);
}

/* One value on its way. */
struct passage {
    double v, whole, raw, y;
    bool inside;
};

static struct passage passage_of(const struct quantizer *q, real x)
{
    struct fixed_type t = fixed_type_of(&q->spec);
    struct passage p = {.v = (double)x * per_unit(&t)};

    fixed_round(&t, &p.v, &p.whole, 1);
    p.raw = p.whole;
    fixed_wrap(&t, &p.v, &p.raw, 1);
    p.y = p.raw / per_unit(&t);
    p.inside = p.whole >= (double)q->lo_code && p.whole <= (double)q->hi_code;
    return p;
}

void fixed_kind_surrogate(const struct quantizer *base,
                          const struct quantizer *q, const real *x0,
                          const real *x, real *y, struct qview v)
{
    (void)q;
    for (int64_t i = 0; i < view_count(v); i++) {
        struct passage p = passage_of(base, x0[i]);
        bool moves = p.inside || base->spec.grad == QGRAD_PASS;

        y[i] = (real)p.y + (moves ? x[i] - x0[i] : 0);
    }
}

void fixed_kind_describe(const struct quantizer *q, real v, struct str *out)
{
    struct fixed_type t = fixed_type_of(&q->spec);
    struct passage p = passage_of(q, v);
    bool moves = p.inside || q->spec.grad == QGRAD_PASS;

    str_printf(out, "step 2^%d = %.9g, raw values %lld to %lld, %.9g to "
               "%.9g\n", t.integer - t.width, (double)q->scale[0],
               (long long)q->lo_code, (long long)q->hi_code,
               (double)q->lo[0], (double)q->hi[0]);
    str_printf(out, "x * 2^%d = %.9g, %s: %.9g", t.width - t.integer, p.v,
               fixed_rounding_name[t.rounding], p.whole);
    if (!p.inside)
        str_printf(out, ", does not fit, %s: %.9g",
                   fixed_overflow_name[t.overflow], p.raw);
    str_printf(out, "\ny = %.9g, error %.3g\n", p.y, p.y - (double)v);
    str_printf(out, "gradient: dx = %s\n", moves ? "dy" : "0");
}

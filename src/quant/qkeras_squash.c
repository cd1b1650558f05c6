/* Curves into a bounded range, on a grid.
 *
 * m = 2^bits, with a sign 2^(bits-1). Codes rne(p * m), clipped, of
 *   sigmoid: p = 1/2 + tanh(x / 2) / 2 or hard_sigmoid(x) = clip(x / 2 + 1/2,
 *     0, 1); p' = sech(x / 2)^2 / 4 or 1/2,
 *   tanh: p = tanh(x) or 2 hard_sigmoid(x) - 1; p' = sech(x)^2 or 1.
 * The gradient passes where the rounded value is inside the closed range, and
 * on a straight line where x is in [-1, 1].
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/qkeras_squash.h"

#include <math.h>

#include "quant/vmath.h"

/* The curve is outer * tanh(inner * x) + shift within lo and hi, its line
 * times * hard_sigmoid(x) + plus. Adding -0 leaves every number as it is. */
struct curve {
    real inner, outer, shift, lo, hi;
    real times, plus;
    real peak, slope;         /* largest of the curve, of the line */
};

/* By sign. */
static const struct curve curve_table[] = {
    [false] = {
        .inner = REAL(0.5), .outer = REAL(0.5), .shift = REAL(0.5), .lo = 0,
        .hi = 1, .times = 1, .plus = REAL(-0.0), .peak = REAL(0.25),
        .slope = REAL(0.5),
    },
    [true] = {
        .inner = 1, .outer = 1, .shift = REAL(-0.0), .lo = -(real)INFINITY,
        .hi = (real)INFINITY, .times = 2, .plus = -1, .peak = 1, .slope = 1,
    },
};

void qkeras_squash_span(const struct qspec *s, int64_t *lo, int64_t *hi)
{
    int64_t m = (int64_t)1 << (s->bits - s->is_signed);

    *lo = (s->is_signed ? -m : 0) + s->narrow;
    *hi = m - 1;
}

void qkeras_squash_set_range(struct quantizer *q)
{
    for (int64_t c = 0; c < q->channels; c++)
        qkeras_set_step(q, c,
                        (real)ldexp(1, q->spec.is_signed - q->spec.bits));
}

/* The constants of a call: 1 / m, m, the limits of the codes, where the
 * gradient ends. */
struct squash {
    struct curve curve;
    real step, m, lo, hi, edge;
    bool smooth;
};

static struct squash squash_of(const struct qkeras_run *r)
{
    bool smooth = spec_int(&r->q->spec, SQUASH_REAL);

    return (struct squash){
        .curve = curve_table[r->q->spec.is_signed],
        .step = r->step,
        .m = 1 / r->step,
        .lo = (real)r->q->lo_code,
        .hi = (real)r->q->hi_code,
        .edge = smooth ? (real)INFINITY : 1,
        .smooth = smooth,
    };
}

/* p * m; smooth is a constant at each call. */
SELECT_INLINE real position(const struct squash *k, real x, bool smooth)
{
    const struct curve *c = &k->curve;
    real p;

    if (smooth)
        p = within(c->outer * tanh_of(c->inner * x) + c->shift, c->lo, c->hi);
    else
        p = c->times * within(REAL(0.5) * x + REAL(0.5), 0, 1) + c->plus;
    return p * k->m;
}

QUANT_CLONES static void position_run(struct squash k, const real *x, real *v,
                                      int64_t n)
{
    if (k.smooth) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            v[i] = position(&k, x[i], true);
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            v[i] = position(&k, x[i], false);
    }
}

void qkeras_squash_values(const struct qkeras_run *r, const real *x, real *xq,
                          real *u, int64_t n)
{
    position_run(squash_of(r), x, xq, n);
    qkeras_round(r, xq, n, REAL(0.5));
    qkeras_clip_codes(r, xq, u, n);
}

SELECT_INLINE real value_of(const struct squash *k, real x, bool smooth)
{
    return within(real_rint(position(k, x, smooth)), k->lo, k->hi) * k->step;
}

QUANT_CLONES static void whole_run(struct squash k, const real *x, real *y,
                                   int64_t n)
{
    if (k.smooth) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            y[i] = value_of(&k, x[i], true);
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            y[i] = value_of(&k, x[i], false);
    }
}

bool qkeras_squash_whole(const struct qkeras_run *r, const real *x, real *y,
                         int64_t n)
{
    if (!r->noise->on)
        whole_run(squash_of(r), x, y, n);
    return !r->noise->on;
}

SELECT_INLINE real slope_of(const struct squash *k, real x, bool smooth)
{
    const struct curve *c = &k->curve;
    real v = real_rint(position(k, x, smooth));
    bool in = (v >= k->lo) & (v <= k->hi) & (real_fabs(x) <= k->edge);
    real slope = smooth ? c->peak * sech2_of(c->inner * x) : c->slope;

    return pick(in, slope, 0);
}

QUANT_CLONES static void back_run(struct squash k, real gain, const real *x,
                                  const real *dy, real *dx, int64_t n)
{
    if (k.smooth) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            dx[i] = gain * (dy[i] * slope_of(&k, x[i], true));
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            dx[i] = gain * (dy[i] * slope_of(&k, x[i], false));
    }
}

void qkeras_squash_back(const struct qkeras_run *r, const real *x,
                        const real *dy, real *dx, int64_t n)
{
    back_run(squash_of(r), r->gain, x, dy, dx, n);
}

real qkeras_squash_smooth(const struct qkeras_run *r, real x0, real x)
{
    const struct squash k = squash_of(r);
    real code;

    position_run(k, &x0, &code, 1);
    code = real_rint(code);
    if (code < k.lo || code > k.hi || real_fabs(x0) > k.edge)
        return 0;
    return k.smooth ? k.curve.outer * tanh_of(k.curve.inner * x)
                    : k.curve.slope * x;
}

void qkeras_squash_head(const struct quantizer *q, struct str *out)
{
    str_printf(out, "m = 2^%d, step 1/m, codes %lld to %lld\n",
               q->spec.bits - q->spec.is_signed, (long long)q->lo_code,
               (long long)q->hi_code);
}

/* Quantizer quantized_ulaw (QKeras).
 *
 * p = hard_sigmoid(x / mi), rp = 2 rne(p * m) / m - 1, m = 2^(bits-1), mi =
 * 2^integer; y = mi * clip(sign(rp) log(1 + u |rp|) / log(1 + u), -1 +
 * symmetric / m, 1 - 1/m). The rounding is straight-through, the logarithm
 * differentiated. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>

#include "quant/qkeras.h"

enum { SET_INTEGER, SET_U };

static const struct qrow settings[] = {
    {"integer", 0, 0, 30, "bits left of the binary point"},
    {"u", 255, 1e-6, 1e9, "bend of the curve"},
    {0},
};

static const struct qkeras_arg args[] = {
    {"bits", QARG_BITS, 0},
    {"integer", QARG_INT, SET_INTEGER},
    {"symmetric", QARG_NARROW, 0},
    {"u", QARG_NUMBER, SET_U},
    {0},
};

static enum status check(const struct qspec *s, struct err *e)
{
    if (!s->is_signed)
        return err_set(e, STATUS_ARG, "quantized_ulaw is signed");
    if (s->rounding != ROUND_HALF_EVEN)
        return err_set(e, STATUS_ARG, "quantized_ulaw has no stochastic "
                       "rounding");
    return qkeras_check(s, -1, e);
}

/* Of the uniform grid under the curve. */
static void span(const struct qspec *s, int64_t *lo, int64_t *hi)
{
    int64_t m = (int64_t)1 << (s->bits - 1);

    *lo = -m + s->narrow;
    *hi = m - 1;
}

/* The rounded position under the curve: code 0 to m stands for -1 to 1. The
 * unit is a power of two: its inverse is exact. */
SELECT_INLINE real position(real per_unit, real m, real x)
{
    real p = REAL(0.5) * (x * per_unit) + REAL(0.5);

    return real_rint(within(p, 0, 1) * m);
}

QUANT_CLONES static void position_run(real unit, real m, const real *x,
                                      real *code, int64_t n)
{
    real per_unit = 1 / unit;

#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        code[i] = position(per_unit, m, x[i]);
}

static real half_of(const struct qspec *s)
{
    return (real)ldexp(1, s->bits - 1);
}

static real unit_of(const struct qspec *s)
{
    return (real)ldexp(1, spec_int(s, SET_INTEGER));
}

static real curve(real u, real rp)
{
    real y = real_log(1 + u * real_fabs(rp)) / real_log(1 + u);

    return rp < 0 ? -y : rp > 0 ? y : 0;
}

/* Up to 8 bits the logarithms come from a table, made once. */
#define TABLE_BITS 8
#define TABLE_SIZE ((1 << (TABLE_BITS - 1)) + 1)

/* Up to 4 bits values and slopes are steps over x: few enough to compare with
 * all. From at[k] on the code is k + 1; NaN where there is none. */
#define STEP_BITS 4
#define STEPS (1 << (STEP_BITS - 1))

struct steps {
    real at[STEPS], y[STEPS + 1], slope[STEPS + 1];
};

struct table {
    real y[TABLE_SIZE], slope[TABLE_SIZE];
    struct steps steps;
};

static size_t scratch_bytes(const struct qspec *s, int64_t channels)
{
    (void)channels;
    return s->bits <= TABLE_BITS ? sizeof(struct table) : 0;
}

/* The curve's slope; 0 where the value is clipped, and at the sign's 0. */
static real slope_of(const struct qspec *s, real rp)
{
    real u = spec_real(s, SET_U), m = half_of(s), y = curve(u, rp);

    if (rp == 0 || y > 1 - 1 / m || y < -1 + s->narrow / m)
        return 0;
    return u / (1 + u * real_fabs(rp)) / real_log(1 + u);
}

/* The least x whose code is at least `code`, by halving between one unit to
 * either side: a formula for it would not round as position does. */
static real first_at(real unit, real m, real code)
{
    real below = -unit, at = unit;

    for (;;) {
        real x = below + (at - below) / 2;

        if (x <= below || x >= at)
            return at;
        if (position(1 / unit, m, x) >= code)
            at = x;
        else
            below = x;
    }
}

static void find_steps(const struct quantizer *q, struct table *t)
{
    real m = half_of(&q->spec), unit = unit_of(&q->spec);
    real lo = (real)q->lo_code / m, hi = (real)q->hi_code / m;
    struct steps *f = &t->steps;

    for (int k = 0; k <= (int)m; k++) {
        f->y[k] = unit * within(t->y[k], lo, hi);
        f->slope[k] = t->slope[k];
    }
    for (int k = 0; k < STEPS; k++)
        f->at[k] = k < (int)m ? first_at(unit, m, (real)(k + 1)) : (real)NAN;
}

static void set_range(struct quantizer *q)
{
    const struct qspec *s = &q->spec;
    struct table *t = q->scratch;
    int m = 1 << (s->bits - 1);

    for (int64_t c = 0; c < q->channels; c++)
        qkeras_set_step(q, c, (real)ldexp(1, spec_int(s, SET_INTEGER) + 1 -
                                                 s->bits));
    for (int i = 0; t && i <= m; i++) {
        real rp = 2 * ((real)i / (real)m) - 1;

        t->y[i] = curve(spec_real(s, SET_U), rp);
        t->slope[i] = slope_of(s, rp);
    }
    if (t && s->bits <= STEP_BITS)
        find_steps(q, t);
}

/* NaN is in no step, it stays. */
QUANT_CLONES static void step_values(const struct steps *steps, const real *x,
                                     real *y, int64_t n)
{
    const struct steps f = *steps;

#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real v = pick(x[i] < f.at[0], f.y[0], x[i]);

        for (int k = 0; k < STEPS; k++)
            v = pick(x[i] >= f.at[k], f.y[k + 1], v);
        y[i] = v;
    }
}

/* hard_sigmoid has a slope on [-mi, mi]. */
QUANT_CLONES static void step_back(const struct steps *steps, real unit,
                                   const real *x, const real *dy, real *dx,
                                   int64_t n)
{
    const struct steps f = *steps;

#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real slope = pick(x[i] >= -unit, f.slope[0], 0);

        for (int k = 0; k < STEPS; k++)
            slope = pick(x[i] >= f.at[k], f.slope[k + 1], slope);
        dx[i] = dy[i] * pick(x[i] > unit, 0, slope);
    }
}

QUANT_CLONES static void table_run(const real *table, const real *code,
                                   real *out, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        bool number = code[i] == code[i];
        real_int at = (real_int)pick(number, code[i], 0);

        out[i] = pick(number, table[at], code[i]);
    }
}

/* The curve, or its slope, at codes (NaN stays NaN). */
static void look_up(const struct qkeras_run *r, bool slope, const real *code,
                    real *out, int64_t n)
{
    const struct qspec *s = &r->q->spec;
    const struct table *t = r->q->scratch;
    const real *table = t && slope ? t->slope : t ? t->y : NULL;
    real m = half_of(s), u = spec_real(s, SET_U);

    if (table) {
        table_run(table, code, out, n);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        real rp = 2 * (code[i] / m) - 1;

        out[i] = slope ? slope_of(s, rp) : curve(u, rp);
    }
}

QUANT_CLONES static void values_run(real unit, real lo, real hi, real *xq,
                                    real *u, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        xq[i] = unit * within(xq[i], lo, hi);
        u[i] = xq[i];
    }
}

static void values(const struct qkeras_run *r, const real *x, real *xq,
                   real *u, int64_t n)
{
    const struct qspec *s = &r->q->spec;
    real m = half_of(s);

    position_run(unit_of(s), m, x, u, n);
    look_up(r, false, u, xq, n);
    values_run(unit_of(s), (real)r->q->lo_code / m, (real)r->q->hi_code / m,
               xq, u, n);
}

static const struct steps *steps_of(const struct qkeras_run *r)
{
    const struct table *t = r->q->scratch;

    return t && r->q->spec.bits <= STEP_BITS ? &t->steps : NULL;
}

static bool whole(const struct qkeras_run *r, const real *x, real *y,
                  int64_t n)
{
    const struct steps *f = steps_of(r);

    if (f)
        step_values(f, x, y, n);
    return f;
}

QUANT_CLONES static void mask_run(real unit, const real *x, const real *dy,
                                  const real *slope, real *dx, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        dx[i] = dy[i] * pick(real_fabs(x[i]) <= unit, slope[i], 0);
}

/* The gain is 1: there is no qnoise_factor. */
static void back(const struct qkeras_run *r, const real *x, const real *dy,
                 real *dx, int64_t n)
{
    const struct steps *f = steps_of(r);
    real m = half_of(&r->q->spec), unit = unit_of(&r->q->spec);

    if (f) {
        step_back(f, unit, x, dy, dx, n);
        return;
    }
    for (int64_t i = 0; i < n; i += QUANT_BLOCK) {
        QUANT_ALIGNED real code[QUANT_BLOCK], slope[QUANT_BLOCK];
        int64_t k = n - i < QUANT_BLOCK ? n - i : QUANT_BLOCK;

        position_run(unit, m, x + i, code, k);
        look_up(r, true, code, slope, k);
        mask_run(unit, x + i, dy + i, slope, dx + i, k);
    }
}

/* The curve at x plus the rounding residual of x0's position. */
static real smooth(const struct qkeras_run *r, real x0, real x)
{
    const struct qspec *s = &r->q->spec;
    real m = half_of(s), unit = unit_of(s), code, c, rp0;

    position_run(unit, m, &x0, &code, 1);
    look_up(r, false, &code, &c, 1);
    rp0 = 2 * (code / m) - 1;
    if (c < (real)r->q->lo_code / m || c > (real)r->q->hi_code / m ||
        real_fabs(x0) > unit || rp0 == 0)
        return 0;
    return unit * curve(spec_real(s, SET_U), rp0 + (x - x0) / unit);
}

static void head(const struct quantizer *q, struct str *out)
{
    str_printf(out, "u = %.9g, m = 2^%d\n", q->spec.param[SET_U],
               q->spec.bits - 1);
}

static const struct qkeras_parts parts = {
    .args = args,
    .noise_row = -1,
    .values = values,
    .whole = whole,
    .back = back,
    .smooth = smooth,
    .head = head,
};

const struct quantizer_kind quantizer_quantized_ulaw = {
    .name = "quantized_ulaw",
    .help = "QKeras u-law values",
    .source = "QKeras 0.9.0 quantized_ulaw",
    .flags = QK_ACTIVATIONS | QK_OWN_SCALE,
    .min_bits = 1,
    .max_bits = 24,
    .param = settings,
    .check = check,
    .set_range = set_range,
    .forward = qkeras_forward,
    .backward = qkeras_backward,
    .surrogate = qkeras_surrogate,
    .describe = qkeras_describe,
    .example = "bits conv1 a=quantized_ulaw(8)",
    .defaults = qkeras_defaults,
    .parse = qkeras_parse,
    .print = qkeras_print,
    .scratch_bytes = scratch_bytes,
    .span = span,
    .qkeras = &parts,
};

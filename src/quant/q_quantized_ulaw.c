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

static enum status parse(const char *text, struct qspec *s, struct err *e)
{
    return qkeras_parse(args, text, s, e);
}

static void print(const struct qspec *s, struct str *out)
{
    qkeras_print(args, s, out);
}

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

/* The rounded position on the curve, -1 to 1. */
static real position(const struct qkeras_run *r, real x)
{
    real m = (real)ldexp(1, r->q->spec.bits - 1);
    real p = REAL(0.5) * (x / (r->step * m)) + REAL(0.5);

    p = p < 0 ? 0 : p > 1 ? 1 : p;
    return 2 * (real_rint(p * m) / m) - 1;
}

static real curve(real u, real rp)
{
    real y = real_log(1 + u * real_fabs(rp)) / real_log(1 + u);

    return rp < 0 ? -y : rp > 0 ? y : 0;
}

/* Up to 8 bits the logarithms come from a table, made once. */
#define TABLE_BITS 8
#define TABLE_SIZE ((1 << (TABLE_BITS - 1)) + 1)

struct table {
    real y[TABLE_SIZE], slope[TABLE_SIZE];
};

static size_t scratch_bytes(const struct qspec *s, int64_t channels)
{
    (void)channels;
    return s->bits <= TABLE_BITS ? sizeof(struct table) : 0;
}

static real slope_of(real u, real rp)
{
    return rp == 0 ? 0 : u / (1 + u * real_fabs(rp)) / real_log(1 + u);
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
        t->slope[i] = slope_of(spec_real(s, SET_U), rp);
    }
}

static real curve_at(const struct qkeras_run *r, real rp)
{
    const struct table *t = r->q->scratch;
    real m = (real)ldexp(1, r->q->spec.bits - 1);

    if (t && rp == rp)
        return t->y[(int)((rp + 1) * m / 2)];
    return curve(spec_real(&r->q->spec, SET_U), rp);
}

static real slope_at(const struct qkeras_run *r, real rp)
{
    const struct table *t = r->q->scratch;
    real m = (real)ldexp(1, r->q->spec.bits - 1);

    if (t && rp == rp)
        return t->slope[(int)((rp + 1) * m / 2)];
    return slope_of(spec_real(&r->q->spec, SET_U), rp);
}

static void limits(const struct qkeras_run *r, real *lo, real *hi)
{
    real m = (real)ldexp(1, r->q->spec.bits - 1);

    *lo = (real)r->q->lo_code / m;
    *hi = (real)r->q->hi_code / m;
}

static void values(const struct qkeras_run *r, const real *x, real *xq,
                   real *u, int64_t n)
{
    real unit = (real)ldexp(1, spec_int(&r->q->spec, SET_INTEGER)), lo, hi;

    limits(r, &lo, &hi);
    for (int64_t i = 0; i < n; i++) {
        real c = curve_at(r, position(r, x[i]));

        xq[i] = unit * (c < lo ? lo : c > hi ? hi : c);
        u[i] = xq[i];
    }
}

static void slopes(const struct qkeras_run *r, const real *x, real *slope,
                   int64_t n)
{
    real unit = (real)ldexp(1, spec_int(&r->q->spec, SET_INTEGER)), lo, hi;

    limits(r, &lo, &hi);
    for (int64_t i = 0; i < n; i++) {
        real rp = position(r, x[i]), c = curve_at(r, rp);
        bool in = c >= lo && c <= hi && real_fabs(x[i] / unit) <= 1;

        slope[i] = in ? slope_at(r, rp) : 0;
    }
}

/* The curve at x plus the rounding residual of x0's position. */
static real smooth(const struct qkeras_run *r, real x0, real x)
{
    real unit = (real)ldexp(1, spec_int(&r->q->spec, SET_INTEGER)), lo, hi;
    real rp0 = position(r, x0), c = curve_at(r, rp0);

    limits(r, &lo, &hi);
    if (c < lo || c > hi || real_fabs(x0 / unit) > 1 || rp0 == 0)
        return 0;
    return unit * curve(spec_real(&r->q->spec, SET_U), rp0 + (x - x0) / unit);
}

static const struct qkeras_map map = {
    .noise_row = -1,
    .values = values,
    .slopes = slopes,
    .smooth = smooth,
};

static void forward(struct quantizer *q, const real *x, real *y,
                    struct qview v, bool train)
{
    qkeras_forward(&map, q, x, y, v, train);
}

static void backward(struct quantizer *q, const real *x, const real *dy,
                     real *dx, struct qview v)
{
    qkeras_backward(&map, q, x, dy, dx, v);
}

static void surrogate(const struct quantizer *base,
                      const struct quantizer *q, const real *x0,
                      const real *x, real *y, struct qview v)
{
    (void)q;
    qkeras_surrogate(&map, base, x0, x, y, v);
}

static void describe(const struct quantizer *q, real v, struct str *out)
{
    str_printf(out, "u = %.9g, m = 2^%d\n", q->spec.param[SET_U],
               q->spec.bits - 1);
    qkeras_describe(&map, q, v, out);
}

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
    .forward = forward,
    .backward = backward,
    .surrogate = surrogate,
    .describe = describe,
    .example = "bits conv1 a=quantized_ulaw(8)",
    .defaults = qkeras_defaults,
    .parse = parse,
    .print = print,
    .scratch_bytes = scratch_bytes,
    .span = span,
};

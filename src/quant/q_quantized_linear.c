/* Quantizer quantized_linear (QKeras after 0.9.0).
 *
 * s = alpha * 2^(integer - bits + signed); y = x + f * (s * rne(clip(x / s,
 * lo, hi)) - x): clamped first, so that what lies outside gets dx = (1 - f) *
 * dy. One signed bit: +-s/2 by the sign. 'auto': s = 2 max|x| / (hi - lo) per
 * channel (unsigned: max(x) / hi), at least 1e-7; 'auto_po2': rounded to a
 * power of two and, up to five times while it changes, improved by least
 * squares. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>

#include "quant/observe.h"
#include "quant/qkeras.h"

enum { SET_INTEGER, SET_SCALING, SET_ALPHA, SET_NOISE, SET_STE };

static const struct qrow settings[] = {
    {"integer", 0, 0, 30, "bits left of the binary point, sign not counted"},
    QKERAS_ALPHA_ROWS,
    QKERAS_NOISE_ROWS,
    {0},
};

static const struct qkeras_arg args[] = {
    {"bits", QARG_BITS, 0},
    {"integer", QARG_INT, SET_INTEGER},
    {"symmetric", QARG_NARROW, 0},
    {"keep_negative", QARG_SIGNED, 0},
    {"alpha", QARG_ALPHA, SET_SCALING},
    {"use_stochastic_rounding", QARG_STOCHASTIC, 0},
    {"scale_axis", QARG_UNUSED, 0},
    {"qnoise_factor", QARG_NUMBER, SET_NOISE},
    {"var_name", QARG_UNUSED, 0},
    {"use_variables", QARG_UNUSED, 0},
    {0},
};

static void defaults(struct qspec *s)
{
    qkeras_defaults(s);
    s->narrow = true;
}

static bool is_sign(const struct qspec *s)
{
    return s->bits == 1 && s->is_signed;
}

static enum status check(const struct qspec *s, struct err *e)
{
    return qkeras_check(s, SET_SCALING, e);
}

static void on_weights(struct qspec *s)
{
    if (spec_int(s, SET_SCALING) == SCALING_NONE)
        s->narrow = true;
    qkeras_on_weights(s, SET_SCALING);
}

static void span(const struct qspec *s, int64_t *lo, int64_t *hi)
{
    int64_t m = (int64_t)1 << (s->bits - s->is_signed);

    *hi = is_sign(s) ? 1 : m - 1;
    *lo = is_sign(s) ? -1 : s->is_signed ? -m + s->narrow : 0;
}

/* Clip limits in units of s, and the step of the codes: with one bit the
 * codes +-1 are half an s apart from 0. */
static real limit(const struct qspec *s, int64_t code)
{
    return is_sign(s) ? (real)code / 2 : (real)code;
}

static void put_scale(struct quantizer *q, int64_t c, real s)
{
    qkeras_set_step(q, c, is_sign(&q->spec) ? s / 2 : s);
}

static real scale_at(const struct quantizer *q, int64_t c)
{
    return is_sign(&q->spec) ? q->scale[c] * 2 : q->scale[c];
}

static void set_range(struct quantizer *q)
{
    const struct qspec *s = &q->spec;
    real unit = (real)ldexp(1, spec_int(s, SET_INTEGER) - s->bits +
                                   s->is_signed);

    for (int64_t c = 0; c < q->channels; c++)
        put_scale(q, c, qkeras_alpha(s, SET_SCALING) * unit);
}

/* rne(clip(x / s, lo, hi)) in units of s; sign: shifted by a half. */
QUANT_CLONES static void clip_run(real s, real lo, real hi, real shift,
                                  const real *x, real *v, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        v[i] = within(x[i] / s, lo, hi) - shift;
}

static void units(const struct qkeras_run *r, real scale, const real *x,
                  real *v, int64_t n)
{
    const struct qspec *s = &r->q->spec;
    real shift = is_sign(s) ? REAL(0.5) : 0;

    clip_run(scale, limit(s, r->q->lo_code), limit(s, r->q->hi_code), shift,
             x, v, n);
    qkeras_round(r, v, n, 1);
    for (int64_t i = 0; i < n && shift != 0; i++)
        v[i] += shift;
}

static void sum_piece(void *ctx, int64_t channel, int64_t at, int64_t n,
                      double *sum)
{
    const struct kcall *c = ctx;
    static const struct noise off = {.on = false};
    struct qkeras_run r = {.q = c->q, .channel = channel, .noise = &off};

    for (int64_t i = 0; i < n; i += QUANT_BLOCK) {
        QUANT_ALIGNED real v[QUANT_BLOCK], xv[QUANT_BLOCK];
        int64_t k = n - i < QUANT_BLOCK ? n - i : QUANT_BLOCK;

        units(&r, scale_at(c->q, channel), c->x + at + i, v, k);
        for (int64_t j = 0; j < k; j++) {
            xv[j] = c->x[at + i + j] * v[j];
            v[j] *= v[j];
        }
        sum[0] += block_sum(xv, k);
        sum[1] += block_sum(v, k);
    }
}

static void next_scale(void *ctx, int64_t channel, const double *sum)
{
    const struct kcall *c = ctx;

    put_scale(c->q, channel,
              qkeras_po2(qkeras_least_squares(sum, c->view.outer *
                                                       c->view.inner)));
}

static void first_scales(struct quantizer *q, const real *x, struct qview v)
{
    const struct qspec *s = &q->spec;
    real range = limit(s, q->hi_code) - limit(s, q->lo_code);
    bool found = true;

    if (s->is_signed)
        view_absmax(x, v, q->hi);
    else
        found = scan_minmax(x, v, q->lo, q->hi, NULL) == STATUS_OK;
    for (int64_t c = 0; c < v.channels; c++) {
        real top = found ? q->hi[c] * (s->is_signed ? 2 : 1) : 0;

        put_scale(q, c, top / range > QKERAS_EPS ? top / range : QKERAS_EPS);
    }
}

static void prepare(struct quantizer *q, const real *x, struct qview v,
                    bool train)
{
    struct kcall c = kcall_forward(q, x, NULL, v, train);
    int rounds = is_sign(&q->spec) ? 1 : 5;
    bool moved = true;

    if (spec_int(&q->spec, SET_SCALING) < SCALING_AUTO ||
        view_count(v) == 0)
        return;
    first_scales(q, x, v);
    if (spec_int(&q->spec, SET_SCALING) == SCALING_AUTO)
        return;
    for (int64_t k = 0; k < v.channels; k++)
        put_scale(q, k, qkeras_po2(scale_at(q, k)));
    for (int i = 0; i < rounds && moved; i++) {
        moved = false;
        for (int64_t k = 0; k < v.channels; k++)
            qkeras_before(q)[k] = q->scale[k];
        view_sum(v, sum_piece, next_scale, &c);
        for (int64_t k = 0; k < v.channels; k++)
            moved |= qkeras_before(q)[k] != q->scale[k];
    }
}

/* The constants of a call; shift: see units. */
struct line {
    real s, lo, hi, shift;
};

static struct line line_of(const struct qkeras_run *r)
{
    const struct qspec *s = &r->q->spec;

    return (struct line){
        .s = scale_at(r->q, r->channel),
        .lo = limit(s, r->q->lo_code),
        .hi = limit(s, r->q->hi_code),
        .shift = is_sign(s) ? REAL(0.5) : 0,
    };
}

QUANT_CLONES static void whole_run(struct line k, const real *x, real *y,
                                   int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real v = real_rint(within(x[i] / k.s, k.lo, k.hi) - k.shift);

        y[i] = x[i] + ((v + k.shift) * k.s - x[i]);
    }
}

static bool whole(const struct qkeras_run *r, const real *x, real *y,
                  int64_t n)
{
    if (!r->noise->on)
        whole_run(line_of(r), x, y, n);
    return !r->noise->on;
}

QUANT_CLONES static void scale_run(real s, const real *x, real *xq, real *u,
                                   int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        xq[i] *= s;
        u[i] = x[i];
    }
}

static void values(const struct qkeras_run *r, const real *x, real *xq,
                   real *u, int64_t n)
{
    real s = scale_at(r->q, r->channel);

    units(r, s, x, xq, n);
    scale_run(s, x, xq, u, n);
}

/* Inside f * 1 + (1 - f), outside 1 - f. */
QUANT_CLONES static void back_run(struct line k, real gain, real rest,
                                  const real *x, const real *dy, real *dx,
                                  int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real t = x[i] / k.s;

        dx[i] = gain * (dy[i] * pick((t >= k.lo) & (t <= k.hi), 1, rest));
    }
}

static void back(const struct qkeras_run *r, const real *x, const real *dy,
                 real *dx, int64_t n)
{
    real rest = 1 - spec_real(&r->q->spec, SET_NOISE);

    back_run(line_of(r), r->gain, rest, x, dy, dx, n);
}

static real smooth(const struct qkeras_run *r, real x0, real x)
{
    const struct qspec *sp = &r->q->spec;
    real s = scale_at(r->q, r->channel), f = spec_real(sp, SET_NOISE);
    real lo = s * limit(sp, r->q->lo_code), hi = s * limit(sp, r->q->hi_code);
    real clipped = x0 < lo ? lo : x0 > hi ? hi : x;

    return x + f * (clipped - x);
}

static void head(const struct quantizer *q, struct str *out)
{
    str_printf(out, "s = %.9g, codes %lld to %lld\n", (double)scale_at(q, 0),
               (long long)q->lo_code, (long long)q->hi_code);
}

static const struct qkeras_parts parts = {
    .args = args,
    .noise_row = SET_NOISE,
    .prepare = prepare,
    .values = values,
    .whole = whole,
    .back = back,
    .smooth = smooth,
    .head = head,
};

const struct quantizer_kind quantizer_quantized_linear = {
    .name = "quantized_linear",
    .help = "QKeras fixed point, clamped first",
    .source = "QKeras quantized_linear (after 0.9.0)",
    .flags = QK_UNIFORM | QK_WEIGHTS | QK_ACTIVATIONS | QK_OWN_SCALE,
    .min_bits = 1,
    .max_bits = 24,
    .param = settings,
    .check = check,
    .set_range = set_range,
    .forward = qkeras_forward,
    .backward = qkeras_backward,
    .codes = qkeras_codes,
    .surrogate = qkeras_surrogate,
    .describe = qkeras_describe,
    .example = "bits conv1 w=quantized_linear(6,0)",
    .defaults = defaults,
    .parse = qkeras_parse,
    .print = qkeras_print,
    .scratch_bytes = qkeras_scratch,
    .span = span,
    .on_weights = on_weights,
    .qkeras = &parts,
};

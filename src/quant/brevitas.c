/* Brevitas's scales: restriction of the learned value, integer scaling, zero
 * points. SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/brevitas.h"

#include <math.h>

/* scaling_min_val of the packages' quantizers. */
#define LEAST REAL(1e-10)

#define USES (USE_SIGN | USE_NARROW | USE_ASYM | USE_ORDER | USE_GRAD)

void brevitas_defaults(struct qspec *s)
{
    kind_plain(s, USES);
    s->grad = QGRAD_MASKED;
    s->divide = true;
    s->zp_before = true;
    s->clamp_first = false;
    s->rule = qparams_find("brevitas");
}

enum status brevitas_check(const struct qspec *s, struct err *e)
{
    return kind_check(s, USES, e);
}

void brevitas_span(const struct qspec *s, int64_t *lo, int64_t *hi)
{
    *lo = s->is_signed ? -((int64_t)1 << (s->bits - 1)) + s->narrow : 0;
    *hi = s->is_signed ? ((int64_t)1 << (s->bits - 1)) - 1
                       : ((int64_t)1 << s->bits) - 1 - s->narrow;
}

/* Symmetric grids have z = 0, for which the order makes no difference: the
 * faster loop is that with z after rounding. */
static void set_order(struct qspec *s)
{
    s->zp_before = !s->symmetric;
}

void brevitas_forward(struct quantizer *q, const real *x, real *y,
                      struct qview v, bool train)
{
    struct quantizer with_order = *q;

    set_order(&with_order.spec);
    uniform_forward(&with_order, x, y, v, train);
}

struct grid brevitas_grid(const struct quantizer *q, struct qspec *spec,
                          int64_t channel)
{
    struct grid g;

    *spec = q->spec;
    set_order(spec);
    grid_init(&g, q, channel, false);
    g.spec = spec;
    return g;
}

real brevitas_int_scale(const struct quantizer *q, int restriction)
{
    int bits = q->spec.bits - q->spec.is_signed;

    if (restriction == BREVITAS_PO2)
        return (real)((int64_t)1 << bits);
    return q->spec.is_signed ? (real)-q->lo_code : (real)q->hi_code;
}

real brevitas_value(real threshold, int restriction)
{
    real t = threshold > LEAST ? threshold : LEAST;

    return restriction == BREVITAS_FLOAT ? t : real_log2(t);
}

/* The threshold that a learned value stands for. */
static real threshold_of(real value, int restriction)
{
    real t = restriction == BREVITAS_FLOAT ? real_fabs(value)
             : restriction == BREVITAS_LOG ? real_exp2(value)
                                           : real_exp2(real_ceil(value));

    return t > LEAST ? t : LEAST;
}

real brevitas_scale(const struct quantizer *q, real value, int restriction)
{
    return threshold_of(value, restriction) /
           brevitas_int_scale(q, restriction);
}

double brevitas_slope(const struct quantizer *q, real value, int restriction)
{
    double over = (double)brevitas_int_scale(q, restriction);

    if (restriction == BREVITAS_FLOAT)
        return (value < 0 ? -1 : 1) / over;
    return (double)threshold_of(value, restriction) * log(2.0) / over;
}

real brevitas_zero_point(const struct quantizer *q, real low, real scale)
{
    real z = real_rint(real_fabs(low) / scale);

    if (q->spec.symmetric)
        return 0;
    return z > (real)q->hi_code ? (real)q->hi_code : z;
}

void brevitas_refresh(struct quantizer *q, int restriction)
{
    for (int64_t c = 0; c < q->channels; c++) {
        real low = *learned_at(q, BREVITAS_ROW_LOW, c);
        real s = brevitas_scale(q, *learned_at(q, BREVITAS_ROW_THRESHOLD, c),
                                restriction);

        q->scale[c] = s;
        q->zero_point[c] = brevitas_zero_point(q, low, s);
    }
}

struct brevitas_grads brevitas_gradients(const struct quantizer *q,
                                         int64_t channel, real low,
                                         const double *sum)
{
    double s = (double)q->scale[channel];
    double dz = -s * sum[1];
    struct brevitas_grads d = {sum[0], 0};

    if (q->spec.symmetric || q->zero_point[channel] >= (real)q->hi_code)
        return d;
    d.scale -= dz * fabs((double)low) / (s * s);
    d.low = (low < 0 ? -dz : dz) / s;
    return d;
}

struct ends_at brevitas_ends(const struct quantizer *base,
                             const struct quantizer *q, int64_t channel,
                             int restriction)
{
    int64_t low = BREVITAS_ROW_LOW * q->channels + channel;
    real value = q->learned[channel], old = base->learned[channel];
    real s0 = base->scale[channel];
    struct ends_at e = {.scale = brevitas_scale(q, value, restriction),
                        .zero_point = base->zero_point[channel]};

    if (restriction == BREVITAS_PO2)
        e.scale = s0 * real_exp2(value - old);
    if (!base->spec.symmetric &&
        base->zero_point[channel] < (real)base->hi_code)
        e.zero_point += real_fabs(q->learned[low]) / e.scale -
                        real_fabs(base->learned[low]) / s0;
    return e;
}

real brevitas_smooth(const struct quantizer *base, int64_t channel, real x0,
                     real x, struct ends_at e, bool pass)
{
    struct place p = place_of(base, channel, x0);

    if (p.inside || pass)
        return x + e.scale * (p.code - x0 / base->scale[channel]);
    return e.scale * (p.code + base->zero_point[channel] - e.zero_point);
}

/* AIMET's learned grids: the parts that both parametrizations share.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/aimet.h"

#include <math.h>

void aimet_defaults(struct qspec *s)
{
    kind_plain(s, USE_SIGN | USE_ASYM | USE_NARROW);
    s->divide = true;
    s->rule = qparams_find("aimet");
}

enum status aimet_check(const struct qspec *s, struct err *e)
{
    struct qspec codes_allowed = *s;

    codes_allowed.custom_codes = false;
    return kind_check(&codes_allowed,
                      USE_SIGN | USE_ASYM | USE_NARROW | USE_ORDER, e);
}

void aimet_forward(struct quantizer *q, const real *x, real *y,
                   struct qview v, bool train)
{
    struct quantizer with_order = *q;

    with_order.spec.divide = train;
    uniform_forward(&with_order, x, y, v, train);
}

static void backward_piece(void *ctx, int64_t channel, int64_t at, int64_t n,
                           double *sum)
{
    const struct kcall *c = ctx;
    struct grid g;

    grid_init(&g, c->cq, channel, false);
    scale_backward(&g, c->x + at, c->dy + at, c->dx + at, n, sum,
                   SCALE_MASKED);
}

void aimet_backward(struct quantizer *q, const real *x, const real *dy,
                    real *dx, struct qview v, done_fn done)
{
    struct kcall c = kcall_backward(q, x, dy, dx, v);

    view_sum(v, backward_piece, done, &c);
}

real aimet_least_scale(const struct quantizer *q)
{
    return (real)fmin(0x1p-23, 0.01 / (double)(q->hi_code - q->lo_code));
}

void aimet_range(const struct quantizer *q, int64_t channel, real *min,
                 real *max)
{
    int64_t n = q->hi_code - q->lo_code;
    real above = (real)(n / 2), below = (real)(n - n / 2);
    real least = aimet_least_scale(q);
    real lo = q->lo[channel] < 0 ? q->lo[channel] : 0;
    real hi = q->hi[channel] > 0 ? q->hi[channel] : 0;
    real add = (hi - lo) / (real)n < least ? least : 0;
    real delta, other;

    if (!q->spec.symmetric) {
        *min = lo;
        *max = hi + (real)n * add;
        return;
    }
    hi += above * add;
    lo -= below * add;
    /* Two bits, three steps: both sides get the whole range, at the cost of
     * some clipping above. */
    delta = hi / (above + (n == 3) > 0 ? above + (n == 3) : 1);
    other = -lo / below;
    delta = delta > other ? delta : other;
    *min = -below * delta;
    *max = above * delta;
}

real aimet_middle(const struct quantizer *q)
{
    return -real_rint((real)(q->lo_code + q->hi_code) / 2);
}

real aimet_offset(const struct quantizer *q, real offset)
{
    real low = -(real)q->hi_code, high = -(real)q->lo_code;

    return offset < low ? low : offset > high ? high : offset;
}

real aimet_smooth(const struct quantizer *base, int64_t channel, real x0,
                  real x, real s, real moved)
{
    struct place p = place_of(base, channel, x0);

    if (p.inside)
        return x + s * (p.code - x0 / base->scale[channel]);
    return s * (p.code + moved);
}

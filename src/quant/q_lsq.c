/* Quantizer lsq: learned step size.
 *
 * Esser et al., Learned Step Size Quantization (arXiv 1902.08153):
 * r = x / s, q = rne(clip(r, -Qn, Qp)), y = q * s (eq. 1, 2); dx = dy where
 * -Qn < r < Qp (eq. 5); ds = g * sum dy * (rne(r) - r inside, -Qn or Qp at
 * and beyond the ends) (eq. 3), g = 1 / sqrt(N * Qp) (section 2.2).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/observer.h"
#include "quant/select.h"
#include "quant/uniform.h"

enum { LSQ_GSCALE };

static const struct qrow settings[] = {
    {"gscale", 1, 0, 1, "1: step gradient times 1/sqrt(N*Qp); 0: as it is"},
    {0},
};

static const struct qrow learned[] = {
    {"step", 1, 0, 1e30, "step size: the scale"},
    {0},
};

static void defaults(struct qspec *s)
{
    s->symmetric = true;
    s->divide = true;
    s->clamp_first = true;
    s->observer = observer_kind_find("absmean");
}

static enum status check(const struct qspec *s, struct err *e)
{
    if (!s->symmetric || s->float_zp)
        return err_set(e, STATUS_ARG,
                       "lsq has no zero point: sym, or kind lsqplus");
    return STATUS_OK;
}

/* Learned steps must stay above the smallest scale. */
static void refresh(struct quantizer *q)
{
    real eps = (real)q->spec.eps;

    for (int64_t c = 0; c < q->channels; c++) {
        real s = q->learned[c] > eps ? q->learned[c] : eps;

        q->learned[c] = s;
        q->scale[c] = s;
        q->zero_point[c] = 0;
        q->lo[c] = s * (real)q->lo_code;
        q->hi[c] = s * (real)q->hi_code;
    }
}

/* The step that the observed range asks for: the wider side decides. */
static void set_range(struct quantizer *q)
{
    for (int64_t c = 0; c < q->channels; c++) {
        real above = q->hi[c] / (real)(q->hi_code > 0 ? q->hi_code : 1);
        real below = q->lo_code < 0 ? q->lo[c] / (real)q->lo_code : 0;

        q->learned[c] = above > below ? above : below;
    }
    refresh(q);
}

struct call {
    struct quantizer *q;
    const real *x, *dy;
    real *dx;
    double factor;
};

/* r = x / s, term = rne(r) - r, end: the end on r's side. */
/* dx, and the sum of dy times the slope of the step size: round(v) - v
 * inside, the end of the grid outside. */
QUANT_CLONES static double backward_run(const struct grid *g, const real *x,
                                        const real *dy, real *dx, int64_t n)
{
    real s = g->scale, lo = g->lo, hi = g->hi, lane[LANES] = {0};
    double sum = 0;
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES)
#pragma omp simd
        for (int l = 0; l < LANES; l++) {
            real d = dy[i + l], v = x[i + l] / s;
            bool in = (v > lo) & (v < hi);
            real end = pick(v <= lo, lo, hi);

            lane[l] += d * pick(in, real_rint(v) - v, end);
            dx[i + l] = pick(in, d, 0);
        }
    for (; i < n; i++) {
        real d = dy[i], v = x[i] / s;
        bool in = (v > lo) & (v < hi);

        sum += (double)(d * (in ? real_rint(v) - v : v <= lo ? lo : hi));
        dx[i] = in ? d : 0;
    }
    return lanes_sum(lane, sum);
}

static void backward_piece(void *ctx, int64_t channel, int64_t at,
                           int64_t n, double *sum)
{
    const struct call *c = ctx;
    struct grid g;

    grid_init(&g, c->q, channel, false);
    for (int64_t i = at; i < at + n; i += QUANT_BLOCK) {
        int64_t m = at + n - i < QUANT_BLOCK ? at + n - i : QUANT_BLOCK;

        sum[0] += backward_run(&g, c->x + i, c->dy + i, c->dx + i, m);
    }
}

static void add_grad(void *ctx, int64_t channel, const double *sum)
{
    const struct call *c = ctx;

    if (c->q->learn)
        c->q->grad[channel] += (real)(c->factor * sum[0]);
}

static void backward(struct quantizer *q, const real *x, const real *dy,
                     real *dx, struct qview v)
{
    struct call c = {.q = q, .x = x, .dy = dy, .dx = dx, .factor = 1};

    if (q->spec.param[LSQ_GSCALE] != 0)
        c.factor = uniform_grad_scale(q, v);
    view_sum(v, backward_piece, add_grad, &c);
}

static void describe(const struct quantizer *q, real v, struct str *out)
{
    str_printf(out, "step learned: %.9g, gradient %.9g\n",
               (double)q->learned[0], (double)q->grad[0]);
    uniform_describe(q, v, out);
}

const struct quantizer_kind quantizer_lsq = {
    .name = "lsq",
    .help = "learned step size, symmetric",
    .source = "Esser et al. 2019, arXiv 1902.08153",
    .flags = QK_UNIFORM | QK_WEIGHTS | QK_ACTIVATIONS,
    .min_bits = 1,
    .max_bits = 16,
    .param = settings,
    .learned = learned,
    .check = check,
    .set_range = set_range,
    .refresh = refresh,
    .forward = uniform_forward,
    .backward = backward,
    .codes = uniform_codes,
    .describe = describe,
    .example = "bits conv1 w=lsq:4",
    .defaults = defaults,
};

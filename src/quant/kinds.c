/* Shared parts of the quantizer kinds.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/kinds.h"

#include <math.h>
#include <string.h>

struct kcall kcall_forward(struct quantizer *q, const real *x, real *y,
                           struct qview v, bool train)
{
    return (struct kcall){
        .q = q, .cq = q, .x = x, .y = y, .train = train, .view = v};
}

struct kcall kcall_backward(struct quantizer *q, const real *x,
                            const real *dy, real *dx, struct qview v)
{
    return (struct kcall){
        .q = q, .cq = q, .x = x, .dy = dy, .dx = dx, .view = v};
}

struct kcall kcall_codes(const struct quantizer *q, const real *x,
                         int32_t *code, struct qview v)
{
    return (struct kcall){.cq = q, .x = x, .code = code, .view = v};
}

void view_serial(struct qview v, piece_fn fn, void *ctx)
{
    for (int64_t r = 0; r < v.outer * v.channels; r++)
        fn(ctx, r % v.channels, r * v.inner, v.inner);
}

void pass_gradient(const real *dy, real *dx, int64_t n)
{
    if (dx != dy)
        memmove(dx, dy, (size_t)n * sizeof *dx);
}

/* Magnitudes are ordered like their bits. */
QUANT_CLONES real absmax_of(const real *x, int64_t n)
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

double abs_sum(const real *x, int64_t n)
{
    double sum = 0;

    for (int64_t i = 0; i < n; i += QUANT_BLOCK) {
        real a[QUANT_BLOCK];
        int64_t k = n - i < QUANT_BLOCK ? n - i : QUANT_BLOCK;

#pragma omp simd
        for (int64_t j = 0; j < k; j++)
            a[j] = real_fabs(x[i + j]);
        sum += block_sum(a, k);
    }
    return sum;
}

#define PIECE 16384

static real absmax_flat(const real *x, int64_t n)
{
    real m = 0;

#pragma omp parallel for schedule(static) if (n >= QUANT_PARALLEL) \
    reduction(max : m)
    for (int64_t i = 0; i < n; i += PIECE) {
        real t = absmax_of(x + i, n - i < PIECE ? n - i : PIECE);

        m = t > m ? t : m;
    }
    return m;
}

void view_absmax(const real *x, struct qview v, real *out)
{
    if (v.channels == 1) {
        out[0] = absmax_flat(x, v.outer * v.inner);
        return;
    }
#pragma omp parallel for schedule(static) \
    if (view_count(v) >= QUANT_PARALLEL)
    for (int64_t c = 0; c < v.channels; c++) {
        real m = 0;

        for (int64_t o = 0; o < v.outer; o++) {
            real t = absmax_of(x + (o * v.channels + c) * v.inner, v.inner);

            m = t > m ? t : m;
        }
        out[c] = m;
    }
}

QUANT_CLONES static int count_equal(const real *x, int64_t n, real value,
                                    bool magnitude)
{
    int hits = 0;

    if (magnitude) {
#pragma omp simd reduction(+ : hits)
        for (int64_t i = 0; i < n; i++)
            hits += real_fabs(x[i]) == value;
    } else {
#pragma omp simd reduction(+ : hits)
        for (int64_t i = 0; i < n; i++)
            hits += x[i] == value;
    }
    return hits;
}

int64_t view_find_abs(const real *x, struct qview v, int64_t c, real m)
{
    for (int64_t o = 0; o < v.outer; o++) {
        int64_t from = (o * v.channels + c) * v.inner, to = from + v.inner;

        for (int64_t i = from; i < to; i += QUANT_BLOCK) {
            int64_t n = to - i < QUANT_BLOCK ? to - i : QUANT_BLOCK;

            if (!count_equal(x + i, n, m, true))
                continue;
            while (real_fabs(x[i]) != m)
                i++;
            return i;
        }
    }
    return -1;
}

/* One run of the channel; returns how many elements it handled. */
static int64_t add_equal_run(const struct equal *a, int64_t from, real value,
                             bool magnitude, double g)
{
    int64_t to = from + a->view.inner, hits = 0;

    for (int64_t i = from; i < to; i += QUANT_BLOCK) {
        int64_t n = to - i < QUANT_BLOCK ? to - i : QUANT_BLOCK;

        if (!count_equal(a->x + i, n, value, magnitude))
            continue;
        for (int64_t j = i; j < i + n; j++) {
            real x = a->x[j];

            if ((magnitude ? real_fabs(x) : x) != value)
                continue;
            a->dx[j] += (real)(magnitude && x < 0 ? -g : g);
            hits++;
            if (!a->share)
                return hits;
        }
    }
    return hits;
}

void view_add_equal(const struct equal *a, real value, bool magnitude,
                    double g)
{
    int64_t hits = 0, step = a->view.channels * a->view.inner;
    int64_t first = a->channel * a->view.inner;

    for (int64_t o = 0; o < a->view.outer && a->share; o++)
        for (int64_t i = 0; i < a->view.inner; i += PIECE) {
            int64_t n = a->view.inner - i;

            hits += count_equal(a->x + first + o * step + i,
                                n < PIECE ? n : PIECE, value, magnitude);
        }
    g /= (double)(hits ? hits : 1);
    for (int64_t o = 0; o < a->view.outer; o++)
        if (add_equal_run(a, first + o * step, value, magnitude, g) &&
            !a->share)
            return;
}

void kind_plain(struct qspec *s, unsigned uses)
{
    if (!(uses & USE_ROUND))
        s->rounding = ROUND_HALF_EVEN;
    if (!(uses & USE_NARROW))
        s->narrow = false;
    if (!(uses & USE_GRAD))
        s->grad = QGRAD_MASKED;
    if (!(uses & USE_ORDER)) {
        s->divide = false;
        s->zp_before = false;
        s->clamp_first = false;
    }
    if (!(uses & USE_ASYM))
        s->symmetric = true;
    s->float_zp = false;
    s->reduce_range = false;
    s->custom_codes = false;
}

/* What of the spec this kind cannot do, or NULL. */
static const char *unused_option(const struct qspec *s, unsigned uses)
{
    bool stochastic = s->rounding == ROUND_STOCHASTIC;

    if (s->rounding != ROUND_HALF_EVEN && !(uses & USE_ROUND) &&
        !(stochastic && (uses & USE_STOCHASTIC)))
        return "another rounding";
    if (s->narrow && !(uses & USE_NARROW))
        return "narrow";
    if (s->grad != QGRAD_MASKED && !(uses & USE_GRAD))
        return "grad=";
    if (!(uses & USE_ORDER) && (s->divide || s->zp_before || s->clamp_first))
        return "another order of operations";
    if (!s->symmetric && !(uses & USE_ASYM))
        return "asym";
    if (s->float_zp)
        return "zp=float";
    if (s->reduce_range)
        return "reduce";
    if (s->custom_codes)
        return "codes=";
    return NULL;
}

enum status kind_check(const struct qspec *s, unsigned uses, struct err *e)
{
    const char *what = unused_option(s, uses);

    if (what)
        return err_set(e, STATUS_ARG, "%s does not go with %s",
                       s->kind->name, what);
    return STATUS_OK;
}

/* One block: the two terms, and 1 or 0 for what passes. */
QUANT_CLONES static void scale_terms(const struct grid *gp, const real *x,
                                     const real *dy, real *term, int64_t n,
                                     bool pass)
{
    real scale = gp->scale, z = gp->zero_point, lo = gp->lo, hi = gp->hi;
    real before = gp->spec->zp_before ? z : 0, after = z - before;
    real *t0 = term, *t1 = term + QUANT_BLOCK, *in = term + 2 * QUANT_BLOCK;
    real least = pass ? 1 : 0;

#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real u = x[i] / scale;
        real v = real_rint(u + before) + after;
        real inside = pick((v >= lo) & (v <= hi), 1, least);
        bool passes = inside > 0;

        t0[i] = dy[i] * (within(v, lo, hi) - z - pick(passes, u, 0));
        t1[i] = pick(passes, 0, dy[i]);
        in[i] = inside;
    }
}

QUANT_CLONES static void mask_plain(const real *dy, const real *in, real *dx,
                                    int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        dx[i] = dy[i] * in[i];
}

QUANT_CLONES static void mask_divided(const real *dy, const real *in,
                                      real *dx, int64_t n, real scale)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        dx[i] = dy[i] * scale / scale * in[i];
}

void scale_backward(const struct grid *g, const real *x, const real *dy,
                    real *dx, int64_t n, double *sum, unsigned how)
{
    for (int64_t i = 0; i < n; i += QUANT_BLOCK) {
        real term[3 * QUANT_BLOCK];
        int64_t m = n - i < QUANT_BLOCK ? n - i : QUANT_BLOCK;
        const real *in = term + 2 * QUANT_BLOCK;

        scale_terms(g, x + i, dy + i, term, m, how & SCALE_PASS);
        if (how & SCALE_DIVIDED)
            mask_divided(dy + i, in, dx + i, m, g->scale);
        else
            mask_plain(dy + i, in, dx + i, m);
        sum[0] += block_sum(term, m);
        sum[1] += block_sum(term + QUANT_BLOCK, m);
    }
}

struct place place_of(const struct quantizer *q, int64_t channel, real x)
{
    real z = q->zero_point[channel];
    real lo = (real)q->lo_code, hi = (real)q->hi_code;
    real u = x / q->scale[channel];
    real v = q->spec.zp_before ? real_rint(u + z) : real_rint(u) + z;
    real c = v < lo ? lo : v > hi ? hi : v;

    return (struct place){c - z, v >= lo && v <= hi};
}

/* Hoare's selection with the middle as pivot. */
real select_kth(real *v, int64_t n, int64_t k)
{
    int64_t lo = 0, hi = n - 1, at = k - 1;

    while (lo < hi) {
        real pivot = v[lo + (hi - lo) / 2];
        int64_t i = lo, j = hi;

        while (i <= j) {
            while (v[i] < pivot)
                i++;
            while (v[j] > pivot)
                j--;
            if (i <= j) {
                real t = v[i];

                v[i++] = v[j];
                v[j--] = t;
            }
        }
        if (at <= j)
            hi = j;
        else if (at >= i)
            lo = i;
        else
            break;
    }
    return v[at];
}

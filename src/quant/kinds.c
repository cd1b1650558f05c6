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

struct noise noise_new(struct rng *rng)
{
    struct noise z = {.on = rng != NULL};

    for (int i = 0; i < 2 && rng; i++)
        z.key[i] = (uint32_t)rng_below(rng, (uint64_t)1 << 32);
    return z;
}

struct draws noise_draws(const struct noise *z, int64_t at, uint32_t salt)
{
    uint32_t own = noise_mixed(salt * 0x9e3779b9U + (uint32_t)(at >> 32));
    struct draws d = {noise_mixed(z->key[1] + own),
                      noise_mixed(z->key[0] ^ own) | 1};

    d.first += (uint32_t)at * d.by;
    return d;
}

QUANT_CLONES void noise_block(const struct noise *z, int64_t at,
                              uint32_t salt, real *u, int64_t n)
{
    struct draws d = noise_draws(z, at, salt);
    int count = (int)n;       /* a wide index would be half the work */

#pragma omp simd
    for (int i = 0; i < count; i++)
        u[i] = noise_at(d, i);
}

#define SHORT_N 1024
#define SHORT_CUT 10          /* bits of w, which w hi needs room for */

struct over over_of(real n)
{
    struct over o = {.n = n, .hi = 1 / n};

    if (n >= SHORT_N)
        return o;
    o.hi = real_from_bits(real_to_bits(o.hi) >> SHORT_CUT << SHORT_CUT);
    o.lo = (1 - n * o.hi) / n;
    return o;
}

static void pass_piece(void *ctx, int64_t channel, int64_t at, int64_t n)
{
    const struct kcall *c = ctx;

    (void)channel;
    memcpy(c->dx + at, c->dy + at, (size_t)n * sizeof *c->dx);
}

void pass_gradient(const real *dy, real *dx, int64_t n)
{
    struct kcall c = {.dy = dy, .dx = dx};

    if (dx != dy)
        view_each((struct qview){1, 1, n}, pass_piece, &c);
}

void pass_or_mask(struct kcall *c, piece_fn piece)
{
    if (c->q->spec.grad == QGRAD_PASS)
        pass_gradient(c->dy, c->dx, view_count(c->view));
    else
        view_each(c->view, piece, c);
}

QUANT_CLONES real absmax_of(const real *x, int64_t n)
{
    return absmax_inline(x, n);
}

double abs_sum(const real *x, int64_t n)
{
    double sum = 0;

    for (int64_t i = 0; i < n; i += QUANT_BLOCK) {
        QUANT_ALIGNED real a[QUANT_BLOCK];
        int64_t k = n - i < QUANT_BLOCK ? n - i : QUANT_BLOCK;

#pragma omp simd
        for (int64_t j = 0; j < k; j++)
            a[j] = real_fabs(x[i + j]);
        sum += block_sum(a, k);
    }
    return sum;
}

#define PIECE 16384

/* A piece of a tensor: its largest |x|, where it begins. */
struct largest {
    real m;
    int64_t at;
};

static bool comes_before(struct largest a, struct largest b)
{
    return a.m > b.m || (a.m == b.m && a.at < b.at);
}

static struct largest largest_piece(const real *x, int64_t n)
{
    struct largest all = {0, 0};

#pragma omp parallel if (n >= QUANT_PARALLEL)
    {
        struct largest own = {0, 0};

#pragma omp for schedule(static) nowait
        for (int64_t i = 0; i < n; i += PIECE) {
            int64_t k = n - i < PIECE ? n - i : PIECE;
            struct largest piece = {absmax_of(x + i, k), i};

            own = comes_before(piece, own) ? piece : own;
        }
#pragma omp critical(quant_largest)
        all = comes_before(own, all) ? own : all;
    }
    return all;
}

int64_t view_absmax(const real *x, struct qview v, real *out)
{
    if (v.channels == 1) {
        struct largest p = largest_piece(x, v.outer * v.inner);

        out[0] = p.m;
        return p.at;
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
    return 0;
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

int64_t view_find_abs(const real *x, struct qview v, int64_t c, real m,
                      int64_t start)
{
    for (int64_t o = 0; o < v.outer; o++) {
        int64_t from = (o * v.channels + c) * v.inner, to = from + v.inner;

        from = from < start ? start : from;
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

struct scale_rule {
    real scale, z, lo, hi, before, after;
};

/* What one element gives: its gradient, and what it adds to the sums. */
struct scale_term {
    real dx, a, b;
};

SELECT_INLINE struct scale_term scale_element(const struct scale_rule *r,
                                              real x, real d, unsigned how)
{
    real u = x / r->scale;
    real v = real_rint(u + r->before) + r->after;
    bool in = (v >= r->lo) & (v <= r->hi);
    real back = how & SCALE_DIVIDED ? d * r->scale / r->scale : d;

    if (how & SCALE_PASS)
        return (struct scale_term){
            back, d * (within(v, r->lo, r->hi) - r->z - u), 0};
    return (struct scale_term){
        pick(in, back, 0),
        d * (within(v, r->lo, r->hi) - r->z - pick(in, u, 0)),
        pick(in, 0, d)};
}

/* One block; how is a constant at each call. */
SELECT_INLINE void scale_block(const struct grid *g, const struct kcall *c,
                               int64_t n, double *sum, unsigned how)
{
    real before = g->spec->zp_before ? g->zero_point : 0;
    const struct scale_rule rule = {g->scale, g->zero_point, g->lo, g->hi,
                                    before, g->zero_point - before};
    const real *x = c->x, *dy = c->dy;
    real *dx = c->dx, a[LANES] = {0}, b[LANES] = {0};
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES)
#pragma omp simd
        for (int l = 0; l < LANES; l++) {
            struct scale_term t =
                scale_element(&rule, x[i + l], dy[i + l], how);

            dx[i + l] = t.dx;
            a[l] += t.a;
            b[l] += t.b;
        }
    for (int l = 0; i < n; i++, l++) {
        struct scale_term t = scale_element(&rule, x[i], dy[i], how);

        dx[i] = t.dx;
        a[l] += t.a;
        b[l] += t.b;
    }
    sum[0] = lanes_sum(a, sum[0]);
    sum[1] = lanes_sum(b, sum[1]);
}

typedef void (*scale_fn)(const struct grid *g, const struct kcall *c,
                         int64_t n, double *sum);

QUANT_CLONES static void scale_masked(const struct grid *g,
                                      const struct kcall *c, int64_t n,
                                      double *sum)
{
    scale_block(g, c, n, sum, SCALE_MASKED);
}

QUANT_CLONES static void scale_divided(const struct grid *g,
                                       const struct kcall *c, int64_t n,
                                       double *sum)
{
    scale_block(g, c, n, sum, SCALE_DIVIDED);
}

QUANT_CLONES static void scale_pass(const struct grid *g,
                                    const struct kcall *c, int64_t n,
                                    double *sum)
{
    scale_block(g, c, n, sum, SCALE_PASS);
}

QUANT_CLONES static void scale_both(const struct grid *g,
                                    const struct kcall *c, int64_t n,
                                    double *sum)
{
    scale_block(g, c, n, sum, SCALE_DIVIDED | SCALE_PASS);
}

void scale_backward(const struct grid *g, const real *x, const real *dy,
                    real *dx, int64_t n, double *sum, unsigned how)
{
    static const scale_fn table[] = {
        [SCALE_MASKED] = scale_masked,
        [SCALE_DIVIDED] = scale_divided,
        [SCALE_PASS] = scale_pass,
        [SCALE_DIVIDED | SCALE_PASS] = scale_both,
    };
    double all[2] = {sum[0], 0};

    for (int64_t i = 0; i < n; i += QUANT_BLOCK) {
        const struct kcall c = {.x = x + i, .dy = dy + i, .dx = dx + i};

        table[how](g, &c, n - i < QUANT_BLOCK ? n - i : QUANT_BLOCK, all);
    }
    sum[0] = all[0];
    if (!g->spec->symmetric)
        sum[1] += all[1];
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

#define FEW 64

QUANT_CLONES static int count_above(const real *v, int64_t n, real limit)
{
    int hits = 0;

#pragma omp simd reduction(+ : hits)
    for (int64_t i = 0; i < n; i++)
        hits += v[i] > limit;
    return hits;
}

/* The k-th largest of n values for k up to FEW: the k largest so far, falling;
 * blocks that hold none larger than the last of them cost one look. */
static real largest_kth(const real *v, int64_t n, int64_t k)
{
    real top[FEW + 1];
    int64_t have = 0;

    for (int64_t i = 0; i < n; i += QUANT_BLOCK) {
        int64_t m = n - i < QUANT_BLOCK ? n - i : QUANT_BLOCK;

        if (have == k && !count_above(v + i, m, top[k - 1]))
            continue;
        for (int64_t j = i; j < i + m; j++) {
            int64_t at = have;

            if (have == k && !(v[j] > top[k - 1]))
                continue;
            for (; at > 0 && top[at - 1] < v[j]; at--)
                top[at] = top[at - 1];
            top[at] = v[j];
            have += have < k;
        }
    }
    return top[k - 1];
}

/* Hoare's selection with the middle as pivot. */
real select_kth(real *v, int64_t n, int64_t k)
{
    int64_t lo = 0, hi = n - 1, at = k - 1;

    if (n - k < FEW)
        return largest_kth(v, n, n - k + 1);
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

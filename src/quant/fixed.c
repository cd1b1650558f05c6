/* Fixed point as HLS ap_fixed: rounding and overflow, bit by bit.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/fixed.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

const char *const fixed_rounding_name[FIXED_ROUNDINGS] = {
    [FIXED_TRN] = "TRN",
    [FIXED_TRN_ZERO] = "TRN_ZERO",
    [FIXED_RND] = "RND",
    [FIXED_RND_ZERO] = "RND_ZERO",
    [FIXED_RND_INF] = "RND_INF",
    [FIXED_RND_MIN_INF] = "RND_MIN_INF",
    [FIXED_RND_CONV] = "RND_CONV",
};

const char *const fixed_overflow_name[FIXED_OVERFLOWS] = {
    [FIXED_WRAP] = "WRAP",
    [FIXED_SAT] = "SAT",
    [FIXED_SAT_ZERO] = "SAT_ZERO",
    [FIXED_SAT_SYM] = "SAT_SYM",
    [FIXED_WRAP_SM] = "WRAP_SM",
};

/* ---- rounding ---- */

/* With t = trunc(v) and r = v - t, both exact: t + 1 from r = `up` on, t - 1
 * from r = `down` downwards. */
struct turns {
    double up, down;
};

#define HALF 0.5
#define ABOVE_HALF (0.5 + DBL_EPSILON / 2)
#define NEVER 2.0

static const struct turns turn_table[FIXED_ROUNDINGS] = {
    [FIXED_TRN] = {NEVER, -0x1p-1074},
    [FIXED_TRN_ZERO] = {NEVER, -NEVER},
    [FIXED_RND] = {HALF, -ABOVE_HALF},
    [FIXED_RND_ZERO] = {ABOVE_HALF, -ABOVE_HALF},
    [FIXED_RND_INF] = {HALF, -HALF},
    [FIXED_RND_MIN_INF] = {ABOVE_HALF, -HALF},
};

/* v or 0. By bits: a comparison that chose would be a jump
 * (quant/select.h). */
static inline __attribute__((always_inline)) double keep_if(bool c, double v)
{
    uint64_t bits;

    memcpy(&bits, &v, sizeof bits);
    bits &= 0 - (uint64_t)c;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static inline __attribute__((always_inline)) double one_if(bool c)
{
    return keep_if(c, 1);
}

/* trunc(v), which compilers leave scalar where inexactness may raise a flag;
 * rint they do not. */
static inline __attribute__((always_inline)) double whole_part(double v)
{
    double a = fabs(v), k = rint(a);

    return copysign(k - one_if(k > a), v);
}

QUANT_CLONES static void round_by_turns(struct turns at, const double *v,
                                        double *whole, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        double t = whole_part(v[i]), r = v[i] - t;

        whole[i] = t + (one_if(r >= at.up) - one_if(r <= at.down));
    }
}

QUANT_CLONES static void round_to_even(const double *v, double *whole,
                                       int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        whole[i] = rint(v[i]) + 0.0;   /* -0 becomes 0 */
}

void fixed_round(const struct fixed_type *t, const double *v, double *whole,
                 int64_t n)
{
    if (t->rounding == FIXED_RND_CONV)
        round_to_even(v, whole, n);
    else
        round_by_turns(turn_table[t->rounding], v, whole, n);
}

/* ---- overflow ---- */

struct limits {
    double lo, hi;
};

QUANT_CLONES static void saturate(struct limits l, double *q, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        double a = q[i] > l.lo ? q[i] : l.lo;

        q[i] = a < l.hi ? a : l.hi;
    }
}

QUANT_CLONES static void saturate_to_zero(struct limits l, double *q,
                                          int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        int in = (q[i] >= l.lo) & (q[i] <= l.hi);

        q[i] = in ? q[i] : 0.0;
    }
}

/* The W + 1 lowest bits of a whole number, in two's complement. */
static uint64_t low_bits(double q, int width)
{
    return (uint64_t)(int64_t)fmod(q, ldexp(1, width + 1));
}

static uint64_t mask_of(int bits)
{
    return ((uint64_t)1 << bits) - 1;
}

static bool bit_at(uint64_t u, int bit)
{
    return u >> bit & 1;
}

/* W bits as a number of the type. */
static double as_raw(const struct fixed_type *t, uint64_t u)
{
    u &= mask_of(t->width);
    if (t->is_signed && bit_at(u, t->width - 1))
        return (double)u - ldexp(1, t->width);
    return (double)u;
}

/* N >= 1: the sign bit is q's, the N - 1 bits after it its complement, the
 * others q's; without a sign the N highest bits are 1. */
static double wrap_one(const struct fixed_type *t, double q)
{
    int w = t->width, n = t->saturated;
    uint64_t u = low_bits(q, w), top;

    if (n == 0)
        return as_raw(t, u);
    if (!t->is_signed)
        top = mask_of(n);
    else if (q < 0)
        top = (uint64_t)1 << (n - 1);
    else
        top = mask_of(n - 1);
    return as_raw(t, (u & mask_of(w - n)) | top << (w - n));
}

/* Sign magnitude: every other period runs backwards. Which one it is, N = 0
 * sees at bit W of the number before rounding, N = 1 at its sign. */
static double mirror_one(const struct fixed_type *t, double v, double q)
{
    int w = t->width;
    uint64_t u = low_bits(q, w);
    bool side = t->saturated ? q < 0 : bit_at(low_bits(floor(v), w), w);

    return as_raw(t, side != bit_at(u, w - 1) ? ~u : u);
}

static bool is_outside(const struct limits *l, double q)
{
    return !(q >= l->lo && q <= l->hi);
}

/* Whether values one at a time have anything to do. */
QUANT_CLONES static bool any_outside(struct limits l, const double *q,
                                     int64_t n)
{
    int64_t inside = 0;

#pragma omp simd reduction(+ : inside)
    for (int64_t i = 0; i < n; i++)
        inside += (q[i] >= l.lo) & (q[i] <= l.hi);
    return inside < n;
}

static void apply_saturate(const struct fixed_type *t, struct limits l,
                           const double *v, double *q, int64_t n)
{
    (void)t;
    (void)v;
    saturate(l, q, n);
}

static void apply_zero(const struct fixed_type *t, struct limits l,
                       const double *v, double *q, int64_t n)
{
    (void)t;
    (void)v;
    saturate_to_zero(l, q, n);
}

/* Plain wrapping, N = 0, where double holds every step exactly: the other
 * values stay outside, for wrap_one. */
QUANT_CLONES static void wrap_plain(struct limits l, double period,
                                    double *q, int64_t n)
{
    double per_period = 1 / period;

#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        double from_lo = q[i] - l.lo, turns = whole_part(from_lo * per_period);
        double down = turns - one_if(turns * period > from_lo);

        q[i] -= keep_if(fabs(q[i]) < 0x1p52, down * period);
    }
}

static void apply_wrap(const struct fixed_type *t, struct limits l,
                       const double *v, double *q, int64_t n)
{
    (void)v;
    if (t->saturated == 0)
        wrap_plain(l, ldexp(1, t->width), q, n);
    if (!any_outside(l, q, n))
        return;
    for (int64_t i = 0; i < n; i++)
        if (is_outside(&l, q[i]))
            q[i] = isfinite(q[i]) ? wrap_one(t, q[i]) : 0;
}

static void apply_mirror(const struct fixed_type *t, struct limits l,
                         const double *v, double *q, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (is_outside(&l, q[i]))
            q[i] = isfinite(q[i]) ? mirror_one(t, v[i], q[i]) : 0;
}

typedef void (*overflow_fn)(const struct fixed_type *t, struct limits l,
                            const double *v, double *q, int64_t n);

static const overflow_fn overflow_table[FIXED_OVERFLOWS] = {
    [FIXED_WRAP] = apply_wrap,
    [FIXED_SAT] = apply_saturate,
    [FIXED_SAT_ZERO] = apply_zero,
    [FIXED_SAT_SYM] = apply_saturate,
    [FIXED_WRAP_SM] = apply_mirror,
};

void fixed_wrap(const struct fixed_type *t, const double *v, double *whole,
                int64_t n)
{
    int64_t lo, hi;

    fixed_span(t, &lo, &hi);
    overflow_table[t->overflow](
        t, (struct limits){(double)lo, (double)hi}, v, whole, n);
}

/* ---- types ---- */

void fixed_span(const struct fixed_type *t, int64_t *lo, int64_t *hi)
{
    *hi = ((int64_t)1 << (t->width - t->is_signed)) - 1;
    *lo = t->is_signed ? -*hi - (t->overflow != FIXED_SAT_SYM) : 0;
}

static int64_t from_scaled(const struct fixed_type *t, double v)
{
    double q;

    fixed_round(t, &v, &q, 1);
    fixed_wrap(t, &v, &q, 1);
    return (int64_t)q;
}

int64_t fixed_from_double(const struct fixed_type *t, double x)
{
    double v = ldexp(x, t->width - t->integer);

    if (v == 0 && x != 0)     /* too small for a double: the sign stays */
        v = copysign(DBL_MIN, x);
    return from_scaled(t, v);
}

int64_t fixed_cast(const struct fixed_type *from, int64_t raw,
                   const struct fixed_type *t)
{
    int shift = t->width - t->integer - (from->width - from->integer);

    return from_scaled(t, ldexp((double)raw, shift));
}

enum status fixed_check(const struct fixed_type *t, struct err *e)
{
    int most = t->overflow == FIXED_WRAP      ? t->width
               : t->overflow == FIXED_WRAP_SM ? 1
                                              : 0;

    if (t->width < 1 || t->width > FIXED_WIDTH_MAX)
        return err_set(e, STATUS_ARG, "%d bits, not from 1 to %d", t->width,
                       FIXED_WIDTH_MAX);
    if (t->overflow == FIXED_WRAP_SM && !t->is_signed)
        return err_set(e, STATUS_ARG,
                       "WRAP_SM is for types with a sign");
    if (t->saturated < 0 || t->saturated > most)
        return err_set(e, STATUS_ARG,
                       "%s with N = %d saturated bits, not from 0 to %d",
                       fixed_overflow_name[t->overflow], t->saturated, most);
    return STATUS_OK;
}

/* ---- text ---- */

#define FIXED_WORDS 5
#define FIXED_WORD 16

static enum status word_number(const char *word, const char *what, int *out,
                               struct err *e)
{
    long long n;

    TRY(str_to_int(word, &n, e));
    if (n < -1000 || n > 1000)
        return err_set(e, STATUS_ARG, "%s is %lld", what, n);
    *out = (int)n;
    return STATUS_OK;
}

static enum status word_mode(const char *word, const char *const names[],
                             int n, int *out, struct err *e)
{
    const char *plain = strncmp(word, "AP_", 3) ? word : word + 3;
    struct str all = {0};
    enum status st;

    for (*out = 0; *out < n; ++*out)
        if (!strcmp(names[*out], plain))
            return STATUS_OK;
    for (int i = 0; i < n; i++)
        str_printf(&all, "%s%s", i ? " " : "", names[i]);
    st = err_set(e, STATUS_ARG, "%s: not one of %s", word, str_text(&all));
    str_fini(&all);
    return st;
}

/* Words between commas; spaces around them are left out. */
static enum status split(const char *text, char word[][FIXED_WORD], int *n,
                         struct err *e)
{
    for (*n = 0; *n < FIXED_WORDS; text++) {
        size_t blank = strspn(text, " "), len;

        text += blank;
        len = strcspn(text, " ,");
        if (len == 0 || len >= FIXED_WORD)
            break;
        snprintf(word[*n], FIXED_WORD, "%.*s", (int)len, text);
        ++*n;
        text += len + strspn(text + len, " ");
        if (*text == '\0')
            return STATUS_OK;
        if (*text != ',')
            break;
    }
    return err_set(e, STATUS_ARG, "wanted <W,I[,rounding[,overflow[,N]]]>, "
                   "as <16,6,RND,SAT>");
}

enum status fixed_parse(const char *text, struct fixed_type *t,
                        struct err *e)
{
    char word[FIXED_WORDS][FIXED_WORD];
    struct fixed_type r = {.is_signed = t->is_signed};
    int n, mode;

    TRY(split(text, word, &n, e));
    if (n < 2)
        return err_set(e, STATUS_ARG, "<%s>: no integer bits: wanted <W,I>",
                       text);
    TRY(word_number(word[0], "the width", &r.width, e));
    TRY(word_number(word[1], "the integer width", &r.integer, e));
    if (n > 2) {
        TRY(word_mode(word[2], fixed_rounding_name, FIXED_ROUNDINGS, &mode,
                      e));
        r.rounding = (enum fixed_rounding)mode;
    }
    if (n > 3) {
        TRY(word_mode(word[3], fixed_overflow_name, FIXED_OVERFLOWS, &mode,
                      e));
        r.overflow = (enum fixed_overflow)mode;
    }
    if (n > 4)
        TRY(word_number(word[4], "N", &r.saturated, e));
    TRY(fixed_check(&r, e));
    *t = r;
    return STATUS_OK;
}

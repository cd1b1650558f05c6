/* Quantizer specs: defaults, codes, checks, comparison, names.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "quant/observer.h"

const char *const rounding_name[ROUND_COUNT] = {
    [ROUND_HALF_EVEN] = "half_even",   [ROUND_HALF_AWAY] = "half_away",
    [ROUND_HALF_UP] = "half_up",       [ROUND_FLOOR] = "floor",
    [ROUND_CEIL] = "ceil",             [ROUND_TO_ZERO] = "to_zero",
    [ROUND_STOCHASTIC] = "stochastic",
};

const char *const grain_name[GRAIN_COUNT] = {
    [GRAIN_TENSOR] = "tensor",
    [GRAIN_CHANNEL] = "channel",
    [GRAIN_GROUP] = "group",
};

const char *const qgrad_name[QGRAD_COUNT] = {
    [QGRAD_MASKED] = "masked",
    [QGRAD_PASS] = "pass",
};

void qspec_default(struct qspec *s)
{
    *s = (struct qspec){
        .kind = quantizer_table[0],
        .bits = 8,
        .is_signed = true,
        .symmetric = true,
        .rounding = ROUND_HALF_EVEN,
        .rule = &qparams_table[0],
        .observer = observer_table[0],
        .eps = 0x1p-23,
        .noise = 1,
    };
}

int qrow_find(const struct qrow *rows, const char *name)
{
    for (int i = 0; rows && rows[i].name; i++)
        if (!strcmp(rows[i].name, name))
            return i;
    return -1;
}

/* Half of a code, down. */
static int64_t half_code(int64_t v)
{
    return v >= 0 ? v / 2 : -((1 - v) / 2);
}

void qspec_codes(const struct qspec *s, int64_t *lo, int64_t *hi)
{
    int bits = s->bits - s->reduce_range;

    if (s->kind->span) {
        s->kind->span(s, lo, hi);
        return;
    }
    if (s->custom_codes) {
        *lo = s->lo_code;
        *hi = s->hi_code;
        if (s->reduce_range) {
            *lo = half_code(*lo);
            *hi = half_code(*hi);
        }
        return;
    }
    if (bits < 1)
        bits = 1;
    if (s->is_signed) {
        *lo = -((int64_t)1 << (bits - 1)) + s->narrow;
        *hi = ((int64_t)1 << (bits - 1)) - 1;
    } else {
        *lo = s->narrow;
        *hi = ((int64_t)1 << bits) - 1;
    }
}

void qspec_set_bits(struct qspec *s, int bits)
{
    s->bits = bits;
    s->custom_codes = false;
    s->lo_code = 0;
    s->hi_code = 0;
    if (bits < 8)
        s->reduce_range = false;
}

static bool rows_equal(const struct qrow *rows, const double *a,
                       const double *b)
{
    for (int i = 0; rows && rows[i].name; i++)
        if (a[i] != b[i])
            return false;
    return true;
}

static bool codes_equal(const struct qspec *a, const struct qspec *b)
{
    return a->bits == b->bits && a->is_signed == b->is_signed &&
           a->symmetric == b->symmetric && a->narrow == b->narrow &&
           a->reduce_range == b->reduce_range &&
           a->custom_codes == b->custom_codes &&
           (!a->custom_codes ||
            (a->lo_code == b->lo_code && a->hi_code == b->hi_code));
}

static bool arithmetic_equal(const struct qspec *a, const struct qspec *b)
{
    return a->rounding == b->rounding && a->divide == b->divide &&
           a->zp_before == b->zp_before &&
           a->clamp_first == b->clamp_first && a->float_zp == b->float_zp &&
           a->grad == b->grad && a->eps == b->eps && a->noise == b->noise &&
           a->delay == b->delay;
}

bool qspec_equal(const struct qspec *a, const struct qspec *b)
{
    return a->kind == b->kind && codes_equal(a, b) &&
           arithmetic_equal(a, b) && a->grain == b->grain &&
           (a->grain != GRAIN_GROUP || a->group == b->group) &&
           a->rule == b->rule && a->observer == b->observer &&
           rows_equal(a->kind->param, a->param, b->param) &&
           rows_equal(a->observer->param, a->observer_param,
                      b->observer_param);
}

static enum status check_rows(const char *owner, const struct qrow *rows,
                              const double *value, struct err *e)
{
    for (int i = 0; rows && rows[i].name; i++)
        if (!(value[i] >= rows[i].lo && value[i] <= rows[i].hi))
            return err_set(e, STATUS_ARG,
                           "%s: %s is %g, not from %g to %g", owner,
                           rows[i].name, value[i], rows[i].lo, rows[i].hi);
    return STATUS_OK;
}

static enum status check_codes(const struct qspec *s, struct err *e)
{
    const struct quantizer_kind *k = s->kind;
    int64_t lo, hi;

    if (s->bits < k->min_bits || s->bits > k->max_bits)
        return err_set(e, STATUS_ARG, "%s: %d bits, not from %d to %d",
                       k->name, s->bits, k->min_bits, k->max_bits);
    if (!(k->flags & QK_UNIFORM))
        return STATUS_OK;
    qspec_codes(s, &lo, &hi);
    if (hi <= lo)
        return err_set(e, STATUS_ARG,
                       "%s: codes %lld to %lld are no grid (%d bits%s%s)",
                       k->name, (long long)lo, (long long)hi, s->bits,
                       s->narrow ? ", narrow" : "",
                       s->reduce_range ? ", reduced" : "");
    if (lo < -((int64_t)1 << 31) || hi > ((int64_t)1 << 32) - 1)
        return err_set(e, STATUS_ARG, "%s: codes %lld to %lld need more "
                       "than 32 bits", k->name, (long long)lo,
                       (long long)hi);
    return STATUS_OK;
}

enum status qspec_check(const struct qspec *s, struct err *e)
{
    TRY(check_codes(s, e));
    if (s->grain == GRAIN_GROUP && s->group < 1)
        return err_set(e, STATUS_ARG, "group size %d, not at least 1",
                       s->group);
    if (s->float_zp && !s->zp_before)
        return err_set(e, STATUS_ARG, "a real zero point is added before "
                       "rounding: zp=float");
    if (s->rule->real_zero && !s->float_zp)
        return err_set(e, STATUS_ARG, "rule=%s gives real zero points: "
                       "zp=float,asym", s->rule->name);
    if (!(s->eps > 0) || !isfinite(s->eps))
        return err_set(e, STATUS_ARG, "eps is %g, not above 0", s->eps);
    if (!(s->noise >= 0 && s->noise <= 1))
        return err_set(e, STATUS_ARG, "noise is %g, not from 0 to 1",
                       s->noise);
    if (s->delay < 0)
        return err_set(e, STATUS_ARG, "delay is %lld, not at least 0",
                       (long long)s->delay);
    TRY(check_rows(s->kind->name, s->kind->param, s->param, e));
    TRY(check_rows(s->observer->name, s->observer->param,
                   s->observer_param, e));
    return s->kind->check ? s->kind->check(s, e) : STATUS_OK;
}

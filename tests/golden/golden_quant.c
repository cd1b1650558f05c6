/* What the quantizer suites share.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "golden/golden_quant.h"

#include <stdio.h>
#include <string.h>

void golden_by_kind(struct golden_case *c, const char *field,
                    const struct golden_kind *kinds)
{
    const char *kind = golden_text(c, field, "");

    for (; kinds->name; kinds++)
        if (!strcmp(kinds->name, kind)) {
            kinds->run(c);
            return;
        }
    golden_fail(c, "unknown %s '%s'", field, kind);
}

void golden_spec(const struct golden_case *c, struct qspec *s)
{
    int64_t lo, hi;
    long long qmin = golden_int(c, "qmin", 0);
    long long qmax = golden_int(c, "qmax", 0);

    qspec_default(s);
    s->bits = (int)golden_int(c, "bits", 8);
    s->is_signed = golden_bool(c, "signed", qmin < 0);
    s->narrow = golden_bool(c, "narrow", false);
    s->reduce_range = golden_bool(c, "reduce_range", false);
    s->eps = golden_real(c, "eps", 0x1p-23);
    qspec_codes(s, &lo, &hi);
    if (qmin < qmax && (lo != qmin || hi != qmax)) {
        s->custom_codes = true;
        s->reduce_range = false;
        s->lo_code = qmin;
        s->hi_code = qmax;
    }
}

/* torch's observer classes by what they do. */
static const char *observer_of(const char *name)
{
    if (strstr(name, "Histogram"))
        return "histogram";
    return strstr(name, "MovingAverage") ? "ema" : "minmax";
}

static void set_observer(struct qspec *s, const char *name, double c)
{
    s->observer = observer_kind_find(observer_of(name));
    for (int i = 0; s->observer->param && s->observer->param[i].name; i++)
        s->observer_param[i] = s->observer->param[i].def;
    if (strstr(name, "MovingAverage"))
        s->observer_param[0] = c;
}

void golden_torch_spec(const struct golden_case *c, struct qspec *s)
{
    const char *scheme = golden_text(c, "qscheme", "");
    const char *dtype = golden_text(c, "dtype", "");
    bool given = golden_field(c, "quant_min_arg") ||
                 golden_bool(c, "custom_range", false);

    golden_spec(c, s);
    if (*dtype)
        s->is_signed = !strcmp(dtype, "qint8");
    if (given) {
        s->custom_codes = true;
        s->reduce_range = false;
        s->lo_code = golden_int(c, "qmin", 0);
        s->hi_code = golden_int(c, "qmax", 0);
    }
    s->symmetric = strstr(scheme, "symmetric") != NULL;
    s->grain = strncmp(scheme, "per_channel", 11) ? GRAIN_TENSOR
                                                  : GRAIN_CHANNEL;
    if (strstr(scheme, "float_qparams")) {
        s->rule = qparams_find("float");
        s->float_zp = true;
        s->zp_before = true;
    }
    if (golden_field(c, "observer"))
        set_observer(s, golden_text(c, "observer", ""),
                     golden_real(c, "averaging_constant", 0.01));
}

static void free_quantizer(void *p)
{
    quantizer_free(p);
}

static struct qview view_of(const struct golden_case *c,
                            const struct quantizer *q,
                            const struct tensor *t)
{
    return quantizer_view(q, &t->shape, (int)golden_int(c, "axis", 0));
}

struct quantizer *golden_quantizer(struct golden_case *c,
                                   const struct qspec *s, const char *key)
{
    const struct tensor *t = golden_array(c, "%s", key);
    struct quantizer plan = {.spec = *s}, *q;
    struct err e;

    if (!t)
        return NULL;
    if (!golden_ok(c, quantizer_new(s, view_of(c, &plan, t).channels, &q,
                                    &e), &e, "quantizer"))
        return NULL;
    golden_own(c, q, free_quantizer);
    return q;
}

struct qview golden_view(struct golden_case *c, const struct quantizer *q,
                         const char *key)
{
    const struct tensor *t = golden_array(c, "%s", key);
    struct qview none = {0, 0, 0};

    return t ? view_of(c, q, t) : none;
}

void golden_equal_at(struct golden_case *c, const char *key,
                     long long batch, const real *found, int64_t n)
{
    char name[64];

    snprintf(name, sizeof name, "%s%lld", key, batch);
    golden_equal(c, name, found, n);
}

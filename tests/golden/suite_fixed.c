/* Suite fixed-ap: HLS fixed-point types, every raw value equal.
 *
 * from_double and cast run through the rule; types that a quantizer takes
 * also run as one, on the numbers rounded to float32. The other kinds are
 * arithmetic of types, which nothing here has yet.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "golden/golden_quant.h"
#include "golden/golden_run.h"

#include <stdio.h>
#include <string.h>

#include "quant/fixed.h"

static int index_of(struct golden_case *c, const char *name,
                    const char *const names[], int n)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(names[i], name))
            return i;
    golden_fail(c, "unknown mode '%s'", name);
    return 0;
}

static struct fixed_type type_of(struct golden_case *c, const char *field)
{
    const json_t *t = golden_field(c, field);
    const char *q = json_string_value(json_object_get(t, "Q"));
    const char *o = json_string_value(json_object_get(t, "O"));

    return (struct fixed_type){
        .width = (int)json_integer_value(json_object_get(t, "W")),
        .integer = (int)json_integer_value(json_object_get(t, "I")),
        .is_signed = json_is_true(json_object_get(t, "signed")),
        .rounding = (enum fixed_rounding)index_of(
            c, q ? q : "", fixed_rounding_name, FIXED_ROUNDINGS),
        .overflow = (enum fixed_overflow)index_of(
            c, o ? o : "", fixed_overflow_name, FIXED_OVERFLOWS),
        .saturated = (int)json_integer_value(json_object_get(t, "N")),
    };
}

static void free_quantizer(void *p)
{
    quantizer_free(p);
}

/* The type as a quantizer, by its text. */
static struct quantizer *quantizer_of(struct golden_case *c,
                                      const struct fixed_type *t)
{
    char text[96];
    struct quantizer *q = NULL;
    struct qspec s;
    struct str again = {0};
    struct err e;

    snprintf(text, sizeof text, "%sfixed<%d,%d,%s,%s,%d>",
             t->is_signed ? "" : "u", t->width, t->integer,
             fixed_rounding_name[t->rounding],
             fixed_overflow_name[t->overflow], t->saturated);
    if (!golden_ok(c, qspec_parse(text, NULL, &s, &e), &e, text))
        return NULL;
    qspec_print(&s, &again);
    if (strcmp(str_text(&again), text))
        golden_fail(c, "%s is printed as %s", text, str_text(&again));
    str_fini(&again);
    if (!golden_ok(c, quantizer_new(&s, 1, &q, &e), &e, text))
        return NULL;
    golden_own(c, q, free_quantizer);
    return q;
}

/* A grid of one code is no quantizer. */
static bool is_quantizer(const struct fixed_type *t)
{
    int64_t lo, hi;

    fixed_span(t, &lo, &hi);
    return t->width <= FIXED_KIND_BITS && hi > lo;
}

static void check_quantizer(struct golden_case *c, const struct fixed_type *t,
                            const double *x, int64_t n)
{
    struct quantizer *q = quantizer_of(c, t);
    const double *wanted = golden_doubles(c, "raw_f32", NULL);
    real *in = golden_alloc(c, (size_t)n, sizeof *in);
    real *y = golden_alloc(c, (size_t)n, sizeof *y);
    int32_t *code = golden_alloc(c, (size_t)n, sizeof *code);
    struct qview v = {1, 1, n};

    if (!q || !wanted)
        return;
    for (int64_t i = 0; i < n; i++)
        in[i] = (real)x[i];
    quantizer_forward(q, in, y, v, false);
    q->spec.kind->codes(q, in, code, v);
    golden_equal_ints(c, "raw_f32", code, n);
    for (int64_t i = 0; i < n; i++)
        golden_number(c, "value", (double)y[i] / (double)q->scale[0],
                      wanted[i], 0);
}

/* x, or with `from` raw values of that type, as raw values of t. */
static bool check_raw(struct golden_case *c, const struct fixed_type *from,
                      const struct fixed_type *t, const double **x,
                      int64_t *n)
{
    struct err e;
    double *raw;

    *x = golden_doubles(c, "x", n);
    raw = golden_alloc(c, (size_t)*n, sizeof *raw);
    if (!*x || !golden_ok(c, fixed_check(t, &e), &e, "type"))
        return false;
    for (int64_t i = 0; i < *n; i++)
        raw[i] = (double)(from ? fixed_cast(from, (int64_t)(*x)[i], t)
                               : fixed_from_double(t, (*x)[i]));
    golden_equal_doubles(c, "raw", raw, *n);
    return true;
}

static void run_from_double(struct golden_case *c)
{
    struct fixed_type t = type_of(c, "type");
    const double *x;
    int64_t n;

    if (check_raw(c, NULL, &t, &x, &n) && is_quantizer(&t))
        check_quantizer(c, &t, x, n);
}

static void run_cast(struct golden_case *c)
{
    struct fixed_type from = type_of(c, "from"), t = type_of(c, "type");
    const double *x;
    int64_t n;

    check_raw(c, &from, &t, &x, &n);
}

void golden_fixed(struct golden_case *c)
{
    static const struct golden_kind kinds[] = {
        {"from_double", run_from_double},
        {"cast", run_cast},
        {"binop", golden_skip},
        {"divint", golden_skip},
        {"shift", golden_skip},
        {0},
    };

    golden_by_kind(c, "kind", kinds);
}

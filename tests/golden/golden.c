/* Cases of golden suites: fields, arrays, comparisons.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "golden/golden.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden/golden_run.h"

struct owned {
    struct owned *next;
    void *p;
    void (*free_fn)(void *p);
};

const json_t *golden_field(const struct golden_case *c, const char *path)
{
    const json_t *at = c->json;

    while (at && *path) {
        char key[64];
        size_t n = strcspn(path, ".");

        snprintf(key, sizeof key, "%.*s", (int)n, path);
        at = json_object_get(at, key);
        path += n + (path[n] == '.');
    }
    return at;
}

long long golden_int(const struct golden_case *c, const char *path,
                     long long def)
{
    const json_t *v = golden_field(c, path);

    return v && json_is_integer(v) ? json_integer_value(v) : def;
}

double golden_real(const struct golden_case *c, const char *path, double def)
{
    const json_t *v = golden_field(c, path);

    if (v && json_is_number(v))
        return json_number_value(v);
    return v && json_is_string(v) ? strtod(json_string_value(v), NULL) : def;
}

bool golden_bool(const struct golden_case *c, const char *path, bool def)
{
    const json_t *v = golden_field(c, path);

    return v && json_is_boolean(v) ? json_is_true(v) : def;
}

const char *golden_text(const struct golden_case *c, const char *path,
                        const char *def)
{
    const json_t *v = golden_field(c, path);

    return v && json_is_string(v) ? json_string_value(v) : def;
}

static const struct tensor *find(const struct golden_case *c,
                                 const char *key)
{
    char name[512];

    snprintf(name, sizeof name, "%s.%s", c->name, key);
    return golden_lookup(c->run, name);
}

const struct tensor *golden_find(const struct golden_case *c,
                                 const char *key, ...)
{
    char text[256];
    va_list ap;

    va_start(ap, key);
    vsnprintf(text, sizeof text, key, ap);
    va_end(ap);
    return find(c, text);
}

static const struct tensor *need(struct golden_case *c, const char *key)
{
    const struct tensor *t = find(c, key);

    if (!t)
        golden_fail(c, "array %s is missing", key);
    return t;
}

const struct tensor *golden_array(struct golden_case *c, const char *key,
                                  ...)
{
    char text[256];
    va_list ap;

    va_start(ap, key);
    vsnprintf(text, sizeof text, key, ap);
    va_end(ap);
    return need(c, text);
}

const real *golden_reals(struct golden_case *c, const char *key,
                         int64_t *count)
{
    const struct tensor *t = need(c, key);
    int64_t n = t ? shape_count(&t->shape) : 0;
    real *v;

    if (count)
        *count = n;
    if (!t)
        return NULL;
    v = golden_alloc(c, (size_t)n + 1, sizeof *v);
    for (int64_t i = 0; i < n; i++)
        v[i] = (real)tensor_get(t, i);
    return v;
}

double *golden_doubles(struct golden_case *c, const char *key,
                       int64_t *count)
{
    const struct tensor *t = need(c, key);
    int64_t n = t ? shape_count(&t->shape) : 0;
    double *v;

    if (count)
        *count = n;
    if (!t)
        return NULL;
    v = golden_alloc(c, (size_t)n + 1, sizeof *v);
    for (int64_t i = 0; i < n; i++)
        v[i] = tensor_get(t, i);
    return v;
}

void golden_own(struct golden_case *c, void *p, void (*free_fn)(void *p))
{
    struct owned *o = malloc(sizeof *o);

    if (!o) {
        fprintf(stderr, "golden-run: out of memory\n");
        exit(1);
    }
    *o = (struct owned){c->owned, p, free_fn};
    c->owned = o;
}

void *golden_alloc(struct golden_case *c, size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size);

    if (!p) {
        fprintf(stderr, "golden-run: out of memory\n");
        exit(1);
    }
    golden_own(c, p, free);
    return p;
}

void golden_case_end(struct golden_case *c)
{
    while (c->owned) {
        struct owned *o = c->owned;

        c->owned = o->next;
        o->free_fn(o->p);
        free(o);
    }
}

/* A case that is wrong everywhere need not print everything. */
#define LINES_MAX 12

ERR_FORMAT(2, 0)
static void print_line(const struct golden_case *c, const char *fmt,
                       va_list ap)
{
    printf("%s %s: ", c->suite, c->name);
    vprintf(fmt, ap);
    putchar('\n');
}

void golden_fail(struct golden_case *c, const char *fmt, ...)
{
    va_list ap;

    if (c->differences++ >= LINES_MAX || c->quiet)
        return;
    va_start(ap, fmt);
    print_line(c, fmt, ap);
    va_end(ap);
}

void golden_note(const struct golden_case *c, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    print_line(c, fmt, ap);
    va_end(ap);
}

bool golden_ok(struct golden_case *c, enum status st, const struct err *e,
               const char *what)
{
    if (st == STATUS_OK)
        return true;
    golden_fail(c, "%s: %s", what, e->text);
    return false;
}

/* How two numbers are compared; tolerance < 0: equal. */
struct rule {
    double abs, rel;
    const double *each;       /* absolute tolerance of every element */
};

static double tolerance_at(const struct rule *r, int64_t i, double wanted)
{
    return r->each ? r->each[i] : r->abs + r->rel * fabs(wanted);
}

static bool agrees(const struct rule *r, int64_t i, double found,
                   double wanted)
{
    if (isnan(found) || isnan(wanted))
        return isnan(found) && isnan(wanted);
    return found == wanted ||
           fabs(found - wanted) <= tolerance_at(r, i, wanted);
}

/* found(ctx, i) against the array. */
static void compare(struct golden_case *c, const char *key,
                    double (*found)(const void *ctx, int64_t i),
                    const void *ctx, int64_t n, const struct rule *r)
{
    const struct tensor *t = need(c, key);
    int64_t bad = 0, first = 0, total;

    if (!t)
        return;
    total = shape_count(&t->shape);
    if (total != n) {
        golden_fail(c, "%s: found %lld values, wanted %lld", key,
                    (long long)n, (long long)total);
        return;
    }
    for (int64_t i = n - 1; i >= 0; i--)
        if (!agrees(r, i, found(ctx, i), tensor_get(t, i))) {
            bad++;
            first = i;
        }
    if (bad)
        golden_fail(c, "%s[%lld]: found %.9g, wanted %.9g (tolerance %.3g; "
                    "%lld of %lld differ)", key, (long long)first,
                    found(ctx, first), tensor_get(t, first),
                    tolerance_at(r, first, tensor_get(t, first)),
                    (long long)bad, (long long)n);
}

static double real_at(const void *ctx, int64_t i)
{
    return (double)((const real *)ctx)[i];
}

static double double_at(const void *ctx, int64_t i)
{
    return ((const double *)ctx)[i];
}

static double int_at(const void *ctx, int64_t i)
{
    return ((const int32_t *)ctx)[i];
}

void golden_equal(struct golden_case *c, const char *key, const real *found,
                  int64_t n)
{
    int64_t count;
    const double *wanted = golden_doubles(c, key, &count);
    double *tolerance = golden_alloc(c, (size_t)count, sizeof *tolerance);

    for (int64_t i = 0; i < count; i++)
        tolerance[i] = isfinite(wanted[i])
                           ? fabs((double)(real)wanted[i] - wanted[i])
                           : 0;
    if (wanted)
        compare(c, key, real_at, found, n,
                &(struct rule){0, 0, tolerance});
}

void golden_equal_doubles(struct golden_case *c, const char *key,
                          const double *found, int64_t n)
{
    compare(c, key, double_at, found, n, &(struct rule){0, 0, NULL});
}

void golden_equal_ints(struct golden_case *c, const char *key,
                       const int32_t *found, int64_t n)
{
    compare(c, key, int_at, found, n, &(struct rule){0, 0, NULL});
}

void golden_near(struct golden_case *c, const char *key, const real *found,
                 int64_t n, double abs, double rel)
{
    compare(c, key, real_at, found, n, &(struct rule){abs, rel, NULL});
}

void golden_within(struct golden_case *c, const char *key,
                   const double *found, const double *tolerance, int64_t n)
{
    compare(c, key, double_at, found, n,
            &(struct rule){0, 0, tolerance});
}

void golden_number(struct golden_case *c, const char *what, double found,
                   double wanted, double tolerance)
{
    struct rule r = {tolerance, 0, NULL};

    if (!agrees(&r, 0, found, wanted))
        golden_fail(c, "%s: found %.9g, wanted %.9g (tolerance %.3g)", what,
                    found, wanted, tolerance);
}

/* The runner of golden suites: what a suite file needs.
 *
 * A suite is a folder with cases.json and .npz files; case C's array A is
 * named "C.A". A suite file has one function that runs one case: it reads
 * arrays, computes, and reports every difference through golden_fail or the
 * comparisons below. What it takes by golden_alloc or golden_own lives until
 * the case ends. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GOLDEN_GOLDEN_H
#define GOLDEN_GOLDEN_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "tensor/bag.h"

struct golden;

struct golden_case {
    struct golden *run;
    const char *suite, *name;
    const char *dir;          /* of the suite, for further files */
    const json_t *json;
    int differences;          /* 0: passed */
    bool quiet;               /* differences are counted, not printed */
    struct owned *owned;
};

struct golden_suite {
    const char *name;
    void (*run)(struct golden_case *c);
    const char *later;        /* why it is not run here, or NULL */
};
extern const struct golden_suite golden_suites[];
extern const int golden_suite_count;

/* Fields of the case; dotted paths ("config.bits") go into objects. A field
 * that is missing or of another type gives the default. */
const json_t *golden_field(const struct golden_case *c, const char *path);
long long golden_int(const struct golden_case *c, const char *path,
                     long long def);
/* Also reads the strings "nan", "inf", "-inf". */
double golden_real(const struct golden_case *c, const char *path,
                   double def);
bool golden_bool(const struct golden_case *c, const char *path, bool def);
const char *golden_text(const struct golden_case *c, const char *path,
                        const char *def);

/* "CASE.key", key made like printf. golden_array: a missing array is a
 * difference; golden_find: NULL. */
const struct tensor *golden_find(const struct golden_case *c,
                                 const char *key, ...) ERR_FORMAT(2, 3);
const struct tensor *golden_array(struct golden_case *c, const char *key,
                                  ...) ERR_FORMAT(2, 3);
/* As real numbers of this build; count may be NULL. NULL when missing. */
const real *golden_reals(struct golden_case *c, const char *key,
                         int64_t *count);
double *golden_doubles(struct golden_case *c, const char *key,
                       int64_t *count);

/* Zeroed memory until the case ends; never NULL. */
void *golden_alloc(struct golden_case *c, size_t count, size_t size);
/* Calls free_fn(p) when the case ends. */
void golden_own(struct golden_case *c, void *p, void (*free_fn)(void *p));

/* One difference: printed with suite and case in front. */
void golden_fail(struct golden_case *c, const char *fmt, ...)
    ERR_FORMAT(2, 3);
/* A line about a case that passes. */
void golden_note(const struct golden_case *c, const char *fmt, ...)
    ERR_FORMAT(2, 3);
/* A status that is not OK is a difference; returns whether it was OK. */
bool golden_ok(struct golden_case *c, enum status st, const struct err *e,
               const char *what);

/* Found values against array `key`: the first difference is printed with
 * index, both values and how many differ. Equal: by ==, NaN equal to NaN;
 * golden_equal after rounding what is wanted to this build's reals. */
void golden_equal(struct golden_case *c, const char *key, const real *found,
                  int64_t n);
void golden_equal_doubles(struct golden_case *c, const char *key,
                          const double *found, int64_t n);
void golden_equal_ints(struct golden_case *c, const char *key,
                       const int32_t *found, int64_t n);
/* |found - wanted| <= abs + rel * |wanted|. */
void golden_near(struct golden_case *c, const char *key, const real *found,
                 int64_t n, double abs, double rel);
/* |found - wanted| <= tolerance[i]. */
void golden_within(struct golden_case *c, const char *key,
                   const double *found, const double *tolerance, int64_t n);
/* One number that is no array. */
void golden_number(struct golden_case *c, const char *what, double found,
                   double wanted, double tolerance);

void golden_quant_torch(struct golden_case *c);
void golden_observers_torch(struct golden_case *c);
void golden_quant_torchao(struct golden_case *c);
void golden_train_float(struct golden_case *c);
void golden_train_qat(struct golden_case *c);
void golden_convert(struct golden_case *c);     /* its integer nets */
void golden_quant_papers(struct golden_case *c);
void golden_quant_qkeras(struct golden_case *c);
void golden_quant_brevitas(struct golden_case *c);
void golden_quant_aimet(struct golden_case *c);
void golden_aimet_sim(struct golden_case *c);     /* its kind quantsim */

#endif

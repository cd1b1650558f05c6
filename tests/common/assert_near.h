/* Comparing arrays of numbers within a tolerance.
 *
 * An element is near when |got - want| <= abs + rel * |want|. As in
 * gsl_test_rel a NaN is near a NaN only and an infinity near the same infinity
 * only. The message has the first bad index, both values and where the
 * largest error lies. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef COMMON_ASSERT_NEAR_H
#define COMMON_ASSERT_NEAR_H

#include <stdbool.h>
#include <stddef.h>

#include "tensor/tensor.h"

struct near {
    bool ok;
    int64_t first_bad, bad, worst;   /* index, how many, index */
    double worst_error;              /* absolute */
    char text[256];                  /* "" when ok */
};

/* Shapes and values; types may differ. For runners that go on after a
 * difference; tests use the assertions below. */
struct near near_compare(const struct tensor *got, const struct tensor *want,
                         double rel, double abs);

void assert_tensor_near_at(const struct tensor *got,
                           const struct tensor *want, double rel, double abs,
                           const char *file, int line);
void assert_array_near_at(struct tensor got, struct tensor want,
                          double tolerance[2], const char *file, int line);

#define assert_tensor_near(got, want, rel, abs) \
    assert_tensor_near_at((got), (want), (rel), (abs), __FILE__, __LINE__)

/* Arrays of n floats, doubles or reals. */
#define NEAR_VIEW_(type, p, n) \
    tensor_view((type), &(struct shape){ 1, { (int64_t)(n) } }, \
                near_drop_const(p))
#define assert_floats_near(got, want, n, rel, abs)                        \
    assert_array_near_at(NEAR_VIEW_(DTYPE_F32, got, n),                   \
                         NEAR_VIEW_(DTYPE_F32, want, n),                  \
                         (double[2]){ (rel), (abs) }, __FILE__, __LINE__)
#define assert_doubles_near(got, want, n, rel, abs)                       \
    assert_array_near_at(NEAR_VIEW_(DTYPE_F64, got, n),                   \
                         NEAR_VIEW_(DTYPE_F64, want, n),                  \
                         (double[2]){ (rel), (abs) }, __FILE__, __LINE__)
#define assert_reals_near(got, want, n, rel, abs)                         \
    assert_array_near_at(NEAR_VIEW_(DTYPE_REAL, got, n),                  \
                         NEAR_VIEW_(DTYPE_REAL, want, n),                 \
                         (double[2]){ (rel), (abs) }, __FILE__, __LINE__)

/* One number each. */
void assert_near_at(double got, double want, double rel, double abs,
                    const char *file, int line);
#define assert_near(got, want, rel, abs) \
    assert_near_at((got), (want), (rel), (abs), __FILE__, __LINE__)

void *near_drop_const(const void *p);

#endif

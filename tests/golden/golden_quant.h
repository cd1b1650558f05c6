/* What the quantizer suites share: specs from cases, views, kinds of cases.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GOLDEN_GOLDEN_QUANT_H
#define GOLDEN_GOLDEN_QUANT_H

#include "golden/golden.h"
#include "quant/observer.h"
#include "quant/quantizer.h"

struct golden_kind {
    const char *name;
    void (*run)(struct golden_case *c);
};
/* Runs the function of the case's kind (text in `field`); an unknown kind is
 * a difference. The table ends with a NULL name. */
void golden_by_kind(struct golden_case *c, const char *field,
                    const struct golden_kind *kinds);

/* bits, signed, narrow, reduce_range, qmin, qmax, eps of a case. Where the
 * first four do not give qmin..qmax the codes are custom. */
void golden_spec(const struct golden_case *c, struct qspec *s);
/* The same from torch's words: dtype, qscheme, observer. */
void golden_torch_spec(const struct golden_case *c, struct qspec *s);

/* A quantizer for the array `key`; axis: the case's `axis`, or 0. Freed when
 * the case ends; NULL after a difference. */
struct quantizer *golden_quantizer(struct golden_case *c,
                                   const struct qspec *s, const char *key);
struct qview golden_view(struct golden_case *c, const struct quantizer *q,
                         const char *key);
/* golden_equal of the array named key and batch number. */
void golden_equal_at(struct golden_case *c, const char *key,
                     long long batch, const real *found, int64_t n);

void golden_fixed(struct golden_case *c);        /* suite fixed-ap */

#endif

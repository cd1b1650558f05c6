/* Helpers of the observers: scans of views.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef QUANT_OBSERVE_H
#define QUANT_OBSERVE_H

#include <math.h>

#include "quant/kernel.h"
#include "quant/observer.h"

/* Smallest and largest value per channel. STATUS_NUMERIC with counts when x
 * holds NaN or infinity (lo and hi are then not to be used). */
enum status scan_minmax(const real *x, struct qview v, real *lo, real *hi,
                        struct err *e);

/* Observer state: rows of one real per channel. */
static inline real *observer_row(const struct observer *o, int row)
{
    return o->state + row * o->channels;
}

/* Empty running range: lo above hi in rows 0 and 1. */
void observer_clear_range(struct observer *o);
bool observer_read_range(const struct observer *o, real *lo, real *hi);
void observer_describe_range(const struct observer *o,
                             const struct qspec *s, struct str *out);

#endif

/* Quantizers as contents: what a value that went through one depends on.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef QUANT_FINGERPRINT_H
#define QUANT_FINGERPRINT_H

#include "base/hash128.h"
#include "quant/quantizer.h"

/* Equal specs add the same; so kinds, rules and observers must be the tables'
 * own rows. */
void qspec_fingerprint(const struct qspec *s, struct hash128 *h);
/* What quantizer_forward outside training reads besides spec and values:
 * flags F and L, range and grid, learned parameters; and what the observer
 * knows where the forward pass is still to find the range. */
void quantizer_fingerprint(const struct quantizer *q, struct hash128 *h);
/* Evaluation may draw from a random stream: equal values need not follow. */
bool quantizer_may_draw(const struct quantizer *q);

#endif

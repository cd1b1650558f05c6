/* Quantizer strings in tests: what they mean, how they are printed, why they
 * are refused. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef COMMON_QSPEC_STRINGS_H
#define COMMON_QSPEC_STRINGS_H

#include "quant/qspec.h"

struct qspec qspec_parsed(const char *text);
/* text is printed as `printed`, which means the same. */
void assert_printed(const char *text, const char *printed);
/* Refused as an argument, in words that have `part`; the spec stays. */
void assert_refused(const char *text, const char *part);

#endif

/* How numbers are written: 4 significant digits, percents, counts with SI
 * suffixes. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LAB_NUM_H
#define LAB_NUM_H

#include <stdint.h>

#include "base/str.h"

struct num {                  /* a number as text, to be used at once */
    char s[32];
};

struct num num_text(double v);           /* 0.1412, 12.3, 2e-05, nan */
struct num num_percent(double v);        /* 95.60% */
struct num num_count(double v);          /* 950, 61.7K, 12.5M */
struct num num_bytes(double v);          /* 950 B, 61.7 KB */
struct num num_seconds(double v);        /* 12.3s, 4:05, 1:02:33 */
void num_add(struct str *out, double v);
/* Shortest decimal that reads back as the same double. */
struct num num_exact(double v);

#endif

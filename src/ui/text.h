/* Numbers as the panes write them.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UI_TEXT_H
#define UI_TEXT_H

#include "base/columns.h"

#define NUMBER_TEXT 24

/* At most four significant digits, no
 * leading zero, "nan" and "inf" as such. Each returns `out`. */
char *text_fraction(char out[NUMBER_TEXT], double v);   /* .9412 1.000 */
char *text_number(char out[NUMBER_TEXT], double v);     /* .062 2.1e-3 41.7 */
char *text_short(char out[NUMBER_TEXT], double v);      /* three digits */
char *text_count(char out[NUMBER_TEXT], double v);      /* 960 1.2k 3.4M */
char *text_time(char out[NUMBER_TEXT], double seconds); /* 0:41 1:02:03 */

/* Bytes of the first row when s is broken into rows of `columns`, at a blank
 * when there is one in the row's second half; at least one character. */
size_t text_row(const char *s, int columns);
int text_rows(const char *s, int columns);

#endif

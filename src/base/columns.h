/* UTF-8 text as columns of a terminal.
 *
 * A unit is what one cursor step moves over: a character with the combining
 * marks that follow it, a control character shown as ^X, or a byte that is
 * not UTF-8 shown as \xHH. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_COLUMNS_H
#define BASE_COLUMNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UNIT_CHARS 4

struct unit {
    uint32_t ch[UNIT_CHARS];
    int n;                    /* characters in ch */
    int width;                /* columns: 1 or 2; for spelled ones n */
    int bytes;                /* of the text */
    bool spelled;             /* each ch is a column of its own: ^X, \xHH */
};

/* The unit at s of n bytes; false at the end. */
bool unit_at(const char *s, size_t n, struct unit *out);
int text_width(const char *s);
int text_width_n(const char *s, size_t n);
/* Bytes of the longest start of s that fits in `columns`. */
size_t text_fit(const char *s, int columns);
/* Writes c as UTF-8 to out (5 bytes) with a NUL, returns the length. */
int utf8_put(uint32_t c, char out[5]);
/* Length of the UTF-8 character that starts with byte b; 1 for stray ones. */
int utf8_length(unsigned char b);

#endif

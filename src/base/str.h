/* Growing strings, names and patterns.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* A growing, always NUL-terminated string. Zero-initialised is valid and
 * empty. When memory runs out the text stays as it was and `failed` is set. */
struct str {
    char *text;
    size_t len, cap;
    bool failed;
};

void str_fini(struct str *s);
void str_clear(struct str *s);
void str_add(struct str *s, const char *text);
void str_add_n(struct str *s, const char *text, size_t n);
void str_char(struct str *s, char c);
void str_printf(struct str *s, const char *fmt, ...) ERR_FORMAT(2, 3);
const char *str_text(const struct str *s);   /* "" when empty, never NULL */
char *str_take(struct str *s);               /* malloc'ed; s becomes empty */

/* `*` any run, also over dots; `?` one character; nothing else is special. */
bool glob_match(const char *pattern, const char *name);
bool glob_has_wildcard(const char *s);

/* Damerau-Levenshtein distance, capped at cap + 1. */
int str_distance(const char *a, const char *b, int cap);

/* The name (of n, read through get(ctx, i)) nearest to `word` within
 * distance 2, or NULL: for "did you mean". */
const char *str_nearest(const char *word, int n,
                        const char *(*get)(const void *ctx, int i),
                        const void *ctx);

/* Whole-string conversions: STATUS_ARG with "'x' is not a number" otherwise.
 * Locale-independent: the decimal point is always '.'. Accepts nan, inf. */
enum status str_to_double(const char *s, double *out, struct err *e);
enum status str_to_int(const char *s, long long *out, struct err *e);

/* Copies s with control characters, invalid UTF-8 and terminal escapes made
 * visible (\xHH), for names that come from files. */
void str_add_clean(struct str *out, const char *s);

#endif

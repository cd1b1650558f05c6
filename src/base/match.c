/* Name patterns and the nearest known name to a misspelt one.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "base/str.h"

/* Longest name that is compared letter by letter; longer ones differ. */
#define DISTANCE_MAX 127

bool glob_match(const char *pattern, const char *name)
{
    const char *star = NULL;     /* last `*` seen, and what it had eaten to */
    const char *retry = NULL;

    while (*name) {
        if (*pattern == '*') {
            star = pattern++;
            retry = name;
        } else if (*pattern == '?' || *pattern == *name) {
            pattern++;
            name++;
        } else if (star) {
            pattern = star + 1;
            name = ++retry;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

bool glob_has_wildcard(const char *s)
{
    return strpbrk(s, "*?") != NULL;
}

static int min3(int a, int b, int c)
{
    int m = a < b ? a : b;
    return m < c ? m : c;
}

/* Optimal string alignment: insertions, deletions, substitutions and swaps
 * of neighbours count 1 each; rows i-2, i-1 and i of the table are kept. */
int str_distance(const char *a, const char *b, int cap)
{
    size_t na = strlen(a), nb = strlen(b);
    size_t gap = na > nb ? na - nb : nb - na;
    if (gap > (size_t)cap || nb > DISTANCE_MAX)
        return strcmp(a, b) == 0 ? 0 : cap + 1;
    int rows[3][DISTANCE_MAX + 1];
    for (size_t j = 0; j <= nb; j++)
        rows[0][j] = (int)j;
    for (size_t i = 1; i <= na; i++) {
        int *now = rows[i % 3];
        const int *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        int least = now[0] = (int)i;
        for (size_t j = 1; j <= nb; j++) {
            now[j] = min3(last[j] + 1, now[j - 1] + 1,
                          last[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
                a[i - 2] == b[j - 1] && before[j - 2] + 1 < now[j])
                now[j] = before[j - 2] + 1;
            least = now[j] < least ? now[j] : least;
        }
        /* A swap can still fall back to the row before: one row of grace. */
        if (least > cap + 1)
            return cap + 1;
    }
    int d = rows[na % 3][nb];
    return d > cap ? cap + 1 : d;
}

const char *str_nearest(const char *word, int n,
                        const char *(*get)(const void *ctx, int i),
                        const void *ctx)
{
    /* Half the letters may be wrong, two at most. */
    size_t n_word = strlen(word);
    int cap = n_word >= 4 ? 2 : (int)(n_word / 2);
    const char *best = NULL;

    for (int i = 0; i < n && cap >= 0; i++) {
        const char *name = get(ctx, i);
        int d = name ? str_distance(word, name, cap) : cap + 1;
        if (d <= cap) {
            best = name;
            cap = d - 1;
        }
    }
    return best;
}

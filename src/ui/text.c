/* Numbers for people.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ui/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

size_t text_row(const char *s, int columns)
{
    size_t n = text_fit(s, columns);
    if (!s[n])
        return n;
    if (n == 0) {             /* not even one fits: it goes alone */
        struct unit u;
        unit_at(s, strlen(s), &u);
        return (size_t)u.bytes;
    }
    for (size_t cut = n; cut > n / 2; cut--) {
        if (s[cut - 1] == ' ')
            return cut;
    }
    return n;
}

int text_rows(const char *s, int columns)
{
    int rows = 1;
    for (;;) {
        size_t n = text_row(s, columns);
        if (!s[n])
            return rows;
        s += n;
        rows++;
    }
}

/* True when v was written because it is not finite. */
static bool put_special(char out[NUMBER_TEXT], double v)
{
    if (isfinite(v))
        return false;
    snprintf(out, NUMBER_TEXT, "%s",
             isnan(v) ? "nan" : v > 0 ? "inf" : "-inf");
    return true;
}

static char *drop_leading_zero(char *s)
{
    char *zero = s + (*s == '-');
    if (zero[0] == '0' && zero[1] == '.')
        memmove(zero, zero + 1, strlen(zero));
    return s;
}

char *text_fraction(char out[NUMBER_TEXT], double v)
{
    if (put_special(out, v))
        return out;
    if (fabs(v) < 0.00005)
        v = 0;
    snprintf(out, NUMBER_TEXT, fabs(v) < 0.99995 ? "%.4f" : "%.3f", v);
    return drop_leading_zero(out);
}

/* "2.10e-03" -> "2.1e-3" */
static void tidy_exponent(char *s)
{
    char *e = strchr(s, 'e');
    char *from = e + 1, *to = e;
    while (to[-1] == '0')
        to--;
    if (to[-1] == '.')
        to--;
    *to++ = 'e';
    if (*from == '-')
        *to++ = '-';
    from++;
    while (*from == '0' && from[1])
        from++;
    memmove(to, from, strlen(from) + 1);
}

static char *significant(char out[NUMBER_TEXT], double v, int digits)
{
    if (put_special(out, v))
        return out;
    double a = fabs(v);
    if (a != 0 && (a < 0.01 || a >= 99999.5)) {
        snprintf(out, NUMBER_TEXT, "%.*e", digits > 3 ? 2 : 1, v);
        tidy_exponent(out);
        return out;
    }
    int whole = a >= 1000 ? 4 : a >= 100 ? 3 : a >= 10 ? 2 : 1;
    int places = digits - whole < 3 ? digits - whole : 3;
    snprintf(out, NUMBER_TEXT, "%.*f", places > 0 ? places : 0, v);
    if (strchr(out, '.')) {
        char *end = out + strlen(out);
        while (end[-1] == '0')
            *--end = 0;
        if (end[-1] == '.')
            end[-1] = 0;
    }
    return drop_leading_zero(out);
}

char *text_number(char out[NUMBER_TEXT], double v)
{
    return significant(out, v, 4);
}

char *text_short(char out[NUMBER_TEXT], double v)
{
    return significant(out, v, 3);
}

char *text_count(char out[NUMBER_TEXT], double v)
{
    static const char suffix[] = " kMGTP";
    if (put_special(out, v))
        return out;
    int k = 0;
    while (fabs(v) >= 999.5 && suffix[k + 1]) {
        v /= 1000;
        k++;
    }
    if (k == 0)
        snprintf(out, NUMBER_TEXT, "%.0f", v);
    else
        snprintf(out, NUMBER_TEXT, "%.*f%c", fabs(v) < 99.95 ? 1 : 0, v,
                 suffix[k]);
    return out;
}

char *text_time(char out[NUMBER_TEXT], double seconds)
{
    if (!isfinite(seconds) || seconds < 0 || seconds > 1e7) {
        snprintf(out, NUMBER_TEXT, "-:--");
        return out;
    }
    long s = lround(seconds);
    if (s < 3600)
        snprintf(out, NUMBER_TEXT, "%ld:%02ld", s / 60, s % 60);
    else
        snprintf(out, NUMBER_TEXT, "%ld:%02ld:%02ld", s / 3600,
                 s / 60 % 60, s % 60);
    return out;
}

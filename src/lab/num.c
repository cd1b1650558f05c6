/* How numbers are written. SPDX-License-Identifier: GPL-3.0-or-later */
#include "lab/num.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* The locale may have another decimal sign; output never has. */
static struct num with_point(struct num n)
{
    for (char *p = n.s; *p; p++)
        if (*p == ',')
            *p = '.';
    return n;
}

struct num num_text(double v)
{
    struct num n;
    if (isnan(v))                        /* never "-nan" */
        snprintf(n.s, sizeof n.s, "nan");
    else if (fabs(v) < 1e15 && v == floor(v))
        snprintf(n.s, sizeof n.s, "%.0f", v == 0 ? 0 : v); /* no -0 */
    else
        snprintf(n.s, sizeof n.s, "%.4g", v);
    return with_point(n);
}

struct num num_percent(double v)
{
    struct num n;
    if (isnan(v))
        snprintf(n.s, sizeof n.s, "nan");
    else
        snprintf(n.s, sizeof n.s, "%.2f%%", 100 * v);
    return with_point(n);
}

static struct num scaled(double v, double base, const char *const *unit)
{
    struct num n;
    int i = 0;
    while (fabs(v) >= base && unit[i + 1]) {
        v /= base;
        i++;
    }
    if (isnan(v))
        snprintf(n.s, sizeof n.s, "nan");
    else if (i == 0)
        snprintf(n.s, sizeof n.s, "%.0f%s", v, unit[0]);
    else
        snprintf(n.s, sizeof n.s, "%.*f%s", fabs(v) < 100 ? 1 : 0, v, unit[i]);
    return with_point(n);
}

struct num num_count(double v)
{
    static const char *const unit[] = { "", "K", "M", "G", "T", NULL };
    return scaled(v, 1000, unit);
}

struct num num_bytes(double v)
{
    static const char *const unit[] = { " B", " KB", " MB", " GB", " TB",
                                        NULL };
    return scaled(v, 1000, unit);
}

struct num num_seconds(double v)
{
    struct num n;
    if (!isfinite(v) || v < 0)
        snprintf(n.s, sizeof n.s, "-");
    else if (v < 60)
        snprintf(n.s, sizeof n.s, "%.1fs", v);
    else if (v < 3600)
        snprintf(n.s, sizeof n.s, "%.0f:%02.0f", floor(v / 60),
                 floor(fmod(v, 60)));
    else
        snprintf(n.s, sizeof n.s, "%.0f:%02.0f:%02.0f", floor(v / 3600),
                 floor(fmod(v / 60, 60)), floor(fmod(v, 60)));
    return with_point(n);
}

void num_add(struct str *out, double v)
{
    str_add(out, num_text(v).s);
}

struct num num_exact(double v)
{
    struct num n;
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(n.s, sizeof n.s, "%.*g", digits, v);
        n = with_point(n);
        double back;
        if (isnan(v) || (!str_to_double(n.s, &back, NULL) && back == v))
            break;
    }
    return n;
}

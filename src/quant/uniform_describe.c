/* The formula of a uniform quantizer with its numbers, for `explain`.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/uniform.h"

/* The ratio as the spec forms it. */
static void describe_ratio(const struct grid *g, real v, struct str *out)
{
    const struct qspec *s = g->spec;
    real ratio = s->divide ? v / g->scale : v * g->inv;

    if (s->divide)
        str_printf(out, "ratio = x / s = %.9g / %.9g = %.9g\n", (double)v,
                   (double)g->scale, (double)ratio);
    else
        str_printf(out, "ratio = x * (1/s) = %.9g * %.9g = %.9g\n",
                   (double)v, (double)g->inv, (double)ratio);
}

static void describe_code(const struct grid *g, real free, real code,
                          struct str *out)
{
    const struct qspec *s = g->spec;
    const char *name = rounding_name[s->rounding];

    if (s->clamp_first && s->zp_before)
        str_printf(out, "code = %s(clamp(ratio + z))", name);
    else if (s->clamp_first)
        str_printf(out, "code = %s(clamp(ratio)) + z", name);
    else if (s->zp_before)
        str_printf(out, "code = clamp(%s(ratio + z))", name);
    else
        str_printf(out, "code = clamp(%s(ratio) + z)", name);
    str_printf(out, " = %.9g", (double)code);
    if (free != code)
        str_printf(out, " (%.9g before clamping)", (double)free);
    str_char(out, '\n');
}

void uniform_describe(const struct quantizer *q, real v, struct str *out)
{
    struct grid g;
    real free, code, y;

    grid_init(&g, q, 0, false);
    str_printf(out, "s = %.9g, z = %.9g, codes %lld to %lld",
               (double)g.scale, (double)g.zero_point,
               (long long)q->lo_code, (long long)q->hi_code);
    if (q->channels > 1)
        str_printf(out, " (channel 0 of %lld)", (long long)q->channels);
    str_char(out, '\n');
    describe_ratio(&g, v, out);
    grid_codes(&g, &v, &free, 1);
    code = free < g.lo ? g.lo : free > g.hi ? g.hi : free;
    describe_code(&g, free, code, out);
    y = code;
    grid_values(&g, &y, 1);
    str_printf(out, "y = (code - z) * s = %.9g, error %.3g\n", (double)y,
               (double)(y - v));
    if (q->spec.grad == QGRAD_PASS)
        str_add(out, "gradient: dx = dy everywhere\n");
    else
        str_printf(out, "gradient: dx = %s (the code is %s the range)\n",
                   free == code ? "dy" : "0",
                   free == code ? "inside" : "outside");
}

/* Curves and histograms as SVG. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>

#include "lab/chart.h"
#include "lab/num.h"

#define WIDTH 720
#define HEIGHT 400
#define LEFT 70
#define RIGHT 20
#define TOP 30
#define BOTTOM 50

/* Distinct in hue and in lightness, so they survive grey printing. */
static const char *const color[] = { "#1b6ca8", "#d1495b", "#2e8540",
                                     "#8f5fb0", "#c07f00", "#4a4a4a" };

struct axes {
    double x0, x1, y0, y1;
};

static double px(const struct axes *a, double x)
{
    return LEFT + (x - a->x0) / (a->x1 - a->x0) * (WIDTH - LEFT - RIGHT);
}

static double py(const struct axes *a, double y)
{
    return HEIGHT - BOTTOM -
           (y - a->y0) / (a->y1 - a->y0) * (HEIGHT - TOP - BOTTOM);
}

static void add_text(struct str *out, double x, double y, const char *anchor,
                     const char *text)
{
    str_printf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y,
               anchor);
    for (; *text; text++) {
        if (*text == '<')
            str_add(out, "&lt;");
        else if (*text == '&')
            str_add(out, "&amp;");
        else
            str_char(out, *text);
    }
    str_add(out, "</text>\n");
}

static void begin(struct str *out)
{
    str_printf(out,
               "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" "
               "height=\"%d\" font-family=\"sans-serif\" font-size=\"12\">\n"
               "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
               WIDTH, HEIGHT);
}

static void draw_axes(struct str *out, const struct axes *a, bool log)
{
    str_printf(out, "<path d=\"M%d %dV%dH%d\" fill=\"none\" "
                    "stroke=\"black\"/>\n",
               LEFT, TOP, HEIGHT - BOTTOM, WIDTH - RIGHT);
    for (int i = 0; i <= 4; i++) {
        double x = a->x0 + (a->x1 - a->x0) * i / 4;
        double y = a->y0 + (a->y1 - a->y0) * i / 4;
        add_text(out, px(a, x), HEIGHT - BOTTOM + 18, "middle",
                 num_text(x).s);
        add_text(out, LEFT - 8, py(a, y) + 4, "end",
                 num_text(log ? pow(10, y) : y).s);
        str_printf(out, "<path d=\"M%d %.1fH%d\" stroke=\"#dddddd\"/>\n",
                   LEFT, py(a, y), WIDTH - RIGHT);
    }
}

static double scale_y(double y, bool log)
{
    return log ? (y > 0 ? log10(y) : (double)NAN) : y;
}

static void widen(double *lo, double *hi)
{
    if (!(*lo <= *hi)) {
        *lo = 0;
        *hi = 1;
    } else if (*lo == *hi) {
        double d = *lo != 0 ? 0.1 * fabs(*lo) : 1;
        *lo -= d;
        *hi += d;
    }
}

static struct axes curve_axes(const struct series_view *s, int n, bool log)
{
    double inf = (double)INFINITY;
    struct axes a = { inf, -inf, inf, -inf };
    for (int k = 0; k < n; k++) {
        for (int i = 0; i < s[k].n; i++) {
            double y = scale_y(s[k].y[i], log);
            if (!isfinite(y) || !isfinite(s[k].x[i]))
                continue;
            a.x0 = fmin(a.x0, s[k].x[i]);
            a.x1 = fmax(a.x1, s[k].x[i]);
            a.y0 = fmin(a.y0, y);
            a.y1 = fmax(a.y1, y);
        }
    }
    widen(&a.x0, &a.x1);
    widen(&a.y0, &a.y1);
    return a;
}

static void draw_curve(struct str *out, const struct axes *a,
                       const struct series_view *s, bool log, const char *c)
{
    str_printf(out, "<polyline fill=\"none\" stroke=\"%s\" "
                    "stroke-width=\"1.5\" points=\"", c);
    for (int i = 0; i < s->n; i++) {
        double y = scale_y(s->y[i], log);
        if (isfinite(y) && isfinite(s->x[i]))
            str_printf(out, "%.1f,%.1f ", px(a, s->x[i]), py(a, y));
    }
    str_add(out, "\"/>\n");
}

void chart_curves_svg(const struct series_view *s, int n, bool log,
                      struct str *out)
{
    struct axes a = curve_axes(s, n, log);
    begin(out);
    draw_axes(out, &a, log);
    for (int k = 0; k < n; k++) {
        const char *c = color[k % 6];
        draw_curve(out, &a, &s[k], log, c);
        str_printf(out, "<g fill=\"%s\">", c);
        add_text(out, LEFT + 10 + 120 * k, TOP - 10, "start", s[k].name);
        str_add(out, "</g>\n");
    }
    add_text(out, (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 12, "middle",
             "epoch");
    str_add(out, "</svg>\n");
}

static void draw_line_at(struct str *out, const struct axes *a, double x)
{
    if (x >= a->x0 && x <= a->x1)
        str_printf(out, "<path d=\"M%.1f %dV%d\" stroke=\"#d1495b\" "
                        "stroke-dasharray=\"4 3\"/>\n",
                   px(a, x), TOP, HEIGHT - BOTTOM);
}

void chart_hist_svg(const struct hist_view *h, bool log, struct str *out)
{
    struct axes a = { h->lo, h->hi, 0, 0 };
    for (int i = 0; i < h->bins; i++)
        a.y1 = fmax(a.y1, log ? log10(1 + h->n[i]) : h->n[i]);
    widen(&a.x0, &a.x1);
    widen(&a.y0, &a.y1);
    a.y0 = 0;
    begin(out);
    draw_axes(out, &a, false);
    for (int i = 0; i < h->bins; i++) {
        double w = (h->hi - h->lo) / h->bins;
        double n = log ? log10(1 + h->n[i]) : h->n[i];
        double x = px(&a, h->lo + i * w), y = py(&a, n);
        str_printf(out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
                        "height=\"%.1f\" fill=\"#1b6ca8\"/>\n",
                   x, y, px(&a, h->lo + (i + 1) * w) - x,
                   HEIGHT - BOTTOM - y);
    }
    if (h->has_clip) {
        draw_line_at(out, &a, h->clip_lo);
        draw_line_at(out, &a, h->clip_hi);
    }
    add_text(out, LEFT, TOP - 10, "start", h->title);
    str_add(out, "</svg>\n");
}

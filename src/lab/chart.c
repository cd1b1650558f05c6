/* Curves and histograms as text. SPDX-License-Identifier: GPL-3.0-or-later */
#include "lab/chart.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "lab/num.h"

static const char mark[] = "*+ox#@%&";

struct bounds {
    double x0, x1, y0, y1;
    bool any;
};

static double scale_y(double y, bool log)
{
    return log ? (y > 0 ? log10(y) : (double)NAN) : y;
}

static void bounds_add(struct bounds *b, double x, double y)
{
    if (!isfinite(x) || !isfinite(y))
        return;
    b->x0 = b->any && b->x0 < x ? b->x0 : x;
    b->x1 = b->any && b->x1 > x ? b->x1 : x;
    b->y0 = b->any && b->y0 < y ? b->y0 : y;
    b->y1 = b->any && b->y1 > y ? b->y1 : y;
    b->any = true;
}

static struct bounds find_bounds(const struct series_view *s, int n, bool log)
{
    struct bounds b = { 0 };
    for (int k = 0; k < n; k++)
        for (int i = 0; i < s[k].n; i++)
            bounds_add(&b, s[k].x[i], scale_y(s[k].y[i], log));
    if (b.x0 == b.x1)
        b.x1 = b.x0 + 1;
    if (b.y0 == b.y1) {
        double d = b.y0 != 0 ? 0.1 * fabs(b.y0) : 1;
        b.y0 -= d;
        b.y1 += d;
    }
    return b;
}

static int cell_of(double v, double lo, double hi, int n)
{
    int i = (int)floor((v - lo) / (hi - lo) * n);
    return i < 0 ? 0 : i >= n ? n - 1 : i;
}

static void draw_series(const struct series_view *s, const struct bounds *b,
                        const struct chart_opts *o, char c, char *grid)
{
    for (int i = 0; i < s->n; i++) {
        double y = scale_y(s->y[i], o->log);
        if (!isfinite(y) || !isfinite(s->x[i]))
            continue;
        int col = cell_of(s->x[i], b->x0, b->x1, o->width);
        int row = o->height - 1 - cell_of(y, b->y0, b->y1, o->height);
        grid[row * o->width + col] = c;
    }
}

static double label(double v, bool log)
{
    return log ? pow(10, v) : v;
}

static void print_grid(const char *grid, const struct bounds *b,
                       const struct chart_opts *o, struct str *out)
{
    for (int r = 0; r < o->height; r++) {
        const char *text = "";
        struct num top = num_text(label(b->y1, o->log));
        struct num bottom = num_text(label(b->y0, o->log));
        if (r == 0)
            text = top.s;
        else if (r == o->height - 1)
            text = bottom.s;
        int n = o->width;
        while (n > 0 && grid[r * o->width + n - 1] == ' ')
            n--;
        str_printf(out, "%9s |%.*s\n", text, n, grid + r * o->width);
    }
    struct num left = num_text(b->x0), right = num_text(b->x1);
    str_printf(out, "%9s +", "");
    for (int i = 0; i < o->width; i++)
        str_char(out, '-');
    str_printf(out, "\n%9s  %-*s%s epochs\n", "", o->width - 6, left.s,
               right.s);
}

static void curves_plain(const struct series_view *s, int n, struct str *out)
{
    for (int k = 0; k < n; k++) {
        str_printf(out, "%s: %d points", s[k].name, s[k].n);
        if (s[k].n > 0)
            str_printf(out, ", from %s at epoch %s to %s at epoch %s",
                       num_text(s[k].y[0]).s, num_text(s[k].x[0]).s,
                       num_text(s[k].y[s[k].n - 1]).s,
                       num_text(s[k].x[s[k].n - 1]).s);
        str_char(out, '\n');
    }
}

void chart_curves(const struct series_view *s, int n,
                  const struct chart_opts *o, struct str *out)
{
    struct bounds b = find_bounds(s, n, o->log);
    if (o->plain || !b.any) {
        curves_plain(s, n, out);
        return;
    }
    size_t cells = (size_t)o->width * (size_t)o->height;
    char *grid = xmalloc(cells);
    memset(grid, ' ', cells);
    for (int k = 0; k < n; k++)
        draw_series(&s[k], &b, o, mark[k % 8], grid);
    print_grid(grid, &b, o, out);
    free(grid);
    for (int k = 0; k < n; k++)
        str_printf(out, "%9s  %c %s, last %s\n", "", mark[k % 8], s[k].name,
                   s[k].n ? num_text(s[k].y[s[k].n - 1]).s : "-");
}

/* ---- histograms ---- */

static void bar(double share, int width, bool ascii, struct str *out)
{
    static const char *const eighth[] = {
        "", "\u258f", "\u258e", "\u258d", "\u258c", "\u258b", "\u258a",
        "\u2589",
    };
    double cells = share * width;
    int whole = (int)cells;
    for (int i = 0; i < whole; i++)
        str_add(out, ascii ? "#" : "\u2588");
    int rest = (int)((cells - whole) * 8);
    if (ascii)
        str_add(out, rest >= 4 || (share > 0 && whole == 0) ? "#" : "");
    else
        str_add(out, rest == 0 && share > 0 && whole == 0 ? eighth[1]
                                                          : eighth[rest]);
}

static bool clip_inside(const struct hist_view *h, double lo, double hi)
{
    return h->has_clip && ((h->clip_lo >= lo && h->clip_lo < hi) ||
                           (h->clip_hi >= lo && h->clip_hi < hi));
}

static double height(double n, bool log)
{
    return log ? log10(1 + n) : n;
}

static void hist_summary(const struct hist_view *h, struct str *out)
{
    if (h->has_clip)
        str_printf(out, "clip [%s, %s]  step %s  outside %s  ",
                   num_text(h->clip_lo).s, num_text(h->clip_hi).s,
                   num_text(h->step).s, num_percent(h->outside).s);
    if (h->levels > 0)
        str_printf(out, "dead levels %d of %d  ", h->dead_levels, h->levels);
    if (!isnan(h->sqnr))
        str_printf(out, "sqnr %s dB  mse %s  max error %s",
                   num_text(h->sqnr).s, num_text(h->mse).s,
                   num_text(h->max_error).s);
    while (out->len && out->text[out->len - 1] == ' ')
        out->text[--out->len] = '\0';
    if (out->len && out->text[out->len - 1] != '\n')
        str_char(out, '\n');
}

void chart_hist(const struct hist_view *h, const struct chart_opts *o,
                struct str *out)
{
    double most = 0;
    for (int i = 0; i < h->bins; i++)
        most = height(h->n[i], o->log) > most ? height(h->n[i], o->log)
                                              : most;
    str_printf(out, "%s\n", h->title);
    for (int i = 0; i < h->bins; i++) {
        double w = (h->hi - h->lo) / h->bins;
        double lo = h->lo + i * w, hi = lo + w;
        struct num from = num_text(lo), to = num_text(hi);
        if (o->plain) {
            str_printf(out, "from %s to %s: %s\n", from.s, to.s,
                       num_text(h->n[i]).s);
            continue;
        }
        str_printf(out, "%11s %c", from.s, clip_inside(h, lo, hi) ? '>'
                                                                  : '|');
        if (most > 0)
            bar(height(h->n[i], o->log) / most, o->width, o->ascii, out);
        str_printf(out, " %s\n", num_text(h->n[i]).s);
    }
    hist_summary(h, out);
}

/* A raster of dots, and curves on it.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ui/raster.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

void raster_init(struct raster *r, int w, int h)
{
    r->w = w < 0 ? 0 : w;
    r->h = h < 0 ? 0 : h;
    size_t n = (size_t)r->w * (size_t)r->h;
    r->dots = xmalloc(n + 1);
    r->style = xmalloc(n + 1);
    memset(r->dots, 0, n + 1);
    memset(r->style, 0, n + 1);
}

void raster_fini(struct raster *r)
{
    free(r->dots);
    free(r->style);
    *r = (struct raster){ 0 };
}

void raster_dot(struct raster *r, int x, int y, enum style st)
{
    /* Unicode numbers the dots 1-2-3-7 down the left, 4-5-6-8 the right. */
    static const uint8_t bit[4][2] = {
        { 0x01, 0x08 }, { 0x02, 0x10 }, { 0x04, 0x20 }, { 0x40, 0x80 },
    };
    if (x < 0 || y < 0 || x >= 2 * r->w || y >= 4 * r->h)
        return;
    size_t i = (size_t)(y / 4) * (size_t)r->w + (size_t)(x / 2);
    r->dots[i] |= bit[y % 4][x % 2];
    r->style[i] = (uint8_t)st;
}

void raster_line(struct raster *r, const int from[2], const int to[2],
                 enum style st)
{
    int dx = to[0] - from[0], dy = to[1] - from[1];
    int n = abs(dx) > abs(dy) ? abs(dx) : abs(dy);
    for (int i = 0; i <= n; i++) {
        double t = n ? (double)i / n : 0;
        raster_dot(r, from[0] + (int)lround(t * dx),
                   from[1] + (int)lround(t * dy), st);
    }
}

/* Eighths of the cell's height that its topmost dot reaches. */
static int block_height(uint8_t dots)
{
    static const uint8_t row[4] = { 0x09, 0x12, 0x24, 0xc0 };
    for (int i = 0; i < 4; i++) {
        if (dots & row[i])
            return 8 - 2 * i;
    }
    return 0;
}

static uint32_t raster_glyph(const struct raster *r, size_t i,
                             const struct look *look)
{
    const struct glyphs *g = look->glyphs;
    if (g->raster == RASTER_BRAILLE)
        return 0x2800u + r->dots[i];
    if (g->raster == RASTER_BLOCK)
        return g->eighth[block_height(r->dots[i])];
    return (unsigned char)style_table[r->style[i]].dot;
}

void raster_draw(const struct raster *r, const struct area *a,
                 const struct look *look)
{
    for (int row = 0; row < r->h; row++) {
        for (int col = 0; col < r->w; col++) {
            size_t i = (size_t)row * (size_t)r->w + (size_t)col;
            if (r->dots[i])
                area_char(a, row, col, (enum style)r->style[i],
                          raster_glyph(r, i, look));
        }
    }
}

/* What lies far outside ends one length outside, so that no line to it takes
 * long. */
static int clamp_dot(double v, int n)
{
    if (!(v > -1))
        return -n;
    return v > 2 ? 2 * n : (int)lround(v * (n - 1));
}

int chart_col(const struct chart *c, double x)
{
    double span = c->x1 - c->x0;
    return clamp_dot(span > 0 ? (x - c->x0) / span : 0, 2 * c->raster.w);
}

int chart_row(const struct chart *c, double y)
{
    double lo = c->y0, hi = c->y1;
    if (c->log) {
        lo = log10(lo);
        hi = log10(hi);
        y = y > 0 ? log10(y) : lo;
    }
    double t = hi > lo ? (y - lo) / (hi - lo) : 0.5;
    return 4 * c->raster.h - 1 - clamp_dot(t, 4 * c->raster.h);
}

/* What falls into one column of dots. */
struct column {
    int col, n;
    double lo, hi, last;
};

static void column_take(struct column *k, double y)
{
    k->lo = k->n && k->lo < y ? k->lo : y;
    k->hi = k->n && k->hi > y ? k->hi : y;
    k->last = y;
    k->n++;
}

/* Calls emit for each column that has points, in order. */
static void each_column(struct chart *c, struct points p,
                        void (*emit)(struct chart *, const struct column *,
                                     void *), void *ctx)
{
    struct column k = { .n = 0 };
    for (int i = 0; i < p.n; i++) {
        if (!isfinite(p.y[i]) || !isfinite(p.x[i]))
            continue;
        int col = chart_col(c, p.x[i]);
        if (k.n && col != k.col) {
            emit(c, &k, ctx);
            k = (struct column){ .n = 0 };
        }
        k.col = col;
        column_take(&k, p.y[i]);
    }
    if (k.n)
        emit(c, &k, ctx);
}

struct pen {
    enum style st;
    bool down;
    int at[2];
};

static void pen_to(struct chart *c, struct pen *pen, int col, double y)
{
    int to[2] = { col, chart_row(c, y) };
    if (pen->down)
        raster_line(&c->raster, pen->at, to, pen->st);
    else
        raster_dot(&c->raster, to[0], to[1], pen->st);
    memcpy(pen->at, to, sizeof to);
    pen->down = true;
}

static void emit_line(struct chart *c, const struct column *k, void *ctx)
{
    struct pen *pen = ctx;
    if (k->n > 1) {
        pen_to(c, pen, k->col, k->lo);
        pen_to(c, pen, k->col, k->hi);
    }
    pen_to(c, pen, k->col, k->last);
}

static void emit_band(struct chart *c, const struct column *k, void *ctx)
{
    const enum style *st = ctx;
    int top = chart_row(c, k->hi), bottom = chart_row(c, k->lo);
    for (int y = top < 0 ? 0 : top; y <= bottom && y < 4 * c->raster.h; y++) {
        if ((k->col + y) % 2 == 0)
            raster_dot(&c->raster, k->col, y, *st);
    }
}

void chart_line(struct chart *c, struct points p, enum style st)
{
    struct pen pen = { .st = st };
    each_column(c, p, emit_line, &pen);
}

void chart_band(struct chart *c, struct points p, enum style st)
{
    each_column(c, p, emit_band, &st);
}

void chart_smooth(struct points p, double *out)
{
    int reach = p.n / 50 > 4 ? p.n / 50 : 4;
    reach = reach > p.n / 8 ? p.n / 8 : reach;
    double sum = 0;
    int count = 0, from = 0, to = 0;      /* the window is [from, to) */
    for (int i = 0; i < p.n; i++) {
        for (; to < p.n && to <= i + reach; to++) {
            if (isfinite(p.y[to])) {
                sum += p.y[to];
                count++;
            }
        }
        for (; from < i - reach; from++) {
            if (isfinite(p.y[from])) {
                sum -= p.y[from];
                count--;
            }
        }
        out[i] = count ? sum / count : (double)NAN;
    }
}

void chart_markers(struct chart *c, struct points p, enum style st)
{
    if (p.n > c->raster.w / 3)
        return;
    for (int i = 0; i < p.n; i++) {
        if (!isfinite(p.y[i]) || !isfinite(p.x[i]))
            continue;
        int x = chart_col(c, p.x[i]), y = chart_row(c, p.y[i]);
        for (int d = 0; d < 9; d++)
            raster_dot(&c->raster, x + d % 3 - 1, y + d / 3 - 1, st);
    }
}

void chart_level(struct chart *c, double y, enum style st)
{
    int row = chart_row(c, y);
    for (int x = 0; x < 2 * c->raster.w; x += 4)
        raster_dot(&c->raster, x, row, st);
}

double chart_nice_step(double v)
{
    if (!(v > 0) || !isfinite(v))
        return 1;
    double power = pow(10, floor(log10(v)));
    double lead = v / power;
    double nice = lead <= 1.0000001 ? 1 : lead <= 2 ? 2 : lead <= 5 ? 5 : 10;
    return nice * power;
}

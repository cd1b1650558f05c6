/* A raster of dots, 2 by 4 to a cell, and curves on it.
 *
 * Drawn as braille, as eighth blocks (height of the topmost dot), or as one
 * ASCII character a cell, by the glyphs of the look.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UI_RASTER_H
#define UI_RASTER_H

#include "ui/screen.h"

struct raster {
    int w, h;                 /* in cells */
    uint8_t *dots, *style;    /* (h, w) */
};

void raster_init(struct raster *r, int w, int h);
void raster_fini(struct raster *r);
/* x from 0 to 2w-1, y from 0 (top) to 4h-1; outside: nothing. */
void raster_dot(struct raster *r, int x, int y, enum style st);
void raster_line(struct raster *r, const int from[2], const int to[2],
                 enum style st);
void raster_draw(const struct raster *r, const struct area *a,
                 const struct look *look);

/* Axes of a chart over a raster. */
struct chart {
    struct raster raster;
    double x0, x1, y0, y1;    /* at the left, right, bottom, top */
    bool log;                 /* y is logarithmic; y0 > 0 */
};

int chart_col(const struct chart *c, double x);   /* in dots */
int chart_row(const struct chart *c, double y);
struct points {
    const double *x, *y;
    int n;
};
/* Points joined by lines; several in one column keep their least and
 * greatest, so no spike is lost. */
void chart_line(struct chart *c, struct points p, enum style st);
/* A sparse band from least to greatest of each column. */
void chart_band(struct chart *c, struct points p, enum style st);
/* A small square on every point, when they are few. */
void chart_markers(struct chart *c, struct points p, enum style st);
/* A dashed level. */
void chart_level(struct chart *c, double y, enum style st);

/* Means over a window of some points to either side, as many at the ends as
 * there are; out has p.n numbers. Points that are not finite do not count. */
void chart_smooth(struct points p, double *out);

/* The next number of 1, 2, 5 times a power of ten that is >= v (v > 0). */
double chart_nice_step(double v);

#endif

/* Curves and histograms as text and as SVG.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LAB_CHART_H
#define LAB_CHART_H

#include "lab/view.h"

struct chart_opts {
    int width, height;        /* characters of the plotting area */
    bool log;                 /* logarithmic y, or counts */
    bool ascii, plain;
};

/* Lines ended by '\n'. Plain: sentences. */
void chart_curves(const struct series_view *s, int n,
                  const struct chart_opts *o, struct str *out);
void chart_curves_svg(const struct series_view *s, int n, bool log,
                      struct str *out);
void chart_hist(const struct hist_view *h, const struct chart_opts *o,
                struct str *out);
void chart_hist_svg(const struct hist_view *h, bool log, struct str *out);

#endif

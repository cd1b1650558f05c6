/* What happened over the epochs: curves and event marks.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LAB_SERIES_H
#define LAB_SERIES_H

#include "lab/view.h"

#define SERIES_POINTS 4096    /* kept; beyond it every second one goes */

struct series {
    char name[24];
    double *x, *y;
    int n;
    int64_t seen;             /* points given; one in `stride` is kept */
    int64_t stride;
    double last_x, last_y;
};

struct series_set {
    struct series *series;
    int n;
    struct mark_view *event;
    int n_event;
};

void series_add(struct lab *l, const char *name, double x, double y);
double series_value(const struct lab *l, const char *name);  /* last; NaN */
void series_event(struct lab *l, double x, const char *text);
void series_clear(struct lab *l);
enum status series_save(const struct lab *l, struct bag *b, struct err *e);
/* Replaces all; checks before it changes anything. */
enum status series_load(struct lab *l, const struct bag *b, struct err *e);

#endif

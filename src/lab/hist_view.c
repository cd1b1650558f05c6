/* Histograms of weights, activations, errors and gradients.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <gsl/gsl_histogram.h>

#include "lab/layer_stats.h"
#include "lab/state.h"
#include "lab/tensor_view.h"

const char *const hist_name[HIST_COUNT] = {
    [HIST_WEIGHT] = "w",
    [HIST_ACTIVATION] = "out",
    [HIST_ERROR] = "err",
    [HIST_GRADIENT] = "grad",
};

/* The interval shown: all finite values, symmetric about 0 for errors. */
static void find_bounds(const struct fetched *f, double *lo, double *hi)
{
    *lo = (double)INFINITY;
    *hi = -(double)INFINITY;
    for (int64_t i = 0; i < f->n; i++) {
        double x = (double)f->x[i];
        if (!isfinite(x))
            continue;
        *lo = x < *lo ? x : *lo;
        *hi = x > *hi ? x : *hi;
    }
    if (!(*lo <= *hi))
        *lo = *hi = 0;
    if (*lo == *hi) {
        double d = fabs(*lo) > 0 ? 0.5 * fabs(*lo) : 0.5;
        *lo -= d;
        *hi += d;
    }
}

static void fill_counts(const struct fetched *f, struct hist_view *v)
{
    gsl_histogram *h = gsl_histogram_alloc((size_t)v->bins);
    if (!h)
        return;
    /* gsl's upper edge is open; the largest value belongs to the last bin. */
    gsl_histogram_set_ranges_uniform(h, v->lo, nextafter(v->hi,
                                                         (double)INFINITY));
    for (int64_t i = 0; i < f->n; i++) {
        double x = (double)f->x[i];
        if (x < v->lo)
            v->below++;
        else if (x > v->hi)
            v->above++;
        else if (isfinite(x))
            gsl_histogram_increment(h, x);
    }
    for (int i = 0; i < v->bins; i++)
        v->n[i] = gsl_histogram_get(h, (size_t)i);
    gsl_histogram_free(h);
}

static void fill_quantizer(const struct fetched *f, struct hist_view *v)
{
    const struct quantizer *q = f->q;
    struct affine a;
    if (!q)
        return;
    v->sqnr = f->st.sqnr_db;
    v->mse = f->st.mse;
    v->max_error = f->st.max_error;
    v->outside = f->st.count ? (double)f->st.clipped / (double)f->st.count
                             : 0;
    v->levels = (int)f->st.levels;
    v->dead_levels = (int)f->st.dead_levels;
    if (!quantizer_get_affine(q, 0, &a))
        return;
    v->has_clip = true;
    v->clip_lo = (double)q->lo[0];
    v->clip_hi = (double)q->hi[0];
    for (int64_t c = 1; c < q->channels; c++) {
        v->clip_lo = fmin(v->clip_lo, (double)q->lo[c]);
        v->clip_hi = fmax(v->clip_hi, (double)q->hi[c]);
    }
    v->step = (double)a.scale;
    v->has_grid = q->channels == 1 && v->levels <= 32;
}

static void fill_title(struct lab *l, int node, enum hist_what what,
                       const struct fetched *f, struct hist_view *v)
{
    const struct quantizer *q = f->point >= 0 ? l->graph->point[f->point].q
                                              : NULL;
    struct str name = { 0 };
    str_add_clean(&name, l->graph->node[node].name);
    snprintf(v->title, sizeof v->title, "%.40s.%s", str_text(&name),
             what == HIST_ERROR && f->is_weight ? "w - q(w)"
                                                : hist_name[what]);
    str_fini(&name);
    size_t n = strlen(v->title);
    if (q)
        snprintf(v->title + n, sizeof v->title - n, "  %s%d",
                 q->spec.is_signed ? "int" : "uint", q->spec.bits);
    n = strlen(v->title);
    if (l->glance && !f->is_weight && f->shape.rank > 0)
        snprintf(v->title + n, sizeof v->title - n, "  of %d",
                 (int)f->shape.dim[0]);
}

enum status lab_hist(struct lab *l, int node, enum hist_what what, int bins,
                     struct hist_view *out, struct err *e)
{
    struct fetched f;
    struct str name = { 0 };
    *out = (struct hist_view){ .sqnr = (double)NAN, .mse = (double)NAN,
                               .max_error = (double)NAN,
                               .outside = (double)NAN };
    if (!l->graph || node < 0 || node >= l->graph->n_node)
        return err_set(e, STATUS_STATE, "no layer to show");
    bins = bins < 1 ? 1 : bins > HIST_MAX_BINS ? HIST_MAX_BINS : bins;
    str_printf(&name, "%s.%s", l->graph->node[node].name, hist_name[what]);
    enum status s = lab_fetch(l, str_text(&name), &f, e);
    str_fini(&name);
    if (s)
        return s == STATUS_NOTFOUND ? STATUS_STATE : s;
    out->bins = bins;
    find_bounds(&f, &out->lo, &out->hi);
    fill_quantizer(&f, out);
    if (what == HIST_ERROR || what == HIST_GRADIENT) {
        double m = fmax(fabs(out->lo), fabs(out->hi));
        out->lo = -m;
        out->hi = m;
        out->has_clip = out->has_grid = false;
    }
    fill_counts(&f, out);
    fill_title(l, node, what, &f, out);
    fetched_fini(&f);
    return STATUS_OK;
}

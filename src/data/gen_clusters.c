/* Charged-pion clusters in a calorimeter: (128, 4) floats, one target.
 *
 * A pion of 2 to 200 GeV (log-uniform) showers into up to 128 cells. Part of
 * its energy is electromagnetic (dense, near the front), the rest hadronic
 * (deep, wide, and partly invisible). Per cell: eta / 10, phi / 10,
 * ln(1 + layer) / 10, ln(energy / MeV) / 10; cells sorted by falling energy,
 * unused rows filled with -6. Target: ln(true energy / GeV).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>

#include "data/source.h"

#define CELLS 128
#define FEATURES 4
#define PADDING (-6.0f)
#define LAYERS 24

struct cell {
    double energy, eta, phi, layer;
};

static double clip(double v, double low, double high)
{
    return v < low ? low : v > high ? high : v;
}

static int by_falling_energy(const void *a, const void *b)
{
    const struct cell *p = a, *q = b;
    return (p->energy < q->energy) - (p->energy > q->energy);
}

/* em: the electromagnetic part of the shower. */
static void draw_cells(struct rng *r, double em, double visible, int n,
                       struct cell *cell)
{
    double sum = 0;
    for (int i = 0; i < n; i++) {
        bool dense = rng_uniform(r) < em;
        double depth = dense ? rng_gamma(r, 3.0, 0.7)
                             : rng_gamma(r, 3.0, 2.2) + 2.0;
        double spread = dense ? 0.03 : 0.10;
        cell[i].layer = clip(floor(depth), 0, LAYERS - 1);
        cell[i].energy = rng_exponential(r) * (dense ? 2.0 : 1.0);
        cell[i].eta = spread * rng_normal(r);
        cell[i].phi = spread * rng_normal(r);
        sum += cell[i].energy;
    }
    for (int i = 0; i < n; i++)
        cell[i].energy = fmax(visible * cell[i].energy / sum, 1e-3);
    qsort(cell, (size_t)n, sizeof *cell, by_falling_energy);
}

static void draw_cluster(const struct generator *g, struct rng *r,
                         int64_t label, void *x, float *target)
{
    (void)g;
    (void)label;
    struct cell cell[CELLS];
    double log_e = log(2.0) + (log(200.0) - log(2.0)) * rng_uniform(r);
    double energy = exp(log_e);
    double em = clip(0.11 * log_e + 0.25 + 0.15 * rng_normal(r), 0.02, 0.95);
    double resolution = 0.10 / sqrt(energy) + 0.02;
    double visible = energy * (em + 0.65 * (1 - em)) *
                     (1.0 + resolution * rng_normal(r));
    int n = (int)clip((double)rng_poisson(r, 8 + 16 * log_e), 4, CELLS);
    draw_cells(r, em, visible, n, cell);
    float *out = x;
    for (int i = 0; i < CELLS; i++, out += FEATURES) {
        bool used = i < n;
        out[0] = used ? (float)(cell[i].eta / 10) : PADDING;
        out[1] = used ? (float)(cell[i].phi / 10) : PADDING;
        out[2] = used ? (float)(log1p(cell[i].layer) / 10) : PADDING;
        out[3] = used ? (float)(log(1000 * cell[i].energy) / 10) : PADDING;
    }
    target[0] = (float)log_e;
}

static const struct generator clusters = {
    .sample = { 3, { 1, CELLS, FEATURES } },
    .type = DTYPE_F32,
    .targets = 1,
    .n_train = 10000,
    .n_test = 2000,
    .draw = draw_cluster,
};

enum status load_clusters(struct dataset *d, const char *const *value,
                          const struct dataset_opts *o, struct err *e)
{
    (void)value;
    TRY(generator_run(&clusters, o, d, e));
    d->n_norm = 0;            /* logarithms and the factor 10 did it */
    return STATUS_OK;
}

/* Jets from five kinds of particle: 16 substructure features, 5 classes.
 *
 * A jet is a mass, a number of prongs and a number of constituents; gluons
 * and light quarks make one broad or one narrow prong, W and Z bosons two
 * (at masses 80 and 91 GeV: told apart by the mass alone), top quarks three.
 * Energy-correlation ratios follow from mass, prongs and radiation with
 * noise. The classes overlap: about three of four jets can be told.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>

#include "data/source.h"

#define FEATURES 16

struct jet_kind {
    double mass, mass_width;      /* GeV; width 0: falling spectrum */
    double constituents;          /* mean number */
    double prongs;
    double radiation;             /* soft radiation around the prongs */
};

static const char *const jet_names[] = { "gluon", "quark", "w", "z", "top" };

static const struct jet_kind jets_kinds[] = {
    { .mass = 42, .constituents = 56, .prongs = 1, .radiation = 1.30 },
    { .mass = 26, .constituents = 41, .prongs = 1, .radiation = 0.85 },
    { .mass = 80.4, .mass_width = 7, .constituents = 42, .prongs = 2,
      .radiation = 0.75 },
    { .mass = 91.2, .mass_width = 7.5, .constituents = 44, .prongs = 2,
      .radiation = 0.78 },
    { .mass = 173, .mass_width = 14, .constituents = 61, .prongs = 3,
      .radiation = 1.0 },
};

/* What a jet looks like before it is measured. */
struct jet {
    double mass, prongs, radiation, count, asymmetry;
};

static void draw_truth(struct rng *r, const struct jet_kind *k,
                       struct jet *j)
{
    /* One jet in five loses a prong outside its cone or gains one. */
    double lost = rng_uniform(r) < 0.2 ? 1 : 0;
    j->prongs = k->prongs > 1 ? k->prongs - lost : k->prongs + lost;
    bool resonance = k->mass_width > 0 && lost == 0;
    double scale = k->mass_width > 0 ? 0.5 * k->mass : k->mass;
    j->mass = resonance ? k->mass + k->mass_width * rng_normal(r)
                        : rng_gamma(r, 2.0, scale / 2);
    j->mass = fmax(j->mass, 1);
    j->radiation = k->radiation * exp(0.25 * rng_normal(r));
    double mean = k->constituents * exp(0.2 * log(j->radiation) +
                                        0.2 * rng_normal(r));
    j->count = fmax(3, (double)rng_poisson(r, mean));
    j->asymmetry = 0.5 * rng_uniform(r);     /* energy of the softer prong */
}

/* Energy correlation of the given angular power, up to a factor: two prongs
 * of a mass stand m / (p sqrt(z (1 - z))) apart. */
static double correlation(const struct jet *j, double power, double noise)
{
    double z = fmax(j->asymmetry, 0.05);
    double angle = j->mass / 500 / sqrt(z * (1 - z));
    double hard = j->prongs > 1 ? z * (1 - z) * pow(angle, power) : 0;
    double soft = 0.04 * j->radiation * pow(0.3, power);
    return (hard + soft) * exp(noise);
}

static void draw_jet(const struct generator *g, struct rng *r, int64_t label,
                     void *x, float *target)
{
    (void)g;
    (void)target;
    struct jet j;
    float *f = x;
    draw_truth(r, &jets_kinds[label], &j);
    double common = 0.10 * rng_normal(r);
    double c1[3], c2[2];
    for (int b = 0; b < 3; b++)
        c1[b] = correlation(&j, b, common + 0.05 * rng_normal(r));
    /* Three-point correlations are small when two prongs say it all. */
    double beyond = j.prongs > 2 ? 0.30 : j.prongs > 1 ? 0.07 : 0.20;
    for (int b = 0; b < 2; b++)
        c2[b] = beyond * j.radiation *
                exp(0.5 * common + 0.22 * rng_normal(r)) / (1 + b);
    f[0] = (float)(-log(j.count) * (1 - 0.3 * j.asymmetry) +
                   0.12 * rng_normal(r));                      /* sum z ln z */
    f[1] = (float)c1[0];
    f[2] = (float)c1[1];
    f[3] = (float)c1[2];
    f[4] = (float)c2[0];
    f[5] = (float)c2[1];
    f[6] = (float)(c2[0] / (c1[1] + 0.02));                    /* D2 */
    f[7] = (float)(c2[1] / (c1[2] + 0.02));
    f[8] = (float)(f[6] * exp(0.1 * rng_normal(r)));
    f[9] = (float)(f[7] * exp(0.1 * rng_normal(r)));
    f[10] = (float)(c2[0] * exp(0.15 * rng_normal(r)) / (1 + c1[0])); /* M2 */
    f[11] = (float)(c2[1] * exp(0.15 * rng_normal(r)) / (1 + c1[1]));
    f[12] = (float)(beyond + 0.06 * rng_normal(r));            /* N2 */
    f[13] = (float)(beyond * j.radiation + 0.06 * rng_normal(r));
    f[14] = (float)(j.mass * (1 + 0.04 * rng_normal(r)));      /* groomed */
    f[15] = (float)j.count;
}

static const struct generator jets = {
    .sample = { 2, { 1, FEATURES } },
    .type = DTYPE_F32,
    .classes = 5,
    .class_name = jet_names,
    .n_train = 20000,
    .n_test = 5000,
    .draw = draw_jet,
};

enum status load_jets(struct dataset *d, const char *const *value,
                      const struct dataset_opts *o, struct err *e)
{
    (void)value;
    return generator_run(&jets, o, d, e);
}

/* Runs a generator: one random stream a sample, samples in parallel.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdatomic.h>
#include <string.h>

#include "data/source.h"

/* Streams of one block: every sample's seed differs, in every block and for
 * every seed below 2^32. */
static uint64_t sample_seed(uint64_t seed, int block, int64_t i)
{
    return seed << 32 ^ seed >> 32 ^ (uint64_t)block << 31 ^ (uint64_t)i;
}

/* Labels go round, so that every part of a block is balanced. */
static void draw_sample(const struct generator *g, struct samples *s,
                        int64_t i, struct rng *r)
{
    unsigned char *x = s->x.data;
    int64_t label = g->classes ? i % g->classes : 0;
    float *target = NULL;
    if (g->classes)
        ((int32_t *)s->y.data)[i] = (int32_t)label;
    else
        target = (float *)s->y.data + i * g->targets;
    g->draw(g, r, label, x + (size_t)i * samples_x_bytes(s), target);
}

static enum status fill_block(const struct generator *g, uint64_t seed,
                              int block, struct samples *s, struct err *e)
{
    atomic_bool failed = false;
#pragma omp parallel
    {
        struct rng *r = rng_new(seed, RNG_GENERATE);
        if (!r)
            atomic_store(&failed, true);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < s->n; i++) {
            if (!r)
                continue;
            rng_seed(r, sample_seed(seed, block, i), RNG_GENERATE);
            draw_sample(g, s, i, r);
        }
        rng_free(r);
    }
    return atomic_load(&failed) ? err_memory(e, "random streams")
                                : STATUS_OK;
}

enum status generator_run(const struct generator *g,
                          const struct dataset_opts *o, struct dataset *d,
                          struct err *e)
{
    int64_t n_train = o->n_train > 0 ? o->n_train : g->n_train;
    int64_t n_test = o->n_test == NO_TEST ? 0
                     : o->n_test > 0      ? o->n_test
                                          : g->n_test;
    TRY(samples_init(&d->train, g->type, &g->sample, n_train, g->targets, e));
    TRY(samples_init(&d->test, g->type, &g->sample, n_test, g->targets, e));
    dataset_set_shape(d, &g->sample);
    d->targets = g->targets;
    if (g->classes)
        TRY(dataset_set_classes(d, g->classes, g->class_name, e));
    d->n_norm = NORM_MEASURE;
    TRY(fill_block(g, o->seed, 0, &d->train, e));
    return fill_block(g, o->seed, 1, &d->test, e);
}

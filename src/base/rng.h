/* Random streams: one seed, separate named streams.
 *
 * Each stream is a gsl_rng (ranlxs-free, mt19937) seeded from the session's
 * seed and the stream's name, so using one never disturbs another. State can
 * be saved and put back, bit for bit.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

struct rng;

enum rng_stream {
    RNG_INIT, RNG_SHUFFLE, RNG_AUGMENT, RNG_DROPOUT, RNG_ROUND, RNG_GENERATE,
    RNG_STREAMS
};

struct rng *rng_new(uint64_t seed, enum rng_stream stream); /* NULL: no memory */
void rng_free(struct rng *r);
void rng_seed(struct rng *r, uint64_t seed, enum rng_stream stream);
const char *rng_stream_name(enum rng_stream stream);

double rng_uniform(struct rng *r);                  /* [0, 1) */
double rng_normal(struct rng *r);                   /* mean 0, variance 1 */
double rng_exponential(struct rng *r);              /* mean 1 */
double rng_gamma(struct rng *r, double shape, double scale);
uint64_t rng_poisson(struct rng *r, double mean);
uint64_t rng_below(struct rng *r, uint64_t n);      /* 0 .. n-1, n >= 1 */
void rng_shuffle(struct rng *r, uint32_t *index, size_t n);
void rng_fill_uniform(struct rng *r, float *x, size_t n);
void rng_fill_normal(struct rng *r, float *x, size_t n);

size_t rng_state_size(const struct rng *r);
void rng_state_get(const struct rng *r, void *bytes);
void rng_state_set(struct rng *r, const void *bytes);

#endif

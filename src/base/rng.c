/* Random streams over GSL's mt19937.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/rng.h"

#include <assert.h>
#include <string.h>

#include <gsl/gsl_randist.h>
#include <gsl/gsl_rng.h>

#include "base/arena.h"

#define MT_WORDS 624

/* What gsl_rng_state() points at for mt19937. Saved states are written word
 * by word and checked when they come back: GSL would index with whatever
 * position a damaged file holds. */
struct mt_state {
    unsigned long word[MT_WORDS];
    int position;
};

struct rng {
    gsl_rng *gsl;
};

static const char *const stream_names[] = {
    [RNG_INIT] = "init",       [RNG_SHUFFLE] = "shuffle",
    [RNG_AUGMENT] = "augment", [RNG_DROPOUT] = "dropout",
    [RNG_ROUND] = "round",     [RNG_GENERATE] = "generate",
};

static_assert(sizeof stream_names / sizeof stream_names[0] == RNG_STREAMS,
              "every stream has a name");

/* splitmix64 (Steele, Lea, Flood 2014): neighbouring inputs give outputs
 * that share nothing visible. */
static uint64_t splitmix64(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

struct rng *rng_new(uint64_t seed, enum rng_stream stream)
{
    struct rng *r = mem_alloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->gsl = mem_fails_now() ? NULL : gsl_rng_alloc(gsl_rng_mt19937);
    if (!r->gsl) {
        mem_free(r);
        return NULL;
    }
    assert(gsl_rng_size(r->gsl) == sizeof(struct mt_state));
    rng_seed(r, seed, stream);
    return r;
}

void rng_free(struct rng *r)
{
    if (!r)
        return;
    gsl_rng_free(r->gsl);
    mem_free(r);
}

void rng_seed(struct rng *r, uint64_t seed, enum rng_stream stream)
{
    uint64_t mixed = splitmix64(splitmix64(seed) + (uint64_t)stream);
    gsl_rng_set(r->gsl, (unsigned long)(mixed >> 32));
}

const char *rng_stream_name(enum rng_stream stream)
{
    return (unsigned)stream < RNG_STREAMS ? stream_names[stream] : "?";
}

double rng_uniform(struct rng *r)
{
    return gsl_rng_uniform(r->gsl);
}

double rng_normal(struct rng *r)
{
    return gsl_ran_gaussian_ziggurat(r->gsl, 1.0);
}

double rng_exponential(struct rng *r)
{
    return gsl_ran_exponential(r->gsl, 1.0);
}

double rng_gamma(struct rng *r, double shape, double scale)
{
    return gsl_ran_gamma(r->gsl, shape, scale);
}

uint64_t rng_poisson(struct rng *r, double mean)
{
    return gsl_ran_poisson(r->gsl, mean);
}

uint64_t rng_below(struct rng *r, uint64_t n)
{
    assert(n >= 1);
    if (n <= UINT32_MAX)
        return gsl_rng_uniform_int(r->gsl, (unsigned long)n);
    /* Two words, and rejection of the last incomplete stretch of n. */
    uint64_t limit = UINT64_MAX - UINT64_MAX % n;
    uint64_t v;
    do {
        v = (uint64_t)gsl_rng_get(r->gsl) << 32;
        v |= (uint64_t)gsl_rng_get(r->gsl);
    } while (v >= limit);
    return v % n;
}

void rng_shuffle(struct rng *r, uint32_t *index, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)rng_below(r, i);
        uint32_t swap = index[i - 1];
        index[i - 1] = index[j];
        index[j] = swap;
    }
}

void rng_fill_uniform(struct rng *r, float *x, size_t n)
{
    /* 24 bits: a float of all 32 could round up to 1. */
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(gsl_rng_get(r->gsl) >> 8) * 0x1p-24f;
}

void rng_fill_normal(struct rng *r, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)gsl_ran_gaussian_ziggurat(r->gsl, 1.0);
}

size_t rng_state_size(const struct rng *r)
{
    (void)r;
    return (MT_WORDS + 1) * sizeof(uint32_t);
}

void rng_state_get(const struct rng *r, void *bytes)
{
    const struct mt_state *mt = gsl_rng_state(r->gsl);
    uint32_t words[MT_WORDS + 1];

    for (int i = 0; i < MT_WORDS; i++)
        words[i] = (uint32_t)mt->word[i];
    words[MT_WORDS] = (uint32_t)mt->position;
    memcpy(bytes, words, sizeof words);
}

void rng_state_set(struct rng *r, const void *bytes)
{
    struct mt_state *mt = gsl_rng_state(r->gsl);
    uint32_t words[MT_WORDS + 1];

    memcpy(words, bytes, sizeof words);
    for (int i = 0; i < MT_WORDS; i++)
        mt->word[i] = words[i];
    uint32_t position = words[MT_WORDS];
    mt->position = position > MT_WORDS ? MT_WORDS : (int)position;
}

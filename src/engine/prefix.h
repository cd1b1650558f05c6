/* Values of earlier forward passes, so that a change of one layer computes
 * from that layer on.
 *
 * A plan's units run one after the other. A cut is a place between two of
 * them; what lies before it is known by a fingerprint of everything that it
 * depends on: the batch's contents, options, layers, weights, statistics,
 * quantizers and how the plan lowers them. When a batch with that fingerprint
 * has passed a cut before and its values were kept, the steps before the cut
 * are left out. Results are those of the whole pass in every bit.
 *
 * Values that lie on even grids of up to 256 steps are kept as bytes. Only
 * passes that leave the quantizers before a cut as they were are kept there;
 * in calibration, where observers move, the smallest and largest values that
 * they saw are kept too, and shown to them again.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef ENGINE_PREFIX_H
#define ENGINE_PREFIX_H

#include "base/hash128.h"
#include "engine/plan.h"

struct prefix_cache;

/* limit: bytes, 0: keeps nothing. */
enum status prefix_cache_new(size_t limit, struct prefix_cache **out,
                             struct err *e);
void prefix_cache_free(struct prefix_cache *c);      /* NULL allowed */
void prefix_cache_limit(struct prefix_cache *c, size_t bytes);
void prefix_cache_clear(struct prefix_cache *c);
/* An evaluation begins: what earlier ones have kept may go for it. */
void prefix_cache_begin(struct prefix_cache *c);

struct prefix_cache_info {
    size_t bytes, limit;
    int64_t values;           /* of one batch each, with marks at cuts */
    int64_t batches, reused;  /* that went through; that began at a cut */
};
void prefix_cache_look(const struct prefix_cache *c,
                       struct prefix_cache_info *out);

/* One plan's way through the cache: an evaluation, or a calibration. Graph
 * and quantizers may only change through the plan while it lives. */
struct prefix;

struct prefix_opts {
    struct prefix_cache *cache;
    struct plan *plan;        /* evaluates or calibrates; keeps no values */
    int64_t rows;             /* that go by in all: they share the limit */
    bool read_only;           /* finds values, but keeps no new ones */
};
/* *out NULL: nothing to gain here; run the plan as it is. */
enum status prefix_new(const struct prefix_opts *o, struct prefix **out,
                       struct err *e);
void prefix_free(struct prefix *x);                  /* NULL allowed */

/* The next batch, known by its contents. Nodes whose values need not be
 * computed; when there are any the plan's inputs need not be written. */
int prefix_find(struct prefix *x, const struct digest *rows);
/* plan_forward of that batch. */
enum status prefix_forward(struct prefix *x, const struct tick *t,
                           struct err *e);

/* What a plan's values before unit `unit` depend on, but for the batch, which
 * is `rows`. For tests. */
int prefix_unit_count(const struct prefix *x);
struct digest prefix_key(struct prefix *x, int unit,
                         const struct digest *rows);

#endif

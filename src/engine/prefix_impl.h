/* Inside the cache of values before a cut; for engine/prefix*.c only.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef ENGINE_PREFIX_IMPL_H
#define ENGINE_PREFIX_IMPL_H

#include "engine/plan_impl.h"
#include "engine/prefix.h"

/* ---- fingerprints (prefix_keys.c) ---- */

struct prefix_keys {
    struct digest start;      /* of the plan's options */
    /* By unit: its layers, weights, specs and steps, without and with the
     * buffers that the steps touch; and what a pass may move of it. */
    struct digest *unit, *lowered, *moving;
};
/* Into k->start, k->unit and k->lowered. */
enum status prefix_keys_init(struct prefix_keys *k, const struct plan *p,
                             struct err *e);
/* By unit, as the quantizers are now. */
void prefix_keys_look(const struct plan *p, struct digest *moving);

/* ---- cuts (prefix_cuts.c) ---- */

/* Numbers on an even grid: (stored + lo - zero) * scale. */
struct value_grid {
    bool on;
    float scale, inv, zero, lo, hi;
};

/* What a buffer holds, so that plans with other buffers find it: a node's
 * value before and after its quantizer or the node's view of its input, as
 * numbers or as codes. */
enum value_role { ROLE_OTHER, ROLE_RAW, ROLE_OUT, ROLE_CODE, ROLE_VIEW,
                  ROLE_VIEW_CODE, ROLE_COUNT };

struct live_value {
    int buffer;
    enum value_role role;
    int node;                 /* ROLE_OTHER: number of the buffer by use */
    int unit;                 /* that touched it last, before the cut; or -1 */
    int id;                   /* the same at other cuts: the same value */
    bool rounded;             /* by a quantizer of its own */
    struct value_grid grid;   /* on: worth a try */
};

/* The place before a unit; the last one is the end of forward. */
struct cut {
    int step;
    int n_live, nodes;        /* values alive; nodes before it */
    struct live_value *live;
    double gain;              /* estimated work saved, in bytes moved */
    int64_t n_seen;           /* reals: see struct watched */
    bool keep;
};

/* A value that an observer may look at. What it saw is 1 and the smallest and
 * the largest value per channel, from `at` on; or 0. */
struct watched {
    int point, unit;
    int64_t at;
};

struct prefix_cuts {
    struct cut *cut;          /* [0, n], in the plan's order */
    int n;                    /* units */
    struct live_value *live;  /* of all cuts */
    int n_id;
    struct watched *watched;  /* calibration: in the order of the units */
    int n_watched;
    int64_t n_seen;           /* reals in all */
};
enum status prefix_cuts_init(struct prefix_cuts *c, const struct plan *p,
                             struct err *e);
void prefix_cuts_fini(struct prefix_cuts *c);
/* Marks those to keep of `batches` batches within `limit` bytes. */
enum status prefix_cuts_choose(struct prefix_cuts *c, const struct plan *p,
                               double batches, double limit, struct err *e);

/* ---- the store (prefix_store.c) ---- */

struct prefix_blob {
    struct digest key;
    struct value_grid grid;   /* on: bytes that stand for numbers on it */
    void *data;
    size_t bytes;
    struct prefix_blob *next;          /* in its bucket */
    struct prefix_blob *newer, *older;
    uint64_t pass;            /* that used it last */
};

/* NULL: not there. What is found belongs to the present pass and stays. */
struct prefix_blob *prefix_cache_get(struct prefix_cache *c,
                                     const struct digest *key);
void prefix_cache_count(struct prefix_cache *c, bool reused);
size_t prefix_cache_bound(const struct prefix_cache *c);
/* NULL when there is no room. Not to be found yet: put or drop it. */
struct prefix_blob *prefix_blob_new(struct prefix_cache *c, size_t bytes);
/* In the place of one of that key. */
void prefix_blob_put(struct prefix_cache *c, struct prefix_blob *b,
                     const struct digest *key);
void prefix_blob_drop(struct prefix_cache *c, struct prefix_blob *b);

/* ---- values as blobs (prefix_values.c) ---- */

/* Fingerprints of a batch, from those of the units up to each. */
struct value_keys {
    const struct digest *unit, *lowered;        /* by unit + 1 */
    const struct digest *rows;
};
/* Numbers and codes of one thing. */
bool prefix_same_value(enum value_role a, enum value_role b);
/* Under which it may be found; returns how many. */
int prefix_value_keys(const struct plan *p, const struct live_value *v,
                      const struct value_keys *k, struct digest key[2]);
/* The blob of the value, or NULL. */
struct prefix_blob *prefix_value_find(struct prefix_cache *c,
                                      const struct plan *p,
                                      const struct live_value *v,
                                      const struct value_keys *k);
/* A new blob with the value as it is now, and the key to put it under. */
struct prefix_blob *prefix_value_keep(struct prefix_cache *c,
                                      const struct plan *p,
                                      const struct live_value *v,
                                      const struct value_keys *k,
                                      struct digest *key);
void prefix_value_restore(const struct prefix_blob *b, struct plan *p,
                          const struct live_value *v);

#endif

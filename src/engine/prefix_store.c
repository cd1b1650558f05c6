/* The store: values of batches by their fingerprint.
 *
 * What was not used for longest goes first: when a batch keeps new values, its
 * old ones from behind the change, and not those that later batches are about
 * to begin with. What the present pass has kept or found stays, so that a pass
 * larger than the limit keeps its first batches instead of none.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/prefix_impl.h"

#define FIRST_BUCKETS 256

struct prefix_cache {
    size_t limit, bytes;
    struct prefix_blob **bucket;
    size_t n_bucket;          /* a power of two, or 0 */
    struct prefix_blob *newest, *oldest;
    int64_t n_blob, batches, reused;
    uint64_t pass;
};

/* ---- the list by use, and the buckets ---- */

static void list_add(struct prefix_cache *c, struct prefix_blob *n)
{
    n->newer = NULL;
    n->older = c->newest;
    if (c->newest)
        c->newest->newer = n;
    c->newest = n;
    if (!c->oldest)
        c->oldest = n;
}

static void list_remove(struct prefix_cache *c, struct prefix_blob *n)
{
    if (n->newer)
        n->newer->older = n->older;
    else
        c->newest = n->older;
    if (n->older)
        n->older->newer = n->newer;
    else
        c->oldest = n->newer;
}

static struct prefix_blob **bucket_of(const struct prefix_cache *c,
                                       const struct digest *key)
{
    return &c->bucket[key->half[0] & (c->n_bucket - 1)];
}

static void bucket_add(struct prefix_cache *c, struct prefix_blob *n)
{
    struct prefix_blob **at = bucket_of(c, &n->key);
    n->next = *at;
    *at = n;
}

static void bucket_remove(struct prefix_cache *c, struct prefix_blob *n)
{
    struct prefix_blob **at = bucket_of(c, &n->key);
    while (*at != n)
        at = &(*at)->next;
    *at = n->next;
}

/* Short of memory the buckets only grow longer. */
static bool make_buckets(struct prefix_cache *c)
{
    size_t n = c->n_bucket ? 2 * c->n_bucket : FIRST_BUCKETS;
    struct prefix_blob **more = mem_alloc(n, sizeof(struct prefix_blob *));
    if (!more)
        return c->n_bucket > 0;
    mem_free(c->bucket);
    c->bucket = more;
    c->n_bucket = n;
    for (struct prefix_blob *i = c->newest; i; i = i->older)
        bucket_add(c, i);
    return true;
}

/* ---- blobs ---- */

static void blob_free(struct prefix_blob *b)
{
    mem_unmap(b->data);
    mem_free(b);
}

static size_t blob_bytes(const struct prefix_blob *b)
{
    return b->bytes + sizeof *b;
}

static void evict(struct prefix_cache *c, struct prefix_blob *n)
{
    list_remove(c, n);
    bucket_remove(c, n);
    c->bytes -= blob_bytes(n);
    c->n_blob--;
    blob_free(n);
}

/* NULL: all that is there belongs to the present pass. */
static struct prefix_blob *victim(const struct prefix_cache *c)
{
    return c->oldest && c->oldest->pass != c->pass ? c->oldest : NULL;
}

/* Counts the bytes in when there is room for them. */
static bool reserve(struct prefix_cache *c, size_t bytes)
{
    while (c->bytes + bytes > c->limit) {
        struct prefix_blob *n = victim(c);
        if (!n)
            return false;
        evict(c, n);
    }
    c->bytes += bytes;
    return true;
}

struct prefix_blob *prefix_cache_get(struct prefix_cache *c,
                                      const struct digest *key)
{
    if (c->n_bucket == 0)
        return NULL;
    struct prefix_blob *n = *bucket_of(c, key);
    while (n && !digest_equal(&n->key, key))
        n = n->next;
    if (!n)
        return NULL;
    n->pass = c->pass;
    list_remove(c, n);
    list_add(c, n);
    return n;
}

struct prefix_blob *prefix_blob_new(struct prefix_cache *c, size_t bytes)
{
    if (!reserve(c, bytes + sizeof(struct prefix_blob)))
        return NULL;
    struct prefix_blob *b = mem_alloc(1, sizeof *b);
    void *data = mem_map(bytes);
    if (!b || !data) {
        c->bytes -= bytes + sizeof *b;
        mem_free(b);
        mem_unmap(data);
        return NULL;
    }
    b->data = data;
    b->bytes = bytes;
    return b;
}

void prefix_blob_put(struct prefix_cache *c, struct prefix_blob *b,
                     const struct digest *key)
{
    struct prefix_blob *old = prefix_cache_get(c, key);
    if (old)
        evict(c, old);
    if (c->n_blob >= (int64_t)c->n_bucket && !make_buckets(c)) {
        prefix_blob_drop(c, b);
        return;
    }
    b->key = *key;
    b->pass = c->pass;
    list_add(c, b);
    bucket_add(c, b);
    c->n_blob++;
}

void prefix_blob_drop(struct prefix_cache *c, struct prefix_blob *b)
{
    if (!b)
        return;
    c->bytes -= blob_bytes(b);
    blob_free(b);
}

/* ---- the cache ---- */

enum status prefix_cache_new(size_t limit, struct prefix_cache **out,
                             struct err *e)
{
    *out = mem_alloc(1, sizeof **out);
    if (!*out)
        return err_memory(e, "a cache of values");
    (*out)->limit = limit;
    return STATUS_OK;
}

void prefix_cache_clear(struct prefix_cache *c)
{
    while (c->oldest)
        evict(c, c->oldest);
}

void prefix_cache_free(struct prefix_cache *c)
{
    if (!c)
        return;
    prefix_cache_clear(c);
    mem_free(c->bucket);
    mem_free(c);
}

void prefix_cache_limit(struct prefix_cache *c, size_t bytes)
{
    c->limit = bytes;
    while (c->bytes > c->limit && c->oldest)
        evict(c, c->oldest);
}

void prefix_cache_look(const struct prefix_cache *c,
                       struct prefix_cache_info *out)
{
    *out = (struct prefix_cache_info){
        .bytes = c->bytes,
        .limit = c->limit,
        .values = c->n_blob,
        .batches = c->batches,
        .reused = c->reused,
    };
}

void prefix_cache_begin(struct prefix_cache *c)
{
    c->pass++;
}

void prefix_cache_count(struct prefix_cache *c, bool reused)
{
    c->batches++;
    c->reused += reused;
}

size_t prefix_cache_bound(const struct prefix_cache *c)
{
    return c->limit;
}

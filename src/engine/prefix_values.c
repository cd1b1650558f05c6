/* Values as blobs: by which fingerprint they are found, numbers on a grid as
 * bytes. SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/prefix_impl.h"

#include <string.h>

#include "engine/sheet.h"

#define PIECE 16384           /* numbers a thread turns at a time */

/* ---- numbers on a grid as bytes ---- */

union bits {
    float f;
    uint32_t u;
};

/* How many numbers are not exactly those that the bytes stand for. */
ENGINE_CLONES static int64_t pack_piece(const struct value_grid *gp,
                                        const float *x, uint8_t *y,
                                        int64_t n)
{
    const struct value_grid g = *gp;
    int64_t bad = 0;
#pragma omp simd reduction(+ : bad)
    for (int64_t i = 0; i < n; i++) {
        float v = __builtin_rintf(x[i] * g.inv) + g.zero;
        v = v > g.lo ? v : g.lo;
        v = v < g.hi ? v : g.hi;
        union bits was = {x[i]}, is = {(v - g.zero) * g.scale};
        bad += was.u != is.u;
        y[i] = (uint8_t)(int32_t)(v - g.lo);
    }
    return bad;
}

ENGINE_CLONES static void unpack_piece(const struct value_grid *gp,
                                       const uint8_t *x, float *y, int64_t n)
{
    const struct value_grid g = *gp;
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = ((float)x[i] + g.lo - g.zero) * g.scale;
}

static int64_t piece(int64_t at, int64_t n)
{
    return n - at < PIECE ? n - at : PIECE;
}

/* The first piece tells soon where a guess was wrong. */
static bool pack(const struct value_grid *g, const float *x, uint8_t *y,
                 int64_t n)
{
    int64_t bad = pack_piece(g, x, y, piece(0, n));
    if (bad)
        return false;
#pragma omp parallel for schedule(static) if (n > 4 * PIECE) \
    reduction(+ : bad)
    for (int64_t i = PIECE; i < n; i += PIECE)
        bad += pack_piece(g, x + i, y + i, piece(i, n));
    return bad == 0;
}

static void unpack(const struct value_grid *g, const uint8_t *x, float *y,
                   int64_t n)
{
#pragma omp parallel for schedule(static) if (n > 4 * PIECE)
    for (int64_t i = 0; i < n; i += PIECE)
        unpack_piece(g, x + i, y + i, piece(i, n));
}

static bool grid_equal(const struct value_grid *a, const struct value_grid *b)
{
    return a->on && b->on && a->scale == b->scale && a->zero == b->zero &&
           a->lo == b->lo && a->hi == b->hi;
}

/* ---- keys ---- */

/* Numbers that lie on their grid and their codes are one blob. */
enum form { FORM_OWN, FORM_BYTES };

static const enum value_role numbers_of[ROLE_COUNT] = {
    [ROLE_OTHER] = ROLE_OTHER, [ROLE_RAW] = ROLE_RAW, [ROLE_OUT] = ROLE_OUT,
    [ROLE_CODE] = ROLE_OUT,    [ROLE_VIEW] = ROLE_VIEW,
    [ROLE_VIEW_CODE] = ROLE_VIEW,
};

bool prefix_same_value(enum value_role a, enum value_role b)
{
    return numbers_of[a] == numbers_of[b];
}

static bool is_codes(const struct live_value *v)
{
    return numbers_of[v->role] != v->role;
}

static struct digest value_key(const struct plan *p,
                               const struct live_value *v,
                               const struct value_keys *k, enum form form)
{
    const struct buffer *b = &p->buf[v->buffer];
    bool bytes = form == FORM_BYTES;
    const int64_t whole[] = {
        form, bytes ? numbers_of[v->role] : v->role, v->node,
        bytes ? DTYPE_U8 : b->type, b->layout, b->shape.rank,
    };
    const struct digest *upto = v->role == ROLE_OTHER ? k->lowered : k->unit;
    struct hash128 h;
    hash128_init(&h, 10);
    hash128_add(&h, &upto[v->unit + 1], sizeof upto[v->unit + 1]);
    hash128_add(&h, k->rows, sizeof *k->rows);
    hash128_add(&h, whole, sizeof whole);
    hash128_add_piece(&h, b->shape.dim,
                      (size_t)b->shape.rank * sizeof b->shape.dim[0]);
    return hash128_end(&h);
}

int prefix_value_keys(const struct plan *p, const struct live_value *v,
                      const struct value_keys *k, struct digest key[2])
{
    int n = 0;
    if (v->grid.on)
        key[n++] = value_key(p, v, k, FORM_BYTES);
    key[n++] = value_key(p, v, k, FORM_OWN);
    return n;
}

struct prefix_blob *prefix_value_find(struct prefix_cache *c,
                                      const struct plan *p,
                                      const struct live_value *v,
                                      const struct value_keys *k)
{
    struct digest key[2];
    int n = prefix_value_keys(p, v, k, key);
    for (int i = 0; i < n; i++) {
        struct prefix_blob *b = prefix_cache_get(c, &key[i]);
        if (b && (i == n - 1 || grid_equal(&b->grid, &v->grid)))
            return b;
    }
    return NULL;
}

/* ---- keeping and restoring ---- */

static struct prefix_blob *keep_packed(struct prefix_cache *c,
                                       const struct plan *p,
                                       const struct live_value *v)
{
    const struct buffer *b = &p->buf[v->buffer];
    int64_t n = shape_count(&b->shape);
    uint8_t sample[PIECE];
    if (b->type != DTYPE_F32 || !v->grid.on ||
        pack_piece(&v->grid, b->data, sample, piece(0, n)))
        return NULL;
    struct prefix_blob *blob = prefix_blob_new(c, (size_t)n);
    if (blob && !pack(&v->grid, b->data, blob->data, n)) {
        prefix_blob_drop(c, blob);
        return NULL;
    }
    if (blob)
        blob->grid = v->grid;
    return blob;
}

static struct prefix_blob *keep_whole(struct prefix_cache *c,
                                      const struct plan *p,
                                      const struct live_value *v)
{
    const struct buffer *b = &p->buf[v->buffer];
    struct prefix_blob *blob = prefix_blob_new(c, (size_t)b->bytes);
    if (blob)
        memcpy(blob->data, b->data, (size_t)b->bytes);
    return blob;
}

/* Codes that a quantizer made stand for the numbers that it made. Those of
 * values that only follow a grid may not: they are found from the numbers. */
struct prefix_blob *prefix_value_keep(struct prefix_cache *c,
                                      const struct plan *p,
                                      const struct live_value *v,
                                      const struct value_keys *k,
                                      struct digest *key)
{
    struct prefix_blob *blob = keep_packed(c, p, v);
    bool bytes = blob != NULL;
    if (!blob)
        blob = keep_whole(c, p, v);
    if (blob && is_codes(v) && v->rounded && v->grid.on) {
        blob->grid = v->grid;
        bytes = true;
    }
    *key = value_key(p, v, k, bytes ? FORM_BYTES : FORM_OWN);
    return blob;
}

void prefix_value_restore(const struct prefix_blob *b, struct plan *p,
                          const struct live_value *v)
{
    struct buffer *to = &p->buf[v->buffer];
    if (b->grid.on && to->type == DTYPE_F32)
        unpack(&b->grid, b->data, to->data, shape_count(&to->shape));
    else
        memcpy(to->data, b->data, b->bytes);
}

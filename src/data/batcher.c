/* Batches: order, augmentation, normalisation.
 *
 * Augmentation is drawn for the whole batch, one sample after the other,
 * before any sample is written: so the threads that write cannot change
 * what is drawn. SPDX-License-Identifier: GPL-3.0-or-later */
#include <assert.h>
#include <string.h>

#include "base/arena.h"
#include "data/source.h"

/* Below this many values (some tens of microseconds) waking a second thread
 * costs more than it brings. */
#define PARALLEL_VALUES ((int64_t)1 << 17)

struct sample_move {
    int dx, dy;               /* right and down, pixels */
    bool flip;                /* before the shift */
};

/* What all samples of a batch share: x (batch, ...) <- block (n, ...). */
struct filling {
    const struct dataset *d;
    const struct samples *block;
    enum layout layout;
    bool moved, bytes;
    int64_t channels, inner;  /* of the normalisation */
    float *x;
    int32_t *y;
    float *t;
};

/* y = (x * scale - mean) * inv_std */
struct affine {
    float scale, mean, inv_std;
};

static struct affine affine_of(const struct dataset *d, int64_t channel)
{
    bool on = d->n_norm > 0;
    return (struct affine){
        .scale = d->scale,
        .mean = on ? d->mean[channel] : 0.0f,
        .inv_std = on ? d->inv_std[channel] : 1.0f,
    };
}

static void fill_bytes(const uint8_t *src, float *dst, int64_t n,
                       struct affine a)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        dst[i] = ((float)src[i] * a.scale - a.mean) * a.inv_std;
}

/* n values, dst `to` floats apart, src `step` bytes or floats apart. */
static void fill_row(const struct filling *f, int64_t channel,
                     int64_t from, int64_t step, float *dst, int64_t to,
                     int64_t n)
{
    struct affine a = affine_of(f->d, channel);
    if (f->bytes) {
        const uint8_t *src = (const uint8_t *)f->block->x.data + from;
        if (step == 1 && to == 1) {
            fill_bytes(src, dst, n, a);
            return;
        }
        for (int64_t i = 0; i < n; i++)
            dst[i * to] =
                ((float)src[i * step] * a.scale - a.mean) * a.inv_std;
        return;
    }
    const float *src = (const float *)f->block->x.data + from;
    for (int64_t i = 0; i < n; i++)
        dst[i * to] = (src[i * step] * a.scale - a.mean) * a.inv_std;
}

/* A sample that is not moved and keeps its order in memory. */
static void fill_plain(const struct filling *f, int64_t row, float *x)
{
    int64_t count = f->channels * f->inner;
    for (int64_t c = 0; c < f->channels; c++)
        fill_row(f, c, row * count + c * f->inner, 1, x + c * f->inner, 1,
                 f->inner);
}

/* One channel of an image, moved, (H,W) of either layout. */
static void fill_channel(const struct filling *f, int64_t row, int64_t c,
                         const struct sample_move *m, float *x)
{
    const int64_t *dim = f->d->sample.dim;
    int64_t channels = dim[1], h = dim[2], w = dim[3];
    bool last = f->layout == LAYOUT_NHWC;
    int64_t to = last ? channels : 1, line = last ? w * channels : w;
    int64_t norm = f->channels > 1 ? c : 0;
    int64_t left = m->dx > 0 ? m->dx : 0, right = m->dx < 0 ? w + m->dx : w;
    float *plane = x + (last ? c : c * h * w);
    struct affine a = affine_of(f->d, norm);
    float zero = (0.0f * a.scale - a.mean) * a.inv_std;
    for (int64_t i = 0; i < h; i++) {
        float *out = plane + i * line;
        int64_t from = i - m->dy;
        bool inside = from >= 0 && from < h && left < right;
        int64_t first = inside ? left : w, end = inside ? right : w;
        for (int64_t k = 0; k < first; k++)
            out[k * to] = zero;
        for (int64_t k = end; k < w; k++)
            out[k * to] = zero;
        if (!inside)
            continue;
        int64_t start = first - m->dx;
        int64_t at = ((row * channels + c) * h + from) * w +
                     (m->flip ? w - 1 - start : start);
        fill_row(f, norm, at, m->flip ? -1 : 1, out + first * to, to,
                 end - first);
    }
}

static void fill_input(const struct filling *f, int64_t row,
                       const struct sample_move *m, int64_t i)
{
    float *x = f->x + i * shape_count(&f->d->sample);
    bool turned = f->layout == LAYOUT_NHWC && f->d->image &&
                  f->d->sample.dim[1] > 1;
    if (f->moved || turned)
        for (int64_t c = 0; c < f->d->sample.dim[1]; c++)
            fill_channel(f, row, c, m, x);
    else
        fill_plain(f, row, x);
}

static void fill_sample(const struct filling *f, int64_t row,
                        const struct sample_move *m, int64_t i)
{
    if (f->x)
        fill_input(f, row, m, i);
    if (f->y && f->block->y.type == DTYPE_I32)
        f->y[i] = ((const int32_t *)f->block->y.data)[row];
    int64_t targets = f->d->targets;
    if (f->t && f->block->y.type == DTYPE_F32)
        memcpy(f->t + i * targets,
               (const float *)f->block->y.data + row * targets,
               (size_t)targets * sizeof(float));
}

static const struct samples *block_of(const struct dataset *d, enum split s)
{
    return s == SPLIT_TEST ? &d->test : &d->train;
}

enum status batcher_init(struct batcher *b, const struct dataset *d,
                         enum split s, int64_t batch, struct err *e)
{
    int64_t n = dataset_size(d, s);
    if (batch < 1)
        return err_set(e, STATUS_ARG, "batch of %lld samples, wanted at "
                       "least 1", (long long)batch);
    if (n < 1)
        return err_set(e, STATUS_STATE, "data set '%s' has no %s samples",
                       d->name, split_name[s]);
    batch = batch < n ? batch : n;
    *b = (struct batcher){ .data = d, .split = s, .batch = batch, .n = n };
    b->index = mem_alloc((size_t)n, sizeof *b->index);
    b->move = mem_alloc((size_t)batch, sizeof *b->move);
    if (!b->index || !b->move) {
        batcher_fini(b);
        return err_memory(e, "the order of the samples");
    }
    int64_t start = s == SPLIT_VAL ? d->n_train : 0;
    for (int64_t i = 0; i < n; i++)
        b->index[i] = s == SPLIT_TEST ? (uint32_t)i : d->order[start + i];
    return STATUS_OK;
}

void batcher_fini(struct batcher *b)
{
    mem_free(b->index);
    mem_free(b->move);
    *b = (struct batcher){ 0 };
}

void batcher_shuffle(struct batcher *b, struct rng *r)
{
    rng_shuffle(r, b->index, (size_t)b->n);
    b->position = 0;
}

void batcher_rewind(struct batcher *b)
{
    b->position = 0;
}

static void draw_moves(struct batcher *b, int64_t n, struct rng *r)
{
    const struct augment *a = &b->augment;
    uint64_t span = 2 * (uint64_t)a->shift + 1;
    for (int64_t i = 0; i < n; i++) {
        struct sample_move m = { 0 };
        if (a->flip)
            m.flip = rng_below(r, 2) == 1;
        if (a->shift > 0) {
            m.dx = (int)rng_below(r, span) - a->shift;
            m.dy = (int)rng_below(r, span) - a->shift;
        }
        b->move[i] = m;
    }
}

int64_t batcher_next(struct batcher *b, float *x, int32_t *y, float *t,
                     struct rng *r)
{
    const struct dataset *d = b->data;
    int64_t left = b->n - b->position;
    int64_t n = left < b->batch ? left : b->batch;
    if (n <= 0)
        return 0;
    int64_t channels = d->n_norm ? d->n_norm : 1;
    int64_t count = shape_count(&d->sample);
    struct filling f = {
        .d = d, .block = block_of(d, b->split), .layout = b->layout,
        .channels = channels, .inner = count / channels,
        .x = x, .y = y, .t = t,
    };
    f.bytes = f.block->x.type == DTYPE_U8;
    f.moved = r && d->image && (b->augment.flip || b->augment.shift > 0);
    if (f.moved)
        draw_moves(b, n, r);
    else
        memset(b->move, 0, (size_t)n * sizeof *b->move);
    const uint32_t *row = b->index + b->position;
#pragma omp parallel for if (n * count > PARALLEL_VALUES)
    for (int64_t i = 0; i < n; i++)
        fill_sample(&f, row[i], &b->move[i], i);
    b->position += n;
    return n;
}

static void add_reals(struct hash128 *h, const float *v, int n)
{
    hash128_add_piece(h, v, (size_t)n * sizeof *v);
}

struct digest batcher_digest(const struct batcher *b, int64_t n)
{
    const struct dataset *d = b->data;
    const struct tensor *x = &block_of(d, b->split)->x;
    size_t row = (size_t)shape_count(&d->sample) * dtype_table[x->type].size;
    struct hash128 h;
    hash128_init(&h, 0);
    hash128_add_int(&h, x->type);
    hash128_add_int(&h, d->image);
    hash128_add_piece(&h, d->sample.dim,
                      (size_t)d->sample.rank * sizeof d->sample.dim[0]);
    add_reals(&h, d->mean, d->n_norm);
    add_reals(&h, d->inv_std, d->n_norm);
    add_reals(&h, &d->scale, 1);
    for (int64_t i = 0; i < n && b->position + i < b->n; i++)
        hash128_add(&h, (const char *)x->data +
                            row * b->index[b->position + i], row);
    hash128_add_int(&h, n);
    return hash128_end(&h);
}

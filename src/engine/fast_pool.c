/* Pooling of (N,H,W,C) values: the channels of a pixel are one run.
 *
 * max_pool keeps, in training, which tap of each window won, in a byte.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/fast.h"

#include <string.h>

#include "nn/op_pool.h"

#define TAPS_MAX 256          /* a winner fits a byte */

/* Taps first .. end - 1 of a window lie inside; tap 0 is at `start`. */
struct taps {
    int32_t start, first, end;
};

struct pool {
    struct pool_geom g;
    struct taps *row, *col;   /* one an output row, column */
    const float *divisor;     /* (OH,OW), averages only */
    bool tiled;               /* windows cover each pixel once */
    bool pairs;               /* two columns wide, none outside */
    const float *x, *dy;
    float *y, *dx;
    unsigned char *winner;
};

struct pool_step {
    struct pool *pool;
    int x, y, winner;         /* buffers; in backward y is dy, x is dx */
};

/* ---- kernels of max_pool ---- */

/* Rows short enough for these are pooled down the columns first, over the
 * whole row, then along it, LANES channels at a time: lanes beyond the last
 * channel hold numbers of the next pixel, whose own come after them. */
#define ROW_MAX 4096
#define LANES 8

struct row_buffer {
    float best[ROW_MAX + LANES];
    int32_t tap[ROW_MAX + LANES];
};

/* Taps count from the left, then down: the first of equal values wins. */
ENGINE_CLONES static void k_down_first(const float *x, int32_t tap,
                                       struct row_buffer *r, int64_t n)
{
#pragma omp simd
    for (int64_t k = 0; k < n; k++) {
        r->best[k] = x[k];
        r->tap[k] = tap;
    }
}

ENGINE_CLONES static void k_down_next(const float *x, int32_t tap,
                                      struct row_buffer *r, int64_t n)
{
#pragma omp simd
    for (int64_t k = 0; k < n; k++) {
        int more = (x[k] > r->best[k]) | (x[k] != x[k]);
        r->best[k] = more ? x[k] : r->best[k];
        r->tap[k] = more ? tap : r->tap[k];
    }
}

/* down: the columns' best; y gets the windows' best. */
ENGINE_CLONES static void k_along(const struct pool *p,
                                  const struct row_buffer *down,
                                  struct row_buffer *y)
{
    const struct pool_geom *g = &p->g;
    int64_t c = g->c;
    for (int64_t j = 0; j < g->ow; j++) {
        const struct taps *q = &p->col[j];
        for (int64_t k = 0; k < c; k += LANES) {
            int64_t at = (q->start + q->first * g->dw) * c + k;
            float best[LANES];
            int32_t tap[LANES];
#pragma omp simd
            for (int l = 0; l < LANES; l++) {
                best[l] = down->best[at + l];
                tap[l] = down->tap[at + l] + q->first;
            }
            for (int32_t b = q->first + 1; b < q->end; b++) {
                at += g->dw * c;
#pragma omp simd
                for (int l = 0; l < LANES; l++) {
                    float v = down->best[at + l];
                    int32_t t = down->tap[at + l] + b;
                    int more = (v > best[l]) | (v != v) |
                               ((v == best[l]) & (t < tap[l]));
                    best[l] = more ? v : best[l];
                    tap[l] = more ? t : tap[l];
                }
            }
            memcpy(y->best + j * c + k, best, sizeof(best));
            memcpy(y->tap + j * c + k, tap, sizeof(tap));
        }
    }
}

/* Windows of two without a border, the usual ones: no loop over taps. */
ENGINE_CLONES static void k_along_pairs(const struct pool *p,
                                        const struct row_buffer *down,
                                        struct row_buffer *y)
{
    const struct pool_geom *g = &p->g;
    int64_t c = g->c, step = g->dw * c;
    for (int64_t j = 0; j < g->ow; j++) {
        const float *x = down->best + p->col[j].start * c;
        const int32_t *tap = down->tap + p->col[j].start * c;
        float *best = y->best + j * c;
        int32_t *win = y->tap + j * c;
        for (int64_t k = 0; k < c; k += LANES) {
#pragma omp simd
            for (int l = 0; l < LANES; l++) {
                float u = x[k + l], v = x[k + step + l];
                int32_t s = tap[k + l], t = tap[k + step + l] + 1;
                int more = (v > u) | (v != v) | ((v == u) & (t < s));
                best[k + l] = more ? v : u;
                win[k + l] = more ? t : s;
            }
        }
    }
}

ENGINE_CLONES static void k_bytes(const int32_t *tap, unsigned char *byte,
                                  int64_t n)
{
#pragma omp simd
    for (int64_t k = 0; k < n; k++)
        byte[k] = (unsigned char)tap[k];
}

static void max_short_row(const struct pool *p, int64_t n, int64_t i)
{
    const struct pool_geom *g = &p->g;
    const struct taps *r = &p->row[i];
    struct row_buffer down, y;
    int64_t row = g->w * g->c, out = g->ow * g->c;
    const float *x = p->x + (n * g->h + r->start) * row;
    int32_t kw = (int32_t)g->kw;
    k_down_first(x + r->first * g->dh * row, r->first * kw, &down, row);
    for (int32_t a = r->first + 1; a < r->end; a++)
        k_down_next(x + a * g->dh * row, a * kw, &down, row);
    memset(down.best + row, 0, LANES * sizeof(float));
    memset(down.tap + row, 0, LANES * sizeof(int32_t));
    (p->pairs ? k_along_pairs : k_along)(p, &down, &y);
    int64_t at = (n * g->oh + i) * out;
    memcpy(p->y + at, y.best, (size_t)out * sizeof(float));
    if (p->winner)
        k_bytes(y.tap, p->winner + at, out);
}

ENGINE_CLONES static void max_long_row(const struct pool *p, int64_t n,
                                       int64_t i)
{
    const struct pool_geom *g = &p->g;
    const struct taps *r = &p->row[i];
    int64_t c = g->c, at = (n * g->oh + i) * g->ow * c;
    const float *image = p->x + (n * g->h + r->start) * g->w * c;
    for (int64_t j = 0; j < g->ow; j++) {
        const struct taps *q = &p->col[j];
        for (int64_t k = 0; k < c; k++, at++) {
            const float *x = image + q->start * c + k;
            float best = x[(r->first * g->dh * g->w + q->first * g->dw) * c];
            int64_t win = r->first * g->kw + q->first;
            for (int64_t a = r->first; a < r->end; a++) {
                for (int64_t b = q->first; b < q->end; b++) {
                    float v = x[(a * g->dh * g->w + b * g->dw) * c];
                    bool more = v > best || v != v;
                    best = more ? v : best;
                    win = more ? a * g->kw + b : win;
                }
            }
            p->y[at] = best;
            if (p->winner)
                p->winner[at] = (unsigned char)win;
        }
    }
}

static void max_row(const struct pool *p, int64_t n, int64_t i)
{
    bool is_short = p->g.w * p->g.c <= ROW_MAX && p->g.ow * p->g.c <= ROW_MAX;
    (is_short ? max_short_row : max_long_row)(p, n, i);
}

/* Tiled windows: row a of the gradient of one row of windows, in order. */
ENGINE_CLONES static void k_spread(const struct pool *p, int64_t a,
                                   const struct row_buffer *dy, float *dx)
{
    const struct pool_geom *g = &p->g;
    int64_t c = g->c;
    for (int64_t j = 0; j < g->ow; j++) {
        for (int64_t b = 0; b < g->kw; b++, dx += c) {
            int32_t tap = (int32_t)(a * g->kw + b);
            for (int64_t k = 0; k < c; k += LANES) {
                const float *d = dy->best + j * c + k;
                const int32_t *t = dy->tap + j * c + k;
#pragma omp simd
                for (int l = 0; l < LANES; l++)
                    dx[k + l] = t[l] == tap ? d[l] : 0.0f;
            }
        }
    }
}

static void max_back_tiled(const struct pool *p, int64_t n, int64_t i)
{
    const struct pool_geom *g = &p->g;
    int64_t row = g->w * g->c, out = g->ow * g->c;
    int64_t at = (n * g->oh + i) * out;
    struct row_buffer dy;
    float dx[ROW_MAX + LANES];
    memcpy(dy.best, p->dy + at, (size_t)out * sizeof(float));
    memset(dy.best + out, 0, LANES * sizeof(float));
    for (int64_t k = 0; k < out; k++)
        dy.tap[k] = p->winner[at + k];
    memset(dy.tap + out, 0, LANES * sizeof(int32_t));
    for (int64_t a = 0; a < g->kh; a++) {
        k_spread(p, a, &dy, dx);
        memcpy(p->dx + (n * g->h + i * g->sh + a) * row, dx,
               (size_t)row * sizeof(float));
    }
}

/* Gradient of one image. */
static void max_back_image(const struct pool *p, int64_t n)
{
    const struct pool_geom *g = &p->g;
    int64_t c = g->c, at = n * g->oh * g->ow * c;
    float *image = p->dx + n * g->h * g->w * c;
    if (p->tiled && g->w * c <= ROW_MAX) {
        for (int64_t i = 0; i < g->oh; i++)
            max_back_tiled(p, n, i);
        return;
    }
    memset(image, 0, (size_t)(g->h * g->w * c) * sizeof(float));
    for (int64_t i = 0; i < g->oh; i++) {
        for (int64_t j = 0; j < g->ow; j++) {
            for (int64_t k = 0; k < c; k++, at++) {
                int64_t a = p->winner[at] / g->kw, b = p->winner[at] % g->kw;
                int64_t y = p->row[i].start + a * g->dh;
                int64_t x = p->col[j].start + b * g->dw;
                image[(y * g->w + x) * c + k] += p->dy[at];
            }
        }
    }
}

/* ---- kernels of averages ---- */

ENGINE_CLONES static void mean_row(const struct pool *p, int64_t n, int64_t i)
{
    const struct pool_geom *g = &p->g;
    const struct taps *r = &p->row[i];
    int64_t c = g->c;
    float *y = p->y + (n * g->oh + i) * g->ow * c;
    for (int64_t j = 0; j < g->ow; j++, y += c) {
        const struct taps *q = &p->col[j];
        float divisor = p->divisor[i * g->ow + j];
        for (int64_t k = 0; k < c; k++)
            y[k] = 0.0f;
        for (int64_t a = r->first; a < r->end; a++) {
            for (int64_t b = q->first; b < q->end; b++) {
                const float *x = p->x + ((n * g->h + r->start + a) * g->w +
                                         q->start + b) * c;
#pragma omp simd
                for (int64_t k = 0; k < c; k++)
                    y[k] += x[k];
            }
        }
#pragma omp simd
        for (int64_t k = 0; k < c; k++)
            y[k] /= divisor;
    }
}

ENGINE_CLONES static void mean_back_image(const struct pool *p, int64_t n)
{
    const struct pool_geom *g = &p->g;
    int64_t c = g->c;
    float *image = p->dx + n * g->h * g->w * c;
    const float *dy = p->dy + n * g->oh * g->ow * c;
    if (!p->tiled)
        memset(image, 0, (size_t)(g->h * g->w * c) * sizeof(float));
    for (int64_t i = 0; i < g->oh; i++) {
        const struct taps *r = &p->row[i];
        for (int64_t j = 0; j < g->ow; j++, dy += c) {
            const struct taps *q = &p->col[j];
            float divisor = p->divisor[i * g->ow + j];
            for (int64_t a = r->first; a < r->end; a++) {
                for (int64_t b = q->first; b < q->end; b++) {
                    float *dx = image + ((r->start + a) * g->w +
                                         q->start + b) * c;
#pragma omp simd
                    for (int64_t k = 0; k < c; k++) {
                        float d = dy[k] / divisor;
                        dx[k] = p->tiled ? d : dx[k] + d;
                    }
                }
            }
        }
    }
}

/* ---- steps ---- */

static bool is_large(const struct pool_geom *g)
{
    return g->n * g->oh * g->ow * g->c * g->kh * g->kw > SHEET_PARALLEL;
}

static void forward_rows(const struct pool *p,
                         void (*row)(const struct pool *, int64_t, int64_t))
{
    int64_t rows = p->g.n * p->g.oh;
#pragma omp parallel for schedule(static) if (is_large(&p->g))
    for (int64_t r = 0; r < rows; r++)
        row(p, r / p->g.oh, r % p->g.oh);
}

static void backward_images(const struct pool *p,
                            void (*image)(const struct pool *, int64_t))
{
#pragma omp parallel for schedule(static) if (is_large(&p->g))
    for (int64_t n = 0; n < p->g.n; n++)
        image(p, n);
}

static enum status forward_bind(struct plan *p, struct step *s, struct err *e)
{
    (void)e;
    const struct pool_step *o = s->priv;
    o->pool->x = plan_floats(p, o->x);
    o->pool->y = plan_floats(p, o->y);
    o->pool->winner = plan_data(p, o->winner);
    return STATUS_OK;
}

static enum status backward_bind(struct plan *p, struct step *s,
                                 struct err *e)
{
    (void)e;
    const struct pool_step *o = s->priv;
    o->pool->dx = plan_floats(p, o->x);
    o->pool->dy = plan_floats(p, o->y);
    return STATUS_OK;
}

static enum status max_run(struct plan *p, struct step *s, struct err *e)
{
    (void)p;
    (void)e;
    forward_rows(((const struct pool_step *)s->priv)->pool, max_row);
    return STATUS_OK;
}

static enum status max_back_run(struct plan *p, struct step *s,
                                struct err *e)
{
    (void)p;
    (void)e;
    backward_images(((const struct pool_step *)s->priv)->pool,
                    max_back_image);
    return STATUS_OK;
}

static enum status mean_run(struct plan *p, struct step *s, struct err *e)
{
    (void)p;
    (void)e;
    forward_rows(((const struct pool_step *)s->priv)->pool, mean_row);
    return STATUS_OK;
}

static enum status mean_back_run(struct plan *p, struct step *s,
                                 struct err *e)
{
    (void)p;
    (void)e;
    backward_images(((const struct pool_step *)s->priv)->pool,
                    mean_back_image);
    return STATUS_OK;
}

static const struct step_kind max_kind[] = {
    {"max_pool fwd", PHASE_FORWARD, forward_bind, max_run, NULL},
    {"max_pool bwd", PHASE_BACKWARD, backward_bind, max_back_run, NULL},
};

static const struct step_kind mean_kind[] = {
    {"avg_pool fwd", PHASE_FORWARD, forward_bind, mean_run, NULL},
    {"avg_pool bwd", PHASE_BACKWARD, backward_bind, mean_back_run, NULL},
};

/* ---- building ---- */

static bool is_mean(const struct node *n)
{
    return n->op == &op_avg_pool || n->op == &op_global_avg_pool;
}

static struct pool_geom geom_of(const struct node *n, const struct shape *x)
{
    if (n->op != &op_global_avg_pool)
        return pool_geom_of(n, x);
    return (struct pool_geom){
        .n = x->dim[0], .c = x->dim[1], .h = x->dim[2], .w = x->dim[3],
        .oh = 1, .ow = 1, .kh = x->dim[2], .kw = x->dim[3],
        .sh = 1, .sw = 1, .dh = 1, .dw = 1,
    };
}

static bool pool_fits(struct plan *p, struct unit *u)
{
    const struct node *n = &p->graph->node[u->node[0]];
    if (n->shape.rank != 4 || (!is_mean(n) && n->op != &op_max_pool))
        return false;
    struct shape x = p->graph->node[n->in[0]].shape;
    struct pool_geom g = geom_of(n, &x);
    return is_mean(n) || g.kh * g.kw <= TAPS_MAX;
}

static struct taps taps_of(const struct pool_window *w, int64_t start,
                           int64_t dilation)
{
    struct taps t = {.start = (int32_t)start};
    t.first = (int32_t)((w->first - start) / dilation);
    t.end = (int32_t)((w->end - start + dilation - 1) / dilation);
    return t;
}

static void fill_windows(struct pool *p, float *divisor)
{
    const struct pool_geom *g = &p->g;
    for (int64_t i = 0; i < g->oh; i++) {
        struct pool_window r = pool_window_row(g, i);
        p->row[i] = taps_of(&r, i * g->sh - g->pt, g->dh);
        for (int64_t j = 0; j < g->ow; j++) {
            struct pool_window c = pool_window_col(g, j);
            p->col[j] = taps_of(&c, j * g->sw - g->pl, g->dw);
            int64_t inside = (p->row[i].end - p->row[i].first) *
                             (p->col[j].end - p->col[j].first);
            divisor[i * g->ow + j] =
                (float)(g->count_pads ? r.padded * c.padded : inside);
        }
    }
}

static struct pool *pool_new(struct plan *p, int node)
{
    struct pool *o = arena_alloc(p->arena, sizeof(*o));
    if (!o)
        return NULL;
    const struct node *n = &p->graph->node[node];
    const struct pool_geom *g = &o->g;
    o->g = geom_of(n, plan_shape(p, plan_in(p, node, 0)));
    o->row = arena_alloc(p->arena, (size_t)g->oh * sizeof(*o->row));
    o->col = arena_alloc(p->arena, (size_t)g->ow * sizeof(*o->col));
    float *divisor =
        arena_alloc(p->arena, (size_t)(g->oh * g->ow) * sizeof(*divisor));
    if (!o->row || !o->col || !divisor)
        return NULL;
    o->divisor = divisor;
    fill_windows(o, divisor);
    o->tiled = g->dh == 1 && g->dw == 1 && g->pt == 0 && g->pl == 0 &&
               g->sh == g->kh && g->sw == g->kw && g->oh * g->sh == g->h &&
               g->ow * g->sw == g->w;
    o->pairs = g->kw == 2 && g->pl == 0 &&
               (g->ow - 1) * g->sw + g->dw < g->w;
    return o;
}

struct pool_unit {
    struct pool *pool;
    int winner;
};

static enum status pool_step(struct plan *p, int node,
                             const struct step_kind *kind,
                             const struct pool_step *spec, struct err *e)
{
    struct step *s = plan_step(p, kind, node, sizeof(struct pool_step));
    if (!s)
        return err_memory(e, "plan");
    *(struct pool_step *)s->priv = *spec;
    step_touch(p, s, spec->x);
    step_touch(p, s, spec->y);
    step_touch(p, s, spec->winner);
    return STATUS_OK;
}

static enum status pool_forward(struct plan *p, struct unit *u,
                                struct err *e)
{
    int node = u->node[0];
    TRY(quant_in_forward(p, node, e));
    plan_make_value(p, node);
    struct pool_unit *o = arena_alloc(p->arena, sizeof(*o));
    if (!o || p->out_of_memory)
        return err_memory(e, "plan");
    u->priv = o;
    o->pool = pool_new(p, node);
    if (!o->pool)
        return err_memory(e, "plan");
    bool mean = is_mean(&p->graph->node[node]);
    struct shape y = *plan_shape(p, p->value[node].raw);
    o->winner = -1;
    if (!mean && p->opts.train)
        o->winner = plan_buffer(p, DTYPE_U8, &y, LAYOUT_NHWC);
    const struct pool_step spec = {o->pool, plan_in(p, node, 0),
                                   p->value[node].raw, o->winner};
    TRY(pool_step(p, node, mean ? &mean_kind[0] : &max_kind[0], &spec, e));
    return quant_out_forward(p, node, e);
}

static enum status pool_backward(struct plan *p, struct unit *u,
                                 struct err *e)
{
    const struct pool_unit *o = u->priv;
    int node = u->node[0], sum;
    TRY(quant_out_backward(p, node, e));
    int dy = plan_raw_grad(p, node);
    int dx = plan_in_part(p, node, 0, &sum);
    if (dx < 0)
        return STATUS_OK;
    bool mean = is_mean(&p->graph->node[node]);
    const struct pool_step spec = {o->pool, dx, dy, o->winner};
    TRY(pool_step(p, node, mean ? &mean_kind[1] : &max_kind[1], &spec, e));
    if (sum >= 0) {
        struct copy_spec copy = {node, dx, sum, true, PHASE_BACKWARD};
        TRY(copy_step(p, &copy, e));
    }
    return quant_in_backward(p, node, e);
}

const struct maker maker_pool = {
    .name = "pool",
    .fits = pool_fits,
    .forward = pool_forward,
    .backward = pool_backward,
};

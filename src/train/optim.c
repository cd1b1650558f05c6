/* Optimisers as torch 2.8 computes them in float32 (foreach=False): the same
 * products in the same order, each a single pass over w, g and the slots.
 *
 * Scalars are formed in double, as Python does, and rounded to float32 when
 * they meet a tensor. SPDX-License-Identifier: GPL-3.0-or-later */
#include "train/optim.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* Loops with sqrtf carry no `omp simd`: they become vectors only where the
 * compiler may forget errno (-fno-math-errno), and clang warns otherwise. */

/* Below this many parameters a second thread costs more than it brings. */
#define PARALLEL_MIN 65536
#define CHUNK 16384

#ifdef __x86_64__
#define CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define CLONES
#endif

struct span {                 /* a stretch of the arrays */
    int64_t n;
    float *w;
    const float *g;
    float *slot[OPTIM_MAX_SLOTS];
};

struct scalars {              /* hyper-parameters as the kernels use them */
    float step;               /* learning rate, bias-corrected */
    float decay, shrink;      /* g + decay*w; w*shrink */
    float momentum, undamped;
    float beta, rest;         /* of the squares: v = beta*v + rest*g*g */
    float lerp;               /* of the mean: 1-beta1 */
    float correct, eps;       /* sqrt(v)/correct + eps */
    bool nesterov;
};

typedef void (*kernel_fn)(const struct span *s, const struct scalars *c);

static void run_chunks(kernel_fn kernel, const struct scalars *c,
                       const struct span *all)
{
    int64_t chunks = (all->n + CHUNK - 1) / CHUNK;
#pragma omp parallel for schedule(static) if (all->n >= PARALLEL_MIN)
    for (int64_t i = 0; i < chunks; i++) {
        struct span s = *all;
        s.n = i + 1 < chunks ? CHUNK : all->n - i * CHUNK;
        s.w += i * CHUNK;
        s.g += i * CHUNK;
        for (int k = 0; k < OPTIM_MAX_SLOTS; k++)
            if (s.slot[k])
                s.slot[k] += i * CHUNK;
        kernel(&s, c);
    }
}

static struct span span_over(int64_t n, float *w, const float *g,
                             float *const slot[], int slots)
{
    struct span s = { .n = n, .w = w, .g = g };
    for (int k = 0; k < slots; k++)
        s.slot[k] = slot[k];
    return s;
}

/* ---- SGD: d = g + decay*w; buf = momentum*buf + (1-dampening)*d, but d
 * itself in the first step; w -= lr * buf, or lr * (d + momentum*buf) when
 * nesterov ---- */

CLONES
static void sgd_plain_kernel(const struct span *s, const struct scalars *c)
{
    float *restrict w = s->w;
    const float *restrict g = s->g;
    float decay = c->decay, step = c->step;
#pragma omp simd
    for (int64_t i = 0; i < s->n; i++)
        w[i] -= step * (g[i] + decay * w[i]);
}

CLONES
static void sgd_first_kernel(const struct span *s, const struct scalars *c)
{
    float *restrict w = s->w, *restrict buf = s->slot[0];
    const float *restrict g = s->g;
    float decay = c->decay, step = c->step;
    float ahead = c->nesterov ? c->momentum : 0.0f;
#pragma omp simd
    for (int64_t i = 0; i < s->n; i++) {
        float d = g[i] + decay * w[i];
        buf[i] = d;
        w[i] -= step * (d + ahead * d);
    }
}

CLONES
static void sgd_momentum_kernel(const struct span *s,
                                const struct scalars *c)
{
    float *restrict w = s->w, *restrict buf = s->slot[0];
    const float *restrict g = s->g;
    float decay = c->decay, step = c->step;
    float momentum = c->momentum, undamped = c->undamped;
    bool nesterov = c->nesterov;
#pragma omp simd
    for (int64_t i = 0; i < s->n; i++) {
        float d = g[i] + decay * w[i];
        float m = momentum * buf[i] + undamped * d;
        buf[i] = m;
        w[i] -= step * (nesterov ? d + momentum * m : m);
    }
}

static void sgd_step(const struct optim_hyper *h, int64_t t, int64_t n,
                     float *w, const float *g, float *const slot[])
{
    struct span s = span_over(n, w, g, slot, 1);
    struct scalars c = {
        .step = (float)h->lr, .decay = (float)h->weight_decay,
        .momentum = (float)h->momentum,
        .undamped = (float)(1.0 - h->dampening), .nesterov = h->nesterov,
    };
    if (h->momentum == 0.0)
        run_chunks(sgd_plain_kernel, &c, &s);
    else
        run_chunks(t == 1 ? sgd_first_kernel : sgd_momentum_kernel, &c, &s);
}

static void sgd_defaults(struct optim_hyper *h)
{
    *h = (struct optim_hyper){ .lr = 0.01, .momentum = 0.9 };
}

/* ---- Adam and AdamW: AdamW has w *= 1 - lr*decay first, Adam adds decay*w
 * to g; m += (1-beta1)*(g-m); v = beta2*v + (1-beta2)*g*g;
 * w -= lr/(1-beta1^t) * m / (sqrt(v)/sqrt(1-beta2^t) + eps); amsgrad takes
 * the largest v so far ---- */

CLONES
static void adam_kernel(const struct span *s, const struct scalars *scalars)
{
    float *restrict w = s->w;
    float *restrict m = s->slot[0], *restrict v = s->slot[1];
    const float *restrict g = s->g;
    const struct scalars c = *scalars;
    for (int64_t i = 0; i < s->n; i++) {
        float x = w[i] * c.shrink;
        float d = g[i] + c.decay * x;
        float mean = m[i] + c.lerp * (d - m[i]);
        float square = v[i] * c.beta + c.rest * d * d;
        m[i] = mean;
        v[i] = square;
        w[i] = x - c.step * mean / (sqrtf(square) / c.correct + c.eps);
    }
}

CLONES
static void amsgrad_kernel(const struct span *s,
                           const struct scalars *scalars)
{
    float *restrict w = s->w;
    float *restrict m = s->slot[0], *restrict v = s->slot[1];
    float *restrict top = s->slot[2];
    const float *restrict g = s->g;
    const struct scalars c = *scalars;
    for (int64_t i = 0; i < s->n; i++) {
        float x = w[i] * c.shrink;
        float d = g[i] + c.decay * x;
        float mean = m[i] + c.lerp * (d - m[i]);
        float square = v[i] * c.beta + c.rest * d * d;
        float most = square > top[i] ? square : top[i];
        m[i] = mean;
        v[i] = square;
        top[i] = most;
        w[i] = x - c.step * mean / (sqrtf(most) / c.correct + c.eps);
    }
}

static void adam_any(const struct optim_hyper *h, int64_t t,
                     const struct span *s, struct scalars c)
{
    double steps = (double)t;
    c.step = (float)(h->lr / (1.0 - pow(h->beta1, steps)));
    c.beta = (float)h->beta2;
    c.rest = (float)(1.0 - h->beta2);
    c.lerp = (float)(1.0 - h->beta1);
    c.correct = (float)sqrt(1.0 - pow(h->beta2, steps));
    c.eps = (float)h->eps;
    run_chunks(h->amsgrad ? amsgrad_kernel : adam_kernel, &c, s);
}

static void adam_step(const struct optim_hyper *h, int64_t t, int64_t n,
                      float *w, const float *g, float *const slot[])
{
    struct span s = span_over(n, w, g, slot, 3);
    struct scalars c = { .decay = (float)h->weight_decay, .shrink = 1.0f };
    adam_any(h, t, &s, c);
}

static void adamw_step(const struct optim_hyper *h, int64_t t, int64_t n,
                       float *w, const float *g, float *const slot[])
{
    struct span s = span_over(n, w, g, slot, 3);
    struct scalars c = {
        .shrink = (float)(1.0 - h->lr * h->weight_decay),
    };
    adam_any(h, t, &s, c);
}

static void adam_defaults(struct optim_hyper *h)
{
    *h = (struct optim_hyper){
        .lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8,
    };
}

static void adamw_defaults(struct optim_hyper *h)
{
    adam_defaults(h);
    h->weight_decay = 0.01;
}

/* ---- RMSprop: d = g + decay*w; v = alpha*v + (1-alpha)*d*d;
 * u = d / (sqrt(v) + eps); buf = momentum*buf + u; w -= lr * buf ---- */

CLONES
static void rmsprop_kernel(const struct span *s,
                           const struct scalars *scalars)
{
    float *restrict w = s->w, *restrict v = s->slot[0];
    const float *restrict g = s->g;
    const struct scalars c = *scalars;
    for (int64_t i = 0; i < s->n; i++) {
        float d = g[i] + c.decay * w[i];
        float square = v[i] * c.beta + c.rest * d * d;
        v[i] = square;
        w[i] -= c.step * d / (sqrtf(square) + c.eps);
    }
}

CLONES
static void rmsprop_momentum_kernel(const struct span *s,
                                    const struct scalars *scalars)
{
    float *restrict w = s->w;
    float *restrict v = s->slot[0], *restrict buf = s->slot[1];
    const float *restrict g = s->g;
    const struct scalars c = *scalars;
    for (int64_t i = 0; i < s->n; i++) {
        float d = g[i] + c.decay * w[i];
        float square = v[i] * c.beta + c.rest * d * d;
        float m = buf[i] * c.momentum + d / (sqrtf(square) + c.eps);
        v[i] = square;
        buf[i] = m;
        w[i] -= c.step * m;
    }
}

static void rmsprop_step(const struct optim_hyper *h, int64_t t, int64_t n,
                         float *w, const float *g, float *const slot[])
{
    (void)t;
    struct span s = span_over(n, w, g, slot, 2);
    struct scalars c = {
        .step = (float)h->lr, .decay = (float)h->weight_decay,
        .momentum = (float)h->momentum, .beta = (float)h->alpha,
        .rest = (float)(1.0 - h->alpha), .eps = (float)h->eps,
    };
    run_chunks(h->momentum == 0.0 ? rmsprop_kernel : rmsprop_momentum_kernel,
               &c, &s);
}

static void rmsprop_defaults(struct optim_hyper *h)
{
    *h = (struct optim_hyper){ .lr = 0.01, .alpha = 0.99, .eps = 1e-8 };
}

/* ---- sums ---- */

CLONES
static double square_sum_chunk(const float *g, int64_t n)
{
    double sum[8] = { 0 };
    int64_t whole = n / 8 * 8;
    for (int64_t i = 0; i < whole; i += 8)
        for (int k = 0; k < 8; k++)
            sum[k] += (double)g[i + k] * (double)g[i + k];
    for (int64_t i = whole; i < n; i++)
        sum[0] += (double)g[i] * (double)g[i];
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) +
           ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

double optim_square_sum(const float *g, int64_t n)
{
    double part[64], total = 0.0;
    for (int64_t at = 0; at < n; at += 64 * (int64_t)CHUNK) {
        int64_t left = n - at, chunks = (left + CHUNK - 1) / CHUNK;
        chunks = chunks < 64 ? chunks : 64;
#pragma omp parallel for schedule(static) if (left >= PARALLEL_MIN)
        for (int64_t i = 0; i < chunks; i++) {
            int64_t from = i * CHUNK;
            int64_t count = left - from < CHUNK ? left - from : CHUNK;
            part[i] = square_sum_chunk(g + at + from, count);
        }
        for (int64_t i = 0; i < chunks; i++)
            total += part[i];
    }
    return total;
}

void optim_scale(float *g, int64_t n, float factor)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        g[i] *= factor;
}

const struct optimizer_row *optimizer_find(const char *name)
{
    for (int i = 0; i < optimizer_count; i++)
        if (!strcmp(optimizer_table[i].name, name))
            return &optimizer_table[i];
    return NULL;
}

const struct optimizer_row optimizer_table[] = {
    { .name = "sgd", .slots = 1, .defaults = sgd_defaults, .step = sgd_step,
      .help = "gradient descent with momentum, dampening, nesterov" },
    { .name = "adam", .slots = 3, .defaults = adam_defaults,
      .step = adam_step, .help = "Adam; decay is added to the gradient" },
    { .name = "adamw", .slots = 3, .defaults = adamw_defaults,
      .step = adamw_step, .help = "Adam; decay shrinks the weights" },
    { .name = "rmsprop", .slots = 2, .defaults = rmsprop_defaults,
      .step = rmsprop_step, .help = "divides by a running root of squares" },
};
const int optimizer_count = sizeof optimizer_table / sizeof optimizer_table[0];

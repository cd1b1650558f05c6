/* Float products, by oneDNN and our own, against plain sums, with guards around what it writes.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert_near.h"
#include "common/test_main.h"

#include "base/arena.h"
#include "base/cpu.h"
#include "base/rng.h"
#include "engine/onednn.h"
#include "engine/thin_conv.h"

#define GUARD 1024            /* bytes behind a block */

struct block {
    char *data;
    size_t bytes;
};

static struct block block_new(size_t bytes)
{
    struct block b = {mem_alloc(bytes + GUARD, 1), bytes};
    assert_non_null(b.data);
    memset(b.data + bytes, 0xa5, GUARD);
    return b;
}

static void block_free(struct block *b)
{
    for (size_t i = 0; i < GUARD; i++)
        assert_int_equal((unsigned char)b->data[b->bytes + i], 0xa5);
    mem_free(b->data);
}

/* Small whole numbers: sums are exact in every order. */
static void fill(struct block *b, struct rng *r)
{
    float *x = (float *)(void *)b->data;
    for (size_t i = 0; i < b->bytes / sizeof(float); i++)
        x[i] = (float)rng_below(r, 7) - 3.0f;
}

struct trial {
    struct conv_geom g;
    struct block x, y, w;     /* w: (O,I/groups,KH,KW) */
};

typedef void (*term_fn)(const struct trial *t, int64_t x, int64_t w,
                        int64_t y, double *sum);

/* Calls fn for every product x * w that goes into y. */
static void each_term(const struct trial *t, term_fn fn, double *sum)
{
    const struct conv_geom *g = &t->g;
    int64_t ipg = g->ci / g->groups, opg = g->co / g->groups;
    for (int64_t n = 0; n < g->n; n++)
    for (int64_t o = 0; o < g->co; o++)
    for (int64_t i = 0; i < g->oh; i++)
    for (int64_t j = 0; j < g->ow; j++)
    for (int64_t c = 0; c < ipg; c++)
    for (int64_t k = 0; k < g->kh; k++)
    for (int64_t l = 0; l < g->kw; l++) {
        int64_t a = i * g->sh - g->pt + k * g->dh;
        int64_t b = j * g->sw - g->pl + l * g->dw;
        if (a < 0 || a >= g->h || b < 0 || b >= g->w)
            continue;
        int64_t ch = o / opg * ipg + c;
        fn(t, ((n * g->h + a) * g->w + b) * g->ci + ch,
           ((o * ipg + c) * g->kh + k) * g->kw + l,
           ((n * g->oh + i) * g->ow + j) * g->co + o, sum);
    }
}

static double at(const struct block *b, int64_t i)
{
    float v;
    memcpy(&v, b->data + (size_t)i * sizeof(v), sizeof(v));
    return (double)v;
}

static void term_y(const struct trial *t, int64_t x, int64_t w, int64_t y,
                   double *sum)
{
    sum[y] += at(&t->x, x) * at(&t->w, w);
}

static void term_x(const struct trial *t, int64_t x, int64_t w, int64_t y,
                   double *sum)
{
    sum[x] += at(&t->y, y) * at(&t->w, w);
}

static void term_w(const struct trial *t, int64_t x, int64_t w, int64_t y,
                   double *sum)
{
    sum[w] += at(&t->y, y) * at(&t->x, x);
}

static void must(enum status s, const struct err *e)
{
    if (s)
        fail_msg("%s", e->text);
}

/* Weights into the primitive's layout, or out of it. */
static void reorder(struct dnn *d, const struct dnn_conv *c, bool inward,
                    const void *from, void *to)
{
    struct err e;
    struct dnn_reorder *r;
    must(dnn_reorder_new(d, c, inward, &r, &e), &e);
    struct block scratch = block_new(dnn_reorder_scratch_bytes(r));
    must(dnn_reorder_bind(r, from, to, scratch.data, &e), &e);
    must(dnn_reorder_run(r, &e), &e);
    dnn_reorder_free(r);
    block_free(&scratch);
}

/* A copy, as float32 or bf16, which holds small whole numbers exactly. */
static struct block operand(const struct block *from, bool bf16)
{
    struct block b = block_new(bf16 ? from->bytes / 2 : from->bytes);
    if (!bf16)
        memcpy(b.data, from->data, from->bytes);
    for (size_t i = 0; bf16 && i < b.bytes / sizeof(uint16_t); i++) {
        uint32_t word;
        memcpy(&word, from->data + i * sizeof(word), sizeof(word));
        uint16_t upper = (uint16_t)(word >> 16);
        memcpy(b.data + i * sizeof(upper), &upper, sizeof(upper));
    }
    return b;
}

static void check_direction(struct dnn *d, const struct trial *t,
                            const struct dnn_conv_spec *spec)
{
    static const term_fn terms[] = {
        [DNN_FORWARD] = term_y,
        [DNN_BACK_DATA] = term_x,
        [DNN_BACK_WEIGHTS] = term_w,
    };
    enum dnn_dir dir = spec->dir;
    struct block x = operand(&t->x, spec->bf16 && dir != DNN_BACK_DATA);
    struct block w = operand(&t->w, spec->bf16 && dir != DNN_BACK_WEIGHTS);
    struct block y = operand(&t->y, spec->bf16 && dir != DNN_FORWARD);
    const struct block *const result[] = {
        [DNN_FORWARD] = &y,
        [DNN_BACK_DATA] = &x,
        [DNN_BACK_WEIGHTS] = &w,
    };
    size_t n = result[dir]->bytes / sizeof(float);
    double *want = mem_alloc(n, sizeof(*want));
    double *got = mem_alloc(n, sizeof(*got));
    each_term(t, terms[dir], want);

    struct err e;
    struct dnn_conv *c;
    must(dnn_conv_new(d, spec, &c, &e), &e);
    struct block own = block_new(dnn_conv_weight_bytes(c));
    struct block scratch = block_new(dnn_conv_scratch_bytes(c));
    if (dir != DNN_BACK_WEIGHTS)
        reorder(d, c, true, w.data, own.data);
    const struct dnn_conv_data data = {x.data, own.data, NULL, y.data,
                                       scratch.data};
    must(dnn_conv_bind(c, &data, &e), &e);
    must(dnn_conv_run(c, &e), &e);
    if (dir == DNN_BACK_WEIGHTS)
        reorder(d, c, false, own.data, w.data);
    for (size_t i = 0; i < n; i++)
        got[i] = at(result[dir], (int64_t)i);
    assert_doubles_near(got, want, n, 0, 1e-3);
    dnn_conv_free(c);
    block_free(&own);
    block_free(&scratch);
    block_free(&x);
    block_free(&w);
    block_free(&y);
    mem_free(want);
    mem_free(got);
}

static int64_t out_extent(int64_t in, int64_t k, int64_t s, int64_t d,
                          int64_t pads)
{
    return (in + pads - d * (k - 1) - 1) / s + 1;
}

static struct conv_geom random_geom(struct rng *r)
{
    static const int64_t widths[] = {1, 3, 6, 8, 12, 16, 24};
    struct conv_geom g = {
        .n = 1 + (int64_t)rng_below(r, 5),
        .ci = widths[rng_below(r, 7)],
        .co = widths[rng_below(r, 7)],
        .h = 5 + (int64_t)rng_below(r, 8),
        .w = 5 + (int64_t)rng_below(r, 8),
        .kh = 1 + (int64_t)rng_below(r, 3),
        .sh = 1 + (int64_t)rng_below(r, 2),
        .dh = 1 + (int64_t)rng_below(r, 2),
        .pt = (int64_t)rng_below(r, 2),
        .pr = (int64_t)rng_below(r, 2),
        .groups = 1,
    };
    g.kw = g.kh;
    g.sw = g.sh;
    g.dw = g.dh;
    if (rng_below(r, 4) == 0)
        g.groups = g.co = g.ci;
    g.oh = out_extent(g.h, g.kh, g.sh, g.dh, g.pt + g.pb);
    g.ow = out_extent(g.w, g.kw, g.sw, g.dw, g.pl + g.pr);
    return g;
}

/* From direction `from` on. */
static void check_geom(struct dnn *d, const struct conv_geom *g, int from,
                       bool bf16, struct rng *r)
{
    size_t f = sizeof(float);
    struct trial t = {
        .g = *g,
        .x = block_new((size_t)(g->n * g->h * g->w * g->ci) * f),
        .y = block_new((size_t)(g->n * g->oh * g->ow * g->co) * f),
        .w = block_new(
            (size_t)(g->co * g->ci / g->groups * g->kh * g->kw) * f),
    };
    for (int dir = from; dir <= DNN_BACK_WEIGHTS; dir++) {
        fill(&t.x, r);
        fill(&t.y, r);
        fill(&t.w, r);
        const struct dnn_conv_spec spec = {
            .geom = *g, .dir = (enum dnn_dir)dir, .bf16 = bf16,
        };
        check_direction(d, &t, &spec);
    }
    block_free(&t.x);
    block_free(&t.y);
    block_free(&t.w);
}

static void convolutions_are_sums_of_products(void **state)
{
    (void)state;
    struct err e;
    struct dnn *d;
    must(dnn_new(&d, &e), &e);
    struct rng *r = rng_new(1, RNG_GENERATE);
    for (int i = 0; i < 50; i++) {
        const struct conv_geom g = random_geom(r);
        check_geom(d, &g, DNN_FORWARD, false, r);
    }
    rng_free(r);
    dnn_free(d);
}

/* Windows of one tap; oneDNN 2.6 has kernels that fail with odd numbers of
 * channels or strides. */
static struct conv_geom point_geom(struct rng *r)
{
    static const int64_t widths[] = {3, 7, 15, 16, 17, 31, 64};
    struct conv_geom g = {
        .n = 1 + (int64_t)rng_below(r, 3),
        .ci = widths[rng_below(r, 7)],
        .co = widths[rng_below(r, 7)],
        .h = 1 + (int64_t)rng_below(r, 14),
        .w = 1 + (int64_t)rng_below(r, 14),
        .kh = 1, .kw = 1, .dh = 1, .dw = 1, .groups = 1,
        .sh = 1 + (int64_t)rng_below(r, 2),
    };
    g.sw = g.sh;
    g.oh = out_extent(g.h, 1, g.sh, 1, 0);
    g.ow = out_extent(g.w, 1, g.sw, 1, 0);
    return g;
}

static void gradients_in_bf16_are_sums_of_products(void **state)
{
    (void)state;
    if (!dnn_has_bf16())
        skip();
    struct err e;
    struct dnn *d;
    must(dnn_new(&d, &e), &e);
    struct rng *r = rng_new(3, RNG_GENERATE);
    for (int i = 0; i < 150; i++) {
        const struct conv_geom g = i % 3 ? point_geom(r) : random_geom(r);
        if (dnn_conv_has_bf16(d, &g))
            check_geom(d, &g, DNN_BACK_DATA, true, r);
    }
    rng_free(r);
    dnn_free(d);
}

/* ---- of one input channel, without oneDNN ---- */

static struct conv_geom thin_geom(struct rng *r)
{
    static const int64_t outputs[] = {1, 2, 5, 6, 8, 16, 24};
    struct conv_geom g = {
        .n = 1 + (int64_t)rng_below(r, 20),
        .ci = 1,
        .co = outputs[rng_below(r, 7)],
        .h = 5 + (int64_t)rng_below(r, 12),
        .w = 7 + (int64_t)rng_below(r, 16),
        .kh = 1 + (int64_t)rng_below(r, 5),
        .kw = rng_below(r, 2) ? 3 : 5,
        .sh = 1, .sw = 1, .dh = 1, .dw = 1, .groups = 1,
    };
    g.pt = (int64_t)rng_below(r, (uint64_t)g.kh);
    g.pb = (int64_t)rng_below(r, (uint64_t)g.kh);
    g.pl = (int64_t)rng_below(r, (uint64_t)g.kw);
    g.pr = (int64_t)rng_below(r, (uint64_t)g.kw);
    g.oh = out_extent(g.h, g.kh, 1, 1, g.pt + g.pb);
    g.ow = out_extent(g.w, g.kw, 1, 1, g.pl + g.pr);
    return g;
}

/* Of every image of y its smallest and largest number. */
static void check_ends(const struct trial *t, const struct block *ends,
                       const double *y)
{
    int64_t count = t->g.oh * t->g.ow * t->g.co;
    for (int64_t n = 0; n < t->g.n; n++) {
        double lo = y[n * count], hi = lo;
        for (int64_t i = n * count; i < (n + 1) * count; i++) {
            lo = fmin(lo, y[i]);
            hi = fmax(hi, y[i]);
        }
        assert_near(at(ends, n * THIN_ENDS), lo, 0, 0);
        assert_near(at(ends, n * THIN_ENDS + 1), hi, 0, 0);
        assert_near(at(ends, n * THIN_ENDS + 2), 0, 0, 0);
    }
}

static void check_thin(const struct trial *t, const struct block *bias,
                       enum dnn_dir dir, int threads)
{
    static void (*const run[])(const struct thin_conv *) = {
        thin_conv_forward, thin_conv_back_data, thin_conv_back_weights,
    };
    static const term_fn terms[] = {term_y, term_x, term_w};
    const struct block *like[] = {&t->y, &t->x, &t->w};
    size_t bytes = like[dir]->bytes, n = bytes / sizeof(float);
    struct block to = block_new(bytes);
    struct block scratch = block_new(thin_conv_scratch(&t->g, threads));
    struct block ends =
        block_new((size_t)t->g.n * THIN_ENDS * sizeof(float));
    double *want = mem_alloc(n, sizeof(*want));
    double *got = mem_alloc(n, sizeof(*got));
    each_term(t, terms[dir], want);
    for (size_t i = 0; bias && i < n; i++)
        want[i] += at(bias, (int64_t)i % t->g.co);
    const struct thin_conv c = {
        .geom = t->g,
        .threads = threads,
        .x = (const float *)(const void *)t->x.data,
        .w = (const float *)(const void *)t->w.data,
        .y = (const float *)(const void *)t->y.data,
        .bias = bias ? (const float *)(const void *)bias->data : NULL,
        .to = (float *)(void *)to.data,
        .ends = (float *)(void *)ends.data,
        .scratch = scratch.data,
    };
    run[dir](&c);
    for (size_t i = 0; i < n; i++)
        got[i] = at(&to, (int64_t)i);
    assert_doubles_near(got, want, n, 0, 0);
    if (dir == DNN_FORWARD)
        check_ends(t, &ends, got);
    mem_free(want);
    mem_free(got);
    block_free(&to);
    block_free(&scratch);
    block_free(&ends);
}

static void grey_images_are_convolved_in_all_directions(void **state)
{
    (void)state;
    struct rng *r = rng_new(4, RNG_GENERATE);
    int checked = 0;
    for (int i = 0; i < 200; i++) {
        struct trial t = {.g = thin_geom(r)};
        const struct conv_geom *g = &t.g;
        if (g->ow < 1 || g->oh < 1 || !thin_conv_fits(g))
            continue;
        size_t f = sizeof(float);
        t.x = block_new((size_t)(g->n * g->h * g->w) * f);
        t.y = block_new((size_t)(g->n * g->oh * g->ow * g->co) * f);
        t.w = block_new((size_t)(g->co * g->kh * g->kw) * f);
        struct block bias = block_new((size_t)g->co * f);
        fill(&t.x, r);
        fill(&t.y, r);
        fill(&t.w, r);
        fill(&bias, r);
        int threads = 1 + i % 3;
        check_thin(&t, i % 2 ? &bias : NULL, DNN_FORWARD, threads);
        check_thin(&t, NULL, DNN_BACK_DATA, threads);
        check_thin(&t, NULL, DNN_BACK_WEIGHTS, threads);
        block_free(&t.x);
        block_free(&t.y);
        block_free(&t.w);
        block_free(&bias);
        checked++;
    }
    rng_free(r);
    if (!cpu_get()->avx2 || !cpu_get()->fma)
        skip();
    assert_in_range(checked, 100, 200);
}

static void a_grey_image_with_a_nan_is_told_from_others(void **state)
{
    (void)state;
    struct conv_geom g = {.n = 3, .ci = 1, .co = 6, .h = 8, .w = 8, .oh = 8,
                          .ow = 8, .kh = 3, .kw = 3, .sh = 1, .sw = 1,
                          .pt = 1, .pl = 1, .pb = 1, .pr = 1, .dh = 1,
                          .dw = 1, .groups = 1};
    if (!thin_conv_fits(&g))
        skip();
    float x[3 * 64], w[6 * 9], y[3 * 64 * 6], ends[3 * THIN_ENDS];
    for (int i = 0; i < 3 * 64; i++)
        x[i] = i == 64 + 7 ? NAN : 1.0f;
    for (int i = 0; i < 6 * 9; i++)
        w[i] = 1.0f;
    struct block scratch = block_new(thin_conv_scratch(&g, 1));
    const struct thin_conv c = {.geom = g, .threads = 1, .x = x, .w = w,
                                .to = y, .ends = ends,
                                .scratch = scratch.data};
    thin_conv_forward(&c);
    for (int n = 0; n < 3; n++) {
        assert_near((double)ends[THIN_ENDS * n], 4, 0, 0);
        assert_near((double)ends[THIN_ENDS * n + 1], 9, 0, 0);
        assert_int_equal(isnan(ends[THIN_ENDS * n + 2]) != 0, n == 1);
    }
    block_free(&scratch);
}

static void products_add_and_turn(void **state)
{
    (void)state;
    struct rng *r = rng_new(2, RNG_GENERATE);
    for (int i = 0; i < 60; i++) {
        struct dnn_product p = {
            .m = 1 + (int64_t)rng_below(r, 40),
            .n = 1 + (int64_t)rng_below(r, 40),
            .k = 1 + (int64_t)rng_below(r, 90),
            .a_turned = rng_below(r, 2),
            .b_turned = rng_below(r, 2),
            .beta = rng_below(r, 2) ? 1.0f : 0.0f,
        };
        struct block a = block_new((size_t)(p.m * p.k) * sizeof(float));
        struct block b = block_new((size_t)(p.k * p.n) * sizeof(float));
        struct block c = block_new((size_t)(p.m * p.n) * sizeof(float));
        fill(&a, r);
        fill(&b, r);
        fill(&c, r);
        size_t n = (size_t)(p.m * p.n);
        double *want = mem_alloc(n, sizeof(*want));
        for (size_t x = 0; x < n; x++) {
            int64_t row = (int64_t)x / p.n, col = (int64_t)x % p.n;
            want[x] = p.beta != 0 ? at(&c, (int64_t)x) : 0;
            for (int64_t k = 0; k < p.k; k++)
                want[x] +=
                    at(&a, p.a_turned ? k * p.m + row : row * p.k + k) *
                    at(&b, p.b_turned ? col * p.k + k : k * p.n + col);
        }
        p.a = (float *)(void *)a.data;
        p.b = (float *)(void *)b.data;
        p.c = (float *)(void *)c.data;
        struct err e;
        must(dnn_product_run(&p, &e), &e);
        for (size_t x = 0; x < n; x++)
            assert_near(at(&c, (int64_t)x), want[x], 0, 1e-3);
        mem_free(want);
        block_free(&a);
        block_free(&b);
        block_free(&c);
    }
    rng_free(r);
}

int main(void)
{
    gsl_set_error_handler_off();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions_are_sums_of_products),
        cmocka_unit_test(gradients_in_bf16_are_sums_of_products),
        cmocka_unit_test(grey_images_are_convolved_in_all_directions),
        cmocka_unit_test(a_grey_image_with_a_nan_is_told_from_others),
        cmocka_unit_test(products_add_and_turn),
    };
    return cmocka_run_group_tests_name("engine onednn", tests, NULL, NULL);
}

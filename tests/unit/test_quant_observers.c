/* Observers against brute force and hand calculation; sums that do not depend
 * on the number of threads. SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/test_main.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <omp.h>

#include "base/arena.h"
#include "base/rng.h"
#include "common/assert_near.h"
#include "quant/observer.h"

enum { COUNT = 4096 };

static struct quantizer *quantizer(const char *text, int64_t channels)
{
    struct qspec s;
    struct quantizer *q = NULL;
    struct err e = {0};

    if (qspec_parse(text, NULL, &s, &e) != STATUS_OK ||
        quantizer_new(&s, channels, &q, &e) != STATUS_OK)
        fail_msg("%s", e.text);
    return q;
}

static void observe(struct quantizer *q, const real *x, int64_t n)
{
    struct qview v = {1, q->channels, n / q->channels};
    struct err e = {0};

    if (quantizer_observe(q, x, v, &e) != STATUS_OK)
        fail_msg("%s", e.text);
}

/* Normal numbers with one outlier in 500, twelve times as large. */
static void fill_heavy(real *x, int64_t n)
{
    struct rng *r = rng_new(23, RNG_GENERATE);

    for (int64_t i = 0; i < n; i++)
        x[i] = (real)(rng_normal(r) * (i % 500 == 499 ? 12 : 1));
    rng_free(r);
}

static double square_error(struct quantizer *q, const real *x, int64_t n)
{
    struct qview v = {1, 1, n};
    struct qstats s;

    quantizer_stats(q, x, v, &s);
    return s.mse;
}

/* The smallest error of 400 ranges, symmetric, on the data itself. */
static double best_error(const char *text, const real *x, int64_t n)
{
    struct quantizer *q = quantizer(text, 1);
    double best = INFINITY;
    real most = 0;

    for (int64_t i = 0; i < n; i++)
        most = real_fmax(most, real_fabs(x[i]));
    for (int i = 1; i <= 400; i++) {
        real hi = most * (real)i / 400, lo = -hi;
        struct err e;

        assert_int_equal(quantizer_set_range(q, &lo, &hi, 1, &e),
                         STATUS_OK);
        best = fmin(best, square_error(q, x, n));
    }
    quantizer_free(q);
    return best;
}

static void mse_finds_nearly_the_best_range(void **state)
{
    static real x[COUNT];

    (void)state;
    fill_heavy(x, COUNT);
    for (int bits = 2; bits <= 6; bits++) {
        char text[40];
        struct quantizer *q;
        double best, plain;

        snprintf(text, sizeof text, "affine:%d", bits);
        best = best_error(text, x, COUNT);
        q = quantizer(text, 1);
        observe(q, x, COUNT);
        plain = square_error(q, x, COUNT);
        quantizer_free(q);
        snprintf(text, sizeof text, "affine:%d,obs=mse", bits);
        q = quantizer(text, 1);
        observe(q, x, COUNT);
        assert_true(square_error(q, x, COUNT) <= 1.03 * best);
        assert_true(square_error(q, x, COUNT) < plain);
        quantizer_free(q);
    }
}

static void searches_cut_off_rare_outliers(void **state)
{
    static const char *const names[] = {"mse", "entropy", "sqnr",
                                        "percentile"};
    static real x[COUNT];
    real most = 0;

    (void)state;
    fill_heavy(x, COUNT);
    for (int i = 0; i < COUNT; i++)
        most = real_fmax(most, real_fabs(x[i]));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char text[80];
        struct quantizer *q;
        double top;

        snprintf(text, sizeof text, "affine:4,obs=%s%s", names[i],
                 i == 3 ? ",percentile.p=99" : "");
        q = quantizer(text, 1);
        observe(q, x, COUNT);
        top = 7.5 * (double)q->scale[0];
        if (!(top < 0.8 * (double)most && top > 0.05 * (double)most))
            fail_msg("%s: %g of %g", names[i], top, (double)most);
        quantizer_free(q);
    }
}

/* 0 .. 999: one percent beyond either end. */
static void percentile_clips_its_share(void **state)
{
    struct quantizer *q =
        quantizer("affine:8,asym,obs=percentile,percentile.p=99", 1);
    static real x[1000];

    (void)state;
    for (int i = 0; i < 1000; i++)
        x[i] = (real)i;
    observe(q, x, 1000);
    assert_near((double)q->lo[0], 10, 0, 1.5);
    assert_near((double)q->hi[0], 990, 0, 1.5);
    quantizer_free(q);
}

/* Evenly spread data has nothing to cut off. */
static void entropy_keeps_the_range_of_even_data(void **state)
{
    struct quantizer *q = quantizer("affine:8,obs=entropy", 1);
    static real x[COUNT];

    (void)state;
    for (int i = 0; i < COUNT; i++)
        x[i] = (real)(i - COUNT / 2) / 100;
    observe(q, x, COUNT);
    assert_near((double)q->hi[0], (double)x[COUNT - 1], 0.01, 0);
    quantizer_free(q);
}

/* Batches with ranges -1..2 and -3..4. */
static void moving_averages_follow_their_form(void **state)
{
    static const struct {
        const char *text;
        double lo, hi;
    } rows[] = {
        {"affine:8,obs=ema,ema.c=0.1", -1 + 0.1 * -2, 2 + 0.1 * 2},
        {"affine:8,obs=ema,ema.c=0.1,ema.form=1",
         (-6 + 0.1 * 5) * 0.9 - 0.1 * 3, (6 - 0.1 * 4) * 0.9 + 0.1 * 4},
        {"affine:8,obs=ema,ema.form=2", -2, 3},
        {"affine:8,obs=minmax", -3, 4},
        {"affine:8,obs=fixed,fixed.lo=-5,fixed.hi=5", -5, 5},
    };
    const real first[3] = {-1, 0, 2}, second[3] = {4, -3, 1};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct quantizer *q = quantizer(rows[i].text, 1);

        observe(q, first, 3);
        observe(q, second, 3);
        assert_near((double)q->lo[0], rows[i].lo, 1e-6, 0);
        assert_near((double)q->hi[0], rows[i].hi, 1e-6, 0);
        quantizer_free(q);
    }
}

/* Counts live in the observer's state: no value is lost when the range grows
 * batch by batch. */
static void growing_histograms_lose_no_value(void **state)
{
    struct quantizer *q = quantizer(
        "affine:8,asym,obs=histogram,histogram.bins=128", 1);
    static real x[1000];
    double total = 0;

    (void)state;
    fill_heavy(x, 1000);
    for (int batch = 0; batch < 4; batch++) {
        observe(q, x, 1000);
        for (int i = 0; i < 1000; i++)
            x[i] = x[i] * REAL(1.7) - REAL(0.3);
    }
    for (int i = 0; i < 128; i++)
        total += (double)q->observer->state[2 + i];
    assert_near(total, 4000, 1e-5, 0);
    quantizer_free(q);
}

static void observers_describe_what_they_saw(void **state)
{
    const real x[4] = {-1, 0, 2, REAL(0.5)};

    (void)state;
    for (int i = 0; i < observer_count; i++) {
        const struct observer_kind *k = observer_table[i];
        char text[64];
        struct quantizer *q;
        struct str out = {0};

        snprintf(text, sizeof text, "affine:8,obs=%s", k->name);
        q = quantizer(text, 1);
        observe(q, x, 4);
        k->describe(q->observer, &q->spec, &out);
        assert_non_null(strstr(str_text(&out), k->name));
        assert_null(strstr(str_text(&out), "nothing"));
        str_fini(&out);
        quantizer_free(q);
    }
}

static void channels_are_observed_one_by_one(void **state)
{
    static real x[2 * 512];

    (void)state;
    fill_heavy(x, 512);
    for (int i = 0; i < 512; i++)
        x[512 + i] = 8 * x[i];
    for (int i = 0; i < observer_count; i++) {
        char text[64];
        struct quantizer *one, *two;

        if (!strcmp(observer_table[i]->name, "fixed"))
            continue;
        snprintf(text, sizeof text, "affine:4,channel,obs=%s",
                 observer_table[i]->name);
        two = quantizer(text, 2);
        one = quantizer(text, 1);
        observe(two, x, 1024);
        observe(one, x, 512);
        assert_near((double)two->hi[0], (double)one->hi[0], 0, 0);
        assert_near((double)two->hi[1], 8 * (double)two->hi[0], 1e-6, 0);
        quantizer_free(one);
        quantizer_free(two);
    }
}

/* (N,H,W,C) against (N,C,H,W) of the same values. */
static void channels_may_lie_innermost(void **state)
{
    static const char *const texts[] = {
        "affine:4,channel,unsigned,asym", "affine:4,channel,divide",
        "affine:4,channel,clamp=first,round=half_up", "lsq:4,channel",
    };
    enum { OUTER = 30, CHANNELS = 20 };
    static real x[OUTER * CHANNELS], t[OUTER * CHANNELS], a[OUTER * CHANNELS],
        b[OUTER * CHANNELS];
    struct qview inner = {OUTER, CHANNELS, 1}, outer = {1, CHANNELS, OUTER};

    (void)state;
    fill_heavy(x, OUTER * CHANNELS);
    for (int i = 0; i < OUTER * CHANNELS; i++)
        t[i % CHANNELS * OUTER + i / CHANNELS] = x[i];
    for (size_t k = 0; k < sizeof texts / sizeof texts[0]; k++) {
        struct quantizer *p = quantizer(texts[k], CHANNELS);
        struct quantizer *q = quantizer(texts[k], CHANNELS);
        struct err e;

        assert_int_equal(quantizer_observe(p, x, inner, &e), STATUS_OK);
        assert_int_equal(quantizer_observe(q, t, outer, &e), STATUS_OK);
        assert_memory_equal(p->scale, q->scale, CHANNELS * sizeof(real));
        quantizer_forward(p, x, a, inner, true);
        quantizer_forward(q, t, b, outer, true);
        for (int i = 0; i < OUTER * CHANNELS; i++)
            assert_true(a[i] == b[i % CHANNELS * OUTER + i / CHANNELS]);
        p->learn = q->learn = p->n_learned > 0;
        quantizer_backward(p, x, x, a, inner);
        quantizer_backward(q, t, t, b, outer);
        for (int i = 0; i < OUTER * CHANNELS; i++)
            assert_true(a[i] == b[i % CHANNELS * OUTER + i / CHANNELS]);
        assert_reals_near(p->grad, q->grad, p->n_learned, 1e-5, 1e-6);
        quantizer_free(p);
        quantizer_free(q);
    }
}

/* All results of a training step of a quantizer over 200,000 values. */
struct result {
    real *y, *dx;
    real scale, grad[2];
};

enum { MANY = 200000 };

static void run_step(const char *text, const real *x, const real *dy,
                     struct result *r)
{
    struct quantizer *q = quantizer(text, 1);
    struct qview v = {1, 1, MANY};

    q->learn = q->n_learned > 0;
    observe(q, x, MANY);
    quantizer_forward(q, x, r->y, v, true);
    quantizer_backward(q, x, dy, r->dx, v);
    r->scale = q->scale[0];
    for (int64_t i = 0; i < 2; i++)
        r->grad[i] = i < q->n_learned ? q->grad[i] : 0;
    quantizer_free(q);
}

static void results_do_not_depend_on_the_number_of_threads(void **state)
{
    static const char *const texts[] = {
        "affine:4,unsigned,asym", "lsq:4", "learnable:4,asym",
        "affine:4,obs=mse", "affine:8,asym,obs=histogram",
    };
    real *m = mem_alloc(6 * (size_t)MANY, sizeof *m);
    real *x = m, *dy = m + MANY;
    struct result a = {.y = m + 2 * MANY, .dx = m + 3 * MANY};
    struct result b = {.y = m + 4 * MANY, .dx = m + 5 * MANY};
    int threads = omp_get_max_threads();

    (void)state;
    assert_non_null(m);
    fill_heavy(x, MANY);
    fill_heavy(dy, MANY);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        omp_set_num_threads(1);
        run_step(texts[i], x, dy, &a);
        omp_set_num_threads(3);
        run_step(texts[i], x, dy, &b);
        assert_memory_equal(a.y, b.y, MANY * sizeof(real));
        assert_memory_equal(a.dx, b.dx, MANY * sizeof(real));
        assert_memory_equal(&a.scale, &b.scale, sizeof a.scale);
        assert_memory_equal(a.grad, b.grad, sizeof a.grad);
    }
    omp_set_num_threads(threads);
    mem_free(m);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(mse_finds_nearly_the_best_range),
    cmocka_unit_test(searches_cut_off_rare_outliers),
    cmocka_unit_test(percentile_clips_its_share),
    cmocka_unit_test(entropy_keeps_the_range_of_even_data),
    cmocka_unit_test(moving_averages_follow_their_form),
    cmocka_unit_test(growing_histograms_lose_no_value),
    cmocka_unit_test(observers_describe_what_they_saw),
    cmocka_unit_test(channels_are_observed_one_by_one),
    cmocka_unit_test(channels_may_lie_innermost),
    cmocka_unit_test(results_do_not_depend_on_the_number_of_threads),
};

TEST_MAIN("quant_observers", tests)

/* Quantizer kinds beyond the plain uniform grid: strings, formats, draws.
 *
 * Values against hand calculations and exhaustive searches; the packages' own
 * numbers are in the golden suites.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/test_main.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "common/assert_near.h"
#include "common/qspec_strings.h"
#include "quant/kinds.h"
#include "quant/observer.h"
#include "quant/vmath.h"

/* ---- helpers ---- */

static struct quantizer *made(const struct qspec *s, int64_t channels)
{
    struct quantizer *q;
    struct err e = {0};

    if (quantizer_new(s, channels, &q, &e) != STATUS_OK)
        fail_msg("%s", e.text);
    return q;
}

/* y = the quantizer of `text` on x as one tensor. */
static void run(const char *text, const real *x, real *y, int64_t n)
{
    struct qspec s = qspec_parsed(text);
    struct qview v = {1, 1, n};
    struct quantizer *q = made(&s, 1);
    struct err e = {0};

    assert_int_equal(quantizer_observe(q, x, v, &e), STATUS_OK);
    quantizer_forward(q, x, y, v, true);
    quantizer_free(q);
}

static void fill_normal(real *x, int64_t n, uint64_t seed)
{
    struct rng *r = rng_new(seed, RNG_GENERATE);

    assert_non_null(r);
    for (int64_t i = 0; i < n; i++)
        x[i] = (real)rng_normal(r);
    rng_free(r);
}

static bool contains(const char *text, const char *part)
{
    return strstr(text, part) != NULL;
}

/* ---- strings ---- */

static void qkeras_strings_are_printed_in_their_shortest_form(void **state)
{
    static const char *const pairs[][2] = {
        {"quantized_bits(6,0,alpha=1)", "quantized_bits(6,alpha=1)"},
        {"quantized_bits( bits = 4 , integer = 2 )",
         "quantized_bits(4,integer=2)"},
        {"quantized_bits()", "quantized_bits(8)"},
        {"quantized_bits(4,0,1,False)",
         "quantized_bits(4,symmetric=1,keep_negative=0)"},
        {"quantized_bits(4, alpha=\"auto_po2\")",
         "quantized_bits(4,symmetric=1,alpha='auto_po2')"},
        {"quantized_bits(5,1,use_stochastic_rounding=True)",
         "quantized_bits(5,integer=1,use_stochastic_rounding=1)"},
        {"quantized_relu(6,2,0,0.25)",
         "quantized_relu(6,integer=2,negative_slope=0.25)"},
        {"quantized_relu(4,relu_upper_bound=None)", "quantized_relu(4)"},
        {"quantized_po2(4,2,log2_rounding='floor')",
         "quantized_po2(4,max_value=2,log2_rounding='floor')"},
        {"ternary(alpha='auto',number_of_unrolls=3)",
         "qkeras_ternary(alpha='auto',number_of_unrolls=3)"},
        {"binary(1, 0.5)", "qkeras_binary(use_01=1,alpha=0.5)"},
        {"bernoulli(temperature=3.5)", "bernoulli(temperature=3.5)"},
        {"quantized_ulaw(4,0,1,15.0)",
         "quantized_ulaw(4,symmetric=1,u=15)"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        assert_printed(pairs[i][0], pairs[i][1]);
}

static void malformed_qkeras_strings_say_what_was_found(void **state)
{
    static const char *const bad[][2] = {
        {"quantized_bits(4", "no ')'"},
        {"quantized_bits(4,)", "found the end"},
        {"quantized_bits(,4)", "found ',4'"},
        {"quantized_bits(4 5)", "found '5'"},
        {"quantized_bits(four)", "bits=four"},
        {"quantized_bits(4.5)", "bits=4.5"},
        {"quantized_bits(0)", "bits=0"},
        {"quantized_bits(65)", "bits=65"},
        {"quantized_bits(4,-1)", "integer"},
        {"quantized_bits(4,bits=5)", "bits is given twice"},
        {"quantized_bits(bits=4,2)", "by position after bits="},
        {"quantized_bits(4,width=5)", "no argument 'width'"},
        {"quantized_bits(4,symmetric=2)", "symmetric=2"},
        {"quantized_bits(4,alpha='automatic')", "alpha='automatic'"},
        {"quantized_bits(4,alpha='auto)", "a closing quote"},
        {"quantized_bits(4,alpha=-1)", "alpha=-1"},
        {"quantized_bits(4,alpha=nan)", "alpha=nan"},
        {"quantized_bits(4,alpha=1e999)", "alpha=1e999"},
        {"quantized_bits(4,alpha=__import__('os'))", "found '('"},
        {"quantized_bits(4,scale_axis=1)", "scale_axis=1"},
        {"quantized_bits(1,0,alpha='auto')", "one bit"},
        {"quantized_bits(4,0,0,1,1,0,None,1,None,1,False,3)",
         "more than 11 arguments"},
        {"quantized_relu(4,0,0.125)", "use_sigmoid=0.125"},
        {"quantized_relu(4,0,negative_slope=0.3)", "no power of two"},
        {"quantized_po2(4,log2_rounding='ceil')", "'rnd' or 'floor'"},
        {"quantized_po2(4,max_value=-2)", "max_value=-2"},
        {"ternary(alpha='auto',threshold=0.5)", "threshold"},
        {"ternary(use_stochastic_rounding=1)", "alpha"},
        {"quantized_bits(4)x", "'x'"},
        {"quantised_bits(4)", "did you mean 'quantized_bits'"},
        {"affine(4)", "affine takes no '('"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_refused(bad[i][0], bad[i][1]);
}

static void options_that_a_kind_cannot_use_are_refused(void **state)
{
    static const char *const bad[][2] = {
        {"pact:4,signed", "unsigned"},
        {"pact:4,round=floor", "another rounding"},
        {"dorefa:4,unsigned", "dorefa_act"},
        {"tqt:4,asym", "asym"},
        {"tqt:4,reduce", "reduce"},
        {"brevitas:4,asym,stat=1", "stat=1"},
        {"binary:2", "2 bits"},
        {"ternary:2,narrow", "narrow"},
        {"minifloat:8,exp=8", "leave -1"},
        {"minifloat:4,exp=3,special=1", "leave 0"},
        {"minifloat:8,unsigned", "signed"},
        {"mx:8,group=0", "group"},
        {"quantized_bits:4,round=floor", "another rounding"},
        {"quantized_relu:4,signed", "negative_slope"},
        {"quantized_bits:4,scaling=7", "scaling"},
        {"po2:9", "9 bits"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_refused(bad[i][0], bad[i][1]);
}

static void kernel_quantizers_without_alpha_scale_themselves(void **state)
{
    struct qspec s = qspec_parsed("quantized_bits(4,0)"), fixed, relu;

    (void)state;
    s.kind->on_weights(&s);
    assert_true(s.narrow);
    assert_int_equal(s.grain, GRAIN_CHANNEL);
    fixed = qspec_parsed("quantized_bits(4,symmetric=1,alpha='auto_po2')");
    assert_true(qspec_equal(&s, &fixed));

    s = qspec_parsed("quantized_bits(4,0,alpha=1)");
    fixed = s;
    s.kind->on_weights(&s);
    assert_true(qspec_equal(&s, &fixed));

    relu = qspec_parsed("quantized_relu(4)");
    assert_null(relu.kind->on_weights);
}

/* ---- all kinds ---- */

/* The example's spec, "bits conv1 w=lsq:4" -> "lsq:4". */
static struct qspec example_of(const struct quantizer_kind *k)
{
    return qspec_parsed(strchr(k->example, '=') + 1);
}

enum { MANY = 4096 };

static void uniform_values_are_codes_times_the_scale(void **state)
{
    real *x = mem_alloc(MANY, sizeof *x), *y = mem_alloc(MANY, sizeof *y);
    int32_t *code = mem_alloc(MANY, sizeof *code);

    (void)state;
    fill_normal(x, MANY, 3);
    for (int k = 0; k < quantizer_count; k++) {
        struct qspec s = example_of(quantizer_table[k]);
        struct qview v = {1, 1, MANY};
        struct quantizer *q;
        struct err e = {0};

        if (!(s.kind->flags & QK_UNIFORM) || !s.kind->codes ||
            !strcmp(s.kind->name, "lsqplus"))
            continue;
        if (s.grain == GRAIN_CHANNEL)
            v = (struct qview){1, 64, MANY / 64};
        q = made(&s, v.channels);
        assert_int_equal(quantizer_observe(q, x, v, &e), STATUS_OK);
        quantizer_forward(q, x, y, v, false);
        s.kind->codes(q, x, code, v);
        for (int64_t i = 0; i < MANY; i++) {
            int64_t c = i / v.inner % v.channels;
            double want = ((double)code[i] - (double)q->zero_point[c]) *
                          (double)q->scale[c];

            if (code[i] < q->lo_code || code[i] > q->hi_code ||
                fabs(want - (double)y[i]) > 1e-6 * (1 + fabs(want)))
                fail_msg("%s: %g -> %g, code %d", s.kind->name,
                         (double)x[i], (double)y[i], code[i]);
        }
        quantizer_free(q);
    }
    mem_free(x);
    mem_free(y);
    mem_free(code);
}

/* Zeros, equal values, and data with NaN and infinity: a usable scale, and
 * numbers where numbers came in. */
static void strange_data_never_gives_a_strange_scale(void **state)
{
    enum { N = 64 };
    real data[4][N], y[N], dx[N], dy[N];

    (void)state;
    for (int i = 0; i < N; i++) {
        data[0][i] = 0;
        data[1][i] = REAL(0.25);
        data[2][i] = i == 3 ? (real)NAN : i == 5 ? (real)INFINITY
                                                 : (real)i / N;
        data[3][i] = i % 2 ? REAL(1e38) : REAL(-1e38);
        dy[i] = 1;
    }
    for (int k = 0; k < quantizer_count; k++)
        for (int d = 0; d < 4; d++) {
            struct qspec s = example_of(quantizer_table[k]);
            struct qview v = {1, 1, N};
            struct quantizer *q;
            struct err e = {0};

            s.grain = GRAIN_TENSOR;
            q = made(&s, 1);
            quantizer_observe(q, data[d], v, &e);
            quantizer_forward(q, data[d], y, v, true);
            quantizer_backward(q, data[d], dy, dx, v);
            if (!isfinite(q->scale[0]) || !(q->scale[0] > 0))
                fail_msg("%s: scale %g for data %d", s.kind->name,
                         (double)q->scale[0], d);
            for (int i = 0; i < N; i++)
                if (isfinite(data[d][i]) && d != 3 && isnan(y[i]))
                    fail_msg("%s: %g becomes NaN (data %d)", s.kind->name,
                             (double)data[d][i], d);
            quantizer_free(q);
        }
}

struct outcome {
    real *y, *dx, *grad;
};

static void run_threads(const struct qspec *s, const real *x, const real *dy,
                        int threads, struct outcome *o)
{
    enum { N = 1 << 17 };
    struct qview v = {1, 1, N};
    struct quantizer *q = made(s, 1);
    struct rng *r = rng_new(5, RNG_ROUND);
    struct err e = {0};

    omp_set_num_threads(threads);
    q->rng = r;
    assert_int_equal(quantizer_observe(q, x, v, &e), STATUS_OK);
    q->learn = q->n_learned > 0;
    quantizer_forward(q, x, o->y, v, true);
    quantizer_backward(q, x, dy, o->dx, v);
    memcpy(o->grad, q->grad, (size_t)q->n_learned * sizeof(real));
    rng_free(r);
    quantizer_free(q);
    omp_set_num_threads(omp_get_num_procs());
}

static void results_do_not_depend_on_the_number_of_threads(void **state)
{
    enum { N = 1 << 17 };
    real *x = mem_alloc(N, sizeof *x), *dy = mem_alloc(N, sizeof *dy);
    struct outcome o[2];
    size_t bytes = N * sizeof(real);

    (void)state;
    fill_normal(x, N, 7);
    fill_normal(dy, N, 8);
    for (int i = 0; i < 2; i++) {
        o[i].y = mem_alloc(N, sizeof(real));
        o[i].dx = mem_alloc(N, sizeof(real));
        o[i].grad = mem_alloc(8, sizeof(real));
    }
    for (int k = 0; k < quantizer_count; k++) {
        struct qspec s = example_of(quantizer_table[k]);

        s.grain = GRAIN_TENSOR;
        for (int i = 0; i < 2; i++)
            run_threads(&s, x, dy, i ? 3 : 1, &o[i]);
        if (memcmp(o[0].y, o[1].y, bytes) ||
            memcmp(o[0].dx, o[1].dx, bytes) ||
            memcmp(o[0].grad, o[1].grad, 2 * sizeof(real)))
            fail_msg("%s depends on threads", s.kind->name);
    }
    for (int i = 0; i < 2; i++) {
        mem_free(o[i].y);
        mem_free(o[i].dx);
        mem_free(o[i].grad);
    }
    mem_free(x);
    mem_free(dy);
}

static void every_kind_explains_itself_with_its_numbers(void **state)
{
    enum { N = 64 };
    real x[N], y[N];

    (void)state;
    fill_normal(x, N, 61);
    for (int k = 0; k < quantizer_count; k++) {
        struct qspec s = example_of(quantizer_table[k]);
        struct qview v = {1, 1, N};
        struct quantizer *q;
        struct str text = {0};
        struct err e = {0};

        s.grain = GRAIN_TENSOR;
        q = made(&s, 1);
        assert_int_equal(quantizer_observe(q, x, v, &e), STATUS_OK);
        quantizer_forward(q, x, y, v, true);
        s.kind->describe(q, x[0], &text);
        if (!contains(str_text(&text), "gradient") ||
            !contains(str_text(&text), "="))
            fail_msg("%s says only:\n%s", s.kind->name, str_text(&text));
        assert_true(str_text(&text)[text.len - 1] == '\n');
        str_fini(&text);
        quantizer_free(q);
    }
}

/* The same values in evaluation, before and after. */
static void saved_quantizers_come_back_as_they_were(void **state)
{
    enum { N = 64 };
    real x[N], y[N], again[N];

    (void)state;
    fill_normal(x, N, 62);
    for (int k = 0; k < quantizer_count; k++) {
        struct qspec s = example_of(quantizer_table[k]);
        struct qview v = {1, 1, N};
        struct bag *b = bag_new();
        struct quantizer *q, *back;
        struct err e = {0};

        s.grain = GRAIN_TENSOR;
        q = made(&s, 1);
        assert_int_equal(quantizer_observe(q, x, v, &e), STATUS_OK);
        q->learn = q->n_learned > 0;
        quantizer_forward(q, x, y, v, true);
        quantizer_forward(q, x, y, v, false);
        if (quantizer_save(q, "q", b, &e) != STATUS_OK ||
            quantizer_load(b, "q", &back, &e) != STATUS_OK)
            fail_msg("%s: %s", s.kind->name, e.text);
        assert_true(qspec_equal(&back->spec, &q->spec));
        quantizer_forward(back, x, again, v, false);
        for (int i = 0; i < N; i++)
            if (y[i] != again[i])
                fail_msg("%s: %g was %g", s.kind->name, (double)again[i],
                         (double)y[i]);
        quantizer_free(q);
        quantizer_free(back);
        bag_free(b);
    }
}

static void ranges_are_refused_where_there_is_none(void **state)
{
    struct qspec s = qspec_parsed("quantized_bits(4)");
    struct quantizer *q = made(&s, 1);
    real lo = -1, hi = 1;
    struct err e = {0};

    (void)state;
    assert_int_equal(quantizer_set_range(q, &lo, &hi, 1, &e), STATUS_STATE);
    assert_true(contains(e.text, "takes no range"));
    quantizer_free(q);
}

/* ---- numbers ---- */

/* Steps of many sizes, so that all ranges are met. */
static void tanh_and_its_slope_are_those_of_libm(void **state)
{
    enum { N = 4096 };
    real *x = mem_alloc(N, sizeof *x), *t = mem_alloc(N, sizeof *t);
    real *d = mem_alloc(N, sizeof *d);

    (void)state;
    for (double span = 1e-30; span < 130; span *= 1.7) {
        for (int i = 0; i < N; i++)
            x[i] = (real)((i - N / 2) * (span / (N / 2)));
        tanh_block(x, t, N);
        sech2_block(x, d, N);
        for (int i = 0; i < N; i++) {
            double v = (double)x[i], c = cosh(v), want = 1 / (c * c);

            assert_near((double)t[i], tanh(v), 4e-7, 0);
            assert_near((double)d[i], want, fabs(v) < 4 ? 9e-7 : 0, 2e-9);
            assert_true(fabs(v) < 9.1 || real_fabs(t[i]) == 1);
            assert_true(d[i] > 0);
        }
    }
    mem_free(x);
    mem_free(t);
    mem_free(d);
}

static void tanh_of_what_is_no_number(void **state)
{
    real x[] = {(real)NAN, (real)INFINITY, -(real)INFINITY, REAL(-0.0)};
    real t[4], d[4];

    (void)state;
    tanh_block(x, t, 4);
    sech2_block(x, d, 4);
    assert_true(isnan(t[0]) && isnan(d[0]));
    assert_true(t[1] == 1 && t[2] == -1 && d[1] == 0 && d[2] == 0);
    assert_true(t[3] == 0 && signbit(t[3]) && d[3] == 1);
}

/* The quotients without a division, all of them, and the last n with one. */
static void whole_numbers_divide_exactly(void **state)
{
    (void)state;
    for (int n = 1; n < 1500; n += n < 1023 ? 1 : 97) {
        struct over o = over_of((real)n);

        for (int w = -n; w <= n; w++)
            assert_true(over_divide(&o, (real)w, o.lo == 0) ==
                        (real)w / (real)n);
    }
}

static int compare_reals(const void *a, const void *b)
{
    real x = *(const real *)a, y = *(const real *)b;

    return (x > y) - (x < y);
}

static void selection_finds_the_kth_value(void **state)
{
    enum { N = 1000 };
    static const int64_t ranks[] = {1, 2, 500, 936, 937, 990, 999, 1000};
    real x[N], sorted[N], work[N];

    (void)state;
    fill_normal(x, N, 11);
    for (int i = 0; i < N; i += 7)
        x[i] = 1;                        /* equal values too */
    memcpy(sorted, x, sizeof sorted);
    qsort(sorted, N, sizeof sorted[0], compare_reals);
    for (size_t i = 0; i < sizeof ranks / sizeof ranks[0]; i++) {
        memcpy(work, x, sizeof work);
        assert_true(select_kth(work, N, ranks[i]) == sorted[ranks[i] - 1]);
    }
}

static void draws_are_uniform_and_differ_by_key_and_salt(void **state)
{
    enum { N = 100000 };
    struct rng *r = rng_new(1, RNG_ROUND);
    struct noise z = noise_new(r);
    real *u = mem_alloc(N, sizeof *u), *w = mem_alloc(N, sizeof *w);
    double mean = 0, square = 0, product = 0, next = 0;

    (void)state;
    noise_block(&z, 0, 0, u, N);
    noise_block(&z, 0, 1, w, N);
    for (int i = 0; i < N; i++) {
        assert_true(u[i] >= 0 && u[i] < 1);
        mean += (double)u[i] / N;
        square += (double)u[i] * (double)u[i] / N;
        product += ((double)u[i] - 0.5) * ((double)w[i] - 0.5) / N;
        next += i ? ((double)u[i] - 0.5) * ((double)u[i - 1] - 0.5) / N : 0;
    }
    assert_near(mean, 0.5, 0, 0.005);
    assert_near(square, 1.0 / 3, 0, 0.005);
    assert_near(product, 0, 0, 0.002);
    assert_near(next, 0, 0, 0.002);
    noise_block(&z, 50, 0, w, 10);
    assert_memory_equal(u + 50, w, 10 * sizeof *w);   /* by index */
    z = noise_new(r);
    noise_block(&z, 0, 0, w, N);
    assert_memory_not_equal(u, w, N * sizeof *u);
    mem_free(u);
    mem_free(w);
    rng_free(r);
}

/* Pearson's sum over 16 x 16 cells of pairs: 255 on the mean, 22.6 its
 * deviation. */
static double cells_of(const real *a, const real *b, int n)
{
    int hits[256] = {0};
    double sum = 0, each = n / 256.0;

    for (int i = 0; i < n; i++)
        hits[16 * (int)(16 * a[i]) + (int)(16 * b[i])]++;
    for (int i = 0; i < 256; i++)
        sum += (hits[i] - each) * (hits[i] - each) / each;
    return sum;
}

static void draws_are_independent(void **state)
{
    enum { N = 20000, FAR = 4096, CALLS = 20 };
    static const int lags[] = {1, 2, 8, 64, 512, FAR};
    real *u = mem_alloc(N + FAR, sizeof *u), *w = mem_alloc(N, sizeof *w);
    struct rng *r = rng_new(2, RNG_ROUND);

    (void)state;
    for (int k = 0; k < CALLS; k++) {
        struct noise z = noise_new(r), close = z;

        noise_block(&z, 0, 0, u, N + FAR);
        for (size_t i = 0; i < sizeof lags / sizeof lags[0]; i++)
            assert_true(cells_of(u, u + lags[i], N) < 255 + 5 * 22.6);
        noise_block(&z, 0, 1, w, N);
        assert_true(cells_of(u, w, N) < 255 + 5 * 22.6);
        close.key[k % 2]++;              /* keys that hardly differ */
        noise_block(&close, 0, 0, w, N);
        assert_true(cells_of(u, w, N) < 255 + 5 * 22.6);
    }
    mem_free(u);
    mem_free(w);
    rng_free(r);
}

static void random_rounding_keeps_the_mean(void **state)
{
    enum { N = 20000 };
    static const char *const texts[] = {
        "quantized_bits(4,0,use_stochastic_rounding=1)",
        "quantized_relu(3,0,use_stochastic_rounding=1)",
        "minifloat:4,round=stochastic",
    };
    real *x = mem_alloc(N, sizeof *x), *y = mem_alloc(N, sizeof *y);
    struct rng *r = rng_new(2, RNG_ROUND);

    (void)state;
    for (int i = 0; i < N; i++)
        x[i] = REAL(0.2937);
    for (size_t k = 0; k < sizeof texts / sizeof texts[0]; k++) {
        struct qspec s = qspec_parsed(texts[k]);
        struct quantizer *q = made(&s, 1);
        struct qview v = {1, 1, N};
        double mean = 0;
        bool differ = false;

        q->rng = r;
        quantizer_forward(q, x, y, v, true);
        for (int i = 0; i < N; i++) {
            mean += (double)y[i] / N;
            differ |= y[i] != y[0];
        }
        assert_true(differ);
        assert_near(mean, 0.2937, 0, 0.004);
        quantizer_forward(q, x, y, v, false);
        for (int i = 1; i < N; i++)
            assert_true(y[i] == y[0]);   /* evaluation draws nothing */
        quantizer_free(q);
    }
    mem_free(x);
    mem_free(y);
    rng_free(r);
}

/* sigmoid(6 * 0.1) = 0.6457 of the values are one. */
static void stochastic_binary_draws_by_its_sigmoid(void **state)
{
    enum { N = 40000 };
    struct qspec s = qspec_parsed("stochastic_binary(alpha=1)");
    struct quantizer *q = made(&s, 1);
    struct rng *r = rng_new(3, RNG_ROUND);
    real *x = mem_alloc(N, sizeof *x), *y = mem_alloc(N, sizeof *y);
    double ones = 0;

    (void)state;
    for (int i = 0; i < N; i++)
        x[i] = REAL(0.1);
    q->rng = r;
    quantizer_forward(q, x, y, (struct qview){1, 1, N}, true);
    for (int i = 0; i < N; i++)
        ones += y[i] > 0;
    assert_near(ones / N, 1 / (1 + exp(-0.6)), 0, 0.01);
    quantizer_free(q);
    rng_free(r);
    mem_free(x);
    mem_free(y);
}

/* ---- small floats ---- */

/* All non-negative values of a format by its definition. */
static int list_values(int exponent, int mantissa, int top_codes_out,
                       double *out)
{
    int bias = (1 << (exponent - 1)) - 1;
    int n = (1 << (exponent + mantissa)) - top_codes_out;

    for (int code = 0; code < n; code++) {
        int e = code >> mantissa, m = code & ((1 << mantissa) - 1);

        out[code] = e ? ldexp((1 << mantissa) + m, e - bias - mantissa)
                      : ldexp(m, 1 - bias - mantissa);
    }
    return n;
}

/* Nearest value, ties to the even code, saturating. */
static double nearest_value(const double *list, int n, double x)
{
    double a = fmin(fabs(x), 1e6);
    int best = 0;

    for (int i = 1; i < n; i++) {
        double d = fabs(list[i] - a), old = fabs(list[best] - a);

        if (d < old || (d == old && i % 2 == 0))
            best = i;
    }
    return x < 0 ? -list[best] : list[best];
}

static void small_floats_round_to_the_nearest_value(void **state)
{
    static const struct {
        const char *text;
        int exponent, mantissa, out;
        double max;
    } formats[] = {
        {"minifloat:4", 2, 1, 0, 6},
        {"minifloat:6", 3, 2, 0, 28},
        {"minifloat:6,exp=2", 2, 3, 0, 7.5},
        {"minifloat:8", 4, 3, 1, 448},
        {"minifloat:8,exp=5", 5, 2, 4, 57344},
        {"minifloat:8,exp=4,special=2", 4, 3, 8, 240},
    };
    enum { N = 3000 };
    real x[N], y[N];
    double list[256];

    (void)state;
    for (size_t f = 0; f < sizeof formats / sizeof formats[0]; f++) {
        int n = list_values(formats[f].exponent, formats[f].mantissa,
                            formats[f].out, list);

        assert_true(list[n - 1] == formats[f].max);
        fill_normal(x, N, 20 + f);
        for (int i = 0; i < N; i++)
            x[i] *= (real)ldexp(1, i % 24 - 16);
        for (int i = 0; i + 1 < n && i < 300; i++)
            x[i] = (real)((list[i] + list[i + 1]) / 2 * (i % 2 ? -1 : 1));
        x[N - 1] = REAL(1e30);
        x[N - 2] = (real)-INFINITY;
        run(formats[f].text, x, y, N);
        for (int i = 0; i < N; i++)
            if ((double)y[i] != nearest_value(list, n, (double)x[i]))
                fail_msg("%s: %.9g -> %.9g", formats[f].text, (double)x[i],
                         (double)y[i]);
    }
}

static void half_and_bfloat_are_those_of_the_tensors(void **state)
{
    enum { N = 4000 };
    static const struct {
        const char *text;
        enum dtype type;
    } pairs[] = {{"minifloat:16", DTYPE_F16},
                 {"minifloat:16,exp=8", DTYPE_BF16}};
    real x[N], y[N];

    (void)state;
    for (int k = 0; k < 2; k++) {
        struct shape shape = shape_1(N);
        struct tensor in = tensor_view(DTYPE_REAL, &shape, x), out;
        struct err e = {0};

        fill_normal(x, N, 31);
        for (int i = 0; i < N; i++)
            x[i] *= (real)ldexp(1, i % 30 - 22);
        if (k == 1)
            x[0] = REAL(1e-40);          /* subnormal of bfloat16 */
        assert_int_equal(tensor_cast(&out, &in, pairs[k].type, &e),
                         STATUS_OK);
        run(pairs[k].text, x, y, N);
        for (int i = 0; i < N; i++)
            if ((double)y[i] != tensor_get(&out, i))
                fail_msg("%s: %.9g -> %.9g, wanted %.9g", pairs[k].text,
                         (double)x[i], (double)y[i], tensor_get(&out, i));
        tensor_fini(&out);
    }
}

static void codes_of_small_floats_are_bit_patterns(void **state)
{
    real x[] = {0, REAL(0.5), 1, REAL(1.5), 2, 3, 4, 6, -1, 100};
    int32_t want[] = {0, 1, 2, 3, 4, 5, 6, 7, 10, 7}, code[10];
    struct qspec s = qspec_parsed("minifloat:4");
    struct quantizer *q = made(&s, 1);

    (void)state;
    s.kind->codes(q, x, code, (struct qview){1, 1, 10});
    assert_memory_equal(code, want, sizeof want);
    quantizer_free(q);
}

/* OCP MX: shared exponent floor(log2 max|x|) - 2 for e2m1. */
static void mx_blocks_share_a_power_of_two(void **state)
{
    enum { N = 96, BLOCK = 32 };
    struct qspec s = qspec_parsed("mx:4");
    struct qview v = {1, N / BLOCK, BLOCK};
    struct quantizer *q = made(&s, v.channels);
    double list[8];
    int n = list_values(2, 1, 0, list);
    real x[N], y[N];

    (void)state;
    fill_normal(x, N, 41);
    for (int i = 0; i < N; i++)
        x[i] *= (real)ldexp(1, 5 * (i / BLOCK) - 4);
    quantizer_forward(q, x, y, v, true);
    for (int b = 0; b < N / BLOCK; b++) {
        double most = 0, scale;

        for (int i = 0; i < BLOCK; i++)
            most = fmax(most, fabs((double)x[b * BLOCK + i]));
        scale = ldexp(1, (int)floor(log2(most)) - 2);
        assert_true((double)q->scale[b] == scale);
        for (int i = b * BLOCK; i < (b + 1) * BLOCK; i++)
            assert_true((double)y[i] ==
                        scale * nearest_value(list, n,
                                              (double)x[i] / scale));
    }
    quantizer_free(q);
}

/* A batch may have more blocks than the quantizer was made for. */
static void mx_takes_any_number_of_blocks(void **state)
{
    struct qspec s = qspec_parsed("mx:4,group=4");
    struct quantizer *q = made(&s, 1);
    real x[8] = {1, 2, 3, 4, 10, 20, 30, 40}, y[8];
    real want[8] = {1, 2, 3, 4, 8, 24, 32, 40};

    (void)state;
    quantizer_forward(q, x, y, (struct qview){1, 2, 4}, true);
    assert_reals_near(y, want, 4, 0, 0);
    assert_true(y[7] == 48 || y[7] == 32);
    quantizer_free(q);
}

/* ---- powers of two, two and three values ---- */

static void po2_takes_the_nearest_power_or_zero(void **state)
{
    enum { N = 2000 };
    real x[N], y[N];
    double list[8] = {0};

    (void)state;
    fill_normal(x, N, 51);
    x[0] = REAL(2.9);                    /* 2.9 / 0.75 -> top 2^1 */
    for (int i = 1; i < N; i++)
        x[i] = x[i] > REAL(2.9) ? REAL(2.9)
               : x[i] < REAL(-2.9) ? REAL(-2.9)
                                   : x[i];
    for (int k = 1; k <= 7; k++)
        list[k] = ldexp(1, 1 - 7 + k);
    run("po2:4", x, y, N);
    for (int i = 0; i < N; i++)
        assert_true((double)y[i] == nearest_value(list, 8, (double)x[i]));
}

static void binary_is_the_mean_times_the_sign(void **state)
{
    real x[] = {1, -2, REAL(0.5), REAL(-0.5), 0, REAL(-2.0)};
    real want[] = {1, -1, 1, -1, 1, -1}, y[6];

    (void)state;
    run("binary:1", x, y, 6);
    assert_reals_near(y, want, 6, 1e-7, 0);
    run("binary:1,scale=0.25", x, y, 6);
    for (int i = 0; i < 6; i++)
        want[i] *= REAL(0.25);
    assert_reals_near(y, want, 6, 0, 0);
}

/* mean|x| = 1, t = 0.7, s = mean of 1, 2, 2. */
static void ternary_finds_threshold_and_scale(void **state)
{
    real x[] = {1, -2, REAL(0.5), REAL(-0.5), 0, 2};
    real s = REAL(5.0) / 3, y[6];
    real want[] = {s, -s, 0, 0, 0, s};

    (void)state;
    run("ternary:2", x, y, 6);
    assert_reals_near(y, want, 6, 1e-6, 0);
    run("ternary:2,threshold=0.4,scale=1", x, y, 6);
    assert_true(y[2] == 1 && y[3] == -1 && y[4] == 0);
}

/* Step 2^(1-4+1) = 0.25, codes -7 to 7. */
static void quantized_linear_clamps_before_it_rounds(void **state)
{
    real x[] = {REAL(0.37), REAL(-0.38), 5, -5, REAL(0.125), REAL(0.375)};
    real want[] = {REAL(0.25), REAL(-0.5), REAL(1.75), REAL(-1.75), 0,
                   REAL(0.5)};
    real dy[] = {1, 1, 1, 1, 1, 1}, y[6], dx[6];
    struct qspec s = qspec_parsed("quantized_linear(4,1)");
    struct quantizer *q = made(&s, 1);

    (void)state;
    quantizer_forward(q, x, y, (struct qview){1, 1, 6}, true);
    assert_reals_near(y, want, 6, 1e-7, 0);
    quantizer_backward(q, x, dy, dx, (struct qview){1, 1, 6});
    assert_true(dx[0] == 1 && dx[2] == 0 && dx[3] == 0);
    quantizer_free(q);
}

/* Two batches are collected (1, then 3: 0.9 + 0.3), then the scale stays. */
/* u-law by its formula: what x is worth, and the slope there. */
static double ulaw(int m, bool narrow, real x, double *slope)
{
    real p = REAL(0.5) * x + REAL(0.5);
    double rp, y;

    p = p < 0 ? 0 : p > 1 ? 1 : p;
    rp = 2 * (double)real_rint(p * (real)m) / m - 1;
    y = copysign(log(1 + 255 * fabs(rp)) / log(256), rp);
    *slope = rp == 0 || y > 1 - 1.0 / m || y < -1 + (double)narrow / m ||
                     real_fabs(x) > 1
                 ? 0
                 : 255 / (1 + 255 * fabs(rp)) / log(256);
    return fmin(fmax(y, -1 + (double)narrow / m), 1 - 1.0 / m);
}

/* Values around the border above code k, one by one. */
static void check_ulaw(struct quantizer *q, int m, int k)
{
    enum { AROUND = 65 };
    struct qview v = {1, 1, AROUND};
    real x[AROUND], y[AROUND], dy[AROUND], dx[AROUND];

    for (int i = 0; i < AROUND; i++) {
        x[i] = ((real)k + REAL(0.5)) / (real)m * 2 - 1 +
               (real)(i - AROUND / 2) * REAL(3e-8);
        dy[i] = (real)(i + 1);
    }
    x[0] = k < 0 ? -1 : 1;
    quantizer_forward(q, x, y, v, true);
    quantizer_backward(q, x, dy, dx, v);
    for (int i = 0; i < AROUND; i++) {
        double slope, want = ulaw(m, q->spec.narrow, x[i], &slope);

        assert_near((double)y[i], want, 1e-6, 0);
        assert_near((double)dx[i], (i + 1) * slope, 1e-5, 0);
    }
}

/* Up to 4 bits by steps, beyond by a table. */
static void ulaw_is_its_formula_at_every_border(void **state)
{
    (void)state;
    for (int bits = 1; bits <= 6; bits++)
        for (int narrow = 0; narrow < 2; narrow++) {
            char text[64];
            struct qspec s;
            struct quantizer *q;
            int m = 1 << (bits - 1);

            snprintf(text, sizeof text, "quantized_ulaw(%d,symmetric=%d)",
                     bits, narrow);
            s = qspec_parsed(text);
            q = made(&s, 1);
            for (int k = -1; k <= m; k++)
                check_ulaw(q, m, k);
            quantizer_free(q);
        }
}

static void no_number_stays_none_in_qkeras_kinds(void **state)
{
    static const char *const kinds[] = {
        "qkeras_binary()", "qkeras_ternary()", "stochastic_binary()",
        "stochastic_ternary()", "bernoulli()", "quantized_tanh(4)",
        "quantized_sigmoid(4)", "quantized_ulaw(4)", "quantized_ulaw(6)",
        "quantized_bits(4)", "quantized_po2(4)", "quantized_hswish(4)"};
    struct qview v = {1, 1, 2};
    real x[] = {REAL(0.5), (real)NAN}, y[2];

    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct qspec s = qspec_parsed(kinds[i]);
        struct quantizer *q = made(&s, 1);

        q->rng = rng_new(1, RNG_ROUND);
        quantizer_forward(q, x, y, v, true);
        assert_true(isfinite(y[0]) && isnan(y[1]));
        rng_free(q->rng);
        q->rng = NULL;
        quantizer_forward(q, x, y, v, false);
        assert_true(isfinite(y[0]) && isnan(y[1]));
        quantizer_free(q);
    }
}

/* After a forward in evaluation nothing is kept: backward finds tanh and the
 * maximum again. Weights that have moved since count as they are now. */
static void dorefa_backward_is_the_same_from_what_forward_kept(void **state)
{
    static const char *const texts[] = {
        "dorefa:4", "dorefa:3,rescale=1", "dorefa:2,channel",
        "dorefa:4,channel,rescale=1",
    };
    enum { ROWS = 6, ROW = 700, N = ROWS * ROW };
    real x[N], dy[N], y[N], kept[N], found[N];

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct qspec s = qspec_parsed(texts[i]);
        bool channel = s.grain == GRAIN_CHANNEL;
        struct qview v = {1, channel ? ROWS : 1, channel ? ROW : N};
        struct quantizer *q = made(&s, v.channels);

        for (uint64_t pass = 0; pass < 3; pass++) {
            fill_normal(x, N, 2 * pass + 1);
            fill_normal(dy, N, 2 * pass + 2);
            quantizer_forward(q, x, y, v, true);
            quantizer_backward(q, x, dy, kept, v);
            x[5] *= 2;
            quantizer_forward(q, x, y, v, false);
            quantizer_backward(q, x, dy, found, v);
            assert_memory_not_equal(kept, found, sizeof kept);
            quantizer_forward(q, x, y, v, true);
            quantizer_backward(q, x, dy, kept, v);
            assert_memory_equal(kept, found, sizeof kept);
        }
        quantizer_free(q);
    }
}

static void brevitas_act_collects_before_it_learns(void **state)
{
    struct qspec s = qspec_parsed("brevitas_act:4,collect=2");
    struct quantizer *q = made(&s, 1);
    struct qview v = {1, 1, 4};
    real small[] = {REAL(0.5), -1, REAL(0.25), 0}, big[] = {3, 0, 1, -1};
    real y[4], dy[] = {1, 1, 1, 1}, dx[4];

    (void)state;
    q->learn = true;
    quantizer_forward(q, small, y, v, true);
    assert_near((double)q->scale[0], 1.0 / 8, 1e-7, 0);
    quantizer_forward(q, big, y, v, true);
    assert_near((double)q->scale[0], 3.0 / 8, 1e-7, 0);
    quantizer_backward(q, big, dy, dx, v);
    assert_true(q->grad[0] == 0);
    quantizer_forward(q, big, y, v, false);
    assert_near((double)q->scale[0], 1.2 / 8, 1e-6, 0);
    quantizer_forward(q, big, y, v, true);
    assert_near((double)q->scale[0], 1.2 / 8, 1e-6, 0);
    quantizer_backward(q, big, dy, dx, v);
    assert_true(q->grad[0] != 0 && dx[0] == 0);
    quantizer_free(q);
}

static void switching_learning_on_starts_from_the_data(void **state)
{
    struct qspec s = qspec_parsed("brevitas:4");
    struct quantizer *q = made(&s, 1);
    struct qview v = {1, 1, 4};
    real w[] = {REAL(0.5), -1, REAL(0.25), 0}, y[4];
    struct err e = {0};

    (void)state;
    quantizer_forward(q, w, y, v, true);
    assert_int_equal(quantizer_enable_learn(q, true, &e), STATUS_OK);
    w[1] = -3;
    quantizer_forward(q, w, y, v, true);
    assert_near((double)q->scale[0], 1.0 / 7, 1e-7, 0);
    assert_near((double)y[1], -1, 1e-6, 0);
    quantizer_free(q);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(qkeras_strings_are_printed_in_their_shortest_form),
    cmocka_unit_test(malformed_qkeras_strings_say_what_was_found),
    cmocka_unit_test(options_that_a_kind_cannot_use_are_refused),
    cmocka_unit_test(kernel_quantizers_without_alpha_scale_themselves),
    cmocka_unit_test(uniform_values_are_codes_times_the_scale),
    cmocka_unit_test(strange_data_never_gives_a_strange_scale),
    cmocka_unit_test(results_do_not_depend_on_the_number_of_threads),
    cmocka_unit_test(every_kind_explains_itself_with_its_numbers),
    cmocka_unit_test(saved_quantizers_come_back_as_they_were),
    cmocka_unit_test(ranges_are_refused_where_there_is_none),
    cmocka_unit_test(tanh_and_its_slope_are_those_of_libm),
    cmocka_unit_test(tanh_of_what_is_no_number),
    cmocka_unit_test(whole_numbers_divide_exactly),
    cmocka_unit_test(selection_finds_the_kth_value),
    cmocka_unit_test(draws_are_uniform_and_differ_by_key_and_salt),
    cmocka_unit_test(draws_are_independent),
    cmocka_unit_test(random_rounding_keeps_the_mean),
    cmocka_unit_test(stochastic_binary_draws_by_its_sigmoid),
    cmocka_unit_test(small_floats_round_to_the_nearest_value),
    cmocka_unit_test(half_and_bfloat_are_those_of_the_tensors),
    cmocka_unit_test(codes_of_small_floats_are_bit_patterns),
    cmocka_unit_test(mx_blocks_share_a_power_of_two),
    cmocka_unit_test(mx_takes_any_number_of_blocks),
    cmocka_unit_test(po2_takes_the_nearest_power_or_zero),
    cmocka_unit_test(binary_is_the_mean_times_the_sign),
    cmocka_unit_test(ternary_finds_threshold_and_scale),
    cmocka_unit_test(quantized_linear_clamps_before_it_rounds),
    cmocka_unit_test(ulaw_is_its_formula_at_every_border),
    cmocka_unit_test(no_number_stays_none_in_qkeras_kinds),
    cmocka_unit_test(dorefa_backward_is_the_same_from_what_forward_kept),
    cmocka_unit_test(brevitas_act_collects_before_it_learns),
    cmocka_unit_test(switching_learning_on_starts_from_the_data),
};

TEST_MAIN("quant_kinds", tests)

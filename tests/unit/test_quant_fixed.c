/* Fixed-point quantizers: strings, modes by hand, gradients, limits.
 *
 * Every raw value of many types is in golden suite fixed-ap; here are the
 * rule's corners and what the kinds add.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/test_main.h"

#include <math.h>
#include <string.h>

#include "common/assert_near.h"
#include "common/qspec_strings.h"
#include "quant/fixed.h"

static struct quantizer *made(const char *text)
{
    struct qspec s = qspec_parsed(text);
    struct quantizer *q;
    struct err e = {0};

    if (quantizer_new(&s, 1, &q, &e) != STATUS_OK)
        fail_msg("%s", e.text);
    return q;
}

static void strings_are_printed_with_every_argument(void **state)
{
    static const char *const pairs[][2] = {
        {"fixed<16,6>", "fixed<16,6,TRN,WRAP,0>"},
        {"fixed< 16 , 6 , RND_CONV , SAT >", "fixed<16,6,RND_CONV,SAT,0>"},
        {"fixed<8,3,AP_RND,AP_SAT_SYM>", "fixed<8,3,RND,SAT_SYM,0>"},
        {"ufixed<8,-2,TRN_ZERO,WRAP,3>", "ufixed<8,-2,TRN_ZERO,WRAP,3>"},
        {"fixed<4,9,RND_MIN_INF,SAT_ZERO>",
         "fixed<4,9,RND_MIN_INF,SAT_ZERO,0>"},
        {"fixed<5,2,RND_INF,WRAP_SM,1>,grad=pass",
         "fixed<5,2,RND_INF,WRAP_SM,1>,grad=pass"},
        {"fixed:12,integer=3,overflow=1", "fixed<12,3,TRN,SAT,0>"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        assert_printed(pairs[i][0], pairs[i][1]);
}

static void malformed_types_say_what_was_found(void **state)
{
    static const char *const bad[][2] = {
        {"fixed<16", "no '>'"},
        {"fixed<>", "wanted <W,I"},
        {"fixed<16>", "no integer bits"},
        {"fixed<16,6,>", "wanted <W,I"},
        {"fixed<16,six>", "six"},
        {"fixed<16,6,UP>", "UP: not one of TRN TRN_ZERO RND"},
        {"fixed<16,6,RND,CLIP>", "CLIP: not one of WRAP SAT"},
        {"fixed<16,6,RND,SAT,0,0>", "wanted <W,I"},
        {"fixed<16,6,RND,SAT,1>", "N = 1"},
        {"fixed<4,2,TRN,WRAP,5>", "from 0 to 4"},
        {"fixed<4,2,TRN,WRAP_SM,2>", "from 0 to 1"},
        {"ufixed<4,2,TRN,WRAP_SM>", "with a sign"},
        {"fixed<0,0>", "0 bits"},
        {"fixed<49,6>", "from 1 to 48"},
        {"fixed<25,6>", "float32"},
        {"fixed<32,16,RND,SAT>", "up to 24 bits"},
        {"fixed<16,200>", "integer is 200"},
        {"fixed<1,1,TRN,SAT_SYM>", "no grid"},
        {"fixed<8,2>,unsigned", "write ufixed<8,2>"},
        {"ufixed<8,2>,signed", "write fixed<8,2>"},
        {"fixed<8,2>,asym", "asym"},
        {"fixed<8,2>,round=floor", "rounding"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_refused(bad[i][0], bad[i][1]);
}

/* Numbers whose sum with 1/2 is not exact, and ones below all doubles. */
static void rounding_looks_at_the_exact_number(void **state)
{
    static const struct {
        double x;
        int64_t want[FIXED_ROUNDINGS];
    } rows[] = {
        {0.49999999999999994, {0, 0, 0, 0, 0, 0, 0}},
        {-0.49999999999999994, {-1, 0, 0, 0, 0, 0, 0}},
        {0.5, {0, 0, 1, 0, 1, 0, 0}},
        {-0.5, {-1, 0, 0, 0, -1, -1, 0}},
        {1.5, {1, 1, 2, 1, 2, 1, 2}},
        {-1.5, {-2, -1, -1, -1, -2, -2, -2}},
        {-0.50000000000000011, {-1, 0, -1, -1, -1, -1, -1}},
        {4503599627370495.5 / 1048576 / 1048576 * 256,
         {1048575, 1048575, 1048576, 1048576, 1048576, 1048576, 1048576}},
        {-0x1p-1074, {-1, 0, 0, 0, 0, 0, 0}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (int r = 0; r < FIXED_ROUNDINGS; r++) {
            struct fixed_type t = {.width = 32, .integer = 32,
                                   .is_signed = true,
                                   .rounding = (enum fixed_rounding)r};
            int64_t got = fixed_from_double(&t, rows[i].x);

            if (got != rows[i].want[r])
                fail_msg("%.17g by %s: %lld, wanted %lld", rows[i].x,
                         fixed_rounding_name[r], (long long)got,
                         (long long)rows[i].want[r]);
        }
}

/* fixed<4,4>: numbers beyond 7 and -8, by the headers' manual. */
static void overflow_of_four_bits_is_as_by_hand(void **state)
{
    static const struct {
        const char *text;
        real x, want;
    } rows[] = {
        {"fixed<4,4,RND,SAT>", 9, 7},
        {"fixed<4,4,RND,SAT>", -9, -8},
        {"fixed<4,4,RND,SAT>", REAL(7.5), 7},
        {"fixed<4,4,RND,WRAP>", REAL(7.5), -8},
        {"fixed<4,4,RND,SAT_ZERO>", 8, 0},
        {"fixed<4,4,RND,SAT_SYM>", -8, -7},
        {"fixed<4,4,TRN,WRAP>", 8, -8},
        {"fixed<4,4,TRN,WRAP>", 25, -7},
        {"fixed<4,4,TRN,WRAP,1>", 8, 0},
        {"fixed<4,4,TRN,WRAP,1>", -9, -1},
        {"fixed<4,4,TRN,WRAP,2>", 8, 4},
        {"fixed<4,4,TRN,WRAP,3>", -9, -7},
        {"fixed<4,4,TRN,WRAP_SM>", 8, 7},
        {"fixed<4,4,TRN,WRAP_SM>", -10, -7},
        {"ufixed<4,4,TRN,WRAP,1>", 16, 8},
        {"ufixed<4,4,TRN,WRAP,2>", 16, 12},
        {"ufixed<4,4,TRN,SAT>", -3, 0},
        {"fixed<4,1,TRN,SAT>", REAL(-0.01), REAL(-0.125)},
        {"fixed<4,7,RND_CONV,SAT>", 20, 16},
        {"ufixed<2,-3,RND,SAT>", REAL(0.08), REAL(0.09375)},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct quantizer *q = made(rows[i].text);
        struct qview v = {1, 1, 1};
        real y;

        quantizer_forward(q, &rows[i].x, &y, v, true);
        if (y != rows[i].want)
            fail_msg("%s of %g: %g, wanted %g", rows[i].text,
                     (double)rows[i].x, (double)y, (double)rows[i].want);
        quantizer_free(q);
    }
}

static void gradients_stop_where_the_type_overflows(void **state)
{
    static const char *const modes[] = {"SAT", "SAT_ZERO", "SAT_SYM",
                                        "WRAP", "WRAP_SM"};
    const real x[6] = {REAL(-9.5), REAL(-6.9), REAL(0.3), REAL(6.9),
                       REAL(7.4), REAL(7.6)};
    const real want[6] = {0, 2, 2, 2, 2, 0};
    const real dy[6] = {2, 2, 2, 2, 2, 2};
    struct qview v = {1, 1, 6};
    char text[64];
    real dx[6];

    (void)state;
    for (size_t m = 0; m < sizeof modes / sizeof modes[0]; m++)
        for (int pass = 0; pass < 2; pass++) {
            snprintf(text, sizeof text, "fixed<4,4,RND,%s>%s", modes[m],
                     pass ? ",grad=pass" : "");
            struct quantizer *q = made(text);

            quantizer_backward(q, x, dy, dx, v);
            for (int i = 0; i < 6; i++)
                if (dx[i] != (pass ? REAL(2.0) : want[i]))
                    fail_msg("%s: dx of %g is %g", text, (double)x[i],
                             (double)dx[i]);
            quantizer_free(q);
        }
}

/* All codes of the widest types are floats, and codes gives them back. */
/* Values and gradients of whole tensors are those of one number at a time,
 * which is rounded and wrapped in doubles. */
static void tensors_are_cast_like_single_numbers(void **state)
{
    static const char *const texts[] = {
        "fixed<8,3>", "ufixed<8,3>", "fixed<4,6>", "ufixed<4,9,TRN_ZERO>",
        "fixed<24,24>", "ufixed<24,0>", "fixed<8,3,TRN_ZERO>", "fixed<1,1>",
        "fixed<8,-50>", "fixed<8,60>", "fixed<8,90>", "fixed<6,2,RND,WRAP,1>",
    };
    static const real far[] = {1e9f, -1e9f, 1e30f, -1e30f};
    static const real near[] = {1e-45f, -1e-45f, 1e-40f, -1e-40f,
                                0.0f, -0.0f, 0.5f, -0.25f};
    enum { FAR = sizeof far / sizeof far[0], N = 2000,
           NEAR = sizeof near / sizeof near[0] };
    struct rng *r = rng_new(3, RNG_GENERATE);
    real x[N], y[N], dx[N];
    struct qview all = {1, 1, N};

    (void)state;
    for (size_t k = 0; k < sizeof texts / sizeof texts[0]; k++) {
        struct quantizer *q = made(texts[k]);
        struct fixed_type t = fixed_type_of(&q->spec);
        double step = ldexp(1, t.integer - t.width);

        for (int i = 0; i < N; i++)
            x[i] = (real)(rng_normal(r) * step * ldexp(1, i % 26));
        for (int i = 0; i < NEAR; i++)
            x[100 + i] = near[i];
        for (int i = 0; i < FAR; i++)    /* a block of their own */
            x[1600 + i] = far[i];
        quantizer_forward(q, x, y, all, true);
        quantizer_backward(q, x, x, dx, all);
        for (int i = 0; i < N; i++) {
            double v = ldexp((double)x[i], t.width - t.integer), whole;
            bool in;

            fixed_round(&t, &v, &whole, 1);
            in = whole >= (double)q->lo_code && whole <= (double)q->hi_code;
            assert_true((double)y[i] ==
                        (double)fixed_from_double(&t, (double)x[i]) * step);
            assert_true(dx[i] == (in ? x[i] : 0));
        }
        quantizer_free(q);
    }
    rng_free(r);
}

static void the_widest_types_keep_every_code(void **state)
{
    static const char *const texts[] = {"fixed<24,1,RND,SAT>",
                                        "ufixed<24,30,RND,SAT>",
                                        "fixed<24,-60,RND,SAT>"};

    (void)state;
    for (size_t k = 0; k < sizeof texts / sizeof texts[0]; k++) {
        struct quantizer *q = made(texts[k]);
        struct qview v = {1, 1, 4};
        int64_t code[4] = {q->lo_code, q->hi_code, q->hi_code - 1, 12345};
        real x[4], y[4];
        int32_t found[4];

        for (int i = 0; i < 4; i++)
            x[i] = (real)((double)code[i] * (double)q->scale[0]);
        quantizer_forward(q, x, y, v, false);
        q->spec.kind->codes(q, x, found, v);
        for (int i = 0; i < 4; i++) {
            assert_true(y[i] == x[i]);
            assert_int_equal(found[i], code[i]);
        }
        quantizer_free(q);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(strings_are_printed_with_every_argument),
    cmocka_unit_test(malformed_types_say_what_was_found),
    cmocka_unit_test(rounding_looks_at_the_exact_number),
    cmocka_unit_test(overflow_of_four_bits_is_as_by_hand),
    cmocka_unit_test(gradients_stop_where_the_type_overflows),
    cmocka_unit_test(tensors_are_cast_like_single_numbers),
    cmocka_unit_test(the_widest_types_keep_every_code),
};

TEST_MAIN("quant_fixed", tests)

/* Diagnosis of codes: what training does to them, which of them come up, and
 * what clipping keeps from the gradient, against counts by hand and the
 * formula of the paper. SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/test_main.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert_near.h"
#include "quant/code_watch.h"
#include "quant/quantizer.h"

static struct quantizer *quantizer(const char *text)
{
    struct err e = {0};
    struct qspec s;
    struct quantizer *q = NULL;

    if (qspec_parse(text, NULL, &s, &e) != STATUS_OK ||
        quantizer_new(&s, 1, &q, &e) != STATUS_OK)
        fail_msg("%s", e.text);
    return q;
}

static void set_grid(struct quantizer *q, double scale, double zero)
{
    real s = (real)scale, z = (real)zero;

    assert_int_equal(quantizer_set_grid(q, &s, &z, 1, NULL), STATUS_OK);
}

static void see(struct code_watch *w, int32_t a, int32_t b, int64_t after)
{
    const int32_t now[2] = {a, b};

    code_watch_see(w, now, after);
}

/* ---- moving codes ---- */

static void moved_codes_are_those_that_differ_from_the_begin(void **state)
{
    struct code_watch w;

    (void)state;
    assert_int_equal(code_watch_init(&w, 2, NULL), STATUS_OK);
    see(&w, 3, -1, 1);
    assert_int_equal(code_watch_moved(&w), 0);
    see(&w, 4, -1, 1);
    assert_int_equal(code_watch_moved(&w), 1);
    see(&w, 3, 5, 1);         /* the first one is back */
    assert_int_equal(code_watch_moved(&w), 1);
    code_watch_begin(&w);
    assert_int_equal(code_watch_moved(&w), 0);
    code_watch_fini(&w);
}

/* f = m * o + (1 - m) * f with m = 0.01, in double. */
static void frequencies_are_those_of_the_paper(void **state)
{
    static const int32_t path[12] = {0, 1, 1, 0, 1, 2, 2, 1, 1, 1, 2, 1};
    struct code_watch w;
    double f = 0;
    int last = 0, direction = 0;

    (void)state;
    assert_int_equal(code_watch_init(&w, 2, NULL), STATUS_OK);
    see(&w, 0, 0, 1);
    for (int i = 0; i < 400; i++) {
        int now = path[i % 12], d = (now > last) - (now < last);
        int turned = d && direction && d != direction;

        f = 0.01 * turned + 0.99 * f;
        direction = d ? d : direction;
        last = now;
        see(&w, now, i, 1);   /* the second one goes one way */
        assert_near(w.frequency[0], f, 1e-6, 1e-4);
        assert_near(w.frequency[1], 0, 0, 0);
    }
    assert_int_equal(code_watch_oscillating(&w), 1);
    code_watch_fini(&w);
}

/* Seen every five iterations and turning each time: once in five. */
static void frequencies_are_per_iteration(void **state)
{
    struct code_watch w;

    (void)state;
    assert_int_equal(code_watch_init(&w, 2, NULL), STATUS_OK);
    for (int i = 0; i < 600; i++)
        see(&w, i & 1, 7, 5);
    assert_near(w.frequency[0], 0.2, 1e-5, 0);
    assert_near(w.frequency[1], 0, 0, 0);
    code_watch_fini(&w);
}

static void turning_ends_and_is_forgotten(void **state)
{
    struct code_watch w;

    (void)state;
    assert_int_equal(code_watch_init(&w, 2, NULL), STATUS_OK);
    for (int i = 0; i < 100; i++)
        see(&w, i & 1, 0, 1);
    assert_int_equal(code_watch_oscillating(&w), 1);
    for (int i = 0; i < 600; i++)
        see(&w, 1, 0, 1);
    assert_int_equal(code_watch_oscillating(&w), 0);
    for (int i = 0; i < 3000; i++)
        see(&w, 1, 0, 1);
    assert_near(w.frequency[0], 0, 0, 0);        /* not denormal */
    code_watch_fini(&w);
}

static void what_others_change_is_not_counted(void **state)
{
    const int32_t other[2] = {-5, 9};
    struct code_watch w;

    (void)state;
    assert_int_equal(code_watch_init(&w, 2, NULL), STATUS_OK);
    see(&w, 0, 0, 1);
    see(&w, 1, 1, 1);
    code_watch_reset(&w, other);
    code_watch_begin(&w);
    see(&w, -5, 9, 1);
    assert_int_equal(code_watch_moved(&w), 0);
    assert_near(w.frequency[0], 0, 0, 0);
    code_watch_fini(&w);
}

/* Long enough for several pieces. */
static void long_rows_are_counted_whole(void **state)
{
    enum { N = 100001 };
    int32_t *now = calloc(N, sizeof *now);
    struct code_watch w;
    int64_t moved = 0;

    (void)state;
    assert_non_null(now);
    assert_int_equal(code_watch_init(&w, N, NULL), STATUS_OK);
    code_watch_see(&w, now, 1);
    for (int i = 0; i < N; i += 7) {
        now[i] = i % 3 - 1;
        moved += now[i] != 0;
    }
    code_watch_see(&w, now, 1);
    assert_int_equal(code_watch_moved(&w), moved);
    for (int k = 0; k < 3; k++) {
        for (int i = 0; i < N; i++)
            now[i] = -now[i];
        code_watch_see(&w, now, 1);
    }
    assert_int_equal(code_watch_oscillating(&w), moved);
    code_watch_fini(&w);
    free(now);
}

/* ---- which codes come up ---- */

static void the_commonest_code_is_found(void **state)
{
    static const char *const kind[] = {"affine:3", "lsq:3", "po2:3",
                                       "ternary"};
    const real x[8] = {1, 1, 1, 1, 1, -1, 0, REAL(0.1)};
    const struct qview v = {1, 1, 8};

    (void)state;
    for (size_t i = 0; i < sizeof kind / sizeof kind[0]; i++) {
        struct quantizer *q = quantizer(kind[i]);
        struct qstats st;
        int32_t code[8];

        assert_int_equal(quantizer_observe(q, x, v, NULL), STATUS_OK);
        quantizer_stats(q, x, v, &st);
        q->spec.kind->codes(q, x, code, v);
        assert_int_equal(st.most, 5);
        assert_int_equal(st.most_code, code[0]);
        quantizer_free(q);
    }
}

/* ---- blocked gradients ---- */

static const struct qview four = {1, 1, 4};

/* Codes -4 to 3 at step 1: 10 and -9 lie outside. */
static void clipping_blocks_its_share_of_the_gradient(void **state)
{
    struct quantizer *q = quantizer("affine:3");
    const real x[4] = {10, 1, REAL(-0.25), -9};
    const real dy[4] = {2, -5, 3, 0};

    (void)state;
    set_grid(q, 1, 0);
    assert_near(quantizer_blocked(q, x, NULL, four), 0.5, 0, 0);
    assert_near(quantizer_blocked(q, x, dy, four), 0.2, 1e-12, 0);
    quantizer_free(q);
    q = quantizer("affine:3,grad=pass");
    set_grid(q, 1, 0);
    assert_near(quantizer_blocked(q, x, NULL, four), 0, 0, 0);
    quantizer_free(q);
}

/* LSQ gives no gradient at the ends of the range itself: a 0 behind a ReLU is
 * not clipped for that. */
static void values_on_the_grid_are_not_blocked(void **state)
{
    struct quantizer *q = quantizer("lsq:2,unsigned");
    const real x[4] = {0, 0, 1, 8};
    real dx[4], one[4] = {1, 1, 1, 1};

    (void)state;
    set_grid(q, 1, 0);
    quantizer_backward(q, x, one, dx, four);
    assert_near(dx[0], 0, 0, 0);
    assert_near(quantizer_blocked(q, x, NULL, four), 0.25, 0, 0);
    quantizer_free(q);
}

static void looking_at_gradients_changes_nothing(void **state)
{
    struct quantizer *q = quantizer("lsq:3");
    const real x[4] = {10, 1, REAL(-0.25), -9};

    (void)state;
    set_grid(q, 1, 0);
    assert_int_equal(quantizer_enable_learn(q, true, NULL), STATUS_OK);
    q->grad[0] = REAL(0.75);
    assert_near(quantizer_blocked(q, x, NULL, four), 0.5, 0, 0);
    assert_near(q->grad[0], 0.75, 0, 0);
    q->fake = false;
    assert_near(quantizer_blocked(q, x, NULL, four), 0, 0, 0);
    q->ready = false;
    assert_true(isnan(quantizer_blocked(q, x, NULL, four)));
    quantizer_free(q);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(moved_codes_are_those_that_differ_from_the_begin),
    cmocka_unit_test(frequencies_are_those_of_the_paper),
    cmocka_unit_test(frequencies_are_per_iteration),
    cmocka_unit_test(turning_ends_and_is_forgotten),
    cmocka_unit_test(what_others_change_is_not_counted),
    cmocka_unit_test(long_rows_are_counted_whole),
    cmocka_unit_test(the_commonest_code_is_found),
    cmocka_unit_test(clipping_blocks_its_share_of_the_gradient),
    cmocka_unit_test(values_on_the_grid_are_not_blocked),
    cmocka_unit_test(looking_at_gradients_changes_nothing),
};

TEST_MAIN("quant_watch", tests)

/* bench and explain: they look, and nothing of the session moves.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "unit/lab_driver.h"

#include <math.h>
#include <stdlib.h>

#include "common/assert_near.h"
#include "lab/state.h"

#define JET "load model jet; load data jets n=200 seed=3; set train.batch 16; "

static double ans(struct driver *d, const char *field)
{
    struct value v;
    if (!answer_get(d->lab, field, &v))
        fail_msg("no field %s", field);
    return v.num;
}

static const char *ans_text(struct driver *d, const char *field)
{
    static struct value v;
    assert_true(answer_get(d->lab, field, &v));
    return v.text;
}

/* ---- bench ---- */

static void a_step_is_timed_layer_by_layer(void **state)
{
    struct driver *d = *state;
    good(d, JET "bits * w4a4; bench step n=3");
    expect_text(str_text(&d->text), "step: median");
    expect_text(str_text(&d->text), "batch 16 of jets, fake");
    expect_text(str_text(&d->text), "fc3");
    expect_text(str_text(&d->text), "backward");
    expect_text(str_text(&d->text), "weights");
    expect_text(str_text(&d->text), "(other)");
    assert_true(ans(d, "min_ms") > 0);
    assert_true(ans(d, "min_ms") <= ans(d, "median_ms"));
    assert_near(ans(d, "samples_per_second"), 16e3 / ans(d, "median_ms"),
                1e-6, 0);
}

/* The shares of layers and the rest make the whole. */
static void shares_add_up(void **state)
{
    struct driver *d = *state;
    good(d, JET "bench eval float n=4");
    const char *p = str_text(&d->text);
    double sum = 0;
    while ((p = strstr(p, "%  ")) != NULL) {
        const char *from = p;
        while (from[-1] != ' ')
            from--;
        sum += strtod(from, NULL);
        p++;
    }
    assert_near(sum, 100, 0, 0.2);
}

/* As if it had not been there: the same weights come out of training. */
static void benching_changes_nothing(void **state)
{
    char hash[2][65];
    (void)state;
    for (int k = 0; k < 2; k++) {
        void *box;
        assert_int_equal(driver_open(&box), 0);
        struct driver *own = box;
        good(own, JET "set train.seed 4; bits * w=lsq:4 a=4; step 3");
        if (k)
            good(own, "mark a; bench step n=2; bench calibrate n=2; "
                      "bench eval n=2; diff a");
        if (k)
            expect_text(str_text(&own->text), "nothing differs from mark a");
        good(own, "step 2; info model");
        snprintf(hash[k], 65, "%.64s", ans_text(own, "hash"));
        driver_close(&box);
    }
    assert_string_equal(hash[0], hash[1]);
}

static void random_data_stand_in_for_none(void **state)
{
    struct driver *d = *state;
    good(d, "load model lenet5; bench step n=1");
    assert_string_equal(ans_text(d, "data"), "random");
    assert_null(d->lab->data);
}

static void data_that_do_not_fit_are_not_used(void **state)
{
    struct driver *d = *state;
    run(d, "load data jets n=100; load model lenet5; bench eval n=1");
    assert_string_equal(ans_text(d, "data"), "random");
}

static void every_kind_of_quantizer_is_timed(void **state)
{
    struct driver *d = *state;
    good(d, "bench quantizers n=1 size=4096");
    for (int i = 0; i < quantizer_count; i++)
        expect_text(str_text(&d->text), quantizer_table[i]->name);
    assert_true(ans(d, "worst") > 0);
}

static void what_cannot_be_benched_is_said(void **state)
{
    struct driver *d = *state;
    bad(d, "bench step", "s:1:1: error: 'bench step' needs a model");
    good(d, "load model jet");
    bad(d, "bench calibrate", "s:1:7: error: there is nothing to calibrate");
    bad(d, "bench step n=0", "s:1:12: error: n= is from 1");
    bad(d, "bench quantizers size=3", "s:1:18: error: size= is from 64");
    bad(d, "bench stp", "did you mean 'step'");
}

/* ---- explain ---- */

/* Range -0.8 .. 0.7 and 4 bits: step 0.1, zero point 0. */
#define TENTHS \
    JET "bits fc1 w=affine:4,asym,tensor; range fc1.w -0.8 0.7; "

static void a_value_is_followed_through_the_formula(void **state)
{
    struct driver *d = *state;
    good(d, TENTHS "explain fc1.w x=0.26");
    expect_text(str_text(&d->text), "fc1.w: affine:4");
    expect_text(str_text(&d->text), "range: -0.8 to 0.7");
    expect_text(str_text(&d->text), "x = 0.2599");
    expect_text(str_text(&d->text), "dx = 1");
    assert_near(ans(d, "scale"), 0.1, 1e-6, 0);
    assert_near(ans(d, "zero_point"), 0, 0, 0);
    assert_near(ans(d, "y"), 0.3, 1e-6, 0);
    assert_near(ans(d, "dx"), 1, 0, 0);
    good(d, "explain fc1.w x=0.9");
    assert_near(ans(d, "y"), 0.7, 1e-6, 0);
    assert_near(ans(d, "dx"), 0, 0, 0);
}

/* One element, so lsq's own factor is 1 / sqrt(weights * 7): beyond the end
 * the step's gradient is the code times it. */
static void learned_parameters_show_their_gradients(void **state)
{
    struct driver *d = *state;
    good(d, JET "bits fc1 w=lsq:4,tensor; explain fc1.w x=100");
    assert_near(ans(d, "dstep"), 7 / sqrt(64 * 32 * 7), 1e-5, 0);
    good(d, "disable learn fc1.w; explain fc1.w x=100");
    assert_null(strstr(str_text(&d->text), "dstep"));
}

static void without_a_range_it_says_so(void **state)
{
    struct driver *d = *state;
    good(d, "load model jet; bits fc1 w=4 a=4; explain fc1.out");
    expect_text(str_text(&d->text), "no range yet");
    good(d, "explain fc1.w");            /* that of today's weights */
    expect_text(str_text(&d->text), "from today's weights");
    good(d, "range fc1.out 0 3; explain fc1.out");
    expect_text(str_text(&d->text), "x = 2.09");  /* 0.7 of it: no data */
}

static void every_kind_can_be_explained(void **state)
{
    struct driver *d = *state;
    good(d, "load model jet");
    for (int i = 0; i < quantizer_count; i++) {
        const struct quantizer_kind *k = quantizer_table[i];
        char line[160];
        int bits = k->min_bits > 4 ? k->min_bits
                                   : k->max_bits < 4 ? k->max_bits : 4;
        snprintf(line, sizeof line, "bits fc1 w=%s:%d; explain fc1.w x=0.1; "
                                   "bits fc1 off",
                 k->name, bits);
        good(d, line);
        expect_text(str_text(&d->text), k->help);
        expect_text(str_text(&d->text), "dy = 1 at this value: dx = ");
    }
}

static void explaining_changes_nothing(void **state)
{
    struct driver *d = *state;
    good(d, TENTHS "bits fc2 w=lsq:3 a=4; calibrate 1 batches; mark a; "
                   "explain *; explain fc2.w x=9; diff a");
    expect_text(str_text(&d->text), "nothing differs from mark a");
    bad(d, "explain fc0.w", "s:1:9: error: no quantizer at fc0.w");
    bad(d, "explain fc2.w x=inf", "s:1:15: error: x= wants a finite");
}

#define LAB(f) cmocka_unit_test_setup_teardown(f, driver_open, driver_close)

static const struct CMUnitTest tests[] = {
    LAB(a_step_is_timed_layer_by_layer),
    LAB(shares_add_up),
    cmocka_unit_test(benching_changes_nothing),
    LAB(random_data_stand_in_for_none),
    LAB(data_that_do_not_fit_are_not_used),
    LAB(every_kind_of_quantizer_is_timed),
    LAB(what_cannot_be_benched_is_said),
    LAB(a_value_is_followed_through_the_formula),
    LAB(learned_parameters_show_their_gradients),
    LAB(without_a_range_it_says_so),
    LAB(every_kind_can_be_explained),
    LAB(explaining_changes_nothing),
};

TEST_MAIN("lab: bench, explain", tests)

/* What-ifs at the prompt: evaluations compute from the layer that changed on,
 * tell how many layers were known, and answer as without that.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "unit/lab_driver.h"

#include <stdlib.h>

/* The number that a line prints. */
static double number(struct driver *d, const char *line)
{
    return atof(good(d, line));
}

static int evaluate(struct driver *d, const char *line)
{
    good(d, line);
    return (int)number(d, "say $ans.reused");
}

static void begin(struct driver *d)
{
    good(d, "load model lenet5");
    good(d, "load data digits n=300 val=60");
    good(d, "set eval.batch 25");
    good(d, "bits * w8a8");
    good(d, "calibrate 2 batches");
}

static void a_what_if_tells_what_was_known(void **state)
{
    struct driver *d = *state;
    static const char *const modes[] = {"eval fake", "eval int"};
    begin(d);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(evaluate(d, modes[i]), 0);
        assert_int_equal(evaluate(d, modes[i]), 13);
        good(d, "bits fc1 w=2");
        assert_in_range(evaluate(d, modes[i]), 4, 8);
        good(d, "bits fc3 w=3");
        assert_in_range(evaluate(d, modes[i]), 9, 12);
        good(d, "undo");
        assert_int_equal(evaluate(d, modes[i]), 13);
        good(d, i ? "range conv1.out -1 1" : "range conv1.out 0 2");
        assert_in_range(evaluate(d, modes[i]), 0, 4);
        good(d, "bits fc1 w=8");
    }
    assert_int_equal(evaluate(d, "eval float"), 0);
    good(d, "bits fc1 w=4");
    assert_int_equal(evaluate(d, "eval float"), 13);
}

/* The same session with and without the cache prints the same numbers. */
static void numbers_do_not_depend_on_the_cache(void **state)
{
    struct driver *d = *state;
    static const char *const lines[] = {
        "eval fake", "bits conv2 w=3", "eval fake", "eval int", "eval float",
        "disable fake fc1.out", "eval fake", "calibrate 2 batches",
        "eval fake", "bits fc2 w=2", "calibrate 2 batches", "eval int",
        "range fc1.out 0 2", "eval fake", "train 1", "eval fake", "eval int",
        "eval fake n=33", "eval fake train n=80",
    };
    struct str text[2] = {{0}, {0}};
    for (int i = 0; i < 2; i++) {
        begin(d);
        good(d, i ? "set engine.cache 0" : "set engine.cache 8");
        for (size_t k = 0; k < sizeof lines / sizeof lines[0]; k++)
            str_add(&text[i], run(d, lines[k]));
    }
    assert_string_equal(str_text(&text[0]), str_text(&text[1]));
    str_fini(&text[0]);
    str_fini(&text[1]);
}

static double kept(struct driver *d)
{
    good(d, "info env");
    return number(d, "say $ans.cache_bytes");
}

static void loading_and_the_setting_free_what_is_kept(void **state)
{
    struct driver *d = *state;
    begin(d);
    good(d, "eval fake");
    assert_true(kept(d) > 1000);
    expect_text(good(d, "info env"), "values kept for evaluations");
    good(d, "load data digits n=300 val=60");
    assert_true(kept(d) == 0);
    assert_int_equal(evaluate(d, "eval fake"), 0);
    assert_true(kept(d) > 1000);
    good(d, "load model lenet5");
    assert_true(kept(d) == 0);
    good(d, "eval float");
    assert_true(kept(d) > 1000);
    good(d, "set engine.cache 0");
    assert_true(kept(d) == 0);
    good(d, "eval float");
    assert_int_equal(evaluate(d, "eval float"), 0);
    assert_true(kept(d) == 0);
    bad(d, "set engine.cache -1", "engine.cache is from 0");
    /* Evaluations between epochs, all weights new, leave nothing. */
    good(d, "set engine.cache 32");
    good(d, "train 2");
    assert_true(kept(d) == 0);
}

int main(void)
{
    gsl_set_error_handler_off();
#define LAB(test) cmocka_unit_test_setup_teardown(test, driver_open, \
                                                  driver_close)
    const struct CMUnitTest tests[] = {
        LAB(a_what_if_tells_what_was_known),
        LAB(numbers_do_not_depend_on_the_cache),
        LAB(loading_and_the_setting_free_what_is_kept),
    };
    return cmocka_run_group_tests_name("lab what-if", tests, NULL, NULL);
}

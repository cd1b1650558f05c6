/* Expressions, numbers, tables, JSON.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "unit/lab_driver.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "common/assert_near.h"
#include "common/temp_folder.h"
#include "lab/expr.h"
#include "lab/json_text.h"
#include "lab/num.h"

static double value_of(const char *text)
{
    struct expr_env env = { 0 };
    struct expr_result r;
    struct err e = { 0 };
    int fault;
    if (expr_eval(&env, text, &r, &fault, &e))
        fail_msg("%s: %s at %d", text, e.text, fault);
    return r.value.num;
}

static int fault_of(const char *text)
{
    struct expr_env env = { 0 };
    struct expr_result r;
    int fault = -1;
    assert_int_not_equal(expr_eval(&env, text, &r, &fault, NULL), STATUS_OK);
    return fault;
}

static void arithmetic_has_the_usual_precedence(void **s)
{
    (void)s;
    assert_near(value_of("1 + 2 * 3"), 7, 0, 0);
    assert_near(value_of("(1 + 2) * 3"), 9, 0, 0);
    assert_near(value_of("7 - 2 - 1"), 4, 0, 0);
    assert_near(value_of("12 / 3 / 2"), 2, 0, 0);
    assert_near(value_of("2 ^ 3 ^ 2"), 512, 0, 0);
    assert_near(value_of("-2 ^ 2"), -4, 0, 0);
    assert_near(value_of("2 ^ -1"), 0.5, 0, 0);
    assert_near(value_of("--3"), 3, 0, 0);
}

static void numbers_take_suffixes(void **s)
{
    (void)s;
    assert_near(value_of("97%"), 0.97, 1e-15, 0);
    assert_near(value_of("2.5k + 1M"), 1002500, 0, 0);
    assert_near(value_of("30s"), 30, 0, 0);
    assert_near(value_of("5m"), 300, 0, 0);
    assert_near(value_of("1h"), 3600, 0, 0);
    assert_near(value_of("1e-3"), 1e-3, 1e-15, 0);
    assert_near(value_of(".5"), 0.5, 0, 0);
}

static void comparisons_and_logic_give_one_or_zero(void **s)
{
    (void)s;
    assert_near(value_of("1 < 2 && 2 <= 2"), 1, 0, 0);
    assert_near(value_of("1 > 2 || !(1 == 1)"), 0, 0, 0);
    assert_near(value_of("\"a\" == 'a'"), 1, 0, 0);
    assert_near(value_of("\"a\" != \"b\""), 1, 0, 0);
}

static void nan_compares_false(void **s)
{
    (void)s;
    static const char *const op[] = { "==", "!=", "<", "<=", ">", ">=" };
    for (size_t i = 0; i < sizeof op / sizeof op[0]; i++) {
        char text[40];
        snprintf(text, sizeof text, "0/0 %s 1", op[i]);
        assert_near(value_of(text), 0, 0, 0);
    }
    assert_near(value_of("nan(0/0)"), 1, 0, 0);
}

static void functions_of_numbers_work(void **s)
{
    (void)s;
    assert_near(value_of("abs(-3) + sqrt(16) + log2(8)"), 10, 0, 0);
    assert_near(value_of("max(1, 7, 3) - min(4, 2)"), 5, 0, 0);
    assert_near(value_of("mod(7, 4) + floor(2.7) + round(2.5)"), 7, 0, 0);
}

static void the_byte_to_blame_is_told(void **s)
{
    (void)s;
    assert_int_equal(fault_of("1 +"), 3);
    assert_int_equal(fault_of("1 + foo(2)"), 4);
    assert_int_equal(fault_of("(1 + 2"), 0);
    assert_int_equal(fault_of("1 2"), 2);
    assert_int_equal(fault_of("mod(1)"), 0);
    assert_int_equal(fault_of("\"a\" + 1"), 0);
}

static void deep_nesting_is_an_error_not_a_crash(void **s)
{
    (void)s;
    char text[5000];
    memset(text, '(', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    fault_of(text);
    memset(text, '-', sizeof text - 1);
    fault_of(text);
    memset(text, '!', sizeof text - 1);
    fault_of(text);
}

static void names_come_from_variables_results_and_metrics(void **state)
{
    struct driver *d = *state;
    good(d, "let base = 2; let word = \"x\"");
    assert_string_equal(good(d, "print $base * base, ${base}, word == 'x'"),
                        "4  2  1\n");
    good(d, "load model jet; info model");
    assert_string_equal(good(d, "print ans.params, ans.model"),
                        "4389  jet\n");
    assert_string_equal(good(d, "print epoch, steps, params"), "0  0  4389\n");
    bad(d, "print ans.param", "did you mean 'params'?");
    bad(d, "print val_ac", "did you mean 'val_acc'?");
}

static void functions_of_tensors_and_series_work(void **state)
{
    struct driver *d = *state;
    good(d, "load model jet; load data jets n=200; train 2");
    good(d, "expect absmax(fc1.w) >= max(fc1.w)");
    good(d, "expect std(fc1.weight) > 0 && mean(fc1.weight) < 1");
    good(d, "expect pct(fc1.w, 50%) > min(fc1.w)");
    good(d, "expect best(loss) <= last(loss)");
    good(d, "expect best(val_acc) >= last(val_acc)");
    good(d, "expect mean(loss, 2) > 0");
    good(d, "expect delta(loss, 1) == last(loss) - last(loss, 2)");
    good(d, "expect max(fc0.out) > 0 && min(fc0.out) == 0");
    good(d, "bits fc1 w=4; expect sqnr(fc1.w) > 10 && mse(fc1.w) > 0");
    bad(d, "print sqnr(fc0.w)", "no quantizer");
}

static void numbers_print_with_four_digits(void **s)
{
    (void)s;
    assert_string_equal(num_text(0.141234).s, "0.1412");
    assert_string_equal(num_text(61706).s, "61706");
    assert_string_equal(num_text(-0.0).s, "0");
    assert_string_equal(num_text(-(double)NAN).s, "nan");
    assert_string_equal(num_percent(0.956).s, "95.60%");
    assert_string_equal(num_count(61706).s, "61.7K");
    assert_string_equal(num_count(999).s, "999");
    assert_string_equal(num_seconds(65).s, "1:05");
    assert_string_equal(num_seconds(3661).s, "1:01:01");
    assert_string_equal(num_exact(0.1).s, "0.1");
    assert_string_equal(num_exact(1.0 / 3).s, "0.3333333333333333");
}

static void json_texts_are_escaped(void **s)
{
    (void)s;
    struct str j = { 0 };
    str_char(&j, '{');
    json_text(&j, "a\"b", "tab\tand \\ and \x01 and \xff");
    json_num(&j, "n", 0.5);
    json_num(&j, "nan", (double)NAN);
    str_char(&j, '}');
    assert_string_equal(str_text(&j),
                        "{\"a\\\"b\":\"tab\\u0009and \\\\ and \\u0001 and "
                        "\\\\xFF\",\"n\":0.5,\"nan\":null}");
    str_fini(&j);
}

static struct table *small_table(void)
{
    static const char *const title[] = { "name", "value" };
    struct table *t = table_new(2, title);
    table_cell(t, "%s", "a,b");
    table_number(t, 0.123456789, "0.1235");
    table_cell(t, "%s", "\xe4\xb8\xad\xe6\x96\x87");
    table_number(t, 12, "12");
    return t;
}

static void tables_align_wide_characters(void **state)
{
    struct driver *d = *state;
    struct table *t = small_table();
    driver_clear(d);
    table_show(t, &d->out);
    assert_string_equal(str_text(&d->text),
                        "name   value\n"
                        "a,b   0.1235\n"
                        "\xe4\xb8\xad\xe6\x96\x87      12\n");
    driver_clear(d);
    d->out.plain = true;
    table_show(t, &d->out);
    d->out.plain = false;
    expect_text(str_text(&d->text), "name a,b: value 0.1235\n");
    table_free(t);
}

static void tables_are_written_by_suffix(void **state)
{
    struct temp_folder *f = *state;
    struct table *t = small_table();
    struct bytes b;
    assert_int_equal(table_write(t, temp_path(f, "t.csv"), false, NULL),
                     STATUS_OK);
    assert_int_equal(file_read(temp_path(f, "t.csv"), 1000, &b, NULL),
                     STATUS_OK);
    assert_memory_equal(b.data, "name,value\n\"a,b\",0.123456789\n", 29);
    bytes_fini(&b);
    assert_int_equal(table_write(t, temp_path(f, "t.pdf"), false, NULL),
                     STATUS_ARG);
    table_free(t);
}

#define LAB(f) cmocka_unit_test_setup_teardown(f, driver_open, driver_close)

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(arithmetic_has_the_usual_precedence),
    cmocka_unit_test(numbers_take_suffixes),
    cmocka_unit_test(comparisons_and_logic_give_one_or_zero),
    cmocka_unit_test(nan_compares_false),
    cmocka_unit_test(functions_of_numbers_work),
    cmocka_unit_test(the_byte_to_blame_is_told),
    cmocka_unit_test(deep_nesting_is_an_error_not_a_crash),
    LAB(names_come_from_variables_results_and_metrics),
    LAB(functions_of_tensors_and_series_work),
    cmocka_unit_test(numbers_print_with_four_digits),
    cmocka_unit_test(json_texts_are_escaped),
    LAB(tables_align_wide_characters),
    cmocka_unit_test_setup_teardown(tables_are_written_by_suffix,
                                    temp_folder_make, temp_folder_drop),
};

TEST_MAIN("lab_expr", tests)

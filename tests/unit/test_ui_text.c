/* Text as columns of a terminal, and numbers for people.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/test_main.h"

#include <locale.h>
#include <math.h>
#include <string.h>

#include "ui/text.h"

static void wide_characters_take_two_columns(void **s)
{
    (void)s;
    assert_int_equal(text_width("abc"), 3);
    assert_int_equal(text_width("\u5c64"), 2);
    assert_int_equal(text_width("a\u5c64b"), 4);
}

static void combining_marks_take_no_column(void **s)
{
    (void)s;
    struct unit u;
    const char *text = "e\u0301x";
    assert_int_equal(text_width(text), 2);
    assert_true(unit_at(text, strlen(text), &u));
    assert_int_equal(u.bytes, 3);
    assert_int_equal(u.n, 2);
    assert_int_equal(u.ch[1], 0x301);
}

static void a_mark_alone_stands_on_a_blank(void **s)
{
    (void)s;
    struct unit u;
    assert_true(unit_at("\u0301", 2, &u));
    assert_int_equal(u.width, 1);
    assert_int_equal(u.ch[0], ' ');
}

static void more_marks_than_fit_are_swallowed(void **s)
{
    (void)s;
    struct unit u;
    const char *text = "a\u0301\u0302\u0303\u0304\u0305" "b";
    assert_true(unit_at(text, strlen(text), &u));
    assert_int_equal(u.bytes, 11);
    assert_int_equal(u.n, UNIT_CHARS);
}

static void control_characters_are_spelled(void **s)
{
    (void)s;
    struct unit u;
    assert_true(unit_at("\033", 1, &u));
    assert_true(u.spelled);
    assert_int_equal(u.ch[0], '^');
    assert_int_equal(u.ch[1], '[');
    assert_int_equal(text_width("\x7f"), 2);
}

static void bytes_that_are_not_utf8_are_spelled_in_hex(void **s)
{
    (void)s;
    static const char *const bad[] = {
        "\xff", "\xc3", "\xc0\x80", "\xed\xa0\x80", "\xf5\x80\x80\x80",
        "\x80", "\xe2\x28\xa1",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct unit u;
        assert_true(unit_at(bad[i], strlen(bad[i]), &u));
        assert_true(u.spelled);
        assert_int_equal(u.width, 4);
        assert_int_equal(u.bytes, 1);
    }
}

static void a_cut_never_goes_through_a_wide_character(void **s)
{
    (void)s;
    assert_int_equal(text_fit("\u5c64\u5c64", 3), 3);
    assert_int_equal(text_fit("ab", 5), 2);
    assert_int_equal(text_fit("ab", 0), 0);
}

static void characters_are_written_as_they_are_read(void **s)
{
    (void)s;
    static const uint32_t chars[] = { 'a', 0xb1, 0x28ff, 0x1f600 };
    for (size_t i = 0; i < sizeof chars / sizeof chars[0]; i++) {
        char text[5];
        struct unit u;
        int n = utf8_put(chars[i], text);
        assert_int_equal(n, strlen(text));
        assert_true(unit_at(text, (size_t)n, &u));
        assert_int_equal(u.ch[0], chars[i]);
        assert_int_equal(u.bytes, n);
    }
}

static void numbers_have_four_digits_and_no_leading_zero(void **s)
{
    (void)s;
    static const struct {
        double v;
        const char *text;
    } cases[] = {
        { 0, "0" }, { 1, "1" }, { 0.62, ".62" }, { -0.62, "-.62" },
        { 4.951, "4.951" }, { 41.7, "41.7" }, { 412.34, "412.3" },
        { 12345, "12345" }, { 2.1e-3, "2.1e-3" }, { 1e-4, "1e-4" },
        { 1.5e6, "1.5e6" }, { NAN, "nan" }, { -INFINITY, "-inf" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[NUMBER_TEXT];
        assert_string_equal(text_number(out, cases[i].v), cases[i].text);
    }
}

static void fractions_keep_four_places(void **s)
{
    (void)s;
    char out[NUMBER_TEXT];
    assert_string_equal(text_fraction(out, 0.94123), ".9412");
    assert_string_equal(text_fraction(out, 1), "1.000");
    assert_string_equal(text_fraction(out, 0.99999), "1.000");
    assert_string_equal(text_fraction(out, -0.0031), "-.0031");
    assert_string_equal(text_fraction(out, -1e-9), ".0000");
    assert_string_equal(text_fraction(out, NAN), "nan");
}

static void counts_have_suffixes(void **s)
{
    (void)s;
    char out[NUMBER_TEXT];
    assert_string_equal(text_count(out, 960), "960");
    assert_string_equal(text_count(out, 999.7), "1.0k");
    assert_string_equal(text_count(out, 1234), "1.2k");
    assert_string_equal(text_count(out, 123456), "123k");
    assert_string_equal(text_count(out, 3.4e6), "3.4M");
}

static void times_are_minutes_and_hours(void **s)
{
    (void)s;
    char out[NUMBER_TEXT];
    assert_string_equal(text_time(out, 41), "0:41");
    assert_string_equal(text_time(out, 3723), "1:02:03");
    assert_string_equal(text_time(out, NAN), "-:--");
    assert_string_equal(text_time(out, -1), "-:--");
    assert_string_equal(text_time(out, 1e300), "-:--");
}

int main(void)
{
    gsl_set_error_handler_off();
    setlocale(LC_ALL, "C.UTF-8");
    setlocale(LC_NUMERIC, "C");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wide_characters_take_two_columns),
        cmocka_unit_test(combining_marks_take_no_column),
        cmocka_unit_test(a_mark_alone_stands_on_a_blank),
        cmocka_unit_test(more_marks_than_fit_are_swallowed),
        cmocka_unit_test(control_characters_are_spelled),
        cmocka_unit_test(bytes_that_are_not_utf8_are_spelled_in_hex),
        cmocka_unit_test(a_cut_never_goes_through_a_wide_character),
        cmocka_unit_test(characters_are_written_as_they_are_read),
        cmocka_unit_test(numbers_have_four_digits_and_no_leading_zero),
        cmocka_unit_test(fractions_keep_four_places),
        cmocka_unit_test(counts_have_suffixes),
        cmocka_unit_test(times_are_minutes_and_hours),
    };
    return cmocka_run_group_tests_name("ui text", tests, NULL, NULL);
}

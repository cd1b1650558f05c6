/* Options of the command line. SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/test_main.h"

#include <stdlib.h>
#include <string.h>

#include "ui/options.h"

/* Parses words separated by blanks; the copy lives until the next call. */
static enum status parse(const char *line, struct options *o, struct err *e)
{
    static char copy[512];
    static char *argv[32];
    int argc = 1;
    strcpy(copy, line);
    argv[0] = copy + strlen(copy);
    for (char *w = strtok(copy, " "); w; w = strtok(NULL, " "))
        argv[argc++] = w;
    return options_parse(argc, argv, o, e);
}

static void a_bare_call_has_defaults(void **s)
{
    (void)s;
    struct options o;
    assert_int_equal(parse("", &o, NULL), STATUS_OK);
    assert_int_equal(o.front.works, 0);
    assert_int_equal(o.front.lab.seed, 1);
    assert_false(o.batch);
    options_fini(&o);
}

static void commands_and_files_keep_their_order(void **s)
{
    (void)s;
    struct options o;
    assert_int_equal(parse("-c one net.qlab -c two a.qat x y -c three", &o,
                           NULL), STATUS_OK);
    assert_int_equal(o.front.works, 5);
    assert_string_equal(o.front.work[0].text, "one");
    assert_int_equal(o.front.work[1].kind, WORK_LOAD);
    assert_string_equal(o.front.work[2].text, "two");
    assert_int_equal(o.front.work[3].kind, WORK_SCRIPT);
    assert_int_equal(o.front.work[3].argc, 2);
    assert_string_equal(o.front.work[3].argv[1], "y");
    assert_string_equal(o.front.work[4].text, "three");
    options_fini(&o);
}

static void what_follows_a_script_are_its_arguments(void **s)
{
    (void)s;
    struct options o;
    assert_int_equal(parse("-b a.qat b.qat net.onnx 3", &o, NULL),
                     STATUS_OK);
    assert_true(o.batch);
    assert_int_equal(o.front.works, 1);
    assert_int_equal(o.front.work[0].argc, 3);
    options_fini(&o);
}

static void values_may_stand_in_three_ways(void **s)
{
    (void)s;
    static const char *const lines[] = { "--command=x", "--command x",
                                         "-cx", "-c x", "-bc x" };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct options o;
        assert_int_equal(parse(lines[i], &o, NULL), STATUS_OK);
        assert_string_equal(o.front.work[0].text, "x");
        options_fini(&o);
    }
}

static void times_of_a_limit_have_units(void **s)
{
    (void)s;
    static const struct {
        const char *line;
        double seconds;
    } cases[] = { { "--limit=90", 90 }, { "--limit=90s", 90 },
                  { "--limit=10m", 600 }, { "--limit=1.5h", 5400 } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct options o;
        assert_int_equal(parse(cases[i].line, &o, NULL), STATUS_OK);
        assert_true(o.front.lab.limit_seconds == cases[i].seconds);
        options_fini(&o);
    }
}

static void mistakes_are_usage_errors_with_a_sentence(void **s)
{
    (void)s;
    static const struct {
        const char *line, *says;
    } cases[] = {
        { "--nosuch", "unknown option '--nosuch'" },
        { "--treads=3", "did you mean '--threads'" },
        { "-q", "unknown option '-q'" },
        { "-c", "--command wants a value" },
        { "--seed", "--seed wants a value" },
        { "--seed=-1", "not '-1'" },
        { "--seed=x", "not 'x'" },
        { "--threads=9999999", "0 to 1024" },
        { "--batch=yes", "--batch takes no value" },
        { "--limit=3x", "such as 90s" },
        { "--limit=-3", "such as 90s" },
        { "--color=red", "auto, always or never" },
        { "--commands=xml", "not 'xml'" },
        { "picture.png", "'picture.png' is not an option" },
        { "word", "'word' is not an option" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct options o;
        struct err e = { .text = "" };
        if (parse(cases[i].line, &o, &e) != STATUS_USAGE)
            fail_msg("'%s' was accepted", cases[i].line);
        if (!strstr(e.text, cases[i].says))
            fail_msg("'%s': %s", cases[i].line, e.text);
        options_fini(&o);
    }
}

static void every_option_has_help_and_one_name(void **s)
{
    (void)s;
    for (int i = 0; i < option_count; i++) {
        assert_true(*option_table[i].help);
        for (int k = 0; k < i; k++) {
            assert_string_not_equal(option_table[i].name,
                                    option_table[k].name);
            if (option_table[i].letter)
                assert_int_not_equal(option_table[i].letter,
                                     option_table[k].letter);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bare_call_has_defaults),
        cmocka_unit_test(commands_and_files_keep_their_order),
        cmocka_unit_test(what_follows_a_script_are_its_arguments),
        cmocka_unit_test(values_may_stand_in_three_ways),
        cmocka_unit_test(times_of_a_limit_have_units),
        cmocka_unit_test(mistakes_are_usage_errors_with_a_sentence),
        cmocka_unit_test(every_option_has_help_and_one_name),
    };
    gsl_set_error_handler_off();
    return cmocka_run_group_tests_name("ui options", tests, NULL, NULL);
}

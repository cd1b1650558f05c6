/* The input router: whole keys, however their bytes arrive.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/test_main.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ui/router.h"

/* Names of all keys in the router, separated by blanks; pastes as <text>. */
static const char *drain(struct router *r, double now)
{
    static char out[512];
    struct input in;
    out[0] = 0;
    while (router_next(r, now, &in)) {
        size_t n = strlen(out);
        if (in.kind == INPUT_PASTE)
            snprintf(out + n, sizeof out - n, "<%s> ", in.text);
        else if (in.kind == INPUT_PASTE_TOO_LONG)
            snprintf(out + n, sizeof out - n, "<too long> ");
        else if (in.kind == INPUT_MOUSE)
            snprintf(out + n, sizeof out - n, "%s@%d,%d ", in.key, in.x,
                     in.y);
        else
            snprintf(out + n, sizeof out - n, "%s ", in.key);
    }
    return out;
}

static const char *keys_of(const char *bytes, size_t n)
{
    struct router r = { .n = 0 };
    router_add(&r, bytes, n, 0);
    const char *names = drain(&r, 1);
    router_fini(&r);
    return names;
}

static void keys_have_names(void **s)
{
    (void)s;
    static const struct {
        const char *bytes, *names;
    } cases[] = {
        { "a", "a " }, { " ", "Space " }, { "\r", "Enter " },
        { "\t", "Tab " }, { "\x7f", "Backspace " }, { "\x0c", "C-l " },
        { "\x1d", "C-] " }, { "\033[A", "Up " }, { "\033OA", "Up " },
        { "\033OP", "F1 " }, { "\033[11~", "F1 " }, { "\033[[A", "F1 " },
        { "\033[21~", "F10 " }, { "\033[5~", "PgUp " },
        { "\033[Z", "S-Tab " }, { "\033x", "M-x " },
        { "\033[1;5C", " " }, { "\u00e9\u5c64", "\u00e9 \u5c64 " },
        { "\033", "Esc " }, { "\033\033[A", "Esc Up " },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_string_equal(keys_of(cases[i].bytes, strlen(cases[i].bytes)),
                            cases[i].names);
}

static void bytes_may_arrive_one_by_one(void **s)
{
    (void)s;
    static const char bytes[] = "x\u5c64\033[A\033OPy\033[1;5Cz";
    struct router r = { .n = 0 };
    char all[256] = "";
    for (size_t i = 0; i + 1 < sizeof bytes; i++) {
        router_add(&r, bytes + i, 1, 0.001 * (double)i);
        strcat(all, drain(&r, 0.001 * (double)i));
    }
    assert_string_equal(all, "x \u5c64 Up F1 y  z ");
    router_fini(&r);
}

static void a_lone_escape_is_a_key_after_a_while(void **s)
{
    (void)s;
    struct router r = { .n = 0 };
    router_add(&r, "\033", 1, 10);
    assert_string_equal(drain(&r, 10.01), "");
    double wait = router_wait(&r, 10.01);
    assert_true(wait > 0.02 && wait < 0.04);
    assert_string_equal(drain(&r, 10.05), "Esc ");
    assert_true(router_wait(&r, 10.05) < 0);
    router_fini(&r);
}

static void an_escape_and_a_later_letter_are_two_keys(void **s)
{
    (void)s;
    struct router r = { .n = 0 };
    router_add(&r, "\033", 1, 0);
    assert_string_equal(drain(&r, 1), "Esc ");
    router_add(&r, "x", 1, 1);
    assert_string_equal(drain(&r, 1), "x ");
    router_fini(&r);
}

static void half_a_sequence_does_not_wait_for_ever(void **s)
{
    (void)s;
    struct router r = { .n = 0 };
    router_add(&r, "\033[1", 3, 0);
    assert_string_equal(drain(&r, 0.1), "");
    drain(&r, 1);
    assert_int_equal(r.n, 0);
    router_add(&r, "\xe5\xb1", 2, 2);
    assert_string_equal(drain(&r, 2.1), "");
    drain(&r, 3);
    assert_int_equal(r.n, 0);
    router_fini(&r);
}

static void a_paste_is_one_unit(void **s)
{
    (void)s;
    static const char paste[] =
        "\033[200~bits conv1\rq\033[A\x01\n\ttrain\033[201~x";
    assert_string_equal(keys_of(paste, sizeof paste - 1),
                        "<bits conv1\nq[A\n\ttrain> x ");
}

static void a_paste_may_be_cut_anywhere(void **s)
{
    (void)s;
    static const char paste[] = "\033[200~one\033[20two\033[201~x";
    for (size_t cut = 1; cut < sizeof paste - 1; cut++) {
        struct router r = { .n = 0 };
        char all[256];
        router_add(&r, paste, cut, 0);
        snprintf(all, sizeof all, "%s", drain(&r, 0.001));
        router_add(&r, paste + cut, sizeof paste - 1 - cut, 0.002);
        strcat(all, drain(&r, 0.002));
        assert_string_equal(all, "<one[20two> x ");
        router_fini(&r);
    }
}

static void a_huge_paste_is_refused_and_swallowed(void **s)
{
    (void)s;
    enum { HUGE = 10 * 1024 * 1024 };
    struct router r = { .n = 0 };
    char *text = malloc(HUGE);
    memset(text, 'a', HUGE);
    router_add(&r, "\033[200~", 6, 0);
    for (size_t at = 0; at < HUGE;) {
        at += router_add(&r, text + at, HUGE - at, 0);
        assert_string_equal(drain(&r, 0), "");
    }
    assert_true(r.paste.len <= ROUTER_PASTE_MAX);
    router_add(&r, "\033[201~b", 7, 0);
    assert_string_equal(drain(&r, 0), "<too long> b ");
    free(text);
    router_fini(&r);
}

static void mouse_reports_are_not_typed(void **s)
{
    (void)s;
    static const char bytes[] = "\033[<0;5;7M\033[<0;5;7m\033[<65;1;1M"
                                "\033[<9;x\033[Iq";
    assert_string_equal(keys_of(bytes, sizeof bytes - 1),
                        "Click@4,6 WheelDown@0,0 q ");
}

static void bytes_that_are_no_text_are_dropped(void **s)
{
    (void)s;
    assert_string_equal(keys_of("\xff\xfe" "a\x80" "b\xc3(", 7), "a b ( ");
}

static void any_bytes_leave_the_router_sane(void **s)
{
    (void)s;
    struct router r = { .n = 0 };
    unsigned seed = 7;
    for (int i = 0; i < 20000; i++) {
        static const char favourites[] = "\033[O<;~M201\xe5";
        seed = seed * 1103515245u + 12345u;
        unsigned pick = seed >> 16;
        char c = pick % 3 ? favourites[pick % (sizeof favourites - 1)]
                          : (char)(unsigned char)(pick & 0xff);
        router_add(&r, &c, 1, i);
        struct input in;
        while (router_next(&r, i + 0.001, &in)) {
            assert_true(in.raw_len < ROUTER_RAW);
            assert_true(strlen(in.key) < ROUTER_KEY);
        }
    }
    router_fini(&r);
}

int main(void)
{
    gsl_set_error_handler_off();
    setlocale(LC_ALL, "C.UTF-8");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_have_names),
        cmocka_unit_test(bytes_may_arrive_one_by_one),
        cmocka_unit_test(a_lone_escape_is_a_key_after_a_while),
        cmocka_unit_test(an_escape_and_a_later_letter_are_two_keys),
        cmocka_unit_test(half_a_sequence_does_not_wait_for_ever),
        cmocka_unit_test(a_paste_is_one_unit),
        cmocka_unit_test(a_paste_may_be_cut_anywhere),
        cmocka_unit_test(a_huge_paste_is_refused_and_swallowed),
        cmocka_unit_test(mouse_reports_are_not_typed),
        cmocka_unit_test(bytes_that_are_no_text_are_dropped),
        cmocka_unit_test(any_bytes_leave_the_router_sane),
    };
    return cmocka_run_group_tests_name("ui router", tests, NULL, NULL);
}

/* Words and commands of the language.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/test_main.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lab/lab.h"
#include "lab/lex.h"

/* Commands of a text, joined by '|'. */
static const char *split(const char *text, bool *open)
{
    static char out[512];
    struct spans s;
    lex_split(text, &s);
    out[0] = '\0';
    for (int i = 0; i < s.n; i++) {
        size_t n = strlen(out);
        snprintf(out + n, sizeof out - n, "%s%.*s", i ? "|" : "",
                 s.span[i].end - s.span[i].begin, text + s.span[i].begin);
    }
    if (open)
        *open = s.open;
    spans_fini(&s);
    return out;
}

static char *get_name(void *ctx, const char *name, struct err *e)
{
    (void)ctx;
    if (strcmp(name, "x") == 0)
        return strdup("17");
    if (strcmp(name, "ans.acc") == 0)
        return strdup("0.5");
    err_set(e, STATUS_NOTFOUND, "no %s", name);
    return NULL;
}

static char *get_expr(void *ctx, const char *text, struct err *e)
{
    (void)ctx;
    (void)e;
    char buf[80];
    snprintf(buf, sizeof buf, "<%s>", text);
    return strdup(buf);
}

static const struct lex_vars vars = { .name = get_name, .expr = get_expr };

/* Words of a command, joined by '|'; on failure the message. */
static const char *words(const char *text, int *fault)
{
    static char out[600];
    struct lex_mode mode = { .vars = &vars, .raw_after = -1 };
    struct line l;
    struct err e = { 0 };
    int at = 0;
    out[0] = '\0';
    if (lex_line(text, &mode, &l, &at, &e)) {
        snprintf(out, sizeof out, "error: %s", e.text);
    } else {
        for (int i = 0; i < l.n; i++) {
            size_t n = strlen(out);
            snprintf(out + n, sizeof out - n, "%s%s", i ? "|" : "",
                     l.word[i].text);
        }
        line_fini(&l);
    }
    if (fault)
        *fault = at;
    return out;
}

static void commands_end_at_semicolons_and_line_feeds(void **s)
{
    (void)s;
    assert_string_equal(split("a b; c\n\n d ;;", NULL), "a b|c|d");
}

static void quotes_and_brackets_hold_separators(void **s)
{
    (void)s;
    assert_string_equal(split("say \"a;b\" 'c;d'; x [p;q] (r;s)", NULL),
                        "say \"a;b\" 'c;d'|x [p;q] (r;s)");
}

static void comments_begin_after_a_blank(void **s)
{
    (void)s;
    assert_string_equal(split("# all\na#b # rest; of it\nc", NULL), "a#b|c");
    assert_string_equal(split("say '# no comment'", NULL),
                        "say '# no comment'");
}

static void a_shell_command_reaches_to_the_line_end(void **s)
{
    (void)s;
    assert_string_equal(split("!ls; pwd # x\nnext", NULL),
                        "!ls; pwd # x|next");
}

static void unfinished_text_is_open(void **s)
{
    (void)s;
    static const char *const texts[] = { "say \"a", "say 'a", "print (1",
                                         "list [w>", "say a \\" };
    bool open;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        split(texts[i], &open);
        assert_true(open);
        assert_false(lab_line_complete(texts[i]));
    }
    split("say \"a\"", &open);
    assert_false(open);
}

static void blocks_are_complete_at_their_end(void **s)
{
    (void)s;
    assert_false(lab_line_complete("for B in 8,4"));
    assert_false(lab_line_complete("for B in 8,4\nif $B > 4\nend"));
    assert_true(lab_line_complete("for B in 8,4\nif $B > 4\nend\nend"));
    assert_true(lab_line_complete("say if\n"));
}

static void words_lose_their_quotes(void **s)
{
    (void)s;
    assert_string_equal(words("say \"a b\" 'c \"d' e", NULL),
                        "say|a b|c \"d|e");
    assert_string_equal(words("say \"t\\tn\\nq\\\"\\$\\\\\"", NULL),
                        "say|t\tn\nq\"$\\");
}

static void variables_are_put_in_except_in_single_quotes(void **s)
{
    (void)s;
    assert_string_equal(words("bits a$x ${x}b \"$x\" '$x'", NULL),
                        "bits|a17|17b|17|$x");
    assert_string_equal(words("say $ans.acc. $(1 + (2)) $", NULL),
                        "say|0.5.|<1 + (2)>|$");
}

static void the_place_of_an_unknown_variable_is_told(void **s)
{
    (void)s;
    int fault;
    assert_string_equal(words("say abc $nosuch", &fault), "error: no nosuch");
    assert_int_equal(fault, 8);
    words("say 'abc", &fault);
    assert_int_equal(fault, 4);
    words("say ${x", &fault);
    assert_int_equal(fault, 4);
}

static void continuations_are_blanks(void **s)
{
    (void)s;
    assert_string_equal(words("say a\\\n b", NULL), "say|a|b");
    assert_string_equal(words("bits [w>4 &&\n a>4] x", NULL),
                        "bits|[w>4 &&\n a>4]|x");
}

static void redirections_are_set_apart(void **s)
{
    (void)s;
    struct lex_mode mode = { .raw_after = -1 };
    struct line l;
    int fault;
    assert_int_equal(lex_line("list a->b -> \"my file.csv\"", &mode, &l,
                              &fault, NULL), STATUS_OK);
    assert_int_equal(l.n, 2);
    assert_string_equal(l.word[1].text, "a->b");
    assert_string_equal(l.redirect, "my file.csv");
    assert_false(l.append);
    line_fini(&l);
    assert_int_equal(lex_line("list ->>x.txt", &mode, &l, &fault, NULL),
                     STATUS_OK);
    assert_true(l.append);
    line_fini(&l);
    assert_int_equal(lex_line("list ->", &mode, &l, &fault, NULL),
                     STATUS_ARG);
    assert_int_equal(lex_line("list -> a -> b", &mode, &l, &fault, NULL),
                     STATUS_ARG);
    assert_int_equal(fault, 10);
}

static void keys_are_recognised_unquoted_only(void **s)
{
    (void)s;
    struct lex_mode mode = { .raw_after = -1 };
    struct line l;
    int fault;
    assert_int_equal(lex_line("bits w=4 \"a=5\" [x==2] q==3 lr=\"1 2\"", &mode,
                              &l, &fault, NULL), STATUS_OK);
    assert_int_equal(l.word[1].value, 2);
    assert_int_equal(l.word[2].value, 0);
    assert_int_equal(l.word[3].value, 0);
    assert_int_equal(l.word[4].value, 0);
    assert_string_equal(l.word[5].text + l.word[5].value, "1 2");
    assert_int_equal(l.word[5].begin, 27);
    line_fini(&l);
}

static void the_raw_rest_stays_as_it_stands(void **s)
{
    (void)s;
    struct lex_mode mode = { .vars = &vars, .raw_after = 1,
                             .raw_redirect = true };
    struct line l;
    int fault;
    assert_int_equal(lex_line("print $x  + \"a  b\" -> f.txt", &mode, &l,
                              &fault, NULL), STATUS_OK);
    assert_int_equal(l.n, 2);
    assert_string_equal(l.word[1].text, "$x  + \"a  b\"");
    assert_string_equal(l.redirect, "f.txt");
    line_fini(&l);
    mode.raw_redirect = false;
    assert_int_equal(lex_line("shell a -> b", &mode, &l, &fault, NULL),
                     STATUS_OK);
    assert_string_equal(l.word[1].text, "a -> b");
    assert_null(l.redirect);
    line_fini(&l);
}

static void quoting_comes_back_as_one_word(void **s)
{
    (void)s;
    static const char *const texts[] = { "plain", "", "a b", "it's",
                                         "\"$x\"\\", "a\tb\nc", "->x",
                                         "#no", "a;b" };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct str line = { 0 };
        struct lex_mode mode = { .vars = &vars, .raw_after = -1 };
        struct line l;
        int fault;
        str_add(&line, "say ");
        lex_quote(&line, texts[i]);
        assert_int_equal(lex_line(str_text(&line), &mode, &l, &fault, NULL),
                         STATUS_OK);
        assert_int_equal(l.n, 2);
        assert_string_equal(l.word[1].text, texts[i]);
        line_fini(&l);
        str_fini(&line);
    }
}

/* Any bytes: no crash, no endless loop, spans inside the text. */
static void any_bytes_can_be_split_and_lexed(void **s)
{
    (void)s;
    static const char pool[] = "ab$({[]})\"'\\ ;\n#->=!@:,?*.x1\x01\xff";
    unsigned r = 1;
    for (int round = 0; round < 3000; round++) {
        char text[40];
        int n = round % 39;
        for (int i = 0; i < n; i++) {
            r = r * 1103515245u + 12345u;
            text[i] = pool[(r >> 16) % (sizeof pool - 1)];
        }
        text[n] = '\0';
        struct spans sp;
        lex_split(text, &sp);
        for (int i = 0; i < sp.n; i++)
            assert_true(sp.span[i].begin < sp.span[i].end &&
                        sp.span[i].end <= n);
        spans_fini(&sp);
        words(text, NULL);
        lab_line_complete(text);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(commands_end_at_semicolons_and_line_feeds),
    cmocka_unit_test(quotes_and_brackets_hold_separators),
    cmocka_unit_test(comments_begin_after_a_blank),
    cmocka_unit_test(a_shell_command_reaches_to_the_line_end),
    cmocka_unit_test(unfinished_text_is_open),
    cmocka_unit_test(blocks_are_complete_at_their_end),
    cmocka_unit_test(words_lose_their_quotes),
    cmocka_unit_test(variables_are_put_in_except_in_single_quotes),
    cmocka_unit_test(the_place_of_an_unknown_variable_is_told),
    cmocka_unit_test(continuations_are_blanks),
    cmocka_unit_test(redirections_are_set_apart),
    cmocka_unit_test(keys_are_recognised_unquoted_only),
    cmocka_unit_test(the_raw_rest_stays_as_it_stands),
    cmocka_unit_test(quoting_comes_back_as_one_word),
    cmocka_unit_test(any_bytes_can_be_split_and_lexed),
};

TEST_MAIN("lab_lex", tests)

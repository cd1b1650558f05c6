/* help and apropos: everything that has a name can be looked up.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "unit/lab_driver.h"

#include <stdio.h>

#include "lab/cmd.h"
#include "lab/help_text.h"
#include "lab/names.h"
#include "lab/view.h"

static void the_overview_has_every_command_and_topic(void **state)
{
    struct driver *d = *state;
    good(d, "help");
    for (int i = 0; i < cmd_count; i++) {
        char line[200];
        snprintf(line, sizeof line, "  %-10s  %s\n", cmd_table[i]->name,
                 cmd_table[i]->help);
        expect_text(str_text(&d->text), line);
    }
    for (int i = 0; i < help_topic_count; i++)
        expect_text(str_text(&d->text), help_topic_table[i].name);
    expect_text(str_text(&d->json), "\"rows\":[");
}

static void every_name_has_help(void **state)
{
    struct driver *d = *state;
    for (int k = 0; k < name_list_count; k++) {
        const struct name_list *list = &name_list_table[k];
        assert_true(*list->count > 0);
        assert_ptr_equal(name_list_find(list->what), list);
        for (int i = 0; i < *list->count; i++) {
            struct named n = name_at(list, i);
            char line[120];
            snprintf(line, sizeof line, "help \"%s\"", n.name);
            assert_true(n.help && n.help[0]);
            expect_text(good(d, line), n.help);
        }
    }
}

static void a_command_shows_usage_arguments_and_example(void **state)
{
    struct driver *d = *state;
    const char *text = good(d, "help calibrate");
    expect_text(text, "usage: calibrate");
    expect_text(text, "argument");
    expect_text(text, "example: load model");
    text = good(d, "help step");          /* a schedule has that name, too */
    expect_text(text, "usage: step");
    expect_text(text, "schedule step");
}

static void a_setting_shows_its_value_and_bounds(void **state)
{
    struct driver *d = *state;
    good(d, "set train.batch 17");
    expect_text(good(d, "help train.batch"), "now 17 samples");
    expect_text(good(d, "help train.schedule"), "one of constant step cosine");
}

static void texts_are_filled_to_the_width(void **state)
{
    struct driver *d = *state;
    d->out.width = 40;
    good(d, "help lines");
    for (const char *p = str_text(&d->text); *p;) {
        size_t n = strcspn(p, "\n");
        assert_true(n <= 40);
        p += n + (p[n] == '\n');
    }
}

static void a_defined_command_shows_its_doc(void **state)
{
    struct driver *d = *state;
    good(d, "define w4; doc \"four bits\"; bits * w=4; end");
    expect_text(good(d, "help w4"), "four bits");
    expect_text(good(d, "help"), "four bits");
}

static void a_misspelt_name_is_corrected(void **state)
{
    struct driver *d = *state;
    bad(d, "help trian", "s:1:6: error: no help on 'trian' (did you mean "
                         "'train'?)");
    bad(d, "help qqqqqq", "`apropos qqqqqq` searches");
}

static void apropos_finds_words_in_any_list(void **state)
{
    struct driver *d = *state;
    const char *text = good(d, "apropos STEP size");
    expect_text(text, "lsq ");
    assert_null(strstr(text, "undo"));
    expect_text(good(d, "apropos esser"), "lsq ");       /* the source */
    expect_text(good(d, "apropos learning rate"), "train.lr");
    bad(d, "apropos zzzz", "s:1:9: error: nothing speaks of 'zzzz'");
}

static enum status focus(void *ctx, const char *words, struct err *e)
{
    (void)e;
    snprintf(ctx, 32, "%s", words);
    return STATUS_OK;
}

static void help_on_keys_opens_the_panes_own_list(void **state)
{
    struct driver *d = *state;
    char asked[32] = "";
    struct lab_hooks h = { .ctx = asked, .focus = focus };
    expect_text(good(d, "help keys"), "no panes here");
    lab_set_hooks(d->lab, &h);
    good(d, "help keys");
    assert_string_equal(asked, "help");
}

#define LAB(f) cmocka_unit_test_setup_teardown(f, driver_open, driver_close)

static const struct CMUnitTest tests[] = {
    LAB(the_overview_has_every_command_and_topic),
    LAB(every_name_has_help),
    LAB(a_command_shows_usage_arguments_and_example),
    LAB(a_setting_shows_its_value_and_bounds),
    LAB(texts_are_filled_to_the_width),
    LAB(a_defined_command_shows_its_doc),
    LAB(a_misspelt_name_is_corrected),
    LAB(apropos_finds_words_in_any_list),
    LAB(help_on_keys_opens_the_panes_own_list),
};

TEST_MAIN("lab: help", tests)

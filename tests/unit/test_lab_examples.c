/* Every command's example runs; every row is complete.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "unit/lab_driver.h"

#include <stdio.h>
#include <unistd.h>

#include "common/temp_folder.h"
#include "lab/args.h"
#include "lab/cmd.h"
#include "lab/diagnose.h"
#include "lab/layer_fields.h"
#include "lab/settings.h"
#include "lab/status_view.h"

/* In a folder of its own: examples write files. */
static void every_example_runs(void **state)
{
    struct temp_folder *f = *state;
    char here[1024];
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(f->dir), 0);
    for (int i = 0; i < cmd_count; i++) {
        const struct cmd *c = cmd_table[i];
        void *box;
        assert_int_equal(driver_open(&box), 0);
        struct driver *d = box;
        if (c->example_setup)
            good(d, c->example_setup);
        run(d, c->example);
        if (strstr(str_text(&d->errors), "error"))
            fail_msg("%s: %s", c->name, str_text(&d->errors));
        assert_int_equal(lab_exit_code(d->lab), 0);
        driver_close(&box);
    }
    assert_int_equal(chdir(here), 0);
}

/* The record that source's example needs is in another order on purpose:
 * each example must use its own command. */
static void every_example_uses_its_command(void **state)
{
    (void)state;
    for (int i = 0; i < cmd_count; i++) {
        const struct cmd *c = cmd_table[i];
        bool uses = strstr(c->example, c->name) ||
                    (c->example_setup && strstr(c->example_setup, c->name));
        if (!uses)
            fail_msg("the example of %s is '%s'", c->name, c->example);
    }
}

static void every_row_is_complete(void **state)
{
    (void)state;
    for (int i = 0; i < cmd_count; i++) {
        const struct cmd *c = cmd_table[i];
        assert_non_null(c->group);
        assert_non_null(c->exec);
        assert_true(c->help && c->help[0] >= 'a');
        assert_true(c->detail && c->detail[0]);
        assert_ptr_equal(cmd_find(c->name), c);
        for (const struct arg_row *r = c->arg; r && r->name; r++) {
            assert_non_null(r->help);
            assert_true(r->kind < ARG_KINDS && arg_kind_name[r->kind]);
            assert_true((r->kind == ARG_CHOICE) == (r->choices != NULL));
        }
        for (int k = 0; k < i; k++)
            assert_string_not_equal(cmd_table[k]->name, c->name);
    }
}

static void every_setting_has_help_and_a_value_in_bounds(void **state)
{
    struct driver *d = *state;
    for (int i = 0; i < setting_count; i++) {
        const struct setting *s = &setting_table[i];
        assert_true(s->help && s->help[0]);
        const char *now = lab_setting(d->lab, s->name);
        char line[200];
        assert_true(now && now[0] && now[0] != '?');
        snprintf(line, sizeof line, "set %s %s", s->name, now);
        good(d, line);
        assert_string_equal(lab_setting(d->lab, s->name), now);
    }
}

static void every_field_has_help(void **state)
{
    (void)state;
    for (int i = 0; i < layer_field_count; i++) {
        const struct layer_field *f = &layer_field_table[i];
        assert_true(f->help && (f->text || f->num));
        assert_ptr_equal(layer_field_find(f->name), f);
    }
    for (int i = 0; i < status_field_count; i++)
        assert_true(status_field_table[i].help[0]);
    for (int i = 0; i < diagnosis_count; i++)
        assert_true(diagnosis_table[i].help && diagnosis_table[i].holds);
}

/* What panes show is in the machine stream: one table for both. */
static void every_status_field_is_in_the_stream(void **state)
{
    struct driver *d = *state;
    good(d, "load model jet; load data jets n=100; show status");
    for (int i = 0; i < status_field_count; i++) {
        char key[60];
        snprintf(key, sizeof key, "\"%s\":", status_field_table[i].name);
        expect_text(str_text(&d->json), key);
    }
}

#define LAB(f) cmocka_unit_test_setup_teardown(f, driver_open, driver_close)

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(every_example_runs, temp_folder_make,
                                    temp_folder_drop),
    cmocka_unit_test(every_example_uses_its_command),
    cmocka_unit_test(every_row_is_complete),
    LAB(every_setting_has_help_and_a_value_in_bounds),
    cmocka_unit_test(every_field_has_help),
    LAB(every_status_field_is_in_the_stream),
};

TEST_MAIN("lab_examples", tests)

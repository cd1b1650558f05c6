/* The lab as a state machine: goals, prompt lines, interrupts, errors, exit
 * codes, undo, settings. SPDX-License-Identifier: GPL-3.0-or-later */
#include "unit/lab_driver.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "common/assert_near.h"
#include "common/temp_folder.h"
#include "lab/view.h"

#define JET "load model jet; load data jets n=300 test=50"

/* Works until the goal has begun. */
static void begin(struct driver *d, const char *line, bool prompt)
{
    driver_clear(d);
    lab_submit(d->lab, line, (struct source){ prompt ? NULL : "s", 1 });
    for (int i = 0; i < 100 && !lab_training(d->lab); i++)
        lab_work(d->lab);
    assert_true(lab_training(d->lab));
}

static double metric(struct driver *d, const char *expr)
{
    char line[80];
    snprintf(line, sizeof line, "print %s", expr);
    lab_submit(d->lab, line, (struct source){ NULL, 0 });
    driver_clear(d);
    while (!d->text.len && !d->errors.len && lab_busy(d->lab))
        lab_work(d->lab);
    return atof(str_text(&d->text));
}

static void train_returns_and_batches_follow(void **state)
{
    struct driver *d = *state;
    good(d, JET);
    begin(d, "train 2", false);
    assert_near(metric(d, "steps"), 0, 0, 0);
    lab_work(d->lab);
    assert_near(metric(d, "steps"), 1, 0, 0);
    driver_drain(d);
    assert_near(metric(d, "epoch"), 2, 0, 0);
}

static void the_next_line_of_a_script_waits_for_the_goal(void **state)
{
    struct driver *d = *state;
    good(d, JET);
    expect_text(good(d, "train 1; print epoch"), "\n1\n");
}

static void a_typed_line_runs_at_the_batch_boundary(void **state)
{
    struct driver *d = *state;
    good(d, JET);
    begin(d, "train 2; say done", false);
    lab_work(d->lab);
    lab_submit(d->lab, "bits fc1 w=4", (struct source){ NULL, 0 });
    lab_work(d->lab);
    expect_text(str_text(&d->text), "1 layer: fc1");
    assert_true(lab_training(d->lab));
    lab_submit(d->lab, "load model jet", (struct source){ NULL, 0 });
    lab_work(d->lab);
    expect_text(str_text(&d->errors),
                "'load' is not possible while 'train 2' runs");
    driver_drain(d);
    expect_text(str_text(&d->text), "done");
    assert_int_equal(lab_exit_code(d->lab), 0);
}

static void stop_and_continue_keep_the_goal_and_the_script(void **state)
{
    struct driver *d = *state;
    good(d, JET);
    begin(d, "train 2; say done", false);
    lab_work(d->lab);
    lab_submit(d->lab, "stop", (struct source){ NULL, 0 });
    lab_work(d->lab);
    assert_false(lab_training(d->lab));
    driver_drain(d);
    assert_null(strstr(str_text(&d->text), "done"));
    assert_near(metric(d, "steps"), 1, 0, 0);
    expect_text(type(d, "continue"), "done");
    assert_near(metric(d, "epoch"), 2, 0, 0);
}

static void a_second_stop_drops_the_script(void **state)
{
    struct driver *d = *state;
    good(d, JET);
    begin(d, "train 2; say done", false);
    type(d, "stop");
    expect_text(type(d, "stop"), "dropped");
    type(d, "stop");
    expect_text(str_text(&d->errors), "nothing runs");
    assert_null(strstr(type(d, "say x"), "done"));
}

static void an_interrupt_ends_training_after_the_batch(void **state)
{
    struct driver *d = *state;
    good(d, JET);
    begin(d, "train 3; say done", true);
    lab_work(d->lab);
    lab_interrupt(d->lab, 1);
    lab_work(d->lab);
    assert_false(lab_training(d->lab));
    assert_near(metric(d, "steps"), 1, 0, 0);
    expect_text(type(d, "continue"), "done");
    assert_near(metric(d, "epoch"), 3, 0, 0);
}

static void an_interrupt_of_level_two_drops_what_waits(void **state)
{
    struct driver *d = *state;
    good(d, JET);
    begin(d, "train 3; say done", false);
    lab_interrupt(d->lab, 2);
    driver_drain(d);
    assert_false(lab_busy(d->lab));
    assert_null(strstr(type(d, "say x"), "done"));
}

static enum status stop_tick(void *ctx)
{
    struct driver *d = ctx;
    lab_interrupt(d->lab, 2);
    return STATUS_OK;
}

static void an_abandoned_batch_leaves_the_weights(void **state)
{
    struct driver *d = *state;
    lab_free(d->lab);
    d->opts.tick = (struct tick){ .fn = stop_tick, .ctx = d };
    d->lab = lab_new(&d->opts, NULL);
    run(d, JET);
    run(d, "info model; let h = ans.hash");
    run(d, "train 1");
    run(d, "info model; expect ans.hash == $h");
    assert_int_equal(d->errors.len, 0);
    assert_near(metric(d, "steps"), 0, 0, 0);
}

static void errors_end_a_script_but_not_the_prompt(void **state)
{
    struct driver *d = *state;
    assert_null(strstr(run(d, "bits x w=4; say never"), "never"));
    assert_int_equal(lab_exit_code(d->lab), 1);
    assert_null(strstr(type(d, "nonsense; say never"), "never"));
    expect_text(type(d, "say still here"), "still here");
}

static void typed_errors_do_not_count(void **state)
{
    struct driver *d = *state;
    type(d, "nonsense");
    expect_text(str_text(&d->errors), "error: unknown command 'nonsense'");
    assert_int_equal(lab_exit_code(d->lab), 0);
}

static void keep_going_runs_on_and_the_worst_cause_wins(void **state)
{
    struct driver *d = *state;
    d->opts.keep_going = true;
    lab_free(d->lab);
    d->lab = lab_new(&d->opts, NULL);
    expect_text(run(d, "nonsense; expect 1 > 2; say on"), "on");
    assert_int_equal(lab_exit_code(d->lab), 3);
    run(d, "load model /nowhere.qlab");
    assert_int_equal(lab_exit_code(d->lab), 4);
}

static void abbreviations_are_for_the_prompt(void **state)
{
    struct driver *d = *state;
    expect_text(type(d, "pri 1 + 1"), "2");
    expect_text(type(d, "p 2 + 2"), "4");
    type(d, "re");
    expect_text(str_text(&d->errors), "'re' is ambiguous: record");
    bad(d, "pri 1", "scripts need full names");
    type(d, "q");
    assert_true(lab_wants_quit(d->lab));
}

static void a_nan_stops_training_with_its_own_code(void **state)
{
    struct driver *d = *state;
    good(d, JET "; set train.optimizer sgd; set train.lr 1e6");
    bad(d, "train 2; say never", "not finite");
    assert_int_equal(lab_exit_code(d->lab), 5);
    assert_null(strstr(str_text(&d->text), "never"));
    struct status_view v;
    lab_status_view(d->lab, &v);
    assert_string_equal(v.run, "BREAK");
}

static void the_limit_ends_everything(void **state)
{
    struct driver *d = *state;
    d->opts.limit_seconds = 1e-6;
    lab_free(d->lab);
    d->lab = lab_new(&d->opts, NULL);
    run(d, "say one; say two");
    expect_text(str_text(&d->errors), "the limit of");
    assert_int_equal(lab_exit_code(d->lab), 6);
}

static void events_run_when_their_epoch_begins(void **state)
{
    struct driver *d = *state;
    good(d, JET "; at 1 say one; at 2 \"say two; say three\"");
    const char *text = good(d, "train 1; say between; train 2");
    expect_text(text, "between");
    size_t before = (size_t)(strstr(text, "between") - text);
    assert_true(strstr(text, "one\n") > text + before);
    assert_true(strstr(text, "two\nthree\n") > text + before);
}

static void until_stops_when_its_condition_holds(void **state)
{
    struct driver *d = *state;
    good(d, JET);
    good(d, "until epoch >= 2 max 5");
    assert_near(metric(d, "epoch"), 2, 0, 0);
    expect_text(good(d, "until epoch >= 2"), "it holds already");
    good(d, "until epoch > 100 max 1");
    assert_near(metric(d, "epoch"), 3, 0, 0);
}

static void a_rate_for_one_goal_does_not_stay(void **state)
{
    struct driver *d = *state;
    good(d, JET "; set train.lr 0.01; train 1 lr=0.5");
    assert_near(metric(d, "lr"), 0.5, 0, 0);
    good(d, "train 1");
    assert_near(metric(d, "lr"), 0.01, 0, 0);
}

static void settings_are_checked(void **state)
{
    struct driver *d = *state;
    bad(d, "set train.lr -1", "train.lr is from 0");
    bad(d, "set fps 99", "fps is from 1 to 10");
    bad(d, "set color blue", "one of auto always never");
    bad(d, "set train.nesterov maybe", "one of off on");
    bad(d, "set trainlr 1", "did you mean 'train.lr'?");
    good(d, "set eval.batch 1k; set train.weight_decay 1%");
    assert_string_equal(lab_setting(d->lab, "eval.batch"), "1000");
    assert_near(lab_setting_number(d->lab, "train.weight_decay"), 0.01, 0, 0);
    assert_null(lab_setting(d->lab, "nosuch"));
}

static void a_setting_that_the_data_refuse_is_put_back(void **state)
{
    struct driver *d = *state;
    good(d, "load model ksum; load data clusters n=40 test=10; step 1");
    bad(d, "set train.loss ce", "class");
    assert_string_equal(lab_setting(d->lab, "train.loss"), "mse");
}

static void the_optimiser_of_a_model_gives_way_to_the_user(void **state)
{
    struct driver *d = *state;
    good(d, "load model resnet8");
    assert_string_equal(lab_setting(d->lab, "train.optimizer"), "sgd");
    good(d, "set train.optimizer adamw; load model resnet8");
    assert_string_equal(lab_setting(d->lab, "train.optimizer"), "adamw");
}

static void tool_settings_are_not_undoable(void **state)
{
    struct driver *d = *state;
    good(d, JET "; set train.lr 0.25; set fps 3; undo");
    assert_near(lab_setting_number(d->lab, "fps"), 3, 0, 0);
    assert_near(lab_setting_number(d->lab, "train.lr"), 0.001, 0, 0);
}

static void undo_brings_ranges_back(void **state)
{
    struct driver *d = *state;
    good(d, JET "; bits * w4a4; calibrate 2; info range fc1.out");
    good(d, "let hi = ans.hi; range fc1.out -1 1; undo; info range fc1.out");
    good(d, "expect ans.hi == $hi && ans.hi != 1");
}

static void undo_is_bounded(void **state)
{
    struct driver *d = *state;
    good(d, JET "; set undo.limit 3");
    good(d, "for B in 8,7,6,5,4; bits fc1 w=$B; end");
    good(d, "undo 9");
    expect_text(good(d, "list fc1 cols=w"), "7");
}

static void series_and_events_are_seen_by_panes(void **state)
{
    struct driver *d = *state;
    good(d, JET "; train 1; bits fc1 w=4; train 1");
    int i = lab_series_find(d->lab, "val_acc");
    assert_true(i >= 0);
    struct series_view v = lab_series(d->lab, i);
    assert_int_equal(v.n, 2);
    assert_near(v.x[1], 2, 0, 0);
    const struct mark_view *marks;
    int n = lab_event_marks(d->lab, &marks);
    assert_true(n >= 1);
    assert_string_equal(marks[n - 1].text, "bits fc1 w=4");
    assert_near(marks[n - 1].x, 1, 0, 0);
}

static void views_of_layers_carry_flags_and_statistics(void **state)
{
    struct driver *d = *state;
    int n;
    good(d, "load model tfc; bits fc0 w=4; freeze bn bn1");
    lab_refresh_stats(d->lab, 0);
    const struct layer_view *v = lab_layer_views(d->lab, &n);
    assert_int_equal(n, 12);
    assert_string_equal(v[2].name, "fc0");
    assert_string_equal(v[2].w, "4");
    assert_true(v[2].fake && v[2].observe && !v[2].learn);
    assert_true(v[2].weight.sqnr > 5 && v[2].weight.sqnr < 40);
    assert_true(v[6].bn_frozen && v[6].has_bn && !v[3].bn_frozen);
    assert_true(v[2].changed && !v[5].changed);
}

static double all_counts(const struct hist_view *h)
{
    double sum = h->below + h->above;
    for (int i = 0; i < h->bins; i++)
        sum += h->n[i];
    return sum;
}

static double output_sqnr(struct lab *l, int row)
{
    int n;
    lab_refresh_stats(l, NEED_OUT);
    return lab_layer_views(l, &n)[row].out.sqnr;
}

/* Nothing of a screen's glance is left to those who ask afterwards. */
static void a_glance_takes_few_samples(void **state)
{
    struct driver *d = *state;
    struct hist_view *h = malloc(sizeof *h);
    assert_non_null(h);
    good(d, JET "; bits * w4a4; calibrate 2");
    double sqnr = output_sqnr(d->lab, 0);
    for (int i = 0; i < 2; i++) {
        bool glance = i == 0;
        lab_set_glance(d->lab, glance);
        assert_int_equal(lab_hist(d->lab, 1, HIST_ACTIVATION, 20, h, NULL),
                         STATUS_OK);
        assert_near(all_counts(h), glance ? 8 * 64 : 64 * 64, 0, 0);
        good(d, "freeze weights fc0; thaw weights fc0");
        assert_true((output_sqnr(d->lab, 0) == sqnr) == !glance);
    }
    free(h);
}

static void histograms_count_every_value(void **state)
{
    struct driver *d = *state;
    struct hist_view *h = malloc(sizeof *h);
    assert_non_null(h);
    good(d, JET "; bits * w4a4; calibrate 2");
    static const double want[HIST_COUNT] = { 64 * 16, 64 * 64, 64 * 16,
                                             64 * 16 };
    for (int what = 0; what < HIST_COUNT; what++) {
        assert_int_equal(lab_hist(d->lab, 1, (enum hist_what)what, 20, h,
                                  NULL), STATUS_OK);
        assert_near(all_counts(h), want[what], 0, 0);
    }
    struct err e;
    good(d, "load model lenet5");
    assert_int_equal(lab_hist(d->lab, 1, HIST_ACTIVATION, 20, h, &e),
                     STATUS_STATE);
    free(h);
}

static void looking_inside_moves_nothing(void **state)
{
    struct driver *d = *state;
    good(d, "load model tfc; load data digits n=200 test=10; train 2; "
            "bits * w4a4; calibrate 2; mark m; info model; let h = ans.hash");
    good(d, "hist fc1.grad; hist bn1.out; hist fc1.out; eval");
    good(d, "info model; expect ans.hash == $h");
    expect_text(good(d, "diff m"), "nothing differs");
}

static void a_saved_session_is_whole_or_refused(void **state)
{
    struct temp_folder *f = *state;
    void *box;
    assert_int_equal(driver_open(&box), 0);
    struct driver *d = box;
    char line[300], path[200];
    snprintf(path, sizeof path, "%s", temp_path(f, "s.qlab"));
    snprintf(line, sizeof line, JET "; bits * w4a4; step 2; save model \"%s\"",
             path);
    good(d, line);
    struct bytes b;
    assert_int_equal(file_read(path, 10000000, &b, NULL), STATUS_OK);
    good(d, "info model; let h = ans.hash; bits fc1 w=7");
    for (size_t n = 0; n < b.size; n += 1 + b.size / 40) {
        snprintf(line, sizeof line, "load model \"%s\"",
                 temp_write(f, "cut.qlab", b.data, n));
        run(d, line);
        assert_true(d->errors.len > 0);
    }
    bytes_fini(&b);
    good(d, "info model; expect ans.hash == $h");
    expect_text(good(d, "list fc1 cols=w"), "7");
    driver_close(&box);
}

static void data_that_are_gone_leave_the_model(void **state)
{
    struct temp_folder *f = *state;
    void *box;
    char line[400], csv[200], path[200];
    assert_int_equal(driver_open(&box), 0);
    struct driver *d = box;
    static const char rows[] = "a,b,y\n1,2,0\n2,1,1\n3,4,0\n4,3,1\n5,6,0\n"
                               "6,5,1\n7,8,0\n8,7,1\n9,9,0\n1,0,1\n2,2,0\n";
    snprintf(csv, sizeof csv, "%s", temp_write(f, "d.csv", rows,
                                               sizeof rows - 1));
    snprintf(path, sizeof path, "%s", temp_path(f, "s.qlab"));
    static const char net[] = "model m loss=ce\nx input 2\nfc dense out=2\n";
    snprintf(line, sizeof line, "load model \"%s\"",
             temp_write(f, "m.txt", net, sizeof net - 1));
    good(d, line);
    snprintf(line, sizeof line, "load data csv \"%s\"", csv);
    run(d, line);
    if (d->errors.len)
        fail_msg("%s", str_text(&d->errors));
    snprintf(line, sizeof line, "set train.batch 4; step 1; save model "
                                "\"%s\"", path);
    good(d, line);
    assert_int_equal(remove(csv), 0);
    snprintf(line, sizeof line, "load model \"%s\"", path);
    run(d, line);
    expect_text(str_text(&d->errors), "warning: data 'csv");
    expect_text(run(d, "list"), "fc");
    temp_write(f, "d.csv", rows, sizeof rows - 1);
    snprintf(line, sizeof line, "load data csv \"%s\"; step 1; print steps",
             csv);
    good(d, line);
    driver_close(&box);
}

/* Typed commands, a stop and a continue in the middle of a goal whose
 * schedule depends on its length. */
static void a_record_replays_what_was_interleaved(void **state)
{
    struct temp_folder *f = *state;
    void *box;
    char line[300], hash[128];
    assert_int_equal(driver_open(&box), 0);
    struct driver *d = box;
    snprintf(line, sizeof line, "record \"%s\"", temp_path(f, "r.qat"));
    good(d, line);
    good(d, JET "; set train.schedule cosine; bits * w8a8");
    begin(d, "train 3 lr=0.01", true);
    for (int i = 0; i < 4; i++)
        lab_work(d->lab);
    lab_submit(d->lab, "bits fc1 w=3; freeze weights fc0",
               (struct source){ NULL, 0 });
    for (int i = 0; i < 3; i++)
        lab_work(d->lab);
    type(d, "stop");
    type(d, "set train.momentum 0.5");
    type(d, "continue");
    good(d, "record off; info model");
    const char *at = strstr(str_text(&d->text), "hash ");
    assert_non_null(at);
    snprintf(hash, sizeof hash, "%.70s", at);
    assert_near(metric(d, "epoch"), 3, 0, 0);
    driver_close(&box);

    assert_int_equal(driver_open(&box), 0);
    d = box;
    snprintf(line, sizeof line, "source \"%s\"; info model",
             temp_path(f, "r.qat"));
    expect_text(good(d, line), hash);
    driver_close(&box);
}

/* A session that has begun records from a checkpoint beside the file. */
static void a_record_can_begin_in_the_middle(void **state)
{
    struct temp_folder *f = *state;
    void *box;
    char line[300], hash[128];
    assert_int_equal(driver_open(&box), 0);
    struct driver *d = box;
    good(d, JET "; bits * w4a4; train 1");
    snprintf(line, sizeof line, "record \"%s\"", temp_path(f, "r.qat"));
    good(d, line);
    good(d, "step 2; disable observer *; step 1; record off; info model");
    const char *at = strstr(str_text(&d->text), "hash ");
    assert_non_null(at);
    snprintf(hash, sizeof hash, "%.70s", at);
    driver_close(&box);

    assert_int_equal(driver_open(&box), 0);
    d = box;
    snprintf(line, sizeof line, "source \"%s\"; info model",
             temp_path(f, "r.qat"));
    expect_text(good(d, line), hash);
    driver_close(&box);
}

static void warnings_name_states_that_are_mistakes(void **state)
{
    struct driver *d = *state;
    good(d, "load model tfc; load data digits n=200 test=10; bits * w4a4; "
            "calibrate 2");
    run(d, "disable fake fc0");
    expect_text(str_text(&d->errors), "warning: fake off");
    expect_text(str_text(&d->errors), "fc0.w fc0.out");
    expect_text(str_text(&d->json), "\"type\":\"warn\"");
    run(d, "disable fake fc1");
    assert_int_equal(d->errors.len, 0);          /* told once */
    run(d, "enable fake *; disable fake fc2");
    expect_text(str_text(&d->errors), "warning: fake off");
    good(d, "enable fake *");
    run(d, "disable observer *; train 1");
    expect_text(str_text(&d->errors), "warning: batch norm live");
    run(d, "freeze bn; set train.lr 1e-20; train 1");
    expect_text(str_text(&d->errors), "warning: nothing moves");
    run(d, "bits fc1 w=2");
    expect_text(str_text(&d->errors), "warning: stale range");
    run(d, "info run");
    expect_text(str_text(&d->text), "stale range");
}

static void a_collapse_is_named(void **state)
{
    struct driver *d = *state;
    good(d, "load model lenet5; load data digits n=200 test=10; bits * w4a4");
    good(d, "calibrate 2");
    run(d, "range conv1.out 0 1e6; eval");
    expect_text(str_text(&d->errors), "warning: conv1.out: dead layer: 100");
    run(d, "undo; range input -1e-4 1e-4; info run");
    expect_text(str_text(&d->text), "input.out: blocked gradient: ");
}

static void safe_mode_runs_no_shell(void **state)
{
    struct driver *d = *state;
    expect_text(good(d, "!echo hello"), "hello");
    bad(d, "shell exit 3", "ended with 3");
    d->opts.safe = true;
    lab_free(d->lab);
    d->lab = lab_new(&d->opts, NULL);
    bad(d, "!echo hello", "shell commands are off");
}

static void a_check_runs_nothing_but_names(void **state)
{
    struct driver *d = *state;
    d->opts.check_only = true;
    lab_free(d->lab);
    d->lab = lab_new(&d->opts, NULL);
    good(d, "load model lenet5; load data nowhere; bits * w4a4; train 3; "
            "eval; let a = ans.acc; rewind m; expect $a > 1; say $1");
    assert_string_equal(good(d, "list"), "");
    bad(d, "bits nosuch w=4", "no layer matches 'nosuch'");
    bad(d, "train 3 lr=x", "lr wants a number");
}

static void what_was_noted_survives_a_rewind(void **state)
{
    struct driver *d = *state;
    good(d, "load model jet; let n = 1; mark base; let n = 2; let m = 3; "
            "rewind base");
    expect_text(type(d, "say $(n) $(m)"), "2 3");
}

static void macros_recurse_only_so_far(void **state)
{
    struct driver *d = *state;
    good(d, "define deep; deep; end");
    bad(d, "deep", "nested too deeply");
    expect_text(type(d, "say alive"), "alive");
}

#define LAB(f) cmocka_unit_test_setup_teardown(f, driver_open, driver_close)
#define FILES(f) \
    cmocka_unit_test_setup_teardown(f, temp_folder_make, temp_folder_drop)

static const struct CMUnitTest tests[] = {
    LAB(train_returns_and_batches_follow),
    LAB(the_next_line_of_a_script_waits_for_the_goal),
    LAB(a_typed_line_runs_at_the_batch_boundary),
    LAB(stop_and_continue_keep_the_goal_and_the_script),
    LAB(a_second_stop_drops_the_script),
    LAB(an_interrupt_ends_training_after_the_batch),
    LAB(an_interrupt_of_level_two_drops_what_waits),
    LAB(an_abandoned_batch_leaves_the_weights),
    LAB(errors_end_a_script_but_not_the_prompt),
    LAB(typed_errors_do_not_count),
    LAB(keep_going_runs_on_and_the_worst_cause_wins),
    LAB(abbreviations_are_for_the_prompt),
    LAB(a_nan_stops_training_with_its_own_code),
    LAB(the_limit_ends_everything),
    LAB(events_run_when_their_epoch_begins),
    LAB(until_stops_when_its_condition_holds),
    LAB(a_rate_for_one_goal_does_not_stay),
    LAB(settings_are_checked),
    LAB(a_setting_that_the_data_refuse_is_put_back),
    LAB(the_optimiser_of_a_model_gives_way_to_the_user),
    LAB(tool_settings_are_not_undoable),
    LAB(undo_brings_ranges_back),
    LAB(undo_is_bounded),
    LAB(series_and_events_are_seen_by_panes),
    LAB(views_of_layers_carry_flags_and_statistics),
    LAB(a_glance_takes_few_samples),
    LAB(histograms_count_every_value),
    LAB(looking_inside_moves_nothing),
    FILES(a_saved_session_is_whole_or_refused),
    FILES(data_that_are_gone_leave_the_model),
    FILES(a_record_replays_what_was_interleaved),
    FILES(a_record_can_begin_in_the_middle),
    LAB(warnings_name_states_that_are_mistakes),
    LAB(a_collapse_is_named),
    LAB(safe_mode_runs_no_shell),
    LAB(a_check_runs_nothing_but_names),
    LAB(what_was_noted_survives_a_rewind),
    LAB(macros_recurse_only_so_far),
};

TEST_MAIN("lab_work", tests)

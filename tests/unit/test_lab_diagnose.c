/* Diagnosis: every row fires in the state it is for, once, and falls silent
 * when the state has gone; runs as they should be have nothing to warn of.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "unit/lab_driver.h"

#include <math.h>

#include "common/assert_near.h"
#include "lab/diagnose.h"
#include "lab/state.h"

#define JET "load model jet; load data jets n=300 test=50; train 2; " \
            "bits * w4a4; calibrate 5"
#define TFC "load model tfc; load data digits n=200 test=10; bits * w4a4; " \
            "calibrate 2"

/* An epoch of 10 s in which other programs took the processors. */
static void crowd(struct lab *l)
{
    l->opts.deterministic = false;
    l->last_epoch.seconds = 10;
    l->last_epoch.preempted = 2000;
    diagnose_epoch(l);
}

/* setup leads to a state without the warning, trigger into it (or `happens`,
 * where commands cannot); where and fact are parts of it; cure ends it. */
static const struct mistake {
    const char *name, *setup, *trigger, *where, *fact, *cure;
    void (*happens)(struct lab *l);
} mistakes[] = {
    { "fake off", JET, "disable fake fc1", "(fc1.w fc1.out)", "enable fake",
      "disable observer fc1", NULL },
    { "stale range", JET, "disable observer *; bits fc1 w=2", "(fc1.w)",
      "calibrate", "enable observer *", NULL },
    { "batch norm live", TFC, "disable observer *; train 1", "bn0",
      "freeze bn", "freeze bn", NULL },
    { "other data", JET, "load data jets n=200 test=50 seed=9", "input.out",
      "disable observer", "disable observer *", NULL },
    { "threads", JET, "info env; set threads $(ans.cores + 1)",
      "processors for", "set threads 0", "set threads 0", NULL },
    { "busy machine", JET, "", "interrupted 200 times a second",
      "fewer threads", "train 1", crowd },
    { "nothing moves", JET, "train 1 lr=1e-12", "(lr 0.", "learning rate",
      "train 1 lr=0.1", NULL },
    { "oscillation", JET "; bits * w3a8; set train.batch 8; train 1",
      "train 5 lr=0.01", "fc", "turn back and forth", "train 9 lr=1e-6", NULL },
    { "range drift", JET "; set train.batch 8", "train 1 lr=0.5", "fc",
      "of its width in the last epoch",
      "disable observer *; train 1 lr=1e-6", NULL },
    { "zero channel", JET, "range fc1.w -1e3 1e3; eval", "fc1.w",
      "100.00% of its channels have no weight but 0", "undo", NULL },
    { "dead layer", JET, "range fc1.out 0 1e6; eval", "fc1.out",
      "100.00% of its codes are one value", "undo", NULL },
    { "lost signal", JET "; eval", "range fc1.out 0 50; range fc2.out 0 50; "
      "range fc0.out 0 50; eval", "fc", "of the signal's power", "undo 3", NULL },
    { "blocked gradient", JET, "range fc1.w -1e-4 1e-4; eval", "fc1.w",
      "of its gradient is blocked", "undo", NULL },
    { "no gradient", JET, "range fc2.out 0 1e-9; eval", "fc",
      "of its weights get no gradient", "undo", NULL },
};
enum { MISTAKES = sizeof mistakes / sizeof mistakes[0] };

static const struct mistake *mistake_of(const struct diagnosis *d)
{
    for (int i = 0; i < MISTAKES; i++)
        if (strcmp(mistakes[i].name, d->name) == 0)
            return &mistakes[i];
    fail_msg("no case for the row '%s'", d->name);
    return NULL;
}

/* The line of the text that speaks of the row; "" when none does. */
static const char *line_of(const char *text, const char *name)
{
    static char line[1000];
    char mark[64];
    snprintf(mark, sizeof mark, ": %s: ", name);
    for (const char *p = text; *p; p++) {
        snprintf(line, sizeof line, "%.*s", (int)strcspn(p, "\n"), p);
        if (strncmp(line, "warning", 7) == 0 && strstr(line, mark))
            return line;
        p += strcspn(p, "\n");
        if (!*p)
            break;
    }
    return "";
}

static int count(const char *text, const char *part)
{
    int n = 0;
    for (const char *p = text; (p = strstr(p, part)); p++)
        n++;
    return n;
}

static void check(struct driver *d, const struct mistake *m)
{
    run(d, m->setup);
    run(d, "info run");
    if (*line_of(str_text(&d->text), m->name))
        fail_msg("%s holds before: %s", m->name, str_text(&d->text));
    run(d, m->trigger);
    if (m->happens)
        m->happens(d->lab);
    const char *line = line_of(str_text(&d->errors), m->name);
    if (!strstr(line, m->where) || !strstr(line, m->fact))
        fail_msg("%s: '%s' and '%s' are not in:\n%s", m->name, m->where,
                 m->fact, str_text(&d->errors));
    assert_true(strlen(line) < 400);
    run(d, "info run");
    if (!*line_of(str_text(&d->text), m->name))
        fail_msg("%s is not in: %s", m->name, str_text(&d->text));
    run(d, m->cure);
    run(d, "info run");
    if (*line_of(str_text(&d->text), m->name))
        fail_msg("%s holds after '%s': %s", m->name, m->cure,
                 str_text(&d->text));
}

static void every_row_fires_in_its_state_and_no_other(void **state)
{
    (void)state;
    for (int i = 0; i < diagnosis_count; i++) {
        void *box;
        assert_int_equal(driver_open(&box), 0);
        check(box, mistake_of(&diagnosis_table[i]));
        driver_close(&box);
    }
}

static void healthy_runs_have_nothing_to_warn_of(void **state)
{
    struct driver *d = *state;
    good(d, JET "; train 3 lr=1e-3; eval; disable observer *; train 1; "
            "eval int");
    expect_text(good(d, "info run"), "nothing to warn of");
    good(d, "load model tfc; load data digits n=400 test=10; train 2; "
            "bits * w4a4; calibrate 5; train 2; freeze bn; "
            "disable observer *; train 1; eval; eval int");
    expect_text(good(d, "info run"), "nothing to warn of");
}

static void a_warning_comes_once_in_a_run_of_epochs(void **state)
{
    struct driver *d = *state;
    good(d, JET "; disable observer *.w");
    run(d, "train 4 lr=1e-12");
    assert_int_equal(count(str_text(&d->errors), "nothing moves"), 1);
    assert_int_equal(count(str_text(&d->json), "\"name\":\"nothing moves\""),
                     1);
    run(d, "train 2 lr=1e-12");
    assert_int_equal(count(str_text(&d->errors), "nothing moves"), 0);
    run(d, "train 1 lr=0.1");
    run(d, "train 1 lr=1e-12");
    assert_int_equal(count(str_text(&d->errors), "nothing moves"), 1);
}

static void frozen_weights_are_not_to_move(void **state)
{
    struct driver *d = *state;
    good(d, JET "; freeze weights *");
    run(d, "train 2 lr=1e-12");
    assert_int_equal(count(str_text(&d->errors), "nothing moves"), 0);
}

static void another_worst_layer_is_news(void **state)
{
    struct driver *d = *state;
    good(d, JET);
    run(d, "range fc1.out 0 1e6; eval");
    expect_text(str_text(&d->errors), "fc1.out: dead layer");
    run(d, "eval");
    assert_int_equal(count(str_text(&d->errors), "dead layer"), 0);
    run(d, "undo; range fc2.out 0 1e6; eval");
    expect_text(str_text(&d->errors), "fc2.out: dead layer");
    expect_text(str_text(&d->json), "\"where\":\"fc2.out\"");
    expect_text(str_text(&d->json), "\"fact\":\"100.00% of its codes");
}

/* Two bits on the range of all weights: 92% become less than half of it. */
static void a_collapse_at_two_bits_is_named(void **state)
{
    struct driver *d = *state;
    good(d, "load model tfc; load data digits n=600 test=10; train 6; "
            "print val_acc; let best = val_acc");
    run(d, "bits * w=affine:2,tensor,obs=minmax a=affine:2,unsigned,"
           "obs=minmax; calibrate 5; eval");
    expect_text(str_text(&d->errors), ".w: lost signal: its error is");
    expect_text(str_text(&d->errors), "range .. mse");
    run(d, "expect ans.acc < best / 2");
    assert_int_equal(d->errors.len, 0);
}

static void good_results_need_no_look_inside(void **state)
{
    struct driver *d = *state;
    good(d, JET "; eval; train 1; eval");
    assert_null(d->lab->probe[0][0].plan);
    assert_null(d->lab->probe[0][1].plan);
    run(d, "range fc1.out 0 1e6; eval");
    assert_non_null(d->lab->probe[0][0].plan);
}

/* ---- the numbers behind it ---- */

static const struct layer_view *view_of(struct driver *d, const char *name)
{
    int n;
    const struct layer_view *v = lab_layer_views(d->lab, &n);
    for (int i = 0; i < n; i++)
        if (strcmp(v[i].name, name) == 0)
            return &v[i];
    fail_msg("no layer %s", name);
    return NULL;
}

static void activations_have_statistics_of_their_own(void **state)
{
    struct driver *d = *state;
    good(d, JET);
    double out, w;
    assert_int_equal(sscanf(good(d, "print sqnr(fc1.out), sqnr(fc1.w)"),
                            "%lf %lf", &out, &w), 2);
    lab_refresh_stats(d->lab, NEED_OUT);
    const struct layer_view *v = view_of(d, "fc1");
    assert_near(v->out.sqnr, out, 1e-3, 0);
    assert_near(v->weight.sqnr, w, 1e-3, 0);
    assert_true(v->out.one > 0 && v->out.one < 0.99);
    assert_true(isnan(v->out.blocked));
    lab_refresh_stats(d->lab, NEED_OUT | NEED_GRAD);
    v = view_of(d, "fc1");
    assert_true(v->out.blocked >= 0 && v->out.blocked < 0.2);
    assert_true(v->weight.no_grad >= 0 && v->weight.no_grad < 0.9);
    assert_true(isnan(view_of(d, "relu1")->out.sqnr));
}

static void fields_of_outputs_are_listed_sorted_and_selected_by(void **state)
{
    struct driver *d = *state;
    good(d, JET "; range fc1.out 0 50");
    const char *text = good(d, "list :dense by=out_sqnr cols=name,out_sqnr");
    assert_true(strstr(text, "fc1") < strstr(text, "fc0"));
    text = good(d, "list [out_one>90%] cols=name");
    assert_non_null(strstr(text, "fc1"));
    assert_null(strstr(text, "fc0"));
    good(d, "info layer fc1; expect ans.out_one > 90%; "
            "expect ans.out_sqnr < 10; expect ans.out_blocked == 0");
    good(d, "undo; train 3; list :dense by=-osc cols=name,osc,drift,flips; "
            "info layer fc1; expect ans.osc >= 0; expect ans.flips > 0; "
            "expect ans.out_drift >= 0; print osc");
}

static void points_are_listed_a_row_each(void **state)
{
    struct driver *d = *state;
    good(d, JET);
    const char *text = good(d, "info points fc1,input");
    assert_non_null(strstr(text, "fc1.w"));
    assert_non_null(strstr(text, "fc1.out"));
    assert_non_null(strstr(text, "input.out"));
    assert_null(strstr(text, "fc2"));
    bad(d, "info points nosuch", "no layer matches");
    good(d, "load model jet; info points");      /* none, no error */
}

/* Folding is undone by nobody: what the quantizer sees then is W itself. */
static void folded_weights_are_those_the_quantizer_sees(void **state)
{
    struct driver *d = *state;
    run(d, TFC "; train 1; fold bn; range *.w minmax; calibrate 2");
    good(d, "expect sat(fc0.w) == 0; expect sqnr(fc0.w) > 15");
}

static void looking_leaves_weights_and_ranges_alone(void **state)
{
    struct driver *d = *state;
    good(d, TFC "; mark m; info model; let h = ans.hash");
    good(d, "info points; info layer fc1; list cols=name,out_sqnr,no_grad; "
            "info run; info points");
    good(d, "info model; expect ans.hash == $h");
    expect_text(good(d, "diff m"), "nothing differs");
}

#define LAB(f) cmocka_unit_test_setup_teardown(f, driver_open, driver_close)

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_row_fires_in_its_state_and_no_other),
    LAB(healthy_runs_have_nothing_to_warn_of),
    LAB(a_warning_comes_once_in_a_run_of_epochs),
    LAB(frozen_weights_are_not_to_move),
    LAB(another_worst_layer_is_news),
    LAB(a_collapse_at_two_bits_is_named),
    LAB(good_results_need_no_look_inside),
    LAB(activations_have_statistics_of_their_own),
    LAB(fields_of_outputs_are_listed_sorted_and_selected_by),
    LAB(points_are_listed_a_row_each),
    LAB(folded_weights_are_those_the_quantizer_sees),
    LAB(looking_leaves_weights_and_ranges_alone),
};

TEST_MAIN("lab_diagnose", tests)

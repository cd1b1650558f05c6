/* train/: losses, metrics and schedules against numbers worked out by hand.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/test_main.h"

#include <math.h>
#include <string.h>

#include "common/assert_near.h"
#include "train/metrics.h"

static double run(const char *name, struct loss_input *in, float *grad)
{
    const struct loss_row *row = loss_find(name);
    assert_non_null(row);
    return row->run(in, grad);
}

/* lse(1, 2, 3) = 3.40760596; softmax = 0.09003057 0.24472847 0.66524096. */
static void cross_entropy_is_lse_less_the_logit(void **state)
{
    (void)state;
    const float z[] = { 1, 2, 3, 3, 2, 1 };
    const int32_t y[] = { 0, 0 };
    struct loss_input in = { .out = z, .label = y, .n = 2, .c = 3 };
    float g[6];
    assert_near(run("ce", &in, g), (2.40760596 + 0.40760596) / 2, 0, 1e-8);
    const float want[] = {
        -0.90996943f / 2, 0.24472847f / 2, 0.66524096f / 2,
        -0.33475904f / 2, 0.24472847f / 2, 0.09003057f / 2,
    };
    assert_floats_near(g, want, 6, 1e-6, 0);
}

/* 0.9 * 2.40760596 + 0.1 * (3.40760596 - 2) */
static void label_smoothing_spreads_a_part_over_all_classes(void **state)
{
    (void)state;
    const float z[] = { 1, 2, 3 };
    const int32_t y[] = { 0 };
    struct loss_input in = {
        .out = z, .label = y, .n = 1, .c = 3, .smoothing = 0.1,
    };
    float g[3];
    assert_near(run("ce", &in, g), 2.30760596, 0, 1e-8);
    const float want[] = {
        0.09003057f - 0.9f - 0.1f / 3, 0.24472847f - 0.1f / 3,
        0.66524096f - 0.1f / 3,
    };
    assert_floats_near(g, want, 3, 1e-6, 0);
}

static void cross_entropy_does_not_overflow(void **state)
{
    (void)state;
    const float z[] = { 1e30f, 0.0f, -1e30f };
    const int32_t y[] = { 0 }, far[] = { 1 };
    struct loss_input in = { .out = z, .label = y, .n = 1, .c = 3 };
    float g[3];
    assert_near(run("ce", &in, g), 0, 0, 0);
    in.label = far;
    assert_near(run("ce", &in, g), (double)1e30f, 1e-12, 0);
    const float want[] = { 1, -1, 0 };
    assert_floats_near(g, want, 3, 0, 0);
}

static void losses_of_reals_have_their_textbook_values(void **state)
{
    (void)state;
    const float z[] = { 0.5f, -1.0f, 2.0f, 0.0f };
    const float t[] = { 1.0f, -1.0f, 0.0f, 1.0f };
    struct loss_input in = { .out = z, .target = t, .n = 2, .c = 2 };
    float g[4];
    assert_near(run("mse", &in, g), (0.25 + 4 + 1) / 4, 1e-12, 0);
    assert_floats_near(g, ((float[]){ -0.25f, 0, 1, -0.5f }), 4, 0, 0);
    assert_near(run("l1", &in, g), (0.5 + 2 + 1) / 4, 1e-12, 0);
    assert_floats_near(g, ((float[]){ -0.25f, 0, 0.25f, -0.25f }), 4, 0, 0);
    /* (1-0.5)^2, (1-1)^2 at the kink, (1+2)^2, 1 */
    assert_near(run("hinge2", &in, g), (0.25 + 0 + 9 + 1) / 4, 1e-12, 0);
    assert_floats_near(g, ((float[]){ -0.25f, 0, 1.5f, -0.5f }), 4, 0, 0);
}

/* log(1 + e^-0.5) = 0.47407698; 2 + log(1 + e^-2) = 2.12692801 */
static void binary_cross_entropy_takes_logits(void **state)
{
    (void)state;
    const float z[] = { 0.5f, 2.0f }, t[] = { 1.0f, 0.0f };
    struct loss_input in = { .out = z, .target = t, .n = 2, .c = 1 };
    float g[2];
    double want = (0.47407698418 + 2.12692801104) / 2;
    assert_near(run("bce", &in, g), want, 0, 1e-9);
    const float slope[] = { (0.62245933f - 1) / 2, 0.88079708f / 2 };
    assert_floats_near(g, slope, 2, 1e-6, 0);
    const float big[] = { -800.0f, 800.0f };
    in.out = big;
    assert_near(run("bce", &in, g), 800, 1e-12, 0);
    /* A class of a net with one output is the target itself. */
    const int32_t y[] = { 1, 0 };
    in = (struct loss_input){ .out = z, .label = y, .n = 2, .c = 1 };
    assert_near(run("bce", &in, g), want, 0, 1e-9);
}

static void classes_become_one_hot_rows(void **state)
{
    (void)state;
    const float z[] = { 0.2f, 0.9f, -0.4f };
    const float t[] = { 0, 1, 0 };
    const int32_t y[] = { 1 };
    for (int i = 0; i < loss_count; i++) {
        struct loss_input a = { .out = z, .label = y, .n = 1, .c = 3 };
        struct loss_input b = { .out = z, .target = t, .n = 1, .c = 3 };
        if (!loss_table[i].classes)
            assert_near(loss_table[i].run(&a, NULL),
                        loss_table[i].run(&b, NULL), 0, 0);
    }
}

/* Central differences, row by row of the table. */
static void gradients_are_the_derivative_of_every_loss(void **state)
{
    (void)state;
    float z[] = { 0.3f, -0.7f, 1.2f, 0.1f, 0.25f, -1.4f };
    const int32_t y[] = { 2, 0 };
    for (int i = 0; i < loss_count; i++) {
        struct loss_input in = {
            .out = z, .label = y, .n = 2, .c = 3, .smoothing = 0.2,
        };
        float g[6];
        loss_table[i].run(&in, g);
        for (int k = 0; k < 6; k++) {
            float at = z[k], step = 1e-2f;
            z[k] = at + step;
            double up = loss_table[i].run(&in, NULL), high = (double)z[k];
            z[k] = at - step;
            double down = loss_table[i].run(&in, NULL), low = (double)z[k];
            z[k] = at;
            assert_near((double)g[k], (up - down) / (high - low), 0, 3e-5);
        }
    }
}

static void a_nan_among_the_outputs_makes_every_loss_nan(void **state)
{
    (void)state;
    const float z[] = { 0.1f, NAN, 0.3f };
    const int32_t y[] = { 0 };
    struct loss_input in = { .out = z, .label = y, .n = 1, .c = 3 };
    for (int i = 0; i < loss_count; i++)
        assert_true(isnan(loss_table[i].run(&in, NULL)));
}

static void top1_and_top5_count_ranks(void **state)
{
    (void)state;
    const float z[] = {
        9, 1, 2, 3, 4, 5, 6,  /* label 0: first */
        1, 2, 3, 4, 5, 6, 7,  /* label 2: fifth */
        1, 2, 3, 4, 5, 6, 7,  /* label 1: sixth */
        0, 0, 0, 0, 0, 0, 0,  /* label 1 of equals: second */
        NAN, 1, 1, 1, 1, 1, 1 /* label 0: never */
    };
    const int32_t y[] = { 0, 2, 1, 1, 0 };
    struct loss_input in = { .out = z, .label = y, .n = 5, .c = 7 };
    struct metric_sum sum = { 0 };
    struct metrics m;
    metrics_add(&sum, &in, 2.0);
    in.n = 1;
    metrics_add(&sum, &in, 8.0);
    metrics_finish(&sum, &m);
    assert_int_equal(m.n, 6);
    assert_near(m.loss, (5 * 2.0 + 8.0) / 6, 1e-12, 0);
    assert_near(m.acc, 2.0 / 6, 1e-12, 0);
    assert_near(m.top5, 4.0 / 6, 1e-12, 0);
}

static void one_output_is_a_class_by_its_sign(void **state)
{
    (void)state;
    const float z[] = { 0.1f, -0.1f, 3.0f, NAN };
    const int32_t y[] = { 1, 0, 0, 1 };
    struct loss_input in = { .out = z, .label = y, .n = 4, .c = 1 };
    assert_int_equal(metrics_right(&in), 2);
}

static void regression_errors_leave_out_targets_of_zero(void **state)
{
    (void)state;
    const float z[] = { 1.5f, 2.0f, -3.0f, 4.0f };
    const float t[] = { 1.0f, 0.0f, -4.0f, 4.0f };
    struct loss_input in = { .out = z, .target = t, .n = 4, .c = 1 };
    struct metric_sum sum = { 0 };
    struct metrics m;
    metrics_add(&sum, &in, 1.0);
    metrics_finish(&sum, &m);
    assert_near(m.mse, (0.25 + 4 + 1) / 4, 1e-12, 0);
    assert_near(m.mae, (0.5 + 2 + 1) / 4, 1e-12, 0);
    assert_near(m.mpe, (50.0 + 25.0 + 0.0) / 3, 1e-12, 0);
    assert_int_equal(m.excluded, 1);
    assert_near(m.acc, 0, 0, 0);
}

static void schedules_follow_their_formulas(void **state)
{
    (void)state;
    const struct schedule_row *flat = schedule_find("constant");
    const struct schedule_row *step = schedule_find("step");
    const struct schedule_row *cosine = schedule_find("cosine");
    double none[4] = { 0 }, warm[4] = { 2 };
    assert_near(flat->factor(7.5, 10, none), 1, 0, 0);
    assert_near(flat->factor(0, 10, warm), 0.01, 1e-12, 0);
    assert_near(flat->factor(1, 10, warm), 0.505, 1e-12, 0);
    assert_near(flat->factor(2, 10, warm), 1, 0, 0);
    double every3[4] = { 0, 3, 0.5 };
    assert_near(step->factor(2.99, 10, every3), 1, 0, 0);
    assert_near(step->factor(3, 10, every3), 0.5, 1e-12, 0);
    assert_near(step->factor(6.5, 10, every3), 0.25, 1e-12, 0);
    double down[4] = { 0, 0.1 }, late[4] = { 2, 0 };
    assert_near(cosine->factor(0, 8, down), 1, 1e-12, 0);
    assert_near(cosine->factor(2, 8, down),
                0.1 + 0.9 * 0.5 * (1 + sqrt(0.5)), 1e-12, 0);
    assert_near(cosine->factor(4, 8, down), 0.55, 1e-12, 0);
    assert_near(cosine->factor(8, 8, down), 0.1, 1e-12, 0);
    assert_near(cosine->factor(9, 8, down), 0.1, 1e-12, 0);
    assert_near(cosine->factor(1, 8, late), 0.505, 1e-12, 0);
    assert_near(cosine->factor(5, 8, late), 0.5, 1e-12, 0);
    assert_near(cosine->factor(5, 0, none), 1, 0, 0);
}

/* ReduceLROnPlateau's rule, epoch by epoch: patience 2, threshold 1e-4, so
 * 0.9 * (1 - 1e-4) = 0.89991 is what has to be gone below. */
static void plateau_cuts_the_rate_when_the_loss_stays(void **state)
{
    (void)state;
    static const struct {
        double loss, factor;
    } epoch[] = {
        { 1.0, 1 },           { 0.9, 1 },
        { 0.9, 1 },           { 0.89995, 1 },
        { 0.95, 0.5 },        { 0.95, 0.5 },
        { 0.8999, 0.5 },      { (double)NAN, 0.5 },
        { (double)INFINITY, 0.5 }, { 1, 0.25 },
        { 1, 0.25 },          { 1, 0.25 },
        { 1, 0.125 },         { 0.1, 0.125 },
    };
    const struct schedule_row *plateau = schedule_find("plateau");
    double param[4] = { 0, 0.5, 2, 1e-4 }, warm[4] = { 2, 0.5, 2, 1e-4 };
    struct schedule_state s;
    schedule_state_init(&s);
    for (size_t i = 0; i < sizeof epoch / sizeof epoch[0]; i++) {
        plateau->listen(&s, epoch[i].loss, 0.1, param);
        assert_near(s.factor, epoch[i].factor, 0, 0);
    }
    assert_near(plateau->factor(7, 10, param), 1, 0, 0);
    assert_near(plateau->factor(1, 10, warm), 0.505, 1e-12, 0);
}

/* Patience 0: every epoch that is not better cuts; a cut of 1e-8 or less, or
 * one that would raise the rate, is none. */
static void plateau_stops_at_rates_that_do_not_count(void **state)
{
    (void)state;
    const struct schedule_row *plateau = schedule_find("plateau");
    double param[4] = { 0, 0.1, 0, 1e-4 }, up[4] = { 0, 2, 0, 1e-4 };
    static const double want[] = { 1, 0.1, 0.01, 0.01, 0.01 };
    struct schedule_state s;
    schedule_state_init(&s);
    for (int i = 0; i < 5; i++) {
        plateau->listen(&s, 1, 1e-6, param);
        assert_near(s.factor, want[i], 1e-15, 0);
    }
    plateau->listen(&s, 1, 1, up);
    assert_near(s.factor, want[4], 1e-15, 0);
}

static void every_schedule_begins_near_one_with_its_defaults(void **state)
{
    (void)state;
    for (int i = 0; i < schedule_count; i++) {
        const struct schedule_row *s = &schedule_table[i];
        assert_near(s->factor(0, 10, s->param_default), 1, 1e-12, 0);
        assert_ptr_equal(schedule_find(s->name), s);
        assert_non_null(s->help);
    }
    assert_null(schedule_find("nosuch"));
    assert_null(loss_find("nosuch"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cross_entropy_is_lse_less_the_logit),
        cmocka_unit_test(label_smoothing_spreads_a_part_over_all_classes),
        cmocka_unit_test(cross_entropy_does_not_overflow),
        cmocka_unit_test(losses_of_reals_have_their_textbook_values),
        cmocka_unit_test(binary_cross_entropy_takes_logits),
        cmocka_unit_test(classes_become_one_hot_rows),
        cmocka_unit_test(gradients_are_the_derivative_of_every_loss),
        cmocka_unit_test(a_nan_among_the_outputs_makes_every_loss_nan),
        cmocka_unit_test(top1_and_top5_count_ranks),
        cmocka_unit_test(one_output_is_a_class_by_its_sign),
        cmocka_unit_test(regression_errors_leave_out_targets_of_zero),
        cmocka_unit_test(schedules_follow_their_formulas),
        cmocka_unit_test(plateau_cuts_the_rate_when_the_loss_stays),
        cmocka_unit_test(plateau_stops_at_rates_that_do_not_count),
        cmocka_unit_test(every_schedule_begins_near_one_with_its_defaults),
    };
    gsl_set_error_handler_off();
    return cmocka_run_group_tests_name("train losses", tests, NULL, NULL);
}

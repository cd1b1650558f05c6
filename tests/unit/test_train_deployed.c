/* train/ with the deployed forward: what a batch computes is what `eval int`
 * gives for it, and refusals leave a run as it was.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/test_main.h"

#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "engine/target.h"
#include "train/trainer.h"

static struct dataset *digits;

static int load_data(void **state)
{
    const char *name = "digits";
    struct dataset_opts o;
    struct err e;
    (void)state;
    dataset_opts_default(&o);
    o.n_train = 150;
    o.n_test = 20;
    if (dataset_load(1, &name, &o, &digits, &e) == STATUS_OK)
        return 0;
    print_error("%s\n", e.text);
    return -1;
}

static int free_data(void **state)
{
    (void)state;
    dataset_free(digits);
    return 0;
}

static struct train_settings settings(const char *backend)
{
    struct train_settings s;
    train_settings_default(&s);
    s.batch = 32;
    s.hyper.lr = 2e-3;
    s.backend = backend_find(backend);
    return s;
}

static struct trainer *trainer_on(struct graph *g,
                                  const struct train_settings *s)
{
    struct trainer *t = NULL;
    struct err e;
    if (trainer_new(g, digits, s, &t, &e))
        fail_msg("%s", e.text);
    return t;
}

static double step(struct trainer *t)
{
    struct batch_result r;
    struct err e;
    err_clear(&e);
    if (trainer_step(t, NULL, &r, &e))
        fail_msg("%s", e.text);
    return r.loss;
}

/* LeNet-5 at 4 bits, its input and logits at 8, calibrated. */
static struct graph *lenet(const struct train_settings *s)
{
    struct graph *g = NULL;
    struct err e;
    struct rng *r = rng_new(3, RNG_INIT);
    struct assign_opts a = {.config = qconfig_find("fbgemm"),
                            .weight_bits = 4, .activation_bits = 4,
                            .input = true};
    struct eval_opts c = {.data = digits, .settings = s, .batch = 32};
    if (model_make("lenet5", r, &g, &e) || assign_qconfig(g, &a, &e))
        fail_msg("%s", e.text);
    rng_free(r);
    c.graph = g;
    if (calibrate_run(&c, 2, &e))
        fail_msg("%s", e.text);
    for (int i = 0; i < g->n_point; i++)
        if (g->point[i].q)
            g->point[i].q->observe = false;
    return g;
}

static void free_net(struct graph *g)
{
    graph_drop_quantizers(g);
    graph_free(g);
}

/* What `eval int` computes for the batch that the trainer had last. */
static void check_batch(struct trainer *t)
{
    struct plan *p = trainer_plan(t), *ints = NULL;
    struct plan_opts o = *plan_options(p);
    struct err e;
    struct shape s = node_shape(&o.graph->node[0], o.batch);
    size_t bytes = (size_t)(o.batch * plan_output_count(p)) * sizeof(float);
    o.mode = MODE_INT;
    o.train = o.deployed = false;
    if (plan_new(&o, &ints, &e))
        fail_msg("%s", e.text);
    memcpy(plan_input(ints, 0), plan_input(p, 0),
           (size_t)shape_count(&s) * sizeof(float));
    if (plan_forward(ints, NULL, &e))
        fail_msg("%s", e.text);
    assert_memory_equal(plan_output(p), plan_output(ints), bytes);
    plan_free(ints);
}

/* Steps that train, each followed by one that leaves the weights alone, whose
 * batch is computed again. */
static void train_and_check(struct graph *g, struct train_settings s)
{
    struct err e;
    s.forward = FORWARD_DEPLOYED;
    struct trainer *t = trainer_on(g, &s);
    double first = 0, last = 0, lr = s.hyper.lr;
    for (int i = 0; i < 6; i++) {
        s.hyper.lr = i % 2 ? 0 : lr;
        assert_int_equal(trainer_set(t, &s, &e), STATUS_OK);
        last = step(t);
        first = i == 0 ? last : first;
        if (i % 2)
            check_batch(t);
    }
    assert_true(last < first);
    trainer_free(t);
}

static void a_batch_computes_what_eval_int_gives(void **state)
{
    (void)state;
    for (int i = 0; i < target_count; i++) {
        struct train_settings s = settings(i % 2 ? "ref" : "fast");
        struct graph *g = lenet(&s);
        s.target = &target_table[i];
        train_and_check(g, s);
        free_net(g);
    }
}

/* The codes of weights follow the optimiser, those of values the steps that
 * LSQ learns. */
static void learned_ranges_are_followed(void **state)
{
    (void)state;
    struct train_settings s = settings("fast");
    struct graph *g = lenet(&s);
    struct err e;
    struct eval_opts c = {.graph = g, .data = digits, .settings = &s};
    for (int i = 0; i < g->n_point; i++) {
        bool weight = g->point[i].kind == POINT_WEIGHT;
        struct qspec spec;
        if (!g->point[i].q)
            continue;
        if (qspec_parse(weight ? "lsq:4" : "lsq:6,unsigned", NULL, &spec,
                        &e) ||
            point_set(g, i, &spec, &e) ||
            quantizer_enable_learn(g->point[i].q, true, &e))
            fail_msg("%s", e.text);
        g->point[i].q->observe = true;
    }
    assert_int_equal(calibrate_run(&c, 2, &e), STATUS_OK);
    for (int i = 0; i < g->n_point; i++)
        if (g->point[i].q)
            g->point[i].q->observe = false;
    struct quantizer *q = g->point[graph_point_find(g, "conv1.w")].q;
    real scale = q->scale[0];
    train_and_check(g, s);
    assert_true(q->scale[0] != scale);
    free_net(g);
}

/* Another target makes another forward, in the trainer that exists. */
static void a_change_is_taken_up_at_the_next_batch(void **state)
{
    (void)state;
    struct train_settings s = settings("fast");
    struct graph *g = lenet(&s);
    struct trainer *t = trainer_on(g, &s);
    struct err e;
    step(t);
    assert_false(plan_options(trainer_plan(t))->deployed);
    s.forward = FORWARD_DEPLOYED;
    s.target = target_find("fbgemm");
    assert_int_equal(trainer_set(t, &s, &e), STATUS_OK);
    step(t);
    assert_true(plan_options(trainer_plan(t))->deployed);
    assert_ptr_equal(plan_options(trainer_plan(t))->target, s.target);
    s.target = target_find("ort");
    assert_int_equal(trainer_set(t, &s, &e), STATUS_OK);
    step(t);
    assert_ptr_equal(plan_options(trainer_plan(t))->target, s.target);
    trainer_free(t);
    free_net(g);
}

static void a_refused_batch_leaves_all_as_it_was(void **state)
{
    (void)state;
    struct train_settings s = settings("fast");
    struct graph *g = lenet(&s);
    s.forward = FORWARD_DEPLOYED;
    struct trainer *t = trainer_on(g, &s);
    struct batch_result r;
    struct err e;
    step(t);
    float before = g->value_block[7];
    g->point[graph_point_find(g, "conv2.w")].q->observe = true;
    assert_int_equal(trainer_step(t, NULL, &r, &e), STATUS_STATE);
    assert_non_null(strstr(e.text, "conv2.w: its observer is on"));
    assert_int_equal(trainer_steps(t), 1);
    assert_int_equal(trainer_batch(t), 1);
    assert_true(g->value_block[7] == before);
    g->point[graph_point_find(g, "conv2.w")].q->observe = false;
    step(t);
    assert_int_equal(trainer_steps(t), 2);
    trainer_free(t);
    free_net(g);
}

int main(void)
{
    gsl_set_error_handler_off();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_computes_what_eval_int_gives),
        cmocka_unit_test(learned_ranges_are_followed),
        cmocka_unit_test(a_change_is_taken_up_at_the_next_batch),
        cmocka_unit_test(a_refused_batch_leaves_all_as_it_was),
    };
    return cmocka_run_group_tests_name("train deployed", tests, load_data,
                                       free_data);
}

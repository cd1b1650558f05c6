/* Plans: what they refuse, how they stop, what they leave alone.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "common/assert_near.h"
#include "common/test_main.h"

#include "base/arena.h"
#include "engine/plan.h"

static const char *const conv_text =
    "model net loss=ce\n"
    "x     input 3x8x8\n"
    "c1    conv2d out=8 kernel=3 pad=1 bias=0\n"
    "n1    batch_norm\n"
    "r1    relu\n"
    "p1    max_pool kernel=2 stride=2\n"
    "c2    conv2d out=16 kernel=3\n"
    "r2    relu\n"
    "flat  flatten\n"
    "fc    dense out=5\n";

static struct graph *net_from(const char *text)
{
    struct graph *g = NULL;
    struct err e;
    err_clear(&e);
    struct rng *r = rng_new(3, RNG_INIT);
    if (graph_parse(text, &g, &e) || graph_finish(g, r, &e))
        fail_msg("%s", e.text);
    rng_free(r);
    return g;
}

static void net_free(struct graph *g)
{
    graph_drop_quantizers(g);
    graph_free(g);
}

static void quantize(struct graph *g, const char *config)
{
    struct err e;
    const struct assign_opts a = {.config = qconfig_find(config),
                                  .input = true};
    if (assign_qconfig(g, &a, &e))
        fail_msg("%s", e.text);
}

static struct plan_opts opts_for(struct graph *g, const char *backend)
{
    struct plan_opts o;
    plan_opts_default(&o);
    o.graph = g;
    o.batch = 4;
    o.train = true;
    o.backend = backend_find(backend);
    assert_non_null(o.backend);
    return o;
}

static struct plan *plan_for(const struct plan_opts *o)
{
    struct err e;
    struct plan *p = NULL;
    if (plan_new(o, &p, &e))
        fail_msg("%s", e.text);
    return p;
}

static int64_t input_count(const struct plan *p)
{
    const struct plan_opts *o = plan_options(p);
    return shape_count(&o->graph->node[0].shape) * o->batch;
}

static void fill_input(struct plan *p, uint64_t seed)
{
    struct rng *r = rng_new(seed, RNG_GENERATE);
    rng_fill_normal(r, plan_input(p, 0), (size_t)input_count(p));
    rng_free(r);
}

static void must(enum status s, const struct err *e)
{
    if (s)
        fail_msg("%s", e->text);
}

static void backward(struct plan *p)
{
    struct err e;
    int64_t n = plan_output_count(p) * plan_options(p)->batch;
    for (int64_t i = 0; i < n; i++)
        plan_output_grad(p)[i] = (float)(i % 5) - 2.0f;
    must(plan_backward(p, NULL, &e), &e);
}

static int find_point(const struct graph *g, const char *name)
{
    int i = graph_point_find(g, name);
    assert_true(i >= 0);
    return i;
}

/* ---- refusals ---- */

static void bad_options_are_refused_with_a_reason(void **state)
{
    (void)state;
    struct graph *g = net_from(conv_text);
    struct plan *p = NULL;
    struct err e;
    struct plan_opts o = opts_for(g, "fast");
    o.batch = 0;
    assert_int_equal(plan_new(&o, &p, &e), STATUS_ARG);
    assert_non_null(strstr(e.text, "batch is 0"));
    assert_null(p);
    o.batch = 2;
    o.observe_only = true;
    assert_int_equal(plan_new(&o, &p, &e), STATUS_ARG);
    assert_null(backend_find("nosuch"));
    net_free(g);
}

static void a_quantizer_without_a_range_is_named(void **state)
{
    (void)state;
    static const char *const ends[] = {"fast", "ref"};
    for (int i = 0; i < 2; i++) {
        struct graph *g = net_from(conv_text);
        quantize(g, "fbgemm");
        struct plan_opts o = opts_for(g, ends[i]);
        o.mode = MODE_FAKE;
        o.train = false;
        struct plan *p = plan_for(&o);
        struct err e;
        fill_input(p, 1);
        assert_int_equal(plan_forward(p, NULL, &e), STATUS_STATE);
        assert_non_null(strstr(e.text, "x.out: has no range"));
        plan_free(p);
        net_free(g);
    }
}

static void backward_needs_a_plan_made_to_train(void **state)
{
    (void)state;
    struct graph *g = net_from(conv_text);
    struct plan_opts o = opts_for(g, "fast");
    o.train = false;
    struct plan *p = plan_for(&o);
    struct err e;
    float value;
    assert_int_equal(plan_backward(p, NULL, &e), STATUS_STATE);
    assert_int_equal(plan_value(p, 1, true, &value, &e), STATUS_STATE);
    assert_non_null(strstr(e.text, "does not keep"));
    plan_free(p);
    net_free(g);
}

static void running_out_of_memory_is_an_error_everywhere(void **state)
{
    (void)state;
    struct graph *g = net_from(conv_text);
    quantize(g, "fbgemm");
    static const char *const ends[] = {"fast", "ref"};
    for (int i = 0; i < 2; i++) {
        struct plan_opts o = opts_for(g, ends[i]);
        o.mode = MODE_FAKE;
        int failures = 0;
        for (long n = 1; n < 10000; n++) {
            struct plan *p = NULL;
            struct err e;
            mem_fail_after(n);
            enum status s = plan_new(&o, &p, &e);
            mem_fail_after(0);
            plan_free(p);
            if (s == STATUS_OK)
                break;
            assert_int_equal(s, STATUS_MEM);
            failures++;
        }
        assert_true(failures > 5);
    }
    net_free(g);
}

/* ---- stopping ---- */

struct counter {
    int calls, stop_at;
};

static enum status count_calls(void *ctx)
{
    struct counter *c = ctx;
    c->calls++;
    return c->calls == c->stop_at ? STATUS_STOPPED : STATUS_OK;
}

static void a_tick_runs_between_steps_and_can_stop(void **state)
{
    (void)state;
    struct graph *g = net_from(conv_text);
    struct plan_opts o = opts_for(g, "fast");
    struct plan *p = plan_for(&o);
    struct err e;
    fill_input(p, 1);
    struct counter c = {0, 0};
    const struct tick t = {count_calls, &c};
    must(plan_forward(p, &t, &e), &e);
    int forward = c.calls;
    must(plan_backward(p, &t, &e), &e);
    assert_int_equal(c.calls, plan_step_count(p));
    assert_true(forward > 5 && forward < c.calls);
    c = (struct counter){0, 3};
    assert_int_equal(plan_forward(p, &t, &e), STATUS_STOPPED);
    assert_int_equal(c.calls, 3);
    plan_free(p);
    net_free(g);
}

/* ---- what a pass leaves alone ---- */

static void evaluation_moves_no_observer_and_no_statistic(void **state)
{
    (void)state;
    static const char *const ends[] = {"fast", "ref"};
    for (int i = 0; i < 2; i++) {
        struct graph *g = net_from(conv_text);
        quantize(g, "fbgemm");
        struct plan_opts o = opts_for(g, ends[i]);
        o.mode = MODE_FAKE;
        struct plan *p = plan_for(&o);
        struct err e;
        fill_input(p, 1);
        must(plan_forward(p, NULL, &e), &e);
        plan_free(p);
        size_t bytes = graph_state_bytes(g);
        void *before = mem_alloc(1, bytes), *after = mem_alloc(1, bytes);
        graph_state_get(g, before);
        o.train = false;
        p = plan_for(&o);
        fill_input(p, 2);
        must(plan_forward(p, NULL, &e), &e);
        graph_state_get(g, after);
        assert_memory_equal(before, after, bytes);
        plan_free(p);
        mem_free(before);
        mem_free(after);
        net_free(g);
    }
}

/* Observers see the float net's values; its output stays as it was. */
static void calibration_moves_observers_alone(void **state)
{
    (void)state;
    static const char *const ends[] = {"fast", "ref"};
    for (int i = 0; i < 2; i++) {
        struct graph *g = net_from(conv_text);
        struct plan_opts o = opts_for(g, ends[i]);
        struct err e;
        o.train = false;
        struct plan *p = plan_for(&o);
        fill_input(p, 1);
        must(plan_forward(p, NULL, &e), &e);
        int64_t n = plan_output_count(p) * o.batch;
        float *want = mem_alloc((size_t)n, sizeof(*want));
        memcpy(want, plan_output(p), (size_t)n * sizeof(*want));
        plan_free(p);
        quantize(g, "onednn");
        o.mode = MODE_FAKE;
        o.observe_only = true;
        p = plan_for(&o);
        fill_input(p, 1);
        must(plan_forward(p, NULL, &e), &e);
        assert_floats_near(plan_output(p), want, n, 1e-5, 1e-5);
        for (int k = 0; k < g->n_point; k++)
            if (g->point[k].q)
                assert_true(g->point[k].q->ready);
        assert_near(g->param[g->n_learned].value[0], 0, 0, 0);
        plan_free(p);
        mem_free(want);
        net_free(g);
    }
}

/* Switched off, a quantizer is not there; its observer still sees values. */
static void flags_decide_what_a_quantizer_does(void **state)
{
    (void)state;
    static const char *const ends[] = {"fast", "ref"};
    for (int i = 0; i < 2; i++) {
        struct graph *g = net_from(conv_text);
        struct plan_opts o = opts_for(g, ends[i]);
        struct err e;
        o.fold = FOLD_OFF;
        struct plan *p = plan_for(&o);
        fill_input(p, 1);
        must(plan_forward(p, NULL, &e), &e);
        backward(p);
        int64_t n = g->n_grad;
        float *want = mem_alloc((size_t)n, sizeof(*want));
        memcpy(want, g->grad_block, (size_t)n * sizeof(*want));
        plan_free(p);
        quantize(g, "onednn");
        for (int k = 0; k < g->n_point; k++)
            if (g->point[k].q)
                g->point[k].q->fake = false;
        o.mode = MODE_FAKE;
        p = plan_for(&o);
        fill_input(p, 1);
        must(plan_forward(p, NULL, &e), &e);
        backward(p);
        assert_floats_near(g->grad_block, want, n, 1e-4, 1e-5);
        const struct quantizer *q = g->point[find_point(g, "c2.out")].q;
        assert_true(q->ready && q->hi[0] > 0);
        plan_free(p);
        mem_free(want);
        net_free(g);
    }
}

static void changes_that_need_a_new_plan_are_seen(void **state)
{
    (void)state;
    struct graph *g = net_from(conv_text);
    quantize(g, "fbgemm");
    struct plan_opts o = opts_for(g, "fast");
    o.mode = MODE_FAKE;
    struct plan *p = plan_for(&o);
    assert_false(plan_stale(p));
    int point = find_point(g, "c1.w");
    g->point[point].q->learn = true;
    assert_true(plan_stale(p));
    g->point[point].q->learn = false;
    assert_false(plan_stale(p));
    g->node[graph_find(g, "n1")].bn_frozen = true;
    assert_true(plan_stale(p));
    g->node[graph_find(g, "n1")].bn_frozen = false;
    struct err e;
    struct qspec s = g->point[point].q->spec;
    s.bits = 4;
    must(point_set(g, point, &s, &e), &e);
    assert_true(plan_stale(p));
    plan_free(p);
    net_free(g);
}

/* ---- numbers ---- */

static void a_value_that_is_not_finite_is_found(void **state)
{
    (void)state;
    static const char *const ends[] = {"fast", "ref"};
    for (int i = 0; i < 2; i++) {
        struct graph *g = net_from(conv_text);
        struct plan_opts o = opts_for(g, ends[i]);
        struct plan *p = plan_for(&o);
        struct err e;
        fill_input(p, 1);
        must(plan_forward(p, NULL, &e), &e);
        assert_int_equal(plan_find_nonfinite(p), -1);
        g->param[graph_param_find(g, "c2.weight")].value[5] = NAN;
        must(plan_forward(p, NULL, &e), &e);
        int found = plan_find_nonfinite(p);
        assert_true(found == graph_find(g, "c2") ||
                    found == graph_find(g, "r2"));
        plan_input(p, 0)[7] = INFINITY;
        must(plan_forward(p, NULL, &e), &e);
        assert_int_equal(plan_find_nonfinite(p), 0);
        plan_free(p);
        net_free(g);
    }
}

/* The observer's range would be lost: the layer is named instead. */
static void observers_refuse_values_that_are_not_finite(void **state)
{
    (void)state;
    static const char *const ends[] = {"fast", "ref"};
    for (int i = 0; i < 2; i++) {
        struct graph *g = net_from(conv_text);
        quantize(g, "fbgemm");
        struct plan_opts o = opts_for(g, ends[i]);
        o.mode = MODE_FAKE;
        struct plan *p = plan_for(&o);
        struct err e;
        fill_input(p, 1);
        must(plan_forward(p, NULL, &e), &e);
        g->param[graph_param_find(g, "c2.bias")].value[5] = INFINITY;
        assert_int_equal(plan_forward(p, NULL, &e), STATUS_NUMERIC);
        assert_non_null(strstr(e.text, "c2.out"));
        plan_free(p);
        net_free(g);
    }
}

/* Our own passes add in a fixed order. oneDNN's products may not, so the net
 * here has none. */
static void passes_do_not_depend_on_the_number_of_threads(void **state)
{
    (void)state;
    static const char *const text = "model net loss=mse\n"
                                    "x  input 6x40x40\n"
                                    "n1 batch_norm\n"
                                    "r1 relu6\n"
                                    "p1 max_pool kernel=3 stride=2\n"
                                    "n2 batch_norm\n"
                                    "a1 add < p1 n2\n"
                                    "r2 relu\n"
                                    "g  global_avg_pool\n"
                                    "f  flatten\n";
    int threads = omp_get_max_threads();
    struct graph *g = net_from(text);
    quantize(g, "onednn");
    size_t bytes = graph_state_bytes(g);
    void *start = mem_alloc(1, bytes);
    graph_state_get(g, start);
    float grad[3][24], out[3][24];
    for (int n = 1; n <= 3; n++) {
        omp_set_num_threads(n);
        graph_state_set(g, start);
        struct plan_opts o = opts_for(g, "fast");
        o.mode = MODE_FAKE;
        struct plan *p = plan_for(&o);
        struct err e;
        fill_input(p, 1);
        must(plan_forward(p, NULL, &e), &e);
        backward(p);
        assert_int_equal(g->n_grad, 24);
        memcpy(grad[n - 1], g->grad_block, sizeof(grad[0]));
        memcpy(out[n - 1], plan_output(p), sizeof(out[0]));
        plan_free(p);
    }
    omp_set_num_threads(threads);
    for (int n = 1; n < 3; n++) {
        assert_memory_equal(grad[n], grad[0], sizeof(grad[0]));
        assert_memory_equal(out[n], out[0], sizeof(out[0]));
    }
    mem_free(start);
    net_free(g);
}

static void two_runs_of_a_plan_give_the_same_bits(void **state)
{
    (void)state;
    struct graph *g = net_from(conv_text);
    quantize(g, "fbgemm");
    size_t bytes = graph_state_bytes(g);
    void *start = mem_alloc(1, bytes);
    graph_state_get(g, start);
    struct plan_opts o = opts_for(g, "fast");
    o.mode = MODE_FAKE;
    struct plan *p = plan_for(&o);
    struct err e;
    size_t size = (size_t)g->n_grad * sizeof(float);
    float *first = mem_alloc(1, size);
    fill_input(p, 1);
    must(plan_forward(p, NULL, &e), &e);
    backward(p);
    memcpy(first, g->grad_block, size);
    for (int i = 0; i < 5; i++) {
        graph_state_set(g, start);
        must(plan_forward(p, NULL, &e), &e);
        backward(p);
        assert_memory_equal(first, g->grad_block, size);
    }
    plan_free(p);
    mem_free(first);
    mem_free(start);
    net_free(g);
}

static void buffers_that_never_live_together_share_memory(void **state)
{
    (void)state;
    struct graph *g = net_from(conv_text);
    struct plan_opts o = opts_for(g, "fast");
    o.batch = 64;
    size_t size[3];
    for (int i = 0; i < 3; i++) {
        o.train = i > 0;
        o.keep_values = i == 2;
        struct plan *p = plan_for(&o);
        size[i] = plan_bytes(p);
        plan_free(p);
    }
assert_true(size[0] * 10 < size[1] * 6);
    assert_true(size[1] < size[2]);
    net_free(g);
}

static void a_profile_names_layers_and_phases(void **state)
{
    (void)state;
    struct graph *g = net_from(conv_text);
    struct plan_opts o = opts_for(g, "fast");
    struct plan *p = plan_for(&o);
    struct err e;
    fill_input(p, 1);
    plan_profile(p, true);
    must(plan_forward(p, NULL, &e), &e);
    backward(p);
    double seconds = 0, flops = 0;
    for (int i = 0; i < plan_step_count(p); i++) {
        struct step_info s;
        plan_step_info(p, i, &s);
        assert_true(graph_find(g, s.layer) >= 0);
        assert_true(s.bytes > 0);
        seconds += s.seconds;
        flops += s.flops;
    }
    assert_true(seconds > 0);
    /* Forward and both gradients; the first layer has no data gradient. */
    assert_true(flops > 4.0 * (double)graph_macs(g) * 4.0);
    struct str text = {.text = NULL};
    engine_describe(&text);
    assert_non_null(strstr(str_text(&text), "oneDNN"));
    str_fini(&text);
    plan_free(p);
    net_free(g);
}

int main(void)
{
    gsl_set_error_handler_off();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_options_are_refused_with_a_reason),
        cmocka_unit_test(a_quantizer_without_a_range_is_named),
        cmocka_unit_test(backward_needs_a_plan_made_to_train),
        cmocka_unit_test(running_out_of_memory_is_an_error_everywhere),
        cmocka_unit_test(a_tick_runs_between_steps_and_can_stop),
        cmocka_unit_test(evaluation_moves_no_observer_and_no_statistic),
        cmocka_unit_test(calibration_moves_observers_alone),
        cmocka_unit_test(flags_decide_what_a_quantizer_does),
        cmocka_unit_test(changes_that_need_a_new_plan_are_seen),
        cmocka_unit_test(a_value_that_is_not_finite_is_found),
        cmocka_unit_test(observers_refuse_values_that_are_not_finite),
        cmocka_unit_test(passes_do_not_depend_on_the_number_of_threads),
        cmocka_unit_test(two_runs_of_a_plan_give_the_same_bits),
        cmocka_unit_test(buffers_that_never_live_together_share_memory),
        cmocka_unit_test(a_profile_names_layers_and_phases),
    };
    return cmocka_run_group_tests_name("engine plan", tests, NULL, NULL);
}

/* The deployed forward of training plans: the bits of mode int, values and
 * output, on both back ends and for any number of threads; and the gradients
 * of straight-through estimation at these values.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <omp.h>

#include "unit/engine_points.h"

/* ---- the output ---- */

static struct plan_opts deployed_opts(struct graph *g, uint64_t seed)
{
    struct plan_opts o = int_opts(g, seed);
    o.mode = MODE_FAKE;
    o.train = o.deployed = true;
    o.grad = GRAD_F32;
    o.keep_values = seed % 2;
    o.sums = (enum sum_path)(seed % SUM_COUNT);
    return o;
}

static struct plan_opts eval_opts(const struct plan_opts *o)
{
    struct plan_opts eval = *o;
    eval.mode = MODE_INT;
    eval.train = eval.deployed = false;
    return eval;
}

static void freeze(struct graph *g)
{
    for (int i = 0; i < g->n_node; i++)
        g->node[i].bn_frozen = true;
}

static int count_quantizers(const struct graph *g)
{
    int n = 0;
    for (int i = 0; i < g->n_point; i++)
        n += g->point[i].q != NULL;
    return n;
}

static void same_output(const struct plan *got, const struct plan *want,
                        const char *what)
{
    int64_t n = plan_output_count(want) * plan_options(want)->batch;
    if (memcmp(plan_output(got), plan_output(want),
               (size_t)n * sizeof(float)))
        fail_msg("the training forward is not mode int's in\n%s", what);
}

/* A whole step, and gradients that are numbers. */
static void step_back(struct plan *p)
{
    struct err e;
    err_clear(&e);
    const struct graph *g = plan_options(p)->graph;
    int64_t n = plan_output_count(p) * plan_options(p)->batch;
    for (int64_t i = 0; i < n; i++)
        plan_output_grad(p)[i] = (float)((i * 37 % 11) - 5) / 10.0f;
    if (plan_backward(p, NULL, &e))
        fail_msg("%s", e.text);
    for (int64_t i = 0; i < g->n_grad; i++)
        assert_true(isfinite(g->grad_block[i]));
}

/* As an optimiser does: weights, batch norm and learned ranges move. */
static void move(struct graph *g, uint64_t seed)
{
    struct rng *r = rng_new(seed, RNG_AUGMENT);
    for (int64_t i = 0; i < g->n_grad; i++)
        g->value_block[i] *= (real)(0.95 + 0.1 * rng_uniform(r));
    for (int i = 0; i < g->n_point; i++) {
        struct quantizer *q = g->point[i].q;
        if (!q || !q->n_learned || !q->spec.kind->refresh)
            continue;
        q->learned[0] *= (real)1.1;
        q->spec.kind->refresh(q);
    }
    rng_free(r);
}

/* Training forward and evaluation from the same state; then another step of
 * the same plan from a state that has moved. */
static void check_output(const struct plan_opts *o, const char *what)
{
    struct plan_opts eval = eval_opts(o);
    struct plan *p = plan_of(o);
    for (uint64_t i = 0; i < 2; i++) {
        struct plan *want = plan_of(&eval);
        run(want, 7 + i);
        run(p, 7 + i);
        same_output(p, want, what);
        step_back(p);
        plan_free(want);
        move(o->graph, i);
    }
    plan_free(p);
}

static void check_seed(uint64_t seed)
{
    struct maker m;
    struct graph *g = random_net(&m, seed);
    freeze(g);
    if (count_quantizers(g) > 0) {
        struct plan_opts o = deployed_opts(g, seed);
        for (int b = 0; b < backend_count; b++) {
            o.backend = backend_table[b].impl;
            check_output(&o, str_text(&m.text));
        }
    }
    net_free(g);
    maker_fini(&m);
}

static void the_training_forward_is_mode_int_in_every_bit(void **state)
{
    (void)state;
    for (uint64_t seed = 501; seed <= 536; seed++)
        check_seed(seed);
}

static void threads_do_not_show(void **state)
{
    (void)state;
    int before = omp_get_max_threads();
    for (uint64_t seed = 601; seed <= 606; seed++) {
        omp_set_num_threads((int)(seed % 3) + 1);
        check_seed(seed);
    }
    omp_set_num_threads(before);
}

static void every_input_reaches_the_integers(void **state)
{
    (void)state;
    static const char net[] = "model two loss=mse\n"
                              "x input 3x5x5\n"
                              "y input 3x5x5\n"
                              "a add < x y\n"
                              "c conv2d out=4 kernel=3\n"
                              "f flatten\n"
                              "d dense out=3\n";
    struct graph *g = net_from(net, 2);
    struct err e;
    struct assign_opts a = {.config = qconfig_find("onednn"), .input = true};
    assert_int_equal(assign_qconfig(g, &a, &e), STATUS_OK);
    calibrate(g);
    for (int b = 0; b < backend_count; b++) {
        struct plan_opts o = deployed_opts(g, 3);
        o.backend = backend_table[b].impl;
        check_output(&o, net);
    }
    net_free(g);
}

/* ---- values ---- */

#define NET "model small loss=ce\n"                                          \
            "x input 2x6x6\n"                                                \
            "conv conv2d out=4 kernel=3 pad=1\n"                             \
            "bn batch_norm\n"                                                \
            "act relu\n"                                                     \
            "pool max_pool kernel=2\n"                                       \
            "drop dropout p=0.5\n"                                           \
            "flat flatten\n"                                                 \
            "fc dense out=3\n"                                               \
            "soft softmax\n"

static struct graph *small_net(void)
{
    struct graph *g = net_from(NET, 3);
    struct err e;
    struct assign_opts a = {.config = qconfig_find("fbgemm"),
                            .weight_bits = 4, .activation_bits = 4,
                            .input = true};
    if (assign_qconfig(g, &a, &e))
        fail_msg("%s", e.text);
    /* The softmax keeps its numbers. */
    int soft = g->node[graph_find(g, "soft")].point[POINT_OUT];
    if (soft >= 0 && point_set(g, soft, NULL, &e))
        fail_msg("%s", e.text);
    calibrate(g);
    freeze(g);
    return g;
}

/* Every value that mode int has, on codes or not. */
static void layers_read_the_values_of_mode_int(void **state)
{
    (void)state;
    struct graph *g = small_net();
    struct err e;
    float got[4 * 144], want[4 * 144];
    int n = 0;
    for (int b = 0; b < backend_count; b++) {
        struct plan_opts o = deployed_opts(g, 4);
        o.batch = 4;
        o.keep_values = true;
        o.backend = backend_table[b].impl;
        struct plan_opts eval = eval_opts(&o);
        struct plan *p = plan_of(&o), *ints = plan_of(&eval);
        run(p, 4);
        run(ints, 4);
        step_back(p);
        for (int i = 0; i < g->n_node; i++) {
            struct shape s = node_shape(&g->node[i], 4);
            if (plan_value(ints, i, false, want, &e))
                continue;
            assert_int_equal(plan_value(p, i, false, got, &e), STATUS_OK);
            assert_memory_equal(got, want,
                                (size_t)shape_count(&s) * sizeof(float));
            n++;
        }
        plan_free(p);
        plan_free(ints);
    }
    assert_true(n >= 12);
    net_free(g);
}

/* A grid by hand. */
static void set_grid(struct graph *g, const char *point, const char *spec,
                     real scale)
{
    struct err e;
    real zero = 0;
    int i = graph_point_find(g, point);
    set_point(g, i, spec);
    if (quantizer_set_grid(g->point[i].q, &scale, &zero, 1, &e))
        fail_msg("%s: %s", point, e.text);
    g->point[i].q->observe = false;
}

/* Biases of 0.4 units, which the target rounds away, are 1.6 steps of the
 * first layer's output: its codes are not those of mode fake. */
static struct graph *biased_net(void)
{
    struct graph *g = net_from("model biased loss=mse\nx input 8\n"
                               "a dense out=16\nb dense out=16\n", 5);
    set_grid(g, "x.out", "affine:8,signed,sym", 1);
    set_grid(g, "a.w", "affine:4,signed,sym", 1);
    set_grid(g, "a.out", "affine:8,signed,sym", 0x1p-2f);
    set_grid(g, "b.w", "affine:4,signed,sym", 1);
    set_grid(g, "b.out", "affine:8,signed,sym", 1);
    for (int i = 0; i < g->n_param; i++)
        for (int64_t k = 0; k < g->param[i].count; k++)
            g->param[i].value[k] = g->param[i].role == PARAM_BIAS
                                       ? (real)0.4
                                       : (real)(k * 7 % 5 - 2);
    return g;
}

static void check_product(struct plan *p)
{
    const struct graph *g = plan_options(p)->graph;
    const float *w = g->param[graph_param_find(g, "b.weight")].value;
    float a[16], b[16];
    struct err e;
    for (int i = 0; i < 8; i++)
        plan_input(p, 0)[i] = (float)(i % 3);
    assert_int_equal(plan_forward(p, NULL, &e), STATUS_OK);
    assert_int_equal(plan_value(p, 1, false, a, &e), STATUS_OK);
    assert_int_equal(plan_value(p, 2, true, b, &e), STATUS_OK);
    for (int o = 0; o < 16; o++) {
        float sum = 0;
        for (int i = 0; i < 16; i++)
            sum += w[o * 16 + i] * a[i];
        assert_true(a[o] == rintf(a[o]));   /* no rest of a bias */
        assert_true(fabsf(b[o] - (sum + 0.4f)) < 1e-4f);
    }
}

static void layers_multiply_the_deployed_values(void **state)
{
    (void)state;
    for (int i = 0; i < backend_count * SUM_COUNT; i++) {
        struct graph *g = biased_net();
        struct plan_opts o = deployed_opts(g, 1);
        o.batch = 1;
        o.target = target_find("ort");
        o.backend = backend_table[i % backend_count].impl;
        o.sums = (enum sum_path)(i / backend_count);
        struct plan *p = plan_of(&o);
        check_product(p);
        plan_free(p);
        net_free(g);
    }
}

/* dW of y = W x is x as it was multiplied: by the target's division, not by
 * the fake quantizer's reciprocal, where the two differ. */
static void check_line(struct graph *g, const struct backend *backend)
{
    struct plan_opts o = deployed_opts(g, 2);
    o.batch = 1;
    o.target = target_find("ort");
    o.backend = backend;
    struct plan *p = plan_of(&o);
    struct err e;
    for (int i = 0; i < 200; i++)
        plan_input(p, 0)[i] = ((float)i - 99.5f) * 0.3f;
    assert_int_equal(plan_forward(p, NULL, &e), STATUS_OK);
    plan_output_grad(p)[0] = 1.0f;
    assert_int_equal(plan_backward(p, NULL, &e), STATUS_OK);
    const float *dw = g->param[graph_param_find(g, "fc.weight")].grad;
    int differ = 0;
    for (int i = 0; i < 200; i++) {
        float x = ((float)i - 99.5f) * 0.3f, inv = 1.0f / 0.3f;
        assert_true(dw[i] == rintf(x / 0.3f) * 0.3f);
        differ += rintf(x * inv) != rintf(x / 0.3f);
    }
    assert_true(differ > 0);
    plan_free(p);
}

static void backward_reads_the_deployed_values(void **state)
{
    (void)state;
    static const char *const points[] = {"x.out", "fc.in"};
    for (int i = 0; i < 2 * backend_count; i++) {
        struct graph *g = net_from("model line loss=mse\nx input 200\n"
                                   "fc dense out=1\n", 8);
        int point = graph_point_find(g, points[i % 2]);
        set_point(g, point, "affine:8,signed,sym");
        set_point(g, graph_point_find(g, "fc.w"), "affine:8,sym");
        calibrate(g);
        g->point[point].q->scale[0] = 0.3f;
        /* No weight is beyond its range. */
        g->point[graph_point_find(g, "fc.w")].q->scale[0] *= 2;
        check_line(g, backend_table[i / 2].impl);
        net_free(g);
    }
}

/* ---- gradients where fake and deployed values are the same ---- */

#define EVEN_NET "model even loss=ce\n"                                      \
                 "x input 2x8x8\n"                                           \
                 "c1 conv2d out=4 kernel=3 pad=1\n"                          \
                 "r1 relu\n"                                                 \
                 "c2 conv2d out=4 kernel=3 pad=1 < r1\n"                     \
                 "add add < c2 r1\n"                                         \
                 "r2 relu6\n"                                                \
                 "mp max_pool kernel=2\n"                                    \
                 "ap avg_pool kernel=2\n"                                    \
                 "flat flatten\n"                                            \
                 "fc dense out=5\n"

/* Scales are powers of two and zero points even, so that no rule rounds
 * otherwise than another; biases are whole numbers of their units. */
static struct graph *even_net(void)
{
    struct graph *g = net_from(EVEN_NET, 6);
    struct err e;
    for (int i = 0; i < g->n_point; i++) {
        enum point_kind kind = g->point[i].kind;
        bool out = kind == POINT_OUT && layer_out_point(g, g->point[i].at) == i;
        real scale = out ? 0x1p-4f : 0x1p-5f, zero = out ? 100 : 0;
        if (!out && kind != POINT_WEIGHT)
            continue;
        set_point(g, i, out ? "affine:8,unsigned,asym" : "affine:8,signed,sym");
        if (quantizer_set_grid(g->point[i].q, &scale, &zero, 1, &e))
            fail_msg("%s: %s", g->point[i].name, e.text);
        g->point[i].q->observe = false;
    }
    for (int i = 0; i < g->n_param; i++) {
        struct param *p = &g->param[i];
        for (int64_t k = 0; p->role == PARAM_BIAS && k < p->count; k++)
            p->value[k] = real_rint(p->value[k] * 512) / 512;
    }
    return g;
}

static void gradients_are_those_of_fake_where_values_are(void **state)
{
    (void)state;
    struct graph *g = even_net();
    size_t bytes = (size_t)g->n_grad * sizeof(real);
    real *want = mem_alloc((size_t)g->n_grad, sizeof(*want));
    assert_non_null(want);
    for (int i = 0; i < backend_count * target_count; i++) {
        struct plan_opts o = deployed_opts(g, (uint64_t)i);
        o.batch = 5;
        o.backend = backend_table[i % backend_count].impl;
        o.target = &target_table[i / backend_count];
        struct plan_opts plain = o;
        plain.deployed = false;
        struct plan *fake = plan_of(&plain), *deployed = plan_of(&o);
        run(fake, 3);
        step_back(fake);
        memcpy(want, g->grad_block, bytes);
        run(deployed, 3);
        same_output(deployed, fake, EVEN_NET);
        step_back(deployed);
        assert_memory_equal(g->grad_block, want, bytes);
        plan_free(fake);
        plan_free(deployed);
    }
    mem_free(want);
    net_free(g);
}

/* ---- what moves while a plan lives ---- */

static void a_zero_point_that_leaves_the_codes_wants_a_new_plan(void **state)
{
    (void)state;
    struct graph *g = small_net();
    struct plan_opts o = deployed_opts(g, 1);
    struct plan *p = plan_of(&o);
    assert_false(plan_stale(p));
    g->point[graph_point_find(g, "fc.out")].q->zero_point[0] += 0.5f;
    assert_true(plan_stale(p));
    plan_free(p);
    check_output(&o, NET);
    net_free(g);
}

/* ---- what it asks for ---- */

static void refuse(const struct plan_opts *o, enum status want,
                   const char *text)
{
    struct plan *p = NULL;
    struct err e;
    err_clear(&e);
    assert_int_equal(plan_new(o, &p, &e), want);
    assert_null(p);
    if (!strstr(e.text, text))
        fail_msg("'%s' does not say '%s'", e.text, text);
}

static void what_is_not_fixed_yet_is_named(void **state)
{
    (void)state;
    struct graph *g = small_net();
    struct plan_opts o = deployed_opts(g, 1);
    struct quantizer *q = g->point[graph_point_find(g, "fc.w")].q;
    int bn = graph_find(g, "bn");
    g->node[bn].bn_frozen = false;
    refuse(&o, STATUS_STATE, "bn: batch norm is live");
    g->node[bn].bn_frozen = true;
    q->observe = true;
    refuse(&o, STATUS_STATE, "fc.w: its observer is on");
    q->observe = false;
    q->fake = false;
    refuse(&o, STATUS_STATE, "fc.w: its quantizer is off");
    q->fake = true;
    set_point(g, graph_point_find(g, "conv.out"), "affine:8,asym,unsigned");
    g->point[graph_point_find(g, "conv.out")].q->observe = false;
    refuse(&o, STATUS_STATE, "conv.out: has no range yet");
    graph_drop_quantizers(g);
    refuse(&o, STATUS_STATE, "no layer has a quantizer");
    o.train = false;
    refuse(&o, STATUS_ARG, "only training in mode fake");
    net_free(g);
}

static void layers_that_stay_as_numbers_are_known(void **state)
{
    (void)state;
    struct graph *g = small_net();
    struct plan_opts o = deployed_opts(g, 1), eval = eval_opts(&o);
    struct plan *p = plan_of(&eval);
    for (int i = 0; i < g->n_node; i++)
        assert_int_equal(plan_on_codes(p, i),
                         strcmp(g->node[i].name, "soft") != 0);
    plan_free(p);
    net_free(g);
}

/* ---- stopping, memory ---- */

static enum status count_down(void *ctx)
{
    int *left = ctx;
    return (*left)-- > 0 ? STATUS_OK : STATUS_STOPPED;
}

static void a_stop_is_heard_within_the_integers(void **state)
{
    (void)state;
    struct graph *g = small_net();
    struct plan_opts o = deployed_opts(g, 1);
    struct plan *p = plan_of(&o);
    struct err e;
    int left = 2;
    struct tick t = {count_down, &left};
    fill_input(p, 3);
    assert_int_equal(plan_forward(p, &t, &e), STATUS_STOPPED);
    assert_int_equal(left, -1);
    plan_free(p);
    net_free(g);
}

static void running_out_of_memory_is_an_error(void **state)
{
    (void)state;
    struct graph *g = small_net();
    for (int b = 0; b < backend_count; b++) {
        struct plan_opts o = deployed_opts(g, 1);
        struct plan *p = NULL;
        o.backend = backend_table[b].impl;
        for (long n = 1; n < 600 && !p; n++) {
            struct err e;
            mem_fail_after(n);
            enum status st = plan_new(&o, &p, &e);
            mem_fail_after(0);
            assert_true(st == STATUS_OK || st == STATUS_MEM);
            assert_int_equal(st == STATUS_OK, p != NULL);
        }
        assert_non_null(p);
        run(p, 4);
        plan_free(p);
    }
    net_free(g);
}

int main(void)
{
    gsl_set_error_handler_off();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_training_forward_is_mode_int_in_every_bit),
        cmocka_unit_test(threads_do_not_show),
        cmocka_unit_test(every_input_reaches_the_integers),
        cmocka_unit_test(layers_read_the_values_of_mode_int),
        cmocka_unit_test(layers_multiply_the_deployed_values),
        cmocka_unit_test(backward_reads_the_deployed_values),
        cmocka_unit_test(gradients_are_those_of_fake_where_values_are),
        cmocka_unit_test(a_zero_point_that_leaves_the_codes_wants_a_new_plan),
        cmocka_unit_test(what_is_not_fixed_yet_is_named),
        cmocka_unit_test(layers_that_stay_as_numbers_are_known),
        cmocka_unit_test(a_stop_is_heard_within_the_integers),
        cmocka_unit_test(running_out_of_memory_is_an_error),
    };
    return cmocka_run_group_tests_name("engine deployed", tests, NULL, NULL);
}

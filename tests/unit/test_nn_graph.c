/* Graphs: building, groups, points, parameters, saving.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/test_main.h"

#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/sha256.h"
#include "common/assert_near.h"
#include "nn/graph.h"

static struct graph *make(const char *text)
{
    struct err e = { 0 };
    struct graph *g = NULL;
    if (graph_parse(text, &g, &e) != STATUS_OK ||
        graph_finish(g, NULL, &e) != STATUS_OK)
        fail_msg("%s", e.text);
    return g;
}

static struct graph *make_model(const char *name, uint64_t seed)
{
    struct err e = { 0 };
    struct graph *g = NULL;
    struct rng *rng = rng_new(seed, RNG_INIT);
    if (model_make(name, rng, &g, &e) != STATUS_OK)
        fail_msg("%s", e.text);
    rng_free(rng);
    return g;
}

static const struct node *node(const struct graph *g, const char *name)
{
    int i = graph_find(g, name);
    assert_true(i >= 0);
    return &g->node[i];
}

static const char *name_of(const struct graph *g, int i)
{
    return g->node[i].name;
}

static const char net[] =
    "model t\n"
    "x input 2x8x8\n"
    "c1 conv2d out=4 kernel=3 pad=1 bias=0\n"
    "n1 batch_norm\n"
    "r1 relu\n"
    "c2 conv2d out=4 kernel=3 pad=1\n"
    "n2 batch_norm\n"
    "s add < n2 r1\n"
    "r2 relu\n"
    "f flatten\n"
    "d dense out=3\n"
    "h hard_swish\n"
    "e dense out=3\n";

static void graph_add_checks_shapes_at_once(void **s)
{
    (void)s;
    struct err e = { 0 };
    struct graph *g = graph_new("t");
    struct node_spec x = { .name = "x", .op = op_find("input"), .n_attr = 3,
                           .attr_name = { "dim1", "dim2", "dim3" },
                           .attr_value = { 1, 4, 4 } };
    struct node_spec c = { .name = "c", .op = op_find("conv2d"), .n_in = 1,
                           .in = { "x" }, .n_attr = 2,
                           .attr_name = { "out", "kernel" },
                           .attr_value = { 2, 5 } };
    assert_int_equal(graph_add(g, &x, &e), STATUS_OK);
    assert_int_equal(graph_add(g, &c, &e), STATUS_ARG);
    assert_string_equal(e.text, "layer 'c': the input with its pads, 4x4, is "
                                "smaller than the dilated kernel, 5x5");
    assert_int_equal(g->n_node, 1);
    c.attr_value[1] = 3;
    assert_int_equal(graph_add(g, &c, &e), STATUS_OK);
    struct shape want = shape_4(1, 2, 2, 2);
    assert_true(shape_equal(&g->node[1].shape, &want));
    graph_free(g);
}

static void finished_graphs_take_no_more_layers(void **s)
{
    (void)s;
    struct err e = { 0 };
    struct graph *g = make(net);
    struct node_spec more = { .name = "z", .op = op_find("relu"), .n_in = 1,
                              .in = { "e" } };
    assert_int_equal(graph_add(g, &more, &e), STATUS_STATE);
    assert_int_equal(graph_finish(g, NULL, &e), STATUS_STATE);
    graph_free(g);
}

static void parameters_lie_learned_first_in_one_block(void **s)
{
    (void)s;
    struct graph *g = make(net);
    int64_t at = 0;
    for (int i = 0; i < g->n_param; i++) {
        assert_ptr_equal(g->param[i].value, g->value_block + at);
        if (i < g->n_learned)
            assert_ptr_equal(g->param[i].grad, g->grad_block + at);
        else
            assert_null(g->param[i].grad);
        at += g->param[i].count;
        assert_int_equal(graph_param_find(g, g->param[i].name), i);
    }
    assert_int_equal(at, g->n_value);
    /* 72+8 + 144+4+8 + 256*3+3 + 9+3 learned, 4 * 4 states */
    assert_int_equal(g->n_grad, 1019);
    assert_int_equal(g->n_value, 1035);
    assert_int_equal(graph_param_find(g, "c1.weight"), 0);
    assert_int_equal(graph_param_find(g, "c1.bias"), -1);
    assert_int_equal(node(g, "c1")->param[1], -1);
    assert_true(graph_param_find(g, "n2.running_var") >= g->n_learned);
    graph_free(g);
}

static void initial_values_are_torch_s(void **s)
{
    (void)s;
    struct graph *g = make_model("lenet5", 11);
    for (int i = 0; i < g->n_param; i++) {
        const struct param *p = &g->param[i];
        const struct param *w = &g->param[g->node[p->node].param[0]];
        double bound = 1 / sqrt((double)(w->count / w->shape.dim[0]));
        double most = 0, sum = 0;
        for (int64_t k = 0; k < p->count; k++) {
            most = fmax(most, fabs((double)p->value[k]));
            sum += (double)p->value[k];
        }
        /* A uniform mean has the deviation bound / sqrt(3 n). */
        double deviation = bound / sqrt(3 * (double)p->count);
        assert_true(most <= bound * (1 + 1e-6) && most > bound * 0.5);
        assert_true(fabs(sum / (double)p->count) < 5 * deviation);
    }
    graph_free(g);
    g = make_model("tfc", 11);
    const struct node *bn = node(g, "bn1");
    const double start[4] = { 1, 0, 0, 1 };
    for (int i = 0; i < 4; i++) {
        int p = i < 2 ? bn->param[i] : bn->state[i - 2];
        for (int64_t k = 0; k < g->param[p].count; k++)
            assert_true((double)g->param[p].value[k] == start[i]);
    }
    graph_free(g);
}

static void seeds_give_initial_values_of_their_own(void **s)
{
    (void)s;
    char a[65], b[65], c[65];
    struct graph *g = make_model("jet", 1), *h = make_model("jet", 1);
    struct graph *other = make_model("jet", 2);
    graph_hash(g, a);
    graph_hash(h, b);
    graph_hash(other, c);
    assert_string_equal(a, b);
    assert_string_not_equal(a, c);
    h->value_block[h->n_value - 1] += 1;
    graph_hash(h, b);
    assert_string_not_equal(a, b);
    graph_free(g);
    graph_free(h);
    graph_free(other);
}

static void default_groups_end_with_the_activation(void **s)
{
    (void)s;
    struct graph *g = make(net);
    assert_string_equal(name_of(g, node(g, "c1")->tail), "r1");
    assert_string_equal(name_of(g, node(g, "n1")->head), "c1");
    assert_string_equal(name_of(g, node(g, "c2")->tail), "n2");
    assert_string_equal(name_of(g, node(g, "s")->tail), "r2");
    assert_string_equal(name_of(g, node(g, "d")->tail), "h");
    assert_string_equal(name_of(g, node(g, "e")->tail), "e");
    assert_string_equal(name_of(g, graph_group_bn(g, node(g, "c1")->id)),
                        "n1");
    assert_int_equal(graph_group_bn(g, node(g, "d")->id), -1);
    graph_free(g);
}

static void values_read_twice_are_not_fused_over(void **s)
{
    (void)s;
    struct graph *g = make("model t\nx input 4\nd dense out=4\nr relu\n"
                           "s add < d r\nt hard_swish\n");
    assert_string_equal(name_of(g, node(g, "d")->tail), "d");
    assert_string_equal(name_of(g, node(g, "s")->tail), "s");
    graph_free(g);
}

static void points_follow_the_groups(void **s)
{
    (void)s;
    struct graph *g = make(net);
    const struct node *c1 = node(g, "c1"), *r1 = node(g, "r1");
    const struct point *out = &g->point[c1->point[POINT_OUT]];
    assert_string_equal(out->name, "c1.out");
    assert_int_equal(out->node, c1->id);
    assert_int_equal(out->at, r1->id);
    assert_int_equal(r1->point[POINT_OUT], -1);
    assert_int_equal(graph_point_find(g, "r1.out"), c1->point[POINT_OUT]);
    assert_int_equal(graph_point_find(g, "c1.w"), c1->point[POINT_WEIGHT]);
    assert_int_equal(graph_point_find(g, "c1.weight"),
                     c1->point[POINT_WEIGHT]);
    assert_int_equal(graph_point_find(g, "c1.b"), -1);
    assert_int_equal(graph_point_find(g, "c1.nosuch"), -1);
    assert_int_equal(graph_point_find(g, "nosuch.w"), -1);
    assert_int_equal(graph_point_find(g, "c1"), -1);
    assert_true(graph_point_find(g, "c2.b") >= 0);
    assert_true(graph_point_find(g, "c2.acc") >= 0);
    assert_true(graph_point_find(g, "x.out") >= 0);
    assert_int_equal(graph_point_find(g, "x.in"), -1);
    assert_true(graph_point_find(g, "r2.in") >= 0);
    for (int i = 0; i < g->n_point; i++)
        assert_int_equal(graph_point_find(g, g->point[i].name), i);
    graph_free(g);
}

static void unfused_layers_have_outputs_of_their_own(void **s)
{
    (void)s;
    struct graph *g = make(net);
    int before = g->n_point;
    graph_unfuse(g);
    assert_int_equal(g->n_point, before + 5);
    for (int i = 0; i < g->n_node; i++)
        assert_int_equal(g->point[g->node[i].point[POINT_OUT]].at, i);
    graph_fuse_default(g);
    assert_int_equal(g->n_point, before);
    graph_free(g);
}

static void chains_are_fused_as_told(void **s)
{
    (void)s;
    struct err e = { 0 };
    struct graph *g = make(net);
    int chain[2] = { node(g, "n1")->id, node(g, "r1")->id };
    assert_int_equal(graph_fuse(g, chain, 2, &e), STATUS_OK);
    assert_string_equal(name_of(g, node(g, "c1")->tail), "c1");
    assert_string_equal(name_of(g, node(g, "n1")->tail), "r1");
    assert_true(graph_point_find(g, "c1.out") !=
                graph_point_find(g, "r1.out"));
    graph_free(g);
}

static void impossible_chains_are_refused(void **s)
{
    (void)s;
    struct err e = { 0 };
    struct graph *g = make(net);
    int shared[2] = { node(g, "r1")->id, node(g, "c2")->id };
    assert_int_equal(graph_fuse(g, shared, 2, &e), STATUS_ARG);
    assert_string_equal(e.text, "'r1' is read by others than 'c2'");
    int apart[2] = { node(g, "c1")->id, node(g, "r1")->id };
    assert_int_equal(graph_fuse(g, apart, 2, &e), STATUS_ARG);
    assert_string_equal(e.text, "'r1' does not follow 'c1'");
    int source[2] = { 0, node(g, "c1")->id };
    assert_int_equal(graph_fuse(g, source, 2, &e), STATUS_ARG);
    assert_int_equal(graph_fuse(g, apart, 1, &e), STATUS_ARG);
    assert_string_equal(name_of(g, node(g, "c1")->tail), "r1");
    graph_free(g);
}

static void set_quantizers_hold_the_groups(void **s)
{
    (void)s;
    struct err e = { 0 };
    struct graph *g = make(net);
    int chain[2] = { node(g, "n1")->id, node(g, "r1")->id };
    int points = g->n_point, dummy;
    g->point[0].q = (struct quantizer *)(void *)&dummy;
    assert_int_equal(graph_fuse(g, chain, 2, &e), STATUS_STATE);
    graph_unfuse(g);
    assert_int_equal(g->n_point, points);
    assert_string_equal(name_of(g, node(g, "c1")->tail), "r1");
    graph_free(g);
}

static void readers_count_every_use(void **s)
{
    (void)s;
    int first = -1;
    struct graph *g = make("model t\nx input 4\nr relu\ns add < r r\n");
    assert_int_equal(graph_readers(g, 1, &first), 2);
    assert_int_equal(first, 2);
    assert_int_equal(graph_readers(g, 2, NULL), 0);
    graph_free(g);
}

static void batches_replace_the_first_axis(void **s)
{
    (void)s;
    struct graph *g = make(net);
    struct shape want = shape_4(32, 4, 8, 8);
    struct shape got = node_shape(node(g, "c1"), 32);
    assert_true(shape_equal(&got, &want));
    graph_free(g);
}

static void fill_values(struct graph *g, double first)
{
    for (int64_t i = 0; i < g->n_value; i++)
        g->value_block[i] = (real)(first + (double)i);
}

static void saved_graphs_come_back(void **s)
{
    (void)s;
    struct err e = { 0 };
    char before[65], after[65];
    struct bag *b = bag_new();
    struct graph *g = make(net), *h = make(net);
    int chain[2] = { node(g, "n1")->id, node(g, "r1")->id };
    assert_int_equal(graph_fuse(g, chain, 2, &e), STATUS_OK);
    g->node[chain[0]].bn_frozen = true;
    g->node[node(g, "n2")->id].bn_folded = true;
    g->node[node(g, "c2")->id].fold_head = true;
    g->param[graph_param_find(g, "d.weight")].frozen = true;
    fill_values(g, 1);
    assert_int_equal(graph_save(g, b, &e), STATUS_OK);
    assert_int_equal(graph_load(h, b, &e), STATUS_OK);
    graph_hash(g, before);
    graph_hash(h, after);
    assert_string_equal(before, after);
    assert_string_equal(name_of(h, node(h, "n1")->tail), "r1");
    assert_string_equal(name_of(h, node(h, "c1")->tail), "c1");
    assert_int_equal(h->n_point, g->n_point);
    assert_true(node(h, "n1")->bn_frozen && !node(h, "n2")->bn_frozen);
    assert_true(node(h, "n2")->bn_folded && node(h, "c2")->fold_head);
    assert_true(h->param[graph_param_find(h, "d.weight")].frozen);
    bag_free(b);
    graph_free(g);
    graph_free(h);
}

static void graph_text_in_a_bag_builds_the_graph(void **s)
{
    (void)s;
    struct err e = { 0 };
    struct bag *b = bag_new();
    struct graph *g = make_model("resnet8", 3);
    assert_int_equal(graph_save(g, b, &e), STATUS_OK);
    struct graph *h = make(bag_text(b, "graph"));
    assert_int_equal(graph_load(h, b, &e), STATUS_OK);
    assert_int_equal(h->n_value, g->n_value);
    assert_memory_equal(h->value_block, g->value_block,
                        (size_t)g->n_value * sizeof(real));
    bag_free(b);
    graph_free(g);
    graph_free(h);
}

/* Loads `b` into a fresh graph, which must refuse it and stay as it was. */
static void check_refused(const struct bag *b, const char *want)
{
    struct err e = { 0 };
    char before[65], after[65];
    struct graph *g = make(net);
    fill_values(g, 7);
    graph_hash(g, before);
    assert_int_equal(graph_load(g, b, &e), STATUS_FORMAT);
    assert_string_equal(e.text, want);
    graph_hash(g, after);
    assert_string_equal(before, after);
    assert_string_equal(name_of(g, node(g, "c1")->tail), "r1");
    assert_false(node(g, "n1")->bn_frozen);
    graph_free(g);
}

static struct bag *saved_bag(void)
{
    struct err e = { 0 };
    struct bag *b = bag_new();
    struct graph *g = make(net);
    assert_int_equal(graph_save(g, b, &e), STATUS_OK);
    graph_free(g);
    return b;
}

static void wrong_tensors_change_nothing(void **s)
{
    (void)s;
    struct bag *b = saved_bag();
    struct shape shape = shape_1(4);
    const real four[4] = { 1, 2, 3, 4 };
    assert_int_equal(bag_put(b, "e.bias", DTYPE_REAL, &shape, four, NULL),
                     STATUS_OK);
    check_refused(b, "'e.bias' is float32 4, wanted float32 3");
    bag_free(b);
    b = bag_new();
    check_refused(b, "there is no 'c1.weight'");
    bag_free(b);
}

static void wrong_flags_change_nothing(void **s)
{
    (void)s;
    const char *texts[][2] = {
        { "frozen n1\nfrozen nosuch\n",
          "graph.flags line 2: the model has no layer 'nosuch'" },
        { "frozen n1\ngroup c1 r1\n",
          "graph.flags line 2: 'r1' does not follow 'c1'" },
        { "group c1 n1\ngroup n1 r1\n",
          "graph.flags line 2: 'n1' is in two groups" },
        { "melted n1\n", "graph.flags line 1: no flag 'melted'" },
        { "frozen\n", "graph.flags line 1: wanted a name after 'frozen'" },
        { "fixed c1.bias\n",
          "graph.flags line 1: the model has no parameter 'c1.bias'" },
        { "group c1 \"n1\n", "graph.flags line 1: a quote is not closed" },
    };
    struct bag *b = saved_bag();
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_int_equal(bag_put_text(b, "graph.flags", texts[i][0], NULL),
                         STATUS_OK);
        check_refused(b, texts[i][1]);
    }
    bag_free(b);
}

static void a_bag_without_flags_leaves_the_groups(void **s)
{
    (void)s;
    struct err e = { 0 };
    struct bag *b = bag_new();
    struct graph *g = make(net), *h = make(net);
    for (int i = 0; i < g->n_param; i++)
        assert_int_equal(bag_put(b, g->param[i].name, DTYPE_REAL,
                                 &g->param[i].shape, g->param[i].value, &e),
                         STATUS_OK);
    graph_unfuse(h);
    assert_int_equal(graph_load(h, b, &e), STATUS_OK);
    assert_string_equal(name_of(h, node(h, "c1")->tail), "c1");
    bag_free(b);
    graph_free(g);
    graph_free(h);
}

/* The n-th allocation fails: an error or success, and no leak. */
static void running_out_of_memory_is_reported(void **s)
{
    (void)s;
    bool done = false;
    for (long n = 1; n < 200 && !done; n++) {
        struct err e = { 0 };
        struct graph *g = NULL;
        mem_fail_after(n);
        enum status status = model_make("tfc", NULL, &g, &e);
        mem_fail_after(0);
        done = status == STATUS_OK;
        if (!done) {
            assert_int_equal(status, STATUS_MEM);
            assert_null(g);
        }
        graph_free(g);
    }
    assert_true(done);
}

static void check_digest(const char *text, size_t step, const char *want)
{
    char got[65];
    struct sha256 h;
    size_t n = strlen(text);
    sha256_init(&h);
    for (size_t i = 0; i < n; i += step)
        sha256_add(&h, text + i, n - i < step ? n - i : step);
    sha256_hex(&h, got);
    assert_string_equal(got, want);
}

/* FIPS 180-4's examples, and lengths around the padding's edges. */
/* Folding batch norm needs a bias where there was none. */
static void a_layer_can_be_given_a_bias(void **s)
{
    (void)s;
    struct graph *g = NULL;
    struct rng *r = rng_new(3, RNG_INIT);
    assert_int_equal(model_make("tfc", r, &g, NULL), STATUS_OK);
    int fc1 = graph_find(g, "fc1"), before = g->n_param;
    int w = graph_param_find(g, "fc2.weight");
    real kept = g->param[w].value[17];
    struct quantizer *q = (struct quantizer *)&kept;
    g->point[graph_point_find(g, "fc2.w")].q = q;
    assert_int_equal(graph_add_bias(g, fc1, NULL), STATUS_OK);
    assert_int_equal(g->n_param, before + 1);
    int b = graph_param_find(g, "fc1.bias");
    assert_true(b >= 0 && b < g->n_learned);
    assert_int_equal(g->node[fc1].param[1], b);
    assert_int_equal(g->param[b].count, 64);
    assert_true(g->param[b].value[63] == 0);
    assert_true(g->param[graph_param_find(g, "fc2.weight")].value[17] == kept);
    assert_ptr_equal(g->point[graph_point_find(g, "fc2.w")].q, q);
    assert_true(graph_point_find(g, "fc1.b") >= 0);
    /* Once more changes nothing; a layer without weights has none. */
    assert_int_equal(graph_add_bias(g, fc1, NULL), STATUS_OK);
    assert_int_equal(g->n_param, before + 1);
    int relu = graph_find(g, "relu0");
    assert_int_equal(graph_add_bias(g, relu, NULL), STATUS_ARG);
    graph_free(g);
    rng_free(r);
}

static void sha256_gives_the_published_digests(void **s)
{
    (void)s;
    check_digest("", 1, "e3b0c44298fc1c149afbf4c8996fb924"
                        "27ae41e4649b934ca495991b7852b855");
    check_digest("abc", 1, "ba7816bf8f01cfea414140de5dae2223"
                           "b00361a396177a9cb410ff61f20015ad");
    const char *two = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnop"
                      "nopq";
    for (size_t step = 1; step < 57; step += 5)
        check_digest(two, step, "248d6a61d20638b8e5c026930c3e6039"
                                "a33ce45964ff2167f6ecedd419db06c1");
    char a[200] = { 0 };
    memset(a, 'a', 64);
    check_digest(a, 3, "ffe054fe7ae0cb6dc65c3af9b61d5209"
                       "f439851db43d0ba5997337df154668eb");
    memset(a, 'a', 55);
    a[55] = '\0';
    check_digest(a, 64, "9f4390f8d30c2dd92ec9f095b65e2b9a"
                        "e9b0a925a5258e241c9f1e910f734318");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(graph_add_checks_shapes_at_once),
        cmocka_unit_test(finished_graphs_take_no_more_layers),
        cmocka_unit_test(parameters_lie_learned_first_in_one_block),
        cmocka_unit_test(initial_values_are_torch_s),
        cmocka_unit_test(seeds_give_initial_values_of_their_own),
        cmocka_unit_test(default_groups_end_with_the_activation),
        cmocka_unit_test(values_read_twice_are_not_fused_over),
        cmocka_unit_test(points_follow_the_groups),
        cmocka_unit_test(unfused_layers_have_outputs_of_their_own),
        cmocka_unit_test(chains_are_fused_as_told),
        cmocka_unit_test(impossible_chains_are_refused),
        cmocka_unit_test(set_quantizers_hold_the_groups),
        cmocka_unit_test(readers_count_every_use),
        cmocka_unit_test(batches_replace_the_first_axis),
        cmocka_unit_test(saved_graphs_come_back),
        cmocka_unit_test(graph_text_in_a_bag_builds_the_graph),
        cmocka_unit_test(wrong_tensors_change_nothing),
        cmocka_unit_test(wrong_flags_change_nothing),
        cmocka_unit_test(a_bag_without_flags_leaves_the_groups),
        cmocka_unit_test(running_out_of_memory_is_reported),
        cmocka_unit_test(a_layer_can_be_given_a_bias),
        cmocka_unit_test(sha256_gives_the_published_digests),
    };
    gsl_set_error_handler_off();
    return cmocka_run_group_tests_name("nn_graph", tests, NULL, NULL);
}

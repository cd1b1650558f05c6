/* Points: which quantizer goes where, saving, snapshots, folding.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/test_main.h"

#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "common/assert_near.h"
#include "quant/assign.h"

static const char net_text[] =
    "model tiny loss=ce\n"
    "x      input 2x6x6\n"
    "conv1  conv2d out=4 kernel=3 pad=1 bias=0\n"
    "bn1    batch_norm\n"
    "relu1  relu\n"
    "pool1  max_pool kernel=2\n"
    "conv2  conv2d out=4 kernel=1\n"
    "add1   add < conv2 pool1\n"
    "relu2  relu\n"
    "flat   flatten\n"
    "fc     dense out=3\n";

static struct graph *net(void)
{
    struct rng *r = rng_new(5, RNG_INIT);
    struct graph *g;
    struct err e = {0};

    if (graph_parse(net_text, &g, &e) != STATUS_OK ||
        graph_finish(g, r, &e) != STATUS_OK)
        fail_msg("%s", e.text);
    rng_free(r);
    return g;
}

static void net_free(struct graph *g)
{
    graph_drop_quantizers(g);
    graph_free(g);
}

static void assign(struct graph *g, const char *name, int weight, int act)
{
    struct assign_opts o = {
        .config = qconfig_find(name),
        .weight_bits = weight,
        .activation_bits = act,
        .input = true,
    };
    struct err e = {0};

    assert_non_null(o.config);
    if (assign_qconfig(g, &o, &e) != STATUS_OK)
        fail_msg("%s", e.text);
}

static const struct quantizer *at(const struct graph *g, const char *name)
{
    int point = graph_point_find(g, name);

    if (point < 0)
        fail_msg("no point %s", name);
    return g->point[point].q;
}

static void assert_spec(const struct graph *g, const char *name,
                        const char *wanted)
{
    struct str out = {0};

    assert_non_null(at(g, name));
    qspec_print(&at(g, name)->spec, &out);
    assert_string_equal(str_text(&out), wanted);
    str_fini(&out);
}

static void fused_groups_have_one_quantizer_after_the_last(void **state)
{
    static const char *const wanted[] = {
        "x.out", "conv1.w", "conv1.out", "conv2.w", "conv2.out", "add1.out",
        "fc.w", "fc.out",
    };
    struct graph *g = net();
    int count = 0;

    (void)state;
    assign(g, "qnnpack", 0, 0);
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        assert_non_null(at(g, wanted[i]));
    assert_ptr_equal(at(g, "relu1.out"), at(g, "conv1.out"));
    assert_ptr_equal(at(g, "relu2.out"), at(g, "add1.out"));
    assert_null(at(g, "pool1.out"));
    assert_null(at(g, "flat.out"));
    for (int i = 0; i < g->n_point; i++)
        count += g->point[i].q != NULL;
    assert_int_equal(count, 8);
    net_free(g);
}

static void fbgemm_is_what_torch_sets(void **state)
{
    struct graph *g = net();

    (void)state;
    assign(g, "fbgemm", 0, 0);
    assert_spec(g, "conv1.w", "affine:8,channel,rule=fused,obs=ema");
    assert_spec(g, "conv1.out",
                "affine:8,unsigned,asym,reduce,rule=fused,obs=ema");
    assert_int_equal(at(g, "conv1.w")->channels, 4);
    assert_int_equal(at(g, "fc.w")->channels, 3);
    assert_int_equal(at(g, "conv1.out")->channels, 1);
    assert_int_equal(at(g, "conv1.out")->hi_code, 127);
    assert_int_equal(at(g, "conv1.out")->n_elem, 4 * 6 * 6);
    net_free(g);
}

static void rectified_outputs_may_have_a_spec_of_their_own(void **state)
{
    struct graph *g = net();

    (void)state;
    assign(g, "qkeras", 0, 6);
    assert_string_equal(at(g, "conv1.out")->spec.kind->name,
                        "quantized_relu");
    assert_string_equal(at(g, "add1.out")->spec.kind->name,
                        "quantized_relu");
    assert_string_equal(at(g, "conv2.out")->spec.kind->name,
                        "quantized_bits");
    assert_int_equal(at(g, "conv1.out")->spec.bits, 6);
    assign(g, "brevitas", 0, 0);
    assert_false(at(g, "conv1.out")->spec.is_signed);
    assert_true(at(g, "fc.out")->spec.is_signed);
    net_free(g);
}

static void other_widths_drop_the_reduced_range(void **state)
{
    struct graph *g = net();

    (void)state;
    assign(g, "fbgemm", 4, 4);
    assert_spec(g, "conv1.w", "affine:4,channel,rule=fused,obs=ema");
    assert_spec(g, "x.out", "affine:4,unsigned,asym,rule=fused,obs=ema");
    assert_int_equal(at(g, "conv1.w")->lo_code, -8);
    assert_int_equal(at(g, "x.out")->hi_code, 15);
    net_free(g);
}

static void every_qconfig_can_be_assigned(void **state)
{
    (void)state;
    for (int i = 0; i < qconfig_count; i++) {
        struct graph *g = net();
        int fold = 0;

        assign(g, qconfig_table[i].name, 0, 0);
        assert_non_null(at(g, "conv1.w"));
        assert_non_null(qconfig_table[i].source);
        while (fold < FOLD_COUNT &&
               strcmp(bn_fold_name[fold], qconfig_table[i].fold) != 0)
            fold++;
        assert_true(fold < FOLD_COUNT);
        net_free(g);
    }
}

static void assignment_to_some_layers_leaves_the_others(void **state)
{
    struct graph *g = net();
    int node = graph_find(g, "fc");
    struct assign_opts o = {
        .config = qconfig_find("qnnpack"),
        .node = &node,
        .n_node = 1,
        .input = true,
    };
    struct err e;

    (void)state;
    assert_int_equal(assign_qconfig(g, &o, &e), STATUS_OK);
    assert_non_null(at(g, "fc.w"));
    assert_non_null(at(g, "fc.out"));
    assert_null(at(g, "conv1.w"));
    assert_null(at(g, "x.out"));
    net_free(g);
}

static void failed_assignment_changes_nothing(void **state)
{
    static const struct qconfig bad = {
        .name = "bad",
        .weight = "affine:4",
        .activation = "affine:8,group=3",
    };
    struct assign_opts o = {.config = &bad};
    struct graph *g = net();
    const struct quantizer *before;
    struct err e = {0};

    (void)state;
    assign(g, "fbgemm", 0, 0);
    before = at(g, "conv1.w");
    assert_int_equal(assign_qconfig(g, &o, &e), STATUS_ARG);
    assert_non_null(strstr(e.text, "groups are for weights"));
    assert_ptr_equal(at(g, "conv1.w"), before);
    net_free(g);
}

static enum status set_point(struct graph *g, const char *name,
                             const char *text, struct err *e)
{
    struct qspec s;

    TRY(qspec_parse(text, NULL, &s, e));
    return point_set(g, graph_point_find(g, name), &s, e);
}

static void group_must_divide_the_weights_of_a_channel(void **state)
{
    struct graph *g = net();
    struct err e = {0};

    (void)state;
    assert_int_equal(set_point(g, "conv1.w", "affine:4,group=6", &e),
                     STATUS_OK);
    assert_int_equal(at(g, "conv1.w")->channels, 12);
    assert_int_equal(set_point(g, "conv1.w", "affine:4,group=4", &e),
                     STATUS_ARG);
    assert_non_null(strstr(e.text, "conv1.w"));
    assert_non_null(strstr(e.text, "does not divide the 18 weights"));
    assert_int_equal(at(g, "conv1.w")->channels, 12);
    net_free(g);
}

static void a_new_spec_keeps_the_flags(void **state)
{
    struct graph *g = net();
    struct err e = {0};
    int point = graph_point_find(g, "fc.w");

    (void)state;
    assert_int_equal(set_point(g, "fc.w", "affine:4", &e), STATUS_OK);
    assert_false(g->point[point].q->learn);
    g->point[point].q->fake = false;
    g->point[point].q->observe = false;
    assert_int_equal(set_point(g, "fc.w", "lsq:3", &e), STATUS_OK);
    assert_false(g->point[point].q->fake);
    assert_false(g->point[point].q->observe);
    assert_true(g->point[point].q->learn);
    g->point[point].q->learn = false;
    assert_int_equal(set_point(g, "fc.w", "lsq:2", &e), STATUS_OK);
    assert_false(g->point[point].q->learn);
    assert_int_equal(point_set(g, point, NULL, &e), STATUS_OK);
    assert_null(g->point[point].q);
    net_free(g);
}

static void observe_weights(struct graph *g)
{
    struct err e;

    for (int i = 0; i < g->n_point; i++) {
        struct quantizer *q = g->point[i].q;
        struct shape shape;
        int axis, param;

        if (!q || g->point[i].kind != POINT_WEIGHT)
            continue;
        param = g->node[g->point[i].node].param[0];
        point_shape(g, i, &shape, &axis);
        assert_int_equal(quantizer_observe(q, g->param[param].value,
                                           quantizer_view(q, &shape, axis),
                                           &e), STATUS_OK);
    }
}

/* DoReFa finds its range in every forward pass: none can be out of date. */
static void only_a_range_that_is_kept_gets_stale(void **state)
{
    struct graph *g = net();
    struct err e = {0};

    (void)state;
    assert_int_equal(set_point(g, "fc.w", "affine:4", &e), STATUS_OK);
    observe_weights(g);
    assert_true(at(g, "fc.w")->ready);
    assert_int_equal(set_point(g, "fc.w", "affine:3", &e), STATUS_OK);
    assert_true(at(g, "fc.w")->stale);
    observe_weights(g);
    assert_int_equal(set_point(g, "fc.w", "dorefa:3", &e), STATUS_OK);
    assert_false(at(g, "fc.w")->stale);
    net_free(g);
}

static void saved_quantizers_come_back_to_their_points(void **state)
{
    struct graph *g = net(), *h = net();
    struct bag *b = bag_new();
    struct err e = {0};

    (void)state;
    assign(g, "onednn", 4, 8);
    observe_weights(g);
    assert_int_equal(graph_save_quant(g, b, &e), STATUS_OK);
    if (graph_load_quant(h, b, &e) != STATUS_OK)
        fail_msg("%s", e.text);
    for (int i = 0; i < g->n_point; i++) {
        const struct quantizer *p = g->point[i].q, *q = h->point[i].q;

        assert_int_equal(p != NULL, q != NULL);
        if (!p)
            continue;
        assert_true(qspec_equal(&p->spec, &q->spec));
        assert_memory_equal(p->state, q->state,
                            (size_t)p->n_state * sizeof(real));
    }
    bag_free(b);
    net_free(g);
    net_free(h);
}

static void quantizers_of_another_net_are_refused(void **state)
{
    struct graph *g = net(), *h;
    struct bag *b = bag_new();
    struct err e = {0};

    (void)state;
    assign(g, "onednn", 0, 0);
    assert_int_equal(graph_save_quant(g, b, &e), STATUS_OK);
    assert_int_equal(graph_parse("model other\nx input 2x6x6\n"
                                 "conv1 conv2d out=5 kernel=3\n", &h, &e),
                     STATUS_OK);
    assert_int_equal(graph_finish(h, NULL, &e), STATUS_OK);
    assert_int_equal(graph_load_quant(h, b, &e), STATUS_FORMAT);
    for (int i = 0; i < h->n_point; i++)
        assert_null(h->point[i].q);
    bag_free(b);
    net_free(g);
    net_free(h);
}

static void snapshot_puts_statistics_and_ranges_back(void **state)
{
    struct graph *g = net();
    size_t bytes;
    void *keep;
    int mean;
    real scale;

    (void)state;
    assign(g, "fbgemm", 0, 0);
    observe_weights(g);
    mean = graph_param_find(g, "bn1.running_mean");
    assert_true(mean >= 0);
    scale = at(g, "fc.w")->scale[0];
    bytes = graph_state_bytes(g);
    keep = mem_alloc(bytes, 1);
    assert_non_null(keep);
    graph_state_get(g, keep);
    g->param[mean].value[1] = 7;
    for (int i = 0; i < g->n_point; i++)
        if (g->point[i].q) {
            g->point[i].q->scale[0] = 99;
            g->point[i].q->steps = 5;
            g->point[i].q->ready = true;
        }
    graph_state_set(g, keep);
    assert_near((double)g->param[mean].value[1], 0, 0, 0);
    assert_near((double)at(g, "fc.w")->scale[0], (double)scale, 0, 0);
    assert_int_equal(at(g, "fc.w")->steps, 0);
    assert_false(at(g, "fc.out")->ready);
    mem_free(keep);
    net_free(g);
}

/* W' = W * gamma / sqrt(var + eps), b' = (0 - mean) * that + beta. */
static void folded_layer_has_the_merged_weights_and_a_bias(void **state)
{
    struct graph *g = net();
    int conv = graph_find(g, "conv1"), bn = graph_find(g, "bn1");
    double factor[4], w0[4], eps = node_attr(&g->node[bn], "eps");
    struct err e = {0};

    (void)state;
    for (int c = 0; c < 4; c++) {
        g->param[g->node[bn].param[0]].value[c] = (real)(0.5 + c);
        g->param[g->node[bn].param[1]].value[c] = (real)(0.1 * c);
        g->param[g->node[bn].state[0]].value[c] = (real)(c - 2);
        g->param[g->node[bn].state[1]].value[c] = (real)(1 + c);
        factor[c] = (0.5 + c) / sqrt(1 + c + eps);
        w0[c] = (double)g->param[g->node[conv].param[0]].value[c * 18 + 3];
    }
    if (bn_fold_layer(g, conv, &e) != STATUS_OK)
        fail_msg("%s", e.text);
    assert_true(g->node[bn].bn_folded);
    assert_true(g->node[conv].fold_head);
    for (int c = 0; c < 4; c++) {
        const real *w = g->param[g->node[conv].param[0]].value;
        const real *b = g->param[g->node[conv].param[1]].value;

        assert_near((double)w[c * 18 + 3], w0[c] * factor[c], 1e-6, 0);
        assert_near((double)b[c], (2 - c) * factor[c] + 0.1 * c, 1e-6,
                    1e-7);
    }
    assert_int_equal(bn_fold_layer(g, conv, &e), STATUS_ARG);
    assert_non_null(strstr(e.text, "folded already"));
    net_free(g);
}

static void layers_without_batch_norm_cannot_be_folded(void **state)
{
    struct graph *g = net();
    struct err e = {0};

    (void)state;
    assert_int_equal(bn_fold_layer(g, graph_find(g, "fc"), &e), STATUS_ARG);
    assert_non_null(strstr(e.text, "no batch norm follows 'fc'"));
    assert_int_equal(bn_fold_layer(g, graph_find(g, "relu1"), &e),
                     STATUS_ARG);
    assert_non_null(strstr(e.text, "has no weights"));
    net_free(g);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(fused_groups_have_one_quantizer_after_the_last),
    cmocka_unit_test(fbgemm_is_what_torch_sets),
    cmocka_unit_test(rectified_outputs_may_have_a_spec_of_their_own),
    cmocka_unit_test(other_widths_drop_the_reduced_range),
    cmocka_unit_test(every_qconfig_can_be_assigned),
    cmocka_unit_test(assignment_to_some_layers_leaves_the_others),
    cmocka_unit_test(failed_assignment_changes_nothing),
    cmocka_unit_test(group_must_divide_the_weights_of_a_channel),
    cmocka_unit_test(a_new_spec_keeps_the_flags),
    cmocka_unit_test(only_a_range_that_is_kept_gets_stale),
    cmocka_unit_test(saved_quantizers_come_back_to_their_points),
    cmocka_unit_test(quantizers_of_another_net_are_refused),
    cmocka_unit_test(snapshot_puts_statistics_and_ranges_back),
    cmocka_unit_test(folded_layer_has_the_merged_weights_and_a_bias),
    cmocka_unit_test(layers_without_batch_norm_cannot_be_folded),
};

TEST_MAIN("quant_points", tests)

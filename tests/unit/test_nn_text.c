/* The text form of graphs, good and hostile, and the built-in models.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/test_main.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/sha256.h"
#include "nn/graph.h"

/* What torch counts for the same nets, and the digest of the lines
 * "LAYER SHAPE PARAMETERS MACS\n" of all layers but the input, of which the
 * first seven were made from torch's modules. */
static const struct model_facts {
    const char *name;
    int64_t params, macs;
    const char *layers;
} facts[] = {
    { .name = "lenet5", .params = 61706, .macs = 416520,
      .layers = "3f11b34d29bd98980a611b30c1bd316e"
                "db1ab3efbe5c018573e1563a820e457d" },
    { .name = "jet", .params = 4389, .macs = 4256,
      .layers = "0f148d94b3273f746cb30bc9b0c82ae0"
                "6f1600b5c777f85a064be775a2f7fd63" },
    { .name = "tfc", .params = 59402, .macs = 59008,
      .layers = "4a764fe53ec035bf819df983ff6265f7"
                "74a561465aaf03b4e532efc5542b8e9b" },
    { .name = "resnet8", .params = 77946, .macs = 12501632,
      .layers = "942a2c7ff1f4ee3a24bc57fee3182576"
                "4b984912e61c9696f37c535bb7f8352b" },
    { .name = "resnet20", .params = 272474, .macs = 40813184,
      .layers = "939b25417e1143f1f547575f9cc8c947"
                "a1e687f76e8d2fd826839161e5328ac8" },
    { .name = "mobilenet", .params = 590410, .macs = 26324224,
      .layers = "80ee1d3adbdd5b19e7d2863aa3b18cb9"
                "9ac99d264032a1ac2540339129cc9e30" },
    { .name = "ksum", .params = 37825, .macs = 2150464,
      .layers = "771d6e1fd4005c44735a32e66b9080f2"
                "aefacf36c3850a89aab8d9051fe7952d" },
    /* By hand: 784*128+128 + 128*64+64 + 64*10+10. */
    { .name = "mlp", .params = 109386, .macs = 109184 },
    /* MLPerf Tiny's without bias before a batch norm:
     * 2560+128 + 4 * (576+128 + 4096+128) + 64*12+12. */
    { .name = "dscnn", .params = 23180, .macs = 2656768 },
    /* 2*640*128 + 6*128*128 + 2*128*8 weights, 2*(8*128+8) of batch norm,
     * 640 of bias. */
    { .name = "autoencoder", .params = 266896, .macs = 264192 },
};

#define FACTS (sizeof facts / sizeof *facts)

static struct graph *make_model(const char *name)
{
    struct err e = { 0 };
    struct graph *g = NULL;
    if (model_make(name, NULL, &g, &e) != STATUS_OK)
        fail_msg("%s: %s", name, e.text);
    return g;
}

static int64_t layer_params(const struct graph *g, int node)
{
    int64_t sum = 0;
    for (int i = 0; i < g->n_learned; i++)
        if (node < 0 || g->param[i].node == node)
            sum += g->param[i].count;
    return sum;
}

static void layers_digest(const struct graph *g, char out[65])
{
    struct sha256 h;
    struct str line = { 0 };
    sha256_init(&h);
    for (int i = 1; i < g->n_node; i++) {
        const struct node *n = &g->node[i];
        struct shape sample = { .rank = n->shape.rank - 1 };
        memcpy(sample.dim, n->shape.dim + 1,
               (size_t)sample.rank * sizeof *sample.dim);
        str_clear(&line);
        str_printf(&line, "%s ", n->name);
        shape_add(&line, &sample);
        str_printf(&line, " %lld %lld\n", (long long)layer_params(g, i),
                   (long long)node_macs(g, n));
        sha256_add(&h, str_text(&line), line.len);
    }
    sha256_hex(&h, out);
    str_fini(&line);
}

static void models_are_those_of_the_benchmarks(void **s)
{
    (void)s;
    assert_int_equal(model_count, FACTS);
    for (size_t i = 0; i < FACTS; i++) {
        char digest[65];
        struct graph *g = make_model(facts[i].name);
        layers_digest(g, digest);
        assert_string_equal(g->name, facts[i].name);
        assert_int_equal(layer_params(g, -1), facts[i].params);
        assert_int_equal(graph_macs(g), facts[i].macs);
        if (facts[i].layers)
            assert_string_equal(digest, facts[i].layers);
        graph_free(g);
    }
}

static void models_have_an_input_named_so_and_a_known_loss(void **s)
{
    (void)s;
    for (int i = 0; i < model_count; i++) {
        struct graph *g = make_model(model_table[i].name);
        assert_string_equal(g->node[0].name, "input");
        assert_true(strcmp(g->loss, "ce") == 0 ||
                    strcmp(g->loss, "mse") == 0);
        assert_true(graph_point_find(g, "input.out") >= 0);
        assert_true(model_table[i].help && model_table[i].data &&
                    model_table[i].optimizer && model_table[i].lr > 0);
        graph_free(g);
    }
}

static void misspelt_models_get_a_suggestion(void **s)
{
    (void)s;
    struct err e = { 0 };
    struct graph *g;
    assert_int_equal(model_make("lenet", NULL, &g, &e), STATUS_NOTFOUND);
    assert_null(g);
    assert_string_equal(e.text, "no built-in model 'lenet'; did you mean "
                                "'lenet5'?");
}

/* Printing, reading and printing again gives the same text. */
static void check_round_trip(const struct graph *g)
{
    struct err e = { 0 };
    struct str first = { 0 }, second = { 0 };
    struct graph *h = NULL;
    graph_print(g, &first);
    if (graph_parse(str_text(&first), &h, &e) != STATUS_OK)
        fail_msg("%s in\n%s", e.text, str_text(&first));
    graph_print(h, &second);
    assert_string_equal(str_text(&first), str_text(&second));
    assert_int_equal(g->n_node, h->n_node);
    for (int i = 0; i < g->n_node; i++) {
        const struct node *a = &g->node[i], *b = &h->node[i];
        assert_ptr_equal(a->op, b->op);
        assert_true(shape_equal(&a->shape, &b->shape));
        assert_memory_equal(a->in, b->in, (size_t)a->n_in * sizeof *a->in);
        assert_memory_equal(a->attr, b->attr,
                            (size_t)op_attr_count(a->op) * sizeof *a->attr);
    }
    graph_free(h);
    str_fini(&first);
    str_fini(&second);
}

static void models_survive_the_text_form(void **s)
{
    (void)s;
    for (int i = 0; i < model_count; i++) {
        struct graph *g = make_model(model_table[i].name);
        check_round_trip(g);
        graph_free(g);
    }
}

static struct graph *parse(const char *text)
{
    struct err e = { 0 };
    struct graph *g = NULL;
    if (graph_parse(text, &g, &e) != STATUS_OK)
        fail_msg("%s", e.text);
    return g;
}

static void every_kind_of_attribute_survives(void **s)
{
    (void)s;
    struct graph *g = parse(
        "model \"a model, with\\\\ \\\"quotes\\\"\" loss=mse\n"
        "\"odd name\" input 4x8x9\n"
        "p max_pool kernel=3 stride_h=2 stride_w=1 pad_left=1 ceil_mode=1\n"
        "c conv2d out=4 kernel_h=1 kernel_w=3 pad_left=2 bias=0 groups=2\n"
        "l leaky_relu alpha=0.30000000000000004\n"
        "b batch_norm eps=0.001 momentum=0.01\n"
        "t transpose perm=0,2,3,1\n"
        "r reduce_mean axes=1,3 keepdims=1\n"
        "v reshape -1x2\n"
        "k concat axis=-1 < v v\n"
        "q quantize scale=1e-3 zero_point=-3 lo=-128 hi=127\n");
    assert_string_equal(g->name, "a model, with\\ \"quotes\"");
    assert_string_equal(g->node[0].name, "odd name");
    check_round_trip(g);
    graph_free(g);
}

static void text_is_written_as_people_write_it(void **s)
{
    (void)s;
    struct str text = { 0 };
    struct graph *g = parse("model t\nx input 3x8x8   # the data\n\n"
                            "c conv2d out=10 kernel=3 pad_top=1 pad_left=1 "
                            "pad_bottom=1 pad_right=1 stride=1 < x\r\n"
                            "\"a b\" relu6\nlonger reduce_sum axes=2,3\n"
                            "s add < longer longer\n");
    graph_print(g, &text);
    assert_string_equal(str_text(&text),
                        "model t loss=ce\n"
                        "x       input 3x8x8\n"
                        "c       conv2d out=10 kernel=3 pad=1\n"
                        "\"a b\"   relu6\n"
                        "longer  reduce_sum axes=2,3\n"
                        "s       add < longer longer\n");
    str_fini(&text);
    graph_free(g);
}

static const struct bad_text {
    const char *text, *want;
} bad_texts[] = {
    { .text = "", .want = "the text has no line 'model NAME'" },
    { .text = "# nothing\n", .want = "the text has no line 'model NAME'" },
    { .text = "x input 4\n",
      .want = "line 1: wanted 'model NAME' first" },
    { .text = "model\n",
      .want = "line 1: wanted a name of at most 200 bytes after 'model'" },
    { .text = "model t what\n",
      .want = "line 1: wanted loss= or nothing after the model's name" },
    { .text = "model t loss=C+E\n",
      .want = "line 1: the loss is not a lower-case word" },
    { .text = "model t loss=ce y\n",
      .want = "line 1: wanted nothing after loss=" },
    { .text = "model t\nx\n", .want = "line 2: layer 'x' has no operator" },
    { .text = "model t\n\n# c\nx inptu 4\n",
      .want = "line 4: no operator 'inptu'; did you mean 'input'?" },
    { .text = "model t\nx input 4\ny transformer\n",
      .want = "line 3: no operator 'transformer'" },
    { .text = "model t\nx input\n",
      .want = "line 2: layer 'x': an input needs a shape, e.g. 1x28x28" },
    { .text = "model t\nx input 4x\n", .want = "line 2: '' is not" },
    { .text = "model t\nx input 0x4\n",
      .want = "line 2: 0 cannot stand in shape" },
    { .text = "model t\nx input -3\n",
      .want = "line 2: layer 'x': dim1 is -3, wanted 1 to" },
    { .text = "model t\nx input 1x2x3x4x5x6x7x8\n",
      .want = "line 2: shape has more than 7 items" },
    { .text = "model t\nx input 1000000x1000000x1000000\n",
      .want = "line 2: layer 'x': " },
    { .text = "model t\nx input 4\nx relu\n",
      .want = "line 3: there are two layers named 'x'" },
    { .text = "model t\ny relu\n",
      .want = "line 2: layer 'y': relu takes 1 input, found 0" },
    { .text = "model t\nx input 4\ny add\n",
      .want = "line 3: layer 'y': add takes 2 inputs, found 1" },
    { .text = "model t\nxin input 4\ny relu < xni\n",
      .want = "line 3: layer 'y': no layer 'xni' stands before it; did you "
              "mean 'xin'?" },
    { .text = "model t\nx input 4\ny relu < y\n",
      .want = "line 3: layer 'y': no layer 'y' stands before it" },
    { .text = "model t\nx input 4\ny relu < x < x\n",
      .want = "line 3: a second '<'" },
    { .text = "model t\nx input 4\ny concat < x x x x x x x x x\n",
      .want = "line 3: more than 8 inputs" },
    { .text = "model t\nx input 4\ny relu 3\n",
      .want = "line 3: found '3', wanted name=value or '<' and inputs" },
    { .text = "model t\nx input 4\ny dense otu=3\n",
      .want = "line 3: layer 'y': dense has no attribute 'otu'; did you "
              "mean 'out'?" },
    { .text = "model t\nx input 4\ny dense bias=0\n",
      .want = "line 3: layer 'y': dense needs out= (output features)" },
    { .text = "model t\nx input 4\ny dense out=abc\n",
      .want = "line 3: out: 'abc' is not a number" },
    { .text = "model t\nx input 4\ny dense out=nan\n",
      .want = "line 3: layer 'y': out is nan, wanted 1 to" },
    { .text = "model t\nx input 4\ny dense out=2.5\n",
      .want = "line 3: layer 'y': out is 2.5, wanted a whole number" },
    { .text = "model t\nx input 4\ny dense out=2 out=3\n",
      .want = "line 3: out is given twice" },
    { .text = "model t\nx input 4\ny dense out=2 bias=2\n",
      .want = "line 3: layer 'y': bias is 2, wanted 0 to 1" },
    { .text = "model t\nx input 1x4x4\ny conv2d out=2 kernel=5\n",
      .want = "line 3: layer 'y': the input with its pads, 4x4, is smaller "
              "than the dilated kernel, 5x5" },
    { .text = "model t\nx input 4\ny conv2d out=2 kernel=5\n",
      .want = "line 3: layer 'y': found 4, wanted channels x height x "
              "width" },
    { .text = "model t\nx input 3x4x4\ny conv2d out=4 kernel=1 groups=2\n",
      .want = "line 3: layer 'y': 3 input channels do not divide into 2 "
              "groups" },
    { .text = "model t\nx input 2x4\ny reduce_sum axes=0\n",
      .want = "line 3: axis 0 in axes, wanted 1 to 7" },
    { .text = "model t\nx input 2x4\ny reduce_sum axes=5\n",
      .want = "line 3: layer 'y': found 2x4, wanted an axis for each of "
              "axes=" },
    { .text = "model t\nx input 2x4\ny reduce_sum\n",
      .want = "line 3: layer 'y': reduce_sum needs axes= (axes that are "
              "summed; the batch is 0 and stays)" },
    { .text = "model t\nx input 2x4\ny transpose perm=0,1,1\n",
      .want = "line 3: layer 'y': perm must name each axis 0 to 2 once" },
    { .text = "model t\nx input 2x4\ny transpose perm=0,2,1,3\n",
      .want = "line 3: layer 'y': perm has more than 3 axes" },
    { .text = "model t\nx input 2x4\ny reshape 3x-1\n",
      .want = "line 3: layer 'y': 8 numbers do not fill the shape" },
    { .text = "model t\nx input 2x4\ny softmax axis=0\n",
      .want = "line 3: layer 'y': axis 0 is the batch" },
    { .text = "model t\nx input 2x4\nz input 3x4\ny add < x z\n",
      .want = "line 4: layer 'y': found 2x4 and 3x4, wanted equal shapes" },
    { .text = "model t\nx input 2x4\ny clip lo=2 hi=1\n",
      .want = "line 3: layer 'y': lo 2 is above hi 1" },
    { .text = "model t\nx input 1x4x4\ny max_pool kernel=2 pad=2\n",
      .want = "line 3: layer 'y': pads 2 and 2, wanted less than the "
              "kernel, 2" },
    { .text = "model t\n\"x input 4\n",
      .want = "line 2: a quote is not closed" },
    { .text = "model t\n\"x\"y input 4\n",
      .want = "line 2: found 'y' after a quote, wanted a blank" },
    { .text = "model t\nx<y input 4\n",
      .want = "line 2: found < inside a word, wanted a blank before it" },
    { .text = "model t\n< input 4\n",
      .want = "line 2: wanted a layer's name" },
    { .text = "model t\n\"\" input 4\n",
      .want = "line 2: a layer's name is empty" },
    { .text = "model t\n\"\033[2J\" input 4\n",
      .want = "line 2: the layer's name '\\x1B[2J' has control characters" },
    { .text = "model t\nx input 4\ny re\033lu\n",
      .want = "line 3: no operator 're\\x1Blu'; did you mean 'relu'?" },
    { .text = "model t\nx input 4\ny dense o\002t=1\n",
      .want = "line 3: layer 'y': dense has no attribute 'o\\x02t'" },
};

static void bad_text_is_refused_with_its_line(void **s)
{
    (void)s;
    for (size_t i = 0; i < sizeof bad_texts / sizeof *bad_texts; i++) {
        struct err e = { 0 };
        struct graph *g;
        assert_int_equal(graph_parse(bad_texts[i].text, &g, &e),
                         STATUS_FORMAT);
        assert_null(g);
        if (strncmp(e.text, bad_texts[i].want,
                    strlen(bad_texts[i].want)) != 0)
            fail_msg("for\n%s\ngot  %s\nwant %s", bad_texts[i].text, e.text,
                     bad_texts[i].want);
    }
}

/* graph_finish's share of the checks. */
static void check_unfinished(const char *text, const char *want)
{
    struct err e = { 0 };
    struct graph *g = parse(text);
    assert_int_equal(graph_finish(g, NULL, &e), STATUS_ARG);
    assert_string_equal(e.text, want);
    assert_false(g->finished);
    graph_free(g);
}

static void incomplete_graphs_are_refused(void **s)
{
    (void)s;
    check_unfinished("model t\n", "the model has no layers");
    check_unfinished("model t\nx input 4\n",
                     "the model ends with its input 'x'");
    check_unfinished("model t\nx input 4\na relu\nb tanh < x\n",
                     "no layer reads 'a', and it is not the last");
}

static void check_refused(const char *text, const char *want)
{
    struct err e = { 0 };
    struct graph *g;
    assert_int_equal(graph_parse(text, &g, &e), STATUS_FORMAT);
    assert_non_null(strstr(e.text, want));
}

static void sizes_are_capped(void **s)
{
    (void)s;
    struct str t = { 0 };
    str_add(&t, "model t\nx input 4\n");
    for (int i = 0; i < 5000; i++)
        str_printf(&t, "n%d relu\n", i);
    check_refused(str_text(&t), "line 4098: layer 'n4095': more than 4096 "
                                "layers");
    str_clear(&t);
    str_add(&t, "model t\n");
    for (int i = 0; i < 300; i++)
        str_char(&t, 'n');
    str_add(&t, " input 4\n");
    check_refused(str_text(&t), "more than 200 bytes");
    str_clear(&t);
    while (t.len <= (size_t)4 << 20)
        str_add(&t, "# a long comment, and many of them, one by one\n");
    check_refused(str_text(&t), "more than 4194304 bytes");
    str_fini(&t);
    check_refused("model t\nx input 40000\na dense out=12000\n"
                  "b dense out=10000\n",
                  "line 4: layer 'b': the parameters would take more than "
                  "2147483648 bytes");
}

/* Any outcome but a crash or a leak. */
static void survive(const char *text)
{
    struct graph *g;
    if (graph_parse(text, &g, NULL) != STATUS_OK)
        return;
    graph_macs(g);
    graph_free(g);
}

static void cut_text_is_survived(void **s)
{
    (void)s;
    struct str t = { 0 };
    struct graph *g = make_model("lenet5");
    graph_print(g, &t);
    graph_free(g);
    for (size_t n = t.len; n > 0; n--) {
        t.text[n] = '\0';
        survive(t.text);
    }
    str_fini(&t);
}

static void garbled_text_is_survived(void **s)
{
    (void)s;
    static const char marks[] = "09=x,-.<\"#\\ \n\tabt\001\377";
    struct str t = { 0 };
    struct rng *rng = rng_new(5, RNG_GENERATE);
    struct graph *g = make_model("tfc");
    graph_print(g, &t);
    graph_free(g);
    for (int round = 0; round < 1500; round++) {
        char *copy = xstrdup(t.text);
        for (int k = 0; k < 1 + round % 4; k++)
            copy[rng_below(rng, t.len)] =
                marks[rng_below(rng, sizeof marks - 1)];
        survive(copy);
        free(copy);
    }
    str_fini(&t);
    rng_free(rng);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_are_those_of_the_benchmarks),
        cmocka_unit_test(models_have_an_input_named_so_and_a_known_loss),
        cmocka_unit_test(misspelt_models_get_a_suggestion),
        cmocka_unit_test(models_survive_the_text_form),
        cmocka_unit_test(every_kind_of_attribute_survives),
        cmocka_unit_test(text_is_written_as_people_write_it),
        cmocka_unit_test(bad_text_is_refused_with_its_line),
        cmocka_unit_test(incomplete_graphs_are_refused),
        cmocka_unit_test(sizes_are_capped),
        cmocka_unit_test(cut_text_is_survived),
        cmocka_unit_test(garbled_text_is_survived),
    };
    gsl_set_error_handler_off();
    return cmocka_run_group_tests_name("nn_text", tests, NULL, NULL);
}

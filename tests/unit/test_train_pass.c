/* Evaluation and calibration with values of earlier passes: what-ifs answer
 * as without, whatever changed: layers, ranges, samples, how many.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/test_main.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "engine/prefix.h"
#include "quant/quantizer.h"
#include "train/trainer.h"

static struct dataset *shapes;    /* 3x32x32, 10 classes */

static int load_data(void **state)
{
    (void)state;
    const char *name = "shapes";
    struct dataset_opts o;
    struct err e;
    dataset_opts_default(&o);
    o.n_train = 90;
    o.n_test = 9;
    o.val_fraction = 50;
    return dataset_load(1, &name, &o, &shapes, &e) == STATUS_OK ? 0 : -1;
}

static int free_data(void **state)
{
    (void)state;
    dataset_free(shapes);
    return 0;
}

static const char text[] =
    "model img loss=ce\n"
    "x input 3x32x32\n"
    "conv1 conv2d out=6 kernel=3 stride=4 pad=1\n"
    "bn1 batch_norm\n"
    "relu1 relu\n"
    "conv2 conv2d out=6 kernel=3 pad=1\n"
    "add1 add < conv2 relu1\n"
    "relu2 relu\n"
    "pool1 global_avg_pool\n"
    "flat1 flatten\n"
    "fc1 dense out=10\n";

struct bench {
    struct graph *graph;
    struct prefix_cache *cache;
    struct train_settings set;
};

static void bench_init(struct bench *b, int backend)
{
    struct err e;
    struct rng *r = rng_new(3, RNG_INIT);
    struct assign_opts a = {.config = qconfig_find("fbgemm"), .input = true};
    if (graph_parse(text, &b->graph, &e) || graph_finish(b->graph, r, &e) ||
        assign_qconfig(b->graph, &a, &e) ||
        prefix_cache_new(16 << 20, &b->cache, &e))
        fail_msg("%s", e.text);
    rng_free(r);
    train_settings_default(&b->set);
    b->set.backend = backend_table[backend].impl;
}

static void bench_fini(struct bench *b)
{
    prefix_cache_free(b->cache);
    graph_drop_quantizers(b->graph);
    graph_free(b->graph);
}

static struct eval_opts opts(const struct bench *b, enum mode mode)
{
    return (struct eval_opts){
        .graph = b->graph, .data = shapes, .split = SPLIT_VAL, .mode = mode,
        .batch = 20, .settings = &b->set,
    };
}

/* Ranges with and without the cache, from the same state: every bit. */
static int calibrate(struct bench *b)
{
    struct err e;
    int reused = -1;
    size_t n = graph_state_bytes(b->graph);
    char *before = mem_alloc(3, n + 1), *want = before + n, *got = want + n;
    struct eval_opts o = opts(b, MODE_FAKE);
    assert_non_null(before);
    graph_state_get(b->graph, before);
    if (calibrate_run(&o, 3, &e))
        fail_msg("%s", e.text);
    graph_state_get(b->graph, want);
    graph_state_set(b->graph, before);
    o.cache = b->cache;
    o.reused = &reused;
    if (calibrate_run(&o, 3, &e))
        fail_msg("%s", e.text);
    graph_state_get(b->graph, got);
    assert_memory_equal(got, want, n);
    mem_free(before);
    return reused;
}

/* Metrics with and without the cache; nodes that were known. */
static int evaluate(const struct bench *b, const struct eval_opts *asked)
{
    struct metrics want, got;
    struct err e;
    int reused = -1;
    struct eval_opts o = *asked;
    memset(&want, 0, sizeof want);
    memset(&got, 0, sizeof got);
    if (eval_run(&o, &want, &e))
        fail_msg("%s", e.text);
    o.cache = b->cache;
    o.reused = &reused;
    if (eval_run(&o, &got, &e))
        fail_msg("%s", e.text);
    assert_int_equal(got.n, want.n);
    assert_true(got.loss == want.loss);
    assert_true(got.acc == want.acc && got.top5 == want.top5);
    return reused;
}

static void set_bits(const struct bench *b, const char *point, int bits)
{
    struct err e;
    int at = graph_point_find(b->graph, point);
    struct qspec s = b->graph->point[at].q->spec;
    qspec_set_bits(&s, bits);
    assert_int_equal(point_set(b->graph, at, &s, &e), STATUS_OK);
}

static void what_ifs_answer_from_their_layer_on(void **state)
{
    (void)state;
    for (int i = 0; i < backend_count; i++) {
        for (int m = 0; m < MODE_COUNT; m++) {
            struct bench b;
            bench_init(&b, i);
            assert_int_equal(calibrate(&b), 0);
            struct eval_opts o = opts(&b, (enum mode)m);
            int all = b.graph->n_node, none = m == MODE_FLOAT ? all : 0;
            assert_int_equal(evaluate(&b, &o), 0);
            assert_int_equal(evaluate(&b, &o), all);
            set_bits(&b, "fc1.w", 2);
            assert_true(evaluate(&b, &o) >= (none ? none : all / 2));
            set_bits(&b, "conv2.w", 3);
            assert_in_range(evaluate(&b, &o), none ? none : 1, all);
            set_bits(&b, "conv1.w", 4);
            assert_in_range(evaluate(&b, &o), none, none ? none : 2);
            b.graph->param[graph_param_find(b.graph, "fc1.bias")]
                .value[0] += 1;
            assert_in_range(evaluate(&b, &o), all / 2, all - 1);
            bench_fini(&b);
        }
    }
}

static void calibration_begins_at_the_layer_that_changed(void **state)
{
    (void)state;
    for (int i = 0; i < backend_count; i++) {
        struct bench b;
        bench_init(&b, i);
        int all = b.graph->n_node;
        assert_int_equal(calibrate(&b), 0);
        assert_int_equal(calibrate(&b), all);
        set_bits(&b, "conv2.w", 3);
        assert_in_range(calibrate(&b), 1, all - 1);
        set_bits(&b, "fc1.out", 5);
        assert_in_range(calibrate(&b), all / 2, all - 1);
        set_bits(&b, "x.out", 5);
        assert_int_equal(calibrate(&b), 0);
        for (int k = 0; k < b.graph->n_point; k++)
            if (b.graph->point[k].q)
                b.graph->point[k].q->observe = k % 2;
        calibrate(&b);
        calibrate(&b);
        bench_fini(&b);
    }
}

/* The first batches of a longer pass are those of a shorter one. */
static void passes_of_any_length_share_their_batches(void **state)
{
    (void)state;
    static const int64_t limits[] = {20, 50, 33, 40, 7, 0};
    struct bench b;
    bench_init(&b, 0);
    calibrate(&b);
    int all = b.graph->n_node;
    struct eval_opts o = opts(&b, MODE_FAKE);
    for (int i = 0; i < 6; i++) {
        o.limit = limits[i];
        evaluate(&b, &o);
        assert_int_equal(evaluate(&b, &o), all);
    }
    struct prefix_cache_info before, after;
    o.limit = 20;
    prefix_cache_look(b.cache, &before);
    assert_int_equal(evaluate(&b, &o), all);
    prefix_cache_look(b.cache, &after);
    assert_int_equal(after.bytes, before.bytes);
    o.split = SPLIT_TRAIN;
    assert_int_equal(evaluate(&b, &o), 0);
    o.batch = 9;
    assert_int_equal(evaluate(&b, &o), 0);
    bench_fini(&b);
}

static void other_samples_are_computed(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 0);
    calibrate(&b);
    struct eval_opts o = opts(&b, MODE_INT);
    int all = b.graph->n_node;
    evaluate(&b, &o);
    assert_int_equal(evaluate(&b, &o), all);
    uint8_t *x = shapes->train.x.data;
    size_t row = (size_t)shape_count(&shapes->sample);
    size_t last = shapes->order[shapes->n_train + shapes->n_val - 1];
    uint8_t was = x[last * row + 5];
    x[last * row + 5] ^= 255;
    assert_int_equal(evaluate(&b, &o), 0);    /* the last batch */
    x[last * row + 5] = was;
    assert_int_equal(evaluate(&b, &o), all);
    float mean = shapes->mean[0];
    shapes->mean[0] += 0.25f;
    assert_int_equal(evaluate(&b, &o), 0);
    shapes->mean[0] = mean;
    assert_int_equal(evaluate(&b, &o), all);
    /* Labels are no part of it. */
    int32_t *y = shapes->train.y.data;
    y[last] = (y[last] + 1) % 10;
    assert_int_equal(evaluate(&b, &o), all);
    y[last] = (y[last] + 9) % 10;
    bench_fini(&b);
}

static void a_read_only_pass_leaves_the_cache_as_it_was(void **state)
{
    (void)state;
    struct bench b;
    struct prefix_cache_info before, after;
    bench_init(&b, 0);
    calibrate(&b);
    struct eval_opts o = opts(&b, MODE_FAKE);
    evaluate(&b, &o);
    prefix_cache_look(b.cache, &before);
    set_bits(&b, "fc1.w", 3);
    o.read_only = true;
    assert_true(evaluate(&b, &o) > 0);
    prefix_cache_look(b.cache, &after);
    assert_int_equal(after.values, before.values);
    assert_int_equal(after.bytes, before.bytes);
    bench_fini(&b);
}

static enum status stop(void *ctx)
{
    int *left = ctx;
    return (*left)-- > 0 ? STATUS_OK : STATUS_STOPPED;
}

static void stopped_passes_spoil_nothing(void **state)
{
    (void)state;
    struct bench b;
    struct err e;
    struct metrics m;
    bench_init(&b, 0);
    calibrate(&b);
    struct eval_opts o = opts(&b, MODE_FAKE);
    for (int i = 0; i < 25; i += 4) {
        int left = i;
        struct tick tick = {stop, &left};
        struct eval_opts stopped = o;
        stopped.tick = &tick;
        stopped.cache = b.cache;
        enum status s = eval_run(&stopped, &m, &e);
        assert_true(s == STATUS_STOPPED || s == STATUS_OK);
        left = i;
        s = calibrate_run(&stopped, 3, &e);
        assert_true(s == STATUS_STOPPED || s == STATUS_OK);
        evaluate(&b, &o);
        set_bits(&b, "conv2.w", 2 + i % 5);
    }
    bench_fini(&b);
}

static void digests_tell_batches_apart(void **state)
{
    (void)state;
    struct batcher b;
    struct err e;
    struct digest seen[50];
    int n = 0;
    assert_int_equal(batcher_init(&b, shapes, SPLIT_VAL, 10, &e), STATUS_OK);
    for (int64_t rows = 1; rows <= 10; rows += 3)
        for (b.position = 0; b.position < 50; b.position += 5)
            seen[n++] = batcher_digest(&b, rows);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < i; k++)
            assert_false(digest_equal(&seen[i], &seen[k]));
    /* Asking moves nothing, and labels come without samples. */
    int32_t y[10], again[10];
    float *x = mem_alloc(10 * 3 * 32 * 32, sizeof *x);
    batcher_rewind(&b);
    struct digest d = batcher_digest(&b, 10);
    assert_int_equal(b.position, 0);
    assert_int_equal(batcher_next(&b, NULL, y, NULL, NULL), 10);
    batcher_rewind(&b);
    assert_int_equal(batcher_next(&b, x, again, NULL, NULL), 10);
    assert_memory_equal(y, again, sizeof y);
    b.position = 0;
    struct digest same = batcher_digest(&b, 10);
    assert_true(digest_equal(&d, &same));
    mem_free(x);
    batcher_fini(&b);
}

int main(void)
{
    gsl_set_error_handler_off();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_ifs_answer_from_their_layer_on),
        cmocka_unit_test(calibration_begins_at_the_layer_that_changed),
        cmocka_unit_test(passes_of_any_length_share_their_batches),
        cmocka_unit_test(other_samples_are_computed),
        cmocka_unit_test(a_read_only_pass_leaves_the_cache_as_it_was),
        cmocka_unit_test(stopped_passes_spoil_nothing),
        cmocka_unit_test(digests_tell_batches_apart),
    };
    return cmocka_run_group_tests_name("train pass", tests, load_data,
                                       free_data);
}

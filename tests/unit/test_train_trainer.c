/* train/: the trainer's promises: nothing half done, nothing forgotten.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/test_main.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "common/assert_near.h"
#include "train/trainer.h"

static const struct backend_row *back_end;
static struct dataset *jets;      /* 16 features, 5 classes */
static struct dataset *shapes;    /* 3x32x32, 10 classes */

static struct dataset *load(const char *name, int64_t n_train, int64_t n_test)
{
    struct dataset_opts o;
    struct dataset *d = NULL;
    struct err e;
    dataset_opts_default(&o);
    o.n_train = n_train;
    o.n_test = n_test;
    if (dataset_load(1, &name, &o, &d, &e) != STATUS_OK)
        print_error("%s\n", e.text);
    return d;
}

static int load_data(void **state)
{
    (void)state;
    jets = load("jets", 222, 70);  /* 200 to train: batches of 64, then 8 */
    shapes = load("shapes", 20, 9);
    return jets && shapes ? 0 : -1;
}

static int free_data(void **state)
{
    (void)state;
    dataset_free(jets);
    dataset_free(shapes);
    return 0;
}

#define DENSE_NET "model net loss=ce\n" \
                  "x input 16\n" \
                  "fc1 dense out=24\n" \
                  "bn1 batch_norm\n" \
                  "relu1 relu\n" \
                  "drop1 dropout p=0.2\n" \
                  "fc2 dense out=5\n"
#define IMAGE_NET "model img loss=ce\n" \
                  "x input 3x32x32\n" \
                  "conv1 conv2d out=4 kernel=3 stride=4 pad=1\n" \
                  "bn1 batch_norm\n" \
                  "relu1 relu\n" \
                  "pool1 global_avg_pool\n" \
                  "flat1 flatten\n" \
                  "fc1 dense out=10\n"

static struct graph *net(const char *text)
{
    struct graph *g = NULL;
    struct err e;
    struct rng *r = rng_new(3, RNG_INIT);
    if (graph_parse(text, &g, &e) != STATUS_OK ||
        graph_finish(g, r, &e) != STATUS_OK)
        fail_msg("%s", e.text);
    rng_free(r);
    return g;
}

static void free_net(struct graph *g)
{
    graph_drop_quantizers(g);
    graph_free(g);
}

/* 4-bit weights and activations everywhere. */
static void quantize(struct graph *g)
{
    struct err e;
    struct assign_opts o = {
        .config = qconfig_find("fbgemm"), .weight_bits = 4,
        .activation_bits = 4, .input = true,
    };
    if (assign_qconfig(g, &o, &e) != STATUS_OK)
        fail_msg("%s", e.text);
}

/* Scales that the optimiser moves, everywhere. */
static void learn_scales(struct graph *g)
{
    static const char *const text[] = { "lsq:4,channel", "lsq:4,unsigned" };
    struct err e;
    for (int i = 0; i < g->n_node; i++) {
        const int point[] = { layer_weight_point(g, i),
                              layer_out_point(g, i) };
        for (int k = 0; k < 2; k++) {
            struct qspec spec;
            if (point[k] < 0)
                continue;
            if (qspec_parse(text[k], NULL, &spec, &e) != STATUS_OK ||
                point_set(g, point[k], &spec, &e) != STATUS_OK)
                fail_msg("%s", e.text);
        }
    }
}

static struct train_settings settings(void)
{
    struct train_settings s;
    train_settings_default(&s);
    s.backend = back_end->impl;
    s.hyper.lr = 0.01;
    return s;
}

static struct trainer *start(struct graph *g, const struct dataset *d,
                             const struct train_settings *s)
{
    struct trainer *t = NULL;
    struct err e;
    if (trainer_new(g, d, s, &t, &e) != STATUS_OK)
        fail_msg("%s", e.text);
    return t;
}

static struct batch_result step(struct trainer *t)
{
    struct batch_result r;
    struct err e;
    if (trainer_step(t, NULL, &r, &e) != STATUS_OK)
        fail_msg("%s", e.text);
    return r;
}

/* Everything that a run has changed, as one bag. */
static struct bag *snapshot(const struct graph *g, const struct trainer *t)
{
    struct bag *b = bag_new();
    struct err e;
    if (graph_save(g, b, &e) != STATUS_OK ||
        graph_save_quant(g, b, &e) != STATUS_OK ||
        trainer_save(t, b, &e) != STATUS_OK)
        fail_msg("%s", e.text);
    return b;
}

static void assert_same(const struct bag *a, const struct bag *b)
{
    assert_int_equal(bag_count(a), bag_count(b));
    for (size_t i = 0; i < bag_count(a); i++) {
        const struct tensor *x = bag_at(a, i);
        const struct tensor *y = bag_get(b, bag_name(a, i));
        if (!y || !shape_equal(&x->shape, &y->shape) || x->type != y->type ||
            memcmp(x->data, y->data, tensor_bytes(x)) != 0)
            fail_msg("%s differs", bag_name(a, i));
    }
    for (size_t i = 0; i < bag_text_count(a); i++)
        assert_string_equal(bag_text_at(a, i),
                            bag_text(b, bag_text_name(a, i)));
}

static void training_lowers_the_loss_and_learns(void **state)
{
    (void)state;
    struct graph *g = net(DENSE_NET);
    struct train_settings s = settings();
    struct trainer *t = start(g, jets, &s);
    double first = step(t).loss, last = 0;
    for (int i = 0; i < 100; i++)
        last = step(t).loss;
    assert_true(last < 0.7 * first);
    struct eval_opts o = {
        .graph = g, .data = jets, .split = SPLIT_TEST, .settings = &s,
    };
    struct metrics m;
    struct err e;
    assert_int_equal(eval_run(&o, &m, &e), STATUS_OK);
    assert_int_equal(m.n, 70);
    assert_true(m.acc > 0.4);
    assert_true(m.top5 == 1.0);
    assert_true(trainer_bytes(t) > 0);
    trainer_free(t);
    free_net(g);
}

static void an_epoch_visits_every_sample_and_counts_on(void **state)
{
    (void)state;
    struct graph *g = net(DENSE_NET);
    struct train_settings s = settings();
    struct trainer *t = start(g, jets, &s);
    const int64_t rows[] = { 64, 64, 64, 8 };
    assert_int_equal(dataset_size(jets, SPLIT_TRAIN), 200);
    assert_int_equal(trainer_batches(t), 4);
    for (int epoch = 0; epoch < 2; epoch++) {
        for (int i = 0; i < 4; i++) {
            assert_int_equal(trainer_batch(t), i);
            assert_near(trainer_epoch(t), epoch + i * 64 / 200.0, 0, 1e-12);
            struct batch_result r = step(t);
            assert_int_equal(r.n, rows[i]);
            assert_int_equal(r.epoch_end, i == 3);
            assert_true(r.grad_norm > 0 && r.acc >= 0 && r.acc <= 1);
        }
    }
    assert_int_equal(trainer_steps(t), 8);
    trainer_free(t);
    free_net(g);
}

/* The mean of the statistics of four batches, computed here from the data;
 * observers and weights stay. */
static void batch_norm_is_estimated_anew(void **state)
{
    (void)state;
    struct graph *g = net("model net loss=ce\nx input 16\n"
                          "b batch_norm\nd dense out=5\n");
    struct train_settings s = settings();
    struct batcher walk;
    float x[50 * 16];
    int32_t y[50];
    double mean = 0, var = 0;
    assert_int_equal(batcher_init(&walk, jets, SPLIT_TRAIN, 50, NULL), 0);
    for (int b = 0; b < 4; b++) {
        double sum = 0, square = 0;
        assert_int_equal(batcher_next(&walk, x, y, NULL, NULL), 50);
        for (int i = 0; i < 50; i++) {
            sum += (double)x[i * 16 + 3];
            square += (double)x[i * 16 + 3] * (double)x[i * 16 + 3];
        }
        mean += sum / 50 / 4;
        var += (square - sum * sum / 50) / 49 / 4;
    }
    batcher_fini(&walk);
    struct param *m = &g->param[graph_param_find(g, "b.running_mean")];
    struct param *v = &g->param[graph_param_find(g, "b.running_var")];
    struct param *w = &g->param[graph_param_find(g, "d.weight")];
    float weight = w->value[7];
    m->value[3] = 12;         /* whatever was there does not count */
    s.backend = back_end->impl;
    struct eval_opts o = { .graph = g, .data = jets, .split = SPLIT_TRAIN,
                           .mode = MODE_FLOAT, .batch = 50, .settings = &s };
    assert_int_equal(reestimate_run(&o, 4, NULL), STATUS_OK);
    assert_near(m->value[3], mean, 0, 1e-5);
    assert_near(v->value[3], var, 1e-5, 1e-6);
    assert_true(w->value[7] == weight);
    free_net(g);
}

/* As recipes that train "8 epochs of 20 batches" count. */
static void an_epoch_can_be_some_batches(void **state)
{
    (void)state;
    struct graph *g = net(DENSE_NET);
    struct train_settings s = settings();
    s.epoch_batches = 2;
    struct trainer *t = start(g, jets, &s);
    assert_int_equal(trainer_batches(t), 2);
    for (int i = 0; i < 4; i++) {
        struct batch_result r = step(t);
        assert_int_equal(r.n, 64);
        assert_int_equal(r.epoch_end, i % 2 == 1);
        assert_near(trainer_epoch(t), (i + 1) / 2.0, 0, 1e-12);
    }
    trainer_free(t);
    free_net(g);
}

/* Batch norm has no variance of a single sample: it is passed by. */
static void one_sample_left_over_is_passed_by(void **state)
{
    (void)state;
    struct graph *g = net(DENSE_NET);
    struct train_settings s = settings();
    s.batch = 199;
    struct trainer *t = start(g, jets, &s);
    assert_int_equal(trainer_batches(t), 1);
    struct batch_result r = step(t);
    assert_int_equal(r.n, 199);
    assert_true(r.epoch_end);
    assert_near(trainer_epoch(t), 1, 0, 0);
    trainer_free(t);
    free_net(g);
}

static void a_batch_larger_than_the_data_is_cut(void **state)
{
    (void)state;
    struct graph *g = net(IMAGE_NET);
    struct train_settings s = settings();
    s.batch = 1000;
    struct trainer *t = start(g, shapes, &s);
    struct batch_result r = step(t);
    assert_int_equal(r.n, dataset_size(shapes, SPLIT_TRAIN));
    assert_true(r.epoch_end);
    trainer_free(t);
    free_net(g);
}

/* ---- giving a batch up ---- */

struct stopper {
    int calls, at;
};

static enum status stop_at(void *ctx)
{
    struct stopper *s = ctx;
    return ++s->calls == s->at ? STATUS_STOPPED : STATUS_OK;
}

/* Stopped at every tick in turn: the state is untouched each time, and the
 * run goes on as one that was never stopped. */
static void a_stopped_batch_leaves_no_trace(void **state)
{
    (void)state;
    struct graph *g = net(DENSE_NET), *h = net(DENSE_NET);
    struct train_settings s = settings();
    quantize(g);
    quantize(h);
    struct trainer *t = start(g, jets, &s), *u = start(h, jets, &s);
    for (int batch = 0; batch < 5; batch++) {
        struct stopper stopper = { .at = 1 };
        struct tick tick = { stop_at, &stopper };
        struct batch_result r;
        struct err e;
        struct bag *before = snapshot(g, t);
        while (trainer_step(t, &tick, &r, &e) == STATUS_STOPPED) {
            struct bag *after = snapshot(g, t);
            assert_same(before, after);
            bag_free(after);
            stopper.calls = 0;
            stopper.at++;
        }
        assert_true(stopper.at > 3);
        bag_free(before);
        struct batch_result r2 = step(u);
        assert_true(r.loss == r2.loss);
    }
    struct bag *a = snapshot(g, t), *b = snapshot(h, u);
    assert_same(a, b);
    bag_free(a);
    bag_free(b);
    trainer_free(t);
    trainer_free(u);
    free_net(g);
    free_net(h);
}

static void a_loss_that_is_nan_names_layer_and_batch(void **state)
{
    (void)state;
    struct graph *g = net(DENSE_NET);
    struct train_settings s = settings();
    struct trainer *t = start(g, jets, &s);
    step(t);
    step(t);
    int w = graph_param_find(g, "fc2.weight");
    real good = g->param[w].value[3];
    g->param[w].value[3] = NAN;
    struct bag *before = snapshot(g, t);
    struct batch_result r = { .loss = 77 };
    struct err e;
    assert_int_equal(trainer_step(t, NULL, &r, &e), STATUS_NUMERIC);
    if (!strstr(e.text, "epoch 0, batch 2: layer fc2 "))
        fail_msg("%s", e.text);
    assert_true(r.loss == 77);
    struct bag *after = snapshot(g, t);
    assert_same(before, after);
    bag_free(before);
    bag_free(after);
    g->param[w].value[3] = good;
    assert_true(isfinite(step(t).loss));
    assert_int_equal(trainer_steps(t), 3);
    trainer_free(t);
    free_net(g);
}

/* A finite loss whose gradient overflows float32. */
static void a_gradient_that_overflows_is_named(void **state)
{
    (void)state;
    struct graph *g = net("model g loss=mse\nx input 16\nfc1 dense out=5\n"
                          "fc2 dense out=5\n");
    struct train_settings s = settings();
    s.loss = loss_find("mse");
    struct trainer *t = start(g, jets, &s);
    for (int64_t i = 0; i < g->param[0].count; i++)
        g->param[0].value[i] = 1e-20f;
    int w = graph_param_find(g, "fc2.weight");
    for (int64_t i = 0; i < g->param[w].count; i++)
        g->param[w].value[i] = (i % 2 ? -1.0f : 1.0f) * 3e37f;
    struct batch_result r;
    struct err e;
    enum status status = trainer_step(t, NULL, &r, &e);
    assert_int_equal(status, STATUS_NUMERIC);
    assert_non_null(strstr(e.text, "epoch 0, batch 0: "));
    trainer_free(t);
    free_net(g);
}

static void a_step_without_memory_changes_nothing(void **state)
{
    (void)state;
    struct graph *g = net(DENSE_NET);
    struct train_settings s = settings();
    quantize(g);
    struct trainer *t = start(g, jets, &s);
    struct bag *before = snapshot(g, t);
    struct batch_result r;
    struct err e;
    enum status status = STATUS_MEM;
    for (long n = 1; n < 2000 && status != STATUS_OK; n++) {
        mem_fail_after(n);
        status = trainer_step(t, NULL, &r, &e);
        mem_fail_after(0);
        if (status == STATUS_OK)
            break;
        assert_int_equal(status, STATUS_MEM);
        struct bag *after = snapshot(g, t);
        assert_same(before, after);
        bag_free(after);
    }
    assert_int_equal(status, STATUS_OK);
    bag_free(before);
    trainer_free(t);
    free_net(g);
}

/* ---- going on ---- */

/* Dropout, augmentation, quantizers, a schedule, half an epoch done. */
static void a_loaded_run_goes_on_bit_for_bit(void **state)
{
    (void)state;
    static const char *const optimizers[] = { "sgd", "adam", "rmsprop" };
    for (size_t i = 0; i < 3; i++) {
        struct train_settings s = settings();
        s.optimizer = optimizer_find(optimizers[i]);
        s.optimizer->defaults(&s.hyper);
        s.schedule = schedule_find("cosine");
        s.augment = (struct augment){ .flip = true, .shift = 2 };
        s.batch = 4;
        struct graph *g = net(IMAGE_NET), *h = net(IMAGE_NET);
        (i == 1 ? learn_scales : quantize)(g);
        struct trainer *t = start(g, shapes, &s);
        trainer_goal(t, 3);
        for (int k = 0; k < 7; k++)
            step(t);
        struct bag *mid = snapshot(g, t);
        struct err e;
        struct train_settings other = s;
        other.seed = 99;
        struct trainer *u = start(h, shapes, &other);
        assert_int_equal(graph_load(h, mid, &e), STATUS_OK);
        assert_int_equal(graph_load_quant(h, mid, &e), STATUS_OK);
        if (trainer_load(u, mid, &e) != STATUS_OK)
            fail_msg("%s", e.text);
        bag_free(mid);
        for (int k = 0; k < 6; k++) {
            struct batch_result a = step(t), b = step(u);
            assert_true(a.loss == b.loss && a.lr == b.lr);
            assert_int_equal(a.epoch_end, b.epoch_end);
        }
        struct bag *a = snapshot(g, t), *b = snapshot(h, u);
        assert_same(a, b);
        bag_free(a);
        bag_free(b);
        trainer_free(t);
        trainer_free(u);
        free_net(g);
        free_net(h);
    }
}

static void slots_of_another_optimiser_are_left_behind(void **state)
{
    (void)state;
    struct graph *g = net(DENSE_NET);
    struct train_settings s = settings(), other = s;
    other.optimizer = optimizer_find("sgd");
    other.optimizer->defaults(&other.hyper);
    struct trainer *t = start(g, jets, &s), *u = start(g, jets, &other);
    struct err e;
    step(t);
    struct bag *b = bag_new(), *back = bag_new();
    assert_int_equal(trainer_save(t, b, &e), STATUS_OK);
    assert_int_equal(trainer_load(u, b, &e), STATUS_OK);
    assert_int_equal(trainer_steps(u), 1);
    assert_int_equal(trainer_batch(u), 1);
    assert_int_equal(trainer_save(u, back, &e), STATUS_OK);
    assert_non_null(bag_get(b, "trainer.slot.0"));
    assert_null(bag_get(back, "trainer.slot.0"));
    step(u);
    bag_free(b);
    bag_free(back);
    trainer_free(t);
    trainer_free(u);
    free_net(g);
}

static void put_number(struct bag *b, const char *name, size_t at, int64_t v)
{
    struct err e;
    struct tensor copy;
    assert_int_equal(tensor_copy(&copy, bag_get(b, name), &e), STATUS_OK);
    if (copy.type == DTYPE_I64)
        ((int64_t *)copy.data)[at] = v;
    else
        ((uint32_t *)copy.data)[at] = (uint32_t)v;
    assert_int_equal(bag_put(b, name, copy.type, &copy.shape, copy.data, &e),
                     STATUS_OK);
    tensor_fini(&copy);
}

static void a_state_that_does_not_fit_is_refused_whole(void **state)
{
    (void)state;
    static const struct {
        const char *tensor;
        size_t at;
        int64_t value;
    } bad[] = {
        { "trainer.counts", 0, -1 },        { "trainer.counts", 1, 200 },
        { "trainer.counts", 1, -1 },        { "trainer.counts", 2, INT64_MAX },
        { "trainer.counts", 3, 7 },         { "trainer.order", 5, 4000000 },
        { "trainer.age", 0, -3 },
    };
    struct graph *g = net(DENSE_NET);
    struct train_settings s = settings();
    struct trainer *t = start(g, jets, &s);
    step(t);
    struct bag *was = snapshot(g, t);
    struct err e;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct bag *b = snapshot(g, t);
        put_number(b, bad[i].tensor, bad[i].at, bad[i].value);
        assert_int_equal(trainer_load(t, b, &e), STATUS_FORMAT);
        if (!strstr(e.text, "position") && !strstr(e.text, "trainer") &&
            !strstr(e.text, "samples"))
            fail_msg("%s", e.text);
        bag_free(b);
    }
    struct bag *twice = snapshot(g, t);
    uint32_t first = *(const uint32_t *)bag_get(twice, "trainer.order")->data;
    put_number(twice, "trainer.order", 1, first);
    assert_int_equal(trainer_load(t, twice, &e), STATUS_FORMAT);
    bag_free(twice);
    struct bag *empty = bag_new();
    assert_int_equal(trainer_load(t, empty, &e), STATUS_FORMAT);
    bag_free(empty);
    struct bag *other = snapshot(g, t);
    static const char *const texts[] = {
        "", "version 2\noptimizer adam\n", "version 1\noptimizer nosuch\n",
        "optimizer adam",
    };
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(bag_put_text(other, "trainer", texts[i], &e), 0);
        assert_int_equal(trainer_load(t, other, &e), STATUS_FORMAT);
    }
    bag_free(other);
    struct bag *now = snapshot(g, t);
    assert_same(was, now);
    bag_free(was);
    bag_free(now);
    trainer_free(t);
    free_net(g);
}

/* ---- settings ---- */

static void the_same_seed_gives_the_same_run(void **state)
{
    (void)state;
    double loss[3];
    for (int i = 0; i < 3; i++) {
        struct graph *g = net(DENSE_NET);
        struct train_settings s = settings();
        s.seed = i < 2 ? 5 : 6;
        struct trainer *t = start(g, jets, &s);
        step(t);
        loss[i] = step(t).loss;
        trainer_free(t);
        free_net(g);
    }
    assert_true(loss[0] == loss[1]);
    assert_true(loss[0] != loss[2]);
}

static void new_settings_keep_slots_that_fit(void **state)
{
    (void)state;
    struct graph *g = net(DENSE_NET);
    struct train_settings s = settings();
    struct trainer *t = start(g, jets, &s);
    struct err e;
    step(t);
    struct bag *b = snapshot(g, t);
    assert_non_null(bag_get(b, "trainer.slot.0"));
    bag_free(b);
    s.hyper.lr = 0.5;
    s.batch = 50;
    assert_int_equal(trainer_set(t, &s, &e), STATUS_OK);
    b = snapshot(g, t);
    assert_non_null(bag_get(b, "trainer.slot.0"));
    bag_free(b);
    assert_near(step(t).lr, 0.5, 0, 0);
    assert_int_equal(trainer_batch(t), (64 + 50) / 50);
    s.optimizer = optimizer_find("sgd");
    assert_int_equal(trainer_set(t, &s, &e), STATUS_OK);
    b = snapshot(g, t);
    assert_null(bag_get(b, "trainer.slot.0"));
    bag_free(b);
    s.batch = 0;
    assert_int_equal(trainer_set(t, &s, &e), STATUS_ARG);
    assert_int_equal(trainer_settings(t)->batch, 50);
    step(t);
    trainer_free(t);
    free_net(g);
}

static void frozen_parameters_stand_still(void **state)
{
    (void)state;
    struct graph *g = net(DENSE_NET);
    struct train_settings s = settings();
    s.hyper.weight_decay = 0.1;
    int w = graph_param_find(g, "fc1.weight");
    int v = graph_param_find(g, "fc2.weight");
    g->param[w].frozen = true;
    struct trainer *t = start(g, jets, &s);
    size_t bytes = (size_t)g->param[w].count * sizeof(real);
    real *was = malloc(bytes), other = g->param[v].value[0];
    memcpy(was, g->param[w].value, bytes);
    step(t);
    step(t);
    assert_memory_equal(was, g->param[w].value, bytes);
    assert_true(g->param[v].value[0] != other);
    g->param[w].frozen = false;
    step(t);
    assert_memory_not_equal(was, g->param[w].value, bytes);
    free(was);
    trainer_free(t);
    free_net(g);
}

/* SGD's move is lr times the gradient: its length is lr * clip at most. */
static void learned_scales_move_by_their_own_rate(void **state)
{
    (void)state;
    real scale[3];
    for (int i = 0; i < 3; i++) {
        struct graph *g = net(DENSE_NET);
        struct train_settings s = settings();
        learn_scales(g);
        s.quant_lr_factor = i == 0 ? 0 : i == 1 ? 1 : 4;
        struct trainer *t = start(g, jets, &s);
        step(t);
        int point = graph_point_find(g, "fc2.w");
        const struct quantizer *q = g->point[point].q;
        assert_true(q->learn && q->n_learned > 0);
        assert_true(q->scale[0] == q->learned[0]);
        scale[i] = q->learned[0];
        trainer_free(t);
        free_net(g);
    }
    /* Adam's first step is the rate, whatever the gradient's size. */
    double once = fabs((double)scale[1] - (double)scale[0]);
    double more = fabs((double)scale[2] - (double)scale[0]);
    assert_near(once, 0.01, 1e-3, 0);
    assert_near(more, 0.04, 1e-3, 0);
}

static void clipping_bounds_the_step(void **state)
{
    (void)state;
    struct graph *g = net(DENSE_NET);
    struct train_settings s = settings();
    s.optimizer = optimizer_find("sgd");
    s.hyper = (struct optim_hyper){ .lr = 1 };
    s.clip_norm = 0.01;
    struct trainer *t = start(g, jets, &s);
    size_t n = (size_t)g->n_grad;
    real *was = malloc(n * sizeof *was);
    memcpy(was, g->value_block, n * sizeof *was);
    struct batch_result r = step(t);
    double moved = 0;
    for (int i = 0; i < g->n_learned; i++)
        for (int64_t k = 0; k < g->param[i].count; k++) {
            int64_t at = g->param[i].value - g->value_block + k;
            double d = (double)g->param[i].value[k] - (double)was[at];
            moved += d * d;
        }
    assert_true(r.grad_norm > 0.02);
    assert_near(sqrt(moved), 0.01, 1e-3, 0);
    free(was);
    trainer_free(t);
    free_net(g);
}

static void the_schedule_is_counted_from_the_goal(void **state)
{
    (void)state;
    struct graph *g = net(DENSE_NET);
    struct train_settings s = settings();
    s.schedule = schedule_find("step");
    memcpy(s.schedule_param, ((double[4]){ 0, 1, 0.1 }), 4 * sizeof(double));
    struct trainer *t = start(g, jets, &s);
    for (int i = 0; i < 4; i++)
        assert_near(step(t).lr, 0.01, 1e-12, 0);
    assert_near(step(t).lr, 0.001, 1e-9, 0);
    trainer_goal(t, 2);
    assert_near(step(t).lr, 0.01, 1e-12, 0);
    trainer_free(t);
    free_net(g);
}

/* Rate 0.01; the second epoch is no better, the goal begins anew. */
static void plateau_hears_epochs_and_survives_saving(void **state)
{
    (void)state;
    struct graph *g = net(DENSE_NET);
    struct train_settings s = settings();
    s.schedule = schedule_find("plateau");
    memcpy(s.schedule_param, ((double[4]){ 0, 0.5, 0, 1e-4 }),
           4 * sizeof(double));
    struct trainer *t = start(g, jets, &s), *u = start(g, jets, &s);
    struct err e;
    trainer_epoch_loss(t, 2);
    assert_near(step(t).lr, 0.01, 1e-12, 0);
    trainer_epoch_loss(t, 2);
    assert_near(step(t).lr, 0.005, 1e-12, 0);
    struct bag *b = bag_new();
    assert_int_equal(trainer_save(t, b, &e), STATUS_OK);
    assert_int_equal(trainer_load(u, b, &e), STATUS_OK);
    trainer_epoch_loss(u, 1.9999);
    assert_near(step(u).lr, 0.0025, 1e-12, 0);
    static const double bad[3][3] = {
        { (double)NAN, 1, 0 }, { 2, 1, 0 }, { 1, 1, -1 },
    };
    struct shape three = shape_1(3);
    for (int i = 0; i < 3; i++) {
        bag_put(b, "trainer.schedule", DTYPE_F64, &three, bad[i], &e);
        assert_int_equal(trainer_load(u, b, &e), STATUS_FORMAT);
        assert_non_null(strstr(e.text, "trainer.schedule"));
    }
    trainer_goal(t, 2);
    assert_near(step(t).lr, 0.01, 1e-12, 0);
    bag_free(b);
    trainer_free(t);
    trainer_free(u);
    free_net(g);
}

static void data_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *net;
        const char *loss, *says;
    } bad[] = {
        { "model n\nx input 17\nfc dense out=5\n", "ce",
          "data jets has samples of 1x16, model n takes 1x17" },
        { "model n\nx input 16\nfc dense out=4\n", "ce",
          "5 classes, model n gives 4" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct graph *g = net(bad[i].net);
        struct train_settings s = settings();
        struct trainer *t = NULL;
        struct err e;
        s.loss = loss_find(bad[i].loss);
        assert_int_equal(trainer_new(g, jets, &s, &t, &e), STATUS_ARG);
        assert_null(t);
        if (!strstr(e.text, bad[i].says))
            fail_msg("%s", e.text);
        free_net(g);
    }
}

/* ---- evaluation ---- */

static void evaluation_moves_nothing_and_repeats(void **state)
{
    (void)state;
    struct graph *g = net(IMAGE_NET);
    struct train_settings s = settings();
    quantize(g);
    struct trainer *t = start(g, shapes, &s);
    step(t);
    struct bag *before = snapshot(g, t);
    struct metrics m[3];
    struct err e;
    const int64_t batch[] = { 250, 4, 7 };
    for (int i = 0; i < 3; i++) {
        struct eval_opts o = {
            .graph = g, .data = shapes, .split = SPLIT_TEST,
            .mode = MODE_FAKE, .batch = batch[i], .settings = &s,
        };
        if (eval_run(&o, &m[i], &e) != STATUS_OK)
            fail_msg("%s", e.text);
        assert_int_equal(m[i].n, 9);
        assert_near(m[i].loss, m[0].loss, 1e-6, 0);
        assert_near(m[i].acc, m[0].acc, 1e-12, 0);
    }
    struct bag *after = snapshot(g, t);
    assert_same(before, after);
    bag_free(before);
    bag_free(after);
    trainer_free(t);
    free_net(g);
}

static void a_limit_evaluates_the_first_samples(void **state)
{
    (void)state;
    struct graph *g = net(DENSE_NET);
    struct metrics m;
    struct err e;
    struct eval_opts o = {
        .graph = g, .data = jets, .split = SPLIT_TEST, .batch = 16,
        .limit = 21, .settings = NULL,
    };
    assert_int_equal(eval_run(&o, &m, &e), STATUS_OK);
    assert_int_equal(m.n, 21);
    o.limit = 1000;
    assert_int_equal(eval_run(&o, &m, &e), STATUS_OK);
    assert_int_equal(m.n, 70);
    free_net(g);
}

static void calibration_finds_ranges_and_trains_nothing(void **state)
{
    (void)state;
    struct graph *g = net(DENSE_NET);
    char before[65], after[65];
    struct err e;
    struct metrics m;
    quantize(g);
    graph_hash(g, before);
    struct train_settings s = settings();
    struct eval_opts o = {
        .graph = g, .data = jets, .split = SPLIT_TEST, .settings = &s,
    };
    int point = graph_point_find(g, "fc2.out");
    assert_false(g->point[point].q->ready);
    /* A run that is stopped leaves no range behind. */
    struct stopper stopper = { .at = 9 };
    struct tick tick = { stop_at, &stopper };
    o.tick = &tick;
    assert_int_equal(calibrate_run(&o, 3, &e), STATUS_STOPPED);
    assert_false(g->point[point].q->ready);
    o.tick = NULL;
    if (calibrate_run(&o, 3, &e) != STATUS_OK)
        fail_msg("%s", e.text);
    assert_true(g->point[point].q->ready);
    assert_true(g->point[point].q->lo[0] < g->point[point].q->hi[0]);
    graph_hash(g, after);
    assert_string_equal(before, after);
    assert_int_equal(eval_run(&o, &m, &e), STATUS_OK);
    double loss = m.loss;
    o.mode = MODE_FAKE;
    assert_int_equal(eval_run(&o, &m, &e), STATUS_OK);
    assert_true(m.loss != loss);
    free_net(g);
}

/* Inference of the test samples one way and the other. */
static void inference_gives_the_outputs_of_evaluation(void **state)
{
    (void)state;
    enum { N = 9, SAMPLE = 3 * 32 * 32 };
    struct graph *g = net(IMAGE_NET);
    struct batcher b;
    struct err e;
    assert_int_equal(batcher_init(&b, shapes, SPLIT_TEST, N, &e), STATUS_OK);
    float *x = malloc(N * SAMPLE * sizeof *x), out[N * 10], parts[N * 10];
    int32_t y[N];
    b.layout = LAYOUT_NCHW;
    assert_int_equal(batcher_next(&b, x, y, NULL, NULL), N);
    struct train_settings s = settings();
    struct eval_opts o = {
        .graph = g, .data = shapes, .split = SPLIT_TEST, .settings = &s,
    };
    assert_int_equal(infer_run(&o, x, N, out, &e), STATUS_OK);
    o.batch = 4;
    assert_int_equal(infer_run(&o, x, N, parts, &e), STATUS_OK);
    assert_floats_near(out, parts, N * 10, 1e-6, 1e-6);
    struct loss_input in = { .out = out, .label = y, .n = N, .c = 10 };
    struct metrics m;
    assert_int_equal(eval_run(&o, &m, &e), STATUS_OK);
    assert_near(loss_find("ce")->run(&in, NULL), m.loss, 1e-6, 0);
    free(x);
    batcher_fini(&b);
    free_net(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_lowers_the_loss_and_learns),
        cmocka_unit_test(an_epoch_visits_every_sample_and_counts_on),
        cmocka_unit_test(an_epoch_can_be_some_batches),
        cmocka_unit_test(batch_norm_is_estimated_anew),
        cmocka_unit_test(one_sample_left_over_is_passed_by),
        cmocka_unit_test(a_batch_larger_than_the_data_is_cut),
        cmocka_unit_test(a_stopped_batch_leaves_no_trace),
        cmocka_unit_test(a_loss_that_is_nan_names_layer_and_batch),
        cmocka_unit_test(a_gradient_that_overflows_is_named),
        cmocka_unit_test(a_step_without_memory_changes_nothing),
        cmocka_unit_test(a_loaded_run_goes_on_bit_for_bit),
        cmocka_unit_test(slots_of_another_optimiser_are_left_behind),
        cmocka_unit_test(a_state_that_does_not_fit_is_refused_whole),
        cmocka_unit_test(the_same_seed_gives_the_same_run),
        cmocka_unit_test(new_settings_keep_slots_that_fit),
        cmocka_unit_test(frozen_parameters_stand_still),
        cmocka_unit_test(learned_scales_move_by_their_own_rate),
        cmocka_unit_test(clipping_bounds_the_step),
        cmocka_unit_test(the_schedule_is_counted_from_the_goal),
        cmocka_unit_test(plateau_hears_epochs_and_survives_saving),
        cmocka_unit_test(data_that_does_not_fit_is_refused),
        cmocka_unit_test(evaluation_moves_nothing_and_repeats),
        cmocka_unit_test(a_limit_evaluates_the_first_samples),
        cmocka_unit_test(calibration_finds_ranges_and_trains_nothing),
        cmocka_unit_test(inference_gives_the_outputs_of_evaluation),
    };
    int failed = 0;
    gsl_set_error_handler_off();
    for (int i = 0; i < backend_count; i++) {
        back_end = &backend_table[i];
        failed += cmocka_run_group_tests_name(back_end->name, tests,
                                              load_data, free_data);
    }
    return failed;
}

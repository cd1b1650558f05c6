/* What the trainer tells of codes and ranges, against counts of its own made
 * before and after. SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/test_main.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert_near.h"
#include "train/watch.h"

#define NET "model net loss=ce\n" \
            "x input 16\n" \
            "fc1 dense out=24\n" \
            "bn1 batch_norm\n" \
            "relu1 relu\n" \
            "fc2 dense out=5\n"

struct run {
    struct graph *g;
    struct dataset *d;
    struct train_settings s;
    struct trainer *t;
    int w, out;               /* points fc1.w, fc1.out */
};

static int run_begin(void **state)
{
    static struct run r;
    const char *jets = "jets";
    struct dataset_opts o;
    struct rng *rng = rng_new(3, RNG_INIT);
    struct err e;
    struct assign_opts q = { .config = qconfig_find("fbgemm"),
                             .weight_bits = 3, .activation_bits = 4,
                             .input = true };
    r = (struct run){ .w = -1 };
    dataset_opts_default(&o);
    o.n_train = 222;          /* 200: batches of 64, 64, 64, 8 */
    o.n_test = 10;
    train_settings_default(&r.s);
    r.s.hyper.lr = 0.02;
    bool ok = !dataset_load(1, &jets, &o, &r.d, &e) &&
              !graph_parse(NET, &r.g, &e) && !graph_finish(r.g, rng, &e) &&
              !assign_qconfig(r.g, &q, &e) &&
              !trainer_new(r.g, r.d, &r.s, &r.t, &e);
    rng_free(rng);
    if (!ok)
        return -1;
    r.w = graph_point_find(r.g, "fc1.w");
    r.out = graph_point_find(r.g, "fc1.out");
    *state = &r;
    return 0;
}

static int run_end(void **state)
{
    struct run *r = *state;
    trainer_free(r->t);
    graph_drop_quantizers(r->g);
    graph_free(r->g);
    dataset_free(r->d);
    return 0;
}

static bool step(struct run *r)
{
    struct batch_result b;
    struct err e;
    if (trainer_step(r->t, NULL, &b, &e) != STATUS_OK)
        fail_msg("%s", e.text);
    return b.epoch_end;
}

static void epoch(struct run *r)
{
    while (!step(r))
        ;
}

/* round(W * gamma / sqrt(var + eps) / scale) of fc1.w, cut to the codes. */
static int32_t *codes(const struct run *r)
{
    const struct graph *g = r->g;
    const struct quantizer *q = g->point[r->w].q;
    const struct param *w = &g->param[graph_param_find(g, "fc1.weight")];
    const struct node *bn = &g->node[graph_find(g, "bn1")];
    const float *gamma = g->param[bn->param[0]].value;
    const float *var = g->param[bn->state[1]].value;
    int32_t *code = malloc((size_t)w->count * sizeof *code);
    int64_t inner = w->count / 24;
    assert_non_null(code);
    for (int64_t i = 0; i < w->count; i++) {
        int64_t c = i / inner;
        double x = (double)w->value[i] * (double)gamma[c] /
                   sqrt((double)var[c] + node_attr(bn, "eps"));
        double v = rint(x / (double)q->scale[c]);
        double lo = (double)q->lo_code, hi = (double)q->hi_code;
        code[i] = (int32_t)(v < lo ? lo : v > hi ? hi : v);
    }
    return code;
}

static struct motion motion(const struct run *r, int point)
{
    struct motion m;
    trainer_motion(r->t, point, &m);
    return m;
}

static double differing(const int32_t *a, const int32_t *b, int64_t n)
{
    int64_t k = 0;
    for (int64_t i = 0; i < n; i++)
        k += a[i] != b[i];
    return (double)k / (double)n;
}

static void nothing_is_known_before_an_epoch_ends(void **state)
{
    struct run *r = *state;
    assert_true(isnan(motion(r, r->w).flips));
    step(r);
    assert_true(isnan(motion(r, r->w).flips));
    assert_true(isnan(motion(r, r->out).drift));
    assert_int_equal(trainer_motion_batches(r->t), 0);
}

static void flips_are_the_codes_that_differ_at_the_end_of_the_epoch(
    void **state)
{
    struct run *r = *state;
    step(r);                  /* here the first window begins */
    for (int i = 0; i < 3; i++) {
        int32_t *before = codes(r);
        epoch(r);
        int32_t *after = codes(r);
        struct motion m = motion(r, r->w);
        assert_int_equal(m.codes, 24 * 16);
        assert_near(m.flips, differing(before, after, m.codes), 0.006, 0);
        assert_true(m.flips > 0.01);
        assert_int_equal(trainer_motion_batches(r->t), i ? 4 : 3);
        free(before);
        free(after);
    }
}

static void drift_is_the_change_of_the_range_over_its_width(void **state)
{
    struct run *r = *state;
    step(r);
    for (int i = 0; i < 2; i++) {
        const struct quantizer *q = r->g->point[r->out].q;
        double lo = (double)q->lo[0], hi = (double)q->hi[0];
        epoch(r);
        double moved = fabs((double)q->lo[0] - lo) +
                       fabs((double)q->hi[0] - hi);
        assert_near(motion(r, r->out).drift, moved / (hi - lo), 1e-6, 1e-9);
        assert_true(moved > 0);
    }
    r->g->point[r->out].q->observe = false;
    epoch(r);
    assert_true(isnan(motion(r, r->out).drift));  /* it is not to move */
}

static void a_rate_of_zero_moves_no_code(void **state)
{
    struct run *r = *state;
    for (int i = 0; i < r->g->n_node; i++)
        r->g->node[i].bn_frozen = true;
    r->s.hyper.lr = 0;
    assert_int_equal(trainer_set(r->t, &r->s, NULL), STATUS_OK);
    epoch(r);
    epoch(r);
    assert_near(motion(r, r->w).flips, 0, 0, 0);
    assert_near(motion(r, r->w).oscillating, 0, 0, 0);
}

/* Other weights come in from outside: not one of them counts as a flip. */
static void what_others_change_begins_the_window_anew(void **state)
{
    struct run *r = *state;
    struct param *w = &r->g->param[graph_param_find(r->g, "fc1.weight")];
    epoch(r);
    step(r);
    for (int64_t i = 0; i < w->count; i++)
        w->value[i] = -w->value[i];
    trainer_resync(r->t, true);
    r->s.hyper.lr = 0;
    assert_int_equal(trainer_set(r->t, &r->s, NULL), STATUS_OK);
    for (int i = 0; i < r->g->n_node; i++)
        r->g->node[i].bn_frozen = true;
    epoch(r);
    assert_near(motion(r, r->w).flips, 0, 0, 0.03);  /* the range settles */
    assert_int_equal(trainer_motion_batches(r->t), 2);
}

static void another_quantizer_is_another_record(void **state)
{
    struct run *r = *state;
    struct qspec spec;
    epoch(r);
    epoch(r);
    assert_int_equal(qspec_parse("affine:5,channel", NULL, &spec, NULL),
                     STATUS_OK);
    assert_int_equal(point_set(r->g, r->w, &spec, NULL), STATUS_OK);
    epoch(r);
    assert_true(motion(r, r->w).flips < 0.5);
    graph_drop_quantizers(r->g);
    epoch(r);
    assert_true(isnan(motion(r, r->w).flips));
    assert_int_equal(motion(r, r->w).codes, 0);
}

/* High rates turn codes back and forth, low ones do not. */
static void oscillation_grows_with_the_rate(void **state)
{
    struct run *r = *state;
    double share[2];
    const double rate[2] = { 1e-5, 0.3 };
    for (int i = 0; i < r->g->n_node; i++)
        r->g->node[i].bn_frozen = true;
    for (int k = 0; k < 2; k++) {
        r->s.hyper.lr = rate[k];
        r->s.batch = 8;
        assert_int_equal(trainer_set(r->t, &r->s, NULL), STATUS_OK);
        for (int i = 0; i < 8; i++)
            epoch(r);
        share[k] = motion(r, r->w).oscillating;
    }
    assert_true(share[0] < 0.05);
    assert_true(share[1] > 0.3);
}

/* Looks are spaced by what they cost beside a step, at odd intervals. */
static void looks_are_rare_where_steps_are_cheap(void **state)
{
    struct rng *rng = rng_new(1, RNG_INIT);
    struct graph *conv = NULL;
    struct run *r = *state;
    assert_int_equal(model_make("resnet8", rng, &conv, NULL), STATUS_OK);
    assert_int_equal(watch_interval(conv, 64), 1);
    assert_int_equal(watch_interval(r->g, 64), 31);
    for (int64_t batch = 1; batch < 100000; batch = 2 * batch + 1) {
        int64_t n = watch_interval(r->g, batch);
        assert_true(n >= 1 && n <= 31 && n % 2 == 1);
    }
    rng_free(rng);
    graph_free(conv);
}

#define RUN(f) cmocka_unit_test_setup_teardown(f, run_begin, run_end)

static const struct CMUnitTest tests[] = {
    RUN(nothing_is_known_before_an_epoch_ends),
    RUN(flips_are_the_codes_that_differ_at_the_end_of_the_epoch),
    RUN(drift_is_the_change_of_the_range_over_its_width),
    RUN(a_rate_of_zero_moves_no_code),
    RUN(what_others_change_begins_the_window_anew),
    RUN(another_quantizer_is_another_record),
    RUN(oscillation_grows_with_the_rate),
    RUN(looks_are_rare_where_steps_are_cheap),
};

TEST_MAIN("train_watch", tests)

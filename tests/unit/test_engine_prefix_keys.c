/* Fingerprints of what lies before a cut: any one thing that a value depends
 * on changes those of all cuts behind it and none before; what it does not
 * depend on changes none.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/test_main.h"

#include "unit/engine_points.h"

#include "engine/prefix.h"

static const char text[] =
    "model keys loss=ce\n"
    "x input 2x6x6\n"
    "conv1 conv2d out=4 kernel=3 pad=1\n"
    "bn1 batch_norm\n"
    "relu1 relu\n"
    "conv2 conv2d out=4 kernel=1\n"
    "bn2 batch_norm\n"
    "add1 add < bn2 relu1\n"
    "relu2 relu\n"
    "pool avg_pool kernel=2 stride=2\n"
    "flat flatten\n"
    "fc1 dense out=6\n"
    "relu3 relu\n"
    "fc2 dense out=3\n";

#define MAX_KEYS 40

struct keys {
    int n;
    struct digest key[MAX_KEYS];
};

struct bench {
    struct graph *graph;
    struct prefix_cache *cache;
    struct plan *plan;
    struct plan_opts opts;
    struct keys base;
};

static struct digest some_rows(uint64_t v)
{
    return (struct digest){{v, ~v}};
}

static struct keys keys_now(const struct bench *b, struct plan *p)
{
    struct keys k;
    struct prefix *x = NULL;
    struct err e;
    const struct digest rows = some_rows(5);
    const struct prefix_opts o = {b->cache, p, 100, false};
    err_clear(&e);
    if (prefix_new(&o, &x, &e))
        fail_msg("%s", e.text);
    assert_non_null(x);
    k.n = prefix_unit_count(x) + 1;
    assert_true(k.n <= MAX_KEYS);
    for (int i = 0; i < k.n; i++)
        k.key[i] = prefix_key(x, i, &rows);
    prefix_free(x);
    return k;
}

static void bench_init(struct bench *b, enum mode mode, int backend)
{
    struct err e;
    b->graph = net_from(text, 8);
    struct assign_opts a = {.config = qconfig_find("onednn"), .input = true};
    if (assign_qconfig(b->graph, &a, &e))
        fail_msg("%s", e.text);
    calibrate(b->graph);
    assert_int_equal(prefix_cache_new(1 << 20, &b->cache, &e), STATUS_OK);
    plan_opts_default(&b->opts);
    b->opts.graph = b->graph;
    b->opts.batch = 4;
    b->opts.mode = mode;
    b->opts.backend = backend_table[backend].impl;
    b->plan = plan_of(&b->opts);
    run(b->plan, 1);          /* weights find their ranges */
    b->base = keys_now(b, b->plan);
    struct keys again = keys_now(b, b->plan);
    assert_memory_equal(again.key, b->base.key,
                        (size_t)again.n * sizeof again.key[0]);
}

static void bench_fini(struct bench *b)
{
    plan_free(b->plan);
    prefix_cache_free(b->cache);
    net_free(b->graph);
}

/* The first cut whose key is another one: all behind it are others, too.
 * base.n: none. */
static int first_changed(const struct bench *b, const struct keys *k,
                         const char *what)
{
    int first = 0;
    assert_int_equal(k->n, b->base.n);
    while (first < k->n && digest_equal(&k->key[first], &b->base.key[first]))
        first++;
    for (int i = first; i < k->n; i++)
        if (digest_equal(&k->key[i], &b->base.key[i]))
            fail_msg("%s changes cut %d, not cut %d", what, first, i);
    return first;
}

/* The first unit with a node of the fused group, where a node is a unit. */
static bool node_is_unit(const struct bench *b)
{
    return b->opts.backend == backend_find("ref") &&
           b->opts.mode != MODE_INT;
}

static int cut_of(const struct bench *b, int node)
{
    int at = b->base.n;
    const struct graph *g = b->graph;
    for (int i = 0; i < g->n_node; i++)
        if (g->node[i].head == g->node[node].head && i < at)
            at = i;
    return at;
}

static void must_change(const struct bench *b, int node, bool exact,
                        const char *what)
{
    struct keys k = keys_now(b, b->plan);
    int first = first_changed(b, &k, what);
    if (first == b->base.n)
        fail_msg("%s changes no fingerprint", what);
    if (exact && first != cut_of(b, node) + 1)
        fail_msg("%s changes cut %d, wanted %d", what, first,
                 cut_of(b, node) + 1);
}

static void must_stay(const struct bench *b, const char *what)
{
    struct keys k = keys_now(b, b->plan);
    if (first_changed(b, &k, what) != b->base.n)
        fail_msg("%s changes a fingerprint", what);
}

/* ---- weights, statistics, attributes, flags ---- */

static void check_params(struct bench *b)
{
    struct graph *g = b->graph;
    for (int i = 0; i < g->n_param; i++) {
        struct param *w = &g->param[i];
        for (int64_t k = 0; k < w->count; k += 1 + w->count / 7) {
            uint32_t *bits = (uint32_t *)(void *)&w->value[k];
            uint32_t was = *bits;
            *bits ^= 1;
            must_change(b, w->node, node_is_unit(b), w->name);
            *bits = was;
        }
        bool frozen = w->frozen;
        w->frozen = !frozen;
        must_stay(b, "freezing weights");
        w->frozen = frozen;
    }
}

static void check_nodes(struct bench *b)
{
    struct graph *g = b->graph;
    bool exact = node_is_unit(b);
    for (int i = 0; i < g->n_node; i++) {
        struct node *n = &g->node[i];
        for (int k = 0; k < op_attr_count(n->op); k++) {
            double was = n->attr[k];
            n->attr[k] = was + 0.5;
            must_change(b, i, exact, n->op->attr[k].name);
            n->attr[k] = was;
        }
        bool *const flags[] = {&n->bn_frozen, &n->bn_folded, &n->fold_head};
        for (int k = 0; k < 3; k++) {
            *flags[k] = !*flags[k];
            must_change(b, i, exact, "a flag of batch norm");
            *flags[k] = !*flags[k];
        }
    }
}

static void weights_attributes_and_flags_count(void **state)
{
    (void)state;
    for (int i = 0; i < backend_count; i++)
        for (int mode = 0; mode < MODE_COUNT; mode++) {
            struct bench b;
            bench_init(&b, (enum mode)mode, i);
            check_params(&b);
            check_nodes(&b);
            must_stay(&b, "nothing");
            bench_fini(&b);
        }
}

/* ---- quantizers ---- */

static void flip_flag(const struct bench *b, int point, bool *flag,
                      bool counts, const char *what)
{
    *flag = !*flag;
    if (counts)
        must_change(b, b->graph->point[point].node, false, what);
    else
        must_stay(b, what);
    *flag = !*flag;
}

static void change_real(const struct bench *b, int point, real *v,
                        const char *what)
{
    real was = *v;
    *v = was + (real)0.25;
    must_change(b, b->graph->point[point].node, false, what);
    *v = was;
}

static void check_state(const struct bench *b, int point)
{
    struct quantizer *q = b->graph->point[point].q;
    flip_flag(b, point, &q->fake, true, "flag F");
    flip_flag(b, point, &q->learn, true, "flag L");
    flip_flag(b, point, &q->stale, true, "a stale range");
    flip_flag(b, point, &q->observe, false, "flag O");
    for (int64_t c = 0; c < q->channels; c++) {
        change_real(b, point, &q->scale[c], "a scale");
        change_real(b, point, &q->zero_point[c], "a zero point");
        change_real(b, point, &q->lo[c], "a low end");
        change_real(b, point, &q->hi[c], "a high end");
    }
    for (int64_t c = 0; c < q->n_learned; c++)
        change_real(b, point, &q->learned[c], "a learned parameter");
    q->noise_factor = 0.5;
    must_change(b, 0, false, "noise");
    q->noise_factor = 1;
    q->steps++;
    must_change(b, 0, false, "steps seen");
    q->steps--;
    q->hi_code++;
    must_change(b, 0, false, "the highest code");
    q->hi_code--;
    q->lo_code--;
    must_change(b, 0, false, "the lowest code");
    q->lo_code++;
}

static void check_spec(const struct bench *b, int point)
{
    struct quantizer *q = b->graph->point[point].q;
    const struct qspec was = q->spec;
    bool *const flags[] = {
        &q->spec.is_signed, &q->spec.symmetric, &q->spec.narrow,
        &q->spec.reduce_range, &q->spec.float_zp, &q->spec.divide,
        &q->spec.zp_before, &q->spec.clamp_first, &q->spec.custom_codes,
    };
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
        flip_flag(b, point, flags[i], true, "a word of the spec");
    int *const numbers[] = {&q->spec.bits, (int *)&q->spec.rounding};
    for (size_t i = 0; i < 2; i++) {
        *numbers[i] += 1;
        must_change(b, 0, false, "a number of the spec");
        *numbers[i] -= 1;
    }
    q->spec.delay++;
    must_change(b, 0, false, "a delay");
    q->spec = was;
    q->spec.eps *= 2;
    must_change(b, 0, false, "the smallest scale");
    q->spec = was;
    q->spec.rule = qparams_find("aimet");
    must_change(b, 0, false, "the rule");
    q->spec = was;
    q->spec.kind = quantizer_kind_find("lsq");
    must_change(b, 0, false, "the kind");
    q->spec = was;
}

static void check_points(struct bench *b)
{
    struct graph *g = b->graph;
    for (int i = 0; i < g->n_point; i++) {
        struct point *t = &g->point[i];
        if (!t->q)
            continue;
        check_state(b, i);
        check_spec(b, i);
        struct quantizer *q = t->q;
        t->q = NULL;
        must_change(b, t->node, false, "a quantizer that went");
        t->q = q;
    }
}

static void quantizers_count_where_they_act(void **state)
{
    (void)state;
    for (int i = 0; i < backend_count; i++)
        for (int mode = MODE_FAKE; mode <= MODE_INT; mode++) {
            struct bench b;
            bench_init(&b, (enum mode)mode, i);
            check_points(&b);
            must_stay(&b, "nothing");
            bench_fini(&b);
        }
}

static void mode_float_knows_no_quantizers(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, MODE_FLOAT, 0);
    for (int i = 0; i < b.graph->n_point; i++) {
        struct quantizer *q = b.graph->point[i].q;
        if (!q)
            continue;
        q->scale[0] *= 2;
        q->spec.bits = 3;
        q->fake = false;
    }
    must_stay(&b, "quantizers in mode float");
    bench_fini(&b);
}

static void calibration_knows_only_the_spec(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, MODE_FAKE, 1);
    plan_free(b.plan);
    b.opts.observe_only = true;
    b.plan = plan_of(&b.opts);
    b.base = keys_now(&b, b.plan);
    for (int i = 0; i < b.graph->n_point; i++) {
        struct quantizer *q = b.graph->point[i].q;
        if (!q)
            continue;
        q->scale[0] *= 2;
        q->fake = !q->fake;
        q->observe = !q->observe;
        must_stay(&b, "ranges in calibration");
        q->spec.bits++;
        must_change(&b, 0, false, "bits in calibration");
        q->spec.bits--;
    }
    bench_fini(&b);
}

/* ---- options and data ---- */

static void must_differ(const struct bench *b, const struct plan_opts *o,
                        const char *what)
{
    struct plan *p = plan_of(o);
    struct keys k = keys_now(b, p);
    for (int i = 0; i < k.n; i++)
        for (int j = 0; j < b->base.n; j++)
            if (digest_equal(&k.key[i], &b->base.key[j]))
                fail_msg("%s keeps the fingerprint of cut %d", what, j);
    plan_free(p);
}

static void options_count(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, MODE_INT, 1);
    struct plan_opts o = b.opts;
    o.batch = 5;
    must_differ(&b, &o, "the batch size");
    o = b.opts;
    o.mode = MODE_FAKE;
    must_differ(&b, &o, "mode fake");
    o.observe_only = true;
    must_differ(&b, &o, "calibration");
    o = b.opts;
    o.backend = backend_table[0].impl;
    must_differ(&b, &o, "the back end");
    o = b.opts;
    o.target = &target_table[1];
    must_differ(&b, &o, "the target");
    o = b.opts;
    o.fold = FOLD_PRE;
    must_differ(&b, &o, "folding");
    o = b.opts;
    o.sums = SUM_OWN;
    must_differ(&b, &o, "the way of sums");
    int threads = omp_get_max_threads();
    omp_set_num_threads(threads + 1);
    must_differ(&b, &b.opts, "the number of threads");
    omp_set_num_threads(threads);
    bench_fini(&b);
}

static void data_count(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, MODE_FAKE, 0);
    struct prefix *x = NULL;
    struct err e;
    const struct prefix_opts o = {b.cache, b.plan, 100, false};
    assert_int_equal(prefix_new(&o, &x, &e), STATUS_OK);
    for (uint64_t i = 0; i < 64; i++) {
        struct digest rows = some_rows(5);
        for (int h = 0; h < 2; h++) {
            rows.half[h] ^= (uint64_t)1 << i;
            for (int k = 0; k < b.base.n; k++) {
                struct digest key = prefix_key(x, k, &rows);
                assert_false(digest_equal(&key, &b.base.key[k]));
            }
            rows.half[h] ^= (uint64_t)1 << i;
        }
    }
    prefix_free(x);
    bench_fini(&b);
}

/* A quantizer at a value that stays in between changes nothing before it. */
static void a_point_changes_what_lies_behind_it(void **state)
{
    (void)state;
    static const char *const names[] = {"x.out", "conv1.w", "conv2.out",
                                        "add1.out", "fc1.w", "fc2.w"};
    struct bench b;
    int before = 0;
    bench_init(&b, MODE_FAKE, 0);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        int at = graph_point_find(b.graph, names[i]);
        struct quantizer *q = at < 0 ? NULL : b.graph->point[at].q;
        if (!q)
            continue;
        q->scale[0] *= 2;
        struct keys k = keys_now(&b, b.plan);
        int first = first_changed(&b, &k, names[i]);
        assert_in_range(first, before, b.base.n - 1);
        before = first;
        q->scale[0] /= 2;
    }
    assert_true(before >= b.base.n - 2);
    bench_fini(&b);
}

int main(void)
{
    gsl_set_error_handler_off();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_attributes_and_flags_count),
        cmocka_unit_test(quantizers_count_where_they_act),
        cmocka_unit_test(mode_float_knows_no_quantizers),
        cmocka_unit_test(calibration_knows_only_the_spec),
        cmocka_unit_test(options_count),
        cmocka_unit_test(data_count),
        cmocka_unit_test(a_point_changes_what_lies_behind_it),
    };
    return cmocka_run_group_tests_name("engine prefix keys", tests, NULL,
                                       NULL);
}

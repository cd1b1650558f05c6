/* Values kept from earlier passes: every result and every state equals that
 * of the whole pass in every bit, over random nets and changes, in every mode
 * and back end; and whatever changes changes the fingerprint.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/test_main.h"

#include "unit/engine_points.h"

#include "engine/prefix.h"

#define BATCHES 3

static struct prefix_cache *cache_of(size_t limit)
{
    struct prefix_cache *c = NULL;
    struct err e;
    assert_int_equal(prefix_cache_new(limit, &c, &e), STATUS_OK);
    return c;
}

static struct prefix_cache_info look(const struct prefix_cache *c)
{
    struct prefix_cache_info i;
    prefix_cache_look(c, &i);
    return i;
}

static struct digest rows_of(uint64_t seed)
{
    struct hash128 h;
    hash128_init(&h, 0);
    hash128_add(&h, &seed, sizeof seed);
    return hash128_end(&h);
}

/* ---- a pass with and without the cache ---- */

/* The stream that quantizers draw from, in kinds that do. */
static struct rng *stream_of(const struct graph *g)
{
    for (int i = 0; i < g->n_point; i++)
        if (g->point[i].q && g->point[i].q->rng)
            return g->point[i].q->rng;
    return NULL;
}

static size_t state_bytes(const struct graph *g)
{
    const struct rng *r = stream_of(g);
    return graph_state_bytes(g) + (r ? rng_state_size(r) : 0);
}

/* Statistics, quantizers and the stream; to be freed. */
static void *state_get(const struct graph *g)
{
    char *state = mem_alloc(1, state_bytes(g) + 1);
    assert_non_null(state);
    graph_state_get(g, state);
    if (stream_of(g))
        rng_state_get(stream_of(g), state + graph_state_bytes(g));
    return state;
}

static void state_set(struct graph *g, const void *state)
{
    graph_state_set(g, state);
    if (stream_of(g))
        rng_state_set(stream_of(g),
                      (const char *)state + graph_state_bytes(g));
}

struct outcome {
    enum status status;
    struct err e;
    float *out;
    int64_t n_out;
    void *state;
    size_t n_state;
    int nodes;                /* left out, in all batches */
};

static void outcome_fini(struct outcome *r)
{
    mem_free(r->out);
    mem_free(r->state);
}

static const uint64_t batch_seed[BATCHES] = {11, 12, 11};

/* Inputs that need not be written are spoiled: nothing may read them. */
static enum status one_batch(struct plan *p, struct prefix *x, uint64_t seed,
                             struct outcome *r)
{
    struct digest rows = rows_of(seed);
    int nodes = x ? prefix_find(x, &rows) : 0;
    fill_input(p, seed);
    for (int i = 0; nodes && i < plan_input_count(p); i++)
        plan_input(p, i)[0] = NAN;
    r->nodes += nodes;
    return x ? prefix_forward(x, NULL, &r->e) : plan_forward(p, NULL, &r->e);
}

static enum status batches(struct plan *p, struct prefix *x,
                           struct outcome *r)
{
    int64_t n = plan_output_count(p) * plan_options(p)->batch;
    r->n_out = n * BATCHES;
    r->out = floats(r->n_out);
    for (int i = 0; i < BATCHES; i++) {
        TRY(one_batch(p, x, batch_seed[i], r));
        memcpy(r->out + i * n, plan_output(p), (size_t)n * sizeof(float));
    }
    return STATUS_OK;
}

static struct outcome pass(const struct plan_opts *o,
                           struct prefix_cache *c, bool read_only)
{
    struct outcome r = {.n_state = state_bytes(o->graph)};
    struct plan *p = NULL;
    struct prefix *x = NULL;
    err_clear(&r.e);
    r.status = plan_new(o, &p, &r.e);
    if (r.status == STATUS_OK && c) {
        const struct prefix_opts po = {c, p, o->batch * BATCHES, read_only};
        prefix_cache_begin(c);
        r.status = prefix_new(&po, &x, &r.e);
    }
    if (r.status == STATUS_OK)
        r.status = batches(p, x, &r);
    prefix_free(x);
    plan_free(p);
    r.state = state_get(o->graph);
    return r;
}

static void same_outcome(const struct outcome *got,
                         const struct outcome *want, const char *what)
{
    if (got->status != want->status)
        fail_msg("%s: '%s' with the cache, '%s' without", what, got->e.text,
                 want->e.text);
    if (want->status != STATUS_OK)
        return;
    assert_int_equal(got->n_out, want->n_out);
    for (int64_t i = 0; i < want->n_out; i++)
        if (memcmp(got->out + i, want->out + i, sizeof(float)))
            fail_msg("%s: output %lld is %.9g, without the cache %.9g", what,
                     (long long)i, (double)got->out[i],
                     (double)want->out[i]);
    if (memcmp(got->state, want->state, want->n_state))
        fail_msg("%s: quantizers or statistics differ", what);
}

/* Nodes that the cache left out. */
static int check_pass(const struct plan_opts *o, struct prefix_cache *c,
                      bool read_only, const char *what)
{
    void *before = state_get(o->graph);
    struct outcome want = pass(o, NULL, false);
    state_set(o->graph, before);
    struct outcome got = pass(o, c, read_only);
    same_outcome(&got, &want, what);
    int nodes = got.nodes;
    outcome_fini(&want);
    outcome_fini(&got);
    mem_free(before);
    struct prefix_cache_info i = look(c);
    assert_true(i.bytes <= i.limit);
    return nodes;
}

/* ---- random changes ---- */

static int any_point(struct maker *m, const struct graph *g)
{
    int n = 0, at[200];
    for (int i = 0; i < g->n_point; i++)
        if (g->point[i].q)
            at[n++] = i;
    return n ? at[pick(m, 0, n - 1)] : -1;
}

static bool is_weight(const struct point *t)
{
    return t->kind == POINT_WEIGHT || t->kind == POINT_BIAS;
}

static void set_range(struct maker *m, struct quantizer *q)
{
    struct err e;
    real lo = (real)-0.1 * (real)pick(m, 0, 30);
    real hi = (real)0.1 * (real)pick(m, 1, 30);
    if (!(q->spec.kind->flags & QK_OWN_SCALE))
        quantizer_set_range(q, &lo, &hi, 1, &e);
}

static void change_bits(struct maker *m, struct graph *g)
{
    int at = any_point(m, g);
    struct err e;
    if (at < 0)
        return;
    struct qspec s = g->point[at].q->spec;
    int bits = pick(m, 2, 9);
    qspec_set_bits(&s, bits < s.kind->max_bits ? bits : s.kind->max_bits);
    if (point_set(g, at, &s, &e))
        return;
    if (!is_weight(&g->point[at]) || pick(m, 0, 1))
        set_range(m, g->point[at].q);
}

static void change_range(struct maker *m, struct graph *g)
{
    int at = any_point(m, g);
    if (at >= 0)
        set_range(m, g->point[at].q);
}

static void change_flag(struct maker *m, struct graph *g)
{
    int at = any_point(m, g);
    if (at < 0)
        return;
    struct quantizer *q = g->point[at].q;
    if (pick(m, 0, 1))
        q->fake = !q->fake;
    else
        q->observe = !q->observe;
}

static void change_param(struct maker *m, struct graph *g)
{
    struct param *w = &g->param[pick(m, 0, g->n_param - 1)];
    int64_t i = pick(m, 0, (int)w->count - 1);
    w->value[i] = w->value[i] * (real)1.5 + (real)0.125;
}

static void change_norm(struct maker *m, struct graph *g)
{
    struct node *n = &g->node[pick(m, 0, g->n_node - 1)];
    if (n->op->flags & OP_BATCH_NORM)
        n->bn_frozen = !n->bn_frozen;
}

static void change_nothing(struct maker *m, struct graph *g)
{
    (void)m;
    (void)g;
}

typedef void (*change_fn)(struct maker *m, struct graph *g);
static const change_fn changes[] = {
    change_bits, change_bits, change_range, change_flag, change_param,
    change_norm, change_nothing,
};

static void observe_all(struct graph *g)
{
    for (int i = 0; i < g->n_point; i++)
        if (g->point[i].q)
            g->point[i].q->observe = true;
}

struct way {
    const char *name;
    enum mode mode;
    bool calibrates;
};
static const struct way ways[] = {
    {"float", MODE_FLOAT, false}, {"fake", MODE_FAKE, false},
    {"int", MODE_INT, false},     {"calibrate", MODE_FAKE, true},
};

static struct plan_opts way_opts(const struct way *w, struct graph *g,
                                 uint64_t seed, int backend)
{
    struct plan_opts o = int_opts(g, seed);
    o.keep_values = false;
    o.mode = w->mode;
    o.observe_only = w->calibrates;
    o.backend = backend_table[backend].impl;
    return o;
}

/* Small limits make some values leave; read-only passes keep none. */
static int check_net(const struct way *w, uint64_t seed, int backend)
{
    struct maker m;
    struct graph *g = random_net(&m, seed);
    struct prefix_cache *c = cache_of(pick(&m, 0, 4) ? 64 << 20 : 30000);
    int nodes = 0;
    if (w->calibrates)
        observe_all(g);
    for (int i = 0; i < 6; i++) {
        struct plan_opts o = way_opts(w, g, seed, backend);
        char what[100];
        snprintf(what, sizeof what, "%s, %s, net %d, change %d", w->name,
                 backend_table[backend].name, (int)seed, i);
        nodes += check_pass(&o, c, pick(&m, 0, 5) == 0, what);
        changes[pick(&m, 0, 6)](&m, g);
    }
    prefix_cache_free(c);
    net_free(g);
    maker_fini(&m);
    return nodes;
}

static void check_way(const struct way *w)
{
    int nodes = 0;
    for (uint64_t seed = 1; seed <= 40; seed++)
        for (int b = 0; b < backend_count; b++)
            nodes += check_net(w, seed, b);
    assert_true(nodes > 1000);
}

static void float_passes_equal_whole_ones(void **state)
{
    (void)state;
    check_way(&ways[0]);
}

static void fake_passes_equal_whole_ones(void **state)
{
    (void)state;
    check_way(&ways[1]);
}

static void integer_passes_equal_whole_ones(void **state)
{
    (void)state;
    check_way(&ways[2]);
}

static void calibrations_equal_whole_ones(void **state)
{
    (void)state;
    check_way(&ways[3]);
}

/* ---- every kind of quantizer ---- */

static bool kind_spec(const struct quantizer_kind *k, struct qspec *spec)
{
    struct err e;
    char text[80];
    snprintf(text, sizeof(text), "%s:%d", k->name,
             k->max_bits < 4 ? k->max_bits : 4);
    if (qspec_parse(text, NULL, spec, &e) == STATUS_OK)
        return true;
    return qspec_parse(k->name, NULL, spec, &e) == STATUS_OK;
}

static const char small_text[] =
    "model small loss=ce\n"
    "x input 2x4x4\n"
    "conv1 conv2d out=8 kernel=3 pad=1\n"
    "bn1 batch_norm\n"
    "relu1 relu\n"
    "conv2 conv2d out=8 kernel=3 pad=1\n"
    "add1 add < conv2 relu1\n"
    "relu2 relu6\n"
    "pool max_pool kernel=2 stride=2\n"
    "flat flatten\n"
    "fc1 dense out=6\n"
    "fc2 dense out=3\n";

/* At a weight or a value in the middle of the net, streams at hand. */
static void check_kind(const struct qspec *spec, const char *point,
                       const struct way *w)
{
    struct graph *g = net_from(small_text, 8);
    struct rng *r = rng_new(1, RNG_ROUND);
    struct prefix_cache *c = cache_of(1 << 20);
    struct err e;
    int at = graph_point_find(g, point), fc = graph_point_find(g, "fc2.w");
    set_point(g, graph_point_find(g, "x.out"), "affine:8,unsigned,asym");
    set_point(g, fc, "affine:4,sym");
    if (point_set(g, at, spec, &e))
        fail_msg("%s: %s", spec->kind->name, e.text);
    calibrate(g);
    g->point[at].q->rng = r;
    if (w->calibrates)
        observe_all(g);
    for (int i = 0; i < 4; i++) {
        char what[100];
        snprintf(what, sizeof what, "%s at %s, %s, pass %d",
                 spec->kind->name, point, w->name, i);
        struct plan_opts o = way_opts(w, g, 2, i % backend_count);
        o.fold = FOLD_QAT;
        check_pass(&o, c, false, what);
        check_pass(&o, c, false, what);
        g->point[fc].q->spec.bits = 8 - i;
    }
    prefix_cache_free(c);
    rng_free(r);
    net_free(g);
}

static void every_kind_gives_the_same(void **state)
{
    (void)state;
    for (int i = 0; i < quantizer_count; i++) {
        const struct quantizer_kind *k = quantizer_table[i];
        struct qspec spec;
        if (!kind_spec(k, &spec))
            fail_msg("%s", k->name);
        for (int w = 1; w < 4; w++) {
            if (k->flags & QK_WEIGHTS)
                check_kind(&spec, "fc1.w", &ways[w]);
            if ((k->flags & QK_ACTIVATIONS) && spec.grain != GRAIN_GROUP)
                check_kind(&spec, "conv1.out", &ways[w]);
        }
    }
}

/* ---- what the cache does ---- */

/* The small net at 8 bits, calibrated. */
static struct graph *small_net(void)
{
    struct graph *g = net_from(small_text, 8);
    struct err e;
    struct assign_opts a = {.config = qconfig_find("onednn"), .input = true};
    if (assign_qconfig(g, &a, &e))
        fail_msg("%s", e.text);
    calibrate(g);
    return g;
}

static struct plan_opts small_opts(struct graph *g)
{
    struct plan_opts o;
    plan_opts_default(&o);
    o.graph = g;
    o.batch = 8;
    o.mode = MODE_FAKE;
    return o;
}

static enum status count_step(void *n)
{
    ++*(int *)n;
    return STATUS_OK;
}

/* Steps that one batch runs. */
static int steps_of(const struct plan_opts *o, struct prefix_cache *c)
{
    int n = 0;
    struct tick tick = {count_step, &n};
    struct plan *p = plan_of(o);
    struct prefix *x = NULL;
    struct err e;
    const struct prefix_opts po = {c, p, o->batch, false};
    const struct digest rows = rows_of(3);
    prefix_cache_begin(c);
    assert_int_equal(prefix_new(&po, &x, &e), STATUS_OK);
    assert_non_null(x);
    if (prefix_find(x, &rows) == 0)
        fill_input(p, 3);
    if (prefix_forward(x, &tick, &e))
        fail_msg("%s", e.text);
    prefix_free(x);
    plan_free(p);
    return n;
}

static void set_bits(struct graph *g, const char *point, int bits)
{
    struct err e;
    int at = graph_point_find(g, point);
    struct qspec s = g->point[at].q->spec;
    qspec_set_bits(&s, bits);
    assert_int_equal(point_set(g, at, &s, &e), STATUS_OK);
}

static void later_changes_run_fewer_steps(void **state)
{
    (void)state;
    struct graph *g = small_net();
    struct plan_opts o = small_opts(g);
    struct prefix_cache *c = cache_of(16 << 20);
    int whole = steps_of(&o, c);
    assert_int_equal(steps_of(&o, c), 0);
    assert_int_equal(steps_of(&o, c), 0);
    static const char *const points[] = {"conv1.w", "conv2.w", "fc1.w",
                                         "fc2.w"};
    /* The first layer begins anew; other widths take other steps. */
    int before = whole + 4;
    for (int i = 0; i < 4; i++) {
        set_bits(g, points[i], 3);
        int steps = steps_of(&o, c);
        assert_in_range(steps, 1, before - 1);
        assert_int_equal(steps_of(&o, c), 0);
        before = steps;
    }
    /* There and back again: both are known. */
    set_bits(g, "fc2.w", 8);
    assert_int_equal(steps_of(&o, c), 0);
    set_bits(g, "fc2.w", 3);
    assert_int_equal(steps_of(&o, c), 0);
    prefix_cache_clear(c);
    assert_int_equal(look(c).bytes, 0);
    assert_int_equal(steps_of(&o, c), whole);
    prefix_cache_free(c);
    net_free(g);
}

static void a_cache_without_bytes_is_off(void **state)
{
    (void)state;
    struct graph *g = small_net();
    struct plan_opts o = small_opts(g);
    struct plan *p = plan_of(&o);
    struct prefix_cache *c = cache_of(0);
    struct prefix *x = NULL;
    struct err e;
    struct prefix_opts po = {c, p, 100, false};
    assert_int_equal(prefix_new(&po, &x, &e), STATUS_OK);
    assert_null(x);
    po.cache = NULL;
    assert_int_equal(prefix_new(&po, &x, &e), STATUS_OK);
    assert_null(x);
    prefix_free(x);
    plan_free(p);
    prefix_cache_limit(c, 16 << 20);
    steps_of(&o, c);
    assert_int_equal(steps_of(&o, c), 0);
    assert_true(look(c).bytes > 0);
    prefix_cache_limit(c, 0);
    assert_int_equal(look(c).bytes, 0);
    assert_int_equal(look(c).values, 0);
    prefix_cache_free(c);
    prefix_cache_free(NULL);
    net_free(g);
}

/* Fewest and most nodes that a batch left out. */
static void reuse_of(const struct plan_opts *o, struct prefix_cache *c,
                     int range[2])
{
    struct plan *p = plan_of(o);
    struct prefix *x = NULL;
    struct err e;
    const struct prefix_opts po = {c, p, 4 * o->batch, false};
    prefix_cache_begin(c);
    assert_int_equal(prefix_new(&po, &x, &e), STATUS_OK);
    range[0] = 1000;
    range[1] = 0;
    for (uint64_t i = 0; i < 4; i++) {
        const struct digest rows = rows_of(20 + i);
        int nodes = prefix_find(x, &rows);
        fill_input(p, 20 + i);
        range[0] = nodes < range[0] ? nodes : range[0];
        range[1] = nodes > range[1] ? nodes : range[1];
        if (prefix_forward(x, NULL, &e))
            fail_msg("%s", e.text);
    }
    prefix_free(x);
    plan_free(p);
}

/* What a batch keeps anew takes the place of what it kept before its layer
 * changed, not of what later batches are about to begin with. */
static void a_full_cache_serves_all_batches_alike(void **state)
{
    (void)state;
    int served = 0;
    for (size_t limit = 20000; limit < 60000; limit += 1000) {
        struct graph *g = small_net();
        struct plan_opts o = small_opts(g);
        struct prefix_cache *c = cache_of(limit);
        int range[2];
        o.batch = 32;
        reuse_of(&o, c, range);
        reuse_of(&o, c, range);
        for (int bits = 3; bits < 7; bits++) {
            set_bits(g, "conv2.w", bits);
            reuse_of(&o, c, range);
            if (range[0] != range[1])
                fail_msg("limit %zu, %d bits: %d to %d nodes", limit, bits,
                         range[0], range[1]);
            served += range[0] > 0;
        }
        prefix_cache_free(c);
        net_free(g);
    }
    assert_true(served > 0);
}

static void read_only_passes_keep_nothing(void **state)
{
    (void)state;
    struct graph *g = small_net();
    struct plan_opts o = small_opts(g);
    struct prefix_cache *c = cache_of(16 << 20);
    check_pass(&o, c, true, "read only");
    assert_int_equal(look(c).values, 0);
    check_pass(&o, c, false, "keeping");
    int64_t n = look(c).values;
    assert_true(n > 0);
    set_bits(g, "fc2.w", 3);
    assert_true(check_pass(&o, c, true, "read only") > 0);
    assert_int_equal(look(c).values, n);
    prefix_cache_free(c);
    net_free(g);
}

/* relu6 cuts off at 6, which lies on no grid here: its values follow the grid
 * of fc0 but for that, and must not be rounded to it. */
static void values_off_the_grid_are_kept_whole(void **state)
{
    (void)state;
    struct graph *g = net_from("model six loss=ce\n"
                               "x input 40\n"
                               "fc0 dense out=400\n"
                               "id identity\n"
                               "r relu6\n"
                               "fc dense out=3\n", 8);
    struct err e;
    real lo = -8, hi = 8;
    int out = graph_point_find(g, "fc0.out");
    set_point(g, out, "affine:5,unsigned,asym");
    assert_int_equal(quantizer_set_range(g->point[out].q, &lo, &hi, 1, &e),
                     STATUS_OK);
    struct param *w = &g->param[graph_param_find(g, "fc0.weight")];
    for (int64_t i = 0; i < w->count; i++)
        w->value[i] *= 20;
    struct plan_opts o = small_opts(g);
    for (int i = 0; i < backend_count; i++) {
        struct prefix_cache *c = cache_of(16 << 20);
        o.backend = backend_table[i].impl;
        check_pass(&o, c, false, "first");
        set_point(g, graph_point_find(g, "fc.w"), "affine:4,sym");
        assert_true(check_pass(&o, c, false, "then") >= 4 * BATCHES);
        set_point(g, graph_point_find(g, "fc.w"), "affine:5,sym");
        prefix_cache_free(c);
    }
    net_free(g);
}

/* The same batches without and with the cache: the state that they leave. */
static void check_order(const struct plan_opts *o, struct prefix_cache *c,
                        const uint64_t *seed, int n)
{
    void *before = state_get(o->graph), *want = NULL, *got = NULL;
    for (int i = 0; i < 2; i++) {
        struct plan *p = plan_of(o);
        struct prefix *x = NULL;
        struct outcome r = {.nodes = 0};
        const struct prefix_opts po = {c, p, o->batch * n, false};
        state_set(o->graph, before);
        if (i)
            assert_int_equal(prefix_new(&po, &x, &r.e), STATUS_OK);
        for (int k = 0; k < n; k++)
            assert_int_equal(one_batch(p, x, seed[k], &r), STATUS_OK);
        *(i ? &got : &want) = state_get(o->graph);
        prefix_free(x);
        plan_free(p);
    }
    assert_memory_equal(got, want, state_bytes(o->graph));
    mem_free(before);
    mem_free(want);
    mem_free(got);
}

/* A scale that is found anew in each batch is part of what a pass leaves. */
static void batches_that_move_a_scale_are_not_left_out(void **state)
{
    (void)state;
    static const uint64_t forth[] = {31, 32}, back[] = {32, 31},
                          one[] = {32};
    struct graph *g = net_from(small_text, 8);
    set_point(g, graph_point_find(g, "conv1.out"), "binary");
    calibrate(g);
    struct plan_opts o = small_opts(g);
    for (int b = 0; b < backend_count; b++) {
        struct prefix_cache *c = cache_of(16 << 20);
        o.backend = backend_table[b].impl;
        for (int i = 0; i < 3; i++) {
            check_order(&o, c, forth, 2);
            check_order(&o, c, forth, 1);
            check_order(&o, c, one, 1);
            check_order(&o, c, forth, 1);
            check_order(&o, c, back, 2);
            check_order(&o, c, one, 1);
        }
        prefix_cache_free(c);
    }
    net_free(g);
}

/* ---- interruption, and memory ---- */

struct stopper {
    int left;
};

static enum status stop_soon(void *ctx)
{
    struct stopper *s = ctx;
    return s->left-- > 0 ? STATUS_OK : STATUS_STOPPED;
}

static void stopped_passes_leave_nothing_wrong(void **state)
{
    (void)state;
    struct graph *g = small_net();
    struct plan_opts o = small_opts(g);
    struct prefix_cache *c = cache_of(16 << 20);
    for (int stop = 0; stop < 12; stop++) {
        struct stopper s = {stop};
        struct tick tick = {stop_soon, &s};
        struct plan *p = plan_of(&o);
        struct prefix *x = NULL;
        struct err e;
        const struct prefix_opts po = {c, p, o.batch, false};
        const struct digest rows = rows_of(batch_seed[stop % 2]);
        assert_int_equal(prefix_new(&po, &x, &e), STATUS_OK);
        if (prefix_find(x, &rows) == 0)
            fill_input(p, batch_seed[stop % 2]);
        enum status st = prefix_forward(x, &tick, &e);
        assert_true(st == STATUS_STOPPED || st == STATUS_OK);
        prefix_free(x);
        plan_free(p);
        if (stop % 3 == 2) {
            check_pass(&o, c, false, "after a stop");
            prefix_cache_clear(c);
        }
    }
    prefix_cache_free(c);
    net_free(g);
}

/* Whatever allocation fails, the numbers are right or there is an error. */
static void short_memory_spoils_nothing(void **state)
{
    (void)state;
    struct graph *g = small_net();
    struct plan_opts o = small_opts(g);
    struct prefix_cache *c = cache_of(16 << 20);
    struct outcome want = pass(&o, NULL, false);
    for (long n = 1; n < 120; n++) {
        struct plan *p = plan_of(&o);
        struct outcome got = {.nodes = 0};
        struct prefix *x = NULL;
        const struct prefix_opts po = {c, p, o.batch * BATCHES, false};
        got.out = floats(want.n_out);
        err_clear(&got.e);
        fill_input(p, batch_seed[0]);
        mem_fail_after(n);
        got.status = prefix_new(&po, &x, &got.e);
        if (got.status == STATUS_OK) {
            const struct digest rows = rows_of(batch_seed[0]);
            prefix_find(x, &rows);
            got.status = prefix_forward(x, NULL, &got.e);
        }
        mem_fail_after(0);
        assert_true(got.status == STATUS_OK || got.status == STATUS_MEM);
        if (got.status == STATUS_OK)
            assert_memory_equal(plan_output(p), want.out,
                                (size_t)want.n_out / BATCHES *
                                    sizeof(float));
        prefix_free(x);
        plan_free(p);
        outcome_fini(&got);
        if (n % 2)
            prefix_cache_clear(c);
    }
    outcome_fini(&want);
    prefix_cache_free(c);
    net_free(g);
}

int main(void)
{
    gsl_set_error_handler_off();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(float_passes_equal_whole_ones),
        cmocka_unit_test(fake_passes_equal_whole_ones),
        cmocka_unit_test(integer_passes_equal_whole_ones),
        cmocka_unit_test(calibrations_equal_whole_ones),
        cmocka_unit_test(every_kind_gives_the_same),
        cmocka_unit_test(later_changes_run_fewer_steps),
        cmocka_unit_test(a_cache_without_bytes_is_off),
        cmocka_unit_test(a_full_cache_serves_all_batches_alike),
        cmocka_unit_test(read_only_passes_keep_nothing),
        cmocka_unit_test(values_off_the_grid_are_kept_whole),
        cmocka_unit_test(batches_that_move_a_scale_are_not_left_out),
        cmocka_unit_test(stopped_passes_leave_nothing_wrong),
        cmocka_unit_test(short_memory_spoils_nothing),
    };
    return cmocka_run_group_tests_name("engine prefix", tests, NULL, NULL);
}

/* Back end fast against back end ref over random graphs: values, gradients,
 * running statistics and quantizers after a step.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/test_main.h"

#include "unit/engine_text.h"

/* ---- random graphs ---- */

static void add_conv(struct maker *m)
{
    int k = pick(m, 1, 3), stride = pick(m, 1, 2), dilation = pick(m, 1, 2);
    int a = pick(m, 0, 1), b = pick(m, 0, 1);
    int oh = out_size(m->h, k, stride, a + b, dilation);
    int ow = out_size(m->w, k, stride, a + b, dilation);
    if (oh < 1 || ow < 1)
        return;
    static const int widths[] = {1, 3, 6, 8, 12, 16};
    int out = widths[pick(m, 0, 5)], groups = 1;
    if (pick(m, 0, 3) == 0) {
        groups = m->c;
        out = m->c * pick(m, 1, 2);
    } else if (m->c % 2 == 0 && out % 2 == 0 && pick(m, 0, 2) == 0) {
        groups = 2;
    }
    line(m, "conv2d out=%d kernel=%d stride=%d dilation=%d pad_top=%d "
            "pad_left=%d pad_bottom=%d pad_right=%d groups=%d bias=%d",
         out, k, stride, dilation, a, b, b, a, groups, pick(m, 0, 1));
}

static void add_norm(struct maker *m)
{
    line(m, "batch_norm");
}

static void add_act(struct maker *m)
{
    static const char *const acts[] = {
        "relu", "relu", "relu", "relu6", "leaky_relu", "silu", "sigmoid",
        "tanh", "hard_swish", "hard_sigmoid", "clip lo=-0.5 hi=0.7",
    };
    line(m, "%s", acts[pick(m, 0, 10)]);
}

static void add_pool(struct maker *m)
{
    static const char *const pools[] = {"max_pool", "avg_pool"};
    int k = pick(m, 2, 3), stride = pick(m, 1, 3), pad = pick(m, 0, 1);
    int ceil_mode = pick(m, 0, 1), avg = pick(m, 0, 1);
    if (m->h < k || m->w < k)
        return;
    line(m, "%s kernel=%d stride=%d pad=%d ceil_mode=%d%s", pools[avg], k,
         stride, pad, ceil_mode, avg && pick(m, 0, 1) ? " count_pads=1" : "");
}

/* Two branches from one value, added or laid side by side. */
static void add_branch(struct maker *m)
{
    int from = m->n - 1, c = m->c, merge = pick(m, 0, 4);
    line(m, "conv2d out=%d kernel=3 pad=1 bias=0 < L%d", c, from);
    line(m, "batch_norm");
    int left = m->n - 1, right = from;
    if (pick(m, 0, 1)) {
        line(m, "conv2d out=%d kernel=1 < L%d", c, from);
        right = m->n - 1;
    }
    static const char *const merges[] = {"add", "add", "mul", "sub",
                                         "concat"};
    line(m, "%s < L%d L%d", merges[merge], left, right);
    if (pick(m, 0, 1))
        line(m, "relu");
}

typedef void (*add_fn)(struct maker *m);

static void add_head(struct maker *m)
{
    if (pick(m, 0, 1))
        line(m, "global_avg_pool");
    line(m, "flatten");
    line(m, "dense out=%d bias=%d", pick(m, 3, 20), pick(m, 0, 1));
    if (pick(m, 0, 1))
        line(m, "batch_norm");
    if (pick(m, 0, 1))
        add_act(m);
    line(m, "dense out=5");
}

static void random_text(struct maker *m, uint64_t seed)
{
    static const add_fn adds[] = {add_conv, add_conv, add_norm, add_act,
                                  add_pool, add_branch};
    m->rng = rng_new(seed, RNG_SHUFFLE);
    m->c = pick(m, 1, 4);
    m->h = pick(m, 5, 11);
    m->w = pick(m, 5, 11);
    str_add(&m->text, "model random loss=ce\n");
    line(m, "input %dx%dx%d", m->c, m->h, m->w);
    int layers = pick(m, 2, 9);
    for (int i = 0; i < layers; i++) {
        adds[pick(m, 0, 5)](m);
        ask_shape(m);
    }
    add_head(m);
    rng_free(m->rng);
}

/* ---- nets ---- */

static struct graph *net_from(const char *text, uint64_t seed)
{
    struct graph *g = NULL;
    struct err e;
    err_clear(&e);
    struct rng *r = rng_new(seed, RNG_INIT);
    if (graph_parse(text, &g, &e) || graph_finish(g, r, &e))
        fail_msg("%s\n%s", e.text, text);
    /* Scales, shifts and statistics that are not 1 and 0. */
    for (int i = 0; i < g->n_param; i++) {
        struct param *p = &g->param[i];
        bool positive = p->role == PARAM_VAR || p->role == PARAM_GAMMA;
        if (p->role == PARAM_WEIGHT)
            continue;
        for (int64_t k = 0; k < p->count; k++)
            p->value[k] = (real)(positive ? 0.5 + rng_uniform(r)
                                          : 0.3 * rng_normal(r));
    }
    rng_free(r);
    return g;
}

static void quantize(struct graph *g, const char *config, int bits)
{
    struct err e;
    struct assign_opts a = {.config = qconfig_find(config),
                            .weight_bits = bits,
                            .activation_bits = bits,
                            .input = true};
    assert_non_null(a.config);
    if (assign_qconfig(g, &a, &e))
        fail_msg("%s", e.text);
}

/* ---- one step ---- */

struct outcome {
    float *out, *grad, *learned, *state;
    int64_t n_out, n_grad, n_learned, n_state;
};

static void outcome_fini(struct outcome *o)
{
    mem_free(o->out);
    mem_free(o->grad);
    mem_free(o->learned);
    mem_free(o->state);
}

static void run_plan(struct plan *p, struct outcome *r)
{
    struct err e;
    err_clear(&e);
    const struct plan_opts *o = plan_options(p);
    if (plan_forward(p, NULL, &e))
        fail_msg("%s", e.text);
    r->n_out = plan_output_count(p) * o->batch;
    r->out = floats(r->n_out);
    memcpy(r->out, plan_output(p), (size_t)r->n_out * sizeof(float));
    if (!o->train)
        return;
    float *g = plan_output_grad(p);
    for (int64_t i = 0; i < r->n_out; i++)
        g[i] = (float)((i * 37 % 11) - 5) / 10.0f;
    if (plan_backward(p, NULL, &e))
        fail_msg("%s", e.text);
}

/* Gradients, running statistics, scales and zero points. */
static void take_outcome(const struct graph *g, struct outcome *r)
{
    r->n_grad = g->n_grad;
    r->grad = floats(g->n_grad);
    memcpy(r->grad, g->grad_block, (size_t)g->n_grad * sizeof(float));
    int64_t states = g->n_value - g->n_grad;
    r->n_state = states;
    for (int i = 0; i < g->n_point; i++)
        if (g->point[i].q)
            r->n_state += 2 * g->point[i].q->channels;
    r->state = floats(r->n_state);
    memcpy(r->state, g->value_block + g->n_grad,
           (size_t)states * sizeof(float));
    float *at = r->state + states;
    for (int i = 0; i < g->n_point; i++) {
        const struct quantizer *q = g->point[i].q;
        if (!q)
            continue;
        for (int64_t c = 0; c < q->channels; c++) {
            *at++ = q->scale[c];
            *at++ = q->zero_point[c];
        }
        r->n_learned += q->n_learned;
    }
    r->learned = floats(r->n_learned);
    at = r->learned;
    for (int i = 0; i < g->n_point; i++) {
        const struct quantizer *q = g->point[i].q;
        for (int64_t k = 0; q && k < q->n_learned; k++)
            *at++ = q->grad[k];
    }
}

static struct outcome step(const struct plan_opts *o, uint64_t seed)
{
    struct outcome r;
    memset(&r, 0, sizeof(r));
    struct err e;
    err_clear(&e);
    struct plan *p = NULL;
    size_t bytes = graph_state_bytes(o->graph);
    void *state = mem_alloc(1, bytes + 1);
    graph_state_get(o->graph, state);
    if (plan_new(o, &p, &e))
        fail_msg("%s", e.text);
    fill_input(p, seed);
    run_plan(p, &r);
    take_outcome(o->graph, &r);
    graph_state_set(o->graph, state);
    mem_free(state);
    plan_free(p);
    return r;
}

static double relative_error(const float *a, const float *b, int64_t n)
{
    double d = 0, norm = 0;
    for (int64_t i = 0; i < n; i++) {
        d += pow((double)a[i] - (double)b[i], 2);
        norm += pow((double)b[i], 2);
    }
    return norm > 0 ? sqrt(d / norm) : sqrt(d);
}

/* The last bits of the parameters change: how much the result follows tells
 * how far two right answers may lie apart. Free what comes back. */
static real *shake(struct graph *g, double size)
{
    real *keep = mem_alloc((size_t)g->n_grad + 1, sizeof(*keep));
    assert_non_null(keep);
    memcpy(keep, g->value_block, (size_t)g->n_grad * sizeof(*keep));
    struct rng *r = rng_new(5, RNG_AUGMENT);
    for (int64_t i = 0; i < g->n_grad; i++)
        g->value_block[i] *= (real)(1 + (rng_uniform(r) - 0.5) * size);
    rng_free(r);
    return keep;
}

static void calm(struct graph *g, real *keep)
{
    memcpy(g->value_block, keep, (size_t)g->n_grad * sizeof(*keep));
    mem_free(keep);
}

static struct outcome step_shaken(const struct plan_opts *o, uint64_t seed)
{
    real *keep = shake(o->graph, 0x1p-21);
    struct outcome out = step(o, seed);
    calm(o->graph, keep);
    return out;
}

struct side {
    const char *name;
    const float *got, *want, *shaken;
    int64_t n;
};

static void compare(const struct outcome *got, const struct outcome *want,
                    const struct outcome *shaken, double limit,
                    const char *what)
{
    const struct side side[] = {
        {"values", got->out, want->out, shaken->out, want->n_out},
        {"gradients", got->grad, want->grad, shaken->grad, want->n_grad},
        {"states", got->state, want->state, shaken->state, want->n_state},
        {"learned", got->learned, want->learned, shaken->learned,
         want->n_learned},
    };
    for (size_t i = 0; i < sizeof(side) / sizeof(side[0]); i++) {
        const struct side *s = &side[i];
        double d = relative_error(s->got, s->want, s->n);
        double allowed =
            limit + 10 * relative_error(s->shaken, s->want, s->n);
        if (!(d <= allowed))
            fail_msg("%s differ by %g of their size, allowed %g, in\n%s",
                     s->name, d, allowed, what);
    }
}

/* The same step on both back ends. */
static void check(struct plan_opts *o, double limit, const char *what)
{
    o->backend = backend_find("ref");
    struct outcome want = step(o, 7), shaken = step_shaken(o, 7);
    o->backend = backend_find("fast");
    struct outcome got = step(o, 7);
    compare(&got, &want, &shaken, limit, what);
    outcome_fini(&want);
    outcome_fini(&shaken);
    outcome_fini(&got);
}

static void float_steps_agree_on_random_graphs(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct maker m = {.n = 0};
        random_text(&m, seed);
        struct graph *g = net_from(str_text(&m.text), seed);
        struct plan_opts o;
        plan_opts_default(&o);
        o.graph = g;
        o.batch = 1 + (int64_t)(seed % 4) * 2;
        o.train = seed % 5 != 0;
        if (seed % 3 == 0)
            for (int i = 0; i < g->n_node; i++)
                g->node[i].bn_frozen = i % 2 == 0;
        check(&o, 5e-5, str_text(&m.text));
        net_free(g);
        str_fini(&m.text);
    }
}

static void fake_steps_agree_on_random_graphs(void **state)
{
    (void)state;
    static const char *const configs[] = {"qnnpack", "onednn", "fbgemm"};
    for (uint64_t seed = 101; seed <= 150; seed++) {
        struct maker m = {.n = 0};
        random_text(&m, seed);
        struct graph *g = net_from(str_text(&m.text), seed);
        quantize(g, configs[seed % 3], 14);
        struct plan_opts o;
        plan_opts_default(&o);
        o.graph = g;
        o.batch = 2 + (int64_t)(seed % 3);
        o.mode = MODE_FAKE;
        o.train = true;
        o.fold = (enum bn_fold)(seed % FOLD_COUNT);
        if (seed % 4 == 0)
            for (int i = 0; i < g->n_node; i++)
                g->node[i].bn_frozen = true;
        check(&o, 5e-3, str_text(&m.text));
        net_free(g);
        str_fini(&m.text);
    }
}

/* Layers that the random graphs above do not have. */
static void steps_agree_on_rows_and_sequences(void **state)
{
    (void)state;
    static const char *const texts[] = {
        /* DeepSets */
        "model sets loss=mse\nx input 7x3\nd1 dense out=10\nr1 relu\n"
        "d2 dense out=9 bias=0\nr2 relu6\ns reduce_sum axes=1\n"
        "d3 dense out=4\nr3 relu\nd4 dense out=1\n",
        "model means loss=mse\nx input 5x4\nd1 dense out=6\n"
        "m reduce_mean axes=1 keepdims=1\nf flatten\nd2 dense out=3\n",
        "model line loss=ce\nx input 3x20\nc1 conv1d out=6 kernel=5 pad=2\n"
        "n1 batch_norm\nr1 relu\np1 max_pool kernel=2\n"
        "c2 conv1d out=4 kernel=3 stride=2 groups=2\nf flatten\n"
        "d dense out=5\n",
        /* a value with more readers than parts, and one read twice */
        "model fans loss=ce\nx input 2x6x6\nc0 conv2d out=4 kernel=3 pad=1\n"
        "r0 relu\nc1 conv2d out=4 kernel=1 < r0\n"
        "c2 conv2d out=4 kernel=1 < r0\nc3 conv2d out=4 kernel=1 < r0\n"
        "c4 conv2d out=4 kernel=1 < r0\na1 add < c1 c2\na2 add < c3 c4\n"
        "a3 add < a1 a2\na4 add < a3 r0\na5 add < a4 a4\nr5 relu\n"
        "k concat axis=1 < r5 r0 a3\nf flatten\nd dense out=5\n",
        "model odd loss=ce\nx input 4x6x6\nt transpose perm=0,2,3,1\n"
        "r reshape shape=9x4x4\np pad pad=1 pad_front=2\n"
        "c conv2d out=3 kernel=3\ns softmax\nf flatten\nd dense out=5\n",
    };
    for (size_t i = 0; i < 2 * sizeof(texts) / sizeof(texts[0]); i++) {
        struct graph *g = net_from(texts[i / 2], 9);
        struct plan_opts o;
        plan_opts_default(&o);
        if (i % 2) {
            quantize(g, "onednn", 16);
            o.mode = MODE_FAKE;
        }
        o.graph = g;
        o.batch = 6;
        o.train = true;
        check(&o, i % 2 ? 5e-3 : 5e-5, texts[i / 2]);
        net_free(g);
    }
}

/* A quantizer at every point: weights, biases, inputs and outputs, learned
 * and per channel, which no fused pass knows. */
static const char *const point_spec[POINT_KINDS][3] = {
    [POINT_WEIGHT] = {"lsq:12", "affine:14,channel,sym,obs=ema",
                      "affine:13,zp=before,round=half_away"},
    [POINT_BIAS] = {"affine:16", NULL, "affine:15,sym"},
    [POINT_IN] = {"affine:14,unsigned,asym", "lsq:12", NULL},
    [POINT_OUT] = {"affine:14,asym,obs=ema,divide", "lsq:12",
                   "affine:14,asym,channel"},
    [POINT_ACC] = {NULL, NULL, NULL},
};

static void set_every_point(struct graph *g, uint64_t seed)
{
    struct err e;
    err_clear(&e);
    for (int i = 0; i < g->n_point; i++) {
        uint64_t choice = (seed + (uint64_t)i) % 3;
        const char *text = point_spec[g->point[i].kind][choice];
        struct qspec base, s;
        if (!text)
            continue;
        qspec_default(&base);
        if (qspec_parse(text, &base, &s, &e) || point_set(g, i, &s, &e))
            fail_msg("%s: %s", g->point[i].name, e.text);
        struct quantizer *q = g->point[i].q;
        if (q->n_learned && quantizer_enable_learn(q, true, &e))
            fail_msg("%s", e.text);
    }
}

static void steps_agree_with_quantizers_everywhere(void **state)
{
    (void)state;
    for (uint64_t seed = 301; seed <= 330; seed++) {
        struct maker m = {.n = 0};
        random_text(&m, seed);
        struct graph *g = net_from(str_text(&m.text), seed);
        set_every_point(g, seed);
        struct plan_opts o;
        plan_opts_default(&o);
        o.graph = g;
        o.batch = 4;
        o.mode = MODE_FAKE;
        o.train = true;
        o.fold = (enum bn_fold)(seed % FOLD_COUNT);
        check(&o, 2e-2, str_text(&m.text));
        net_free(g);
        str_fini(&m.text);
    }
}

/* ---- what can be read from a plan ---- */

struct looks {
    float *before, *after, *grad;
    bool has_grad;
};

static void look(const struct plan *p, int node, struct looks *l)
{
    struct err e;
    err_clear(&e);
    const struct plan_opts *o = plan_options(p);
    struct shape s = node_shape(&o->graph->node[node], o->batch);
    l->before = floats(shape_count(&s));
    l->after = floats(shape_count(&s));
    l->grad = floats(shape_count(&s));
    if (plan_value(p, node, true, l->before, &e) ||
        plan_value(p, node, false, l->after, &e))
        fail_msg("%s", e.text);
    l->has_grad = plan_value_grad(p, node, l->grad, &e) == STATUS_OK;
}

static void looks_fini(struct looks *l)
{
    mem_free(l->before);
    mem_free(l->after);
    mem_free(l->grad);
}

static void compare_side(const struct side *s, const char *node,
                         const char *text)
{
    double d = relative_error(s->got, s->want, s->n);
    /* Batch norm over nearly equal numbers magnifies their last bits. */
    double allowed = 1e-2 + 10 * relative_error(s->shaken, s->want, s->n);
    if (!(d <= allowed))
        fail_msg("%s: %s differs by %g, allowed %g, in\n%s", node, s->name,
                 d, allowed, text);
}

static void compare_looks(const struct plan *got, const struct plan *want,
                          const struct plan *shaken, const char *text)
{
    const struct graph *g = plan_options(got)->graph;
    for (int i = 0; i < g->n_node; i++) {
        struct shape s = node_shape(&g->node[i], plan_options(got)->batch);
        int64_t n = shape_count(&s);
        struct looks x, y, z;
        look(got, i, &x);
        look(want, i, &y);
        look(shaken, i, &z);
        assert_int_equal(x.has_grad, y.has_grad);
        const struct side side[] = {
            {"value before its quantizer", x.before, y.before, z.before, n},
            {"value", x.after, y.after, z.after, n},
            {"gradient", x.grad, y.grad, z.grad, x.has_grad ? n : 0},
        };
        for (int k = 0; k < 3; k++)
            compare_side(&side[k], g->node[i].name, text);
        looks_fini(&x);
        looks_fini(&y);
        looks_fini(&z);
    }
}

/* A plan after one step from the given state. */
static struct plan *run_from(const struct plan_opts *o, const void *state)
{
    graph_state_set(o->graph, state);
    struct plan *p = plan_of(o);
    struct outcome r;
    memset(&r, 0, sizeof(r));
    fill_input(p, 3);
    run_plan(p, &r);
    outcome_fini(&r);
    return p;
}

/* Values, values before quantizers and gradients of every node, also of those
 * that the fast back end never writes down. */
static void every_value_can_be_read_on_both_back_ends(void **state)
{
    (void)state;
    for (uint64_t seed = 201; seed <= 220; seed++) {
        struct maker m = {.n = 0};
        random_text(&m, seed);
        struct graph *g = net_from(str_text(&m.text), seed);
        bool fake = seed % 2;
        if (fake)
            quantize(g, "onednn", 16);
        struct plan_opts o;
        plan_opts_default(&o);
        o.graph = g;
        o.batch = 5;
        o.train = true;
        o.keep_values = true;
        o.mode = fake ? MODE_FAKE : MODE_FLOAT;
        size_t bytes = graph_state_bytes(g);
        void *keep = mem_alloc(1, bytes + 1);
        graph_state_get(g, keep);
        o.backend = backend_find("ref");
        struct plan *ref = run_from(&o, keep);
        /* Far enough that codes change here too. */
        real *still = shake(g, fake ? 0x1p-13 : 0x1p-21);
        struct plan *shaken = run_from(&o, keep);
        calm(g, still);
        o.backend = backend_find("fast");
        struct plan *fast = run_from(&o, keep);
        compare_looks(fast, ref, shaken, str_text(&m.text));
        plan_free(ref);
        plan_free(shaken);
        plan_free(fast);
        mem_free(keep);
        net_free(g);
        str_fini(&m.text);
    }
}

int main(void)
{
    gsl_set_error_handler_off();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(float_steps_agree_on_random_graphs),
        cmocka_unit_test(fake_steps_agree_on_random_graphs),
        cmocka_unit_test(steps_agree_on_rows_and_sequences),
        cmocka_unit_test(steps_agree_with_quantizers_everywhere),
        cmocka_unit_test(every_value_can_be_read_on_both_back_ends),
    };
    return cmocka_run_group_tests_name("engine agree", tests, NULL, NULL);
}

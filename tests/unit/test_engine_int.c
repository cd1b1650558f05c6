/* Mode int: back end fast against back end ref in every bit, over random nets
 * of every width, on every way to make sums and for any number of threads;
 * and against numbers computed by hand.
 *
 * The program runs itself again with ONEDNN_MAX_CPU_ISA set, where oneDNN
 * picks other kernels. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/test_main.h"

#include "base/arena.h"
#include "engine/plan.h"
#include "engine/target.h"
#include "quant/quantizer.h"

/* ---- random nets ---- */

struct maker {
    struct rng *rng;
    struct str text;
    int n;                    /* layers so far: the last one is L<n-1> */
    int c, h, w;              /* its shape, batch left out; h 0: (C,L) */
};

static int pick(struct maker *m, int lo, int hi)
{
    return lo + (int)rng_below(m->rng, (uint64_t)(hi - lo + 1));
}

static void line(struct maker *m, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void line(struct maker *m, const char *fmt, ...)
{
    char text[240];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    str_printf(&m->text, "L%d %s\n", m->n++, text);
}

static int out_size(int in, int k, int stride, int pads, int dilation)
{
    int room = in + pads - dilation * (k - 1) - 1;
    return room < 0 ? 0 : room / stride + 1;
}

static void add_conv(struct maker *m)
{
    int k = pick(m, 1, 4), l = pick(m, 1, 4), stride = pick(m, 1, 3);
    int dilation = pick(m, 1, 2), a = pick(m, 0, 2), b = pick(m, 0, 2);
    if (out_size(m->h, k, stride, a + b, dilation) < 1 ||
        out_size(m->w, l, stride, a + b, dilation) < 1)
        return;
    static const int widths[] = {1, 3, 5, 8, 12, 16, 20, 33};
    int out = widths[pick(m, 0, 7)], groups = 1;
    if (pick(m, 0, 3) == 0) {
        groups = m->c;
        out = m->c * pick(m, 1, 2);
    } else if (m->c % 2 == 0 && out % 2 == 0 && pick(m, 0, 2) == 0) {
        groups = 2;
    }
    line(m, "conv2d out=%d kernel_h=%d kernel_w=%d stride=%d dilation=%d "
            "pad_top=%d pad_left=%d pad_bottom=%d pad_right=%d groups=%d "
            "bias=%d",
         out, k, l, stride, dilation, a, b, b, a, groups, pick(m, 0, 1));
}

static void add_norm(struct maker *m)
{
    line(m, "batch_norm");
}

static void add_act(struct maker *m)
{
    static const char *const acts[] = {
        "relu", "relu", "relu", "relu6", "leaky_relu", "silu", "sigmoid",
        "tanh", "hard_swish", "clip lo=-0.5 hi=0.7", "softmax",
    };
    line(m, "%s", acts[pick(m, 0, 10)]);
}

static void add_pool(struct maker *m)
{
    int k = pick(m, 2, 3), stride = pick(m, 1, 3), pad = pick(m, 0, 1);
    int avg = pick(m, 0, 1), ceil_mode = pick(m, 0, 1);
    if (m->h < k || m->w < k)
        return;
    line(m, "%s kernel=%d stride=%d pad=%d ceil_mode=%d%s",
         avg ? "avg_pool" : "max_pool", k, stride, pad, ceil_mode,
         avg && pick(m, 0, 1) ? " count_pads=1" : "");
}

/* Two branches from one value, added or laid side by side. */
static void add_branch(struct maker *m)
{
    int from = m->n - 1, c = m->c, right = from;
    line(m, "conv2d out=%d kernel=3 pad=1 bias=0 < L%d", c, from);
    line(m, "batch_norm");
    int left = m->n - 1;
    if (pick(m, 0, 1)) {
        line(m, "conv2d out=%d kernel=1 < L%d", c, from);
        right = m->n - 1;
    }
    static const char *const merges[] = {"add", "add", "mul", "sub",
                                         "concat", "concat axis=2"};
    line(m, "%s < L%d L%d", merges[pick(m, 0, 5)], left, right);
    if (pick(m, 0, 1))
        line(m, "relu");
}

/* One number a channel times all of the channel. */
static void add_gate(struct maker *m)
{
    int from = m->n - 1;
    line(m, "global_avg_pool < L%d", from);
    line(m, "sigmoid");
    if (pick(m, 0, 1))
        line(m, "mul < L%d L%d", from, m->n - 1);
    else
        line(m, "add < L%d L%d", m->n - 1, from);
}

static void add_move(struct maker *m)
{
    static const char *const moves[] = {
        "identity", "dropout", "transpose perm=0,1,3,2",
        "transpose perm=0,2,3,1", "pad pad_top=1 pad_left=2",
        "pad pad_front=1 pad_right=1",
    };
    int i = pick(m, 0, 6);
    if (i < 6)
        line(m, "%s", moves[i]);
    else
        line(m, "reshape %dx%dx%d", m->h, m->c, m->w);
}

typedef void (*add_fn)(struct maker *m);

/* The shape of the last layer, as the graph sees it. */
static void ask_shape(struct maker *m)
{
    struct graph *g = NULL;
    struct err e;
    err_clear(&e);
    if (graph_parse(str_text(&m->text), &g, &e))
        fail_msg("%s\n%s", e.text, str_text(&m->text));
    const struct shape *s = &g->node[g->n_node - 1].shape;
    m->c = (int)s->dim[1];
    m->h = (int)s->dim[2];
    m->w = (int)s->dim[3];
    graph_free(g);
}

static void add_head(struct maker *m)
{
    static const char *const flat[] = {"flatten", "flatten",
                                       "global_avg_pool"};
    int i = pick(m, 0, 3);
    if (i < 3) {
        line(m, "%s", flat[i]);
        line(m, "flatten");
        line(m, "dense out=%d bias=%d", pick(m, 3, 20), pick(m, 0, 1));
    } else {
        line(m, "reshape %dx%d", m->c, m->h * m->w);
        line(m, "conv1d out=%d kernel=%d pad=1", pick(m, 2, 9),
             pick(m, 1, 2));
        line(m, "relu");
        line(m, "max_pool kernel=2 pad=1");
        line(m, "dense out=%d", pick(m, 2, 9));
        line(m, "flatten");
    }
    if (pick(m, 0, 1))
        line(m, "relu");
    line(m, "dense out=5");
}

static void random_text(struct maker *m, uint64_t seed)
{
    static const add_fn adds[] = {add_conv, add_conv, add_conv, add_norm,
                                  add_act, add_pool, add_branch, add_move,
                                  add_gate};
    m->rng = rng_new(seed, RNG_SHUFFLE);
    m->c = pick(m, 1, 4);
    m->h = pick(m, 5, 11);
    m->w = pick(m, 5, 11);
    str_add(&m->text, "model random loss=ce\n");
    line(m, "input %dx%dx%d", m->c, m->h, m->w);
    int layers = pick(m, 2, 9);
    for (int i = 0; i < layers; i++) {
        adds[pick(m, 0, 8)](m);
        ask_shape(m);
    }
    add_head(m);
}

static struct graph *net_from(const char *text, uint64_t seed)
{
    struct graph *g = NULL;
    struct err e;
    err_clear(&e);
    struct rng *r = rng_new(seed, RNG_INIT);
    if (graph_parse(text, &g, &e) || graph_finish(g, r, &e))
        fail_msg("%s\n%s", e.text, text);
    /* Scales, shifts and statistics that are not 1 and 0; gamma below 0. */
    for (int i = 0; i < g->n_param; i++) {
        struct param *p = &g->param[i];
        if (p->role == PARAM_WEIGHT)
            continue;
        for (int64_t k = 0; k < p->count; k++)
            p->value[k] = (real)(p->role == PARAM_VAR
                                     ? 0.5 + rng_uniform(r)
                                     : 0.5 * rng_normal(r));
    }
    rng_free(r);
    return g;
}

static void net_free(struct graph *g)
{
    graph_drop_quantizers(g);
    graph_free(g);
}

/* ---- quantizers ---- */

static void set_point(struct graph *g, int point, const char *text)
{
    struct qspec spec;
    struct err e;
    err_clear(&e);
    if (qspec_parse(text, NULL, &spec, &e) || point_set(g, point, &spec, &e))
        fail_msg("%s: %s", text, e.text);
    g->point[point].q->learn = false;
}

struct spec_text {
    const char *kind, *rest;
};

static void set_spec(struct graph *g, int point, const struct spec_text *s,
                     int bits)
{
    char text[80];
    snprintf(text, sizeof(text), "%s:%d%s", s->kind, bits, s->rest);
    set_point(g, point, text);
}

/* Widths of 2 to 8 bits, signed and not, zero points anywhere; some points
 * without a quantizer, some too wide for bytes. */
static void quantize_weight(struct maker *m, struct graph *g, int point)
{
    static const struct spec_text specs[] = {
        {"affine", ",signed,sym,channel"},
        {"affine", ",signed,sym,channel,narrow"},
        {"affine", ",signed,sym,tensor"},
        {"affine", ",unsigned,asym,tensor"},
        {"affine", ",signed,asym,channel"},
        {"lsq", ",signed"},
        {"dorefa", ""},
    };
    int kind = pick(m, 0, 9), bits = pick(m, 2, 8);
    if (kind == 9 && pick(m, 0, 3) == 0)
        return;
    set_spec(g, point, &specs[kind < 7 ? kind : 0],
             kind == 8 && pick(m, 0, 1) ? 12 : bits);
}

static void quantize_out(struct maker *m, struct graph *g, int point)
{
    static const struct spec_text specs[] = {
        {"affine", ",unsigned,asym"},
        {"affine", ",unsigned,asym,obs=ema"},
        {"affine", ",signed,asym"},
        {"affine", ",signed,sym"},
        {"affine", ",unsigned,asym,round=floor"},
        {"affine", ",unsigned,asym,divide"},
        {"lsq", ",signed"},
    };
    int kind = pick(m, 0, 9), bits = pick(m, 2, 8);
    if (kind == 9 && pick(m, 0, 2) == 0)
        return;
    set_spec(g, point, &specs[kind < 7 ? kind : 0],
             kind == 8 && pick(m, 0, 2) == 0 ? 14 : bits);
}

static void quantize(struct maker *m, struct graph *g)
{
    for (int i = 0; i < g->n_node; i++) {
        int weight = layer_weight_point(g, i), out = layer_out_point(g, i);
        if (weight >= 0)
            quantize_weight(m, g, weight);
        if (out >= 0)
            quantize_out(m, g, out);
        if (g->node[i].point[POINT_IN] >= 0 && pick(m, 0, 9) == 0)
            quantize_out(m, g, g->node[i].point[POINT_IN]);
        if (g->node[i].point[POINT_BIAS] >= 0 && pick(m, 0, 5) == 0)
            set_point(g, g->node[i].point[POINT_BIAS], "affine:8,sym");
    }
}

static float *floats(int64_t n)
{
    float *x = mem_alloc((size_t)n + 1, sizeof(*x));
    assert_non_null(x);
    return x;
}

/* Inputs are drawn in logical order, then laid as the plan wants them. */
static void fill_input(struct plan *p, uint64_t seed)
{
    const struct plan_opts *o = plan_options(p);
    struct rng *r = rng_new(seed, RNG_GENERATE);
    struct shape s = node_shape(&o->graph->node[0], o->batch);
    int64_t n = shape_count(&s);
    float *x = floats(n);
    rng_fill_normal(r, x, (size_t)n);
    if (s.rank == 4 && plan_input_layout(p, 0) == LAYOUT_NHWC)
        nchw_to_nhwc(x, plan_input(p, 0), s.dim[0], s.dim[1],
                     s.dim[2] * s.dim[3]);
    else
        memcpy(plan_input(p, 0), x, (size_t)n * sizeof(*x));
    mem_free(x);
    rng_free(r);
}

static struct plan *plan_of(const struct plan_opts *o)
{
    struct plan *p = NULL;
    struct err e;
    err_clear(&e);
    if (plan_new(o, &p, &e))
        fail_msg("%s", e.text);
    return p;
}

static void run(struct plan *p, uint64_t seed)
{
    struct err e;
    err_clear(&e);
    fill_input(p, seed);
    if (plan_forward(p, NULL, &e))
        fail_msg("%s", e.text);
}

static void calibrate(struct graph *g)
{
    struct plan_opts o;
    plan_opts_default(&o);
    o.graph = g;
    o.batch = 4;
    o.mode = MODE_FAKE;
    o.observe_only = true;
    struct plan *p = plan_of(&o);
    for (uint64_t i = 0; i < 3; i++)
        run(p, 100 + i);
    plan_free(p);
    for (int i = 0; i < g->n_point; i++)
        if (g->point[i].q)
            g->point[i].q->observe = false;
}

/* ---- comparison ---- */

static void same_codes(const struct plan *a, const struct plan *b, int node,
                       const char *what)
{
    const struct plan_opts *o = plan_options(a);
    struct shape s = node_shape(&o->graph->node[node], o->batch);
    int64_t n = shape_count(&s), bad = 0, first = -1;
    int32_t *x = mem_alloc((size_t)n, 2 * sizeof(*x)), *y = x + n;
    struct err e;
    assert_non_null(x);
    enum status sa = plan_codes(a, node, x, &e);
    enum status sb = plan_codes(b, node, y, &e);
    assert_int_equal(sa, sb);
    for (int64_t i = 0; i < n && sa == STATUS_OK; i++) {
        if (x[i] == y[i])
            continue;
        first = first < 0 ? i : first;
        bad++;
    }
    if (bad)
        fail_msg("%s: %lld of %lld codes differ, first [%lld]: fast %d, ref "
                 "%d, in\n%s", o->graph->node[node].name, (long long)bad,
                 (long long)n, (long long)first, x[first], y[first], what);
    mem_free(x);
}

static void same_outputs(const struct plan *a, const struct plan *b,
                         const char *what)
{
    int64_t n = plan_output_count(a) * plan_options(a)->batch;
    assert_int_equal(n, plan_output_count(b) * plan_options(b)->batch);
    if (memcmp(plan_output(a), plan_output(b), (size_t)n * sizeof(float)))
        fail_msg("outputs differ in\n%s", what);
}

static void compare(const struct plan *a, const struct plan *b,
                    const char *what)
{
    const struct graph *g = plan_options(a)->graph;
    for (int i = 0; i < g->n_node; i++)
        same_codes(a, b, i, what);
    same_outputs(a, b, what);
}

/* A random net, calibrated. */
static struct graph *random_net(struct maker *m, uint64_t seed)
{
    *m = (struct maker){.n = 0};
    random_text(m, seed);
    struct graph *g = net_from(str_text(&m->text), seed);
    quantize(m, g);
    calibrate(g);
    return g;
}

static void maker_fini(struct maker *m)
{
    rng_free(m->rng);
    str_fini(&m->text);
}

static struct plan_opts int_opts(struct graph *g, uint64_t seed)
{
    struct plan_opts o;
    plan_opts_default(&o);
    o.graph = g;
    o.batch = 1 + (int64_t)(seed % 5);
    o.mode = MODE_INT;
    o.keep_values = true;
    o.fold = (enum bn_fold)(seed % FOLD_COUNT);
    o.target = &target_table[seed % (uint64_t)target_count];
    return o;
}

static void check_seed(uint64_t seed)
{
    struct maker m;
    struct graph *g = random_net(&m, seed);
    struct plan_opts o = int_opts(g, seed);
    o.backend = backend_find("ref");
    struct plan *ref = plan_of(&o);
    run(ref, 7);
    o.backend = backend_find("fast");
    for (int sums = 0; sums < SUM_COUNT; sums++) {
        o.sums = (enum sum_path)sums;
        o.keep_values = sums % 2 == 0;
        struct plan *fast = plan_of(&o);
        run(fast, 7);
        if (o.keep_values)
            compare(fast, ref, str_text(&m.text));
        else
            same_outputs(fast, ref, str_text(&m.text));
        plan_free(fast);
    }
    plan_free(ref);
    net_free(g);
    maker_fini(&m);
}

static void fast_equals_ref_in_every_bit(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 120; seed++)
        check_seed(seed);
}

int main(void)
{
    gsl_set_error_handler_off();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fast_equals_ref_in_every_bit),
    };
    return cmocka_run_group_tests_name("engine int", tests, NULL, NULL);
}

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

#include "unit/engine_points.h"

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
    for (uint64_t seed = 1; seed <= 90; seed++)
        check_seed(seed);
}

/* ---- other processors ---- */

static int run_child(const char *isa)
{
    pid_t pid = fork();
    if (pid == 0) {
        setenv("ONEDNN_MAX_CPU_ISA", isa, 1);
        setenv("DNNL_MAX_CPU_ISA", isa, 1);
        execl("/proc/self/exe", "test_engine_int", "child", (char *)NULL);
        _exit(127);
    }
    int status = 0;
    assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void bits_are_the_same_at_every_instruction_set(void **state)
{
    (void)state;
    static const char *const isa[] = {"SSE41", "AVX", "AVX2",
                                      "AVX512_CORE"};
    for (size_t i = 0; i < sizeof(isa) / sizeof(isa[0]); i++)
        if (run_child(isa[i]))
            fail_msg("with ONEDNN_MAX_CPU_ISA=%s", isa[i]);
}

/* A child's work. It prints what fails, and nothing else. */
static int agree_on_a_few_nets(void)
{
    for (uint64_t seed = 201; seed <= 212; seed++)
        check_seed(seed);
    return 0;
}

/* ---- threads ---- */

static void threads_do_not_show(void **state)
{
    (void)state;
    int before = omp_get_max_threads();
    for (uint64_t seed = 301; seed <= 312; seed++) {
        struct maker m;
        struct graph *g = random_net(&m, seed);
        struct plan_opts o = int_opts(g, seed);
        o.batch = 3;
        o.backend = backend_find(seed % 3 ? "fast" : "ref");
        o.sums = (enum sum_path)(seed % SUM_COUNT);
        omp_set_num_threads(1);
        struct plan *one = plan_of(&o);
        run(one, 7);
        for (int n = 2; n <= 3; n++) {
            omp_set_num_threads(n);
            struct plan *more = plan_of(&o);
            run(more, 7);
            compare(more, one, str_text(&m.text));
            plan_free(more);
        }
        plan_free(one);
        net_free(g);
        maker_fini(&m);
    }
    omp_set_num_threads(before);
}

/* ---- one layer, computed again from the rules ---- */

#define HAND_NET "model hand loss=ce\n"                                      \
                 "x input 3x5x6\n"                                           \
                 "conv conv2d out=4 kernel=3 pad=1 stride=2\n"               \
                 "bn batch_norm\n"                                           \
                 "act relu6\n"

static float real_of(const struct quantizer *q, int64_t channel, double code)
{
    return (float)(code - (double)q->zero_point[channel]) *
           q->scale[channel];
}

static int32_t clamp_code(double code, int32_t lo, int32_t hi)
{
    return code < lo ? lo : code > hi ? hi : (int32_t)code;
}

struct hand {
    const struct graph *g;
    const struct quantizer *x, *w, *y;
    const struct target_row *target;
};

static const float *values(const struct graph *g, const char *name)
{
    return g->param[graph_param_find(g, name)].value;
}

static float fold_factor(const struct hand *h, int o)
{
    int bn = graph_find(h->g, "bn");
    float eps = (float)node_attr(&h->g->node[bn], "eps");
    return values(h->g, "bn.weight")[o] /
           sqrtf(h->g->param[h->g->node[bn].state[1]].value[o] + eps);
}

/* Sum of (x - zx) (w - zw) around output (i, j), weights from the float ones
 * by Q(w f). */
static int64_t hand_sum(const struct hand *h, const int32_t *x, int o, int i,
                        int j)
{
    const float *w = values(h->g, "conv.weight");
    float f = fold_factor(h, o), inv = 1.0f / h->w->scale[o];
    int64_t sum = 0;
    for (int c = 0; c < 3; c++)
        for (int k = 0; k < 3; k++)
            for (int l = 0; l < 3; l++) {
                int row = 2 * i - 1 + k, col = 2 * j - 1 + l;
                if (row < 0 || row >= 5 || col < 0 || col >= 6)
                    continue;
                float v = w[((o * 3 + c) * 3 + k) * 3 + l] * f;
                int32_t q = clamp_code(rint((double)(v * inv)), -128, 127);
                sum += (int64_t)(x[(c * 5 + row) * 6 + col] -
                                 (int32_t)h->x->zero_point[0]) * q;
            }
    return sum;
}

static int32_t hand_code(const struct hand *h, int64_t sum, int o)
{
    int bn = graph_find(h->g, "bn");
    float mean = h->g->param[h->g->node[bn].state[0]].value[o];
    float b = (values(h->g, "conv.bias")[o] - mean) * fold_factor(h, o) +
              values(h->g, "bn.bias")[o];
    float unit = h->x->scale[0] * h->w->scale[o], v;
    const char *name = h->target->name;
    if (strcmp(name, "fbgemm") == 0)
        v = (float)sum + b / unit;
    else if (strcmp(name, "qnnpack") == 0)
        v = (float)(sum + lrintf(b * (1.0f / unit)));
    else
        v = (float)(sum + lrintf(b / unit));
    v *= unit / h->y->scale[0];
    double zero = (double)h->y->zero_point[0];
    double six = rint((double)(6.0f / h->y->scale[0])) + zero;
    int32_t lo = clamp_code(zero, 0, 255), hi = clamp_code(six, 0, 255);
    return clamp_code(rint((double)v) + zero, lo, hi);
}

static void check_by_hand(const struct target_row *target)
{
    struct graph *g = net_from(HAND_NET, 5);
    set_point(g, graph_point_find(g, "x.out"), "affine:8,unsigned,asym");
    set_point(g, graph_point_find(g, "conv.w"), "affine:8,sym,channel");
    set_point(g, graph_point_find(g, "conv.out"), "affine:8,unsigned,asym");
    calibrate(g);
    struct plan_opts o;
    struct err e;
    plan_opts_default(&o);
    o.graph = g;
    o.batch = 2;
    o.mode = MODE_INT;
    o.keep_values = true;
    o.target = target;
    struct plan *p = plan_of(&o);
    run(p, 9);
    int32_t x[2 * 3 * 5 * 6], y[2 * 4 * 3 * 3];
    assert_int_equal(plan_codes(p, 0, x, &e), STATUS_OK);
    assert_int_equal(plan_codes(p, g->output, y, &e), STATUS_OK);
    struct hand h = {
        .g = g,
        .target = target,
        .x = g->point[graph_point_find(g, "x.out")].q,
        .w = g->point[graph_point_find(g, "conv.w")].q,
        .y = g->point[graph_point_find(g, "conv.out")].q,
    };
    for (int i = 0; i < 2 * 4 * 3 * 3; i++) {
        int n = i / 36, c = i / 9 % 4, row = i / 3 % 3, col = i % 3;
        int64_t sum = hand_sum(&h, x + n * 90, c, row, col);
        assert_int_equal(y[i], hand_code(&h, sum, c));
        assert_true(plan_output(p)[i] == real_of(h.y, 0, y[i]));
    }
    plan_free(p);
    net_free(g);
}

static void a_folded_layer_follows_its_target(void **state)
{
    (void)state;
    for (int i = 0; i < target_count; i++)
        check_by_hand(&target_table[i]);
}

/* ---- sums, products and averages of codes ---- */

static void merges_follow_their_target(void **state)
{
    (void)state;
    struct merge_rule m = {
        .a = {0.5f, 3, 0, 255}, .b = {0.25f, 10, 0, 255},
        .y = {0.5f, 4, 0, 255}, .lo = 0, .hi = 255,
    };
    const uint8_t a[4] = {3, 4, 5, 255}, b[4] = {11, 11, 13, 255};
    uint8_t y[4];
    /* ort rounds 4 + 0.5, 4 + 1.5, 4 + 3.5: the zero point goes in before. */
    m.target = target_find("ort");
    m.target->add(&m, a, b, y, 4);
    const uint8_t ort[4] = {4, 6, 8, 255};
    assert_memory_equal(y, ort, 4);
    /* torch rounds 0.5, 1.5, 3.5, then adds 5. */
    m.y.zero = 5;
    m.target = target_find("fbgemm");
    m.target->add(&m, a, b, y, 4);
    const uint8_t torch[4] = {5, 7, 9, 255};
    assert_memory_equal(y, torch, 4);
    m.target->sub(&m, a, b, y, 4);
    const uint8_t sub[4] = {5, 5, 5, 135};  /* -0.5, 0.5, 0.5, 129.5 */
    assert_memory_equal(y, sub, 4);
    /* 0, 1, 6 and 252 * 245 quarters. */
    m.target->mul(&m, a, b, y, 4);
    const uint8_t mul[4] = {5, 5, 7, 255};
    assert_memory_equal(y, mul, 4);
}

static void averages_follow_their_target(void **state)
{
    (void)state;
    const uint8_t x[6] = {1, 2, 3, 4, 5, 6};       /* 3 taps of 2 channels */
    struct tap_window w = {x, 1, 3, 6, 2, 4};
    struct average_rule a = {{1.0f, 1, 0, 255}, {0.5f, 7, 0, 255}};
    uint8_t y[2];
    /* Sums 6 and 9 over a divisor of 4, in halves: 3 and 4.5. */
    const struct target_row *ort = target_find("ort");
    ort->mean(&a, &w, y, 2);
    assert_int_equal(y[0], 10);
    assert_int_equal(y[1], 11);            /* 4.5 to even, then 7 */
    ort->pool(&a, &w, y, 2);
    assert_int_equal(y[0], 10);
    assert_int_equal(y[1], 12);            /* 11.5 to even */
}

static void numbers_meet_grids_as_the_target_says(void **state)
{
    (void)state;
    struct int_grid g = {0.1f, -3, -8, 7};
    const struct target_row *t = target_find("ort");
    assert_int_equal(target_quantize(t, &g, 0.0f), -3);
    assert_int_equal(target_quantize(t, &g, INFINITY), 7);
    assert_int_equal(target_quantize(t, &g, -1e30f), -8);
    assert_int_equal(target_quantize(t, &g, NAN), -8);
    assert_null(target_find("nosuch"));
    struct int_grid wide = {0.3f, 0, -128, 127};
    int differ = 0;
    for (int i = -100; i < 100; i++) {
        float v = ((float)i + 0.5f) * 0.3f, inv = 1.0f / 0.3f;
        int32_t torch = clamp_code(rint((double)(v * inv)), -128, 127);
        int32_t ort = clamp_code(rint((double)(v / 0.3f)), -128, 127);
        assert_int_equal(
            target_quantize(target_find("fbgemm"), &wide, v), torch);
        assert_int_equal(target_quantize(t, &wide, v), ort);
        differ += torch != ort;
    }
    assert_true(differ > 0);
}

/* ---- plans ---- */

#define SMALL_NET "model small loss=ce\n"                                    \
                  "x input 2x6x6\n"                                          \
                  "conv conv2d out=4 kernel=3 pad=1\n"                       \
                  "bn batch_norm\n"                                          \
                  "act relu\n"                                               \
                  "pool avg_pool kernel=2\n"                                 \
                  "flat flatten\n"                                           \
                  "fc dense out=3\n"

static struct graph *small_net(const char *config)
{
    struct graph *g = net_from(SMALL_NET, 3);
    struct err e;
    struct assign_opts a = {.config = qconfig_find(config), .input = true};
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
    o.batch = 4;
    o.mode = MODE_INT;
    o.keep_values = true;
    return o;
}

static void integers_stay_near_the_fake_forward(void **state)
{
    (void)state;
    struct graph *g = small_net("onednn");
    struct plan_opts o = small_opts(g);
    struct plan *whole = plan_of(&o);
    run(whole, 4);
    o.mode = MODE_FAKE;
    struct plan *fake = plan_of(&o);
    run(fake, 4);
    float step = g->point[graph_point_find(g, "fc.out")].q->scale[0];
    for (int64_t i = 0; i < 4 * plan_output_count(fake); i++)
        assert_true(fabsf(plan_output(fake)[i] - plan_output(whole)[i]) <=
                    1.5f * step);
    plan_free(fake);
    plan_free(whole);
    net_free(g);
}

/* A kind's own widths; false: it does not do for `use` here. */
static bool kind_spec(const struct quantizer_kind *k, unsigned use,
                      struct qspec *spec)
{
    struct err e;
    char text[80];
    unsigned wanted = QK_UNIFORM | use;
    if ((k->flags & wanted) != wanted || (k->flags & QK_STOCHASTIC))
        return false;
    int bits = k->max_bits < 4 ? k->max_bits : 4;
    snprintf(text, sizeof(text), "%s:%d", k->name, bits);
    if (qspec_parse(text, NULL, spec, &e) == STATUS_OK)
        return true;
    return qspec_parse(k->name, NULL, spec, &e) == STATUS_OK;
}

/* Sums are exact, and no code lies between them and the output. */
static void check_weight_kind(const struct qspec *spec)
{
    struct graph *g = net_from("model w loss=ce\nx input 40\n"
                               "fc dense out=6\n", 8);
    struct err e;
    set_point(g, graph_point_find(g, "x.out"), "affine:8,unsigned,asym");
    if (point_set(g, graph_point_find(g, "fc.w"), spec, &e))
        fail_msg("%s", e.text);
    calibrate(g);
    struct plan_opts o = small_opts(g);
    struct plan *whole = plan_of(&o);
    run(whole, 4);
    o.mode = MODE_FAKE;
    struct plan *fake = plan_of(&o);
    run(fake, 4);
    const struct quantizer *q = g->point[graph_point_find(g, "fc.w")].q;
    bool layer = q->zero_point[0] != rintf(q->zero_point[0]);   /* cannot */
    for (int i = 0; i < plan_step_count(whole); i++) {
        struct step_info info;
        plan_step_info(whole, i, &info);
        layer |= strncmp(info.kind, "layer int", 9) == 0;
    }
    for (int i = 0; i < 24; i++) {
        float got = plan_output(whole)[i], want = plan_output(fake)[i];
        if (!layer || !(fabsf(got - want) <= 1e-5f + 1e-5f * fabsf(want)))
            fail_msg("%s: [%d] %g by %s, %g by fake", spec->kind->name, i,
                     (double)got, layer ? "integers" : "an island",
                     (double)want);
    }
    plan_free(fake);
    plan_free(whole);
    net_free(g);
}

static void weights_of_every_even_kind_become_integers(void **state)
{
    (void)state;
    int n = 0;
    for (int i = 0; i < quantizer_count; i++) {
        struct qspec spec;
        if (!kind_spec(quantizer_table[i], QK_WEIGHTS, &spec))
            continue;
        check_weight_kind(&spec);
        n++;
    }
    assert_true(n >= 8);
}

/* The next code at most, where a sum is near the middle between two. */
static void check_value_kind(const struct qspec *spec)
{
    struct graph *g = net_from("model a loss=ce\nx input 40\n"
                               "fc dense out=6\n", 8);
    struct err e;
    set_point(g, graph_point_find(g, "x.out"), "affine:8,unsigned,asym");
    set_point(g, graph_point_find(g, "fc.w"), "affine:8,sym");
    if (point_set(g, graph_point_find(g, "fc.out"), spec, &e))
        fail_msg("%s", e.text);
    calibrate(g);
    struct plan_opts o = small_opts(g);
    o.batch = 32;
    struct plan *whole = plan_of(&o);
    run(whole, 4);
    o.mode = MODE_FAKE;
    struct plan *fake = plan_of(&o);
    run(fake, 4);
    float step = g->point[graph_point_find(g, "fc.out")].q->scale[0];
    int differ = 0;
    for (int i = 0; i < 32 * 6; i++) {
        float got = plan_output(whole)[i], want = plan_output(fake)[i];
        differ += fabsf(got - want) > 0.5f * step;
        if (!(fabsf(got - want) <= 2.01f * step))
            fail_msg("%s: [%d] %g by integers, %g by fake",
                     spec->kind->name, i, (double)got, (double)want);
    }
    if (differ > 4)
        fail_msg("%s: %d of 192 values differ", spec->kind->name, differ);
    plan_free(fake);
    plan_free(whole);
    net_free(g);
}

static void values_of_every_even_kind_become_integers(void **state)
{
    (void)state;
    int n = 0;
    for (int i = 0; i < quantizer_count; i++) {
        struct qspec spec;
        if (!kind_spec(quantizer_table[i], QK_ACTIVATIONS, &spec))
            continue;
        check_value_kind(&spec);
        n++;
    }
    assert_true(n >= 10);
}

static void a_plan_follows_what_changes(void **state)
{
    (void)state;
    static const char *const names[] = {"fc.weight", "fc.bias",
                                        "bn.running_var", "conv.weight"};
    struct graph *g = small_net("onednn");
    for (int b = 0; b < backend_count; b++) {
        struct plan_opts o = small_opts(g);
        o.backend = backend_table[b].impl;
        struct plan *kept = plan_of(&o);
        run(kept, 4);
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
            int w = graph_param_find(g, names[i]);
            assert_true(w >= 0);
            g->param[w].value[1] *= 1.25f;
            run(kept, 4);
            struct plan *fresh = plan_of(&o);
            run(fresh, 4);
            compare(kept, fresh, names[i]);
            plan_free(fresh);
        }
        g->point[graph_point_find(g, "conv.out")].q->scale[0] *= 1.5f;
        run(kept, 4);
        struct plan *fresh = plan_of(&o);
        run(fresh, 4);
        compare(kept, fresh, "scale");
        plan_free(fresh);
        plan_free(kept);
    }
    net_free(g);
}

/* Larger weights than the plan was made for must not saturate. */
static void sums_stay_exact_when_weights_grow(void **state)
{
    (void)state;
    struct graph *g = small_net("onednn");
    struct param *w = &g->param[graph_param_find(g, "conv.weight")];
    int point = graph_point_find(g, "conv.w");
    float *keep = floats(w->count);
    memcpy(keep, w->value, (size_t)w->count * sizeof(float));
    for (int64_t i = 0; i < w->count; i++)
        w->value[i] *= 0.05f;              /* codes of a few units */
    struct plan_opts o = small_opts(g);
    struct plan *fast = plan_of(&o);
    run(fast, 4);
    memcpy(w->value, keep, (size_t)w->count * sizeof(float));
    for (int64_t c = 0; c < g->point[point].q->channels; c++)
        g->point[point].q->scale[c] *= 0.5f;   /* many at the ends */
    run(fast, 4);
    o.backend = backend_find("ref");
    struct plan *ref = plan_of(&o);
    run(ref, 4);
    compare(fast, ref, "grown weights");
    plan_free(ref);
    plan_free(fast);
    mem_free(keep);
    net_free(g);
}

static void averages_stay_on_codes_where_torch_has_them(void **state)
{
    (void)state;
    struct graph *g = small_net("fbgemm");
    int pool = graph_find(g, "pool");
    int32_t code[4 * 4 * 3 * 3];
    struct err e;
    assert_int_equal(point_set(g, g->node[pool].point[POINT_OUT], NULL, &e),
                     STATUS_OK);
    struct plan_opts o = small_opts(g);
    o.target = target_find("fbgemm");
    struct plan *p = plan_of(&o);
    run(p, 4);
    assert_int_equal(plan_codes(p, pool, code, &e), STATUS_OK);
    plan_free(p);
    o.target = target_find("ort");
    p = plan_of(&o);
    run(p, 4);
    assert_int_equal(plan_codes(p, pool, code, &e), STATUS_STATE);
    plan_free(p);
    net_free(g);
}

/* ---- what cannot be ---- */

static void refuse(const struct plan_opts *o, enum status want,
                   const char *text)
{
    struct plan *p = NULL;
    struct err e;
    err_clear(&e);
    assert_int_equal(plan_new(o, &p, &e), want);
    assert_null(p);
    if (!strstr(e.text, text))
        fail_msg("'%s' does not say '%s'", e.text, text);
}

/* A learned one can move off the codes while a plan lives. */
static void a_zero_point_between_codes_is_refused(void **state)
{
    (void)state;
    struct graph *g = small_net("onednn");
    struct plan_opts o = small_opts(g);
    struct plan *p = plan_of(&o);
    struct err e;
    fill_input(p, 4);
    g->point[graph_point_find(g, "fc.out")].q->zero_point[0] += 0.5f;
    assert_int_equal(plan_forward(p, NULL, &e), STATUS_STATE);
    assert_non_null(strstr(e.text, "fc.out: the zero point became"));
    plan_free(p);
    net_free(g);
}

static void what_integers_cannot_do_is_said(void **state)
{
    (void)state;
    struct graph *g = small_net("onednn");
    struct plan_opts o = small_opts(g);
    o.train = true;
    refuse(&o, STATUS_STATE, "mode int evaluates");
    o.train = false;
    struct plan *p = plan_of(&o);
    int32_t code[400];
    struct err e;
    run(p, 4);
    /* Inside the layer that the codes of act come from. */
    assert_int_equal(plan_codes(p, graph_find(g, "conv"), code, &e),
                     STATUS_STATE);
    assert_int_equal(plan_codes(p, -1, code, &e), STATUS_ARG);
    plan_free(p);
    set_point(g, graph_point_find(g, "conv.out"), "affine:8,asym,unsigned");
    refuse(&o, STATUS_STATE, "conv.out: has no range yet");
    net_free(g);
}

static void sums_beyond_32_bits_are_refused(void **state)
{
    (void)state;
    struct graph *g = net_from("model long loss=ce\nx input 70000\n"
                               "fc dense out=1\n", 1);
    set_point(g, graph_point_find(g, "x.out"), "affine:8,unsigned,asym");
    set_point(g, graph_point_find(g, "fc.w"), "affine:8,sym");
    set_point(g, graph_point_find(g, "fc.out"), "affine:8,asym,unsigned");
    for (int64_t i = 0; i < 70000; i++)
        g->param[0].value[i] = 1.0f;
    calibrate(g);
    g->point[graph_point_find(g, "x.out")].q->zero_point[0] = 0;
    struct plan_opts o = small_opts(g);
    refuse(&o, STATUS_NUMERIC, "sums of 70000 products");
    net_free(g);
}

static void running_out_of_memory_is_an_error(void **state)
{
    (void)state;
    struct graph *g = small_net("onednn");
    for (int b = 0; b < backend_count; b++) {
        struct plan_opts o = small_opts(g);
        struct plan *p = NULL;
        o.backend = backend_table[b].impl;
        for (long n = 1; n < 400 && !p; n++) {
            struct err e;
            mem_fail_after(n);
            enum status st = plan_new(&o, &p, &e);
            mem_fail_after(0);
            assert_true(st == STATUS_OK || st == STATUS_MEM);
            assert_int_equal(st == STATUS_OK, p != NULL);
        }
        assert_non_null(p);
        run(p, 4);
        plan_free(p);
    }
    net_free(g);
}

static void the_integer_paths_are_described(void **state)
{
    (void)state;
    struct str text = {0};
    engine_describe(&text);
    assert_non_null(strstr(str_text(&text), "sums of codes: bytes by oneDNN"));
    str_fini(&text);
}

int main(int argc, char **argv)
{
    (void)argv;
    gsl_set_error_handler_off();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fast_equals_ref_in_every_bit),
        cmocka_unit_test(bits_are_the_same_at_every_instruction_set),
        cmocka_unit_test(threads_do_not_show),
        cmocka_unit_test(a_folded_layer_follows_its_target),
        cmocka_unit_test(merges_follow_their_target),
        cmocka_unit_test(averages_follow_their_target),
        cmocka_unit_test(numbers_meet_grids_as_the_target_says),
        cmocka_unit_test(integers_stay_near_the_fake_forward),
        cmocka_unit_test(weights_of_every_even_kind_become_integers),
        cmocka_unit_test(values_of_every_even_kind_become_integers),
        cmocka_unit_test(a_plan_follows_what_changes),
        cmocka_unit_test(sums_stay_exact_when_weights_grow),
        cmocka_unit_test(averages_stay_on_codes_where_torch_has_them),
        cmocka_unit_test(a_zero_point_between_codes_is_refused),
        cmocka_unit_test(what_integers_cannot_do_is_said),
        cmocka_unit_test(sums_beyond_32_bits_are_refused),
        cmocka_unit_test(running_out_of_memory_is_an_error),
        cmocka_unit_test(the_integer_paths_are_described),
    };
    if (argc > 1)
        return agree_on_a_few_nets();
    return cmocka_run_group_tests_name("engine int", tests, NULL, NULL);
}

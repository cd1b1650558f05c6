/* Layers of 9 to 24 bits: the forward product against sums of 64-bit
 * integers, in every mode, back end and number of threads; their gradients.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "unit/engine_points.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>

#include "nn/op_conv.h"

/* ---- what is expected ---- */

static int64_t *whole(int64_t n)
{
    int64_t *v = mem_alloc((size_t)n + 1, sizeof(*v));
    assert_non_null(v);
    return v;
}

/* Code - zero of x, n numbers on the grid's tensor or channels. */
static int64_t *codes_of(const struct quantizer *q, const float *x,
                         struct qview v)
{
    int64_t n = v.outer * v.channels * v.inner;
    int32_t *code = mem_alloc((size_t)n + 1, sizeof(*code));
    int64_t *k = whole(n);
    assert_non_null(code);
    q->spec.kind->codes(q, x, code, v);
    for (int64_t i = 0; i < n; i++)
        k[i] = code[i] - (int64_t)q->zero_point[i / v.inner % v.channels];
    mem_free(code);
    return k;
}

struct product {
    struct conv_geom g;
    const int64_t *x, *w;
};

static int64_t sum_at(const struct product *p, int64_t n, int64_t o,
                      int64_t i, int64_t j)
{
    const struct conv_geom *g = &p->g;
    int64_t ci = g->ci / g->groups, first = o / (g->co / g->groups) * ci;
    int64_t sum = 0;
    for (int64_t c = 0; c < ci; c++)
        for (int64_t k = 0; k < g->kh; k++)
            for (int64_t l = 0; l < g->kw; l++) {
                int64_t y = i * g->sh - g->pt + k * g->dh;
                int64_t x = j * g->sw - g->pl + l * g->dw;
                if (y < 0 || y >= g->h || x < 0 || x >= g->w)
                    continue;
                int64_t at = ((n * g->ci + first + c) * g->h + y) * g->w + x;
                sum += p->x[at] *
                       p->w[((o * ci + c) * g->kh + k) * g->kw + l];
            }
    return sum;
}

static const float *param_value(const struct graph *g, const char *layer,
                                const char *what)
{
    char name[64];
    snprintf(name, sizeof(name), "%s.%s", layer, what);
    int at = graph_param_find(g, name);
    return at < 0 ? NULL : g->param[at].value;
}

static struct quantizer *quantizer_at(const struct graph *g,
                                      const char *point)
{
    int at = graph_point_find(g, point);
    assert_true(at >= 0);
    return g->point[at].q;
}

/* Value of a node as the plan has it. */
static float *value_of(const struct plan *p, const struct graph *g,
                       const char *name, bool before)
{
    int node = graph_find(g, name);
    struct shape s = node_shape(&g->node[node], plan_options(p)->batch);
    float *y = floats(shape_count(&s));
    struct err e;
    err_clear(&e);
    if (plan_value(p, node, before, y, &e))
        fail_msg("%s: %s", name, e.text);
    return y;
}

/* One layer: source's value on grid qx times the layer's weights on theirs. */
struct layer_look {
    const char *layer, *source, *grid;
};

static void check_layer(const struct plan *p, const struct graph *g,
                        const struct layer_look *k, const char *about)
{
    const struct node *n = &g->node[graph_find(g, k->layer)];
    char point[64];
    snprintf(point, sizeof(point), "%s.w", k->layer);
    const struct quantizer *qx = quantizer_at(g, k->grid);
    const struct quantizer *qw = quantizer_at(g, point);
    struct shape s = node_shape(&g->node[n->in[0]],
                                plan_options(p)->batch);
    struct product a = {.g = conv_geom_of(n, &s)};
    const float *w = param_value(g, k->layer, "weight");
    const float *bias = param_value(g, k->layer, "bias");
    int64_t inner = a.g.ci / a.g.groups * a.g.kh * a.g.kw;
    float *x = value_of(p, g, k->source, false);
    float *y = value_of(p, g, k->layer, true);
    int64_t *kx = codes_of(qx, x, (struct qview){1, 1, shape_count(&s)});
    int64_t *kw = codes_of(
        qw, w, qw->channels == 1
                   ? (struct qview){1, 1, a.g.co * inner}
                   : (struct qview){1, a.g.co, inner});
    a.x = kx;
    a.w = kw;
    int64_t at = 0;
    for (int64_t b = 0; b < a.g.n; b++)
        for (int64_t o = 0; o < a.g.co; o++)
            for (int64_t i = 0; i < a.g.oh; i++)
                for (int64_t j = 0; j < a.g.ow; j++, at++) {
                    int64_t sum = sum_at(&a, b, o, i, j);
                    float unit = (float)qx->scale[0] *
                                 (float)qw->scale[qw->channels == 1 ? 0 : o];
                    float want = (float)sum * unit + (bias ? bias[o] : 0.0f);
                    if (memcmp(&want, &y[at], sizeof(want)))
                        fail_msg("%s %s[%lld]: %.9g, wanted %.9g = %lld * "
                                 "%.9g", about, k->layer, (long long)at,
                                 (double)y[at], (double)want, (long long)sum,
                                 (double)unit);
                }
    mem_free(kx);
    mem_free(kw);
    mem_free(x);
    mem_free(y);
}

/* Steps of a kind in the plan. */
static int count_steps(const struct plan *p, const char *kind)
{
    int n = 0;
    for (int i = 0; i < plan_step_count(p); i++) {
        struct step_info info;
        plan_step_info(p, i, &info);
        n += strcmp(info.kind, kind) == 0;
    }
    return n;
}

/* ---- random layers ---- */

static void random_layer(struct maker *m, char *text, size_t size)
{
    static const int widths[] = {1, 2, 6, 8, 12};
    int ci = widths[pick(m, 0, 4)], co = widths[pick(m, 0, 4)], groups = 1;
    int kind = pick(m, 0, 3);
    if (kind == 0) {
        groups = ci;
        co = ci * pick(m, 1, 2);
    } else if (kind == 1 && ci % 2 == 0 && co % 2 == 0) {
        groups = 2;
    }
    snprintf(text, size,
             "model a loss=ce\nx input %dx%dx%d\n"
             "c conv2d out=%d kernel_h=%d kernel_w=%d stride=%d dilation=%d "
             "pad_top=%d pad_left=%d pad_bottom=%d pad_right=%d groups=%d "
             "bias=%d\nf flatten\nd dense out=7 bias=%d\n",
             ci, pick(m, 5, 9), pick(m, 5, 9), co, pick(m, 1, 3),
             pick(m, 1, 3), pick(m, 1, 2), pick(m, 1, 2), pick(m, 0, 2),
             pick(m, 0, 2), pick(m, 0, 1), pick(m, 0, 1), groups,
             pick(m, 0, 1), pick(m, 0, 1));
}

/* Together at most 36 bits: below 2^53 with any fan-in here. */
static void random_grid(struct maker *m, struct graph *g, const char *point,
                        int bits, bool weight)
{
    static const struct spec_text values[] = {
        {"affine", ",signed,sym"},
        {"affine", ",unsigned,asym"},
        {"fixed", ",integer=2,overflow=1,rounding=2"},
        {"ufixed", ",integer=2,overflow=1,rounding=6"},
        {"lsq", ",signed"},
    };
    static const struct spec_text weights[] = {
        {"affine", ",signed,sym,channel"},
        {"affine", ",signed,sym"},
        {"fixed", ",integer=1,overflow=1,rounding=6"},
        {"affine", ",signed,asym,channel"},
        {"quantized_bits", ",integer=1"},
    };
    int i = pick(m, 0, 4), most = i == 4 ? 16 : 23;
    set_spec(g, graph_point_find(g, point), &(weight ? weights : values)[i],
             bits < most ? bits : most);
}

static struct graph *random_wide(struct maker *m, uint64_t seed, char *text,
                                 size_t size)
{
    random_layer(m, text, size);
    struct graph *g = net_from(text, seed);
    int a = pick(m, 12, 24), b = pick(m, 12, 36 - a < 24 ? 36 - a : 24);
    random_grid(m, g, "x.out", a, false);
    random_grid(m, g, "c.w", b, true);
    random_grid(m, g, "c.out", b, false);
    random_grid(m, g, "d.w", a, true);
    calibrate(g);
    return g;
}

static void check_wide(struct graph *g, const struct plan_opts *o,
                       const char *text)
{
    static const struct layer_look looks[] = {{"c", "x", "x.out"},
                                              {"d", "f", "c.out"}};
    struct plan *p = plan_of(o);
    run(p, 3);
    int found = 0;
    for (int i = 0; i < 2; i++)
        if (count_steps(p, i ? "dense f64 fwd" : "conv f64 fwd")) {
            found++;
            check_layer(p, g, &looks[i], text);
        }
    /* Grids of 12 bits and a fan-in of 2 need more than 24 bits together. */
    assert_true(found >= 1);
    plan_free(p);
}

static void sums_are_those_of_integers(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct maker m = {.rng = rng_new(seed + 900, RNG_INIT)};
        char text[400];
        struct graph *g = random_wide(&m, seed, text, sizeof(text));
        for (int way = 0; way < 8; way++) {
            struct plan_opts o;
            plan_opts_default(&o);
            o.graph = g;
            o.batch = 1 + (int64_t)(seed % 4);
            o.mode = way & 1 ? MODE_INT : MODE_FAKE;
            o.backend = backend_find(way & 2 ? "fast" : "ref");
            o.keep_values = true;
            o.train = way == 4 || way == 6;
            omp_set_num_threads(1 + (int)(seed + (uint64_t)way) % 3);
            check_wide(g, &o, text);
        }
        net_free(g);
        maker_fini(&m);
    }
    omp_set_num_threads(2);
}

/* The widest that fits: 24 bits by 20, all codes at the ends. */
static void sums_at_the_limit_are_exact(void **state)
{
    static const char *const names[] = {"ref", "fast"};
    (void)state;
    struct graph *g = net_from("model a loss=ce\nx input 500\n"
                               "d dense out=9 bias=0\n", 4);
    set_point(g, graph_point_find(g, "x.out"), "fixed<24,1,RND,SAT>");
    set_point(g, graph_point_find(g, "d.w"), "fixed<20,1,RND,SAT>");
    float *w = g->param[graph_param_find(g, "d.weight")].value;
    for (int i = 0; i < 9 * 500; i++)
        w[i] = i % 9 ? -1.0f + (float)(i % 4) * 0x1p-19f
                     : 1.0f - (float)(i % 5) * 0x1p-19f;
    for (int b = 0; b < 2; b++) {
        struct plan_opts o;
        plan_opts_default(&o);
        o.graph = g;
        o.batch = 3;
        o.mode = MODE_FAKE;
        o.backend = backend_find(names[b]);
        o.keep_values = true;
        struct plan *p = plan_of(&o);
        float *x = plan_input(p, 0);
        for (int i = 0; i < 3 * 500; i++)
            x[i] = i % 3 ? 2.0f : -1.0f + (float)(i % 7) * 0x1p-23f;
        struct err e;
        err_clear(&e);
        assert_int_equal(plan_forward(p, NULL, &e), STATUS_OK);
        assert_int_equal(count_steps(p, "dense f64 fwd"), 1);
        check_layer(p, g, &(struct layer_look){"d", "x", "x.out"},
                    names[b]);
        plan_free(p);
    }
    net_free(g);
}

static void conv1d_and_pooled_inputs_are_wide_too(void **state)
{
    (void)state;
    struct graph *g = net_from("model a loss=ce\nx input 5x20\n"
                               "c conv1d out=6 kernel=3 pad=1 stride=2\n"
                               "r relu\nm max_pool kernel=2\n"
                               "d dense out=4\nf flatten\n", 12);
    set_point(g, graph_point_find(g, "x.out"), "affine:16,signed,sym");
    set_point(g, graph_point_find(g, "c.w"), "fixed<14,1,RND,SAT>");
    set_point(g, graph_point_find(g, "r.out"), "ufixed<18,3,RND,SAT>");
    set_point(g, graph_point_find(g, "d.w"), "affine:12,signed,sym");
    calibrate(g);
    for (int way = 0; way < 4; way++) {
        struct plan_opts o;
        plan_opts_default(&o);
        o.graph = g;
        o.batch = 3;
        o.mode = way & 1 ? MODE_INT : MODE_FAKE;
        o.backend = backend_find(way & 2 ? "fast" : "ref");
        o.keep_values = true;
        struct plan *p = plan_of(&o);
        run(p, 9);
        assert_int_equal(count_steps(p, "conv f64 fwd"), 1);
        assert_int_equal(count_steps(p, "dense f64 fwd"), 1);
        check_layer(p, g, &(struct layer_look){"c", "x", "x.out"}, "conv1d");
        check_layer(p, g, &(struct layer_look){"d", "m", "r.out"}, "dense");
        plan_free(p);
    }
    net_free(g);
}

/* ---- who stays as it was ---- */

static void narrow_and_float_layers_are_left_alone(void **state)
{
    static const char *const grids[][2] = {
        {"affine:8,unsigned,asym", "affine:8,sym,channel"},
        {"affine:16,signed,sym", NULL},
        {NULL, "affine:16,signed,sym"},
        {"fixed<24,1>", "fixed<24,1>"},        /* above 2^53 */
        {"affine:9,signed,sym", "affine:4,sym"},
        {"affine:16,signed,sym,noise=0.5", "affine:16,sym"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(grids) / sizeof(grids[0]); i++) {
        struct graph *g = net_from("model a loss=ce\nx input 600\n"
                                   "d dense out=9\n", 4);
        if (grids[i][0])
            set_point(g, graph_point_find(g, "x.out"), grids[i][0]);
        if (grids[i][1])
            set_point(g, graph_point_find(g, "d.w"), grids[i][1]);
        calibrate(g);
        for (int b = 0; b < backend_count; b++) {
            struct plan_opts o;
            plan_opts_default(&o);
            o.graph = g;
            o.batch = 2;
            o.mode = MODE_FAKE;
            o.backend = backend_table[b].impl;
            struct plan *p = plan_of(&o);
            assert_int_equal(count_steps(p, "dense f64 fwd"), 0);
            plan_free(p);
        }
        net_free(g);
    }
}

/* ---- grids that move ---- */

/* A zero point that is no code, set behind the plan's back: values are
 * multiplied in double, both back ends alike. */
static void grids_that_leave_their_codes_give_values(void **state)
{
    (void)state;
    struct graph *g = net_from("model a loss=ce\nx input 4x6x6\n"
                               "c conv2d out=5 kernel=3 pad=1\n"
                               "f flatten\nd dense out=3\n", 21);
    set_point(g, graph_point_find(g, "x.out"), "affine:14,unsigned,asym");
    set_point(g, graph_point_find(g, "c.w"), "affine:14,sym");
    calibrate(g);
    float *y[2], *x = NULL;
    const float *w = param_value(g, "c", "weight");
    const float *bias = param_value(g, "c", "bias");
    struct plan *p[2];
    for (int b = 0; b < 2; b++) {
        struct plan_opts o;
        plan_opts_default(&o);
        o.graph = g;
        o.batch = 2;
        o.mode = MODE_FAKE;
        o.backend = backend_find(b ? "fast" : "ref");
        o.keep_values = true;
        p[b] = plan_of(&o);
        assert_int_equal(count_steps(p[b], "conv f64 fwd"), 1);
    }
    quantizer_at(g, "x.out")->zero_point[0] += 0.25f;
    for (int b = 0; b < 2; b++) {
        run(p[b], 5);
        y[b] = value_of(p[b], g, "c", true);
    }
    assert_memory_equal(y[0], y[1], 2 * 5 * 36 * sizeof(float));
    x = value_of(p[0], g, "x", false);
    float *q = floats(5 * 36);
    struct quantizer *qw = quantizer_at(g, "c.w");
    quantizer_forward(qw, w, q, (struct qview){1, 1, 5 * 36}, false);
    double sum = (double)bias[1];      /* a pixel inside: [0, 1, 2, 3] */
    for (int c = 0; c < 4; c++)
        for (int k = 0; k < 9; k++)
            sum += (double)x[c * 36 + (1 + k / 3) * 6 + 2 + k % 3] *
                   (double)q[36 + c * 9 + k];
    float got = y[0][36 + 2 * 6 + 3];
    assert_true(fabs((double)got - sum) <= 1e-6 * (1 + fabs(sum)));
    for (int b = 0; b < 2; b++) {
        plan_free(p[b]);
        mem_free(y[b]);
    }
    mem_free(x);
    mem_free(q);
    net_free(g);
}

/* ---- training ---- */

static float *weight_grad(struct graph *g, const char *backend, bool wide)
{
    struct plan_opts o;
    plan_opts_default(&o);
    o.graph = g;
    o.batch = 4;
    o.mode = wide ? MODE_FAKE : MODE_FLOAT;
    o.backend = backend_find(backend);
    o.train = true;
    struct plan *p = plan_of(&o);
    struct err e;
    err_clear(&e);
    run(p, 31);
    assert_int_equal(count_steps(p, "conv f64 fwd"), wide);
    float *dy = plan_output_grad(p);
    for (int i = 0; i < 4 * 5; i++)
        dy[i] = (float)(i % 7) * 0.25f - 0.6f;
    if (plan_backward(p, NULL, &e))
        fail_msg("%s", e.text);
    const struct param *w = &g->param[graph_param_find(g, "c.weight")];
    float *grad = floats(w->count);
    memcpy(grad, w->grad, (size_t)w->count * sizeof(*grad));
    plan_free(p);
    return grad;
}

/* Grids this fine hardly change anything: gradients are those of floats. */
static void gradients_are_near_those_of_floats(void **state)
{
    (void)state;
    struct graph *g = net_from("model a loss=ce\nx input 3x8x8\n"
                               "c conv2d out=6 kernel=3 pad=1\nr relu\n"
                               "f flatten\nd dense out=5\n", 17);
    set_point(g, graph_point_find(g, "x.out"), "fixed<20,4,RND,SAT>");
    set_point(g, graph_point_find(g, "c.w"), "fixed<20,2,RND,SAT>");
    set_point(g, graph_point_find(g, "r.out"), "ufixed<20,6,RND,SAT>");
    set_point(g, graph_point_find(g, "d.w"), "fixed<20,2,RND,SAT>");
    calibrate(g);
    int64_t n = g->param[graph_param_find(g, "c.weight")].count;
    for (int b = 0; b < 2; b++) {
        const char *name = b ? "fast" : "ref";
        float *a = weight_grad(g, name, true);
        float *f = weight_grad(g, name, false);
        double most = 0, off = 0;
        for (int64_t i = 0; i < n; i++) {
            most = fmax(most, fabs((double)f[i]));
            off = fmax(off, fabs((double)a[i] - (double)f[i]));
        }
        assert_true(most > 0);
        if (!(off <= 1e-3 * most))
            fail_msg("%s: off by %g of %g", name, off, most);
        mem_free(a);
        mem_free(f);
    }
    net_free(g);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(sums_are_those_of_integers),
    cmocka_unit_test(sums_at_the_limit_are_exact),
    cmocka_unit_test(conv1d_and_pooled_inputs_are_wide_too),
    cmocka_unit_test(narrow_and_float_layers_are_left_alone),
    cmocka_unit_test(grids_that_leave_their_codes_give_values),
    cmocka_unit_test(gradients_are_near_those_of_floats),
};

TEST_MAIN("engine_wide", tests)

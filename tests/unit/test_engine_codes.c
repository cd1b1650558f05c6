/* Training on codes: every way to make sums gives the same bits, for any
 * number of threads; back end ref agrees; observers and batch norm see what
 * they would see in the numbers. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "common/test_main.h"

#include "nn/op_conv.h"
#include "quant/observer.h"
#include "unit/engine_points.h"

struct outcome {
    float *out, *state, *grad;
    int64_t n_out, n_state, n_grad;
    int on_codes;             /* steps */
};

static void outcome_fini(struct outcome *o)
{
    mem_free(o->out);
    mem_free(o->state);
    mem_free(o->grad);
}

static float *copy_of(const float *x, int64_t n)
{
    float *y = floats(n);
    memcpy(y, x, (size_t)n * sizeof(*y));
    return y;
}

static int count_codes(const struct plan *p)
{
    int n = 0;
    for (int i = 0; i < plan_step_count(p); i++) {
        struct step_info s;
        plan_step_info(p, i, &s);
        n += strcmp(s.kind, "weight codes") == 0;
    }
    return n;
}

/* Running statistics, then scales and zero points. */
static void take_state(const struct graph *g, struct outcome *r)
{
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
        for (int64_t c = 0; q && c < q->channels; c++) {
            *at++ = q->scale[c];
            *at++ = q->zero_point[c];
        }
    }
}

/* One step from the state that the graph has, which is put back. */
static struct outcome step(const struct plan_opts *o)
{
    struct outcome r = {0};
    struct err e;
    err_clear(&e);
    void *state = mem_alloc(1, graph_state_bytes(o->graph) + 1);
    graph_state_get(o->graph, state);
    struct plan_opts mine = *o;
    mine.dropout = rng_new(9, RNG_DROPOUT);
    struct plan *p = plan_of(&mine);
    fill_input(p, 5);
    if (plan_forward(p, NULL, &e))
        fail_msg("%s", e.text);
    r.n_out = plan_output_count(p) * o->batch;
    r.out = copy_of(plan_output(p), r.n_out);
    float *d = plan_output_grad(p);
    for (int64_t i = 0; i < r.n_out; i++)
        d[i] = (float)(i * 37 % 11 - 5) / 10.0f;
    if (plan_backward(p, NULL, &e))
        fail_msg("%s", e.text);
    r.n_grad = o->graph->n_grad;
    r.grad = copy_of(o->graph->grad_block, r.n_grad);
    r.on_codes = count_codes(p);
    take_state(o->graph, &r);
    graph_state_set(o->graph, state);
    mem_free(state);
    plan_free(p);
    rng_free(mine.dropout);
    return r;
}

static void same_bits(const float *a, const float *b, int64_t n,
                      const char *what, const char *text)
{
    for (int64_t i = 0; i < n; i++)
        if (memcmp(&a[i], &b[i], sizeof(*a)) != 0)
            fail_msg("%s %lld: %a and %a in\n%s", what, (long long)i,
                     (double)a[i], (double)b[i], text);
}

static const enum sum_path ways[] = {SUM_INT8, SUM_F32, SUM_OWN};

/* Forward on 1 to 3 threads; gradients as far as threads are the same. */
static int check_ways(struct plan_opts *o, const char *text)
{
    int on_codes = 0;
    struct outcome first = {0};
    for (int threads = 1; threads <= 3; threads++) {
        struct outcome mate = {0};
        omp_set_num_threads(threads);
        for (int i = 0; i < 3; i++) {
            o->sums = ways[i];
            struct outcome r = step(o);
            on_codes = r.on_codes;
            if (!first.out)
                first = step(o);
            if (!mate.out)
                mate = step(o);
            same_bits(r.out, first.out, r.n_out, "output", text);
            same_bits(r.state, first.state, r.n_state, "state", text);
            same_bits(r.grad, mate.grad, r.n_grad, "gradient", text);
            outcome_fini(&r);
        }
        outcome_fini(&mate);
    }
    outcome_fini(&first);
    return on_codes;
}

static void every_way_to_sum_gives_the_same_bits(void **state)
{
    (void)state;
    int threads = omp_get_max_threads(), on_codes = 0;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct maker m = {.n = 0};
        random_text(&m, seed);
        struct graph *g = net_from(str_text(&m.text), seed);
        quantize(&m, g);
        struct plan_opts o;
        plan_opts_default(&o);
        o.graph = g;
        o.batch = 1 + (int64_t)(seed % 7);
        o.mode = MODE_FAKE;
        o.train = true;
        o.fold = (enum bn_fold)(seed % FOLD_COUNT);
        for (int i = 0; i < g->n_node && seed % 3 == 0; i++)
            g->node[i].bn_frozen = true;
        on_codes += check_ways(&o, str_text(&m.text));
        net_free(g);
        maker_fini(&m);
    }
    omp_set_num_threads(threads);
    assert_true(on_codes > 5);
}

/* ---- one layer, all its numbers ---- */

static double distance(const float *a, const float *b, int64_t n)
{
    double d = 0, norm = 0;
    for (int64_t i = 0; i < n; i++) {
        d += pow((double)a[i] - (double)b[i], 2);
        norm += pow((double)b[i], 2);
    }
    return sqrt(d / (norm > 0 ? norm : 1));
}

static void layer_text(struct maker *m, uint64_t seed, bool relu)
{
    static const int widths[] = {2, 4, 8, 16, 24};
    m->rng = rng_new(seed, RNG_SHUFFLE);
    m->c = widths[pick(m, 0, 4)];
    m->h = pick(m, 4, 9);
    m->w = pick(m, 4, 9);
    str_add(&m->text, "model layer loss=ce\n");
    line(m, "input %dx%dx%d", m->c, m->h, m->w);
    int before = m->n;
    while (m->n == before)
        add_conv(m);
    if (seed % 2)
        line(m, "batch_norm");
    if (relu)
        line(m, "relu");
    line(m, "flatten");
    line(m, "dense out=4");
}

static void quantize_layer(struct graph *g, uint64_t seed)
{
    static const char *const inputs[] = {
        "affine:7,unsigned,asym", "affine:8,signed,asym", "affine:4,asym",
        "affine:8,unsigned,asym", "lsq:8,signed", "affine:6,signed,sym",
    };
    static const char *const weights[] = {
        "affine:8,signed,sym,channel", "affine:8,unsigned,asym,tensor",
        "affine:4,signed,sym,channel", "lsq:3,signed",
        "affine:8,signed,asym,channel",
    };
    set_point(g, layer_out_point(g, 0), inputs[seed % 6]);
    set_point(g, layer_weight_point(g, 1), weights[seed % 5]);
}

/* No quantizer comes after the layer, and no relu, whose gradient jumps at
 * sums that are 0 in whole numbers alone: nothing can flip. */
static void a_layer_agrees_with_the_reference(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct maker m = {.n = 0};
        layer_text(&m, seed, false);
        struct graph *g = net_from(str_text(&m.text), seed);
        quantize_layer(g, seed);
        struct plan_opts o;
        plan_opts_default(&o);
        o.graph = g;
        o.batch = 2 + (int64_t)(seed % 4);
        o.mode = MODE_FAKE;
        o.train = true;
        o.grad = GRAD_F32;
        o.sums = ways[seed % 3];
        o.backend = backend_find("ref");
        struct outcome want = step(&o);
        o.backend = backend_find("fast");
        struct outcome got = step(&o);
        assert_int_equal(got.on_codes, 1);
        double out = distance(got.out, want.out, want.n_out);
        double moved = distance(got.state, want.state, want.n_state);
        double grad = distance(got.grad, want.grad, want.n_grad);
        if (!(out < 5e-6) || !(moved < 1e-6) || !(grad < 1e-4))
            fail_msg("off by %g, states %g, gradients %g in\n%s", out, moved,
                     grad, str_text(&m.text));
        outcome_fini(&want);
        outcome_fini(&got);
        net_free(g);
        maker_fini(&m);
    }
}

/* ---- what observers see ---- */

/* Numbers at which roundings collide: shifts far larger than what they are
 * added to, factors of both signs and of every size. */
static void make_adverse(struct graph *g, uint64_t seed)
{
    struct rng *r = rng_new(seed, RNG_AUGMENT);
    static const float factor[] = {1.0f, -1.0f, 1e-6f, 3e-9f, -3e4f, 0.1f};
    static const float shift[] = {0.0f, 1e4f, -3e-3f, 7e6f, 1.0f / 3.0f};
    for (int i = 0; i < g->n_param; i++) {
        struct param *p = &g->param[i];
        for (int64_t k = 0; k < p->count; k++) {
            if (p->role == PARAM_GAMMA)
                p->value[k] *= factor[rng_below(r, 6)];
            else if (p->role == PARAM_BETA || p->role == PARAM_BIAS)
                p->value[k] *= shift[rng_below(r, 5)];
        }
    }
    rng_free(r);
}

static void the_range_is_that_of_the_numbers(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct maker m = {.n = 0};
        layer_text(&m, seed, seed % 3 > 0);
        struct graph *g = net_from(str_text(&m.text), seed);
        quantize_layer(g, seed);
        make_adverse(g, seed);
        int out = layer_out_point(g, 1), node = g->point[out].at;
        set_point(g, out, "affine:8,unsigned,asym,obs=minmax");
        for (int i = 0; i < g->n_node && seed % 4 == 1; i++)
            g->node[i].bn_frozen = true;
        struct plan_opts o;
        plan_opts_default(&o);
        o.graph = g;
        o.batch = 4;
        o.mode = MODE_FAKE;
        o.train = o.keep_values = true;
        o.sums = ways[seed % 3];
        struct plan *p = plan_of(&o);
        struct err e;
        fill_input(p, seed);
        if (plan_forward(p, NULL, &e))
            fail_msg("%s in\n%s", e.text, str_text(&m.text));
        struct shape s = node_shape(&g->node[node], o.batch);
        int64_t n = shape_count(&s);
        float *x = floats(n), lo = INFINITY, hi = -INFINITY;
        assert_int_equal(plan_value(p, node, true, x, &e), STATUS_OK);
        for (int64_t i = 0; i < n; i++) {
            lo = fminf(lo, x[i]);
            hi = fmaxf(hi, x[i]);
        }
        const struct quantizer *q = g->point[out].q;
        if (q->lo[0] != lo || q->hi[0] != hi)
            fail_msg("range %a to %a, numbers from %a to %a in\n%s",
                     (double)q->lo[0], (double)q->hi[0], (double)lo,
                     (double)hi, str_text(&m.text));
        mem_free(x);
        plan_free(p);
        net_free(g);
        maker_fini(&m);
    }
}

/* The codes that a plan keeps are those of the values beside them. */
static void codes_stand_for_the_values(void **state)
{
    (void)state;
    struct graph *g = net_from("model net loss=ce\nL0 input 8x6x6\n"
                               "L1 conv2d out=8 kernel=3 pad=1\nL2 relu\n"
                               "L3 max_pool kernel=2\n"
                               "L4 conv2d out=8 kernel=3\nL5 flatten\n"
                               "L6 dense out=3\n", 3);
    set_point(g, layer_out_point(g, 0), "affine:8,signed,asym");
    set_point(g, layer_out_point(g, 1), "affine:7,unsigned,asym");
    set_point(g, layer_weight_point(g, 1), "affine:8,signed,sym,channel");
    set_point(g, layer_weight_point(g, 4), "affine:8,signed,sym,channel");
    struct plan_opts o;
    plan_opts_default(&o);
    o.graph = g;
    o.batch = 3;
    o.mode = MODE_FAKE;
    o.train = o.keep_values = true;
    o.sums = SUM_OWN;
    struct plan *p = plan_of(&o);
    struct err e;
    fill_input(p, 3);
    if (plan_forward(p, NULL, &e))
        fail_msg("%s", e.text);
    static const int look[] = {0, 3};
    for (int k = 0; k < 2; k++) {
        struct shape s = node_shape(&g->node[look[k]], o.batch);
        int64_t n = shape_count(&s);
        float *x = floats(n);
        int32_t *code = mem_alloc((size_t)n, sizeof(*code));
        assert_int_equal(plan_value(p, look[k], false, x, &e), STATUS_OK);
        assert_int_equal(plan_codes(p, look[k], code, &e), STATUS_OK);
        const struct quantizer *q =
            g->point[layer_out_point(g, k ? 1 : 0)].q;
        for (int64_t i = 0; i < n; i++)
            assert_true(x[i] == q->scale[0] * ((float)code[i] -
                                               q->zero_point[0]));
        mem_free(code);
        mem_free(x);
    }
    plan_free(p);
    net_free(g);
}

/* Evaluation writes no numbers where codes are enough. */
static void numbers_that_nobody_reads_do_not_matter(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct maker m;
        struct graph *g = random_net(&m, seed);
        struct plan_opts o = int_opts(g, seed);
        struct err e;
        float *out[2];
        int64_t n = 0;
        o.mode = MODE_FAKE;
        o.sums = ways[seed % 3];
        for (int i = 0; i < 2; i++) {
            o.keep_values = i;
            struct plan *p = plan_of(&o);
            fill_input(p, seed);
            if (plan_forward(p, NULL, &e))
                fail_msg("%s", e.text);
            n = plan_output_count(p) * o.batch;
            out[i] = copy_of(plan_output(p), n);
            plan_free(p);
        }
        same_bits(out[0], out[1], n, "output", str_text(&m.text));
        mem_free(out[0]);
        mem_free(out[1]);
        net_free(g);
        maker_fini(&m);
    }
}

/* ---- gradients in bf16 ---- */

/* To nearest, half to even, by the distances to both neighbours. */
static double nearest_bf16(double v)
{
    int power;
    if (v == 0)
        return 0;
    frexp(v, &power);
    double unit = ldexp(1, power - 8);
    return rint(v / unit) * unit;
}

struct look {
    struct conv_geom g;
    float *dy;                /* (N,O,OH,OW) */
    int32_t *code;            /* (N,I,H,W), minus zero */
};

static double weight_gradient(const struct look *l, double scale, int64_t o,
                              int64_t c, int64_t k, int64_t m)
{
    const struct conv_geom *g = &l->g;
    double sum = 0;
    for (int64_t n = 0; n < g->n; n++)
        for (int64_t i = 0; i < g->oh; i++)
            for (int64_t j = 0; j < g->ow; j++) {
                int64_t a = i * g->sh - g->pt + k, b = j * g->sw - g->pl + m;
                if (a < 0 || a >= g->h || b < 0 || b >= g->w)
                    continue;
                float dy = l->dy[((n * g->co + o) * g->oh + i) * g->ow + j];
                int32_t q = l->code[((n * g->ci + c) * g->h + a) * g->w + b];
                sum += nearest_bf16((double)(dy * (float)scale)) * q;
            }
    return sum;
}

static void take_look(struct plan *p, struct look *l)
{
    const struct graph *g = plan_options(p)->graph;
    struct shape x = node_shape(&g->node[0], plan_options(p)->batch);
    struct shape y = node_shape(&g->node[1], plan_options(p)->batch);
    struct err e;
    l->g = conv_geom_of(&g->node[1], &x);
    l->dy = floats(shape_count(&y));
    l->code = mem_alloc((size_t)shape_count(&x), sizeof(*l->code));
    assert_int_equal(plan_value_grad(p, 1, l->dy, &e), STATUS_OK);
    assert_int_equal(plan_codes(p, 0, l->code, &e), STATUS_OK);
    int zero = (int)g->point[layer_out_point(g, 0)].q->zero_point[0];
    for (int64_t i = 0; i < shape_count(&x); i++)
        l->code[i] -= zero;
}

static void gradients_in_bf16_round_dy_alone(void **state)
{
    (void)state;
    struct graph *g = net_from("model net loss=ce\nL0 input 8x6x5\n"
                               "L1 conv2d out=16 kernel=3 pad=1 stride=2\n"
                               "L2 flatten\nL3 dense out=3\n", 4);
    set_point(g, layer_out_point(g, 0), "affine:8,signed,asym");
    set_point(g, layer_weight_point(g, 1), "affine:8,signed,sym,channel");
    struct plan_opts o;
    plan_opts_default(&o);
    o.graph = g;
    o.batch = 5;
    o.mode = MODE_FAKE;
    o.train = o.keep_values = true;
    o.sums = SUM_OWN;
    o.grad = GRAD_BF16;
    struct plan *p = plan_of(&o);
    struct err e;
    fill_input(p, 6);
    if (plan_forward(p, NULL, &e))
        fail_msg("%s", e.text);
    for (int64_t i = 0; i < plan_output_count(p) * o.batch; i++)
        plan_output_grad(p)[i] = (float)(i * 37 % 11 - 5) / 7.0f;
    if (plan_backward(p, NULL, &e))
        fail_msg("%s", e.text);
    struct look l;
    take_look(p, &l);
    const struct quantizer *qx = g->point[layer_out_point(g, 0)].q;
    const struct quantizer *qw = g->point[layer_weight_point(g, 1)].q;
    const float *dw = g->param[g->node[1].param[0]].grad;
    int beyond = 0;
    for (int64_t i = 0; i < 16 * 8 * 9; i++) {
        double scale = (double)qw->scale[i / 72];
        double want = (double)qx->scale[0] / scale *
                      weight_gradient(&l, scale, i / 72, i / 9 % 8, i / 3 % 3,
                                      i % 3);
        /* The largest weight of a channel may lie beyond the grid. */
        beyond += dw[i] == 0;
        if (dw[i] != 0 && fabs((double)dw[i] - want) > 1e-4 * fabs(want) + 1e-5)
            fail_msg("weight %d: found %.9g, wanted %.9g", (int)i,
                     (double)dw[i], want);
    }
    assert_true(beyond <= 16);
    mem_free(l.dy);
    mem_free(l.code);
    plan_free(p);
    net_free(g);
}

/* Of layers before it, too: bf16 has 8 bits. */
static void gradients_in_bf16_are_near_those_in_float(void **state)
{
    (void)state;
    struct graph *g = net_from("model net loss=ce\nL0 input 8x7x7\n"
                               "L1 conv2d out=16 kernel=3 pad=1 bias=0\n"
                               "L2 batch_norm\n"
                               "L3 conv2d out=8 kernel=3\nL4 flatten\n"
                               "L5 dense out=3\n", 5);
    set_point(g, layer_out_point(g, 0), "affine:7,unsigned,asym");
    set_point(g, layer_out_point(g, 1), "affine:7,unsigned,asym");
    set_point(g, layer_weight_point(g, 1), "affine:8,signed,sym,channel");
    set_point(g, layer_weight_point(g, 3), "affine:4,signed,sym");
    struct plan_opts o;
    plan_opts_default(&o);
    o.graph = g;
    o.batch = 6;
    o.mode = MODE_FAKE;
    o.train = true;
    o.sums = SUM_INT8;
    o.grad = GRAD_F32;
    struct outcome want = step(&o);
    o.grad = GRAD_BF16;
    struct outcome got = step(&o);
    double d = distance(got.grad, want.grad, want.n_grad);
    assert_true(d > 1e-5);
    if (!(d < 4e-3))
        fail_msg("off by %g", d);
    outcome_fini(&want);
    outcome_fini(&got);
    net_free(g);
}

int main(void)
{
    gsl_set_error_handler_off();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_way_to_sum_gives_the_same_bits),
        cmocka_unit_test(a_layer_agrees_with_the_reference),
        cmocka_unit_test(the_range_is_that_of_the_numbers),
        cmocka_unit_test(codes_stand_for_the_values),
        cmocka_unit_test(numbers_that_nobody_reads_do_not_matter),
        cmocka_unit_test(gradients_in_bf16_round_dy_alone),
        cmocka_unit_test(gradients_in_bf16_are_near_those_in_float),
    };
    return cmocka_run_group_tests_name("engine codes", tests, NULL, NULL);
}

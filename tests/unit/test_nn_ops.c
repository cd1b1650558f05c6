/* Operators against values worked out by hand, against the written formula,
 * and against themselves on other numbers of threads.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/test_main.h"

#include <float.h>
#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/arena.h"
#include "common/assert_near.h"
#include "nn/op_conv.h"
#include "nn/op_pool.h"

/* The last node of a small graph, ready to be called on a batch. */
struct run {
    struct graph *g;
    struct node *node;
    struct op_call call;
    struct shape shape[OP_MAX_INPUTS + 1];
    real *in[OP_MAX_INPUTS], *din[OP_MAX_INPUTS], *dparam[OP_MAX_PARAMS];
    real *out, *dout, *saved;
    int64_t count;
};

static real *new_reals(int64_t n)
{
    real *p = mem_alloc((size_t)n + 1, sizeof *p);
    assert_non_null(p);
    return p;
}

static void run_values(struct run *r, int64_t batch)
{
    for (int i = 0; i < r->node->n_in; i++) {
        r->shape[i] = node_shape(&r->g->node[r->node->in[i]], batch);
        int64_t n = shape_count(&r->shape[i]);
        r->call.in_shape[i] = &r->shape[i];
        r->call.in[i] = r->in[i] = new_reals(n);
        r->call.din[i] = r->din[i] = new_reals(n);
    }
    struct shape *out = &r->shape[OP_MAX_INPUTS];
    *out = node_shape(r->node, batch);
    r->count = shape_count(out);
    r->call.out_shape = out;
    r->call.out = r->out = new_reals(r->count);
    r->call.dout = r->dout = new_reals(r->count);
}

static void run_params(struct run *r)
{
    for (int i = 0; i < OP_MAX_PARAMS; i++) {
        if (r->node->param[i] < 0)
            continue;
        const struct param *p = &r->g->param[r->node->param[i]];
        r->call.param[i] = p->value;
        r->call.dparam[i] = r->dparam[i] = new_reals(p->count);
    }
    for (int i = 0; i < OP_MAX_STATES; i++)
        if (r->node->state[i] >= 0)
            r->call.state[i] = r->g->param[r->node->state[i]].value;
}

static void run_init(struct run *r, const char *text, int64_t batch)
{
    struct err e = { 0 };
    struct str model = { 0 };
    *r = (struct run){ 0 };
    str_printf(&model, "model t\n%s\n", text);
    if (graph_parse(str_text(&model), &r->g, &e) != STATUS_OK ||
        graph_finish(r->g, NULL, &e) != STATUS_OK)
        fail_msg("%s: %s", text, e.text);
    str_fini(&model);
    r->node = &r->g->node[r->g->output];
    r->call.node = r->node;
    r->call.train = true;
    run_values(r, batch);
    run_params(r);
    const struct op *op = r->node->op;
    if (op->saved)
        r->call.saved = r->saved =
            new_reals((int64_t)op->saved(r->node, r->call.in_shape,
                                         r->call.out_shape));
}

static void run_fini(struct run *r)
{
    for (int i = 0; i < OP_MAX_INPUTS; i++) {
        mem_free(r->in[i]);
        mem_free(r->din[i]);
    }
    for (int i = 0; i < OP_MAX_PARAMS; i++)
        mem_free(r->dparam[i]);
    mem_free(r->out);
    mem_free(r->dout);
    mem_free(r->saved);
    graph_free(r->g);
}

static void forward(struct run *r)
{
    assert_int_equal(r->node->op->forward(&r->call, NULL), STATUS_OK);
}

static void backward(struct run *r)
{
    assert_int_equal(r->node->op->backward(&r->call, NULL), STATUS_OK);
}

static void put(real *to, int64_t n, const double *from)
{
    for (int64_t i = 0; i < n; i++)
        to[i] = (real)from[i];
}

static void put_count(real *to, int64_t n, double first)
{
    for (int64_t i = 0; i < n; i++)
        to[i] = (real)(first + (double)i);
}

static void assert_values(const real *got, int64_t n, const double *want)
{
    for (int64_t i = 0; i < n; i++)
        assert_near((double)got[i], want[i], 1e-6, 1e-6);
}

/* Output of an operator on one sample of the given numbers. */
static void check_output(const char *text, const double *x,
                         const double *want)
{
    struct run r;
    run_init(&r, text, 1);
    put(r.in[0], shape_count(&r.shape[0]), x);
    forward(&r);
    assert_values(r.out, r.count, want);
    run_fini(&r);
}

static void conv2d_of_one_to_nine_is_worked_out_by_hand(void **s)
{
    (void)s;
    struct run r;
    run_init(&r, "a input 1x3x3\ny conv2d out=1 kernel=2", 1);
    put_count(r.in[0], 9, 1);
    put(r.g->param[0].value, 4, (double[]){ 1, 2, 3, 4 });
    r.g->param[1].value[0] = REAL(0.5);
    forward(&r);
    /* 1*1 + 2*2 + 3*4 + 4*5 = 37, and so on, + 0.5 */
    assert_values(r.out, 4, (double[]){ 37.5, 47.5, 67.5, 77.5 });
    run_fini(&r);
}

static void asymmetric_pads_shift_the_window(void **s)
{
    (void)s;
    struct run r;
    run_init(&r, "a input 1x2x2\ny conv2d out=1 kernel=2 pad_top=1 "
             "pad_right=1 bias=0", 1);
    put_count(r.in[0], 4, 1);
    put(r.g->param[0].value, 4, (double[]){ 1, 10, 100, 1000 });
    forward(&r);
    /* rows: 0 0 0 / 1 2 0 / 3 4 0 */
    assert_values(r.out, 4, (double[]){ 2100, 200, 4321, 402 });
    run_fini(&r);
}

/* The formula of op_conv.h, index by index. */
static double conv_formula(const struct run *r, const struct conv_geom *g,
                           const int64_t at[4])
{
    int64_t channels = g->ci / g->groups;
    int64_t first = at[1] / (g->co / g->groups) * channels;
    double sum = r->node->param[1] < 0
                     ? 0 : (double)r->call.param[1][at[1]];
    for (int64_t c = 0; c < channels; c++) {
        for (int64_t k = 0; k < g->kh * g->kw; k++) {
            int64_t i = at[2] * g->sh - g->pt + k / g->kw * g->dh;
            int64_t j = at[3] * g->sw - g->pl + k % g->kw * g->dw;
            if (i < 0 || i >= g->h || j < 0 || j >= g->w)
                continue;
            int64_t x = ((at[0] * g->ci + first + c) * g->h + i) * g->w + j;
            int64_t w = (at[1] * channels + c) * g->kh * g->kw + k;
            sum += (double)r->in[0][x] * (double)r->call.param[0][w];
        }
    }
    return sum;
}

static void fill_noise(struct run *r, unsigned seed)
{
    struct rng *noise = rng_new(seed, RNG_GENERATE);
    for (int i = 0; i < r->node->n_in; i++)
        for (int64_t k = 0; k < shape_count(&r->shape[i]); k++)
            r->in[i][k] = (real)rng_normal(noise);
    for (int i = 0; i < r->g->n_learned; i++)
        for (int64_t k = 0; k < r->g->param[i].count; k++)
            r->g->param[i].value[k] = (real)rng_normal(noise);
    for (int64_t k = 0; k < r->count; k++)
        r->dout[k] = (real)rng_normal(noise);
    rng_free(noise);
}

static void check_conv(const char *text)
{
    struct run r;
    run_init(&r, text, 2);
    fill_noise(&r, 3);
    forward(&r);
    struct conv_geom g = conv_geom_of(r.node, &r.shape[0]);
    int64_t plane = g.oh * g.ow;
    assert_int_equal(r.count, 2 * g.co * plane);
    for (int64_t i = 0; i < r.count; i++) {
        int64_t at[4] = { i / plane / g.co, i / plane % g.co,
                          i % plane / g.ow, i % g.ow };
        assert_near((double)r.out[i], conv_formula(&r, &g, at), 1e-5, 1e-5);
    }
    run_fini(&r);
}

static void convolutions_follow_the_formula(void **s)
{
    (void)s;
    check_conv("a input 3x7x6\ny conv2d out=4 kernel=3 pad=1");
    check_conv("a input 4x9x8\ny conv2d out=6 kernel=3 stride=2 groups=2");
    check_conv("a input 5x6x6\ny conv2d out=5 kernel=3 pad=1 groups=5 bias=0");
    check_conv("a input 2x9x11\ny conv2d out=3 kernel_h=2 kernel_w=3 "
               "stride_w=3 dilation_h=3 dilation_w=2 pad_left=2 "
               "pad_bottom=4");
    check_conv("a input 3x12\ny conv1d out=4 kernel=5 pad=2 stride=2");
}

static void depthwise_is_told_from_grouped(void **s)
{
    (void)s;
    struct run r;
    run_init(&r, "a input 4x5x5\ny conv2d out=8 kernel=3 groups=4", 1);
    struct conv_geom g = conv_geom_of(r.node, &r.shape[0]);
    assert_true(conv_is_depthwise(&g));
    assert_string_equal(node_type(r.g, r.node), "dwconv");
    run_fini(&r);
    run_init(&r, "a input 4x5x5\ny conv2d out=8 kernel=3 groups=2", 1);
    g = conv_geom_of(r.node, &r.shape[0]);
    assert_false(conv_is_depthwise(&g));
    assert_string_equal(node_type(r.g, r.node), "conv");
    run_fini(&r);
}

static void dense_acts_on_the_last_axis(void **s)
{
    (void)s;
    struct run r;
    run_init(&r, "a input 2x3\ny dense out=2", 1);
    put_count(r.in[0], 6, 1);
    put(r.g->param[0].value, 6, (double[]){ 1, 0, -1, 2, 1, 0 });
    put(r.g->param[1].value, 2, (double[]){ 10, 20 });
    forward(&r);
    assert_values(r.out, 4, (double[]){ 8, 24, 8, 33 });
    run_fini(&r);
}

static void matmul_multiplies_matrices(void **s)
{
    (void)s;
    struct run r;
    run_init(&r, "a input 2x2\nb input 2x3\ny matmul < a b", 1);
    put_count(r.in[0], 4, 1);
    put_count(r.in[1], 6, 1);
    forward(&r);
    assert_values(r.out, 6, (double[]){ 9, 12, 15, 19, 26, 33 });
    run_fini(&r);
}

/* Values 1 2 3 6: mean 3, variance 3.5 (biased), 14/3 (unbiased). */
static void batch_norm_keeps_the_unbiased_variance(void **s)
{
    (void)s;
    struct run r;
    run_init(&r, "a input 1\ny batch_norm", 4);
    put(r.in[0], 4, (double[]){ 1, 2, 3, 6 });
    r.g->param[0].value[0] = 2;
    r.g->param[1].value[0] = 1;
    forward(&r);
    double k = 2 / sqrt(3.5 + 1e-5);
    assert_values(r.out, 4, (double[]){ 1 - 2 * k, 1 - k, 1, 1 + 3 * k });
    assert_near((double)r.call.state[0][0], 0.3, 1e-6, 0);
    assert_near((double)r.call.state[1][0], 0.9 + 1.4 / 3, 1e-6, 0);
    run_fini(&r);
}

static void check_running_statistics(bool train, bool frozen, bool call)
{
    struct run r;
    run_init(&r, "a input 1\ny batch_norm eps=0", 2);
    put(r.in[0], 2, (double[]){ 5, 9 });
    r.call.state[0][0] = 1;
    r.call.state[1][0] = 4;
    r.call.train = train;
    r.call.freeze_stats = call;
    r.node->bn_frozen = frozen;
    forward(&r);
    assert_values(r.out, 2, (double[]){ 2, 4 });
    assert_true(r.call.state[0][0] == 1 && r.call.state[1][0] == 4);
    run_fini(&r);
}

static void frozen_and_evaluated_batch_norm_uses_running_statistics(void **s)
{
    (void)s;
    check_running_statistics(false, false, false);
    check_running_statistics(true, true, false);
    check_running_statistics(true, false, true);
}

static void folded_batch_norm_hands_on_its_input(void **s)
{
    (void)s;
    struct run r;
    run_init(&r, "a input 1\ny batch_norm", 2);
    put(r.in[0], 2, (double[]){ 5, 9 });
    r.node->bn_folded = true;
    r.call.saved = NULL;
    forward(&r);
    assert_values(r.out, 2, (double[]){ 5, 9 });
    assert_true(r.call.state[0][0] == 0 && r.call.state[1][0] == 1);
    run_fini(&r);
}

static void evaluation_needs_no_saved_values(void **s)
{
    (void)s;
    for (int i = 0; i < op_count; i++) {
        if (!op_table[i]->saved)
            continue;
        struct run r;
        struct str text = { 0 };
        str_printf(&text, "a input 3x4\ny %s", op_table[i]->name);
        run_init(&r, str_text(&text), 2);
        r.call.train = false;
        r.call.saved = NULL;
        forward(&r);
        run_fini(&r);
        str_fini(&text);
    }
}

static void activations_have_their_textbook_values(void **s)
{
    (void)s;
    const double x[5] = { -4, -1, 0, 1, 7 };
    const double e = exp(-1), sigma = 1 / (1 + e);
    check_output("a input 5\ny relu", x, (double[]){ 0, 0, 0, 1, 7 });
    check_output("a input 5\ny relu6", x, (double[]){ 0, 0, 0, 1, 6 });
    check_output("a input 5\ny clip lo=-2 hi=3", x,
                 (double[]){ -2, -1, 0, 1, 3 });
    check_output("a input 5\ny leaky_relu alpha=0.1", x,
                 (double[]){ -0.4, -0.1, 0, 1, 7 });
    check_output("a input 5\ny hard_sigmoid", x,
                 (double[]){ 0, 1.0 / 3, 0.5, 2.0 / 3, 1 });
    check_output("a input 5\ny hard_sigmoid alpha=0.2", x,
                 (double[]){ 0, 0.3, 0.5, 0.7, 1 });
    check_output("a input 5\ny hard_swish", x,
                 (double[]){ 0, -1.0 / 3, 0, 2.0 / 3, 7 });
    check_output("a input 5\ny sigmoid", x,
                 (double[]){ 1 / (1 + exp(4)), 1 - sigma, 0.5, sigma,
                             1 / (1 + exp(-7)) });
    check_output("a input 5\ny silu", x,
                 (double[]){ -4 / (1 + exp(4)), sigma - 1, 0, sigma,
                             7 / (1 + exp(-7)) });
    check_output("a input 5\ny tanh", x,
                 (double[]){ tanh(-4), tanh(-1), 0, tanh(1), tanh(7) });
}

static void rectifiers_let_a_nan_through(void **s)
{
    (void)s;
    const char *texts[] = { "a input 1\ny relu", "a input 1\ny relu6",
                            "a input 1\ny clip lo=0 hi=1",
                            "a input 1x1x1\ny max_pool kernel=1" };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct run r;
        run_init(&r, texts[i], 1);
        r.in[0][0] = NAN;
        forward(&r);
        assert_true(isnan(r.out[0]));
        run_fini(&r);
    }
}

static void softmax_sums_to_one_and_survives_large_numbers(void **s)
{
    (void)s;
    double third = 1.0 / 3;
    check_output("a input 3\ny softmax", (double[]){ 1000, 1000, 1000 },
                 (double[]){ third, third, third });
    check_output("a input 2x2\ny softmax axis=1",
                 (double[]){ log(3), 5, 0, 5 },
                 (double[]){ 0.75, 0.5, 0.25, 0.5 });
}

static void merges_repeat_axes_of_extent_one(void **s)
{
    (void)s;
    struct run r;
    run_init(&r, "a input 2x2\nb input 2x1\ny sub < a b", 2);
    put_count(r.in[0], 8, 1);
    put(r.in[1], 4, (double[]){ 1, 2, 3, 4 });
    forward(&r);
    assert_values(r.out, 8, (double[]){ 0, 1, 1, 2, 2, 3, 3, 4 });
    run_fini(&r);
}

static void concat_lays_channels_behind_each_other(void **s)
{
    (void)s;
    struct run r;
    run_init(&r, "a input 1x2\nb input 2x2\ny concat < a b", 2);
    put_count(r.in[0], 4, 1);
    put_count(r.in[1], 8, 10);
    forward(&r);
    assert_values(r.out, 12, (double[]){ 1, 2, 10, 11, 12, 13,
                                         3, 4, 14, 15, 16, 17 });
    run_fini(&r);
}

/* Rows 0 1 2 3 4: torch's MaxPool1d / AvgPool1d(3, 2, 1). */
static void pooling_counts_pads_as_torch_does(void **s)
{
    (void)s;
    const double x[5] = { 0, 1, 2, 3, 4 };
    check_output("a input 1x5\ny max_pool kernel=3 stride=2 pad=1", x,
                 (double[]){ 1, 3, 4 });
    check_output("a input 1x5\ny avg_pool kernel=3 stride=2 pad=1", x,
                 (double[]){ 1.0 / 3, 2, 7.0 / 3 });
    check_output("a input 1x5\ny avg_pool kernel=3 stride=2 pad=1 "
                 "count_pads=0", x, (double[]){ 0.5, 2, 3.5 });
}

/* With ceil_mode the last window of 0 .. 5, kernel 3, stride 2 hangs over:
 * it holds 4 5 and, since the border is not a pad, is divided by 2. With a
 * pad of 1 on 0 .. 3 a third window would start at 3, its divisor cut off at
 * the padded border: (3 + 0) / 2. A window that would start in the right pad
 * is dropped. */
static void ceil_mode_follows_torch(void **s)
{
    (void)s;
    const double x[6] = { 0, 1, 2, 3, 4, 5 };
    check_output("a input 1x6\ny avg_pool kernel=3 stride=2 ceil_mode=1", x,
                 (double[]){ 1, 3, 4.5 });
    check_output("a input 1x6\ny max_pool kernel=3 stride=2 ceil_mode=1", x,
                 (double[]){ 2, 4, 5 });
    check_output("a input 1x4\ny avg_pool kernel=3 stride=2 pad=1 "
                 "ceil_mode=1", x, (double[]){ 1.0 / 3, 2, 1.5 });
    check_output("a input 1x4\ny max_pool kernel=2 stride=3 pad=1 "
                 "ceil_mode=1", x, (double[]){ 0, 3 });
    check_output("a input 1x2\ny max_pool kernel=2 stride=2 pad=1 "
                 "ceil_mode=1", x, (double[]){ 0, 1 });
}

static void max_pool_gives_the_first_of_equals_the_gradient(void **s)
{
    (void)s;
    struct run r;
    run_init(&r, "a input 1x1x4\ny max_pool kernel_h=1 kernel_w=4", 1);
    put(r.in[0], 4, (double[]){ 1, 7, 7, 2 });
    r.dout[0] = 5;
    forward(&r);
    backward(&r);
    assert_values(r.din[0], 4, (double[]){ 0, 5, 0, 0 });
    run_fini(&r);
}

static void global_average_is_the_mean_of_a_channel(void **s)
{
    (void)s;
    check_output("a input 2x2x2\ny global_avg_pool",
                 (double[]){ 1, 2, 3, 6, 5, 5, 5, 5 }, (double[]){ 3, 5 });
}

static void reductions_sum_the_named_axes(void **s)
{
    (void)s;
    const double x[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    check_output("a input 2x2x2\ny reduce_sum axes=1", x,
                 (double[]){ 6, 8, 10, 12 });
    check_output("a input 2x2x2\ny reduce_mean axes=1,3 keepdims=1", x,
                 (double[]){ 3.5, 5.5 });
    check_output("a input 2x2x2\ny reduce_sum axes=1,2,3", x,
                 (double[]){ 36 });
}

/* Cells 2 and 4 are padding in sample 1, all of sample 2; a cell with one
 * feature of -6 is none. */
static void padding_is_left_out(void **s)
{
    (void)s;
    const double cells[16] = { 1, 2, -6, -6, -6, 3, -6, -6,
                               -6, -6, -6, -6, -6, -6, -6, -6 };
    struct run r;
    run_init(&r, "a input 4x1\nb input 4x2\ny reduce_mean axes=1 mask=-6 "
             "< a b", 2);
    put(r.in[0], 8, (double[]){ 10, 20, 30, 40, 1, 2, 3, 4 });
    put(r.in[1], 16, cells);
    forward(&r);
    assert_values(r.out, 2, (double[]){ 20, 0 });
    r.dout[0] = r.dout[1] = 1;
    backward(&r);
    assert_values(r.din[0], 8, (double[]){ 0.5, 0, 0.5, 0, 0, 0, 0, 0 });
    assert_values(r.din[1], 16, (double[16]){ 0 });
    run_fini(&r);
}

static void transpose_moves_axes(void **s)
{
    (void)s;
    check_output("a input 2x3\ny transpose perm=0,2,1",
                 (double[]){ 1, 2, 3, 4, 5, 6 },
                 (double[]){ 1, 4, 2, 5, 3, 6 });
}

static void pad_puts_zeros_around(void **s)
{
    (void)s;
    check_output("a input 1x1x2\ny pad pad_top=1 pad_left=1 pad_back=1",
                 (double[]){ 7, 8 },
                 (double[]){ 0, 0, 0, 0, 7, 8, 0, 0, 0, 0, 0, 0 });
}

static void quantize_rounds_half_to_even_and_clamps(void **s)
{
    (void)s;
    struct run r;
    run_init(&r, "a input 6\ny quantize scale=0.5 zero_point=2 lo=0 hi=5", 1);
    put(r.in[0], 6, (double[]){ 0.25, 0.75, -0.25, 9, -1, 1.5 });
    forward(&r);
    assert_values(r.out, 6, (double[]){ 2, 4, 2, 5, 0, 5 });
    for (int i = 0; i < 6; i++)
        r.dout[i] = 1;
    backward(&r);
    /* Codes at the ends, reached without clamping, let the gradient by. */
    assert_values(r.din[0], 6, (double[]){ 2, 2, 2, 0, 2, 2 });
    run_fini(&r);
    check_output("a input 2\ny dequantize scale=0.5 zero_point=2",
                 (double[]){ 0, 5 }, (double[]){ -1, 1.5 });
}

static void dropout_scales_what_it_keeps(void **s)
{
    (void)s;
    struct run r;
    run_init(&r, "a input 1000\ny dropout p=0.25", 1);
    struct rng *rng = rng_new(1, RNG_DROPOUT);
    int kept = 0;
    r.call.rng = rng;
    for (int i = 0; i < 1000; i++)
        r.in[0][i] = 3;
    forward(&r);
    for (int i = 0; i < 1000; i++) {
        assert_true(r.out[i] == 0 || r.out[i] == 4);
        kept += r.out[i] != 0;
    }
    /* 750 expected, standard deviation 13.7 */
    assert_in_range(kept, 690, 810);
    rng_free(rng);
    run_fini(&r);
}

static void dropout_without_a_stream_is_refused(void **s)
{
    (void)s;
    struct err e;
    struct run r;
    run_init(&r, "a input 4\ny dropout", 1);
    assert_int_equal(r.node->op->forward(&r.call, &e), STATUS_STATE);
    assert_string_equal(e.text, "dropout has no random stream");
    run_fini(&r);
}

/* Bits of everything that a call writes. */
static void run_all(struct run *r, const char *text, int threads)
{
    int before = omp_get_max_threads();
    omp_set_num_threads(threads);
    run_init(r, text, 16);
    fill_noise(r, 5);
    forward(r);
    backward(r);
    omp_set_num_threads(before);
}

static void assert_same_bits(const real *a, const real *b, int64_t n)
{
    assert_memory_equal(a, b, (size_t)n * sizeof *a);
}

static void check_threads(const char *text)
{
    struct run one, three;
    run_all(&one, text, 1);
    run_all(&three, text, 3);
    assert_true(one.count > 1000);
    assert_same_bits(one.out, three.out, one.count);
    for (int i = 0; i < one.node->n_in; i++)
        assert_same_bits(one.din[i], three.din[i],
                         shape_count(&one.shape[i]));
    for (int i = 0; i < OP_MAX_PARAMS; i++)
        if (one.dparam[i])
            assert_same_bits(one.dparam[i], three.dparam[i],
                             one.g->param[one.node->param[i]].count);
    run_fini(&one);
    run_fini(&three);
}

static void number_of_threads_does_not_show(void **s)
{
    (void)s;
    check_threads("a input 4x12x12\ny conv2d out=6 kernel=3 pad=1");
    check_threads("a input 20x16\ny dense out=24");
    check_threads("a input 6x12x12\ny batch_norm");
    check_threads("a input 8x16x16\ny max_pool kernel=3 stride=1");
    check_threads("a input 8x16x16\ny avg_pool kernel=3 stride=1");
    check_threads("a input 24x24\nb input 24x24\ny matmul < a b");
    check_threads("a input 8x16x16\nb input 8x1x1\ny mul < a b");
    check_threads("a input 16x16x16\ny reduce_sum axes=1");
    check_threads("a input 40x30\ny silu");
    check_threads("a input 40x30\ny softmax");
    check_threads("a input 40x30\ny transpose perm=0,2,1");
}

static void operators_have_a_unique_name_type_and_help(void **s)
{
    (void)s;
    for (int i = 0; i < op_count; i++) {
        const struct op *op = op_table[i];
        assert_ptr_equal(op_find(op->name), op);
        assert_true(op->type && op->help && op->infer && op->forward &&
                    op->backward);
        assert_in_range(op_param_count(op), 0, OP_MAX_PARAMS);
        assert_in_range(op_state_count(op), 0, OP_MAX_STATES);
        for (int k = 0; k < op_attr_count(op); k++) {
            assert_non_null(op->attr[k].help);
            assert_int_equal(op_attr_index(op, op->attr[k].name), k);
        }
    }
    assert_null(op_find("conv3d"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conv2d_of_one_to_nine_is_worked_out_by_hand),
        cmocka_unit_test(asymmetric_pads_shift_the_window),
        cmocka_unit_test(convolutions_follow_the_formula),
        cmocka_unit_test(depthwise_is_told_from_grouped),
        cmocka_unit_test(dense_acts_on_the_last_axis),
        cmocka_unit_test(matmul_multiplies_matrices),
        cmocka_unit_test(batch_norm_keeps_the_unbiased_variance),
        cmocka_unit_test(
            frozen_and_evaluated_batch_norm_uses_running_statistics),
        cmocka_unit_test(folded_batch_norm_hands_on_its_input),
        cmocka_unit_test(evaluation_needs_no_saved_values),
        cmocka_unit_test(activations_have_their_textbook_values),
        cmocka_unit_test(rectifiers_let_a_nan_through),
        cmocka_unit_test(softmax_sums_to_one_and_survives_large_numbers),
        cmocka_unit_test(merges_repeat_axes_of_extent_one),
        cmocka_unit_test(concat_lays_channels_behind_each_other),
        cmocka_unit_test(pooling_counts_pads_as_torch_does),
        cmocka_unit_test(ceil_mode_follows_torch),
        cmocka_unit_test(max_pool_gives_the_first_of_equals_the_gradient),
        cmocka_unit_test(global_average_is_the_mean_of_a_channel),
        cmocka_unit_test(reductions_sum_the_named_axes),
        cmocka_unit_test(padding_is_left_out),
        cmocka_unit_test(transpose_moves_axes),
        cmocka_unit_test(pad_puts_zeros_around),
        cmocka_unit_test(quantize_rounds_half_to_even_and_clamps),
        cmocka_unit_test(dropout_scales_what_it_keeps),
        cmocka_unit_test(dropout_without_a_stream_is_refused),
        cmocka_unit_test(number_of_threads_does_not_show),
        cmocka_unit_test(operators_have_a_unique_name_type_and_help),
    };
    gsl_set_error_handler_off();
    return cmocka_run_group_tests_name("nn_ops", tests, NULL, NULL);
}

/* Gradient checks: every operator of the table against central differences.
 *
 * Built with real = double. The loss is the sum of the output times fixed
 * random numbers; each input and parameter is moved by +-h and the slope
 * compared with what backward says. An operator without a case fails.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/test_main.h"

#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "nn/graph.h"

#ifndef REAL_IS_DOUBLE
#error "gradients are checked with real = double"
#endif

#define STEP 1e-5
#define TOLERANCE 1e-7

struct grad_case {
    const char *op;          /* whose case it is */
    const char *text;        /* inputs a, b, ... and the node y */
    double spread;           /* inputs within +-spread; 0: 1 */
    unsigned no_gradient;    /* inputs, as bits, that have none: masks */
    bool evaluation, freeze_stats, bn_frozen, bn_folded;
    bool padding;            /* some positions of input b are set to -6 */
    bool straight_through;   /* compared with a frozen rounding residual */
};

static const struct grad_case cases[] = {
    { .op = "conv2d", .text = "a input 2x5x4\ny conv2d out=3 kernel=3 pad=1" },
    { .op = "conv2d",
      .text = "a input 4x6x5\ny conv2d out=6 kernel=3 stride=2 groups=2 "
              "bias=0" },
    { .op = "conv2d",
      .text = "a input 3x5x5\ny conv2d out=6 kernel=3 pad=1 groups=3" },
    { .op = "conv2d",
      .text = "a input 2x7x9\ny conv2d out=2 kernel_h=2 kernel_w=3 "
              "stride_h=1 stride_w=2 pad_top=0 pad_left=2 pad_bottom=3 "
              "pad_right=1 dilation_h=3 dilation_w=2" },
    { .op = "conv2d", .text = "a input 3x4x4\ny conv2d out=5 kernel=1" },
    { .op = "conv2d",
      .text = "a input 1x2x2\ny conv2d out=2 kernel=2 pad=5 stride=3" },
    { .op = "conv1d", .text = "a input 3x9\ny conv1d out=4 kernel=3 pad=1" },
    { .op = "conv1d",
      .text = "a input 4x12\ny conv1d out=4 kernel=3 stride=2 dilation=2 "
              "groups=4 pad_right=3 bias=0" },
    { .op = "dense", .text = "a input 7\ny dense out=5" },
    { .op = "dense", .text = "a input 3x4\ny dense out=2 bias=0" },
    { .op = "matmul", .text = "a input 3x4\nb input 4x5\ny matmul < a b" },
    { .op = "matmul",
      .text = "a input 2x3x4\nb input 2x5x4\ny matmul transpose_b=1 < a b" },
    { .op = "matmul", .text = "a input 3x3\ny matmul < a a" },
    { .op = "batch_norm", .text = "a input 3x2x4\ny batch_norm" },
    { .op = "batch_norm", .text = "a input 5\ny batch_norm eps=1e-3" },
    { .op = "batch_norm", .text = "a input 3x6\ny batch_norm momentum=0.3" },
    { .op = "batch_norm",
      .text = "a input 3x2x2\ny batch_norm", .bn_frozen = true },
    { .op = "batch_norm",
      .text = "a input 3x2x2\ny batch_norm", .freeze_stats = true },
    { .op = "batch_norm",
      .text = "a input 3x2x2\ny batch_norm", .evaluation = true },
    { .op = "batch_norm",
      .text = "a input 3x2x2\ny batch_norm", .bn_folded = true },
    { .op = "relu", .text = "a input 17\ny relu" },
    { .op = "relu6", .text = "a input 17\ny relu6", .spread = 9 },
    { .op = "clip", .text = "a input 17\ny clip lo=-0.5 hi=0.25" },
    { .op = "clip", .text = "a input 17\ny clip" },
    { .op = "leaky_relu", .text = "a input 17\ny leaky_relu alpha=0.2" },
    { .op = "sigmoid", .text = "a input 17\ny sigmoid", .spread = 5 },
    { .op = "tanh", .text = "a input 17\ny tanh", .spread = 3 },
    { .op = "hard_sigmoid", .text = "a input 17\ny hard_sigmoid", .spread = 5 },
    { .op = "hard_sigmoid",
      .text = "a input 17\ny hard_sigmoid alpha=0.2", .spread = 5 },
    { .op = "hard_swish", .text = "a input 17\ny hard_swish", .spread = 5 },
    { .op = "silu", .text = "a input 17\ny silu", .spread = 5 },
    { .op = "softmax", .text = "a input 6\ny softmax", .spread = 3 },
    { .op = "softmax", .text = "a input 4x3x2\ny softmax axis=1", .spread = 3 },
    { .op = "add", .text = "a input 2x3x4\nb input 2x3x4\ny add < a b" },
    { .op = "add", .text = "a input 2x3x4\nb input 2x1x1\ny add < a b" },
    { .op = "add", .text = "a input 5\ny add < a a" },
    { .op = "sub", .text = "a input 2x3x4\nb input 2x3x4\ny sub < a b" },
    { .op = "sub", .text = "a input 1x3x1\nb input 2x3x4\ny sub < a b" },
    { .op = "mul", .text = "a input 2x3x4\nb input 2x3x4\ny mul < a b" },
    { .op = "mul", .text = "a input 2x3x4\nb input 2x1x1\ny mul < a b" },
    { .op = "mul", .text = "a input 5\ny mul < a a" },
    { .op = "concat",
      .text = "a input 2x3\nb input 4x3\nc input 1x3\ny concat < a b c" },
    { .op = "concat",
      .text = "a input 2x3\nb input 2x2\ny concat axis=-1 < a b" },
    { .op = "max_pool", .text = "a input 2x6x6\ny max_pool kernel=2" },
    { .op = "max_pool",
      .text = "a input 2x7x6\ny max_pool kernel=3 stride=2 pad=1" },
    { .op = "max_pool",
      .text = "a input 2x6x5\ny max_pool kernel=2 stride=2 ceil_mode=1 "
              "pad_left=1" },
    { .op = "max_pool",
      .text = "a input 1x8x8\ny max_pool kernel=2 stride=1 dilation=3" },
    { .op = "max_pool", .text = "a input 2x9\ny max_pool kernel=3 stride=2" },
    { .op = "avg_pool", .text = "a input 2x6x6\ny avg_pool kernel=2" },
    { .op = "avg_pool",
      .text = "a input 2x7x6\ny avg_pool kernel=3 stride=2 pad=1" },
    { .op = "avg_pool",
      .text = "a input 2x7x6\ny avg_pool kernel=3 stride=2 pad=1 "
              "count_pads=0 ceil_mode=1" },
    { .op = "avg_pool",
      .text = "a input 2x9\ny avg_pool kernel=4 stride=3 ceil_mode=1" },
    { .op = "global_avg_pool", .text = "a input 3x4x5\ny global_avg_pool" },
    { .op = "global_avg_pool", .text = "a input 3x7\ny global_avg_pool" },
    { .op = "reduce_sum", .text = "a input 3x4x2\ny reduce_sum axes=1" },
    { .op = "reduce_sum",
      .text = "a input 3x4x2\ny reduce_sum axes=1,3 keepdims=1" },
    { .op = "reduce_sum", .text = "a input 3x4\ny reduce_sum axes=1,2" },
    { .op = "reduce_sum",
      .text = "a input 6x3\nb input 6x2\ny reduce_sum axes=1 mask=-6 < a b",
      .no_gradient = 2, .padding = true },
    { .op = "reduce_mean", .text = "a input 3x4x2\ny reduce_mean axes=2" },
    { .op = "reduce_mean", .text = "a input 3x4x2\ny reduce_mean axes=2,3" },
    { .op = "reduce_mean",
      .text = "a input 6x3\nb input 6x2\ny reduce_mean axes=1 mask=-6 < a b",
      .no_gradient = 2, .padding = true },
    { .op = "flatten", .text = "a input 2x3x2\ny flatten" },
    { .op = "reshape", .text = "a input 2x3x2\ny reshape 6x-1" },
    { .op = "transpose", .text = "a input 2x3x4\ny transpose perm=0,3,1,2" },
    { .op = "pad",
      .text = "a input 2x3x4\ny pad pad_top=1 pad_left=2 pad_right=1 "
              "pad_back=2" },
    { .op = "pad", .text = "a input 2x4\ny pad pad=1 pad_front=1" },
    { .op = "dropout", .text = "a input 25\ny dropout p=0.4" },
    { .op = "dropout", .text = "a input 25\ny dropout", .evaluation = true },
    { .op = "identity", .text = "a input 7\ny identity" },
    { .op = "quantize",
      .text = "a input 40\ny quantize scale=0.1 zero_point=3 lo=-4 hi=11",
      .straight_through = true },
    { .op = "dequantize",
      .text = "a input 9\ny dequantize scale=0.1 zero_point=3", .spread = 9 },
};

#define CASES (sizeof cases / sizeof *cases)
#define BATCH 3

/* One operator with everything its calls need. */
struct bench {
    const struct grad_case *test;
    struct graph *g;
    const struct node *node;
    struct rng *noise;
    struct op_call call;
    struct shape shape[OP_MAX_INPUTS + 1];
    real *in[OP_MAX_INPUTS], *din[OP_MAX_INPUTS];
    real *param[OP_MAX_PARAMS], *dparam[OP_MAX_PARAMS];
    real *out, *dout, *saved;
    double *residual;        /* straight-through: round(x/s) - x/s */
    int64_t count;           /* of the output */
    int checked, skipped;
};

static real *new_reals(int64_t n)
{
    real *p = mem_alloc((size_t)n + 1, sizeof *p);
    assert_non_null(p);
    return p;
}

static void fill(struct rng *r, real *x, int64_t n, double spread)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = (2 * rng_uniform(r) - 1) * spread;
}

static struct graph *parse(const struct grad_case *t)
{
    struct err e = { 0 };
    struct str text = { 0 };
    struct graph *g = NULL;
    str_printf(&text, "model t\n%s\n", t->text);
    if (graph_parse(str_text(&text), &g, &e) != STATUS_OK ||
        graph_finish(g, NULL, &e) != STATUS_OK)
        fail_msg("%s: %s", t->text, e.text);
    str_fini(&text);
    return g;
}

/* Every second position of the mask's input, and all of sample 1. */
static void put_padding(struct bench *b)
{
    int64_t features = b->shape[1].dim[b->shape[1].rank - 1];
    int64_t positions = shape_count(&b->shape[1]) / features;
    for (int64_t p = 0; p < positions; p++) {
        bool sample_1 = p / (positions / BATCH) == 1;
        for (int64_t f = 0; f < features && (p % 2 || sample_1); f++)
            b->in[1][p * features + f] = -6;
    }
}

static void bench_inputs(struct bench *b, struct rng *r)
{
    double spread = b->test->spread > 0 ? b->test->spread : 1;
    for (int i = 0; i < b->node->n_in; i++) {
        b->shape[i] = node_shape(&b->g->node[b->node->in[i]], BATCH);
        int64_t n = shape_count(&b->shape[i]);
        bool again = i > 0 && b->node->in[i] == b->node->in[0];
        b->in[i] = again ? b->in[0] : new_reals(n);
        b->din[i] = again ? b->din[0] : new_reals(n);
        if (!again)
            fill(r, b->in[i], n, spread);
        b->call.in[i] = b->in[i];
        b->call.in_shape[i] = &b->shape[i];
    }
    if (b->test->padding)
        put_padding(b);
}

static void bench_params(struct bench *b, struct rng *r)
{
    for (int i = 0; i < OP_MAX_PARAMS; i++) {
        if (b->node->param[i] < 0)
            continue;
        const struct param *p = &b->g->param[b->node->param[i]];
        b->param[i] = p->value;
        b->dparam[i] = new_reals(p->count);
        fill(r, b->param[i], p->count, 1);
        b->call.param[i] = b->param[i];
    }
    for (int i = 0; i < OP_MAX_STATES; i++) {
        if (b->node->state[i] < 0)
            continue;
        const struct param *p = &b->g->param[b->node->state[i]];
        for (int64_t k = 0; k < p->count; k++)
            p->value[k] = 0.5 + rng_uniform(r);
        b->call.state[i] = p->value;
    }
}

static void bench_init(struct bench *b, const struct grad_case *t)
{
    *b = (struct bench){ .test = t, .g = parse(t) };
    struct node *node = &b->g->node[b->g->output];
    struct rng *r = rng_new(7, RNG_GENERATE);
    node->bn_frozen = t->bn_frozen;
    node->bn_folded = t->bn_folded;
    b->node = node;
    b->noise = rng_new(7, RNG_DROPOUT);
    bench_inputs(b, r);
    bench_params(b, r);
    struct shape *out = &b->shape[OP_MAX_INPUTS];
    *out = node_shape(node, BATCH);
    b->count = shape_count(out);
    b->out = new_reals(b->count);
    b->dout = new_reals(b->count);
    b->residual = new_reals(b->count);
    fill(r, b->dout, b->count, 1);
    if (node->op->saved)
        b->saved = new_reals((int64_t)node->op->saved(node, b->call.in_shape,
                                                      out));
    b->call.node = node;
    b->call.out_shape = out;
    b->call.out = b->out;
    b->call.dout = b->dout;
    b->call.saved = b->saved;
    b->call.train = !t->evaluation;
    b->call.freeze_stats = t->freeze_stats;
    b->call.rng = b->noise;
    rng_free(r);
}

static void bench_fini(struct bench *b)
{
    for (int i = 0; i < OP_MAX_INPUTS; i++) {
        bool again = i > 0 && b->in[i] == b->in[0];
        mem_free(again ? NULL : b->in[i]);
        mem_free(again ? NULL : b->din[i]);
    }
    for (int i = 0; i < OP_MAX_PARAMS; i++)
        mem_free(b->dparam[i]);
    mem_free(b->out);
    mem_free(b->dout);
    mem_free(b->saved);
    mem_free(b->residual);
    rng_free(b->noise);
    graph_free(b->g);
}

/* Rounding made smooth: its residual stays as it was at the base point. */
static void round_frozen(struct bench *b, bool base)
{
    double scale = node_attr(b->node, "scale");
    double zero = node_attr(b->node, "zero_point");
    for (int64_t i = 0; i < b->count; i++) {
        double v = b->in[0][i] / scale;
        if (base)
            b->residual[i] = rint(v) - v;
        double q = v + b->residual[i] + zero;
        b->out[i] = fmin(fmax(q, node_attr(b->node, "lo")),
                         node_attr(b->node, "hi"));
    }
}

static double loss(struct bench *b)
{
    double sum = 0;
    rng_seed(b->noise, 7, RNG_DROPOUT);
    if (b->test->straight_through)
        round_frozen(b, false);
    else
        assert_int_equal(b->node->op->forward(&b->call, NULL), STATUS_OK);
    for (int64_t i = 0; i < b->count; i++)
        sum += b->out[i] * b->dout[i];
    return sum;
}

/* Slopes of both sides; at a kink they differ and nothing is compared. */
static void check_number(struct bench *b, real *x, double got,
                         const char *what, int64_t at)
{
    double was = *x, middle = loss(b);
    *x = was + STEP;
    double above = loss(b);
    *x = was - STEP;
    double below = loss(b);
    *x = was;
    double want = (above - below) / (2 * STEP);
    double bend = fabs(above - 2 * middle + below) / STEP;
    b->checked++;
    if (b->node->op->flags & OP_KINKED && bend > 1e-3) {
        b->skipped++;
        return;
    }
    if (fabs(got - want) > TOLERANCE * fmax(1, fabs(want)))
        fail_msg("%s: d%s[%d] is %.12g, differences say %.12g",
                 b->test->text, what, (int)at, got, want);
}

/* Backward must add to what is there: it starts from 1. */
static void check_array(struct bench *b, real *x, const real *dx, int64_t n,
                        const char *what)
{
    for (int64_t i = 0; i < n; i++)
        check_number(b, &x[i], dx[i] - 1, what, i);
}

static void set_ones(real *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = 1;
}

static int64_t param_count(const struct bench *b, int i)
{
    return b->g->param[b->node->param[i]].count;
}

static void run_backward(struct bench *b)
{
    for (int i = 0; i < b->node->n_in; i++) {
        set_ones(b->din[i], shape_count(&b->shape[i]));
        b->call.din[i] = b->din[i];
    }
    for (int i = 0; i < OP_MAX_PARAMS; i++) {
        if (b->param[i])
            set_ones(b->dparam[i], param_count(b, i));
        b->call.dparam[i] = b->dparam[i];
    }
    rng_seed(b->noise, 7, RNG_DROPOUT);
    assert_int_equal(b->node->op->forward(&b->call, NULL), STATUS_OK);
    assert_int_equal(b->node->op->backward(&b->call, NULL), STATUS_OK);
}

/* Nothing may be written that was not asked for. */
static void run_backward_without_wishes(struct bench *b)
{
    struct op_call c = b->call;
    memset(c.din, 0, sizeof c.din);
    memset(c.dparam, 0, sizeof c.dparam);
    assert_int_equal(b->node->op->backward(&c, NULL), STATUS_OK);
}

static void check_case(const struct grad_case *t)
{
    struct bench b;
    bench_init(&b, t);
    run_backward(&b);
    run_backward_without_wishes(&b);
    if (t->straight_through)
        round_frozen(&b, true);
    for (int i = 0; i < b.node->n_in; i++)
        if (!(t->no_gradient >> i & 1) && (i == 0 || b.in[i] != b.in[0]))
            check_array(&b, b.in[i], b.din[i], shape_count(&b.shape[i]),
                        "in");
    for (int i = 0; i < OP_MAX_PARAMS; i++)
        if (b.param[i])
            check_array(&b, b.param[i], b.dparam[i], param_count(&b, i),
                        b.node->op->param[i].name);
    assert_true(b.checked > 0 && b.skipped * 5 <= b.checked);
    bench_fini(&b);
}

static void every_operator_has_a_case(void **s)
{
    (void)s;
    for (int i = 0; i < op_count; i++) {
        bool found = (op_table[i]->flags & OP_SOURCE) != 0;
        for (size_t k = 0; k < CASES; k++)
            found = found || strcmp(cases[k].op, op_table[i]->name) == 0;
        if (!found)
            fail_msg("no gradient case for %s", op_table[i]->name);
    }
}

static void cases_build_the_operator_they_name(void **s)
{
    (void)s;
    for (size_t k = 0; k < CASES; k++) {
        struct graph *g = parse(&cases[k]);
        assert_string_equal(g->node[g->output].op->name, cases[k].op);
        graph_free(g);
    }
}

static void gradients_equal_central_differences(void **s)
{
    (void)s;
    for (size_t k = 0; k < CASES; k++)
        check_case(&cases[k]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operator_has_a_case),
        cmocka_unit_test(cases_build_the_operator_they_name),
        cmocka_unit_test(gradients_equal_central_differences),
    };
    gsl_set_error_handler_off();
    return cmocka_run_group_tests_name("grad_ops", tests, NULL, NULL);
}

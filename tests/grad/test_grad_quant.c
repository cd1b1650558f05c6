/* Gradient checks of every quantizer kind in double precision.
 *
 * Backward is the derivative of a smooth function: the forward pass with its
 * rounding residuals and branches frozen (house style section 8), or the
 * kind's own `surrogate`. Every row of quantizer_table is checked with its
 * example and with the specs below, in x and in each learned parameter.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/test_main.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/rng.h"
#include "common/assert_near.h"
#include "quant/kernel.h"
#include "quant/observer.h"

/* Specs beyond the kinds' examples. */
static const char *const more_specs[] = {
    "affine:3,unsigned,asym",
    "affine:4,divide",
    "affine:4,zp=before,clamp=first,round=half_up,asym,unsigned",
    "affine:4,zp=float,asym,rule=float,channel",
    "affine:3,narrow,channel,grad=pass",
    "affine:4,round=half_away,clamp=first",
    "affine:4,group=5",
    "affine:4,noise=0.25",
    "lsq:2,unsigned",
    "lsq:3,channel",
    "lsq:4,noise=0.5",
    "lsqplus:2",
    "lsqplus:4,channel,unsigned",
    "learnable:3,asym,unsigned",
    "learnable:4,asym,channel",
    "learnable:4,asym,same=1",
    "pact:2,channel",
    "dorefa:1",
    "dorefa:3,channel",
    "dorefa:4,max_grad=0",
    "dorefa:2,rescale=1",
    "dorefa:4,channel,rescale=1,max_grad=0",
    "tqt:3,unsigned",
    "tqt:4,channel",
    "range_aimet:4,asym,unsigned",
    "range_aimet:3,asym,channel",
    "range_aimet:4,narrow",
    "scale_aimet:4,asym,unsigned,channel",
    "brevitas:3,restrict=1",
    "brevitas:4,restrict=2,channel",
    "brevitas:4,full,grad=pass",
    "brevitas:4,unsigned,asym,full,channel",
    "brevitas:4,stat=1",
    "brevitas_act:3",
    "brevitas_act:4,restrict=1",
    "brevitas_act:4,restrict=2,unsigned",
    "brevitas_act:4,unsigned,asym,init=2",
    "brevitas_act:4,grad=pass",
    "brevitas_binary:1,scale=0.5,clamped=1",
    "binary:1,clip=0",
    "binary:1,scale=0.3",
    "ternary:2,factor=0.5",
    "ternary:2,threshold=0.2,scale=0.4",
    "po2:3,log=1,channel",
    "po2:4,unsigned",
    "po2:3,grad=pass",
    "fixed<4,1,RND,SAT>",
    "fixed<4,1,TRN,WRAP>",
    "fixed<5,1,RND_CONV,WRAP,2>",
    "fixed<4,1,RND_INF,WRAP_SM,1>",
    "fixed<4,1,TRN_ZERO,SAT_SYM>",
    "fixed<3,0,RND_MIN_INF,SAT_ZERO>,channel",
    "fixed<4,0,RND_ZERO,WRAP>,grad=pass",
    "ufixed<3,0,RND,SAT>",
    "ufixed<3,-1,TRN,WRAP>",
    "minifloat:4",
    "minifloat_scaled:4,grad=pass",
    "mx:4,exp=2,group=5,grad=masked",
    "quantized_bits(4,0,alpha='auto_po2')",
    "quantized_bits(4,1,qnoise_factor=0.5)",
    "quantized_bits(4,1,use_ste=False,qnoise_factor=0.25)",
    "quantized_linear(3,0,qnoise_factor=0.75)",
    "quantized_linear(1,0)",
    "quantized_linear(4,0,alpha='auto_po2')",
    "quantized_relu(4,0,negative_slope=0.25)",
    "quantized_relu(4,0,is_quantized_clip=False,relu_upper_bound=0.5)",
    "quantized_tanh(3,use_real_tanh=1)",
    "quantized_sigmoid(3,use_real_sigmoid=1)",
    "quantized_hswish(4,0,relu_shift=1,relu_upper_bound=1)",
    "quantized_ulaw(4,u=15)",
    "quantized_po2(3,qnoise_factor=0.5,use_ste=0)",
    "quantized_relu_po2(3,max_value=0.5,negative_slope=0.5)",
    "binary()",
    "ternary(threshold=0.2)",
    "stochastic_binary()",
    "bernoulli(alpha='auto')",
};
#define MORE_SPECS (sizeof more_specs / sizeof more_specs[0])

enum { ROWS = 4, COLUMNS = 15, COUNT = ROWS * COLUMNS };
#define STEP 1e-6
#define TOLERANCE 2e-6

struct check {
    struct quantizer *q, *moved;     /* at the base point, and beside it */
    struct qview v;
    real x0[COUNT], dy[COUNT], x[COUNT], y[COUNT], dx[COUNT];
};

/* y = s * (clamp(ratio) + r): inside, x and the residual; outside, the end. */
static real straight_through(const struct quantizer *base,
                             const struct quantizer *q, int64_t c, real x0,
                             real x)
{
    const struct qspec *s = &base->spec;
    real ratio = x0 / base->scale[c];
    real z = base->zero_point[c];
    real code;
    int32_t nearest;
    struct qview one = {1, 1, 1};
    struct quantizer at = *base;

    at.scale += c;
    at.zero_point += c;
    s->kind->codes(&at, &x0, &nearest, one);
    code = (real)nearest;
    if (s->grad == QGRAD_PASS)
        return x + q->scale[c] * (code - z - ratio);
    if (s->clamp_first ? ratio + z <= (real)base->lo_code
                       : code == (real)base->lo_code &&
                             rint(ratio + (s->zp_before ? z : 0)) +
                                     (s->zp_before ? 0 : z) <
                                 (real)base->lo_code)
        return q->scale[c] * ((real)base->lo_code - z);
    if (s->clamp_first ? ratio + z >= (real)base->hi_code
                       : code == (real)base->hi_code &&
                             rint(ratio + (s->zp_before ? z : 0)) +
                                     (s->zp_before ? 0 : z) >
                                 (real)base->hi_code)
        return q->scale[c] * ((real)base->hi_code - z);
    return x + q->scale[c] * (code - z - ratio);
}

static void plain_surrogate(const struct quantizer *base,
                            const struct quantizer *q, const real *x0,
                            const real *x, real *y, struct qview v)
{
    for (int64_t i = 0; i < view_count(v); i++)
        y[i] = straight_through(base, q, i / v.inner % v.channels, x0[i],
                                x[i]);
}

/* Sum of dy * surrogate(x) with the moved quantizer, noise mixed in. */
static double smooth_sum(struct check *k)
{
    const struct quantizer_kind *kind = k->q->spec.kind;
    double noise = k->q->noise_factor, sum = 0;

    if (kind->surrogate) {
        kind->surrogate(k->q, k->moved, k->x0, k->x, k->y, k->v);
    } else {
        if (kind->refresh)
            kind->refresh(k->moved);
        plain_surrogate(k->q, k->moved, k->x0, k->x, k->y, k->v);
    }
    for (int i = 0; i < COUNT; i++)
        sum += (double)k->dy[i] * ((1 - noise) * (double)k->x[i] +
                                   noise * (double)k->y[i]);
    return sum;
}

static void reset_moved(struct check *k)
{
    memcpy(k->moved->state, k->q->state,
           (size_t)k->q->n_state * sizeof(real));
    memcpy(k->x, k->x0, sizeof k->x);
}

/* Central difference in *value; the learned parameters are put back anew
 * each time because refresh may touch them. */
static double difference(struct check *k, real *value)
{
    double up, down;
    real at = *value;

    *value = at + (real)STEP;
    up = smooth_sum(k);
    reset_moved(k);
    *value = at - (real)STEP;
    down = smooth_sum(k);
    reset_moved(k);
    return (up - down) / (2 * STEP);
}

/* Elements whose slope is not what backward says; the first is printed. */
static int check_dx(struct check *k)
{
    int bad = 0;

    for (int i = 0; i < COUNT; i++) {
        double wanted = difference(k, &k->x[i]);

        if (fabs(wanted - (double)k->dx[i]) <= TOLERANCE)
            continue;
        if (!bad++)
            print_message("  dx[%d] at x = %.9g: got %.9g, slope %.9g\n", i,
                          (double)k->x0[i], (double)k->dx[i], wanted);
    }
    return bad;
}

static int check_learned(struct check *k)
{
    int bad = 0;

    for (int64_t i = 0; i < k->q->n_learned; i++) {
        double wanted = difference(k, &k->moved->learned[i]);
        double got = (double)k->q->grad[i];

        if (fabs(wanted - got) <= TOLERANCE * (1 + fabs(wanted)))
            continue;
        if (!bad++)
            print_message("  learned parameter %lld: got %.9g, slope %.9g\n",
                          (long long)i, got, wanted);
    }
    return bad;
}

/* Data beyond the range at both ends, away from ties. */
static void fill(struct check *k)
{
    struct rng *r = rng_new(17, RNG_GENERATE);

    assert_non_null(r);
    for (int i = 0; i < COUNT; i++) {
        k->x0[i] = (real)(0.6 * rng_normal(r));
        k->dy[i] = (real)rng_normal(r);
    }
    rng_free(r);
}

/* The range of most of the data, learned parameters off their grid. */
static void place(struct check *k, bool learn)
{
    struct quantizer *q = k->q;
    struct err e = {0};
    real *lo = mem_alloc((size_t)q->channels, sizeof *lo);
    real *hi = mem_alloc((size_t)q->channels, sizeof *hi);

    assert_non_null(lo);
    assert_non_null(hi);
    for (int64_t c = 0; c < q->channels; c++) {
        lo[c] = (real)(-0.71 - 0.013 * (double)c);
        hi[c] = (real)(0.83 + 0.017 * (double)c);
    }
    q->learn = learn && q->n_learned > 0;
    if (q->learn || !(q->spec.kind->flags & QK_OWN_SCALE))
        assert_int_equal(quantizer_set_range(q, lo, hi, q->channels, &e),
                         STATUS_OK);
    mem_free(lo);
    mem_free(hi);
    q->observe = false;
}

static int no_surrogate(void)
{
    print_message("  no codes and no surrogate\n");
    return 1;
}

/* How many gradients differ. */
static int check_spec(const char *text, bool learn)
{
    struct check k = {0};
    struct qspec s;
    struct quantizer plan = {0};
    struct shape shape = shape_2(ROWS, COLUMNS);
    struct err e = {0};
    int i, bad;

    print_message("%s%s\n", text, learn ? "" : " (not learning)");
    if (qspec_parse(text, NULL, &s, &e) != STATUS_OK)
        fail_msg("%s", e.text);
    i = qrow_find(s.kind->param, "gscale");
    if (i >= 0)
        s.param[i] = 0;
    plan.spec = s;
    k.v = quantizer_view(&plan, &shape, 0);
    assert_int_equal(quantizer_new(&s, k.v.channels, &k.q, &e), STATUS_OK);
    assert_int_equal(quantizer_new(&s, k.v.channels, &k.moved, &e),
                     STATUS_OK);
    fill(&k);
    place(&k, learn);
    quantizer_forward(k.q, k.x0, k.y, k.v, true);
    quantizer_zero_grad(k.q);
    quantizer_backward(k.q, k.x0, k.dy, k.dx, k.v);
    k.moved->learn = k.q->learn;
    k.moved->ready = true;
    reset_moved(&k);
    if (s.kind->surrogate || s.kind->codes)
        bad = check_dx(&k) + (learn ? check_learned(&k) : 0);
    else
        bad = no_surrogate();
    quantizer_free(k.q);
    quantizer_free(k.moved);
    return bad;
}

/* Kinds that find their scale from the data until they learn it have two
 * gradients. */
static int run_check(const char *text)
{
    struct qspec s;
    struct err e = {0};
    bool both;

    if (qspec_parse(text, NULL, &s, &e) != STATUS_OK)
        fail_msg("%s", e.text);
    both = (s.kind->flags & QK_OWN_SCALE) && s.kind->learned;
    return check_spec(text, true) + (both ? check_spec(text, false) : 0);
}

/* "bits conv1 w=lsq:4" -> "lsq:4". */
static const char *example_spec(const struct quantizer_kind *k)
{
    const char *equals = k->example ? strchr(k->example, '=') : NULL;

    return equals ? equals + 1 : NULL;
}

static void every_kind_has_an_example_of_its_own(void **state)
{
    (void)state;
    for (int i = 0; i < quantizer_count; i++) {
        const struct quantizer_kind *k = quantizer_table[i];
        const char *text = example_spec(k);
        struct err e = {0};
        struct qspec s;

        if (!text || qspec_parse(text, NULL, &s, &e) != STATUS_OK)
            fail_msg("%s: example %s: %s", k->name, text ? text : "missing",
                     e.text);
        assert_string_equal(s.kind->name, k->name);
    }
}

static void every_kind_has_the_gradient_of_its_surrogate(void **state)
{
    int bad = 0;

    (void)state;
    for (int i = 0; i < quantizer_count; i++)
        bad += example_spec(quantizer_table[i])
                   ? run_check(example_spec(quantizer_table[i]))
                   : 1;
    assert_int_equal(bad, 0);
}

static void other_settings_have_the_gradient_too(void **state)
{
    int bad = 0;

    (void)state;
    for (size_t i = 0; i < MORE_SPECS; i++)
        bad += run_check(more_specs[i]);
    assert_int_equal(bad, 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_kind_has_an_example_of_its_own),
    cmocka_unit_test(every_kind_has_the_gradient_of_its_surrogate),
    cmocka_unit_test(other_settings_have_the_gradient_too),
};

TEST_MAIN("grad_quant", tests)

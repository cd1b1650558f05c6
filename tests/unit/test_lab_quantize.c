/* The command `quantize` reproduces numbers of the packages, every kind of
 * quantizer at least once. Golden arrays lie in tests/golden/data; kinds that
 * no package's data cover are compared with values worked out by hand.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "unit/lab_driver.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/assert_near.h"
#include "common/temp_folder.h"
#include "data/npy.h"
#include "quant/quantizer.h"

#define DOUBLE 1e-6           /* the suite's numbers are doubles */
#define MIXED 1e-5            /* sums stand among the values */
#define SUM 1e-4              /* of d<parameter>: sums in another order */

/* What `quantize` is told, with @ for the file of the case's arrays, and what
 * must come out: OURS=THEIRS, within `tolerance` of the largest wanted
 * number; 0: equal. */
struct golden_row {
    const char *kind, *suite, *name, *line, *checks;
    double tolerance;
};

static const struct golden_row golden_rows[] = {
    { "affine", "quant-torch", "pt_000",
      "@x affine:2,unsigned,asym scale=@scale zp=@zero_point grad=@dy",
      "values=y codes=q scale=scale zero_point=zero_point dx=dx", 0 },
    { "affine", "quant-torch", "mod_007", "@x affine:4,sym grad=@dy",
      "values=y scale=scale zero_point=zero_point dx=dx", 0 },
    { "affine", "quant-torch", "mod_052",
      "@x affine:8,unsigned,asym g=channel obs=ema axis=1 grad=@dy",
      "values=y scale=scale zero_point=zero_point dx=dx", 0 },
    { "lsq", "quant-papers", "lsq_000", "@x lsq:2 step=@step grad=@dy",
      "values=y codes=q dx=dx dstep=d_step", DOUBLE },
    { "lsqplus", "quant-papers", "lsqplus_000",
      "@x lsqplus:2 step=@step beta=@beta grad=@dy",
      "values=y codes=q dx=dx dstep=d_step dbeta=d_beta", DOUBLE },
    { "learnable", "quant-torch", "learn_019",
      "@x learnable:4,asym scale=@scale zero_point=@zero_point grad=@dy",
      "values=y scale=scale_used dx=dx dscale=d_scale "
      "dzero_point=d_zero_point", 0 },
    { "pact", "quant-papers", "pact_016", "@x pact:1 alpha=@alpha grad=@dy",
      "values=y codes=q dx=dx dalpha=d_alpha", DOUBLE },
    { "dorefa", "quant-papers", "dorefaw_018", "@x dorefa:2 grad=@dy",
      "values=y dx=dx", DOUBLE },
    { "dorefa_act", "quant-papers", "dorefaa_018", "@x dorefa_act:2 grad=@dy",
      "values=y codes=q dx=dx", DOUBLE },
    { "tqt", "quant-papers", "tqt_000", "@x tqt:2 log2_t=@log2_t grad=@dy",
      "values=y codes=q scale=scale dx=dx dlog2_t=d_log2_t", DOUBLE },
    { "range_aimet", "quant-aimet", "qdq_002",
      "@x range_aimet:4,unsigned,asym,channel min=@min max=@max grad=@dy",
      "values=y scale=scale dx=dx dmin=d_min dmax=d_max", 0 },
    { "scale_aimet", "quant-aimet", "qdq_037",
      "@x scale_aimet:8,sym,channel scale=@scale offset=@offset grad=@dy",
      "values=y scale=scale dx=dx dscale=d_scale", 0 },
    { "brevitas", "quant-brevitas", "w_009",
      "@w brevitas:8,channel learn=off grad=@dy",
      "values=y codes=q scale=scale dx=dw", MIXED },
    { "brevitas", "quant-brevitas", "w_027",
      "@w brevitas:8 threshold=@param0 grad=@dy",
      "values=y codes=q scale=scale dx=dw dthreshold=d_param0", 0 },
    { "brevitas_act", "quant-brevitas", "a_000",
      "@x0 brevitas_act:8,collect=0 threshold=@param0_0 grad=@dy0",
      "values=y0 codes=q0 scale=scale0 dx=dx0 dthreshold=d_param0_0", 0 },
    { "brevitas_binary", "quant-brevitas", "core_049",
      "@x brevitas_binary:1,scale=1 grad=@dy", "values=y scale=scale dx=dx",
      0 },
    { "brevitas_ternary", "quant-brevitas", "core_051",
      "@x brevitas_ternary:2,scale=1,threshold=0.5 grad=@dy",
      "values=y scale=scale dx=dx", 0 },
    { "quantized_bits", "quant-qkeras", "quantized_bits.016",
      "@x quantized_bits(3,2,0) grad=@dy", "values=y dx=dx", 0 },
    { "quantized_bits", "quant-qkeras", "quantized_bits.025",
      "@x quantized_bits(4,0,1,alpha=0.5306950211524963) grad=@dy",
      "values=y dx=dx", 1e-6 },
    { "quantized_relu", "quant-qkeras", "quantized_relu.003",
      "@x quantized_relu(1,0,1) grad=@dy", "values=y dx=dx", 0 },
    { "quantized_tanh", "quant-qkeras", "quantized_tanh.007",
      "@x quantized_tanh(4,symmetric=1) grad=@dy", "values=y dx=dx", 0 },
    { "quantized_sigmoid", "quant-qkeras", "quantized_sigmoid.007",
      "@x quantized_sigmoid(4,symmetric=1) grad=@dy", "values=y dx=dx", 0 },
    { "quantized_hswish", "quant-qkeras", "quantized_hswish.003",
      "@x quantized_hswish(4,2) grad=@dy", "values=y dx=dx", 1e-6 },
    { "quantized_ulaw", "quant-qkeras", "quantized_ulaw.004",
      "@x quantized_ulaw(4,0) grad=@dy", "values=y dx=dx", MIXED },
    { "quantized_po2", "quant-qkeras", "quantized_po2.007",
      "@x quantized_po2(2,1,log2_rounding='floor') grad=@dy",
      "values=y dx=dx", 0 },
    { "quantized_relu_po2", "quant-qkeras", "quantized_relu_po2.007",
      "@x quantized_relu_po2(2,1,log2_rounding='floor') grad=@dy",
      "values=y dx=dx", 0 },
    { "qkeras_binary", "quant-qkeras", "binary.026",
      "@x qkeras_binary(use_01=1,alpha=1.0) grad=@dy", "values=y dx=dx",
      1e-6 },
    { "qkeras_ternary", "quant-qkeras", "ternary.003",
      "@x qkeras_ternary(threshold=0.5) grad=@dy", "values=y dx=dx", 1e-6 },
    { "stochastic_binary", "quant-qkeras", "stochastic_binary.003",
      "@x stochastic_binary(alpha=0.3700000047683716) phase=eval",
      "values=y", 1e-6 },
    { "stochastic_ternary", "quant-qkeras", "stochastic_ternary.003",
      "@x stochastic_ternary(alpha=0.3700000047683716) phase=eval",
      "values=y", 1e-6 },
    { 0 },
};

#define HAND 6

/* By hand. dorefa_grad without noise, m = 1: y = 2(rne(3(x/2 + 1/2))/3 - 1/2).
 * minifloat: e4m3 of OCP FP8. mx: e2m1 with one scale, 2^(floor(log2 6) - 2).
 * quantized_linear: steps of 2^(1 - 4 + 1). */
struct hand_row {
    const char *kind, *line;
    float x[HAND], y[HAND];
};

static const struct hand_row hand_rows[] = {
    { "dorefa_grad", "@x dorefa_grad:2,tensor phase=eval",
      { -1, -0.5f, 0.2f, 0.4f, 0.9f, 1 },
      { -1, -1.0f / 3, 1.0f / 3, 1.0f / 3, 1, 1 } },
    { "fixed", "@x fixed<6,3,RND,SAT>",
      { 0.3f, 5, -4.2f, 0.0625f, -0.0625f, 1.19f },
      { 0.25f, 3.875f, -4, 0.125f, 0, 1.25f } },
    { "ufixed", "@x ufixed<4,2,TRN,WRAP>",
      { 0.3f, 4.1f, -0.2f, 3.9f, 1, 0.24f },
      { 0.25f, 0, 3.75f, 3.75f, 1, 0 } },
    { "minifloat", "@x minifloat:8,exp=4",
      { 0.1f, 1e-3f, 19, 500, -0.3f, 0 },
      { 0.1015625f, 0.001953125f, 20, 448, -0.3125f, 0 } },
    { "minifloat_scaled", "@x minifloat_scaled:4,exp=2",
      { 12, 5, -2.4f, 1.1f, 0.2f, 0 }, { 12, 4, -2, 1, 0, 0 } },
    { "mx", "@x mx:4,group=6", { 6, 2.4f, -5, 0.3f, 0.2f, 1.2f },
      { 6, 2, -4, 0.5f, 0, 1 } },
    { "quantized_linear", "@x quantized_linear(4,1)",
      { 0.3f, 0.4f, 2, -2, -0.1f, 1 }, { 0.25f, 0.5f, 1.75f, -1.75f, 0, 1 } },
    { "po2", "@x po2:4", { 1, 0.7f, -0.3f, 0.26f, 0.005f, 0 },
      { 1, 0.5f, -0.25f, 0.25f, 0, 0 } },
    { "binary", "@x binary:1 learn=off", { 1, -2, 3, -4, 0.5f, -1.5f },
      { 2, -2, 2, -2, 2, -2 } },
    { "ternary", "@x ternary:2 learn=off", { 1, -2, 3, -4, 0.5f, -1.5f },
      { 0, -2.625f, 2.625f, -2.625f, 0, -2.625f } },
    { "bernoulli", "@x bernoulli(alpha=0.5) phase=eval",
      { 1, -2, 3, -4, 0.5f, 2 }, { 0.5f, 0, 0.5f, 0, 0.5f, 0.5f } },
    { 0 },
};

/* ---- the suites' arrays ---- */

static struct {
    const char *name, *file;
    struct bag *bag;
} suites[] = {
    { "quant-torch", "arrays.npz", NULL },
    { "quant-papers", "arrays.npz", NULL },
    { "quant-aimet", "arrays.npz", NULL },
    { "quant-brevitas", "arrays.npz", NULL },
    { "quant-qkeras", "quant-qkeras.npz", NULL },
};
enum { SUITES = sizeof suites / sizeof suites[0] };

static int read_suites(void **state)
{
    const char *srcdir = getenv("srcdir");
    (void)state;
    for (int i = 0; i < SUITES; i++) {
        char path[512];
        struct err e = { 0 };
        snprintf(path, sizeof path, "%s/tests/golden/data/%s/%s",
                 srcdir ? srcdir : ".", suites[i].name, suites[i].file);
        if (npz_read(path, &suites[i].bag, &e)) {
            fprintf(stderr, "%s\n", e.text);
            return -1;
        }
    }
    return 0;
}

static int free_suites(void **state)
{
    (void)state;
    for (int i = 0; i < SUITES; i++)
        bag_free(suites[i].bag);
    return 0;
}

static const struct bag *suite_bag(const char *name)
{
    for (int i = 0; i < SUITES; i++)
        if (strcmp(suites[i].name, name) == 0)
            return suites[i].bag;
    return NULL;
}

/* The arrays of a case, without its name, as a bag of their own. */
static struct bag *case_bag(const char *suite, const char *name)
{
    const struct bag *all = suite_bag(suite);
    struct bag *b = bag_new();
    size_t n = strlen(name);
    for (size_t i = 0; i < bag_count(all); i++) {
        const struct tensor *t = bag_at(all, i);
        if (strncmp(bag_name(all, i), name, n) == 0 &&
            bag_name(all, i)[n] == '.')
            assert_int_equal(bag_put(b, bag_name(all, i) + n + 1, t->type,
                                     &t->shape, t->data, NULL),
                             STATUS_OK);
    }
    if (bag_count(b) == 0)
        fail_msg("no arrays of %s %s", suite, name);
    return b;
}

/* ---- running the command ---- */

struct bench {
    struct temp_folder *folder;
    char arrays[200], result[200];
};

static void bench_open(struct bench *b, void **state)
{
    b->folder = *state;
    snprintf(b->arrays, sizeof b->arrays, "%s",
             temp_path(b->folder, "case.npz"));
    snprintf(b->result, sizeof b->result, "%s",
             temp_path(b->folder, "q.npz"));
}

/* `@x` becomes FILE.npz:x. */
static void write_line(const struct bench *b, const char *line,
                       struct str *out)
{
    str_add(out, "quantize ");
    for (; *line; line++) {
        if (*line == '@')
            str_printf(out, "%s:", b->arrays);
        else
            str_char(out, *line);
    }
    str_printf(out, " -> %s", b->result);
}

/* Runs the line over the bag's arrays; what it wrote. */
static struct bag *quantize(const struct bench *b, const struct bag *arrays,
                            const char *line)
{
    void *box;
    struct bag *result = NULL;
    struct str text = { 0 };
    write_line(b, line, &text);
    assert_int_equal(npz_write(b->arrays, arrays, NULL), STATUS_OK);
    assert_int_equal(driver_open(&box), 0);
    good(box, str_text(&text));
    assert_int_equal(lab_exit_code(((struct driver *)box)->lab), 0);
    driver_close(&box);
    assert_int_equal(npz_read(b->result, &result, NULL), STATUS_OK);
    remove(b->result);
    str_fini(&text);
    return result;
}

static double largest(const struct tensor *t)
{
    double m = 0;
    for (int64_t i = 0; i < shape_count(&t->shape); i++) {
        double v = fabs(tensor_get(t, i));
        m = isfinite(v) && v > m ? v : m;
    }
    return m;
}

/* Signed zeros and shapes of one element aside, the same numbers. */
static void check_array(const struct golden_row *r, const char *ours,
                        const struct tensor *got, const struct tensor *want)
{
    int64_t n = got ? shape_count(&got->shape) : -1;
    if (!got || !want)
        fail_msg("%s: no array %s", r->name, ours);
    assert_int_equal(n, shape_count(&want->shape));
    bool sum = ours[0] == 'd' && strcmp(ours, "dx") != 0;
    double tolerance = sum ? SUM : r->tolerance;
    double slack = tolerance * largest(want);
    for (int64_t i = 0; i < n; i++) {
        double g = tensor_get(got, i), w = tensor_get(want, i);
        if (tolerance == 0 ? g == (double)(float)w : fabs(g - w) <= slack)
            continue;
        fail_msg("%s (%s): %s[%lld] is %.9g, not %.9g", r->name, r->kind,
                 ours, (long long)i, g, w);
    }
}

static void check_row(const struct bench *b, const struct golden_row *r)
{
    struct bag *arrays = case_bag(r->suite, r->name);
    struct bag *got = quantize(b, arrays, r->line);
    for (const char *p = r->checks; *p;) {
        char ours[32], theirs[32];
        int n = 0;
        assert_int_equal(sscanf(p, "%31[^=]=%31s%n", ours, theirs, &n), 2);
        check_array(r, ours, bag_get(got, ours), bag_get(arrays, theirs));
        p += n;
        p += *p == ' ';
    }
    bag_free(arrays);
    bag_free(got);
}

static void the_packages_numbers_come_out(void **state)
{
    struct bench b;
    bench_open(&b, state);
    for (const struct golden_row *r = golden_rows; r->kind; r++)
        check_row(&b, r);
}

static void values_worked_out_by_hand_come_out(void **state)
{
    struct bench b;
    struct shape s = shape_1(HAND);
    bench_open(&b, state);
    for (const struct hand_row *r = hand_rows; r->kind; r++) {
        struct bag *arrays = bag_new();
        assert_int_equal(bag_put(arrays, "x", DTYPE_F32, &s, r->x, NULL),
                         STATUS_OK);
        struct bag *got = quantize(&b, arrays, r->line);
        const float *y = bag_get(got, "values")->data;
        for (int i = 0; i < HAND; i++)
            if (fabsf(y[i] - r->y[i]) > 1e-6f * fabsf(r->y[i]))
                fail_msg("%s: %g becomes %g, not %g", r->kind,
                         (double)r->x[i], (double)y[i], (double)r->y[i]);
        bag_free(arrays);
        bag_free(got);
    }
}

static void every_kind_has_a_case(void **state)
{
    (void)state;
    for (int i = 0; i < quantizer_count; i++) {
        const char *kind = quantizer_table[i]->name;
        bool found = false;
        for (const struct golden_row *r = golden_rows; r->kind; r++)
            found |= strcmp(r->kind, kind) == 0 && strstr(r->line, kind);
        for (const struct hand_row *r = hand_rows; r->kind; r++)
            found |= strcmp(r->kind, kind) == 0 && strstr(r->line, kind);
        if (!found)
            fail_msg("no case of %s", kind);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(the_packages_numbers_come_out,
                                    temp_folder_make, temp_folder_drop),
    cmocka_unit_test_setup_teardown(values_worked_out_by_hand_come_out,
                                    temp_folder_make, temp_folder_drop),
    cmocka_unit_test(every_kind_has_a_case),
};

int main(void)
{
    gsl_set_error_handler_off();
    return cmocka_run_group_tests_name("lab: quantize", tests, read_suites,
                                       free_suites);
}

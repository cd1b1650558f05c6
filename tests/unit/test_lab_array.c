/* Arrays through the program: quantize, infer.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "unit/lab_driver.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "common/assert_near.h"
#include "common/temp_folder.h"
#include "data/npy.h"
#include "lab/state.h"

/* A lab, in a folder of its own: the current one. */
struct place {
    struct temp_folder *folder;
    struct driver *d;
    char here[1024];
};

static struct place place_open(void **state)
{
    struct place p = { .folder = *state };
    void *box;
    assert_non_null(getcwd(p.here, sizeof p.here));
    assert_int_equal(chdir(p.folder->dir), 0);
    assert_int_equal(driver_open(&box), 0);
    p.d = box;
    return p;
}

static void place_close(struct place *p)
{
    driver_close((void **)&p->d);
    assert_int_equal(chdir(p->here), 0);
}

static struct bag *read_npz(const char *path)
{
    struct bag *b = NULL;
    struct err e = { 0 };
    if (npz_read(path, &b, &e))
        fail_msg("%s", e.text);
    return b;
}

static void write_floats(const char *path, const struct shape *s,
                         const float *x)
{
    float *copy = near_drop_const(x);
    struct tensor t = tensor_view(DTYPE_F32, s, copy);
    assert_int_equal(npy_write(path, &t, NULL), STATUS_OK);
}

/* 3 x 4: columns of one size, rows of growing size. */
static void write_example(const char *path)
{
    float x[12];
    struct shape s = shape_2(3, 4);
    for (int i = 0; i < 12; i++)
        x[i] = (float)(i % 4 - 1.6) * (float)(1 + i / 4);
    write_floats(path, &s, x);
}

static const struct tensor *want(const struct bag *b, const char *name,
                                 enum dtype type, const struct shape *shape)
{
    const struct tensor *t = bag_get(b, name);
    if (!t)
        fail_msg("no array %s", name);
    assert_int_equal(t->type, type);
    assert_true(shape_equal(&t->shape, shape));
    return t;
}

static double ans(struct driver *d, const char *field)
{
    struct value v;
    assert_true(answer_get(d->lab, field, &v));
    return v.num;
}

/* ---- quantize ---- */

static void codes_scale_and_zero_point_give_the_values(void **state)
{
    struct place p = place_open(state);
    struct shape s = shape_2(3, 4), c = shape_1(3);
    write_example("x.npy");
    good(p.d, "quantize x.npy affine:4,asym g=channel -> q.npz");
    struct bag *b = read_npz("q.npz");
    const struct tensor *code = want(b, "codes", DTYPE_I32, &s);
    const struct tensor *y = want(b, "values", DTYPE_F32, &s);
    const struct tensor *scale = want(b, "scale", DTYPE_F32, &c);
    const struct tensor *zp = want(b, "zero_point", DTYPE_I32, &c);
    assert_int_equal(bag_count(b), 4);
    for (int i = 0; i < 12; i++)
        assert_near(tensor_get(y, i),
                    (tensor_get(code, i) - tensor_get(zp, i / 4)) *
                        tensor_get(scale, i / 4), 1e-6, 0);
    bag_free(b);
    place_close(&p);
}

static void groups_have_a_scale_each(void **state)
{
    struct place p = place_open(state);
    struct shape s = shape_2(3, 2);
    write_example("x.npy");
    good(p.d, "quantize x.npy affine:4 g=group=2 -> q.npz");
    struct bag *b = read_npz("q.npz");
    const struct tensor *scale = want(b, "scale", DTYPE_F32, &s);
    /* max |x| of a pair over the lowest code's magnitude, symmetric */
    assert_near(tensor_get(scale, 0), 1.6 / 7.5, 1e-6, 0);
    assert_near(tensor_get(scale, 5), 3 * 1.4 / 7.5, 1e-6, 0);
    bag_free(b);
    place_close(&p);
}

/* The gradient of a step is the same whether the gradient file is an array of
 * its own or stands beside the values. */
static void gradients_come_with_their_parameters_names(void **state)
{
    struct place p = place_open(state);
    struct shape s = shape_2(3, 4), one = shape_1(1);
    write_example("x.npy");
    good(p.d, "quantize x.npy lsq:3 step=0.5 grad=x.npy -> q.npz");
    struct bag *b = read_npz("q.npz");
    want(b, "dx", DTYPE_F32, &s);
    double d = tensor_get(want(b, "dstep", DTYPE_F32, &one), 0);
    assert_near(ans(p.d, "dstep"), d, 1e-6, 0);
    bag_free(b);
    good(p.d, "quantize q.npz:values lsq:3 step=0.5 grad=q.npz:dx -> r.npz");
    good(p.d, "quantize x.npy lsq:3 learn=off grad=x.npy -> s.npz");
    b = read_npz("s.npz");
    assert_non_null(bag_get(b, "dx"));
    assert_null(bag_get(b, "dstep"));
    bag_free(b);
    place_close(&p);
}

static void the_models_tensors_are_arrays_too(void **state)
{
    struct place p = place_open(state);
    good(p.d, "load model jet; quantize fc1.w w4");
    assert_near(ans(p.d, "n"), 32 * 64, 0, 0);
    assert_near(ans(p.d, "channels"), 32, 0, 0);
    bad(p.d, "quantize fc9.w w4", "fc9.w");
    place_close(&p);
}

/* What chance drew can be drawn again; codes are those of the values. */
static void stochastic_rounding_repeats_with_its_seed(void **state)
{
    struct place p = place_open(state);
    write_example("x.npy");
    good(p.d, "quantize x.npy affine:2,round=stochastic seed=5 -> a.npz");
    good(p.d, "quantize x.npy affine:2,round=stochastic seed=5 -> b.npz");
    struct bag *a = read_npz("a.npz"), *b = read_npz("b.npz");
    const struct tensor *y = bag_get(a, "values");
    double scale = tensor_get(bag_get(a, "scale"), 0);
    assert_tensor_near(y, bag_get(b, "values"), 0, 0);
    for (int i = 0; i < 12; i++)
        assert_near(tensor_get(y, i),
                    scale * tensor_get(bag_get(a, "codes"), i), 1e-6, 0);
    bag_free(a);
    bag_free(b);
    place_close(&p);
}

struct fault {
    const char *line;
    int column;
    const char *text;
};

/* The messages of both commands, with the column of the word at fault. */
static const struct fault faults[] = {
    { "quantize no.npy w4", 10, "no.npy: cannot open" },
    { "quantize x.npy affin:4", 16, "did you mean 'affine'" },
    { "quantize x.npy w40", 16, "bits" },
    { "quantize x.npy w4 g=chanel", 19, "did you mean 'channel'" },
    { "quantize x.npy w4 g=group=3", 19, "does not divide the 4" },
    { "quantize x.npy w4 axis=2", 19, "has 2 dimensions" },
    { "quantize x.npy lsq:4 stp=1", 22, "did you mean 'step='" },
    { "quantize x.npy lsq:4 step=-1", 22, "step is from 0" },
    { "quantize x.npy lsq:4 step=big", 22, "no number, .npy or .npz" },
    { "quantize x.npy affine:4 learn=on", 25, "learns nothing" },
    { "quantize x.npy affine:4 scale=0", 25, "scale 0" },
    { "quantize x.npy affine:4,asym scale=1 zp=99", 38, "zero point 99" },
    { "quantize x.npy affine:4 zp=1", 25, "wants scale=" },
    { "quantize x.npy affine:4 range=1,-1", 25, "not two rising" },
    { "quantize x.npy affine:4 range=1", 25, "2 numbers" },
    { "quantize x.npy affine:4 range=0,1 scale=1", 35, "both" },
    { "quantize x.npy affine:4 scale=x.npy", 25, "has 12 numbers" },
    { "quantize nan.npy w4", 10, "" },
    { "quantize x.npy w4 grad=y.npy", 19, "y.npy is 2x2, x.npy is 3x4" },
    { "quantize x.npy w4 -> q.csv", 22, "writes an .npz" },
    { "quantize x.npy w4 ->> q.npz", 23, "cannot be appended" },
    { "quantize s.npz w4", 10, "s.npz holds 2 arrays" },
    { "quantize s.npz:c w4", 10, "no array 'c'" },
    { "quantize empty.npy w4", 10, "holds no values" },
    { "infer x.npy -> y.npy", 7, "x.npy is 3x4, the model takes Nx16" },
    { "infer no.npy -> y.npy", 7, "no.npy: cannot open" },
    { "infer x16.npy", 1, "wants a file" },
    { "infer x16.npy -> y.csv", 18, "an .npy or .npz" },
    { "infer x16.npy trace -> y.npy", 24, "trace writes an .npz" },
    { "infer x16.npy as=codes -> y.npy", 1, "no quantizer with codes" },
    { 0 },
};

static void write_fault_files(void)
{
    float x[16] = { NAN, 1, 2, 3 };
    struct shape four = shape_2(2, 2), none = shape_1(0);
    struct shape sixteen = shape_2(1, 16);
    struct bag *b = bag_new();
    write_example("x.npy");
    write_floats("nan.npy", &four, x);
    write_floats("y.npy", &four, x);
    write_floats("empty.npy", &none, x);
    x[0] = 0;
    write_floats("x16.npy", &sixteen, x);
    assert_int_equal(bag_put(b, "a", DTYPE_F32, &four, x, NULL), STATUS_OK);
    assert_int_equal(bag_put(b, "b", DTYPE_F32, &four, x, NULL), STATUS_OK);
    assert_int_equal(npz_write("s.npz", b, NULL), STATUS_OK);
    bag_free(b);
}

static void a_fault_names_its_word_and_writes_nothing(void **state)
{
    struct place p = place_open(state);
    write_fault_files();
    good(p.d, "load model jet");
    for (const struct fault *f = faults; f->line; f++) {
        char where[32];
        snprintf(where, sizeof where, "s:1:%d: error: ", f->column);
        run(p.d, f->line);
        if (!strstr(str_text(&p.d->errors), where) ||
            !strstr(str_text(&p.d->errors), f->text))
            fail_msg("%s:\n%swanted %s%s", f->line,
                     str_text(&p.d->errors), where, f->text);
    }
    assert_int_not_equal(access("q.npz", F_OK), 0);
    assert_int_not_equal(access("q.csv", F_OK), 0);
    assert_int_not_equal(access("y.csv", F_OK), 0);
    place_close(&p);
}

/* ---- infer ---- */

static void outputs_are_those_of_the_trainers_pass(void **state)
{
    struct place p = place_open(state);
    struct tensor x, y;
    float out[64 * 5];
    good(p.d, "load model jet; quantize fc0.w w8 -> x.npz; bits * w4a8; "
              "load data jets n=100; calibrate 1 batches; set eval.batch 7");
    good(p.d, "infer x.npz:values -> y.npy");
    struct bag *b = read_npz("x.npz");
    assert_int_equal(tensor_copy(&x, bag_get(b, "values"), NULL), STATUS_OK);
    bag_free(b);
    assert_int_equal(npy_read("y.npy", &y, NULL), STATUS_OK);
    struct eval_opts o = { .graph = p.d->lab->graph, .mode = MODE_FAKE,
                           .settings = &p.d->lab->train };
    assert_int_equal(infer_run(&o, x.data, 64, out, NULL), STATUS_OK);
    assert_floats_near((const float *)y.data, out, 64 * 5, 0, 1e-6);
    tensor_fini(&x);
    tensor_fini(&y);
    place_close(&p);
}

static void a_trace_has_every_layer_and_ends_in_the_output(void **state)
{
    struct place p = place_open(state);
    struct tensor y;
    good(p.d, "load model jet; quantize fc0.w w8 -> x.npz; set eval.batch 9; "
              "infer x.npz:values trace -> t.npz; "
              "infer x.npz:values -> y.npy; infer t.npz -> z.npy");
    struct bag *b = read_npz("t.npz");
    const struct graph *g = p.d->lab->graph;
    assert_int_equal(bag_count(b), g->n_node);
    for (int i = 0; i < g->n_node; i++) {
        struct shape s = node_shape(&g->node[i], 64);
        want(b, g->node[i].name, DTYPE_F32, &s);
    }
    assert_int_equal(npy_read("y.npy", &y, NULL), STATUS_OK);
    assert_tensor_near(bag_get(b, "fc3"), &y, 0, 1e-6);
    tensor_fini(&y);
    bag_free(b);
    place_close(&p);
}

/* Codes are the integers behind the values of `as=int`. */
static void codes_of_a_trace_give_its_values(void **state)
{
    struct place p = place_open(state);
    good(p.d, "load model jet; quantize fc0.w w8 -> x.npz; bits * w4a4; "
              "load data jets n=100; calibrate 1 batches; "
              "infer x.npz:values as=int trace -> t.npz; "
              "infer x.npz:values as=codes trace -> c.npz; "
              "infer x.npz:values as=codes -> c.npy");
    struct bag *t = read_npz("t.npz"), *c = read_npz("c.npz");
    const struct graph *g = p.d->lab->graph;
    assert_true(bag_count(c) >= 4);
    for (size_t i = 0; i < bag_count(c); i++) {
        const struct tensor *code = bag_at(c, i);
        const struct tensor *y = bag_get(t, bag_name(c, i));
        int node = graph_find(g, bag_name(c, i));
        int point = layer_out_point(g, g->node[node].head);
        struct affine a;
        assert_int_equal(code->type, DTYPE_I32);
        assert_true(quantizer_get_affine(g->point[point].q, 0, &a));
        for (int64_t k = 0; k < shape_count(&code->shape); k++)
            assert_near(tensor_get(y, k),
                        (double)a.scale * (tensor_get(code, k) -
                                           (double)a.zero_point), 1e-5,
                        1e-6);
    }
    bag_free(t);
    bag_free(c);
    place_close(&p);
}

static void a_net_with_two_inputs_takes_them_by_name(void **state)
{
    static const char text[] = "model two loss=mse\na input 2\nb input 2\n"
                               "sum add < a b\n";
    struct place p = place_open(state);
    const float a[4] = { 1, 2, 3, 4 }, b[4] = { 10, 20, 30, 40 };
    const float sum[4] = { 11, 22, 33, 44 };
    struct shape s = shape_2(2, 2), one = shape_2(1, 2);
    struct bag *in = bag_new();
    struct tensor y;
    assert_int_equal(bag_put(in, "a", DTYPE_F32, &s, a, NULL), STATUS_OK);
    temp_write(p.folder, "two.txt", text, sizeof text - 1);
    assert_int_equal(npz_write("a.npz", in, NULL), STATUS_OK);
    assert_int_equal(bag_put(in, "b", DTYPE_F32, &s, b, NULL), STATUS_OK);
    assert_int_equal(npz_write("in.npz", in, NULL), STATUS_OK);
    assert_int_equal(bag_put(in, "b", DTYPE_F32, &one, b, NULL), STATUS_OK);
    assert_int_equal(npz_write("odd.npz", in, NULL), STATUS_OK);
    bag_free(in);
    good(p.d, "load model ./two.txt; infer in.npz -> y.npy");
    assert_int_equal(npy_read("y.npy", &y, NULL), STATUS_OK);
    assert_floats_near((const float *)y.data, sum, 4, 0, 0);
    tensor_fini(&y);
    bad(p.d, "infer a.npz -> y.npy", "no array 'b'");
    bad(p.d, "infer odd.npz -> y.npy", "1 samples, the first input 2");
    bad(p.d, "infer y.npy -> z.npy", "has 2 inputs");
    place_close(&p);
}

#define FOLDER(f) \
    cmocka_unit_test_setup_teardown(f, temp_folder_make, temp_folder_drop)

static const struct CMUnitTest tests[] = {
    FOLDER(codes_scale_and_zero_point_give_the_values),
    FOLDER(groups_have_a_scale_each),
    FOLDER(gradients_come_with_their_parameters_names),
    FOLDER(the_models_tensors_are_arrays_too),
    FOLDER(stochastic_rounding_repeats_with_its_seed),
    FOLDER(a_fault_names_its_word_and_writes_nothing),
    FOLDER(outputs_are_those_of_the_trainers_pass),
    FOLDER(a_trace_has_every_layer_and_ends_in_the_output),
    FOLDER(codes_of_a_trace_give_its_values),
    FOLDER(a_net_with_two_inputs_takes_them_by_name),
};

TEST_MAIN("lab: arrays", tests)

/* tensor/: shapes, element types, tensors, bags.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/test_main.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "common/assert_near.h"
#include "tensor/bag.h"
#include "tensor/dtype.h"

static void shapes_multiply_print_and_compare(void **state)
{
    (void)state;
    struct shape s = shape_make(3, (int64_t)6, (int64_t)28, (int64_t)14);
    struct shape same = shape_3(6, 28, 14), other = shape_2(6, 28);
    assert_true(shape_equal(&s, &same));
    assert_false(shape_equal(&s, &other));
    assert_int_equal(shape_count(&s), 6 * 28 * 14);
    assert_int_equal(shape_inner(&s, 0), 28 * 14);
    assert_int_equal(shape_inner(&s, 2), 1);
    assert_int_equal(shape_outer(&s, 2), 6 * 28);
    struct shape scalar = { 0 };
    assert_int_equal(shape_count(&scalar), 1);
    struct str text = { 0 };
    shape_add(&text, &s);
    assert_string_equal(str_text(&text), "6x28x14");
    str_fini(&text);
}

static void sizes_from_files_are_checked_before_they_are_believed(void **state)
{
    (void)state;
    size_t bytes = 77;
    struct err e;
    struct shape ok = shape_3(2, 0, 9);
    assert_int_equal(shape_bytes(&ok, 4, 10, &bytes, &e), STATUS_OK);
    assert_int_equal(bytes, 0);
    ok = shape_2(3, 5);
    assert_int_equal(shape_bytes(&ok, 8, 120, &bytes, &e), STATUS_OK);
    assert_int_equal(bytes, 120);
    assert_int_equal(shape_bytes(&ok, 8, 119, &bytes, &e), STATUS_FORMAT);
    struct shape bad[] = {
        shape_2((int64_t)1 << 33, (int64_t)1 << 33),
        shape_2(INT64_MAX, 2),
        shape_3(0, INT64_MAX, INT64_MAX),
        shape_2(4, -1),
        { .rank = 9 },
        { .rank = -1 },
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(shape_bytes(&bad[i], 4, SIZE_MAX, &bytes, &e),
                         STATUS_FORMAT);
    assert_int_equal(bytes, 120);
}

static void every_type_has_a_complete_row(void **state)
{
    (void)state;
    for (int i = 0; i < DTYPE_COUNT; i++) {
        const struct dtype_row *r = &dtype_table[i];
        assert_non_null(r->name);
        assert_non_null(r->safetensors);
        assert_int_equal(strlen(r->numpy), 3);
        assert_int_equal(r->size, r->numpy[2] - '0');
        assert_int_equal(dtype_find(r->name), i);
    }
    assert_int_equal(dtype_find("complex64"), DTYPE_COUNT);
}

/* Bit patterns from IEEE 754-2008 table 3.5 and the definition of bfloat16
 * as the upper half of a binary32. */
static void half_and_bfloat_bits_are_right(void **state)
{
    (void)state;
    static const struct {
        enum dtype type;
        double value;
        uint16_t bits;
    } cases[] = {
        { DTYPE_F16, 1.0, 0x3c00 },       { DTYPE_F16, -2.0, 0xc000 },
        { DTYPE_F16, 65504.0, 0x7bff },   { DTYPE_F16, 0x1p-14, 0x0400 },
        { DTYPE_F16, 0x1p-24, 0x0001 },   { DTYPE_F16, 1023 * 0x1p-24, 0x03ff },
        { DTYPE_F16, 0.333251953125, 0x3555 },
        { DTYPE_F16, 0.0, 0x0000 },       { DTYPE_F16, -0.0, 0x8000 },
        { DTYPE_BF16, 1.0, 0x3f80 },      { DTYPE_BF16, -0.5, 0xbf00 },
        { DTYPE_BF16, 0x1.fep127, 0x7f7f },
        { DTYPE_BF16, 0x1p-133, 0x0001 }, { DTYPE_BF16, 3.140625, 0x4049 },
        { DTYPE_BF16, (double)INFINITY, 0x7f80 },
        { DTYPE_F16, -(double)INFINITY, 0xfc00 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint16_t bits = 0;
        dtype_write(cases[i].type, &bits, cases[i].value);
        assert_int_equal(bits, cases[i].bits);
        double back = dtype_read(cases[i].type, &bits);
        assert_true(back == cases[i].value);
        assert_true(signbit(back) == signbit(cases[i].value));
    }
}

static void narrow_floats_round_to_nearest_even_once(void **state)
{
    (void)state;
    static const struct {
        enum dtype type;
        double value;
        uint16_t bits;
    } cases[] = {
        { DTYPE_F16, 1 + 0x1p-11, 0x3c00 },           /* tie, to even */
        { DTYPE_F16, 1 + 3 * 0x1p-11, 0x3c02 },       /* tie, to even */
        { DTYPE_F16, 1 + 0x1p-11 + 0x1p-40, 0x3c01 }, /* float would tie */
        { DTYPE_F16, 65519.99, 0x7bff },
        { DTYPE_F16, 65520.0, 0x7c00 },               /* to infinity */
        { DTYPE_F16, 0x1p-25, 0x0000 },               /* tie, to zero */
        { DTYPE_F16, 0x1.8p-25, 0x0001 },
        { DTYPE_F16, 0x1.ffcp-15, 0x0400 },           /* up into normals */
        { DTYPE_F16, 0x1.fffp0, 0x4000 },             /* carry to exponent */
        { DTYPE_BF16, 1 + 0x1p-8, 0x3f80 },
        { DTYPE_BF16, 1 + 3 * 0x1p-8, 0x3f82 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint16_t bits = 0;
        dtype_write(cases[i].type, &bits, cases[i].value);
        assert_int_equal(bits, cases[i].bits);
    }
    uint16_t nan_bits = 0;
    dtype_write(DTYPE_F16, &nan_bits, (double)NAN);
    assert_true(isnan(dtype_read(DTYPE_F16, &nan_bits)));
}

static void every_half_survives_a_round_trip(void **state)
{
    (void)state;
    for (unsigned b = 0; b < 65536; b++) {
        uint16_t in = (uint16_t)b, out = 0;
        for (int t = 0; t < 2; t++) {
            enum dtype type = t ? DTYPE_BF16 : DTYPE_F16;
            double v = dtype_read(type, &in);
            dtype_write(type, &out, v);
            if (isnan(v))
                assert_true(isnan(dtype_read(type, &out)));
            else
                assert_int_equal(in, out);
        }
    }
}

static void a_cast_to_integers_saturates(void **state)
{
    (void)state;
    float x[] = { -1.9f, 1.9f, 300.0f, -300.0f, NAN, INFINITY, 1e30f, 0.0f };
    struct shape s = shape_1(8);
    struct tensor t = tensor_view(DTYPE_F32, &s, x), u = { 0 };
    static const double i8[] = { -1, 1, 127, -128, 0, 127, 127, 0 };
    static const double u8[] = { 0, 1, 255, 0, 0, 255, 255, 0 };
    static const double b[] = { 1, 1, 1, 1, 1, 1, 1, 0 };
    const struct { enum dtype type; const double *want; } cases[] = {
        { DTYPE_I8, i8 }, { DTYPE_U8, u8 }, { DTYPE_BOOL, b },
    };
    for (size_t k = 0; k < 3; k++) {
        assert_int_equal(tensor_cast(&u, &t, cases[k].type, NULL), STATUS_OK);
        for (int i = 0; i < 8; i++)
            assert_true(tensor_get(&u, i) == cases[k].want[i]);
        tensor_fini(&u);
    }
    assert_int_equal(tensor_cast(&u, &t, DTYPE_I64, NULL), STATUS_OK);
    const int64_t *wide = u.data;
    assert_true(wide[6] == INT64_MAX && wide[5] == INT64_MAX && wide[4] == 0);
    tensor_fini(&u);
}

static void a_copy_is_exact_and_independent(void **state)
{
    (void)state;
    int64_t x[] = { INT64_MAX, INT64_MIN, (int64_t)1 << 53 | 1 };
    struct shape s = shape_1(3);
    struct tensor t = tensor_view(DTYPE_I64, &s, x), u = { 0 };
    assert_int_equal(tensor_cast(&u, &t, DTYPE_I64, NULL), STATUS_OK);
    assert_memory_equal(u.data, x, sizeof x);
    x[0] = 0;
    assert_true(((int64_t *)u.data)[0] == INT64_MAX);
    tensor_fini(&u);
    tensor_fini(&t);                    /* a view: x is not freed */
}

static void a_tensor_without_memory_names_its_shape(void **state)
{
    (void)state;
    struct tensor t = { 0 };
    struct err e = { 0 };
    struct shape s = shape_2(100, 20);
    mem_fail_after(1);
    assert_int_equal(tensor_init(&t, DTYPE_F32, &s, &e), STATUS_MEM);
    assert_non_null(strstr(e.text, "100x20 of float32"));
    assert_null(t.data);
    s = shape_2(INT64_MAX, 20);
    assert_int_equal(tensor_init(&t, DTYPE_F32, &s, &e), STATUS_FORMAT);
}

static void layouts_are_turned_there_and_back(void **state)
{
    (void)state;
    enum { N = 3, C = 37, HW = 53 };
    static float x[N * C * HW], y[N * C * HW], z[N * C * HW];
    for (int i = 0; i < N * C * HW; i++)
        x[i] = (float)i;
    nchw_to_nhwc(x, y, N, C, HW);
    for (int n = 0; n < N; n++)
        for (int c = 0; c < C; c++)
            for (int p = 0; p < HW; p++)
                assert_true(y[(n * HW + p) * C + c] ==
                            x[(n * C + c) * HW + p]);
    nhwc_to_nchw(y, z, N, C, HW);
    assert_memory_equal(x, z, sizeof x);
}

/* ---- bags ---- */

static void a_bag_keeps_names_in_order_and_replaces(void **state)
{
    (void)state;
    struct bag *b = bag_new();
    struct shape s = shape_1(2);
    for (int i = 0; i < 100; i++) {
        char name[16];
        float x[2] = { (float)i, (float)-i };
        snprintf(name, sizeof name, "t%d", i);
        assert_int_equal(bag_put(b, name, DTYPE_F32, &s, x, NULL), STATUS_OK);
        assert_int_equal(bag_put_text(b, name, "old", NULL), STATUS_OK);
    }
    int32_t one = 41;
    struct shape scalar = { 0 };
    assert_int_equal(bag_put(b, "t7", DTYPE_I32, &scalar, &one, NULL),
                     STATUS_OK);
    assert_int_equal(bag_put_text(b, "t8", "new", NULL), STATUS_OK);
    assert_int_equal(bag_count(b), 100);
    assert_int_equal(bag_text_count(b), 100);
    assert_string_equal(bag_name(b, 7), "t7");
    assert_true(tensor_get(bag_at(b, 7), 0) == 41);
    assert_true(tensor_get(bag_get(b, "t99"), 1) == -99);
    assert_string_equal(bag_text(b, "t8"), "new");
    assert_string_equal(bag_text_at(b, 9), "old");
    assert_string_equal(bag_text_name(b, 9), "t9");
    assert_null(bag_get(b, "t100"));
    assert_null(bag_text(b, "t100"));
    assert_null(bag_at(b, 100));
    assert_true(bag_bytes(b) > 100 * 8);
    bag_free(b);
    bag_free(NULL);
}

static void reading_a_bag_checks_type_and_shape(void **state)
{
    (void)state;
    struct bag *b = bag_new();
    struct err e = { 0 };
    float x[6] = { 1, 2, 3, 4, 5, 6 }, y[6] = { 0 };
    struct shape s = shape_2(2, 3), turned = shape_2(3, 2);
    bag_put(b, "fc.weight", DTYPE_F32, &s, x, NULL);
    assert_int_equal(bag_read(b, "fc.weight", DTYPE_F32, &s, y, &e),
                     STATUS_OK);
    assert_memory_equal(x, y, sizeof x);
    y[0] = 99;
    assert_int_equal(bag_read(b, "fc.weight", DTYPE_F32, &turned, y, &e),
                     STATUS_FORMAT);
    assert_string_equal(e.text, "tensor 'fc.weight' is float32 2x3, "
                                "wanted float32 3x2");
    assert_int_equal(bag_read(b, "fc.weight", DTYPE_I32, &s, y, &e),
                     STATUS_FORMAT);
    assert_int_equal(bag_read(b, "fc.bias", DTYPE_F32, &s, y, &e),
                     STATUS_FORMAT);
    assert_string_equal(e.text, "tensor 'fc.bias' is missing");
    assert_true(y[0] == 99);
    bag_free(b);
}

static void a_bag_survives_every_failing_allocation(void **state)
{
    (void)state;
    struct shape s = shape_1(4);
    float x[4] = { 1, 2, 3, 4 };
    bool finished = false;
    for (long n = 1; !finished && n < 100; n++) {
        mem_fail_after(n);
        struct bag *b = bag_new();
        enum status a = b ? STATUS_OK : STATUS_MEM;
        for (int i = 0; i < 20 && a == STATUS_OK; i++) {
            char name[8];
            snprintf(name, sizeof name, "%d", i);
            a = bag_put(b, name, DTYPE_F32, &s, x, NULL);
            if (a == STATUS_OK)
                a = bag_put_text(b, name, name, NULL);
            assert_true(a == STATUS_MEM || bag_get(b, name) != NULL);
        }
        finished = a == STATUS_OK;
        bag_free(b);
    }
    mem_fail_after(0);
    assert_true(finished);
}

/* ---- the comparison that other tests rely on ---- */

static void a_comparison_finds_the_first_and_the_worst(void **state)
{
    (void)state;
    float got[] = { 1, 2.1f, 3, 5 }, want[] = { 1, 2, 3, 4 };
    struct shape s = shape_1(4);
    struct tensor g = tensor_view(DTYPE_F32, &s, got);
    struct tensor w = tensor_view(DTYPE_F32, &s, want);
    struct near r = near_compare(&g, &w, 0, 0.01);
    assert_false(r.ok);
    assert_int_equal(r.bad, 2);
    assert_int_equal(r.first_bad, 1);
    assert_int_equal(r.worst, 3);
    assert_true(near_compare(&g, &w, 0.26, 0).ok);
    struct shape t = shape_2(2, 2);
    w = tensor_view(DTYPE_F32, &t, want);
    assert_false(near_compare(&g, &w, 9, 9).ok);
}

static void a_comparison_takes_nan_and_infinity_literally(void **state)
{
    (void)state;
    const double inf = (double)INFINITY, nan = (double)NAN;
    const double pairs[][3] = {        /* got, want, near */
        { nan, nan, 1 }, { nan, 1, 0 },  { 1, nan, 0 },   { inf, inf, 1 },
        { inf, -inf, 0 }, { 1, inf, 0 }, { inf, 1e308, 0 },
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        double got = pairs[i][0], want = pairs[i][1];
        struct shape s = shape_1(1);
        struct tensor g = tensor_view(DTYPE_F64, &s, &got);
        struct tensor w = tensor_view(DTYPE_F64, &s, &want);
        assert_int_equal(near_compare(&g, &w, 1, 1).ok, pairs[i][2] != 0);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(shapes_multiply_print_and_compare),
    cmocka_unit_test(sizes_from_files_are_checked_before_they_are_believed),
    cmocka_unit_test(every_type_has_a_complete_row),
    cmocka_unit_test(half_and_bfloat_bits_are_right),
    cmocka_unit_test(narrow_floats_round_to_nearest_even_once),
    cmocka_unit_test(every_half_survives_a_round_trip),
    cmocka_unit_test(a_cast_to_integers_saturates),
    cmocka_unit_test(a_copy_is_exact_and_independent),
    cmocka_unit_test(a_tensor_without_memory_names_its_shape),
    cmocka_unit_test(layouts_are_turned_there_and_back),
    cmocka_unit_test(a_bag_keeps_names_in_order_and_replaces),
    cmocka_unit_test(reading_a_bag_checks_type_and_shape),
    cmocka_unit_test(a_bag_survives_every_failing_allocation),
    cmocka_unit_test(a_comparison_finds_the_first_and_the_worst),
    cmocka_unit_test(a_comparison_takes_nan_and_infinity_literally),
};

TEST_MAIN("tensor", tests)

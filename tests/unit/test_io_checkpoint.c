/* io/: the native file: round trips, and files that lie.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/test_main.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/file.h"
#include "common/assert_near.h"
#include "io/checkpoint.h"

static char folder[64];
static char path[96];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/qatlab-io-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/a.qlab", folder);
    return 0;
}

static int drop_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static struct bag *sample_bag(void)
{
    struct bag *b = bag_new();
    struct err e;
    struct shape s23 = shape_2(2, 3), s5 = shape_1(5), none = { 0 };
    struct shape empty = shape_2(0, 7);
    const float w[] = { 1.5f, -2, 0, 3e38f, 1e-45f, -0.0f };
    const int8_t codes[] = { -128, 127, 0, 1, -1 };
    const double half = 0.5;
    assert_non_null(b);
    assert_int_equal(bag_put(b, "codes", DTYPE_I8, &s5, codes, &e), 0);
    assert_int_equal(bag_put(b, "conv1.weight", DTYPE_F32, &s23, w, &e), 0);
    assert_int_equal(bag_put(b, "empty", DTYPE_F32, &empty, w, &e), 0);
    assert_int_equal(bag_put(b, "half", DTYPE_F64, &none, &half, &e), 0);
    assert_int_equal(bag_put_text(b, "graph", "model m\nx input 3\n", &e), 0);
    assert_int_equal(bag_put_text(b, "odd \"name\"", "\xc3\xa4 \\ \t", &e), 0);
    return b;
}

static void assert_same_bags(const struct bag *a, const struct bag *b)
{
    assert_int_equal(bag_count(a), bag_count(b));
    for (size_t i = 0; i < bag_count(a); i++) {
        const struct tensor *x = bag_at(a, i);
        const struct tensor *y = bag_get(b, bag_name(a, i));
        assert_non_null(y);
        assert_int_equal(x->type, y->type);
        assert_true(shape_equal(&x->shape, &y->shape));
        if (tensor_bytes(x) > 0)
            assert_memory_equal(x->data, y->data, tensor_bytes(x));
    }
    assert_int_equal(bag_text_count(a), bag_text_count(b));
    for (size_t i = 0; i < bag_text_count(a); i++) {
        const char *text = bag_text(b, bag_text_name(a, i));
        assert_non_null(text);
        assert_string_equal(bag_text_at(a, i), text);
    }
}

static void a_bag_comes_back_bit_for_bit(void **state)
{
    (void)state;
    struct err e;
    struct bag *b = sample_bag(), *back = NULL;
    assert_int_equal(checkpoint_write(path, b, &e), STATUS_OK);
    assert_int_equal(checkpoint_read(path, &back, &e), STATUS_OK);
    assert_same_bags(b, back);
    bag_free(back);
    bag_free(b);
}

static void an_empty_bag_comes_back_empty(void **state)
{
    (void)state;
    struct err e;
    struct bag *b = bag_new(), *back = NULL;
    assert_int_equal(checkpoint_write(path, b, &e), STATUS_OK);
    assert_int_equal(checkpoint_read(path, &back, &e), STATUS_OK);
    assert_int_equal(bag_count(back), 0);
    assert_int_equal(bag_text_count(back), 0);
    bag_free(back);
    bag_free(b);
}

/* What the reference reader demands: aligned header, data in order. */
static void the_file_is_plain_safetensors(void **state)
{
    (void)state;
    struct err e;
    struct bytes f;
    struct bag *b = sample_bag();
    assert_int_equal(checkpoint_write(path, b, &e), STATUS_OK);
    assert_int_equal(file_read(path, 1 << 20, &f, &e), STATUS_OK);
    size_t header = f.data[0] | (size_t)f.data[1] << 8;
    assert_int_equal(header % 8, 0);
    assert_int_equal(f.size, 8 + header + 8 + 24 + 5);
    assert_int_equal(f.data[8], '{');
    double half;
    memcpy(&half, f.data + 8 + header, sizeof half);
    assert_true(half == 0.5);
    char *text = calloc(header + 1, 1);
    memcpy(text, f.data + 8, header);
    assert_non_null(strstr(text, "\"conv1.weight\":{\"dtype\":\"F32\","
                           "\"shape\":[2,3],\"data_offsets\":[8,32]}"));
    assert_non_null(strstr(text, "\"__metadata__\":{\"qatlab\":\"{"));
    free(text);
    bytes_fini(&f);
    bag_free(b);
}

/* ---- hostile files ---- */

/* A file of this header and n bytes of data. */
static enum status parse(const char *header, size_t n, struct err *e)
{
    size_t text = strlen(header);
    unsigned char *file = calloc(1, 8 + text + n);
    for (int i = 0; i < 8; i++)
        file[i] = (unsigned char)((uint64_t)text >> (8 * i));
    memcpy(file + 8, header, text);
    struct bag *b = NULL;
    enum status s = checkpoint_parse(file, 8 + text + n, "f.qlab", &b, e);
    if (s == STATUS_OK)
        bag_free(b);
    else
        assert_null(b);
    free(file);
    return s;
}

#define T(name, rest) "\"" name "\":{\"dtype\":\"F32\"," rest "}"

static void plain_safetensors_files_are_read(void **state)
{
    (void)state;
    struct err e;
    assert_int_equal(parse("{}", 0, &e), STATUS_OK);
    assert_int_equal(parse("{\"__metadata__\":{\"format\":\"pt\"}}   ", 0,
                           &e), STATUS_OK);
    assert_int_equal(parse("{" T("b", "\"shape\":[2],\"data_offsets\":[4,12]")
                           "," T("a", "\"shape\":[],\"data_offsets\":[0,4]")
                           "}", 12, &e), STATUS_OK);
}

static void broken_headers_are_refused_with_a_reason(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t data;
        const char *says;
    } bad[] = {
        { "[]", 0, "does not begin" },
        { " {}", 0, "does not begin" },
        { "{", 0, "bad JSON" },
        { "{}x", 0, "bad JSON" },
        { "{}", 1, "0 bytes, the file has 1" },
        { "{" T("a", "\"shape\":[1],\"data_offsets\":[0,4]") ","
          T("a", "\"shape\":[1],\"data_offsets\":[4,8]") "}", 8, "duplicate" },
        { "{" T("a", "\"shape\":[1],\"data_offsets\":[0,4]") "}", 8,
          "take 4 bytes" },
        { "{" T("a", "\"shape\":[1],\"data_offsets\":[4,8]") "}", 8, "hole" },
        { "{" T("a", "\"shape\":[2],\"data_offsets\":[0,8]") ","
          T("b", "\"shape\":[1],\"data_offsets\":[4,8]") "}", 8, "overlaps" },
        { "{" T("a", "\"shape\":[1],\"data_offsets\":[0,8]") "}", 8,
          "another size" },
        { "{" T("a", "\"shape\":[3],\"data_offsets\":[0,12]") "}", 8,
          "outside" },
        { "{" T("a", "\"shape\":[1],\"data_offsets\":[4,0]") "}", 4,
          "outside" },
        { "{" T("a", "\"shape\":[1],\"data_offsets\":[-4,0]") "}", 0,
          "two offsets" },
        { "{" T("a", "\"shape\":[1],\"data_offsets\":[0]") "}", 4,
          "two offsets" },
        { "{" T("a", "\"shape\":[1],\"data_offsets\":[0,4.0]") "}", 4,
          "two offsets" },
        { "{" T("a", "\"shape\":[1]") "}", 4, "an object of" },
        { "{" T("a", "\"shape\":[-1],\"data_offsets\":[0,4]") "}", 4,
          "shape" },
        { "{" T("a", "\"shape\":[1,1,1,1,1,1,1,1,1],"
                     "\"data_offsets\":[0,4]") "}", 4, "shape" },
        { "{" T("a", "\"shape\":[4611686018427387904,4],"
                     "\"data_offsets\":[0,0]") "}", 0, "tensor \"a\"" },
        { "{\"a\":{\"dtype\":\"F4\",\"shape\":[2],\"data_offsets\":[0,1]}}",
          1, "dtype" },
        { "{\"a\":{\"dtype\":7,\"shape\":[2],\"data_offsets\":[0,1]}}", 1,
          "dtype" },
        { "{\"a\":5}", 0, "an object of" },
        { "{\"\\u0000\":5}", 0, "bad JSON" },
        { "{\"__metadata__\":[]}", 0, "not an object" },
        { "{\"__metadata__\":{\"x\":1}}", 0, "not a string" },
        { "{\"__metadata__\":{\"qatlab\":\"{\"}}", 0, "qatlab: bad JSON" },
        { "{\"__metadata__\":{\"qatlab\":\"{}\"}}", 0, "no version" },
        { "{\"__metadata__\":{\"qatlab\":\"{\\\"version\\\":2}\"}}", 0,
          "version 2" },
        { "{\"__metadata__\":{\"qatlab\":\"{\\\"version\\\":1}\"}}", 0,
          "no texts" },
        { "{\"__metadata__\":{\"qatlab\":\"{\\\"version\\\":1,"
          "\\\"texts\\\":{\\\"a\\\":1}}\"}}", 0, "a text" },
        { "{\"a\":[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]}", 0, "deeper" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct err e;
        assert_int_equal(parse(bad[i].header, bad[i].data, &e),
                         STATUS_FORMAT);
        if (!strstr(e.text, bad[i].says))
            fail_msg("case %zu: %s", i, e.text);
        assert_ptr_equal(strstr(e.text, "f.qlab: "), e.text);
    }
}

static void names_from_files_cannot_drive_the_terminal(void **state)
{
    (void)state;
    struct err e;
    assert_int_equal(parse("{\"\\u001b[2J\":5}", 0, &e), STATUS_FORMAT);
    assert_null(strchr(e.text, '\x1b'));
}

/* Brackets in a million levels, and a header longer than the file. */
static void deep_and_long_headers_are_refused_early(void **state)
{
    (void)state;
    struct err e;
    enum { N = 1000000 };
    char *deep = malloc(N + 1);
    memset(deep, '[', N);
    deep[0] = '{';
    deep[N] = '\0';
    assert_int_equal(parse(deep, 0, &e), STATUS_FORMAT);
    free(deep);
    struct bag *b = NULL;
    const unsigned char huge[] = {
        255, 255, 255, 255, 255, 255, 255, 255, '{', '}',
    };
    assert_int_equal(checkpoint_parse(huge, sizeof huge, "h", &b, &e),
                     STATUS_FORMAT);
    const unsigned char long_one[] = { 9, 0, 0, 0, 0, 0, 0, 0, '{', '}' };
    assert_int_equal(checkpoint_parse(long_one, sizeof long_one, "h", &b,
                                      &e), STATUS_FORMAT);
    assert_non_null(strstr(e.text, "cut short"));
    for (size_t n = 0; n < 8; n++)
        assert_int_equal(checkpoint_parse(huge, n, "h", &b, &e),
                         STATUS_FORMAT);
    assert_null(b);
}

/* Every length of a valid file, and every byte of it changed. */
static void cut_and_damaged_files_never_crash(void **state)
{
    (void)state;
    struct err e;
    struct bytes f;
    struct bag *b = sample_bag(), *back;
    assert_int_equal(checkpoint_write(path, b, &e), STATUS_OK);
    bag_free(b);
    assert_int_equal(file_read(path, 1 << 20, &f, &e), STATUS_OK);
    for (size_t n = 0; n < f.size; n++) {
        /* An exact copy, so that a read beyond the end is seen. */
        unsigned char *cut = malloc(n ? n : 1);
        memcpy(cut, f.data, n);
        back = NULL;
        assert_int_equal(checkpoint_parse(cut, n, "cut", &back, &e),
                         STATUS_FORMAT);
        assert_null(back);
        free(cut);
    }
    for (size_t i = 0; i < f.size; i++) {
        for (int change = 0; change < 4; change++) {
            static const unsigned char flip[] = { 0x01, 0x80, 0xff, 0x20 };
            f.data[i] ^= flip[change];
            back = NULL;
            enum status s = checkpoint_parse(f.data, f.size, "bad", &back,
                                             &e);
            assert_true(s == STATUS_OK || s == STATUS_FORMAT);
            bag_free(back);
            f.data[i] ^= flip[change];
        }
    }
    bytes_fini(&f);
}

static void missing_files_and_folders_are_io_errors(void **state)
{
    (void)state;
    struct err e;
    struct bag *b = NULL, *sample = sample_bag();
    assert_int_equal(checkpoint_read("/nonexistent/a.qlab", &b, &e),
                     STATUS_IO);
    assert_non_null(strstr(e.text, "/nonexistent/a.qlab"));
    assert_int_equal(checkpoint_read(folder, &b, &e), STATUS_IO);
    assert_int_equal(checkpoint_write("/nonexistent/a.qlab", sample, &e),
                     STATUS_IO);
    assert_null(b);
    bag_free(sample);
}

static void what_is_not_utf8_is_not_written(void **state)
{
    (void)state;
    struct err e;
    struct bag *b = bag_new(), *back = NULL;
    assert_int_equal(bag_put_text(b, "graph", "good", &e), STATUS_OK);
    assert_int_equal(checkpoint_write(path, b, &e), STATUS_OK);
    assert_int_equal(bag_put_text(b, "graph", "\xff\xfe", &e), STATUS_OK);
    assert_int_equal(checkpoint_write(path, b, &e), STATUS_ARG);
    assert_non_null(strstr(e.text, "graph"));
    /* The file is the one from before. */
    assert_int_equal(checkpoint_read(path, &back, &e), STATUS_OK);
    assert_string_equal(bag_text(back, "graph"), "good");
    bag_free(back);
    bag_free(b);
}

static void out_of_memory_is_reported_and_leaves_the_file(void **state)
{
    (void)state;
    struct err e;
    struct bag *b = sample_bag(), *back = NULL;
    assert_int_equal(checkpoint_write(path, b, &e), STATUS_OK);
    for (long n = 1; n < 200; n++) {
        mem_fail_after(n);
        enum status s = checkpoint_write(path, b, &e);
        mem_fail_after(0);
        assert_true(s == STATUS_OK || s == STATUS_MEM || s == STATUS_IO);
        mem_fail_after(n);
        back = NULL;
        s = checkpoint_read(path, &back, &e);
        mem_fail_after(0);
        if (s == STATUS_OK)
            assert_same_bags(b, back);
        else
            assert_int_equal(s, STATUS_MEM);
        bag_free(back);
    }
    bag_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bag_comes_back_bit_for_bit),
        cmocka_unit_test(an_empty_bag_comes_back_empty),
        cmocka_unit_test(the_file_is_plain_safetensors),
        cmocka_unit_test(plain_safetensors_files_are_read),
        cmocka_unit_test(broken_headers_are_refused_with_a_reason),
        cmocka_unit_test(names_from_files_cannot_drive_the_terminal),
        cmocka_unit_test(deep_and_long_headers_are_refused_early),
        cmocka_unit_test(cut_and_damaged_files_never_crash),
        cmocka_unit_test(missing_files_and_folders_are_io_errors),
        cmocka_unit_test(what_is_not_utf8_is_not_written),
        cmocka_unit_test(out_of_memory_is_reported_and_leaves_the_file),
    };
    gsl_set_error_handler_off();
    return cmocka_run_group_tests_name("io checkpoint", tests, make_folder,
                                       drop_folder);
}

/* data/: the readers of foreign files, and what they refuse.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/test_main.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>
#include <zip.h>
#include <zlib.h>

#include "base/arena.h"
#include "base/file.h"
#include "common/assert_near.h"
#include "common/temp_folder.h"
#include "data/cifar.h"
#include "data/dataset.h"
#include "data/idx.h"
#include "data/npy.h"

#define IN_FOLDER(test) \
    cmocka_unit_test_setup_teardown(test, temp_folder_make, temp_folder_drop)

/* Failing calls say something and name no half-read result. */
static void assert_refused(enum status s, const struct err *e,
                           const char *part)
{
    assert_int_not_equal(s, STATUS_OK);
    assert_int_equal(e->status, s);
    if (!strstr(e->text, part))
        fail_msg("'%s' does not say '%s'", e->text, part);
}

/* ---- NPY ---- */

/* magic, version 1.0, header as given, data. */
static size_t make_npy(unsigned char *out, const char *header,
                       const void *data, size_t n)
{
    size_t length = strlen(header);
    memcpy(out, "\x93NUMPY\x01", 8);
    out[7] = 0;
    out[8] = (unsigned char)(length & 0xff);
    out[9] = (unsigned char)(length >> 8);
    memcpy(out + 10, header, length);
    if (n)
        memcpy(out + 10 + length, data, n);
    return 10 + length + n;
}

static enum status parse(const char *header, const void *data, size_t n,
                         struct tensor *t, struct err *e)
{
    unsigned char file[2048];
    size_t size = make_npy(file, header, data, n);
    /* A copy of exactly this size: reads beyond it are seen by ASan. */
    unsigned char *exact = malloc(size);
    memcpy(exact, file, size);
    enum status s = npy_parse(exact, size, "a.npy", t, e);
    free(exact);
    return s;
}

static void an_npy_file_reads_back_what_was_written(void **state)
{
    struct temp_folder *f = *state;
    float x[6] = { 1.5f, -2, 0, INFINITY, 1e-30f, 3 };
    int64_t wide[2] = { INT64_MIN, INT64_MAX };
    struct shape s = shape_3(1, 2, 3), two = shape_1(2), scalar = { 0 };
    struct tensor in[] = {
        tensor_view(DTYPE_F32, &s, x),
        tensor_view(DTYPE_I64, &two, wide),
        tensor_view(DTYPE_F32, &scalar, x),
    };
    for (size_t i = 0; i < 3; i++) {
        struct tensor out = { 0 };
        const char *path = temp_path(f, "a.npy");
        assert_int_equal(npy_write(path, &in[i], NULL), STATUS_OK);
        assert_int_equal(npy_read(path, &out, NULL), STATUS_OK);
        assert_int_equal(out.type, in[i].type);
        assert_true(shape_equal(&out.shape, &in[i].shape));
        assert_memory_equal(out.data, in[i].data, tensor_bytes(&out));
        tensor_fini(&out);
    }
}

static void a_written_npy_file_is_what_numpy_writes(void **state)
{
    struct temp_folder *f = *state;
    /* numpy 1.26: np.save('a.npy', np.array([[1, 2]], 'i2')) */
    static const char header[] =
        "\x93NUMPY\x01\x00\x76\x00{'descr': '<i2', 'fortran_order': False, "
        "'shape': (1, 2), }";
    int16_t x[2] = { 1, 2 };
    struct shape s = shape_2(1, 2);
    struct tensor t = tensor_view(DTYPE_I16, &s, x);
    struct bytes b = { 0 };
    const char *path = temp_path(f, "a.npy");
    assert_int_equal(npy_write(path, &t, NULL), STATUS_OK);
    assert_int_equal(file_read(path, 999, &b, NULL), STATUS_OK);
    assert_int_equal(b.size, 128 + 4);
    assert_memory_equal(b.data, header, sizeof header - 1);
    for (size_t i = sizeof header - 1; i < 127; i++)
        assert_int_equal(b.data[i], ' ');
    assert_int_equal(b.data[127], '\n');
    assert_memory_equal(b.data + 128, "\x01\x00\x02\x00", 4);
    bytes_fini(&b);
}

static void bfloat16_is_written_as_float32(void **state)
{
    struct temp_folder *f = *state;
    uint16_t x[2] = { 0x3f80, 0xc049 };          /* 1, -3.140625 */
    struct shape s = shape_1(2);
    struct tensor t = tensor_view(DTYPE_BF16, &s, x), out = { 0 };
    assert_int_equal(npy_write(temp_path(f, "a.npy"), &t, NULL), STATUS_OK);
    assert_int_equal(npy_read(f->path, &out, NULL), STATUS_OK);
    assert_int_equal(out.type, DTYPE_F32);
    assert_true(tensor_get(&out, 1) == -3.140625);
    tensor_fini(&out);
}

static void byte_and_memory_orders_are_undone(void **state)
{
    (void)state;
    struct tensor t = { 0 };
    static const unsigned char big[] = { 0, 1, 0, 2, 0xff, 0xff };
    assert_int_equal(parse("{'descr': '>i2', 'fortran_order': False, "
                           "'shape': (3,), }\n", big, 6, &t, NULL),
                     STATUS_OK);
    const double want[] = { 1, 2, -1 };
    for (int i = 0; i < 3; i++)
        assert_true(tensor_get(&t, i) == want[i]);
    tensor_fini(&t);
    /* [[0, 1, 2], [3, 4, 5]] column by column */
    static const unsigned char columns[] = { 0, 3, 1, 4, 2, 5 };
    assert_int_equal(parse("{\"shape\": (2, 3), \"fortran_order\": True,"
                           "\"descr\": \"|u1\"}  \n", columns, 6, &t, NULL),
                     STATUS_OK);
    for (int i = 0; i < 6; i++)
        assert_true(tensor_get(&t, i) == i);
    tensor_fini(&t);
}

static void npy_headers_that_are_not_plain_arrays_are_refused(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        { "{'descr': '|O', 'fortran_order': False, 'shape': (2,), }\n",
          "pickle" },
        { "{'descr': [('a', '<f4')], 'fortran_order': False, "
          "'shape': (2,), }\n", "records" },
        { "{'descr': '<U4', 'fortran_order': False, 'shape': (2,), }\n",
          "element type" },
        { "{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }\n",
          "element type" },
        { "{'descr': '<f3', 'fortran_order': False, 'shape': (1,), }\n",
          "element type" },
        { "{'descr': '<V2', 'fortran_order': False, 'shape': (4,), }\n",
          "element type" },
        { "{'descr': '<f4', 'fortran_order': 1, 'shape': (2,), }\n",
          "fortran_order" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': [2], }\n",
          "tuple" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (2), }\n",
          "tuple" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }\n",
          "dimension" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (2 2), }\n",
          "tuple" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': "
          "(99999999999999999999,), }\n", "dimension" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': "
          "(1,1,1,1,1,1,1,1,2), }\n", "more than 8" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': "
          "(4611686018427387904, 2), }\n", "overflow" },
        { "{'descr': '<f4', 'fortran_order': False, }\n", "missing" },
        { "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, "
          "'shape': (2,), }\n", "twice" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), "
          "'x': 1}\n", "unknown key" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), } x\n",
          "goes on" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }",
          "new line" },
        { "__import__('os').system('true')\n", "dictionary" },
        { "{'descr': '<f4' 'fortran_order': False, 'shape': (2,), }\n",
          "dictionary" },
        { "{'descr\n", "dictionary" },
        { "\n", "dictionary" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }\n",
          "8 bytes of data, wanted 12" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }\n",
          "8 bytes of data, wanted 4" },
    };
    float x[2] = { 1, 2 };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct tensor t = { 0 };
        struct err e = { 0 };
        assert_refused(parse(bad[i][0], x, sizeof x, &t, &e), &e, bad[i][1]);
        assert_null(t.data);
    }
}

static void an_npy_file_cut_anywhere_is_refused(void **state)
{
    (void)state;
    unsigned char file[256];
    float x[5] = { 1, 2, 3, 4, 5 };
    size_t n = make_npy(file, "{'descr': '<f4', 'fortran_order': False, "
                        "'shape': (5,), }   \n", x, sizeof x);
    for (size_t cut = 0; cut < n; cut++) {
        struct tensor t = { 0 };
        struct err e = { 0 };
        unsigned char *exact = malloc(cut ? cut : 1);
        memcpy(exact, file, cut);
        assert_refused(npy_parse(exact, cut, "a.npy", &t, &e), &e, "a.npy");
        free(exact);
    }
}

/* ---- NPZ ---- */

struct member {
    const char *name;
    const void *data;
    size_t size;
    bool deflate;
};

static void make_zip(const char *path, const struct member *m, int n)
{
    int error = 0;
    zip_t *z = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, &error);
    assert_non_null(z);
    for (int i = 0; i < n; i++) {
        zip_source_t *s = zip_source_buffer(z, m[i].data, m[i].size, 0);
        zip_int64_t k = zip_file_add(z, m[i].name, s, 0);
        assert_true(k >= 0);
        zip_set_file_compression(z, (zip_uint64_t)k, m[i].deflate
                                 ? ZIP_CM_DEFLATE : ZIP_CM_STORE, 0);
    }
    assert_int_equal(zip_close(z), 0);
}

static void arrays_of_an_npz_file_come_back(void **state)
{
    struct temp_folder *f = *state;
    struct bag *in = bag_new(), *out = NULL;
    struct err e = { 0 };
    float x[4] = { 1, 2, 3, 4 };
    uint8_t y[2] = { 7, 255 };
    struct shape s = shape_2(2, 2), two = shape_1(2);
    bag_put(in, "conv1.weight", DTYPE_F32, &s, x, NULL);
    bag_put(in, "y", DTYPE_U8, &two, y, NULL);
    const char *path = temp_path(f, "a.npz");
    assert_int_equal(npz_write(path, in, &e), STATUS_OK);
    assert_int_equal(npz_read(path, &out, &e), STATUS_OK);
    assert_int_equal(bag_count(out), 2);
    assert_string_equal(bag_name(out, 0), "conv1.weight");
    assert_tensor_near(bag_get(out, "conv1.weight"),
                       bag_get(in, "conv1.weight"), 0, 0);
    assert_tensor_near(bag_get(out, "y"), bag_get(in, "y"), 0, 0);
    bag_free(in);
    bag_free(out);
}

static void equal_arrays_give_equal_npz_files(void **state)
{
    struct temp_folder *f = *state;
    struct bytes a = { 0 }, b = { 0 };
    struct bag *in = bag_new();
    float x[4] = { 1, 2, 3, 4 };
    struct shape s = shape_1(4);
    bag_put(in, "x", DTYPE_F32, &s, x, NULL);
    assert_int_equal(npz_write(temp_path(f, "a"), in, NULL), STATUS_OK);
    assert_int_equal(file_read(f->path, 9999, &a, NULL), STATUS_OK);
    assert_int_equal(npz_write(temp_path(f, "b"), in, NULL), STATUS_OK);
    assert_int_equal(file_read(f->path, 9999, &b, NULL), STATUS_OK);
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.data, b.data, a.size);
    bytes_fini(&a);
    bytes_fini(&b);
    bag_free(in);
}

static void npz_members_that_mislead_are_refused(void **state)
{
    struct temp_folder *f = *state;
    static unsigned char zeros[300000];
    unsigned char npy[300200], tiny[200];
    size_t n = make_npy(npy, "{'descr': '|u1', 'fortran_order': False, "
                        "'shape': (300000,), }\n", zeros, sizeof zeros);
    size_t k = make_npy(tiny, "{'descr': '|u1', 'fortran_order': False, "
                        "'shape': (2,), }\n", zeros, 2);
    const struct {
        struct member m;
        const char *said;
    } cases[] = {
        { { "bomb.npy", npy, n, true }, "at most 200 to 1" },
        { { "../x.npy", tiny, k, false }, "leads out" },
        { { "/x.npy", tiny, k, false }, "leads out" },
        { { "a\\x.npy", tiny, k, false }, "leads out" },
        { { "a\033[2Jx.npy", tiny, k, false }, "control characters" },
        { { "notes.txt", tiny, k, false }, "does not end in .npy" },
        { { "x.npy", "no npy", 6, false }, "does not begin as an NPY" },
        { { "x.npy", tiny, k - 1, false }, "1 bytes of data, wanted 2" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bag *b = NULL;
        struct err e = { 0 };
        const char *path = temp_path(f, "a.npz");
        make_zip(path, &cases[i].m, 1);
        assert_refused(npz_read(path, &b, &e), &e, cases[i].said);
        assert_null(b);
        assert_null(strchr(e.text, '\033'));
    }
    struct bag *b = NULL;
    const struct member good = { "x.npy", tiny, k, true };
    make_zip(temp_path(f, "a.npz"), &good, 1);
    assert_int_equal(npz_read(f->path, &b, NULL), STATUS_OK);
    bag_free(b);
}

static void a_damaged_npz_file_never_reads_wrongly(void **state)
{
    struct temp_folder *f = *state;
    unsigned char npy[400], data[200];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)(i * 37 >> 2);
    size_t n = make_npy(npy, "{'descr': '|u1', 'fortran_order': False, "
                        "'shape': (200,), }\n", data, sizeof data);
    const struct member m[] = { { "a.npy", npy, n, true },
                                { "b.npy", npy, n, false } };
    struct bytes whole = { 0 };
    struct bag *b = NULL;
    struct err e = { 0 };
    make_zip(temp_path(f, "a.npz"), m, 2);
    assert_int_equal(file_read(f->path, 9999, &whole, &e), STATUS_OK);
    for (size_t cut = 0; cut < whole.size; cut += 5) {
        temp_write(f, "cut.npz", whole.data, cut);
        assert_int_not_equal(npz_read(f->path, &b, &e), STATUS_OK);
    }
    /* One byte turned: dates and the like may change, numbers may not. */
    for (size_t i = 0; i < whole.size; i += 3) {
        whole.data[i] ^= 0xff;
        temp_write(f, "bad.npz", whole.data, whole.size);
        if (npz_read(f->path, &b, &e) == STATUS_OK) {
            for (size_t k = 0; k < bag_count(b); k++)
                assert_memory_equal(bag_at(b, k)->data, data, sizeof data);
            bag_free(b);
        }
        whole.data[i] ^= 0xff;
    }
    bytes_fini(&whole);
}

static void an_npz_file_survives_every_failing_allocation(void **state)
{
    struct temp_folder *f = *state;
    struct bag *in = bag_new();
    float x[4] = { 1, 2, 3, 4 };
    struct shape s = shape_1(4);
    bag_put(in, "x", DTYPE_F32, &s, x, NULL);
    enum status status = STATUS_MEM;
    for (long n = 1; status != STATUS_OK && n < 100; n++) {
        mem_fail_after(n);
        status = npz_write(temp_path(f, "a.npz"), in, NULL);
    }
    mem_fail_after(0);
    assert_int_equal(status, STATUS_OK);
    status = STATUS_MEM;
    for (long n = 1; status != STATUS_OK && n < 100; n++) {
        struct bag *out = NULL;
        mem_fail_after(n);
        status = npz_read(f->path, &out, NULL);
        bag_free(out);
    }
    mem_fail_after(0);
    assert_int_equal(status, STATUS_OK);
    bag_free(in);
}

/* ---- IDX ---- */

static const unsigned char idx_images[] = {
    0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3,
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
};

static void idx_files_read_as_their_header_says(void **state)
{
    struct temp_folder *f = *state;
    struct tensor t = { 0 };
    const char *path = temp_write(f, "a.idx", idx_images, sizeof idx_images);
    assert_int_equal(idx_read(path, &t, NULL), STATUS_OK);
    struct shape want = shape_3(2, 2, 3);
    assert_true(shape_equal(&t.shape, &want));
    assert_int_equal(t.type, DTYPE_U8);
    for (int i = 0; i < 12; i++)
        assert_true(tensor_get(&t, i) == i + 1);
    tensor_fini(&t);
    static const unsigned char floats[] = {
        0, 0, 0x0d, 1, 0, 0, 0, 2, 0x3f, 0x80, 0, 0, 0xc0, 0, 0, 0,
    };
    path = temp_write(f, "f.idx", floats, sizeof floats);
    assert_int_equal(idx_read(path, &t, NULL), STATUS_OK);
    assert_true(tensor_get(&t, 0) == 1 && tensor_get(&t, 1) == -2);
    tensor_fini(&t);
}

static void a_packed_idx_file_reads_the_same(void **state)
{
    struct temp_folder *f = *state;
    struct tensor t = { 0 };
    gzFile z = gzopen(temp_path(f, "a.idx.gz"), "wb");
    gzwrite(z, idx_images, sizeof idx_images);
    gzclose(z);
    assert_int_equal(idx_read(f->path, &t, NULL), STATUS_OK);
    assert_int_equal(tensor_bytes(&t), 12);
    assert_memory_equal(t.data, idx_images + 16, 12);
    tensor_fini(&t);
}

static void an_idx_file_of_another_size_is_refused(void **state)
{
    struct temp_folder *f = *state;
    unsigned char longer[sizeof idx_images + 1] = { 0 };
    memcpy(longer, idx_images, sizeof idx_images);
    for (size_t n = 0; n <= sizeof longer; n++) {
        struct tensor t = { 0 };
        struct err e = { 0 };
        if (n == sizeof idx_images)
            continue;
        temp_write(f, "a.idx", longer, n);
        assert_refused(idx_read(f->path, &t, &e), &e, "a.idx");
        assert_null(t.data);
    }
}

static void idx_headers_that_make_no_sense_are_refused(void **state)
{
    struct temp_folder *f = *state;
    static const struct {
        unsigned char bytes[20];
        size_t n;
        const char *said;
    } bad[] = {
        { { 1, 0, 8, 1, 0, 0, 0, 1, 9 }, 9, "zero bytes" },
        { { 0, 0, 7, 1, 0, 0, 0, 1, 9 }, 9, "element type 0x07" },
        { { 0, 0, 8, 0, 9 }, 5, "0 dimensions" },
        { { 0, 0, 8, 9, 0 }, 20, "9 dimensions" },
        { { 0, 0, 8, 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            0xff, 0xff, 0xff }, 16, "overflow" },
        { { 0, 0, 8, 1, 5, 0, 0, 0, 1, 2, 3, 4, 5 }, 13, "wanted 83886080" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct tensor t = { 0 };
        struct err e = { 0 };
        temp_write(f, "a.idx", bad[i].bytes, bad[i].n);
        assert_refused(idx_read(f->path, &t, &e), &e, bad[i].said);
    }
}

/* ---- CIFAR ---- */

static void make_cifar(unsigned char *record, int labels, int label)
{
    record[0] = 3;
    record[labels - 1] = (unsigned char)label;
    for (int i = 0; i < 3072; i++)
        record[labels + i] = (unsigned char)(i * 5 + label);
}

static void cifar_records_become_samples(void **state)
{
    struct temp_folder *f = *state;
    static unsigned char file[2 * 3074];
    struct samples s = { 0 };
    make_cifar(file, 1, 9);
    make_cifar(file + 3073, 1, 2);
    temp_write(f, "a.bin", file, 2 * 3073);
    assert_int_equal(cifar_read(f->path, &cifar10_form, &s, NULL), STATUS_OK);
    assert_int_equal(s.n, 2);
    const int32_t *y = s.y.data;
    const unsigned char *x = s.x.data;
    assert_int_equal(y[0], 9);
    assert_int_equal(y[1], 2);
    assert_memory_equal(x, file + 1, 3072);
    assert_memory_equal(x + 3072, file + 3074, 3072);
    tensor_fini(&s.x);
    tensor_fini(&s.y);
    make_cifar(file, 2, 99);
    temp_write(f, "b.bin", file, 3074);
    assert_int_equal(cifar_read(f->path, &cifar100_form, &s, NULL),
                     STATUS_OK);
    assert_int_equal(((const int32_t *)s.y.data)[0], 99);
    tensor_fini(&s.x);
    tensor_fini(&s.y);
}

static void cifar_files_of_wrong_size_or_label_are_refused(void **state)
{
    struct temp_folder *f = *state;
    static unsigned char file[3074];
    struct samples s = { 0 };
    struct err e = { 0 };
    make_cifar(file, 1, 10);
    temp_write(f, "a.bin", file, 3073);
    assert_refused(cifar_read(f->path, &cifar10_form, &s, &e), &e,
                   "label of record 0 is 10, wanted 0 to 9");
    static const size_t sizes[] = { 0, 1, 3072, 3074 };
    make_cifar(file, 1, 1);
    for (size_t i = 0; i < 4; i++) {
        temp_write(f, "a.bin", file, sizes[i]);
        assert_refused(cifar_read(f->path, &cifar10_form, &s, &e), &e,
                       "wanted a multiple of 3073");
    }
    assert_null(s.x.data);
}

/* ---- the golden suite of bad files ---- */

static enum status read_any(const char *format, const char *path,
                            struct err *e)
{
    struct tensor t = { 0 };
    struct samples s = { 0 };
    struct bag *b = NULL;
    enum status status = STATUS_FAIL;
    if (strcmp(format, "npy") == 0)
        status = npy_read(path, &t, e);
    else if (strcmp(format, "npz") == 0)
        status = npz_read(path, &b, e);
    else if (strncmp(format, "idx", 3) == 0)
        status = idx_read(path, &t, e);
    else if (strcmp(format, "cifar") == 0)
        status = cifar_read(path, strstr(path, "c100") ? &cifar100_form
                                                       : &cifar10_form,
                            &s, e);
    tensor_fini(&t);
    tensor_fini(&s.x);
    tensor_fini(&s.y);
    bag_free(b);
    return status;
}

/* $QATLAB_GOLDEN/keras-bad has over sixty damaged data files made by numpy
 * and by hand, each with what must happen. */
static void every_damaged_file_of_the_golden_suite_is_refused(void **state)
{
    (void)state;
    const char *golden = getenv("QATLAB_GOLDEN");
    char path[512];
    snprintf(path, sizeof path, "%s/keras-bad/cases.json",
             golden ? golden : "../shared/golden");
    json_t *root = json_load_file(path, 0, NULL), *c;
    if (!root) {
        print_message("skipped: %s is not there\n", path);
        skip();
    }
    size_t i;
    int seen = 0;
    json_array_foreach(json_object_get(root, "cases"), i, c) {
        const char *format = json_string_value(json_object_get(c, "format"));
        const char *file = json_string_value(json_object_get(c, "file"));
        const char *expect = json_string_value(json_object_get(c, "expect"));
        struct err e = { 0 };
        if (strcmp(format, "h5") == 0 || strcmp(format, "keras") == 0)
            continue;
        snprintf(path, sizeof path, "%s/keras-bad/%s",
                 golden ? golden : "../shared/golden", file);
        enum status s = read_any(format, path, &e);
        seen++;
        if (strcmp(expect, "refuse") == 0 && s == STATUS_OK)
            fail_msg("%s was read", file);
        if (strcmp(expect, "accept") == 0 && s != STATUS_OK)
            fail_msg("%s", e.text);
        assert_true(s == STATUS_OK || e.text[0]);
    }
    json_decref(root);
    assert_true(seen >= 60);
}

static const struct CMUnitTest tests[] = {
    IN_FOLDER(an_npy_file_reads_back_what_was_written),
    IN_FOLDER(a_written_npy_file_is_what_numpy_writes),
    IN_FOLDER(bfloat16_is_written_as_float32),
    cmocka_unit_test(byte_and_memory_orders_are_undone),
    cmocka_unit_test(npy_headers_that_are_not_plain_arrays_are_refused),
    cmocka_unit_test(an_npy_file_cut_anywhere_is_refused),
    IN_FOLDER(arrays_of_an_npz_file_come_back),
    IN_FOLDER(equal_arrays_give_equal_npz_files),
    IN_FOLDER(npz_members_that_mislead_are_refused),
    IN_FOLDER(a_damaged_npz_file_never_reads_wrongly),
    IN_FOLDER(an_npz_file_survives_every_failing_allocation),
    IN_FOLDER(idx_files_read_as_their_header_says),
    IN_FOLDER(a_packed_idx_file_reads_the_same),
    IN_FOLDER(an_idx_file_of_another_size_is_refused),
    IN_FOLDER(idx_headers_that_make_no_sense_are_refused),
    IN_FOLDER(cifar_records_become_samples),
    IN_FOLDER(cifar_files_of_wrong_size_or_label_are_refused),
    cmocka_unit_test(every_damaged_file_of_the_golden_suite_is_refused),
};

TEST_MAIN("data files", tests)

/* data/: sources, split, normalisation, batches, generators.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/test_main.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "common/assert_near.h"
#include "common/temp_folder.h"
#include "data/dataset.h"
#include "data/npy.h"

#define IN_FOLDER(test) \
    cmocka_unit_test_setup_teardown(test, temp_folder_make, temp_folder_drop)

/* Loads from words in one string, separated by single blanks. */
static enum status load(const char *words, uint64_t seed, struct dataset **d,
                        struct err *e)
{
    char text[1024];
    const char *argv[16];
    int argc = 0;
    snprintf(text, sizeof text, "%s", words);
    for (char *p = strtok(text, " "); p; p = strtok(NULL, " "))
        argv[argc++] = p;
    struct dataset_opts o;
    dataset_opts_default(&o);
    o.seed = seed;
    return dataset_load(argc, argv, &o, d, e);
}

static struct dataset *must_load(const char *words)
{
    struct dataset *d = NULL;
    struct err e = { 0 };
    if (load(words, 1, &d, &e) != STATUS_OK)
        fail_msg("%s", e.text);
    return d;
}

static void assert_load_fails(const char *words, enum status want,
                              const char *part)
{
    struct dataset *d = NULL;
    struct err e = { 0 };
    enum status s = load(words, 1, &d, &e);
    assert_null(d);
    if (s != want || !strstr(e.text, part))
        fail_msg("status %d, '%s' for '%s'", s, e.text, words);
}

/* ---- words ---- */

static void every_source_has_help_and_an_example_of_itself(void **state)
{
    (void)state;
    for (int i = 0; i < dataset_count; i++) {
        const struct dataset_source *s = &dataset_table[i];
        char start[64];
        snprintf(start, sizeof start, "load data %s", s->name);
        assert_non_null(s->load);
        assert_true(strlen(s->help) > 10);
        assert_memory_equal(s->example, start, strlen(start));
        for (const struct dataset_arg *a = s->arg; a->name; a++)
            assert_true(strlen(a->help) > 3);
    }
    for (const struct dataset_arg *a = dataset_common_arg; a->name; a++)
        assert_true(strlen(a->help) > 3);
}

static void wrong_words_are_named_and_corrected(void **state)
{
    (void)state;
    assert_load_fails("digit", STATUS_NOTFOUND, "did you mean 'digits'?");
    assert_load_fails("imagenet", STATUS_NOTFOUND, "there are digits shapes");
    assert_load_fails("digits sed=3", STATUS_ARG, "did you mean 'seed='?");
    assert_load_fails("digits x", STATUS_ARG, "unexpected word 'x'");
    assert_load_fails("digits n=ten", STATUS_ARG, "'ten' is not a whole");
    assert_load_fails("digits n=-4", STATUS_ARG, "n=-4");
    assert_load_fails("digits n=50 n=60", STATUS_ARG, "given twice");
    assert_load_fails("digits n=50 val=100%", STATUS_ARG, "val=100%");
    assert_load_fails("digits n=50 val=50", STATUS_ARG, "leaves none");
    assert_load_fails("digits n=50 val=-1", STATUS_ARG, "val=-1");
    assert_load_fails("mnist", STATUS_ARG, "dir is missing");
    assert_load_fails("mnist /nosuch/dir", STATUS_IO, "/nosuch/dir");
    assert_load_fails("cifar10 /nosuch/dir", STATUS_IO, "data_batch_1.bin");
    assert_load_fails("npz /nosuch.npz", STATUS_IO, "No such file");
    assert_load_fails("random", STATUS_STATE, "say shape=");
    assert_load_fails("random shape=3x32 n=5", STATUS_STATE, "classes=");
    assert_load_fails("random shape=3xx2 classes=2", STATUS_ARG, "3x32x32");
    struct dataset *d = NULL;
    assert_int_equal(dataset_load(0, NULL, &(struct dataset_opts){ 0 }, &d,
                                  NULL), STATUS_ARG);
}

static void the_recorded_words_load_the_same_set_again(void **state)
{
    (void)state;
    struct dataset *a = NULL, *b = NULL;
    assert_int_equal(load("digits n=60 test=20", 77, &a, NULL), STATUS_OK);
    assert_int_equal(load(a->spec, 5, &b, NULL), STATUS_OK);
    assert_memory_equal(a->train.x.data, b->train.x.data, 60 * 784);
    assert_memory_equal(a->test.x.data, b->test.x.data, 20 * 784);
    assert_memory_equal(a->order, b->order, 60 * sizeof *a->order);
    assert_string_equal(a->spec, b->spec);
    dataset_free(a);
    dataset_free(b);
    dataset_free(NULL);
}

static void the_description_keeps_words_and_normalisation(void **state)
{
    (void)state;
    struct dataset *d = must_load("shapes n=40 test=10");
    struct bag *b = bag_new();
    struct str s = { 0 };
    float mean[3];
    assert_int_equal(dataset_describe(d, b, NULL), STATUS_OK);
    const char *text = bag_text(b, "data");
    assert_true(dataset_described(text, "words", &s));
    assert_string_equal(s.text, d->spec);
    str_clear(&s);
    assert_true(dataset_described(text, "sample", &s));
    assert_string_equal(s.text, "1x3x32x32");
    str_clear(&s);
    assert_true(dataset_described(text, "mean", &s));
    assert_int_equal(sscanf(s.text, "%f %f %f", &mean[0], &mean[1],
                            &mean[2]), 3);
    assert_memory_equal(mean, d->mean, sizeof mean);
    assert_false(dataset_described(text, "norm", &s));
    str_fini(&s);
    bag_free(b);
    dataset_free(d);
}

/* ---- split ---- */

static void the_split_is_a_partition_and_never_touches_the_test_set(void **s)
{
    (void)s;
    struct dataset *d = must_load("digits n=100 test=30 val=0.25");
    int seen[100] = { 0 };
    assert_int_equal(dataset_size(d, SPLIT_TRAIN), 75);
    assert_int_equal(dataset_size(d, SPLIT_VAL), 25);
    assert_int_equal(dataset_size(d, SPLIT_TEST), 30);
    for (int split = 0; split < 2; split++) {
        struct batcher b;
        assert_int_equal(batcher_init(&b, d, (enum split)split, 7, NULL),
                         STATUS_OK);
        for (int64_t i = 0; i < b.n; i++)
            seen[b.index[i]]++;
        batcher_fini(&b);
    }
    for (int i = 0; i < 100; i++)
        assert_int_equal(seen[i], 1);
    dataset_free(d);
}

static void validation_may_be_a_number_a_part_or_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *words;
        int64_t n_val;
    } cases[] = {
        { "digits n=100 test=10", 10 },         { "digits n=100 val=7", 7 },
        { "digits n=100 test=10 val=20%", 20 }, { "digits n=100 val=0", 0 },
    };
    for (size_t i = 0; i < 4; i++) {
        struct dataset *d = must_load(cases[i].words);
        assert_int_equal(d->n_val, cases[i].n_val);
        assert_int_equal(d->n_train, 100 - cases[i].n_val);
        dataset_free(d);
    }
    struct dataset *d = must_load("digits n=50 test=0 val=0");
    struct batcher b;
    struct err e = { 0 };
    assert_int_equal(batcher_init(&b, d, SPLIT_VAL, 5, &e), STATUS_STATE);
    assert_string_equal(e.text, "data set 'digits' has no val samples");
    assert_int_equal(batcher_init(&b, d, SPLIT_TEST, 5, &e), STATUS_STATE);
    assert_int_equal(batcher_init(&b, d, SPLIT_TRAIN, 0, &e), STATUS_ARG);
    dataset_free(d);
}

/* ---- generators ---- */

static void generated_sets_have_the_documented_form(void **state)
{
    (void)state;
    static const struct {
        const char *words;
        const char *shape;
        enum dtype type;
        int64_t classes, targets;
    } cases[] = {
        { "digits", "1x1x28x28", DTYPE_U8, 10, 0 },
        { "shapes", "1x3x32x32", DTYPE_U8, 10, 0 },
        { "jets", "1x16", DTYPE_F32, 5, 0 },
        { "clusters", "1x128x4", DTYPE_F32, 0, 1 },
        { "random shape=2x5 classes=3", "1x2x5", DTYPE_F32, 3, 0 },
        { "random shape=2x5 targets=4", "1x2x5", DTYPE_F32, 0, 4 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char words[80];
        struct str s = { 0 };
        snprintf(words, sizeof words, "%s n=50 test=10", cases[i].words);
        struct dataset *d = must_load(words);
        shape_add(&s, &d->sample);
        assert_string_equal(s.text, cases[i].shape);
        assert_int_equal(d->train.x.type, cases[i].type);
        assert_int_equal(d->classes, cases[i].classes);
        assert_int_equal(d->targets, cases[i].targets);
        assert_int_equal(d->image, d->sample.rank == 4);
        assert_int_equal(d->train.n, 50);
        assert_int_equal(d->test.n, 10);
        str_fini(&s);
        dataset_free(d);
    }
}

static void samples_do_not_depend_on_threads_or_on_how_many_there_are(void **s)
{
    (void)s;
    static const char *const names[] = { "digits", "shapes", "jets",
                                         "clusters" };
    for (size_t i = 0; i < 4; i++) {
        char small[64], large[64];
        snprintf(small, sizeof small, "%s n=20 test=5", names[i]);
        snprintf(large, sizeof large, "%s n=70 test=5", names[i]);
        int threads = omp_get_max_threads();
        omp_set_num_threads(1);
        struct dataset *a = must_load(small);
        omp_set_num_threads(5);
        struct dataset *b = must_load(large);
        omp_set_num_threads(threads);
        assert_memory_equal(a->train.x.data, b->train.x.data,
                            tensor_bytes(&a->train.x));
        assert_memory_equal(a->train.y.data, b->train.y.data,
                            tensor_bytes(&a->train.y));
        assert_memory_equal(a->test.x.data, b->test.x.data,
                            tensor_bytes(&a->test.x));
        assert_memory_not_equal(a->test.x.data, a->train.x.data,
                                tensor_bytes(&a->test.x));
        dataset_free(a);
        dataset_free(b);
    }
}

static void another_seed_gives_other_samples(void **state)
{
    (void)state;
    struct dataset *a = must_load("jets n=10"), *b = NULL;
    b = must_load("jets n=10 seed=2");
    assert_memory_not_equal(a->train.x.data, b->train.x.data,
                            tensor_bytes(&a->train.x));
    dataset_free(a);
    dataset_free(b);
}

/* Nearest class mean: what a drawn class must at least allow, and what no
 * two classes that look alike could reach. */
static double nearest_mean_accuracy(const struct dataset *d)
{
    int64_t count = shape_count(&d->sample), c = d->classes;
    double *mean = calloc((size_t)(c * count), sizeof *mean);
    int64_t right = 0;
    const int32_t *y = d->train.y.data, *yt = d->test.y.data;
    double *n = calloc((size_t)c, sizeof *n);
    for (int64_t i = 0; i < d->train.n; i++) {
        n[y[i]] += 1;
        for (int64_t k = 0; k < count; k++)
            mean[y[i] * count + k] += tensor_get(&d->train.x, i * count + k);
    }
    for (int64_t i = 0; i < d->test.n; i++) {
        double best = INFINITY;
        int64_t label = -1;
        for (int64_t j = 0; j < c; j++) {
            double far = 0;
            for (int64_t k = 0; k < count; k++)
                far += pow(tensor_get(&d->test.x, i * count + k) -
                           mean[j * count + k] / n[j], 2);
            if (far < best) {
                best = far;
                label = j;
            }
        }
        right += label == yt[i];
    }
    free(n);
    free(mean);
    return (double)right / (double)d->test.n;
}

static void digits_can_be_told_apart_but_not_by_their_mean_alone(void **state)
{
    (void)state;
    struct dataset *d = must_load("digits n=400 test=100");
    double acc = nearest_mean_accuracy(d);
    assert_true(acc > 0.45 && acc < 0.95);
    dataset_free(d);
}

static void labels_are_balanced(void **state)
{
    (void)state;
    struct dataset *d = must_load("shapes n=100 test=50");
    int count[10] = { 0 };
    for (int i = 0; i < 100; i++)
        count[((const int32_t *)d->train.y.data)[i]]++;
    for (int i = 0; i < 10; i++)
        assert_int_equal(count[i], 10);
    assert_string_equal(d->class_name[4], "triangle");
    dataset_free(d);
}

/* Energy grows with the number of cells; -6 fills whole rows, at the end. */
static void clusters_are_sorted_padded_and_tell_the_energy(void **state)
{
    (void)state;
    struct dataset *d = must_load("clusters n=300 test=10");
    const float *x = d->train.x.data, *y = d->train.y.data;
    double sum[4] = { 0 }, sum2 = 0, n = 300;
    for (int i = 0; i < 300; i++) {
        int cells = 0;
        const float *c = x + i * 512;
        while (cells < 128 && c[cells * 4] > -6)
            cells++;
        assert_true(cells >= 4);
        for (int k = 1; k < cells; k++)
            assert_true(c[k * 4 + 3] <= c[k * 4 - 1]);
        for (int k = cells * 4; k < 512; k++)
            assert_true(c[k] == -6);
        assert_true(y[i] >= logf(2) && y[i] <= logf(200));
        sum[0] += cells;
        sum[1] += y[i];
        sum[2] += (double)cells * cells;
        sum[3] += (double)y[i] * y[i];
        sum2 += cells * (double)y[i];
    }
    double cov = sum2 / n - sum[0] / n * sum[1] / n;
    double r = cov / sqrt((sum[2] / n - pow(sum[0] / n, 2)) *
                          (sum[3] / n - pow(sum[1] / n, 2)));
    assert_true(r > 0.9);
    assert_int_equal(d->n_norm, 0);
    dataset_free(d);
}

/* ---- batches ---- */

static void an_epoch_visits_every_sample_once(void **state)
{
    (void)state;
    struct dataset *d = must_load("jets n=103 val=0 test=5");
    struct rng *r = rng_new(3, RNG_SHUFFLE);
    struct batcher b;
    float x[10 * 16];
    int32_t y[10];
    assert_int_equal(batcher_init(&b, d, SPLIT_TRAIN, 10, NULL), STATUS_OK);
    batcher_shuffle(&b, r);
    int seen[103] = { 0 };
    int64_t n, total = 0;
    while ((n = batcher_next(&b, x, y, NULL, NULL)) > 0) {
        for (int64_t i = 0; i < n; i++) {
            uint32_t row = b.index[total + i];
            seen[row]++;
            assert_int_equal(y[i],
                             ((const int32_t *)d->train.y.data)[row]);
        }
        total += n;
        assert_int_equal(n, total == 103 ? 3 : 10);
    }
    for (int i = 0; i < 103; i++)
        assert_int_equal(seen[i], 1);
    batcher_rewind(&b);
    assert_int_equal(batcher_next(&b, x, y, NULL, NULL), 10);
    batcher_fini(&b);
    rng_free(r);
    dataset_free(d);
}

static void batches_are_normalised_over_the_train_split(void **state)
{
    (void)state;
    struct dataset *d = must_load("shapes n=200 test=10");
    struct batcher b;
    float *x = malloc(200 * 3072 * sizeof *x);
    int32_t y[200];
    assert_int_equal(batcher_init(&b, d, SPLIT_TRAIN, 180, NULL), STATUS_OK);
    assert_int_equal(batcher_next(&b, x, y, NULL, NULL), 180);
    for (int c = 0; c < 3; c++) {
        double sum = 0, sum2 = 0, n = 180 * 1024;
        for (int i = 0; i < 180; i++)
            for (int k = 0; k < 1024; k++) {
                double v = (double)x[(i * 3 + c) * 1024 + k];
                sum += v;
                sum2 += v * v;
            }
        assert_near(sum / n, 0, 0, 1e-5);
        assert_near(sum2 / n, 1, 1e-5, 0);
    }
    /* The formula in the header, on one value. */
    const uint8_t *raw = d->train.x.data;
    float want = ((float)raw[d->order[5] * 3072 + 1024] * d->scale -
                  d->mean[1]) * d->inv_std[1];
    assert_true(x[5 * 3072 + 1024] == want);
    free(x);
    batcher_fini(&b);
    dataset_free(d);
}

static void the_other_layout_holds_the_same_values(void **state)
{
    (void)state;
    struct dataset *d = must_load("shapes n=40 val=0 test=5");
    struct batcher b;
    static float x[20 * 3072], y[20 * 3072], z[20 * 3072];
    assert_int_equal(batcher_init(&b, d, SPLIT_TRAIN, 20, NULL), STATUS_OK);
    batcher_next(&b, x, NULL, NULL, NULL);
    b.layout = LAYOUT_NHWC;
    batcher_rewind(&b);
    batcher_next(&b, y, NULL, NULL, NULL);
    nhwc_to_nchw(y, z, 20, 3, 1024);
    assert_floats_near(z, x, 20 * 3072, 0, 0);
    batcher_fini(&b);
    dataset_free(d);
}

static void regression_batches_carry_targets(void **state)
{
    (void)state;
    struct dataset *d = must_load("random shape=3x2 targets=2 n=8 val=0");
    struct batcher b;
    float x[8 * 6], t[8 * 2];
    int32_t y[8] = { 42 };
    assert_int_equal(batcher_init(&b, d, SPLIT_TRAIN, 8, NULL), STATUS_OK);
    assert_int_equal(batcher_next(&b, x, y, t, NULL), 8);
    const float *want = d->train.y.data, *raw = d->train.x.data;
    for (int i = 0; i < 8; i++) {
        assert_memory_equal(t + 2 * i, want + 2 * d->order[i], 8);
        assert_memory_equal(x + 6 * i, raw + 6 * d->order[i], 24);
    }
    assert_int_equal(y[0], 42);
    batcher_fini(&b);
    dataset_free(d);
}

/* Finds how a moved image came about by trying all moves; -1: by none. */
static int explain_move(const float *moved, const float *plain, float zero,
                        int shift, int side)
{
    for (int k = 0; k < 2 * (2 * shift + 1) * (2 * shift + 1); k++) {
        int flip = k % 2, rest = k / 2, span = 2 * shift + 1;
        int dx = rest % span - shift, dy = rest / span - shift;
        bool same = true;
        for (int i = 0; i < side * side && same; i++) {
            int v = i / side - dy, u = i % side - dx;
            bool in = v >= 0 && v < side && u >= 0 && u < side;
            float want = in ? plain[v * side + (flip ? side - 1 - u : u)]
                            : zero;
            same = moved[i] == want;
        }
        if (same)
            return k;
    }
    return -1;
}

static void augmented_images_are_flipped_and_shifted_originals(void **state)
{
    (void)state;
    enum { N = 60, SHIFT = 2 };
    struct dataset *d = must_load("digits n=60 val=0 test=5");
    struct rng *r = rng_new(9, RNG_AUGMENT);
    struct batcher b;
    static float plain[N * 784], moved[N * 784];
    assert_int_equal(batcher_init(&b, d, SPLIT_TRAIN, N, NULL), STATUS_OK);
    b.augment = (struct augment){ .flip = true, .shift = SHIFT };
    batcher_next(&b, plain, NULL, NULL, NULL);   /* no stream: as it is */
    batcher_rewind(&b);
    batcher_next(&b, moved, NULL, NULL, r);
    float zero = -d->mean[0] * d->inv_std[0];
    int kinds[50] = { 0 }, different = 0, flips = 0;
    for (int i = 0; i < N; i++) {
        int k = explain_move(moved + i * 784, plain + i * 784, zero, SHIFT,
                             28);
        assert_in_range(k, 0, 49);
        different += kinds[k]++ == 0;
        flips += k % 2;
    }
    assert_true(different > 20);
    assert_true(flips > N / 5 && flips < N * 4 / 5);
    batcher_fini(&b);
    rng_free(r);
    dataset_free(d);
}

static void augmentation_does_not_depend_on_threads_or_layout(void **state)
{
    (void)state;
    struct dataset *d = must_load("shapes n=40 val=0 test=5");
    static float x[2][40 * 3072], y[40 * 3072];
    int threads = omp_get_max_threads();
    for (int k = 0; k < 2; k++) {
        struct rng *r = rng_new(9, RNG_AUGMENT);
        struct batcher b;
        omp_set_num_threads(k ? 4 : 1);
        assert_int_equal(batcher_init(&b, d, SPLIT_TRAIN, 40, NULL),
                         STATUS_OK);
        b.augment = (struct augment){ .flip = true, .shift = 4 };
        b.layout = k ? LAYOUT_NHWC : LAYOUT_NCHW;
        batcher_next(&b, x[k], NULL, NULL, r);
        batcher_fini(&b);
        rng_free(r);
    }
    omp_set_num_threads(threads);
    nhwc_to_nchw(x[1], y, 40, 3, 1024);
    assert_floats_near(y, x[0], 40 * 3072, 0, 0);
    dataset_free(d);
}

static void a_shift_wider_than_the_image_leaves_it_empty(void **state)
{
    (void)state;
    struct dataset *d = must_load("digits n=30 val=0 test=5");
    struct rng *r = rng_new(9, RNG_AUGMENT);
    struct batcher b;
    static float x[30 * 784];
    assert_int_equal(batcher_init(&b, d, SPLIT_TRAIN, 30, NULL), STATUS_OK);
    b.augment.shift = 1000;
    assert_int_equal(batcher_next(&b, x, NULL, NULL, r), 30);
    batcher_fini(&b);
    rng_free(r);
    dataset_free(d);
}

/* ---- files as data sets ---- */

static void write_idx(struct temp_folder *f, const char *name, int n,
                      int side, int bias)
{
    unsigned char bytes[4096] = { 0, 0, 8 };
    size_t at = 4;
    bytes[3] = side ? 3 : 1;
    for (int i = 0; i < bytes[3]; i++, at += 4)
        bytes[at + 3] = (unsigned char)(i ? side : n);
    int count = side ? n * side * side : n;
    for (int i = 0; i < count; i++)
        bytes[at++] = (unsigned char)(side ? i : (i + bias) % 10);
    temp_write(f, name, bytes, at);
}

static void a_folder_of_idx_files_loads_as_mnist(void **state)
{
    struct temp_folder *f = *state;
    char words[256];
    write_idx(f, "train-images-idx3-ubyte", 20, 5, 0);
    write_idx(f, "train-labels-idx1-ubyte", 20, 0, 3);
    write_idx(f, "t10k-images.idx3-ubyte", 8, 5, 0);
    write_idx(f, "t10k-labels.idx1-ubyte", 8, 0, 1);
    snprintf(words, sizeof words, "mnist %s val=5", f->dir);
    struct dataset *d = must_load(words);
    assert_int_equal(d->n_train, 15);
    assert_int_equal(d->test.n, 8);
    assert_int_equal(d->classes, 10);
    assert_int_equal(d->sample.dim[3], 5);
    assert_int_equal(((const int32_t *)d->train.y.data)[0], 3);
    assert_near((double)d->mean[0], 0.1307, 1e-6, 0);
    dataset_free(d);
    write_idx(f, "t10k-labels.idx1-ubyte", 7, 0, 1);
    assert_load_fails(words, STATUS_FORMAT, "7 labels");
    write_idx(f, "t10k-labels.idx1-ubyte", 8, 0, 1);
    write_idx(f, "t10k-images.idx3-ubyte", 8, 6, 0);
    assert_load_fails(words, STATUS_FORMAT, "test samples uint8 8x1x6x6");
    snprintf(words, sizeof words, "idx x=%s/train-images-idx3-ubyte "
             "y=%s/train-labels-idx1-ubyte", f->dir, f->dir);
    d = must_load(words);
    assert_int_equal(d->test.n, 4);
    assert_int_equal(d->train.n, 16);
    dataset_free(d);
}

static void any_number_of_cifar_batches_is_one_training_set(void **state)
{
    struct temp_folder *f = *state;
    static unsigned char file[3 * 3073];
    char words[160];
    for (int i = 0; i < 3; i++)
        file[i * 3073] = (unsigned char)(i + 4);
    temp_write(f, "data_batch_2.bin", file, 2 * 3073);
    temp_write(f, "data_batch_5.bin", file, 3 * 3073);
    snprintf(words, sizeof words, "cifar10 %s val=1", f->dir);
    assert_load_fails(words, STATUS_IO, "test_batch.bin");
    temp_write(f, "test_batch.bin", file, 3073);
    struct dataset *d = must_load(words);
    assert_int_equal(d->train.n, 5);
    assert_int_equal(((const int32_t *)d->train.y.data)[4], 6);
    assert_string_equal(d->class_name[4], "deer");
    assert_int_equal(d->n_norm, 3);
    dataset_free(d);
}

static void npz_arrays_load_with_the_right_kind_of_target(void **state)
{
    struct temp_folder *f = *state;
    struct bag *b = bag_new();
    char words[256];
    uint8_t x[10 * 2 * 2 * 3];
    int64_t y[10];
    float t[10];
    for (int i = 0; i < 120; i++)
        x[i] = (uint8_t)i;
    for (int i = 0; i < 10; i++) {
        y[i] = i % 4;
        t[i] = (float)i;
    }
    struct shape s = shape_4(10, 2, 2, 3), n = shape_1(10);
    bag_put(b, "x", DTYPE_U8, &s, x, NULL);
    bag_put(b, "y", DTYPE_I64, &n, y, NULL);
    bag_put(b, "energy", DTYPE_F32, &n, t, NULL);
    npz_write(temp_path(f, "a.npz"), b, NULL);
    bag_free(b);
    snprintf(words, sizeof words, "npz %s layout=nhwc test=0", f->path);
    struct dataset *d = must_load(words);
    assert_int_equal(d->classes, 4);
    assert_int_equal(d->sample.dim[1], 3);
    /* Rows are drawn in another order; each is one image turned around. */
    const uint8_t *first = d->train.x.data;
    int which = first[0] / 12;
    for (int c = 0; c < 3; c++)
        for (int p = 0; p < 4; p++)
            assert_int_equal(first[c * 4 + p], which * 12 + p * 3 + c);
    assert_int_equal(((const int32_t *)d->train.y.data)[0], which % 4);
    dataset_free(d);
    snprintf(words, sizeof words, "npz %s y=energy", f->path);
    d = must_load(words);
    assert_int_equal(d->classes, 0);
    assert_int_equal(d->targets, 1);
    assert_int_equal(d->test.n, 2);
    dataset_free(d);
    snprintf(words, sizeof words, "npz %s y=mass", f->path);
    assert_load_fails(words, STATUS_FORMAT, "there are: x, y, energy");
    snprintf(words, sizeof words, "npz %s xt=x", f->path);
    assert_load_fails(words, STATUS_ARG, "go together");
    snprintf(words, sizeof words, "npz %s classes=3", f->path);
    assert_load_fails(words, STATUS_FORMAT, "label 3 is 3, wanted a whole "
                                            "number from 0 to 2");
}

static void write_text(struct temp_folder *f, const char *text)
{
    temp_write(f, "a.csv", text, strlen(text));
}

static void tables_load_with_names_words_and_separators(void **state)
{
    struct temp_folder *f = *state;
    char words[256];
    write_text(f, "a; b ;kind\r\n1;2.5;\"red; dark\"\r\n\r\n# note\r\n"
                  "-3;4e1;blue\r\n5;6;\"red; dark\"");
    snprintf(words, sizeof words, "csv %s test=0 val=0", f->path);
    struct dataset *d = must_load(words);
    assert_int_equal(d->train.n, 3);
    assert_int_equal(d->classes, 2);
    assert_string_equal(d->class_name[0], "blue");
    assert_string_equal(d->class_name[1], "red; dark");
    double sum = 0;
    for (int i = 0; i < 6; i++)
        sum += tensor_get(&d->train.x, i);
    assert_near(sum, 1 + 2.5 - 3 + 40 + 5 + 6, 0, 0);
    dataset_free(d);
    snprintf(words, sizeof words, "csv %s y=a test=0", f->path);
    assert_load_fails(words, STATUS_FORMAT, "'red; dark' is not a number");
    write_text(f, "1,2,0\n3,4,1\n5,6,2\n7,8,1\n9,1,0\n");
    snprintf(words, sizeof words, "csv %s y=3", f->path);
    d = must_load(words);
    assert_int_equal(d->classes, 3);
    assert_int_equal(d->test.n, 1);
    dataset_free(d);
    snprintf(words, sizeof words, "csv %s y=1 task=real", f->path);
    d = must_load(words);
    assert_int_equal(d->targets, 1);
    dataset_free(d);
}

static void tables_that_make_no_sense_are_refused(void **state)
{
    struct temp_folder *f = *state;
    static const char *const bad[][2] = {
        { "", "0 samples" },
        { "1,2\n3\n", "line 2 has 1 columns, wanted 2" },
        { "1,2\n3,4,5\n", "line 2 has 3 columns" },
        { "1,\"2\n3,4\n", "quote is not closed" },
        { "1,\"2\"x\n3,4\n", "after a closing quote" },
        { "1\n2\n", "of 1 columns" },
        { "1,2\nx,4\n", "sample 2, column 1: 'x' is not a number" },
        { "1,2\n,4\n", "'' is not a number" },
        { "1,0\nnan,1\n", "training sample 1 has the value nan" },
        { "1,2\n\033[2J,4\n", "'\\x1B[2J' is not a number" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char words[256];
        write_text(f, bad[i][0]);
        snprintf(words, sizeof words, "csv %s test=0 val=0", f->path);
        struct dataset *d = NULL;
        struct err e = { 0 };
        assert_int_equal(load(words, 1, &d, &e), STATUS_FORMAT);
        if (!strstr(e.text, bad[i][1]))
            fail_msg("'%s' does not say '%s'", e.text, bad[i][1]);
    }
    char words[256];
    write_text(f, "width,height,kind\n1,2,3\n4,5,6\n");
    snprintf(words, sizeof words, "csv %s y=heigth", f->path);
    assert_load_fails(words, STATUS_ARG, "did you mean 'height'?");
    snprintf(words, sizeof words, "csv %s y=4", f->path);
    assert_load_fails(words, STATUS_ARG, "number from 1 to 3");
    temp_write(f, "a.csv", "1,2\0,3\n", 7);
    snprintf(words, sizeof words, "csv %s", f->path);
    assert_load_fails(words, STATUS_FORMAT, "zero bytes");
}

static void a_table_cut_anywhere_never_crashes(void **state)
{
    struct temp_folder *f = *state;
    static const char text[] = "a,b,\"k\"\"\"\n1,2,\"x\"\n3,4,y\r\n5,6,\"z\"";
    char words[256];
    for (size_t n = 0; n < sizeof text; n++) {
        struct dataset *d = NULL;
        struct err e = { 0 };
        temp_write(f, "a.csv", text, n);
        snprintf(words, sizeof words, "csv %s val=0 test=0", f->path);
        enum status s = load(words, 1, &d, &e);
        assert_true(s == STATUS_OK || e.text[0]);
        dataset_free(d);
    }
}

static void loading_survives_every_failing_allocation(void **state)
{
    struct temp_folder *f = *state;
    char csv[256];
    write_text(f, "1,2,no\n3,4,yes\n5,6,no\n7,8,yes\n9,1,no\n");
    snprintf(csv, sizeof csv, "csv %s", f->path);
    const char *const words[] = { csv, "shapes n=4 test=2" };
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    for (size_t k = 0; k < 2; k++) {
        enum status s = STATUS_MEM;
        for (long n = 1; s != STATUS_OK && n < 200; n++) {
            struct dataset *d = NULL;
            struct err e = { 0 };
            mem_fail_after(n);
            s = load(words[k], 1, &d, &e);
            mem_fail_after(0);
            assert_true(s == STATUS_OK || !d);
            dataset_free(d);
        }
        assert_int_equal(s, STATUS_OK);
    }
    omp_set_num_threads(threads);
}

/* Real files, when they are there: $QATLAB_DATA/mnist and /cifar10. */
static void real_data_sets_load(void **state)
{
    (void)state;
    const char *root = getenv("QATLAB_DATA");
    char words[512], path[512];
    snprintf(path, sizeof path, "%s/cifar10/test_batch.bin",
             root ? root : "../shared/data");
    FILE *file = fopen(path, "rb");
    if (!file) {
        print_message("skipped: %s is not there\n", path);
        skip();
    }
    fclose(file);
    snprintf(words, sizeof words, "cifar10 %s/cifar10 val=0",
             root ? root : "../shared/data");
    struct dataset *d = must_load(words);
    assert_int_equal(d->test.n, 10000);
    assert_true(d->n_train >= 10000 && d->n_train % 10000 == 0);
    int count[10] = { 0 };
    for (int i = 0; i < 10000; i++)
        count[((const int32_t *)d->test.y.data)[i]]++;
    for (int i = 0; i < 10; i++)
        assert_int_equal(count[i], 1000);
    dataset_free(d);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_source_has_help_and_an_example_of_itself),
    cmocka_unit_test(wrong_words_are_named_and_corrected),
    cmocka_unit_test(the_recorded_words_load_the_same_set_again),
    cmocka_unit_test(the_description_keeps_words_and_normalisation),
    cmocka_unit_test(the_split_is_a_partition_and_never_touches_the_test_set),
    cmocka_unit_test(validation_may_be_a_number_a_part_or_nothing),
    cmocka_unit_test(generated_sets_have_the_documented_form),
    cmocka_unit_test(
        samples_do_not_depend_on_threads_or_on_how_many_there_are),
    cmocka_unit_test(another_seed_gives_other_samples),
    cmocka_unit_test(digits_can_be_told_apart_but_not_by_their_mean_alone),
    cmocka_unit_test(labels_are_balanced),
    cmocka_unit_test(clusters_are_sorted_padded_and_tell_the_energy),
    cmocka_unit_test(an_epoch_visits_every_sample_once),
    cmocka_unit_test(batches_are_normalised_over_the_train_split),
    cmocka_unit_test(the_other_layout_holds_the_same_values),
    cmocka_unit_test(regression_batches_carry_targets),
    cmocka_unit_test(augmented_images_are_flipped_and_shifted_originals),
    cmocka_unit_test(augmentation_does_not_depend_on_threads_or_layout),
    cmocka_unit_test(a_shift_wider_than_the_image_leaves_it_empty),
    IN_FOLDER(a_folder_of_idx_files_loads_as_mnist),
    IN_FOLDER(any_number_of_cifar_batches_is_one_training_set),
    IN_FOLDER(npz_arrays_load_with_the_right_kind_of_target),
    IN_FOLDER(tables_load_with_names_words_and_separators),
    IN_FOLDER(tables_that_make_no_sense_are_refused),
    IN_FOLDER(a_table_cut_anywhere_never_crashes),
    IN_FOLDER(loading_survives_every_failing_allocation),
    cmocka_unit_test(real_data_sets_load),
};

TEST_MAIN("data", tests)

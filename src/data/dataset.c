/* Data sets: the table of sources, loading, the split, what is recorded.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "data/dataset.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "data/source.h"

#define ARGS_MAX 16

enum common_arg { COMMON_N, COMMON_TEST, COMMON_VAL, COMMON_SEED,
                  COMMON_COUNT };

const char *const split_name[SPLIT_COUNT] = {
    [SPLIT_TRAIN] = "train", [SPLIT_VAL] = "val", [SPLIT_TEST] = "test",
};

/* What the words of a source say, by row of its arguments. */
struct words {
    const char *value[ARGS_MAX];
    const char *common[COMMON_COUNT];
};

static int find_arg(const struct dataset_arg *arg, const char *word, size_t n)
{
    for (int i = 0; arg[i].name; i++)
        if (strlen(arg[i].name) == n && strncmp(arg[i].name, word, n) == 0)
            return i;
    return -1;
}

static enum status twice(const struct dataset_source *s, const char *word,
                         struct err *e)
{
    return err_set(e, STATUS_ARG, "%s: '%.100s' is given twice", s->name,
                   word);
}

/* `name=value`: true when the name is known, else false. */
static bool take_named(const struct dataset_source *s, const char *word,
                       struct words *w, enum status *status, struct err *e)
{
    const char *equals = strchr(word, '=');
    if (!equals)
        return false;
    size_t n = (size_t)(equals - word);
    const char **slot = NULL;
    int i = find_arg(s->arg, word, n);
    if (i >= 0)
        slot = &w->value[i];
    else if ((i = find_arg(dataset_common_arg, word, n)) >= 0)
        slot = &w->common[i];
    if (!slot)
        return false;
    *status = *slot ? twice(s, word, e) : STATUS_OK;
    *slot = equals + 1;
    return true;
}

static const char *arg_name_at(const void *ctx, int i)
{
    const struct dataset_source *s = ctx;
    int n = 0;
    while (s->arg[n].name)
        n++;
    return i < n ? s->arg[i].name : dataset_common_arg[i - n].name;
}

static enum status unknown_word(const struct dataset_source *s,
                                const char *word, struct err *e)
{
    char name[64];
    int n = COMMON_COUNT;
    for (const struct dataset_arg *a = s->arg; a->name; a++)
        n++;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(word, "="), word);
    const char *near = str_nearest(name, n, arg_name_at, s);
    if (near)
        return err_set(e, STATUS_ARG, "%s: unknown argument '%.100s'; did "
                       "you mean '%s='?", s->name, word, near);
    return err_set(e, STATUS_ARG, "%s: unexpected word '%.100s'", s->name,
                   word);
}

static enum status read_words(const struct dataset_source *s, int argc,
                              const char *const *argv, struct words *w,
                              struct err *e)
{
    int next = 0;
    for (int i = 1; i < argc; i++) {
        enum status status = STATUS_OK;
        if (take_named(s, argv[i], w, &status, e)) {
            TRY(status);
            continue;
        }
        while (s->arg[next].name && w->value[next])
            next++;
        /* A path may hold '='; a misspelt argument has no slash. */
        bool path = !strchr(argv[i], '=') || strchr(argv[i], '/');
        if (!s->arg[next].name || !path)
            return unknown_word(s, argv[i], e);
        w->value[next++] = argv[i];
    }
    for (int i = 0; s->arg[i].name; i++)
        if (s->arg[i].required && !w->value[i])
            return err_set(e, STATUS_ARG, "%s: %s is missing (%s); example: "
                           "%s", s->name, s->arg[i].name, s->arg[i].help,
                           s->example);
    return STATUS_OK;
}

static enum status read_count(const char *name, const char *text,
                              int64_t *out, struct err *e)
{
    long long v = 0;
    enum status s = str_to_int(text, &v, e);
    if (s != STATUS_OK)
        return err_wrap(e, s, "%s=", name);
    if (v < 0 || v > (long long)UINT32_MAX / 2)
        return err_set(e, STATUS_ARG, "%s=%s: wanted 0 to %u", name, text,
                       UINT32_MAX / 2);
    *out = v;
    return STATUS_OK;
}

/* `0.1`, `10%` or a number of samples. */
static enum status read_fraction(const char *text, double *out, struct err *e)
{
    struct str number = { 0 };
    size_t n = strlen(text);
    bool percent = n > 0 && text[n - 1] == '%';
    double v = 0;
    str_add_n(&number, text, percent ? n - 1 : n);
    enum status s = str_to_double(str_text(&number), &v, e);
    str_fini(&number);
    if (s != STATUS_OK)
        return err_wrap(e, s, "val=");
    v = percent ? v / 100 : v;
    if (!(v >= 0) || (v >= 1 && (percent || v != floor(v))))
        return err_set(e, STATUS_ARG, "val=%.40s: wanted a part from 0 to "
                       "below 1, or a number of samples", text);
    *out = v;
    return STATUS_OK;
}

static enum status read_common(const struct words *w, struct dataset_opts *o,
                               struct err *e)
{
    const char *const *c = w->common;
    if (c[COMMON_N])
        TRY(read_count("n", c[COMMON_N], &o->n_train, e));
    if (c[COMMON_TEST]) {
        TRY(read_count("test", c[COMMON_TEST], &o->n_test, e));
        if (o->n_test == 0)
            o->n_test = NO_TEST;
    }
    if (c[COMMON_VAL])
        TRY(read_fraction(c[COMMON_VAL], &o->val_fraction, e));
    if (c[COMMON_SEED]) {
        long long seed = 0;
        enum status s = str_to_int(c[COMMON_SEED], &seed, e);
        if (s != STATUS_OK)
            return err_wrap(e, s, "seed=");
        o->seed = (uint64_t)seed;
    }
    return STATUS_OK;
}

static const char *source_name_at(const void *ctx, int i)
{
    (void)ctx;
    return dataset_table[i].name;
}

static enum status find_source(const char *name,
                               const struct dataset_source **out,
                               struct err *e)
{
    for (int i = 0; i < dataset_count; i++)
        if (strcmp(dataset_table[i].name, name) == 0) {
            *out = &dataset_table[i];
            return STATUS_OK;
        }
    const char *near = str_nearest(name, dataset_count, source_name_at, NULL);
    if (near)
        return err_set(e, STATUS_NOTFOUND, "no data source '%.60s'; did you "
                       "mean '%s'?", name, near);
    struct str all = { 0 };
    for (int i = 0; i < dataset_count; i++)
        str_printf(&all, " %s", dataset_table[i].name);
    err_set(e, STATUS_NOTFOUND, "no data source '%.60s'; there are%s", name,
            str_text(&all));
    str_fini(&all);
    return STATUS_NOTFOUND;
}

/* A word as the command language reads it back. */
static void add_word(struct str *out, const char *word)
{
    str_char(out, ' ');
    if (word[0] && !strpbrk(word, " \t\n;#\"'\\$()[]|<>!")) {
        str_add(out, word);
        return;
    }
    str_char(out, '"');
    for (; *word; word++) {
        if (strchr("\"\\$", *word))
            str_char(out, '\\');
        if (*word == '\n')
            str_add(out, "\\n");
        else
            str_char(out, *word);
    }
    str_char(out, '"');
}

/* The words as given, and what the options said where the words did not. */
static enum status set_spec(struct dataset *d, int argc,
                            const char *const *argv, const struct words *w,
                            const struct dataset_opts *o, struct err *e)
{
    struct str s = { 0 };
    str_add(&s, argv[0]);
    for (int i = 1; i < argc; i++)
        add_word(&s, argv[i]);
    if (!w->common[COMMON_N] && o->n_train > 0)
        str_printf(&s, " n=%" PRId64, o->n_train);
    if (!w->common[COMMON_TEST] && o->n_test > 0)
        str_printf(&s, " test=%" PRId64, o->n_test);
    if (!w->common[COMMON_VAL])
        str_printf(&s, " val=%.9g", o->val_fraction);
    if (!w->common[COMMON_SEED])
        str_printf(&s, " seed=%" PRId64, (int64_t)o->seed);
    char *spec = s.failed ? NULL : mem_alloc(s.len + 1, 1);
    if (spec)
        memcpy(spec, s.text, s.len + 1);
    str_fini(&s);
    d->spec = spec;
    return spec ? STATUS_OK : err_memory(e, "a data set");
}

/* Every k-th of the test samples: fair to classes that lie sorted. */
static enum status cap_test(struct dataset *d, int64_t n, struct err *e)
{
    if (n == 0 || n >= d->test.n)
        return STATUS_OK;
    if (n == NO_TEST)
        n = 0;
    uint32_t *row = mem_alloc((size_t)n, sizeof *row);
    if (!row)
        return err_memory(e, "a data set");
    for (int64_t i = 0; i < n; i++)
        row[i] = (uint32_t)(i * d->test.n / n);
    struct samples kept = { 0 };
    enum status s = samples_gather(&kept, &d->test, row, n, e);
    mem_free(row);
    if (s != STATUS_OK)
        return s;
    samples_fini(&d->test);
    d->test = kept;
    return STATUS_OK;
}

static enum status split(struct dataset *d, const struct dataset_opts *o,
                         struct err *e)
{
    int64_t n = d->train.n;
    if (n < 1)
        return err_set(e, STATUS_FORMAT, "no training samples");
    if (n > (int64_t)UINT32_MAX)
        return err_set(e, STATUS_FORMAT, "%" PRId64 " samples, at most %u are "
                       "read", n, UINT32_MAX);
    struct rng *r = rng_new(o->seed, RNG_SHUFFLE);
    d->order = mem_alloc((size_t)n, sizeof *d->order);
    if (!r || !d->order) {
        rng_free(r);
        return err_memory(e, "the order of the samples");
    }
    for (int64_t i = 0; i < n; i++)
        d->order[i] = (uint32_t)i;
    rng_shuffle(r, d->order, (size_t)n);
    rng_free(r);
    int64_t used = o->n_train > 0 && o->n_train < n ? o->n_train : n;
    double val = o->val_fraction < 1 ? o->val_fraction * (double)used
                                     : o->val_fraction;
    if (val > (double)(used - 1))
        return err_set(e, STATUS_ARG, "val=%.9g leaves none of %" PRId64
                       " samples to train on", o->val_fraction, used);
    d->n_val = (int64_t)val;
    d->n_train = used - d->n_val;
    return STATUS_OK;
}

static enum status check_finite(const struct samples *s, const char *block,
                                struct err *e)
{
    const float *x = s->x.data;
    int64_t total = s->x.type == DTYPE_F32 ? shape_count(&s->x.shape) : 0;
    for (int64_t i = 0; i < total; i++)
        if (!isfinite(x[i]))
            return err_set(e, STATUS_FORMAT, "%s sample %" PRId64 " has the "
                           "value %g", block, i / (total / s->n),
                           (double)x[i]);
    const float *y = s->y.data;
    total = s->y.type == DTYPE_F32 ? shape_count(&s->y.shape) : 0;
    for (int64_t i = 0; i < total; i++)
        if (!isfinite(y[i]))
            return err_set(e, STATUS_FORMAT, "%s target %" PRId64 " is %g",
                           block, i / (total / s->n), (double)y[i]);
    return STATUS_OK;
}

/* Sum and sum of squares of n values; bytes in whole numbers, so exactly. */
static void add_moments(const struct tensor *x, int64_t from, int64_t n,
                        double sum[2])
{
    if (x->type == DTYPE_U8) {
        const uint8_t *p = (const uint8_t *)x->data + from;
        uint64_t s = 0, s2 = 0;
        for (int64_t i = 0; i < n; i++) {
            s += p[i];
            s2 += (uint64_t)p[i] * p[i];
        }
        sum[0] += (double)s;
        sum[1] += (double)s2;
        return;
    }
    const float *p = (const float *)x->data + from;
    for (int64_t i = 0; i < n; i++) {
        sum[0] += (double)p[i];
        sum[1] += (double)p[i] * (double)p[i];
    }
}

/* Mean and deviation per channel over the train split: neither validation
 * nor test samples tell the model anything. */
static void measure_norm(struct dataset *d)
{
    const struct shape *s = &d->sample;
    int64_t channels = s->rank == 4 || s->rank == 2 ? s->dim[1] : 1;
    if (channels < 1 || channels > 16)
        channels = 1;
    int64_t count = shape_count(s), inner = count / channels;
    d->n_norm = (int)channels;
    for (int64_t c = 0; c < channels; c++) {
        double sum[2] = { 0 };
        for (int64_t i = 0; i < d->n_train; i++)
            add_moments(&d->train.x, d->order[i] * count + c * inner, inner,
                        sum);
        double n = (double)d->n_train * (double)inner;
        double mean = sum[0] / n;
        double var = sum[1] / n - mean * mean;
        double dev = var > 0 ? sqrt(var) * (double)d->scale : 0;
        d->mean[c] = (float)(mean * (double)d->scale);
        /* A constant channel is only shifted. */
        d->inv_std[c] = dev > 1e-6 ? (float)(1 / dev) : 1.0f;
    }
}

static enum status finish(struct dataset *d, const struct dataset_opts *o,
                          struct err *e)
{
    assert(d->sample.rank >= 2 && d->train.x.data);
    assert(d->train.x.type == DTYPE_U8 || d->train.x.type == DTYPE_F32);
    TRY(cap_test(d, o->n_test, e));
    TRY(split(d, o, e));
    TRY(check_finite(&d->train, "training", e));
    TRY(check_finite(&d->test, "test", e));
    if (d->n_norm == NORM_MEASURE)
        measure_norm(d);
    return STATUS_OK;
}

static enum status load_source(const struct dataset_source *s,
                               const struct words *w,
                               const struct dataset_opts *o,
                               struct dataset *d, struct err *e)
{
    enum status status = s->load(d, w->value, o, e);
    if (status == STATUS_OK)
        status = finish(d, o, e);
    return status == STATUS_OK ? status : err_wrap(e, status, "%s", s->name);
}

void dataset_opts_default(struct dataset_opts *o)
{
    *o = (struct dataset_opts){ .val_fraction = 0.1 };
}

enum status dataset_load(int argc, const char *const *argv,
                         const struct dataset_opts *o, struct dataset **out,
                         struct err *e)
{
    if (argc < 1)
        return err_set(e, STATUS_ARG, "no data source named");
    const struct dataset_source *source = NULL;
    struct words w = { 0 };
    struct dataset_opts opts = *o;
    TRY(find_source(argv[0], &source, e));
    TRY(read_words(source, argc, argv, &w, e));
    TRY(read_common(&w, &opts, e));
    struct dataset *d = mem_alloc(1, sizeof *d);
    if (!d)
        return err_memory(e, "a data set");
    d->scale = 1.0f;
    enum status s = load_source(source, &w, &opts, d, e);
    if (s == STATUS_OK) {
        d->name = mem_alloc(strlen(source->name) + 1, 1);
        s = d->name ? set_spec(d, argc, argv, &w, &opts, e)
                    : err_memory(e, "a data set");
    }
    if (s != STATUS_OK) {
        dataset_free(d);
        return s;
    }
    memcpy(d->name, source->name, strlen(source->name));
    *out = d;
    return STATUS_OK;
}

void dataset_free(struct dataset *d)
{
    if (!d)
        return;
    samples_fini(&d->train);
    samples_fini(&d->test);
    for (int64_t i = 0; d->class_name && i < d->classes; i++)
        mem_free(d->class_name[i]);
    mem_free(d->class_name);
    mem_free(d->order);
    mem_free(d->name);
    mem_free(d->spec);
    mem_free(d);
}

int64_t dataset_size(const struct dataset *d, enum split s)
{
    const int64_t size[SPLIT_COUNT] = {
        [SPLIT_TRAIN] = d->n_train,
        [SPLIT_VAL] = d->n_val,
        [SPLIT_TEST] = d->test.n,
    };
    return size[s];
}

/* Nine digits bring every float back exactly. */
static void add_floats(struct str *out, const char *key, const float *x,
                       int n)
{
    str_printf(out, "%s:", key);
    for (int i = 0; i < n; i++)
        str_printf(out, " %.9g", (double)x[i]);
    str_char(out, '\n');
}

enum status dataset_describe(const struct dataset *d, struct bag *b,
                             struct err *e)
{
    struct str s = { 0 };
    str_printf(&s, "name: %s\nwords: %s\nsample: ", d->name, d->spec);
    shape_add(&s, &d->sample);
    str_printf(&s, "\n%s: %" PRId64 "\n", d->classes ? "classes" : "targets",
               d->classes ? d->classes : d->targets);
    add_floats(&s, "scale", &d->scale, 1);
    add_floats(&s, "mean", d->mean, d->n_norm);
    add_floats(&s, "inv_std", d->inv_std, d->n_norm);
    enum status status = s.failed ? err_memory(e, "a data set")
                                  : bag_put_text(b, "data", s.text, e);
    str_fini(&s);
    return status;
}

bool dataset_described(const char *text, const char *key, struct str *out)
{
    size_t n = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, n) != 0 || line[n] != ':')
            continue;
        const char *value = line + n + 1;
        value += strspn(value, " ");
        str_add_n(out, value, strcspn(value, "\n"));
        return true;
    }
    return false;
}

const struct dataset_arg args_none[] = { { 0 } };

const struct dataset_arg dataset_common_arg[] = {
    [COMMON_N] = { .name = "n", .help = "training samples, with validation" },
    [COMMON_TEST] = { .name = "test", .help = "test samples" },
    [COMMON_VAL] = { .name = "val", .help = "part (0.1, 10%) or number of "
                                            "training samples to validate "
                                            "on" },
    [COMMON_SEED] = { .name = "seed", .help = "seed of generator and split" },
    { 0 },
};

const struct dataset_source dataset_table[] = {
    { .name = "digits", .help = "drawn digits, 1x28x28 grey, 10 classes",
      .example = "load data digits", .arg = args_none, .generated = true,
      .load = load_digits },
    { .name = "shapes", .help = "coloured shapes, 3x32x32, 10 classes",
      .example = "load data shapes n=5000", .arg = args_none,
      .generated = true, .load = load_shapes },
    { .name = "jets", .help = "particle jets, 16 features, 5 classes",
      .example = "load data jets", .arg = args_none, .generated = true,
      .load = load_jets },
    { .name = "clusters", .help = "pion clusters, 128 cells of 4 features, "
                                  "log energy as target",
      .example = "load data clusters", .arg = args_none, .generated = true,
      .load = load_clusters },
    { .name = "random", .help = "noise in the shape of the loaded model, for "
                                "benchmarks",
      .example = "load data random shape=3x32x32 classes=10",
      .arg = args_random, .generated = true, .load = load_random },
    { .name = "mnist", .help = "MNIST or a set of its form: four IDX files, "
                               "plain or .gz",
      .example = "load data mnist DIR", .arg = args_dir, .load = load_mnist },
    { .name = "cifar10", .help = "CIFAR-10, binary version: data_batch_*.bin "
                                 "and test_batch.bin",
      .example = "load data cifar10 DIR", .arg = args_dir,
      .load = load_cifar10 },
    { .name = "cifar100", .help = "CIFAR-100, binary version, fine labels: "
                                  "train.bin and test.bin",
      .example = "load data cifar100 DIR", .arg = args_dir,
      .load = load_cifar100 },
    { .name = "idx", .help = "any IDX files, plain or .gz",
      .example = "load data idx x=images.idx y=labels.idx.gz",
      .arg = args_idx, .load = load_idx },
    { .name = "npz", .help = "arrays of numpy.savez",
      .example = "load data npz FILE x=x y=y", .arg = args_npz,
      .load = load_npz },
    { .name = "csv", .help = "a table of numbers, one sample a line",
      .example = "load data csv FILE y=class", .arg = args_csv,
      .load = load_csv },
};
const int dataset_count = sizeof dataset_table / sizeof dataset_table[0];

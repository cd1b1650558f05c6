/* Noise in the shape of a model: for benchmarks, where only sizes count.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <string.h>

#include "data/source.h"

/* Default number of training samples, fewer when they are large. */
#define SAMPLES 2048
#define BYTES_WANTED ((int64_t)64 << 20)
#define BYTES_CAP ((size_t)1 << 30)    /* of one sample */

enum { RANDOM_SHAPE, RANDOM_CLASSES, RANDOM_TARGETS };

static void draw_noise(const struct generator *g, struct rng *r,
                       int64_t label, void *x, float *target)
{
    (void)label;
    rng_fill_normal(r, x, (size_t)shape_count(&g->sample));
    if (target)
        rng_fill_normal(r, target, (size_t)g->targets);
}

/* "3x32x32" without the batch. */
static enum status read_shape(const char *text, struct shape *out,
                              struct err *e)
{
    struct str number = { 0 };
    enum status s = STATUS_OK;
    *out = shape_1(1);
    for (const char *p = text; s == STATUS_OK; p++) {
        size_t n = strcspn(p, "x");
        long long v = 0;
        str_clear(&number);
        str_add_n(&number, p, n);
        s = str_to_int(str_text(&number), &v, e);
        if (s == STATUS_OK && (v < 1 || out->rank == SHAPE_MAX))
            s = STATUS_ARG;
        if (s == STATUS_OK)
            out->dim[out->rank++] = v;
        p += n;
        if (!*p)
            break;
    }
    str_fini(&number);
    if (s != STATUS_OK)
        return err_set(e, STATUS_ARG, "shape=%.60s: wanted dimensions like "
                       "3x32x32", text);
    return STATUS_OK;
}

static enum status read_positive(const char *name, const char *text,
                                 int64_t *out, struct err *e)
{
    long long v = 0;
    if (str_to_int(text, &v, NULL) != STATUS_OK || v < 1 || v > 1 << 24)
        return err_set(e, STATUS_ARG, "%s=%.40s: wanted 1 to %d", name, text,
                       1 << 24);
    *out = v;
    return STATUS_OK;
}

static enum status choose_output(struct generator *g,
                                 const char *const *value,
                                 const struct dataset_opts *o, struct err *e)
{
    if (value[RANDOM_TARGETS])
        return read_positive("targets", value[RANDOM_TARGETS], &g->targets,
                             e);
    if (value[RANDOM_CLASSES])
        return read_positive("classes", value[RANDOM_CLASSES], &g->classes,
                             e);
    if (o->like_output < 1)
        return err_set(e, STATUS_STATE, "no model is loaded: say classes= or "
                       "targets=");
    if (o->like_regression)
        g->targets = o->like_output;
    else
        g->classes = o->like_output;
    return STATUS_OK;
}

enum status load_random(struct dataset *d, const char *const *value,
                        const struct dataset_opts *o, struct err *e)
{
    struct generator g = {
        .sample = o->like_input, .type = DTYPE_F32, .draw = draw_noise,
    };
    size_t bytes = 0;
    if (value[RANDOM_SHAPE])
        TRY(read_shape(value[RANDOM_SHAPE], &g.sample, e));
    if (g.sample.rank < 2)
        return err_set(e, STATUS_STATE, "no model is loaded: say shape=");
    g.sample.dim[0] = 1;
    TRY(choose_output(&g, value, o, e));
    enum status s = shape_bytes(&g.sample, sizeof(float), BYTES_CAP, &bytes,
                                e);
    if (s != STATUS_OK)
        return err_wrap(e, s, "one sample");
    int64_t fit = BYTES_WANTED / (int64_t)bytes;
    g.n_train = fit < 64 ? 64 : fit > SAMPLES ? SAMPLES : fit;
    g.n_test = g.n_train / 4;
    TRY(generator_run(&g, o, d, e));
    d->n_norm = 0;
    return STATUS_OK;
}

const struct dataset_arg args_random[] = {
    [RANDOM_SHAPE] = { .name = "shape", .help = "of one sample, like 3x32x32; "
                                                "the model's input" },
    [RANDOM_CLASSES] = { .name = "classes", .help = "number of classes; the "
                                                    "model's outputs" },
    [RANDOM_TARGETS] = { .name = "targets", .help = "number of regression "
                                                    "targets" },
    { 0 },
};

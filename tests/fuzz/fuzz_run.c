/* Feeds every parser its corpus, and mutated copies of each file.
 *
 * fuzz_run CORPUS: for each target, every file of CORPUS/TARGET is parsed
 * whole, cut at many lengths, and with bytes changed; a crash, a leak or a
 * sanitizer report fails the test. Prints TAP. Mutations come from a fixed
 * seed, so a failure repeats.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gsl/gsl_errno.h>

#include "base/arena.h"
#include "base/file.h"
#include "data/npy.h"
#include "io/checkpoint.h"
#include "lab/lab.h"
#include "nn/graph.h"
#include "quant/quantizer.h"

#define FILE_CAP (1 << 20)
#define CUTS 64
#define MUTANTS 200

/* A copy with a final NUL, for parsers of text. */
static char *text_of(const unsigned char *data, size_t n)
{
    char *s = malloc(n + 1);
    if (s) {
        memcpy(s, data, n);
        s[n] = '\0';
    }
    return s;
}

static void fuzz_model(const unsigned char *data, size_t n)
{
    char *s = text_of(data, n);
    struct graph *g = NULL;
    struct err e = { .status = STATUS_OK };
    if (s && graph_parse(s, &g, &e) == STATUS_OK) {
        struct str out = { 0 };
        graph_print(g, &out);
        str_fini(&out);
        graph_free(g);
    }
    free(s);
}

static void fuzz_checkpoint(const unsigned char *data, size_t n)
{
    struct bag *b = NULL;
    struct err e = { .status = STATUS_OK };
    if (checkpoint_parse(data, n, "fuzz", &b, &e) == STATUS_OK)
        bag_free(b);
}

static void fuzz_npy(const unsigned char *data, size_t n)
{
    struct tensor t = { 0 };
    struct err e = { .status = STATUS_OK };
    if (npy_parse(data, n, "fuzz", &t, &e) == STATUS_OK)
        tensor_fini(&t);
}

static void fuzz_spec(const unsigned char *data, size_t n)
{
    char *s = text_of(data, n);
    struct qspec base, spec;
    struct err e = { .status = STATUS_OK };
    qspec_default(&base);
    if (s && qspec_parse(s, &base, &spec, &e) == STATUS_OK) {
        struct str out = { 0 };
        qspec_print(&spec, &out);
        str_fini(&out);
    }
    free(s);
}

static void swallow_line(void *ctx, enum out_level level, const char *text)
{
    (void)ctx;
    (void)level;
    (void)text;
}

static void fuzz_command(const unsigned char *data, size_t n)
{
    static const struct out_ops ops = { .line = swallow_line };
    struct out out = { .ops = &ops };
    /* safe: no shell; check_only: words are resolved, nothing is run. */
    struct lab_opts o = { .out = &out, .safe = true, .check_only = true,
                          .keep_going = true };
    struct err e = { .status = STATUS_OK };
    char *s = text_of(data, n);
    struct lab *l = lab_new(&o, &e);
    if (s && l) {
        struct source from = { .name = "fuzz", .line = 1 };
        for (char *line = s; line;) {
            char *end = strchr(line, '\n');
            if (end)
                *end++ = '\0';
            lab_submit(l, line, from);
            from.line++;
            line = end;
        }
        for (int i = 0; i < 1000 && lab_busy(l); i++)
            lab_work(l);
    }
    lab_free(l);
    free(s);
}

static const struct target {
    const char *name;
    void (*run)(const unsigned char *data, size_t n);
    int mutants;
} targets[] = {
    { "model", fuzz_model, MUTANTS },
    { "checkpoint", fuzz_checkpoint, MUTANTS },
    { "npy", fuzz_npy, MUTANTS },
    { "spec", fuzz_spec, MUTANTS },
    { "command", fuzz_command, MUTANTS / 4 },
};

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static void run_mutants(const struct target *t, const struct bytes *b)
{
    uint64_t state = b->size + 1;
    unsigned char *copy = malloc(b->size + 1);
    if (!copy)
        return;
    for (int i = 0; i < CUTS; i++)
        t->run(b->data, b->size * (size_t)i / CUTS);
    for (int i = 0; i < t->mutants && b->size > 0; i++) {
        memcpy(copy, b->data, b->size);
        size_t changes = 1 + next_random(&state) % 4;
        for (size_t k = 0; k < changes; k++)
            copy[next_random(&state) % b->size] =
                (unsigned char)next_random(&state);
        t->run(copy, b->size);
    }
    free(copy);
}

/* Files parsed, or -1 when the folder cannot be read. */
static int run_folder(const struct target *t, const char *corpus)
{
    char path[4096];
    int files = 0;
    snprintf(path, sizeof path, "%s/%s", corpus, t->name);
    DIR *d = opendir(path);
    if (!d)
        return -1;
    for (struct dirent *f = readdir(d); f; f = readdir(d)) {
        struct bytes b = { 0 };
        if (f->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s/%s", corpus, t->name, f->d_name);
        if (file_read(path, FILE_CAP, &b, NULL) != STATUS_OK)
            continue;
        t->run(b.data, b.size);
        run_mutants(t, &b);
        bytes_fini(&b);
        files++;
    }
    closedir(d);
    return files;
}

int main(int argc, char **argv)
{
    gsl_set_error_handler_off();
    if (argc != 2) {
        fprintf(stderr, "usage: fuzz_run CORPUS\n");
        return 2;
    }
    size_t n = sizeof targets / sizeof targets[0];
    int bad = 0;
    printf("1..%zu\n", n);
    for (size_t i = 0; i < n; i++) {
        int files = run_folder(&targets[i], argv[1]);
        if (files <= 0)
            bad = 1;
        printf("%s %zu - %s: %d files of the corpus and their mutants\n",
               files > 0 ? "ok" : "not ok", i + 1, targets[i].name, files);
        fflush(stdout);
    }
    return bad;
}

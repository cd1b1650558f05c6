/* golden-run DIR [FILTER...]: runs golden suites and says what differs.
 *
 * DIR is a suite (it has cases.json) or holds suites. FILTER: patterns for
 * names of suites or cases; a case runs when one of them fits it or its
 * suite. Exit 1 when anything differs or a suite is not known.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "golden/golden_run.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <gsl/gsl_errno.h>

#include "data/npy.h"

#define BAGS_MAX 64

struct entry {
    const char *name;
    const struct tensor *array;
};

struct golden {
    const struct golden_suite *suite;
    const char *name;         /* folder, may differ from the suite's name */
    const char *dir;
    json_t *root;
    struct bag *bag[BAGS_MAX];
    int n_bag;
    struct entry *entry;      /* of all bags, by name */
    size_t n_entry;
    int passed, failed, skipped;
    bool skip;                /* the case under way */
};

struct totals {
    int passed, failed, errors;
    char **filter;
    int n_filter;
};

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->name,
                  ((const struct entry *)b)->name);
}

const struct tensor *golden_lookup(const struct golden *g, const char *name)
{
    struct entry key = {.name = name};
    const struct entry *found =
        g->n_entry ? bsearch(&key, g->entry, g->n_entry, sizeof key,
                             compare_entries)
                   : NULL;

    return found ? found->array : NULL;
}

static void join(char *out, size_t room, const char *dir, const char *name)
{
    snprintf(out, room, "%s/%s", dir, name);
}

static bool has_suffix(const char *name, const char *suffix)
{
    size_t n = strlen(name), m = strlen(suffix);

    return n >= m && !strcmp(name + n - m, suffix);
}

static bool load_bag(struct golden *g, const char *file)
{
    char path[1024];
    struct err e = {0};

    join(path, sizeof path, g->dir, file);
    if (g->n_bag == BAGS_MAX ||
        npz_read(path, &g->bag[g->n_bag], &e) != STATUS_OK) {
        printf("%s: %s\n", path, e.text);
        return false;
    }
    g->n_bag++;
    return true;
}

static bool load_arrays(struct golden *g)
{
    DIR *d = opendir(g->dir);
    bool ok = d != NULL;
    struct dirent *f;
    size_t n = 0;

    while (ok && (f = readdir(d)))
        if (has_suffix(f->d_name, ".npz"))
            ok = load_bag(g, f->d_name);
    if (d)
        closedir(d);
    for (int i = 0; i < g->n_bag; i++)
        n += bag_count(g->bag[i]);
    g->entry = calloc(n + 1, sizeof *g->entry);
    if (!g->entry)
        return false;
    for (int i = 0; i < g->n_bag; i++)
        for (size_t k = 0; k < bag_count(g->bag[i]); k++)
            g->entry[g->n_entry++] = (struct entry){
                bag_name(g->bag[i], k), bag_at(g->bag[i], k)};
    qsort(g->entry, g->n_entry, sizeof *g->entry, compare_entries);
    return ok;
}

static bool filter_fits(const struct totals *t, const char *name)
{
    for (int i = 0; i < t->n_filter; i++)
        if (glob_match(t->filter[i], name))
            return true;
    return t->n_filter == 0;
}

void golden_skip(struct golden_case *c)
{
    c->run->skip = true;
}

static void run_case(struct golden *g, const json_t *json, const char *name)
{
    struct golden_case c = {
        .run = g,
        .suite = g->name,
        .name = name,
        .dir = g->dir,
        .json = json,
    };

    g->skip = false;
    g->suite->run(&c);
    golden_case_end(&c);
    if (c.differences)
        g->failed++;
    else if (g->skip)
        g->skipped++;
    else
        g->passed++;
}

static void run_cases(struct golden *g, const struct totals *t)
{
    json_t *cases = json_object_get(g->root, "cases");
    bool all = filter_fits(t, g->name) || filter_fits(t, g->suite->name);
    json_t *one;
    size_t i;

    if (!json_is_array(cases)) {
        printf("%s: cases.json has no list of cases\n", g->name);
        g->failed++;
        return;
    }
    json_array_foreach(cases, i, one) {
        const char *name = json_string_value(json_object_get(one, "name"));

        if (!name) {
            printf("%s: case %zu has no name\n", g->name, i);
            g->failed++;
        } else if (all || filter_fits(t, name)) {
            run_case(g, one, name);
        }
    }
}

static void unload(struct golden *g)
{
    for (int i = 0; i < g->n_bag; i++)
        bag_free(g->bag[i]);
    free(g->entry);
    json_decref(g->root);
}

static const struct golden_suite *suite_find(const char *name)
{
    for (int i = 0; i < golden_suite_count; i++)
        if (name && !strcmp(golden_suites[i].name, name))
            return &golden_suites[i];
    return NULL;
}

/* Loads and runs a suite that is in the table and can run. */
static void run_suite(struct golden *g, struct totals *t)
{
    if (!load_arrays(g)) {
        printf("%s: arrays could not be read\n", g->name);
        g->failed++;
    } else {
        run_cases(g, t);
    }
    if (g->passed + g->failed > 0 || t->n_filter == 0)
        printf("%s: %d passed, %d failed\n", g->name, g->passed, g->failed);
    if (g->skipped > 0)
        printf("%s: %d skipped: they wait for a later part of qatlab\n",
               g->name, g->skipped);
    t->passed += g->passed;
    t->failed += g->failed;
}

static void visit(const char *dir, const char *folder, struct totals *t)
{
    struct golden g = {.name = folder, .dir = dir};
    json_error_t error = {0};
    char path[1024];
    struct stat st;

    join(path, sizeof path, dir, "cases.json");
    if (stat(path, &st) == 0)
        g.root = json_load_file(path, 0, &error);
    g.suite = suite_find(
        json_string_value(json_object_get(g.root, "suite")));
    if (!g.suite)
        g.suite = suite_find(folder);
    if (!g.suite) {
        printf("%s: unknown suite\n", folder);
        t->errors++;
    } else if (g.suite->later) {
        if (filter_fits(t, folder))
            printf("%s: skipped: %s\n", folder, g.suite->later);
    } else if (!g.root) {
        printf("%s: %s\n", path, error.text);
        t->errors++;
    } else {
        run_suite(&g, t);
    }
    unload(&g);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Folders of DIR in order; the scripts' folder holds no data. */
static void visit_all(const char *dir, struct totals *t)
{
    char *name[512];
    int n = 0;
    DIR *d = opendir(dir);
    struct dirent *f;

    if (!d) {
        printf("%s: not a folder\n", dir);
        t->errors++;
        return;
    }
    while ((f = readdir(d)) && n < 512) {
        char path[1024];
        struct stat st;

        join(path, sizeof path, dir, f->d_name);
        if (f->d_name[0] == '.' || !strcmp(f->d_name, "make") ||
            stat(path, &st) || !S_ISDIR(st.st_mode))
            continue;
        name[n] = strdup(f->d_name);
        n += name[n] != NULL;
    }
    closedir(d);
    qsort(name, (size_t)n, sizeof name[0], compare_names);
    for (int i = 0; i < n; i++) {
        char path[1024];

        join(path, sizeof path, dir, name[i]);
        visit(path, name[i], t);
        free(name[i]);
    }
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash && slash[1] ? slash + 1 : path;
}

int main(int argc, char **argv)
{
    struct totals t = {0};
    char path[1024];
    struct stat st;

    gsl_set_error_handler_off();
    if (argc < 2) {
        fprintf(stderr, "usage: golden-run DIR [FILTER...]\n");
        return 2;
    }
    t.filter = argv + 2;
    t.n_filter = argc - 2;
    join(path, sizeof path, argv[1], "cases.json");
    if (stat(path, &st) == 0)
        visit(argv[1], base_name(argv[1]), &t);
    else
        visit_all(argv[1], &t);
    if (t.passed + t.failed + t.errors == 0 && t.n_filter > 0) {
        printf("no case fits\n");
        t.errors++;
    }
    printf("%d passed, %d failed\n", t.passed, t.failed + t.errors);
    return t.failed + t.errors ? 1 : 0;
}

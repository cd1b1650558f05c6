/* Arrays that commands name. SPDX-License-Identifier: GPL-3.0-or-later */
#include "lab/array_file.h"

#include <string.h>

#include "data/npy.h"

#define NAMED 6               /* arrays that a message lists */

bool array_is_npz(const char *path)
{
    size_t n = strlen(path);
    return n > 4 && strcmp(path + n - 4, ".npz") == 0;
}

/* Where `:NAME` begins behind a last `.npz`; NULL: there is none. */
static const char *find_name(const char *text)
{
    const char *found = NULL;
    for (const char *p = text; (p = strstr(p, ".npz:")) != NULL; p++)
        found = p + 4;
    return found;
}

bool array_is_file(const char *text)
{
    size_t n = strlen(text);
    bool npy = n > 4 && strcmp(text + n - 4, ".npy") == 0;
    return npy || array_is_npz(text) || find_name(text) != NULL;
}

static const char *array_name(const void *ctx, int i)
{
    return bag_name(ctx, (size_t)i);
}

static void list_names(const struct bag *b, struct str *out)
{
    for (size_t i = 0; i < bag_count(b) && i < NAMED; i++) {
        str_char(out, ' ');
        str_add_clean(out, bag_name(b, i));
    }
    if (bag_count(b) > NAMED)
        str_add(out, " ..");
}

static enum status no_array(const char *path, const struct bag *b,
                            const char *name, struct err *e)
{
    struct str all = { 0 };
    const char *near = str_nearest(name, (int)bag_count(b), array_name, b);
    list_names(b, &all);
    if (near)
        err_set(e, STATUS_NOTFOUND, "%s: no array '%.60s' (did you mean "
                                    "'%.60s'?)", path, name, near);
    else
        err_set(e, STATUS_NOTFOUND, "%s: no array '%.60s'; it holds%.200s",
                path, name, str_text(&all));
    str_fini(&all);
    return STATUS_NOTFOUND;
}

static enum status not_one(const char *path, const struct bag *b,
                           struct err *e)
{
    struct str all = { 0 };
    list_names(b, &all);
    err_set(e, STATUS_ARG, "%s holds %zu arrays; %s:NAME takes one of%.200s",
            path, bag_count(b), path, str_text(&all));
    str_fini(&all);
    return STATUS_ARG;
}

/* name NULL: the only one. */
static enum status read_npz(const char *path, const char *name,
                            struct tensor *out, struct err *e)
{
    struct bag *b = NULL;
    TRY(npz_read(path, &b, e));
    const struct tensor *t = name ? bag_get(b, name)
                             : bag_count(b) == 1 ? bag_at(b, 0) : NULL;
    enum status s = t      ? tensor_copy(out, t, e)
                    : name ? no_array(path, b, name, e)
                           : not_one(path, b, e);
    bag_free(b);
    return s;
}

enum status array_read(const char *text, struct tensor *out, struct err *e)
{
    const char *colon = find_name(text);
    if (!colon)
        return array_is_npz(text) ? read_npz(text, NULL, out, e)
                                  : npy_read(text, out, e);
    struct str path = { 0 };
    str_add_n(&path, text, (size_t)(colon - text));
    enum status s = read_npz(str_text(&path), colon + 1, out, e);
    str_fini(&path);
    return s;
}

enum status array_read_reals(const char *text, struct tensor *out,
                             struct err *e)
{
    struct tensor raw;
    TRY(array_read(text, &raw, e));
    enum status s = tensor_cast(out, &raw, DTYPE_REAL, e);
    tensor_fini(&raw);
    return s;
}

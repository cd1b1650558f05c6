/* A folder for one test, removed with what it holds.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/temp_folder.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/test_main.h"

int temp_folder_make(void **state)
{
    struct temp_folder *f = calloc(1, sizeof *f);
    if (!f)
        return -1;
    snprintf(f->dir, sizeof f->dir, "/tmp/qatlab-test-XXXXXX");
    *state = f;
    return mkdtemp(f->dir) ? 0 : -1;
}

int temp_folder_drop(void **state)
{
    struct temp_folder *f = *state;
    int left = 0;
    DIR *d = opendir(f->dir);
    for (struct dirent *i = d ? readdir(d) : NULL; i; i = readdir(d)) {
        if (i->d_name[0] == '.')
            continue;
        left += strstr(i->d_name, ".tmp-") != NULL;
        unlink(temp_path(f, i->d_name));
    }
    if (d)
        closedir(d);
    rmdir(f->dir);
    free(f);
    return left ? -1 : 0;
}

const char *temp_path(struct temp_folder *f, const char *name)
{
    snprintf(f->path, sizeof f->path, "%s/%.100s", f->dir, name);
    return f->path;
}

const char *temp_write(struct temp_folder *f, const char *name,
                       const void *data, size_t n)
{
    FILE *file = fopen(temp_path(f, name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
    return f->path;
}

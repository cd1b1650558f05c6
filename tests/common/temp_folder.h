/* A folder for one test, removed with what it holds.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef COMMON_TEMP_FOLDER_H
#define COMMON_TEMP_FOLDER_H

#include <stddef.h>

struct temp_folder {
    char dir[64];
    char path[192];           /* the last that temp_path made */
};

/* cmocka set-up and tear-down: *state is the folder. The tear-down fails
 * when a temporary file of an atomic write was left behind. */
int temp_folder_make(void **state);
int temp_folder_drop(void **state);

/* DIR/name, valid until the next call. */
const char *temp_path(struct temp_folder *f, const char *name);
/* Writes DIR/name and returns its path. */
const char *temp_write(struct temp_folder *f, const char *name,
                       const void *data, size_t n);

#endif

/* Arrays that commands name: FILE.npy, FILE.npz that holds one array, or
 * FILE.npz:NAME. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LAB_ARRAY_FILE_H
#define LAB_ARRAY_FILE_H

#include "tensor/bag.h"

/* As the file has it. */
enum status array_read(const char *text, struct tensor *out, struct err *e);
/* As reals (DTYPE_REAL). */
enum status array_read_reals(const char *text, struct tensor *out,
                             struct err *e);
bool array_is_npz(const char *path);
/* Looks like one of the forms above. */
bool array_is_file(const char *text);

#endif

/* NPY and NPZ files (numpy's), both ways.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DATA_NPY_H
#define DATA_NPY_H

#include "tensor/bag.h"

/* Any numeric dtype and byte order in, C order out. */
enum status npy_read(const char *path, struct tensor *out, struct err *e);
enum status npy_parse(const void *data, size_t size, const char *what,
                      struct tensor *out, struct err *e);
enum status npy_write(const char *path, const struct tensor *t,
                      struct err *e);
/* All arrays of a .npz into a bag, names without ".npy". */
enum status npz_read(const char *path, struct bag **out, struct err *e);
enum status npz_write(const char *path, const struct bag *b, struct err *e);

#endif

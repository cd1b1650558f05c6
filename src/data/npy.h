/* NPY and NPZ files (numpy's), both ways.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DATA_NPY_H
#define DATA_NPY_H

#include "base/file.h"
#include "tensor/bag.h"

/* Any real or integer dtype, byte order and memory order in; native numbers
 * in C order out. Refused: pickles, records, strings, complex numbers, sizes
 * that differ from what the file holds. */
enum status npy_read(const char *path, struct tensor *out, struct err *e);
/* `what` names the bytes in messages. */
enum status npy_parse(const void *data, size_t size, const char *what,
                      struct tensor *out, struct err *e);
enum status npy_write(const char *path, const struct tensor *t,
                      struct err *e);
/* bfloat16 is written as float32: numpy has no word for it. */
enum status npy_format(const struct tensor *t, struct bytes *out,
                       struct err *e);

/* All arrays of a .npz into a bag, names without ".npy". */
enum status npz_read(const char *path, struct bag **out, struct err *e);
/* The tensors of a bag, stored without compression as numpy.savez does. */
enum status npz_write(const char *path, const struct bag *b, struct err *e);

#endif

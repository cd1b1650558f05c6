/* IDX files (the format of MNIST). SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DATA_IDX_H
#define DATA_IDX_H

#include "tensor/tensor.h"

/* Plain or gzip; any element type of the format, native byte order out. The
 * size of the file must be exactly what its header says. */
enum status idx_read(const char *path, struct tensor *out, struct err *e);

#endif

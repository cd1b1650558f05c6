/* Byte order of arrays in files. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DATA_ENDIAN_H
#define DATA_ENDIAN_H

#include <stdbool.h>
#include <stddef.h>

bool host_is_big_endian(void);
/* Turns the bytes of each of n elements of `size` bytes around, in place. */
void swap_elements(void *data, size_t n, size_t size);

#endif

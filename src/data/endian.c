/* Byte order of arrays in files. SPDX-License-Identifier: GPL-3.0-or-later */
#include "data/endian.h"

#include <stdint.h>
#include <string.h>

bool host_is_big_endian(void)
{
    const uint16_t one = 1;
    unsigned char first;
    memcpy(&first, &one, 1);
    return first == 0;
}

void swap_elements(void *data, size_t n, size_t size)
{
    unsigned char *p = data;
    for (size_t i = 0; i < n; i++, p += size) {
        for (size_t k = 0; k < size / 2; k++) {
            unsigned char keep = p[k];
            p[k] = p[size - 1 - k];
            p[size - 1 - k] = keep;
        }
    }
}

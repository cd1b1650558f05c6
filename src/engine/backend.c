/* The table of back ends. SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/backend.h"

#include <string.h>

const struct backend_row backend_table[] = {
    {"fast", "oneDNN and fused passes, values in (N,H,W,C)", &backend_fast},
    {"ref", "portable operators, the oracle", &backend_ref},
};
const int backend_count =
    (int)(sizeof(backend_table) / sizeof(backend_table[0]));

const struct backend *backend_find(const char *name)
{
    for (int i = 0; i < backend_count; i++)
        if (strcmp(backend_table[i].name, name) == 0)
            return backend_table[i].impl;
    return NULL;
}

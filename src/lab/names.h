/* Everything that has a name and one line of help, list by list: what `help`,
 * `apropos` and completion look through.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LAB_NAMES_H
#define LAB_NAMES_H

#include <stddef.h>

#include "lab/lab.h"

struct name_list {
    const char *what;         /* "setting" */
    const void *table;        /* rows, or pointers to rows */
    const int *count;
    bool pointers;
    size_t stride;            /* bytes of a row */
    size_t name, help;        /* where a row has its texts */
    size_t detail;            /* longer text; 0: none */
    /* What `help NAME` tells beyond the line; NULL: nothing. */
    void (*more)(struct lab *l, const void *row, struct out *out);
};
extern const struct name_list name_list_table[];
extern const int name_list_count;

struct named {
    const char *name, *help, *detail;     /* NULL: none */
    const void *row;
};
struct named name_at(const struct name_list *list, int i);
const struct name_list *name_list_find(const char *what);

#endif

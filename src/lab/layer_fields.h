/* The fields of a layer: one table for `list`, predicates, panes and JSON.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LAB_LAYER_FIELDS_H
#define LAB_LAYER_FIELDS_H

#include <stddef.h>

#include "lab/expr.h"

struct layer_field {
    const char *name, *title, *unit, *help;
    bool standard;            /* a column of a plain `list` */
    unsigned needs;           /* of stats_need */
    size_t at;                /* of a double in struct layer_view */
    /* How it is shown; "" when the layer has none. */
    void (*text)(const struct layer_field *f, const struct layer_view *v,
                 struct str *out);
    /* Its number (NaN: none), for sorting, predicates, JSON; NULL: text. */
    double (*num)(const struct layer_field *f, const struct layer_view *v);
};
extern const struct layer_field layer_field_table[];
extern const int layer_field_count;
const struct layer_field *layer_field_find(const char *name);
/* With the statistics that the field needs: l NULL: as they are. */
bool layer_field_value(struct lab *l, const struct layer_view *v,
                       const char *name, struct value *out);

#endif

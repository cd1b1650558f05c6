/* The table of operators and look-ups in its rows.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "nn/op.h"

const struct op *op_find(const char *name)
{
    for (int i = 0; i < op_count; i++)
        if (strcmp(op_table[i]->name, name) == 0)
            return op_table[i];
    return NULL;
}

int op_attr_count(const struct op *op)
{
    int n = 0;
    while (op->attr && op->attr[n].name)
        n++;
    return n;
}

int op_attr_index(const struct op *op, const char *name)
{
    for (int i = 0; op->attr && op->attr[i].name; i++)
        if (strcmp(op->attr[i].name, name) == 0)
            return i;
    return -1;
}

static int row_count(const struct param_row *row)
{
    int n = 0;
    while (row && row[n].name)
        n++;
    return n;
}

int op_param_count(const struct op *op)
{
    return row_count(op->param);
}

int op_state_count(const struct op *op)
{
    return row_count(op->state);
}

#define OP(name) &op_##name,
const struct op *const op_table[] = {
#include "nn/ops.def"
};
#undef OP

const int op_count = (int)(sizeof op_table / sizeof *op_table);

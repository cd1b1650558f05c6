/* A node's attributes: from names to the operator's rows, checked.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "nn/graph_parts.h"

static const char *attr_name_at(const void *ctx, int i)
{
    const struct op *op = ctx;
    return op->attr[i].alias ? op->attr[i].alias : op->attr[i].name;
}

static enum status no_such_attr(const struct op *op, const char *name,
                                struct err *e)
{
    const char *near = str_nearest(name, op_attr_count(op), attr_name_at, op);
    if (near)
        return err_set(e, STATUS_ARG, "%s has no attribute '%s'; did you "
                       "mean '%s'?", op->name, name, near);
    return err_set(e, STATUS_ARG, "%s has no attribute '%s'", op->name, name);
}

static bool is_whole(enum attr_type type)
{
    return type != ATTR_REAL;
}

static enum status check_value(const struct attr_row *row, double v,
                               struct err *e)
{
    if (!isfinite(v) || v < row->lo || v > row->hi)
        return err_set(e, STATUS_ARG, "%s is %g, wanted %g to %g", row->name,
                       v, row->lo, row->hi);
    if (is_whole(row->type) && v != floor(v))
        return err_set(e, STATUS_ARG, "%s is %g, wanted a whole number",
                       row->name, v);
    if (row->type == ATTR_AXES && (int)v % 2 != 0)
        return err_set(e, STATUS_ARG, "%s: axis 0 is the batch and stays",
                       row->name);
    return STATUS_OK;
}

static bool row_answers(const struct attr_row *row, const char *name)
{
    return strcmp(row->name, name) == 0 ||
           (row->alias && strcmp(row->alias, name) == 0);
}

static enum status set_one(struct node *n, const char *name, double v,
                           struct err *e)
{
    const struct attr_row *rows = n->op->attr;
    bool found = false;
    for (int i = 0; rows && rows[i].name; i++) {
        if (!row_answers(&rows[i], name))
            continue;
        TRY(check_value(&rows[i], v, e));
        n->attr[i] = v;
        found = true;
    }
    return found ? STATUS_OK : no_such_attr(n->op, name, e);
}

/* A default outside its bounds: the attribute must be given. The items of a
 * list have such defaults as their end. */
static enum status check_given(const struct node *n, struct err *e)
{
    const struct attr_row *rows = n->op->attr;
    for (int i = 0; rows && rows[i].name; i++) {
        double v = n->attr[i];
        if (rows[i].type == ATTR_ITEM || (v >= rows[i].lo && v <= rows[i].hi))
            continue;
        return err_set(e, STATUS_ARG, "%s needs %s= (%s)", n->op->name,
                       rows[i].alias ? rows[i].alias : rows[i].name,
                       rows[i].help);
    }
    return STATUS_OK;
}

enum status node_set_attrs(struct node *n, const struct node_spec *spec,
                           struct err *e)
{
    const struct attr_row *rows = n->op->attr;
    for (int i = 0; rows && rows[i].name; i++)
        n->attr[i] = rows[i].def;
    for (int i = 0; i < spec->n_attr; i++)
        TRY(set_one(n, spec->attr_name[i], spec->attr_value[i], e));
    return check_given(n, e);
}

/* Points: the places of a graph that can be quantized, and their names.
 *
 * All points and their names lie in one block, made anew when groups change.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "base/arena.h"
#include "nn/graph_parts.h"

const char *const point_suffix[POINT_KINDS] = {
    [POINT_WEIGHT] = "w",
    [POINT_BIAS] = "b",
    [POINT_IN] = "in",
    [POINT_OUT] = "out",
    [POINT_ACC] = "acc",
};

static bool has_role(const struct graph *g, const struct node *n,
                     enum param_role role)
{
    for (int i = 0; i < OP_MAX_PARAMS; i++)
        if (n->param[i] >= 0 && g->param[n->param[i]].role == role)
            return true;
    return false;
}

static bool wants_point(const struct graph *g, const struct node *n,
                        enum point_kind kind)
{
    const bool wanted[POINT_KINDS] = {
        [POINT_WEIGHT] = has_role(g, n, PARAM_WEIGHT),
        [POINT_BIAS] = has_role(g, n, PARAM_BIAS),
        [POINT_ACC] = has_role(g, n, PARAM_WEIGHT),
        [POINT_IN] = !(n->op->flags & OP_SOURCE),
        [POINT_OUT] = n->head == n->id,
    };
    return wanted[kind];
}

/* How many points there are and the bytes of their names. */
static int measure(const struct graph *g, size_t *bytes)
{
    int count = 0;
    *bytes = 0;
    for (int i = 0; i < g->n_node; i++) {
        for (int k = 0; k < POINT_KINDS; k++) {
            if (!wants_point(g, &g->node[i], (enum point_kind)k))
                continue;
            count++;
            *bytes += strlen(g->node[i].name) + strlen(point_suffix[k]) + 2;
        }
    }
    return count;
}

static char *put_name(char *at, const char *node, const char *suffix)
{
    size_t n = strlen(node), m = strlen(suffix) + 1;
    memcpy(at, node, n);
    at[n] = '.';
    memcpy(at + n + 1, suffix, m);
    return at + n + 1 + m;
}

enum status graph_make_points(struct graph *g, struct err *e)
{
    size_t name_bytes;
    int count = measure(g, &name_bytes);
    size_t table = (size_t)count * sizeof(struct point);
    struct point *point = mem_alloc(table + name_bytes, 1);
    if (!point)
        return err_memory(e, "points");
    char *names = (char *)point + table;
    int at = 0;
    for (int i = 0; i < g->n_node; i++) {
        struct node *n = &g->node[i];
        for (int k = 0; k < POINT_KINDS; k++) {
            enum point_kind kind = (enum point_kind)k;
            n->point[k] = -1;
            if (!wants_point(g, n, kind))
                continue;
            n->point[k] = at;
            point[at++] = (struct point){
                .name = names,
                .kind = kind,
                .node = i,
                .at = kind == POINT_OUT ? n->tail : i,
            };
            names = put_name(names, n->name, point_suffix[k]);
        }
    }
    mem_free(g->point);
    g->point = point;
    g->n_point = count;
    return STATUS_OK;
}

/* "w" and "weight" alike; POINT_KINDS: neither. */
static enum point_kind suffix_kind(const char *suffix)
{
    static const char *const parameter[POINT_KINDS] = {
        [POINT_WEIGHT] = "weight",
        [POINT_BIAS] = "bias",
    };
    int k = 0;
    while (k < POINT_KINDS && strcmp(point_suffix[k], suffix) != 0 &&
           !(parameter[k] && strcmp(parameter[k], suffix) == 0))
        k++;
    return (enum point_kind)k;
}

int graph_point_find(const struct graph *g, const char *name)
{
    const char *dot = strrchr(name, '.');
    if (!dot)
        return -1;
    enum point_kind kind = suffix_kind(dot + 1);
    size_t length = (size_t)(dot - name);
    for (int i = 0; kind != POINT_KINDS && i < g->n_node; i++) {
        const struct node *n = &g->node[i];
        if (strncmp(n->name, name, length) != 0 || n->name[length] != '\0')
            continue;
        int owner = kind == POINT_OUT ? n->head : i;
        return g->node[owner].point[kind];
    }
    return -1;
}

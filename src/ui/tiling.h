/* Layouts: a tree of weighted splits over named panes, written as text.
 *
 *   layers:40 (curves / hist):60        side by side, the right one split
 *   (layers curves,hist):14 / log:7     `,` panes that share one place
 *   curves=loss                         a pane with something to show
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UI_TILING_H
#define UI_TILING_H

#include <stdbool.h>

#include "base/err.h"

#define TILING_NODES 32
#define TILING_TABS 6
#define TILING_NAME 24

struct rect {
    int x, y, w, h;
};

enum tiling_split { TILING_NONE, TILING_BESIDE, TILING_ABOVE };

struct tiling_node {
    enum tiling_split split;         /* TILING_NONE: a leaf with panes */
    int weight;
    int first, next;          /* first child, next sibling; -1: none */
    int tabs;
    char tab[TILING_TABS][TILING_NAME];   /* "curves=loss" */
};

struct tiling {
    struct tiling_node node[TILING_NODES];    /* 0 is the root */
    int n;                    /* 0: no panes at all */
};

/* Errors name the place. Names are not checked against panes here. */
enum status tiling_parse(const char *text, struct tiling *out,
                         struct err *e);
/* One rectangle a node, tiling `all` without gaps; parts that get no room
 * have a width or height of 0. */
void tiling_place(const struct tiling *l, struct rect all,
                  struct rect out[TILING_NODES]);

struct tiling_row {
    const char *name, *help;
    int min_w, min_h;
    const char *text;         /* "" : status and prompt only */
};
extern const struct tiling_row tiling_table[];
extern const int tiling_count;
const struct tiling_row *tiling_find(const char *name);
/* The row for a size, given the one in use (or NULL): a larger one is kept
 * until the size is two cells below what it asks for. */
const struct tiling_row *tiling_choose(int w, int h,
                                       const struct tiling_row *now);

#endif

/* Quantizers of selected points, for commands.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LAB_POINT_LIST_H
#define LAB_POINT_LIST_H

#include "lab/args.h"

struct point_list {
    int *point;
    int n;
};

/* The points with a quantizer that the argument (NULL: all of them) means;
 * none is an error that blames the argument. */
enum status points_of(struct lab *l, const struct args *a, const char *name,
                      struct point_list *out, struct err *e);
void point_list_fini(struct point_list *p);
/* "3 points: conv1.w conv1.out ..." */
void point_list_print(const struct lab *l, const struct point_list *p,
                      struct str *out);
/* {"layers":[...]} of the nodes that own the points, into the answer. */
void answer_layers(struct lab *l, const int *node, int n);
void answer_points(struct lab *l, const struct point_list *p);

/* Quantizers of activations that are on but have no range yet are switched
 * off for a look at the model, and on again. */
struct muted {
    struct point_list list;
};
void muted_begin(struct lab *l, struct muted *m);
void muted_end(struct lab *l, struct muted *m);

#endif

/* Selectors: which layers or points a command means.
 *
 *   union  := inter { "," inter }        inter := not { "&" not }
 *   not    := "!" not | atom [ "." tensor ]
 *   atom   := name | glob | "quoted" | :type | @position | @set | /regex/ |
 *             [predicate] | ( union )
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LAB_SELECT_H
#define LAB_SELECT_H

#include "lab/lab.h"

/* What of a layer is meant: bits of selection->bits. */
enum sel_bit {
    SEL_LAYER = 1 << 0,
    SEL_W = 1 << 1, SEL_B = 1 << 2, SEL_IN = 1 << 3, SEL_OUT = 1 << 4,
    SEL_ACC = 1 << 5,         /* SEL_W << enum point_kind */
    SEL_ERR = 1 << 6, SEL_GRAD = 1 << 7, SEL_SCALE = 1 << 8
};
#define SEL_POINT(kind) (SEL_W << (kind))
#define SEL_POINTS (SEL_W | SEL_B | SEL_IN | SEL_OUT | SEL_ACC)

struct selection {
    int n;                    /* nodes of the graph */
    unsigned *bits;
    char *text;               /* as given */
};

/* Suffixes with what they mean, for completion and tensor names. */
struct sel_suffix {
    const char *name, *help;
    enum sel_bit bit;
};
extern const struct sel_suffix sel_suffix_table[];
extern const int sel_suffix_count;

/* No match is an error, unless text ends in `?`. *fault: byte of text. */
enum status selection_parse(struct lab *l, const char *text,
                            struct selection *out, int *fault,
                            struct err *e);
void selection_fini(struct selection *s);
int selection_count(const struct selection *s);
bool selection_is_all(const struct selection *s);
/* The layers (any bit), as ids; returns how many. */
int selection_nodes(const struct selection *s, int *node);
/* Explicit text: "conv1,conv2.out", or "*" for all layers. */
void selection_print(const struct lab *l, const struct selection *s,
                     struct str *out);
/* The quantized or quantizable points meant: a layer means its weight,
 * bias, input and output points; out: room for graph->n_point. */
int selection_points(const struct lab *l, const struct selection *s,
                     int *out);
/* "3 layers: conv2 pw3 pw4" (five names, then ...). */
void names_print(const struct lab *l, const int *node, int n,
                 const char *what, struct str *out);

/* Splits "conv1.w" where a layer owns the name: node, or -1; *bit. Quotes
 * name a layer as it is: "a.w".out */
int tensor_name_split(const struct lab *l, const char *name,
                      enum sel_bit *bit);

#endif

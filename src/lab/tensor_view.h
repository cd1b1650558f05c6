/* Tensors of the lab by name: `conv1.w`, `conv1.out`, `conv1.err`,
 * `conv1.grad`, `conv1.weight`. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LAB_TENSOR_VIEW_H
#define LAB_TENSOR_VIEW_H

#include "lab/view.h"

struct fetched {
    float *x;                 /* malloc'ed copy */
    int64_t n;
    struct shape shape;       /* activations: with the probe's batch */
    int axis;                 /* channel axis in it; -1: none */
    int point;                /* the quantizer's, -1: none */
    struct quantizer *q;      /* with a range; a weight's own copy, see
                                 layer_weight_quantizer; NULL: none */
    bool is_weight;
    bool has_stats;           /* q is there, and st */
    struct qstats st;
};

/* True when the name is of the right form and its layer exists. */
bool lab_is_tensor(const struct lab *l, const char *name);
enum status lab_fetch(struct lab *l, const char *name, struct fetched *out,
                      struct err *e);
void fetched_fini(struct fetched *f);

/* A forward (and for gradients a backward) pass over one batch in which every
 * value can be read. Nothing of the model moves. Kept until the model, the
 * quantizers or the data change, in a glance for a quarter of a second. */
enum status lab_probe(struct lab *l, bool gradients, struct plan **out,
                      struct err *e);
void lab_probe_drop(struct lab *l);

#endif

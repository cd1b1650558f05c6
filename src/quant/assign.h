/* Which point gets which quantizer: qconfigs, bits, folding of batch norm.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef QUANT_ASSIGN_H
#define QUANT_ASSIGN_H

#include "nn/graph.h"
#include "quant/observer.h"

/* A named set of quantizer settings: what a package does by default. */
struct qconfig {
    const char *name, *help, *source;
    const char *weight;       /* spec text */
    const char *activation;
    const char *rectified;    /* after relu, relu6; NULL: as activation */
    const char *input;        /* the net's input; NULL: as activation */
    const char *bias;         /* spec text, or NULL: float */
    const char *fold;         /* bn.fold: "qat" | "pre" | "off" */
};
extern const struct qconfig qconfig_table[];
extern const int qconfig_count;
const struct qconfig *qconfig_find(const char *name);

/* Puts a quantizer at a point (replacing the one there; flags are kept from
 * it, the range becomes stale and is found anew); spec NULL takes it away.
 * Errors name the point; on error nothing has changed. */
enum status point_set(struct graph *g, int point, const struct qspec *spec,
                      struct err *e);
/* Channel axis and shape (batch 1) of what the point quantizes. */
void point_shape(const struct graph *g, int point, struct shape *shape,
                 int *axis);
/* The points that a layer's weights and activation have by default: -1 when
 * the layer has none (max_pool keeps its input's grid). */
int layer_weight_point(const struct graph *g, int node);
int layer_out_point(const struct graph *g, int node);
/* All quantizers away. */
void graph_drop_quantizers(struct graph *g);

/* Sets the qconfig's specs on the given nodes (all when nodes is NULL):
 * weights, activation outputs, and the net's input. bits 0: the qconfig's. */
struct assign_opts {
    const struct qconfig *config;
    int weight_bits, activation_bits;   /* 0: from the config */
    const int *node;
    int n_node;
    bool input;               /* also the net's input */
};
enum status assign_qconfig(struct graph *g, const struct assign_opts *o,
                           struct err *e);

/* Quantizer states to and from a bag: text "quant", tensors. */
enum status graph_save_quant(const struct graph *g, struct bag *b,
                             struct err *e);
enum status graph_load_quant(struct graph *g, const struct bag *b,
                             struct err *e);

/* How batch norm meets the weight quantizer during QAT. */
enum bn_fold { FOLD_QAT, FOLD_PRE, FOLD_OFF, FOLD_SLOW, FOLD_COUNT };
extern const char *const bn_fold_name[FOLD_COUNT];
/* Per output channel: gamma / sqrt(running_var + eps). */
void bn_scale_factor(const struct graph *g, int bn, real *factor);
/* The batch norm whose factor the quantizer of a layer's weights sees during
 * QAT; -1: none. */
int weight_fold_bn(const struct graph *g, int node, enum bn_fold fold);
/* The parameter behind a layer's weight point, or NULL. */
const struct param *node_weight(const struct graph *g, int node);
/* What the quantizer of a layer's weights sees: W, or W * factor. x: as many
 * reals as there are weights. */
void weight_values(const struct graph *g, int node, enum bn_fold fold,
                   real *x);
/* Merges batch norm into its convolution or dense layer for good:
 * W' = W*gamma/sqrt(var+eps), b' = (b - mean)*gamma/sqrt(var+eps) + beta.
 * Needs a bias there (made when the layer has none). node: the conv / dense;
 * STATUS_ARG with a text when there is nothing to fold. */
enum status bn_fold_layer(struct graph *g, int node, struct err *e);

/* Everything that training changes besides parameters: running statistics
 * and quantizer states, for abandoning a batch. */
size_t graph_state_bytes(const struct graph *g);
void graph_state_get(const struct graph *g, void *bytes);
void graph_state_set(struct graph *g, const void *bytes);

#endif

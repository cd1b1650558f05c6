/* The doors to oneDNN: convolution in (N,H,W,C), float32, and matrix products.
 * Only onednn.c includes dnnl.h. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef ENGINE_ONEDNN_H
#define ENGINE_ONEDNN_H

#include "base/err.h"
#include "base/str.h"
#include "nn/op_conv.h"

/* An engine and a stream; one a plan. */
struct dnn;
enum status dnn_new(struct dnn **out, struct err *e);
void dnn_free(struct dnn *d);

enum dnn_dir { DNN_FORWARD, DNN_BACK_DATA, DNN_BACK_WEIGHTS };

struct dnn_conv_spec {
    struct conv_geom geom;
    enum dnn_dir dir;
    bool bias;                /* forward only */
    /* Backward only: values, weights and the gradient of y in bf16; gradients
     * of x and of the weights in float32 all the same. */
    bool bf16;
};

/* One convolution in one direction. Weights lie in a layout of its own
 * choice; dnn_reorder brings them there from (O,I/groups,KH,KW) and back. */
struct dnn_conv;
enum status dnn_conv_new(struct dnn *d, const struct dnn_conv_spec *s,
                         struct dnn_conv **out, struct err *e);
void dnn_conv_free(struct dnn_conv *c);
size_t dnn_conv_weight_bytes(const struct dnn_conv *c);
size_t dnn_conv_scratch_bytes(const struct dnn_conv *c);
bool dnn_conv_same_weights(const struct dnn_conv *a, const struct dnn_conv *b);
/* "jit:avx2" */
const char *dnn_conv_name(const struct dnn_conv *c);

/* Both gradients of such a convolution in bf16, by something quick. */
bool dnn_conv_has_bf16(struct dnn *d, const struct conv_geom *g);

/* x, y: input and output values or their gradients; 64-byte aligned. */
struct dnn_conv_data {
    void *x, *w, *bias, *y, *scratch;
};
enum status dnn_conv_bind(struct dnn_conv *c, const struct dnn_conv_data *at,
                          struct err *e);
enum status dnn_conv_run(struct dnn_conv *c, struct err *e);

struct dnn_reorder;
/* inward: from (O,I,KH,KW) into the convolution's layout; else back. */
enum status dnn_reorder_new(struct dnn *d, const struct dnn_conv *c,
                            bool inward, struct dnn_reorder **out,
                            struct err *e);
void dnn_reorder_free(struct dnn_reorder *r);
size_t dnn_reorder_scratch_bytes(const struct dnn_reorder *r);
enum status dnn_reorder_bind(struct dnn_reorder *r, const void *from,
                             void *to, void *scratch, struct err *e);
enum status dnn_reorder_run(struct dnn_reorder *r, struct err *e);

/* C = A B + beta C, row-major; `a_turned`: A is stored (k, m). m, n, k as in
 * BLAS: C (m, n). Leading dimensions are those of whole matrices. */
struct dnn_product {
    int64_t m, n, k;
    bool a_turned, b_turned;
    float beta;
    const float *a, *b;
    float *c;
};
enum status dnn_product_run(const struct dnn_product *g, struct err *e);

/* The processor, as oneDNN is allowed to use it, multiplies bf16. */
bool dnn_has_bf16(void);
void dnn_describe(struct str *out);

#endif

/* The doors to oneDNN for sums of products of integers: bytes by signed bytes
 * into 32-bit sums, or float32 whose values are whole numbers.
 *
 * Neither is exact always. Byte products are added in pairs of 16 bits that
 * saturate on processors without VNNI, and the sums pass through float32 when
 * they are written: what holds where is the caller's to check.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef ENGINE_ONEDNN_INT_H
#define ENGINE_ONEDNN_INT_H

#include "base/err.h"
#include "base/str.h"
#include "nn/op_conv.h"

struct dnn;                   /* engine/onednn.h */

struct dnn_sums_spec {
    struct conv_geom geom;    /* x (N,H,W,C), y likewise */
    bool dense;               /* n rows of ci numbers to co */
    bool bytes;               /* u8 x s8 -> s32; else float32 */
    /* Threads that run it at the same time, each alone on data of its own;
     * 0: one caller, oneDNN shares the work out. */
    int lanes;
};

/* *out NULL: oneDNN has nothing but its slow reference for this. */
struct dnn_sums;
enum status dnn_sums_new(struct dnn *d,
                         const struct dnn_sums_spec *s, struct dnn_sums **out,
                         struct err *e);
void dnn_sums_free(struct dnn_sums *s);
size_t dnn_sums_weight_bytes(const struct dnn_sums *s);
size_t dnn_sums_scratch_bytes(const struct dnn_sums *s);    /* of all lanes */
const char *dnn_sums_name(const struct dnn_sums *s);

/* weights: dnn_sums_weight_bytes(), aligned to 64 bytes. */
enum status dnn_sums_bind(struct dnn_sums *s, void *weights, void *scratch,
                          struct err *e);
/* From (O,I/groups,KH,KW): int8_t or float. */
enum status dnn_sums_load(struct dnn_sums *s, const void *plain,
                          struct err *e);
enum status dnn_sums_run(struct dnn_sums *s, int lane, const void *x, void *y,
                         struct err *e);

/* The processor, as oneDNN is allowed to use it, adds byte products in 32
 * bits. */
bool dnn_has_vnni(void);

#endif

/* Shapes, element types, tensors.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TENSOR_TENSOR_H
#define TENSOR_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "tensor/real.h"

#define SHAPE_MAX 8

struct shape {
    int rank;
    int64_t dim[SHAPE_MAX];
};

struct shape shape_make(int rank, ...);            /* int64_t arguments */
struct shape shape_1(int64_t a);
struct shape shape_2(int64_t a, int64_t b);
struct shape shape_3(int64_t a, int64_t b, int64_t c);
struct shape shape_4(int64_t a, int64_t b, int64_t c, int64_t d);
bool shape_equal(const struct shape *a, const struct shape *b);
int64_t shape_count(const struct shape *s);        /* product; 1 for rank 0 */
int64_t shape_inner(const struct shape *s, int axis); /* product after axis */
int64_t shape_outer(const struct shape *s, int axis); /* product before axis */
void shape_add(struct str *out, const struct shape *s);   /* "6x28x28" */

/* Product of dims * element size with overflow and cap checks, for sizes
 * that come from files. */
enum status shape_bytes(const struct shape *s, size_t elem, size_t cap,
                        size_t *bytes, struct err *e);

enum dtype {
    DTYPE_F32, DTYPE_F64, DTYPE_F16, DTYPE_BF16, DTYPE_I8, DTYPE_U8,
    DTYPE_I16, DTYPE_U16, DTYPE_I32, DTYPE_U32, DTYPE_I64, DTYPE_U64,
    DTYPE_BOOL, DTYPE_COUNT
};

struct dtype_row {
    const char *name;         /* "float32" */
    const char *safetensors;  /* "F32" */
    const char *numpy;        /* "<f4" */
    size_t size;
    bool is_float, is_signed;
};
extern const struct dtype_row dtype_table[DTYPE_COUNT];

struct tensor {
    enum dtype type;
    struct shape shape;
    void *data;               /* row-major, mem_alloc'ed or a view */
    bool is_view;             /* data belongs to somebody else */
};

enum status tensor_init(struct tensor *t, enum dtype type,
                        const struct shape *shape, struct err *e); /* zeroed */
struct tensor tensor_view(enum dtype type, const struct shape *shape,
                          void *data);
enum status tensor_copy(struct tensor *out, const struct tensor *in,
                        struct err *e);
void tensor_fini(struct tensor *t);
size_t tensor_bytes(const struct tensor *t);
double tensor_get(const struct tensor *t, int64_t i);   /* element i as double */
/* A new tensor of another type, values converted (saturating to integers). */
enum status tensor_cast(struct tensor *out, const struct tensor *in,
                        enum dtype type, struct err *e);

/* How a rank-4 value lies in memory; other ranks are always row-major. */
enum layout { LAYOUT_NCHW, LAYOUT_NHWC };

/* y (N,H,W,C) <- x (N,C,H,W), and back. */
void nchw_to_nhwc(const float *x, float *y, int64_t n, int64_t c, int64_t hw);
void nhwc_to_nchw(const float *x, float *y, int64_t n, int64_t c, int64_t hw);

#endif

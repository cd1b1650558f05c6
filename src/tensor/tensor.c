/* Tensors: storage, copies, casts. SPDX-License-Identifier: GPL-3.0-or-later */
#include "tensor/tensor.h"

#include <assert.h>
#include <string.h>

#include "base/arena.h"
#include "tensor/dtype.h"

enum status tensor_init(struct tensor *t, enum dtype type,
                        const struct shape *shape, struct err *e)
{
    assert((unsigned)type < DTYPE_COUNT);
    size_t bytes = 0;
    enum status s = shape_bytes(shape, dtype_table[type].size, PTRDIFF_MAX,
                                &bytes, e);
    if (s != STATUS_OK)
        return err_wrap(e, s, "tensor");
    void *data = mem_alloc(1, bytes);
    if (!data) {
        struct str name = { 0 };
        shape_add(&name, shape);
        s = err_set(e, STATUS_MEM, "out of memory for a tensor %s of %s "
                    "(%zu bytes)", str_text(&name), dtype_table[type].name,
                    bytes);
        str_fini(&name);
        return s;
    }
    *t = (struct tensor){ .type = type, .shape = *shape, .data = data };
    return STATUS_OK;
}

struct tensor tensor_view(enum dtype type, const struct shape *shape,
                          void *data)
{
    return (struct tensor){
        .type = type, .shape = *shape, .data = data, .is_view = true,
    };
}

enum status tensor_copy(struct tensor *out, const struct tensor *in,
                        struct err *e)
{
    struct tensor t;
    TRY(tensor_init(&t, in->type, &in->shape, e));
    if (tensor_bytes(in) > 0)
        memcpy(t.data, in->data, tensor_bytes(in));
    *out = t;
    return STATUS_OK;
}

void tensor_fini(struct tensor *t)
{
    if (!t->is_view)
        mem_free(t->data);
    *t = (struct tensor){ 0 };
}

size_t tensor_bytes(const struct tensor *t)
{
    return (size_t)shape_count(&t->shape) * dtype_table[t->type].size;
}

double tensor_get(const struct tensor *t, int64_t i)
{
    assert(i >= 0 && i < shape_count(&t->shape));
    const unsigned char *p = t->data;
    return dtype_read(t->type, p + (size_t)i * dtype_table[t->type].size);
}

enum status tensor_cast(struct tensor *out, const struct tensor *in,
                        enum dtype type, struct err *e)
{
    /* Same type: through double, 64-bit integers would lose their tail. */
    if (type == in->type)
        return tensor_copy(out, in, e);
    struct tensor t;
    TRY(tensor_init(&t, type, &in->shape, e));
    const unsigned char *from = in->data;
    unsigned char *to = t.data;
    size_t from_size = dtype_table[in->type].size;
    size_t to_size = dtype_table[type].size;
    int64_t n = shape_count(&in->shape);
    for (int64_t i = 0; i < n; i++, from += from_size, to += to_size)
        dtype_write(type, to, dtype_read(in->type, from));
    *out = t;
    return STATUS_OK;
}

/* y (B,A) <- x (A,B), in tiles that fit the first-level cache. */
static void transpose(const float *x, float *y, int64_t rows, int64_t cols)
{
    enum { TILE = 16 };
    for (int64_t r0 = 0; r0 < rows; r0 += TILE) {
        int64_t r1 = r0 + TILE < rows ? r0 + TILE : rows;
        for (int64_t c0 = 0; c0 < cols; c0 += TILE) {
            int64_t c1 = c0 + TILE < cols ? c0 + TILE : cols;
            for (int64_t c = c0; c < c1; c++)
                for (int64_t r = r0; r < r1; r++)
                    y[c * rows + r] = x[r * cols + c];
        }
    }
}

void nchw_to_nhwc(const float *x, float *y, int64_t n, int64_t c, int64_t hw)
{
#pragma omp parallel for if (n * c * hw > 65536)
    for (int64_t i = 0; i < n; i++)
        transpose(x + i * c * hw, y + i * c * hw, c, hw);
}

void nhwc_to_nchw(const float *x, float *y, int64_t n, int64_t c, int64_t hw)
{
#pragma omp parallel for if (n * c * hw > 65536)
    for (int64_t i = 0; i < n; i++)
        transpose(x + i * c * hw, y + i * c * hw, hw, c);
}

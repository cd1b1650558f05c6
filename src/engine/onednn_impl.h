/* What the files that include dnnl.h share: the engine, descriptors in the
 * form of oneDNN 2 and of oneDNN 3, errors.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef ENGINE_ONEDNN_IMPL_H
#define ENGINE_ONEDNN_IMPL_H

#include <dnnl.h>

#include "base/err.h"
#include "nn/op_conv.h"

struct dnn {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
};

/* Our status for one of oneDNN's that is not success. */
enum status dnn_fail(dnnl_status_t s, const char *what, struct err *e);

/* A oneDNN call in a function that returns our status. */
#define DNN_TRY(call, what)                                                  \
    do {                                                                     \
        dnnl_status_t dnn_status_ = (call);                                  \
        if (dnn_status_ != dnnl_success)                                     \
            return dnn_fail(dnn_status_, what, e);                           \
    } while (0)

/* A memory descriptor before it is made. */
struct dnn_shape {
    int rank;
    dnnl_dims_t dim;
    dnnl_data_type_t type;
    dnnl_format_tag_t tag;
};

struct dnn_window {
    dnnl_dims_t stride, dilate, before, after;
};

static inline struct dnn_window dnn_window_of(const struct conv_geom *g)
{
    return (struct dnn_window){
        .stride = {g->sh, g->sw},
        .dilate = {g->dh - 1, g->dw - 1},
        .before = {g->pt, g->pl},
        .after = {g->pb, g->pr},
    };
}

/* (O,I,KH,KW), or (G,O/G,I/G,KH,KW) for groups: the same bytes. */
static inline struct dnn_shape dnn_weight_shape(const struct conv_geom *g,
                                                dnnl_data_type_t type,
                                                bool plain)
{
    if (g->groups == 1)
        return (struct dnn_shape){
            4, {g->co, g->ci, g->kh, g->kw}, type,
            plain ? dnnl_oihw : dnnl_format_tag_any};
    return (struct dnn_shape){
        5,
        {g->groups, g->co / g->groups, g->ci / g->groups, g->kh, g->kw},
        type, plain ? dnnl_goihw : dnnl_format_tag_any};
}

#if DNNL_VERSION_MAJOR >= 3

typedef const_dnnl_memory_desc_t const_desc_t;
typedef dnnl_memory_desc_t desc_t;

static inline dnnl_status_t desc_make(desc_t *d, const struct dnn_shape *s)
{
    return dnnl_memory_desc_create_with_tag(d, s->rank, s->dim, s->type,
                                            s->tag);
}

static inline void desc_free(desc_t *d)
{
    if (*d)
        dnnl_memory_desc_destroy(*d);
    *d = NULL;
}

static inline const_desc_t desc_of(const desc_t *d)
{
    return *d;
}

#else

typedef const dnnl_memory_desc_t *const_desc_t;
typedef dnnl_memory_desc_t desc_t;

static inline dnnl_status_t desc_make(desc_t *d, const struct dnn_shape *s)
{
    return dnnl_memory_desc_init_by_tag(d, s->rank, s->dim, s->type, s->tag);
}

static inline void desc_free(desc_t *d)
{
    (void)d;
}

static inline const_desc_t desc_of(const desc_t *d)
{
    return d;
}

#endif

/* The implementation's name, as oneDNN spells it. */
static inline const char *dnn_desc_name(const_dnnl_primitive_desc_t d)
{
    const char *name = "";
    dnnl_primitive_desc_query(d, dnnl_query_impl_info_str, 0, &name);
    return name;
}

/* oneDNN takes every pointer without const; these are only read. */
static inline void *dnn_readable(const void *p)
{
    union {
        const void *in;
        void *out;
    } u = {.in = p};
    return u.out;
}

#endif

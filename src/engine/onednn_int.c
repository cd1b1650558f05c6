/* oneDNN's integer and whole-number products behind small functions.
 *
 * Written for oneDNN 2 and 3. SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/onednn_int.h"

#include <dnnl.h>
#include <string.h>

#include "base/arena.h"

#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t const_desc_t;
#else
typedef const dnnl_memory_desc_t *const_desc_t;
#endif

struct dnn_sums_engine {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
};

enum { SUMS_X, SUMS_W, SUMS_Y, SUMS_SCRATCH, SUMS_ARGS };

struct dnn_sums {
    struct dnn_sums_engine *dnn;
    struct dnn_sums_spec spec;
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t prim;
    dnnl_primitive_t reorder;
    dnnl_memory_t memory[SUMS_ARGS], plain;
};

static enum status fail(dnnl_status_t s, const char *what, struct err *e)
{
    if (s == dnnl_out_of_memory)
        return err_memory(e, what);
    return err_set(e, STATUS_FAIL, "oneDNN status %d in %s", (int)s, what);
}

/* A oneDNN call in a function that returns our status. */
#define DNN_TRY(call, what)                                                  \
    do {                                                                     \
        dnnl_status_t dnn_status_ = (call);                                  \
        if (dnn_status_ != dnnl_success)                                     \
            return fail(dnn_status_, what, e);                               \
    } while (0)

enum status dnn_sums_engine_new(struct dnn_sums_engine **out, struct err *e)
{
    *out = NULL;
    struct dnn_sums_engine *d = mem_alloc(1, sizeof(*d));
    if (!d)
        return err_memory(e, "oneDNN");
    dnnl_status_t s = dnnl_engine_create(&d->engine, dnnl_cpu, 0);
    if (s == dnnl_success)
        s = dnnl_stream_create(&d->stream, d->engine,
                               dnnl_stream_default_flags);
    if (s != dnnl_success) {
        dnn_sums_engine_free(d);
        return fail(s, "its engine", e);
    }
    *out = d;
    return STATUS_OK;
}

void dnn_sums_engine_free(struct dnn_sums_engine *d)
{
    if (!d)
        return;
    if (d->stream)
        dnnl_stream_destroy(d->stream);
    if (d->engine)
        dnnl_engine_destroy(d->engine);
    mem_free(d);
}

/* ---- descriptors ---- */

struct shape_desc {
    int rank;
    dnnl_dims_t dim;
    dnnl_data_type_t type;
    dnnl_format_tag_t tag;
};

struct sums_descs {
    struct shape_desc x, w, w_plain, y;
};

static struct sums_descs dense_descs(const struct conv_geom *g)
{
    return (struct sums_descs){
        .x = {2, {g->n, g->ci}, 0, dnnl_ab},
        .w = {2, {g->co, g->ci}, 0, dnnl_format_tag_any},
        .w_plain = {2, {g->co, g->ci}, 0, dnnl_ab},
        .y = {2, {g->n, g->co}, 0, dnnl_ab},
    };
}

static struct sums_descs conv_descs(const struct conv_geom *g)
{
    struct sums_descs d = {
        .x = {4, {g->n, g->ci, g->h, g->w}, 0, dnnl_nhwc},
        .w = {4, {g->co, g->ci, g->kh, g->kw}, 0, dnnl_format_tag_any},
        .w_plain = {4, {g->co, g->ci, g->kh, g->kw}, 0, dnnl_oihw},
        .y = {4, {g->n, g->co, g->oh, g->ow}, 0, dnnl_nhwc},
    };
    if (g->groups == 1)
        return d;
    const dnnl_dims_t grouped = {g->groups, g->co / g->groups,
                                 g->ci / g->groups, g->kh, g->kw};
    d.w.rank = d.w_plain.rank = 5;
    memcpy(d.w.dim, grouped, sizeof(grouped));
    memcpy(d.w_plain.dim, grouped, sizeof(grouped));
    d.w_plain.tag = dnnl_goihw;
    return d;
}

static struct sums_descs descs_of(const struct dnn_sums_spec *s)
{
    struct sums_descs d = s->dense ? dense_descs(&s->geom)
                                   : conv_descs(&s->geom);
    d.x.type = s->bytes ? dnnl_u8 : dnnl_f32;
    d.w.type = d.w_plain.type = s->bytes ? dnnl_s8 : dnnl_f32;
    d.y.type = s->bytes ? dnnl_s32 : dnnl_f32;
    return d;
}

struct sums_window {
    dnnl_dims_t stride, dilate, before, after;
};

static struct sums_window window_of(const struct conv_geom *g)
{
    return (struct sums_window){
        .stride = {g->sh, g->sw},
        .dilate = {g->dh - 1, g->dw - 1},
        .before = {g->pt, g->pl},
        .after = {g->pb, g->pr},
    };
}

/* ---- what differs between versions 2 and 3 ---- */

#if DNNL_VERSION_MAJOR >= 3

typedef dnnl_memory_desc_t desc_t;

static dnnl_status_t desc_make(desc_t *d, const struct shape_desc *s)
{
    return dnnl_memory_desc_create_with_tag(d, s->rank, s->dim, s->type,
                                            s->tag);
}

static void desc_free(desc_t *d)
{
    if (*d)
        dnnl_memory_desc_destroy(*d);
    *d = NULL;
}

static const_desc_t desc_of(const desc_t *d)
{
    return *d;
}

static dnnl_status_t primitive_desc_make(struct dnn_sums *s, const desc_t m[3],
                                         const_dnnl_primitive_attr_t attr)
{
    struct sums_window k = window_of(&s->spec.geom);
    dnnl_engine_t engine = s->dnn->engine;
    if (s->spec.dense)
        return dnnl_inner_product_forward_primitive_desc_create(
            &s->desc, engine, dnnl_forward_inference, m[0], m[1], NULL, m[2],
            attr);
    return dnnl_convolution_forward_primitive_desc_create(
        &s->desc, engine, dnnl_forward_inference, dnnl_convolution_direct,
        m[0], m[1], NULL, m[2], k.stride, k.dilate, k.before, k.after, attr);
}

#else

typedef dnnl_memory_desc_t desc_t;

static dnnl_status_t desc_make(desc_t *d, const struct shape_desc *s)
{
    return dnnl_memory_desc_init_by_tag(d, s->rank, s->dim, s->type, s->tag);
}

static void desc_free(desc_t *d)
{
    (void)d;
}

static const_desc_t desc_of(const desc_t *d)
{
    return d;
}

static dnnl_status_t primitive_desc_make(struct dnn_sums *s, const desc_t m[3],
                                         const_dnnl_primitive_attr_t attr)
{
    struct sums_window k = window_of(&s->spec.geom);
    union {
        dnnl_inner_product_desc_t dense;
        dnnl_convolution_desc_t conv;
    } d;
    dnnl_status_t st;
    if (s->spec.dense)
        st = dnnl_inner_product_forward_desc_init(
            &d.dense, dnnl_forward_inference, &m[0], &m[1], NULL, &m[2]);
    else
        st = dnnl_dilated_convolution_forward_desc_init(
            &d.conv, dnnl_forward_inference, dnnl_convolution_direct, &m[0],
            &m[1], NULL, &m[2], k.stride, k.dilate, k.before, k.after);
    if (st != dnnl_success)
        return st;
    return dnnl_primitive_desc_create(&s->desc, &d, attr, s->dnn->engine,
                                      NULL);
}

#endif

/* ---- making ---- */

/* Whole numbers in float32 stay whole only in float32. */
static dnnl_status_t attr_make(dnnl_primitive_attr_t *attr)
{
    dnnl_status_t s = dnnl_primitive_attr_create(attr);
    if (s == dnnl_success)
        s = dnnl_primitive_attr_set_scratchpad_mode(
            *attr, dnnl_scratchpad_mode_user);
    if (s == dnnl_success)
        s = dnnl_primitive_attr_set_fpmath_mode(*attr,
                                                dnnl_fpmath_mode_strict);
    return s;
}

const char *dnn_sums_name(const struct dnn_sums *s)
{
    const char *name = "";
    dnnl_primitive_desc_query(s->desc, dnnl_query_impl_info_str, 0, &name);
    return name;
}

static bool is_slow(const struct dnn_sums *s)
{
    const char *name = dnn_sums_name(s);
    return strstr(name, "ref") || strstr(name, "simple");
}

/* Leaves desc NULL when there is no implementation. */
static enum status make_desc(struct dnn_sums *s, struct err *e)
{
    struct sums_descs d = descs_of(&s->spec);
    dnnl_primitive_attr_t attr = NULL;
    desc_t m[3];
    memset(m, 0, sizeof(m));
    dnnl_status_t st = attr_make(&attr);
    if (st == dnnl_success)
        st = desc_make(&m[0], &d.x);
    if (st == dnnl_success)
        st = desc_make(&m[1], &d.w);
    if (st == dnnl_success)
        st = desc_make(&m[2], &d.y);
    if (st == dnnl_success)
        st = primitive_desc_make(s, m, attr);
    for (int i = 0; i < 3; i++)
        desc_free(&m[i]);
    if (attr)
        dnnl_primitive_attr_destroy(attr);
    if (st == dnnl_unimplemented)
        return STATUS_OK;
    return st == dnnl_success ? STATUS_OK : fail(st, "a product", e);
}

enum status dnn_sums_new(struct dnn_sums_engine *d,
                         const struct dnn_sums_spec *spec,
                         struct dnn_sums **out, struct err *e)
{
    *out = NULL;
    struct dnn_sums *s = mem_alloc(1, sizeof(*s));
    if (!s)
        return err_memory(e, "a product");
    s->dnn = d;
    s->spec = *spec;
    enum status st = make_desc(s, e);
    if (st || !s->desc || is_slow(s)) {
        dnn_sums_free(s);
        return st;
    }
    dnnl_status_t made = dnnl_primitive_create(&s->prim, s->desc);
    if (made != dnnl_success) {
        dnn_sums_free(s);
        return fail(made, "a product", e);
    }
    *out = s;
    return STATUS_OK;
}

void dnn_sums_free(struct dnn_sums *s)
{
    if (!s)
        return;
    for (int i = 0; i < SUMS_ARGS; i++)
        if (s->memory[i])
            dnnl_memory_destroy(s->memory[i]);
    if (s->plain)
        dnnl_memory_destroy(s->plain);
    if (s->prim)
        dnnl_primitive_destroy(s->prim);
    if (s->reorder)
        dnnl_primitive_destroy(s->reorder);
    if (s->desc)
        dnnl_primitive_desc_destroy(s->desc);
    mem_free(s);
}

/* ---- memory ---- */

static const dnnl_query_t arg_query[SUMS_ARGS] = {
    [SUMS_X] = dnnl_query_src_md,
    [SUMS_W] = dnnl_query_weights_md,
    [SUMS_Y] = dnnl_query_dst_md,
    [SUMS_SCRATCH] = dnnl_query_scratchpad_md,
};

static const int arg_role[SUMS_ARGS] = {
    [SUMS_X] = DNNL_ARG_SRC,
    [SUMS_W] = DNNL_ARG_WEIGHTS,
    [SUMS_Y] = DNNL_ARG_DST,
    [SUMS_SCRATCH] = DNNL_ARG_SCRATCHPAD,
};

static const_desc_t arg_desc(const struct dnn_sums *s, int arg)
{
    return dnnl_primitive_desc_query_md(s->desc, arg_query[arg], 0);
}

size_t dnn_sums_weight_bytes(const struct dnn_sums *s)
{
    return dnnl_memory_desc_get_size(arg_desc(s, SUMS_W));
}

size_t dnn_sums_scratch_bytes(const struct dnn_sums *s)
{
    return dnnl_memory_desc_get_size(arg_desc(s, SUMS_SCRATCH));
}

static enum status reorder_make(struct dnn_sums *s, const desc_t *plain,
                                struct err *e)
{
    dnnl_engine_t engine = s->dnn->engine;
    dnnl_primitive_desc_t d = NULL;
    DNN_TRY(dnnl_reorder_primitive_desc_create(&d, desc_of(plain), engine,
                                               arg_desc(s, SUMS_W), engine,
                                               NULL),
            "weights");
    dnnl_status_t st = dnnl_primitive_create(&s->reorder, d);
    dnnl_primitive_desc_destroy(d);
    DNN_TRY(st, "weights");
    DNN_TRY(dnnl_memory_create(&s->plain, desc_of(plain), engine,
                               DNNL_MEMORY_NONE),
            "weights");
    return STATUS_OK;
}

enum status dnn_sums_bind(struct dnn_sums *s, void *weights, void *scratch,
                          struct err *e)
{
    void *const at[SUMS_ARGS] = {
        [SUMS_X] = DNNL_MEMORY_NONE,
        [SUMS_W] = weights,
        [SUMS_Y] = DNNL_MEMORY_NONE,
        [SUMS_SCRATCH] = scratch,
    };
    for (int i = 0; i < SUMS_ARGS; i++) {
        if (i == SUMS_SCRATCH && dnn_sums_scratch_bytes(s) == 0)
            continue;
        DNN_TRY(dnnl_memory_create(&s->memory[i], arg_desc(s, i),
                                   s->dnn->engine, at[i]),
                "memory");
    }
    struct sums_descs d = descs_of(&s->spec);
    desc_t plain;
    memset(&plain, 0, sizeof(plain));
    DNN_TRY(desc_make(&plain, &d.w_plain), "weights");
    enum status st = reorder_make(s, &plain, e);
    desc_free(&plain);
    return st;
}

/* oneDNN takes every pointer without const; these are only read. */
static void *readable(const void *p)
{
    union {
        const void *in;
        void *out;
    } u = {.in = p};
    return u.out;
}

enum status dnn_sums_load(struct dnn_sums *s, const void *plain,
                          struct err *e)
{
    DNN_TRY(dnnl_memory_set_data_handle(s->plain, readable(plain)),
            "weights");
    const dnnl_exec_arg_t arg[2] = {{DNNL_ARG_FROM, s->plain},
                                    {DNNL_ARG_TO, s->memory[SUMS_W]}};
    DNN_TRY(dnnl_primitive_execute(s->reorder, s->dnn->stream, 2, arg),
            "weights");
    return STATUS_OK;
}

enum status dnn_sums_run(struct dnn_sums *s, const void *x, void *y,
                         struct err *e)
{
    dnnl_exec_arg_t arg[SUMS_ARGS];
    int n = 0;
    DNN_TRY(dnnl_memory_set_data_handle(s->memory[SUMS_X], readable(x)),
            "a product");
    DNN_TRY(dnnl_memory_set_data_handle(s->memory[SUMS_Y], y), "a product");
    for (int i = 0; i < SUMS_ARGS; i++)
        if (s->memory[i])
            arg[n++] = (dnnl_exec_arg_t){arg_role[i], s->memory[i]};
    DNN_TRY(dnnl_primitive_execute(s->prim, s->dnn->stream, n, arg),
            "a product");
    return STATUS_OK;
}

bool dnn_has_vnni(void)
{
    unsigned isa = (unsigned)dnnl_get_effective_cpu_isa();
    unsigned wide = (unsigned)dnnl_cpu_isa_avx512_core_vnni;
    unsigned narrow = (unsigned)dnnl_cpu_isa_avx2_vnni;
    return (isa & wide) == wide || (isa & narrow) == narrow;
}

/* oneDNN's integer and whole-number products behind small functions.
 *
 * Written for oneDNN 2 and 3. SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/onednn_int.h"

#include <omp.h>
#include <string.h>

#include "base/arena.h"
#include "engine/onednn.h"
#include "engine/onednn_impl.h"

enum { SUMS_X, SUMS_W, SUMS_Y, SUMS_SCRATCH, SUMS_ARGS };

/* What one caller at a time uses. */
struct sums_lane {
    dnnl_stream_t stream;
    dnnl_memory_t memory[SUMS_ARGS];
};

struct dnn_sums {
    struct dnn *dnn;
    struct dnn_sums_spec spec;
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t prim;
    dnnl_primitive_t reorder;
    dnnl_memory_t weights, plain;
    struct sums_lane *lane;
    int lanes;                /* 1 at least */
};

/* ---- descriptors ---- */

struct sums_descs {
    struct dnn_shape x, w, w_plain, y;
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
    return (struct sums_descs){
        .x = {4, {g->n, g->ci, g->h, g->w}, 0, dnnl_nhwc},
        .w = dnn_weight_shape(g, 0, false),
        .w_plain = dnn_weight_shape(g, 0, true),
        .y = {4, {g->n, g->co, g->oh, g->ow}, 0, dnnl_nhwc},
    };
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

/* ---- what differs between versions 2 and 3 ---- */

#if DNNL_VERSION_MAJOR >= 3

static dnnl_status_t primitive_desc_make(struct dnn_sums *s, const desc_t m[3],
                                         const_dnnl_primitive_attr_t attr)
{
    struct dnn_window k = dnn_window_of(&s->spec.geom);
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

static dnnl_status_t primitive_desc_make(struct dnn_sums *s, const desc_t m[3],
                                         const_dnnl_primitive_attr_t attr)
{
    struct dnn_window k = dnn_window_of(&s->spec.geom);
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
    return dnn_desc_name(s->desc);
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
    return st == dnnl_success ? STATUS_OK : dnn_fail(st, "a product", e);
}

static enum status make(struct dnn_sums *s, struct err *e)
{
    s->lanes = s->spec.lanes > 1 ? s->spec.lanes : 1;
    s->lane = mem_alloc((size_t)s->lanes, sizeof(*s->lane));
    if (!s->lane)
        return err_memory(e, "a product");
    TRY(make_desc(s, e));
    if (!s->desc || is_slow(s))
        return STATUS_OK;
    DNN_TRY(dnnl_primitive_create(&s->prim, s->desc), "a product");
    return STATUS_OK;
}

/* A primitive shares its work out as it was told when it was made. */
enum status dnn_sums_new(struct dnn *d, const struct dnn_sums_spec *spec,
                         struct dnn_sums **out, struct err *e)
{
    *out = NULL;
    struct dnn_sums *s = mem_alloc(1, sizeof(*s));
    if (!s)
        return err_memory(e, "a product");
    s->dnn = d;
    s->spec = *spec;
    int threads = omp_get_max_threads();
    if (spec->lanes > 0)
        omp_set_num_threads(1);
    enum status st = make(s, e);
    omp_set_num_threads(threads);
    if (st || !s->prim) {
        dnn_sums_free(s);
        return st;
    }
    *out = s;
    return STATUS_OK;
}

static void lane_fini(struct sums_lane *l)
{
    for (int i = 0; i < SUMS_ARGS; i++)
        if (l->memory[i])
            dnnl_memory_destroy(l->memory[i]);
    if (l->stream)
        dnnl_stream_destroy(l->stream);
}

void dnn_sums_free(struct dnn_sums *s)
{
    if (!s)
        return;
    for (int i = 0; i < s->lanes && s->lane; i++)
        lane_fini(&s->lane[i]);
    mem_free(s->lane);
    if (s->weights)
        dnnl_memory_destroy(s->weights);
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

static size_t lane_scratch(const struct dnn_sums *s)
{
    size_t bytes = dnnl_memory_desc_get_size(arg_desc(s, SUMS_SCRATCH));
    return (bytes + 63) / 64 * 64;
}

size_t dnn_sums_scratch_bytes(const struct dnn_sums *s)
{
    return lane_scratch(s) * (size_t)s->lanes;
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

static enum status lane_bind(struct dnn_sums *s, struct sums_lane *l,
                             void *weights, void *scratch, struct err *e)
{
    void *const at[SUMS_ARGS] = {
        [SUMS_X] = DNNL_MEMORY_NONE,
        [SUMS_W] = weights,
        [SUMS_Y] = DNNL_MEMORY_NONE,
        [SUMS_SCRATCH] = scratch,
    };
    DNN_TRY(dnnl_stream_create(&l->stream, s->dnn->engine,
                               dnnl_stream_default_flags),
            "a stream");
    for (int i = 0; i < SUMS_ARGS; i++) {
        if (i == SUMS_SCRATCH && lane_scratch(s) == 0)
            continue;
        DNN_TRY(dnnl_memory_create(&l->memory[i], arg_desc(s, i),
                                   s->dnn->engine, at[i]),
                "memory");
    }
    return STATUS_OK;
}

enum status dnn_sums_bind(struct dnn_sums *s, void *weights, void *scratch,
                          struct err *e)
{
    for (int i = 0; i < s->lanes; i++)
        TRY(lane_bind(s, &s->lane[i], weights,
                      (char *)scratch + (size_t)i * lane_scratch(s), e));
    DNN_TRY(dnnl_memory_create(&s->weights, arg_desc(s, SUMS_W),
                               s->dnn->engine, weights),
            "memory");
    struct sums_descs d = descs_of(&s->spec);
    desc_t plain;
    memset(&plain, 0, sizeof(plain));
    DNN_TRY(desc_make(&plain, &d.w_plain), "weights");
    enum status st = reorder_make(s, &plain, e);
    desc_free(&plain);
    return st;
}

enum status dnn_sums_load(struct dnn_sums *s, const void *plain,
                          struct err *e)
{
    DNN_TRY(dnnl_memory_set_data_handle(s->plain, dnn_readable(plain)),
            "weights");
    const dnnl_exec_arg_t arg[2] = {{DNNL_ARG_FROM, s->plain},
                                    {DNNL_ARG_TO, s->weights}};
    DNN_TRY(dnnl_primitive_execute(s->reorder, s->dnn->stream, 2, arg),
            "weights");
    return STATUS_OK;
}

enum status dnn_sums_run(struct dnn_sums *s, int lane, const void *x, void *y,
                         struct err *e)
{
    struct sums_lane *l = &s->lane[lane];
    dnnl_exec_arg_t arg[SUMS_ARGS];
    int n = 0;
    DNN_TRY(dnnl_memory_set_data_handle(l->memory[SUMS_X], dnn_readable(x)),
            "a product");
    DNN_TRY(dnnl_memory_set_data_handle(l->memory[SUMS_Y], y), "a product");
    for (int i = 0; i < SUMS_ARGS; i++)
        if (l->memory[i])
            arg[n++] = (dnnl_exec_arg_t){arg_role[i], l->memory[i]};
    DNN_TRY(dnnl_primitive_execute(s->prim, l->stream, n, arg),
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

/* oneDNN behind small functions: float32 convolution and matrix products.
 *
 * Written for oneDNN 2 and 3, which differ in how descriptors are made. All
 * primitives use the caller's scratch memory and allocate nothing when they
 * run. SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/onednn.h"

#include <string.h>

#include "base/arena.h"
#include "engine/onednn_impl.h"

#define DNN_ARGS 6

struct dnn_conv {
    struct dnn *dnn;
    struct dnn_conv_spec spec;
    dnnl_primitive_desc_t desc;
    dnnl_primitive_desc_t hint;        /* forward, for the backward ones */
    dnnl_primitive_t prim;
    dnnl_exec_arg_t arg[DNN_ARGS];
    int n_arg;
};

struct dnn_reorder {
    struct dnn *dnn;
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t prim;
    dnnl_exec_arg_t arg[3];
    int n_arg;
};

enum status dnn_fail(dnnl_status_t s, const char *what, struct err *e)
{
    if (s == dnnl_out_of_memory)
        return err_memory(e, what);
    return err_set(e, STATUS_FAIL, "oneDNN status %d in %s", (int)s, what);
}

enum status dnn_new(struct dnn **out, struct err *e)
{
    *out = NULL;
    struct dnn *d = mem_alloc(1, sizeof(*d));
    if (!d)
        return err_memory(e, "oneDNN");
    dnnl_status_t s = dnnl_engine_create(&d->engine, dnnl_cpu, 0);
    if (s == dnnl_success)
        s = dnnl_stream_create(&d->stream, d->engine,
                               dnnl_stream_default_flags);
    if (s != dnnl_success) {
        dnn_free(d);
        return dnn_fail(s, "its engine", e);
    }
    *out = d;
    return STATUS_OK;
}

void dnn_free(struct dnn *d)
{
    if (!d)
        return;
    if (d->stream)
        dnnl_stream_destroy(d->stream);
    if (d->engine)
        dnnl_engine_destroy(d->engine);
    mem_free(d);
}

/* ---- what differs between versions 2 and 3 ---- */

/* The descriptors of a convolution, and of the forward one that a backward
 * one is the gradient of. */
struct conv_descs {
    desc_t x, w, b, y, hint_x, hint_w;
};

/* oneDNN 2.6's 1x1 kernels write beyond their scratch memory when the stride
 * is not 1, and then give wrong weight gradients with several threads. Those
 * in bf16 take an odd last channel of dy through a register that may hold the
 * weights. */
static bool is_unsafe(const struct dnn_conv *c, const_dnnl_primitive_desc_t d)
{
    const struct conv_geom *g = &c->spec.geom;
    const char *name = dnn_desc_name(d);
    bool half = strncmp(name, "jit_bf16_1x1", 12) == 0;
    if (half && c->spec.dir == DNN_BACK_DATA && g->co % 2 != 0)
        return true;
    return (g->sh > 1 || g->sw > 1) &&
           (half || strncmp(name, "jit_1x1", 7) == 0);
}

#if DNNL_VERSION_MAJOR >= 3
static dnnl_status_t first_safe(struct dnn_conv *c, dnnl_status_t s)
{
    while (s == dnnl_success && is_unsafe(c, c->desc))
        s = dnnl_primitive_desc_next_impl(c->desc);
    return s;
}

static dnnl_status_t conv_desc_make(struct dnn_conv *c,
                                    const struct conv_descs *m,
                                    const struct dnn_window *k,
                                    const_dnnl_primitive_attr_t attr)
{
    dnnl_engine_t engine = c->dnn->engine;
    bool forward = c->spec.dir == DNN_FORWARD;
    dnnl_status_t s = dnnl_convolution_forward_primitive_desc_create(
        forward ? &c->desc : &c->hint, engine, dnnl_forward_training,
        dnnl_convolution_direct, forward ? m->x : m->hint_x,
        forward ? m->w : m->hint_w,
        forward && c->spec.bias ? m->b : NULL, m->y, k->stride, k->dilate,
        k->before, k->after, forward ? attr : NULL);
    if (s != dnnl_success || forward)
        return first_safe(c, s);
    if (c->spec.dir == DNN_BACK_DATA)
        s = dnnl_convolution_backward_data_primitive_desc_create(
            &c->desc, engine, dnnl_convolution_direct, m->x, m->w, m->y,
            k->stride, k->dilate, k->before, k->after, c->hint, attr);
    else
        s = dnnl_convolution_backward_weights_primitive_desc_create(
            &c->desc, engine, dnnl_convolution_direct, m->x, m->w, NULL, m->y,
            k->stride, k->dilate, k->before, k->after, c->hint, attr);
    return first_safe(c, s);
}
#else
static dnnl_status_t first_safe(struct dnn_conv *c,
                                const dnnl_convolution_desc_t *d,
                                const_dnnl_primitive_attr_t attr)
{
    dnnl_primitive_desc_iterator_t it = NULL;
    dnnl_status_t s = dnnl_primitive_desc_iterator_create(
        &it, d, attr, c->dnn->engine, c->hint);
    while (s == dnnl_success) {
        c->desc = dnnl_primitive_desc_iterator_fetch(it);
        if (!c->desc || !is_unsafe(c, c->desc))
            break;
        dnnl_primitive_desc_destroy(c->desc);
        c->desc = NULL;
        s = dnnl_primitive_desc_iterator_next(it);
    }
    if (it)
        dnnl_primitive_desc_iterator_destroy(it);
    return s == dnnl_success && !c->desc ? dnnl_out_of_memory : s;
}

static dnnl_status_t conv_desc_make(struct dnn_conv *c,
                                    const struct conv_descs *m,
                                    const struct dnn_window *k,
                                    const_dnnl_primitive_attr_t attr)
{
    dnnl_convolution_desc_t d;
    bool forward = c->spec.dir == DNN_FORWARD;
    dnnl_status_t s = dnnl_dilated_convolution_forward_desc_init(
        &d, dnnl_forward_training, dnnl_convolution_direct,
        forward ? &m->x : &m->hint_x, forward ? &m->w : &m->hint_w,
        forward && c->spec.bias ? &m->b : NULL, &m->y, k->stride, k->dilate,
        k->before, k->after);
    if (s != dnnl_success)
        return s;
    if (forward)
        return first_safe(c, &d, attr);
    s = dnnl_primitive_desc_create(&c->hint, &d, NULL, c->dnn->engine, NULL);
    if (s != dnnl_success)
        return s;
    if (c->spec.dir == DNN_BACK_DATA)
        s = dnnl_dilated_convolution_backward_data_desc_init(
            &d, dnnl_convolution_direct, &m->x, &m->w, &m->y, k->stride,
            k->dilate, k->before, k->after);
    else
        s = dnnl_dilated_convolution_backward_weights_desc_init(
            &d, dnnl_convolution_direct, &m->x, &m->w, NULL, &m->y,
            k->stride, k->dilate, k->before, k->after);
    return s == dnnl_success ? first_safe(c, &d, attr) : s;
}
#endif

static dnnl_status_t reorder_desc_make(dnnl_primitive_desc_t *out,
                                       const_desc_t from, const_desc_t to,
                                       dnnl_engine_t engine,
                                       const_dnnl_primitive_attr_t attr)
{
    return dnnl_reorder_primitive_desc_create(out, from, engine, to, engine,
                                              attr);
}

/* ---- convolution ---- */

/* No post-operations: oneDNN's relu turns a NaN into 0. */
static enum status attr_make(dnnl_primitive_attr_t *attr, struct err *e)
{
    DNN_TRY(dnnl_primitive_attr_create(attr), "attributes");
    DNN_TRY(dnnl_primitive_attr_set_scratchpad_mode(
                *attr, dnnl_scratchpad_mode_user),
            "attributes");
    return STATUS_OK;
}

/* What a direction makes is float32. */
static enum status descs_make(const struct dnn_conv_spec *c,
                              struct conv_descs *m, struct err *e)
{
    const struct conv_geom *g = &c->geom;
    dnnl_data_type_t in = c->bf16 ? dnnl_bf16 : dnnl_f32;
    const struct dnn_shape shape[] = {
        {4, {g->n, g->ci, g->h, g->w},
         c->dir == DNN_BACK_DATA ? dnnl_f32 : in, dnnl_nhwc},
        dnn_weight_shape(g, c->dir == DNN_BACK_WEIGHTS ? dnnl_f32 : in,
                         false),
        {1, {g->co}, dnnl_f32, dnnl_a},
        {4, {g->n, g->co, g->oh, g->ow}, in, dnnl_nhwc},
        {4, {g->n, g->ci, g->h, g->w}, in, dnnl_nhwc},
        dnn_weight_shape(g, in, false),
    };
    desc_t *const desc[] = {&m->x, &m->w, &m->b, &m->y, &m->hint_x,
                            &m->hint_w};
    for (size_t i = 0; i < sizeof(desc) / sizeof(desc[0]); i++)
        DNN_TRY(desc_make(desc[i], &shape[i]), "a convolution");
    return STATUS_OK;
}

static enum status conv_make(struct dnn_conv *c, struct conv_descs *m,
                             dnnl_primitive_attr_t *attr, struct err *e)
{
    const struct dnn_window k = dnn_window_of(&c->spec.geom);
    TRY(descs_make(&c->spec, m, e));
    TRY(attr_make(attr, e));
    DNN_TRY(conv_desc_make(c, m, &k, *attr), "a convolution");
    DNN_TRY(dnnl_primitive_create(&c->prim, c->desc), "a convolution");
    return STATUS_OK;
}

enum status dnn_conv_new(struct dnn *d, const struct dnn_conv_spec *s,
                         struct dnn_conv **out, struct err *e)
{
    *out = NULL;
    struct dnn_conv *c = mem_alloc(1, sizeof(*c));
    if (!c)
        return err_memory(e, "a convolution");
    c->dnn = d;
    c->spec = *s;
    struct conv_descs m;
    memset(&m, 0, sizeof(m));
    dnnl_primitive_attr_t attr = NULL;
    enum status st = conv_make(c, &m, &attr, e);
    if (attr)
        dnnl_primitive_attr_destroy(attr);
    desc_free(&m.x);
    desc_free(&m.w);
    desc_free(&m.b);
    desc_free(&m.y);
    desc_free(&m.hint_x);
    desc_free(&m.hint_w);
    if (st) {
        dnn_conv_free(c);
        return st;
    }
    *out = c;
    return STATUS_OK;
}

static void args_free(dnnl_exec_arg_t *arg, int n)
{
    for (int i = 0; i < n; i++)
        dnnl_memory_destroy(arg[i].memory);
}

void dnn_conv_free(struct dnn_conv *c)
{
    if (!c)
        return;
    args_free(c->arg, c->n_arg);
    if (c->prim)
        dnnl_primitive_destroy(c->prim);
    if (c->desc)
        dnnl_primitive_desc_destroy(c->desc);
    if (c->hint)
        dnnl_primitive_desc_destroy(c->hint);
    mem_free(c);
}

/* What each direction reads and writes, in oneDNN's terms. */
struct roles {
    dnnl_query_t query[3];    /* x, w, y */
    int arg[3];
};

static const struct roles roles_table[] = {
    [DNN_FORWARD] = {
        .query = {dnnl_query_src_md, dnnl_query_weights_md,
                  dnnl_query_dst_md},
        .arg = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST},
    },
    [DNN_BACK_DATA] = {
        .query = {dnnl_query_diff_src_md, dnnl_query_weights_md,
                  dnnl_query_diff_dst_md},
        .arg = {DNNL_ARG_DIFF_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_DST},
    },
    [DNN_BACK_WEIGHTS] = {
        .query = {dnnl_query_src_md, dnnl_query_diff_weights_md,
                  dnnl_query_diff_dst_md},
        .arg = {DNNL_ARG_SRC, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_DST},
    },
};

static const_desc_t weights_of(const struct dnn_conv *c)
{
    return dnnl_primitive_desc_query_md(
        c->desc, roles_table[c->spec.dir].query[1], 0);
}

static const_desc_t scratch_of(const_dnnl_primitive_desc_t d)
{
    return dnnl_primitive_desc_query_md(d, dnnl_query_scratchpad_md, 0);
}

size_t dnn_conv_weight_bytes(const struct dnn_conv *c)
{
    return dnnl_memory_desc_get_size(weights_of(c));
}

size_t dnn_conv_scratch_bytes(const struct dnn_conv *c)
{
    return dnnl_memory_desc_get_size(scratch_of(c->desc));
}

bool dnn_conv_same_weights(const struct dnn_conv *a, const struct dnn_conv *b)
{
    return dnnl_memory_desc_equal(weights_of(a), weights_of(b)) != 0;
}

const char *dnn_conv_name(const struct dnn_conv *c)
{
    return dnn_desc_name(c->desc);
}

static bool has_direction(struct dnn *d, const struct conv_geom *g,
                          enum dnn_dir dir)
{
    const struct dnn_conv_spec spec = {.geom = *g, .dir = dir, .bf16 = true};
    struct dnn_conv *c;
    struct err e;
    if (dnn_conv_new(d, &spec, &c, &e))
        return false;
    const char *name = dnn_conv_name(c);
    bool quick = !strstr(name, "ref") && !strstr(name, "gemm");
    dnn_conv_free(c);
    return quick;
}

bool dnn_conv_has_bf16(struct dnn *d, const struct conv_geom *g)
{
    return dnn_has_bf16() && has_direction(d, g, DNN_BACK_DATA) &&
           has_direction(d, g, DNN_BACK_WEIGHTS);
}

static enum status arg_add(struct dnn *d, dnnl_exec_arg_t *arg, int *n,
                           const_desc_t desc, void *data, int role,
                           struct err *e)
{
    DNN_TRY(dnnl_memory_create(&arg[*n].memory, desc, d->engine, data),
            "memory");
    arg[*n].arg = role;
    ++*n;
    return STATUS_OK;
}

enum status dnn_conv_bind(struct dnn_conv *c, const struct dnn_conv_data *at,
                          struct err *e)
{
    const struct roles *r = &roles_table[c->spec.dir];
    void *const data[3] = {at->x, at->w, at->y};
    for (int i = 0; i < 3; i++) {
        const_desc_t d = dnnl_primitive_desc_query_md(c->desc, r->query[i],
                                                      0);
        TRY(arg_add(c->dnn, c->arg, &c->n_arg, d, data[i], r->arg[i], e));
    }
    if (c->spec.bias) {
        const_desc_t d = dnnl_primitive_desc_query_md(
            c->desc, dnnl_query_weights_md, 1);
        TRY(arg_add(c->dnn, c->arg, &c->n_arg, d, at->bias, DNNL_ARG_BIAS,
                    e));
    }
    if (dnn_conv_scratch_bytes(c) > 0)
        TRY(arg_add(c->dnn, c->arg, &c->n_arg, scratch_of(c->desc),
                    at->scratch, DNNL_ARG_SCRATCHPAD, e));
    return STATUS_OK;
}

enum status dnn_conv_run(struct dnn_conv *c, struct err *e)
{
    DNN_TRY(dnnl_primitive_execute(c->prim, c->dnn->stream, c->n_arg, c->arg),
            "a convolution");
    return STATUS_OK;
}

/* ---- weights between layouts ---- */

static enum status reorder_make(struct dnn_reorder *r,
                                const struct dnn_conv *c, bool inward,
                                struct err *e)
{
    desc_t plain;
    memset(&plain, 0, sizeof(plain));
    bool half = c->spec.bf16 && c->spec.dir != DNN_BACK_WEIGHTS;
    const struct dnn_shape shape = dnn_weight_shape(
        &c->spec.geom, half ? dnnl_bf16 : dnnl_f32, true);
    DNN_TRY(desc_make(&plain, &shape), "weights");
    const_desc_t outer = desc_of(&plain);
    const_desc_t own = weights_of(c);
    dnnl_primitive_attr_t attr = NULL;
    enum status st = attr_make(&attr, e);
    dnnl_status_t s = dnnl_success;
    if (st == STATUS_OK)
        s = reorder_desc_make(&r->desc, inward ? outer : own,
                              inward ? own : outer, r->dnn->engine, attr);
    if (attr)
        dnnl_primitive_attr_destroy(attr);
    desc_free(&plain);
    TRY(st);
    DNN_TRY(s, "weights");
    DNN_TRY(dnnl_primitive_create(&r->prim, r->desc), "weights");
    return STATUS_OK;
}

enum status dnn_reorder_new(struct dnn *d, const struct dnn_conv *c,
                            bool inward, struct dnn_reorder **out,
                            struct err *e)
{
    *out = NULL;
    struct dnn_reorder *r = mem_alloc(1, sizeof(*r));
    if (!r)
        return err_memory(e, "weights");
    r->dnn = d;
    enum status st = reorder_make(r, c, inward, e);
    if (st) {
        dnn_reorder_free(r);
        return st;
    }
    *out = r;
    return STATUS_OK;
}

void dnn_reorder_free(struct dnn_reorder *r)
{
    if (!r)
        return;
    args_free(r->arg, r->n_arg);
    if (r->prim)
        dnnl_primitive_destroy(r->prim);
    if (r->desc)
        dnnl_primitive_desc_destroy(r->desc);
    mem_free(r);
}

size_t dnn_reorder_scratch_bytes(const struct dnn_reorder *r)
{
    return dnnl_memory_desc_get_size(scratch_of(r->desc));
}

enum status dnn_reorder_bind(struct dnn_reorder *r, const void *from,
                             void *to, void *scratch, struct err *e)
{
    const_desc_t src = dnnl_primitive_desc_query_md(r->desc,
                                                    dnnl_query_src_md, 0);
    const_desc_t dst = dnnl_primitive_desc_query_md(r->desc,
                                                    dnnl_query_dst_md, 0);
    TRY(arg_add(r->dnn, r->arg, &r->n_arg, src, dnn_readable(from),
                DNNL_ARG_FROM, e));
    TRY(arg_add(r->dnn, r->arg, &r->n_arg, dst, to, DNNL_ARG_TO, e));
    if (dnn_reorder_scratch_bytes(r) > 0)
        TRY(arg_add(r->dnn, r->arg, &r->n_arg, scratch_of(r->desc), scratch,
                    DNNL_ARG_SCRATCHPAD, e));
    return STATUS_OK;
}

enum status dnn_reorder_run(struct dnn_reorder *r, struct err *e)
{
    DNN_TRY(dnnl_primitive_execute(r->prim, r->dnn->stream, r->n_arg, r->arg),
            "weights");
    return STATUS_OK;
}

/* ---- matrix products ---- */

enum status dnn_product_run(const struct dnn_product *g, struct err *e)
{
    int64_t lda = g->a_turned ? g->m : g->k;
    int64_t ldb = g->b_turned ? g->k : g->n;
    DNN_TRY(dnnl_sgemm(g->a_turned ? 'T' : 'N', g->b_turned ? 'T' : 'N', g->m,
                       g->n, g->k, 1.0f, g->a, lda, g->b, ldb, g->beta, g->c,
                       g->n),
            "a matrix product");
    return STATUS_OK;
}

/* ---- description ---- */

bool dnn_has_bf16(void)
{
    unsigned isa = (unsigned)dnnl_get_effective_cpu_isa();
    unsigned wanted = (unsigned)dnnl_cpu_isa_avx512_core_bf16;
    return (isa & wanted) == wanted;
}

static const struct {
    dnnl_cpu_isa_t isa;
    const char *name;
} isa_table[] = {
    {dnnl_cpu_isa_avx512_core_amx, "AVX-512 with AMX"},
    {dnnl_cpu_isa_avx512_core_bf16, "AVX-512 with VNNI and bf16"},
    {dnnl_cpu_isa_avx512_core_vnni, "AVX-512 with VNNI"},
    {dnnl_cpu_isa_avx512_core, "AVX-512"},
    {dnnl_cpu_isa_avx2_vnni, "AVX2 with VNNI"},
    {dnnl_cpu_isa_avx2, "AVX2"},
    {dnnl_cpu_isa_avx, "AVX"},
    {dnnl_cpu_isa_sse41, "SSE4.1"},
};

void dnn_describe(struct str *out)
{
    const dnnl_version_t *v = dnnl_version();
    dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa();
    const char *name = "portable code";
    for (size_t i = 0; i < sizeof(isa_table) / sizeof(isa_table[0]); i++) {
        if (((unsigned)isa & (unsigned)isa_table[i].isa) ==
            (unsigned)isa_table[i].isa) {
            name = isa_table[i].name;
            break;
        }
    }
    str_printf(out, "oneDNN %d.%d.%d on %s\n", v->major, v->minor, v->patch,
               name);
}

/* Building a plan: buffers, steps and gradients by index.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/plan_impl.h"

#include <string.h>

/* The array with room for one more element, or NULL: memory is out. */
static void *grown(void *array, int n, int *cap, size_t elem)
{
    if (n < *cap)
        return array;
    int more = *cap ? 2 * *cap : 64;
    void *bigger = mem_grow(array, (size_t)*cap * elem, (size_t)more * elem);
    if (bigger)
        *cap = more;
    return bigger;
}

int plan_buffer(struct plan *p, enum dtype type, const struct shape *s,
                enum layout layout)
{
    /* It may be the shape of a buffer in the array that grows. */
    const struct shape shape = *s;
    struct buffer *room = grown(p->buf, p->n_buf, &p->cap_buf, sizeof(*room));
    if (!room) {
        p->out_of_memory = true;
        return p->n_buf ? 0 : -1;
    }
    p->buf = room;
    size_t bytes = 0;
    if (shape_bytes(&shape, dtype_table[type].size, SIZE_MAX / 4, &bytes, NULL))
        p->out_of_memory = true;
    p->buf[p->n_buf] = (struct buffer){
        .type = type,
        .layout = shape.rank == 4 ? layout : LAYOUT_NCHW,
        .shape = shape,
        .scale = 1.0f,
        .bytes = (int64_t)bytes,
        .twin = -1,
        .root = p->n_buf,
    };
    return p->n_buf++;
}

int plan_alias(struct plan *p, int buffer, const struct shape *s)
{
    enum layout layout = p->buf[buffer].layout;
    int alias = plan_buffer(p, p->buf[buffer].type, s, layout);
    if (!p->out_of_memory) {
        p->buf[alias].root = p->buf[buffer].root;
        p->buf[alias].written = p->buf[buffer].written;
    }
    return alias;
}

void plan_keep(struct plan *p, int buffer)
{
    if (!p->out_of_memory && p->opts.keep_values)
        p->buf[p->buf[buffer].root].pinned = true;
}

int plan_buffer_like(struct plan *p, int buffer)
{
    struct buffer like = p->buf[buffer];
    return plan_buffer(p, like.type, &like.shape, like.layout);
}

int plan_buffer_vector(struct plan *p, int64_t n)
{
    struct shape s = shape_1(n);
    return plan_buffer(p, DTYPE_F32, &s, LAYOUT_NCHW);
}

int plan_buffer_param(struct plan *p, int param, bool grad)
{
    const struct param *w = &p->graph->param[param];
    int b = plan_buffer(p, DTYPE_F32, &w->shape, LAYOUT_NCHW);
    if (p->out_of_memory)
        return b;
    p->buf[b].external = true;
    p->buf[b].data = grad ? w->grad : w->value;
    return b;
}

void plan_scratch(struct plan *p, size_t bytes)
{
    if (bytes > p->scratch_bytes)
        p->scratch_bytes = bytes;
}

struct step *plan_step(struct plan *p, const struct step_kind *kind, int node,
                       size_t priv_bytes)
{
    struct step *s = arena_alloc(p->arena, sizeof(*s));
    void *priv = arena_alloc(p->arena, priv_bytes ? priv_bytes : 1);
    struct step **room = grown(p->step, p->n_step, &p->cap_step,
                               sizeof(struct step *));
    if (room)
        p->step = room;
    if (!s || !priv || !room || p->out_of_memory) {
        p->out_of_memory = true;
        return NULL;
    }
    s->kind = kind;
    s->node = node;
    s->priv = priv;
    p->step[p->n_step++] = s;
    return s;
}

/* The step that touches is the last one made, or one made earlier. */
void step_touch(struct plan *p, struct step *s, int buffer)
{
    if (buffer < 0)
        return;
    buffer = p->buf[buffer].root;
    for (int i = 0; i < s->n_buf; i++)
        if (s->buf[i] == buffer)
            return;
    if (s->n_buf == STEP_BUFFERS) {
        p->out_of_memory = true;
        return;
    }
    s->buf[s->n_buf++] = buffer;
    s->bytes += (double)p->buf[buffer].bytes;
}

void *plan_data(const struct plan *p, int buffer)
{
    return buffer < 0 ? NULL : p->buf[p->buf[buffer].root].data;
}

float *plan_floats(const struct plan *p, int buffer)
{
    return plan_data(p, buffer);
}

void *plan_scratch_data(const struct plan *p)
{
    return plan_data(p, p->scratch);
}

const struct shape *plan_shape(const struct plan *p, int buffer)
{
    return &p->buf[buffer].shape;
}

int plan_in(const struct plan *p, int node, int i)
{
    const struct value *v = &p->value[node];
    if (i == 0 && v->view >= 0)
        return v->view;
    return p->value[p->graph->node[node].in[i]].out;
}

static void add_part(struct value *v, int buffer, bool shared)
{
    v->part[v->n_part] = buffer;
    v->shared[v->n_part] = shared;
    v->n_part++;
}

/* The buffer into which readers add: a part of its own. When all parts are
 * taken, one that belongs to this value alone serves. */
static int own_part(struct plan *p, int node)
{
    struct value *v = &p->value[node];
    if (v->grad >= 0)
        return v->grad;
    for (int i = 0; i < v->n_part && v->n_part == GRAD_PARTS; i++)
        if (!v->shared[i])
            return v->grad = v->part[i];
    v->grad = plan_buffer_like(p, v->out);
    if (p->out_of_memory)
        return v->grad;
    plan_keep(p, v->grad);
    if (v->n_part < GRAD_PARTS) {
        add_part(v, v->grad, false);
        return v->grad;
    }
    /* All are shared: the first one is copied. */
    struct copy_spec spec = {node, v->part[0], v->grad, false,
                             PHASE_BACKWARD};
    if (copy_step(p, &spec, NULL))
        p->out_of_memory = true;
    p->buf[v->grad].written = true;
    v->part[0] = v->grad;
    v->shared[0] = false;
    return v->grad;
}

/* A gradient buffer's first writer writes it whole; later ones add. */
static bool claim(struct plan *p, int buffer)
{
    bool add = p->buf[buffer].written;
    p->buf[buffer].written = true;
    return add;
}

bool plan_op_rests(const struct plan *p, int node)
{
    return (p->graph->node[node].op->flags & OP_TRAIN_ONLY) &&
           (!p->opts.train || p->opts.deployed);
}

bool plan_in_wanted(const struct plan *p, int node, int i)
{
    const struct value *v = &p->value[node];
    return p->value[p->graph->node[node].in[i]].wants_grad ||
           (i == 0 && v->q_in && v->q_in->learn);
}

static int view_grad(struct plan *p, int node)
{
    struct value *v = &p->value[node];
    if (v->view_grad < 0)
        v->view_grad = plan_buffer_like(p, v->view);
    return v->view_grad;
}

static bool has_view(const struct plan *p, int node, int i)
{
    return i == 0 && p->value[node].view >= 0;
}

int plan_in_grad(struct plan *p, int node, int i, bool *add)
{
    *add = false;
    if (!plan_in_wanted(p, node, i))
        return -1;
    int b = has_view(p, node, i)
                ? view_grad(p, node)
                : own_part(p, p->graph->node[node].in[i]);
    *add = claim(p, b);
    return b;
}

int plan_in_part(struct plan *p, int node, int i, int *sum)
{
    *sum = -1;
    if (!plan_in_wanted(p, node, i))
        return -1;
    if (has_view(p, node, i)) {
        bool add;
        return plan_in_grad(p, node, i, &add);
    }
    int source = p->graph->node[node].in[i];
    struct value *v = &p->value[source];
    if (v->n_part < GRAD_PARTS && !p->opts.keep_values) {
        int b = plan_buffer_like(p, v->out);
        p->buf[b].written = true;
        add_part(v, b, false);
        return b;
    }
    bool add;
    int own = plan_in_grad(p, node, i, &add);
    if (!add)
        return own;
    *sum = own;
    return plan_buffer_like(p, own);
}

enum status plan_in_share(struct plan *p, int node, int i, int buffer,
                          struct err *e)
{
    struct value *v = &p->value[p->graph->node[node].in[i]];
    if (!plan_in_wanted(p, node, i))
        return STATUS_OK;
    if (!has_view(p, node, i) && v->n_part < GRAD_PARTS &&
        !p->opts.keep_values) {
        add_part(v, buffer, true);
        return STATUS_OK;
    }
    struct copy_spec spec = {node, buffer, -1, false, PHASE_BACKWARD};
    spec.to = plan_in_grad(p, node, i, &spec.add);
    return copy_step(p, &spec, e);
}

int plan_grad(struct plan *p, int node)
{
    struct value *v = &p->value[node];
    if (v->n_part == 1 && !v->shared[0])
        return v->grad = v->part[0];
    int own = own_part(p, node);
    for (int i = 0; i < v->n_part; i++) {
        if (v->part[i] == own)
            continue;
        struct copy_spec spec = {node, v->part[i], own, claim(p, own),
                                 PHASE_BACKWARD};
        if (copy_step(p, &spec, NULL))
            p->out_of_memory = true;
    }
    v->part[0] = own;
    v->shared[0] = false;
    v->n_part = 1;
    return own;
}

int plan_raw_grad(struct plan *p, int node)
{
    struct value *v = &p->value[node];
    if (!v->q)
        return plan_grad(p, node);
    if (v->raw_grad < 0)
        v->raw_grad = plan_buffer_like(p, v->raw);
    return v->raw_grad;
}

void plan_make_value(struct plan *p, int node)
{
    struct value *v = &p->value[node];
    const struct node *n = &p->graph->node[node];
    struct shape s = node_shape(n, p->opts.batch);
    v->raw = plan_buffer(p, DTYPE_F32, &s, p->backend->layout);
    v->out = v->raw;
    /* Backward reads the value before its quantizer; without backward the
     * quantizer works in place, but never on what the caller wrote. */
    bool apart = p->opts.train || p->opts.keep_values ||
                 (n->op->flags & OP_SOURCE);
    if (v->q && apart)
        v->out = plan_buffer(p, DTYPE_F32, &s, p->backend->layout);
    plan_keep(p, v->raw);
    plan_keep(p, v->out);
}

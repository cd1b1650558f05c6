/* Layers of mode int: convolution or dense, its batch norm, and a clamp, from
 * codes to codes, or to numbers where no quantizer of codes follows.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/int_impl.h"

#include <math.h>

const char *const sum_name[SUM_COUNT] = {"auto", "int8", "f32", "own",
                                         "float"};

/* ---- steps ---- */

static enum status weights_run(struct plan *p, struct step *s, struct err *e)
{
    struct int_layer *l = *(struct int_layer **)s->priv;
    bool changed;
    TRY(int_weights_update(p, l, &changed, e));
    if (!changed && l->loaded)
        return STATUS_OK;
    l->loaded = true;
    return p->backend->ints->load(p, l, e);
}

static enum status layer_bind(struct plan *p, struct step *s, struct err *e)
{
    return p->backend->ints->bind(p, *(struct int_layer **)s->priv, e);
}

static enum status layer_run(struct plan *p, struct step *s, struct err *e)
{
    return p->backend->ints->run(p, *(struct int_layer **)s->priv, e);
}

static void layer_fini(struct step *s)
{
    struct int_layer *l = *(struct int_layer **)s->priv;
    if (l)
        l->kernels->fini(l);
}

static const struct step_kind weights_kind = {
    .name = "weight codes",
    .phase = PHASE_WEIGHTS,
    .run = weights_run,
};

/* By how the sums are made; the reference's is the first. */
static const struct step_kind layer_kind[SUM_COUNT] = {
    [SUM_AUTO] = {"layer int ref", PHASE_FORWARD, layer_bind, layer_run,
                  layer_fini},
    [SUM_INT8] = {"layer int8 dnn", PHASE_FORWARD, layer_bind, layer_run,
                  layer_fini},
    [SUM_F32] = {"layer int f32 dnn", PHASE_FORWARD, layer_bind, layer_run,
                 layer_fini},
    [SUM_OWN] = {"layer int16 own", PHASE_FORWARD, layer_bind, layer_run,
                 layer_fini},
};

/* ---- claiming ---- */

static bool is_layer(const struct node *n)
{
    bool dense = n->op == &op_dense && n->shape.rank != 4;
    return dense || n->op == &op_conv2d || n->op == &op_conv1d;
}

static void claim(struct unit *u, int *next, struct plan *p)
{
    u->node[u->n++] = *next;
    *next = int_only_reader(p, *next);
}

static bool layer_fits(struct plan *p, struct unit *u)
{
    int node = u->node[0];
    float lo, hi;
    if (!is_layer(&p->graph->node[node]) || !int_input_grid(p, node, 0) ||
        !int_weights_fit(p, node))
        return false;
    int next = int_only_reader(p, node), bn = plan_fold_bn(p, node);
    if (next >= 0 && (next == bn || plan_bn_absorbed(p, next)))
        claim(u, &next, p);
    else if (bn >= 0)
        return false;         /* its value is read before the batch norm */
    if (next >= 0 && int_clamp_of(&p->graph->node[next], &lo, &hi))
        claim(u, &next, p);
    int_settle_grid(p, u->node[u->n - 1], NULL);
    return true;
}

/* ---- building ---- */

static struct param *param_of(const struct plan *p, int node,
                              enum param_role role)
{
    const struct node *n = &p->graph->node[node];
    for (int i = 0; n->op->param[i].name; i++)
        if (n->op->param[i].role == role && n->param[i] >= 0)
            return &p->graph->param[n->param[i]];
    return NULL;
}

static struct quantizer *bias_quantizer(const struct plan *p,
                                        const struct int_layer *l)
{
    struct quantizer *q =
        l->point_b < 0 ? NULL : p->graph->point[l->point_b].q;
    bool seen = l->bias || (l->bn >= 0 && l->how == FOLD_PRE);
    return q && seen && quant_fakes(p, q) ? q : NULL;
}

static struct int_layer *layer_new(struct plan *p, const struct unit *u)
{
    struct int_layer *l = arena_alloc(p->arena, sizeof(*l));
    if (!l)
        return NULL;
    int node = u->node[0];
    const struct node *n = &p->graph->node[node];
    l->node = node;
    l->last = u->node[u->n - 1];
    l->kernels = p->backend->ints;
    l->target = p->opts.target;
    l->dense = n->op == &op_dense;
    l->qx = int_input_grid(p, node, 0);
    l->point_w = n->point[POINT_WEIGHT];
    l->point_b = n->point[POINT_BIAS];
    l->qw = p->graph->point[l->point_w].q;
    struct quantizer *q = p->value[l->last].q;
    l->qy = q && grid_class(p, q) == GRID_PLAIN ? q : NULL;
    l->weight = param_of(p, node, PARAM_WEIGHT);
    l->bias = param_of(p, node, PARAM_BIAS);
    l->bn = plan_fold_bn(p, node);
    l->how = l->bn >= 0 ? p->opts.fold : FOLD_OFF;
    l->qb = bias_quantizer(p, l);
    l->view = quantizer_view(l->qw, &l->weight->shape, 0);
    l->view_b = (struct qview){1, 1, l->weight->shape.dim[0]};
    l->lo = -INFINITY;
    l->hi = INFINITY;
    if (u->n > 1)
        int_clamp_of(&p->graph->node[l->last], &l->lo, &l->hi);
    struct shape x = node_shape(&p->graph->node[n->in[0]], p->opts.batch);
    l->geom = conv_geom_of(n, &x);
    return l;
}

/* (N,C,L) codes as (N,L,C), for kernels that want channels last. */
static bool is_turned(const struct int_layer *l, const struct plan *p)
{
    const struct node *n = &p->graph->node[l->node];
    return l->kernels->channels_last && !l->dense && n->shape.rank == 3;
}

static int turned_buffer(struct plan *p, enum dtype type, int64_t n,
                         int64_t c, int64_t length)
{
    struct shape s = shape_4(n, c, 1, length);
    return plan_buffer(p, type, &s, LAYOUT_NHWC);
}

/* Between (N,C,L) and (N,C,1,L) in (N,H,W,C): the same logical order. */
static enum status turn_codes(struct plan *p, int node, int in, int out,
                              struct err *e)
{
    struct shape flat = p->buf[in].shape.rank == 3 ? p->buf[in].shape
                                                   : p->buf[out].shape;
    struct byte_move_spec m = {.in = in, .out = out};
    m.move.rank = 3;
    int64_t c = flat.dim[1], length = flat.dim[2];
    const int64_t rows[3] = {c * length, length, 1};
    const int64_t last[3] = {c * length, 1, c};
    bool inward = p->buf[in].shape.rank == 3;
    for (int i = 0; i < 3; i++) {
        m.move.dim[i] = flat.dim[i];
        m.move.from[i] = inward ? rows[i] : last[i];
        m.move.to[i] = inward ? last[i] : rows[i];
    }
    return byte_move_step(p, node, &m, e);
}

static enum status turn_numbers(struct plan *p, int node, int in, int out,
                                struct err *e)
{
    struct shape s = p->buf[in].shape;
    int logical = plan_buffer(p, DTYPE_F32, &s, LAYOUT_NCHW);
    if (p->out_of_memory)
        return err_memory(e, "plan");
    struct copy_spec a = {node, in, logical, false, PHASE_FORWARD};
    struct copy_spec b = {node, logical, out, false, PHASE_FORWARD};
    TRY(copy_step(p, &a, e));
    return copy_step(p, &b, e);
}

static enum status layer_steps(struct plan *p, struct int_layer *l,
                               struct err *e)
{
    struct step *w = plan_step(p, &weights_kind, l->node, sizeof(l));
    struct step *s = plan_step(p, &layer_kind[SUM_AUTO], l->node, sizeof(l));
    if (!w || !s)
        return err_memory(e, "plan");
    TRY(int_weights_init(p, l, e));
    *(struct int_layer **)w->priv = l;
    *(struct int_layer **)s->priv = l;     /* from here on layer_fini acts */
    step_touch(p, s, l->x);
    step_touch(p, s, l->y);
    s->flops = 2.0 * (double)node_macs(p->graph, &p->graph->node[l->node]) *
               (double)p->opts.batch;
    TRY(l->kernels->build(p, s, l, e));
    s->kind = &layer_kind[l->sums];
    return p->out_of_memory ? err_memory(e, "plan") : STATUS_OK;
}

static enum status layer_forward(struct plan *p, struct unit *u,
                                 struct err *e)
{
    struct int_layer *l = layer_new(p, u);
    if (!l)
        return err_memory(e, "plan");
    struct value *v = &p->value[l->last];
    const struct conv_geom *g = &l->geom;
    int x, y;
    TRY(int_codes_in(p, l->node, 0, &x, e));
    if (l->qy)
        TRY(quant_ready(p, l->qy, v->point, e));
    if (l->qy)
        y = v->code = int_buffer(p, l->last);
    else
        int_make_numbers(p, l->last);
    y = l->qy ? v->code : v->raw;
    l->x = x;
    l->y = y;
    bool turned = is_turned(l, p);
    if (turned) {
        l->x = turned_buffer(p, DTYPE_U8, g->n, g->ci, g->w);
        l->y = turned_buffer(p, l->qy ? DTYPE_U8 : DTYPE_F32, g->n, g->co,
                             g->ow);
        if (p->out_of_memory)
            return err_memory(e, "plan");
        TRY(turn_codes(p, l->node, x, l->x, e));
    }
    TRY(layer_steps(p, l, e));
    if (turned)
        TRY((l->qy ? turn_codes : turn_numbers)(p, l->node, l->y, y, e));
    return l->qy ? STATUS_OK : int_finish_numbers(p, l->last, e);
}

const struct maker int_maker_layer = {
    .name = "layer on codes",
    .fits = layer_fits,
    .forward = layer_forward,
    .value = int_value,
};

/* Quantizer steps of activations: observe, fake-quantize, and backward.
 *
 * Generic: any kind, through quant/quantizer.h, on the buffer as it lies.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/deployed.h"

#include "quant/observer.h"

#include <string.h>

struct quant_step {
    struct quantizer *q;
    struct qview view;
    int point;
    float *x, *y;             /* before and after */
    float *dx;
    const float *dy;
    float *temp;              /* when dx is added to */
    int64_t count;
    bool add;
};

/* A range that is learned, once found, is moved by its gradient: training
 * does not let the observer find it anew; calibration does. */
bool quant_observes(const struct plan *p, const struct quantizer *q)
{
    bool learned = q->learn && q->ready && !q->stale;
    return q->observe && ((p->opts.train && !learned) ||
                          p->opts.observe_only);
}

bool quant_fakes(const struct plan *p, const struct quantizer *q)
{
    return q->fake && !p->opts.observe_only;
}

const char *point_name(const struct plan *p, int point)
{
    return p->graph->point[point].name;
}

enum status quant_ready(const struct plan *p, const struct quantizer *q,
                        int point, struct err *e)
{
    if (!quant_fakes(p, q) || q->ready || (q->spec.kind->flags & QK_OWN_SCALE))
        return STATUS_OK;
    return err_set(e, STATUS_STATE,
                   "%s: has no range yet; calibrate, or set one with range",
                   point_name(p, point));
}

struct qview quant_view(const struct plan *p, const struct quantizer *q,
                        int point, int buffer)
{
    struct shape s;
    int axis;
    point_shape(p->graph, point, &s, &axis);
    const struct buffer *b = &p->buf[buffer];
    s = b->shape;
    if (b->layout == LAYOUT_NHWC) {
        s = shape_4(b->shape.dim[0], b->shape.dim[2], b->shape.dim[3],
                    b->shape.dim[1]);
        axis = axis == 1 ? 3 : axis > 1 ? axis - 1 : axis;
    }
    return quantizer_view(q, &s, axis);
}

static enum status quant_bind(struct plan *p, struct step *s, struct err *e)
{
    (void)e;
    struct quant_step *c = s->priv;
    c->x = plan_floats(p, s->buf[0]);
    c->y = plan_floats(p, s->buf[s->n_buf - 1]);
    return STATUS_OK;
}

static enum status quant_run(struct plan *p, struct step *s, struct err *e)
{
    struct quant_step *c = s->priv;
    struct quantizer *q = c->q;
    if (quant_observes(p, q)) {
        enum status st = quantizer_observe(q, c->x, c->view, e);
        if (st)
            return err_wrap(e, st, "%s", point_name(p, c->point));
    }
    TRY(quant_ready(p, q, c->point, e));
    if (quant_fakes(p, q))
        quantizer_forward(q, c->x, c->y, c->view, p->opts.train);
    else if (c->x != c->y)
        memcpy(c->y, c->x, (size_t)c->count * sizeof(float));
    return STATUS_OK;
}

static enum status back_bind(struct plan *p, struct step *s, struct err *e)
{
    (void)e;
    struct quant_step *c = s->priv;
    c->x = plan_floats(p, s->buf[0]);
    c->dy = plan_floats(p, s->buf[1]);
    c->dx = plan_floats(p, s->buf[2]);
    c->temp = plan_scratch_data(p);
    return STATUS_OK;
}

static enum status back_run(struct plan *p, struct step *s, struct err *e)
{
    (void)e;
    struct quant_step *c = s->priv;
    const float *dx = c->dy;
    if (quant_fakes(p, c->q)) {
        float *to = c->add ? c->temp : c->dx;
        quantizer_backward(c->q, c->x, c->dy, to, c->view);
        dx = to;
    }
    if (c->add) {
        for (int64_t i = 0; i < c->count; i++)
            c->dx[i] += dx[i];
    } else if (dx != c->dx) {
        memcpy(c->dx, dx, (size_t)c->count * sizeof(float));
    }
    return STATUS_OK;
}

static const struct step_kind quant_kind = {
    .name = "quantize",
    .phase = PHASE_FORWARD,
    .bind = quant_bind,
    .run = quant_run,
};

static const struct step_kind back_kind = {
    .name = "quantize bwd",
    .phase = PHASE_BACKWARD,
    .bind = back_bind,
    .run = back_run,
};

static enum status quant_step(struct plan *p, int node, int point, int from,
                              int to)
{
    struct step *s = plan_step(p, &quant_kind, node,
                               sizeof(struct quant_step));
    if (!s)
        return STATUS_MEM;
    struct quant_step *c = s->priv;
    c->q = p->graph->point[point].q;
    c->point = point;
    c->count = shape_count(plan_shape(p, from));
    c->view = quant_view(p, c->q, point, from);
    step_touch(p, s, from);
    step_touch(p, s, to);
    return STATUS_OK;
}

struct back_spec {
    int point, x, dy, dx;
    bool add;
};

static enum status back_step(struct plan *p, int node,
                             const struct back_spec *b)
{
    struct step *s = plan_step(p, &back_kind, node,
                               sizeof(struct quant_step));
    if (!s)
        return STATUS_MEM;
    struct quant_step *c = s->priv;
    c->q = p->graph->point[b->point].q;
    c->point = b->point;
    c->count = shape_count(plan_shape(p, b->x));
    c->view = quant_view(p, c->q, b->point, b->x);
    c->add = b->add;
    if (b->add)
        plan_scratch(p, (size_t)p->buf[b->x].bytes);
    step_touch(p, s, b->x);
    step_touch(p, s, b->dy);
    step_touch(p, s, b->dx);
    return STATUS_OK;
}

enum status quant_out_forward(struct plan *p, int node, struct err *e)
{
    const struct value *v = &p->value[node];
    if (!v->q)
        return STATUS_OK;
    if (quant_step(p, node, v->point, v->raw, v->out))
        return err_memory(e, "plan");
    return STATUS_OK;
}

enum status quant_out_backward(struct plan *p, int node, struct err *e)
{
    const struct value *v = &p->value[node];
    if (!v->q || !v->wants_grad)
        return STATUS_OK;
    struct back_spec b = {v->point, v->raw, plan_grad(p, node),
                          plan_raw_grad(p, node), false};
    if (back_step(p, node, &b))
        return err_memory(e, "plan");
    return STATUS_OK;
}

enum status quant_in_forward(struct plan *p, int node, struct err *e)
{
    struct value *v = &p->value[node];
    if (!v->q_in)
        return STATUS_OK;
    int from = p->value[p->graph->node[node].in[0]].out;
    v->view = plan_buffer_like(p, from);
    if (quant_step(p, node, v->point_in, from, v->view))
        return err_memory(e, "plan");
    if (p->opts.keep_values)
        p->buf[v->view].pinned = true;
    return deployed_view(p, node, e);
}

enum status quant_in_backward(struct plan *p, int node, struct err *e)
{
    struct value *v = &p->value[node];
    if (!v->q_in || v->view_grad < 0)
        return STATUS_OK;
    int source = p->graph->node[node].in[0];
    int grad = v->view_grad, view = v->view;
    struct back_spec b = {v->point_in, p->value[source].out, grad, -1, false};
    if (p->value[source].wants_grad) {
        v->view = -1;        /* from here on input 0 is the source's value */
        b.dx = plan_in_grad(p, node, 0, &b.add);
        v->view = view;
    } else {
        b.dx = plan_buffer_like(p, view);
    }
    if (back_step(p, node, &b))
        return err_memory(e, "plan");
    return STATUS_OK;
}

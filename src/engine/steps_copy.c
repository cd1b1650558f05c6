/* Steps that copy a value into another layout, or add it there.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/plan_impl.h"

#include <string.h>

struct copy_step {
    const float *from;
    float *to, *temp;         /* temp: in to's layout, when adding across */
    int64_t n, c, hw, count;
    enum layout to_layout;
    bool same, add;
};

static enum status copy_bind(struct plan *p, struct step *s, struct err *e)
{
    (void)e;
    struct copy_step *c = s->priv;
    c->from = plan_floats(p, s->buf[0]);
    c->to = plan_floats(p, s->buf[s->n_buf - 1]);
    c->temp = plan_scratch_data(p);
    return STATUS_OK;
}

static void add_floats(float *restrict to, const float *restrict from,
                       int64_t n)
{
#pragma omp parallel for simd if (n > 32768)
    for (int64_t i = 0; i < n; i++)
        to[i] += from[i];
}

static enum status copy_run(struct plan *p, struct step *s, struct err *e)
{
    (void)p;
    (void)e;
    struct copy_step *c = s->priv;
    const float *from = c->from;
    if (!c->same) {
        float *to = c->add ? c->temp : c->to;
        if (c->to_layout == LAYOUT_NHWC)
            nchw_to_nhwc(from, to, c->n, c->c, c->hw);
        else
            nhwc_to_nchw(from, to, c->n, c->c, c->hw);
        from = to;
    }
    if (c->add)
        add_floats(c->to, from, c->count);
    else if (from != c->to)
        memcpy(c->to, from, (size_t)c->count * sizeof(float));
    return STATUS_OK;
}

static const struct step_kind copy_kind[PHASE_COUNT] = {
    [PHASE_WEIGHTS] = {"copy", PHASE_WEIGHTS, copy_bind, copy_run, NULL},
    [PHASE_FORWARD] = {"copy", PHASE_FORWARD, copy_bind, copy_run, NULL},
    [PHASE_BACKWARD] = {"copy", PHASE_BACKWARD, copy_bind, copy_run, NULL},
};

bool layout_same_bytes(const struct buffer *a, const struct buffer *b)
{
    if (a->layout == b->layout || a->shape.rank != 4)
        return true;
    const int64_t *d = a->shape.dim;
    return d[1] == 1 || d[2] * d[3] == 1;
}

enum status copy_step(struct plan *p, const struct copy_spec *spec,
                      struct err *e)
{
    struct step *s = plan_step(p, &copy_kind[spec->phase], spec->node,
                               sizeof(struct copy_step));
    if (!s)
        return err_memory(e, "plan");
    const struct buffer *from = &p->buf[spec->from];
    const struct buffer *to = &p->buf[spec->to];
    struct copy_step *c = s->priv;
    const int64_t *d = to->shape.dim;
    c->same = layout_same_bytes(from, to);
    c->add = spec->add;
    c->to_layout = to->layout;
    c->count = shape_count(&to->shape);
    if (!c->same) {
        c->n = d[0];
        c->c = d[1];
        c->hw = d[2] * d[3];
        if (c->add)
            plan_scratch(p, (size_t)to->bytes);
    }
    step_touch(p, s, spec->from);
    step_touch(p, s, spec->to);
    return STATUS_OK;
}

int plan_logical(struct plan *p, int node, int buffer, enum phase phase)
{
    struct buffer want = p->buf[buffer];
    want.layout = LAYOUT_NCHW;
    if (layout_same_bytes(&p->buf[buffer], &want))
        return buffer;
    if (p->buf[buffer].twin >= 0)
        return p->buf[buffer].twin;
    int twin = plan_buffer(p, want.type, &want.shape, LAYOUT_NCHW);
    struct copy_spec spec = {node, buffer, twin, false, phase};
    if (copy_step(p, &spec, NULL) != STATUS_OK)
        p->out_of_memory = true;
    p->buf[buffer].twin = twin;
    return twin;
}

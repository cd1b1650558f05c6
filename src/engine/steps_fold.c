/* The channel step after a product by folded weights.
 *
 * FOLD_QAT: y = acc / factor + bias; FOLD_PRE: y = acc + bias, per channel, in
 * place. SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/plan_impl.h"

#include <string.h>

#include "engine/weights.h"

struct fold_step {
    struct weight_prep *w;
    int64_t outer, inner;     /* the value as (outer, channels, inner) */
    int y, dy, dacc;
    bool divide;
};

static enum status fold_run(struct plan *p, struct step *s, struct err *e)
{
    (void)e;
    const struct fold_step *f = s->priv;
    const struct weight_prep *w = f->w;
    float *y = plan_floats(p, f->y);
    const float *factor = plan_floats(p, w->factor);
    const float *bias = plan_floats(p, w->bias_eff);
    int64_t rows = f->outer * w->channels;
#pragma omp parallel for if (rows * f->inner > 16384)
    for (int64_t r = 0; r < rows; r++) {
        int64_t o = r % w->channels;
        float b = bias ? bias[o] : 0.0f;
        for (int64_t i = r * f->inner; i < (r + 1) * f->inner; i++)
            y[i] = (f->divide ? y[i] / factor[o] : y[i]) + b;
    }
    return STATUS_OK;
}

/* dacc = dy / factor; dbias = sum dy; dfactor = -sum dy * (acc / factor) /
 * factor, where acc / factor = y - bias. */
static void back_channel(const struct plan *p, const struct fold_step *f,
                         int64_t o)
{
    const struct weight_prep *w = f->w;
    const float *y = plan_floats(p, f->y);
    const float *dy = plan_floats(p, f->dy);
    float *dacc = plan_floats(p, f->dacc);
    const float *bias = plan_floats(p, w->bias_eff);
    float factor = plan_floats(p, w->factor)[o];
    double sum = 0, product = 0, b = bias ? (double)bias[o] : 0;
    for (int64_t n = 0; n < f->outer; n++) {
        int64_t at = (n * w->channels + o) * f->inner;
        for (int64_t i = at; i < at + f->inner; i++) {
            sum += (double)dy[i];
            product += (double)dy[i] * ((double)y[i] - b);
            if (f->divide)
                dacc[i] = dy[i] / factor;
        }
    }
    float *dbias = plan_floats(p, w->bias_grad);
    if (dbias)
        dbias[o] = (float)sum;
    plan_floats(p, w->dfactor)[o] =
        f->divide ? (float)(-product / (double)factor) : 0.0f;
}

static enum status fold_back(struct plan *p, struct step *s, struct err *e)
{
    (void)e;
    const struct fold_step *f = s->priv;
    int64_t channels = f->w->channels;
#pragma omp parallel for if (f->outer * channels * f->inner > 16384)
    for (int64_t o = 0; o < channels; o++)
        back_channel(p, f, o);
    return STATUS_OK;
}

static const struct step_kind fold_kind = {
    .name = "unfold",
    .phase = PHASE_FORWARD,
    .run = fold_run,
};

static const struct step_kind fold_back_kind = {
    .name = "unfold bwd",
    .phase = PHASE_BACKWARD,
    .run = fold_back,
};

/* Channels are the axis that the node's output point says. */
static void find_view(const struct plan *p, int node, struct fold_step *f)
{
    const struct buffer *b = &p->buf[p->value[node].raw];
    bool last = b->layout == LAYOUT_NHWC || b->shape.rank < 3 ||
                p->graph->node[node].op == &op_dense;
    int64_t count = shape_count(&b->shape);
    f->outer = last ? count / f->w->channels : b->shape.dim[0];
    f->inner = count / f->outer / f->w->channels;
}

static struct step *fold_step(struct plan *p, const struct step_kind *kind,
                              int node)
{
    struct step *s = plan_step(p, kind, node, sizeof(struct fold_step));
    if (!s)
        return NULL;
    struct fold_step *f = s->priv;
    f->w = weights_of(p, node);
    f->y = p->value[node].raw;
    f->dy = f->dacc = -1;
    f->divide = f->w->how == FOLD_QAT;
    find_view(p, node, f);
    step_touch(p, s, f->y);
    step_touch(p, s, f->w->factor);
    step_touch(p, s, f->w->bias_eff);
    return s;
}

enum status fold_forward(struct plan *p, int node, struct err *e)
{
    const struct weight_prep *w = weights_of(p, node);
    if (!w || w->bn < 0)
        return STATUS_OK;
    return fold_step(p, &fold_kind, node) ? STATUS_OK : err_memory(e, "plan");
}

enum status fold_backward(struct plan *p, int node, int *dout, struct err *e)
{
    const struct weight_prep *w = weights_of(p, node);
    if (!w || w->bn < 0)
        return STATUS_OK;
    struct step *s = fold_step(p, &fold_back_kind, node);
    if (!s)
        return err_memory(e, "plan");
    struct fold_step *f = s->priv;
    f->dy = *dout;
    if (f->divide)
        *dout = f->dacc = plan_buffer_like(p, f->dy);
    step_touch(p, s, f->dy);
    step_touch(p, s, f->dacc);
    step_touch(p, s, w->bias_grad);
    step_touch(p, s, w->dfactor);
    return STATUS_OK;
}

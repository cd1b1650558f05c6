/* Sum and mean over the middle axis of (N,P,F) values, as DeepSets have it.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/fast.h"

#include <string.h>

struct reduce {
    int x, y;                 /* buffers; in backward their gradients */
    int64_t n, p, f;
    float divisor;            /* 1: a sum */
};

ENGINE_CLONES static void k_add_row(const float *x, float *y, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] += x[i];
}

ENGINE_CLONES static void k_divide(const float *x, float d, float *y,
                                   int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] / d;
}

static enum status forward_run(struct plan *p, struct step *s, struct err *e)
{
    (void)e;
    const struct reduce *r = s->priv;
    const float *x = plan_floats(p, r->x);
    float *y = plan_floats(p, r->y);
    int64_t count = r->n * r->p * r->f;
#pragma omp parallel for schedule(static) if (count > SHEET_PARALLEL)
    for (int64_t n = 0; n < r->n; n++) {
        float *to = y + n * r->f;
        memset(to, 0, (size_t)r->f * sizeof(float));
        for (int64_t i = 0; i < r->p; i++)
            k_add_row(x + (n * r->p + i) * r->f, to, r->f);
        if (r->divisor != 1.0f)
            k_divide(to, r->divisor, to, r->f);
    }
    return STATUS_OK;
}

static enum status backward_run(struct plan *p, struct step *s,
                                struct err *e)
{
    (void)e;
    const struct reduce *r = s->priv;
    float *dx = plan_floats(p, r->x);
    const float *dy = plan_floats(p, r->y);
    int64_t count = r->n * r->p * r->f;
#pragma omp parallel for schedule(static) if (count > SHEET_PARALLEL)
    for (int64_t n = 0; n < r->n; n++) {
        float *first = dx + n * r->p * r->f;
        k_divide(dy + n * r->f, r->divisor, first, r->f);
        for (int64_t i = 1; i < r->p; i++)
            memcpy(first + i * r->f, first, (size_t)r->f * sizeof(float));
    }
    return STATUS_OK;
}

static const struct step_kind reduce_kind[] = {
    {.name = "reduce fwd", .phase = PHASE_FORWARD, .run = forward_run},
    {.name = "reduce bwd", .phase = PHASE_BACKWARD, .run = backward_run},
};

static bool reduce_fits(struct plan *p, struct unit *u)
{
    const struct node *n = &p->graph->node[u->node[0]];
    return (n->op == &op_reduce_sum || n->op == &op_reduce_mean) &&
           n->n_in == 1 && p->graph->node[n->in[0]].shape.rank == 3 &&
           node_int(n, "axes") == 1 << 1;
}

static enum status reduce_step(struct plan *p, int node, int phase,
                               const int at[2], struct err *e)
{
    struct step *s = plan_step(p, &reduce_kind[phase], node,
                               sizeof(struct reduce));
    if (!s)
        return err_memory(e, "plan");
    const struct node *n = &p->graph->node[node];
    const struct shape *x = plan_shape(p, plan_in(p, node, 0));
    struct reduce *r = s->priv;
    *r = (struct reduce){
        .x = at[0], .y = at[1],
        .n = x->dim[0], .p = x->dim[1], .f = x->dim[2],
        .divisor = n->op == &op_reduce_mean ? (float)x->dim[1] : 1.0f,
    };
    step_touch(p, s, r->x);
    step_touch(p, s, r->y);
    return STATUS_OK;
}

static enum status reduce_forward_unit(struct plan *p, struct unit *u,
                                       struct err *e)
{
    int node = u->node[0];
    TRY(quant_in_forward(p, node, e));
    plan_make_value(p, node);
    if (p->out_of_memory)
        return err_memory(e, "plan");
    const int at[2] = {plan_in(p, node, 0), p->value[node].raw};
    TRY(reduce_step(p, node, 0, at, e));
    return quant_out_forward(p, node, e);
}

static enum status reduce_backward_unit(struct plan *p, struct unit *u,
                                        struct err *e)
{
    int node = u->node[0], sum;
    TRY(quant_out_backward(p, node, e));
    int dy = plan_raw_grad(p, node);
    int dx = plan_in_part(p, node, 0, &sum);
    if (dx < 0)
        return STATUS_OK;
    const int at[2] = {dx, dy};
    TRY(reduce_step(p, node, 1, at, e));
    if (sum >= 0) {
        struct copy_spec copy = {node, dx, sum, true, PHASE_BACKWARD};
        TRY(copy_step(p, &copy, e));
    }
    return quant_in_backward(p, node, e);
}

const struct maker maker_reduce = {
    .name = "reduce",
    .fits = reduce_fits,
    .forward = reduce_forward_unit,
    .backward = reduce_backward_unit,
};

/* Running a plan, and reading values from it.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/plan_part.h"

#include <math.h>
#include <string.h>

#include "base/cpu.h"

static enum status run_step(struct plan *p, struct step *s, struct err *e)
{
    if (!p->profile)
        return s->kind->run(p, s, e);
    double start = clock_seconds();
    enum status st = s->kind->run(p, s, e);
    s->seconds += clock_seconds() - start;
    return st;
}

/* Their times are what they took together, in the proportions of each. */
static void share_time(struct plan *p, double wall, const double *before)
{
    double sum = 0;
    for (int i = 0; i < p->n_apart; i++)
        sum += p->step[i]->seconds - before[i];
    for (int i = 0; i < p->n_apart && sum > 0; i++) {
        double own = p->step[i]->seconds - before[i];
        p->step[i]->seconds = before[i] + own * wall / sum;
    }
}

/* Of several failures that of the first step is told. */
static enum status run_apart(struct plan *p, struct err *e)
{
    enum status worst = STATUS_OK;
    int at = p->n_apart;
#pragma omp parallel for schedule(dynamic, 1) num_threads(p->threads)
    for (int i = 0; i < p->n_apart; i++) {
        struct err mine;
        enum status s = run_step(p, p->step[i], &mine);
        if (s == STATUS_OK)
            continue;
#pragma omp critical(engine_plan_apart)
        if (i < at) {
            at = i;
            worst = s;
            *e = mine;
        }
    }
    return worst;
}

static enum status run_first(struct plan *p, struct err *e)
{
    if (!p->profile)
        return run_apart(p, e);
    double before[APART_MAX], start = clock_seconds();
    for (int i = 0; i < p->n_apart; i++)
        before[i] = p->step[i]->seconds;
    TRY(run_apart(p, e));
    share_time(p, clock_seconds() - start, before);
    return STATUS_OK;
}

static enum status run_steps(struct plan *p, int from, int to,
                             const struct tick *t, struct err *e)
{
    if (from < p->n_apart) {
        TRY(run_first(p, e));
        from = p->n_apart;
    }
    for (int i = from; i < to; i++) {
        TRY(run_step(p, p->step[i], e));
        if (!t || !t->fn)
            continue;
        enum status st = t->fn(t->ctx);
        if (st)
            return err_set(e, st, "%s", status_text(st));
    }
    return STATUS_OK;
}

enum status plan_forward_steps(struct plan *p, int from, int to,
                               const struct tick *t, struct err *e)
{
    p->tick = t;
    enum status s = run_steps(p, from, to, t, e);
    p->tick = NULL;
    return s;
}

enum status plan_forward(struct plan *p, const struct tick *t, struct err *e)
{
    return plan_forward_steps(p, 0, p->first_backward, t, e);
}

enum status plan_forward_weights(struct plan *p, int to, struct err *e)
{
    for (int i = 0; i < to; i++)
        if (p->step[i]->kind->phase == PHASE_WEIGHTS)
            TRY(run_step(p, p->step[i], e));
    return STATUS_OK;
}

enum status plan_backward(struct plan *p, const struct tick *t,
                          struct err *e)
{
    if (!p->opts.train)
        return err_set(e, STATUS_STATE, "this plan was not made to train");
    const struct graph *g = p->graph;
    memset(g->grad_block, 0, (size_t)g->n_grad * sizeof(real));
    for (int i = 0; i < g->n_point; i++)
        if (g->point[i].q)
            quantizer_zero_grad(g->point[i].q);
    return run_steps(p, p->first_backward, p->n_step, t, e);
}

static enum status copy_logical(const struct plan *p, int buffer, float *out)
{
    const struct buffer *b = &p->buf[buffer];
    const float *data = plan_floats(p, buffer);
    const int64_t *d = b->shape.dim;
    if (b->layout == LAYOUT_NHWC)
        nhwc_to_nchw(data, out, d[0], d[1], d[2] * d[3]);
    else
        memcpy(out, data, (size_t)b->bytes);
    return STATUS_OK;
}

static enum status check_node(const struct plan *p, int node, struct err *e)
{
    if (!p->opts.keep_values)
        return err_set(e, STATUS_STATE, "this plan does not keep its values");
    if (node < 0 || node >= p->graph->n_node)
        return err_set(e, STATUS_ARG, "node %d, wanted 0 to %d", node,
                       p->graph->n_node - 1);
    return STATUS_OK;
}

enum status plan_value(const struct plan *p, int node, bool before,
                       float *out, struct err *e)
{
    TRY(check_node(p, node, e));
    const struct value *v = &p->value[node];
    const struct unit *u = p->unit[v->unit];
    int buffer = before ? v->raw : v->out;
    if (buffer < 0)
        return u->maker->value(p, u, node, out, e);
    return copy_logical(p, buffer, out);
}

enum status plan_value_grad(const struct plan *p, int node, float *out,
                            struct err *e)
{
    TRY(check_node(p, node, e));
    const struct value *v = &p->value[node];
    if (!v->wants_grad)
        return err_set(e, STATUS_STATE, "%s: nothing that learns lies before",
                       p->graph->node[node].name);
    const struct unit *u = p->unit[v->unit];
    if (v->grad < 0)
        return u->maker->value_grad(p, u, node, out, e);
    return copy_logical(p, v->grad, out);
}

static bool all_finite(const float *x, int64_t n)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += x[i] * 0.0f;      /* NaN from NaN and from infinity */
    return sum == 0.0f;
}

/* Whether the buffer still holds what the forward pass wrote: memory is
 * shared with buffers that come to life later. */
static bool still_there(const struct plan *p, const struct buffer *b)
{
    if (b->external || b->pinned)
        return true;
    for (int i = 0; i < p->n_buf; i++) {
        const struct buffer *o = &p->buf[i];
        if (o == b || !o->touched || o->external ||
            o->last <= b->last || o->first >= p->first_backward)
            continue;
        if (o->offset < b->offset + (size_t)b->bytes &&
            b->offset < o->offset + (size_t)o->bytes)
            return false;
    }
    return true;
}

int plan_find_nonfinite(const struct plan *p)
{
    for (int i = 0; i < p->graph->n_node; i++) {
        const int at[2] = {p->value[i].raw, p->value[i].out};
        for (int k = 0; k < 2; k++) {
            const struct buffer *b =
                at[k] < 0 ? NULL : &p->buf[p->buf[at[k]].root];
            if (b && b->touched && still_there(p, b) &&
                !all_finite(b->data, shape_count(&b->shape)))
                return i;
        }
    }
    return -1;
}

void plan_profile(struct plan *p, bool on)
{
    p->profile = on;
    for (int i = 0; on && i < p->n_step; i++)
        p->step[i]->seconds = 0;
}

int plan_step_count(const struct plan *p)
{
    return p->n_step;
}

static const char *const phase_name[PHASE_COUNT] = {"weights", "forward",
                                                    "backward"};

void plan_step_info(const struct plan *p, int i, struct step_info *out)
{
    const struct step *s = p->step[i];
    *out = (struct step_info){
        .kind = s->kind->name,
        .layer = p->graph->node[s->node].name,
        .phase = phase_name[s->kind->phase],
        .seconds = s->seconds,
        .bytes = s->bytes,
        .flops = s->flops,
    };
}

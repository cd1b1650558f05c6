/* batch_norm: normalises each channel, then scales and shifts it.
 *
 * x: (N,C,...), over all axes but C, M values a channel:
 * y = gamma * (x - mean) / sqrt(var + eps) + beta, computed as torch does,
 * as x * a + b with a = gamma / sqrt(var + eps), b = beta - mean * a.
 * In training mean and var are the batch's (var biased, / M); the running
 * ones follow with running = (1 - momentum) * running + momentum * batch,
 * with the unbiased variance (/ (M - 1)). ONNX counts momentum the other way
 * round. Ioffe & Szegedy 2015, algorithm 1.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "nn/op_batch_norm.h"

struct bn_geom {
    int64_t n, c, inner;
};

static struct bn_geom geom_of(const struct shape *x)
{
    return (struct bn_geom){ x->dim[0], x->dim[1], shape_inner(x, 1) };
}

struct bn bn_of(const struct node *n)
{
    return (struct bn){ node_attr(n, "eps"), node_attr(n, "momentum") };
}

bool bn_uses_batch(const struct op_call *c)
{
    return c->train && !c->freeze_stats && !c->node->bn_frozen &&
           !c->node->bn_folded;
}

static enum status infer(const struct node *n, const struct shape *const in[],
                         struct shape *out, struct err *e)
{
    if (in[0]->rank < 2)
        return shape_refuse(in[0], "an axis of channels", e);
    return infer_same(n, in, out, e);
}

static enum status param_shape(const struct node *n,
                               const struct shape *const in[], int param,
                               struct shape *out, struct err *e)
{
    (void)n;
    (void)param;
    (void)e;
    *out = shape_1(in[0]->dim[1]);
    return STATUS_OK;
}

/* saved: mean (C), then 1 / sqrt(var + eps) (C). */
static size_t saved(const struct node *n, const struct shape *const in[],
                    const struct shape *out)
{
    (void)n;
    (void)out;
    return 2 * (size_t)in[0]->dim[1];
}

/* Mean and biased variance of channel k, in double, in fixed order. */
static void channel_moments(const struct bn_geom *g, const real *x, int64_t k,
                            double moments[2])
{
    double sum = 0, squares = 0, count = (double)(g->n * g->inner);
    for (int64_t n = 0; n < g->n; n++)
        for (int64_t i = 0; i < g->inner; i++)
            sum += (double)x[(n * g->c + k) * g->inner + i];
    double mean = sum / count;
    for (int64_t n = 0; n < g->n; n++) {
        for (int64_t i = 0; i < g->inner; i++) {
            double d = (double)x[(n * g->c + k) * g->inner + i] - mean;
            squares += d * d;
        }
    }
    moments[0] = mean;
    moments[1] = squares / count;
}

static void update_running(const struct op_call *c, int64_t k,
                           const double moments[2], double count)
{
    double m = node_attr(c->node, "momentum");
    double unbiased = moments[1] * count / (count > 1 ? count - 1 : 1);
    real *mean = c->state[0] + k, *var = c->state[1] + k;
    *mean = (real)((1 - m) * (double)*mean + m * moments[0]);
    *var = (real)((1 - m) * (double)*var + m * unbiased);
}

static void forward_channel(const struct op_call *c, const struct bn_geom *g,
                            int64_t k)
{
    double moments[2];
    if (bn_uses_batch(c)) {
        channel_moments(g, c->in[0], k, moments);
        update_running(c, k, moments, (double)(g->n * g->inner));
    } else {
        moments[0] = (double)c->state[0][k];
        moments[1] = (double)c->state[1][k];
    }
    double inverse = 1 / sqrt(moments[1] + node_attr(c->node, "eps"));
    if (c->saved) {
        c->saved[k] = (real)moments[0];
        c->saved[g->c + k] = (real)inverse;
    }
    real a = (real)inverse * c->param[0][k];
    real b = c->param[1][k] - (real)moments[0] * a;
    for (int64_t n = 0; n < g->n; n++) {
        int64_t at = (n * g->c + k) * g->inner;
        for (int64_t i = at; i < at + g->inner; i++)
            c->out[i] = c->in[0][i] * a + b;
    }
}

static enum status forward(const struct op_call *c, struct err *e)
{
    (void)e;
    int64_t count = shape_count(c->out_shape);
    if (c->node->bn_folded) {
        memcpy(c->out, c->in[0], (size_t)count * sizeof *c->out);
        return STATUS_OK;
    }
    struct bn_geom g = geom_of(c->in_shape[0]);
#pragma omp parallel for schedule(static) if (count > OP_PARALLEL_MIN)
    for (int64_t k = 0; k < g.c; k++)
        forward_channel(c, &g, k);
    return STATUS_OK;
}

/* With xhat = (x - mean) * inverse and sums over the M values of a channel:
 * dbeta = sum dy, dgamma = sum dy xhat,
 * dx = gamma inverse (dy - dbeta / M - xhat dgamma / M) on batch statistics,
 * dx = gamma inverse dy on running ones. */
static void backward_channel(const struct op_call *c, const struct bn_geom *g,
                             int64_t k)
{
    double mean = (double)c->saved[k], inverse = (double)c->saved[g->c + k];
    double sum = 0, product = 0, count = (double)(g->n * g->inner);
    for (int64_t n = 0; n < g->n; n++) {
        int64_t at = (n * g->c + k) * g->inner;
        for (int64_t i = at; i < at + g->inner; i++) {
            double dy = (double)c->dout[i];
            sum += dy;
            product += dy * ((double)c->in[0][i] - mean);
        }
    }
    if (c->dparam[0])
        c->dparam[0][k] += (real)(product * inverse);
    if (c->dparam[1])
        c->dparam[1][k] += (real)sum;
    if (!c->din[0])
        return;
    bool batch = bn_uses_batch(c);
    real a = (real)((double)c->param[0][k] * inverse);
    real slope = batch ? (real)(product * inverse * inverse / count) : 0;
    real shift = batch ? (real)(sum / count) : 0;
    real middle = (real)mean;
    for (int64_t n = 0; n < g->n; n++) {
        int64_t at = (n * g->c + k) * g->inner;
        for (int64_t i = at; i < at + g->inner; i++)
            c->din[0][i] += a * (c->dout[i] - shift -
                                 (c->in[0][i] - middle) * slope);
    }
}

static enum status backward(const struct op_call *c, struct err *e)
{
    (void)e;
    int64_t count = shape_count(c->out_shape);
    if (c->node->bn_folded) {
        for (int64_t i = 0; c->din[0] && i < count; i++)
            c->din[0][i] += c->dout[i];
        return STATUS_OK;
    }
    struct bn_geom g = geom_of(c->in_shape[0]);
#pragma omp parallel for schedule(static) if (count > OP_PARALLEL_MIN)
    for (int64_t k = 0; k < g.c; k++)
        backward_channel(c, &g, k);
    return STATUS_OK;
}

static const struct attr_row attrs[] = {
    { .name = "eps", .type = ATTR_REAL, .def = 1e-5, .lo = 0, .hi = 1,
      .help = "added to the variance" },
    { .name = "momentum", .type = ATTR_REAL, .def = 0.1, .lo = 0, .hi = 1,
      .help = "share of the batch in the running statistics" },
    { .name = NULL }
};

static const struct param_row params[] = {
    { .name = "weight", .role = PARAM_GAMMA },
    { .name = "bias", .role = PARAM_BETA },
    { .name = NULL }
};

static const struct param_row states[] = {
    { .name = "running_mean", .role = PARAM_MEAN },
    { .name = "running_var", .role = PARAM_VAR },
    { .name = NULL }
};

const struct op op_batch_norm = {
    .name = "batch_norm",
    .onnx_name = "BatchNormalization",
    .type = "bn",
    .help = "normalises each channel, then scales and shifts it",
    .min_inputs = 1,
    .max_inputs = 1,
    .flags = OP_BATCH_NORM,
    .attr = attrs,
    .param = params,
    .state = states,
    .infer = infer,
    .param_shape = param_shape,
    .saved = saved,
    .forward = forward,
    .backward = backward,
};

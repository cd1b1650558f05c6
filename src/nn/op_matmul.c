/* matmul: products of matrices, both of them activations.
 *
 * a: (N,...,M,K), b: (N,...,K,P), or (N,...,P,K) with transpose_b;
 * y: (N,...,M,P). SPDX-License-Identifier: GPL-3.0-or-later */
#include "nn/op_util.h"

struct matmul_geom {
    int64_t batch, m, k, p;
    bool transposed;
};

static struct matmul_geom geom_of(const struct node *n,
                                  const struct shape *a,
                                  const struct shape *b)
{
    int r = a->rank;
    struct matmul_geom g = {
        .batch = shape_outer(a, r - 2),
        .m = a->dim[r - 2],
        .k = a->dim[r - 1],
        .transposed = node_has(n, "transpose_b"),
    };
    g.p = b->dim[g.transposed ? r - 2 : r - 1];
    return g;
}

static enum status infer(const struct node *n, const struct shape *const in[],
                         struct shape *out, struct err *e)
{
    const struct shape *a = in[0], *b = in[1];
    int r = a->rank;
    if (r < 3)
        return shape_refuse(a, "at least rows and columns", e);
    bool fits = b->rank == r;
    for (int i = 0; fits && i < r - 2; i++)
        fits = a->dim[i] == b->dim[i];
    if (!fits)
        return shape_refuse(b, "the first input's extents but for the last "
                            "two", e);
    int inner = node_has(n, "transpose_b") ? r - 1 : r - 2;
    if (a->dim[r - 1] != b->dim[inner])
        return err_set(e, STATUS_ARG, "%lld columns against %lld rows",
                       (long long)a->dim[r - 1], (long long)b->dim[inner]);
    *out = *a;
    out->dim[r - 1] = geom_of(n, a, b).p;
    return STATUS_OK;
}

static int64_t macs(const struct node *n, const struct shape *const in[],
                    const struct shape *out)
{
    (void)n;
    return shape_count(out) * in[0]->dim[in[0]->rank - 1];
}

/* Steps in b from one k, and from one p, to the next. */
static int64_t step_k(const struct matmul_geom *g)
{
    return g->transposed ? 1 : g->p;
}

static int64_t step_p(const struct matmul_geom *g)
{
    return g->transposed ? g->k : 1;
}

static enum status forward(const struct op_call *c, struct err *e)
{
    (void)e;
    struct matmul_geom g = geom_of(c->node, c->in_shape[0], c->in_shape[1]);
    int64_t rows = g.batch * g.m, sk = step_k(&g), sp = step_p(&g);
#pragma omp parallel for schedule(static) \
    if (rows * g.k * g.p > OP_PARALLEL_MIN)
    for (int64_t r = 0; r < rows; r++) {
        const real *a = c->in[0] + r * g.k;
        const real *b = c->in[1] + r / g.m * g.k * g.p;
        real *y = c->out + r * g.p;
        for (int64_t p = 0; p < g.p; p++)
            y[p] = 0;
        for (int64_t k = 0; k < g.k; k++)
            for (int64_t p = 0; p < g.p; p++)
                y[p] += a[k] * b[k * sk + p * sp];
    }
    return STATUS_OK;
}

/* da[m,k] = sum_p dy[m,p] b[k,p] */
static void backward_a(const struct op_call *c, const struct matmul_geom *g,
                       int64_t r)
{
    int64_t sk = step_k(g), sp = step_p(g);
    const real *b = c->in[1] + r / g->m * g->k * g->p;
    const real *dy = c->dout + r * g->p;
    real *da = c->din[0] + r * g->k;
    for (int64_t k = 0; k < g->k; k++)
        for (int64_t p = 0; p < g->p; p++)
            da[k] += dy[p] * b[k * sk + p * sp];
}

/* db[k,p] = sum_m a[m,k] dy[m,p] */
static void backward_b(const struct op_call *c, const struct matmul_geom *g,
                       int64_t batch)
{
    int64_t sk = step_k(g), sp = step_p(g);
    real *db = c->din[1] + batch * g->k * g->p;
    for (int64_t m = 0; m < g->m; m++) {
        const real *a = c->in[0] + (batch * g->m + m) * g->k;
        const real *dy = c->dout + (batch * g->m + m) * g->p;
        for (int64_t k = 0; k < g->k; k++)
            for (int64_t p = 0; p < g->p; p++)
                db[k * sk + p * sp] += a[k] * dy[p];
    }
}

/* Matrix by matrix, so that both gradients may go to the same value. */
static enum status backward(const struct op_call *c, struct err *e)
{
    (void)e;
    struct matmul_geom g = geom_of(c->node, c->in_shape[0], c->in_shape[1]);
    int64_t work = g.batch * g.m * g.k * g.p;
#pragma omp parallel for schedule(static) if (work > OP_PARALLEL_MIN)
    for (int64_t i = 0; i < g.batch; i++) {
        for (int64_t m = 0; c->din[0] && m < g.m; m++)
            backward_a(c, &g, i * g.m + m);
        if (c->din[1])
            backward_b(c, &g, i);
    }
    return STATUS_OK;
}

static const struct attr_row attrs[] = {
    { .name = "transpose_b", .type = ATTR_BOOL, .lo = 0, .hi = 1,
      .help = "the second input's last two axes are exchanged" },
    { .name = NULL }
};

const struct op op_matmul = {
    .name = "matmul",
    .onnx_name = "MatMul",
    .type = "matmul",
    .help = "product of two values, matrix by matrix",
    .min_inputs = 2,
    .max_inputs = 2,
    .attr = attrs,
    .infer = infer,
    .forward = forward,
    .backward = backward,
    .macs = macs,
};

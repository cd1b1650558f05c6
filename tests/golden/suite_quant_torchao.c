/* Suite quant-torchao: groups, channels and tokens of torchao.
 *
 * Blocks of rows and columns are copied into one run each, so that a group
 * is a channel of a flat view. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden/golden.h"
#include "golden/golden_quant.h"

struct blocks {
    int64_t rows, cols;       /* of the array */
    int64_t high, wide;       /* of a block */
    int64_t count;            /* blocks */
    struct qview view;        /* of the copied array */
};

static struct blocks blocks_of(struct golden_case *c, const char *key,
                               int64_t high, int64_t wide)
{
    const struct tensor *t = golden_array(c, "%s", key);
    struct blocks b = {0};

    if (!t || t->shape.rank != 2 || high < 1 || wide < 1)
        return b;
    b = (struct blocks){.rows = t->shape.dim[0], .cols = t->shape.dim[1],
                        .high = high, .wide = wide};
    b.count = b.rows / high * (b.cols / wide);
    b.view = (struct qview){1, b.count, high * wide};
    return b;
}

/* Index in the array of element i of the blocks laid side by side. */
static int64_t block_at(const struct blocks *b, int64_t i)
{
    int64_t block = i / b->view.inner, in = i % b->view.inner;
    int64_t per_row = b->cols / b->wide;
    int64_t row = block / per_row * b->high + in / b->wide;
    int64_t col = block % per_row * b->wide + in % b->wide;

    return row * b->cols + col;
}

static real *to_blocks(struct golden_case *c, const struct blocks *b,
                       const real *x)
{
    real *y = golden_alloc(c, (size_t)(b->rows * b->cols), sizeof *y);

    for (int64_t i = 0; x && i < b->rows * b->cols; i++)
        y[i] = x[block_at(b, i)];
    return y;
}

static real *from_blocks(struct golden_case *c, const struct blocks *b,
                         const real *x)
{
    real *y = golden_alloc(c, (size_t)(b->rows * b->cols), sizeof *y);

    for (int64_t i = 0; i < b->rows * b->cols; i++)
        y[block_at(b, i)] = x[i];
    return y;
}

static void free_quantizer(void *p)
{
    quantizer_free(p);
}

static struct quantizer *make(struct golden_case *c, const struct qspec *s,
                              const struct blocks *b)
{
    struct quantizer *q;
    struct err e;

    if (b->count < 1) {
        golden_fail(c, "no blocks");
        return NULL;
    }
    if (!golden_ok(c, quantizer_new(s, b->count, &q, &e), &e, "quantizer"))
        return NULL;
    golden_own(c, q, free_quantizer);
    return q;
}

static void run_primitive(struct golden_case *c)
{
    const json_t *block = golden_field(c, "block");
    const char *mapping = golden_text(c, "mapping", "");
    struct blocks b =
        blocks_of(c, "x", json_integer_value(json_array_get(block, 0)),
                  json_integer_value(json_array_get(block, 1)));
    int64_t n = b.rows * b.cols;
    real *x = to_blocks(c, &b, golden_reals(c, "x", NULL));
    int32_t *code = golden_alloc(c, (size_t)n, sizeof *code);
    int32_t *there = golden_alloc(c, (size_t)n, sizeof *there);
    struct quantizer *q;
    struct qspec s;
    struct err e;

    golden_spec(c, &s);
    s.symmetric = strcmp(mapping, "ASYMMETRIC") != 0;
    s.rule = qparams_find(strcmp(mapping, "SYMMETRIC_NO_CLIPPING_ERR")
                              ? "torch" : "noclip");
    s.grain = GRAIN_GROUP;
    s.group = (int)b.view.inner;
    q = make(c, &s, &b);
    if (!q || !golden_ok(c, quantizer_observe(q, x, b.view, &e), &e,
                         "observe"))
        return;
    golden_equal(c, "scale", q->scale, b.count);
    golden_equal(c, "zero_point", q->zero_point, b.count);
    q->spec.kind->codes(q, x, code, b.view);
    for (int64_t i = 0; i < n; i++)
        there[block_at(&b, i)] = code[i];
    golden_equal_ints(c, "q", there, n);
    quantizer_forward(q, x, x, b.view, false);
    golden_equal(c, "y", from_blocks(c, &b, x), n);
}

/* Blocks of a fake quantizer: groupN, or whole rows. */
static struct blocks fake_blocks(struct golden_case *c)
{
    const char *grain = golden_text(c, "granularity", "");
    const struct tensor *t = golden_array(c, "x");
    int64_t wide = t && t->shape.rank == 2 ? t->shape.dim[1] : 0;

    if (!strncmp(grain, "group", 5))
        wide = atoi(grain + 5);
    return blocks_of(c, "x", 1, wide);
}

static void fake_spec(struct golden_case *c, struct qspec *s, int group)
{
    bool token = !strcmp(golden_text(c, "granularity", ""), "token");

    golden_spec(c, s);
    s->symmetric = golden_bool(c, "symmetric", true);
    s->grain = GRAIN_GROUP;
    s->group = group;
    s->rule = qparams_find(s->symmetric || token ? "torch" : "torchao");
    if (golden_bool(c, "range_learning", false)) {
        s->kind = quantizer_kind_find("learnable");
        s->param[0] = 0;
        s->param[1] = 1;
    }
}

/* d_scale: within 1e-6 of the sum of absolute terms (and as much absolute),
 * d_zero_point within 1e-5. */
static void check_learned(struct golden_case *c, const struct quantizer *q,
                          const struct blocks *b, const real *x,
                          const real *dy)
{
    double *found = golden_alloc(c, (size_t)b->count, sizeof *found);
    double *tol = golden_alloc(c, (size_t)b->count, sizeof *tol);

    for (int row = 0; row < 2; row++) {
        for (int64_t k = 0; k < b->count; k++) {
            found[k] = (double)q->grad[row * b->count + k];
            tol[k] = row ? 1e-5 : 1e-6;
        }
        for (int64_t i = 0; i < b->rows * b->cols; i++) {
            int64_t k = i / b->view.inner;
            double s = (double)q->scale[k], z = (double)q->zero_point[k];
            double r = (double)x[i] / s, code = rint(r) + z;
            double lo = (double)q->lo_code, hi = (double)q->hi_code;
            bool out = code < lo || code > hi;
            double d = fabs((double)dy[i]);

            code = fmin(fmax(code, lo), hi);
            tol[k] += row ? 1e-5 * (out ? d * s : 0)
                          : 1e-6 * d * (fabs(code - z) + fabs(r));
        }
        if (row == 0 || golden_find(c, "d_zero_point"))
            golden_within(c, row ? "d_zero_point" : "d_scale", found, tol,
                          b->count);
    }
}

static void run_fake(struct golden_case *c)
{
    struct blocks b = fake_blocks(c);
    int64_t n = b.rows * b.cols;
    real *x = to_blocks(c, &b, golden_reals(c, "x", NULL));
    real *dy = to_blocks(c, &b, golden_reals(c, "dy", NULL));
    real *y = golden_alloc(c, (size_t)n, sizeof *y);
    struct quantizer *q;
    struct qspec s;
    struct err e;

    fake_spec(c, &s, (int)b.view.inner);
    q = make(c, &s, &b);
    if (!q || !golden_ok(c, quantizer_observe(q, x, b.view, &e), &e,
                         "observe"))
        return;
    q->learn = q->n_learned > 0;
    golden_equal(c, "scale", q->scale, b.count);
    golden_equal(c, "zero_point", q->zero_point, b.count);
    quantizer_forward(q, x, y, b.view, true);
    golden_equal(c, "y", from_blocks(c, &b, y), n);
    quantizer_zero_grad(q);
    quantizer_backward(q, x, dy, y, b.view);
    golden_near(c, "dx", from_blocks(c, &b, y), n, 0, 1e-6);
    if (q->learn)
        check_learned(c, q, &b, x, dy);
}

/* One operand of the linear layer: fake-quantized values and gradients. */
struct operand {
    struct quantizer *q;
    struct blocks b;
    const real *x;
    real *y;                  /* in the array's order */
};

static bool operand_make(struct golden_case *c, struct operand *o,
                         const char *key, int64_t wide)
{
    const struct tensor *t = golden_array(c, "%s", key);
    bool token = wide == 0;
    struct qspec s;
    struct err e;

    if (!t)
        return false;
    o->b = blocks_of(c, key, 1, token ? t->shape.dim[1] : wide);
    qspec_default(&s);
    s.bits = token ? 8 : 4;
    s.symmetric = !token;
    s.grain = GRAIN_GROUP;
    s.group = (int)o->b.view.inner;
    o->q = make(c, &s, &o->b);
    o->x = to_blocks(c, &o->b, golden_reals(c, key, NULL));
    if (!o->q ||
        !golden_ok(c, quantizer_observe(o->q, o->x, o->b.view, &e), &e,
                   "observe"))
        return false;
    o->y = golden_alloc(c, (size_t)(o->b.rows * o->b.cols), sizeof *o->y);
    quantizer_forward(o->q, o->x, o->y, o->b.view, true);
    o->y = from_blocks(c, &o->b, o->y);
    return true;
}

/* Two 2-dimensional factors by strides: out (n, m) = sum over k of
 * a[i * as[0] + k * as[1]] * b[j * bs[0] + k * bs[1]], against `key`, within
 * 1e-5 of the sum of absolute terms. */
struct product {
    const real *a, *b;
    int64_t as[2], bs[2], n, m, k;
};

static void multiply(struct golden_case *c, const struct product *p,
                     double *out, double *tol)
{
    (void)c;
    for (int64_t i = 0; i < p->n; i++)
        for (int64_t j = 0; j < p->m; j++)
            for (int64_t k = 0; k < p->k; k++) {
                double t = (double)p->a[i * p->as[0] + k * p->as[1]] *
                           (double)p->b[j * p->bs[0] + k * p->bs[1]];

                out[i * p->m + j] += t;
                tol[i * p->m + j] += 1e-5 * fabs(t);
            }
}

/* The gradient of an operand: the product through its quantizer. */
static void check_back(struct golden_case *c, struct operand *o,
                       const struct product *p, const char *key)
{
    int64_t n = p->n * p->m;
    double *out = golden_alloc(c, (size_t)n, sizeof *out);
    double *tol = golden_alloc(c, (size_t)n, sizeof *tol);
    real *d = golden_alloc(c, (size_t)n, sizeof *d);

    multiply(c, p, out, tol);
    for (int64_t i = 0; i < n; i++)
        d[i] = (real)out[i];
    d = to_blocks(c, &o->b, d);
    quantizer_backward(o->q, o->x, d, d, o->b.view);
    d = from_blocks(c, &o->b, d);
    for (int64_t i = 0; i < n; i++)
        out[i] = (double)d[i];
    golden_within(c, key, out, tol, n);
}

static void run_linear(struct golden_case *c)
{
    const real *dy = golden_reals(c, "dy", NULL);
    struct operand x = {0}, w = {0};
    struct product p;
    double *y, *tol;
    int64_t n, m, k;

    if (!operand_make(c, &x, "x", 0) ||
        !operand_make(c, &w, "w", golden_int(c, "group", 0)) || !dy)
        return;
    golden_equal(c, "act_scale", x.q->scale, x.b.count);
    golden_equal(c, "act_zero_point", x.q->zero_point, x.b.count);
    golden_equal(c, "w_scale", w.q->scale, w.b.count);
    golden_equal(c, "w_zero_point", w.q->zero_point, w.b.count);
    n = x.b.rows;
    m = w.b.rows;
    k = x.b.cols;
    y = golden_alloc(c, (size_t)(n * m), sizeof *y);
    tol = golden_alloc(c, (size_t)(n * m), sizeof *tol);
    p = (struct product){x.y, w.y, {k, 1}, {k, 1}, n, m, k};
    multiply(c, &p, y, tol);
    golden_within(c, "y", y, tol, n * m);
    p = (struct product){dy, w.y, {m, 1}, {1, k}, n, k, m};
    check_back(c, &x, &p, "dx");
    p = (struct product){dy, x.y, {1, m}, {1, k}, m, k, n};
    check_back(c, &w, &p, "dw");
}

static const struct golden_kind kinds[] = {
    {"primitive", run_primitive},
    {"fake_quantizer", run_fake},
    {"linear_8da4w", run_linear},
    {NULL, NULL},
};

void golden_quant_torchao(struct golden_case *c)
{
    golden_by_kind(c, "kind", kinds);
}

/* The converted nets of suite train-qat: what torch's fbgemm and qnnpack
 * kernels compute from the suite's integers, code by code, on every back end.
 *
 * The net gets the converted weights (code - zero) * scale, whose quantizer
 * finds the codes again, the converted biases, and the scales and zero points
 * of every layer; batch norm is folded already.
 *
 * torch 2.8's qnnpack relu6 writes images as (N,H,W,C) into a tensor that it
 * calls (N,C,H,W), and fbgemm's dense layers add products in pairs that
 * saturate at 16 bits on processors without VNNI: there the comparison follows
 * it, and ends.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/target.h"
#include "golden/golden_net.h"
#include "quant/quantizer.h"

struct convert_run {
    struct golden_case *c;
    struct graph *graph;
    const json_t *modules;
};

static const char *word(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    return text ? text : "";
}

/* The object without const, for jansson's iterators. */
static json_t *walk(const json_t *o)
{
    union { const json_t *in; json_t *out; } any = { .in = o };
    return any.out;
}

/* ---- the net ---- */

static void add_biases(const struct convert_run *r)
{
    const char *name;
    const json_t *m;
    json_object_foreach(walk(r->modules), name, m) {
        int node = graph_find(r->graph, name);
        struct err e;
        if (node < 0 || !golden_find(r->c, "q/%s.bias", name) ||
            r->graph->node[node].param[1] >= 0)
            continue;
        golden_ok(r->c, graph_add_bias(r->graph, node, &e), &e, name);
    }
}

static void fuse(const struct convert_run *r)
{
    const json_t *groups = golden_field(r->c, "fuse");
    graph_unfuse(r->graph);
    for (size_t i = 0; i < json_array_size(groups); i++) {
        const json_t *group = json_array_get(groups, i);
        int chain[8], n = 0;
        struct err e;
        for (size_t k = 0; k < json_array_size(group) && n < 8; k++)
            chain[n++] = graph_find(r->graph, json_string_value(
                                                  json_array_get(group, k)));
        golden_ok(r->c, graph_fuse(r->graph, chain, n, &e), &e, "fuse");
    }
    for (int i = 0; i < r->graph->n_node; i++)
        if (r->graph->node[i].op->flags & OP_BATCH_NORM)
            r->graph->node[i].bn_folded = true;
}

static struct quantizer *set_spec(const struct convert_run *r, int point,
                                  const char *text)
{
    struct qspec spec;
    struct err e;
    if (!golden_ok(r->c, qspec_parse(text, NULL, &spec, &e), &e, text) ||
        !golden_ok(r->c, point_set(r->graph, point, &spec, &e), &e, text))
        return NULL;
    r->graph->point[point].q->observe = false;
    return r->graph->point[point].q;
}

static void set_grid(const struct convert_run *r, struct quantizer *q,
                     const real *scale, const real *zero, int64_t n)
{
    struct err e;
    if (q)
        golden_ok(r->c, quantizer_set_grid(q, scale, zero, n, &e), &e,
                  "grid");
}

static void set_out(const struct convert_run *r, int point, const json_t *m)
{
    real scale = (real)json_number_value(json_object_get(m, "out_scale"));
    real zero = (real)json_number_value(json_object_get(m,
                                                        "out_zero_point"));
    set_grid(r, set_spec(r, point, "affine:8,unsigned,asym"), &scale, &zero,
             1);
}

/* w = (code - zero) * scale */
static void set_weight(const struct convert_run *r, int node,
                       const char *name, const json_t *m)
{
    bool channel = strstr(word(m, "weight_qscheme"), "channel") != NULL;
    const struct tensor *code = golden_array(r->c, "q/%s.weight", name);
    char key[2][128];
    int64_t n, zeros;
    snprintf(key[0], sizeof key[0], "q/%s.weight_scale", name);
    snprintf(key[1], sizeof key[1], "q/%s.weight_zero_point", name);
    const real *scale = golden_reals(r->c, key[0], &n);
    const real *zero = golden_reals(r->c, key[1], &zeros);
    struct param *w = &r->graph->param[r->graph->node[node].param[0]];
    if (!code || !scale || !zero || n != zeros ||
        shape_count(&code->shape) != w->count) {
        golden_fail(r->c, "%s: weights of another size", name);
        return;
    }
    int64_t inner = w->count / n;
    for (int64_t i = 0; i < w->count; i++)
        w->value[i] = ((real)tensor_get(code, i) - zero[i / inner]) *
                      scale[i / inner];
    struct quantizer *q = set_spec(
        r, r->graph->node[node].point[POINT_WEIGHT],
        channel ? "affine:8,signed,asym,channel" : "affine:8,signed,asym");
    set_grid(r, q, scale, zero, n);
    const struct tensor *b = golden_find(r->c, "q/%s.bias", name);
    int bias = r->graph->node[node].param[1];
    for (int64_t i = 0; b && i < shape_count(&b->shape); i++)
        r->graph->param[bias].value[i] = (real)tensor_get(b, i);
}

static void set_modules(const struct convert_run *r)
{
    const char *name;
    const json_t *m;
    json_object_foreach(walk(r->modules), name, m) {
        if (!strcmp(name, "quant")) {
            set_out(r, graph_point_find(r->graph, "input.out"), m);
            continue;
        }
        int node = graph_find(r->graph, name);
        bool weights = golden_find(r->c, "q/%s.weight", name) != NULL;
        bool merge = node >= 0 && (r->graph->node[node].op->flags & OP_MERGE);
        if (node < 0 || (!weights && !merge))
            continue;
        if (weights)
            set_weight(r, node, name, m);
        set_out(r, r->graph->node[node].point[POINT_OUT], m);
    }
}

/* ---- the run ---- */

static int output_of(const struct graph *g, const char *module)
{
    int node = graph_find(g, strcmp(module, "quant") ? module : "input");
    return node < 0 ? node : g->node[node].tail;
}

static bool is_misplaced(const struct convert_run *r, const json_t *m,
                         const struct shape *s)
{
    return s->rank == 4 && !strcmp(word(m, "type"), "ReLU6") &&
           !strcmp(golden_text(r->c, "converted.engine", ""), "qnnpack");
}

/* (N,C,H,W) to (N,H,W,C). */
static void misplace(const struct convert_run *r, const struct shape *s,
                     int32_t *code)
{
    int64_t c = s->dim[1], plane = s->dim[2] * s->dim[3];
    int64_t n = shape_count(s);
    int32_t *from = golden_alloc(r->c, (size_t)n, sizeof *from);
    memcpy(from, code, (size_t)n * sizeof *from);
    for (int64_t i = 0; i < n; i++) {
        int64_t at = i % (c * plane);
        code[i] = from[i - at + at % c * plane + at / c];
    }
}

/* ---- fbgemm's sums of bytes ---- */

/* A dense layer from the suite's integers. */
struct bytes {
    const real *in, *weight;  /* (batch, k), (outputs, k): codes */
    const real *scale, *zero, *bias;
    int64_t k, outputs, scales;
    real in_scale, in_zero, out_scale, out_zero;
};

static double number(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

static bool find_bytes(const struct convert_run *r, const char *name,
                       const char *before, struct bytes *b)
{
    static const char *const part[] = { ".weight", ".weight_scale",
                                        ".weight_zero_point", ".bias" };
    const json_t *m = json_object_get(r->modules, name);
    const json_t *in = json_object_get(r->modules, before);
    const real *v[4] = { NULL };
    int64_t n[4] = { 0 }, inputs = 0;
    char key[128];
    for (int i = 0; i < 4; i++) {
        snprintf(key, sizeof key, "q/%s%s", name, part[i]);
        if (golden_find(r->c, "%s", key))
            v[i] = golden_reals(r->c, key, &n[i]);
    }
    snprintf(key, sizeof key, "q/%s.out", before);
    if (!v[0] || !v[1] || !v[2] || n[1] != n[2] ||
        !golden_find(r->c, "%s", key))
        return false;
    *b = (struct bytes){
        .weight = v[0], .scale = v[1], .zero = v[2], .bias = v[3],
        .in = golden_reals(r->c, key, &inputs), .scales = n[1],
        .in_scale = (real)number(in, "out_scale"),
        .in_zero = (real)number(in, "out_zero_point"),
        .out_scale = (real)number(m, "out_scale"),
        .out_zero = (real)number(m, "out_zero_point"),
    };
    b->k = inputs / golden_int(r->c, "batch", 1);
    b->outputs = n[0] / b->k;
    return b->outputs * b->k == n[0] &&
           (!b->bias || n[3] == b->outputs);
}

/* Products of a row and a column, two and two; whether a pair saturates. */
static bool sum_pairs(const struct bytes *b, const real *a, const real *w,
                      double *out)
{
    bool saturates = false;
    double sum = 0;
    for (int64_t i = 0; i < b->k; i += 2) {
        double pair = (double)a[i] * (double)w[i];
        pair += i + 1 < b->k ? (double)a[i + 1] * (double)w[i + 1] : 0;
        double cut = fmin(fmax(pair, -32768), 32767);
        saturates |= cut != pair;
        sum += cut;
    }
    *out = sum;
    return saturates;
}

/* The code of output o of row n: zero points taken away afterwards, then the
 * README's scaling. */
static int32_t code_of(const struct bytes *b, int64_t n, int64_t o,
                       double sum, bool relu)
{
    const real *a = b->in + n * b->k, *w = b->weight + o * b->k;
    int64_t c = b->scales > 1 ? o : 0;
    for (int64_t i = 0; i < b->k; i++)
        sum -= (double)b->in_zero * (double)w[i] +
               (double)b->zero[c] * ((double)a[i] - (double)b->in_zero);
    float scale = (float)b->in_scale * (float)b->scale[c];
    float bias = b->bias ? (float)b->bias[o] : 0.0f;
    float v = (float)sum + (b->scales > 1 ? bias / scale
                                          : bias * (1.0f / scale));
    float code = rintf(v * (scale / (float)b->out_scale)) +
                 (float)b->out_zero;
    return (int32_t)fminf(fmaxf(code, relu ? (float)b->out_zero : 0), 255);
}

/* Puts torch's codes where its sums saturate; whether there were any. */
static bool follow_pairs(const struct convert_run *r, const char *name,
                         const char *before, int32_t *code, int64_t count)
{
    const json_t *m = json_object_get(r->modules, name);
    bool relu = strstr(word(m, "type"), "ReLU") != NULL, any = false;
    int64_t batch = golden_int(r->c, "batch", 1);
    struct bytes b = { 0 };
    if (strcmp(golden_text(r->c, "converted.engine", ""), "fbgemm") != 0 ||
        strncmp(word(m, "type"), "Linear", 6) != 0 ||
        !find_bytes(r, name, before, &b) || b.outputs * batch != count)
        return false;
    const struct tensor *wanted = golden_array(r->c, "q/%s.out", name);
    for (int64_t i = 0; i < count; i++) {
        int64_t n = i / b.outputs, o = i % b.outputs;
        double sum;
        if (!sum_pairs(&b, b.in + n * b.k, b.weight + o * b.k, &sum) ||
            (double)code[i] == tensor_get(wanted, i))
            continue;
        code[i] = code_of(&b, n, o, sum, relu);
        any = true;
    }
    return any;
}

/* Modules in the order in which they run. */
static void check_codes(const struct convert_run *r, const struct plan *p)
{
    int64_t batch = plan_options(p)->batch;
    const json_t *order = golden_field(r->c, "converted.order");
    const char *name = "", *before;
    for (size_t i = 0; i < json_array_size(order); i++) {
        before = name;
        name = json_string_value(json_array_get(order, i));
        int node = output_of(r->graph, name);
        if (node < 0 || !golden_find(r->c, "q/%s.out", name))
            continue;
        struct shape s = node_shape(&r->graph->node[node], batch);
        int64_t n = shape_count(&s);
        int32_t *code = golden_alloc(r->c, (size_t)n, sizeof *code);
        char key[128];
        struct err e;
        snprintf(key, sizeof key, "q/%s.out", name);
        if (!golden_ok(r->c, plan_codes(p, node, code, &e), &e, key))
            continue;
        bool misplaced = is_misplaced(
            r, json_object_get(r->modules, name), &s);
        if (misplaced)
            misplace(r, &s, code);
        bool paired = follow_pairs(r, name, before, code, n);
        golden_equal_ints(r->c, key, code, n);
        if (misplaced || paired)
            return;
    }
    golden_equal(r->c, "q/logits", plan_output(p),
                 plan_output_count(p) * batch);
}

static void run_plan(const struct convert_run *r, const struct backend *b,
                     const struct target_row *target)
{
    struct plan_opts o;
    struct plan *p = NULL;
    struct err e;
    plan_opts_default(&o);
    o.graph = r->graph;
    o.batch = golden_int(r->c, "batch", 1);
    o.mode = MODE_INT;
    o.keep_values = true;
    o.backend = b;
    o.target = target;
    const struct tensor *x = golden_array(r->c, "x");
    if (!x || !golden_ok(r->c, plan_new(&o, &p, &e), &e, "plan"))
        return;
    int64_t sample = shape_count(&x->shape) / x->shape.dim[0] / o.batch;
    if (plan_input_layout(p, 0) == LAYOUT_NHWC && x->shape.rank == 5)
        nchw_to_nhwc(x->data, plan_input(p, 0), o.batch, x->shape.dim[2],
                     sample / x->shape.dim[2]);
    else
        memcpy(plan_input(p, 0), x->data,
               (size_t)(o.batch * sample) * sizeof(float));
    if (golden_ok(r->c, plan_forward(p, NULL, &e), &e, "forward"))
        check_codes(r, p);
    plan_free(p);
}

void golden_convert(struct golden_case *c)
{
    struct convert_run r = {
        .c = c,
        .modules = golden_field(c, "converted.modules"),
    };
    const char *engine = golden_text(c, "converted.engine", "");
    const struct target_row *target = target_find(engine);
    if (!r.modules)
        return;
    if (!target) {
        golden_fail(c, "unknown engine '%s'", engine);
        return;
    }
    r.graph = golden_net(c);
    if (!r.graph)
        return;
    add_biases(&r);
    fuse(&r);
    set_modules(&r);
    for (int i = 0; i < backend_count; i++)
        run_plan(&r, backend_table[i].impl, target);
}

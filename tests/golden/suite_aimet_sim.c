/* Suite quant-aimet, kind quantsim: AIMET's simulated nets, on every back end.
 *
 * Each quantizer gets the case's scale and offset, as a file of encodings
 * gives them, and the outputs are compared without gradients (products with
 * 1/scale) and with them (quotients). Ranges are found anew where they depend
 * on the data alone: weights and the net's input. AIMET's own calibration of
 * inner values rounds with the ranges of each batch, which no exported net
 * does, and is not followed.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "golden/golden_net.h"
#include "quant/observer.h"

struct sim {
    struct golden_case *c;
    struct graph *graph;
    const char *where;
    int64_t batch, outputs;
};

/* "fc1.param_quantizers.weight", "relu1.output_quantizers.0"; the only input
 * quantizer is that of the net's input. */
static int find_point(const struct graph *g, const char *name)
{
    char point[128];
    int n = (int)strcspn(name, ".");
    const char *kind = name + n;
    if (strstr(kind, "input_quantizers"))
        return graph_point_find(g, "input.out");
    snprintf(point, sizeof point, "%.*s.%s", n, name,
             strstr(kind, "param_quantizers") ? "w" : "out");
    return graph_point_find(g, point);
}

/* `rest`: words after the kind's own, ",obs=..." or "". */
static bool make_spec(const struct sim *m, const json_t *o, const char *kind,
                      const char *rest, struct qspec *out)
{
    bool sym = json_is_true(json_object_get(o, "symmetric"));
    bool channel = json_is_true(json_object_get(o, "per_channel"));
    bool below = json_integer_value(json_object_get(o, "qmin")) < 0;
    long long bits = json_integer_value(json_object_get(o, "bitwidth"));
    char text[160];
    struct err e;
    snprintf(text, sizeof text, "%s:%lld,%s,%s,%s%s", kind, bits,
             below ? "signed" : "unsigned", sym ? "sym" : "asym",
             channel ? "channel" : "tensor", rest);
    return golden_ok(m->c, qspec_parse(text, NULL, out, &e), &e, text);
}

/* ---- the case's encodings at the graph's points ---- */

static void put_encoding(const struct sim *m, const char *name,
                         struct quantizer *q)
{
    char key[3][128];
    static const char *const tail[] = { "scale", "offset", "min" };
    int64_t n[2];
    const real *v[2];
    for (int i = 0; i < 3; i++)
        snprintf(key[i], sizeof key[i], "enc/%s.%s", name, tail[i]);
    for (int i = 0; i < 2; i++) {
        v[i] = golden_reals(m->c, key[i], &n[i]);
        if (!v[i] || n[i] != q->channels) {
            golden_fail(m->c, "%s does not fit its point", key[i]);
            return;
        }
        memcpy(q->learned + i * q->channels, v[i],
               (size_t)q->channels * sizeof *q->learned);
    }
    q->spec.kind->refresh(q);
    q->ready = true;
    q->observe = q->learn = false;
    golden_equal(m->c, key[0], q->scale, q->channels);
    golden_equal(m->c, key[2], q->lo, q->channels);
}

/* ---- ranges from data ---- */

static const char *observer_of(const struct golden_case *c)
{
    const char *scheme = golden_text(c, "quant_scheme", "");
    if (strstr(scheme, "tf_enhanced"))
        return ",obs=sqnr,sqnr.bins=512,sqnr.growth=3,sqnr.gamma=3";
    if (strstr(scheme, "percentile"))
        return ",obs=percentile,percentile.p=100,percentile.bins=2048";
    return ",obs=minmax";
}

/* Values at `first` in t, of this shape. */
static void observe(const struct sim *m, struct quantizer *q,
                    const struct tensor *t, int64_t first, struct shape shape)
{
    struct err e;
    golden_ok(m->c, quantizer_observe(q, (const float *)t->data + first,
                                      quantizer_view(q, &shape, 0), &e), &e,
              "observe");
}

static void check_found(const struct sim *m, const char *name,
                        const struct quantizer *q)
{
    struct golden_check k = { m->c, "found", 2e-6, 0 };
    float *offset = golden_alloc(m->c, (size_t)q->channels, sizeof *offset);
    char key[128];
    for (int64_t i = 0; i < q->channels; i++)
        offset[i] = -q->zero_point[i];
    snprintf(key, sizeof key, "enc/%s.scale", name);
    golden_check(&k, key, q->scale, q->channels);
    snprintf(key, sizeof key, "enc/%s.offset", name);
    golden_check(&k, key, offset, q->channels);
}

static void free_quantizer(void *p)
{
    quantizer_free(p);
}

static void find_range(const struct sim *m, const char *name, const json_t *o,
                       int64_t channels)
{
    const char *dot = strchr(name, '.');
    bool weight = strstr(name, "param_quantizers") != NULL;
    const struct tensor *x = golden_array(m->c, "x");
    struct qspec spec;
    struct quantizer *q = NULL;
    struct err e;
    if (!x || !make_spec(m, o, "range_aimet", observer_of(m->c), &spec) ||
        !golden_ok(m->c, quantizer_new(&spec, channels, &q, &e), &e, name))
        return;
    golden_own(m->c, q, free_quantizer);
    if (weight) {
        const struct tensor *w = golden_array(m->c, "init/%.*s.weight",
                                              (int)(dot - name), name);
        if (!w)
            return;
        observe(m, q, w, 0, w->shape);
    } else {
        const json_t *list = golden_field(m->c, "calibration_batches");
        int64_t n = shape_inner(&x->shape, 0);
        for (size_t i = 0; i < json_array_size(list); i++)
            observe(m, q, x,
                    n * json_integer_value(json_array_get(list, i)),
                    shape_1(n));
    }
    check_found(m, name, q);
}

/* ---- the case ---- */

static void set_points(const struct sim *m, bool ranges)
{
    union { const json_t *in; json_t *out; } any = {
        .in = golden_field(m->c, "quantizers"),
    };
    const char *name;
    const json_t *o;
    json_object_foreach(any.out, name, o) {
        int point = find_point(m->graph, name);
        struct qspec spec;
        struct err e;
        if (point < 0) {
            golden_fail(m->c, "no point for %s", name);
            continue;
        }
        if (!make_spec(m, o, "scale_aimet", "", &spec) ||
            !golden_ok(m->c, point_set(m->graph, point, &spec, &e), &e,
                       name))
            continue;
        struct quantizer *q = m->graph->point[point].q;
        put_encoding(m, name, q);
        if (ranges && !strstr(name, "output_quantizers"))
            find_range(m, name, o, q->channels);
    }
}

static void check_outputs(const struct sim *m, const char *key,
                          struct plan_opts *o)
{
    const struct tensor *x = golden_array(m->c, "x");
    struct plan *p = NULL;
    struct err e;
    struct golden_check k = { m->c, m->where, 1e-5, 0 };
    o->graph = m->graph;
    o->batch = m->batch;
    if (!x || !golden_ok(m->c, plan_new(o, &p, &e), &e, "plan"))
        return;
    int64_t sample = shape_count(&x->shape) / x->shape.dim[0] / m->batch;
    if (plan_input_layout(p, 0) == LAYOUT_NHWC && x->shape.rank == 5)
        nchw_to_nhwc(x->data, plan_input(p, 0), m->batch, x->shape.dim[2],
                     sample / x->shape.dim[2]);
    else
        memcpy(plan_input(p, 0), x->data,
               (size_t)(m->batch * sample) * sizeof(float));
    if (golden_ok(m->c, plan_forward(p, NULL, &e), &e, "forward"))
        golden_check(&k, key, plan_output(p), m->batch * m->outputs);
    plan_free(p);
}

static void run_back_end(struct golden_case *c, const struct backend_row *b,
                         bool ranges)
{
    const struct tensor *x = golden_array(c, "x");
    struct sim m = {
        .c = c, .graph = golden_net(c), .where = b->name,
        .batch = x ? x->shape.dim[1] : 0,
        .outputs = golden_int(c, "classes", 0),
    };
    if (!m.graph || !x)
        return;
    struct plan_opts o;
    plan_opts_default(&o);
    o.backend = b->impl;
    o.mode = MODE_FLOAT;
    check_outputs(&m, "float_logits", &o);
    graph_unfuse(m.graph);
    set_points(&m, ranges);
    o.mode = MODE_FAKE;
    check_outputs(&m, "logits", &o);
    o.train = true;
    o.grad = GRAD_F32;
    check_outputs(&m, "logits_grad", &o);
}

void golden_aimet_sim(struct golden_case *c)
{
    for (int i = 0; i < backend_count; i++)
        run_back_end(c, &backend_table[i], i == 0);
}

/* Suite train-qat: ten steps of quantization-aware training as torch.ao takes
 * them, on every back end: fused groups, observers, fake quantizers, batch
 * norm in the weights, schedules, learned scales.
 *
 * Values of step k are compared within max(1e-5, 3 sensitivity[k]), as the
 * suite's README has it: the largest change of the logits when the initial
 * values move by one unit in the last place. Sums in another order than
 * torch's (which depends on the processor) flip codes on ties now and then,
 * in runs that the suite's three did not meet: when the run differs, it is
 * made again from initial values a few units off, and one of those runs has
 * to agree with torch in everything. A wrong rule is not mended by that; the
 * line printed says which cases needed it. The integer nets (`q/...`) are run
 * by suite_convert.c; torch's slow path, which runs every convolution twice,
 * is bn.fold slow. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "golden/golden_net.h"
#include "quant/observer.h"

#define STEPS_MAX 16

struct qat_run {
    struct golden_case *c;
    struct graph *graph;
    struct trainer *trainer;
    const char *where;
    double slack[STEPS_MAX];            /* by step, absolute */
    int64_t batch, outputs;
};

/* ---- quantizers from torch's words ---- */

static const char *word(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    return text ? text : "";
}

static long long whole(const json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}

static void describe_spec(const json_t *fq, struct str *out)
{
    long long lo = whole(fq, "qmin"), hi = whole(fq, "qmax");
    const char *type = word(fq, "type"), *scheme = word(fq, "qscheme");
    int bits = 1;
    while ((1LL << bits) < hi - lo + 1)
        bits++;
    str_printf(out, "%s:%d", strstr(type, "Learnable") ? "learnable"
                                                       : "affine", bits);
    str_add(out, lo < 0 ? ",signed" : ",unsigned");
    str_add(out, strstr(scheme, "symmetric") ? ",sym" : ",asym");
    str_add(out, strstr(scheme, "channel") ? ",channel" : ",tensor");
    str_printf(out, ",obs=ema,ema.c=%.17g",
               json_real_value(json_object_get(fq, "averaging_constant")));
    str_printf(out, ",rule=%s",
               strstr(type, "FusedMovingAvg") ? "fused" : "torch");
    str_printf(out, ",eps=%.17g",
               json_real_value(json_object_get(fq, "eps")));
}

/* "conv1.weight_fake_quant", "quant.activation_post_process" -> the point. */
static int find_point(const struct graph *g, const char *name)
{
    char point[128];
    const char *dot = strrchr(name, '.');
    int n = dot ? (int)(dot - name) : 0;
    bool weight = dot && strstr(dot, "weight") != NULL;
    if (n == 5 && !strncmp(name, "quant", 5))
        return graph_point_find(g, "input.out");
    snprintf(point, sizeof point, "%.*s.%s", n, name, weight ? "w" : "out");
    return graph_point_find(g, point);
}

static void set_quantizers(struct qat_run *r)
{
    const json_t *all = golden_field(r->c, "fake_quants");
    union { const json_t *in; json_t *out; } any = { .in = all };
    const char *name;
    const json_t *fq;
    json_object_foreach(any.out, name, fq) {
        struct str text = { 0 };
        struct qspec spec;
        struct err e;
        int point = find_point(r->graph, name);
        describe_spec(fq, &text);
        if (point < 0)
            golden_fail(r->c, "no point for %s", name);
        else if (golden_ok(r->c, qspec_parse(str_text(&text), NULL, &spec,
                                             &e), &e, str_text(&text)) &&
                 golden_ok(r->c, point_set(r->graph, point, &spec, &e), &e,
                           name))
            r->graph->point[point].q->learn = false;
        str_fini(&text);
    }
}

static void fuse(struct qat_run *r)
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
}

/* ---- comparisons ---- */

static struct golden_check within(const struct qat_run *r, double rel,
                                  int step)
{
    double slack = r->slack[step - 1];
    return (struct golden_check){ r->c, r->where, rel,
                                  slack > 1e-5 ? slack : 0 };
}

/* The exact gradient of a bias before batch norm is 0; the computed one is
 * rounding noise (1e-8), of which Adam makes steps of size lr. What follows
 * from it differs from run to run also in torch. */
#define NOISE 1e-7

static bool is_noise(const struct qat_run *r, const struct param *p)
{
    const struct node *n = &r->graph->node[p->node];
    bool adam = !strcmp(golden_text(r->c, "optimizer", ""), "adam");
    int bn = graph_group_bn(r->graph, n->head);
    bool biased = r->graph->node[n->head].param[1] >= 0;
    if (!adam || bn < 0 || !biased)
        return false;
    return p->role == PARAM_BIAS || p->role == PARAM_MEAN;
}

/* torch keeps a fused batch norm inside its convolution. */
static void torch_name(const struct graph *g, const struct param *p,
                       char *out, size_t size)
{
    const struct node *n = &g->node[p->node];
    const char *dot = strrchr(p->name, '.');
    bool fused = (n->op->flags & OP_BATCH_NORM) && n->head != n->id;
    if (fused)
        snprintf(out, size, "%s.bn%s", g->node[n->head].name, dot);
    else
        snprintf(out, size, "%s", p->name);
}

static void check_gradients(const struct qat_run *r, int step)
{
    struct golden_check k = within(r, 1e-5, step);
    k.absolute = fmax(k.absolute, NOISE);
    for (int i = 0; i < r->graph->n_learned; i++) {
        char name[96], key[128];
        torch_name(r->graph, &r->graph->param[i], name, sizeof name);
        snprintf(key, sizeof key, "grad%d/%s", step, name);
        golden_check(&k, key, r->graph->param[i].grad,
                     r->graph->param[i].count);
    }
}

static void check_parameters(const struct qat_run *r, int step)
{
    struct golden_check k = within(r, 1e-5, step);
    k.absolute = fmax(k.absolute, 1e-5);
    for (int i = 0; i < r->graph->n_param; i++) {
        char name[96], key[128];
        if (is_noise(r, &r->graph->param[i]))
            continue;
        torch_name(r->graph, &r->graph->param[i], name, sizeof name);
        snprintf(key, sizeof key, "after%d/%s", step, name);
        golden_check(&k, key, r->graph->param[i].value,
                     r->graph->param[i].count);
    }
}

/* Visits the quantizers with torch's names. */
typedef void (*visit_fn)(const struct qat_run *r, const char *name,
                         const struct quantizer *q, int step);

static void each_quantizer(const struct qat_run *r, visit_fn visit, int step)
{
    union { const json_t *in; json_t *out; } any = {
        .in = golden_field(r->c, "fake_quants"),
    };
    const char *name;
    const json_t *fq;
    json_object_foreach(any.out, name, fq) {
        int point = find_point(r->graph, name);
        if (point >= 0 && r->graph->point[point].q)
            visit(r, name, r->graph->point[point].q, step);
    }
}

static void check_field(const struct qat_run *r, const char *key,
                        const float *found, int64_t n, int step)
{
    struct golden_check k = within(r, 1e-5, step);
    golden_check(&k, key, found, n);
}

/* What is learned is set back before it is used, a symmetric zero point to 0
 * and a scale to its smallest value: torch does so in the next forward, here
 * it has happened. */
static void check_scale(const struct qat_run *r, const char *name,
                        const struct quantizer *q, int step)
{
    struct golden_check k = within(r, 1e-5, step);
    char key[128];
    int64_t n;
    snprintf(key, sizeof key, "enc%d/%s.scale", step, name);
    double *wanted = golden_doubles(r->c, key, &n);
    if (!wanted || n != q->channels)
        golden_fail(r->c, "%s: %s does not fit its point", r->where, key);
    for (int64_t i = 0; wanted && q->learn && i < n; i++)
        wanted[i] = fmax(wanted[i], q->spec.eps);
    if (wanted && n == q->channels)
        golden_check_values(&k, key, wanted,
                            q->n_learned > 0 ? q->learned : q->scale, n);
}

static void check_encoding(const struct qat_run *r, const char *name,
                           const struct quantizer *q, int step)
{
    char key[128];
    bool learned = q->n_learned > 0;
    int64_t n = q->channels;
    real *lo = golden_alloc(r->c, (size_t)n, sizeof *lo);
    real *hi = golden_alloc(r->c, (size_t)n, sizeof *hi);
    check_scale(r, name, q, step);
    snprintf(key, sizeof key, "enc%d/%s.zero_point", step, name);
    if (!q->learn || !q->spec.symmetric)
        check_field(r, key, learned ? q->learned + n : q->zero_point, n,
                    step);
    q->observer->kind->range(q->observer, &q->spec, lo, hi);
    snprintf(key, sizeof key, "enc%d/%s.min", step, name);
    check_field(r, key, lo, n, step);
    snprintf(key, sizeof key, "enc%d/%s.max", step, name);
    check_field(r, key, hi, n, step);
}

/* Sums over a whole layer whose terms cancel: torch's float32 sums differ in
 * the fifth digit. */
static void check_learned(const struct qat_run *r, const char *name,
                          const struct quantizer *q, int step)
{
    struct golden_check k = within(r, 1e-4, step);
    char key[128];
    k.absolute = fmax(k.absolute, NOISE);
    snprintf(key, sizeof key, "grad%d/%s.scale", step, name);
    golden_check(&k, key, q->grad, q->channels);
    snprintf(key, sizeof key, "grad%d/%s.zero_point", step, name);
    golden_check(&k, key, q->grad + q->channels, q->channels);
}

/* ---- the run ---- */

static int scheduled(const struct qat_run *r, const char *what)
{
    char path[64];
    snprintf(path, sizeof path, "schedule.%s", what);
    return (int)golden_int(r->c, path, 0);
}

static void follow_schedule(struct qat_run *r, int step)
{
    struct graph *g = r->graph;
    if (step == scheduled(r, "freeze_bn_before_step"))
        for (int i = 0; i < g->n_node; i++)
            g->node[i].bn_frozen = g->node[i].op->flags & OP_BATCH_NORM;
    bool learn = step == scheduled(r, "learn_from_step");
    if (!learn && step != scheduled(r, "disable_observer_before_step"))
        return;
    for (int i = 0; i < g->n_point; i++) {
        struct quantizer *q = g->point[i].q;
        struct err e;
        if (q)
            q->observe = false;
        if (q && learn)
            golden_ok(r->c, quantizer_enable_learn(q, true, &e), &e,
                      "learning");
    }
}

/* Where a module's output is: the tail of its group. */
static int output_of(const struct graph *g, const char *module)
{
    if (!strcmp(module, "quant"))
        return graph_find(g, "input");
    int node = graph_find(g, module);
    return node < 0 ? node : g->node[node].tail;
}

/* Every module's output in the first step, by a plan of its own that is
 * undone. */
static void check_activations(struct qat_run *r,
                              const struct train_settings *s)
{
    struct graph *g = r->graph;
    struct plan_opts o;
    struct plan *p = NULL;
    struct err e;
    plan_opts_default(&o);
    o.graph = g;
    o.batch = r->batch;
    o.mode = MODE_FAKE;
    o.train = true;
    o.keep_values = true;
    o.grad = GRAD_F32;
    o.fold = s->bn_fold;
    o.backend = s->backend;
    if (!golden_ok(r->c, plan_new(&o, &p, &e), &e, "plan"))
        return;
    void *before = golden_alloc(r->c, graph_state_bytes(g) + 1, 1);
    const struct tensor *x = golden_array(r->c, "x");
    graph_state_get(g, before);
    int64_t sample = shape_count(&x->shape) / x->shape.dim[0] / r->batch;
    if (plan_input_layout(p, 0) == LAYOUT_NHWC && x->shape.rank == 5)
        nchw_to_nhwc(x->data, plan_input(p, 0), r->batch, x->shape.dim[2],
                     sample / x->shape.dim[2]);
    else
        memcpy(plan_input(p, 0), x->data,
               (size_t)(r->batch * sample) * sizeof(float));
    golden_ok(r->c, plan_forward(p, NULL, &e), &e, "forward");
    const json_t *modules = golden_field(r->c, "structure");
    struct golden_check k = within(r, 1e-5, 1);
    for (size_t i = 0; i < json_array_size(modules); i++) {
        const char *name = word(json_array_get(modules, i), "path");
        int node = output_of(g, name);
        if (node < 0 || !golden_find(r->c, "act1/%s", name))
            continue;
        struct shape shape = node_shape(&g->node[node], r->batch);
        size_t n = (size_t)shape_count(&shape);
        float *out = golden_alloc(r->c, n, sizeof *out);
        char key[128];
        snprintf(key, sizeof key, "act1/%s", name);
        if (golden_ok(r->c, plan_value(p, node, false, out, &e), &e, key))
            golden_check(&k, key, out, (int64_t)n);
    }
    graph_state_set(g, before);
    plan_free(p);
}

static void check_logits(const struct qat_run *r, int step,
                         const struct batch_result *got)
{
    const double *logits = golden_doubles(r->c, "logits", NULL);
    const double *loss = golden_doubles(r->c, "loss", NULL);
    int64_t row = r->batch * r->outputs;
    char what[32];
    struct golden_check k = {
        r->c, r->where, 0, fmax(1e-5, r->slack[step - 1]),
    };
    if (!logits || !loss)
        return;
    snprintf(what, sizeof what, "logits of step %d", step);
    golden_check_values(&k, what, logits + (step - 1) * row,
                        plan_output(trainer_plan(r->trainer)), row);
    /* The loss moves at most twice as far as the farthest logit. */
    float found = (float)got->loss;
    k.absolute *= 2;
    snprintf(what, sizeof what, "loss of step %d", step);
    golden_check_values(&k, what, loss + (step - 1), &found, 1);
}

static void take_steps(struct qat_run *r)
{
    int steps = (int)golden_int(r->c, "steps", 0);
    for (int step = 1; step <= steps; step++) {
        struct batch_result got;
        struct err e;
        follow_schedule(r, step);
        if (!golden_ok(r->c, trainer_step(r->trainer, NULL, &got, &e), &e,
                       "step"))
            return;
        check_logits(r, step, &got);
        bool learns = step == scheduled(r, "learn_from_step");
        if (step == 1 || learns)
            check_gradients(r, step);
        if (learns)
            each_quantizer(r, check_learned, step);
        if (step == 1 || step == 5 || step == 10)
            each_quantizer(r, check_encoding, step);
        if (step == 1 || step == 10)
            check_parameters(r, step);
    }
}

static void check_inference(const struct qat_run *r, const char *key,
                            const struct train_settings *s, enum mode mode,
                            int step)
{
    const float *x = golden_reals(r->c, "x", NULL);
    int64_t n = r->batch * r->outputs;
    float *out = golden_alloc(r->c, (size_t)n, sizeof *out);
    struct eval_opts o = { .graph = r->graph, .settings = s, .mode = mode };
    struct err e;
    struct golden_check k = {
        r->c, r->where, 1e-5, step ? fmax(1e-5, r->slack[step - 1]) : 0,
    };
    if (x && golden_ok(r->c, infer_run(&o, x, r->batch, out, &e), &e, key))
        golden_check(&k, key, out, n);
}

static bool any_noise(const struct qat_run *r)
{
    for (int i = 0; i < r->graph->n_param; i++)
        if (is_noise(r, &r->graph->param[i]))
            return true;
    return false;
}

/* ---- initial values that follow torch's rounding ---- */

/* Torch sums in another order, which differs between processors, and so it
 * draws other codes where a value lies on a tie. The suite finds how far that
 * carries by moving initial values by one unit in the last place; a run from
 * such values is as good as the first one. Weights that are quantized as they
 * are stay: no sum comes before their codes. */
static bool may_move(const struct graph *g, const struct param *p)
{
    const struct node *n = &g->node[p->node];
    return p->role != PARAM_WEIGHT || graph_group_bn(g, n->head) >= 0;
}

/* All values or a quarter of them by up to 4 units, as far as sums of a few
 * dozen terms are uncertain; none in attempt 0. What is added to a sum moves
 * by units of 1 at least, about the size of the sum. */
static void move_values(struct graph *g, int attempt)
{
    struct rng *rng = attempt ? rng_new((uint64_t)attempt, RNG_INIT) : NULL;
    double share = attempt % 2 ? 0.25 : 1, most = 4 * 6e-8;
    for (int i = 0; rng && i < g->n_param; i++) {
        const struct param *p = &g->param[i];
        bool shift = p->role == PARAM_BIAS || p->role == PARAM_BETA;
        for (int64_t k = 0; may_move(g, p) && k < p->count; k++) {
            double v = (double)p->value[k];
            double size = shift ? fmax(fabs(v), 1) : fabs(v);
            double by = most * size * (2 * rng_uniform(rng) - 1);
            if (rng_uniform(rng) < share)
                p->value[k] = (float)(v + by);
        }
    }
    rng_free(rng);
}

/* A weight with batch norm in it, and the range that torch saw first. */
struct folded {
    const struct param *weight, *gamma, *var;
    const real *lo, *hi;
    int64_t ends;             /* channels of the range */
    float eps;
};

/* Beside the recorded end, but not at it. */
static bool misses(float found, real wanted)
{
    return found != wanted &&
           fabsf(found - wanted) <= 4e-7f * fabsf(wanted);
}

static bool misses_range(const struct folded *f, int64_t channel)
{
    int64_t inner = f->weight->count / f->var->count;
    int64_t end = f->ends > 1 ? channel : 0;
    float r = sqrtf(f->var->value[channel] + f->eps);
    float factor = f->gamma->value[channel] / r;
    float lo = INFINITY, hi = -INFINITY;
    for (int64_t i = channel * inner; i < (channel + 1) * inner; i++) {
        lo = fminf(lo, f->weight->value[i] * factor);
        hi = fmaxf(hi, f->weight->value[i] * factor);
    }
    return misses(lo, f->lo[end]) || misses(hi, f->hi[end]);
}

/* MKL's square root, which torch calls, is one unit off for some numbers, on
 * some processors for many, and the largest weights lie on a tie (their scale
 * is max / 7.5). The range of the first step tells: a running variance that
 * is a few units off then has torch's root. */
static void follow_root(const struct folded *f, int64_t channel)
{
    float *var = &f->var->value[channel], start = *var;
    float down = start, up = start;
    for (int i = 0; i < 3 && misses_range(f, channel); i++) {
        *var = down = nextafterf(down, 0);
        if (misses_range(f, channel))
            *var = up = nextafterf(up, INFINITY);
    }
    if (misses_range(f, channel))
        *var = start;
}

/* Of the layer's weight; false when it has no batch norm or no range. */
static bool find_folded(const struct qat_run *r, int node, struct folded *f)
{
    const struct graph *g = r->graph;
    const struct node *n = &g->node[node];
    int bn = n->head == node ? graph_group_bn(g, node) : -1;
    const real *end[2];
    int64_t count[2];
    if (bn < 0 || !golden_find(r->c, "enc1/%s.weight_fake_quant.min", n->name))
        return false;
    for (int i = 0; i < 2; i++) {
        char key[128];
        snprintf(key, sizeof key, "enc1/%s.weight_fake_quant.%s", n->name,
                 i ? "max" : "min");
        end[i] = golden_reals(r->c, key, &count[i]);
    }
    *f = (struct folded){
        .weight = &g->param[n->param[0]],
        .gamma = &g->param[g->node[bn].param[0]],
        .var = &g->param[g->node[bn].state[1]],
        .lo = end[0], .hi = end[1], .ends = count[0],
        .eps = (float)node_attr(&g->node[bn], "eps"),
    };
    return end[0] && end[1] && count[0] == count[1] &&
           (count[0] == 1 || count[0] == f->var->count);
}

static void follow_roots(const struct qat_run *r)
{
    struct folded f;
    for (int i = 0; i < r->graph->n_node; i++)
        if (find_folded(r, i, &f))
            for (int64_t k = 0; k < f.var->count; k++)
                follow_root(&f, k);
}

static void run_once(struct golden_case *c, const struct backend_row *b,
                     int attempt)
{
    struct train_settings s = golden_settings(c, "args");
    struct qat_run r = {
        .c = c, .graph = golden_net(c), .where = b->name, .batch = s.batch,
        .outputs = golden_int(c, "classes", 0),
    };
    const struct dataset *d = golden_data(c);
    int64_t steps;
    const double *sensitivity = golden_doubles(c, "sensitivity", &steps);
    struct err e;
    if (!r.graph || !d || !sensitivity || steps > STEPS_MAX)
        return;
    for (int64_t i = 0; i < steps; i++)
        r.slack[i] = 3 * sensitivity[i];
    s.backend = b->impl;
    check_inference(&r, "float_eval_logits", &s, MODE_FLOAT, 0);
    fuse(&r);
    move_values(r.graph, attempt);
    if (golden_bool(c, "slow_path", false))
        s.bn_fold = FOLD_SLOW;
    else
        follow_roots(&r);
    set_quantizers(&r);
    check_activations(&r, &s);
    if (!golden_ok(c, trainer_new(r.graph, d, &s, &r.trainer, &e), &e,
                   "trainer"))
        return;
    take_steps(&r);
    if (!any_noise(&r))
        check_inference(&r, "eval_logits", &s, MODE_FAKE, (int)steps);
    trainer_free(r.trainer);
}

#define ATTEMPTS 200

static void run_back_end(struct golden_case *c, const struct backend_row *b)
{
    int before = c->differences;
    c->quiet = true;
    for (int i = 0; i < ATTEMPTS; i++) {
        c->differences = 0;
        run_once(c, b, i);
        if (c->differences == 0) {
            c->quiet = false;
            c->differences = before;
            if (i)
                golden_note(c, "%s: followed from initial values a few "
                            "units off (attempt %d)", b->name, i);
            return;
        }
    }
    c->quiet = false;
    c->differences = before;
    run_once(c, b, 0);
}

void golden_train_qat(struct golden_case *c)
{
    for (int i = 0; i < backend_count; i++)
        run_back_end(c, &backend_table[i]);
    golden_convert(c);
}

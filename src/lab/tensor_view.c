/* Tensors of the lab by name, and the probe that activations come from.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "lab/tensor_view.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "lab/layer_stats.h"
#include "lab/point_list.h"
#include "lab/state.h"

#define PROBE_SAMPLES 64
#define PROBE_VALUES (1 << 22)
#define GLANCE_SAMPLES 8      /* at most; */
#define GLANCE_VALUES 16384   /* the largest activation has about so many */
#define GLANCE_INTERVAL 0.25  /* seconds between two glances */

/* ---- the probe ---- */

static void probe_fini(struct probe *p)
{
    plan_free(p->plan);
    rng_free(p->dropout);
    *p = (struct probe){ 0 };
}

void lab_probe_drop(struct lab *l)
{
    for (int i = 0; i < 2; i++) {
        probe_fini(&l->probe[i][false]);
        probe_fini(&l->probe[i][true]);
    }
}

/* Statistics of a few samples are not for those who ask in earnest. */
void lab_set_glance(struct lab *l, bool on)
{
    if (l->glance && !on)
        l->layers.stats = false;
    l->glance = on;
}

/* The plan can be run again. */
static bool probe_fits(const struct lab *l, const struct probe *p)
{
    return p->plan && p->at.model == l->gen.model &&
           p->at.quant == l->gen.quant;
}

/* What it holds is of now. */
static bool probe_fresh(const struct lab *l, const struct probe *p)
{
    if (!probe_fits(l, p))
        return false;
    return p->at.metrics == l->gen.metrics ||
           (l->glance && clock_seconds() - p->when < GLANCE_INTERVAL);
}

/* Observers, flags and statistics stand still: gradients are taken in
 * training mode, so what that moves is put back. */
struct stillness {
    void *state;
    bool *observe;
};

static void still_begin(struct lab *l, struct stillness *s)
{
    struct graph *g = l->graph;
    s->state = xmalloc(graph_state_bytes(g) + 1);
    s->observe = xmalloc((size_t)g->n_point + 1);
    graph_state_get(g, s->state);
    for (int i = 0; i < g->n_point; i++) {
        s->observe[i] = g->point[i].q && g->point[i].q->observe;
        if (g->point[i].q)
            g->point[i].q->observe = false;
    }
}

static void still_end(struct lab *l, struct stillness *s)
{
    struct graph *g = l->graph;
    for (int i = 0; i < g->n_point; i++)
        if (g->point[i].q)
            g->point[i].q->observe = s->observe[i];
    graph_state_set(g, s->state);
    free(s->state);
    free(s->observe);
}

struct probe_data {
    int32_t *label;
    float *target;
};

static enum status probe_fill(struct lab *l, struct plan *p,
                              struct loss_input *in, struct probe_data *d,
                              struct err *e)
{
    struct batcher b;
    int64_t batch = plan_options(p)->batch;
    enum split split = dataset_size(l->data, SPLIT_VAL) >= batch ? SPLIT_VAL
                                                                 : SPLIT_TRAIN;
    TRY(batcher_init(&b, l->data, split, batch, e));
    b.layout = plan_input_layout(p, 0);
    int64_t targets = l->data->targets > 0 ? l->data->targets : 1;
    d->label = xmalloc((size_t)batch * sizeof *d->label);
    d->target = xmalloc((size_t)(batch * targets) * sizeof *d->target);
    int64_t n = batcher_next(&b, plan_input(p, 0), d->label, d->target, NULL);
    batcher_fini(&b);
    if (n != batch)
        return err_set(e, STATUS_STATE, "too few samples for a look inside");
    *in = (struct loss_input){
        .label = l->data->classes > 0 ? d->label : NULL,
        .target = l->data->classes > 0 ? NULL : d->target,
        .n = n,
        .c = plan_output_count(p),
        .smoothing = l->train.smoothing,
    };
    return STATUS_OK;
}

static enum status probe_run(struct lab *l, struct plan *p, bool gradients,
                             struct err *e)
{
    struct loss_input in;
    struct probe_data d = { 0 };
    struct stillness still;
    enum status s = probe_fill(l, p, &in, &d, e);
    still_begin(l, &still);
    if (!s)
        s = plan_forward(p, NULL, e);
    if (!s && gradients) {
        in.out = plan_output(p);
        l->train.loss->run(&in, plan_output_grad(p));
        s = plan_backward(p, NULL, e);
    }
    still_end(l, &still);
    free(d.label);
    free(d.target);
    return s;
}

/* All values of a probe stay in memory, with gradients twice as many: then,
 * and of large nets, it sees fewer samples, and a glance is short. At least
 * two: a batch norm may want the variance of its batch. */
static int64_t probe_samples(const struct lab *l, bool gradients)
{
    int64_t widest = 1, all = 1, n = dataset_size(l->data, SPLIT_TRAIN);
    for (int i = 0; i < l->graph->n_node; i++) {
        struct shape one = l->graph->node[i].shape;
        one.dim[0] = 1;
        int64_t values = shape_count(&one);
        widest = values > widest ? values : widest;
        all += values;
    }
    int64_t times = gradients ? 2 : 1, most = PROBE_SAMPLES / times;
    int64_t samples = PROBE_VALUES / (times * all);
    samples = samples > most ? most : samples;
    if (l->glance && samples > GLANCE_VALUES / widest)
        samples = GLANCE_VALUES / widest;
    if (l->glance && samples > GLANCE_SAMPLES)
        samples = GLANCE_SAMPLES;
    samples = samples < 2 ? 2 : samples;
    return n < samples ? n : samples;
}

static enum status probe_make(struct lab *l, bool gradients,
                              struct probe *p, struct err *e)
{
    struct plan_opts o;
    plan_opts_default(&o);
    o.graph = l->graph;
    o.batch = probe_samples(l, gradients);
    o.mode = MODE_FAKE;
    o.train = gradients;
    o.keep_values = true;
    o.fold = l->train.bn_fold;
    o.grad = l->train.grad;
    o.backend = l->train.backend;
    if (gradients)
        o.dropout = p->dropout = rng_new(l->train.seed, RNG_DROPOUT);
    return plan_new(&o, &p->plan, e);
}

/* A plan that fits is run again: making one costs more than running it. */
static enum status probe_renew(struct lab *l, bool gradients,
                               struct probe *p, struct err *e)
{
    if (!probe_fits(l, p) || plan_stale(p->plan)) {
        probe_fini(p);
        TRY(probe_make(l, gradients, p, e));
    } else if (p->dropout) {
        rng_seed(p->dropout, l->train.seed, RNG_DROPOUT);
    }
    return probe_run(l, p->plan, gradients, e);
}

enum status lab_probe(struct lab *l, bool gradients, struct plan **out,
                      struct err *e)
{
    struct probe *p = &l->probe[l->glance][gradients];
    *out = NULL;
    if (!l->graph || !l->data)
        return err_set(e, STATUS_STATE, "needs a model and data");
    TRY(lab_check_fit(l, e));
    if (!probe_fresh(l, p)) {
        struct muted muted;
        muted_begin(l, &muted);
        enum status s = probe_renew(l, gradients, p, e);
        muted_end(l, &muted);
        if (s) {
            probe_fini(p);
            return s;
        }
        p->at = l->gen;
        p->when = clock_seconds();
    }
    *out = p->plan;
    return STATUS_OK;
}

/* ---- tensors by name ---- */

bool lab_is_tensor(const struct lab *l, const char *name)
{
    enum sel_bit bit;
    if (!l->graph)
        return false;
    return graph_param_find(l->graph, name) >= 0 ||
           (tensor_name_split(l, name, &bit) >= 0 && bit != SEL_LAYER);
}

void fetched_fini(struct fetched *f)
{
    if (f->is_weight)
        quantizer_free(f->q);
    free(f->x);
    f->x = NULL;
    f->q = NULL;
}

static void take_reals(struct fetched *f, const real *x)
{
    f->x = xmalloc((size_t)(f->n + 1) * sizeof *f->x);
    for (int64_t i = 0; i < f->n; i++)
        f->x[i] = (float)x[i];
}

static enum status fetch_param(struct lab *l, int param, struct fetched *f)
{
    const struct param *p = &l->graph->param[param];
    f->n = p->count;
    f->shape = p->shape;
    f->axis = 0;
    f->is_weight = true;
    take_reals(f, p->value);
    return STATUS_OK;
}

static enum status fetch_weight(struct lab *l, int node, struct fetched *f,
                                struct err *e)
{
    const struct param *w = node_weight(l->graph, node);
    if (!w)
        return err_set(e, STATUS_NOTFOUND, "layer %s has no weights",
                       l->graph->node[node].name);
    real *x = layer_weight_values(l, node);
    f->n = w->count;
    f->shape = w->shape;
    f->axis = 0;
    f->is_weight = true;
    f->point = layer_weight_point(l->graph, node);
    take_reals(f, x);
    if (f->point >= 0)
        f->q = layer_weight_quantizer(l, f->point, x);
    if (f->q)
        quantizer_stats(f->q, x, quantizer_view(f->q, &f->shape, 0), &f->st);
    f->has_stats = f->q != NULL;
    free(x);
    return STATUS_OK;
}

static enum status fetch_bias(struct lab *l, int node, struct fetched *f,
                              struct err *e)
{
    const struct node *n = &l->graph->node[node];
    for (int i = 0; i < OP_MAX_PARAMS; i++)
        if (n->param[i] >= 0 &&
            l->graph->param[n->param[i]].role == PARAM_BIAS)
            return fetch_param(l, n->param[i], f);
    return err_set(e, STATUS_NOTFOUND, "layer %s has no bias", n->name);
}

/* The value that a layer's output quantizer sees. */
static int value_node(const struct lab *l, int node)
{
    const struct graph *g = l->graph;
    int point = layer_out_point(g, g->node[node].head);
    return point >= 0 ? g->point[point].at : node;
}

static void activation_shape(const struct lab *l, const struct plan *p,
                             int node, struct fetched *f)
{
    f->shape = l->graph->node[node].shape;
    f->shape.dim[0] = plan_options(p)->batch;
    f->n = shape_count(&f->shape);
    f->axis = f->shape.rank > 1 ? 1 : -1;
    f->x = xmalloc((size_t)(f->n + 1) * sizeof *f->x);
}

static void activation_stats(struct lab *l, struct fetched *f)
{
    struct quantizer *q = f->point >= 0 ? l->graph->point[f->point].q : NULL;
    bool own = q && q->spec.kind->flags & QK_OWN_SCALE;
    if (!q || (!q->ready && !own))
        return;
    quantizer_stats(q, f->x, quantizer_view(q, &f->shape, f->axis), &f->st);
    f->q = q;
    f->has_stats = true;
}

static enum status fetch_out(struct lab *l, int node, struct fetched *f,
                             struct err *e)
{
    struct plan *p;
    TRY(lab_probe(l, false, &p, e));
    int at = value_node(l, node);
    activation_shape(l, p, at, f);
    f->point = layer_out_point(l->graph, l->graph->node[node].head);
    enum status s = plan_value(p, at, true, f->x, e);
    if (!s)
        activation_stats(l, f);
    return s;
}

static enum status fetch_in(struct lab *l, int node, struct fetched *f,
                            struct err *e)
{
    const struct node *n = &l->graph->node[node];
    struct plan *p;
    if (n->n_in == 0)
        return err_set(e, STATUS_NOTFOUND, "layer %s has no input", n->name);
    TRY(lab_probe(l, false, &p, e));
    activation_shape(l, p, n->in[0], f);
    return plan_value(p, n->in[0], false, f->x, e);
}

/* w - q(w), or what the output's quantizer takes away. */
static void subtract_quantized(struct fetched *f)
{
    struct quantizer *q = f->q;
    real *x = xmalloc((size_t)f->n * sizeof *x);
    real *y = xmalloc((size_t)f->n * sizeof *y);
    for (int64_t i = 0; i < f->n; i++)
        x[i] = (real)f->x[i];
    bool fake = q->fake, observe = q->observe;
    int64_t steps = q->steps;
    q->fake = true;
    q->observe = false;
    quantizer_forward(q, x, y, quantizer_view(q, &f->shape, f->axis), false);
    q->fake = fake;
    q->observe = observe;
    q->steps = steps;
    for (int64_t i = 0; i < f->n; i++)
        f->x[i] = (float)(x[i] - y[i]);
    free(x);
    free(y);
}

static enum status fetch_err(struct lab *l, int node, struct fetched *f,
                             struct err *e)
{
    int point = layer_weight_point(l->graph, node);
    bool weight = point >= 0 && l->graph->point[point].q;
    TRY(weight ? fetch_weight(l, node, f, e) : fetch_out(l, node, f, e));
    if (!f->q)
        return err_set(e, STATUS_STATE, "%s has no quantizer with a range",
                       l->graph->node[node].name);
    subtract_quantized(f);
    return STATUS_OK;
}

/* Of the weights where there are some, else of the output. */
static enum status fetch_grad(struct lab *l, int node, struct fetched *f,
                              struct err *e)
{
    const struct param *w = node_weight(l->graph, node);
    struct plan *p;
    TRY(lab_probe(l, true, &p, e));
    if (w) {
        f->n = w->count;
        f->shape = w->shape;
        f->axis = 0;
        f->is_weight = true;
        take_reals(f, w->grad);
        return STATUS_OK;
    }
    int at = value_node(l, node);
    activation_shape(l, p, at, f);
    return plan_value_grad(p, at, f->x, e);
}

static enum status fetch_scale(struct lab *l, int node, struct fetched *f,
                               struct err *e)
{
    int point = layer_weight_point(l->graph, node);
    if (point < 0 || !l->graph->point[point].q)
        point = layer_out_point(l->graph, node);
    const struct quantizer *q = point >= 0 ? l->graph->point[point].q : NULL;
    if (!q || !q->ready)
        return err_set(e, STATUS_STATE, "%s has no quantizer with a range",
                       l->graph->node[node].name);
    f->n = q->channels;
    f->shape = shape_1(q->channels);
    f->axis = 0;
    take_reals(f, q->scale);
    return STATUS_OK;
}

static const struct {
    enum sel_bit bit;
    enum status (*fetch)(struct lab *l, int node, struct fetched *f,
                         struct err *e);
} fetch_table[] = {
    { SEL_W, fetch_weight },  { SEL_B, fetch_bias },   { SEL_IN, fetch_in },
    { SEL_OUT, fetch_out },   { SEL_ERR, fetch_err },  { SEL_GRAD, fetch_grad },
    { SEL_SCALE, fetch_scale },
};

enum status lab_fetch(struct lab *l, const char *name, struct fetched *out,
                      struct err *e)
{
    enum sel_bit bit;
    *out = (struct fetched){ .axis = -1, .point = -1 };
    if (!l->graph)
        return err_set(e, STATUS_STATE, "no model is loaded");
    int node = tensor_name_split(l, name, &bit);
    int param = graph_param_find(l->graph, name);
    enum status s = STATUS_NOTFOUND;
    bool known = false;
    for (size_t i = 0; i < sizeof fetch_table / sizeof fetch_table[0]; i++) {
        if (node < 0 || bit != fetch_table[i].bit)
            continue;
        known = true;
        s = fetch_table[i].fetch(l, node, out, e);
    }
    if (!known && param >= 0)
        s = fetch_param(l, param, out);
    else if (!known)
        err_set(e, STATUS_NOTFOUND, "no tensor '%.60s' (conv1.w, conv1.out, "
                                    "conv1.err, conv1.grad ..)", name);
    if (s)
        fetched_fini(out);
    return s;
}

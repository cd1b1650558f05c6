/* Command: bench. What things cost here; nothing of the session moves.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gsl/gsl_sort_double.h>
#include <gsl/gsl_statistics_double.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "lab/state.h"
#include "train/feed.h"

#define MS 1e3                /* a second */

struct bench {
    struct lab *lab;
    const struct args *args;
    struct out *out;
    struct err *err;
    struct tick tick;
    int n;                    /* runs that count */
    double *ms;               /* of each of them */
    const struct dataset *data;
    struct dataset *random;   /* made here when none that fits is loaded */
};

/* ---- what is put back afterwards ---- */

struct before {
    void *state;
    real *value, *grad, *learned_grad;
    struct rng **rng;         /* by point */
};

static void *copy_of(const void *from, size_t n)
{
    void *to = xmalloc(n + 1);
    memcpy(to, from, n);
    return to;
}

static void before_take(const struct graph *g, struct before *b)
{
    size_t learned = 0;
    for (int i = 0; i < g->n_point; i++)
        if (g->point[i].q)
            learned += (size_t)g->point[i].q->n_learned;
    b->value = copy_of(g->value_block, (size_t)g->n_value * sizeof(real));
    b->grad = copy_of(g->grad_block, (size_t)g->n_grad * sizeof(real));
    b->state = xmalloc(graph_state_bytes(g) + 1);
    b->learned_grad = xmalloc((learned + 1) * sizeof(real));
    b->rng = xmalloc((size_t)(g->n_point + 1) * sizeof *b->rng);
    graph_state_get(g, b->state);
    real *at = b->learned_grad;
    for (int i = 0; i < g->n_point; i++) {
        const struct quantizer *q = g->point[i].q;
        if (!q)
            continue;
        b->rng[i] = q->rng;
        memcpy(at, q->grad, (size_t)q->n_learned * sizeof *at);
        at += q->n_learned;
    }
}

static void before_put(struct graph *g, struct before *b)
{
    memcpy(g->value_block, b->value, (size_t)g->n_value * sizeof(real));
    memcpy(g->grad_block, b->grad, (size_t)g->n_grad * sizeof(real));
    graph_state_set(g, b->state);
    const real *at = b->learned_grad;
    for (int i = 0; i < g->n_point; i++) {
        struct quantizer *q = g->point[i].q;
        if (!q)
            continue;
        q->rng = b->rng[i];
        memcpy(q->grad, at, (size_t)q->n_learned * sizeof *at);
        at += q->n_learned;
    }
    free(b->value);
    free(b->grad);
    free(b->state);
    free(b->learned_grad);
    free(b->rng);
}

/* ---- data ---- */

static enum status find_data(struct bench *b)
{
    struct lab *l = b->lab;
    struct dataset_opts o;
    const char *argv[] = { "random" };
    if (l->data && feed_check(l->graph, l->data, l->train.loss, NULL) ==
                       STATUS_OK) {
        b->data = l->data;
        return STATUS_OK;
    }
    int64_t batch = l->train.batch > l->tool.eval_batch
                        ? l->train.batch
                        : l->tool.eval_batch;
    dataset_opts_default(&o);
    dataset_like(l->graph, &o);
    o.n_train = 2 * batch;
    o.n_test = -1;
    TRY(dataset_load(1, argv, &o, &b->random, b->err));
    b->data = b->random;
    return STATUS_OK;
}

/* ---- the table of a plan's steps ---- */

struct cost {
    const char *layer, *phase;
    double seconds, bytes, flops;
};

/* Steps of a layer and phase are one row, in the plan's order. */
static int collect(const struct plan *p, struct cost *out)
{
    int n = 0;
    for (int i = 0; i < plan_step_count(p); i++) {
        struct step_info s;
        int at = 0;
        plan_step_info(p, i, &s);
        while (at < n && (strcmp(out[at].layer, s.layer) != 0 ||
                          strcmp(out[at].phase, s.phase) != 0))
            at++;
        if (at == n)
            out[n++] = (struct cost){ .layer = s.layer, .phase = s.phase };
        out[at].seconds += s.seconds;
        out[at].bytes += s.bytes;
        out[at].flops += s.flops;
    }
    return n;
}

static void cost_row(struct table *t, const struct cost *c, double ms,
                     double total)
{
    double rate = c->flops > 0 && ms > 0 ? c->flops / (ms * 1e6) : (double)NAN;
    table_cell(t, "%s", c->layer);
    table_cell(t, "%s", c->phase);
    table_number(t, ms, num_text(ms).s);
    table_number(t, ms / total, num_percent(ms / total).s);
    table_number(t, c->bytes, num_bytes(c->bytes).s);
    table_number(t, rate, isnan(rate) ? "" : num_text(rate).s);
}

static struct table *cost_table(const struct bench *b, const struct plan *p)
{
    static const char *const title[] = { "layer", "phase", "ms", "share",
                                         "bytes", "GFLOP/s" };
    struct table *t = table_new(6, title);
    struct cost *c =
        xmalloc((size_t)(plan_step_count(p) + 1) * sizeof *c);
    double mean = gsl_stats_mean(b->ms, 1, (size_t)b->n), rest = mean;
    int n = collect(p, c);
    for (int i = 0; i < n; i++) {
        double ms = c[i].seconds * MS / b->n;
        cost_row(t, &c[i], ms, mean);
        rest -= ms;
    }
    struct cost other = { .layer = "(other)", .phase = "" };
    cost_row(t, &other, rest > 0 ? rest : 0, mean);
    free(c);
    return t;
}

static enum status tell(struct bench *b, const struct plan *p)
{
    struct lab *l = b->lab;
    const char *what = args_text(b->args, "what");
    int64_t batch = plan_options(p)->batch;
    const char *mode = plan_options(p)->deployed
                           ? train_forward_name[FORWARD_DEPLOYED]
                           : mode_name[plan_options(p)->mode];
    struct table *t = cost_table(b, p);
    size_t n = (size_t)b->n;
    gsl_sort(b->ms, 1, n);
    double median = gsl_stats_median_from_sorted_data(b->ms, 1, n);
    out_printf(b->out, OUT_RESULT,
               "%s: median %s ms, min %s ms of %d, batch %lld of %s, %s",
               what, num_text(median).s, num_text(b->ms[0]).s, b->n,
               (long long)batch, b->data->name, mode);
    answer_text(l, "what", what);
    answer_text(l, "mode", mode);
    answer_text(l, "data", b->data->name);
    answer_num(l, "n", b->n);
    answer_num(l, "batch", (double)batch);
    answer_num(l, "median_ms", median);
    answer_num(l, "min_ms", b->ms[0]);
    answer_num(l, "samples_per_second", (double)batch * MS / median);
    return result_table(l, b->args, t, b->out, b->err);
}

/* ---- step ---- */

static enum status step_once(struct bench *b, struct trainer *t,
                             double *seconds, bool *whole)
{
    struct batch_result r;
    TRY(trainer_step(t, &b->tick, &r, b->err));
    *seconds = r.seconds;
    *whole = r.n == plan_options(trainer_plan(t))->batch;
    return STATUS_OK;
}

/* A trainer of its own: the session's has its place in the data. The first
 * step makes the plan; the shorter batch at an epoch's end does not count. */
static enum status bench_step(struct bench *b)
{
    struct trainer *t = NULL;
    double seconds;
    bool whole;
    TRY(trainer_new(b->lab->graph, b->data, &b->lab->train, &t, b->err));
    enum status s = step_once(b, t, &seconds, &whole);
    if (!s)
        plan_profile(trainer_plan(t), true);
    for (int i = 0; i < b->n && !s; i += whole) {
        s = step_once(b, t, &seconds, &whole);
        b->ms[i] = seconds * MS;
    }
    if (!s)
        s = tell(b, trainer_plan(t));
    trainer_free(t);
    return s;
}

/* ---- eval, calibrate ---- */

static enum status forward_once(struct bench *b, struct feed *f,
                                struct plan *p, double *ms)
{
    struct loss_input in;
    double start = clock_seconds();
    if (feed_next_rows(f) < f->batch)
        batcher_rewind(&f->batcher);
    TRY(feed_batch(f, p, f->batch, NULL, &in, b->err));
    TRY(plan_forward(p, &b->tick, b->err));
    *ms = (clock_seconds() - start) * MS;
    return STATUS_OK;
}

static enum status forward_runs(struct bench *b, const struct plan_opts *o,
                                int64_t batch)
{
    struct feed f;
    struct plan *p = NULL;
    TRY(feed_init(&f, b->data, SPLIT_TRAIN, batch, b->err));
    enum status s = feed_plan(&f, o, f.batch, &p, b->err);
    for (int i = -1; i < b->n && !s; i++) {
        s = forward_once(b, &f, p, &b->ms[i < 0 ? 0 : i]);
        if (i < 0)
            plan_profile(p, true);
    }
    if (!s)
        s = tell(b, p);
    feed_fini(&f);
    return s;
}

static void forward_opts(const struct bench *b, struct plan_opts *o)
{
    plan_opts_default(o);
    o->graph = b->lab->graph;
    o->fold = b->lab->train.bn_fold;
    o->backend = b->lab->train.backend;
    o->target = b->lab->train.target;
    o->sums = b->lab->train.sums;
}

static enum status bench_eval(struct bench *b)
{
    struct plan_opts o;
    const char *mode = args_text(b->args, "mode");
    forward_opts(b, &o);
    o.mode = lab_mode(b->lab);
    for (int i = 0; mode && i < MODE_COUNT; i++)
        if (strcmp(mode_name[i], mode) == 0)
            o.mode = (enum mode)i;
    return forward_runs(b, &o, b->lab->tool.eval_batch);
}

static enum status bench_calibrate(struct bench *b)
{
    struct plan_opts o;
    if (!lab_any_quant(b->lab))
        return args_fail(b->args, args_find(b->args, "what"), b->err,
                         "there is nothing to calibrate: `bits * w8a8` sets "
                         "quantizers");
    forward_opts(b, &o);
    o.mode = MODE_FAKE;
    o.observe_only = true;
    return forward_runs(b, &o, b->lab->train.batch);
}

/* ---- quantizers ---- */

#define ROWS 64               /* channels of the tensor */

struct reals {       /* x, dy in; y, dx out */
    struct shape shape;
    int64_t n;
    real *x, *dy, *y, *dx;
};

static void fill_normal(real *x, int64_t n, struct rng *r)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = (real)rng_normal(r);
}

static void drop_reals(struct reals *a)
{
    mem_free(a->x);
    mem_free(a->dy);
    mem_free(a->y);
    mem_free(a->dx);
}

/* Aligned as the buffers of training are. */
static enum status take_reals(struct bench *b, struct reals *a)
{
    const struct arg *size = args_find(b->args, "size");
    double want = size ? size->number : 1 << 20;
    if (!(want >= ROWS && want <= 1e9))
        return args_fail(b->args, size, b->err, "size= is from %d to 1e9",
                         ROWS);
    int64_t row = (int64_t)want / ROWS;
    row -= row > ROWS ? row % ROWS : 0;   /* blocks of mx fit */
    size_t n = (size_t)(ROWS * row);
    struct rng *r = rng_new(b->lab->train.seed, RNG_GENERATE);
    if (!r)
        return err_memory(b->err, "a random stream");
    *a = (struct reals){ .shape = shape_2(ROWS, row),
                         .n = ROWS * row,
                         .x = mem_alloc(n, sizeof(real)),
                         .dy = mem_alloc(n, sizeof(real)),
                         .y = mem_alloc(n, sizeof(real)),
                         .dx = mem_alloc(n, sizeof(real)) };
    bool got = a->x && a->dy && a->y && a->dx;
    if (got) {
        fill_normal(a->x, a->n, r);
        fill_normal(a->dy, a->n, r);
    } else {
        drop_reals(a);
    }
    rng_free(r);
    return got ? STATUS_OK : err_memory(b->err, "the values");
}

struct timing {               /* least of the runs, seconds */
    double copy, forward, backward;
};

/* The three take turns, so that all meet the same machine. */
static void time_runs(const struct bench *b, struct quantizer *q,
                      const struct reals *a, struct timing *t)
{
    struct qview v = quantizer_view(q, &a->shape, 0);
    *t = (struct timing){ INFINITY, INFINITY, INFINITY };
    for (int i = 0; i < b->n; i++) {
        double t0 = clock_seconds();
        memcpy(a->dx, a->x, (size_t)a->n * sizeof(real));
        double t1 = clock_seconds();
        quantizer_forward(q, a->x, a->y, v, true);
        double t2 = clock_seconds();
        quantizer_backward(q, a->x, a->dy, a->dx, v);
        double t3 = clock_seconds();
        t->copy = fmin(t->copy, t1 - t0);
        t->forward = fmin(t->forward, t2 - t1);
        t->backward = fmin(t->backward, t3 - t2);
    }
}

static enum status time_kind(struct bench *b, const struct quantizer_kind *k,
                             const struct reals *a,
                             struct timing *t)
{
    char text[96];
    struct qspec spec;
    struct quantizer *q;
    int bits = k->min_bits > 4 ? k->min_bits
               : k->max_bits < 4 ? k->max_bits : 4;
    snprintf(text, sizeof text, "%s:%d", k->name, bits);
    TRY(qspec_parse(text, NULL, &spec, b->err));
    struct quantizer plan = { .spec = spec };
    struct qview v = quantizer_view(&plan, &a->shape, 0);
    TRY(quantizer_new(&spec, v.channels, &q, b->err));
    q->learn = q->n_learned > 0;
    q->rng = rng_new(b->lab->train.seed, RNG_ROUND);
    enum status s = q->rng ? quantizer_observe(q, a->x, v, b->err)
                           : err_memory(b->err, "a random stream");
    if (!s)
        time_runs(b, q, a, t);
    rng_free(q->rng);
    quantizer_free(q);
    return s;
}

static void timing_row(struct table *t, const struct quantizer_kind *k,
                       const struct timing *x, double ratio)
{
    table_cell(t, "%s", k->name);
    table_number(t, x->forward * MS, num_text(x->forward * MS).s);
    table_number(t, x->backward * MS, num_text(x->backward * MS).s);
    table_number(t, x->copy * MS, num_text(x->copy * MS).s);
    table_number(t, ratio, num_text(ratio).s);
}

static enum status time_kinds(struct bench *b,
                              const struct reals *a,
                              struct table *t)
{
    const struct quantizer_kind *slowest = NULL;
    double worst = 0;
    for (int i = 0; i < quantizer_count; i++) {
        struct timing x;
        TRY(b->tick.fn(b->tick.ctx));
        TRY(time_kind(b, quantizer_table[i], a, &x));
        double ratio = (x.forward + x.backward) / x.copy;
        timing_row(t, quantizer_table[i], &x, ratio);
        if (ratio > worst)
            slowest = quantizer_table[i];
        worst = fmax(worst, ratio);
    }
    if (slowest)
        out_printf(b->out, OUT_RESULT, "%lld values, min of %d; slowest: %s, "
                                       "%s copies of the tensor",
                   (long long)a->n, b->n, slowest->name, num_text(worst).s);
    answer_text(b->lab, "what", "quantizers");
    answer_num(b->lab, "n", b->n);
    answer_num(b->lab, "size", (double)a->n);
    answer_num(b->lab, "worst", worst);
    answer_text(b->lab, "slowest", slowest ? slowest->name : "");
    return STATUS_OK;
}

static enum status bench_quantizers(struct bench *b)
{
    static const char *const title[] = { "kind", "forward ms", "backward ms",
                                         "copy ms", "ratio" };
    struct reals a;
    TRY(take_reals(b, &a));
    struct table *t = table_new(5, title);
    enum status s = time_kinds(b, &a, t);
    drop_reals(&a);
    if (s == STATUS_OK)
        return result_table(b->lab, b->args, t, b->out, b->err);
    table_free(t);
    return s;
}

/* ---- the command ---- */

static const struct {
    const char *what;
    bool net;                 /* needs a model, and data to feed it */
    int n;
    enum status (*run)(struct bench *b);
} bench_table[] = {
    { "step", true, 50, bench_step },
    { "eval", true, 50, bench_eval },
    { "calibrate", true, 50, bench_calibrate },
    { "quantizers", false, 20, bench_quantizers },
};
enum { BENCHES = sizeof bench_table / sizeof bench_table[0] };

static enum status bench_net(struct bench *b, int what)
{
    struct before before;
    struct graph *g = b->lab->graph;
    if (!g)
        return args_fail(b->args, NULL, b->err,
                         "'bench %s' needs a model: `load model lenet5`, or "
                         "a file", bench_table[what].what);
    TRY(find_data(b));
    before_take(g, &before);
    enum status s = bench_table[what].run(b);
    before_put(g, &before);
    dataset_free(b->random);
    return s;
}

static enum status exec_bench(struct lab *l, const struct args *a,
                              struct out *out, struct err *e)
{
    const char *what = args_text(a, "what");
    const struct arg *n = args_find(a, "n");
    struct bench b = { .lab = l, .args = a, .out = out, .err = e,
                       .tick = lab_tick(l) };
    int i = 0;
    while (i < BENCHES - 1 && strcmp(bench_table[i].what, what) != 0)
        i++;
    if (n && !(n->number >= 1 && n->number <= 1e6))
        return args_fail(a, n, e, "n= is from 1 to 1e6 runs");
    b.n = n ? (int)n->number : bench_table[i].n;
    b.ms = xmalloc((size_t)b.n * sizeof *b.ms);
    enum status s = bench_table[i].net ? bench_net(&b, i)
                                       : bench_table[i].run(&b);
    free(b.ms);
    return s;
}

static const struct arg_row bench_args[] = {
    { .name = "what", .kind = ARG_CHOICE, .required = true,
      .choices = "step|eval|calibrate|quantizers",
      .help = "a training step, a batch of evaluation or of calibration, or "
              "every kind of quantizer" },
    { .name = "mode", .kind = ARG_CHOICE, .choices = "float|fake|int",
      .help = "of eval; as `eval` itself" },
    { .name = "n", .kind = ARG_INT, .key = true,
      .help = "runs; 50 (quantizers: 20)" },
    { .name = "size", .kind = ARG_INT, .key = true,
      .help = "values of the tensor for quantizers; 1M" },
    { 0 },
};

const struct cmd cmd_bench = {
    .name = "bench", .group = "look",
    .help = "measure what a step costs, layer by layer",
    .detail =
        "Runs the work again and again and prints the milliseconds of the "
        "median and of the fastest run, and for every layer and phase its "
        "mean, share, the bytes it moves and its rate. (other) is what lies "
        "outside the net: making the batch, loss, optimiser. Weights, "
        "statistics, observers and random streams are put back; without data "
        "that fit, random data in the model's shape are used.\n\n"
        "bench quantizers pushes a tensor through every kind, forward and "
        "backward, at 4 bits where the kind has them, and compares with a "
        "copy of the tensor in memory.",
    .arg = bench_args, .flags = NEEDS_IDLE | CMD_RESULT,
    .example_setup = "load model jet", .example = "bench step n=3",
    .exec = exec_bench,
};

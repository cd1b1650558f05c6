/* Suite train-float: ten steps of tiny nets as torch takes them, on every back
 * end. Wanted are torch's values in double.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <string.h>

#include "golden/golden_net.h"

struct float_run {
    struct golden_case *c;
    struct graph *graph;
    struct trainer *trainer;
    struct golden_check first, later;   /* tolerances of step 1, and after */
    int64_t batch, outputs;
    float *logits, *loss;               /* (steps, batch, outputs), (steps) */
};

/* Arrays where torch's own float32 and float64 part. */
static bool unstable(const struct golden_case *c, const char *key)
{
    const json_t *list = golden_field(c, "unstable");
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!strcmp(json_string_value(json_array_get(list, i)), key))
            return true;
    return false;
}

static void check(const struct golden_check *k, const char *key,
                  const float *found, int64_t n)
{
    char name[160];
    if (unstable(k->c, key))
        return;
    snprintf(name, sizeof name, "f64/%s", key);
    golden_check(k, name, found, n);
}

static void check_gradients(const struct float_run *r)
{
    for (int i = 0; i < r->graph->n_learned; i++) {
        const struct param *p = &r->graph->param[i];
        char key[128];
        snprintf(key, sizeof key, "grad1/%s", p->name);
        check(&r->first, key, p->grad, p->count);
    }
}

static void check_parameters(const struct float_run *r, int step)
{
    for (int i = 0; i < r->graph->n_param; i++) {
        const struct param *p = &r->graph->param[i];
        char key[128];
        snprintf(key, sizeof key, "after%d/%s", step, p->name);
        check(&r->later, key, p->value, p->count);
    }
}

static void take_steps(struct float_run *r)
{
    int64_t row = r->batch * r->outputs;
    int steps = (int)golden_int(r->c, "steps", 0);
    for (int i = 0; i < steps; i++) {
        struct batch_result got;
        struct err e;
        if (!golden_ok(r->c, trainer_step(r->trainer, NULL, &got, &e), &e,
                       "step"))
            return;
        memcpy(r->logits + i * row, plan_output(trainer_plan(r->trainer)),
               (size_t)row * sizeof *r->logits);
        r->loss[i] = (float)got.loss;
        if (i == 0)
            check_gradients(r);
        if (i == 0 || i == steps - 1)
            check_parameters(r, i + 1);
    }
    const double *wanted = golden_doubles(r->c, "f64/logits", NULL);
    if (wanted)
        golden_check_values(&r->first, "logits of step 1", wanted, r->logits,
                            row);
    check(&r->later, "logits", r->logits, row * steps);
    check(&r->later, "loss", r->loss, steps);
}

static void check_evaluation(const struct float_run *r,
                             const struct train_settings *s)
{
    const float *x = golden_reals(r->c, "x", NULL);
    float *out = golden_alloc(r->c, (size_t)(r->batch * r->outputs),
                              sizeof *out);
    struct eval_opts o = { .graph = r->graph, .settings = s };
    struct err e;
    if (x && golden_ok(r->c, infer_run(&o, x, r->batch, out, &e), &e,
                       "evaluation"))
        check(&r->later, "eval_logits", out, r->batch * r->outputs);
}

static void run_back_end(struct golden_case *c, const struct backend_row *b)
{
    double worst = golden_real(c, "worst_f32_vs_f64", 0);
    struct train_settings s = golden_settings(c, "hyper");
    size_t steps = (size_t)golden_int(c, "steps", 0);
    struct float_run r = {
        .c = c, .graph = golden_net(c), .batch = s.batch,
        .outputs = golden_int(c, "classes", 0),
        .first = { c, b->name, 1e-5, 0 },
        .later = { c, b->name, 10 * worst + 1e-5, 0 },
    };
    const struct dataset *d = golden_data(c);
    struct err e;
    if (!r.graph || !d)
        return;
    r.logits = golden_alloc(c, steps * (size_t)(r.batch * r.outputs),
                            sizeof *r.logits);
    r.loss = golden_alloc(c, steps, sizeof *r.loss);
    s.backend = b->impl;
    if (!golden_ok(c, trainer_new(r.graph, d, &s, &r.trainer, &e), &e,
                   "trainer"))
        return;
    take_steps(&r);
    check_evaluation(&r, &s);
    trainer_free(r.trainer);
}

void golden_train_float(struct golden_case *c)
{
    for (int i = 0; i < backend_count; i++)
        run_back_end(c, &backend_table[i]);
}

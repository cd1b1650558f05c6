/* Times training steps of a built-in model without the command language:
 *
 *     bench_step MODEL BATCH float|QCONFIG [ref|fast] [SECONDS]
 *
 * prints median and least milliseconds of forward + backward, and what every
 * step of the plan costs. QCONFIG: fbgemm, qnnpack ..., or aN for its bits.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "engine/plan.h"

static int complain(const struct err *e)
{
    fprintf(stderr, "bench_step: %s\n", e->text);
    return 1;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void fill(struct plan *p, struct rng *r)
{
    const struct plan_opts *o = plan_options(p);
    for (int i = 0, k = 0; i < o->graph->n_node; i++) {
        const struct node *n = &o->graph->node[i];
        if (!(n->op->flags & OP_SOURCE))
            continue;
        size_t count = (size_t)(shape_count(&n->shape) * o->batch);
        rng_fill_normal(r, plan_input(p, k++), count);
    }
}

static enum status step_once(struct plan *p, struct err *e)
{
    TRY(plan_forward(p, NULL, e));
    int64_t n = plan_output_count(p) * plan_options(p)->batch;
    float *g = plan_output_grad(p);
    const float *y = plan_output(p);
    for (int64_t i = 0; i < n; i++)
        g[i] = y[i] / (float)n;
    return plan_backward(p, NULL, e);
}

#define STEPS_MAX 4096

/* Least seconds of every step over some runs: other programs disturb. */
static enum status profile(struct plan *p, int runs, double *least,
                           struct err *e)
{
    for (int r = 0; r < runs; r++) {
        plan_profile(p, true);
        TRY(step_once(p, e));
        for (int i = 0; i < plan_step_count(p) && i < STEPS_MAX; i++) {
            struct step_info s;
            plan_step_info(p, i, &s);
            least[i] = r == 0 || s.seconds < least[i] ? s.seconds : least[i];
        }
    }
    plan_profile(p, false);
    return STATUS_OK;
}

static void print_steps(const struct plan *p, const double *least)
{
    double total = 0;
    int n = plan_step_count(p);
    for (int i = 0; i < n && i < STEPS_MAX; i++)
        total += least[i];
    for (int i = 0; i < n && i < STEPS_MAX; i++) {
        struct step_info s;
        plan_step_info(p, i, &s);
        double ms = 1e3 * least[i];
        printf("%8.4f ms %5.1f%% %7.2f GB/s %7.1f GF/s  %-9s %-14s %s\n", ms,
               100 * least[i] / total, s.bytes / ms * 1e-6,
               s.flops / ms * 1e-6, s.phase, s.layer, s.kind);
    }
    printf("sum of steps %.3f ms, plan %.1f MB\n", 1e3 * total,
           (double)plan_bytes(p) / 1e6);
}

static enum status measure(struct plan *p, double budget, struct err *e)
{
    static double ms[10000], least[STEPS_MAX];
    int n = 0;
    for (int i = 0; i < 3; i++)
        TRY(step_once(p, e));
    double start = clock_seconds();
    while (n < 3 || (n < 10000 && clock_seconds() - start < budget)) {
        double t = clock_seconds();
        TRY(step_once(p, e));
        ms[n++] = 1e3 * (clock_seconds() - t);
    }
    qsort(ms, (size_t)n, sizeof(*ms), by_value);
    TRY(profile(p, n < 30 ? n : 30, least, e));
    print_steps(p, least);
    printf("median %.3f ms, least %.3f ms, %d runs\n", ms[n / 2], ms[0], n);
    return STATUS_OK;
}

static enum status prepare(struct graph *g, const char *config,
                           struct err *e)
{
    if (strcmp(config, "float") == 0)
        return STATUS_OK;
    struct assign_opts a = {.config = qconfig_find(config), .input = true};
    if (!a.config)
        return err_set(e, STATUS_ARG, "no qconfig '%s'", config);
    return assign_qconfig(g, &a, e);
}

int main(int argc, char **argv)
{
    struct err e;
    err_clear(&e);
    if (argc < 4) {
        fprintf(stderr, "use: bench_step MODEL BATCH float|QCONFIG "
                        "[ref|fast] [SECONDS]\n");
        return 2;
    }
    struct rng *r = rng_new(1, RNG_INIT);
    struct graph *g = NULL;
    struct plan *p = NULL;
    if (model_make(argv[1], r, &g, &e) || prepare(g, argv[3], &e))
        return complain(&e);
    struct plan_opts o;
    plan_opts_default(&o);
    o.graph = g;
    o.batch = atoi(argv[2]);
    o.mode = strcmp(argv[3], "float") == 0 ? MODE_FLOAT : MODE_FAKE;
    o.train = true;
    o.dropout = r;
    o.backend = argc > 4 ? backend_find(argv[4]) : NULL;
    if (plan_new(&o, &p, &e))
        return complain(&e);
    fill(p, r);
    if (measure(p, argc > 5 ? atof(argv[5]) : 1, &e))
        return complain(&e);
    plan_free(p);
    graph_drop_quantizers(g);
    graph_free(g);
    rng_free(r);
    return 0;
}

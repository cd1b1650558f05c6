/* Nets with quantizers at their points, calibrated, for tests of mode int.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UNIT_ENGINE_POINTS_H
#define UNIT_ENGINE_POINTS_H

#include "unit/engine_random.h"

#include "engine/target.h"
#include "quant/quantizer.h"

static inline struct graph *net_from(const char *text, uint64_t seed)
{
    struct graph *g = NULL;
    struct err e;
    err_clear(&e);
    struct rng *r = rng_new(seed, RNG_INIT);
    if (graph_parse(text, &g, &e) || graph_finish(g, r, &e))
        fail_msg("%s\n%s", e.text, text);
    /* Scales, shifts and statistics that are not 1 and 0; gamma below 0. */
    for (int i = 0; i < g->n_param; i++) {
        struct param *p = &g->param[i];
        if (p->role == PARAM_WEIGHT)
            continue;
        for (int64_t k = 0; k < p->count; k++)
            p->value[k] = (real)(p->role == PARAM_VAR
                                     ? 0.5 + rng_uniform(r)
                                     : 0.5 * rng_normal(r));
    }
    rng_free(r);
    return g;
}

/* ---- quantizers ---- */

static inline void set_point(struct graph *g, int point, const char *text)
{
    struct qspec spec;
    struct err e;
    err_clear(&e);
    if (qspec_parse(text, NULL, &spec, &e) || point_set(g, point, &spec, &e))
        fail_msg("%s: %s", text, e.text);
    g->point[point].q->learn = false;
}

struct spec_text {
    const char *kind, *rest;
};

static inline void set_spec(struct graph *g, int point, const struct spec_text *s,
                     int bits)
{
    char text[80];
    snprintf(text, sizeof(text), "%s:%d%s", s->kind, bits, s->rest);
    set_point(g, point, text);
}

/* Widths of 2 to 8 bits, signed and not, zero points anywhere; some points
 * without a quantizer, some too wide for bytes. */
static inline void quantize_weight(struct maker *m, struct graph *g, int point)
{
    static const struct spec_text specs[] = {
        {"affine", ",signed,sym,channel"},
        {"affine", ",signed,sym,channel,narrow"},
        {"affine", ",signed,sym,tensor"},
        {"affine", ",unsigned,asym,tensor"},
        {"affine", ",signed,asym,channel"},
        {"lsq", ",signed"},
        {"dorefa", ""},
    };
    int kind = pick(m, 0, 9), bits = pick(m, 2, 8);
    if (kind == 9 && pick(m, 0, 3) == 0)
        return;
    set_spec(g, point, &specs[kind < 7 ? kind : 0],
             kind == 8 && pick(m, 0, 1) ? 12 : bits);
}

static inline void quantize_out(struct maker *m, struct graph *g, int point)
{
    static const struct spec_text specs[] = {
        {"affine", ",unsigned,asym"},
        {"affine", ",unsigned,asym,obs=ema"},
        {"affine", ",signed,asym"},
        {"affine", ",signed,sym"},
        {"affine", ",unsigned,asym,round=floor"},
        {"affine", ",unsigned,asym,divide"},
        {"lsq", ",signed"},
    };
    int kind = pick(m, 0, 9), bits = pick(m, 2, 8);
    if (kind == 9 && pick(m, 0, 2) == 0)
        return;
    set_spec(g, point, &specs[kind < 7 ? kind : 0],
             kind == 8 && pick(m, 0, 2) == 0 ? 14 : bits);
}

static inline void quantize(struct maker *m, struct graph *g)
{
    for (int i = 0; i < g->n_node; i++) {
        int weight = layer_weight_point(g, i), out = layer_out_point(g, i);
        if (weight >= 0)
            quantize_weight(m, g, weight);
        if (out >= 0)
            quantize_out(m, g, out);
        if (g->node[i].point[POINT_IN] >= 0 && pick(m, 0, 9) == 0)
            quantize_out(m, g, g->node[i].point[POINT_IN]);
        if (g->node[i].point[POINT_BIAS] >= 0 && pick(m, 0, 5) == 0)
            set_point(g, g->node[i].point[POINT_BIAS], "affine:8,sym");
    }
}

static inline void run(struct plan *p, uint64_t seed)
{
    struct err e;
    err_clear(&e);
    fill_input(p, seed);
    if (plan_forward(p, NULL, &e))
        fail_msg("%s", e.text);
}

static inline void calibrate(struct graph *g)
{
    struct plan_opts o;
    plan_opts_default(&o);
    o.graph = g;
    o.batch = 4;
    o.mode = MODE_FAKE;
    o.observe_only = true;
    struct plan *p = plan_of(&o);
    for (uint64_t i = 0; i < 3; i++)
        run(p, 100 + i);
    plan_free(p);
    for (int i = 0; i < g->n_point; i++)
        if (g->point[i].q)
            g->point[i].q->observe = false;
}

/* A random net, calibrated. */
static inline struct graph *random_net(struct maker *m, uint64_t seed)
{
    *m = (struct maker){.n = 0};
    random_text(m, seed);
    struct graph *g = net_from(str_text(&m->text), seed);
    quantize(m, g);
    calibrate(g);
    return g;
}

static inline struct plan_opts int_opts(struct graph *g, uint64_t seed)
{
    struct plan_opts o;
    plan_opts_default(&o);
    o.graph = g;
    o.batch = 1 + (int64_t)(seed % 5);
    o.mode = MODE_INT;
    o.keep_values = true;
    o.fold = (enum bn_fold)(seed % FOLD_COUNT);
    o.target = &target_table[seed % (uint64_t)target_count];
    return o;
}

#endif

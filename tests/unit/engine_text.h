/* Nets as text, line by line, and plans of them, for tests of engine/.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UNIT_ENGINE_TEXT_H
#define UNIT_ENGINE_TEXT_H

#include <stdio.h>
#include <string.h>

#include "common/test_main.h"

#include "base/arena.h"
#include "engine/plan.h"

struct maker {
    struct rng *rng;
    struct str text;
    int n;                    /* layers so far: the last one is L<n-1> */
    int c, h, w;              /* its shape, batch left out; h 0: (C,L) */
};

static inline int pick(struct maker *m, int lo, int hi)
{
    return lo + (int)rng_below(m->rng, (uint64_t)(hi - lo + 1));
}

static inline void line(struct maker *m, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static inline void line(struct maker *m, const char *fmt, ...)
{
    char text[240];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    str_printf(&m->text, "L%d %s\n", m->n++, text);
}

static inline int out_size(int in, int k, int stride, int pads, int dilation)
{
    int room = in + pads - dilation * (k - 1) - 1;
    return room < 0 ? 0 : room / stride + 1;
}

/* The shape of the last layer, as the graph sees it. */
static inline void ask_shape(struct maker *m)
{
    struct graph *g = NULL;
    struct err e;
    err_clear(&e);
    if (graph_parse(str_text(&m->text), &g, &e))
        fail_msg("%s\n%s", e.text, str_text(&m->text));
    const struct shape *s = &g->node[g->n_node - 1].shape;
    m->c = (int)s->dim[1];
    m->h = (int)s->dim[2];
    m->w = (int)s->dim[3];
    graph_free(g);
}

static inline void maker_fini(struct maker *m)
{
    rng_free(m->rng);
    str_fini(&m->text);
}

static inline void net_free(struct graph *g)
{
    graph_drop_quantizers(g);
    graph_free(g);
}

static inline float *floats(int64_t n)
{
    float *x = mem_alloc((size_t)n + 1, sizeof(*x));
    assert_non_null(x);
    return x;
}

static inline struct plan *plan_of(const struct plan_opts *o)
{
    struct plan *p = NULL;
    struct err e;
    err_clear(&e);
    if (plan_new(o, &p, &e))
        fail_msg("%s", e.text);
    return p;
}

/* Inputs are drawn in logical order, then laid as the plan wants them. */
static inline void fill_input(struct plan *p, uint64_t seed)
{
    const struct plan_opts *o = plan_options(p);
    struct rng *r = rng_new(seed, RNG_GENERATE);
    for (int i = 0, k = 0; i < o->graph->n_node; i++) {
        if (!(o->graph->node[i].op->flags & OP_SOURCE))
            continue;
        struct shape s = node_shape(&o->graph->node[i], o->batch);
        int64_t n = shape_count(&s);
        float *x = floats(n);
        rng_fill_normal(r, x, (size_t)n);
        if (s.rank == 4 && plan_input_layout(p, k) == LAYOUT_NHWC)
            nchw_to_nhwc(x, plan_input(p, k), s.dim[0], s.dim[1],
                         s.dim[2] * s.dim[3]);
        else
            memcpy(plan_input(p, k), x, (size_t)n * sizeof(*x));
        mem_free(x);
        k++;
    }
    rng_free(r);
}

#endif

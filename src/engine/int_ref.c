/* Integer layers as obvious loops: the oracle. Values in logical order.
 *
 * y[n,o,i,j] = requant(sum over c,k,l of (x[n,c',y,x] - zero) * w[o,c,k,l]),
 * where taps outside the input count nothing.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/int_impl.h"

#include <math.h>

/* One sum of products. x: the image's codes of the group's first channel. */
static int32_t sum_at(const struct int_layer *l, const uint8_t *x, int64_t o,
                      int64_t i, int64_t j)
{
    const struct conv_geom *g = &l->geom;
    int64_t channels = g->ci / g->groups;
    const int16_t *w = l->w + o * int_layer_inner(l);
    int32_t sum = 0, lowest = l->gx.lo - l->gx.zero;
    for (int64_t c = 0; c < channels; c++)
        for (int64_t k = 0; k < g->kh; k++)
            for (int64_t m = 0; m < g->kw; m++, w++) {
                int64_t row = i * g->sh - g->pt + k * g->dh;
                int64_t col = j * g->sw - g->pl + m * g->dw;
                if (row < 0 || row >= g->h || col < 0 || col >= g->w)
                    continue;
                int32_t code = x[(c * g->h + row) * g->w + col] + lowest;
                sum += code * *w;
            }
    return sum;
}

static uint8_t code_of(const struct int_layer *l, int64_t o, int32_t sum)
{
    float v = (float)(sum + l->whole[o]);
    v = (v + l->rest[o]) * l->mul[o];
    float code = rintf(v) + (float)l->gy.zero;
    if (!(code > (float)l->out_lo))
        return (uint8_t)(l->out_lo - l->gy.lo);
    if (code > (float)l->out_hi)
        return (uint8_t)(l->out_hi - l->gy.lo);
    return (uint8_t)((int32_t)code - l->gy.lo);
}

static float number_of(const struct int_layer *l, int64_t o, int32_t sum)
{
    float v = (float)sum * l->unit[o] + l->b[o];
    v = v < l->lo ? l->lo : v;
    return v > l->hi ? l->hi : v;
}

/* One channel of one image. */
static void run_plane(const struct plan *p, const struct int_layer *l,
                      int64_t n, int64_t o)
{
    const struct conv_geom *g = &l->geom;
    int64_t group = o / (g->co / g->groups);
    int64_t first = n * g->ci + group * (g->ci / g->groups);
    const uint8_t *x = (uint8_t *)plan_data(p, l->x) + first * g->h * g->w;
    int64_t at = (n * g->co + o) * g->oh * g->ow;
    uint8_t *code = l->qy ? plan_data(p, l->y) : NULL;
    float *number = l->qy ? NULL : plan_data(p, l->y);
    for (int64_t i = 0; i < g->oh; i++)
        for (int64_t j = 0; j < g->ow; j++, at++) {
            int32_t sum = sum_at(l, x, o, i, j);
            if (code)
                code[at] = code_of(l, o, sum);
            else
                number[at] = number_of(l, o, sum);
        }
}

static enum status ref_run(struct plan *p, struct int_layer *l, struct err *e)
{
    (void)e;
    int64_t planes = l->geom.n * l->geom.co;
#pragma omp parallel for schedule(static) if (planes > 1)
    for (int64_t i = 0; i < planes; i++)
        run_plane(p, l, i / l->geom.co, i % l->geom.co);
    return STATUS_OK;
}

static enum status ref_build(struct plan *p, struct step *s,
                             struct int_layer *l, struct err *e)
{
    (void)p;
    (void)s;
    (void)l;
    (void)e;
    return STATUS_OK;
}

static enum status ref_nothing(struct plan *p, struct int_layer *l,
                               struct err *e)
{
    (void)p;
    (void)l;
    (void)e;
    return STATUS_OK;
}

static void ref_fini(struct int_layer *l)
{
    (void)l;
}

const struct int_kernels int_kernels_ref = {
    .build = ref_build,
    .bind = ref_nothing,
    .load = ref_nothing,
    .run = ref_run,
    .fini = ref_fini,
};

/* The passes around products in bf16.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/fast_bf16.h"

#include <string.h>

#include "engine/fast_codes.h"
#include "engine/onednn.h"
#include "engine/sheet.h"

#define LEVELS 256
#define PIECE 4096

struct bf16_step {
    struct sum_layer_view layer;
    bool native;
    int from, to;             /* buffers */
    int64_t count;
};

/* ---- rounding ---- */

union word {
    float f;
    uint32_t u;
};

/* The bits of the nearest bf16 in the upper half, half to even; a NaN stays
 * one, quiet. */
static inline __attribute__((always_inline)) uint32_t
nearest(float v)
{
    union word w = {.f = v};
    uint32_t round = (w.u + 0x7fffu + ((w.u >> 16) & 1u)) & 0xffff0000u;
    uint32_t quiet = (w.u | 0x00400000u) & 0xffff0000u;
    return v == v ? round : quiet;
}

ENGINE_CLONES static void k_to_bf16(const float *x, const float *scale,
                                    uint16_t *y, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = (uint16_t)(nearest(x[i] * scale[i]) >> 16);
}

ENGINE_CLONES static void k_to_rounded(const float *x, const float *scale,
                                       float *y, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        union word w = {.u = nearest(x[i] * scale[i])};
        y[i] = w.f;
    }
}

static float weight_scale(const struct sum_layer_view *l, int64_t c)
{
    return l->qw->scale[l->qw->channels == 1 ? 0 : c];
}

/* A row of channels at a time. */
static enum status gradient_run(struct plan *p, struct step *s,
                                struct err *e)
{
    (void)e;
    const struct bf16_step *c = s->priv;
    int64_t channels = c->layer.channels, rows = c->count / channels;
    const float *x = plan_floats(p, c->from);
    void *y = plan_data(p, c->to);
    float *scale = plan_scratch_data(p);
    for (int64_t i = 0; i < channels; i++)
        scale[i] = weight_scale(&c->layer, i);
#pragma omp parallel for schedule(static) if (c->count > SHEET_PARALLEL)
    for (int64_t r = 0; r < rows; r++) {
        int64_t at = r * channels;
        if (c->native)
            k_to_bf16(x + at, scale, (uint16_t *)y + at, channels);
        else
            k_to_rounded(x + at, scale, (float *)y + at, channels);
    }
    return STATUS_OK;
}

/* ---- whole numbers, exact in bf16 ---- */

static uint16_t half_of(int32_t v)
{
    return (uint16_t)(nearest((float)v) >> 16);
}

static enum status input_run(struct plan *p, struct step *s, struct err *e)
{
    const struct bf16_step *c = s->priv;
    struct code_grid g;
    TRY(codes_grid_now(p, c->layer.qx, 0, &g, e));
    uint16_t half[LEVELS];
    float real_of[LEVELS];
    for (int i = 0; i < LEVELS; i++) {
        half[i] = half_of(i + g.lo - g.zero);
        real_of[i] = (float)(i + g.lo - g.zero);
    }
    const uint8_t *x = plan_data(p, c->from);
    void *y = plan_data(p, c->to);
#pragma omp parallel for schedule(static) if (c->count > SHEET_PARALLEL)
    for (int64_t at = 0; at < c->count; at += PIECE) {
        int64_t end = c->count - at < PIECE ? c->count : at + PIECE;
        for (int64_t i = at; i < end; i++)
            if (c->native)
                ((uint16_t *)y)[i] = half[x[i]];
            else
                ((float *)y)[i] = real_of[x[i]];
    }
    return STATUS_OK;
}

static enum status weights_run(struct plan *p, struct step *s, struct err *e)
{
    (void)e;
    const struct bf16_step *c = s->priv;
    void *y = plan_data(p, c->to);
    for (int64_t i = 0; i < c->count; i++)
        if (c->native)
            ((uint16_t *)y)[i] = half_of(c->layer.w[i]);
        else
            ((float *)y)[i] = (float)c->layer.w[i];
    return STATUS_OK;
}

static enum status scale_run(struct plan *p, struct step *s, struct err *e)
{
    (void)e;
    const struct bf16_step *c = s->priv;
    const struct sum_layer_view *l = &c->layer;
    float *dw = plan_floats(p, c->to);
    for (int64_t o = 0; o < l->channels; o++) {
        float unit = l->qx->scale[0] / weight_scale(l, o);
        for (int64_t i = o * l->inner; i < (o + 1) * l->inner; i++)
            dw[i] *= unit;
    }
    return STATUS_OK;
}

static const struct step_kind gradient_kind = {
    .name = "gradient to bf16",
    .phase = PHASE_BACKWARD,
    .run = gradient_run,
};

static const struct step_kind input_kind = {
    .name = "codes to bf16",
    .phase = PHASE_BACKWARD,
    .run = input_run,
};

static const struct step_kind weights_kind = {
    .name = "weights to bf16",
    .phase = PHASE_WEIGHTS,
    .run = weights_run,
};

static const struct step_kind scale_kind = {
    .name = "scale gradient",
    .phase = PHASE_BACKWARD,
    .run = scale_run,
};

/* ---- building ---- */

/* auto: where it is quicker. Groups and single channels are not. */
static bool is_wanted(const struct plan *p, const struct sum_layer_view *l,
                      bool native)
{
    if (l->geom.groups > 1 || l->geom.ci == 1)
        return false;
    return p->opts.grad == GRAD_BF16 || (p->opts.grad == GRAD_AUTO && native);
}

static int factor_buffer(struct plan *p, const struct shape *s,
                         enum layout layout, bool native)
{
    return plan_buffer(p, native ? DTYPE_BF16 : DTYPE_F32, s, layout);
}

static void factor_step(struct plan *p, const struct step_kind *kind,
                        int node, const struct bf16_step *spec)
{
    struct step *s = plan_step(p, kind, node, sizeof(*spec));
    if (!s)
        return;
    *(struct bf16_step *)s->priv = *spec;
    step_touch(p, s, spec->from);
    step_touch(p, s, spec->to);
}

enum status bf16_begin(struct plan *p, int node, const struct sum_layer *l,
                       int dy, struct bf16_grad *out, struct err *e)
{
    *out = (struct bf16_grad){.dy = -1, .x = -1, .w = -1};
    if (!l || p->opts.grad == GRAD_F32)
        return STATUS_OK;
    struct bf16_step c = {.layer = sum_layer_look(l)};
    c.native = dnn_conv_has_bf16(p->dnn, &c.layer.geom);
    if (!is_wanted(p, &c.layer, c.native))
        return STATUS_OK;
    const struct shape w = shape_1(c.layer.channels * c.layer.inner);
    const struct shape y = *plan_shape(p, dy), x = *plan_shape(p, c.layer.x);
    out->on = true;
    out->native = c.native;
    out->dy = factor_buffer(p, &y, p->buf[dy].layout, c.native);
    out->x = factor_buffer(p, &x, p->buf[c.layer.x].layout, c.native);
    out->w = factor_buffer(p, &w, LAYOUT_NCHW, c.native);
    plan_scratch(p, (size_t)c.layer.channels * sizeof(float));
    c.count = shape_count(&y);
    c.from = dy;
    c.to = out->dy;
    factor_step(p, &gradient_kind, node, &c);
    c.count = shape_count(&x);
    c.from = c.layer.x;
    c.to = out->x;
    factor_step(p, &input_kind, node, &c);
    c.count = shape_count(&w);
    c.from = -1;
    c.to = out->w;
    factor_step(p, &weights_kind, node, &c);
    return p->out_of_memory ? err_memory(e, "plan") : STATUS_OK;
}

enum status bf16_finish(struct plan *p, int node, const struct sum_layer *l,
                        int dw, struct err *e)
{
    const struct bf16_step c = {
        .layer = sum_layer_look(l), .from = -1, .to = dw,
    };
    factor_step(p, &scale_kind, node, &c);
    return p->out_of_memory ? err_memory(e, "plan") : STATUS_OK;
}

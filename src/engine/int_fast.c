/* Integer layers in (N,H,W,C): exact sums, then the epilogue, which turns
 * them into codes or numbers while they are in the second-level cache.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/int_fast.h"

/* Lines of sums a thread takes at a time. */
#define LINES 4

struct fast_layer {
    struct sums sums;
    struct epilogue epilogue;
    int32_t *bias;            /* per channel, as the epilogue adds it */
};

static enum status fast_build(struct plan *p, struct step *s,
                              struct int_layer *l, struct err *e)
{
    struct fast_layer *f = arena_alloc(p->arena, sizeof(*f));
    if (!f)
        return err_memory(e, "plan");
    f->bias = arena_alloc(p->arena, (size_t)l->geom.co * sizeof(*f->bias));
    if (!f->bias)
        return err_memory(e, "plan");
    TRY(epilogue_init(p, l, &f->epilogue, e));
    const struct sums_spec spec = {
        .geom = l->geom,
        .dense = l->dense,
        .want = p->opts.sums,
        .bounds = l->bounds,
        .piece = f->epilogue.width * LINES,
    };
    l->priv = f;
    TRY(sums_init(p, &f->sums, &spec, e));
    l->sums = f->sums.planned;
    step_touch(p, s, f->sums.weights);
    return STATUS_OK;
}

static void fast_fini(struct int_layer *l)
{
    struct fast_layer *f = l->priv;
    if (f)
        sums_fini(&f->sums);
}

static enum status fast_bind(struct plan *p, struct int_layer *l,
                             struct err *e)
{
    struct fast_layer *f = l->priv;
    return sums_bind(p, &f->sums, plan_data(p, l->x), e);
}

static enum status fast_load(struct plan *p, struct int_layer *l,
                             struct err *e)
{
    (void)p;
    struct fast_layer *f = l->priv;
    struct sums *s = &f->sums;
    s->w = l->w;
    s->lowest = l->gx.lo - l->gx.zero;
    s->bounds = l->bounds;
    TRY(sums_load(s, e));
    for (int64_t o = 0; o < l->geom.co; o++)
        f->bias[o] = (int32_t)((uint32_t)(l->qy ? l->whole[o] : 0) +
                               (uint32_t)s->offset[o]);
    epilogue_load(l, f->bias, &f->epilogue);
    return STATUS_OK;
}

struct fast_call {
    const struct epilogue *epilogue;
    char *y;
    size_t y_size;            /* bytes of an output */
};

static void take_piece(void *ctx, const struct sums_piece *piece)
{
    const struct fast_call *c = ctx;
    char *y = c->y + (size_t)piece->at * c->y_size;
    if (piece->f32)
        epilogue_run_f32(c->epilogue, piece->f32, y, piece->count);
    else
        epilogue_run(c->epilogue, piece->i32, y, piece->count);
}

static enum status fast_run(struct plan *p, struct int_layer *l,
                            struct err *e)
{
    struct fast_layer *f = l->priv;
    struct fast_call fast = {
        .epilogue = &f->epilogue,
        .y = plan_data(p, l->y),
        .y_size = l->qy ? 1 : sizeof(float),
    };
    const struct sums_call call = {
        .plan = p,
        .sums = &f->sums,
        .x = plan_data(p, l->x),
        .sink = take_piece,
        .ctx = &fast,
    };
    return sums_run(&call, e);
}

const struct int_kernels int_kernels_fast = {
    .channels_last = true,
    .build = fast_build,
    .bind = fast_bind,
    .load = fast_load,
    .run = fast_run,
    .fini = fast_fini,
};

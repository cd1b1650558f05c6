/* The optimiser's memory: kept while sizes stay, whatever plans come and go.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "train/train_impl.h"

#include <assert.h>
#include <string.h>

#include "base/arena.h"

/* One block of `count` arrays of n floats each; slot[k] = NULL from count
 * on. False when memory is out. */
static bool make_arrays(float *slot[OPTIM_MAX_SLOTS], int count, int64_t n)
{
    assert(count <= OPTIM_MAX_SLOTS && n >= 0);
    size_t size = (size_t)(n > 0 ? n : 1);
    float *block = mem_alloc(size * (size_t)(count > 0 ? count : 1),
                             sizeof *block);
    for (int k = 0; k < OPTIM_MAX_SLOTS; k++)
        slot[k] = block && k < count ? block + (size_t)k * size : NULL;
    if (block && count == 0)
        mem_free(block);
    return block != NULL;
}

static void free_quant(struct quant_slots *q)
{
    mem_free(q->slot[0]);
    mem_free(q->point);
    *q = (struct quant_slots){ 0 };
}

void slots_fini(struct slots *s)
{
    for (int i = 0; i < s->n_quant; i++)
        free_quant(&s->quant[i]);
    mem_free(s->quant);
    mem_free(s->slot[0]);
    mem_free(s->age);
    *s = (struct slots){ 0 };
}

bool slots_moves_quant(const struct quantizer *q)
{
    return q && q->learn && q->fake && q->n_learned > 0;
}

struct quant_slots *slots_find_quant(const struct slots *s,
                                     const char *point)
{
    for (int i = 0; i < s->n_quant; i++)
        if (!strcmp(s->quant[i].point, point))
            return &s->quant[i];
    return NULL;
}

enum status slots_add_quant(struct slots *s, const char *point, int64_t n,
                            struct quant_slots **out, struct err *e)
{
    struct quant_slots made = { .n = n };
    size_t length = strlen(point) + 1;
    made.point = mem_alloc(length, 1);
    if (!made.point || !make_arrays(made.slot, s->count, n)) {
        free_quant(&made);
        return err_memory(e, "optimiser slots of a quantizer");
    }
    memcpy(made.point, point, length);
    struct quant_slots *old = slots_find_quant(s, point);
    if (!old) {
        size_t size = sizeof *s->quant;
        struct quant_slots *grown =
            mem_grow(s->quant, (size_t)s->n_quant * size,
                     ((size_t)s->n_quant + 1) * size);
        if (!grown) {
            free_quant(&made);
            return err_memory(e, "optimiser slots of a quantizer");
        }
        s->quant = grown;
        old = &grown[s->n_quant++];
    } else {
        free_quant(old);
    }
    *old = made;
    *out = old;
    return STATUS_OK;
}

static enum status fit_graph(struct slots *s, const struct optimizer_row *o,
                             const struct graph *g, struct err *e)
{
    if (s->age && s->count == o->slots && s->n == g->n_grad &&
        s->n_age == g->n_learned)
        return STATUS_OK;
    struct slots fresh = {
        .count = o->slots, .n = g->n_grad, .n_age = g->n_learned,
    };
    size_t ages = (size_t)(g->n_learned > 0 ? g->n_learned : 1);
    fresh.age = mem_alloc(ages, sizeof *fresh.age);
    if (!fresh.age || !make_arrays(fresh.slot, fresh.count, fresh.n)) {
        slots_fini(&fresh);
        return err_memory(e, "optimiser slots");
    }
    slots_fini(s);
    *s = fresh;
    return STATUS_OK;
}

enum status slots_fit(struct slots *s, const struct optimizer_row *o,
                      const struct graph *g, struct err *e)
{
    TRY(fit_graph(s, o, g, e));
    for (int i = 0; i < g->n_point; i++) {
        const struct quantizer *q = g->point[i].q;
        if (!slots_moves_quant(q))
            continue;
        struct quant_slots *have = slots_find_quant(s, g->point[i].name);
        if (!have || have->n != q->n_learned)
            TRY(slots_add_quant(s, g->point[i].name, q->n_learned, &have, e));
    }
    return STATUS_OK;
}

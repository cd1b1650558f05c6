/* Memory for a plan's buffers: those that are never alive together share it.
 *
 * A buffer is alive from the first to the last step that touches it. Largest
 * first, each gets the lowest offset that is free during its life.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/plan_impl.h"

#include <stdlib.h>
#include <string.h>

#define ALIGN 64

static size_t padded(int64_t bytes)
{
    return ((size_t)bytes + ALIGN - 1) / ALIGN * ALIGN;
}

static void find_lives(struct plan *p)
{
    for (int i = 0; i < p->n_step; i++) {
        const struct step *s = p->step[i];
        for (int k = 0; k < s->n_buf; k++) {
            struct buffer *b = &p->buf[s->buf[k]];
            if (!b->touched)
                b->first = i;
            b->last = i;
            b->touched = true;
        }
    }
    for (int i = 0; i < p->n_buf; i++) {
        if (!p->buf[i].pinned)
            continue;
        p->buf[i].first = 0;
        p->buf[i].last = p->n_step;
        p->buf[i].touched = true;
    }
}

/* Aliases have their root's. */
static bool needs_memory(const struct buffer *b)
{
    return b->touched && !b->external;
}

struct order {
    int buffer;
    int64_t bytes;
};

static int by_bytes(const void *a, const void *b)
{
    const struct order *x = a;
    const struct order *y = b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x->buffer - y->buffer;
}

static int by_offset(const void *a, const void *b)
{
    const struct order *x = a;
    const struct order *y = b;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

/* The lowest gap that holds b among the `n` placed buffers of its time, which
 * `busy` lists by offset. */
static size_t lowest_gap(const struct plan *p, const struct buffer *b,
                         const struct order *busy, int n)
{
    size_t at = 0;
    for (int i = 0; i < n; i++) {
        const struct buffer *o = &p->buf[busy[i].buffer];
        if (at + padded(b->bytes) <= o->offset)
            return at;
        if (o->offset + padded(o->bytes) > at)
            at = o->offset + padded(o->bytes);
    }
    return at;
}

static void place_all(struct plan *p, const struct order *order, int n,
                      struct order *busy)
{
    for (int i = 0; i < n; i++) {
        struct buffer *b = &p->buf[order[i].buffer];
        int n_busy = 0;
        for (int k = 0; k < i; k++) {
            const struct buffer *o = &p->buf[order[k].buffer];
            if (o->first <= b->last && b->first <= o->last)
                busy[n_busy++] = (struct order){order[k].buffer,
                                                (int64_t)o->offset};
        }
        qsort(busy, (size_t)n_busy, sizeof(*busy), by_offset);
        b->offset = lowest_gap(p, b, busy, n_busy);
        size_t end = b->offset + padded(b->bytes);
        if (end > p->memory_bytes)
            p->memory_bytes = end;
    }
}

enum status plan_place(struct plan *p, struct err *e)
{
    if (p->scratch_bytes > 0) {
        struct shape s = shape_1((int64_t)(p->scratch_bytes / 4 + 1));
        p->scratch = plan_buffer(p, DTYPE_F32, &s, LAYOUT_NCHW);
        if (p->out_of_memory)
            return err_memory(e, "plan");
        p->buf[p->scratch].pinned = true;
    }
    find_lives(p);
    struct order *order = mem_alloc((size_t)p->n_buf, 2 * sizeof(*order));
    if (!order)
        return err_memory(e, "plan");
    int n = 0;
    for (int i = 0; i < p->n_buf; i++)
        if (needs_memory(&p->buf[i]) && p->buf[i].root == i)
            order[n++] = (struct order){i, p->buf[i].bytes};
    qsort(order, (size_t)n, sizeof(*order), by_bytes);
    place_all(p, order, n, order + p->n_buf);
    p->memory = mem_map(p->memory_bytes + ALIGN);
    if (!p->memory) {
        mem_free(order);
        return err_set(e, STATUS_MEM,
                       "out of memory: the plan needs %zu MB for its values",
                       p->memory_bytes >> 20);
    }
    for (int i = 0; i < n; i++) {
        struct buffer *b = &p->buf[order[i].buffer];
        b->data = (char *)p->memory + b->offset;
    }
    mem_free(order);
    return STATUS_OK;
}

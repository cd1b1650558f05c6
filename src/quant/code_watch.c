/* Watching codes over training. SPDX-License-Identifier: GPL-3.0-or-later */
#include "quant/code_watch.h"

#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "quant/kernel.h"

/* Frequencies below this are 0: denormal numbers are slow. */
#define FREQUENCY_LEAST 1e-9f

enum status code_watch_init(struct code_watch *w, int64_t n, struct err *e)
{
    size_t count = (size_t)n + 1;

    *w = (struct code_watch){
        .n = n,
        .start = mem_alloc(count, sizeof *w->start),
        .last = mem_alloc(count, sizeof *w->last),
        .direction = mem_alloc(count, sizeof *w->direction),
        .frequency = mem_alloc(count, sizeof *w->frequency),
    };
    if (w->start && w->last && w->direction && w->frequency)
        return STATUS_OK;
    code_watch_fini(w);
    return err_memory(e, "a record of codes");
}

void code_watch_fini(struct code_watch *w)
{
    mem_free(w->start);
    mem_free(w->last);
    mem_free(w->direction);
    mem_free(w->frequency);
    memset(w, 0, sizeof *w);
}

struct step {
    float keep, add;          /* f = keep * f + (turned ? add : 0) */
};

QUANT_CLONES static void see_piece(const struct code_watch *w,
                                   const int32_t *now, struct step s,
                                   int64_t from, int64_t n)
{
    int32_t *last = w->last + from, *direction = w->direction + from;
    float *frequency = w->frequency + from;

    now += from;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        int32_t d = (now[i] > last[i]) - (now[i] < last[i]);
        float add = d * direction[i] < 0 ? s.add : 0.0f;
        float f = frequency[i] * s.keep + add;

        frequency[i] = f < FREQUENCY_LEAST ? 0.0f : f;
        direction[i] = d ? d : direction[i];
        last[i] = now[i];
    }
}

void code_watch_see(struct code_watch *w, const int32_t *now,
                    int64_t iterations)
{
    double keep = pow(1 - WATCH_MOMENTUM, (double)iterations);
    struct step s = {(float)keep, (float)((1 - keep) / (double)iterations)};
    int64_t pieces = (w->n + QUANT_PARALLEL - 1) / QUANT_PARALLEL;

    if (!w->seen) {
        code_watch_reset(w, now);
        code_watch_begin(w);
        return;
    }
#pragma omp parallel for schedule(static) if (pieces > 1)
    for (int64_t p = 0; p < pieces; p++) {
        int64_t from = p * QUANT_PARALLEL, left = w->n - from;

        see_piece(w, now, s, from,
                  left < QUANT_PARALLEL ? left : QUANT_PARALLEL);
    }
}

void code_watch_reset(struct code_watch *w, const int32_t *now)
{
    memcpy(w->last, now, (size_t)w->n * sizeof *w->last);
    w->seen = true;
}

void code_watch_begin(struct code_watch *w)
{
    memcpy(w->start, w->last, (size_t)w->n * sizeof *w->start);
}

QUANT_CLONES static int32_t moved_piece(const int32_t *a, const int32_t *b,
                                        int32_t n)
{
    int32_t moved = 0;

#pragma omp simd reduction(+ : moved)
    for (int32_t i = 0; i < n; i++)
        moved += a[i] != b[i];
    return moved;
}

QUANT_CLONES static int32_t above_piece(const float *f, int32_t n)
{
    int32_t above = 0;

#pragma omp simd reduction(+ : above)
    for (int32_t i = 0; i < n; i++)
        above += f[i] > (float)WATCH_THRESHOLD;
    return above;
}

static int32_t piece_at(const struct code_watch *w, int64_t from)
{
    int64_t left = w->n - from;

    return left < QUANT_PARALLEL ? (int32_t)left : QUANT_PARALLEL;
}

int64_t code_watch_moved(const struct code_watch *w)
{
    int64_t sum = 0;

    for (int64_t i = 0; i < w->n; i += QUANT_PARALLEL)
        sum += moved_piece(w->last + i, w->start + i, piece_at(w, i));
    return sum;
}

int64_t code_watch_oscillating(const struct code_watch *w)
{
    int64_t sum = 0;

    for (int64_t i = 0; i < w->n; i += QUANT_PARALLEL)
        sum += above_piece(w->frequency + i, piece_at(w, i));
    return sum;
}

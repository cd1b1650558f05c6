/* The pass behind every sum: bias, scale, rounding, clamp, byte.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/int_fast.h"

#include <math.h>

#include "engine/sheet.h"

#define LINE 256              /* channels of a line at least */
#define BLOCK 512             /* whole numbers in float32 turned at a time */

enum status epilogue_init(struct plan *p, const struct int_layer *l,
                          struct epilogue *ep, struct err *e)
{
    int64_t co = l->geom.co;
    ep->channels = co;
    ep->width = co * ((LINE + co - 1) / co);
    size_t bytes = (size_t)ep->width * sizeof(float);
    ep->bias = arena_alloc(p->arena, bytes);
    ep->add = arena_alloc(p->arena, bytes);
    ep->mul = arena_alloc(p->arena, bytes);
    bool ok = ep->bias && ep->add && ep->mul;
    return ok ? STATUS_OK : err_memory(e, "plan");
}

void epilogue_load(const struct int_layer *l, const int32_t *bias,
                   struct epilogue *ep)
{
    ep->codes = l->qy != NULL;
    for (int64_t i = 0; i < ep->width; i++) {
        int64_t o = i % ep->channels;
        ep->bias[i] = bias[o];
        ep->add[i] = ep->codes ? l->rest[o] : l->b[o];
        ep->mul[i] = ep->codes ? l->mul[o] : l->unit[o];
    }
    ep->lo = ep->codes ? (float)(l->out_lo - l->gy.zero) : l->lo;
    ep->hi = ep->codes ? (float)(l->out_hi - l->gy.zero) : l->hi;
    ep->shift = ep->codes ? l->gy.zero - l->gy.lo : 0;
}

/* rne((f32(sum + bias) + add) * mul) in lo..hi, plus shift. lo and hi are
 * whole, so clamping first is the same. */
ENGINE_CLONES static void line_codes(const struct epilogue *ep, int64_t at,
                                     const int32_t *sum, uint8_t *y,
                                     int64_t n)
{
    const int32_t *bias = ep->bias + at;
    const float *add = ep->add + at, *mul = ep->mul + at;
    float lo = ep->lo, hi = ep->hi;
    int32_t shift = ep->shift;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        int32_t s = (int32_t)((uint32_t)sum[i] + (uint32_t)bias[i]);
        float v = ((float)s + add[i]) * mul[i];
        v = v > lo ? v : lo;
        v = v < hi ? v : hi;
        y[i] = (uint8_t)((int32_t)rintf(v) + shift);
    }
}

/* f32(sum + bias) * unit + b; here bias holds zero points alone. */
ENGINE_CLONES static void line_numbers(const struct epilogue *ep, int64_t at,
                                       const int32_t *sum, float *y,
                                       int64_t n)
{
    const int32_t *bias = ep->bias + at;
    const float *add = ep->add + at, *mul = ep->mul + at;
    float lo = ep->lo, hi = ep->hi;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        int32_t s = (int32_t)((uint32_t)sum[i] + (uint32_t)bias[i]);
        float v = (float)s * mul[i] + add[i];
        v = v < lo ? lo : v;
        y[i] = v > hi ? hi : v;
    }
}

static void run_line(const struct epilogue *ep, int64_t in_line,
                     const int32_t *sum, void *y, int64_t at, int64_t n)
{
    if (ep->codes)
        line_codes(ep, in_line, sum, (uint8_t *)y + at, n);
    else
        line_numbers(ep, in_line, sum, (float *)y + at, n);
}

void epilogue_run(const struct epilogue *ep, const int32_t *sum, void *y,
                  int64_t count)
{
    for (int64_t at = 0; at < count; at += ep->width) {
        int64_t n = count - at < ep->width ? count - at : ep->width;
        run_line(ep, 0, sum + at, y, at, n);
    }
}

void epilogue_run_f32(const struct epilogue *ep, const float *sum, void *y,
                      int64_t count)
{
    for (int64_t at = 0; at < count;) {
        int32_t whole[BLOCK];
        int64_t in_line = at % ep->width, n = ep->width - in_line;
        n = n < BLOCK ? n : BLOCK;
        n = n < count - at ? n : count - at;
        sums_to_int(sum + at, whole, n);
        run_line(ep, in_line, whole, y, at, n);
        at += n;
    }
}

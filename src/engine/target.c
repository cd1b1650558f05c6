/* The table of targets and their rules.
 *
 * ort: onnxruntime 1.31, MLAS on x86 (mlas/lib/quantize.cpp, qladd.cpp,
 * contrib_ops qlinear_*). fbgemm: torch 2.8, FBGEMM's QuantUtils and ATen's
 * quantized kernels; qnnpack: the same with the bias as an integer.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/target.h"

#include <math.h>
#include <string.h>

#include "engine/sheet.h"
#include "quant/kernel.h"

/* Channels an average works on at a time. */
#define CHUNK 64

/* Clamped and rounded; lo and hi are whole, so the order does not matter. */
static inline __attribute__((always_inline)) float nearest(float v, float lo,
                                                           float hi)
{
    v = v > lo ? v : lo;
    v = v < hi ? v : hi;
    return rintf(v);
}

/* ---- numbers and codes ---- */

static inline __attribute__((always_inline)) void
quantize_block(const struct int_grid *g, bool divide, const float *x,
               uint8_t *y, int64_t n)
{
    float scale = g->scale, inv = 1.0f / g->scale;
    float lo = (float)(g->lo - g->zero), hi = (float)(g->hi - g->zero);
    int32_t shift = g->zero - g->lo;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float v = divide ? x[i] / scale : x[i] * inv;
        y[i] = (uint8_t)((int32_t)nearest(v, lo, hi) + shift);
    }
}

ENGINE_CLONES static void quantize_div(const struct int_grid *g,
                                       const float *x, uint8_t *y, int64_t n)
{
    quantize_block(g, true, x, y, n);
}

ENGINE_CLONES static void quantize_mul(const struct int_grid *g,
                                       const float *x, uint8_t *y, int64_t n)
{
    quantize_block(g, false, x, y, n);
}

void target_quantize_all(const struct target_row *t, const struct int_grid *g,
                         const float *x, uint8_t *y, int64_t n)
{
    (t->divide ? quantize_div : quantize_mul)(g, x, y, n);
}

int32_t target_quantize(const struct target_row *t, const struct int_grid *g,
                        float v)
{
    uint8_t y;
    target_quantize_all(t, g, &v, &y, 1);
    return g->lo + y;
}

ENGINE_CLONES void grid_dequantize(const struct int_grid *g, const uint8_t *x,
                                   float *y, int64_t n)
{
    float scale = g->scale;
    int32_t shift = g->lo - g->zero;
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = (float)(x[i] + shift) * scale;
}

/* ---- bias ---- */

static int64_t whole_of(float v)
{
    if (isnan(v))
        return 0;
    v = v > -0x1p62f ? v : -0x1p62f;
    v = v < 0x1p62f ? v : 0x1p62f;
    return (int64_t)rintf(v);
}

static void bias_ort(const struct bias_rule *b, int64_t *whole, float *rest)
{
    *whole = whole_of(b->b / b->unit);
    *rest = 0.0f;
}

static void bias_qnnpack(const struct bias_rule *b, int64_t *whole,
                         float *rest)
{
    *whole = whole_of(b->b * (1.0f / b->unit));
    *rest = 0.0f;
}

static void bias_fbgemm(const struct bias_rule *b, int64_t *whole,
                        float *rest)
{
    *whole = 0;
    *rest = b->per_channel ? b->b / b->unit : b->b * (1.0f / b->unit);
}

/* ---- two values ---- */

/* fma(a, ra, fma(b, rb, fixed)) on the codes themselves, with everything
 * about zero points in `fixed`; the inner one is that of b unless swapped. */
QUANT_CLONES_FMA static void add_fused(const struct merge_rule *m,
                                       const uint8_t *a, const uint8_t *b,
                                       uint8_t *y, int64_t n)
{
    float ra = m->a.scale / m->y.scale, rb = m->b.scale / m->y.scale;
    float fixed = (float)m->y.zero - (ra * (float)m->a.zero +
                                      rb * (float)m->b.zero);
    float lo = (float)m->lo, hi = (float)m->hi;
    int32_t la = m->a.lo, lb = m->b.lo, ly = m->y.lo;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float inner = fmaf((float)(b[i] + lb), rb, fixed);
        float v = fmaf((float)(a[i] + la), ra, inner);
        y[i] = (uint8_t)((int32_t)nearest(v, lo, hi) - ly);
    }
}

static void add_ort(const struct merge_rule *m, const uint8_t *a,
                    const uint8_t *b, uint8_t *y, int64_t n)
{
    if (!m->swap) {
        add_fused(m, a, b, y, n);
        return;
    }
    /* ra za + rb zb rounds the same in either order. */
    struct merge_rule turned = *m;
    turned.a = m->b;
    turned.b = m->a;
    add_fused(&turned, b, a, y, n);
}

/* The zero point goes in before rounding. */
ENGINE_CLONES static void mul_ort(const struct merge_rule *m,
                                  const uint8_t *a, const uint8_t *b,
                                  uint8_t *y, int64_t n)
{
    float mul = m->a.scale * m->b.scale / m->y.scale;
    float zero = (float)m->y.zero, lo = (float)m->lo, hi = (float)m->hi;
    int32_t la = m->a.lo - m->a.zero, lb = m->b.lo - m->b.zero, ly = m->y.lo;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float product = (float)((a[i] + la) * (b[i] + lb));
        float v = product * mul + zero;
        y[i] = (uint8_t)((int32_t)nearest(v, lo, hi) - ly);
    }
}

ENGINE_CLONES static void mul_torch(const struct merge_rule *m,
                                    const uint8_t *a, const uint8_t *b,
                                    uint8_t *y, int64_t n)
{
    float mul = m->a.scale * m->b.scale * (1.0f / m->y.scale);
    float lo = (float)(m->lo - m->y.zero), hi = (float)(m->hi - m->y.zero);
    int32_t la = m->a.lo - m->a.zero, lb = m->b.lo - m->b.zero;
    int32_t shift = m->y.zero - m->y.lo;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float v = (float)((a[i] + la) * (b[i] + lb)) * mul;
        y[i] = (uint8_t)((int32_t)nearest(v, lo, hi) + shift);
    }
}

/* Both values as numbers, their sum or difference, and the target's way to a
 * grid. */
static inline __attribute__((always_inline)) void
float_sum(const struct merge_rule *m, const uint8_t *a, const uint8_t *b,
          uint8_t *y, int64_t n, float sign)
{
    float sa = m->a.scale, sb = sign * m->b.scale;
    float sy = m->y.scale, inv = 1.0f / m->y.scale;
    bool divide = m->target->divide;
    float lo = (float)(m->lo - m->y.zero), hi = (float)(m->hi - m->y.zero);
    int32_t la = m->a.lo - m->a.zero, lb = m->b.lo - m->b.zero;
    int32_t shift = m->y.zero - m->y.lo;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float v = (float)(a[i] + la) * sa + (float)(b[i] + lb) * sb;
        v = divide ? v / sy : v * inv;
        y[i] = (uint8_t)((int32_t)nearest(v, lo, hi) + shift);
    }
}

ENGINE_CLONES static void add_float(const struct merge_rule *m,
                                    const uint8_t *a, const uint8_t *b,
                                    uint8_t *y, int64_t n)
{
    float_sum(m, a, b, y, n, 1.0f);
}

ENGINE_CLONES static void sub_float(const struct merge_rule *m,
                                    const uint8_t *a, const uint8_t *b,
                                    uint8_t *y, int64_t n)
{
    float_sum(m, a, b, y, n, -1.0f);
}

/* ---- averages ---- */

/* Sum of code - zero for up to CHUNK channels. */
ENGINE_CLONES static void sum_taps(const struct tap_window *w, int32_t shift,
                                   int64_t at, int32_t *sum, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        sum[i] = 0;
    for (int64_t r = 0; r < w->rows; r++) {
        for (int64_t c = 0; c < w->cols; c++) {
            const uint8_t *x = w->x + r * w->row_step + c * w->col_step + at;
#pragma omp simd
            for (int64_t i = 0; i < n; i++)
                sum[i] += x[i];
        }
    }
    for (int64_t i = 0; i < n; i++)
        sum[i] += shift * (int32_t)(w->rows * w->cols);
}

/* rne(f32(sum) * mul) + zero */
static void average_whole(const struct average_rule *a,
                          const struct tap_window *w, float mul, uint8_t *y,
                          int64_t n)
{
    float lo = (float)(a->y.lo - a->y.zero), hi = (float)(a->y.hi - a->y.zero);
    for (int64_t at = 0; at < n; at += CHUNK) {
        int32_t sum[CHUNK];
        int64_t m = n - at < CHUNK ? n - at : CHUNK;
        sum_taps(w, a->x.lo - a->x.zero, at, sum, m);
        for (int64_t i = 0; i < m; i++) {
            float v = nearest((float)sum[i] * mul, lo, hi);
            y[at + i] = (uint8_t)((int32_t)v + a->y.zero - a->y.lo);
        }
    }
}

static void mean_ort(const struct average_rule *a, const struct tap_window *w,
                     uint8_t *y, int64_t n)
{
    float mul = a->x.scale / (a->y.scale * (float)w->divisor);
    average_whole(a, w, mul, y, n);
}

static void mean_torch(const struct average_rule *a,
                       const struct tap_window *w, uint8_t *y, int64_t n)
{
    float mul = a->x.scale / a->y.scale / (float)w->divisor;
    average_whole(a, w, mul, y, n);
}

ENGINE_CLONES static void pool_tap(const uint8_t *x, int32_t shift,
                                  float scale, float *sum, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        sum[i] += (float)(x[i] + shift) * scale;
}

/* A float32 sum of the numbers in the order of the window, divided twice, the
 * zero point added before rounding. */
static void pool_ort(const struct average_rule *a, const struct tap_window *w,
                     uint8_t *y, int64_t n)
{
    float lo = (float)a->y.lo, hi = (float)a->y.hi, sum[CHUNK];
    int32_t shift = a->x.lo - a->x.zero;
    for (int64_t i = 0; i < n; i += CHUNK) {
        int64_t m = n - i < CHUNK ? n - i : CHUNK;
        memset(sum, 0, sizeof(sum));
        for (int64_t r = 0; r < w->rows; r++)
            for (int64_t c = 0; c < w->cols; c++)
                pool_tap(w->x + r * w->row_step + c * w->col_step + i, shift,
                         a->x.scale, sum, m);
        for (int64_t k = 0; k < m; k++) {
            float v =
                sum[k] / (float)w->divisor / a->y.scale + (float)a->y.zero;
            y[i + k] = (uint8_t)((int32_t)nearest(v, lo, hi) - a->y.lo);
        }
    }
}

/* ---- the table ---- */

const struct target_row target_table[] = {
    {
        .name = "ort",
        .help = "ONNX Runtime on x86: QLinear operators and QDQ groups",
        .source = "onnxruntime 1.31, MLAS",
        .divide = true,
        .bias = bias_ort,
        .add = add_ort,
        .sub = sub_float,
        .mul = mul_ort,
        .pool = pool_ort,
        .mean = mean_ort,
    },
    {
        .name = "fbgemm",
        .help = "torch on x86: float bias, scaled sums",
        .source = "torch 2.8 convert, engine fbgemm",
        .average_keeps_grid = true,
        .bias = bias_fbgemm,
        .add = add_float,
        .sub = sub_float,
        .mul = mul_torch,
        .pool = mean_torch,
        .mean = mean_torch,
    },
    {
        .name = "qnnpack",
        .help = "torch on phones: 32-bit bias",
        .source = "torch 2.8 convert, engine qnnpack",
        .average_keeps_grid = true,
        .bias = bias_qnnpack,
        .add = add_float,
        .sub = sub_float,
        .mul = mul_torch,
        .pool = mean_torch,
        .mean = mean_torch,
    },
};
const int target_count = (int)(sizeof(target_table) / sizeof(target_table[0]));

const struct target_row *target_find(const char *name)
{
    for (int i = 0; i < target_count; i++)
        if (strcmp(target_table[i].name, name) == 0)
            return &target_table[i];
    return NULL;
}

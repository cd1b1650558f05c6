/* The pass behind every sum: bias, scale, rounding, clamp, byte.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/int_fast.h"

#include <math.h>

#include "base/cpu.h"
#include "engine/sheet.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define EPILOGUE_AVX2 1
#include <immintrin.h>
#else
#define EPILOGUE_AVX2 0
#endif

#define LINE 256              /* channels of a line at least */
#define AT_ONCE 32            /* which a line is a multiple of */
#define BLOCK 512             /* whole numbers in float32 turned at a time */
#define EXACT (1 << 24)       /* whole numbers of float32 */

/* ---- codes ---- */

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

#if EPILOGUE_AVX2

#define AVX2 __attribute__((target("avx2")))
#define AVX2_INLINE \
    static inline __attribute__((target("avx2"), always_inline))

/* What 8 sums meet. */
struct at8 {
    const int32_t *bias;
    const float *add, *mul;
    __m256 hi;
};

/* f32(sum + bias) of 8 sums. Whole numbers below 2^24 in float32 give the
 * same by one addition, which rounds as the conversion does. */
AVX2_INLINE __m256 biased8(const struct at8 *c, const char *sum, int64_t i,
                           bool f32)
{
    __m256i b =
        _mm256_loadu_si256((const __m256i *)(const void *)(c->bias + i));
    const void *at = sum + (size_t)i * sizeof(float);
    if (f32)
        return _mm256_add_ps(_mm256_loadu_ps(at), _mm256_cvtepi32_ps(b));
    __m256i s = _mm256_loadu_si256((const __m256i *)at);
    return _mm256_cvtepi32_ps(_mm256_add_epi32(s, b));
}

/* 8 rounded values, at most hi; below the range of 32 bits INT32_MIN. */
AVX2_INLINE __m256i round8(const struct at8 *c, const char *sum, int64_t i,
                           bool f32)
{
    __m256 v = biased8(c, sum, i, f32);
    v = _mm256_add_ps(v, _mm256_loadu_ps(c->add + i));
    v = _mm256_mul_ps(v, _mm256_loadu_ps(c->mul + i));
    return _mm256_cvtps_epi32(_mm256_min_ps(v, c->hi));
}

/* The same. Narrowing saturates, so that the lower clamp may come last, on
 * bytes; narrowing works by halves of a register, which `order` puts right. */
AVX2_INLINE int64_t codes_at_once(const struct epilogue *ep, int64_t at,
                                  const char *sum, uint8_t *y, int64_t n,
                                  bool f32)
{
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256i shift = _mm256_set1_epi16((int16_t)ep->shift);
    const __m256i lo =
        _mm256_set1_epi8((char)((int32_t)ep->lo + ep->shift));
    const struct at8 c = {ep->bias + at, ep->add + at, ep->mul + at,
                          _mm256_set1_ps(ep->hi)};
    int64_t i = 0;
    for (; i + AT_ONCE <= n; i += AT_ONCE) {
        __m256i a = _mm256_packs_epi32(round8(&c, sum, i, f32),
                                       round8(&c, sum, i + 8, f32));
        __m256i b = _mm256_packs_epi32(round8(&c, sum, i + 16, f32),
                                       round8(&c, sum, i + 24, f32));
        a = _mm256_adds_epi16(a, shift);
        b = _mm256_adds_epi16(b, shift);
        __m256i v = _mm256_max_epu8(_mm256_packus_epi16(a, b), lo);
        _mm256_storeu_si256((__m256i *)(void *)(y + i),
                            _mm256_permutevar8x32_epi32(v, order));
    }
    return i;
}

AVX2 static int64_t whole_avx2(const struct epilogue *ep, int64_t at,
                               const void *sum, uint8_t *y, int64_t n)
{
    return codes_at_once(ep, at, sum, y, n, false);
}

AVX2 static int64_t f32_avx2(const struct epilogue *ep, int64_t at,
                             const void *sum, uint8_t *y, int64_t n)
{
    return codes_at_once(ep, at, sum, y, n, true);
}

#endif

/* A processor without does nothing at once. */
static int64_t none_at_once(const struct epilogue *ep, int64_t at,
                            const void *sum, uint8_t *y, int64_t n)
{
    (void)ep;
    (void)at;
    (void)sum;
    (void)y;
    (void)n;
    return 0;
}

static void find_kernels(struct epilogue *ep)
{
    ep->whole = ep->f32 = none_at_once;
#if EPILOGUE_AVX2
    if (cpu_get()->avx2) {
        ep->whole = whole_avx2;
        ep->f32 = f32_avx2;
    }
#endif
}

/* ---- numbers ---- */

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

/* ---- all ---- */

enum status epilogue_init(struct plan *p, const struct int_layer *l,
                          struct epilogue *ep, struct err *e)
{
    int64_t co = l->geom.co;
    ep->channels = co;
    ep->width = co;
    while (ep->width % AT_ONCE || ep->width < LINE)
        ep->width += co;
    size_t bytes = (size_t)ep->width * sizeof(float);
    ep->bias = arena_alloc(p->arena, bytes);
    ep->add = arena_alloc(p->arena, bytes);
    ep->mul = arena_alloc(p->arena, bytes);
    find_kernels(ep);
    bool ok = ep->bias && ep->add && ep->mul;
    return ok ? STATUS_OK : err_memory(e, "plan");
}

void epilogue_load(const struct int_layer *l, const int32_t *bias,
                   struct epilogue *ep)
{
    ep->codes = l->qy != NULL;
    ep->small = true;
    for (int64_t i = 0; i < ep->width; i++) {
        int64_t o = i % ep->channels;
        ep->bias[i] = bias[o];
        ep->small = ep->small && bias[o] > -EXACT && bias[o] < EXACT;
        ep->add[i] = ep->codes ? l->rest[o] : l->b[o];
        ep->mul[i] = ep->codes ? l->mul[o] : l->unit[o];
    }
    ep->lo = ep->codes ? (float)(l->out_lo - l->gy.zero) : l->lo;
    ep->hi = ep->codes ? (float)(l->out_hi - l->gy.zero) : l->hi;
    ep->shift = ep->codes ? l->gy.zero - l->gy.lo : 0;
}

static void run_line(const struct epilogue *ep, int64_t in_line,
                     const int32_t *sum, void *y, int64_t at, int64_t n)
{
    if (ep->codes) {
        uint8_t *to = (uint8_t *)y + at;
        int64_t i = ep->whole(ep, in_line, sum, to, n);
        line_codes(ep, in_line + i, sum + i, to + i, n - i);
    } else {
        line_numbers(ep, in_line, sum, (float *)y + at, n);
    }
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
        if (ep->codes && ep->small) {
            int64_t i = ep->f32(ep, in_line, sum + at, (uint8_t *)y + at, n);
            at += i;
            in_line += i;
            n -= i;
        }
        sums_to_int(sum + at, whole, n);
        run_line(ep, in_line, whole, y, at, n);
        at += n;
    }
}

/* Whose integer arithmetic `int` uses: rows of target_table.
 *
 * A sum of products of codes becomes a code of the next layer by
 *   code = clamp(rne((float(sum + whole) + rest) * mul) + zero, lo, hi)
 * with numbers per channel that the row's bias rule and the three scales
 * give; rne is rounding half to even, every step in float32. Sums of values,
 * products and averages have a rule each.
 *
 * Codes are stored as bytes that count from the grid's lowest code, so that
 * every grid of up to 256 codes fits: stored = code - lo.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef ENGINE_TARGET_H
#define ENGINE_TARGET_H

#include <stdbool.h>
#include <stdint.h>

/* Of a whole value: real = scale * (code - zero), lo <= code <= hi. */
struct int_grid {
    float scale;
    int32_t zero, lo, hi;
};

/* A float bias b at a sum whose unit is `unit` = f32(sx * sw). */
struct bias_rule {
    float b, unit;
    bool per_channel;         /* the weights have a scale per channel */
};

struct target_row;

/* y = a + b, a - b or a * b; lo, hi: y's codes after a clamp that follows. */
struct merge_rule {
    const struct target_row *target;
    struct int_grid a, b, y;
    int32_t lo, hi;
    bool swap;                /* a is one number repeated along the last axis */
};
typedef void (*merge_fn)(const struct merge_rule *m, const uint8_t *a,
                         const uint8_t *b, uint8_t *y, int64_t n);

/* rows x cols taps of n values each, steps in bytes between them. */
struct tap_window {
    const uint8_t *x;
    int64_t rows, cols, row_step, col_step;
    int64_t divisor;          /* pads may count */
};
struct average_rule {
    struct int_grid x, y;
};
typedef void (*average_fn)(const struct average_rule *a,
                           const struct tap_window *w, uint8_t *y,
                           int64_t n);

struct target_row {
    const char *name, *help, *source;
    bool divide;              /* numbers meet a grid by x / s, else x * (1/s) */
    bool average_keeps_grid;  /* averages without a quantizer stay on codes */
    /* The bias as an integer beside the sum and a rest added to the float. */
    void (*bias)(const struct bias_rule *b, int64_t *whole, float *rest);
    merge_fn add, sub, mul;
    average_fn pool;          /* avg_pool */
    average_fn mean;          /* global_avg_pool */
};

extern const struct target_row target_table[];     /* ort fbgemm qnnpack */
extern const int target_count;
const struct target_row *target_find(const char *name);       /* NULL: none */

/* The code nearest to v. NaN becomes lo. */
int32_t target_quantize(const struct target_row *t, const struct int_grid *g,
                        float v);
/* The same for n numbers, stored. */
void target_quantize_all(const struct target_row *t, const struct int_grid *g,
                         const float *x, uint8_t *y, int64_t n);
/* Stored codes to numbers. */
void grid_dequantize(const struct int_grid *g, const uint8_t *x, float *y,
                     int64_t n);

#endif

/* Geometry of pooling, shared by max_pool and avg_pool.
 *
 * Values of rank 3, (N,C,L), count as height 1; the attributes of the height
 * do not apply then. As in torch, with ceil_mode a window that starts in the
 * right or bottom padding is dropped.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef NN_OP_POOL_H
#define NN_OP_POOL_H

#include "nn/op_util.h"

struct pool_geom {
    int64_t n, c, h, w, oh, ow;
    int64_t kh, kw, sh, sw;
    int64_t pt, pl, pb, pr;
    int64_t dh, dw;
    bool count_pads;         /* avg_pool: pads count in the divisor */
};

/* From a node that graph_add has accepted. */
struct pool_geom pool_geom_of(const struct node *n, const struct shape *in);

/* Where one window lies: inputs first, first + step, ... below end; and how
 * many taps it has when pads count, i.e. cut off at the padded border only. */
struct pool_window {
    int64_t first, end, step, padded;
};

struct pool_window pool_window_row(const struct pool_geom *g, int64_t i);
struct pool_window pool_window_col(const struct pool_geom *g, int64_t j);

/* One window of one plane: x, dx the plane (H,W), y, dy its number. */
struct pool_at {
    const struct pool_geom *g;
    struct pool_window row, col;
    const real *x, *dy;
    real *y, *dx;
};
typedef void (*pool_fn)(const struct pool_at *at);
/* Calls fn on every window; planes at the same time. */
void pool_each(const struct op_call *c, pool_fn fn);

/* Attributes that both operators have. */
#define POOL_ATTR_ROWS                                                     \
    { .name = "kernel_h", .alias = "kernel", .type = ATTR_INT, .lo = 1,     \
      .hi = OP_TAPS_MAX, .help = "window height" },                        \
    { .name = "kernel_w", .alias = "kernel", .type = ATTR_INT, .lo = 1,     \
      .hi = OP_TAPS_MAX, .help = "window width" },                         \
    { .name = "stride_h", .alias = "stride", .type = ATTR_INT,              \
      .hi = OP_TAPS_MAX,                                                   \
      .help = "rows from window to window; 0: the kernel's" },             \
    { .name = "stride_w", .alias = "stride", .type = ATTR_INT,              \
      .hi = OP_TAPS_MAX,                                                   \
      .help = "columns from window to window; 0: the kernel's" },          \
    { .name = "pad_top", .alias = "pad", .type = ATTR_INT,                  \
      .hi = OP_TAPS_MAX, .help = "rows of pads above" },                   \
    { .name = "pad_left", .alias = "pad", .type = ATTR_INT,                 \
      .hi = OP_TAPS_MAX, .help = "columns of pads on the left" },          \
    { .name = "pad_bottom", .alias = "pad", .type = ATTR_INT,               \
      .hi = OP_TAPS_MAX, .help = "rows of pads below" },                   \
    { .name = "pad_right", .alias = "pad", .type = ATTR_INT,                \
      .hi = OP_TAPS_MAX, .help = "columns of pads on the right" },         \
    { .name = "ceil_mode", .type = ATTR_BOOL, .hi = 1,                      \
      .help = "windows may end outside" }

enum status pool_infer(const struct node *n, const struct shape *const in[],
                       struct shape *out, struct err *e);

#endif

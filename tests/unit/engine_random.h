/* Random nets of every operator, for tests of mode int.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UNIT_ENGINE_RANDOM_H
#define UNIT_ENGINE_RANDOM_H

#include "unit/engine_text.h"

static inline void add_conv(struct maker *m)
{
    int k = pick(m, 1, 4), l = pick(m, 1, 4), stride = pick(m, 1, 3);
    int dilation = pick(m, 1, 2), a = pick(m, 0, 2), b = pick(m, 0, 2);
    if (out_size(m->h, k, stride, a + b, dilation) < 1 ||
        out_size(m->w, l, stride, a + b, dilation) < 1)
        return;
    static const int widths[] = {1, 3, 5, 8, 12, 16, 20, 33};
    int out = widths[pick(m, 0, 7)], groups = 1;
    if (pick(m, 0, 3) == 0) {
        groups = m->c;
        out = m->c * pick(m, 1, 2);
    } else if (m->c % 2 == 0 && out % 2 == 0 && pick(m, 0, 2) == 0) {
        groups = 2;
    }
    line(m, "conv2d out=%d kernel_h=%d kernel_w=%d stride=%d dilation=%d "
            "pad_top=%d pad_left=%d pad_bottom=%d pad_right=%d groups=%d "
            "bias=%d",
         out, k, l, stride, dilation, a, b, b, a, groups, pick(m, 0, 1));
}

static inline void add_norm(struct maker *m)
{
    line(m, "batch_norm");
}

static inline void add_act(struct maker *m)
{
    static const char *const acts[] = {
        "relu", "relu", "relu", "relu6", "leaky_relu", "silu", "sigmoid",
        "tanh", "hard_swish", "clip lo=-0.5 hi=0.7", "softmax",
    };
    line(m, "%s", acts[pick(m, 0, 10)]);
}

static inline void add_pool(struct maker *m)
{
    int k = pick(m, 2, 3), stride = pick(m, 1, 3), pad = pick(m, 0, 1);
    int avg = pick(m, 0, 1), ceil_mode = pick(m, 0, 1);
    if (m->h < k || m->w < k)
        return;
    line(m, "%s kernel=%d stride=%d pad=%d ceil_mode=%d%s",
         avg ? "avg_pool" : "max_pool", k, stride, pad, ceil_mode,
         avg && pick(m, 0, 1) ? " count_pads=1" : "");
}

/* Two branches from one value, added or laid side by side. */
static inline void add_branch(struct maker *m)
{
    int from = m->n - 1, c = m->c, right = from;
    line(m, "conv2d out=%d kernel=3 pad=1 bias=0 < L%d", c, from);
    line(m, "batch_norm");
    int left = m->n - 1;
    if (pick(m, 0, 1)) {
        line(m, "conv2d out=%d kernel=1 < L%d", c, from);
        right = m->n - 1;
    }
    static const char *const merges[] = {"add", "add", "mul", "sub",
                                         "concat", "concat axis=2"};
    line(m, "%s < L%d L%d", merges[pick(m, 0, 5)], left, right);
    if (pick(m, 0, 1))
        line(m, "relu");
}

/* One number a channel times all of the channel. */
static inline void add_gate(struct maker *m)
{
    int from = m->n - 1;
    line(m, "global_avg_pool < L%d", from);
    line(m, "sigmoid");
    if (pick(m, 0, 1))
        line(m, "mul < L%d L%d", from, m->n - 1);
    else
        line(m, "add < L%d L%d", m->n - 1, from);
}

static inline void add_move(struct maker *m)
{
    static const char *const moves[] = {
        "identity", "dropout", "transpose perm=0,1,3,2",
        "transpose perm=0,2,3,1", "pad pad_top=1 pad_left=2",
        "pad pad_front=1 pad_right=1",
    };
    int i = pick(m, 0, 6);
    if (i < 6)
        line(m, "%s", moves[i]);
    else
        line(m, "reshape %dx%dx%d", m->h, m->c, m->w);
}

typedef void (*add_fn)(struct maker *m);

static inline void add_head(struct maker *m)
{
    static const char *const flat[] = {"flatten", "flatten",
                                       "global_avg_pool"};
    int i = pick(m, 0, 3);
    if (i < 3) {
        line(m, "%s", flat[i]);
        line(m, "flatten");
        line(m, "dense out=%d bias=%d", pick(m, 3, 20), pick(m, 0, 1));
    } else {
        line(m, "reshape %dx%d", m->c, m->h * m->w);
        line(m, "conv1d out=%d kernel=%d pad=1", pick(m, 2, 9),
             pick(m, 1, 2));
        line(m, "relu");
        line(m, "max_pool kernel=2 pad=1");
        line(m, "dense out=%d", pick(m, 2, 9));
        line(m, "flatten");
    }
    if (pick(m, 0, 1))
        line(m, "relu");
    line(m, "dense out=5");
}

static inline void random_text(struct maker *m, uint64_t seed)
{
    static const add_fn adds[] = {add_conv, add_conv, add_conv, add_norm,
                                  add_act, add_pool, add_branch, add_move,
                                  add_gate};
    m->rng = rng_new(seed, RNG_SHUFFLE);
    m->c = pick(m, 1, 4);
    m->h = pick(m, 5, 11);
    m->w = pick(m, 5, 11);
    str_add(&m->text, "model random loss=ce\n");
    line(m, "input %dx%dx%d", m->c, m->h, m->w);
    int layers = pick(m, 2, 9);
    for (int i = 0; i < layers; i++) {
        adds[pick(m, 0, 8)](m);
        ask_shape(m);
    }
    add_head(m);
}

#endif

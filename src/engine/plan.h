/* Plans: a graph turned into a flat list of steps over preallocated buffers.
 *
 * plan_new looks at the graph, its quantizers, the batch size and the mode,
 * chooses for every fused group a step maker of the back end, gives each
 * value a buffer {type, layout, scale, zero point, bytes}, and lists forward,
 * backward and weight-preparation steps. Running allocates nothing and
 * creates no primitive.
 *
 * Training forward, per point: observer (when on) sees the value, its range
 * follows, then the value is fake-quantized (when F is on). Evaluation never
 * moves an observer or a statistic.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef ENGINE_PLAN_H
#define ENGINE_PLAN_H

#include "quant/assign.h"

struct target_row;            /* engine/target.h */

enum mode { MODE_FLOAT, MODE_FAKE, MODE_INT, MODE_COUNT };
extern const char *const mode_name[MODE_COUNT];

/* Back ends: rows in backend_table. ref: the graph's own operators in logical
 * layout, the oracle. fast: oneDNN and fused passes, (N,H,W,C). */
struct backend;
struct backend_row {
    const char *name, *help;
    const struct backend *impl;
};
extern const struct backend_row backend_table[];
extern const int backend_count;
const struct backend *backend_find(const char *name);   /* NULL: none */

enum grad_type { GRAD_AUTO, GRAD_F32, GRAD_BF16, GRAD_COUNT };
extern const char *const grad_name[GRAD_COUNT];

/* How sums of codes are made, in mode int and in mode fake, where back end fast
 * has a choice: oneDNN on bytes or on whole numbers in float32, or a kernel of
 * its own. A way that is not exact for a layer's codes gives way to the next.
 * float: mode fake multiplies values, not codes. */
enum sum_path {
    SUM_AUTO, SUM_INT8, SUM_F32, SUM_OWN, SUM_FLOAT, SUM_COUNT
};
extern const char *const sum_name[SUM_COUNT];

/* Called between steps; anything but STATUS_OK (STATUS_STOPPED) abandons the
 * pass and is returned. May be NULL. */
struct tick {
    enum status (*fn)(void *ctx);
    void *ctx;
};

struct plan_opts {
    struct graph *graph;
    int64_t batch;
    enum mode mode;
    bool train;               /* backward too; batch statistics; observers */
    bool observe_only;        /* calibration: observers move, F is off, batch
                                 norm uses running statistics, no backward */
    bool keep_values;         /* every value can be read by plan_value */
    bool deployed;            /* train: the forward pass is that of mode int
                                 of `target`, gradients as in mode fake */
    enum bn_fold fold;
    enum grad_type grad;
    const struct backend *backend;      /* NULL: fast */
    const struct target_row *target;    /* integers; NULL: ort */
    enum sum_path sums;       /* likewise */
    struct rng *dropout;      /* borrowed; NULL when not training */
    bool deterministic;
};

struct plan;

void plan_opts_default(struct plan_opts *o);
/* Errors name the layer. */
enum status plan_new(const struct plan_opts *o, struct plan **out,
                     struct err *e);
void plan_free(struct plan *p);
const struct plan_opts *plan_options(const struct plan *p);

/* What a deployed forward asks of a model: batch norm frozen or folded, all
 * observers off, all quantizers on. STATUS_STATE names the layer or point. */
enum status plan_check_deployed(const struct graph *g, struct err *e);

/* Where the caller writes the batch: float, plan_input_layout() for images,
 * (batch, ...) rows; and the further inputs of a net with more than one. */
float *plan_input(struct plan *p, int input);
enum layout plan_input_layout(const struct plan *p, int input);
int plan_input_count(const struct plan *p);
/* (batch, classes): valid after plan_forward. */
const float *plan_output(const struct plan *p);
int64_t plan_output_count(const struct plan *p);     /* reals per sample */
/* Where the caller writes d loss / d output before plan_backward. */
float *plan_output_grad(struct plan *p);

enum status plan_forward(struct plan *p, const struct tick *t,
                         struct err *e);
/* Gradients go to param->grad and quantizer->grad (zeroed first). */
enum status plan_backward(struct plan *p, const struct tick *t,
                          struct err *e);
/* Quantizer or flag changes since plan_new: true when a new plan is needed. */
bool plan_stale(const struct plan *p);

/* Copies a node's value of the last forward, (batch, ...) in logical layout:
 * before == true: before its quantizer. Needs keep_values. */
enum status plan_value(const struct plan *p, int node, bool before,
                       float *out, struct err *e);
/* Mode int: the integers of a node's value, (batch, ...) in logical layout.
 * Needs keep_values but for the output. STATUS_STATE when it is numbers, or
 * inside a fused layer. */
enum status plan_codes(const struct plan *p, int node, int32_t *out,
                       struct err *e);
/* Mode int: the layer, or the fused one that it is inside of, works on codes;
 * of an input, that it becomes codes. False: it stays as numbers. */
bool plan_on_codes(const struct plan *p, int node);
/* The same for the gradient of a node's value. */
enum status plan_value_grad(const struct plan *p, int node, float *out,
                            struct err *e);
/* First node in order whose value is not finite; -1: none. */
int plan_find_nonfinite(const struct plan *p);

size_t plan_bytes(const struct plan *p);

/* Profile: what each step costs. */
struct step_info {
    const char *kind;         /* "conv f32 fwd" */
    const char *layer;
    const char *phase;        /* "forward" "backward" "weights" */
    double seconds;           /* summed over the profiled runs */
    double bytes, flops;      /* moved and done per run */
};
void plan_profile(struct plan *p, bool on);      /* on clears the sums */
int plan_step_count(const struct plan *p);
void plan_step_info(const struct plan *p, int i, struct step_info *out);

/* What the back end uses on this machine and why, a line each. */
void engine_describe(struct str *out);

#endif

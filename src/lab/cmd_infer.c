/* Command: infer. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "data/npy.h"
#include "lab/array_file.h"
#include "lab/state.h"

#define INPUTS_MAX 16

struct infer {
    struct lab *lab;
    const struct args *args;
    struct err *err;
    enum mode mode;
    bool codes, trace;
    int input[INPUTS_MAX], n_input;       /* nodes, in order */
    struct tensor x[INPUTS_MAX];          /* float32, (n, ...) */
    int64_t n;
    struct tensor *y;         /* by node: (n, ...); data NULL: not wanted */
};

static const struct node *node_at(const struct infer *f, int i)
{
    return &f->lab->graph->node[i];
}

/* ---- what goes in ---- */

static enum status find_inputs(struct infer *f)
{
    const struct graph *g = f->lab->graph;
    for (int i = 0; i < g->n_node; i++) {
        if (!(g->node[i].op->flags & OP_SOURCE))
            continue;
        if (f->n_input == INPUTS_MAX)
            return err_set(f->err, STATUS_ARG, "model %s has more than %d "
                                               "inputs", g->name, INPUTS_MAX);
        f->input[f->n_input++] = i;
    }
    return STATUS_OK;
}

static enum status wrong_shape(struct infer *f, int input, const char *what,
                               const struct shape *has)
{
    const struct shape *s = &node_at(f, f->input[input])->shape;
    struct str found = { 0 }, want = { 0 };
    shape_add(&found, has);
    str_add(&want, "N");
    for (int i = 1; i < s->rank; i++)
        str_printf(&want, "x%lld", (long long)s->dim[i]);
    err_set(f->err, STATUS_FORMAT, "%s is %s, the model takes %s as %s",
            what, str_text(&found), str_text(&want),
            node_at(f, f->input[input])->name);
    str_fini(&found);
    str_fini(&want);
    return STATUS_FORMAT;
}

/* Rows as the model wants them, in any shape with as many numbers; one sample
 * may come without an axis of its own. */
static enum status take_input(struct infer *f, int input, const char *what,
                              const struct tensor *raw)
{
    const struct shape *s = &raw->shape;
    int64_t one = shape_count(&node_at(f, f->input[input])->shape);
    int64_t count = shape_count(s), n = s->rank > 0 ? s->dim[0] : 1;
    if (count == one)
        n = 1;
    if (n < 1 || count != n * one)
        return wrong_shape(f, input, what, s);
    if (input > 0 && n != f->n)
        return err_set(f->err, STATUS_FORMAT,
                       "%s has %lld samples, the first input %lld", what,
                       (long long)n, (long long)f->n);
    f->n = n;
    return tensor_cast(&f->x[input], raw, DTYPE_F32, f->err);
}

/* One array for each input by its name; a single one may have any. */
static enum status take_bag(struct infer *f, const char *path,
                            const struct bag *b)
{
    bool single = f->n_input == 1 && bag_count(b) == 1;
    for (int i = 0; i < f->n_input; i++) {
        const char *name = node_at(f, f->input[i])->name;
        const struct tensor *t = single ? bag_at(b, 0) : bag_get(b, name);
        if (!t)
            return err_set(f->err, STATUS_NOTFOUND,
                           "%s: no array '%s', as the model's input is named",
                           path, name);
        TRY(take_input(f, i, path, t));
    }
    return STATUS_OK;
}

static enum status read_inputs(struct infer *f, const char *path)
{
    enum status s;
    TRY(find_inputs(f));
    if (array_is_npz(path)) {
        struct bag *b = NULL;
        TRY(npz_read(path, &b, f->err));
        s = take_bag(f, path, b);
        bag_free(b);
        return s;
    }
    if (f->n_input != 1)
        return err_set(f->err, STATUS_ARG, "model %s has %d inputs: give an "
                       ".npz with an array for each", f->lab->graph->name,
                       f->n_input);
    struct tensor raw;
    TRY(array_read(path, &raw, f->err));
    s = take_input(f, 0, path, &raw);
    tensor_fini(&raw);
    return s;
}

/* ---- the pass ---- */

/* The quantizer that a node's value goes through, with codes; or NULL. */
static const struct quantizer *quantizer_behind(const struct infer *f,
                                                int node)
{
    const struct graph *g = f->lab->graph;
    int point = layer_out_point(g, g->node[node].head);
    const struct quantizer *q = point >= 0 ? g->point[point].q : NULL;
    bool has = q && g->point[point].at == node && q->spec.kind->codes;
    return has ? q : NULL;
}

static enum status make_outputs(struct infer *f)
{
    const struct graph *g = f->lab->graph;
    size_t bytes = (size_t)g->n_node * sizeof *f->y;
    f->y = xmalloc(bytes);
    memset(f->y, 0, bytes);
    if (f->codes && !f->trace && !quantizer_behind(f, g->output))
        return err_set(f->err, STATUS_STATE,
                       "the output %s has no quantizer with codes; `bits %s "
                       "a=8` sets one", g->node[g->output].name,
                       g->node[g->output].name);
    for (int i = 0; i < g->n_node; i++) {
        struct shape s = g->node[i].shape;
        bool wanted = f->trace ? !f->codes || quantizer_behind(f, i)
                               : i == g->output;
        s.dim[0] = f->n;
        if (wanted)
            TRY(tensor_init(&f->y[i], DTYPE_F32, &s, f->err));
    }
    return STATUS_OK;
}

/* Rows [at, at + plan's batch) of an input, in the plan's layout. */
static void feed_input(const struct infer *f, struct plan *p, int input,
                       int64_t at)
{
    const struct shape *s = &node_at(f, f->input[input])->shape;
    int64_t one = shape_count(s), rows = plan_options(p)->batch;
    const float *x = (const float *)f->x[input].data + at * one;
    if (s->rank == 4 && plan_input_layout(p, input) == LAYOUT_NHWC)
        nchw_to_nhwc(x, plan_input(p, input), rows, s->dim[1],
                     s->dim[2] * s->dim[3]);
    else
        memcpy(plan_input(p, input), x, (size_t)(rows * one) * sizeof *x);
}

/* Integers go through a fused group in one go: what lies inside it has no
 * value, and is left out. */
static enum status take_value(struct infer *f, struct plan *p, int node,
                              float *y)
{
    enum status s = plan_value(p, node, false, y, f->err);
    if (s != STATUS_STATE || f->mode != MODE_INT)
        return s;
    err_clear(f->err);
    tensor_fini(&f->y[node]);
    return STATUS_OK;
}

static enum status take_values(struct infer *f, struct plan *p, int64_t at)
{
    const struct graph *g = f->lab->graph;
    int64_t rows = plan_options(p)->batch;
    for (int i = 0; i < g->n_node; i++) {
        int64_t one = shape_count(&g->node[i].shape);
        float *y = (float *)f->y[i].data + (f->y[i].data ? at * one : 0);
        if (!f->y[i].data)
            continue;
        if (f->trace)
            TRY(take_value(f, p, i, y));
        else
            memcpy(y, plan_output(p), (size_t)(rows * one) * sizeof *y);
    }
    return STATUS_OK;
}

/* All full batches, or the rest. */
static enum status run_rows(struct infer *f, const struct plan_opts *o,
                            int64_t from, int64_t to)
{
    struct plan *p = NULL;
    struct tick tick = lab_tick(f->lab);
    if (from == to)
        return STATUS_OK;
    enum status s = plan_new(o, &p, f->err);
    for (int64_t at = from; at < to && !s; at += o->batch) {
        for (int i = 0; i < f->n_input; i++)
            feed_input(f, p, i, at);
        s = plan_forward(p, &tick, f->err);
        if (!s)
            s = take_values(f, p, at);
    }
    plan_free(p);
    return s;
}

static enum status run(struct infer *f)
{
    struct lab *l = f->lab;
    struct plan_opts o;
    plan_opts_default(&o);
    o.graph = l->graph;
    o.mode = f->mode;
    o.keep_values = f->trace;
    o.fold = l->train.bn_fold;
    o.backend = l->train.backend;
    o.target = l->train.target;
    o.sums = l->train.sums;
    o.batch = l->tool.eval_batch;
    int64_t whole = f->n - f->n % o.batch;
    TRY(make_outputs(f));
    TRY(run_rows(f, &o, 0, whole));
    o.batch = f->n - whole;
    return run_rows(f, &o, whole, f->n);
}

/* ---- what comes out ---- */

/* Values on the grid to its integers. */
static enum status to_codes(struct infer *f, int node, struct tensor *t)
{
    const struct quantizer *q = quantizer_behind(f, node);
    struct tensor x, code;
    if (!q->ready)
        return err_set(f->err, STATUS_STATE, "%s.out has no range yet; "
                       "`calibrate` finds one", node_at(f, node)->name);
    TRY(tensor_cast(&x, t, DTYPE_REAL, f->err));
    enum status s = tensor_init(&code, DTYPE_I32, &t->shape, f->err);
    if (!s) {
        struct qview v =
            quantizer_view(q, &t->shape, t->shape.rank > 1 ? 1 : 0);
        q->spec.kind->codes(q, x.data, code.data, v);
        tensor_fini(t);
        *t = code;
    }
    tensor_fini(&x);
    return s;
}

static enum status fill(struct infer *f, struct bag *b)
{
    for (int i = 0; i < f->lab->graph->n_node; i++) {
        if (!f->y[i].data)
            continue;
        if (f->codes)
            TRY(to_codes(f, i, &f->y[i]));
        TRY(bag_put_tensor(b, node_at(f, i)->name, &f->y[i], f->err));
    }
    if (bag_count(b) == 0)
        return err_set(f->err, STATUS_STATE, "no layer has a quantizer with "
                                             "codes");
    return STATUS_OK;
}

static enum status write_result(struct infer *f)
{
    const char *path = f->args->redirect;
    struct bag *b = bag_new();
    enum status s = b ? fill(f, b) : err_memory(f->err, "the result");
    if (!s) {
        *f->args->redirect_done = true;
        s = array_is_npz(path) ? npz_write(path, b, f->err)
                               : npy_write(path, bag_at(b, 0), f->err);
        if (s)
            *f->args->fault = f->args->line.redirect_at;
    }
    bag_free(b);
    return s;
}

static enum status check_redirect(const struct infer *f)
{
    const struct args *a = f->args;
    if (!a->redirect)
        return args_fail(a, NULL, f->err, "infer wants a file for the "
                                          "result: infer x.npy -> y.npy");
    bool npz = array_is_npz(a->redirect);
    bool fits = npz || (!f->trace && array_is_file(a->redirect));
    if (fits && !a->append)
        return STATUS_OK;
    *a->fault = a->line.redirect_at;
    return err_set(f->err, STATUS_ARG, a->append
                       ? "arrays cannot be appended to a file: %s"
                       : f->trace ? "trace writes an .npz file, not '%s'"
                                  : "infer writes an .npy or .npz file, not "
                                    "'%s'", a->redirect);
}

/* `as=codes` is what integer evaluation gives, before it is scaled. */
static void read_mode(struct infer *f)
{
    const char *as = args_text(f->args, "as");
    f->trace = args_has(f->args, "trace");
    f->mode = lab_mode(f->lab);
    f->codes = as && strcmp(as, "codes") == 0;
    if (f->codes)
        f->mode = MODE_INT;
    for (int i = 0; as && i < MODE_COUNT; i++)
        if (strcmp(mode_name[i], as) == 0)
            f->mode = (enum mode)i;
}

static enum status work(struct infer *f)
{
    const struct arg *file = args_find(f->args, "file");
    read_mode(f);
    TRY(check_redirect(f));
    enum status s = read_inputs(f, file->text);
    if (s)
        return args_blame(f->args, file, 0, s);
    TRY(run(f));
    return write_result(f);
}

static enum status exec_infer(struct lab *l, const struct args *a,
                              struct out *out, struct err *e)
{
    struct infer f = { .lab = l, .args = a, .err = e };
    enum status s = work(&f);
    for (int i = 0; i < f.n_input; i++)
        tensor_fini(&f.x[i]);
    for (int i = 0; f.y && i < l->graph->n_node; i++)
        tensor_fini(&f.y[i]);
    free(f.y);
    if (s)
        return s;
    out_printf(out, OUT_RESULT, "%lld sample%s in %s", (long long)f.n,
               f.n == 1 ? "" : "s", mode_name[f.mode]);
    answer_num(l, "n", (double)f.n);
    answer_text(l, "mode", mode_name[f.mode]);
    answer_text(l, "file", a->redirect);
    return STATUS_OK;
}

static const struct arg_row infer_args[] = {
    { .name = "file", .kind = ARG_FILE, .required = true,
      .help = "one row a sample: FILE.npy, FILE.npz:NAME, or an .npz with an "
              "array for each input" },
    { .name = "as", .kind = ARG_CHOICE, .key = true,
      .choices = "float|fake|int|codes",
      .help = "mode, as of `eval`; codes: int, as the integers of the "
              "output's quantizer" },
    { .name = "trace", .kind = ARG_FLAG,
      .help = "every layer's value, by its name, into an .npz" },
    { 0 },
};

const struct cmd cmd_infer = {
    .name = "infer", .group = "run",
    .help = "run the model on an array from a file",
    .detail =
        "The rows go into the model as they are: normalise them as the "
        "training data were (`info data` has the numbers). The result is an "
        ".npy with a row for each sample, or an .npz with the output's "
        "name; with trace it holds every layer's value, quantized where the "
        "layer is (as=int: without what lies inside a fused group). as=codes "
        "gives the integers of the target, with trace those of all layers "
        "that have a quantizer.",
    .arg = infer_args, .flags = NEEDS_MODEL | CMD_RESULT,
    .example_setup = "load model jet; quantize fc0.w w8 -> x.npz",
    .example = "infer x.npz:values -> y.npy", .exec = exec_infer,
};

/* Commands: eval, infer. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "data/npy.h"
#include "lab/diagnose.h"
#include "lab/state.h"

/* ---- eval ---- */

static int name_index(const char *const *name, int n, const char *text)
{
    for (int i = 0; i < n; i++)
        if (strcmp(name[i], text) == 0)
            return i;
    return -1;
}

static void answer_metrics(struct lab *l, const struct eval_ask *q,
                           const struct metrics *m)
{
    answer_text(l, "mode", mode_name[q->mode]);
    answer_text(l, "split", split_name[q->split]);
    answer_num(l, "n", (double)m->n);
    if (l->data->classes > 0) {
        answer_num(l, "acc", m->acc);
        answer_num(l, "top5", m->top5);
        answer_num(l, "loss", m->loss);
        return;
    }
    answer_num(l, "loss", m->loss);
    answer_num(l, "mse", m->mse);
    answer_num(l, "mae", m->mae);
    answer_num(l, "mpe", m->mpe);
    answer_num(l, "excluded", (double)m->excluded);
}

static void print_metrics(struct lab *l, const struct eval_ask *q,
                          const struct metrics *m, struct out *out)
{
    struct str s = { 0 };
    str_printf(&s, "%s %s  ", mode_name[q->mode], split_name[q->split]);
    if (l->data->classes > 0)
        str_printf(&s, "acc %s  top5 %s  loss %s", num_percent(m->acc).s,
                   num_percent(m->top5).s, num_text(m->loss).s);
    else
        str_printf(&s, "loss %s  mse %s  mae %s  mpe %s  excluded %lld",
                   num_text(m->loss).s, num_text(m->mse).s,
                   num_text(m->mae).s, num_percent(m->mpe / 100).s,
                   (long long)m->excluded);
    str_printf(&s, "  (%lld samples)", (long long)m->n);
    out_printf(out, OUT_RESULT, "%s", str_text(&s));
    str_fini(&s);
}

static enum status exec_eval(struct lab *l, const struct args *a,
                             struct out *out, struct err *e)
{
    const char *mode = args_text(a, "mode"), *split = args_text(a, "split");
    struct eval_ask q = {
        .mode = mode ? (enum mode)name_index(mode_name, MODE_COUNT, mode)
                     : lab_mode(l),
        .split = split ? (enum split)name_index(split_name, SPLIT_COUNT,
                                                split)
                       : SPLIT_VAL,
        .limit = (int64_t)args_number(a, "n", 0),
    };
    struct metrics m;
    if (q.limit < 0)
        return args_fail(a, args_find(a, "n"), e,
                         "n= is a number of samples");
    if (dataset_size(l->data, q.split) == 0)
        return args_fail(a, args_find(a, "split"), e,
                         "data %s has no %s samples", l->data->name,
                         split_name[q.split]);
    TRY(lab_eval(l, &q, &m, e));
    print_metrics(l, &q, &m, out);
    answer_metrics(l, &q, &m);
    if (q.mode == MODE_FLOAT && q.split == SPLIT_VAL && l->data->classes > 0)
        l->float_acc = m.acc;
    l->gen.metrics++;
    if (q.mode != MODE_FLOAT)
        diagnose_eval(l, m.acc, l->data->classes);
    return STATUS_OK;
}

/* ---- infer ---- */

struct infer {
    struct lab *lab;
    const struct args *args;
    enum mode mode;
    bool codes;
    struct tensor x;          /* float32, (n, ...) */
    int64_t n;
    struct err *err;
};

static enum status find_input(struct infer *f, const struct shape **out)
{
    const struct graph *g = f->lab->graph;
    *out = NULL;
    for (int i = 0; i < g->n_node; i++) {
        if (!(g->node[i].op->flags & OP_SOURCE))
            continue;
        if (*out)
            return err_set(f->err, STATUS_ARG, "model %s has several inputs; "
                                               "infer feeds one", g->name);
        *out = &g->node[i].shape;
    }
    return STATUS_OK;
}

static enum status read_input(struct infer *f, const struct arg *file)
{
    const struct shape *sample;
    struct tensor raw;
    TRY(find_input(f, &sample));
    TRY(npy_read(file->text, &raw, f->err));
    enum status s = tensor_cast(&f->x, &raw, DTYPE_F32, f->err);
    tensor_fini(&raw);
    TRY(s);
    int64_t count = shape_count(&f->x.shape), one = shape_count(sample);
    f->n = f->x.shape.rank > 0 ? f->x.shape.dim[0] : 1;
    if (f->n > 0 && count == f->n * one)
        return STATUS_OK;
    if (count == one) {                  /* one sample without a batch axis */
        f->n = 1;
        return STATUS_OK;
    }
    struct str has = { 0 }, want = { 0 };
    struct shape full = *sample;
    shape_add(&has, &f->x.shape);
    str_add(&want, "N");
    for (int i = 1; i < full.rank; i++)
        str_printf(&want, "x%lld", (long long)full.dim[i]);
    err_set(f->err, STATUS_FORMAT, "%s is %s, the model takes %s",
            file->text, str_text(&has), str_text(&want));
    str_fini(&has);
    str_fini(&want);
    return STATUS_FORMAT;
}

/* Integers of the quantizer behind a node's value, or STATUS_STATE. */
static enum status to_codes(struct infer *f, int node, const float *x,
                            const struct shape *shape, int32_t *code)
{
    const struct graph *g = f->lab->graph;
    int point = layer_out_point(g, g->node[node].head);
    const struct quantizer *q = point >= 0 ? g->point[point].q : NULL;
    if (!q || !q->ready || !q->spec.kind->codes)
        return err_set(f->err, STATUS_STATE, "%s has no quantizer with "
                                             "codes", g->node[node].name);
    struct qview v = quantizer_view(q, shape, shape->rank > 1 ? 1 : 0);
    int64_t n = shape_count(shape);
    real *copy = xmalloc((size_t)(n + 1) * sizeof *copy);
    for (int64_t i = 0; i < n; i++)
        copy[i] = (real)x[i];
    q->spec.kind->codes(q, copy, code, v);
    free(copy);
    return STATUS_OK;
}

static enum status put_value(struct infer *f, struct bag *b, int node,
                             const float *x, const struct shape *shape)
{
    const char *name = f->lab->graph->node[node].name;
    if (!f->codes)
        return bag_put(b, name, DTYPE_F32, shape, x, f->err);
    int64_t n = shape_count(shape);
    int32_t *code = xmalloc((size_t)(n + 1) * sizeof *code);
    enum status s = to_codes(f, node, x, shape, code);
    if (!s)
        s = bag_put(b, name, DTYPE_I32, shape, code, f->err);
    free(code);
    return s;
}

static enum status infer_output(struct infer *f)
{
    struct lab *l = f->lab;
    struct tick tick = lab_tick(l);
    struct eval_opts o = { .graph = l->graph, .mode = f->mode,
                           .batch = l->tool.eval_batch,
                           .settings = &l->train, .tick = &tick };
    struct shape shape = l->graph->node[l->graph->output].shape;
    shape.dim[0] = f->n;
    int64_t count = shape_count(&shape);
    float *y = xmalloc((size_t)(count + 1) * sizeof *y);
    struct bag *b = bag_new();
    enum status s = b ? infer_run(&o, f->x.data, f->n, y, f->err)
                      : err_memory(f->err, "the result");
    if (!s)
        s = put_value(f, b, l->graph->output, y, &shape);
    if (!s)
        s = npy_write(f->args->redirect, bag_at(b, 0), f->err);
    bag_free(b);
    free(y);
    return s;
}

static void feed_plan_input(struct infer *f, struct plan *p,
                            const struct shape *sample)
{
    const float *x = f->x.data;
    if (sample->rank == 4 && plan_input_layout(p, 0) == LAYOUT_NHWC)
        nchw_to_nhwc(x, plan_input(p, 0), f->n, sample->dim[1],
                     sample->dim[2] * sample->dim[3]);
    else
        memcpy(plan_input(p, 0), x,
               (size_t)(f->n * shape_count(sample)) * sizeof *x);
}

static enum status trace_values(struct infer *f, struct plan *p,
                                struct bag *b)
{
    const struct graph *g = f->lab->graph;
    for (int i = 0; i < g->n_node; i++) {
        struct shape shape = g->node[i].shape;
        shape.dim[0] = f->n;
        size_t n = (size_t)shape_count(&shape);
        float *x = xmalloc((n + 1) * sizeof *x);
        enum status s = plan_value(p, i, false, x, f->err);
        int point = layer_out_point(g, g->node[i].head);
        bool skip = f->codes && (point < 0 || !g->point[point].q);
        if (!s && !skip)
            s = put_value(f, b, i, x, &shape);
        free(x);
        if (s)
            return s;
    }
    return STATUS_OK;
}

/* Every layer's value in one pass. */
static enum status infer_trace(struct infer *f)
{
    struct lab *l = f->lab;
    const struct shape *sample;
    struct plan_opts o;
    struct plan *p = NULL;
    struct tick tick = lab_tick(l);
    TRY(find_input(f, &sample));
    plan_opts_default(&o);
    o.graph = l->graph;
    o.batch = f->n;
    o.mode = f->mode;
    o.keep_values = true;
    o.fold = l->train.bn_fold;
    o.backend = l->train.backend;
    TRY(plan_new(&o, &p, f->err));
    struct bag *b = bag_new();
    enum status s = b ? STATUS_OK : err_memory(f->err, "the values");
    if (!s) {
        feed_plan_input(f, p, sample);
        s = plan_forward(p, &tick, f->err);
    }
    if (!s)
        s = trace_values(f, p, b);
    if (!s)
        s = npz_write(f->args->redirect, b, f->err);
    bag_free(b);
    plan_free(p);
    return s;
}

static enum status exec_infer(struct lab *l, const struct args *a,
                              struct out *out, struct err *e)
{
    const struct arg *file = args_find(a, "file");
    const char *as = args_text(a, "as");
    struct infer f = { .lab = l, .args = a, .err = e, .mode = lab_mode(l) };
    if (!a->redirect)
        return args_fail(a, NULL, e, "infer wants a file for the result: "
                                     "infer x.npy -> y.npy");
    f.codes = as && strcmp(as, "codes") == 0;
    if (as && !f.codes)
        f.mode = (enum mode)name_index(mode_name, MODE_COUNT, as);
    enum status s = read_input(&f, file);
    if (s)
        return args_blame(a, file, 0, s);
    s = args_has(a, "trace") ? infer_trace(&f) : infer_output(&f);
    tensor_fini(&f.x);
    if (s)
        return s;
    *a->redirect_done = true;
    out_printf(out, OUT_RESULT, "%lld samples in %s", (long long)f.n,
               mode_name[f.mode]);
    answer_num(l, "n", (double)f.n);
    answer_text(l, "mode", mode_name[f.mode]);
    return STATUS_OK;
}

static const struct arg_row eval_args[] = {
    { .name = "mode", .kind = ARG_CHOICE, .choices = "float|fake|int",
      .help = "how the net computes; fake when a quantizer is on, else "
              "float" },
    { .name = "split", .kind = ARG_CHOICE, .choices = "val|test|train",
      .help = "which samples; val" },
    { .name = "n", .kind = ARG_INT, .key = true,
      .help = "only so many samples" },
    { 0 },
};

const struct cmd cmd_eval = {
    .name = "eval", .group = "run", .help = "measure the model on samples",
    .detail = "Prints and answers accuracy, top-5 and loss, or for "
              "regression mse, mae, mean percent error and how many targets "
              "were too small for it. Evaluation never moves an observer or "
              "a statistic.",
    .arg = eval_args, .flags = NEEDS_MODEL | NEEDS_DATA | CMD_RESULT,
    .example_setup = "load model jet; load data jets n=300",
    .example = "eval float test n=100", .exec = exec_eval,
};

static const struct arg_row infer_args[] = {
    { .name = "file", .kind = ARG_FILE, .required = true,
      .help = "inputs, .npy, one row a sample" },
    { .name = "as", .kind = ARG_CHOICE, .key = true,
      .choices = "float|fake|int|codes",
      .help = "mode; codes: integers of the output's quantizer" },
    { .name = "trace", .kind = ARG_FLAG,
      .help = "every layer's value, keyed by name, into an .npz" },
    { 0 },
};

const struct cmd cmd_infer = {
    .name = "infer", .group = "run",
    .help = "run the model on an array from a file",
    .detail = "The rows go into the model as they are: normalise them as the "
              "training data were (`info data` has the numbers). The result "
              "is an .npy, or with trace an .npz.",
    .arg = infer_args, .flags = NEEDS_MODEL | CMD_RESULT,
    .example_setup = "load model jet; load data jets n=300; shell python3 "
                     "-c \"import struct; h=b\\\"{'descr': '<f4', "
                     "'fortran_order': False, 'shape': (1, 16), }\\\"; "
                     "h+=b' '*(118-1-len(h))+b'\\n'; "
                     "open('x.npy','wb').write(b'\\x93NUMPY\\x01\\x00'+"
                     "struct.pack('<H',len(h))+h+bytes(64))\"",
    .example = "infer x.npy -> y.npy", .exec = exec_infer,
};

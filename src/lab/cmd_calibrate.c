/* Commands: calibrate, fold. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "lab/point_list.h"
#include "lab/state.h"

static int count_observing(const struct lab *l)
{
    int n = 0;
    for (int i = 0; i < l->graph->n_point; i++)
        n += l->graph->point[i].q && l->graph->point[i].q->observe;
    return n;
}

static bool has_live_bn(const struct graph *g)
{
    for (int i = 0; i < g->n_node; i++)
        if ((g->node[i].op->flags & OP_BATCH_NORM) && !g->node[i].bn_folded)
            return true;
    return false;
}

static enum status calibrate_bn(struct lab *l, const struct args *a,
                                const struct eval_opts *o, double n,
                                struct out *out, struct err *e)
{
    if (!has_live_bn(l->graph))
        return args_fail(a, args_find(a, "what"), e,
                         "model %s has no batch norm that is not folded",
                         l->graph->name);
    lab_changed_quant(l);
    TRY(reestimate_run(o, (int64_t)n, e));
    out_printf(out, OUT_RESULT,
               "batch norm's statistics from %s batches of %lld",
               num_text(n).s, (long long)l->train.batch);
    answer_num(l, "batches", n);
    return STATUS_OK;
}

static enum status exec_calibrate(struct lab *l, const struct args *a,
                                  struct out *out, struct err *e)
{
    double n = args_number(a, "n", 10);
    struct tick tick = lab_tick(l);
    struct eval_opts o = {
        .graph = l->graph,
        .data = l->data,
        .split = SPLIT_TRAIN,
        .mode = MODE_FAKE,
        .batch = l->train.batch,
        .settings = &l->train,
        .tick = &tick,
        .cache = l->cache,
        .reused = &l->reused,
    };
    if (n < 1 || n > 1e9)
        return args_fail(a, args_find(a, "n"), e,
                         "calibrate takes at least 1 batch, not %s",
                         num_text(n).s);
    if (args_has(a, "what")) {
        o.mode = lab_mode(l);
        return calibrate_bn(l, a, &o, n, out, e);
    }
    if (!lab_any_quant(l))
        return args_fail(a, NULL, e, "no quantizer is set: `bits * w8a8` "
                                     "or `qconfig fbgemm` sets some");
    int points = count_observing(l);
    if (points == 0)
        return args_fail(a, NULL, e, "every observer is off; `enable "
                                     "observer *` switches them on");
    lab_changed_quant(l);
    TRY(calibrate_run(&o, (int64_t)n, e));
    free(l->observed);
    l->observed = xstrdup(l->origin.data);
    out_printf(out, OUT_RESULT, "%s batches of %lld seen by %d observers",
               num_text(n).s, (long long)l->train.batch, points);
    answer_num(l, "batches", n);
    answer_num(l, "observers", points);
    answer_num(l, "reused", l->reused);
    return STATUS_OK;
}

/* ---- fold ---- */

static enum status accuracy(struct lab *l, double *out, struct err *e)
{
    struct metrics m;
    struct eval_ask ask = { .split = SPLIT_VAL, .mode = lab_mode(l) };
    bool can = l->data && !lab_check_fit(l, NULL) &&
               dataset_size(l->data, SPLIT_VAL) > 0;
    *out = (double)NAN;
    if (!can)
        return STATUS_OK;
    TRY(lab_eval(l, &ask, &m, e));
    *out = l->data->classes > 0 ? m.acc : m.mae;
    return STATUS_OK;
}

static enum status fold_nodes(struct lab *l, const struct arg *sel,
                              int *node, int *n, struct err *e)
{
    const struct graph *g = l->graph;
    for (int i = 0; i < g->n_node; i++) {
        int bn = g->node[i].head == i ? graph_group_bn(g, i) : -1;
        bool meant = !sel || sel->sel.bits[i] || (bn >= 0 &&
                                                  sel->sel.bits[bn]);
        if (bn < 0 || g->node[bn].bn_folded || !meant)
            continue;
        TRY(bn_fold_layer(l->graph, i, e));
        node[(*n)++] = i;
    }
    return STATUS_OK;
}

static enum status exec_fold(struct lab *l, const struct args *a,
                             struct out *out, struct err *e)
{
    const struct arg *sel = args_find(a, "layers");
    double before, after;
    int n = 0, *node = xmalloc((size_t)(l->graph->n_node + 1) * sizeof *node);
    enum status s = accuracy(l, &before, e);
    if (!s) {
        lab_changed_model(l);
        s = fold_nodes(l, sel, node, &n, e);
    }
    if (!s && n == 0)
        s = args_fail(a, sel, e, "no batch norm to fold%s%s",
                      sel ? " at " : "", sel ? sel->text : "");
    if (!s)
        s = accuracy(l, &after, e);
    if (!s) {
        struct str text = { 0 };
        names_print(l, node, n, "layer", &text);
        str_add(&text, "  batch norm folded");
        bool classes = l->data && l->data->classes > 0;
        if (!isnan(before))
            str_printf(&text, "  val %s %s -> %s", classes ? "acc" : "mae",
                       classes ? num_percent(before).s : num_text(before).s,
                       classes ? num_percent(after).s : num_text(after).s);
        out_printf(out, OUT_RESULT, "%s", str_text(&text));
        answer_layers(l, node, n);
        answer_num(l, "before", before);
        answer_num(l, "after", after);
        str_fini(&text);
    }
    free(node);
    return s;
}

static const struct arg_row calibrate_args[] = {
    { .name = "what", .kind = ARG_CHOICE, .choices = "bn",
      .help = "batch norm's running statistics instead of ranges" },
    { .name = "n", .kind = ARG_INT, .help = "batches; 10" },
    { .name = "unit", .kind = ARG_CHOICE, .choices = "batches",
      .help = "" },
    { 0 },
};

const struct cmd cmd_calibrate = {
    .name = "calibrate", .group = "precision",
    .help = "show training batches to the observers",
    .detail = "A forward pass without fake-quantization and without "
              "training: observers that are on see the values and set the "
              "ranges. Weights, statistics and streams do not move.\n\n"
              "`calibrate bn 20 batches` makes batch norm's running "
              "statistics anew, as the mean over batches, in the mode that "
              "`eval` uses; observers and weights do not move.",
    .arg = calibrate_args,
    .flags = NEEDS_MODEL | NEEDS_DATA | CMD_CHANGES | CMD_WEIGHTS,
    .example_setup = "load model jet; load data jets n=300; bits * w8a8",
    .example = "calibrate 2 batches", .exec = exec_calibrate,
};

static const struct arg_row fold_args[] = {
    { .name = "what", .kind = ARG_CHOICE, .required = true, .choices = "bn",
      .help = "batch norm" },
    { .name = "layers", .kind = ARG_SELECTOR, .help = "where; everywhere" },
    { 0 },
};

const struct cmd cmd_fold = {
    .name = "fold", .group = "precision",
    .help = "merge batch norm into the weights for good",
    .detail = "W' = W gamma / sqrt(var + eps), b' = (b - mean) gamma / "
              "sqrt(var + eps) + beta. With data at hand the answer has the "
              "validation accuracy before and after.",
    .arg = fold_args,
    .flags = NEEDS_MODEL | NEEDS_IDLE | CMD_CHANGES | CMD_WEIGHTS,
    .example_setup = "load model tfc", .example = "fold bn",
    .exec = exec_fold,
};

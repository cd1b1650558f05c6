/* Command: eval. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "lab/diagnose.h"
#include "lab/point_list.h"
#include "lab/state.h"

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

/* The number that follows is not that of the whole quantized net. */
static void warn_uncalibrated(struct lab *l, struct out *out)
{
    struct muted m;
    struct str text = { 0 };
    muted_begin(l, &m);
    point_list_print(l, &m.list, &text);
    if (m.list.n)
        out_printf(out, OUT_WARN, "warning: not calibrated, so left in "
                                  "float: %s; `calibrate 10 batches` finds "
                                  "ranges", str_text(&text));
    muted_end(l, &m);
    str_fini(&text);
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
    if (q.mode == MODE_FAKE)
        warn_uncalibrated(l, out);
    print_metrics(l, &q, &m, out);
    answer_metrics(l, &q, &m);
    answer_num(l, "reused", l->reused);
    if (q.mode == MODE_FLOAT && q.split == SPLIT_VAL && l->data->classes > 0)
        l->float_acc = m.acc;
    l->gen.metrics++;
    struct diagnose_result r = { m.acc, m.loss, l->data->classes };
    if (q.mode != MODE_FLOAT)
        diagnose_result(l, &r);
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
              "a statistic. Outputs whose quantizer has no range yet are "
              "left in float, with a warning.\n\n"
              "Values that an earlier evaluation of the same samples left "
              "behind, up to the first layer that has changed since, are not "
              "computed again: `ans.reused` tells of how many layers, "
              "`set engine.cache` how much memory they may take.",
    .arg = eval_args, .flags = NEEDS_MODEL | NEEDS_DATA | CMD_RESULT,
    .example_setup = "load model jet; load data jets n=300",
    .example = "eval float test n=100", .exec = exec_eval,
};

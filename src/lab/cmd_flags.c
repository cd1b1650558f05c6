/* Commands: enable, disable, freeze, thaw.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "lab/point_list.h"
#include "lab/state.h"

/* ---- enable, disable ---- */

static enum status flag_fake(struct quantizer *q, bool on, struct err *e)
{
    (void)e;
    q->fake = on;
    return STATUS_OK;
}

static enum status flag_observe(struct quantizer *q, bool on, struct err *e)
{
    (void)e;
    q->observe = on;
    return STATUS_OK;
}

static const struct {
    const char *name;
    enum status (*set)(struct quantizer *q, bool on, struct err *e);
} flag_table[] = {
    { "fake", flag_fake },
    { "observer", flag_observe },
    { "observers", flag_observe },
    { "learn", quantizer_enable_learn },
};

/* Only kinds that learn can be told to: the others are passed over, unless
 * there is none. */
static void keep_learners(struct lab *l, struct point_list *p)
{
    int n = 0;
    for (int i = 0; i < p->n; i++)
        if (l->graph->point[p->point[i]].q->n_learned > 0)
            p->point[n++] = p->point[i];
    p->n = n;
}

static enum status switch_flag(struct lab *l, const struct args *a, bool on,
                               struct out *out, struct err *e)
{
    const struct arg *what = args_find(a, "what");
    struct point_list p;
    size_t row = 0;
    while (strcmp(flag_table[row].name, what->text) != 0)
        row++;
    TRY(points_of(l, a, "points", &p, e));
    if (flag_table[row].set == quantizer_enable_learn) {
        keep_learners(l, &p);
        if (p.n == 0) {
            point_list_fini(&p);
            return args_fail(a, args_find(a, "points"), e,
                             "no quantizer there learns; `range SEL lsq` "
                             "makes it one that does");
        }
    }
    lab_changed_quant(l);
    enum status s = STATUS_OK;
    for (int i = 0; i < p.n && !s; i++)
        s = flag_table[row].set(l->graph->point[p.point[i]].q, on, e);
    if (!s) {
        struct str text = { 0 };
        point_list_print(l, &p, &text);
        out_printf(out, OUT_RESULT, "%s  %s %s", str_text(&text), what->text,
                   on ? "on" : "off");
        answer_points(l, &p);
        str_fini(&text);
    }
    point_list_fini(&p);
    return s;
}

static enum status exec_enable(struct lab *l, const struct args *a,
                               struct out *out, struct err *e)
{
    return switch_flag(l, a, true, out, e);
}

static enum status exec_disable(struct lab *l, const struct args *a,
                                struct out *out, struct err *e)
{
    return switch_flag(l, a, false, out, e);
}

/* ---- freeze, thaw ---- */

static bool in_selection(const struct arg *x, int node)
{
    return !x || x->sel.bits[node];
}

/* Naming any layer of a fused group means its batch norm. */
static bool bn_meant(const struct lab *l, const struct arg *x, int node)
{
    const struct graph *g = l->graph;
    for (int i = 0; i < g->n_node; i++)
        if (g->node[i].head == g->node[node].head && in_selection(x, i))
            return true;
    return false;
}

static int freeze_bn(struct lab *l, const struct arg *x, bool on, int *node)
{
    int n = 0;
    for (int i = 0; i < l->graph->n_node; i++) {
        struct node *k = &l->graph->node[i];
        if (!(k->op->flags & OP_BATCH_NORM) || k->bn_folded ||
            !bn_meant(l, x, i))
            continue;
        k->bn_frozen = on;
        node[n++] = i;
    }
    return n;
}

static int freeze_weights(struct lab *l, const struct arg *x, bool on,
                          int *node)
{
    int n = 0;
    for (int i = 0; i < l->graph->n_learned; i++) {
        struct param *p = &l->graph->param[i];
        if (!in_selection(x, p->node))
            continue;
        p->frozen = on;
        if (n == 0 || node[n - 1] != p->node)
            node[n++] = p->node;
    }
    return n;
}

static int freeze_scale(struct lab *l, const struct arg *x, bool on,
                        int *node)
{
    int n = 0;
    for (int i = 0; i < l->graph->n_point; i++) {
        const struct point *p = &l->graph->point[i];
        if (!p->q || !p->q->n_learned || !in_selection(x, p->node))
            continue;
        quantizer_enable_learn(p->q, !on, NULL);
        if (n == 0 || node[n - 1] != p->node)
            node[n++] = p->node;
    }
    return n;
}

static const struct {
    const char *name, *none;
    int (*set)(struct lab *l, const struct arg *x, bool on, int *node);
} freeze_table[] = {
    { "bn", "no batch norm", freeze_bn },
    { "weights", "no weights", freeze_weights },
    { "scale", "no learned range", freeze_scale },
};

static enum status set_frozen(struct lab *l, const struct args *a, bool on,
                              struct out *out, struct err *e)
{
    const struct arg *what = args_find(a, "what");
    const struct arg *sel = args_find(a, "layers");
    int *node = xmalloc((size_t)(l->graph->n_point + l->graph->n_param +
                                 l->graph->n_node + 1) * sizeof *node);
    size_t row = 0;
    while (strcmp(freeze_table[row].name, what->text) != 0)
        row++;
    int n = freeze_table[row].set(l, sel, on, node);
    bool optional = sel && selection_count(&sel->sel) == 0;
    if (n == 0 && !optional) {
        free(node);
        return args_fail(a, sel ? sel : what, e, "%s %s%s",
                         freeze_table[row].none,
                         sel ? "at " : "in this model",
                         sel ? sel->text : "");
    }
    lab_changed_quant(l);
    struct str text = { 0 };
    names_print(l, node, n, "layer", &text);
    out_printf(out, OUT_RESULT, "%s  %s %s", str_text(&text), what->text,
               on ? "frozen" : "live");
    answer_layers(l, node, n);
    str_fini(&text);
    free(node);
    return STATUS_OK;
}

static enum status exec_freeze(struct lab *l, const struct args *a,
                               struct out *out, struct err *e)
{
    return set_frozen(l, a, true, out, e);
}

static enum status exec_thaw(struct lab *l, const struct args *a,
                             struct out *out, struct err *e)
{
    return set_frozen(l, a, false, out, e);
}

static const struct arg_row flag_args[] = {
    { .name = "what", .kind = ARG_CHOICE, .required = true,
      .choices = "fake|observer|observers|learn", .help = "which switch" },
    { .name = "points", .kind = ARG_SELECTOR,
      .help = "which layers or points; all" },
    { 0 },
};

const struct cmd cmd_enable = {
    .name = "enable", .group = "precision",
    .help = "switch fake-quantization, observers or learning on",
    .detail = "fake rounds values to the grid in training and evaluation; "
              "observer lets ranges follow the data in training and "
              "calibration, never in evaluation; learn lets the optimiser "
              "move the ranges of kinds that can. They are the letters F, O "
              "and L of `list`.",
    .arg = flag_args, .flags = NEEDS_MODEL | NEEDS_QUANT | CMD_CHANGES,
    .example_setup = "load model lenet5; bits * w4a4",
    .example = "enable fake *", .exec = exec_enable,
};

const struct cmd cmd_disable = {
    .name = "disable", .group = "precision",
    .help = "switch fake-quantization, observers or learning off",
    .detail = "disable observer * fixes all ranges where they are, as one "
              "does for the last epochs of training; disable fake * goes "
              "back to float without losing any range.",
    .arg = flag_args, .flags = NEEDS_MODEL | NEEDS_QUANT | CMD_CHANGES,
    .example_setup = "load model lenet5; bits * w4a4",
    .example = "disable observer *", .exec = exec_disable,
};

static const struct arg_row freeze_args[] = {
    { .name = "what", .kind = ARG_CHOICE, .required = true,
      .choices = "bn|weights|scale", .help = "what" },
    { .name = "layers", .kind = ARG_SELECTOR, .help = "where; everywhere" },
    { 0 },
};

const struct cmd cmd_freeze = {
    .name = "freeze", .group = "precision",
    .help = "hold batch norm, weights or learned ranges still",
    .detail = "freeze bn makes batch norm use its running statistics, and "
              "keep them, also in training (gamma and beta still learn). "
              "freeze weights SEL takes layers from the optimiser. freeze "
              "scale SEL is `disable learn SEL`.",
    .arg = freeze_args, .flags = NEEDS_MODEL | CMD_CHANGES,
    .example_setup = "load model tfc", .example = "freeze bn",
    .exec = exec_freeze,
};

const struct cmd cmd_thaw = {
    .name = "thaw", .group = "precision",
    .help = "let batch norm, weights or learned ranges move again",
    .detail = "The opposite of freeze.",
    .arg = freeze_args, .flags = NEEDS_MODEL | CMD_CHANGES,
    .example_setup = "load model tfc; freeze bn", .example = "thaw bn",
    .exec = exec_thaw,
};

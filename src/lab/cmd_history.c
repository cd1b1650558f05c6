/* Commands: undo, redo, mark, rewind, diff.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "lab/state.h"

static enum status steps(struct lab *l, const struct args *a, bool redo,
                         struct out *out, struct err *e)
{
    double n = args_number(a, "n", 1);
    if (n < 1 || n > 1e6)
        return args_fail(a, args_find(a, "n"), e,
                         "%s takes a number from 1, not %s", a->cmd->name,
                         args_text(a, "n"));
    int done = 0;
    for (; done < (int)n; done++) {
        struct str command = { 0 };
        enum status s = undo_step(l, redo, &command, e);
        if (s && done > 0 && s == STATUS_STATE) {
            str_fini(&command);
            break;
        }
        if (s) {
            str_fini(&command);
            return s;
        }
        out_printf(out, OUT_RESULT, "%s: %s", redo ? "redone" : "undone",
                   str_text(&command));
        answer_text(l, "command", str_text(&command));
        str_fini(&command);
    }
    answer_num(l, "count", done);
    return STATUS_OK;
}

static enum status exec_undo(struct lab *l, const struct args *a,
                             struct out *out, struct err *e)
{
    return steps(l, a, false, out, e);
}

static enum status exec_redo(struct lab *l, const struct args *a,
                             struct out *out, struct err *e)
{
    return steps(l, a, true, out, e);
}

static enum status exec_mark(struct lab *l, const struct args *a,
                             struct out *out, struct err *e)
{
    const struct arg *name = args_find(a, "name");
    for (const char *p = name->text; *p; p++)
        if (!lex_is_name(*p) && *p != '-')
            return args_fail(a, name, e, "a mark's name has letters, digits, "
                                         "_ - and dots, not '%.60s'",
                             name->text);
    TRY(mark_set(l, name->text, e));
    out_printf(out, OUT_RESULT, "mark %s at epoch %.2f", name->text,
               lab_epoch(l));
    answer_text(l, "mark", name->text);
    answer_num(l, "epoch", lab_epoch(l));
    return STATUS_OK;
}

/* What is left behind becomes the mark `before`, so a rewind can be taken
 * back. */
static enum status exec_rewind(struct lab *l, const struct args *a,
                               struct out *out, struct err *e)
{
    const struct arg *name = args_find(a, "name");
    if (strcmp(name->text, "before") != 0)
        TRY(mark_set(l, "before", e));
    const struct lab_mark *m = mark_find(l, name->text);
    enum status s = mark_rewind(l, m, e);
    if (s)
        return args_blame(a, name, 0, s);
    out_printf(out, OUT_RESULT, "at mark %s, epoch %.2f", name->text,
               lab_epoch(l));
    answer_text(l, "mark", name->text);
    answer_num(l, "epoch", lab_epoch(l));
    return STATUS_OK;
}

/* ---- diff ---- */

static void note_text(const struct point_note *n, struct str *out)
{
    if (!n->spec[0]) {
        str_add(out, "float");
        return;
    }
    str_printf(out, "%s %c%c%c", n->spec, n->fake ? 'F' : '-',
               n->observe ? 'O' : '-', n->learn ? 'L' : '-');
    if (!isnan(n->lo))
        str_printf(out, " [%s, %s]", num_text(n->lo).s, num_text(n->hi).s);
}

static void diff_points(struct lab *l, const struct lab_mark *m,
                        struct table *t)
{
    for (int i = 0; i < l->graph->n_point; i++) {
        struct point_note now;
        struct str a = { 0 }, b = { 0 };
        bool same = i < m->n_note &&
                    strcmp(m->point[i], l->graph->point[i].name) == 0;
        point_note_take(l, i, &now);
        if (same)
            note_text(&m->note[i], &a);
        else
            str_add(&a, "not there");
        note_text(&now, &b);
        if (strcmp(str_text(&a), str_text(&b)) != 0) {
            table_cell(t, "%s", l->graph->point[i].name);
            table_cell(t, "%s", str_text(&a));
            table_cell(t, "%s", str_text(&b));
        }
        str_fini(&a);
        str_fini(&b);
    }
}

/* The largest change of any element, and the relative change of length. */
static void diff_params(struct lab *l, const struct lab_mark *m,
                        struct table *t)
{
    for (int i = 0; i < l->graph->n_param; i++) {
        const struct param *p = &l->graph->param[i];
        const struct tensor *old = bag_get(m->bag, p->name);
        double most = 0, diff = 0, length = 0;
        bool same = old && shape_equal(&old->shape, &p->shape);
        for (int64_t k = 0; same && k < p->count; k++) {
            double was = tensor_get(old, k), d = (double)p->value[k] - was;
            most = fabs(d) > most ? fabs(d) : most;
            diff += d * d;
            length += was * was;
        }
        if (same && most == 0)
            continue;
        table_cell(t, "%s", p->name);
        table_cell(t, "%s", same ? "" : "not there");
        if (same)
            table_cell(t, "max |d| %s, length changed by %s",
                       num_text(most).s,
                       num_percent(length > 0 ? sqrt(diff / length)
                                              : (double)NAN).s);
        else
            table_cell(t, "new");
    }
}

/* Flags of nodes stand in the mark's text; compared line by line. */
static void diff_settings(struct lab *l, const struct lab_mark *m,
                          struct table *t)
{
    struct str now = { 0 };
    settings_save(l, &now);
    const char *a = bag_text(m->bag, "lab.settings"), *b = str_text(&now);
    while (a && *a && *b) {
        size_t n = strcspn(a, "\n"), k = strcspn(b, "\n");
        size_t name = strcspn(a, " ");
        if ((n != k || strncmp(a, b, n) != 0) && name < n && name < k) {
            table_cell(t, "%.*s", (int)name, a);
            table_cell(t, "%.*s", (int)(n - name - 1), a + name + 1);
            table_cell(t, "%.*s", (int)(k - name - 1), b + name + 1);
        }
        a += n + (a[n] == '\n');
        b += k + (b[k] == '\n');
    }
    str_fini(&now);
}

static enum status exec_diff(struct lab *l, const struct args *a,
                             struct out *out, struct err *e)
{
    static const char *const title[] = { "what", "at the mark", "now" };
    const struct arg *name = args_find(a, "name");
    const struct lab_mark *m = name ? mark_find(l, name->text)
                               : l->history.n_mark
                                   ? &l->history.mark[l->history.n_mark - 1]
                                   : NULL;
    if (!m)
        return args_fail(a, NULL, e, "there is no mark; `mark NAME` makes "
                                     "one");
    struct table *t = table_new(3, title);
    diff_points(l, m, t);
    diff_params(l, m, t);
    diff_settings(l, m, t);
    answer_num(l, "count", table_rows(t));
    if (table_rows(t) == 0 && !a->redirect) {
        table_free(t);
        out_printf(out, OUT_RESULT, "nothing differs from mark %s", m->name);
        return STATUS_OK;
    }
    return result_table(l, a, t, out, e);
}

static const struct arg_row count_args[] = {
    { .name = "n", .kind = ARG_INT, .help = "how many; 1" },
    { 0 },
};

const struct cmd cmd_undo = {
    .name = "undo", .group = "history",
    .help = "take back the last change of the configuration",
    .detail = "Quantizers with their ranges, flags, freezes, training "
              "settings and events go back to what they were before the "
              "command. Weights do not (except for fold and load weights): "
              "`mark` and `rewind` are for those.",
    .arg = count_args, .flags = NEEDS_MODEL | CMD_RECORDED,
    .example_setup = "load model lenet5; bits * w4a4", .example = "undo",
    .exec = exec_undo,
};

const struct cmd cmd_redo = {
    .name = "redo", .group = "history", .help = "take back an undo",
    .detail = "Possible until the next change.",
    .arg = count_args, .flags = NEEDS_MODEL | CMD_RECORDED,
    .example_setup = "load model lenet5; bits * w4a4; undo",
    .example = "redo", .exec = exec_redo,
};

static const struct arg_row mark_args[] = {
    { .name = "name", .kind = ARG_WORD, .required = true,
      .help = "its name" },
    { 0 },
};

const struct cmd cmd_mark = {
    .name = "mark", .group = "history",
    .help = "remember everything under a name",
    .detail = "Weights, statistics, quantizers, optimiser, random streams, "
              "settings, events, curves: `rewind NAME` brings all of it "
              "back, bit for bit. Marks live in memory; `save model` writes "
              "the same to a file.",
    .arg = mark_args, .flags = NEEDS_MODEL | CMD_RECORDED,
    .example_setup = "load model lenet5", .example = "mark base",
    .exec = exec_mark,
};

static const struct arg_row rewind_args[] = {
    { .name = "name", .kind = ARG_MARK, .required = true, .help = "mark" },
    { 0 },
};

const struct cmd cmd_rewind = {
    .name = "rewind", .group = "history", .help = "go back to a mark",
    .detail = "What is left behind is kept as mark `before`, so `rewind "
              "before` takes a rewind back. Variables stay: what was "
              "measured on one way can be compared with the next.",
    .arg = rewind_args, .flags = NEEDS_MODEL | NEEDS_IDLE | CMD_RECORDED,
    .example_setup = "load model lenet5; mark base; bits * w2a2",
    .example = "rewind base", .exec = exec_rewind,
};

static const struct arg_row diff_args[] = {
    { .name = "name", .kind = ARG_MARK, .help = "mark; the last one" },
    { 0 },
};

const struct cmd cmd_diff = {
    .name = "diff", .group = "history",
    .help = "show what differs from a mark",
    .detail = "Bits, flags and ranges of every point, the change of every "
              "parameter, training settings.",
    .arg = diff_args, .flags = NEEDS_MODEL | CMD_RESULT,
    .example_setup = "load model lenet5; mark base; bits conv1 w=4",
    .example = "diff base", .exec = exec_diff,
};

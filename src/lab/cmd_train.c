/* Commands: train, step, until, at, stop, continue.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "lab/state.h"

/* ---- train ---- */

static enum status ask_rate(const struct args *a, struct goal_spec *g,
                            struct err *e)
{
    const struct arg *lr = args_find(a, "lr");
    g->lr = lr ? lr->number : (double)NAN;
    if (lr && !(lr->number >= 0 && isfinite(lr->number)))
        return args_fail(a, lr, e, "lr= is not negative");
    return STATUS_OK;
}

/* "10m" is a time, "3" is epochs or what the unit says. */
static bool is_time(const char *text)
{
    size_t n = strlen(text);
    return n > 1 && strchr("smh", text[n - 1]);
}

static enum status ask_length(struct lab *l, const struct args *a,
                              struct goal_spec *g, struct err *e)
{
    const struct arg *x = args_find(a, "n");
    const char *unit = args_text(a, "unit");
    struct err why = { 0 };
    double n = 1;
    if (x && number_parse(x->text, &n, &why))
        return args_fail(a, x, e, "train wants a number of epochs: %s",
                         why.text);
    if (!(n > 0 && n <= 1e9))
        return args_fail(a, x, e, "train wants more than 0 epochs, not %s",
                         x ? x->text : "");
    double batches = (double)trainer_batches(l->trainer);
    if (x && is_time(x->text)) {
        g->seconds = n;
        g->steps = INT64_MAX;
        g->epochs = 0;
    } else if (unit && strncmp(unit, "batch", 5) == 0) {
        g->steps = (int64_t)n;
        g->epochs = n / batches;
    } else {
        /* To the end of the n-th epoch when one is under way. */
        g->steps = (int64_t)ceil(n * batches - 1e-9);
        g->epochs = n;
    }
    if (g->steps < 1)
        return args_fail(a, x, e, "that is less than one batch");
    return STATUS_OK;
}

static void goal_words(const struct args *a, struct str *out)
{
    str_add(out, a->cmd->name);
    for (int i = 0; i < a->n; i++) {
        str_char(out, ' ');
        if (a->arg[i].row->key)
            str_printf(out, "%s=", a->arg[i].row->name);
        str_add(out, a->arg[i].text);
    }
}

static enum status begin(struct lab *l, const struct args *a,
                         struct goal_spec *g, struct err *e)
{
    struct str words = { 0 };
    goal_words(a, &words);
    g->text = str_text(&words);
    enum status s = goal_set(l, g, e);
    str_fini(&words);
    if (!s) {
        free(l->observed);
        l->observed = xstrdup(l->origin.data);
    }
    return s;
}

static enum status exec_train(struct lab *l, const struct args *a,
                              struct out *out, struct err *e)
{
    struct goal_spec g = { 0 };
    (void)out;
    TRY(ask_rate(a, &g, e));
    TRY(lab_trainer(l, e));
    TRY(ask_length(l, a, &g, e));
    return begin(l, a, &g, e);
}

static enum status exec_step(struct lab *l, const struct args *a,
                             struct out *out, struct err *e)
{
    double n = args_number(a, "n", 1);
    struct goal_spec g = { .epochs = args_number(a, "goal", 0) };
    (void)out;
    if (n < 1 || n > 1e12)
        return args_fail(a, args_find(a, "n"), e,
                         "step wants at least 1 batch, not %s",
                         args_text(a, "n"));
    if (g.epochs < 0)
        return args_fail(a, args_find(a, "goal"), e,
                         "goal= is a number of epochs");
    TRY(ask_rate(a, &g, e));
    g.steps = (int64_t)n;
    return begin(l, a, &g, e);
}

/* ---- until ---- */

/* `EXPR max N`: where the expression ends, and N. */
static enum status read_until(struct lab *l, const struct args *a,
                              struct expr_result *r, double *most,
                              struct err *e)
{
    const struct arg *x = args_find(a, "condition");
    struct expr_env env = { .lab = l };
    int fault;
    enum status s = expr_prefix(&env, x->text, r, &fault, e);
    if (s)
        return args_blame(a, x, fault, s);
    const char *rest = x->text + r->used;
    *most = (double)INFINITY;
    if (!*rest)
        return STATUS_OK;
    struct err why = { 0 };
    if (strncmp(rest, "max ", 4) != 0) {
        err_set(e, STATUS_ARG, "after the condition comes `max EPOCHS`, not "
                               "'%.40s'", rest);
        return args_blame(a, x, r->used, STATUS_ARG);
    }
    if (number_parse(rest + 4, most, &why) || !(*most > 0)) {
        err_set(e, STATUS_ARG, "max wants a number of epochs, not '%.40s'",
                rest + 4);
        return args_blame(a, x, r->used + 4, STATUS_ARG);
    }
    return STATUS_OK;
}

static enum status exec_until(struct lab *l, const struct args *a,
                              struct out *out, struct err *e)
{
    struct expr_result r;
    struct goal_spec g = { .lr = (double)NAN };
    double most;
    TRY(read_until(l, a, &r, &most, e));
    if (value_true(&r.value)) {
        out_printf(out, OUT_RESULT, "it holds already");
        return STATUS_OK;
    }
    TRY(lab_trainer(l, e));
    double batches = (double)trainer_batches(l->trainer);
    g.steps = isinf(most) || most * batches > 1e15
                  ? INT64_MAX
                  : (int64_t)ceil(most * batches);
    g.epochs = isinf(most) ? 0 : most;
    struct str condition = { 0 };
    str_add_n(&condition, args_text(a, "condition"), (size_t)r.used);
    g.until = str_text(&condition);
    enum status s = begin(l, a, &g, e);
    str_fini(&condition);
    return s;
}

/* ---- at ---- */

static enum status list_events(struct lab *l, const struct args *a,
                               struct out *out, struct err *e)
{
    static const char *const title[] = { "epoch", "command", "done" };
    if (l->events.n == 0) {
        out_printf(out, OUT_RESULT, "no events");
        return STATUS_OK;
    }
    struct table *t = table_new(3, title);
    for (int i = 0; i < l->events.n; i++) {
        const struct event *v = &l->events.event[i];
        table_number(t, v->epoch, num_text(v->epoch).s);
        table_cell(t, "%s", v->text);
        table_cell(t, "%s", v->done ? "yes" : "no");
    }
    return result_table(l, a, t, out, e);
}

/* The command; several stand in one pair of double quotes. */
static void event_text(const char *text, struct str *out)
{
    size_t n = strlen(text);
    if (n < 2 || text[0] != '"' || text[n - 1] != '"') {
        str_add(out, text);
        return;
    }
    for (size_t i = 1; i < n - 1; i++) {
        if (text[i] == '\\' && i + 1 < n - 1)
            i++;
        str_char(out, text[i]);
    }
}

static enum status check_event(struct lab *l, const struct args *a,
                               double *epoch, struct err *e)
{
    const struct arg *at = args_find(a, "epoch");
    const struct arg *cmd = args_find(a, "command");
    struct err why = { 0 };
    char verb[48];
    if (!cmd)
        return args_fail(a, at, e, "at wants an epoch and a command: at 3 "
                                   "disable observer *");
    if (number_parse(at->text + (at->text[0] == '+'), epoch, &why))
        return args_fail(a, at, e, "at wants an epoch: %s", why.text);
    if (at->text[0] == '+')
        *epoch += lab_epoch(l);
    if (*epoch < lab_epoch(l) - 1e-9 || !isfinite(*epoch))
        return args_fail(a, at, e, "epoch %s is past, it is %s now",
                         num_text(*epoch).s, num_text(lab_epoch(l)).s);
    struct str text = { 0 };
    event_text(cmd->text, &text);
    lex_verb(str_text(&text), (struct span){ 0, (int)text.len }, verb,
             sizeof verb);
    str_fini(&text);
    if (!cmd_find(verb) && !macro_find(l, verb))
        return args_fail(a, cmd, e, "unknown command '%.40s'", verb);
    return STATUS_OK;
}

static enum status exec_at(struct lab *l, const struct args *a,
                           struct out *out, struct err *e)
{
    const struct arg *at = args_find(a, "epoch");
    double epoch;
    if (!at)
        return list_events(l, a, out, e);
    if (strcmp(at->text, "clear") == 0) {
        events_fini(&l->events);
        l->gen.settings++;
        out_printf(out, OUT_RESULT, "no events");
        return STATUS_OK;
    }
    TRY(check_event(l, a, &epoch, e));
    struct str text = { 0 };
    event_text(args_text(a, "command"), &text);
    struct event_list *v = &l->events;
    v->event = xrealloc(v->event, (size_t)(v->n + 1) * sizeof *v->event);
    v->event[v->n++] = (struct event){ .epoch = epoch,
                                       .text = str_take(&text) };
    l->gen.settings++;
    out_printf(out, OUT_RESULT, "at epoch %s: %s", num_text(epoch).s,
               v->event[v->n - 1].text);
    answer_num(l, "epoch", epoch);
    return STATUS_OK;
}

/* ---- stop, continue ---- */

static enum status exec_stop(struct lab *l, const struct args *a,
                             struct out *out, struct err *e)
{
    bool typed = l->where && !l->where->source;
    if (l->goal.active) {
        goal_finish(l, STATUS_STOPPED);
        out_printf(out, OUT_RESULT, "stopped at epoch %.3f", lab_epoch(l));
        if (typed && !script_empty(&l->script)) {
            l->script.paused = true;
            out_printf(out, OUT_NOTE, "the script waits; `continue` goes on "
                                      "with it, `stop` drops it");
        }
        return STATUS_OK;
    }
    if (typed && l->script.paused) {
        l->script.paused = false;
        script_drop_files(&l->script);
        out_printf(out, OUT_RESULT, "the rest of the script is dropped");
        return STATUS_OK;
    }
    return args_fail(a, NULL, e, "nothing runs that could be stopped");
}

static enum status exec_continue(struct lab *l, const struct args *a,
                                 struct out *out, struct err *e)
{
    bool paused = l->script.paused;
    if (l->goal.active)
        return args_fail(a, NULL, e, "'%s' runs already", l->goal.text);
    bool goal = goal_resume(l);
    if (!goal && !paused)
        return args_fail(a, NULL, e, "nothing was interrupted");
    l->script.paused = false;
    if (goal)
        out_printf(out, OUT_RESULT, "goes on with '%s' at epoch %.3f",
                   l->goal.text, lab_epoch(l));
    else
        out_printf(out, OUT_RESULT, "goes on with the script");
    return STATUS_OK;
}

static const struct arg_row train_args[] = {
    { .name = "n", .kind = ARG_WORD,
      .help = "epochs, or with the unit batches, or a time such as 10m; 1" },
    { .name = "unit", .kind = ARG_CHOICE,
      .choices = "epochs|epoch|batches|batch", .help = "of what" },
    { .name = "lr", .kind = ARG_NUMBER, .key = true,
      .help = "learning rate, for this call only" },
    { 0 },
};

#define RUNS (NEEDS_MODEL | NEEDS_DATA | NEEDS_IDLE | CMD_SETTLES)

const struct cmd cmd_train = {
    .name = "train", .group = "run", .help = "train for some epochs",
    .detail =
        "Returns at once at the prompt, which stays usable; a script's next "
        "line waits. After each epoch the validation split is evaluated in "
        "the current mode and one line is printed. Commands typed meanwhile "
        "take effect at the next batch.\n\n"
        "Ctrl-C or `stop` ends it after the batch, `continue` goes on. "
        "Learning-rate schedules span the epochs of the call. A loss that is "
        "no number stops training; weights are then those before the "
        "batch.\n\n"
        "For the last epochs, `freeze bn`, `disable observer *` and `set "
        "train.forward deployed` make the forward pass the target's integer "
        "arithmetic, the same in every bit as `eval int`, so that training "
        "sees what its rounding costs.",
    .arg = train_args, .flags = RUNS,
    .example_setup = "load model jet; load data jets n=300",
    .example = "train 1 lr=1e-3", .exec = exec_train,
};

static const struct arg_row step_args[] = {
    { .name = "n", .kind = ARG_INT, .help = "batches; 1" },
    { .name = "goal", .kind = ARG_NUMBER, .key = true,
      .help = "epochs that the schedule spans from here" },
    { .name = "lr", .kind = ARG_NUMBER, .key = true,
      .help = "learning rate, for this call only" },
    { 0 },
};

const struct cmd cmd_step = {
    .name = "step", .group = "run", .help = "train for some batches",
    .detail = "The schedule's span is left as it is, unless goal= begins a "
              "new one: so a record can say what an interrupted `train` "
              "really did.",
    .arg = step_args, .flags = RUNS,
    .example_setup = "load model jet; load data jets n=300",
    .example = "step 2", .exec = exec_step,
};

static const struct arg_row until_args[] = {
    { .name = "condition", .kind = ARG_EXPR, .required = true,
      .help = "expression, then `max EPOCHS`" },
    { 0 },
};

const struct cmd cmd_until = {
    .name = "until", .group = "run",
    .help = "train until a condition holds",
    .detail = "The condition is looked at after each epoch: until val_acc >= "
              "97% max 20. `help expressions` tells what it may be made of.",
    .arg = until_args, .flags = RUNS,
    .example_setup = "load model jet; load data jets n=300",
    .example = "until epoch >= 1 max 2", .exec = exec_until,
};

static const struct arg_row at_args[] = {
    { .name = "epoch", .kind = ARG_WORD,
      .help = "epochs trained, or +N from now; `clear` drops all events" },
    { .name = "command", .kind = ARG_COMMAND, .help = "what to do then" },
    { 0 },
};

const struct cmd cmd_at = {
    .name = "at", .group = "run",
    .help = "do something when an epoch is reached",
    .detail = "`at 3 COMMAND` runs the command when three epochs have been "
              "trained since the model and data were loaded, before the "
              "fourth begins. Several commands stand in double quotes, "
              "separated by semicolons. `at` alone lists events, `at clear` "
              "drops them.",
    .arg = at_args, .flags = CMD_CHANGES | CMD_UNRECORDED,
    .example_setup = "load model lenet5; bits * w4a4",
    .example = "at 3 disable observer *", .exec = exec_at,
};

static const struct arg_row none[] = { { 0 } };

const struct cmd cmd_stop = {
    .name = "stop", .group = "run", .help = "stop training after the batch",
    .detail = "A script that was under way waits; `continue` goes on with "
              "it, a second `stop` drops it.",
    .arg = none,
    .example_setup = "load model jet; load data jets n=300; at 0 stop",
    .example = "train 1", .exec = exec_stop,
};

const struct cmd cmd_continue = {
    .name = "continue", .group = "run",
    .help = "go on with what was interrupted",
    .detail = "The rest of the interrupted `train`, `step` or `until`, then "
              "the rest of the script.",
    .arg = none, .flags = CMD_SETTLES,
    .example_setup = "load model jet; load data jets n=300; at 0.3 stop; "
                     "train 1",
    .example = "continue", .exec = exec_continue,
};

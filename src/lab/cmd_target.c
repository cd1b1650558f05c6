/* Command: target. SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/target.h"
#include "lab/state.h"

static enum status exec_target(struct lab *l, const struct args *a,
                               struct out *out, struct err *e)
{
    const struct arg *name = args_find(a, "name");
    const struct setting *s = setting_find("engine.target");
    enum status st = setting_set(l, s, name->text, e);
    if (st)
        return args_blame(a, name, 0, st);
    answer_text(l, "target", l->train.target->name);
    out_printf(out, OUT_RESULT, "target %s: %s", l->train.target->name,
               l->train.target->help);
    return STATUS_OK;
}

static const struct arg_row target_args[] = {
    { .name = "name", .kind = ARG_WORD, .required = true,
      .help = "a row of `show targets`" },
    { 0 },
};

const struct cmd cmd_target = {
    .name = "target", .group = "precision",
    .help = "choose whose integer arithmetic `int` uses",
    .detail = "`eval int`, `infer as=int` and `set train.forward deployed` "
              "compute as that target does: how a bias becomes an integer, "
              "how sums are brought to the next layer's codes, how averages "
              "and additions round. The setting is engine.target.",
    .arg = target_args, .flags = NEEDS_MODEL | CMD_CHANGES | CMD_CHECKED,
    .example_setup = "load model jet", .example = "target fbgemm",
    .exec = exec_target,
};

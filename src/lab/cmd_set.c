/* Commands: set, show. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "engine/target.h"
#include "lab/state.h"
#include "lab/status_view.h"

/* ---- set ---- */

/* Model settings are undoable and recorded, the program's own are not. */
static enum status set_model(struct lab *l, const struct args *a,
                             const struct setting *s, struct err *e)
{
    struct bag *before = l->graph ? config_save(l, false, e) : NULL;
    enum status st = setting_set(l, s, args_text(a, "value"), e);
    if (st) {
        bag_free(before);
        return st;
    }
    if (before)
        undo_push(l, a->source, before);
    record_steps(l, NULL);
    record_command(l, a, NULL);
    series_event(l, lab_epoch(l), a->source);
    return STATUS_OK;
}

static enum status exec_set(struct lab *l, const struct args *a,
                            struct out *out, struct err *e)
{
    const struct arg *name = args_find(a, "name");
    const struct arg *value = args_find(a, "value");
    const struct setting *s = setting_find(name->text);
    if (!s)
        return args_fail(a, name, e, "set wants one setting, not a pattern");
    enum status st = s->flags & SET_MODEL
                         ? set_model(l, a, s, e)
                         : setting_set(l, s, value->text, e);
    if (st)
        return args_blame(a, value, 0, st);
    struct str text = { 0 };
    setting_print(l, s, &text);
    answer_text(l, "name", s->name);
    answer_text(l, "value", str_text(&text));
    out_printf(out, OUT_NOTE, "%s %s", s->name, str_text(&text));
    str_fini(&text);
    if (s->note)
        s->note(l, out);
    return STATUS_OK;
}

/* ---- show ---- */

static void settings_row(struct lab *l, struct table *t,
                         const struct setting *s)
{
    struct str v = { 0 };
    setting_print(l, s, &v);
    table_cell(t, "%s", s->name);
    table_cell(t, "%s", str_text(&v));
    table_cell(t, "%s", s->unit ? s->unit : "");
    table_cell(t, "%s", s->help);
    str_fini(&v);
}

/* A name, a pattern, or the part before a dot: `show train`. */
static bool setting_matches(const struct setting *s, const char *pattern)
{
    size_t n = strlen(pattern);
    return glob_match(pattern, s->name) ||
           (strncmp(s->name, pattern, n) == 0 && s->name[n] == '.');
}

static int show_settings(struct lab *l, const char *pattern, struct table *t)
{
    int n = 0;
    for (int i = 0; i < setting_count; i++) {
        if (!setting_matches(&setting_table[i], pattern))
            continue;
        settings_row(l, t, &setting_table[i]);
        n++;
    }
    return n;
}

static enum status show_status(struct lab *l, const struct args *a,
                               struct out *out, struct err *e)
{
    static const char *const title[] = { "field", "value" };
    struct status_view v;
    struct table *t = table_new(2, title);
    lab_status_view(l, &v);
    for (int i = 0; i < status_field_count; i++) {
        const struct status_field *f = &status_field_table[i];
        struct str s = { 0 };
        status_field_text(&v, f, &s);
        double num = status_field_number(&v, f);
        if (s.len) {
            table_cell(t, "%s", f->name);
            table_cell(t, "%s", str_text(&s));
        }
        if (f->kind == STATUS_FIELD_TEXT)
            answer_text(l, f->name, str_text(&s));
        else
            answer_num(l, f->name, num);
        str_fini(&s);
    }
    return result_table(l, a, t, out, e);
}

static void qconfig_line(struct table *t, const char *name, const char *text)
{
    table_cell(t, "%s", name);
    table_cell(t, "%s", text ? text : "float");
}

static enum status show_qconfig(struct lab *l, const struct args *a,
                                struct out *out, struct err *e)
{
    static const char *const one[] = { "field", "value" };
    static const char *const all[] = { "qconfig", "help", "source" };
    const struct arg *name = args_find(a, "name");
    if (!name) {
        struct table *t = table_new(3, all);
        for (int i = 0; i < qconfig_count; i++) {
            table_cell(t, "%s", qconfig_table[i].name);
            table_cell(t, "%s", qconfig_table[i].help);
            table_cell(t, "%s", qconfig_table[i].source);
        }
        return result_table(l, a, t, out, e);
    }
    const struct qconfig *q = qconfig_find(name->text);
    if (!q)
        return args_fail(a, name, e, "no qconfig '%.60s'; `show qconfig` "
                                     "lists them", name->text);
    struct table *t = table_new(2, one);
    qconfig_line(t, "name", q->name);
    qconfig_line(t, "help", q->help);
    qconfig_line(t, "source", q->source);
    qconfig_line(t, "weight", q->weight);
    qconfig_line(t, "activation", q->activation);
    qconfig_line(t, "input", q->input ? q->input : q->activation);
    qconfig_line(t, "bias", q->bias);
    qconfig_line(t, "bn.fold", q->fold);
    return result_table(l, a, t, out, e);
}

static enum status show_models(struct lab *l, const struct args *a,
                               struct out *out, struct err *e)
{
    static const char *const title[] = { "model", "help", "data",
                                         "optimizer", "lr" };
    struct table *t = table_new(5, title);
    for (int i = 0; i < model_count; i++) {
        const struct model_row *m = &model_table[i];
        table_cell(t, "%s", m->name);
        table_cell(t, "%s", m->help);
        table_cell(t, "%s", m->data ? m->data : "");
        table_cell(t, "%s", m->optimizer ? m->optimizer : "");
        table_number(t, m->lr, num_text(m->lr).s);
    }
    return result_table(l, a, t, out, e);
}

static enum status show_sources(struct lab *l, const struct args *a,
                                struct out *out, struct err *e)
{
    static const char *const title[] = { "source", "help", "example" };
    struct table *t = table_new(3, title);
    for (int i = 0; i < dataset_count; i++) {
        table_cell(t, "%s", dataset_table[i].name);
        table_cell(t, "%s", dataset_table[i].help);
        table_cell(t, "%s", dataset_table[i].example);
    }
    return result_table(l, a, t, out, e);
}

static void params_text(const struct qrow *row, struct str *out)
{
    for (int i = 0; row && row[i].name; i++)
        str_printf(out, "%s%s=%s", i ? " " : "", row[i].name,
                   num_text(row[i].def).s);
}

static enum status show_quantizers(struct lab *l, const struct args *a,
                                   struct out *out, struct err *e)
{
    static const char *const title[] = { "kind", "bits", "learned",
                                         "settings", "help", "source" };
    struct table *t = table_new(6, title);
    for (int i = 0; i < quantizer_count; i++) {
        const struct quantizer_kind *k = quantizer_table[i];
        struct str p = { 0 }, q = { 0 };
        params_text(k->param, &p);
        for (int j = 0; k->learned && k->learned[j].name; j++)
            str_printf(&q, "%s%s", j ? " " : "", k->learned[j].name);
        table_cell(t, "%s", k->name);
        table_cell(t, "%d..%d", k->min_bits, k->max_bits);
        table_cell(t, "%s", str_text(&q));
        table_cell(t, "%s", str_text(&p));
        table_cell(t, "%s", k->help);
        table_cell(t, "%s", k->source ? k->source : "");
        str_fini(&p);
        str_fini(&q);
    }
    return result_table(l, a, t, out, e);
}

static enum status show_observers(struct lab *l, const struct args *a,
                                  struct out *out, struct err *e)
{
    static const char *const title[] = { "observer", "settings", "help",
                                         "source" };
    struct table *t = table_new(4, title);
    for (int i = 0; i < observer_count; i++) {
        const struct observer_kind *k = observer_table[i];
        struct str p = { 0 };
        params_text(k->param, &p);
        table_cell(t, "%s", k->name);
        table_cell(t, "%s", str_text(&p));
        table_cell(t, "%s", k->help);
        table_cell(t, "%s", k->source ? k->source : "");
        str_fini(&p);
    }
    return result_table(l, a, t, out, e);
}

static enum status show_targets(struct lab *l, const struct args *a,
                                struct out *out, struct err *e)
{
    static const char *const title[] = { "target", "help", "source" };
    struct table *t = table_new(3, title);
    for (int i = 0; i < target_count; i++) {
        table_cell(t, "%s", target_table[i].name);
        table_cell(t, "%s", target_table[i].help);
        table_cell(t, "%s", target_table[i].source);
    }
    return result_table(l, a, t, out, e);
}

static enum status show_vars(struct lab *l, const struct args *a,
                             struct out *out, struct err *e)
{
    static const char *const title[] = { "variable", "value" };
    struct table *t = table_new(2, title);
    for (int i = 0; i < l->vars.n; i++) {
        struct str s = { 0 };
        value_print(&l->vars.var[i].value, &s);
        table_cell(t, "%s", l->vars.var[i].name);
        table_cell(t, "%s", str_text(&s));
        str_fini(&s);
    }
    return result_table(l, a, t, out, e);
}

static const struct {
    const char *name;
    enum status (*run)(struct lab *l, const struct args *a, struct out *out,
                       struct err *e);
} show_table[] = {
    { "status", show_status },         { "qconfig", show_qconfig },
    { "qconfigs", show_qconfig },      { "models", show_models },
    { "sources", show_sources },       { "quantizers", show_quantizers },
    { "observers", show_observers },   { "targets", show_targets },
    { "variables", show_vars },
};

static const char *topic_name(const void *ctx, int i)
{
    int n = sizeof show_table / sizeof show_table[0];
    (void)ctx;
    return i < n ? show_table[i].name : setting_table[i - n].name;
}

static enum status exec_show(struct lab *l, const struct args *a,
                             struct out *out, struct err *e)
{
    static const char *const title[] = { "setting", "value", "unit", "help" };
    const struct arg *what = args_find(a, "what");
    int n = sizeof show_table / sizeof show_table[0];
    for (int i = 0; what && i < n; i++)
        if (strcmp(show_table[i].name, what->text) == 0)
            return show_table[i].run(l, a, out, e);
    struct table *t = table_new(4, title);
    if (show_settings(l, what ? what->text : "*", t))
        return result_table(l, a, t, out, e);
    table_free(t);
    const char *near = str_nearest(what->text, n + setting_count, topic_name,
                                   NULL);
    return args_fail(a, what, e, "nothing to show named '%.60s' (%s%s%s)",
                     what->text, near ? "did you mean '"
                                      : "`show` lists the settings",
                     near ? near : "", near ? "'?" : "");
}

static const struct arg_row set_args[] = {
    { .name = "name", .kind = ARG_SETTING, .required = true,
      .help = "setting" },
    { .name = "value", .kind = ARG_WORD, .required = true,
      .help = "its new value" },
    { 0 },
};

const struct cmd cmd_set = {
    .name = "set", .group = "session", .help = "change a setting",
    .detail = "`show` lists all settings with their values. Those that "
              "change results (train.*, bn.*, engine, quant.*) can be undone "
              "and are recorded; those of the program are not.",
    .arg = set_args, .flags = CMD_CHECKED, .example = "set train.lr 1e-4",
    .exec = exec_set,
};

static const struct arg_row show_args[] = {
    { .name = "what", .kind = ARG_WORD,
      .help = "a setting, a group as train, or status, qconfig, models, "
              "sources, quantizers, observers, targets, variables" },
    { .name = "name", .kind = ARG_WORD, .help = "which qconfig" },
    { 0 },
};

const struct cmd cmd_show = {
    .name = "show", .group = "session",
    .help = "show settings, the status, or a table of names",
    .detail = "show lists all settings, show train those that begin with "
              "train. show status prints what the status row shows; show "
              "qconfig NAME what a package sets by default.",
    .arg = show_args, .flags = CMD_RESULT, .example = "show qconfig fbgemm",
    .exec = exec_show,
};

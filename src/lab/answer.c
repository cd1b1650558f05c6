/* What the lab knows by name. SPDX-License-Identifier: GPL-3.0-or-later */
#include "lab/answer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "lab/json_text.h"
#include "lab/state.h"

/* ---- ans ---- */

void answer_fini(struct answer *a)
{
    for (int i = 0; i < a->n; i++)
        free(a->field[i].text);
    free(a->field);
    *a = (struct answer){ 0 };
}

void answer_begin(struct lab *l)
{
    answer_fini(&l->ans);
    l->ans.fresh = true;
}

static struct field *field_add(struct lab *l, const char *name,
                               enum field_kind kind)
{
    struct answer *a = &l->ans;
    if (!a->fresh)
        answer_begin(l);
    if (a->n == a->cap) {
        a->cap = a->cap ? 2 * a->cap : 8;
        a->field = xrealloc(a->field, (size_t)a->cap * sizeof *a->field);
    }
    struct field *f = &a->field[a->n++];
    *f = (struct field){ .kind = kind, .num = (double)NAN };
    snprintf(f->name, sizeof f->name, "%s", name);
    return f;
}

void answer_num(struct lab *l, const char *name, double v)
{
    field_add(l, name, FIELD_NUMBER)->num = v;
}

void answer_text(struct lab *l, const char *name, const char *text)
{
    field_add(l, name, FIELD_TEXT)->text = xstrdup(text);
}

void answer_raw(struct lab *l, const char *name, const char *json)
{
    field_add(l, name, FIELD_RAW)->text = xstrdup(json);
}

bool answer_get(const struct lab *l, const char *name, struct value *out)
{
    for (int i = 0; i < l->ans.n; i++) {
        const struct field *f = &l->ans.field[i];
        if (strcmp(f->name, name) != 0)
            continue;
        *out = f->kind == FIELD_NUMBER ? value_num(f->num)
                                       : value_text(f->text);
        return true;
    }
    return false;
}

void answer_json(const struct lab *l, struct str *out)
{
    for (int i = 0; i < l->ans.n; i++) {
        const struct field *f = &l->ans.field[i];
        json_key(out, f->name);
        if (f->kind == FIELD_NUMBER)
            json_value_num(out, f->num);
        else if (f->kind == FIELD_TEXT)
            json_value_text(out, f->text);
        else
            json_raw(out, f->text);
    }
}

/* ---- variables ---- */

void var_set(struct lab *l, const char *name, const struct value *v)
{
    struct vars *s = &l->vars;
    for (int i = 0; i < s->n; i++) {
        if (strcmp(s->var[i].name, name) == 0) {
            s->var[i].value = *v;
            return;
        }
    }
    if (s->n == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 8;
        s->var = xrealloc(s->var, (size_t)s->cap * sizeof *s->var);
    }
    struct var *x = &s->var[s->n++];
    *x = (struct var){ .value = *v };
    snprintf(x->name, sizeof x->name, "%s", name);
}

bool var_get(const struct lab *l, const char *name, struct value *out)
{
    for (int i = 0; i < l->vars.n; i++) {
        if (strcmp(l->vars.var[i].name, name) == 0) {
            *out = l->vars.var[i].value;
            return true;
        }
    }
    return false;
}

void vars_fini(struct vars *v)
{
    free(v->var);
    *v = (struct vars){ 0 };
}

/* ---- metrics ---- */

static double get_loss(struct lab *l)
{
    return series_value(l, "loss");
}

static double get_acc(struct lab *l)
{
    return series_value(l, "acc");
}

static double get_train_loss(struct lab *l)
{
    return series_value(l, "train_loss");
}

static double get_train_acc(struct lab *l)
{
    return series_value(l, "train_acc");
}

static double get_val_loss(struct lab *l)
{
    return series_value(l, "val_loss");
}

static double get_val_acc(struct lab *l)
{
    return series_value(l, "val_acc");
}

static double get_val_mae(struct lab *l)
{
    return series_value(l, "val_mae");
}

static double get_grad_norm(struct lab *l)
{
    return series_value(l, "grad_norm");
}

static double get_flips(struct lab *l)
{
    return series_value(l, "flips");
}

static double get_lr(struct lab *l)
{
    double now = series_value(l, "lr");
    return isnan(now) ? l->train.hyper.lr : now;
}

static double get_epoch(struct lab *l)
{
    return lab_epoch(l);
}

static double get_batch(struct lab *l)
{
    return l->trainer ? (double)trainer_batch(l->trainer) : 0;
}

static double get_steps(struct lab *l)
{
    return l->trainer ? (double)trainer_steps(l->trainer) : 0;
}

static double get_time(struct lab *l)
{
    return lab_clock(l);
}

static double get_size(struct lab *l)
{
    return lab_model_bits(l) / 8;
}

static double get_params(struct lab *l)
{
    return l->graph ? (double)l->graph->n_grad : 0;
}

static double get_osc(struct lab *l)
{
    return series_value(l, "osc");
}

static double get_float_acc(struct lab *l)
{
    return l->float_acc;
}

const struct metric_row metric_table[] = {
    { "acc", "fraction", "accuracy on the last training batch", get_acc },
    { "batch", "", "batches done in this epoch", get_batch },
    { "epoch", "", "epochs trained, with the fraction of this one",
      get_epoch },
    { "flips", "fraction", "weight codes that moved in the last epoch",
      get_flips },
    { "float_acc", "fraction", "accuracy of the last float evaluation",
      get_float_acc },
    { "grad_norm", "", "length of the last batch's gradient",
      get_grad_norm },
    { "loss", "", "loss of the last training batch", get_loss },
    { "lr", "", "learning rate in use", get_lr },
    { "osc", "fraction", "weight codes that turn back and forth",
      get_osc },
    { "params", "", "learned parameters of the model", get_params },
    { "size", "bytes", "size of all parameters at their widths", get_size },
    { "steps", "", "batches trained since the model was loaded", get_steps },
    { "time", "s", "seconds since the program began", get_time },
    { "train_acc", "fraction", "mean accuracy over the last epoch",
      get_train_acc },
    { "train_loss", "", "mean loss over the last epoch", get_train_loss },
    { "val_acc", "fraction", "accuracy on the validation split",
      get_val_acc },
    { "val_loss", "", "loss on the validation split", get_val_loss },
    { "val_mae", "", "mean absolute error on the validation split",
      get_val_mae },
};
const int metric_count = sizeof metric_table / sizeof metric_table[0];

const struct metric_row *metric_find(const char *name)
{
    for (int i = 0; i < metric_count; i++)
        if (strcmp(metric_table[i].name, name) == 0)
            return &metric_table[i];
    return NULL;
}

/* ---- any name ---- */

static const char *any_name(const void *ctx, int i)
{
    const struct lab *l = ctx;
    return i < metric_count ? metric_table[i].name
                            : l->vars.var[i - metric_count].name;
}

static const char *field_name(const void *ctx, int i)
{
    const struct lab *l = ctx;
    return l->ans.field[i].name;
}

static enum status no_field(struct lab *l, const char *name, struct err *e)
{
    const char *near = str_nearest(name, l->ans.n, field_name, l);
    struct str all = { 0 };
    for (int i = 0; i < l->ans.n; i++)
        str_printf(&all, " %s", l->ans.field[i].name);
    if (near)
        err_set(e, STATUS_NOTFOUND, "the last result has no field '%.40s' "
                                    "(did you mean '%s'?)", name, near);
    else
        err_set(e, STATUS_NOTFOUND, "the last result has no field '%.40s'%s"
                                    "%s", name, l->ans.n ? "; it has" : "",
                str_text(&all));
    str_fini(&all);
    return STATUS_NOTFOUND;
}

enum status name_value(struct lab *l, const char *name, struct value *out,
                       struct err *e)
{
    if (var_get(l, name, out))
        return STATUS_OK;
    if (strncmp(name, "ans.", 4) == 0) {
        if (answer_get(l, name + 4, out))
            return STATUS_OK;
        if (!l->opts.check_only)
            return no_field(l, name + 4, e);
        *out = value_num((double)NAN);
        return STATUS_OK;
    }
    const struct metric_row *m = metric_find(name);
    if (m) {
        *out = value_num(m->get(l));
        return STATUS_OK;
    }
    const char *near = str_nearest(name, metric_count + l->vars.n, any_name,
                                   l);
    return err_set(e, STATUS_NOTFOUND, "no variable or metric '%.40s'%s%s%s",
                   name, near ? " (did you mean '" : "", near ? near : "",
                   near ? "'?)" : "");
}

/* A whole session in a bag: what a .qlab file and a mark hold.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "lab/state.h"
#include "lab/tensor_view.h"

#define SESSION_VERSION 1

/* ---- saving ---- */

/* Text "lab": a line a fact. */
static void print_facts(const struct lab *l, struct str *out)
{
    str_printf(out, "version %d\n", SESSION_VERSION);
    if (l->origin.model)
        str_printf(out, "model %s\n", l->origin.model);
    if (l->origin.data)
        str_printf(out, "data %s\n", l->origin.data);
    str_printf(out, "epoch %.17g %.17g %" PRId64 " %.17g\n", l->epoch.loss,
               l->epoch.acc, l->epoch.n, l->epoch.seconds);
    str_printf(out, "float_acc %.17g\n", l->float_acc);
    str_printf(out, "user %d %d\n", l->origin.lr_set,
               l->origin.optimizer_set);
}

/* Text "lab.vars": NAME, then a number, or a text in quotes, a line each. */
static void print_vars(const struct lab *l, struct str *out)
{
    for (int i = 0; i < l->vars.n; i++) {
        const struct var *v = &l->vars.var[i];
        str_printf(out, "%s ", v->name);
        if (v->value.is_text)
            str_char(out, '=');
        if (v->value.is_text)
            lex_quote(out, v->value.text);
        else
            str_add(out, num_exact(v->value.num).s);
        str_char(out, '\n');
    }
}

static enum status put_text(struct bag *b, const char *name, struct str *s,
                            struct err *e)
{
    enum status st = bag_put_text(b, name, str_text(s), e);
    str_fini(s);
    return st;
}

static enum status fill(struct lab *l, struct bag *b, struct err *e)
{
    struct str facts = { 0 }, vars = { 0 };
    print_facts(l, &facts);
    TRY(put_text(b, "lab", &facts, e));
    print_vars(l, &vars);
    TRY(put_text(b, "lab.vars", &vars, e));
    TRY(series_save(l, b, e));
    if (l->trainer)
        return trainer_save(l->trainer, b, e);
    if (!l->trainer_waits)
        return STATUS_OK;
    const struct bag *w = l->trainer_waits;
    for (size_t i = 0; i < bag_count(w); i++)
        if (strncmp(bag_name(w, i), "trainer", 7) == 0)
            TRY(bag_put(b, bag_name(w, i), bag_at(w, i)->type,
                        &bag_at(w, i)->shape, bag_at(w, i)->data, e));
    const char *text = bag_text(w, "trainer");
    return text ? bag_put_text(b, "trainer", text, e) : STATUS_OK;
}

struct bag *session_save(struct lab *l, struct err *e)
{
    if (!l->graph) {
        err_set(e, STATUS_STATE, "no model is loaded");
        return NULL;
    }
    struct bag *b = config_save(l, true, e);
    if (b && fill(l, b, e)) {
        bag_free(b);
        b = NULL;
    }
    return b;
}

/* ---- loading ---- */

struct facts {
    char *model, *data;
    struct epoch_sums epoch;
    double float_acc;
    int lr_set, optimizer_set;
    bool version_seen;
};

static void facts_fini(struct facts *f)
{
    free(f->model);
    free(f->data);
}

static enum status fact_version(struct facts *f, const char *v, struct err *e)
{
    if (atoi(v) != SESSION_VERSION)
        return err_set(e, STATUS_FORMAT, "session version %.20s, this program "
                                         "reads %d", v, SESSION_VERSION);
    f->version_seen = true;
    return STATUS_OK;
}

static enum status fact_model(struct facts *f, const char *v, struct err *e)
{
    (void)e;
    free(f->model);
    f->model = xstrdup(v);
    return STATUS_OK;
}

static enum status fact_data(struct facts *f, const char *v, struct err *e)
{
    (void)e;
    free(f->data);
    f->data = xstrdup(v);
    return STATUS_OK;
}

static enum status fact_epoch(struct facts *f, const char *v, struct err *e)
{
    struct epoch_sums s = { 0 };
    if (sscanf(v, "%lf %lf %" SCNd64 " %lf", &s.loss, &s.acc, &s.n,
               &s.seconds) != 4 || s.n < 0)
        return err_set(e, STATUS_FORMAT, "bad 'epoch' line: %.60s", v);
    f->epoch = s;
    return STATUS_OK;
}

static enum status fact_float(struct facts *f, const char *v, struct err *e)
{
    return str_to_double(v, &f->float_acc, e);
}

static enum status fact_user(struct facts *f, const char *v, struct err *e)
{
    if (sscanf(v, "%d %d", &f->lr_set, &f->optimizer_set) != 2)
        return err_set(e, STATUS_FORMAT, "bad 'user' line: %.60s", v);
    return STATUS_OK;
}

static const struct {
    const char *name;
    enum status (*read)(struct facts *f, const char *v, struct err *e);
} fact_table[] = {
    { "version", fact_version }, { "model", fact_model },
    { "data", fact_data },       { "epoch", fact_epoch },
    { "float_acc", fact_float }, { "user", fact_user },
};

static enum status read_fact(struct facts *f, char *line, struct err *e)
{
    char *value = strchr(line, ' ');
    if (!value)
        return err_set(e, STATUS_FORMAT, "bad line in 'lab': %.60s", line);
    *value++ = '\0';
    for (size_t i = 0; i < sizeof fact_table / sizeof fact_table[0]; i++)
        if (strcmp(fact_table[i].name, line) == 0)
            return fact_table[i].read(f, value, e);
    return err_set(e, STATUS_FORMAT, "unknown fact '%.40s'", line);
}

static enum status read_facts(const struct bag *b, struct facts *f,
                              struct err *e)
{
    *f = (struct facts){ .float_acc = (double)NAN };
    const char *text = bag_text(b, "lab");
    if (!text)
        return STATUS_OK;                /* a bare model */
    char *own = xstrdup(text), *rest = own;
    enum status s = STATUS_OK;
    for (char *line; !s && (line = strsep(&rest, "\n"));)
        if (*line)
            s = read_fact(f, line, e);
    free(own);
    if (!s && !f->version_seen)
        s = err_set(e, STATUS_FORMAT, "'lab' has no version");
    return s;
}

/* Lines that are no variables are passed over. */
static void take_vars(struct lab *l, const char *text)
{
    struct lex_mode mode = { .raw_after = -1 };
    char *own = xstrdup(text ? text : ""), *rest = own;
    for (char *line; (line = strsep(&rest, "\n"));) {
        struct line words;
        struct value v = { 0 };
        int fault;
        if (lex_line(line, &mode, &words, &fault, NULL))
            continue;
        if (words.n == 2) {
            const char *t = words.word[1].text;
            bool number = !str_to_double(t, &v.num, NULL);
            v = t[0] == '=' ? value_text(t + 1) : value_num(v.num);
            if (number || t[0] == '=')
                var_set(l, words.word[0].text, &v);
        }
        line_fini(&words);
    }
    free(own);
}

static bool has_trainer(const struct bag *b)
{
    return bag_get(b, "trainer.counts") != NULL;
}

/* The trainer's part of a bag, to wait for data. */
static enum status keep_trainer(struct lab *l, const struct bag *b,
                                struct err *e)
{
    struct bag *w = bag_new();
    enum status s = w ? STATUS_OK : err_memory(e, "a trainer");
    for (size_t i = 0; !s && i < bag_count(b); i++)
        if (strncmp(bag_name(b, i), "trainer", 7) == 0)
            s = bag_put(w, bag_name(b, i), bag_at(b, i)->type,
                        &bag_at(b, i)->shape, bag_at(b, i)->data, e);
    const char *text = bag_text(b, "trainer");
    if (!s && text)
        s = bag_put_text(w, "trainer", text, e);
    if (s) {
        bag_free(w);
        return s;
    }
    bag_free(l->trainer_waits);
    l->trainer_waits = w;
    return STATUS_OK;
}

enum status lab_load_data(struct lab *l, const char *words, struct err *e)
{
    struct lex_mode mode = { .raw_after = -1 };
    struct line line;
    int fault;
    TRY(lex_line(words, &mode, &line, &fault, e));
    const char *argv[64];
    int argc = 0;
    for (; argc < line.n && argc < 64; argc++)
        argv[argc] = line.word[argc].text;
    struct dataset_opts o;
    dataset_opts_default(&o);
    o.seed = l->train.seed;
    if (l->graph)
        dataset_like(l->graph, &o);
    struct dataset *d = NULL;
    enum status s = dataset_load(argc, argv, &o, &d, e);
    line_fini(&line);
    if (!s)
        lab_set_data(l, d);
    return s;
}

/* What `random` data must look like. */
void dataset_like(const struct graph *g, struct dataset_opts *o)
{
    for (int i = 0; i < g->n_node; i++) {
        if (!(g->node[i].op->flags & OP_SOURCE))
            continue;
        o->like_input = g->node[i].shape;
        break;
    }
    o->like_output = shape_count(&g->node[g->output].shape);
    o->like_regression = g->loss && strcmp(g->loss, "ce") != 0;
}

/* Everything that can fail, on objects of their own. */
static enum status check(const struct bag *b, struct graph **g,
                         struct facts *f, struct err *e)
{
    TRY(graph_from_bag(b, g, e));
    enum status s = STATUS_OK;
    if (bag_text(b, "quant"))
        s = graph_load_quant(*g, b, e);
    if (!s)
        s = read_facts(b, f, e);
    if (s) {
        graph_drop_quantizers(*g);
        graph_free(*g);
    }
    return s;
}

static enum status take_trainer(struct lab *l, const struct bag *b,
                                struct err *e)
{
    if (!has_trainer(b))
        return STATUS_OK;
    TRY(keep_trainer(l, b, e));
    return l->data ? lab_trainer(l, e) : STATUS_OK;
}

/* Data that cannot be loaded again is no failure: the model is there. */
static void take_data(struct lab *l, const char *words)
{
    struct err e = { 0 };
    if (!words)
        return;
    if (lab_load_data(l, words, &e))
        out_printf(l->out, OUT_WARN, "warning: data '%s' is not there (%s); "
                                     "`load data` brings it back", words,
                   e.text);
}

/* From objects that are good to the lab's own. */
static enum status apply(struct lab *l, const struct bag *b, struct graph *g,
                         struct facts *f, struct err *e)
{
    lab_set_graph(l, g);
    if (f->model) {
        free(l->origin.model);
        l->origin.model = f->model;
        f->model = NULL;
    }
    const char *settings = bag_text(b, "lab.settings");
    const char *events = bag_text(b, "lab.events");
    if (settings)
        TRY(settings_load(l, settings, e));
    take_data(l, f->data);
    l->origin.lr_set = f->lr_set != 0;
    l->origin.optimizer_set = f->optimizer_set != 0;
    events_read(l, events ? events : "");
    TRY(take_trainer(l, b, e));
    l->epoch = f->epoch;
    l->float_acc = f->float_acc;
    return series_load(l, b, e);
}

static enum status load_parts(struct lab *l, const struct bag *b, bool all,
                              struct err *e)
{
    struct graph *g = NULL;
    struct facts f = { 0 };
    enum status s = check(b, &g, &f, e);
    if (!s && !all) {
        free(f.data);
        f.data = NULL;
    }
    if (!s)
        s = apply(l, b, g, &f, e);
    if (!s && all)
        take_vars(l, bag_text(b, "lab.vars"));
    facts_fini(&f);
    lab_changed_model(l);
    return s;
}

/* What was there is kept until the new session stands. */
enum status session_load(struct lab *l, const struct bag *b, bool all,
                         struct err *e)
{
    struct graph *trial = NULL;
    struct facts facts = { 0 };
    TRY(check(b, &trial, &facts, e));
    graph_drop_quantizers(trial);
    graph_free(trial);
    bool other_data = all && facts.data;
    facts_fini(&facts);

    struct bag *old = l->graph ? session_save(l, e) : NULL;
    struct dataset *old_data = NULL;
    lab_drop_trainer(l);
    lab_probe_drop(l);
    if (other_data) {
        old_data = l->data;
        l->data = NULL;
    }
    enum status s = load_parts(l, b, all, e);
    if (s && other_data) {
        dataset_free(l->data);
        l->data = old_data;
        old_data = NULL;
    }
    if (s && old)
        load_parts(l, old, false, NULL);
    dataset_free(old_data);
    bag_free(old);
    return s;
}

/* Commands: load, save. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "io/checkpoint.h"
#include "lab/state.h"
#include "lab/tensor_view.h"

#define MODEL_TEXT_MAX (4u << 20)

/* ---- models ---- */

static bool has_suffix(const char *s, const char *suffix)
{
    size_t n = strlen(s), k = strlen(suffix);
    return n > k && strcmp(s + n - k, suffix) == 0;
}

static const struct model_row *find_row(const char *name)
{
    for (int i = 0; i < model_count; i++)
        if (strcmp(model_table[i].name, name) == 0)
            return &model_table[i];
    return NULL;
}

static enum status read_model_text(const char *path, struct rng *rng,
                                   struct graph **out, struct err *e)
{
    struct bytes b;
    TRY(file_read(path, MODEL_TEXT_MAX, &b, e));
    struct str text = { 0 };
    str_add_n(&text, (const char *)b.data, b.size);
    bytes_fini(&b);
    struct graph *g = NULL;
    enum status s = strlen(str_text(&text)) == text.len
                        ? graph_parse(str_text(&text), &g, e)
                        : err_set(e, STATUS_FORMAT, "is no text");
    str_fini(&text);
    if (!s)
        s = graph_finish(g, rng, e);
    if (s) {
        graph_free(g);
        return err_wrap(e, s == STATUS_ARG ? STATUS_FORMAT : s, "%s", path);
    }
    *out = g;
    return STATUS_OK;
}

static const char *model_name(const void *ctx, int i)
{
    (void)ctx;
    return model_table[i].name;
}

/* A name without a dot or slash is meant as a built-in model. */
static enum status no_model(const char *name, struct err *e)
{
    struct str all = { 0 };
    const char *near = str_nearest(name, model_count, model_name, NULL);
    for (int i = 0; i < model_count; i++)
        str_printf(&all, " %s", model_table[i].name);
    if (near)
        err_set(e, STATUS_NOTFOUND, "no model '%.60s' (did you mean '%s'?)",
                name, near);
    else
        err_set(e, STATUS_NOTFOUND, "no model '%.60s'; built in are%s, or "
                                    "give a file", name, str_text(&all));
    str_fini(&all);
    return STATUS_NOTFOUND;
}

static void set_defaults(struct lab *l, const struct model_row *row)
{
    const struct loss_row *loss =
        l->graph->loss ? loss_find(l->graph->loss) : NULL;
    if (loss)
        l->train.loss = loss;
    const struct optimizer_row *opt =
        row && row->optimizer ? optimizer_find(row->optimizer) : NULL;
    if (opt && !l->origin.optimizer_set) {
        double lr = l->train.hyper.lr;
        l->train.optimizer = opt;
        opt->defaults(&l->train.hyper);
        l->train.hyper.lr = lr;
    }
    if (row && row->lr > 0 && !l->origin.lr_set)
        l->train.hyper.lr = row->lr;
    l->gen.settings++;
}

static void forget_history(struct lab *l)
{
    history_clear(l);
    series_clear(l);
    events_fini(&l->events);
    goal_fini(&l->goal);
    l->warned = 0;
}

static void echo_model(struct lab *l, struct out *out)
{
    const struct graph *g = l->graph;
    out_printf(out, OUT_RESULT, "%s: %d layers, %s params, %s macs, %s, loss "
                                "%s", g->name, g->n_node,
               num_count((double)g->n_grad).s,
               num_count((double)graph_macs(g)).s,
               num_bytes(lab_model_bits(l) / 8).s, l->train.loss->name);
    answer_text(l, "model", g->name);
    answer_num(l, "layers", g->n_node);
    answer_num(l, "params", (double)g->n_grad);
    answer_num(l, "macs", (double)graph_macs(g));
}

static enum status load_session(struct lab *l, const char *path,
                                struct err *e)
{
    struct bag *b = NULL;
    TRY(checkpoint_read(path, &b, e));
    enum status s = bag_text(b, "graph")
                        ? session_load(l, b, true, e)
                        : err_set(e, STATUS_FORMAT, "holds weights, but no "
                                  "model; `load weights` takes it");
    bag_free(b);
    return s ? err_wrap(e, s, "%s", path) : STATUS_OK;
}

static enum status make_model(struct lab *l, const char *name,
                              struct err *e)
{
    const struct model_row *row = find_row(name);
    struct graph *g = NULL;
    if (!row && !strpbrk(name, "./"))
        return no_model(name, e);
    struct rng *rng = rng_new(l->train.seed, RNG_INIT);
    enum status s = !rng ? err_memory(e, "a random stream")
                    : row ? model_make(name, rng, &g, e)
                          : read_model_text(name, rng, &g, e);
    rng_free(rng);
    if (s)
        return s;
    lab_set_graph(l, g);
    set_defaults(l, row);
    return STATUS_OK;
}

static enum status load_model(struct lab *l, const struct args *a,
                              struct out *out, struct err *e)
{
    const struct arg *name = args_nth(a, "words", 0);
    const struct arg *more = args_nth(a, "words", 1);
    if (more)
        return args_fail(a, more, e, "load model takes one name, not '%.60s'",
                         more->text);
    bool session = has_suffix(name->text, ".qlab");
    enum status s = session ? load_session(l, name->text, e)
                            : make_model(l, name->text, e);
    if (s)
        return args_blame(a, name, 0, s);
    if (session) {
        history_clear(l);
        goal_fini(&l->goal);
        l->warned = 0;
    } else {
        forget_history(l);
        free(l->origin.model);
        l->origin.model = xstrdup(name->text);
    }
    echo_model(l, out);
    return STATUS_OK;
}

/* ---- data ---- */

static void echo_data(struct lab *l, struct out *out)
{
    const struct dataset *d = l->data;
    struct str shape = { 0 };
    for (int i = 1; i < d->sample.rank; i++)
        str_printf(&shape, "%s%lld", i > 1 ? "x" : "",
                   (long long)d->sample.dim[i]);
    int64_t n[SPLIT_COUNT];
    for (int i = 0; i < SPLIT_COUNT; i++)
        n[i] = dataset_size(d, (enum split)i);
    struct str what = { 0 };
    if (d->classes > 0)
        str_printf(&what, "%lld classes", (long long)d->classes);
    else
        str_printf(&what, "%lld target%s", (long long)d->targets,
                   d->targets == 1 ? "" : "s");
    out_printf(out, OUT_RESULT, "%s: %lld train, %lld val, %lld test samples "
                                "of %s, %s", d->name,
               (long long)n[SPLIT_TRAIN], (long long)n[SPLIT_VAL],
               (long long)n[SPLIT_TEST], str_text(&shape), str_text(&what));
    answer_text(l, "data", d->name);
    answer_num(l, "train", (double)n[SPLIT_TRAIN]);
    answer_num(l, "val", (double)n[SPLIT_VAL]);
    answer_num(l, "test", (double)n[SPLIT_TEST]);
    answer_num(l, "classes", (double)d->classes);
    str_fini(&shape);
    str_fini(&what);
}

/* The word NAME=.. that a message begins with, else the source's name. */
static const struct arg *word_at_fault(const struct args *a,
                                       const struct err *e)
{
    for (int i = 1; e && i < args_count(a, "words"); i++) {
        const struct arg *x = args_nth(a, "words", i);
        size_t n = strcspn(x->text, "=");
        if (x->text[n] && !strncmp(e->text, x->text, n + 1))
            return x;
    }
    return args_nth(a, "words", 0);
}

static enum status load_data(struct lab *l, const struct args *a,
                             struct out *out, struct err *e)
{
    struct str words = { 0 };
    for (int i = 0; i < args_count(a, "words"); i++) {
        if (i)
            str_char(&words, ' ');
        lex_quote(&words, args_nth(a, "words", i)->text);
    }
    enum status s = lab_load_data(l, str_text(&words), e);
    str_fini(&words);
    if (s)
        return args_blame(a, word_at_fault(a, e), 0, s);
    series_clear(l);
    echo_data(l, out);
    struct err fit = { 0 };
    if (lab_check_fit(l, &fit))
        out_printf(out, OUT_WARN, "warning: %s", fit.text);
    return STATUS_OK;
}

/* ---- weights ---- */

static enum status check_weight(const struct bag *b, const struct param *p,
                                struct err *e)
{
    const struct tensor *t = bag_get(b, p->name);
    if (!t)
        return err_set(e, STATUS_FORMAT, "has no tensor '%s'", p->name);
    if (shape_equal(&t->shape, &p->shape))
        return STATUS_OK;
    struct str has = { 0 }, want = { 0 };
    shape_add(&has, &t->shape);
    shape_add(&want, &p->shape);
    err_set(e, STATUS_FORMAT, "tensor '%s' is %s, the model wants %s",
            p->name, str_text(&has), str_text(&want));
    str_fini(&has);
    str_fini(&want);
    return STATUS_FORMAT;
}

static enum status load_weights(struct lab *l, const struct args *a,
                                struct out *out, struct err *e)
{
    const struct arg *file = args_nth(a, "words", 0);
    struct bag *b = NULL;
    struct graph *g = l->graph;
    if (!g)
        return args_fail(a, NULL, e, "'load weights' needs a model: `load "
                                     "model lenet5`");
    enum status s = checkpoint_read(file->text, &b, e);
    for (int i = 0; i < g->n_param && !s; i++) {
        s = check_weight(b, &g->param[i], e);
        if (s)
            err_wrap(e, s, "%s", file->text);
    }
    for (int i = 0; i < g->n_param && !s; i++) {
        const struct tensor *t = bag_get(b, g->param[i].name);
        for (int64_t k = 0; k < g->param[i].count; k++)
            g->param[i].value[k] = (real)tensor_get(t, k);
    }
    bag_free(b);
    if (s)
        return args_blame(a, file, 0, s);
    lab_changed_model(l);
    out_printf(out, OUT_RESULT, "%d tensors from %s", g->n_param,
               file->text);
    answer_num(l, "tensors", g->n_param);
    return STATUS_OK;
}

typedef enum status (*load_fn)(struct lab *l, const struct args *a,
                               struct out *out, struct err *e);

static const struct {
    const char *what;
    load_fn run;
} load_table[] = {
    { "model", load_model },
    { "data", load_data },
    { "weights", load_weights },
};

static enum status exec_load(struct lab *l, const struct args *a,
                             struct out *out, struct err *e)
{
    const char *what = args_text(a, "what");
    if (l->opts.check_only && strcmp(what, "model") != 0)
        return STATUS_OK;                /* names of layers are all it takes */
    for (size_t i = 0; i < sizeof load_table / sizeof load_table[0]; i++)
        if (strcmp(load_table[i].what, what) == 0)
            return load_table[i].run(l, a, out, e);
    return STATUS_ARG;
}

/* ---- save ---- */

static enum status save_model(struct lab *l, const char *path, struct err *e)
{
    struct bag *b = session_save(l, e);
    if (!b)
        return STATUS_STATE;
    enum status s = checkpoint_write(path, b, e);
    bag_free(b);
    return s;
}

static enum status save_weights(struct lab *l, const char *path,
                                struct err *e)
{
    if (!l->graph)
        return err_set(e, STATUS_STATE, "no model is loaded");
    struct bag *b = bag_new();
    enum status s = b ? STATUS_OK : err_memory(e, "weights");
    for (int i = 0; i < l->graph->n_param && !s; i++) {
        const struct param *p = &l->graph->param[i];
        s = bag_put(b, p->name, DTYPE_REAL, &p->shape, p->value, e);
    }
    if (!s)
        s = checkpoint_write(path, b, e);
    bag_free(b);
    return s;
}

static enum status save_screen(struct lab *l, const char *path, struct err *e)
{
    if (!l->hooks.save_screen)
        return err_set(e, STATUS_STATE, "there is no screen to save");
    return l->hooks.save_screen(l->hooks.ctx, path, e);
}

static const struct {
    const char *what, *suffix;
    enum status (*run)(struct lab *l, const char *path, struct err *e);
} save_table[] = {
    { "model", ".qlab", save_model },
    { "weights", ".safetensors", save_weights },
    { "screen", NULL, save_screen },
};

static enum status exec_save(struct lab *l, const struct args *a,
                             struct out *out, struct err *e)
{
    const char *what = args_text(a, "what");
    const struct arg *file = args_find(a, "file");
    enum status s = STATUS_ARG;
    for (size_t i = 0; i < sizeof save_table / sizeof save_table[0]; i++) {
        const char *suffix = save_table[i].suffix;
        if (strcmp(save_table[i].what, what) != 0)
            continue;
        if (suffix && !has_suffix(file->text, suffix))
            return args_fail(a, file, e, "the file of a saved %s ends in %s, "
                                         "not '%.60s'", what, suffix,
                             file->text);
        s = save_table[i].run(l, file->text, e);
    }
    if (s)
        return args_blame(a, file, 0, s);
    out_printf(out, OUT_RESULT, "saved %s to %s", what, file->text);
    answer_text(l, "file", file->text);
    return STATUS_OK;
}

static const struct arg_row load_args[] = {
    { .name = "what", .kind = ARG_CHOICE, .required = true,
      .choices = "model|data|weights", .help = "what to load" },
    { .name = "words", .kind = ARG_REST, .required = true, .many = true,
      .help = "a built-in name or a file; for data the source and its "
              "arguments" },
    { 0 },
};

const struct cmd cmd_load = {
    .name = "load", .group = "session",
    .help = "load a model, data, or weights",
    .detail =
        "load model NAME makes a built-in model with fresh weights (`show "
        "models` lists them); load model FILE.qlab takes up a saved session "
        "where it stopped; any other file is read as a model text.\n\n"
        "load data SOURCE loads a data set: built-in generators such as "
        "digits, shapes, jets, clusters and random need no files; mnist, "
        "cifar10, npz and csv take paths (`show sources` lists all). n= and "
        "test= cap the number of samples, val= is the share kept for "
        "validation, seed= that of the generator and the split.\n\n"
        "load weights FILE.safetensors puts weights into the model at hand; "
        "names and shapes must all fit.",
    .arg = load_args, .flags = NEEDS_IDLE | CMD_RECORDED | CMD_CHECKED,
    .example = "load data digits n=200", .exec = exec_load,
};

static const struct arg_row save_args[] = {
    { .name = "what", .kind = ARG_CHOICE, .required = true,
      .choices = "model|weights|screen", .help = "what to save" },
    { .name = "file", .kind = ARG_FILE, .required = true, .help = "where" },
    { 0 },
};

const struct cmd cmd_save = {
    .name = "save", .group = "session",
    .help = "save the session, the weights, or the screen",
    .detail =
        "save model FILE.qlab writes everything that is needed to go on: "
        "model, weights, quantizers with their ranges and observers, "
        "optimiser, random streams, settings, events, curves. Loading it "
        "and going on gives the same bits as never having stopped. The file "
        "is old or new, never half.\n\n"
        "save weights FILE.safetensors writes weights and statistics only. "
        "save screen FILE writes what the panes show as text, or as .html "
        "or .svg.",
    .arg = save_args, .example_setup = "load model jet",
    .example = "save model run.qlab", .exec = exec_save,
};

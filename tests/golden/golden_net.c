/* What the training suites share. SPDX-License-Identifier: GPL-3.0-or-later */
#include "golden/golden_net.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

/* ---- layers as lines of a graph's text form ---- */

struct layer_row {
    const char *type, *op;
    const char *attr[8][2];   /* ours, the case's */
};

static const struct layer_row layer_rows[] = {
    { "conv", "conv2d", { { "out", "out" }, { "kernel", "k" },
                          { "stride", "stride" }, { "pad", "pad" },
                          { "dilation", "dilation" }, { "groups", "groups" },
                          { "bias", "bias" } } },
    { "fc", "dense", { { "out", "out" }, { "bias", "bias" } } },
    { "bn", "batch_norm", { { NULL } } },
    { "relu", "relu", { { NULL } } },
    { "relu6", "relu6", { { NULL } } },
    { "maxpool", "max_pool", { { "kernel", "k" }, { "stride", "stride" },
                               { "pad", "pad" } } },
    { "avgpool", "avg_pool", { { "kernel", "k" }, { "stride", "stride" } } },
    { "gap", "global_avg_pool", { { NULL } } },
    { "flatten", "flatten", { { NULL } } },
    { "add", "add", { { NULL } } },
    { NULL, NULL, { { NULL } } },
};

static const char *word(const json_t *layer, const char *key)
{
    const char *text = json_string_value(json_object_get(layer, key));
    return text ? text : "";
}

static void add_layer(struct golden_case *c, struct str *out,
                      const json_t *layer, const char *before)
{
    const struct layer_row *row = layer_rows;
    while (row->type && strcmp(row->type, word(layer, "type")) != 0)
        row++;
    if (!row->type) {
        golden_fail(c, "unknown layer type '%s'", word(layer, "type"));
        return;
    }
    str_printf(out, "%s %s", word(layer, "id"), row->op);
    for (int i = 0; i < 8 && row->attr[i][0]; i++) {
        const json_t *v = json_object_get(layer, row->attr[i][1]);
        long long n = json_is_boolean(v) ? json_is_true(v)
                                         : json_integer_value(v);
        str_printf(out, " %s=%lld", row->attr[i][0], n);
    }
    const char *from = word(layer, "from");
    if (!strcmp(row->op, "add"))
        str_printf(out, " < %s %s", before, from);
    else if (*from)
        str_printf(out, " < %s", from);
    str_char(out, '\n');
}

static void add_input(const struct golden_case *c, struct str *out)
{
    const json_t *shape = golden_field(c, "input");
    str_add(out, "model golden\ninput input ");
    for (size_t i = 0; i < json_array_size(shape); i++)
        str_printf(out, "%s%lld", i ? "x" : "",
                   (long long)json_integer_value(json_array_get(shape, i)));
    str_char(out, '\n');
}

static void free_graph(void *p)
{
    graph_drop_quantizers(p);
    graph_free(p);
}

static void load_values(struct golden_case *c, struct graph *g)
{
    for (int i = 0; i < g->n_param; i++) {
        const struct param *p = &g->param[i];
        const struct tensor *t = golden_array(c, "init/%s", p->name);
        if (!t)
            return;
        if (shape_count(&t->shape) != p->count) {
            golden_fail(c, "init/%s has another size", p->name);
            return;
        }
        for (int64_t k = 0; k < p->count; k++)
            p->value[k] = (real)tensor_get(t, k);
    }
}

struct graph *golden_net(struct golden_case *c)
{
    const json_t *layers = golden_field(c, "layers"), *layer;
    struct str text = { 0 };
    struct graph *g = NULL;
    struct err e;
    size_t i;
    const char *before = "input";
    int bad = c->differences;

    add_input(c, &text);
    json_array_foreach((json_t *)(uintptr_t)layers, i, layer) {
        add_layer(c, &text, layer, before);
        before = word(layer, "id");
    }
    enum status s = graph_parse(str_text(&text), &g, &e);
    if (s == STATUS_OK)
        s = graph_finish(g, NULL, &e);
    str_fini(&text);
    if (!golden_ok(c, s, &e, "net")) {
        graph_free(g);
        return NULL;
    }
    golden_own(c, g, free_graph);
    load_values(c, g);
    return c->differences == bad ? g : NULL;
}

/* ---- data ---- */

static void set_sample(struct dataset *d, const struct shape *x)
{
    d->sample.rank = x->rank - 1;
    d->sample.dim[0] = 1;
    for (int i = 1; i < d->sample.rank; i++)
        d->sample.dim[i] = x->dim[i + 1];
    d->image = d->sample.rank == 4;
}

struct dataset *golden_data(struct golden_case *c)
{
    const struct tensor *x = golden_array(c, "x");
    const struct tensor *y = golden_array(c, "y");
    struct dataset *d = golden_alloc(c, 1, sizeof *d);
    static char name[] = "golden";

    if (!x || !y)
        return NULL;
    d->name = d->spec = name;
    d->scale = 1.0f;
    set_sample(d, &x->shape);
    d->n_train = d->train.n = x->shape.dim[0] * x->shape.dim[1];
    d->train.x = *x;
    d->train.y = *y;
    if (y->type == DTYPE_I32)
        d->classes = golden_int(c, "classes", 0);
    else
        d->targets = y->shape.dim[2];
    d->order = golden_alloc(c, (size_t)d->n_train, sizeof *d->order);
    for (int64_t i = 0; i < d->n_train; i++)
        d->order[i] = (uint32_t)i;
    return d;
}

/* ---- settings ---- */

/* The suite's words for variants of our optimisers. */
static const char *const optimizer_names[][2] = {
    { "nesterov", "sgd" }, { "sgd_plain", "sgd" }, { "dampening", "sgd" },
    { "amsgrad", "adam" },
};

static const struct optimizer_row *find_optimizer(struct golden_case *c)
{
    const char *name = golden_text(c, "optimizer", "");
    for (size_t i = 0; i < 4; i++)
        if (!strcmp(name, optimizer_names[i][0]))
            name = optimizer_names[i][1];
    const struct optimizer_row *o = optimizer_find(name);
    if (!o)
        golden_fail(c, "unknown optimizer '%s'", name);
    return o ? o : &optimizer_table[0];
}

static double number(const struct golden_case *c, const char *object,
                     const char *key)
{
    char path[64];
    snprintf(path, sizeof path, "%s.%s", object, key);
    return golden_real(c, path, 0);
}

static double beta(const struct golden_case *c, const char *object, size_t i)
{
    char path[64];
    snprintf(path, sizeof path, "%s.betas", object);
    return json_number_value(json_array_get(golden_field(c, path), i));
}

static bool flag(const struct golden_case *c, const char *object,
                 const char *key)
{
    char path[64];
    snprintf(path, sizeof path, "%s.%s", object, key);
    return golden_bool(c, path, false);
}

struct train_settings golden_settings(struct golden_case *c,
                                      const char *hyper)
{
    struct train_settings s;
    train_settings_default(&s);
    s.optimizer = find_optimizer(c);
    s.hyper = (struct optim_hyper){
        .lr = number(c, hyper, "lr"),
        .momentum = number(c, hyper, "momentum"),
        .dampening = number(c, hyper, "dampening"),
        .weight_decay = number(c, hyper, "weight_decay"),
        .beta1 = beta(c, hyper, 0),
        .beta2 = beta(c, hyper, 1),
        .eps = number(c, hyper, "eps"),
        .nesterov = flag(c, hyper, "nesterov"),
        .amsgrad = flag(c, hyper, "amsgrad"),
    };
    const char *loss = golden_text(c, "loss", "");
    s.loss = loss_find(!strcmp(loss, "mse") ? "mse" : "ce");
    if (!strncmp(loss, "label_smoothing_", 16))
        s.smoothing = strtod(loss + 16, NULL);
    s.batch = golden_int(c, "batch", 1);
    s.shuffle = false;
    s.grad = GRAD_F32;
    return s;
}

/* ---- comparisons ---- */

void golden_check_values(const struct golden_check *k, const char *what,
                         const double *wanted, const float *found, int64_t n)
{
    int64_t worst = 0, bad = 0;
    double most = 0, gap = -1;
    for (int64_t i = 0; i < n; i++)
        most = fmax(most, fabs(wanted[i]));
    double allowed = k->tolerance * most + k->absolute;
    for (int64_t i = 0; i < n; i++) {
        double d = fabs((double)found[i] - wanted[i]);
        bad += !(d <= allowed);
        if (!(d <= gap)) {
            gap = d;
            worst = i;
        }
    }
    if (bad)
        golden_fail(k->c, "%s: %s: %" PRId64 " of %" PRId64 " differ by more "
                    "than %.3g, worst [%" PRId64 "]: found %.9g, wanted %.9g",
                    k->where, what, bad, n, allowed, worst,
                    (double)found[worst], wanted[worst]);
}

void golden_check(const struct golden_check *k, const char *key,
                  const float *found, int64_t n)
{
    int64_t count;
    const double *wanted = golden_doubles(k->c, key, &count);
    if (!wanted)
        return;
    if (count != n)
        golden_fail(k->c, "%s: %s has %" PRId64 " values, found %" PRId64,
                    k->where, key, count, n);
    else
        golden_check_values(k, key, wanted, found, n);
}

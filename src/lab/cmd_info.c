/* Commands: info, list. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "lab/diagnose.h"
#include "lab/layer_fields.h"
#include "lab/layer_stats.h"
#include "lab/state.h"
#include "lab/version.h"

/* ---- info: a row a topic ---- */

static enum status need_model(struct lab *l, struct err *e)
{
    return l->graph ? STATUS_OK
                    : err_set(e, STATUS_STATE, "no model is loaded: `load "
                                               "model lenet5`");
}

static enum status info_model(struct lab *l, const struct args *a,
                              struct out *out, struct err *e)
{
    char hash[65];
    (void)a;
    TRY(need_model(l, e));
    const struct graph *g = l->graph;
    double bytes = lab_model_bits(l) / 8;
    graph_hash(g, hash);
    out_printf(out, OUT_RESULT, "model %s  layers %d  params %s  macs %s",
               g->name, g->n_node, num_text((double)g->n_grad).s,
               num_text((double)graph_macs(g)).s);
    out_printf(out, OUT_RESULT, "bytes %s  loss %s", num_text(bytes).s,
               l->train.loss->name);
    out_printf(out, OUT_RESULT, "hash %s", hash);
    answer_text(l, "model", g->name);
    answer_num(l, "layers", g->n_node);
    answer_num(l, "params", (double)g->n_grad);
    answer_num(l, "macs", (double)graph_macs(g));
    answer_num(l, "bytes", bytes);
    answer_text(l, "hash", hash);
    return STATUS_OK;
}

static void answer_view(struct lab *l, const struct layer_view *v)
{
    for (int i = 0; i < layer_field_count; i++) {
        struct value x;
        const struct layer_field *f = &layer_field_table[i];
        layer_field_value(NULL, v, f->name, &x);
        if (x.is_text)
            answer_text(l, f->name, x.text);
        else
            answer_num(l, f->name, x.num);
    }
}

static enum status info_layer(struct lab *l, const struct args *a,
                              struct out *out, struct err *e)
{
    const struct arg *name = args_find(a, "name");
    struct selection sel;
    int fault = 0, n;
    TRY(need_model(l, e));
    if (!name)
        return args_fail(a, NULL, e, "info layer wants a layer: info layer "
                                     "conv1");
    enum status s = selection_parse(l, name->text, &sel, &fault, e);
    if (s)
        return args_blame(a, name, fault, s);
    lab_refresh_stats(l, NEED_OUT | NEED_GRAD);
    const struct layer_view *view = lab_layer_views(l, &n);
    for (int i = 0; i < n; i++) {
        struct str text = { 0 };
        if (!sel.bits[i])
            continue;
        lab_layer_detail(l, i, &text);
        out_text(out, OUT_RESULT, str_text(&text));
        answer_begin(l);
        answer_view(l, &view[i]);
        str_fini(&text);
    }
    selection_fini(&sel);
    return STATUS_OK;
}

static enum status info_run(struct lab *l, const struct args *a,
                            struct out *out, struct err *e)
{
    struct status_view v;
    struct str warn = { 0 };
    (void)a;
    TRY(need_model(l, e));
    lab_status_view(l, &v);
    out_printf(out, OUT_RESULT, "%s  %s  epoch %s  batch %lld of %lld",
               v.run, v.precision, num_text(v.epoch).s, (long long)v.batch,
               (long long)v.batches);
    out_printf(out, OUT_RESULT, "optimizer %s  lr %s  schedule %s  batch "
                                "size %lld", l->train.optimizer->name,
               num_text(v.lr).s, l->train.schedule->name,
               (long long)l->train.batch);
    if (l->goal.active)
        out_printf(out, OUT_RESULT, "running '%s', %s left", l->goal.text,
                   num_seconds(v.eta).s);
    if (l->trainer)
        out_printf(out, OUT_RESULT, "memory of training %s",
                   num_bytes((double)trainer_bytes(l->trainer)).s);
    if (l->hooks.cost)
        out_printf(out, OUT_RESULT, "the screen took %.2f%% of the time",
                   100 * l->hooks.cost(l->hooks.ctx));
    int n = diagnose_all(l, &warn);
    if (n)
        out_text(out, OUT_RESULT, str_text(&warn));
    else
        out_printf(out, OUT_RESULT, "nothing to warn of");
    answer_text(l, "run", v.run);
    answer_text(l, "precision", v.precision);
    answer_num(l, "epoch", v.epoch);
    answer_num(l, "batch", (double)v.batch);
    answer_num(l, "warnings", n);
    str_fini(&warn);
    return STATUS_OK;
}

static enum status info_marks(struct lab *l, const struct args *a,
                              struct out *out, struct err *e)
{
    static const char *const title[] = { "mark", "epoch", "bytes" };
    const struct history *h = &l->history;
    if (h->n_mark == 0) {
        out_printf(out, OUT_RESULT, "no marks");
        return STATUS_OK;
    }
    struct table *t = table_new(3, title);
    for (int i = 0; i < h->n_mark; i++) {
        double bytes = (double)bag_bytes(h->mark[i].bag);
        table_cell(t, "%s", h->mark[i].name);
        table_number(t, h->mark[i].epoch, num_text(h->mark[i].epoch).s);
        table_number(t, bytes, num_bytes(bytes).s);
    }
    return result_table(l, a, t, out, e);
}

static void print_cache(struct lab *l, struct out *out)
{
    struct prefix_cache_info c = { 0 };
    if (l->cache)
        prefix_cache_look(l->cache, &c);
    out_printf(out, OUT_RESULT, "values kept for evaluations %s of %s; "
               "%lld of %lld batches began there",
               num_bytes((double)c.bytes).s, num_bytes((double)c.limit).s,
               (long long)c.reused, (long long)c.batches);
    answer_num(l, "cache_bytes", (double)c.bytes);
    answer_num(l, "cache_limit", (double)c.limit);
}

static enum status info_env(struct lab *l, const struct args *a,
                            struct out *out, struct err *e)
{
    struct str text = { 0 };
    const struct cpu *c = cpu_get();
    (void)a;
    (void)e;
    out_printf(out, OUT_RESULT, "qatlab %s", QATLAB_VERSION);
    out_printf(out, OUT_RESULT, "processor %s, %d usable%s%s%s%s%s",
               c->model, c->cores, c->avx2 ? " avx2" : "",
               c->avx512 ? " avx512" : "", c->vnni ? " vnni" : "",
               c->bf16 ? " bf16" : "", c->amx ? " amx" : "");
    engine_describe(&text);
    out_text(out, OUT_RESULT, str_text(&text));
    print_cache(l, out);
    answer_text(l, "version", QATLAB_VERSION);
    answer_text(l, "processor", c->model);
    answer_num(l, "cores", c->cores);
    str_fini(&text);
    return STATUS_OK;
}

static void range_rows(const struct quantizer *q, struct table *t)
{
    for (int64_t c = 0; c < q->channels; c++) {
        table_number(t, (double)c, num_text((double)c).s);
        table_number(t, (double)q->lo[c], num_text((double)q->lo[c]).s);
        table_number(t, (double)q->hi[c], num_text((double)q->hi[c]).s);
        table_number(t, (double)q->scale[c],
                     num_text((double)q->scale[c]).s);
        table_number(t, (double)q->zero_point[c],
                     num_text((double)q->zero_point[c]).s);
    }
}

static enum status info_range(struct lab *l, const struct args *a,
                              struct out *out, struct err *e)
{
    static const char *const title[] = { "channel", "lo", "hi", "scale",
                                         "zero" };
    const struct arg *name = args_find(a, "name");
    TRY(need_model(l, e));
    int point = name ? graph_point_find(l->graph, name->text) : -1;
    const struct quantizer *q = point >= 0 ? l->graph->point[point].q : NULL;
    if (!q)
        return args_fail(a, name, e, "info range wants a point with a "
                                     "quantizer: info range conv1.out");
    struct str spec = { 0 }, seen = { 0 };
    qspec_print(&q->spec, &spec);
    out_printf(out, OUT_RESULT, "%s  %s", l->graph->point[point].name,
               str_text(&spec));
    if (q->observer && q->observer->kind->describe)
        q->observer->kind->describe(q->observer, &q->spec, &seen);
    if (seen.len)
        out_text(out, OUT_RESULT, str_text(&seen));
    answer_text(l, "spec", str_text(&spec));
    answer_num(l, "ready", q->ready);
    str_fini(&spec);
    str_fini(&seen);
    if (!q->ready) {
        out_printf(out, OUT_RESULT, "no range yet: not calibrated");
        return STATUS_OK;
    }
    answer_num(l, "scale", (double)q->scale[0]);
    answer_num(l, "zero_point", (double)q->zero_point[0]);
    answer_num(l, "lo", (double)q->lo[0]);
    answer_num(l, "hi", (double)q->hi[0]);
    struct table *t = table_new(5, title);
    range_rows(q, t);
    return result_table(l, a, t, out, e);
}

/* ---- info points: what each quantizer does ---- */

static void share_cell(struct table *t, double v)
{
    table_number(t, v, isnan(v) ? "" : num_percent(v).s);
}

static void number_cell(struct table *t, double v)
{
    table_number(t, v, isnan(v) ? "" : num_text(v).s);
}

static void point_row(struct table *t, const struct point *pt,
                      const struct point_stats *st)
{
    const struct quantizer *q = pt->q;
    struct str db = { 0 };
    if (!isnan(st->sqnr))
        str_printf(&db, "%.1f", st->sqnr);
    table_cell(t, "%s", pt->name);
    table_cell(t, "%c%c%c", q->fake ? 'F' : '-', q->observe ? 'O' : '-',
               q->learn ? 'L' : '-');
    table_number(t, q->spec.bits, num_text(q->spec.bits).s);
    table_number(t, st->sqnr, str_text(&db));
    number_cell(t, st->mse);
    share_cell(t, st->saturation);
    share_cell(t, st->one);
    number_cell(t, st->dead);
    share_cell(t, st->blocked);
    share_cell(t, st->drift);
    share_cell(t, st->flips);
    share_cell(t, st->osc);
    str_fini(&db);
}

static enum status info_points(struct lab *l, const struct args *a,
                               struct out *out, struct err *e)
{
    static const char *const title[] = { "point", "FOL", "bits", "sqnr",
                                         "mse", "sat", "one", "dead",
                                         "blocked", "drift", "flips",
                                         "osc" };
    const struct arg *name = args_find(a, "name");
    struct selection sel;
    int fault = 0, n;
    TRY(need_model(l, e));
    enum status s = selection_parse(l, name ? name->text : "*", &sel, &fault,
                                    e);
    if (s)
        return args_blame(a, name, fault, s);
    int *point = xmalloc((size_t)(l->graph->n_point + 1) * sizeof *point);
    n = selection_points(l, &sel, point);
    selection_fini(&sel);
    struct table *t = table_new(12, title);
    for (int i = 0; i < n; i++) {
        struct point_stats st;
        if (!l->graph->point[point[i]].q)
            continue;
        point_stats_get(l, point[i], NEED_OUT | NEED_GRAD, &st);
        point_row(t, &l->graph->point[point[i]], &st);
    }
    free(point);
    return result_table(l, a, t, out, e);
}

static enum status info_data(struct lab *l, const struct args *a,
                             struct out *out, struct err *e)
{
    const struct dataset *d = l->data;
    (void)a;
    if (!d)
        return err_set(e, STATUS_STATE, "no data is loaded: `load data "
                                        "digits`");
    out_printf(out, OUT_RESULT, "data %s", d->spec);
    out_printf(out, OUT_RESULT, "train %lld  val %lld  test %lld  classes "
                                "%lld  targets %lld",
               (long long)dataset_size(d, SPLIT_TRAIN),
               (long long)dataset_size(d, SPLIT_VAL),
               (long long)dataset_size(d, SPLIT_TEST),
               (long long)d->classes, (long long)d->targets);
    for (int i = 0; i < d->n_norm; i++)
        out_printf(out, OUT_RESULT, "channel %d  mean %s  deviation %s", i,
                   num_text((double)d->mean[i]).s,
                   num_text(1 / (double)d->inv_std[i]).s);
    answer_text(l, "data", d->name);
    answer_num(l, "train", (double)dataset_size(d, SPLIT_TRAIN));
    answer_num(l, "val", (double)dataset_size(d, SPLIT_VAL));
    answer_num(l, "test", (double)dataset_size(d, SPLIT_TEST));
    return STATUS_OK;
}

static enum status info_undo(struct lab *l, const struct args *a,
                             struct out *out, struct err *e)
{
    const struct undo_stack *s = &l->history.undo;
    (void)a;
    (void)e;
    for (int i = s->n - 1; i >= 0; i--)
        out_printf(out, OUT_RESULT, "%d  %s", s->n - i, s->undo[i].command);
    if (s->n == 0)
        out_printf(out, OUT_RESULT, "nothing to undo");
    answer_num(l, "count", s->n);
    return STATUS_OK;
}

static const struct {
    const char *name;
    enum status (*run)(struct lab *l, const struct args *a, struct out *out,
                       struct err *e);
} info_table[] = {
    { "model", info_model }, { "layer", info_layer }, { "run", info_run },
    { "marks", info_marks }, { "env", info_env },     { "range", info_range },
    { "data", info_data },   { "undo", info_undo },
    { "points", info_points },
};

static enum status exec_info(struct lab *l, const struct args *a,
                             struct out *out, struct err *e)
{
    const char *what = args_text(a, "what");
    size_t row = 0;
    while (strcmp(info_table[row].name, what) != 0)
        row++;
    return info_table[row].run(l, a, out, e);
}

/* ---- list ---- */

struct listing {
    const struct layer_field *field[32];
    int n_field;
    const struct layer_field *by;
    bool descending;
    const struct layer_view **row;
    int n;
};

static const char *field_name(const void *ctx, int i)
{
    (void)ctx;
    return layer_field_table[i].name;
}

static enum status find_field(const struct args *a, const struct arg *x,
                              const char *name, const struct layer_field **out,
                              struct err *e)
{
    *out = layer_field_find(name);
    if (*out)
        return STATUS_OK;
    const char *near = str_nearest(name, layer_field_count, field_name, NULL);
    struct str all = { 0 };
    for (int i = 0; i < layer_field_count; i++)
        str_printf(&all, " %s", layer_field_table[i].name);
    if (near)
        args_fail(a, x, e, "no field '%.40s' (did you mean '%s'?)", name,
                  near);
    else
        args_fail(a, x, e, "no field '%.40s'; there are%s", name,
                  str_text(&all));
    str_fini(&all);
    return STATUS_ARG;
}

static enum status choose_fields(const struct args *a, struct listing *v,
                                 struct err *e)
{
    const struct arg *cols = args_find(a, "cols"), *by = args_find(a, "by");
    if (by) {
        v->descending = by->text[0] == '-';
        TRY(find_field(a, by, by->text + v->descending, &v->by, e));
    }
    for (int i = 0; !cols && i < layer_field_count; i++)
        if (layer_field_table[i].standard)
            v->field[v->n_field++] = &layer_field_table[i];
    for (const char *p = cols ? cols->text : ""; *p && v->n_field < 32;) {
        char name[48];
        size_t n = strcspn(p, ",");
        snprintf(name, sizeof name, "%.*s", (int)n, p);
        TRY(find_field(a, cols, name, &v->field[v->n_field], e));
        v->n_field++;
        p += n + (p[n] == ',');
    }
    return STATUS_OK;
}

/* Only what is shown is computed. */
static unsigned listing_needs(const struct listing *v)
{
    unsigned needs = v->by ? v->by->needs : 0;
    for (int i = 0; i < v->n_field; i++)
        needs |= v->field[i]->needs;
    return needs;
}

/* Insertion sort: stable, and a net has few layers. Layers without the value
 * come last. */
static void sort_rows(struct listing *v)
{
    for (int i = 1; v->by && i < v->n; i++) {
        for (int k = i; k > 0; k--) {
            const struct layer_view *a = v->row[k - 1], *b = v->row[k];
            double x = v->by->num ? v->by->num(v->by, a) : 0;
            double y = v->by->num ? v->by->num(v->by, b) : 0;
            int order = v->by->num ? (x > y) - (x < y)
                                   : strcmp(a->name, b->name);
            bool swap = v->descending ? order < 0 : order > 0;
            if (v->by->num && (isnan(x) || isnan(y)))
                swap = isnan(x) && !isnan(y);
            if (!swap)
                break;
            v->row[k - 1] = b;
            v->row[k] = a;
        }
    }
}

static struct table *list_table(const struct listing *v, bool file)
{
    const char *title[32];
    for (int i = 0; i < v->n_field; i++)
        title[i] = file ? v->field[i]->name : v->field[i]->title;
    struct table *t = table_new(v->n_field, title);
    for (int r = 0; r < v->n; r++) {
        for (int i = 0; i < v->n_field; i++) {
            const struct layer_field *f = v->field[i];
            struct str s = { 0 };
            if (f->text)
                f->text(f, v->row[r], &s);
            else
                num_add(&s, f->num(f, v->row[r]));
            if (f->num)
                table_number(t, f->num(f, v->row[r]), str_text(&s));
            else
                table_cell(t, "%s", str_text(&s));
            str_fini(&s);
        }
    }
    return t;
}

/* Rows of the machine stream and of files carry the fields' names. */
static enum status list_show(struct lab *l, const struct args *a,
                             const struct listing *v, struct out *out,
                             struct err *e)
{
    struct table *named = list_table(v, true);
    if (a->redirect)
        return result_table(l, a, named, out, e);
    struct table *shown = list_table(v, false);
    struct str rows = { 0 };
    table_json(named, &rows);
    answer_raw(l, "rows", str_text(&rows));
    table_show(shown, out);
    str_fini(&rows);
    table_free(named);
    table_free(shown);
    return STATUS_OK;
}

static enum status exec_list(struct lab *l, const struct args *a,
                             struct out *out, struct err *e)
{
    struct listing v = { 0 };
    const struct arg *sel = args_find(a, "layers");
    double top = args_number(a, "top", (double)INFINITY);
    int n;
    TRY(choose_fields(a, &v, e));
    if (top < 1)
        return args_fail(a, args_find(a, "top"), e, "top= is at least 1");
    lab_refresh_stats(l, listing_needs(&v));
    const struct layer_view *view = lab_layer_views(l, &n);
    v.row = xmalloc((size_t)(n + 1) * sizeof *v.row);
    for (int i = 0; i < n; i++)
        if (!sel || sel->sel.bits[i])
            v.row[v.n++] = &view[i];
    sort_rows(&v);
    v.n = v.n > top ? (int)top : v.n;
    enum status s = list_show(l, a, &v, out, e);
    answer_num(l, "count", v.n);
    free(v.row);
    return s;
}

static const struct arg_row info_args[] = {
    { .name = "what", .kind = ARG_CHOICE, .required = true,
      .choices = "model|layer|points|run|marks|env|range|data|undo",
      .help = "about what" },
    { .name = "name", .kind = ARG_WORD, .help = "which layer or point" },
    { 0 },
};

const struct cmd cmd_info = {
    .name = "info", .group = "look", .help = "tell about something",
    .detail =
        "info model: size and the hash of all weights and statistics. info "
        "layer L: ranges, scales, error, the worst channel. info points: a "
        "row for each quantizer, of all layers or some: error (sqnr, mse), "
        "values outside the range (sat), the share of the commonest code "
        "(one), unused levels (dead), gradient kept back by clipping "
        "(blocked), and what the last epoch did: change of the range over "
        "its width (drift), weight codes that moved (flips) and that turn "
        "back and forth (osc). Activations and gradients are those of a "
        "batch of validation samples. info range P: "
        "one point's range per channel, and what its observer has seen. info "
        "run: what training does, and warnings of states that are almost "
        "always mistakes. info marks, info undo, info data, info env "
        "(processor and back end).",
    .arg = info_args, .flags = CMD_RESULT,
    .example_setup = "load model lenet5", .example = "info layer conv2",
    .exec = exec_info,
};

static const struct arg_row list_args[] = {
    { .name = "layers", .kind = ARG_SELECTOR, .help = "which layers; all" },
    { .name = "by", .kind = ARG_WORD, .key = true,
      .help = "field to sort by; -field: largest first" },
    { .name = "top", .kind = ARG_INT, .key = true,
      .help = "only so many rows" },
    { .name = "cols", .kind = ARG_WORD, .key = true,
      .help = "fields, separated by commas" },
    { 0 },
};

const struct cmd cmd_list = {
    .name = "list", .group = "look", .help = "list layers",
    .detail = "`help fields` names the fields. FOLB: F fake-quant, O "
              "observer, L learned range, B batch norm frozen; - when off.",
    .arg = list_args, .flags = NEEDS_MODEL | CMD_RESULT,
    .example_setup = "load model lenet5; bits * w4a4",
    .example = "list :conv by=sqnr cols=name,w,a,sqnr", .exec = exec_list,
};

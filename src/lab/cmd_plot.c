/* Commands: print, hist, plot. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "lab/chart.h"
#include "lab/json_text.h"
#include "lab/state.h"

/* ---- print ---- */

static enum status exec_print(struct lab *l, const struct args *a,
                              struct out *out, struct err *e)
{
    const struct arg *x = args_find(a, "expressions");
    struct expr_env env = { .lab = l };
    struct str line = { 0 };
    struct value last = { 0 };
    int at = 0;
    for (;;) {
        struct expr_result r;
        int fault;
        enum status s = expr_prefix(&env, x->text + at, &r, &fault, e);
        if (s) {
            str_fini(&line);
            return args_blame(a, x, at + fault, s);
        }
        if (line.len)
            str_add(&line, "  ");
        value_print(&r.value, &line);
        last = r.value;
        at += r.used;
        if (x->text[at] != ',')
            break;
        at++;
    }
    if (x->text[at]) {
        str_fini(&line);
        err_set(e, STATUS_ARG, "'%.20s' does not belong to the expression",
                x->text + at);
        return args_blame(a, x, at, STATUS_ARG);
    }
    out_printf(out, OUT_RESULT, "%s", str_text(&line));
    /* `ans` stays that of the command before: printing is looking. */
    if (last.is_text)
        json_text(&l->result, "value", last.text);
    else
        json_num(&l->result, "value", last.num);
    str_fini(&line);
    return STATUS_OK;
}

/* ---- where charts go ---- */

static bool is_svg(const char *path)
{
    size_t n = strlen(path);
    return n > 4 && strcmp(path + n - 4, ".svg") == 0;
}

static enum status write_chart(const struct args *a, const struct str *svg,
                               struct err *e)
{
    *a->redirect_done = true;
    return text_write(a->redirect, str_text(svg), svg->len, a->append, e);
}

static struct chart_opts chart_opts(const struct args *a,
                                    const struct out *out)
{
    int width = out->width > 30 ? out->width - 14 : 60;
    return (struct chart_opts){
        .width = width > 100 ? 100 : width,
        .height = 14,
        .log = args_has(a, "log"),
        .ascii = out->ascii,
        .plain = out->plain,
    };
}

/* ---- hist ---- */

static bool find_what(const char *suffix, enum hist_what *what)
{
    for (int i = 0; i < HIST_COUNT; i++) {
        if (strcmp(suffix, hist_name[i]) == 0) {
            *what = (enum hist_what)i;
            return true;
        }
    }
    return false;
}

static enum status read_tensor(struct lab *l, const struct args *a, int *node,
                               enum hist_what *what, struct err *e)
{
    const struct arg *x = args_find(a, "tensor");
    enum sel_bit bit;
    *node = tensor_name_split(l, x->text, &bit);
    *what = HIST_WEIGHT;
    if (*node >= 0 && bit == SEL_LAYER)
        return STATUS_OK;
    const char *dot = strrchr(x->text, '.');
    if (*node >= 0 && dot && find_what(dot + 1, what))
        return STATUS_OK;
    return args_fail(a, x, e, "no tensor '%.60s'; hist takes conv1.w, "
                              "conv1.out, conv1.err or conv1.grad", x->text);
}

static void stream_hist(struct lab *l, const char *tensor,
                        const struct hist_view *h)
{
    struct str s = { 0 };
    json_text(&s, "tensor", tensor);
    json_num(&s, "lo", h->lo);
    json_num(&s, "hi", h->hi);
    json_key(&s, "n");
    str_char(&s, '[');
    for (int i = 0; i < h->bins; i++)
        json_value_num(&s, h->n[i]);
    str_char(&s, ']');
    if (h->has_clip) {
        json_key(&s, "clip");
        str_char(&s, '[');
        json_value_num(&s, h->clip_lo);
        json_value_num(&s, h->clip_hi);
        str_char(&s, ']');
    }
    json_num(&s, "outside", h->outside);
    stream_event(l, "hist", str_text(&s));
    str_fini(&s);
}

static void hist_answer(struct lab *l, const struct hist_view *h)
{
    answer_text(l, "title", h->title);
    answer_num(l, "lo", h->lo);
    answer_num(l, "hi", h->hi);
    answer_num(l, "clip_lo", h->has_clip ? h->clip_lo : (double)NAN);
    answer_num(l, "clip_hi", h->has_clip ? h->clip_hi : (double)NAN);
    answer_num(l, "step", h->has_clip ? h->step : (double)NAN);
    answer_num(l, "outside", h->outside);
    answer_num(l, "levels", h->levels);
    answer_num(l, "dead", h->dead_levels);
    answer_num(l, "sqnr", h->sqnr);
    answer_num(l, "mse", h->mse);
    answer_num(l, "max_error", h->max_error);
}

static struct table *hist_table(const struct hist_view *h)
{
    static const char *const title[] = { "from", "to", "n" };
    struct table *t = table_new(3, title);
    double w = (h->hi - h->lo) / h->bins;
    for (int i = 0; i < h->bins; i++) {
        double lo = h->lo + i * w;
        table_number(t, lo, num_text(lo).s);
        table_number(t, lo + w, num_text(lo + w).s);
        table_number(t, h->n[i], num_text(h->n[i]).s);
    }
    return t;
}

static enum status exec_hist(struct lab *l, const struct args *a,
                             struct out *out, struct err *e)
{
    enum hist_what what;
    int node;
    double bins = args_number(a, "bins", 16);
    struct chart_opts o = chart_opts(a, out);
    TRY(read_tensor(l, a, &node, &what, e));
    if (bins < 1 || bins > HIST_MAX_BINS)
        return args_fail(a, args_find(a, "bins"), e,
                         "bins= is from 1 to %d, not %s", HIST_MAX_BINS,
                         args_text(a, "bins"));
    struct hist_view *h = xmalloc(sizeof *h);
    enum status s = lab_hist(l, node, what, (int)bins, h, e);
    if (s) {
        free(h);
        return args_blame(a, args_find(a, "tensor"), 0, s);
    }
    struct str text = { 0 };
    stream_hist(l, args_text(a, "tensor"), h);
    hist_answer(l, h);
    if (a->redirect && is_svg(a->redirect)) {
        chart_hist_svg(h, o.log, &text);
        s = write_chart(a, &text, e);
    } else if (a->redirect) {
        s = result_table(l, a, hist_table(h), out, e);
    } else {
        o.width = o.width > 50 ? 50 : o.width;
        chart_hist(h, &o, &text);
        out_text(out, OUT_RESULT, str_text(&text));
    }
    str_fini(&text);
    free(h);
    return s;
}

/* ---- plot ---- */

#define PLOT_MAX 8

static const char *series_name(const void *ctx, int i)
{
    const struct lab *l = ctx;
    return lab_series(l, i).name;
}

static enum status find_series(struct lab *l, const struct args *a,
                               struct series_view *s, int *n, struct err *e)
{
    double last = args_number(a, "last", (double)INFINITY);
    *n = 0;
    for (int i = 0; i < args_count(a, "metrics"); i++) {
        const struct arg *x = args_nth(a, "metrics", i);
        int k = lab_series_find(l, x->text);
        if (*n == PLOT_MAX)
            return args_fail(a, x, e, "at most %d curves", PLOT_MAX);
        if (k < 0 && metric_find(x->text))
            return args_fail(a, x, e, "there is no curve of %s yet",
                             x->text);
        if (k < 0) {
            const char *near = str_nearest(x->text, lab_series_count(l),
                                           series_name, l);
            return args_fail(a, x, e, "no metric '%.40s' (%s%s%s)", x->text,
                             near ? "did you mean '" : "`help expressions` "
                                                       "lists them",
                             near ? near : "", near ? "'?" : "");
        }
        struct series_view v = lab_series(l, k);
        int skip = v.n > last ? v.n - (int)last : 0;
        v.x += skip;
        v.y += skip;
        v.n -= skip;
        s[(*n)++] = v;
    }
    return STATUS_OK;
}

static struct table *curve_table(const struct series_view *s, int n)
{
    static const char *const title[] = { "metric", "epoch", "value" };
    struct table *t = table_new(3, title);
    for (int k = 0; k < n; k++) {
        for (int i = 0; i < s[k].n; i++) {
            table_cell(t, "%s", s[k].name);
            table_number(t, s[k].x[i], num_text(s[k].x[i]).s);
            table_number(t, s[k].y[i], num_text(s[k].y[i]).s);
        }
    }
    return t;
}

static enum status exec_plot(struct lab *l, const struct args *a,
                             struct out *out, struct err *e)
{
    struct series_view s[PLOT_MAX];
    struct chart_opts o = chart_opts(a, out);
    struct str text = { 0 };
    enum status st = STATUS_OK;
    int n;
    TRY(find_series(l, a, s, &n, e));
    answer_num(l, "curves", n);
    answer_num(l, "last", s[0].n ? s[0].y[s[0].n - 1] : (double)NAN);
    if (a->redirect && is_svg(a->redirect)) {
        chart_curves_svg(s, n, o.log, &text);
        st = write_chart(a, &text, e);
    } else if (a->redirect) {
        st = result_table(l, a, curve_table(s, n), out, e);
    } else {
        chart_curves(s, n, &o, &text);
        out_text(out, OUT_RESULT, str_text(&text));
    }
    str_fini(&text);
    return st;
}

static const struct arg_row print_args[] = {
    { .name = "expressions", .kind = ARG_EXPR, .required = true,
      .help = "separated by commas" },
    { 0 },
};

const struct cmd cmd_print = {
    .name = "print", .group = "look", .help = "compute and print expressions",
    .detail = "`help expressions` tells what they may be made of.",
    .arg = print_args, .flags = CMD_RESULT,
    .example_setup = "load model lenet5",
    .example = "print mean(conv2.w), absmax(conv2.w), (1 - 95%) * 100",
    .exec = exec_print,
};

static const struct arg_row hist_args[] = {
    { .name = "tensor", .kind = ARG_TENSOR, .required = true,
      .help = "conv1.w, conv1.out, conv1.err, conv1.grad" },
    { .name = "bins", .kind = ARG_INT, .key = true, .help = "bars; 16" },
    { .name = "log", .kind = ARG_FLAG, .help = "logarithmic counts" },
    { 0 },
};

const struct cmd cmd_hist = {
    .name = "hist", .group = "look",
    .help = "show the histogram of a tensor against its range",
    .detail = "Weights as the quantizer sees them, the values before the "
              "output's quantizer over one batch, the quantization error, or "
              "the gradient of one batch. Bars that hold an end of the clip "
              "range begin with >. To a file: .svg, .csv, .json.",
    .arg = hist_args, .flags = NEEDS_MODEL | CMD_RESULT,
    .example_setup = "load model lenet5; bits * w4a4",
    .example = "hist conv2.w bins=8", .exec = exec_hist,
};

static const struct arg_row plot_args[] = {
    { .name = "metrics", .kind = ARG_METRIC, .required = true, .many = true,
      .help = "which curves" },
    { .name = "last", .kind = ARG_INT, .key = true,
      .help = "only so many points from the end" },
    { .name = "log", .kind = ARG_FLAG, .help = "logarithmic axis" },
    { 0 },
};

const struct cmd cmd_plot = {
    .name = "plot", .group = "look", .help = "draw curves over the epochs",
    .detail = "To a file: .svg draws, .csv and .json give the points.",
    .arg = plot_args, .flags = CMD_RESULT,
    .example_setup = "load model jet; load data jets n=300; train 1",
    .example = "plot loss acc", .exec = exec_plot,
};

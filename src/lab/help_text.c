/* What `help` says. SPDX-License-Identifier: GPL-3.0-or-later */
#include "lab/help_text.h"

#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "lab/state.h"

#define FILL_COLUMNS 78       /* where the sink has no width of its own */
#define BIG 1e14              /* bounds beyond it say nothing */

/* ---- text ---- */

/* One line of the text: words filled, or as it stands when indented. */
static void wrap_line(struct out *out, const char *text, size_t n, int width)
{
    struct str line = { 0 };
    size_t i = 0;
    if (n > 0 && text[0] == ' ') {
        str_add_n(&line, text, n);
        i = n;
    }
    while (i < n) {
        size_t word = strcspn(text + i, " \n");
        word = word < n - i ? word : n - i;
        if (line.len && (int)(line.len + 1 + word) > width) {
            out_text(out, OUT_RESULT, str_text(&line));
            str_clear(&line);
        }
        if (line.len)
            str_char(&line, ' ');
        str_add_n(&line, text + i, word);
        i += word;
        i += i < n && text[i] == ' ';
    }
    out_text(out, OUT_RESULT, str_text(&line));
    str_fini(&line);
}

void help_wrap(struct out *out, const char *text)
{
    int width = out->width > 0 && out->width < FILL_COLUMNS ? out->width
                                                            : FILL_COLUMNS;
    while (*text) {
        size_t n = strcspn(text, "\n");
        wrap_line(out, text, n, width);
        text += n + (text[n] == '\n');
    }
}

static void add_bound(struct str *s, double lo, double hi)
{
    if (fabs(lo) < BIG && fabs(hi) < BIG)
        str_printf(s, "%s to %s", num_text(lo).s, num_text(hi).s);
    else if (fabs(lo) < BIG)
        str_printf(s, "from %s", num_text(lo).s);
    else if (fabs(hi) < BIG)
        str_printf(s, "to %s", num_text(hi).s);
}

static void show_rows(struct out *out, const char *what,
                      const struct qrow *row)
{
    const char *title[] = { what, "default", "bounds", "help" };
    if (!row || !row[0].name)
        return;
    struct table *t = table_new(4, title);
    for (int i = 0; row[i].name; i++) {
        struct str bound = { 0 };
        add_bound(&bound, row[i].lo, row[i].hi);
        table_cell(t, "%s", row[i].name);
        table_number(t, row[i].def, num_text(row[i].def).s);
        table_cell(t, "%s", str_text(&bound));
        table_cell(t, "%s", row[i].help ? row[i].help : "");
        str_fini(&bound);
    }
    table_show(t, out);
    table_free(t);
}

static void show_source(struct out *out, const char *source)
{
    if (source)
        out_printf(out, OUT_RESULT, "source: %s", source);
}

/* ---- one thing ---- */

void help_command(struct lab *l, const void *row, struct out *out)
{
    static const char *const title[] = { "argument", "kind", "help" };
    const struct cmd *c = row;
    (void)l;
    if (c->detail)
        help_wrap(out, c->detail);
    struct table *t = table_new(3, title);
    for (const struct arg_row *a = c->arg; a && a->name; a++) {
        table_cell(t, "%s%s%s", a->name, a->key ? "=" : "",
                   a->many ? ".." : "");
        table_cell(t, "%s", a->choices ? a->choices
                                       : arg_kind_name[a->kind]);
        table_cell(t, "%s", a->help ? a->help : "");
    }
    if (table_rows(t)) {
        out_printf(out, OUT_RESULT, " ");
        table_show(t, out);
    }
    table_free(t);
    if (c->example)
        out_printf(out, OUT_RESULT, " \nexample: %s%s%s",
                   c->example_setup ? c->example_setup : "",
                   c->example_setup ? "; " : "", c->example);
}

static void show_list(const char *what, struct out *out)
{
    const struct name_list *list = name_list_find(what);
    const char *title[] = { what, "help" };
    struct table *t = table_new(2, title);
    for (int i = 0; list && i < *list->count; i++) {
        struct named n = name_at(list, i);
        table_cell(t, "%s", n.name);
        table_cell(t, "%s", n.help ? n.help : "");
    }
    out_printf(out, OUT_RESULT, " ");
    table_show(t, out);
    table_free(t);
}

void help_topic_more(struct lab *l, const void *row, struct out *out)
{
    const struct help_topic *topic = row;
    help_wrap(out, topic->text);
    if (topic->more)
        topic->more(l, out);
    for (const char *p = topic->list; p && *p;) {
        struct str what = { 0 };
        size_t n = strcspn(p, "|");
        str_add_n(&what, p, n);
        show_list(str_text(&what), out);
        str_fini(&what);
        p += n + (p[n] == '|');
    }
}

void help_setting(struct lab *l, const void *row, struct out *out)
{
    const struct setting *s = row;
    struct str text = { 0 }, now = { 0 };
    setting_print(l, s, &now);
    str_printf(&text, "now %s%s%s", str_text(&now), s->unit ? " " : "",
               s->unit ? s->unit : "");
    if (s->def)
        str_printf(&text, ", default %s", s->def);
    if (setting_choice(s, 0)) {
        str_add(&text, "; one of");
        for (int i = 0; setting_choice(s, i); i++)
            str_printf(&text, " %s", setting_choice(s, i));
    } else if (s->hi > s->lo) {
        str_add(&text, "; ");
        add_bound(&text, s->lo, s->hi);
    }
    out_printf(out, OUT_RESULT, "%s", str_text(&text));
    out_printf(out, OUT_RESULT, "set %s VALUE changes it%s", s->name,
               s->flags & SET_MODEL ? "; can be undone, is recorded" : "");
    str_fini(&text);
    str_fini(&now);
}

void help_quantizer(struct lab *l, const void *row, struct out *out)
{
    const struct quantizer_kind *k = row;
    (void)l;
    show_source(out, k->source);
    if (k->min_bits == k->max_bits)
        out_printf(out, OUT_RESULT, "%d bit%s", k->min_bits,
                   k->min_bits == 1 ? "" : "s");
    else
        out_printf(out, OUT_RESULT, "%d to %d bits", k->min_bits,
                   k->max_bits);
    show_rows(out, "setting", k->param);
    show_rows(out, "learned", k->learned);
    if (k->example)
        out_printf(out, OUT_RESULT, "example: %s", k->example);
}

void help_observer(struct lab *l, const void *row, struct out *out)
{
    const struct observer_kind *k = row;
    (void)l;
    show_source(out, k->source);
    show_rows(out, "setting", k->param);
    out_printf(out, OUT_RESULT, "example: range *.out %s", k->name);
}

void help_qconfig(struct lab *l, const void *row, struct out *out)
{
    const struct qconfig *q = row;
    (void)l;
    show_source(out, q->source);
    out_printf(out, OUT_RESULT, "weights %s, outputs %s; `show qconfig %s`",
               q->weight, q->activation, q->name);
}

void help_model(struct lab *l, const void *row, struct out *out)
{
    const struct model_row *m = row;
    (void)l;
    out_printf(out, OUT_RESULT, "load model %s%s%s", m->name,
               m->data ? "; load data " : "", m->data ? m->data : "");
}

static void show_dataset_args(struct out *out, const struct dataset_arg *a)
{
    for (; a && a->name; a++)
        out_printf(out, OUT_RESULT, "  %s=  %s%s", a->name,
                   a->help ? a->help : "", a->required ? " (needed)" : "");
}

void help_source(struct lab *l, const void *row, struct out *out)
{
    const struct dataset_source *s = row;
    (void)l;
    show_dataset_args(out, s->arg);
    show_dataset_args(out, dataset_common_arg);
    out_printf(out, OUT_RESULT, "example: %s", s->example);
}

void help_schedule(struct lab *l, const void *row, struct out *out)
{
    static const char *const setting[] = { "a", "b", "c", "d" };
    const struct schedule_row *s = row;
    (void)l;
    for (int i = 0; i < 4; i++)
        if (s->param_name[i])
            out_printf(out, OUT_RESULT, "  %s: train.schedule.%s, default %s",
                       s->param_name[i], setting[i],
                       num_text(s->param_default[i]).s);
}

void help_function(struct lab *l, const void *row, struct out *out)
{
    const struct expr_fn *f = row;
    (void)l;
    out_printf(out, OUT_RESULT, "%s(%s): m a metric, t a tensor, the rest "
                                "numbers", f->name, f->args);
}

/* ---- topics ---- */

static void more_schedules(struct lab *l, struct out *out)
{
    for (int i = 0; i < schedule_count; i++) {
        out_printf(out, OUT_RESULT, " \n%s: %s", schedule_table[i].name,
                   schedule_table[i].help);
        help_schedule(l, &schedule_table[i], out);
    }
}

/* The first status of each code says what it means. */
static void more_exits(struct lab *l, struct out *out)
{
    (void)l;
    for (int s = 0; s < STATUS_COUNT; s++) {
        int code = status_exit_code((enum status)s);
        bool seen = false;
        for (int k = 0; k < s; k++)
            seen |= status_exit_code((enum status)k) == code;
        if (!seen)
            out_printf(out, OUT_RESULT, "%5d  %s", code,
                       status_text((enum status)s));
    }
}

/* Panes lay their list of keys over the screen. */
static void more_keys(struct lab *l, struct out *out)
{
    if (!l->hooks.focus || l->hooks.focus(l->hooks.ctx, "help", NULL))
        out_printf(out, OUT_RESULT, "There are no panes here; the manual "
                                    "page lists the keys.");
}

const struct help_topic help_topic_table[] = {
    { .name = "arrays", .help = "how commands name arrays in files",
      .text =
          "FILE.npy; FILE.npz when it holds one array; FILE.npz:NAME. "
          "`quantize` also takes a tensor of the model, conv1.w. Any real "
          "type is read; images are (N,C,H,W), weights (O,I,KH,KW)." },
    { .name = "exits", .help = "exit codes of the program",
      .text = "When several things went wrong, interrupts, files, numbers, "
              "expectations, the limit and other failures count in this "
              "order.",
      .more = more_exits },
    { .name = "expressions", .help = "what print, let, if, until, expect "
                                     "and $(..) compute",
      .text =
          "Numbers 8 1e-3 2.5k 1M, percents 97% (0.97), durations 30s 5m; "
          "+ - * / ^, == != < <= > >=, && || !, brackets. Names are metrics, "
          "variables (let), and fields of the last result as ans.acc; "
          "\"text\" compares with == and !=. A comparison with a value that "
          "is not there (nan) is false.\n\n"
          "Functions take a metric, a tensor (conv1.w .out .err .grad) or "
          "numbers: best(val_acc), sqnr(conv2.w), max(1, 2).",
      .list = "metric|function" },
    { .name = "fields", .help = "fields of a layer, for list and [..]",
      .text = "list cols=name,w,sqnr by=sqnr; in selectors [sqnr<20 && "
              "params>10k].",
      .list = "layer field" },
    { .name = "flags", .help = "what F, O, L and B stand for",
      .text =
          "F: values are fake-quantized (`enable fake`). O: the observer "
          "moves the range in training and calibration (`enable observer`). "
          "L: the optimiser learns it (`enable learn`). B: batch norm uses "
          "and keeps its running statistics (`freeze bn`). A dash: off." },
    { .name = "keys", .help = "keys of the panes",
      .text = "Every key runs a command, which the log shows. F1 lists the "
              "keys of the pane in focus; F2 to F5 go to the panes, F6 to "
              "the next one, Esc back to the prompt.",
      .more = more_keys },
    { .name = "lines", .help = "how a command is written",
      .text =
          "verb [selector] [words] [key=value ...] [-> file]. One command a "
          "line, `;' separates, # begins a comment, an open quote or bracket "
          "or a trailing \\ goes on in the next line.\n\n"
          "\"..\" knows \\n \\t \\\" \\\\ \\$, '..' nothing. $name, ${name} "
          "and $(expression) are replaced, $1 to $9 and $# are a script's "
          "arguments. -> file takes the result (.txt .md .csv .tsv .json), "
          "->> file appends. !COMMAND runs the shell.\n\n"
          "At the prompt a unique beginning of a command will do; scripts "
          "want full names." },
    { .name = "quantizers", .help = "how a quantizer is written",
      .text =
          "A number of bits; KIND:BITS with words behind commas; or a kind's "
          "own string.\n\n"
          "  affine:4,sym,channel     lsq:2,unsigned     dorefa:4\n"
          "  affine:8,asym,obs=ema,ema.c=0.01,rule=fused\n"
          "  quantized_bits(6,0,alpha=1)\n\n"
          "Words: signed unsigned, sym asym, narrow full, tensor channel "
          "group=N, reduce noreduce, codes=LO..HI, divide reciprocal, "
          "zp=after|before|float, clamp=last|first, round=NAME, "
          "grad=masked|pass, rule=NAME, obs=NAME, OBSERVER.SETTING=X, eps=X, "
          "noise=X, delay=N, and the kind's settings (`help lsq`).",
      .list = "quantizer" },
    { .name = "schedules", .help = "how the learning rate changes",
      .text = "set train.schedule NAME chooses one, train.schedule.a, .b, .c "
              "and .d are its numbers. Epochs count from the start of "
              "`train`; warmup is how many of them the rate takes to rise to "
              "its full value. plateau looks at the validation loss, or "
              "without such a split at the training loss.",
      .more = more_schedules },
    { .name = "scripts", .help = "files of commands, and records",
      .text =
          "`source FILE.qat` runs a file, and so does the program itself: "
          "qatlab -b FILE.qat. if, for and define open blocks that end "
          "closes; expect makes a script a test. The first command that "
          "fails ends a script.\n\n"
          "`record FILE.qat` writes what was done so that it can be run "
          "again; `record FILE.jsonl` and --json write events for programs." },
    { .name = "selectors", .help = "how layers and points are chosen",
      .text =
          "  conv2  \"a.b\"            a layer; quotes for odd names\n"
          "  conv* block?.dw* *      patterns; * crosses dots\n"
          "  :conv :dense :bn :act   by type\n"
          "  @3 @3-7 @first @last    by position, from 1\n"
          "  @sel @changed @NAME     selected in the pane, differing from the\n"
          "                          last mark, a set of `let @NAME = ..`\n"
          "  /re/                    regular expression\n"
          "  [sqnr<20 && w>4]        by fields (`help fields`)\n"
          "  a,b  a & b  !a  (..)    union, intersection, complement\n\n"
          "A suffix picks a point or a tensor of each layer: conv*.w, *.out. "
          "No match is an error, unless the selector ends in ?.",
      .list = "suffix|layer type" },
    { .name = "warnings", .help = "states that are almost always mistakes",
      .text =
          "Told once, with what to do about it, until the state has gone; "
          "`info run` tells all that hold. States of flags are looked at "
          "after every command, what training moved after every epoch, "
          "weights after `eval` and training. When the accuracy is that of "
          "guessing, or well below what was reached before, layers are "
          "searched for the reason on a batch of validation samples: "
          "`info points` has the numbers.",
      .list = "warning" },
};
const int help_topic_count =
    sizeof help_topic_table / sizeof help_topic_table[0];

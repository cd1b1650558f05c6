/* Commands: bits, qconfig. SPDX-License-Identifier: GPL-3.0-or-later */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "lab/point_list.h"
#include "lab/state.h"

/* ---- what is asked for ---- */

/* Spec texts by kind of point; NULL: not asked for. */
struct ask {
    const struct arg *arg[POINT_KINDS];   /* to blame */
    char text[POINT_KINDS][160];
    bool off;
};

/* `w4a8`, `w4`, `a8`: widths in one word. */
static bool read_widths(const char *word, char *w, char *a)
{
    const char *p = word;
    *w = *a = '\0';
    if (*p == 'w' && isdigit((unsigned char)p[1])) {
        size_t n = strspn(p + 1, "0123456789");
        snprintf(w, 16, "%.*s", (int)(n < 15 ? n : 15), p + 1);
        p += 1 + n;
    }
    if (*p == 'a' && isdigit((unsigned char)p[1])) {
        size_t n = strspn(p + 1, "0123456789");
        snprintf(a, 16, "%.*s", (int)(n < 15 ? n : 15), p + 1);
        p += 1 + n;
    }
    return p != word && !*p;
}

static const struct {
    const char *key;
    enum point_kind kind;
} key_table[] = {
    { "w", POINT_WEIGHT }, { "a", POINT_OUT }, { "in", POINT_IN },
    { "b", POINT_BIAS },
};

static void ask_set(struct ask *q, enum point_kind kind,
                    const struct arg *arg, const char *text)
{
    q->arg[kind] = arg;
    snprintf(q->text[kind], sizeof q->text[kind], "%s", text);
}

/* g= s= round= obs= go behind the spec of the weights, or of the
 * activations when no weights are asked for. */
static enum status ask_words(const struct args *a, struct ask *q,
                             struct err *e)
{
    static const struct {
        const char *key, *before;
    } words[] = { { "g", "" }, { "s", "" }, { "round", "round=" },
                  { "obs", "obs=" } };
    enum point_kind kind = q->arg[POINT_WEIGHT] ? POINT_WEIGHT : POINT_OUT;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        const struct arg *x = args_find(a, words[i].key);
        if (!x)
            continue;
        if (!q->arg[kind])
            return args_fail(a, x, e, "%s= wants w= or a= beside it",
                             words[i].key);
        size_t n = strlen(q->text[kind]);
        snprintf(q->text[kind] + n, sizeof q->text[kind] - n, ",%s%s",
                 words[i].before, x->text);
    }
    return STATUS_OK;
}

static enum status read_ask(const struct args *a, struct ask *q,
                            struct err *e)
{
    char w[16], act[16];
    *q = (struct ask){ 0 };
    for (int i = 0; i < args_count(a, "widths"); i++) {
        const struct arg *x = args_nth(a, "widths", i);
        if (strcmp(x->text, "off") == 0) {
            q->off = true;
            continue;
        }
        if (!read_widths(x->text, w, act))
            return args_fail(a, x, e, "'%.60s' is no width: w4, a8, w4a8, w=, "
                                      "a=, or off", x->text);
        if (w[0])
            ask_set(q, POINT_WEIGHT, x, w);
        if (act[0])
            ask_set(q, POINT_OUT, x, act);
    }
    for (size_t i = 0; i < sizeof key_table / sizeof key_table[0]; i++) {
        const struct arg *x = args_find(a, key_table[i].key);
        if (x)
            ask_set(q, key_table[i].kind, x, x->text);
    }
    bool any = false;
    for (int k = 0; k < POINT_KINDS; k++)
        any |= q->arg[k] != NULL;
    if (any == q->off)
        return args_fail(a, NULL, e, any ? "off and a width cannot both be "
                                           "asked for"
                                         : "bits wants a width: w4a8, w=4, "
                                           "a=8, or off");
    return ask_words(a, q, e);
}

/* ---- what it means, point by point ---- */

struct change {
    int point;
    bool off;
    struct qspec spec;
    int old_bits;             /* 0: none was set */
};

struct changes {
    struct change *change;
    int n;
};

static void changes_add(struct changes *c, struct change x)
{
    for (int i = 0; i < c->n; i++)
        if (c->change[i].point == x.point)
            return;
    c->change = xrealloc(c->change, (size_t)(c->n + 1) * sizeof *c->change);
    c->change[c->n++] = x;
}

/* The kind that a spec text begins with; NULL: none. */
static const struct quantizer_kind *kind_named(const char *text)
{
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(text, ":,(<"), text);
    return quantizer_kind_find(name);
}

/* The spec at work there, or what the lab's qconfig has for such a point:
 * where there is none, or where the text names another kind. */
static enum status base_spec(struct lab *l, int point, const char *ask,
                             struct qspec *out, struct err *e)
{
    const struct point *pt = &l->graph->point[point];
    const struct qconfig *c = l->qconfig;
    const struct quantizer_kind *kind = kind_named(ask);
    bool source = l->graph->node[pt->node].op->flags & OP_SOURCE;
    if (pt->q && (!kind || kind == pt->q->spec.kind)) {
        *out = pt->q->spec;
        return STATUS_OK;
    }
    const char *text = pt->kind == POINT_WEIGHT ? c->weight
                       : pt->kind == POINT_BIAS && c->bias ? c->bias
                       : source && c->input ? c->input
                                            : c->activation;
    return qspec_parse(text, NULL, out, e);
}

/* A number with words behind it keeps the kind that is there. */
static enum status parse_over(const char *text, const struct qspec *base,
                              struct qspec *out, struct err *e)
{
    char full[256];
    size_t digits = strspn(text, "0123456789");
    if (digits && text[digits] == ',')
        snprintf(full, sizeof full, "%s:%s", base->kind->name, text);
    else
        snprintf(full, sizeof full, "%s", text);
    TRY(qspec_parse(full, base, out, e));
    return qspec_check(out, e);
}

static enum status change_point(struct lab *l, const struct args *a,
                                const struct ask *q, int point,
                                struct changes *out, struct err *e)
{
    const struct point *pt = &l->graph->point[point];
    struct change c = { .point = point, .off = q->off,
                        .old_bits = pt->q ? pt->q->spec.bits : 0 };
    if (!q->off) {
        struct qspec base;
        TRY(base_spec(l, point, q->text[pt->kind], &base, e));
        enum status s = parse_over(q->text[pt->kind], &base, &c.spec, e);
        if (s) {
            err_wrap(e, s, "%s", pt->name);
            return args_blame(a, q->arg[pt->kind], 0, s);
        }
    }
    changes_add(out, c);
    return STATUS_OK;
}

/* The net's input takes 8 bits with the first command that means the whole
 * net; its own width is asked for by its own name. */
static enum status change_input(struct lab *l, const struct args *a,
                                const struct ask *q, int node, bool own,
                                struct changes *out, struct err *e)
{
    struct ask eight = *q;
    int point = layer_out_point(l->graph, node);
    if (point < 0 || (!q->off && !q->arg[POINT_OUT]))
        return STATUS_OK;
    if (!own && !q->off) {
        if (l->graph->point[point].q)
            return STATUS_OK;
        ask_set(&eight, POINT_OUT, q->arg[POINT_OUT], "8");
    }
    return change_point(l, a, &eight, point, out, e);
}

static int node_point(const struct graph *g, int node, enum point_kind kind)
{
    if (kind == POINT_OUT)
        return layer_out_point(g, g->node[node].head);
    return kind == POINT_WEIGHT ? layer_weight_point(g, node)
                                : g->node[node].point[kind];
}

/* The selector spells the name (or the type of that name) out. */
static bool named(const char *selector, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = selector; (p = strstr(p, name)); p++) {
        bool begins = p == selector || !lex_is_name(p[-1]);
        if (begins && !lex_is_name(p[n]) && p[n] != '*' && p[n] != '?')
            return true;
    }
    return false;
}

static enum status collect(struct lab *l, const struct args *a,
                           const struct ask *q, struct changes *out,
                           struct err *e)
{
    const struct selection *sel = &args_find(a, "layers")->sel;
    for (int i = 0; i < sel->n; i++) {
        if (!sel->bits[i])
            continue;
        if (l->graph->node[i].op->flags & OP_SOURCE) {
            bool own = selection_count(sel) == 1 ||
                       named(sel->text, l->graph->node[i].name);
            TRY(change_input(l, a, q, i, own, out, e));
            continue;
        }
        for (int k = 0; k < POINT_KINDS; k++) {
            int point = node_point(l->graph, i, (enum point_kind)k);
            unsigned bit = (unsigned)SEL_POINT(k);
            bool meant = sel->bits[i] & (SEL_LAYER | bit);
            bool wanted = q->off ? point >= 0 && l->graph->point[point].q
                                 : q->arg[k] != NULL;
            if (point >= 0 && meant && wanted)
                TRY(change_point(l, a, q, point, out, e));
        }
    }
    if (out->n == 0 && selection_count(sel) > 0)
        return args_fail(a, args_find(a, "layers"), e,
                         q->off ? "no quantizer at %s"
                                : "nothing at %s can have such a quantizer; "
                                  "w= needs weights, a= an output of its own",
                         sel->text);
    return STATUS_OK;
}

/* ---- telling ---- */

struct widths {
    int lo, hi, n;
};

static void widths_add(struct widths *w, int bits)
{
    if (!bits)
        return;
    w->lo = w->n && w->lo < bits ? w->lo : bits;
    w->hi = w->n && w->hi > bits ? w->hi : bits;
    w->n++;
}

static void widths_print(const struct widths *w, struct str *out)
{
    if (!w->n)
        str_add(out, "float");
    else if (w->lo == w->hi)
        str_printf(out, "%d", w->lo);
    else
        str_printf(out, "%d-%d", w->lo, w->hi);
}

static const char *const kind_letter[POINT_KINDS] = {
    [POINT_WEIGHT] = "w", [POINT_BIAS] = "b",  [POINT_IN] = "in",
    [POINT_OUT] = "a",    [POINT_ACC] = "acc",
};

/* The net's input is told apart: it has a width of its own. */
static void print_kind(struct lab *l, const struct changes *c,
                       enum point_kind kind, bool source, struct str *out)
{
    struct widths was = { 0 }, is = { 0 };
    int n = 0;
    for (int i = 0; i < c->n; i++) {
        const struct point *pt = &l->graph->point[c->change[i].point];
        bool input = l->graph->node[pt->node].op->flags & OP_SOURCE;
        if (pt->kind != kind || input != source)
            continue;
        widths_add(&was, c->change[i].old_bits);
        widths_add(&is, c->change[i].off ? 0 : c->change[i].spec.bits);
        n++;
    }
    if (!n)
        return;
    str_printf(out, "  %s ", source ? "input" : kind_letter[kind]);
    widths_print(&was, out);
    str_add(out, " -> ");
    widths_print(&is, out);
}

static void tell(struct lab *l, const struct changes *c, double bits_before,
                 struct out *out)
{
    struct str s = { 0 };
    int *node = xmalloc((size_t)(c->n + 1) * sizeof *node), n = 0;
    for (int i = 0; i < c->n; i++) {
        int owner = l->graph->point[c->change[i].point].node;
        bool seen = false;
        for (int k = 0; k < n; k++)
            seen |= node[k] == owner;
        if (!seen)
            node[n++] = owner;
    }
    names_print(l, node, n, "layer", &s);
    for (int k = 0; k < POINT_KINDS; k++)
        print_kind(l, c, (enum point_kind)k, false, &s);
    print_kind(l, c, POINT_OUT, true, &s);
    double bits = lab_model_bits(l);
    if (bits != bits_before)
        str_printf(&s, "  size %s -> %s", num_bytes(bits_before / 8).s,
                   num_bytes(bits / 8).s);
    out_printf(out, OUT_RESULT, "%s", str_text(&s));
    answer_layers(l, node, n);
    answer_num(l, "size", bits / 8);
    str_fini(&s);
    free(node);
}

static enum status exec_bits(struct lab *l, const struct args *a,
                             struct out *out, struct err *e)
{
    struct ask q;
    struct changes c = { 0 };
    double before = lab_model_bits(l);
    TRY(read_ask(a, &q, e));
    enum status s = collect(l, a, &q, &c, e);
    if (!s)
        lab_changed_quant(l);
    for (int i = 0; i < c.n && !s; i++)
        s = point_set(l->graph, c.change[i].point,
                      c.change[i].off ? NULL : &c.change[i].spec, e);
    if (!s)
        tell(l, &c, before, out);
    free(c.change);
    return s;
}

/* ---- qconfig ---- */

static enum status read_count(const struct args *a, const char *key,
                              int *out, struct err *e)
{
    const struct arg *x = args_find(a, key);
    *out = 0;
    if (!x)
        return STATUS_OK;
    if (x->number < 1 || x->number > 32)
        return args_fail(a, x, e, "%s= is from 1 to 32 bits", key);
    *out = (int)x->number;
    return STATUS_OK;
}

static const char *qconfig_name(const void *ctx, int i)
{
    (void)ctx;
    return qconfig_table[i].name;
}

static enum status find_config(const struct args *a,
                               const struct qconfig **out, struct err *e)
{
    const struct arg *name = args_find(a, "name");
    *out = qconfig_find(name->text);
    if (*out)
        return STATUS_OK;
    const char *near = str_nearest(name->text, qconfig_count, qconfig_name,
                                   NULL);
    if (near)
        return args_fail(a, name, e, "no qconfig '%.60s' (did you mean "
                                     "'%s'?)", name->text, near);
    return args_fail(a, name, e, "no qconfig '%.60s'; `show qconfig` lists "
                                 "them", name->text);
}

static enum bn_fold config_fold(const struct qconfig *c, enum bn_fold now)
{
    for (int i = 0; c->fold && i < FOLD_COUNT; i++)
        if (strcmp(bn_fold_name[i], c->fold) == 0)
            return (enum bn_fold)i;
    return now;
}

/* Of the nodes, those that got a quantizer. */
static int keep_quantized(const struct graph *g, int *node, int n)
{
    int kept = 0;
    for (int i = 0; i < n; i++) {
        bool has = false;
        for (int k = 0; k < POINT_KINDS; k++) {
            int point = g->node[node[i]].point[k];
            has |= point >= 0 && g->point[point].q;
        }
        if (has)
            node[kept++] = node[i];
    }
    return kept;
}

static enum status exec_qconfig(struct lab *l, const struct args *a,
                                struct out *out, struct err *e)
{
    const struct arg *sel = args_find(a, "layers");
    struct assign_opts o = { 0 };
    TRY(find_config(a, &o.config, e));
    TRY(read_count(a, "w", &o.weight_bits, e));
    TRY(read_count(a, "a", &o.activation_bits, e));
    int *node = xmalloc((size_t)(l->graph->n_node + 1) * sizeof *node);
    int n = 0;
    for (int i = 0; i < l->graph->n_node; i++)
        if (!sel || sel->sel.bits[i])
            node[n++] = i;
    o.node = node;
    o.n_node = n;
    o.input = !sel || selection_is_all(&sel->sel);
    lab_changed_quant(l);
    enum status s = assign_qconfig(l->graph, &o, e);
    if (!s) {
        l->qconfig = o.config;
        l->train.bn_fold = config_fold(o.config, l->train.bn_fold);
        l->gen.settings++;
        if (l->trainer)
            s = trainer_set(l->trainer, &l->train, e);
    }
    if (!s) {
        struct str text = { 0 };
        n = keep_quantized(l->graph, node, n);
        names_print(l, node, n, "layer", &text);
        out_printf(out, OUT_RESULT, "%s  qconfig %s  size %s",
                   str_text(&text), o.config->name,
                   num_bytes(lab_model_bits(l) / 8).s);
        answer_layers(l, node, n);
        answer_text(l, "qconfig", o.config->name);
        str_fini(&text);
    }
    free(node);
    return s;
}

static const struct arg_row bits_args[] = {
    { .name = "layers", .kind = ARG_SELECTOR, .required = true,
      .help = "which layers" },
    { .name = "widths", .kind = ARG_WORD, .many = true,
      .help = "w4, a8, w4a8, or off" },
    { .name = "w", .kind = ARG_WORD, .key = true,
      .help = "weights: bits, or a quantizer (lsq:2, affine:4,sym)" },
    { .name = "a", .kind = ARG_WORD, .key = true, .help = "outputs" },
    { .name = "in", .kind = ARG_WORD, .key = true, .help = "inputs" },
    { .name = "b", .kind = ARG_WORD, .key = true, .help = "bias" },
    { .name = "g", .kind = ARG_WORD, .key = true,
      .help = "granularity: tensor, channel, group=N" },
    { .name = "s", .kind = ARG_CHOICE, .key = true, .choices = "sym|asym",
      .help = "symmetry" },
    { .name = "round", .kind = ARG_WORD, .key = true,
      .help = "rounding: half_even, half_away, floor .." },
    { .name = "obs", .kind = ARG_WORD, .key = true, .help = "observer" },
    { 0 },
};

const struct cmd cmd_bits = {
    .name = "bits", .group = "precision",
    .help = "give layers their precision",
    .detail =
        "A width keeps everything else of the quantizer that is there; where "
        "there is none, the rest comes from the qconfig (`set quant.config`). "
        "w= and a= also take a whole quantizer: lsq:2, "
        "affine:4,channel,sym, quantized_bits(6,0,alpha=1) (`show "
        "quantizers` lists the kinds); one of another kind than is there "
        "takes the rest from the qconfig, too. g=, s=, round= and obs= speak "
        "of the weights, or of the outputs when no weights are named.\n\n"
        "Fake-quantization and observer are on at once. The output belongs "
        "to the whole fused group (conv + batch norm + relu: after the "
        "relu). The net's input gets 8 bits with the first command that "
        "means the whole net; `bits input a=6` gives it another width. off "
        "takes quantizers away.",
    .arg = bits_args, .flags = NEEDS_MODEL | CMD_CHANGES,
    .example_setup = "load model lenet5", .example = "bits conv* w=4 a=8",
    .exec = exec_bits,
};

static const struct arg_row qconfig_args[] = {
    { .name = "name", .kind = ARG_WORD, .required = true,
      .help = "fbgemm, qnnpack, aimet ..: `show qconfig`" },
    { .name = "layers", .kind = ARG_SELECTOR, .help = "which layers; all" },
    { .name = "w", .kind = ARG_INT, .key = true, .help = "weight bits" },
    { .name = "a", .kind = ARG_INT, .key = true, .help = "output bits" },
    { 0 },
};

const struct cmd cmd_qconfig = {
    .name = "qconfig", .group = "precision",
    .help = "set the quantizers that a package sets by default",
    .detail = "Weights, outputs and the net's input get the quantizers of a "
              "package, and bn.fold follows it. w= and a= change the widths. "
              "`bits` goes on from this qconfig.",
    .arg = qconfig_args, .flags = NEEDS_MODEL | CMD_CHANGES,
    .example_setup = "load model tfc", .example = "qconfig fbgemm w=4 a=4",
    .exec = exec_qconfig,
};

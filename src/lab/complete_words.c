/* Completion: where the words of an argument come from.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "lab/complete.h"
#include "lab/layer_fields.h"
#include "lab/names.h"
#include "lab/state.h"

/* ---- lists ---- */

static void add_list(struct found *f, const char *what, const char *tail)
{
    const struct name_list *list = name_list_find(what);
    for (int i = 0; list && i < *list->count; i++) {
        struct named n = name_at(list, i);
        if (!strchr(n.name, ' '))        /* several words want quotes */
            found_add(f, n.name, tail, n.help);
    }
}

static void source_settings(struct found *f, const struct place *p)
{
    (void)p;
    add_list(f, "setting", "");
}

static void source_models(struct found *f, const struct place *p)
{
    add_list(f, "model", "");
    source_files(f, p);
}

static void source_qconfigs(struct found *f, const struct place *p)
{
    (void)p;
    add_list(f, "qconfig", "");
}

static void source_observers(struct found *f, const struct place *p)
{
    (void)p;
    add_list(f, "observer", "");
}

static void source_roundings(struct found *f, const struct place *p)
{
    (void)p;
    for (int i = 0; i < ROUND_COUNT; i++)
        found_add(f, rounding_name[i], "", "rounding");
}

static void source_fields(struct found *f, const struct place *p)
{
    const char *comma = strrchr(p->line + p->begin, ',');
    if (comma)
        found_from(f, p, (int)(comma + 1 - p->line));
    add_list(f, "layer field", "");
}

static void source_everything(struct found *f, const struct place *p)
{
    for (int i = 0; i < p->lab->script.n_macro; i++)
        found_add(f, p->lab->script.macro[i].name, "", "defined command");
    for (int i = 0; i < name_list_count; i++)
        add_list(f, name_list_table[i].what, "");
}

static void source_marks(struct found *f, const struct place *p)
{
    const struct history *h = &p->lab->history;
    for (int i = 0; i < h->n_mark; i++) {
        char help[48];
        snprintf(help, sizeof help, "epoch %.2f", h->mark[i].epoch);
        found_add(f, h->mark[i].name, "", help);
    }
}

static void source_metrics(struct found *f, const struct place *p)
{
    for (int i = 0; i < lab_series_count(p->lab); i++) {
        const struct metric_row *m = metric_find(lab_series(p->lab, i).name);
        found_add(f, lab_series(p->lab, i).name, "", m ? m->help : "curve");
    }
    add_list(f, "metric", "");
}

/* ---- files ---- */

/* What is listed, and how a name is written: after a quote that is open, or
 * with quotes of its own. */
struct listing {
    struct str folder;        /* "" or ends in '/' */
    struct str base;
    bool folders_only;
};

static void add_entry(struct found *f, const struct listing *l,
                      const char *name)
{
    struct str path = { 0 }, word = { 0 };
    struct stat st;
    size_t n = l->base.len;
    if (strncmp(name, str_text(&l->base), n) != 0 ||
        (name[0] == '.' && n == 0))
        return;
    str_printf(&path, "%s%s", str_text(&l->folder), name);
    bool is_dir = stat(str_text(&path), &st) == 0 && S_ISDIR(st.st_mode);
    if (is_dir)
        str_char(&path, '/');
    if (is_dir || !l->folders_only) {
        lex_quote(&word, str_text(&path));
        const char *prefix = f->prefix;
        f->prefix = "";       /* the name was compared without its quotes */
        found_add(f, str_text(&word), "",
                  is_dir ? "folder" : num_bytes((double)st.st_size).s);
        f->prefix = prefix;
    }
    str_fini(&path);
    str_fini(&word);
}

static void list_folder(struct found *f, const struct place *p,
                        bool folders_only)
{
    struct listing l = { .folders_only = folders_only };
    const char *word = p->line + p->begin;
    struct dirent **entry = NULL;
    word += *word == '"' || *word == '\'';
    const char *slash = strrchr(word, '/');
    if (slash)
        str_add_n(&l.folder, word, (size_t)(slash + 1 - word));
    str_add(&l.base, slash ? slash + 1 : word);
    int n = scandir(slash ? str_text(&l.folder) : ".", &entry, NULL,
                    alphasort);
    for (int i = 0; i < n; i++) {
        const char *name = entry[i]->d_name;
        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
            add_entry(f, &l, name);
        free(entry[i]);
    }
    free(entry);
    str_fini(&l.folder);
    str_fini(&l.base);
}

void source_files(struct found *f, const struct place *p)
{
    list_folder(f, p, false);
}

static void source_folders(struct found *f, const struct place *p)
{
    list_folder(f, p, true);
}

/* ---- layers ---- */

static bool is_plain(const char *name)
{
    for (const char *c = name; *c; c++)
        if (!lex_is_name(*c) && *c != '-')
            return false;
    return *name != '\0';
}

static void add_layers(struct found *f, struct lab *l, const char *tail)
{
    const struct graph *g = l->graph;
    for (int i = 0; i < g->n_node; i++) {
        const struct node *n = &g->node[i];
        struct str help = { 0 }, name = { 0 };
        str_printf(&help, "%s ", n->op->name);
        for (int k = 1; k < n->shape.rank; k++)
            str_printf(&help, "%s%lld", k > 1 ? "x" : "",
                       (long long)n->shape.dim[k]);
        str_printf(&name, is_plain(n->name) ? "%s" : "\"%s\"", n->name);
        found_add(f, str_text(&name), tail, str_text(&help));
        str_fini(&help);
        str_fini(&name);
    }
}

static void add_types(struct found *f, const struct graph *g)
{
    for (int i = 0; i < g->n_node; i++) {
        char name[64];
        snprintf(name, sizeof name, ":%s", node_type(g, &g->node[i]));
        found_add(f, name, "", "all of this type");
    }
}

static void add_sets(struct found *f, const struct lab *l)
{
    static const char *const sets[][2] = {
        { "@first", "the first layer" }, { "@last", "the last layer" },
        { "@sel", "selected in the pane" },
        { "@changed", "differing from the last mark" },
    };
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++)
        found_add(f, sets[i][0], "", sets[i][1]);
    for (int i = 0; i < l->vars.n; i++)
        if (l->vars.var[i].name[0] == '@')
            found_add(f, l->vars.var[i].name, "", l->vars.var[i].value.text);
}

static const char *suffix_help(enum sel_bit bit)
{
    static const struct {
        enum sel_bit bit;
        const char *help;
    } row[] = {
        { SEL_W, "weights" },       { SEL_B, "bias" },
        { SEL_IN, "input" },        { SEL_OUT, "output" },
        { SEL_ACC, "accumulator" }, { SEL_ERR, "quantization error" },
        { SEL_GRAD, "gradient" },   { SEL_SCALE, "scales" },
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++)
        if (row[i].bit == bit)
            return row[i].help;
    return "";
}

/* `conv1.` and what comes behind the dot; of two names for the same the
 * first. */
static void add_suffixes(struct found *f, const struct lab *l)
{
    const char *dot = strrchr(f->prefix, '.');
    char layer[256];
    unsigned seen = 0;
    snprintf(layer, sizeof layer, "%.*s",
             dot && dot - f->prefix < 255 ? (int)(dot - f->prefix) : 0,
             f->prefix);
    if (!layer[0] ||
        (graph_find(l->graph, layer) < 0 && !glob_has_wildcard(layer)))
        return;
    for (int i = 0; i < sel_suffix_count; i++) {
        char name[320];
        if (seen & sel_suffix_table[i].bit)
            continue;
        seen |= sel_suffix_table[i].bit;
        snprintf(name, sizeof name, "%s.%s", layer, sel_suffix_table[i].name);
        found_add(f, name, "", suffix_help(sel_suffix_table[i].bit));
    }
}

/* Where the atom under the cursor begins: behind the last operator that is
 * in no quotes or brackets. */
static int atom_begin(const struct place *p)
{
    int at = p->begin, depth = 0;
    char quote = '\0';
    for (int i = p->begin; i < p->point; i++) {
        char c = p->line[i];
        depth += !quote && c == '[' ? 1 : !quote && c == ']' ? -1 : 0;
        if (quote)
            quote = c == quote ? '\0' : quote;
        else if (c == '"' || c == '\'')
            quote = c;
        else if (depth == 0 && strchr(",&!(", c))
            at = i + 1;
    }
    return at;
}

/* In `[..`, the names of fields. */
static bool add_predicate(struct found *f, const struct place *p, int atom)
{
    const char *open = strrchr(p->line + atom, '[');
    int at = p->point;
    if (!open || strchr(open, ']'))
        return false;
    while (at > atom && lex_is_name(p->line[at - 1]))
        at--;
    found_from(f, p, at);
    add_list(f, "layer field", "");
    return true;
}

static void source_selector(struct found *f, const struct place *p)
{
    int atom = atom_begin(p);
    if (!p->lab->graph || add_predicate(f, p, atom))
        return;
    found_from(f, p, atom);
    add_layers(f, p->lab, "");
    add_suffixes(f, p->lab);
    if (!*f->prefix)
        found_add(f, "*", "", "all layers");
    add_types(f, p->lab->graph);
    add_sets(f, p->lab);
}

static void source_tensors(struct found *f, const struct place *p)
{
    const struct graph *g = p->lab->graph;
    if (!g)
        return;
    add_suffixes(f, p->lab);
    if (f->n == 0)
        add_layers(f, p->lab, ".");
    for (int i = 0; strchr(f->prefix, '.') && i < g->n_param; i++)
        found_add(f, g->param[i].name, "", "parameter");
}

static void source_arrays(struct found *f, const struct place *p)
{
    source_tensors(f, p);
    source_files(f, p);
}

/* ---- expressions ---- */

static void add_variables(struct found *f, const struct lab *l,
                          const char *lead)
{
    char name[96];
    for (int i = 0; i < l->vars.n; i++) {
        struct str value = { 0 };
        value_print(&l->vars.var[i].value, &value);
        snprintf(name, sizeof name, "%s%s", lead, l->vars.var[i].name);
        if (l->vars.var[i].name[0] != '@')
            found_add(f, name, "", str_text(&value));
        str_fini(&value);
    }
    for (int i = 0; i < l->ans.n; i++) {
        snprintf(name, sizeof name, "%sans.%s", lead, l->ans.field[i].name);
        found_add(f, name, "", "of the last result");
    }
}

void source_expression(struct found *f, const struct place *p)
{
    int at = p->point, depth = 0;
    while (at > p->begin && lex_is_name(p->line[at - 1]))
        at--;
    for (int i = p->begin; i < at; i++)
        depth += p->line[i] == '(' ? 1 : p->line[i] == ')' ? -1 : 0;
    if (at > 0 && p->line[at - 1] == '$')
        return;               /* put in before: source_variables */
    found_from(f, p, at);
    source_metrics(f, p);
    add_list(f, "function", "(");
    add_variables(f, p->lab, "");
    if (p->lab->graph && (depth > 0 || strchr(f->prefix, '.')))
        source_tensors(f, p);
}

void source_variables(struct found *f, const struct place *p)
{
    const char *dollar = strrchr(p->line + p->begin, '$');
    for (const char *c = dollar ? dollar + 1 : ""; *c; c++)
        if (!lex_is_name(*c))
            dollar = NULL;
    if (!dollar)
        return;
    found_from(f, p, (int)(dollar - p->line));
    add_variables(f, p->lab, "$");
}

/* ---- quantizers ---- */

/* Words behind the commas of a spec; `=`: a value follows. */
static const char *const spec_word[][2] = {
    { "signed", "codes below 0, too" }, { "unsigned", "codes from 0" },
    { "sym", "zero point fixed" },      { "asym", "zero point free" },
    { "narrow", "without the lowest code" }, { "full", "all codes" },
    { "tensor", "one scale" },          { "channel", "a scale per channel" },
    { "group=", "a scale per N values" },
    { "codes=", "LO..HI instead of bits" },
    { "reduce", "half the codes" },     { "noreduce", "all the codes" },
    { "divide", "x / s" },              { "reciprocal", "x * (1/s)" },
    { "zp=", "after, before, float" },  { "clamp=", "last, first" },
    { "round=", "rounding" },           { "grad=", "masked, pass" },
    { "rule=", "range to scale" },      { "obs=", "observer" },
    { "eps=", "smallest scale" },       { "noise=", "share quantized" },
    { "delay=", "training steps before it starts" },
};

static void add_names(struct found *f, const char *const *name, int n)
{
    for (int i = 0; i < n; i++)
        found_add(f, name[i], "", "");
}

static void spec_rules(struct found *f, const struct place *p)
{
    (void)p;
    add_list(f, "scale rule", "");
}

static void spec_grads(struct found *f, const struct place *p)
{
    (void)p;
    add_names(f, qgrad_name, QGRAD_COUNT);
}

static const struct {
    const char *key;
    source_fn source;
} spec_value[] = {
    { "obs=", source_observers }, { "round=", source_roundings },
    { "rule=", spec_rules },      { "grad=", spec_grads },
};

/* Settings of the kind that the spec begins with. */
static void add_kind_settings(struct found *f, const char *spec)
{
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(spec, ":,(<"), spec);
    const struct quantizer_kind *k = quantizer_kind_find(name);
    for (int i = 0; k && k->param && k->param[i].name; i++)
        found_add(f, k->param[i].name, "=", k->param[i].help);
}

static void source_spec(struct found *f, const struct place *p)
{
    const char *spec = p->line + p->begin;
    const char *comma = strrchr(spec, ',');
    if (!comma && !strchr(spec, ':')) {
        add_list(f, "quantizer", ":");
        return;
    }
    if (!comma || strcspn(spec, "(<") < strcspn(spec, ",)>"))
        return;
    found_from(f, p, (int)(comma + 1 - p->line));
    for (size_t i = 0; i < sizeof spec_value / sizeof spec_value[0]; i++) {
        size_t n = strlen(spec_value[i].key);
        if (strncmp(comma + 1, spec_value[i].key, n) != 0)
            continue;
        found_from(f, p, f->start + (int)n);
        spec_value[i].source(f, p);
        return;
    }
    for (size_t i = 0; i < sizeof spec_word / sizeof spec_word[0]; i++)
        found_add(f, spec_word[i][0], "", spec_word[i][1]);
    add_kind_settings(f, spec);
}

static void source_grains(struct found *f, const struct place *p)
{
    (void)p;
    found_add(f, "tensor", "", "one scale");
    found_add(f, "channel", "", "a scale per channel");
    found_add(f, "group=", "", "a scale per N values of a row");
}

static void source_widths(struct found *f, const struct place *p)
{
    static const char *const widths[] = { "w8a8", "w4a8", "w4a4", "w2a2" };
    (void)p;
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++)
        found_add(f, widths[i], "", "bits of weights and outputs");
    found_add(f, "off", "", "no quantizer");
}

/* The first word of `range`: how; then the observer's numbers. */
static void source_range(struct found *f, const struct place *p)
{
    if (p->n < 3) {
        add_list(f, "observer", "");
        for (int i = 0; i < quantizer_count; i++)
            if (quantizer_learned_rows(quantizer_table[i]))
                found_add(f, quantizer_table[i]->name, "",
                          quantizer_table[i]->help);
        return;
    }
    char *word = place_word(p, 2);
    const struct observer_kind *k = observer_kind_find(word);
    for (int i = 0; k && k->param && k->param[i].name; i++)
        found_add(f, k->param[i].name, "=", k->param[i].help);
    free(word);
}

/* Where a learned parameter of the kind starts. */
static void source_learned(struct found *f, const struct place *p)
{
    char *spec = p->n > 2 ? place_word(p, 2) : xstrdup("");
    spec[strcspn(spec, ":,(<")] = '\0';
    const struct quantizer_kind *k = quantizer_kind_find(spec);
    for (int i = 0; k && k->learned && k->learned[i].name; i++)
        found_add(f, k->learned[i].name, "=", k->learned[i].help);
    free(spec);
}

static void source_quantize(struct found *f, const struct place *p)
{
    static const char *const widths[] = { "w8", "w4", "w2", "a8", "a4" };
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++)
        found_add(f, widths[i], "", "of the qconfig's quantizer");
    source_spec(f, p);
}

/* ---- arguments that depend on a word before them ---- */

static void load_data(struct found *f, const struct place *p)
{
    char *word = p->n > 2 ? place_word(p, 2) : NULL;
    if (!word)
        add_list(f, "data source", "");
    for (int i = 0; word && i < dataset_count; i++) {
        const struct dataset_arg *a = dataset_table[i].arg;
        for (; strcmp(word, dataset_table[i].name) == 0 && a->name; a++)
            found_add(f, a->name, "=", a->help);
    }
    for (const struct dataset_arg *a = dataset_common_arg; word && a->name;
         a++)
        found_add(f, a->name, "=", a->help);
    if (word)
        source_files(f, p);
    free(word);
}

static const struct {
    const char *what;
    source_fn source;
} load_table[] = {
    { "model", source_models }, { "data", load_data },
    { "weights", source_files },
};

static void source_load(struct found *f, const struct place *p)
{
    char *what = p->n > 1 ? place_word(p, 1) : xstrdup("");
    for (size_t i = 0; i < sizeof load_table / sizeof load_table[0]; i++)
        if (strcmp(load_table[i].what, what) == 0)
            load_table[i].source(f, p);
    free(what);
}

static void source_set_value(struct found *f, const struct place *p)
{
    char *name = p->n > 1 ? place_word(p, 1) : xstrdup("");
    const struct setting *s = setting_find(name);
    for (int i = 0; s && setting_choice(s, i); i++)
        found_add(f, setting_choice(s, i), "", s->help);
    if (s && s->type == SET_BOOL) {
        found_add(f, "on", "", s->help);
        found_add(f, "off", "", s->help);
    } else if (s && s->def && !setting_choice(s, 0)) {
        found_add(f, s->def, "", "the default");
    }
    free(name);
}

static void source_show(struct found *f, const struct place *p)
{
    static const char *const tables[][2] = {
        { "status", "what the status row shows" },
        { "qconfigs", "what packages set by default" },
        { "models", "built-in models" },
        { "sources", "where data can come from" },
        { "quantizers", "kinds of quantizers" },
        { "observers", "kinds of observers" },
        { "variables", "what `let` has set" },
    };
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        found_add(f, tables[i][0], "", tables[i][1]);
    found_add(f, "qconfig", "", "what a package sets");
    source_settings(f, p);
}

static void source_info_name(struct found *f, const struct place *p)
{
    if (p->lab->graph)
        source_selector(f, p);
}

static const source_fn kind_source[ARG_KINDS] = {
    [ARG_SELECTOR] = source_selector, [ARG_FILE] = source_files,
    [ARG_DIR] = source_folders,       [ARG_SETTING] = source_settings,
    [ARG_EXPR] = source_expression,   [ARG_MARK] = source_marks,
    [ARG_MODEL] = source_models,      [ARG_DATA] = load_data,
    [ARG_METRIC] = source_metrics,    [ARG_TENSOR] = source_tensors,
    [ARG_VERB] = source_everything,
};

/* Arguments that take more than their kind says; verb NULL: of any. */
static const struct {
    const char *verb, *row;
    source_fn source;
} row_source[] = {
    { "bits", "widths", source_widths },
    { "bits", "w", source_spec },
    { "bits", "a", source_spec },
    { "bits", "in", source_spec },
    { "bits", "b", source_spec },
    { NULL, "g", source_grains },
    { NULL, "round", source_roundings },
    { NULL, "obs", source_observers },
    { "quantize", "file", source_arrays },
    { "quantize", "grad", source_arrays },
    { "quantize", "quantizer", source_quantize },
    { "quantize", "words", source_learned },
    { "qconfig", "name", source_qconfigs },
    { "range", "words", source_range },
    { "load", "words", source_load },
    { "set", "value", source_set_value },
    { "show", "what", source_show },
    { "show", "name", source_qconfigs },
    { "info", "name", source_info_name },
    { "list", "by", source_fields },
    { "list", "cols", source_fields },
};

source_fn source_of(const struct cmd *c, const struct arg_row *row)
{
    for (size_t i = 0; i < sizeof row_source / sizeof row_source[0]; i++) {
        const char *verb = row_source[i].verb;
        if ((!verb || strcmp(verb, c->name) == 0) &&
            strcmp(row_source[i].row, row->name) == 0)
            return row_source[i].source;
    }
    return kind_source[row->kind];
}

/* The table of keys, and the words that stand for what is on the screen.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ui/keys.h"

#include <stdlib.h>
#include <string.h>

/* ---- which layers a key is about ---- */

static bool any_selected(const struct ui_model *m)
{
    for (int i = 0; i < m->n; i++) {
        if (m->layer[i].view.selected)
            return true;
    }
    return false;
}

static bool is_target(const struct ui_model *m, int i, bool selection)
{
    return selection ? m->layer[i].view.selected : i == m->cursor;
}

/* A name that the command language would read as something else is quoted. */
static void add_name(struct str *out, const char *name)
{
    bool plain = *name != 0;
    for (const char *c = name; *c; c++)
        plain = plain && (strchr("_-", *c) || (*c >= '0' && *c <= '9') ||
                          (*c >= 'a' && *c <= 'z') ||
                          (*c >= 'A' && *c <= 'Z'));
    str_printf(out, plain ? "%s" : "\"%s\"", name);
}

static enum status word_layers(const struct desk *d, struct str *out,
                               struct err *e)
{
    const struct ui_model *m = &d->model;
    bool selection = any_selected(m);
    bool first = true;
    for (int i = 0; i < m->n; i++) {
        if (!is_target(m, i, selection))
            continue;
        if (!first)
            str_char(out, ',');
        add_name(out, m->layer[i].name);
        first = false;
    }
    return first ? err_set(e, STATUS_STATE, "no layer under the cursor: "
                           "load a model first") : STATUS_OK;
}

static enum status word_layer(const struct desk *d, struct str *out,
                              struct err *e)
{
    const struct ui_layer *l = ui_model_cursor(&d->model);
    if (!l)
        return err_set(e, STATUS_STATE, "no layer under the cursor: load a "
                       "model first");
    add_name(out, l->name);
    return STATUS_OK;
}

static const char *shown(const struct desk *d)
{
    const struct pane *p = d->focus;
    return p && p->ops->shown ? p->ops->shown(p) : "";
}

static enum status word_series(const struct desk *d, struct str *out,
                               struct err *e)
{
    (void)e;
    str_add(out, shown(d));
    return STATUS_OK;
}

static enum status word_tensor(const struct desk *d, struct str *out,
                               struct err *e)
{
    TRY(word_layer(d, out, e));
    str_printf(out, ".%s", shown(d));
    return STATUS_OK;
}

/* The point whose range that tensor is about. */
static enum status word_point(const struct desk *d, struct str *out,
                              struct err *e)
{
    TRY(word_layer(d, out, e));
    bool weights = ui_model_cursor(&d->model)->view.has_w &&
                   strcmp(shown(d), "out") != 0;
    str_add(out, weights ? ".w" : ".out");
    return STATUS_OK;
}

/* ---- switches: the state they are not in yet ---- */

static bool all_have(const struct ui_model *m,
                     bool (*has)(const struct layer_view *v))
{
    bool selection = any_selected(m);
    for (int i = 0; i < m->n; i++) {
        if (is_target(m, i, selection) && !has(&m->layer[i].view))
            return false;
    }
    return true;
}

static bool has_fake(const struct layer_view *v)
{
    return v->fake;
}

static bool has_observer(const struct layer_view *v)
{
    return v->observe;
}

static bool has_learn(const struct layer_view *v)
{
    return v->learn;
}

static bool has_frozen(const struct layer_view *v)
{
    return v->bn_frozen;
}

static enum status word_fake(const struct desk *d, struct str *out,
                             struct err *e)
{
    (void)e;
    str_add(out, all_have(&d->model, has_fake) ? "disable" : "enable");
    return STATUS_OK;
}

static enum status word_observer(const struct desk *d, struct str *out,
                                 struct err *e)
{
    (void)e;
    str_add(out, all_have(&d->model, has_observer) ? "disable" : "enable");
    return STATUS_OK;
}

static enum status word_learn(const struct desk *d, struct str *out,
                              struct err *e)
{
    (void)e;
    str_add(out, all_have(&d->model, has_learn) ? "disable" : "enable");
    return STATUS_OK;
}

static enum status word_bn(const struct desk *d, struct str *out,
                           struct err *e)
{
    (void)e;
    str_add(out, all_have(&d->model, has_frozen) ? "thaw" : "freeze");
    return STATUS_OK;
}

static enum status word_pause(const struct desk *d, struct str *out,
                              struct err *e)
{
    (void)e;
    str_add(out, d->model.training ? "stop" : "continue");
    return STATUS_OK;
}

/* ---- bits: one more or one less than the layer under the cursor has ---- */

enum { FIRST_BITS = 8, MOST_BITS = 16 };

static enum status add_bits(const struct desk *d, bool weights, int step,
                            struct str *out)
{
    const struct ui_model *m = &d->model;
    bool selection = any_selected(m);
    for (int i = 0; i < m->n; i++) {
        if (!is_target(m, i, selection))
            continue;
        const char *text = weights ? m->layer[i].view.w : m->layer[i].view.a;
        char *end;
        long bits = strtol(text, &end, 10);
        bits = end == text ? FIRST_BITS : bits + step;
        bits = bits < 1 ? 1 : bits > MOST_BITS ? MOST_BITS : bits;
        str_printf(out, "%ld", bits);
        return STATUS_OK;
    }
    return STATUS_OK;         /* {layers} said already that there is none */
}

static enum status word_w_more(const struct desk *d, struct str *out,
                               struct err *e)
{
    (void)e;
    return add_bits(d, true, 1, out);
}

static enum status word_w_less(const struct desk *d, struct str *out,
                               struct err *e)
{
    (void)e;
    return add_bits(d, true, -1, out);
}

static enum status word_a_more(const struct desk *d, struct str *out,
                               struct err *e)
{
    (void)e;
    return add_bits(d, false, 1, out);
}

static enum status word_a_less(const struct desk *d, struct str *out,
                               struct err *e)
{
    (void)e;
    return add_bits(d, false, -1, out);
}

static enum status word_zoom(const struct desk *d, struct str *out,
                             struct err *e)
{
    (void)e;
    str_add(out, d->zoomed ? "off" : d->focus ? d->focus->ops->name
                                              : "layers");
    return STATUS_OK;
}

static const struct {
    const char *name;
    enum status (*add)(const struct desk *d, struct str *out, struct err *e);
} key_word_table[] = {
    { "layers", word_layers },
    { "layer", word_layer },
    { "series", word_series },
    { "tensor", word_tensor },
    { "point", word_point },
    { "fake", word_fake },
    { "observer", word_observer },
    { "learn", word_learn },
    { "bn", word_bn },
    { "pause", word_pause },
    { "w+1", word_w_more },
    { "w-1", word_w_less },
    { "a+1", word_a_more },
    { "a-1", word_a_less },
    { "zoom", word_zoom },
};

static enum status expand_word(const struct desk *d, const char *name,
                               size_t n, struct str *out, struct err *e)
{
    for (size_t i = 0; i < sizeof key_word_table / sizeof key_word_table[0];
         i++) {
        if (strlen(key_word_table[i].name) == n &&
            !memcmp(key_word_table[i].name, name, n))
            return key_word_table[i].add(d, out, e);
    }
    return err_set(e, STATUS_NOTFOUND, "no word '{%.*s}' for keys", (int)n,
                   name);
}

enum status key_expand(const struct desk *d, const char *line,
                       struct str *out, struct err *e)
{
    while (*line) {
        size_t n = strcspn(line, "{");
        str_add_n(out, line, n);
        line += n;
        if (!*line)
            break;
        size_t len = strcspn(line, "}");
        TRY(expand_word(d, line + 1, len - 1, out, e));
        line += len + (line[len] == '}');
    }
    return STATUS_OK;
}

const struct key_row *key_find(const char *context, const char *key)
{
    for (int i = 0; i < key_count; i++) {
        if (!strcmp(key_table[i].context, context) &&
            !strcmp(key_table[i].key, key))
            return &key_table[i];
    }
    return NULL;
}

/* clang-format off */
const struct key_row key_table[] = {
    { "global", "F1", "focus help", false, "help", "this list" },
    { "global", "F2", "focus layers", false, "layers", "to the layers" },
    { "global", "F3", "focus curves", false, "curves", "to the curves" },
    { "global", "F4", "focus hist", false, "hist", "to the histogram" },
    { "global", "F5", "focus log", false, "log", "to the log" },
    { "global", "F6", "focus next", false, "next pane",
      "next pane, at last the prompt" },
    { "global", "F7", "{pause}", false, "pause", "pause training, or go on" },
    { "global", "F8", "step", false, "step", "train one batch" },
    { "global", "F9", "eval", false, "eval", "evaluate" },
    { "global", "F10", "zoom {zoom}", false, "zoom",
      "this pane alone, or all again" },
    { "global", "C-l", "layout redraw", false, NULL, "paint the screen again" },

    { "prefix", "l", "focus layers", false, "layers", "to the layers" },
    { "prefix", "c", "focus curves", false, "curves", "to the curves" },
    { "prefix", "h", "focus hist", false, "hist", "to the histogram" },
    { "prefix", "g", "focus log", false, "log", "to the log" },
    { "prefix", "1", "focus layers", false, NULL, "to the layers" },
    { "prefix", "2", "focus curves", false, NULL, "to the curves" },
    { "prefix", "3", "focus hist", false, NULL, "to the histogram" },
    { "prefix", "4", "focus log", false, NULL, "to the log" },
    { "prefix", "n", "focus next", false, "next", "to the next pane" },
    { "prefix", "z", "zoom {zoom}", false, "zoom",
      "this pane alone, or all again" },
    { "prefix", "p", "{pause}", false, "pause", "pause training, or go on" },
    { "prefix", "s", "step", false, "step", "train one batch" },
    { "prefix", "e", "eval", false, "eval", "evaluate" },
    { "prefix", "?", "focus help", false, "keys", "the list of keys" },

    { "pane", "Esc", "focus prompt", false, "prompt", "back to the prompt" },
    { "pane", "Enter", "focus prompt", false, NULL, "back to the prompt" },
    { "pane", "Tab", "focus next", false, "next", "to the next pane" },
    { "pane", "S-Tab", "focus prev", false, NULL, "to the pane before" },
    { "pane", "z", "zoom {zoom}", false, "zoom",
      "this pane alone, or all again" },
    { "pane", "u", "undo", false, "undo", "undo the last change" },
    { "pane", "?", "focus help", false, "keys", "the list of keys" },

    { "layers", "Up", "focus layers up", false, NULL, "one row up" },
    { "layers", "Down", "focus layers down", false, NULL, "one row down" },
    { "layers", "PgUp", "focus layers pageup", false, NULL, "one page up" },
    { "layers", "PgDn", "focus layers pagedown", false, NULL,
      "one page down" },
    { "layers", "Home", "focus layers home", false, NULL, "first row" },
    { "layers", "End", "focus layers end", false, NULL, "last row" },
    { "layers", "Space", "focus layers select", false, "select",
      "select the row (@sel)" },
    { "layers", "a", "focus layers all", false, "all", "select all or none" },
    { "layers", "+", "bits {layers} w={w+1}", false, "w bits",
      "one more weight bit" },
    { "layers", "-", "bits {layers} w={w-1}", false, "w bits",
      "one weight bit less" },
    { "layers", "}", "bits {layers} a={a+1}", false, "a bits",
      "one more activation bit" },
    { "layers", "{", "bits {layers} a={a-1}", false, "a bits",
      "one activation bit less" },
    { "layers", "f", "{fake} fake {layers}", false, "fake",
      "fake-quantization on or off" },
    { "layers", "o", "{observer} observer {layers}", false, "observer",
      "observer on or off" },
    { "layers", "l", "{learn} learn {layers}", false, "learn",
      "learned range on or off" },
    { "layers", "b", "{bn} bn {layers}", false, "bn",
      "freeze or thaw batch norm" },
    { "layers", "m", "range {point} ", true, NULL,
      "range method: into the prompt" },
    { "layers", "/", "focus layers /", true, "find",
      "show layers with this text" },
    { "layers", "<", "focus layers sortback", false, NULL,
      "sort by the column before" },
    { "layers", ">", "focus layers sort", false, "sort",
      "sort by the next column" },
    { "layers", "Enter", "info layer {layer}", false, "info",
      "all about the layer" },
    { "layers", "x", "list -> ", true, NULL, "write the table to a file" },

    { "curves", "Right", "focus curves next", false, "metric",
      "the next curve" },
    { "curves", "Left", "focus curves prev", false, NULL, "the curve before" },
    { "curves", "Up", "focus curves span", false, "full/recent",
      "all epochs or the last fifth" },
    { "curves", "Down", "focus curves span", false, NULL,
      "all epochs or the last fifth" },
    { "curves", "g", "focus curves log", false, "log", "logarithmic or not" },
    { "curves", "x", "plot {series} -> ", true, "export",
      "write the curve to a file" },

    { "hist", "w", "focus hist weight", false, "weight", "weights" },
    { "hist", "a", "focus hist act", false, "act", "activations" },
    { "hist", "e", "focus hist error", false, "error",
      "quantization error" },
    { "hist", "d", "focus hist grad", false, "grad", "gradients" },
    { "hist", "Right", "focus hist next", false, NULL, "the next of them" },
    { "hist", "Left", "focus hist prev", false, NULL, "the one before" },
    { "hist", "Up", "focus hist up", false, NULL, "the layer before" },
    { "hist", "Down", "focus hist down", false, NULL, "the next layer" },
    { "hist", "l", "focus hist log", false, "log", "logarithmic counts" },
    { "hist", "r", "range {point} ", true, "range",
      "clip range: into the prompt" },
    { "hist", "x", "hist {tensor} -> ", true, "export",
      "write the histogram to a file" },

    { "log", "Up", "focus log up", false, NULL, "one line back" },
    { "log", "Down", "focus log down", false, NULL, "one line on" },
    { "log", "PgUp", "focus log pageup", false, "back", "one page back" },
    { "log", "PgDn", "focus log pagedown", false, "on", "one page on" },
    { "log", "Home", "focus log home", false, NULL, "the oldest line" },
    { "log", "End", "focus log end", false, "newest", "the newest line" },
    { "log", "v", "focus log filter", false, "filter",
      "all, warnings, commands" },
    { "log", "e", "focus log warn", false, "errors",
      "warnings and errors only" },
};
/* clang-format on */
const int key_count = sizeof key_table / sizeof key_table[0];

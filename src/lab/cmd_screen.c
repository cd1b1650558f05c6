/* Commands: layout, focus, zoom, select.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "lab/point_list.h"
#include "lab/state.h"

static void join(const struct args *a, const char *name, struct str *out)
{
    for (int i = 0; i < args_count(a, name); i++)
        str_printf(out, "%s%s", i ? " " : "", args_nth(a, name, i)->text);
}

/* Without a screen these are accepted and do nothing, so that scripts made
 * in panes run anywhere. */
static enum status screen(struct lab *l, const struct args *a,
                          enum status (*hook)(void *, const char *,
                                              struct err *),
                          struct err *e)
{
    struct str words = { 0 };
    join(a, "words", &words);
    enum status s = hook ? hook(l->hooks.ctx, str_text(&words), e)
                         : STATUS_OK;
    str_fini(&words);
    return s ? args_blame(a, args_find(a, "words"), 0, s) : STATUS_OK;
}

static enum status exec_layout(struct lab *l, const struct args *a,
                               struct out *out, struct err *e)
{
    (void)out;
    return screen(l, a, l->hooks.layout, e);
}

static enum status exec_focus(struct lab *l, const struct args *a,
                              struct out *out, struct err *e)
{
    (void)out;
    return screen(l, a, l->hooks.focus, e);
}

static enum status exec_zoom(struct lab *l, const struct args *a,
                             struct out *out, struct err *e)
{
    (void)out;
    return screen(l, a, l->hooks.zoom, e);
}

static enum status exec_select(struct lab *l, const struct args *a,
                               struct out *out, struct err *e)
{
    const struct arg *sel = args_find(a, "layers");
    int first = -1, n = 0;
    (void)e;
    for (int i = 0; i < l->graph->n_node; i++) {
        bool on = sel && sel->sel.bits[i];
        l->selected[i] = on;
        n += on;
        first = on && first < 0 ? i : first;
    }
    if (first >= 0)
        lab_set_cursor(l, first);
    l->gen.selection++;
    out_printf(out, OUT_NOTE, "%d selected", n);
    answer_num(l, "count", n);
    return STATUS_OK;
}

static const struct arg_row words_args[] = {
    { .name = "words", .kind = ARG_REST, .many = true,
      .help = "a name or a description" },
    { 0 },
};

const struct cmd cmd_layout = {
    .name = "layout", .group = "screen", .help = "arrange the panes",
    .detail = "A named arrangement, or panes with their sizes: layout "
              "layers:40 curves hist / log:8. Does nothing without panes.",
    .arg = words_args, .example = "layout wide", .exec = exec_layout,
};

const struct cmd cmd_focus = {
    .name = "focus", .group = "screen", .help = "choose the pane for keys",
    .detail = "layers, curves, hist, log; `focus prompt` goes back. Does "
              "nothing without panes.",
    .arg = words_args, .example = "focus hist", .exec = exec_focus,
};

const struct cmd cmd_zoom = {
    .name = "zoom", .group = "screen",
    .help = "let one pane fill the screen",
    .detail = "zoom log; zoom off. Does nothing without panes.",
    .arg = words_args, .example = "zoom off", .exec = exec_zoom,
};

static const struct arg_row select_args[] = {
    { .name = "layers", .kind = ARG_SELECTOR, .help = "which; none" },
    { 0 },
};

const struct cmd cmd_select = {
    .name = "select", .group = "screen",
    .help = "select layers, as space does in the layers pane",
    .detail = "The selector @sel then means them. Without layers, nothing "
              "is selected.",
    .arg = select_args, .flags = NEEDS_MODEL,
    .example_setup = "load model lenet5", .example = "select conv*",
    .exec = exec_select,
};

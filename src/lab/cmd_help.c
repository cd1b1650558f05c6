/* Commands: help, apropos. SPDX-License-Identifier: GPL-3.0-or-later */
#include <ctype.h>
#include <string.h>

#include "base/arena.h"
#include "lab/help_text.h"
#include "lab/state.h"

#define NAME_COLUMNS 10

/* ---- overview ---- */

static bool group_seen(int index)
{
    for (int i = 0; i < index; i++)
        if (strcmp(cmd_table[i]->group, cmd_table[index]->group) == 0)
            return true;
    return false;
}

static void show_group(const char *group, struct table *rows,
                       struct out *out)
{
    out_printf(out, OUT_RESULT, "%s", group);
    for (int i = 0; i < cmd_count; i++) {
        const struct cmd *c = cmd_table[i];
        if (strcmp(c->group, group) != 0)
            continue;
        out_printf(out, OUT_RESULT, "  %-*s  %s", NAME_COLUMNS, c->name,
                   c->help);
        table_cell(rows, "%s", c->name);
        table_cell(rows, "%s", c->group);
        table_cell(rows, "%s", c->help);
    }
}

static void show_macros(struct lab *l, struct out *out)
{
    const struct script *s = &l->script;
    if (s->n_macro)
        out_printf(out, OUT_RESULT, "defined");
    for (int i = 0; i < s->n_macro; i++)
        out_printf(out, OUT_RESULT, "  %-*s  %s", NAME_COLUMNS,
                   s->macro[i].name, s->macro[i].doc ? s->macro[i].doc : "");
}

static void overview(struct lab *l, struct out *out)
{
    static const char *const title[] = { "name", "group", "help" };
    struct table *rows = table_new(3, title);
    struct str topics = { 0 }, json = { 0 };
    for (int g = 0; g < cmd_count; g++)
        if (!group_seen(g))
            show_group(cmd_table[g]->group, rows, out);
    show_macros(l, out);
    str_add(&topics, "`help NAME` tells more, about settings, quantizers and "
                     "all other names, too; `apropos WORD` searches. Topics:");
    for (int i = 0; i < help_topic_count; i++)
        str_printf(&topics, " %s", help_topic_table[i].name);
    help_wrap(out, str_text(&topics));
    table_json(rows, &json);
    answer_raw(l, "rows", str_text(&json));
    table_free(rows);
    str_fini(&topics);
    str_fini(&json);
}

/* ---- one name ---- */

static void show_head(const struct name_list *list, const struct named *n,
                      struct out *out)
{
    if (strcmp(list->what, "command") != 0) {
        out_printf(out, OUT_RESULT, "%s %s: %s", list->what, n->name,
                   n->help ? n->help : "");
        return;
    }
    struct str usage = { 0 };
    cmd_usage(n->row, &usage);
    out_printf(out, OUT_RESULT, "%s", n->help);
    out_printf(out, OUT_RESULT, "usage: %s", str_text(&usage));
    str_fini(&usage);
}

/* Everything of that name; returns how many. */
static int show_name(struct lab *l, const char *name, struct out *out)
{
    int found = 0;
    for (int k = 0; k < name_list_count; k++) {
        const struct name_list *list = &name_list_table[k];
        for (int i = 0; i < *list->count; i++) {
            struct named n = name_at(list, i);
            if (strcmp(n.name, name) != 0)
                continue;
            if (found++)
                out_printf(out, OUT_RESULT, " ");
            show_head(list, &n, out);
            if (list->more)
                list->more(l, n.row, out);
            if (found > 1)
                continue;
            answer_text(l, "name", n.name);
            answer_text(l, "what", list->what);
            answer_text(l, "help", n.help ? n.help : "");
        }
    }
    return found;
}

static int show_macro(struct lab *l, const char *name, struct out *out)
{
    const struct macro *m = macro_find(l, name);
    if (!m)
        return 0;
    out_printf(out, OUT_RESULT, "defined command %s: %s", m->name,
               m->doc ? m->doc : "without a doc line");
    answer_text(l, "name", m->name);
    answer_text(l, "what", "macro");
    return 1;
}

/* The n-th name of all lists. */
static const char *nth_name(const void *ctx, int n)
{
    (void)ctx;
    for (int k = 0; k < name_list_count; k++) {
        int count = *name_list_table[k].count;
        if (n < count)
            return name_at(&name_list_table[k], n).name;
        n -= count;
    }
    return "";
}

static enum status no_help(const struct args *a, const struct arg *name,
                           struct err *e)
{
    int all = 0;
    for (int k = 0; k < name_list_count; k++)
        all += *name_list_table[k].count;
    const char *near = str_nearest(name->text, all, nth_name, NULL);
    if (near)
        return args_fail(a, name, e, "no help on '%.60s' (did you mean "
                                     "'%s'?)", name->text, near);
    return args_fail(a, name, e, "no help on '%.60s'; `apropos %.60s` "
                                 "searches", name->text, name->text);
}

static enum status exec_help(struct lab *l, const struct args *a,
                             struct out *out, struct err *e)
{
    const struct arg *name = args_find(a, "name");
    if (!name) {
        overview(l, out);
        return STATUS_OK;
    }
    int found = show_name(l, name->text, out);
    found += show_macro(l, name->text, out);
    return found ? STATUS_OK : no_help(a, name, e);
}

/* ---- apropos ---- */

static bool contains(const char *text, const char *word)
{
    size_t n = strlen(word);
    for (; text && *text; text++) {
        size_t i = 0;
        while (i < n && text[i] &&
               tolower((unsigned char)text[i]) ==
                   tolower((unsigned char)word[i]))
            i++;
        if (i == n)
            return true;
    }
    return false;
}

/* Every word stands somewhere in the texts. */
static bool mentions(const struct args *a, const struct named *n)
{
    for (int i = 0; i < args_count(a, "words"); i++) {
        const char *word = args_nth(a, "words", i)->text;
        if (!contains(n->name, word) && !contains(n->help, word) &&
            !contains(n->detail, word))
            return false;
    }
    return true;
}

static enum status exec_apropos(struct lab *l, const struct args *a,
                                struct out *out, struct err *e)
{
    static const char *const title[] = { "name", "what", "help" };
    struct table *t = table_new(3, title);
    for (int k = 0; k < name_list_count; k++) {
        const struct name_list *list = &name_list_table[k];
        for (int i = 0; i < *list->count; i++) {
            struct named n = name_at(list, i);
            if (!mentions(a, &n))
                continue;
            table_cell(t, "%s", n.name);
            table_cell(t, "%s", list->what);
            table_cell(t, "%s", n.help ? n.help : "");
        }
    }
    if (table_rows(t) == 0) {
        table_free(t);
        return args_fail(a, args_nth(a, "words", 0), e,
                         "nothing speaks of '%.60s'",
                         args_nth(a, "words", 0)->text);
    }
    answer_num(l, "count", table_rows(t));
    return result_table(l, a, t, out, e);
}

static const struct arg_row help_args[] = {
    { .name = "name", .kind = ARG_VERB,
      .help = "a command, a topic, or any other name; all commands" },
    { 0 },
};

const struct cmd cmd_help = {
    .name = "help", .group = "session",
    .help = "tell about a command or anything with a name",
    .detail = "help alone lists the commands and the topics. help NAME tells "
              "about everything of that name: a command (usage, arguments, "
              "example), a topic such as selectors, a setting, a quantizer "
              "or observer, a qconfig, a model, a metric.",
    .arg = help_args, .flags = CMD_RESULT | CMD_CHECKED,
    .example = "help bits", .exec = exec_help,
};

static const struct arg_row apropos_args[] = {
    { .name = "words", .kind = ARG_REST, .required = true, .many = true,
      .help = "what to look for; all of them" },
    { 0 },
};

const struct cmd cmd_apropos = {
    .name = "apropos", .group = "session",
    .help = "search the help of everything with a name",
    .detail = "Looks for the words in names and help of commands, topics, "
              "settings, quantizers, observers and all other lists, small "
              "and capital letters alike.",
    .arg = apropos_args, .flags = CMD_RESULT | CMD_CHECKED,
    .example = "apropos range", .exec = exec_apropos,
};

/* The reference, generated from the tables.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ui/reference.h"

#include <string.h>

#include "lab/args.h"
#include "lab/cmd.h"
#include "lab/help_text.h"
#include "lab/json_text.h"
#include "lab/settings.h"
#include "lab/version.h"
#include "ui/keys.h"
#include "ui/options.h"

enum { OPTION_COLUMN = 26, TEXT_COLUMNS = 78 };

const char *reference_version(void)
{
    return QATLAB_VERSION;
}

static const char synopsis[] =
    "qatlab [options] [file.qat [argument ...] | file.qlab | file.onnx]";

static const struct exit_row {
    int code;
    const char *text;
} exit_table[] = {
    { 0, "success" },
    { 1, "a command failed" },
    { 2, "bad use of the command line" },
    { 3, "an expect failed" },
    { 4, "a file could not be read or written" },
    { 5, "numbers: training diverged" },
    { 6, "the --limit was reached" },
    { 130, "interrupted (128 + signal for others)" },
};
enum { EXITS = sizeof exit_table / sizeof exit_table[0] };

/* ---- --help ---- */

static void option_usage(const struct option_row *o, struct str *out)
{
    if (o->letter)
        str_printf(out, "-%c, ", o->letter);
    else
        str_add(out, "    ");
    str_printf(out, "--%s", o->name);
    if (o->value)
        str_printf(out, "=%s", o->value);
}

/* Words of text in lines that begin at `column`. */
static void add_wrapped(struct str *out, const char *text, int column)
{
    int at = column;
    while (*text) {
        int n = (int)strcspn(text, " ");
        if (at > column && at + 1 + n > TEXT_COLUMNS) {
            str_printf(out, "\n%*s", column, "");
            at = column;
        } else if (at > column) {
            str_char(out, ' ');
            at++;
        }
        str_add_n(out, text, (size_t)n);
        at += n;
        text += n;
        text += strspn(text, " ");
    }
    str_char(out, '\n');
}

static int put(FILE *f, struct str *text)
{
    int bad = fputs(str_text(text), f) < 0 || fflush(f) != 0;
    str_fini(text);
    return bad ? status_exit_code(STATUS_IO) : 0;
}

int reference_help(FILE *out)
{
    struct str s = { 0 };
    str_printf(&s, "usage: %s\n\nA workbench for quantization-aware "
               "training. Without files: a prompt, with panes\non a "
               "terminal. `help` at the prompt lists the commands.\n\n",
               synopsis);
    for (int i = 0; i < option_count; i++) {
        struct str left = { 0 };
        option_usage(&option_table[i], &left);
        str_printf(&s, "  %-*s", OPTION_COLUMN - 2, str_text(&left));
        add_wrapped(&s, option_table[i].help, OPTION_COLUMN);
        str_fini(&left);
    }
    str_add(&s, "\nexit codes: ");
    for (int i = 0; i < EXITS; i++)
        str_printf(&s, "%s%d %s", i ? (i % 2 ? ", " : ",\n  ") : "",
                   exit_table[i].code, exit_table[i].text);
    str_add(&s, "\n");
    return put(out, &s);
}

/* ---- the manual page ---- */

/* Text for troff: no escapes, no control lines, real minus signs. */
static void add_roff(struct str *out, const char *text)
{
    for (const char *c = text; *c; c++) {
        bool start = c == text || c[-1] == '\n';
        if (start && (*c == '.' || *c == '\''))
            str_add(out, "\\&");
        if (*c == '\\')
            str_add(out, "\\e");
        else if (*c == '-')
            str_add(out, "\\-");
        else
            str_char(out, *c);
    }
}

static void man_section(struct str *out, const char *title)
{
    str_printf(out, ".SH %s\n", title);
}

static void man_item(struct str *out, const char *head, const char *text)
{
    str_add(out, ".TP\n.B ");
    add_roff(out, head);
    str_char(out, '\n');
    add_roff(out, text);
    str_char(out, '\n');
}

static void man_options(struct str *out)
{
    man_section(out, "OPTIONS");
    for (int i = 0; i < option_count; i++) {
        struct str head = { 0 };
        option_usage(&option_table[i], &head);
        man_item(out, str_text(&head) + strspn(str_text(&head), " "),
                 option_table[i].help);
        str_fini(&head);
    }
}

/* Paragraphs of the table are separated by line feeds. */
static void man_detail(struct str *out, const char *detail)
{
    if (!detail)
        return;
    str_add(out, ".IP\n");
    for (const char *at = detail; *at;) {
        size_t n = strcspn(at, "\n");
        struct str line = { 0 };
        str_add_n(&line, at, n);
        if (n > 0) {
            add_roff(out, str_text(&line));
            str_add(out, "\n.br\n");
        }
        str_fini(&line);
        at += n + (at[n] == '\n');
    }
}

static void man_arguments(struct str *out, const struct cmd *c)
{
    for (const struct arg_row *a = c->arg; a && a->name; a++) {
        if (!a->help)
            continue;
        struct str line = { 0 };
        str_printf(&line, "%s%s: %s", a->name, a->key ? "=" : "", a->help);
        add_roff(out, str_text(&line));
        str_add(out, "\n.br\n");
        str_fini(&line);
    }
}

static void man_command(struct str *out, const struct cmd *c)
{
    struct str usage = { 0 };
    cmd_usage(c, &usage);
    man_item(out, str_text(&usage), c->help);
    str_fini(&usage);
    man_detail(out, c->detail);
    if (c->arg && c->arg->name)
        str_add(out, ".IP\n");
    man_arguments(out, c);
    if (c->example) {
        str_add(out, ".IP\nExample:\n.B ");
        add_roff(out, c->example);
        str_char(out, '\n');
    }
}

static bool group_seen(int index)
{
    for (int i = 0; i < index; i++) {
        if (!strcmp(cmd_table[i]->group, cmd_table[index]->group))
            return true;
    }
    return false;
}

static void man_commands(struct str *out)
{
    man_section(out, "COMMANDS");
    add_roff(out, "One command a line, `;' separates, # starts a comment: "
             "verb [selector] [words] [key=value ...] [-> file].\n");
    for (int g = 0; g < cmd_count; g++) {
        if (group_seen(g))
            continue;
        str_printf(out, ".SS %s\n", cmd_table[g]->group);
        for (int i = 0; i < cmd_count; i++) {
            if (!strcmp(cmd_table[i]->group, cmd_table[g]->group))
                man_command(out, cmd_table[i]);
        }
    }
}

static void man_settings(struct str *out)
{
    man_section(out, "SETTINGS");
    add_roff(out, "Changed by set, listed by show.\n");
    for (int i = 0; i < setting_count; i++) {
        const struct setting *s = &setting_table[i];
        struct str text = { 0 };
        str_printf(&text, "%s%s%s%s", s->help, s->unit ? " (" : "",
                   s->unit ? s->unit : "", s->unit ? ")" : "");
        if (s->def)
            str_printf(&text, "; default %s", s->def);
        man_item(out, s->name, str_text(&text));
        str_fini(&text);
    }
}

/* Paragraphs are filled, lines that begin with a blank stand as they are. */
static void man_text(struct str *out, const char *text)
{
    bool as_is = false;
    for (const char *at = text; *at;) {
        size_t n = strcspn(at, "\n");
        struct str line = { 0 };
        str_add_n(&line, at, n);
        if (n > 0 && as_is != (*at == ' ')) {
            as_is = !as_is;
            str_add(out, as_is ? ".nf\n" : ".fi\n");
        }
        if (n > 0)
            add_roff(out, str_text(&line));
        else
            str_add(out, ".PP");
        str_char(out, '\n');
        str_fini(&line);
        at += n + (at[n] == '\n');
    }
    if (as_is)
        str_add(out, ".fi\n");
}

static void man_topics(struct str *out)
{
    man_section(out, "SELECTORS, EXPRESSIONS AND OTHER TOPICS");
    for (int i = 0; i < help_topic_count; i++) {
        const struct help_topic *t = &help_topic_table[i];
        str_printf(out, ".SS %s\n", t->name);
        add_roff(out, t->help);
        str_add(out, "\n.PP\n");
        man_text(out, t->text);
    }
}

/* Lists with a section of their own. */
static bool listed_elsewhere(const struct name_list *list)
{
    static const void *const tables[] = { cmd_table, help_topic_table,
                                          setting_table };
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        if (tables[i] == list->table)
            return true;
    }
    return false;
}

static void man_names(struct str *out)
{
    man_section(out, "NAMES");
    add_roff(out, "Help tells more about each.\n");
    for (int k = 0; k < name_list_count; k++) {
        const struct name_list *list = &name_list_table[k];
        if (listed_elsewhere(list))
            continue;
        str_printf(out, ".SS %s\n", list->what);
        for (int i = 0; i < *list->count; i++) {
            struct named n = name_at(list, i);
            man_item(out, n.name, n.help ? n.help : "");
        }
    }
}

static void man_keys(struct str *out)
{
    man_section(out, "KEYS");
    add_roff(out, "Every key runs a command; the prompt takes all others. "
             "After Ctrl-], the keys of `prefix' work without function "
             "keys.\n");
    for (int i = 0; i < key_count; i++) {
        const struct key_row *k = &key_table[i];
        struct str head = { 0 };
        if (i == 0 || strcmp(k->context, key_table[i - 1].context) != 0)
            str_printf(out, ".SS %s\n", k->context);
        str_printf(&head, "%s  (%s)", k->key, k->line);
        man_item(out, str_text(&head), k->help);
        str_fini(&head);
    }
}

static void man_end(struct str *out)
{
    man_section(out, "EXIT STATUS");
    for (int i = 0; i < EXITS; i++) {
        char code[16];
        snprintf(code, sizeof code, "%d", exit_table[i].code);
        man_item(out, code, exit_table[i].text);
    }
    man_section(out, "FILES");
    man_item(out, "$XDG_CONFIG_HOME/qatlab/rc.qat",
             "commands set, bind, define and layout, run at the start of an "
             "interactive session");
    man_item(out, "$XDG_STATE_HOME/qatlab/history", "lines of the prompt");
    man_item(out, "$XDG_STATE_HOME/qatlab/autosave.qlab",
             "the session, when it was ended by a signal");
    man_section(out, "ENVIRONMENT");
    man_item(out, "NO_COLOR", "no colours, whatever the terminal can");
    man_item(out, "CLICOLOR_FORCE", "colours also where none are expected");
    man_item(out, "QATLAB_A11Y", "a prompt on the plain screen instead of "
             "panes");
}

int reference_man(FILE *out)
{
    struct str s = { 0 };
    str_printf(&s, ".\\\" Generated by qatlab --man from its tables.\n"
               ".TH QATLAB 1 \"\" \"qatlab %s\" \"User Commands\"\n"
               ".nh\n.ad l\n", QATLAB_VERSION);
    man_section(&s, "NAME");
    add_roff(&s, "qatlab - workbench for quantization-aware training\n");
    man_section(&s, "SYNOPSIS");
    str_add(&s, ".B ");
    add_roff(&s, synopsis);
    str_char(&s, '\n');
    man_section(&s, "DESCRIPTION");
    add_roff(&s, "Loads a model, gives each layer its precision, switches "
             "fake-quantization, observers and batch-norm freezing, trains, "
             "and shows accuracy and quantization error live. The same "
             "commands run at the prompt, from keys, from scripts and with "
             "-c.\n");
    man_options(&s);
    man_commands(&s);
    man_topics(&s);
    man_names(&s);
    man_settings(&s);
    man_keys(&s);
    man_end(&s);
    return put(out, &s);
}

/* ---- the commands as JSON ---- */

static void json_flag(struct str *s, const char *key, bool on)
{
    json_key(s, key);
    json_raw(s, on ? "true" : "false");
}

static void json_argument(struct str *s, const struct arg_row *a)
{
    str_add(s, s->len && s->text[s->len - 1] == '[' ? "{" : ",{");
    json_text(s, "name", a->name);
    json_text(s, "kind", arg_kind_name[a->kind]);
    json_flag(s, "key", a->key);
    json_flag(s, "required", a->required);
    json_flag(s, "many", a->many);
    if (a->choices)
        json_text(s, "choices", a->choices);
    json_text(s, "help", a->help ? a->help : "");
    str_char(s, '}');
}

static void json_command(struct str *s, const struct cmd *c)
{
    str_char(s, '{');
    json_text(s, "name", c->name);
    json_text(s, "group", c->group);
    json_text(s, "help", c->help);
    json_flag(s, "undoable", c->flags & CMD_CHANGES);
    json_flag(s, "recorded", c->flags & (CMD_CHANGES | CMD_RECORDED));
    json_flag(s, "redirects", c->flags & CMD_RESULT);
    json_text(s, "example", c->example ? c->example : "");
    json_key(s, "arguments");
    str_char(s, '[');
    for (const struct arg_row *a = c->arg; a && a->name; a++)
        json_argument(s, a);
    str_add(s, "]}");
}

int reference_commands_json(FILE *out)
{
    struct str s = { 0 };
    str_char(&s, '{');
    json_text(&s, "qatlab", QATLAB_VERSION);
    json_key(&s, "commands");
    str_char(&s, '[');
    for (int i = 0; i < cmd_count; i++) {
        str_add(&s, i ? ",\n" : "\n");
        json_command(&s, cmd_table[i]);
    }
    str_add(&s, "\n]}\n");
    return put(out, &s);
}

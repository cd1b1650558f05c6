/* Options of the command line. SPDX-License-Identifier: GPL-3.0-or-later */
#include "ui/options.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

static void add_work(struct options *o, struct work w)
{
    int n = o->front.works;
    o->work = xrealloc(o->work, (size_t)(n + 1) * sizeof *o->work);
    o->work[n] = w;
    o->front.work = o->work;
    o->front.works = n + 1;
}

/* ---- one function an option ---- */

static enum status set_batch(struct options *o, const char *v, struct err *e)
{
    (void)v;
    (void)e;
    o->batch = true;
    return STATUS_OK;
}

static enum status set_command(struct options *o, const char *v,
                               struct err *e)
{
    (void)e;
    add_work(o, (struct work){ .kind = WORK_LINE, .text = v });
    return STATUS_OK;
}

static enum status set_tui(struct options *o, const char *v, struct err *e)
{
    (void)v;
    (void)e;
    o->panes = PANES_YES;
    return STATUS_OK;
}

static enum status set_no_tui(struct options *o, const char *v,
                              struct err *e)
{
    (void)v;
    (void)e;
    o->panes = PANES_NO;
    return STATUS_OK;
}

static enum status set_json(struct options *o, const char *v, struct err *e)
{
    (void)v;
    (void)e;
    o->front.json = true;
    return STATUS_OK;
}

static enum status set_record(struct options *o, const char *v,
                              struct err *e)
{
    (void)e;
    o->front.lab.record = v;
    return STATUS_OK;
}

static enum status whole_number(const char *what, const char *v,
                                long long most, long long *out,
                                struct err *e)
{
    if (str_to_int(v, out, NULL) != STATUS_OK || *out < 0 || *out > most)
        return err_set(e, STATUS_USAGE, "--%s wants a number from 0 to %lld, "
                       "not '%s'", what, most, v);
    return STATUS_OK;
}

static enum status set_seed(struct options *o, const char *v, struct err *e)
{
    long long n;
    TRY(whole_number("seed", v, 9007199254740992LL, &n, e));
    o->front.lab.seed = (uint64_t)n;
    return STATUS_OK;
}

static enum status set_threads(struct options *o, const char *v,
                               struct err *e)
{
    long long n;
    TRY(whole_number("threads", v, 1024, &n, e));
    o->front.lab.threads = (int)n;
    return STATUS_OK;
}

static enum status set_deterministic(struct options *o, const char *v,
                                     struct err *e)
{
    (void)v;
    (void)e;
    o->front.lab.deterministic = true;
    return STATUS_OK;
}

static enum status set_check(struct options *o, const char *v, struct err *e)
{
    (void)v;
    (void)e;
    o->front.lab.check_only = true;
    o->batch = true;
    return STATUS_OK;
}

static enum status set_keep_going(struct options *o, const char *v,
                                  struct err *e)
{
    (void)v;
    (void)e;
    o->front.lab.keep_going = true;
    return STATUS_OK;
}

/* "90", "90s", "10m", "1.5h" */
static enum status set_limit(struct options *o, const char *v, struct err *e)
{
    static const struct {
        const char *suffix;
        double seconds;
    } units[] = { { "", 1 }, { "s", 1 }, { "m", 60 }, { "h", 3600 } };
    char *end;
    double n = strtod(v, &end);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (end == v || !(n > 0) || n > 1e9 ||
            strcmp(end, units[i].suffix) != 0)
            continue;
        o->front.lab.limit_seconds = n * units[i].seconds;
        return STATUS_OK;
    }
    return err_set(e, STATUS_USAGE,
                   "--limit wants a time such as 90s, 10m, 1h, not '%s'", v);
}

static enum status set_ascii(struct options *o, const char *v, struct err *e)
{
    (void)v;
    (void)e;
    o->front.ascii = true;
    return STATUS_OK;
}

static enum status set_plain(struct options *o, const char *v, struct err *e)
{
    (void)v;
    (void)e;
    o->front.plain = true;
    return STATUS_OK;
}

static enum status set_color(struct options *o, const char *v, struct err *e)
{
    static const char *const modes[] = {
        [COLOR_AUTO] = "auto",
        [COLOR_ALWAYS] = "always",
        [COLOR_NEVER] = "never",
    };
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (!strcmp(modes[i], v)) {
            o->front.color = (enum color_mode)i;
            return STATUS_OK;
        }
    }
    return err_set(e, STATUS_USAGE,
                   "--color is auto, always or never, not '%s'", v);
}

static enum status set_safe(struct options *o, const char *v, struct err *e)
{
    (void)v;
    (void)e;
    o->front.lab.safe = true;
    return STATUS_OK;
}

static enum status set_norc(struct options *o, const char *v, struct err *e)
{
    (void)v;
    (void)e;
    o->front.norc = true;
    return STATUS_OK;
}

static enum status set_commands(struct options *o, const char *v,
                                struct err *e)
{
    if (strcmp(v, "json") != 0)
        return err_set(e, STATUS_USAGE, "--commands is json, not '%s'", v);
    o->show = SHOW_COMMANDS;
    return STATUS_OK;
}

static enum status set_man(struct options *o, const char *v, struct err *e)
{
    (void)v;
    (void)e;
    o->show = SHOW_MAN;
    return STATUS_OK;
}

static enum status set_version(struct options *o, const char *v,
                               struct err *e)
{
    (void)v;
    (void)e;
    o->show = SHOW_VERSION;
    return STATUS_OK;
}

static enum status set_help(struct options *o, const char *v, struct err *e)
{
    (void)v;
    (void)e;
    o->show = SHOW_HELP;
    return STATUS_OK;
}

/* ---- parsing ---- */

static const struct option_row *find_long(const char *name, size_t n)
{
    for (int i = 0; i < option_count; i++) {
        if (strlen(option_table[i].name) == n &&
            !memcmp(option_table[i].name, name, n))
            return &option_table[i];
    }
    return NULL;
}

static const struct option_row *find_short(char letter)
{
    for (int i = 0; i < option_count; i++) {
        if (letter && option_table[i].letter == letter)
            return &option_table[i];
    }
    return NULL;
}

static const char *option_name(const void *ctx, int i)
{
    (void)ctx;
    return option_table[i].name;
}

static enum status unknown(const char *arg, struct err *e)
{
    struct str name = { 0 };
    str_add_n(&name, arg + 1, strcspn(arg + 1, "="));
    const char *near = arg[1] == '-'
        ? str_nearest(str_text(&name) + 1, option_count, option_name, NULL)
        : NULL;
    str_fini(&name);
    if (near)
        return err_set(e, STATUS_USAGE,
                       "unknown option '%s'; did you mean '--%s'?", arg,
                       near);
    return err_set(e, STATUS_USAGE, "unknown option '%s'", arg);
}

struct arguments {
    int n, at;
    char **arg;
};

static enum status apply(const struct option_row *row, const char *joined,
                         struct arguments *a, struct options *o,
                         struct err *e)
{
    if (!row->value) {
        if (joined)
            return err_set(e, STATUS_USAGE, "--%s takes no value",
                           row->name);
        return row->set(o, NULL, e);
    }
    if (!joined && a->at >= a->n)
        return err_set(e, STATUS_USAGE, "--%s wants a value: %s", row->name,
                       row->value);
    return row->set(o, joined ? joined : a->arg[a->at++], e);
}

static enum status parse_long(const char *arg, struct arguments *a,
                              struct options *o, struct err *e)
{
    size_t n = strcspn(arg + 2, "=");
    const struct option_row *row = find_long(arg + 2, n);
    if (!row)
        return unknown(arg, e);
    return apply(row, arg[2 + n] ? arg + 3 + n : NULL, a, o, e);
}

/* -b, -bc CMD, -cCMD */
static enum status parse_short(const char *arg, struct arguments *a,
                               struct options *o, struct err *e)
{
    for (const char *c = arg + 1; *c; c++) {
        const struct option_row *row = find_short(*c);
        if (!row)
            return unknown(arg, e);
        bool rest = row->value && c[1];
        TRY(apply(row, rest ? c + 1 : NULL, a, o, e));
        if (rest)
            break;
    }
    return STATUS_OK;
}

static const struct {
    const char *suffix;
    enum work_kind kind;
} suffixes[] = {
    { ".qat", WORK_SCRIPT }, { ".qlab", WORK_LOAD }, { ".onnx", WORK_LOAD },
    { ".h5", WORK_LOAD }, { ".keras", WORK_LOAD },
};

/* A file, or an argument of the script before it. */
static enum status parse_file(const char *arg, struct arguments *a,
                              struct options *o, struct err *e)
{
    struct work *last = o->front.works ? &o->work[o->front.works - 1] : NULL;
    if (last && last->kind == WORK_SCRIPT &&
        last->argv + last->argc == (const char *const *)&a->arg[a->at - 1]) {
        last->argc++;
        return STATUS_OK;
    }
    const char *dot = strrchr(arg, '.');
    for (size_t i = 0; dot && i < sizeof suffixes / sizeof suffixes[0]; i++) {
        if (strcmp(dot, suffixes[i].suffix) != 0)
            continue;
        add_work(o, (struct work){
            .kind = suffixes[i].kind, .text = arg,
            .argv = (const char *const *)&a->arg[a->at] });
        return STATUS_OK;
    }
    return err_set(e, STATUS_USAGE, "'%s' is not an option, a script (.qat) "
                   "or a model (.qlab, .onnx, .h5, .keras)", arg);
}

enum status options_parse(int argc, char **argv, struct options *out,
                          struct err *e)
{
    *out = (struct options){ .front.lab.seed = 1 };
    struct arguments a = { .n = argc, .at = 1, .arg = argv };
    bool files_only = false;
    while (a.at < a.n) {
        const char *arg = a.arg[a.at++];
        if (!files_only && !strcmp(arg, "--"))
            files_only = true;
        else if (!files_only && arg[0] == '-' && arg[1] == '-')
            TRY(parse_long(arg, &a, out, e));
        else if (!files_only && arg[0] == '-' && arg[1])
            TRY(parse_short(arg, &a, out, e));
        else
            TRY(parse_file(arg, &a, out, e));
    }
    return STATUS_OK;
}

void options_fini(struct options *o)
{
    free(o->work);
}

/* clang-format off */
const struct option_row option_table[] = {
    { "batch", 'b', NULL, "no prompt: run the files and commands, or standard "
      "input; stop at the first error", set_batch },
    { "command", 'c', "CMD", "run a command; may be given often, in order "
      "with the files", set_command },
    { "tui", 0, NULL, "panes, also with --plain", set_tui },
    { "no-tui", 0, NULL, "a prompt on the plain screen", set_no_tui },
    { "json", 0, NULL, "one JSON object an event on standard output",
      set_json },
    { "record", 0, "FILE", "write what happens: .qat to replay, .jsonl for "
      "programs", set_record },
    { "seed", 0, "N", "of weights, order, augmentation and data; default 1",
      set_seed },
    { "threads", 0, "N", "of the kernels; 0: all processors", set_threads },
    { "deterministic", 0, NULL, "same machine and threads, same bits; times "
      "print as 0", set_deterministic },
    { "check", 0, NULL, "read everything, check names, run nothing",
      set_check },
    { "keep-going", 0, NULL, "go on after errors; the exit code tells the "
      "worst", set_keep_going },
    { "limit", 0, "TIME", "stop after 90s, 10m, 1h with exit code 6",
      set_limit },
    { "ascii", 0, NULL, "no Unicode on the screen", set_ascii },
    { "plain", 0, NULL, "sentences, no boxes or bars: for screen readers",
      set_plain },
    { "color", 0, "WHEN", "auto, always or never (NO_COLOR is respected)",
      set_color },
    { "safe", 0, NULL, "no shell commands", set_safe },
    { "norc", 0, NULL, "do not read rc.qat", set_norc },
    { "commands", 0, "FORMAT", "the table of commands; FORMAT is json",
      set_commands },
    { "man", 0, NULL, "this program's manual page, for man(1)", set_man },
    { "version", 0, NULL, "the version", set_version },
    { "help", 'h', NULL, "this list", set_help },
};
/* clang-format on */
const int option_count = sizeof option_table / sizeof option_table[0];

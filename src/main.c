/* qatlab: options of the command line, and which front end runs.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <gsl/gsl_errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "ui/front.h"
#include "ui/options.h"
#include "ui/reference.h"
#include "ui/signals.h"

static int show_help(const struct options *o)
{
    (void)o;
    return reference_help(stdout);
}

static int show_man(const struct options *o)
{
    (void)o;
    return reference_man(stdout);
}

static int show_version(const struct options *o)
{
    (void)o;
    printf("qatlab %s\n", reference_version());
    return 0;
}

static int show_commands(const struct options *o)
{
    (void)o;
    return reference_commands_json(stdout);
}

static int (*const showers[])(const struct options *o) = {
    [SHOW_HELP] = show_help,
    [SHOW_MAN] = show_man,
    [SHOW_VERSION] = show_version,
    [SHOW_COMMANDS] = show_commands,
};

/* Standard input that is no terminal is a list of commands; standard output
 * that is none gets no prompt and no escape sequences. */
static bool want_batch(const struct options *o)
{
    if (o->batch || o->front.json)
        return true;
    return !isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO);
}

static bool want_panes(const struct options *o)
{
    const char *plain = getenv("QATLAB_A11Y");
    if (o->panes != PANES_AUTO)
        return o->panes == PANES_YES;
    return !o->front.plain && !(plain && *plain && strcmp(plain, "0") != 0);
}

static int run(const struct options *o)
{
    if (want_batch(o)) {
        if (o->panes == PANES_YES)
            fprintf(stderr, "qatlab: no terminal for panes: running as "
                            "batch\n");
        else if (!o->batch && isatty(STDIN_FILENO) && !o->front.json)
            fprintf(stderr, "qatlab: standard output is not a terminal: "
                            "commands are read line by line\n");
        return batch_run(&o->front);
    }
    if (want_panes(o)) {
        struct err e = { .text = "" };
        int code = 0;
        if (tui_run(&o->front, &code, &e) == STATUS_OK)
            return code;
        fprintf(stderr, "qatlab: %s: lines instead of panes\n", e.text);
    }
    return line_run(&o->front);
}

/* A standard stream that was closed must not become a file that we open.
 * What stands in fails like a closed one: input for writing, output for
 * reading. */
static void hold_streams(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
            open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) < 0)
            return;
    }
}

int main(int argc, char **argv)
{
    gsl_set_error_handler_off();
    hold_streams();
    signals_open(false);          /* Ctrl-C is a command from here on */
    setlocale(LC_ALL, "");
    setlocale(LC_NUMERIC, "C");   /* numbers have a point everywhere */
    struct err e = { .text = "" };
    struct options o;
    if (options_parse(argc, argv, &o, &e) != STATUS_OK) {
        fprintf(stderr, "qatlab: %s\n"
                "qatlab --help lists the options\n", e.text);
        options_fini(&o);
        signals_close();
        return status_exit_code(STATUS_USAGE);
    }
    if (o.show != SHOW_NOTHING)
        signals_close();
    int code = o.show == SHOW_NOTHING ? run(&o) : showers[o.show](&o);
    options_fini(&o);
    signals_close();
    return code;
}

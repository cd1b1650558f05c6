/* Commands: source, record, shell, quit.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "lab/state.h"

#define FRAMES_MAX 64

static enum status exec_source(struct lab *l, const struct args *a,
                               struct out *out, struct err *e)
{
    const struct arg *file = args_find(a, "file");
    struct frame *f = NULL;
    int depth = 0;
    (void)out;
    for (const struct frame *g = l->script.top; g; g = g->below)
        depth++;
    if (depth >= FRAMES_MAX)
        return args_fail(a, file, e, "scripts are nested too deeply");
    enum status s = frame_read(file->text, &f, e);
    if (s)
        return args_blame(a, file, 0, s);
    const char *argv[9];
    int argc = args_count(a, "args");
    argc = argc > 9 ? 9 : argc;
    for (int i = 0; i < argc; i++)
        argv[i] = args_nth(a, "args", i)->text;
    frame_args(f, argc, argv);
    script_push(&l->script, f);
    return STATUS_OK;
}

static enum status exec_record(struct lab *l, const struct args *a,
                               struct out *out, struct err *e)
{
    const struct arg *file = args_find(a, "file");
    const struct record *r = &l->record;
    if (!file) {
        out_printf(out, OUT_RESULT, "%s%s%s",
                   r->qat_path ? r->qat_path : "",
                   r->qat_path && r->jsonl_path ? " " : "",
                   r->jsonl_path   ? r->jsonl_path
                   : r->qat_path   ? ""
                                   : "not recording");
        return STATUS_OK;
    }
    if (strcmp(file->text, "off") == 0) {
        record_steps(l, NULL);
        record_close(l);
        out_printf(out, OUT_RESULT, "recording ends");
        return STATUS_OK;
    }
    enum status s = record_open(l, file->text, e);
    if (s)
        return args_blame(a, file, 0, s);
    out_printf(out, OUT_RESULT, "recording to %s", file->text);
    return STATUS_OK;
}

static enum status exec_shell(struct lab *l, const struct args *a,
                              struct out *out, struct err *e)
{
    const struct arg *cmd = args_find(a, "command");
    char line[4096];
    if (l->opts.safe)
        return args_fail(a, NULL, e, "shell commands are off (--safe)");
    FILE *p = popen(cmd->text, "r");
    if (!p)
        return err_set(e, STATUS_FAIL, "shell: %s", strerror(errno));
    while (fgets(line, sizeof line, p)) {
        line[strcspn(line, "\n")] = '\0';
        struct str clean = { 0 };
        str_add_clean(&clean, line);
        out_printf(out, OUT_RESULT, "%s", str_text(&clean));
        str_fini(&clean);
    }
    int status = pclose(p);
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
    answer_num(l, "code", code);
    return code ? err_set(e, STATUS_FAIL, "the shell command ended with %d",
                          code)
                : STATUS_OK;
}

static enum status exec_quit(struct lab *l, const struct args *a,
                             struct out *out, struct err *e)
{
    double code = args_number(a, "code", 0);
    (void)out;
    if (code < 0 || code > 255)
        return args_fail(a, args_find(a, "code"), e,
                         "an exit code is from 0 to 255, not %s",
                         args_text(a, "code"));
    if (l->goal.active)
        goal_finish(l, STATUS_STOPPED);
    l->quit = true;
    l->quit_code = (int)code;
    return STATUS_OK;
}

static const struct arg_row source_args[] = {
    { .name = "file", .kind = ARG_FILE, .required = true,
      .help = "script, usually .qat" },
    { .name = "args", .kind = ARG_REST, .many = true,
      .help = "its $1 to $9" },
    { 0 },
};

const struct cmd cmd_source = {
    .name = "source", .group = "session", .help = "run a script",
    .detail = "Runs the commands of a file. Its arguments are $1 to $9, "
              "their number $#. The first command that fails ends it; what "
              "was done until then stays.",
    .arg = source_args, .flags = NEEDS_IDLE,
    .example_setup = "record hello.qat; set train.seed 2; record off",
    .example = "source hello.qat", .exec = exec_source,
};

static const struct arg_row record_args[] = {
    { .name = "file", .kind = ARG_FILE,
      .help = "FILE.qat, FILE.jsonl, or off" },
    { 0 },
};

const struct cmd cmd_record = {
    .name = "record", .group = "session",
    .help = "write what happens to a replayable script or a machine stream",
    .detail =
        "record FILE.qat writes every command that changes something, as it "
        "was executed: full names, layers listed, batches that really ran; "
        "results follow as #= comments. Running the file gives the same "
        "weights. Recording in the middle of a session first saves a "
        "checkpoint beside the file.\n\n"
        "record FILE.jsonl writes one JSON object per event: start, command, "
        "result, epoch, batch, warn, error, end. record off ends both; "
        "record alone says what is being written.",
    .arg = record_args, .example = "record tune.qat", .exec = exec_record,
};

static const struct arg_row shell_args[] = {
    { .name = "command", .kind = ARG_COMMAND, .required = true,
      .help = "what the shell runs" },
    { 0 },
};

const struct cmd cmd_shell = {
    .name = "shell", .group = "session", .help = "run a shell command",
    .detail = "Also written !COMMAND. A command that ends with anything but "
              "0 is an error. --safe switches it off.",
    .arg = shell_args, .example = "shell echo hello", .exec = exec_shell,
};

static const struct arg_row quit_args[] = {
    { .name = "code", .kind = ARG_INT, .help = "exit code of the program" },
    { 0 },
};

const struct cmd cmd_quit = {
    .name = "quit", .group = "session", .help = "leave the program",
    .detail = "Training that runs is stopped at the batch. Errors of a "
              "script keep their own exit code.",
    .arg = quit_args, .example = "quit", .exec = exec_quit,
};

/* Batch: no terminal needed. Results go to standard output, everything else
 * to standard error, line by line.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ui/desk.h"
#include "ui/front.h"
#include "ui/signals.h"

enum { SNAPSHOT_W = 120, SNAPSHOT_H = 40 };

struct batch {
    const struct front_opts *o;
    struct lab *lab;
    struct log *log;          /* for `save screen` */
    struct look look;
    int interrupts, end;
    bool broken;              /* standard output is gone */
};

static void batch_line(void *ctx, enum out_level level, const char *text)
{
    struct batch *b = ctx;
    log_add(b->log, level, text);
    FILE *f = level == OUT_RESULT ? stdout : stderr;
    if (f == stderr)
        fflush(stdout);       /* the two stay in order on one terminal */
    if (fprintf(f, "%s\n", text) < 0 && f == stdout)
        b->broken = true;
}

static void batch_json(void *ctx, const char *object)
{
    struct batch *b = ctx;
    if (fprintf(stdout, "%s\n", object) < 0 || fflush(stdout) != 0)
        b->broken = true;
}

static const struct out_ops text_ops = { .line = batch_line };
static const struct out_ops json_ops = { .line = batch_line,
                                         .json = batch_json };

static enum status batch_tick(void *ctx)
{
    struct batch *b = ctx;
    if (!signals_pending())
        return STATUS_OK;
    struct caught c = signals_take();
    b->end = c.end ? c.end : b->end;
    b->interrupts += c.interrupts;
    if (c.stop)
        signals_stop_self();
    if (b->interrupts || b->end)
        lab_interrupt(b->lab, b->interrupts >= 2 || b->end ? 2 : 1);
    return STATUS_OK;
}

static bool batch_over(struct batch *b)
{
    batch_tick(b);
    return b->interrupts || b->end || b->broken || lab_wants_quit(b->lab);
}

static void batch_work(struct batch *b)
{
    while (!batch_over(b) && lab_busy(b->lab))
        lab_work(b->lab);
}

/* Commands from standard input, one at a time. */
static void batch_stdin(struct batch *b)
{
    struct str text = { 0 };
    char *line = NULL;
    size_t cap = 0;
    int number = 0, first = 1;
    ssize_t n;
    while (!batch_over(b) && (n = getline(&line, &cap, stdin)) >= 0) {
        number++;
        if (n > 0 && line[n - 1] == '\n')
            line[n - 1] = 0;
        if (text.len > 0)
            str_char(&text, '\n');
        else
            first = number;
        str_add(&text, line);
        if (!lab_line_complete(str_text(&text)))
            continue;
        lab_submit(b->lab, str_text(&text), (struct source){ "-", first });
        batch_work(b);
        str_clear(&text);
        if (lab_exit_code(b->lab) != 0 && !b->o->lab.keep_going)
            break;
    }
    if (text.len > 0 && !batch_over(b)) {
        lab_submit(b->lab, str_text(&text), (struct source){ "-", first });
        batch_work(b);
    }
    free(line);
    str_fini(&text);
}

static enum status batch_save_screen(void *ctx, const char *path,
                                     struct err *e)
{
    struct batch *b = ctx;
    struct desk_snapshot s = { b->lab, b->log, &b->look, SNAPSHOT_W,
                               SNAPSHOT_H };
    return desk_snapshot_save(&s, path, e);
}

static int batch_exit(struct batch *b)
{
    batch_tick(b);            /* a signal that ended the reading of a line */
    if (fflush(stdout) != 0 || ferror(stdout))
        b->broken = true;
    if (b->end)
        return 128 + b->end;
    if (b->interrupts)
        return status_exit_code(STATUS_STOPPED);
    int code = lab_exit_code(b->lab);
    if (b->broken && code == 0) {
        if (errno != EPIPE)
            fprintf(stderr, "qatlab: standard output: %s\n",
                    strerror(errno));
        code = status_exit_code(STATUS_IO);
    }
    return code;
}

int batch_run(const struct front_opts *o)
{
    struct err e = { .text = "" };
    struct log log = { .total = 0 };
    struct batch b = { .o = o, .log = &log, .look = front_look(o, false) };
    struct out out = { .ops = o->json ? &json_ops : &text_ops, .ctx = &b,
                       .json_only = o->json, .plain = o->plain,
                       .ascii = o->ascii || o->plain || !front_utf8() };
    struct lab_opts lo = o->lab;
    lo.out = &out;
    lo.tick = (struct tick){ .fn = batch_tick, .ctx = &b };
    signals_open(false);
    b.lab = lab_new(&lo, &e);
    if (!b.lab) {
        fprintf(stderr, "qatlab: %s\n", e.text);
        return status_exit_code(e.status);
    }
    lab_set_hooks(b.lab, &(struct lab_hooks){
        .ctx = &b, .save_screen = batch_save_screen });
    int code;
    if (front_submit(b.lab, o, &e) != STATUS_OK) {
        fprintf(stderr, "qatlab: %s\n", e.text);
        code = status_exit_code(e.status);
    } else {
        batch_work(&b);
        if (o->works == 0)
            batch_stdin(&b);
        code = batch_exit(&b);
    }
    lab_free(b.lab);
    fflush(stdout);
    log_fini(&log);
    signals_close();
    return code;
}

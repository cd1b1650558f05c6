/* Line mode: a readline prompt on the plain screen, scroll-back kept. While
 * the lab works nothing is echoed and Ctrl-C stops it.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cpu.h"
#include "ui/desk.h"
#include "ui/front.h"
#include "ui/prompt.h"
#include "ui/signals.h"
#include "ui/term.h"

enum { SNAPSHOT_W = 120, SNAPSHOT_H = 40 };
static const char prompt_text[] = "(qatlab) ", more_text[] = "... ";
static const double again_seconds = 2;    /* for the next stage of Ctrl-C */

struct line {
    const struct front_opts *o;
    struct lab *lab;
    struct log *log;
    struct look look;
    struct str pending;       /* of a command over several lines */
    bool over;
    int level, end;
    double level_at;
};

static const struct {
    const char *on;           /* with colour */
    bool error_stream;
} level_looks[] = {
    [OUT_ECHO] = { "\033[1m", false },
    [OUT_RESULT] = { NULL, false },
    [OUT_NOTE] = { NULL, false },
    [OUT_WARN] = { "\033[33m", true },
    [OUT_ERROR] = { "\033[1;31m", true },
};

static void line_out(void *ctx, enum out_level level, const char *text)
{
    struct line *l = ctx;
    log_add(l->log, level, text);
    FILE *f = level_looks[level].error_stream ? stderr : stdout;
    const char *on = l->look.color ? level_looks[level].on : NULL;
    fflush(f == stderr ? stdout : stderr);
    fprintf(f, on ? "%s%s\033[0m\n" : "%s%s\n", on ? on : "", text);
    fflush(f);
}

static void line_json(void *ctx, const char *object)
{
    (void)ctx;
    printf("%s\n", object);
    fflush(stdout);
}

static const struct out_ops text_ops = { .line = line_out };
static const struct out_ops json_ops = { .line = line_out,
                                         .json = line_json };

/* ---- signals ---- */

static void busy_interrupt(struct line *l)
{
    double now = clock_seconds();
    l->level = now - l->level_at > again_seconds ? 1 : l->level + 1;
    l->level_at = now;
    lab_interrupt(l->lab, l->level < 2 ? 1 : 2);
    if (l->level == 1)
        line_out(l, OUT_NOTE, "stopping at the end of the batch; Ctrl-C "
                              "again abandons it");
    if (l->level > 2) {
        l->end = 2;
        l->over = true;
    }
}

static void take_signals(struct line *l)
{
    struct caught c = signals_take();
    bool waiting = prompt_armed();
    for (int i = 0; i < c.interrupts; i++) {
        if (waiting) {
            str_clear(&l->pending);
            prompt_set(prompt_text);
            prompt_reset();
        } else {
            busy_interrupt(l);
        }
    }
    if (c.stop) {
        prompt_disarm();
        signals_stop_self();
        if (waiting)
            prompt_arm(prompt_text);
    }
    if (c.end) {
        l->end = c.end;
        l->over = true;
        lab_interrupt(l->lab, 1);
    }
}

static enum status line_tick(void *ctx)
{
    struct line *l = ctx;
    if (signals_pending())
        take_signals(l);
    return l->over ? STATUS_STOPPED : STATUS_OK;
}

/* ---- lines ---- */

static void line_accepted(void *ctx, const char *text)
{
    struct line *l = ctx;
    if (!text) {
        putchar('\n');
        l->over = l->pending.len == 0;
        str_clear(&l->pending);
        return;
    }
    if (l->pending.len > 0)
        str_char(&l->pending, '\n');
    str_add(&l->pending, text);
    if (!lab_line_complete(str_text(&l->pending)))
        return;
    prompt_history_add(str_text(&l->pending));
    lab_submit(l->lab, str_text(&l->pending), (struct source){ NULL, 0 });
    str_clear(&l->pending);
}

static int line_complete(void *ctx, const char *text, int point, int *start,
                         struct completion **out)
{
    struct line *l = ctx;
    return lab_complete(l->lab, text, point, start, out);
}

static const struct prompt_ops prompt_ops = {
    .line = line_accepted,
    .complete = line_complete,
};

static void line_work(struct line *l)
{
    while (!l->over && lab_busy(l->lab) && !lab_wants_quit(l->lab)) {
        lab_work(l->lab);
        line_tick(l);
    }
    l->level = 0;
}

static void line_loop(struct line *l, int signal_fd)
{
    struct pollfd fds[2] = { { .fd = STDIN_FILENO, .events = POLLIN },
                             { .fd = signal_fd, .events = POLLIN } };
    while (!l->over && !lab_wants_quit(l->lab)) {
        line_work(l);
        if (l->over || lab_wants_quit(l->lab))
            break;
        prompt_arm(l->pending.len > 0 ? more_text : prompt_text);
        poll(fds, 2, -1);
        if (signals_pending() || fds[1].revents)
            take_signals(l);
        else if (fds[0].revents & (POLLIN | POLLHUP))
            prompt_read();
    }
    prompt_disarm();
}

static enum status line_save_screen(void *ctx, const char *path,
                                    struct err *e)
{
    struct line *l = ctx;
    struct desk_snapshot s = { l->lab, l->log, &l->look, SNAPSHOT_W,
                               SNAPSHOT_H };
    return desk_snapshot_save(&s, path, e);
}

static void open_prompt(struct line *l)
{
    struct prompt_opts p = {
        .kind = PROMPT_PLAIN,
        .escapes = !l->o->plain && term_check(NULL) == STATUS_OK,
        .ops = &prompt_ops,
        .ctx = l,
    };
    struct str path = { 0 };
    prompt_open(&p);
    prompt_history_open(front_state_path("history", &path) ? str_text(&path)
                                                           : NULL);
    str_fini(&path);
}

static int line_exit(struct line *l)
{
    if (l->end) {
        front_autosave(l->lab);
        return 128 + l->end;
    }
    return lab_exit_code(l->lab);
}

int line_run(const struct front_opts *o)
{
    struct err e = { .text = "" };
    struct log log = { .total = 0 };
    struct line l = { .o = o, .log = &log, .look = front_look(o, true) };
    struct out out = { .ops = o->json ? &json_ops : &text_ops, .ctx = &l,
                       .json_only = o->json, .plain = o->plain,
                       .ascii = l.look.glyphs == &glyphs_ascii,
                       .width = 80 };
    struct lab_opts lo = o->lab;
    lo.out = &out;
    lo.interactive = true;
    lo.tick = (struct tick){ .fn = line_tick, .ctx = &l };
    int signal_fd = signals_open(false);
    l.lab = lab_new(&lo, &e);
    if (!l.lab) {
        fprintf(stderr, "qatlab: %s\n", e.text);
        return status_exit_code(e.status);
    }
    lab_set_hooks(l.lab, &(struct lab_hooks){
        .ctx = &l, .save_screen = line_save_screen });
    front_rc(l.lab, o, &out);
    if (front_submit(l.lab, o, &e) != STATUS_OK)
        line_out(&l, OUT_ERROR, e.text);
    open_prompt(&l);
    line_loop(&l, signal_fd);
    prompt_close();
    int code = line_exit(&l);
    lab_free(l.lab);
    str_fini(&l.pending);
    log_fini(&log);
    signals_close();
    return code;
}

/* The panes: one loop that polls standard input, the signals' pipe and the
 * captured standard error, and works for the lab in between.
 *
 * While the lab works, its tick comes here: keys are answered within a few
 * milliseconds, the screen is drawn at most ten times a second. Idle, the
 * loop sleeps until something comes.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "ui/capture.h"
#include "ui/front.h"
#include "ui/keys.h"
#include "ui/prompt.h"
#include "ui/router.h"
#include "ui/signals.h"
#include "ui/term.h"

static const char prompt_text[] = "(qatlab) ", more_text[] = "... ";
static const double poll_seconds = 0.01;      /* between looks at the keys */
static const double again_seconds = 2;        /* for the next Ctrl-C stage */
static const double frame_seconds = 0.1;      /* between frames, at least */
static const double wait_seconds = 0.03;      /* for a frame to be earned */
static const double rest_seconds = 0.15;      /* no key: time to read on */
static const double screen_share = 0.006;     /* of the work's time */
static const double screen_saved = 0.01;      /* seconds, for a busier time */
static const double merge_seconds = 0.6;      /* repeats of a key: one line */

struct tui {
    const struct front_opts *o;
    struct lab *lab;
    struct desk *desk;
    struct log log;
    struct router router;
    struct out out;
    int signal_fd, error_fd;
    bool over, input_gone;
    int end;                  /* signal that ends the program */
    int level;                /* Ctrl-C since the work began */
    double level_at;
    struct str pending;       /* a command over several lines */
    char *paste;              /* waits for Enter, e, Esc */
    bool waiting;             /* `pause` waits for a key */
    bool in_tick, holding;
    struct input held;        /* a key that waits for the one before it */
    long works, asked_at;     /* calls of lab_work; at the last line */
    bool asked;               /* a line was given and may not have run yet */
    double frame_least, frame_due;        /* seconds */
    struct budget budget;     /* of all that is done here while the lab works */
    double settled;           /* processor time up to which it knows */
    bool worked;              /* since the lab was idle */
    long shown;               /* lines of the log when last drawn */
    double polled;
    const struct key_row *last_key;
    double last_key_at;
};

/* ---- the sink ---- */

static void tui_line(void *ctx, enum out_level level, const char *text)
{
    struct tui *t = ctx;
    log_add(&t->log, level, text);
}

static const struct out_ops tui_out_ops = { .line = tui_line };

/* ---- drawing ---- */

static void show(struct tui *t)
{
    struct desk *d = t->desk;
    bool full = d->repaint;
    d->repaint = false;
    t->shown = t->log.total;
    d->prompt = prompt_view();
    desk_draw(d, clock_seconds());
    term_show(&d->screen, full);
}

/* A frame with fresh numbers; not in the middle of a batch. */
static void frame(struct tui *t)
{
    double now = clock_seconds();
    desk_update(t->desk, now);
    show(t);
    t->frame_due = now + t->frame_least;
}

/* The processor time since the last call was the lab's, or was spent here. */
static void settle(struct tui *t, void (*as)(struct budget *b, double seconds))
{
    double now = pane_cpu_seconds();
    as(&t->budget, now - t->settled);
    t->settled = now;
}

static void notice(struct tui *t, const char *text)
{
    snprintf(t->desk->notice, sizeof t->desk->notice, "%s", text);
}

/* ---- running lines ---- */

static void echo(struct tui *t, const char *line)
{
    struct str s = { 0 };
    str_printf(&s, "> %s", line);
    log_add(&t->log, OUT_ECHO, str_text(&s));
    str_fini(&s);
}

static void submit(struct tui *t, const char *line)
{
    echo(t, line);
    lab_submit(t->lab, line, (struct source){ NULL, 0 });
    t->asked = true;
    t->asked_at = t->works;
    t->polled = 0;
}

static void accept_end(struct tui *t)
{
    if (t->pending.len > 0) {
        str_clear(&t->pending);
        prompt_set(prompt_text);
        return;
    }
    if (lab_training(t->lab)) {
        notice(t, "training runs: Ctrl-C stops it, then Ctrl-D quits");
        return;
    }
    lab_submit(t->lab, "quit", (struct source){ NULL, 0 });
}

static void tui_accept(void *ctx, const char *text)
{
    struct tui *t = ctx;
    if (!text) {
        accept_end(t);
        return;
    }
    if (t->pending.len > 0)
        str_char(&t->pending, '\n');
    str_add(&t->pending, text);
    if (!lab_line_complete(str_text(&t->pending))) {
        prompt_set(more_text);
        return;
    }
    const char *line = str_text(&t->pending);
    if (line[strspn(line, " \t\n")]) {
        prompt_history_add(line);
        submit(t, line);
    }
    str_clear(&t->pending);
    prompt_set(prompt_text);
}

static int tui_complete(void *ctx, const char *line, int point, int *start,
                        struct completion **out)
{
    struct tui *t = ctx;
    return lab_complete(t->lab, line, point, start, out);
}

static void tui_candidates(void *ctx, const struct completion *c, int n)
{
    struct tui *t = ctx;
    desk_popup_set(t->desk, c, n);
}

static const struct prompt_ops tui_prompt_ops = {
    .line = tui_accept,
    .complete = tui_complete,
    .show = tui_candidates,
};

/* ---- keys ---- */

/* Repeats of a key within a moment are one entry of the history. */
static void keep_in_history(struct tui *t, const struct key_row *k,
                            const char *line)
{
    double now = clock_seconds();
    if (t->last_key == k && now - t->last_key_at < merge_seconds)
        prompt_history_replace(line);
    else
        prompt_history_add(line);
    t->last_key = k;
    t->last_key_at = now;
}

static void run_key(struct tui *t, const struct key_row *k)
{
    struct str line = { 0 };
    struct err e = { .text = "" };
    if (!t->in_tick)          /* what the key before it did is to be seen */
        ui_model_update(&t->desk->model, t->lab);
    if (key_expand(t->desk, k->line, &line, &e) != STATUS_OK) {
        notice(t, e.text);
    } else if (k->insert) {
        desk_focus(t->desk, "prompt", NULL);
        prompt_reset();
        prompt_insert(str_text(&line));
    } else if (desk_run(t->desk, str_text(&line), &e)) {
        notice(t, e.text);
    } else {
        keep_in_history(t, k, str_text(&line));
        submit(t, str_text(&line));
    }
    str_fini(&line);
}

/* The row for a key, given where the focus is; NULL: it is the prompt's. */
static const struct key_row *key_for(const struct tui *t, const char *key)
{
    const struct key_row *k = key_find("global", key);
    if (k || !t->desk->focus)
        return k;
    k = key_find(t->desk->focus->ops->name, key);
    return k ? k : key_find("pane", key);
}

static void insert_paste(const char *text)
{
    char *line = xstrdup(text);
    for (char *c = line; *c; c++) {
        if (*c == '\n')
            *c = ';';
        else if (*c == '\t')
            *c = ' ';
    }
    prompt_insert(line);
    free(line);
}

/* A paste of several lines runs only when Enter says so. */
static void take_paste(struct tui *t, const struct input *in)
{
    const char *feed = strchr(in->text, '\n');
    if (!feed || !feed[1]) {
        size_t n = strcspn(in->text, "\n");
        char *line = xmalloc(n + 1);
        memcpy(line, in->text, n);
        line[n] = 0;
        insert_paste(line);
        free(line);
        return;
    }
    int lines = 0;
    for (const char *c = in->text; *c; c++)
        lines += *c == '\n' || !c[1];
    free(t->paste);
    t->paste = xstrdup(in->text);
    snprintf(t->desk->notice, sizeof t->desk->notice,
             "paste of %d lines: Enter runs them, e edits, Esc drops", lines);
}

static void run_paste(struct tui *t)
{
    struct str line = { 0 };
    for (const char *c = t->paste;; c++) {
        if (*c && *c != '\n') {
            str_char(&line, *c);
            continue;
        }
        tui_accept(t, str_text(&line));
        str_clear(&line);
        if (!*c)
            break;
    }
    str_fini(&line);
}

static void answer_paste(struct tui *t, const char *key)
{
    if (!strcmp(key, "Enter"))
        run_paste(t);
    else if (!strcmp(key, "e"))
        insert_paste(t->paste);
    else if (strcmp(key, "Esc") != 0)
        return;
    free(t->paste);
    t->paste = NULL;
    notice(t, "");
}

/* True when the key was only meant for a pop-up, a question or a prefix. */
static bool take_modal(struct tui *t, const struct input *in)
{
    struct desk *d = t->desk;
    if (t->waiting) {
        t->waiting = false;
        return true;
    }
    if (t->paste) {
        answer_paste(t, in->key);
        return true;
    }
    notice(t, "");
    if (d->help && desk_help_key(d, in->key))
        return true;
    if (d->popup.n > 0 && strcmp(in->key, "Tab") != 0) {
        desk_popup_clear(d);
        if (!strcmp(in->key, "Esc"))
            return true;
    }
    if (d->prefix) {
        d->prefix = false;
        const struct key_row *k = key_find("prefix", in->key);
        if (k)
            run_key(t, k);
        return true;
    }
    if (!strcmp(in->key, "C-]")) {
        d->prefix = true;
        return true;
    }
    return false;
}

static void take_key(struct tui *t, const struct input *in)
{
    if (take_modal(t, in))
        return;
    const struct key_row *k = key_for(t, in->key);
    if (k) {
        run_key(t, k);
        return;
    }
    if (t->desk->focus) {     /* not for the pane: back to typing */
        if (!in->key[0])
            return;
        desk_focus(t->desk, "prompt", NULL);
    }
    if (!strcmp(in->key, "Esc") && !prompt_vi())
        return;
    prompt_feed(in->raw, in->raw_len);
}

static void take_input(struct tui *t, const struct input *in)
{
    if (in->kind == INPUT_PASTE)
        take_paste(t, in);
    else if (in->kind == INPUT_MOUSE)
        desk_mouse(t->desk, in->key, in->x, in->y);
    else if (in->kind == INPUT_PASTE_TOO_LONG)
        notice(t, "a paste of more than 1 MiB is refused: use `source FILE`");
    else
        take_key(t, in);
}

/* While training a line runs in the next call of lab_work, else before the
 * lab is idle again. */
static bool line_waits(struct tui *t)
{
    if (t->asked && (lab_training(t->lab) ? t->works > t->asked_at
                                          : !lab_busy(t->lab)))
        t->asked = false;
    return t->asked;
}

/* A key whose line depends on the state of layers waits until what was asked
 * for before is done: "+ +" means two bits, also in the middle of a batch. */
static bool must_wait(struct tui *t, const struct input *in)
{
    if (in->kind != INPUT_KEY || (!t->in_tick && !line_waits(t)))
        return false;
    const struct key_row *k = t->desk->prefix ? key_find("prefix", in->key)
                                              : key_for(t, in->key);
    return k && strchr(k->line, '{');
}

static bool next_input(struct tui *t, struct input *in)
{
    if (t->holding) {
        if (must_wait(t, &t->held))
            return false;
        *in = t->held;
        t->holding = false;
        return true;
    }
    if (!router_next(&t->router, clock_seconds(), in))
        return false;
    if (must_wait(t, in)) {
        t->held = *in;
        t->holding = true;
        return false;
    }
    return true;
}

/* Hands on what is complete. */
static bool route(struct tui *t)
{
    struct input in;
    bool any = false;
    while (!t->over && next_input(t, &in)) {
        take_input(t, &in);
        any = true;
    }
    return any;
}

/* ---- signals ---- */

static void fit_size(struct tui *t)
{
    int w, h;
    term_size(&w, &h);
    prompt_size(w, h);
    t->out.width = w > 8 ? w - 6 : 2;
    desk_resize(t->desk, w, h);
}

static void take_interrupt(struct tui *t)
{
    if (!lab_busy(t->lab) && !t->waiting) {
        str_clear(&t->pending);
        prompt_reset();
        prompt_set(prompt_text);
        desk_popup_clear(t->desk);
        free(t->paste);
        t->paste = NULL;
        notice(t, "");
        return;
    }
    double now = clock_seconds();
    t->level = now - t->level_at > again_seconds ? 1 : t->level + 1;
    t->level_at = now;
    t->waiting = false;
    lab_interrupt(t->lab, t->level < 2 ? 1 : 2);
    notice(t, t->level < 2 ? "stopping at the end of the batch; Ctrl-C again "
                             "abandons it"
                           : "abandoning the batch; Ctrl-C again ends "
                             "the program");
    if (t->level > 2) {
        t->end = SIGINT;
        t->over = true;
    }
}

static void take_signals(struct tui *t)
{
    struct caught c = signals_take();
    for (int i = 0; i < c.interrupts; i++)
        take_interrupt(t);
    if (c.stop) {
        term_leave();
        signals_stop_self();
        term_enter();
        fit_size(t);
    }
    if (c.resized)
        fit_size(t);
    if (c.end) {
        t->end = c.end;
        t->over = true;
        lab_interrupt(t->lab, 1);
    }
}

/* ---- the loop ---- */

static void read_input(struct tui *t)
{
    char bytes[1024];
    size_t room = sizeof t->router.queue - t->router.n;
    size_t want = room < sizeof bytes ? room : sizeof bytes;
    ssize_t n = want ? read(STDIN_FILENO, bytes, want) : 0;
    if (n > 0) {
        router_add(&t->router, bytes, (size_t)n, clock_seconds());
    } else if (want && (n == 0 || (errno != EINTR && errno != EAGAIN))) {
        t->input_gone = true; /* the terminal went away */
        t->end = SIGHUP;
        t->over = true;
        lab_interrupt(t->lab, 1);
    }
}

/* Waits at most `seconds` (< 0: for ever) and takes what came; true when
 * the screen may look different now. */
static bool service(struct tui *t, double seconds)
{
    struct pollfd fds[3] = {
        { .fd = t->input_gone ? -1 : STDIN_FILENO, .events = POLLIN },
        { .fd = t->signal_fd, .events = POLLIN },
        { .fd = t->error_fd, .events = POLLIN },
    };
    double key = router_wait(&t->router, clock_seconds());
    if (t->holding && !t->in_tick)
        key = 0;
    if (key >= 0 && (seconds < 0 || key < seconds))
        seconds = key;
    int ms = seconds < 0 ? -1 : (int)(seconds * 1000 + 0.999);
    int n = poll(fds, 3, ms);
    bool any = false;
    if (signals_pending()) {
        take_signals(t);
        any = true;
    }
    if (n > 0 && fds[0].revents)
        read_input(t);
    if (n > 0 && fds[2].revents)
        any = capture_read(&t->log) || any;
    return route(t) || any;
}

/* Keys and signals while the lab works; what they change is drawn at once,
 * anything else when it is due and can be paid. `whole`: the lab may be asked
 * for fresh numbers. */
static void look_up(struct tui *t, double now, bool whole)
{
    t->polled = now;
    bool changed = service(t, 0);
    bool due = now >= t->frame_due && (whole || t->log.total != t->shown);
    if (!changed && !due)
        return;
    settle(t, budget_earn);
    if (due && t->budget.left <= 0) {
        t->frame_due = now + wait_seconds;
        due = false;
    }
    if (due && whole) {
        frame(t);
    } else if (due || changed) {
        show(t);
        t->frame_due = due ? now + t->frame_least : t->frame_due;
    }
    settle(t, budget_spend);
}

static enum status tui_tick(void *ctx)
{
    struct tui *t = ctx;
    double now = clock_seconds();
    if (now - t->polled < poll_seconds || t->in_tick)
        return t->over ? STATUS_STOPPED : STATUS_OK;
    t->in_tick = true;
    look_up(t, now, false);
    t->in_tick = false;
    return t->over && t->end == SIGINT ? STATUS_STOPPED : STATUS_OK;
}

static void work(struct tui *t)
{
    if (!t->worked)
        t->settled = pane_cpu_seconds();
    t->worked = true;
    lab_work(t->lab);
    t->works++;
    double now = clock_seconds();
    if (now - t->polled >= poll_seconds || now >= t->frame_due)
        look_up(t, now, true);
}

static void loop(struct tui *t)
{
    while (!t->over && !lab_wants_quit(t->lab)) {
        if (lab_busy(t->lab)) {
            work(t);
            continue;
        }
        if (t->worked)
            settle(t, budget_earn);
        t->worked = false;
        if (t->level > 0) {   /* what was stopping has stopped */
            t->level = 0;
            notice(t, "");
        }
        frame(t);
        desk_update(t->desk, clock_seconds());
        if (desk_stale(t->desk))      /* a pane learned its size */
            show(t);
        bool behind = desk_behind(t->desk);
        if (!service(t, behind ? rest_seconds : -1) && behind)
            desk_catch_up(t->desk);
        t->polled = 0;
    }
}

/* ---- hooks ---- */

static enum status hook_layout(void *ctx, const char *words, struct err *e)
{
    return desk_layout(((struct tui *)ctx)->desk, words, e);
}

static enum status hook_focus(void *ctx, const char *words, struct err *e)
{
    return desk_focus(((struct tui *)ctx)->desk, words, e);
}

static enum status hook_zoom(void *ctx, const char *words, struct err *e)
{
    return desk_zoom(((struct tui *)ctx)->desk, words, e);
}

static enum status hook_save_screen(void *ctx, const char *path,
                                    struct err *e)
{
    struct tui *t = ctx;
    if (desk_behind(t->desk))
        desk_catch_up(t->desk);
    desk_update(t->desk, clock_seconds());
    t->desk->whole = true;
    t->desk->prompt = prompt_view();
    desk_draw(t->desk, clock_seconds());
    return screen_save(&t->desk->screen, path, e);
}

static void hook_pause(void *ctx, double seconds)
{
    struct tui *t = ctx;
    double until = clock_seconds() + seconds;
    t->waiting = true;
    if (seconds <= 0)
        notice(t, "press a key to go on");
    frame(t);
    while (t->waiting && !t->over) {
        double left = seconds > 0 ? until - clock_seconds() : -1;
        if (seconds > 0 && left <= 0)
            break;
        service(t, left);
        frame(t);
    }
    t->waiting = false;
    notice(t, "");
}

static void use_settings(struct tui *t)
{
    double fps = lab_setting_number(t->lab, "fps");
    double escape = lab_setting_number(t->lab, "escape.timeout");
    double mouse = lab_setting_number(t->lab, "mouse");
    t->frame_least = fps >= 1 ? 1 / fps : frame_seconds;
    t->router.escape_timeout = escape > 0 ? escape : 0;
    term_mouse(mouse > 0);
    desk_settings(t->desk);
    term_look(&t->desk->look);
    t->desk->repaint = true;
}

static void hook_setting(void *ctx, const char *name)
{
    (void)name;
    use_settings(ctx);
}

static double hook_cost(void *ctx)
{
    const struct tui *t = ctx;
    double all = t->budget.worked + t->budget.spent;
    return all > 0 ? t->budget.spent / all : 0;
}

/* ---- start and end ---- */

static void rescue(void)
{
    term_rescue();
    capture_spill();
}

static void memory_gone(void)
{
    rescue();
}

static void open_prompt(struct tui *t)
{
    struct prompt_opts p = { .kind = PROMPT_PANES, .ops = &tui_prompt_ops,
                             .ctx = t };
    struct str path = { 0 };
    prompt_open(&p);
    prompt_history_open(front_state_path("history", &path) ? str_text(&path)
                                                           : NULL);
    str_fini(&path);
    prompt_arm(prompt_text);
}

static enum status open_lab(struct tui *t, const struct look *look,
                            struct err *e)
{
    struct lab_opts lo = t->o->lab;
    t->out = (struct out){ .ops = &tui_out_ops, .ctx = t,
                           .plain = t->o->plain,
                           .ascii = look->glyphs == &glyphs_ascii };
    lo.out = &t->out;
    lo.interactive = true;
    lo.tick = (struct tick){ .fn = tui_tick, .ctx = t };
    t->lab = lab_new(&lo, e);
    if (!t->lab)
        return e->status;
    t->desk = desk_new(t->lab, &t->log, look);
    lab_set_hooks(t->lab, &(struct lab_hooks){
        .ctx = t, .layout = hook_layout, .focus = hook_focus,
        .zoom = hook_zoom, .save_screen = hook_save_screen,
        .pause = hook_pause, .setting = hook_setting, .cost = hook_cost });
    use_settings(t);
    return STATUS_OK;
}

static int close_all(struct tui *t)
{
    int code = 0;
    if (t->lab) {
        if (t->end && t->end != SIGINT)
            front_autosave(t->lab);
        code = t->end ? 128 + t->end : lab_exit_code(t->lab);
    }
    signals_on_death(NULL);
    xmalloc_hook = NULL;
    prompt_close();
    term_close();
    capture_close(&t->log);
    desk_free(t->desk);
    lab_free(t->lab);
    log_fini(&t->log);
    router_fini(&t->router);
    str_fini(&t->pending);
    free(t->paste);
    signals_close();
    return code;
}

enum status tui_run(const struct front_opts *o, int *exit_code,
                    struct err *e)
{
    struct look look = front_look(o, true);
    struct term_opts to = { .look = &look, .unicode = front_utf8() };
    struct tui *t = xmalloc(sizeof *t);
    *t = (struct tui){ .o = o, .error_fd = -1,
                       .budget = { .share = screen_share,
                                   .most = screen_saved } };
    t->signal_fd = signals_open(true);
    enum status s = term_open(&to, e);
    if (s != STATUS_OK) {
        free(t);
        return s;
    }
    signals_on_death(rescue);
    xmalloc_hook = memory_gone;
    t->error_fd = capture_open();
    open_prompt(t);
    struct err why = { .text = "" };
    if (open_lab(t, &look, &why) == STATUS_OK) {
        fit_size(t);
        front_rc(t->lab, o, &t->out);
        if (front_submit(t->lab, o, &why) != STATUS_OK)
            log_add(&t->log, OUT_ERROR, why.text);
        frame(t);
        loop(t);
        *exit_code = close_all(t);
    } else {
        *exit_code = status_exit_code(why.status);
        close_all(t);
        fprintf(stderr, "qatlab: %s\n", why.text);
    }
    free(t);
    return STATUS_OK;
}

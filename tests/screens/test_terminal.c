/* The whole program in a terminal: libvterm behind a pseudo-terminal. What is
 * expected is waited for, nothing sleeps for a fixed time. $QATLAB names the
 * program; without it every test is skipped.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/test_main.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include <vterm.h>

#include "base/str.h"
#include "common/temp_folder.h"

enum { PATIENCE_MS = 60000, MAX_ARGS = 12 };

struct terminal {
    struct temp_folder *folder;
    VTerm *vt;
    VTermScreen *screen;
    int fd, w, h;
    pid_t pid;
    bool alternate, cursor, ended;
    int status;
    struct str raw;           /* all bytes the program wrote */
};

/* ---- the terminal ---- */

static int on_property(VTermProp prop, VTermValue *value, void *user)
{
    struct terminal *t = user;
    if (prop == VTERM_PROP_ALTSCREEN)
        t->alternate = value->boolean;
    if (prop == VTERM_PROP_CURSORVISIBLE)
        t->cursor = value->boolean;
    return 1;
}

static VTermScreenCallbacks screen_callbacks = {
    .settermprop = on_property,
};

static void child(struct terminal *t, const char *const *env,
                  const char *const *args)
{
    char *argv[MAX_ARGS + 3];
    const char *program = getenv("QATLAB");
    int n = 0;
    setenv("TERM", "xterm-256color", 1);
    setenv("LC_ALL", "C.UTF-8", 1);
    setenv("OMP_NUM_THREADS", "1", 1);
    setenv("XDG_STATE_HOME", t->folder->dir, 1);
    setenv("XDG_CONFIG_HOME", t->folder->dir, 1);
    /* curses and readline keep some memory to the end */
    setenv("ASAN_OPTIONS", "detect_leaks=0", 0);
    unsetenv("NO_COLOR");
    for (; env && *env; env += 2)
        setenv(env[0], env[1], 1);
    argv[n++] = strdup(program);
    for (; args && *args && n < MAX_ARGS; args++)
        argv[n++] = strdup(*args);
    argv[n] = NULL;
    execv(program, argv);
    _exit(127);
}

static struct terminal *start(void **state, const char *const *env,
                              const char *const *args)
{
    if (!getenv("QATLAB"))
        skip();
    struct terminal *t = calloc(1, sizeof *t);
    t->folder = *state;
    t->w = 80;
    t->h = 24;
    t->cursor = true;
    t->vt = vterm_new(t->h, t->w);
    vterm_set_utf8(t->vt, 1);
    t->screen = vterm_obtain_screen(t->vt);
    vterm_screen_set_callbacks(t->screen, &screen_callbacks, t);
    vterm_screen_enable_altscreen(t->screen, 1);
    vterm_screen_reset(t->screen, 1);
    struct winsize size = { .ws_row = 24, .ws_col = 80 };
    t->pid = forkpty(&t->fd, NULL, NULL, &size);
    assert_true(t->pid >= 0);
    if (t->pid == 0)
        child(t, env, args);
    fcntl(t->fd, F_SETFL, O_NONBLOCK);
    return t;
}

static void reap(struct terminal *t)
{
    if (!t->ended && waitpid(t->pid, &t->status, WNOHANG) == t->pid)
        t->ended = true;
}

/* Takes what the program wrote, waiting at most `ms`; false: nothing. */
static bool pump(struct terminal *t, int ms)
{
    char bytes[4096];
    struct pollfd p = { .fd = t->fd, .events = POLLIN };
    if (poll(&p, 1, ms) <= 0)
        return false;
    ssize_t n = read(t->fd, bytes, sizeof bytes);
    if (n <= 0) {
        reap(t);
        return false;
    }
    str_add_n(&t->raw, bytes, (size_t)n);
    vterm_input_write(t->vt, bytes, (size_t)n);
    return true;
}

static long long now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

static void send_keys(struct terminal *t, const char *keys)
{
    size_t n = strlen(keys);
    while (n > 0) {
        ssize_t done = write(t->fd, keys, n);
        if (done > 0) {
            keys += done;
            n -= (size_t)done;
        }
        pump(t, done > 0 ? 0 : 10);
    }
}

/* A row of the screen as text without blanks at its end. */
static const char *row_text(struct terminal *t, int row)
{
    static char text[4096];
    VTermRect r = { .start_row = row, .end_row = row + 1, .end_col = t->w };
    size_t n = vterm_screen_get_text(t->screen, text, sizeof text - 1, r);
    while (n > 0 && (text[n - 1] == ' ' || text[n - 1] == '\n'))
        n--;
    text[n] = 0;
    return text;
}

static bool on_screen(struct terminal *t, const char *want)
{
    for (int row = 0; row < t->h; row++) {
        if (strstr(row_text(t, row), want))
            return true;
    }
    return false;
}

static void show_screen(struct terminal *t)
{
    for (int row = 0; row < t->h; row++)
        print_error("|%s\n", row_text(t, row));
}

static void expect(struct terminal *t, const char *want)
{
    long long until = now_ms() + PATIENCE_MS;
    while (!on_screen(t, want)) {
        if (now_ms() > until || t->ended) {
            show_screen(t);
            fail_msg("'%s' does not appear%s", want,
                     t->ended ? "; the program has ended" : "");
        }
        pump(t, 50);
    }
}

static void expect_gone(struct terminal *t, const char *text)
{
    long long until = now_ms() + PATIENCE_MS;
    while (on_screen(t, text) && now_ms() < until)
        pump(t, 50);
    assert_false(on_screen(t, text));
}

/* Waits for the end and returns the exit code, 128 + signal like a shell. */
static int ending(struct terminal *t)
{
    long long until = now_ms() + PATIENCE_MS;
    while (!t->ended) {
        if (now_ms() > until) {
            show_screen(t);
            fail_msg("the program does not end");
        }
        if (!pump(t, 20))
            reap(t);
    }
    while (pump(t, 0))
        continue;
    return WIFSIGNALED(t->status) ? 128 + WTERMSIG(t->status)
                                  : WEXITSTATUS(t->status);
}

static bool last_is(const struct terminal *t, const char *on,
                    const char *off)
{
    bool state = false;
    const char *text = str_text(&t->raw);
    for (size_t i = 0; i < t->raw.len; i++) {
        if (!strncmp(text + i, on, strlen(on)))
            state = true;
        if (!strncmp(text + i, off, strlen(off)))
            state = false;
    }
    return state;
}

/* Main screen, cursor, no paste mode, no mouse, cooked. */
static void expect_restored(struct terminal *t)
{
    struct termios tio;
    assert_false(t->alternate);
    assert_true(t->cursor);
    assert_false(last_is(t, "\033[?2004h", "\033[?2004l"));
    assert_false(last_is(t, "\033[?1000h", "\033[?1000l"));
    assert_int_equal(tcgetattr(t->fd, &tio), 0);
    assert_true(tio.c_lflag & ICANON);
    assert_true(tio.c_lflag & ECHO);
    assert_true(tio.c_iflag & ICRNL);
}

static void remove_state(struct temp_folder *f)
{
    static const char *const names[] = { "qatlab/history",
                                         "qatlab/autosave.qlab",
                                         "qatlab/rc.qat" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        unlink(temp_path(f, names[i]));
    rmdir(temp_path(f, "qatlab"));
}

static void finish(struct terminal *t)
{
    if (!t->ended) {
        kill(t->pid, SIGKILL);
        waitpid(t->pid, NULL, 0);
    }
    close(t->fd);
    vterm_free(t->vt);
    str_fini(&t->raw);
    remove_state(t->folder);
    free(t);
}

static const char *const jets[] = {
    "--norc", "-c", "load data jets n=500", "-c", "load model jet", NULL,
};
static const char *const nothing[] = { "--norc", NULL };

/* ---- tests ---- */

static void panes_come_up_and_quit_puts_the_terminal_back(void **state)
{
    struct terminal *t = start(state, NULL, nothing);
    expect(t, "1 Layers");
    expect(t, "(qatlab)");
    assert_true(t->alternate);
    send_keys(t, "quit\r");
    assert_int_equal(ending(t), 0);
    expect_restored(t);
    finish(t);
}

static void end_of_input_on_an_empty_line_quits(void **state)
{
    struct terminal *t = start(state, NULL, nothing);
    expect(t, "(qatlab)");
    send_keys(t, "abc\025\004");              /* Ctrl-U, Ctrl-D */
    assert_int_equal(ending(t), 0);
    expect_restored(t);
    finish(t);
}

static void keys_are_echoed_while_training(void **state)
{
    struct terminal *t = start(state, NULL, jets);
    expect(t, "fc0");
    send_keys(t, "train 100000\r");
    expect(t, "RUN");
    send_keys(t, "print 1+\u5c64");
    expect(t, "(qatlab) print 1+\u5c64");
    expect(t, "RUN");
    finish(t);
}

static void interrupt_stops_training_and_never_the_program(void **state)
{
    struct terminal *t = start(state, NULL, jets);
    expect(t, "fc0");
    send_keys(t, "train 100000\r");
    expect(t, "RUN");
    send_keys(t, "list\003");                 /* the text is kept */
    expect(t, "stopped at epoch");
    expect(t, "IDLE");
    expect(t, "(qatlab) list");
    send_keys(t, "\003");                     /* idle: clears the line */
    expect_gone(t, "(qatlab) list");
    send_keys(t, "\003\003\003quit\r");
    assert_int_equal(ending(t), 0);
    expect_restored(t);
    finish(t);
}

static void pane_keys_run_commands_that_history_keeps(void **state)
{
    struct terminal *t = start(state, NULL, jets);
    expect(t, "fc0");
    send_keys(t, "\033OQ");                   /* F2 */
    expect(t, "Space select");
    send_keys(t, "\033[B\033[B+");            /* Down Down: fc1 */
    expect(t, "> bits fc1 w=8");
    send_keys(t, "---");                      /* each sees the one before */
    expect(t, "> bits fc1 w=5");
    send_keys(t, "f");
    expect(t, "fake off");                    /* it is done */
    send_keys(t, "x");                        /* starts a line */
    expect(t, "(qatlab) list ->");
    send_keys(t, "\003");
    expect_gone(t, "list ->");
    send_keys(t, "\033[A");                   /* Up: history */
    expect(t, "(qatlab) disable fake fc1");
    finish(t);
}

static void pane_keys_work_while_training(void **state)
{
    struct terminal *t = start(state, NULL, jets);
    expect(t, "fc0");
    send_keys(t, "bits * w8a8\rtrain 100000\r");
    expect(t, "RUN");
    send_keys(t, "\033OQ\033[B\033[B--");     /* F2, to fc1 */
    expect(t, "fc1    dense 6");              /* the log runs too fast */
    expect(t, "RUN");
    finish(t);
}

static void a_key_that_no_pane_knows_is_typed(void **state)
{
    struct terminal *t = start(state, NULL, jets);
    expect(t, "fc0");
    send_keys(t, "\033OQ");
    expect(t, "Space select");
    send_keys(t, "quit");
    expect(t, "(qatlab) quit");
    finish(t);
}

static void a_paste_of_lines_waits_for_enter(void **state)
{
    struct terminal *t = start(state, NULL, jets);
    expect(t, "fc0");
    send_keys(t, "\033[200~let x = 11\nprint x*11\nlet x = 12\n"
                 "print x*12\033[201~");
    expect(t, "paste of 4 lines");
    assert_false(on_screen(t, "x = 11"));
    send_keys(t, "\r");
    expect(t, "121");                         /* in their order */
    expect(t, "144");
    send_keys(t, "\033[200~print 13*13\nprint 1\033[201~");
    expect(t, "paste of 2 lines");
    send_keys(t, "\033");
    expect_gone(t, "paste of 2 lines");
    assert_false(on_screen(t, "169"));
    send_keys(t, "\033[200~print 7*8\033[201~");      /* one line: typed */
    expect(t, "(qatlab) print 7*8");
    finish(t);
}

static void completion_pops_up_above_the_prompt(void **state)
{
    struct terminal *t = start(state, NULL, nothing);
    expect(t, "(qatlab)");
    send_keys(t, "lo\t");
    expect(t, "(qatlab) load");
    send_keys(t, "\025re\t");
    expect(t, "rewind");
    expect(t, "record");
    send_keys(t, "\033");
    expect_gone(t, "rewind");
    finish(t);
}

static void set_size(struct terminal *t, int w, int h)
{
    struct winsize size = { .ws_row = (unsigned short)h,
                            .ws_col = (unsigned short)w };
    t->w = w;
    t->h = h;
    vterm_set_size(t->vt, h, w);
    assert_int_equal(ioctl(t->fd, TIOCSWINSZ, &size), 0);
}

static char *whole_screen(struct terminal *t)
{
    struct str all = { 0 };
    for (int row = 0; row < t->h; row++) {
        str_add(&all, row_text(t, row));
        str_char(&all, '\n');
    }
    return str_take(&all);
}

static void quiet(struct terminal *t)
{
    while (pump(t, 300))
        continue;
}

static void a_resize_storm_leaves_the_screen_as_drawn_afresh(void **state)
{
    struct terminal *t = start(state, NULL, jets);
    unsigned seed = 3;
    expect(t, "fc0");
    send_keys(t, "train 100000\r");
    expect(t, "RUN");
    for (int i = 0; i < 200; i++) {
        seed = seed * 1103515245u + 12345u;
        set_size(t, (int)(seed >> 16) % 250 + 1, (int)(seed >> 8) % 80 + 1);
        pump(t, 1);
    }
    set_size(t, 1, 1);
    pump(t, 100);
    set_size(t, 80, 24);
    send_keys(t, "\003");
    expect(t, "stopped at epoch");
    expect(t, "IDLE");
    quiet(t);
    char *storm = whole_screen(t);
    send_keys(t, "\014");                     /* Ctrl-L */
    quiet(t);
    char *fresh = whole_screen(t);
    assert_string_equal(storm, fresh);
    assert_false(t->ended);
    free(storm);
    free(fresh);
    finish(t);
}

static void every_deadly_signal_restores_the_terminal(void **state)
{
    static const int signals[] = { SIGTERM, SIGHUP, SIGSEGV, SIGABRT,
                                   SIGBUS, SIGFPE, SIGILL };
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        struct terminal *t = start(state, NULL, jets);
        expect(t, "fc0");
        send_keys(t, "train 100000\r");
        expect(t, "RUN");
        kill(t->pid, signals[i]);
        assert_int_equal(ending(t), 128 + signals[i]);
        expect_restored(t);
        finish(t);
    }
}

static void termination_saves_the_session(void **state)
{
    struct terminal *t = start(state, NULL, jets);
    expect(t, "fc0");
    kill(t->pid, SIGTERM);
    assert_int_equal(ending(t), 128 + SIGTERM);
    assert_int_equal(access(temp_path(t->folder, "qatlab/autosave.qlab"),
                            R_OK), 0);
    finish(t);
}

static void a_terminal_that_goes_away_ends_the_program(void **state)
{
    struct terminal *t = start(state, NULL, nothing);
    expect(t, "(qatlab)");
    close(t->fd);
    t->fd = open("/dev/null", O_RDONLY);
    long long until = now_ms() + PATIENCE_MS;
    while (!t->ended && now_ms() < until) {
        poll(NULL, 0, 10);
        reap(t);
    }
    assert_true(t->ended);
    finish(t);
}

static void an_idle_screen_writes_nothing(void **state)
{
    struct terminal *t = start(state, NULL, jets);
    expect(t, "fc0");
    expect(t, "IDLE");
    quiet(t);
    size_t before = t->raw.len;
    assert_false(pump(t, 1000));
    assert_int_equal(t->raw.len, before);
    finish(t);
}

static void odd_terminals_get_lines_without_escape_sequences(void **state)
{
    static const char *const types[] = { "dumb", "nosuch-terminal", "" };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        const char *env[] = { "TERM", types[i], NULL };
        const char *args[] = { "--norc", "-c", "print 7", NULL };
        struct terminal *t = start(state, env, args);
        expect(t, "(qatlab)");
        send_keys(t, "print 12*12\r");
        expect(t, "144");
        send_keys(t, "nonsense\r");
        expect(t, "unknown command");
        send_keys(t, "quit\r");
        assert_int_equal(ending(t), 0);
        assert_null(strchr(str_text(&t->raw), '\033'));
        finish(t);
    }
}

static void the_c_locale_gets_ascii_only(void **state)
{
    const char *env[] = { "LC_ALL", "C", NULL };
    struct terminal *t = start(state, env, jets);
    expect(t, "+- 1 Layers");
    expect(t, "fc0");
    send_keys(t, "train 3\r");
    expect(t, "epoch 3");
    quiet(t);
    for (size_t i = 0; i < t->raw.len; i++)
        assert_true((unsigned char)t->raw.text[i] < 0x80);
    send_keys(t, "quit\r");
    assert_int_equal(ending(t), 0);
    finish(t);
}

static bool has_colors(const struct terminal *t)
{
    return strstr(str_text(&t->raw), "\033[36m") ||
           strstr(str_text(&t->raw), ";36m");
}

static void no_color_is_respected(void **state)
{
    const char *env[] = { "NO_COLOR", "1", NULL };
    struct terminal *t = start(state, NULL, jets);
    expect(t, "fc0");
    assert_true(has_colors(t));
    finish(t);
    t = start(state, env, jets);
    expect(t, "fc0");
    assert_false(has_colors(t));
    finish(t);
}

static void line_mode_stops_training_and_goes_on(void **state)
{
    static const char *const args[] = {
        "--norc", "--no-tui", "-c", "load data jets n=500", "-c",
        "load model jet", NULL,
    };
    struct terminal *t = start(state, NULL, args);
    expect(t, "(qatlab)");
    assert_false(t->alternate);
    send_keys(t, "train 100000\r");
    expect(t, "epoch 2");
    send_keys(t, "\003");
    expect(t, "stopped at epoch");
    send_keys(t, "abc\003");                  /* clears the line */
    send_keys(t, "print 12*12\r");
    expect(t, "144");
    send_keys(t, "\004");
    assert_int_equal(ending(t), 0);
    expect_restored(t);
    finish(t);
}

static void an_unfinished_line_goes_on_in_the_next(void **state)
{
    struct terminal *t = start(state, NULL, nothing);
    expect(t, "(qatlab)");
    send_keys(t, "print (12 *\r");
    expect(t, "...");
    send_keys(t, "12)\r");
    expect(t, "144");
    expect(t, "(qatlab)");
    finish(t);
}

static void a_screen_is_saved_as_it_is_shown(void **state)
{
    struct terminal *t = start(state, NULL, jets);
    char line[256];
    expect(t, "fc0");
    snprintf(line, sizeof line, "save screen %s\r",
             temp_path(t->folder, "s.txt"));
    send_keys(t, line);
    quiet(t);
    FILE *f = fopen(temp_path(t->folder, "s.txt"), "r");
    assert_non_null(f);
    char first[512] = "";
    assert_non_null(fgets(first, sizeof first, f));
    fclose(f);
    first[strcspn(first, "\n")] = 0;
    assert_non_null(strstr(first, "jet"));
    finish(t);
}

int main(void)
{
    gsl_set_error_handler_off();
    const struct CMUnitTest tests[] = {
#define IN_FOLDER(test) \
        cmocka_unit_test_setup_teardown(test, temp_folder_make, \
                                        temp_folder_drop)
        IN_FOLDER(panes_come_up_and_quit_puts_the_terminal_back),
        IN_FOLDER(end_of_input_on_an_empty_line_quits),
        IN_FOLDER(keys_are_echoed_while_training),
        IN_FOLDER(interrupt_stops_training_and_never_the_program),
        IN_FOLDER(pane_keys_run_commands_that_history_keeps),
        IN_FOLDER(pane_keys_work_while_training),
        IN_FOLDER(a_key_that_no_pane_knows_is_typed),
        IN_FOLDER(a_paste_of_lines_waits_for_enter),
        IN_FOLDER(completion_pops_up_above_the_prompt),
        IN_FOLDER(a_resize_storm_leaves_the_screen_as_drawn_afresh),
        IN_FOLDER(every_deadly_signal_restores_the_terminal),
        IN_FOLDER(termination_saves_the_session),
        IN_FOLDER(a_terminal_that_goes_away_ends_the_program),
        IN_FOLDER(an_idle_screen_writes_nothing),
        IN_FOLDER(odd_terminals_get_lines_without_escape_sequences),
        IN_FOLDER(the_c_locale_gets_ascii_only),
        IN_FOLDER(no_color_is_respected),
        IN_FOLDER(line_mode_stops_training_and_goes_on),
        IN_FOLDER(an_unfinished_line_goes_on_in_the_next),
        IN_FOLDER(a_screen_is_saved_as_it_is_shown),
    };
    return cmocka_run_group_tests_name("terminal", tests, NULL, NULL);
}

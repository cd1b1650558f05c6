/* The prompt: GNU readline by its callback interface.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ui/prompt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <readline/history.h>
#include <readline/readline.h>

#include "base/arena.h"

enum { HISTORY_LINES = 10000, QUEUE = 8192 };

/* Readline itself is one global object; this is what belongs to it. */
static struct {
    struct prompt_opts opts;
    bool armed, history_ready;
    bool cook;                /* readline may put the terminal back */
    char *history_path;
    unsigned char queue[QUEUE];
    int head, tail;           /* of the queue */
    FILE *nowhere;
    struct completion *found; /* of the last completion, for the pop-up */
    int found_n;
    char **waiting;           /* lines for the history, see may_add */
    int waiting_n;
} the;

/* ---- input and output under panes ---- */

static int take_byte(FILE *stream)
{
    (void)stream;
    if (the.head == the.tail)
        return 0;
    return the.queue[the.head++];
}

static int input_available(void)
{
    return the.head < the.tail;
}

static void no_redisplay(void)
{
}

/* ---- completion ---- */

static void forget_found(void)
{
    completion_free(the.found, the.found_n);
    the.found = NULL;
    the.found_n = 0;
}

/* The lab's candidate replaces the line from the lab's `start` on, readline
 * replaces from its own: the part between the two is added or cut. */
static char *candidate(const char *text, int lab_start, int own_start)
{
    if (lab_start >= own_start) {
        size_t gap = (size_t)(lab_start - own_start);
        char *out = xmalloc(gap + strlen(text) + 1);
        memcpy(out, rl_line_buffer + own_start, gap);
        strcpy(out + gap, text);
        return out;
    }
    size_t cut = (size_t)(own_start - lab_start);
    return xstrdup(strlen(text) > cut ? text + cut : "");
}

static size_t common_length(char **list)
{
    size_t n = strlen(list[1]);
    for (int i = 2; list[i]; i++) {
        size_t k = 0;
        while (k < n && list[1][k] == list[i][k])
            k++;
        n = k;
    }
    while (n > 0 && ((unsigned char)list[1][n] & 0xc0) == 0x80)
        n--;                  /* whole characters only */
    return n;
}

/* Readline's form: [0] the common start, then the candidates. */
static char **match_list(int lab_start, int own_start)
{
    int n = the.found_n;
    char **list = xmalloc((size_t)(n + 2) * sizeof *list);
    for (int i = 0; i < n; i++)
        list[i + 1] = candidate(the.found[i].text, lab_start, own_start);
    list[n + 1] = NULL;
    if (n == 1) {
        list[0] = list[1];
        list[1] = NULL;
        return list;
    }
    size_t common = common_length(list);
    list[0] = xmalloc(common + 1);
    memcpy(list[0], list[1], common);
    list[0][common] = 0;
    return list;
}

static char **complete(const char *text, int start, int end)
{
    (void)text;
    (void)end;
    rl_attempted_completion_over = 1;
    forget_found();
    int from = start;
    the.found_n = the.opts.ops->complete(the.opts.ctx, rl_line_buffer,
                                         rl_point, &from, &the.found);
    if (the.found_n <= 0) {
        the.found_n = 0;
        return NULL;
    }
    const char *only = the.found[0].text;
    size_t n = strlen(only);
    bool open = n > 0 && strchr("/=.", only[n - 1]) != NULL;
    rl_completion_suppress_append = the.found_n == 1 && open;
    return match_list(from, start);
}

static void show_matches(char **matches, int n, int longest)
{
    (void)matches;
    (void)n;
    (void)longest;
    if (the.opts.ops->show && the.found_n > 0)
        the.opts.ops->show(the.opts.ctx, the.found, the.found_n);
}

/* ---- history: what keeps it ---- */

/* The file is appended to line by line: nothing is lost when the session
 * is, and two sessions do not overwrite each other. */
static void append_line(void)
{
    if (!the.history_path)
        return;
    if (access(the.history_path, F_OK) != 0) {
        FILE *f = fopen(the.history_path, "a");
        if (!f)
            return;
        fclose(f);
    }
    append_history(1, the.history_path);
}

/* While somebody searches the history or stands on one of its lines,
 * readline holds pointers into it: lines of keys wait then. */
static bool may_add(void)
{
    return !RL_ISSTATE(RL_STATE_ISEARCH | RL_STATE_NSEARCH) &&
           where_history() >= history_length;
}

static void drop_duplicate(const char *line)
{
    for (int i = history_length - 1; i >= 0; i--) {
        const HIST_ENTRY *old = history_get(history_base + i);
        if (old && !strcmp(old->line, line)) {
            HIST_ENTRY *gone = remove_history(i);
            if (gone)
                free_history_entry(gone);
            return;
        }
    }
}

static void add_waiting(void)
{
    for (int i = 0; i < the.waiting_n; i++) {
        drop_duplicate(the.waiting[i]);
        add_history(the.waiting[i]);
        append_line();
        free(the.waiting[i]);
    }
    if (the.waiting_n > 0)
        using_history();      /* Up begins at the line that was added */
    the.waiting_n = 0;
}

static void add_later(const char *line)
{
    size_t n = (size_t)the.waiting_n + 1;
    the.waiting = xrealloc(the.waiting, n * sizeof *the.waiting);
    the.waiting[the.waiting_n++] = xstrdup(line);
}

/* ---- lines ---- */

/* Between two lines the terminal stays as readline set it: what is typed
 * ahead, also Ctrl-D, arrives at the next prompt as it was typed. Ctrl-C
 * makes a signal all the same. */
static void deprep_terminal(void)
{
    if (the.cook)
        rl_deprep_terminal();
}

static void line_done(char *line)
{
    using_history();          /* the line stands on no old one any more */
    add_waiting();
    if (the.opts.kind == PROMPT_PLAIN) {      /* no prompt meanwhile */
        rl_callback_handler_remove();
        the.armed = false;
    }
    the.opts.ops->line(the.opts.ctx, line);
    free(line);
}

/* ---- set-up ---- */

static void bind_arrows(void)
{
    static const struct {
        const char *keys;
        rl_command_func_t *was, *now;
    } arrows[] = {
        { "\033[A", rl_get_previous_history, rl_history_search_backward },
        { "\033OA", rl_get_previous_history, rl_history_search_backward },
        { "\033[B", rl_get_next_history, rl_history_search_forward },
        { "\033OB", rl_get_next_history, rl_history_search_forward },
    };
    for (size_t i = 0; i < sizeof arrows / sizeof arrows[0]; i++) {
        if (rl_function_of_keyseq(arrows[i].keys, NULL, NULL) ==
            arrows[i].was)
            rl_bind_keyseq(arrows[i].keys, arrows[i].now);
    }
}

static void use_panes(void)
{
    the.nowhere = fopen("/dev/null", "w");
    rl_outstream = the.nowhere;
    rl_catch_signals = 0;
    rl_catch_sigwinch = 0;
    rl_prep_term_function = NULL;
    rl_deprep_term_function = NULL;
    rl_getc_function = take_byte;
    rl_input_available_hook = input_available;
    rl_redisplay_function = no_redisplay;
    rl_completion_display_matches_hook = show_matches;
    rl_tty_set_echoing(0);
}

static void use_plain(bool escapes)
{
    rl_outstream = stdout;
    rl_catch_signals = 0;     /* the loop's self-pipe sees them */
    rl_catch_sigwinch = 1;
    rl_prep_term_function = rl_prep_terminal;
    rl_deprep_term_function = deprep_terminal;
    rl_getc_function = rl_getc;
    rl_input_available_hook = NULL;
    rl_redisplay_function = rl_redisplay;
    rl_completion_display_matches_hook = NULL;
    if (!escapes)
        rl_variable_bind("enable-bracketed-paste", "off");
}

void prompt_open(const struct prompt_opts *o)
{
    static char breaks[] = " \t";
    the.opts = *o;
    the.head = the.tail = 0;
    rl_readline_name = "qatlab";
    rl_change_environment = 0;
    rl_attempted_completion_function = complete;
    rl_completer_word_break_characters = breaks;
    rl_basic_quote_characters = "";
    rl_variable_bind("show-all-if-ambiguous", "on");
    if (o->kind == PROMPT_PANES)
        use_panes();
    else
        use_plain(o->escapes);
    rl_initialize();
    if (o->kind == PROMPT_PLAIN && !o->escapes)
        rl_variable_bind("enable-bracketed-paste", "off");
    bind_arrows();
}

void prompt_close(void)
{
    prompt_disarm();
    forget_found();
    add_waiting();
    free(the.waiting);
    the.waiting = NULL;
    rl_outstream = stdout;
    if (the.nowhere)
        fclose(the.nowhere);
    the.nowhere = NULL;
}

void prompt_arm(const char *text)
{
    if (the.armed)
        return;
    the.armed = true;
    rl_callback_handler_install(text, line_done);
}

void prompt_disarm(void)
{
    if (the.armed)
        rl_callback_handler_remove();
    the.armed = false;
    if (the.opts.kind == PROMPT_PLAIN && the.opts.ops) {
        the.cook = true;
        deprep_terminal();
        the.cook = false;
    }
}

bool prompt_armed(void)
{
    return the.armed;
}

void prompt_set(const char *text)
{
    rl_set_prompt(text);
}

void prompt_read(void)
{
    rl_callback_read_char();
}

void prompt_feed(const char *bytes, int n)
{
    if (the.head == the.tail)
        the.head = the.tail = 0;
    if (the.tail + n > QUEUE)
        return;
    memcpy(the.queue + the.tail, bytes, (size_t)n);
    the.tail += n;
    while (the.armed && input_available())
        rl_callback_read_char();
    if (may_add())
        add_waiting();
}

void prompt_insert(const char *text)
{
    rl_insert_text(text);
}

void prompt_reset(void)
{
    if (!the.armed)
        return;
    rl_callback_sigcleanup();
    rl_free_line_state();
    rl_replace_line("", 1);
    rl_point = rl_mark = 0;
    if (the.opts.kind == PROMPT_PLAIN) {
        rl_crlf();
        rl_on_new_line();
        rl_redisplay();
    }
}

void prompt_redraw(void)
{
    if (the.armed && the.opts.kind == PROMPT_PLAIN) {
        rl_on_new_line();
        rl_redisplay();
    }
}

bool prompt_vi(void)
{
    return rl_editing_mode == 0;
}

void prompt_size(int columns, int rows)
{
    rl_set_screen_size(rows, columns);
}

struct prompt_view prompt_view(void)
{
    struct prompt_view v = { "", "", 0 };
    if (the.armed) {
        v.prompt = rl_display_prompt ? rl_display_prompt : "";
        v.line = rl_line_buffer ? rl_line_buffer : "";
        v.point = rl_point;
    }
    return v;
}

/* ---- history ---- */

void prompt_history_open(const char *path)
{
    if (the.history_ready)
        return;
    using_history();
    stifle_history(HISTORY_LINES);
    history_comment_char = '#';
    history_write_timestamps = 1;         /* keeps entries of several lines */
    the.history_ready = true;
    if (!path)
        return;
    the.history_path = xstrdup(path);
    if (read_history(path) == 0)
        history_truncate_file(path, HISTORY_LINES);
}

void prompt_history_add(const char *line)
{
    if (!the.history_ready || !*line || *line == ' ')
        return;
    add_later(line);
    if (!the.armed || may_add())
        add_waiting();
}

/* Lines that are in the file already stay there. */
void prompt_history_replace(const char *line)
{
    if (the.waiting_n > 0) {
        free(the.waiting[the.waiting_n - 1]);
        the.waiting[the.waiting_n - 1] = xstrdup(line);
    } else if (history_length > 0 && may_add()) {
        HIST_ENTRY *old = replace_history_entry(history_length - 1, line,
                                                NULL);
        if (old)
            free_history_entry(old);
    } else {
        prompt_history_add(line);
    }
}

/* The terminal, by curses. SPDX-License-Identifier: GPL-3.0-or-later */
#include "ui/term.h"

#include <curses.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <term.h>
#include <termios.h>
#include <unistd.h>

#include "base/arena.h"

enum { RESCUE_BYTES = 256 };

static const char paste_on[] = "\033[?2004h", paste_off[] = "\033[?2004l";
static const char mouse_on[] = "\033[?1000h\033[?1006h",
                  mouse_off[] = "\033[?1006l\033[?1000l";

/* A tmux window that has grown since would leave rows of the panes among the
 * lines that come back. */
static const char wipe[] = "\033[H\033[2J";

/* The process has one terminal. */
static struct {
    bool open;                /* newterm was called */
    bool entered;             /* the alternate screen is up */
    bool unicode, mouse;
    bool color;               /* pairs are set up */
    const struct theme *theme;
    SCREEN *curses;
    struct termios saved;
    bool has_saved;
    struct screen shown;      /* what curses was told last */
    char rescue[RESCUE_BYTES];
    size_t rescue_len;
} the;

static void write_all(const char *text, size_t n)
{
    while (n > 0) {
        ssize_t done = write(STDOUT_FILENO, text, n);
        if (done <= 0)
            return;
        text += done;
        n -= (size_t)done;
    }
}

static void rescue_add(const char *text)
{
    size_t n = text ? strlen(text) : 0;
    if (n > 0 && the.rescue_len + n < RESCUE_BYTES) {
        memcpy(the.rescue + the.rescue_len, text, n);
        the.rescue_len += n;
    }
}

/* A capability's string; tigetstr wants its name writable and may return
 * (char *)-1. */
static const char *capability(const char *name)
{
    char copy[16];
    snprintf(copy, sizeof copy, "%s", name);
    const char *s = tigetstr(copy);
    return s == (const char *)-1 ? NULL : s;
}

static void prepare_rescue(void)
{
    the.rescue_len = 0;
    rescue_add(paste_off);
    rescue_add(mouse_off);
    rescue_add(capability("sgr0"));
    rescue_add(capability("cnorm"));
    rescue_add(capability("rmcup"));
    rescue_add("\r\n");
}

static void use_colors(const struct look *look)
{
    the.theme = look->theme;
    the.color = look->color && has_colors() && !the.theme->mono;
    if (!the.color)
        return;
    start_color();
    short ground = use_default_colors() == OK ? -1 : COLOR_BLACK;
    for (int st = 0; st < STYLE_COUNT; st++) {
        int color = style_table[st].color;
        if (color >= 0)
            color = the.theme->color[color];
        short ink = (short)(color >= 0 ? color
                            : ground < 0 ? -1 : COLOR_WHITE);
        init_pair((short)(st + 1), ink, ground);
    }
}

static const char *term_name(void)
{
    const char *name = getenv("TERM");
    return name && *name ? name : "unset";
}

enum status term_check(struct err *e)
{
    const char *name = term_name();
    int known = 0;
    if (setupterm(NULL, STDOUT_FILENO, &known) != 0)
        return err_set(e, STATUS_STATE, "the terminal type '%s' is unknown",
                       name);
    if (!capability("cup"))
        return err_set(e, STATUS_STATE, "the terminal type '%s' cannot place "
                       "its cursor", name);
    return STATUS_OK;
}

enum status term_open(const struct term_opts *o, struct err *e)
{
    the.unicode = o->unicode;
    the.has_saved = tcgetattr(STDIN_FILENO, &the.saved) == 0;
    TRY(term_check(e));
    /* newterm, not initscr: that one ends the program when TERM is unknown */
    the.curses = newterm(NULL, stdout, stdin);
    if (!the.curses)
        return err_set(e, STATUS_STATE, "the terminal type '%s' is not "
                       "usable", term_name());
    set_term(the.curses);
    the.open = true;
    cbreak();
    noecho();
    nonl();
    intrflush(stdscr, FALSE);
    use_colors(o->look);
    prepare_rescue();
    write_all(paste_on, sizeof paste_on - 1);
    the.entered = true;
    return STATUS_OK;
}

void term_close(void)
{
    if (!the.open)
        return;
    term_leave();
    delscreen(the.curses);
    screen_fini(&the.shown);
    the.open = false;
}

void term_size(int *w, int *h)
{
    struct winsize size = { 0 };
    *w = 80;
    *h = 24;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 &&
        size.ws_row > 0) {
        *w = size.ws_col;
        *h = size.ws_row;
    }
}

void term_leave(void)
{
    if (!the.entered)
        return;
    the.entered = false;
    write_all(paste_off, sizeof paste_off - 1);
    if (the.mouse)
        write_all(mouse_off, sizeof mouse_off - 1);
    curs_set(1);
    write_all(wipe, sizeof wipe - 1);
    endwin();
    if (the.has_saved)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &the.saved);
}

void term_enter(void)
{
    if (!the.open || the.entered)
        return;
    the.entered = true;
    reset_prog_mode();
    write_all(paste_on, sizeof paste_on - 1);
    if (the.mouse)
        write_all(mouse_on, sizeof mouse_on - 1);
    clearok(curscr, TRUE);
}

void term_look(const struct look *look)
{
    if (the.open)
        use_colors(look);
}

void term_mouse(bool on)
{
    if (on == the.mouse)
        return;
    the.mouse = on;
    if (the.entered && on)
        write_all(mouse_on, sizeof mouse_on - 1);
    else if (the.entered)
        write_all(mouse_off, sizeof mouse_off - 1);
}

void term_rescue(void)
{
    if (!the.entered)
        return;
    write_all(the.rescue, the.rescue_len);
    if (the.has_saved)
        tcsetattr(STDIN_FILENO, TCSANOW, &the.saved);
}

static attr_t attributes(const struct cell *c)
{
    const struct style_row *st = &style_table[c->style];
    attr_t a = A_NORMAL;
    bool strong = the.theme->strong;
    a |= st->bold || (strong && st->color >= 0) ? A_BOLD : 0;
    a |= st->dim && !strong ? A_DIM : 0;
    a |= (st->reverse != (c->reverse != 0)) ? A_REVERSE : 0;
    return a;
}

static void put(const struct cell *c, int x, int y)
{
    wchar_t text[UNIT_CHARS + 1] = { 0 };
    for (int i = 0; i < UNIT_CHARS; i++) {
        bool plain = c->ch[i] < 0x7f || the.unicode;
        text[i] = plain ? (wchar_t)c->ch[i] : L'?';
    }
    cchar_t cell;
    short pair = the.color ? (short)(c->style + 1) : 0;
    if (setcchar(&cell, text, attributes(c), pair, NULL) != OK)
        setcchar(&cell, L"?", A_NORMAL, 0, NULL);
    mvadd_wch(y, x, &cell);
}

static void show_row(const struct screen *s, int y, bool all)
{
    size_t at = (size_t)y * (size_t)s->w;
    size_t bytes = (size_t)s->w * sizeof *s->cell;
    if (!all && !memcmp(&s->cell[at], &the.shown.cell[at], bytes))
        return;
    for (int x = 0; x < s->w; x++, at++) {
        const struct cell *c = &s->cell[at];
        struct cell *old = &the.shown.cell[at];
        if (!all && !memcmp(c, old, sizeof *c))
            continue;
        *old = *c;
        if (c->width > 0)
            put(c, x, y);
    }
}

void term_show(const struct screen *s, bool full)
{
    if (!the.entered)
        return;
    bool other = the.shown.w != s->w || the.shown.h != s->h;
    if (other) {
        resizeterm(s->h, s->w);
        screen_resize(&the.shown, s->w, s->h);
    }
    if (other || full) {
        clearok(curscr, TRUE);
        erase();
    }
    for (int y = 0; y < s->h; y++)
        show_row(s, y, other || full);
    move(s->cursor_y, s->cursor_x);
    refresh();
}

/* The terminal, by curses: the only file that includes its header.
 *
 * The screen is copied to it; keys are not read through curses. Curses keeps
 * one terminal for the process, so there is one term.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UI_TERM_H
#define UI_TERM_H

#include "ui/screen.h"

struct term_opts {
    const struct look *look;  /* colours and theme */
    bool unicode;             /* false: anything beyond ASCII is shown as ? */
};

/* STATUS_STATE with a sentence when this terminal cannot show panes, and is
 * to be spared all escape sequences. */
enum status term_check(struct err *e);
/* The same for term_open; nothing was written then. */
enum status term_open(const struct term_opts *o, struct err *e);
void term_close(void);
void term_look(const struct look *look);  /* another theme */
void term_mouse(bool on);                 /* reports of clicks and the wheel */
void term_size(int *w, int *h);
/* Copies what differs from the last call; `full` repaints everything. */
void term_show(const struct screen *s, bool full);
/* Leaves the terminal as it was found (before Ctrl-Z), and takes it again. */
void term_leave(void);
void term_enter(void);
/* Async-signal-safe: leaves the alternate screen, shows the cursor, puts the
 * line discipline back. */
void term_rescue(void);

#endif

/* Signals: a self-pipe for the loop, and a terminal that is put back when
 * the program dies. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UI_SIGNALS_H
#define UI_SIGNALS_H

#include <stdbool.h>

struct caught {
    int interrupts;           /* Ctrl-C since the last call */
    bool stop;                /* Ctrl-Z */
    bool resized;
    int end;                  /* SIGTERM or SIGHUP, else 0 */
};

/* Installs the handlers, those that are not yet; returns a descriptor that
 * becomes readable. With `panes` the size of the window and what is fatal are
 * caught too. */
int signals_open(bool panes);
void signals_close(void);
struct caught signals_take(void);
bool signals_pending(void);               /* cheap: reads no descriptor */
/* Three Ctrl-C that nobody took, or a fatal signal, call this first; it may
 * only do what a signal handler may. NULL: nothing. */
void signals_on_death(void (*restore)(void));
/* Stops the process as Ctrl-Z would; returns when it is continued. */
void signals_stop_self(void);

#endif

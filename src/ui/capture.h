/* Standard error of libraries, caught while the panes are up: a pipe stands
 * in for descriptor 2 and its lines go to the log.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UI_CAPTURE_H
#define UI_CAPTURE_H

#include "ui/log.h"

/* Returns a descriptor to poll, -1 when there is none (nothing is lost then,
 * it only shows). Writers never block: what does not fit is dropped. */
int capture_open(void);
void capture_close(struct log *log);      /* the rest goes to the log */
/* Moves what has come to the log; true when that was something. */
bool capture_read(struct log *log);
/* For signal handlers: descriptor 2 is the terminal's again, and gets what
 * is still in the pipe. */
void capture_spill(void);

#endif

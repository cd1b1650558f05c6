/* The log: what the sink was told, the newest lines of it.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UI_LOG_H
#define UI_LOG_H

#include "lab/out.h"

#define LOG_LINES 4096

struct log_line {
    enum out_level level;
    char *text;
};

struct log {
    struct log_line line[LOG_LINES];      /* a ring */
    long total;               /* lines ever added; the newest is total - 1 */
};

/* Line feeds in text separate lines. */
void log_add(struct log *l, enum out_level level, const char *text);
void log_fini(struct log *l);
/* NULL when it is not kept (any more). */
const struct log_line *log_get(const struct log *l, long index);
long log_first(const struct log *l);

#endif

/* The log: the newest lines that the sink was told.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ui/log.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

static void add_line(struct log *l, enum out_level level, const char *text,
                     size_t n)
{
    struct log_line *line = &l->line[l->total % LOG_LINES];
    free(line->text);
    line->text = xmalloc(n + 1);
    memcpy(line->text, text, n);
    line->text[n] = 0;
    line->level = level;
    l->total++;
}

void log_add(struct log *l, enum out_level level, const char *text)
{
    for (;;) {
        size_t n = strcspn(text, "\n");
        add_line(l, level, text, n);
        if (!text[n] || !text[n + 1])
            return;
        text += n + 1;
    }
}

void log_fini(struct log *l)
{
    for (int i = 0; i < LOG_LINES; i++)
        free(l->line[i].text);
    memset(l, 0, sizeof *l);
}

long log_first(const struct log *l)
{
    return l->total > LOG_LINES ? l->total - LOG_LINES : 0;
}

const struct log_line *log_get(const struct log *l, long index)
{
    if (index < log_first(l) || index >= l->total)
        return NULL;
    return &l->line[index % LOG_LINES];
}

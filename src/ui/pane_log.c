/* The log pane: command echo, results, warnings; newest at the bottom.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <string.h>

#include "ui/pane.h"

enum filter { FILTER_ALL, FILTER_WARN, FILTER_CMD, FILTER_COUNT };

struct log_state {
    long back;                /* lines scrolled up from the newest */
    int filter;
    long seen;                /* total at the last update */
    int rows;                 /* of the last drawing */
};

static const struct filter_row {
    const char *name;
    unsigned levels;          /* bit set of enum out_level */
} filter_table[FILTER_COUNT] = {
    [FILTER_ALL] = { "all", ~0u },
    [FILTER_WARN] = { "warn", 1u << OUT_WARN | 1u << OUT_ERROR },
    [FILTER_CMD] = { "cmd", 1u << OUT_ECHO | 1u << OUT_ERROR },
};

static const struct level_row {
    const char *prefix;
    enum style style;
} level_table[] = {
    [OUT_ECHO] = { "", STYLE_BOLD },      /* "> bits conv2 w=4" */
    [OUT_RESULT] = { "  ", STYLE_TEXT },
    [OUT_NOTE] = { "  ", STYLE_TEXT },
    [OUT_WARN] = { "  ", STYLE_WARN },
    [OUT_ERROR] = { "  ", STYLE_BAD },
};

static bool shown(const struct log_state *s, const struct log_line *line)
{
    return filter_table[s->filter].levels >> line->level & 1;
}

/* Draws the rows of a line that end above `bottom`; returns the first row
 * that they took (may be negative). */
static int draw_line(const struct area *a, int bottom,
                     const struct log_line *line)
{
    const struct level_row *level = &level_table[line->level];
    int columns = a->w - 4 > 4 ? a->w - 4 : 4;
    int rows = text_rows(line->text, columns);
    const char *text = line->text;
    for (int i = 0; i < rows; i++) {
        size_t n = text_row(text, columns);
        int row = bottom - rows + i;
        char part[1024];
        snprintf(part, sizeof part, "%.*s", (int)n, text);
        if (row >= 0) {
            int col = i ? 3 : 1 + text_width(level->prefix);
            area_text(a, row, 1, level->style, level->prefix);
            area_text(a, row, col, level->style, part);
        }
        text += n;
    }
    return bottom - rows;
}

static void draw(struct pane *p, const struct pane_env *env,
                 const struct area *box)
{
    struct log_state *s = p->state;
    struct pane_head head = { .n = 0 };
    char back[32];
    snprintf(back, sizeof back, "-%ld", s->back);
    if (s->back)
        head.word[head.n++] = (struct frame_word){ back, STYLE_WARN };
    for (int i = 0; i < FILTER_COUNT; i++) {
        enum style st = i == s->filter ? STYLE_BOLD : STYLE_DIM;
        head.word[head.n++] = (struct frame_word){ filter_table[i].name, st };
    }
    struct area in = pane_frame(p, env, box, &head);
    s->rows = in.h;
    int bottom = in.h;
    long index = env->log->total - 1 - s->back;
    for (; bottom > 0; index--) {
        const struct log_line *line = log_get(env->log, index);
        if (!line)
            break;
        if (shown(s, line))
            bottom = draw_line(&in, bottom, line);
    }
}

static bool update(struct pane *p, const struct pane_env *env)
{
    struct log_state *s = p->state;
    long total = env->log->total;
    if (total == s->seen)
        return false;
    if (s->back) {            /* what is being read stays in place */
        s->back += total - s->seen;
        long most = total - log_first(env->log) - 1;
        s->back = s->back > most ? most : s->back;
    }
    s->seen = total;
    return true;
}

/* Rows by which a word scrolls: `page` is a page, anything else lines. */
enum { PAGE = 1000, ALL = 1000000 };

static enum status scroll(struct pane *p, const struct pane_env *env, int arg,
                          struct err *e)
{
    (void)e;
    struct log_state *s = p->state;
    int page = s->rows > 2 ? s->rows - 1 : 1;
    long by = arg == PAGE ? page : arg == -PAGE ? -page : arg;
    long most = env->log->total - log_first(env->log) - 1;
    s->back += by;
    s->back = s->back > most ? most : s->back;
    s->back = s->back < 0 ? 0 : s->back;
    return STATUS_OK;
}

static enum status set_filter(struct pane *p, const struct pane_env *env,
                              int arg, struct err *e)
{
    (void)env;
    (void)e;
    struct log_state *s = p->state;
    s->filter = arg < 0 ? (s->filter + 1) % FILTER_COUNT : arg;
    s->back = 0;
    return STATUS_OK;
}

static const struct pane_word words_table[] = {
    { "up", "one line back", scroll, 1 },
    { "down", "one line on", scroll, -1 },
    { "pageup", "one page back", scroll, PAGE },
    { "pagedown", "one page on", scroll, -PAGE },
    { "home", "to the oldest line", scroll, ALL },
    { "end", "to the newest line", scroll, -ALL },
    { "all", "show everything", set_filter, FILTER_ALL },
    { "warn", "show warnings and errors only", set_filter, FILTER_WARN },
    { "cmd", "show commands and errors only", set_filter, FILTER_CMD },
    { "filter", "next filter: all, warn, cmd", set_filter, -1 },
    { .word = NULL },
};

const struct pane_ops pane_log = {
    .name = "log",
    .title = "Log",
    .help = "commands, results, warnings",
    .digit = '4',
    .any_time = true,
    .state_size = sizeof(struct log_state),
    .update = update,
    .draw = draw,
    .word = words_table,
};

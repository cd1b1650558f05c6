/* The desk: everything that is on the screen, drawn into a grid in memory.
 *
 * It knows no terminal: tui.c shows it, `save screen` writes it from any
 * front end, tests look at it.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UI_DESK_H
#define UI_DESK_H

#include "ui/pane.h"
#include "ui/prompt.h"

enum { DESK_PANES = 16, POPUP_ROWS = 10 };

struct popup {
    struct completion *item;  /* owned copies */
    int n, first;             /* first one shown */
};

struct desk {
    struct lab *lab;
    struct log *log;
    struct look base, look;   /* what was asked for; with the settings */
    struct screen screen;
    struct ui_model model;
    const struct tiling_row *preset;
    bool fixed;               /* the layout was chosen by hand */
    struct tiling tiling;
    struct pane *pane[DESK_PANES];
    int panes;
    struct pane *focus;       /* NULL: the prompt */
    struct pane *zoomed;
    long stamp;
    struct pacer stats;       /* of lab_refresh_stats */
    bool glanced;             /* numbers are of a glance while the lab works */
    struct prompt_view prompt;
    struct popup popup;
    bool help;                /* the list of keys is shown */
    int help_page, help_pages;
    bool prefix;              /* Ctrl-] was pressed */
    bool repaint;             /* the terminal's contents are in doubt */
    bool whole;               /* draw everything again */
    char notice[512];         /* in the place of the hints */
};

struct desk *desk_new(struct lab *lab, struct log *log,
                      const struct look *look);
void desk_free(struct desk *d);
void desk_resize(struct desk *d, int w, int h);
/* Reads the lab. Only between pieces of its work. */
void desk_update(struct desk *d, double now);
/* Statistics of activations take longer than a key may wait: they are read
 * when none has come for a moment. */
bool desk_behind(const struct desk *d);
void desk_catch_up(struct desk *d);
bool desk_stale(const struct desk *d);    /* desk_draw would change panes */
/* Draws what changed into d->screen. At any time, also in a batch. */
void desk_draw(struct desk *d, double now);

/* The words of `layout`, `focus`, `zoom`. */
enum status desk_layout(struct desk *d, const char *words, struct err *e);
enum status desk_focus(struct desk *d, const char *words, struct err *e);
enum status desk_zoom(struct desk *d, const char *words, struct err *e);
/* Runs such a line; false when it is another command. */
bool desk_run(struct desk *d, const char *line, struct err *e);
struct pane_env desk_env(struct desk *d, double now);
struct rect desk_pane_rect(const struct desk *d);     /* room for panes */

/* Takes the settings that change looks: glyphs, color, theme. */
void desk_settings(struct desk *d);
/* A click or the wheel at a place of the screen. */
void desk_mouse(struct desk *d, const char *what, int x, int y);

/* Space turns the page of the list of keys, any other key closes it; true
 * when the key is used up by that. */
bool desk_help_key(struct desk *d, const char *key);

void desk_popup_set(struct desk *d, const struct completion *c, int n);
void desk_popup_clear(struct desk *d);

/* Draws a lab's desk of w by h cells to a file, without a terminal. */
struct desk_snapshot {
    struct lab *lab;
    struct log *log;
    const struct look *look;
    int w, h;
};
enum status desk_snapshot_save(const struct desk_snapshot *s,
                               const char *path, struct err *e);

#endif

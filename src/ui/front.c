/* What the three front ends share. SPDX-License-Identifier: GPL-3.0-or-later */
#include "ui/front.h"

#include <langinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "lab/view.h"
#include "ui/term.h"

enum { RC_BYTES = 1024 * 1024 };

/* ---- work of the command line ---- */

void front_quote(struct str *out, const char *word)
{
    str_char(out, '"');
    for (; *word; word++) {
        if (strchr("\"\\$", *word))
            str_char(out, '\\');
        str_char(out, *word);
    }
    str_char(out, '"');
}

static enum status submit_line(struct lab *l, const struct work *w, int index,
                               struct err *e)
{
    (void)e;
    lab_submit(l, w->text, (struct source){ .name = "-c", .line = index });
    return STATUS_OK;
}

static enum status submit_script(struct lab *l, const struct work *w,
                                 int index, struct err *e)
{
    (void)index;
    return lab_submit_file(l, w->text, w->argc, w->argv, e);
}

static enum status submit_load(struct lab *l, const struct work *w, int index,
                               struct err *e)
{
    (void)index;
    (void)e;
    struct str line = { 0 };
    str_add(&line, "load model ");
    front_quote(&line, w->text);
    lab_submit(l, str_text(&line), (struct source){ .name = w->text,
                                                    .line = 1 });
    str_fini(&line);
    return STATUS_OK;
}

static enum status (*const submitters[])(struct lab *l, const struct work *w,
                                         int index, struct err *e) = {
    [WORK_LINE] = submit_line,
    [WORK_SCRIPT] = submit_script,
    [WORK_LOAD] = submit_load,
};

enum status front_submit(struct lab *l, const struct front_opts *o,
                         struct err *e)
{
    int lines = 0;
    for (int i = 0; i < o->works; i++) {
        const struct work *w = &o->work[i];
        lines += w->kind == WORK_LINE;
        TRY(submitters[w->kind](l, w, lines, e));
    }
    return STATUS_OK;
}

/* ---- files of the user ---- */

static bool base_path(const char *variable, const char *fallback,
                      struct str *out)
{
    const char *dir = getenv(variable);
    if (dir && dir[0] == '/') {
        str_add(out, dir);
        return true;
    }
    const char *home = getenv("HOME");
    if (!home || !*home)
        return false;
    str_printf(out, "%s/%s", home, fallback);
    return true;
}

static void make_folders(const char *path)
{
    struct str part = { 0 };
    for (const char *at = path; *at; at++) {
        if (*at == '/' && part.len > 0)
            mkdir(str_text(&part), 0700);
        str_char(&part, *at);
    }
    str_fini(&part);
}

bool front_state_path(const char *name, struct str *out)
{
    if (!base_path("XDG_STATE_HOME", ".local/state", out))
        return false;
    str_printf(out, "/qatlab/%s", name);
    make_folders(str_text(out));
    return true;
}

/* The file configures the tool; what trains belongs into scripts. */
static bool rc_allows(const char *line)
{
    static const char *const verbs[] = { "set", "bind", "define", "layout" };
    size_t n = strcspn(line, " \t");
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strlen(verbs[i]) == n && !memcmp(verbs[i], line, n))
            return true;
    }
    return n == 0 || line[0] == '#';
}

static void rc_line(struct lab *l, struct out *out, const char *line,
                    struct source from)
{
    line += strspn(line, " \t");
    if (!*line || *line == '#')
        return;
    if (!rc_allows(line)) {
        out_printf(out, OUT_WARN, "%s:%d: only set, bind, define and layout "
                   "are allowed here", from.name, from.line);
        return;
    }
    lab_submit(l, line, from);
    while (lab_busy(l))
        lab_work(l);
}

void front_rc(struct lab *l, const struct front_opts *o, struct out *out)
{
    struct str path = { 0 };
    struct bytes b = { 0 };
    if (o->norc || !base_path("XDG_CONFIG_HOME", ".config", &path)) {
        str_fini(&path);
        return;
    }
    str_add(&path, "/qatlab/rc.qat");
    if (file_read(str_text(&path), RC_BYTES, &b, NULL) == STATUS_OK) {
        struct source from = { .name = str_text(&path) };
        struct str line = { 0 };
        for (size_t i = 0; i <= b.size; i++) {
            if (i < b.size && b.data[i] != '\n') {
                str_char(&line, (char)b.data[i]);
                continue;
            }
            from.line++;
            rc_line(l, out, str_text(&line), from);
            str_clear(&line);
        }
        str_fini(&line);
    }
    bytes_fini(&b);
    str_fini(&path);
}

void front_autosave(struct lab *l)
{
    struct status_view s;
    struct str path = { 0 }, line = { 0 };
    lab_status_view(l, &s);
    if (s.model[0] && front_state_path("autosave.qlab", &path)) {
        str_add(&line, "save model ");
        front_quote(&line, str_text(&path));
        lab_submit(l, str_text(&line), (struct source){ .name = NULL });
        while (lab_busy(l) && !lab_training(l))
            lab_work(l);
    }
    str_fini(&line);
    str_fini(&path);
}

/* ---- looks ---- */

bool front_utf8(void)
{
    return !strcmp(nl_langinfo(CODESET), "UTF-8");
}

static bool is_set(const char *variable)
{
    const char *v = getenv(variable);
    return v && *v;
}

static bool want_color(const struct front_opts *o, bool terminal)
{
    if (o->color != COLOR_AUTO)
        return o->color == COLOR_ALWAYS;
    if (is_set("NO_COLOR") || o->plain)
        return false;
    return is_set("CLICOLOR_FORCE") ||
           (terminal && term_check(NULL) == STATUS_OK);
}

struct look front_look(const struct front_opts *o, bool terminal)
{
    const char *term = getenv("TERM");
    bool console = term && !strcmp(term, "linux");    /* has no braille */
    struct look look = { .color = want_color(o, terminal),
                         .theme = &theme_table[0] };
    look.glyphs = o->ascii || o->plain || !front_utf8() ? &glyphs_ascii
                  : console ? &glyphs_blocks : &glyphs_braille;
    return look;
}

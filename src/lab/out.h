/* The output sink: commands never print; they tell the sink, and the front
 * end shows it as text, in a pane, or as JSON.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LAB_OUT_H
#define LAB_OUT_H

#include "base/columns.h"
#include "base/str.h"

enum out_level { OUT_ECHO, OUT_RESULT, OUT_NOTE, OUT_WARN, OUT_ERROR };

struct out;
struct out_ops {
    /* One line of text, without line feed. */
    void (*line)(void *ctx, enum out_level level, const char *text);
    /* One JSON object of the stream of terminal-ui.md 5.9; NULL: not wanted. */
    void (*json)(void *ctx, const char *object);
};
struct out {
    const struct out_ops *ops;
    void *ctx;
    bool json_only;           /* --json: text lines are not shown */
    bool ascii, plain;        /* no blocks; no boxes, sentences */
    int width;                /* columns for tables; 0: unlimited */
};

void out_printf(struct out *o, enum out_level level, const char *fmt, ...)
    ERR_FORMAT(3, 4);
void out_text(struct out *o, enum out_level level, const char *lines);

/* A table: rows are added as cells; drawn aligned, or written as txt, md,
 * csv, tsv or json by the suffix of a `-> file`. */
struct table;
struct table *table_new(int columns, const char *const *title);
void table_free(struct table *t);
void table_cell(struct table *t, const char *fmt, ...) ERR_FORMAT(2, 3);
/* A cell shown as `text`; csv, tsv and json take the number itself. */
void table_number(struct table *t, double v, const char *text);
int table_rows(const struct table *t);
void table_show(const struct table *t, struct out *o);
/* [{"title":value, ...}, ...]: numbers where cells are numbers. */
void table_json(const struct table *t, struct str *out);
enum status table_write(const struct table *t, const char *path, bool append,
                        struct err *e);

/* Writes or appends text, by path; STATUS_IO names the path. */
enum status text_write(const char *path, const char *text, size_t n,
                       bool append, struct err *e);

/* A sink that collects lines, for `expect output` and `-> file`. */
struct out_capture {
    struct out out;
    struct str text;
    struct out *below;        /* also passed on to this one, or NULL */
    int min_level, max_level; /* levels outside are not collected */
    bool apart;               /* what is collected is not passed on */
};
void out_capture_init(struct out_capture *c, const struct out *like,
                      struct out *below);
void out_capture_fini(struct out_capture *c);

#endif

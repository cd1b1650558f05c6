/* Options of the command line: one table for parsing, --help and the man
 * page. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UI_OPTIONS_H
#define UI_OPTIONS_H

#include "ui/front.h"

enum show { SHOW_NOTHING, SHOW_HELP, SHOW_MAN, SHOW_VERSION, SHOW_COMMANDS };
enum panes { PANES_AUTO, PANES_YES, PANES_NO };

struct options {
    struct front_opts front;
    struct work *work;        /* front.work, owned */
    bool batch;
    enum panes panes;
    enum show show;
};

struct option_row {
    const char *name;         /* without the dashes */
    char letter;              /* 0: none */
    const char *value;        /* what it takes: "FILE"; NULL: nothing */
    const char *help;
    enum status (*set)(struct options *o, const char *value, struct err *e);
};
extern const struct option_row option_table[];
extern const int option_count;

/* STATUS_USAGE with a sentence. The result points into argv. */
enum status options_parse(int argc, char **argv, struct options *out,
                          struct err *e);
void options_fini(struct options *o);

#endif

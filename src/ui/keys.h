/* Keys: every key is a row, and every row runs a command line.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UI_KEYS_H
#define UI_KEYS_H

#include "ui/desk.h"

/* `line` may hold {names} of key_word_table that stand for what is on the
 * screen: "{fake} fake {layers}" becomes "disable fake conv2". */
struct key_row {
    const char *context;      /* "global" "prefix" "pane", or a pane's name */
    const char *key;          /* as the router names it */
    const char *line;
    bool insert;              /* into the prompt, to be finished there */
    const char *hint;         /* for the bottom row; NULL: not there */
    const char *help;
};
extern const struct key_row key_table[];
extern const int key_count;

const struct key_row *key_find(const char *context, const char *key);
/* STATUS_STATE when the screen has nothing for a {name} to stand for. */
enum status key_expand(const struct desk *d, const char *line,
                       struct str *out, struct err *e);

#endif

/* The input router: bytes of the terminal become complete units: keys,
 * characters, pastes. Nothing is handed on in pieces, however it arrives.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UI_ROUTER_H
#define UI_ROUTER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

enum input_kind {
    INPUT_NONE,
    INPUT_KEY,                /* key: "F1" "Up" "a" "C-l" "M-x" "Esc" */
    INPUT_PASTE,              /* text, with line feeds */
    INPUT_PASTE_TOO_LONG,
    INPUT_MOUSE,              /* key: "Click" "WheelUp" "WheelDown" */
};

#define ROUTER_KEY 24
#define ROUTER_RAW 32
#define ROUTER_PASTE_MAX (1024 * 1024)

struct input {
    enum input_kind kind;
    char key[ROUTER_KEY];     /* "" for a sequence without a name */
    char raw[ROUTER_RAW];     /* the bytes, for readline */
    int raw_len;
    const char *text;         /* of a paste; valid until the next call */
    int x, y;                 /* of the mouse, from 0 */
};

struct router {
    unsigned char queue[4096];
    size_t n;
    double since;             /* when the first byte in the queue came */
    bool pasting, too_long;
    struct str paste;
    double escape_timeout;    /* seconds until a lone ESC is a key; 0: .04 */
};

void router_fini(struct router *r);
/* Takes as many bytes as fit, returns how many. */
size_t router_add(struct router *r, const void *bytes, size_t n, double now);
/* The next complete unit; false: none yet. */
bool router_next(struct router *r, double now, struct input *out);
/* Seconds until router_next must be asked again; < 0: not before input. */
double router_wait(const struct router *r, double now);

#endif

/* Status codes and messages: how every fallible function reports.
 *
 * A function that can fail returns `enum status` and takes `struct err *`
 * last. The text lives with the caller; NULL is allowed and drops the text.
 * Texts say what was found, what was wanted and where; lower case, no full
 * stop. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_ERR_H
#define BASE_ERR_H

enum status {
#define ERR(name, code, text) STATUS_##name,
#include "base/errs.def"
#undef ERR
    STATUS_COUNT
};

struct err {
    enum status status;
    char text[512];
};

#define ERR_FORMAT(a, b) __attribute__((format(printf, a, b)))

/* Stores status and text, returns status: `return err_set(e, STATUS_ARG, ..)`. */
enum status err_set(struct err *e, enum status s, const char *fmt, ...)
    ERR_FORMAT(3, 4);

/* Puts "context: " in front of the text that is there and returns s. */
enum status err_wrap(struct err *e, enum status s, const char *fmt, ...)
    ERR_FORMAT(3, 4);

/* STATUS_MEM with a text naming what was being allocated. */
enum status err_memory(struct err *e, const char *what);

void err_clear(struct err *e);

const char *status_text(enum status s);
int status_exit_code(enum status s);

/* Passes a failure on: `TRY(tensor_new(...))`. */
#define TRY(call)                        \
    do {                                 \
        enum status try_status_ = (call);\
        if (try_status_ != STATUS_OK)    \
            return try_status_;          \
    } while (0)

#endif

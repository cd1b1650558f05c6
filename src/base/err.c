/* Status codes and the messages that go with them.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/err.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct status_row {
    const char *text;
    int exit_code;
};

static const struct status_row status_rows[] = {
#define ERR(name, code, words) \
    [STATUS_##name] = { .text = (words), .exit_code = (code) },
#include "base/errs.def"
#undef ERR
};

static_assert(sizeof status_rows / sizeof status_rows[0] == STATUS_COUNT,
              "errs.def and enum status agree");

enum status err_set(struct err *e, enum status s, const char *fmt, ...)
{
    assert(s != STATUS_OK && s < STATUS_COUNT);
    if (!e)
        return s;
    e->status = s;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    return s;
}

enum status err_wrap(struct err *e, enum status s, const char *fmt, ...)
{
    if (!e)
        return s;
    char old[sizeof e->text];
    memcpy(old, e->text, sizeof old);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    e->status = s;
    size_t used = strlen(e->text);
    const char *text = old[0] ? old : status_text(s);
    snprintf(e->text + used, sizeof e->text - used, ": %s", text);
    return s;
}

enum status err_memory(struct err *e, const char *what)
{
    return err_set(e, STATUS_MEM, "out of memory for %s", what);
}

void err_clear(struct err *e)
{
    if (!e)
        return;
    e->status = STATUS_OK;
    e->text[0] = '\0';
}

const char *status_text(enum status s)
{
    return (unsigned)s < STATUS_COUNT ? status_rows[s].text : "unknown status";
}

int status_exit_code(enum status s)
{
    return (unsigned)s < STATUS_COUNT ? status_rows[s].exit_code : 1;
}

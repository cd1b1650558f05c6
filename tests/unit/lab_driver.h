/* A lab for tests: lines go in, what it printed is text.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UNIT_LAB_DRIVER_H
#define UNIT_LAB_DRIVER_H

#include "common/test_main.h"

#include <string.h>

#include "lab/lab.h"

struct driver {
    struct out out;
    struct str text, errors, json;
    struct lab_opts opts;
    struct lab *lab;
};

static inline void driver_line(void *ctx, enum out_level level,
                               const char *text)
{
    struct driver *d = ctx;
    struct str *to = level == OUT_ERROR || level == OUT_WARN ? &d->errors
                                                             : &d->text;
    if (level == OUT_ECHO)
        return;
    str_add(to, text);
    str_char(to, '\n');
}

static inline void driver_json(void *ctx, const char *object)
{
    struct driver *d = ctx;
    str_add(&d->json, object);
    str_char(&d->json, '\n');
}

static const struct out_ops driver_ops = { .line = driver_line,
                                           .json = driver_json };

static inline int driver_open(void **state)
{
    static struct driver d;
    d = (struct driver){ .out = { .ops = &driver_ops } };
    d.out.ctx = &d;
    d.opts = (struct lab_opts){ .out = &d.out, .seed = 1, .threads = 1,
                                .deterministic = true,
                                .interactive = true };
    d.lab = lab_new(&d.opts, NULL);
    *state = &d;
    return d.lab ? 0 : -1;
}

static inline int driver_close(void **state)
{
    struct driver *d = *state;
    lab_free(d->lab);
    str_fini(&d->text);
    str_fini(&d->errors);
    str_fini(&d->json);
    return 0;
}

static inline void driver_clear(struct driver *d)
{
    str_clear(&d->text);
    str_clear(&d->errors);
    str_clear(&d->json);
}

static inline void driver_drain(struct driver *d)
{
    for (int i = 0; lab_busy(d->lab) && i < 100000; i++)
        lab_work(d->lab);
    assert_false(lab_busy(d->lab));
}

/* Typed at the prompt, and worked off; the text it printed. */
static inline const char *type(struct driver *d, const char *line)
{
    driver_clear(d);
    lab_submit(d->lab, line, (struct source){ NULL, 0 });
    driver_drain(d);
    return str_text(&d->text);
}

/* A line of a script named "s". */
static inline const char *run(struct driver *d, const char *line)
{
    driver_clear(d);
    lab_submit(d->lab, line, (struct source){ "s", 1 });
    driver_drain(d);
    return str_text(&d->text);
}

static inline void expect_text(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("'%s' is not in:\n%s", part, text);
}

/* The line works without error or warning. */
static inline const char *good(struct driver *d, const char *line)
{
    const char *text = run(d, line);
    if (d->errors.len)
        fail_msg("%s: %s", line, str_text(&d->errors));
    return text;
}

/* The line fails with a message that holds the text. */
static inline void bad(struct driver *d, const char *line, const char *part)
{
    run(d, line);
    expect_text(str_text(&d->errors), part);
}

#endif

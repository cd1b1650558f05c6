/* Standard error of libraries, caught while the panes are up.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ui/capture.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"

enum { LINE_MAX_BYTES = 400 };

/* The state of descriptor 2, of which the process has one. */
static struct {
    int read, original;
    struct str line;
} the = { .read = -1, .original = -1 };

int capture_open(void)
{
    int ends[2];
    if (the.read >= 0 || pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
        return the.read;
    fflush(stderr);
    the.original = fcntl(2, F_DUPFD_CLOEXEC, 3);
    if (the.original < 0 || dup2(ends[1], 2) < 0) {
        close(ends[0]);
        close(ends[1]);
        if (the.original >= 0)
            close(the.original);
        the.original = -1;
        return -1;
    }
    close(ends[1]);
    the.read = ends[0];
    return the.read;
}

static void take_line(struct log *log)
{
    struct str clean = { 0 };
    str_add(&clean, "stderr: ");
    str_add_clean(&clean, str_text(&the.line));
    log_add(log, OUT_WARN, str_text(&clean));
    str_fini(&clean);
    str_clear(&the.line);
}

bool capture_read(struct log *log)
{
    char bytes[1024];
    bool any = false;
    ssize_t n;
    while (the.read >= 0 && (n = read(the.read, bytes, sizeof bytes)) > 0) {
        any = true;
        for (ssize_t i = 0; i < n; i++) {
            if (bytes[i] == '\n' || the.line.len >= LINE_MAX_BYTES)
                take_line(log);
            if (bytes[i] != '\n')
                str_char(&the.line, bytes[i]);
        }
    }
    return any;
}

void capture_close(struct log *log)
{
    if (the.read < 0)
        return;
    fflush(stderr);
    capture_read(log);
    if (the.line.len > 0)
        take_line(log);
    str_fini(&the.line);
    dup2(the.original, 2);
    close(the.original);
    close(the.read);
    the.read = the.original = -1;
}

void capture_spill(void)
{
    char bytes[1024];
    ssize_t n;
    if (the.read < 0)
        return;
    dup2(the.original, 2);
    while ((n = read(the.read, bytes, sizeof bytes)) > 0) {
        ssize_t ignored = write(2, bytes, (size_t)n);
        (void)ignored;
    }
}

/* Allocation for lab/ and ui/ that never returns NULL.
 *
 * Their strings are small; a workbench that cannot get a hundred bytes has
 * nothing left to do but put the terminal back and end.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"

void (*xmalloc_hook)(void);

static _Noreturn void out_of_memory(void)
{
    static const char text[] = "qatlab: out of memory\n";

    if (xmalloc_hook)
        xmalloc_hook();
    ssize_t ignored = write(STDERR_FILENO, text, sizeof text - 1);
    (void)ignored;
    _exit(1);
}

void *xmalloc(size_t bytes)
{
    void *p = calloc(1, bytes ? bytes : 1);
    if (!p)
        out_of_memory();
    return p;
}

void *xrealloc(void *p, size_t bytes)
{
    void *q = realloc(p, bytes ? bytes : 1);
    if (!q)
        out_of_memory();
    return q;
}

char *xstrdup(const char *s)
{
    size_t n = strlen(s) + 1;
    return memcpy(xmalloc(n), s, n);
}

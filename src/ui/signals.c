/* Signals. SPDX-License-Identifier: GPL-3.0-or-later */
#include "ui/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"

enum { MAX_UNSEEN = 3, STACK_BYTES = 64 * 1024 };

/* What handlers write and the loop reads. */
static struct {
    int pipe[2];
    volatile sig_atomic_t interrupts, stop, resized, end;
    void (*volatile restore)(void);
    bool open;
    void *stack;
} the = { .pipe = { -1, -1 } };

static const int fatal[] = { SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL };
enum { FATALS = sizeof fatal / sizeof fatal[0] };

static void wake(void)
{
    ssize_t ignored = write(the.pipe[1], "", 1);
    (void)ignored;            /* full: the loop is about to wake anyway */
}

static void on_interrupt(int sig)
{
    (void)sig;
    int saved = errno;
    the.interrupts = the.interrupts + 1;
    if (the.interrupts >= MAX_UNSEEN) {       /* the loop does not answer */
        if (the.restore)
            the.restore();
        _exit(128 + SIGINT);
    }
    wake();
    errno = saved;
}

static void on_stop(int sig)
{
    (void)sig;
    int saved = errno;
    the.stop = 1;
    wake();
    errno = saved;
}

static void on_resize(int sig)
{
    (void)sig;
    int saved = errno;
    the.resized = 1;
    wake();
    errno = saved;
}

static void on_end(int sig)
{
    int saved = errno;
    the.end = sig;
    wake();
    errno = saved;
}

static void on_fatal(int sig)
{
    if (the.restore)
        the.restore();
    signal(sig, SIG_DFL);
    raise(sig);
}

static void install(int sig, void (*handler)(int), int flags)
{
    struct sigaction sa = { .sa_flags = flags };
    sa.sa_handler = handler;
    sigemptyset(&sa.sa_mask);
    sigaction(sig, &sa, NULL);
}

static void install_fatal(void)
{
    the.stack = xmalloc(STACK_BYTES);
    stack_t stack = { .ss_sp = the.stack, .ss_size = STACK_BYTES };
    sigaltstack(&stack, NULL);
    for (int i = 0; i < FATALS; i++)
        install(fatal[i], on_fatal, SA_ONSTACK | (int)SA_RESETHAND);
}

int signals_open(bool panes)
{
    if (!the.open) {
        if (pipe2(the.pipe, O_NONBLOCK | O_CLOEXEC) != 0)
            return -1;
        the.open = true;
        install(SIGPIPE, SIG_IGN, 0);
        install(SIGINT, on_interrupt, 0);
        install(SIGTERM, on_end, 0);
        install(SIGHUP, on_end, 0);
        install(SIGTSTP, on_stop, 0);
    }
    if (panes && !the.stack) {
        install(SIGWINCH, on_resize, 0);
        install_fatal();
    }
    return the.pipe[0];
}

void signals_close(void)
{
    static const int ours[] = { SIGPIPE, SIGINT,  SIGTERM,
                                SIGHUP,  SIGTSTP, SIGWINCH };
    if (!the.open)
        return;
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        install(ours[i], SIG_DFL, 0);
    for (int i = 0; i < FATALS && the.stack; i++)
        install(fatal[i], SIG_DFL, 0);
    if (the.stack) {
        stack_t off = { .ss_flags = SS_DISABLE };
        sigaltstack(&off, NULL);
        free(the.stack);
        the.stack = NULL;
    }
    close(the.pipe[0]);
    close(the.pipe[1]);
    the.pipe[0] = the.pipe[1] = -1;
    the.open = false;
    the.restore = NULL;
}

struct caught signals_take(void)
{
    char bytes[64];
    while (the.open && read(the.pipe[0], bytes, sizeof bytes) > 0)
        continue;
    sigset_t all, old;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &old);
    struct caught c = { .interrupts = the.interrupts, .stop = the.stop,
                        .resized = the.resized, .end = the.end };
    the.interrupts = the.stop = the.resized = the.end = 0;
    sigprocmask(SIG_SETMASK, &old, NULL);
    return c;
}

bool signals_pending(void)
{
    return the.interrupts || the.stop || the.resized || the.end;
}

void signals_on_death(void (*restore)(void))
{
    the.restore = restore;
}

void signals_stop_self(void)
{
    sigset_t stop, old;
    install(SIGTSTP, SIG_DFL, 0);
    sigemptyset(&stop);
    sigaddset(&stop, SIGTSTP);
    raise(SIGTSTP);
    sigprocmask(SIG_UNBLOCK, &stop, &old);    /* stops here */
    sigprocmask(SIG_SETMASK, &old, NULL);
    install(SIGTSTP, on_stop, 0);
}

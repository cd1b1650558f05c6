/* Lines waiting to run. SPDX-License-Identifier: GPL-3.0-or-later */
#include "lab/script.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "lab/cmd.h"
#include "lab/state.h"

#define SCRIPT_BYTES_MAX (16u << 20)

static struct frame *frame_empty(const char *source)
{
    struct frame *f = xmalloc(sizeof *f);
    *f = (struct frame){ .source = source ? xstrdup(source) : NULL };
    return f;
}

/* Cuts a text, which the frame owns from now on, into commands. */
static void frame_add_text(struct frame *f, char *text, int line)
{
    struct spans s;
    lex_split(text, &s);
    f->text = xrealloc(f->text, (size_t)(f->n_text + 1) * sizeof *f->text);
    f->text[f->n_text++] = text;
    f->item = xrealloc(f->item, (size_t)(f->n + s.n + 1) * sizeof *f->item);
    for (int i = 0; i < s.n; i++)
        f->item[f->n++] = (struct where){ .source = f->source,
                                          .text = text,
                                          .line = line,
                                          .span = s.span[i] };
    spans_fini(&s);
}

struct frame *frame_new(const char *source, const char *text, int line)
{
    struct frame *f = frame_empty(source);
    frame_add_text(f, xstrdup(text), line);
    return f;
}

struct frame *frame_block(const struct frame *f, int first, int last)
{
    struct frame *b = frame_empty(f->source);
    b->n = last - first;
    b->item = xmalloc((size_t)(b->n + 1) * sizeof *b->item);
    for (int i = 0; i < b->n; i++)
        b->item[i] = f->item[first + i];
    return b;
}

struct frame *frame_copy(const struct frame *f, int first, int last)
{
    struct frame *b = frame_block(f, first, last);
    char *text = NULL;
    for (int i = 0; i < b->n; i++) {
        bool same = i > 0 && f->item[first + i].text ==
                                 f->item[first + i - 1].text;
        if (!same) {
            text = xstrdup(f->item[first + i].text);
            b->text = xrealloc(b->text,
                               (size_t)(b->n_text + 1) * sizeof *b->text);
            b->text[b->n_text++] = text;
        }
        b->item[i].text = text;
        b->item[i].source = b->source;
    }
    return b;
}

void frame_args(struct frame *f, int argc, const char *const *argv)
{
    f->argc = argc;
    f->argv = xmalloc((size_t)(argc + 1) * sizeof *f->argv);
    for (int i = 0; i < argc; i++)
        f->argv[i] = xstrdup(argv[i]);
}

void frame_free(struct frame *f)
{
    if (!f)
        return;
    for (int i = 0; i < f->n_text; i++)
        free(f->text[i]);
    for (int i = 0; f->argv && i < f->argc; i++)
        free(f->argv[i]);
    if (f->loop) {
        for (int i = 0; i < f->loop->n; i++)
            free(f->loop->value[i]);
        free(f->loop->value);
        free(f->loop->var);
        free(f->loop);
    }
    free(f->argv);
    free(f->text);
    free(f->item);
    free(f->source);
    free(f);
}

enum status frame_read(const char *path, struct frame **out, struct err *e)
{
    struct bytes b;
    TRY(file_read(path, SCRIPT_BYTES_MAX, &b, e));
    enum status s = STATUS_OK;
    if (memchr(b.data, 0, b.size)) {
        s = err_set(e, STATUS_FORMAT, "%s: holds zero bytes, so it is no "
                                      "script", path);
    } else {
        struct str text = { 0 };
        str_add_n(&text, (const char *)b.data, b.size);
        *out = frame_empty(path);
        frame_add_text(*out, str_take(&text), 1);
    }
    bytes_fini(&b);
    return s;
}

void script_push(struct script *s, struct frame *f)
{
    f->below = s->top;
    s->top = f;
}

static void free_chain(struct frame **f)
{
    while (*f) {
        struct frame *below = (*f)->below;
        frame_free(*f);
        *f = below;
    }
}

void script_clear(struct script *s)
{
    free_chain(&s->top);
    free_chain(&s->queue);
    s->queue_end = NULL;
    s->paused = false;
}

/* The frame that runs the typed line must stay: its command is not done. */
void script_drop_files(struct script *s)
{
    struct frame **at = &s->top;
    free_chain(&s->queue);
    s->queue_end = NULL;
    while (*at && (*at)->source == NULL)
        at = &(*at)->below;
    free_chain(at);
}

void script_fini(struct script *s)
{
    script_clear(s);
    free_chain(&s->typed);
    for (int i = 0; i < s->n_macro; i++) {
        free(s->macro[i].name);
        free(s->macro[i].doc);
        frame_free(s->macro[i].body);
    }
    free(s->macro);
    *s = (struct script){ 0 };
}

static bool frame_done(const struct frame *f)
{
    return f->next >= f->n && !(f->loop && f->loop->next < f->loop->n);
}

bool script_empty(const struct script *s)
{
    for (const struct frame *f = s->top; f; f = f->below)
        if (!frame_done(f))
            return false;
    return !s->queue;
}

void script_pop(struct script *s)
{
    struct frame *f = s->top;
    s->top = f->below;
    frame_free(f);
}

void script_trim(struct script *s)
{
    while (s->top && frame_done(s->top))
        script_pop(s);
}

bool script_has_typed(const struct script *s)
{
    for (const struct frame *f = s->top; f; f = f->below)
        if (!f->source)
            return true;
    return false;
}

bool script_runs_typed(const struct script *s)
{
    for (const struct frame *f = s->top; f; f = f->below)
        if (!f->source && !f->interrupted)
            return true;
    return false;
}

/* Begins the next round of a loop; false: there is none. */
static bool loop_next(struct lab *l, struct frame *f)
{
    struct loop *loop = f->loop;
    if (!loop || loop->next >= loop->n)
        return false;
    struct value v;
    double num;
    const char *text = loop->value[loop->next++];
    v = number_parse(text, &num, NULL) ? value_text(text) : value_num(num);
    var_set(l, loop->var, &v);
    f->next = 0;
    return true;
}

const struct where *script_next(struct lab *l)
{
    struct script *s = &l->script;
    for (;;) {
        if (!s->top && s->queue) {
            struct frame *f = s->queue;
            s->queue = f->below;
            if (!s->queue)
                s->queue_end = NULL;
            script_push(s, f);
        }
        struct frame *f = s->top;
        if (!f)
            return NULL;
        if (f->next < f->n)
            return &f->item[f->next++];
        if (!loop_next(l, f))
            script_pop(s);
    }
}

const char *script_arg(const struct script *s, const char *name, char *buf,
                       size_t size)
{
    const struct frame *f = s->top;
    while (f && !f->argv)
        f = f->below;
    if (strcmp(name, "#") == 0) {
        snprintf(buf, size, "%d", f ? f->argc : 0);
        return buf;
    }
    bool digit = name[0] >= '1' && name[0] <= '9' && !name[1];
    if (!digit || !f || name[0] - '0' > f->argc)
        return NULL;
    return f->argv[name[0] - '1'];
}

struct macro *macro_find(struct lab *l, const char *name)
{
    for (int i = 0; i < l->script.n_macro; i++)
        if (strcmp(l->script.macro[i].name, name) == 0)
            return &l->script.macro[i];
    return NULL;
}

/* +1: opens a block, -1: closes one. */
static int block_step(const char *verb)
{
    const struct cmd *c = cmd_find(verb);
    if (c && c->flags & CMD_BLOCK)
        return 1;
    return strcmp(verb, "end") == 0 ? -1 : 0;
}

int block_end(const struct frame *f, int first)
{
    int depth = 0;
    char verb[32];
    for (int i = first; i < f->n; i++) {
        lex_verb(f->item[i].text, f->item[i].span, verb, sizeof verb);
        depth += block_step(verb);
        if (depth == 0)
            return i;
    }
    return -1;
}

bool lab_line_complete(const char *text)
{
    struct spans s;
    char verb[32];
    int depth = 0;
    lex_split(text, &s);
    for (int i = 0; i < s.n; i++) {
        lex_verb(text, s.span[i], verb, sizeof verb);
        depth += block_step(verb);
    }
    bool complete = !s.open && depth <= 0;
    spans_fini(&s);
    return complete;
}

/* QKeras strings: "quantized_bits(6,0,alpha='auto')" to settings and back.
 *
 * Nothing is evaluated. An error names the argument, what was found and what
 * was wanted. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/qkeras.h"

#define WORD_MAX 80
#define ARGS_MAX 16

/* One argument as written: "alpha", "'auto'". */
struct given {
    char name[WORD_MAX];      /* "" by position */
    char value[WORD_MAX];
    const struct qkeras_arg *arg;
};

static const char *skip_space(const char *p)
{
    return p + strspn(p, " \t\n");
}

/* What stands at p, for messages. */
static void excerpt(const char *p, char *out, size_t room)
{
    if (!*p)
        snprintf(out, room, "the end");
    else
        snprintf(out, room, "'%.20s'", p);
}

static enum status unexpected(const struct qspec *s, const char *p,
                              const char *wanted, struct err *e)
{
    char found[WORD_MAX];

    excerpt(p, found, sizeof found);
    return err_set(e, STATUS_ARG, "%s: found %s, wanted %s", s->kind->name,
                   found, wanted);
}

/* A name, number or quoted word at *p. */
static enum status take_word(const struct qspec *s, const char **p,
                             char *word, struct err *e)
{
    const char *at = *p;
    char quote = *at == '\'' || *at == '"' ? *at : '\0';
    size_t n;

    if (quote) {
        const char *end = strchr(at + 1, quote);

        if (!end)
            return unexpected(s, at, "a closing quote", e);
        n = (size_t)(end - at) + 1;
    } else {
        n = strspn(at, "abcdefghijklmnopqrstuvwxyz_"
                       "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.+-");
    }
    if (n == 0 || n >= WORD_MAX)
        return unexpected(s, at, "a number, True, False, None or a quoted "
                          "word", e);
    memcpy(word, at, n);
    word[n] = '\0';
    *p = skip_space(at + n);
    return STATUS_OK;
}

static enum status take_arg(const struct qspec *s, const char **p,
                            struct given *g, struct err *e)
{
    *g = (struct given){{0}, {0}, NULL};
    *p = skip_space(*p);
    TRY(take_word(s, p, g->value, e));
    if (**p == '=') {
        memcpy(g->name, g->value, sizeof g->name);
        *p = skip_space(*p + 1);
        TRY(take_word(s, p, g->value, e));
    }
    return STATUS_OK;
}

static int count_args(const struct qkeras_arg *args)
{
    int n = 0;

    while (args[n].name)
        n++;
    return n;
}

static enum status unknown_name(const struct qkeras_arg *args,
                                const struct qspec *s, const char *name,
                                struct err *e)
{
    struct str list = {0};
    enum status st;

    for (int i = 0; args[i].name; i++)
        str_printf(&list, "%s%s", i ? ", " : "", args[i].name);
    st = err_set(e, STATUS_ARG, "%s has no argument '%s' (it has %s)",
                 s->kind->name, name, str_text(&list));
    str_fini(&list);
    return st;
}

/* Which argument `g` is; `at`: its position. */
static enum status find_arg(const struct qkeras_arg *args,
                            const struct qspec *s, struct given *g, int at,
                            struct err *e)
{
    int n = count_args(args);

    if (!g->name[0]) {
        if (at >= n)
            return err_set(e, STATUS_ARG, "%s: more than %d arguments: %s",
                           s->kind->name, n, g->value);
        g->arg = &args[at];
        return STATUS_OK;
    }
    for (int i = 0; i < n; i++)
        if (!strcmp(args[i].name, g->name))
            g->arg = &args[i];
    return g->arg ? STATUS_OK : unknown_name(args, s, g->name, e);
}

static enum status split(const struct qkeras_arg *args, const char *text,
                         const struct qspec *s, struct given *list, int *n,
                         struct err *e)
{
    const char *p = skip_space(text);

    *n = 0;
    while (*p || *n > 0) {
        struct given *g = &list[*n];

        if (*n == ARGS_MAX)
            return err_set(e, STATUS_ARG, "%s: too many arguments",
                           s->kind->name);
        TRY(take_arg(s, &p, g, e));
        if (!g->name[0] && *n > 0 && list[*n - 1].name[0])
            return err_set(e, STATUS_ARG, "%s: %s by position after %s=",
                           s->kind->name, g->value, list[*n - 1].name);
        TRY(find_arg(args, s, g, *n, e));
        for (int i = 0; i < *n; i++)
            if (list[i].arg == g->arg)
                return err_set(e, STATUS_ARG, "%s: %s is given twice",
                               s->kind->name, g->arg->name);
        (*n)++;
        if (!*p)
            return STATUS_OK;
        if (*p != ',')
            return unexpected(s, p, "',' or ')'", e);
        p++;
    }
    return STATUS_OK;
}

static enum status wrong_value(const struct qspec *s, const struct given *g,
                               const char *wanted, struct err *e)
{
    return err_set(e, STATUS_ARG, "%s: %s=%s, wanted %s", s->kind->name,
                   g->arg->name, g->value, wanted);
}

static bool read_number(const char *text, double *out)
{
    struct err ignored;

    return strspn(text, "0123456789.eE+-") == strlen(text) &&
           str_to_double(text, out, &ignored) == STATUS_OK &&
           isfinite(*out);
}

static bool read_int(const char *text, int *out)
{
    struct err ignored;
    long long v;

    if (str_to_int(text, &v, &ignored) != STATUS_OK || v < -1000000 ||
        v > 1000000)
        return false;
    *out = (int)v;
    return true;
}

static bool read_bool(const char *text, bool *out)
{
    *out = !strcmp(text, "True") || !strcmp(text, "1");
    return *out || !strcmp(text, "False") || !strcmp(text, "0");
}

/* 'word' or "word" without its quotes. */
static bool is_quoted(const char *text, const char *word)
{
    size_t n = strlen(word);

    return strlen(text) == n + 2 && (text[0] == '\'' || text[0] == '"') &&
           !strncmp(text + 1, word, n);
}

typedef enum status (*read_fn)(const struct given *g, struct qspec *s,
                               struct err *e);

static enum status read_bits(const struct given *g, struct qspec *s,
                             struct err *e)
{
    int bits;

    if (!read_int(g->value, &bits) || bits < 1 || bits > 64)
        return wrong_value(s, g, "a whole number from 1 to 64", e);
    qspec_set_bits(s, bits);
    return STATUS_OK;
}

static enum status read_int_row(const struct given *g, struct qspec *s,
                                struct err *e)
{
    int v;

    if (!read_int(g->value, &v))
        return wrong_value(s, g, "a whole number", e);
    s->param[g->arg->row] = v;
    return STATUS_OK;
}

static enum status read_bool_row(const struct given *g, struct qspec *s,
                                 struct err *e)
{
    bool v;

    if (!read_bool(g->value, &v))
        return wrong_value(s, g, "0, 1, True or False", e);
    s->param[g->arg->row] = v;
    return STATUS_OK;
}

static enum status read_number_row(const struct given *g, struct qspec *s,
                                   struct err *e)
{
    if (!read_number(g->value, &s->param[g->arg->row]))
        return wrong_value(s, g, "a number", e);
    return STATUS_OK;
}

static enum status read_optional(const struct given *g, struct qspec *s,
                                 struct err *e)
{
    double v = -1;

    if (strcmp(g->value, "None") && (!read_number(g->value, &v) || v < 0))
        return wrong_value(s, g, "a number that is not negative, or None",
                           e);
    s->param[g->arg->row] = v;
    return STATUS_OK;
}

static enum status read_alpha(const struct given *g, struct qspec *s,
                              struct err *e)
{
    double *scaling = &s->param[g->arg->row];
    double v = 1;

    if (!strcmp(g->value, "None"))
        *scaling = SCALING_NONE;
    else if (is_quoted(g->value, "auto"))
        *scaling = SCALING_AUTO;
    else if (is_quoted(g->value, "auto_po2"))
        *scaling = SCALING_AUTO_PO2;
    else if (read_number(g->value, &v) && v > 0)
        *scaling = SCALING_NUMBER;
    else
        return wrong_value(s, g, "a number above 0, None, 'auto' or "
                           "'auto_po2'", e);
    scaling[1] = v;
    if (*scaling == SCALING_AUTO || *scaling == SCALING_AUTO_PO2) {
        s->grain = GRAIN_CHANNEL;
        s->group = 0;
    }
    return STATUS_OK;
}

static enum status read_signed(const struct given *g, struct qspec *s,
                               struct err *e)
{
    if (!read_bool(g->value, &s->is_signed))
        return wrong_value(s, g, "0, 1, True or False", e);
    return STATUS_OK;
}

static enum status read_narrow(const struct given *g, struct qspec *s,
                               struct err *e)
{
    if (!read_bool(g->value, &s->narrow))
        return wrong_value(s, g, "0, 1, True or False", e);
    return STATUS_OK;
}

static enum status read_stochastic(const struct given *g, struct qspec *s,
                                   struct err *e)
{
    bool on;

    if (!read_bool(g->value, &on))
        return wrong_value(s, g, "0, 1, True or False", e);
    s->rounding = on ? ROUND_STOCHASTIC : ROUND_HALF_EVEN;
    return STATUS_OK;
}

static enum status read_log2(const struct given *g, struct qspec *s,
                             struct err *e)
{
    if (!is_quoted(g->value, "rnd") && !is_quoted(g->value, "floor"))
        return wrong_value(s, g, "'rnd' or 'floor'", e);
    s->param[g->arg->row] = is_quoted(g->value, "floor");
    return STATUS_OK;
}

static enum status read_unused(const struct given *g, struct qspec *s,
                               struct err *e)
{
    bool on = true;

    if (strcmp(g->value, "None") && (!read_bool(g->value, &on) || on))
        return wrong_value(s, g, "None or False: the channel axis is that "
                           "of the quantized point", e);
    return STATUS_OK;
}

static void print_bool(const struct qkeras_arg *a, bool value,
                       struct str *out)
{
    str_printf(out, ",%s=%d", a->name, value);
}

/* The shortest text that reads back as the same double. */
static void print_number(double v, struct str *out)
{
    char text[40];

    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    str_add(out, text);
}

typedef void (*print_fn)(const struct qkeras_arg *a, const struct qspec *s,
                         const struct qspec *base, struct str *out);

static void print_bits(const struct qkeras_arg *a, const struct qspec *s,
                       const struct qspec *base, struct str *out)
{
    (void)a;
    (void)base;
    str_printf(out, ",%d", s->bits);
}

static void print_row(const struct qkeras_arg *a, const struct qspec *s,
                      const struct qspec *base, struct str *out)
{
    double v = s->param[a->row];

    if (v == base->param[a->row])
        return;
    str_printf(out, ",%s=", a->name);
    print_number(v, out);
}

static void print_optional(const struct qkeras_arg *a, const struct qspec *s,
                           const struct qspec *base, struct str *out)
{
    if (s->param[a->row] >= 0)
        print_row(a, s, base, out);
    else if (base->param[a->row] >= 0)
        str_printf(out, ",%s=None", a->name);
}

static void print_alpha(const struct qkeras_arg *a, const struct qspec *s,
                        const struct qspec *base, struct str *out)
{
    static const char *const words[] = {
        [SCALING_AUTO] = "'auto'", [SCALING_AUTO_PO2] = "'auto_po2'"};
    int scaling = spec_int(s, a->row);

    (void)base;
    if (scaling == SCALING_NONE)
        return;
    str_printf(out, ",%s=", a->name);
    if (scaling == SCALING_NUMBER)
        print_number(s->param[a->row + 1], out);
    else
        str_add(out, words[scaling]);
}

static void print_signed(const struct qkeras_arg *a, const struct qspec *s,
                         const struct qspec *base, struct str *out)
{
    if (s->is_signed != base->is_signed)
        print_bool(a, s->is_signed, out);
}

static void print_narrow(const struct qkeras_arg *a, const struct qspec *s,
                         const struct qspec *base, struct str *out)
{
    if (s->narrow != base->narrow)
        print_bool(a, s->narrow, out);
}

static void print_stochastic(const struct qkeras_arg *a,
                             const struct qspec *s, const struct qspec *base,
                             struct str *out)
{
    if (s->rounding != base->rounding)
        print_bool(a, s->rounding == ROUND_STOCHASTIC, out);
}

static void print_log2(const struct qkeras_arg *a, const struct qspec *s,
                       const struct qspec *base, struct str *out)
{
    if (s->param[a->row] != base->param[a->row])
        str_printf(out, ",%s='%s'", a->name,
                   s->param[a->row] != 0 ? "floor" : "rnd");
}

static void print_unused(const struct qkeras_arg *a, const struct qspec *s,
                         const struct qspec *base, struct str *out)
{
    (void)a;
    (void)s;
    (void)base;
    (void)out;
}

static const struct {
    read_fn read;
    print_fn print;
} types[] = {
    [QARG_BITS] = {read_bits, print_bits},
    [QARG_INT] = {read_int_row, print_row},
    [QARG_BOOL] = {read_bool_row, print_row},
    [QARG_NUMBER] = {read_number_row, print_row},
    [QARG_OPTIONAL] = {read_optional, print_optional},
    [QARG_ALPHA] = {read_alpha, print_alpha},
    [QARG_SIGNED] = {read_signed, print_signed},
    [QARG_NARROW] = {read_narrow, print_narrow},
    [QARG_STOCHASTIC] = {read_stochastic, print_stochastic},
    [QARG_LOG2] = {read_log2, print_log2},
    [QARG_UNUSED] = {read_unused, print_unused},
};

/* The constructor's defaults: settings by their rows, 8 bits. */
static void reset(struct qspec *s)
{
    const struct qrow *rows = s->kind->param;
    int bits = s->kind->max_bits < 8 ? s->kind->max_bits : 8;

    qspec_set_bits(s, bits);
    s->grain = GRAIN_TENSOR;
    s->group = 0;
    s->rounding = ROUND_HALF_EVEN;
    s->kind->defaults(s);
    for (int i = 0; rows && rows[i].name; i++)
        s->param[i] = rows[i].def;
}

enum status qkeras_parse(const char *text, struct qspec *s, struct err *e)
{
    const struct qkeras_arg *args = s->kind->qkeras->args;
    struct given list[ARGS_MAX];
    int n;

    reset(s);
    TRY(split(args, text, s, list, &n, e));
    for (int i = 0; i < n; i++)
        TRY(types[list[i].arg->type].read(&list[i], s, e));
    return STATUS_OK;
}

void qkeras_print(const struct qspec *s, struct str *out)
{
    const struct qkeras_arg *args = s->kind->qkeras->args;
    struct qspec base = *s;
    struct str list = {0};

    reset(&base);
    for (int i = 0; args[i].name; i++)
        types[args[i].type].print(&args[i], s, &base, &list);
    str_printf(out, "(%s)", list.len ? str_text(&list) + 1 : "");
    str_fini(&list);
}

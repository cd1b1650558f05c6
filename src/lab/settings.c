/* The settings table. SPDX-License-Identifier: GPL-3.0-or-later */
#include "lab/settings.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lab/state.h"

/* ---- values ---- */

static void *place(struct lab *l, const struct setting *s)
{
    return (char *)l + s->offset;
}

static const void *peek(const struct lab *l, const struct setting *s)
{
    return (const char *)l + s->offset;
}

const char *setting_choice(const struct setting *s, int i)
{
    static const char *const on_off[] = { "off", "on" };
    if (s->type == SET_BOOL)
        return i < 2 ? on_off[i] : NULL;
    return s->choice ? s->choice(i) : NULL;
}

static int choice_get(const struct lab *l, const struct setting *s)
{
    if (s->get)
        return s->get(l);
    if (s->type == SET_BOOL)
        return *(const bool *)peek(l, s);
    return *(const int *)peek(l, s);
}

static void print_choice(const struct lab *l, const struct setting *s,
                         struct str *out)
{
    const char *name = setting_choice(s, choice_get(l, s));
    str_add(out, name ? name : "?");
}

static void print_int(const struct lab *l, const struct setting *s,
                      struct str *out)
{
    str_printf(out, "%lld", (long long)*(const int64_t *)peek(l, s));
}

static void print_short(const struct lab *l, const struct setting *s,
                        struct str *out)
{
    str_printf(out, "%d", *(const int *)peek(l, s));
}

static void print_real(const struct lab *l, const struct setting *s,
                       struct str *out)
{
    str_add(out, num_exact(*(const double *)peek(l, s)).s);
}

static enum status bad_choice(const struct setting *s, const char *text,
                              struct err *e)
{
    struct str all = { 0 };
    for (int i = 0; setting_choice(s, i); i++)
        str_printf(&all, "%s%s", i ? " " : "", setting_choice(s, i));
    err_set(e, STATUS_ARG, "%s is one of %s, not '%.60s'", s->name,
            str_text(&all), text);
    str_fini(&all);
    return STATUS_ARG;
}

static enum status set_choice(struct lab *l, const struct setting *s,
                              const char *text, struct err *e)
{
    for (int i = 0; setting_choice(s, i); i++) {
        if (strcmp(setting_choice(s, i), text) != 0)
            continue;
        if (s->put)
            return s->put(l, i, e);
        if (s->type == SET_BOOL)
            *(bool *)place(l, s) = i != 0;
        else
            *(int *)place(l, s) = i;
        return STATUS_OK;
    }
    return bad_choice(s, text, e);
}

static enum status read_bounded(const struct setting *s, const char *text,
                                double *v, struct err *e)
{
    struct err why = { 0 };
    if (number_parse(text, v, &why))
        return err_set(e, STATUS_ARG, "%s wants a number: %s", s->name,
                       why.text);
    if (!(*v >= s->lo && *v <= s->hi))
        return err_set(e, STATUS_ARG, "%s is from %s to %s, not %s", s->name,
                       num_text(s->lo).s, num_text(s->hi).s, text);
    return STATUS_OK;
}

static enum status read_whole(const struct setting *s, const char *text,
                              double *v, struct err *e)
{
    TRY(read_bounded(s, text, v, e));
    if (*v != floor(*v))
        return err_set(e, STATUS_ARG, "%s is a whole number, not %s",
                       s->name, text);
    return STATUS_OK;
}

static enum status set_int(struct lab *l, const struct setting *s,
                           const char *text, struct err *e)
{
    double v;
    TRY(read_whole(s, text, &v, e));
    *(int64_t *)place(l, s) = (int64_t)v;
    return STATUS_OK;
}

static enum status set_short(struct lab *l, const struct setting *s,
                             const char *text, struct err *e)
{
    double v;
    TRY(read_whole(s, text, &v, e));
    *(int *)place(l, s) = (int)v;
    return STATUS_OK;
}

static enum status set_real(struct lab *l, const struct setting *s,
                            const char *text, struct err *e)
{
    double v;
    TRY(read_bounded(s, text, &v, e));
    *(double *)place(l, s) = v;
    return STATUS_OK;
}

static const struct {
    void (*print)(const struct lab *l, const struct setting *s,
                  struct str *out);
    enum status (*set)(struct lab *l, const struct setting *s,
                       const char *text, struct err *e);
} type_table[] = {
    [SET_BOOL] = { print_choice, set_choice },
    [SET_INT] = { print_int, set_int },
    [SET_SHORT] = { print_short, set_short },
    [SET_REAL] = { print_real, set_real },
    [SET_CHOICE] = { print_choice, set_choice },
};

/* ---- by name ---- */

const struct setting *setting_find(const char *name)
{
    for (int i = 0; i < setting_count; i++)
        if (strcmp(setting_table[i].name, name) == 0)
            return &setting_table[i];
    return NULL;
}

void setting_print(const struct lab *l, const struct setting *s,
                   struct str *out)
{
    type_table[s->type].print(l, s, out);
}

double setting_number(const struct lab *l, const struct setting *s)
{
    if (s->type == SET_INT)
        return (double)*(const int64_t *)peek(l, s);
    if (s->type == SET_SHORT)
        return *(const int *)peek(l, s);
    if (s->type == SET_REAL)
        return *(const double *)peek(l, s);
    return choice_get(l, s);
}

/* The trainer refuses what does not fit the data or the model; then the old
 * value is put back. */
enum status setting_set(struct lab *l, const struct setting *s,
                        const char *text, struct err *e)
{
    struct train_settings before = l->train;
    struct tool_settings tool = l->tool;
    enum status st = type_table[s->type].set(l, s, text, e);
    if (!st && s->check && !l->opts.check_only)
        st = s->check(l, e);
    if (!st && s->apply)
        st = s->apply(l, e);
    if (!st && s->flags & SET_TRAINER && l->trainer)
        st = trainer_set(l->trainer, &l->train, e);
    if (st) {
        l->train = before;
        l->tool = tool;
        return st;
    }
    l->gen.settings++;
    if (l->hooks.setting)
        l->hooks.setting(l->hooks.ctx, s->name);
    return STATUS_OK;
}

void settings_default(struct lab *l)
{
    for (int i = 0; i < setting_count; i++)
        if (setting_table[i].def)
            type_table[setting_table[i].type].set(l, &setting_table[i],
                                                  setting_table[i].def, NULL);
}

void settings_save(const struct lab *l, struct str *out)
{
    for (int i = 0; i < setting_count; i++) {
        if (!(setting_table[i].flags & SET_MODEL))
            continue;
        str_printf(out, "%s ", setting_table[i].name);
        setting_print(l, &setting_table[i], out);
        str_char(out, '\n');
    }
}

static enum status load_line(struct lab *l, char *line, struct err *e)
{
    char *value = strchr(line, ' ');
    if (!value)
        return err_set(e, STATUS_FORMAT, "bad line in 'settings': %.60s",
                       line);
    *value++ = '\0';
    const struct setting *s = setting_find(line);
    if (!s || !(s->flags & SET_MODEL))
        return err_set(e, STATUS_FORMAT, "unknown setting '%.60s'", line);
    struct str now = { 0 };
    setting_print(l, s, &now);
    bool same = strcmp(str_text(&now), value) == 0;
    str_fini(&now);
    if (same)
        return STATUS_OK;
    TRY(type_table[s->type].set(l, s, value, e));
    return s->apply ? s->apply(l, e) : STATUS_OK;
}

static enum status load_lines(struct lab *l, const char *text, struct err *e)
{
    struct str copy = { 0 };
    str_add(&copy, text);
    char *own = str_take(&copy), *rest = own;
    enum status st = STATUS_OK;
    for (char *line; !st && (line = strsep(&rest, "\n"));)
        if (*line)
            st = load_line(l, line, e);
    free(own);
    return st;
}

/* Choosing an optimiser or a schedule sets its numbers, too: the second pass
 * puts those right that came before it. */
enum status settings_load(struct lab *l, const char *text, struct err *e)
{
    struct train_settings before = l->train;
    struct origin origin = l->origin;
    enum status st = load_lines(l, text, e);
    if (!st)
        st = load_lines(l, text, e);
    if (!st && l->trainer)
        st = trainer_set(l->trainer, &l->train, e);
    if (st)
        l->train = before;
    l->origin.lr_set = origin.lr_set;
    l->origin.optimizer_set = origin.optimizer_set;
    l->gen.settings++;
    return st;
}

/* ---- for front ends ---- */

const char *lab_setting(struct lab *l, const char *name)
{
    const struct setting *s = setting_find(name);
    if (!s)
        return NULL;
    struct str out = { 0 };
    setting_print(l, s, &out);
    snprintf(l->setting_text, sizeof l->setting_text, "%s", str_text(&out));
    str_fini(&out);
    return l->setting_text;
}

double lab_setting_number(const struct lab *l, const char *name)
{
    const struct setting *s = setting_find(name);
    return s ? setting_number(l, s) : (double)NAN;
}

/* Quantizer specs as text: parsing and printing.
 *
 * KIND:BITS[,word or key=value ...], or a kind's own string such as
 * quantized_bits(6,0) followed by the same words, or a bare number of bits.
 * Nothing is evaluated: names come from the tables, numbers are numbers.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/observer.h"

#define WORD_MAX 128

/* A word that sets one flag. */
struct flag_word {
    const char *name;
    size_t at;
    bool value;
};

#define FLAG(field) offsetof(struct qspec, field)

static const struct flag_word flag_words[] = {
    {"signed", FLAG(is_signed), true},
    {"unsigned", FLAG(is_signed), false},
    {"sym", FLAG(symmetric), true},
    {"asym", FLAG(symmetric), false},
    {"narrow", FLAG(narrow), true},
    {"full", FLAG(narrow), false},
    {"reduce", FLAG(reduce_range), true},
    {"noreduce", FLAG(reduce_range), false},
    {"divide", FLAG(divide), true},
    {"reciprocal", FLAG(divide), false},
};
#define FLAG_WORDS ((int)(sizeof flag_words / sizeof flag_words[0]))

/* A key with a value: parsing, and printing when it differs from `base`. */
struct key_word {
    const char *name, *help;
    enum status (*set)(struct qspec *s, const char *value, struct err *e);
    bool (*differs)(const struct qspec *s, const struct qspec *base);
    void (*print)(const struct qspec *s, struct str *out);
};

static enum status bad_value(const char *key, const char *value,
                             const char *wanted, struct err *e)
{
    return err_set(e, STATUS_ARG, "%s=%s: not one of %s", key, value,
                   wanted);
}

static enum status pick(const char *key, const char *value,
                        const char *const names[], int n, int *out,
                        struct err *e)
{
    struct str all = {0};
    enum status st;

    for (int i = 0; i < n; i++)
        if (!strcmp(names[i], value)) {
            *out = i;
            return STATUS_OK;
        }
    for (int i = 0; i < n; i++)
        str_printf(&all, "%s%s", i ? " " : "", names[i]);
    st = bad_value(key, value, str_text(&all), e);
    str_fini(&all);
    return st;
}

static enum status set_zp(struct qspec *s, const char *value, struct err *e)
{
    static const char *const names[] = {"after", "before", "float"};
    int i = 0;

    TRY(pick("zp", value, names, 3, &i, e));
    s->zp_before = i > 0;
    s->float_zp = i > 1;
    return STATUS_OK;
}

static bool zp_differs(const struct qspec *s, const struct qspec *base)
{
    return s->zp_before != base->zp_before || s->float_zp != base->float_zp;
}

static void print_zp(const struct qspec *s, struct str *out)
{
    str_add(out, s->float_zp ? "float" : s->zp_before ? "before" : "after");
}

static enum status set_clamp(struct qspec *s, const char *value,
                             struct err *e)
{
    static const char *const names[] = {"last", "first"};
    int i = 0;

    TRY(pick("clamp", value, names, 2, &i, e));
    s->clamp_first = i == 1;
    return STATUS_OK;
}

static bool clamp_differs(const struct qspec *s, const struct qspec *base)
{
    return s->clamp_first != base->clamp_first;
}

static void print_clamp(const struct qspec *s, struct str *out)
{
    str_add(out, s->clamp_first ? "first" : "last");
}

static enum status set_round(struct qspec *s, const char *value,
                             struct err *e)
{
    int i = 0;

    TRY(pick("round", value, rounding_name, ROUND_COUNT, &i, e));
    s->rounding = (enum rounding)i;
    return STATUS_OK;
}

static bool round_differs(const struct qspec *s, const struct qspec *base)
{
    return s->rounding != base->rounding;
}

static void print_round(const struct qspec *s, struct str *out)
{
    str_add(out, rounding_name[s->rounding]);
}

static enum status set_grad(struct qspec *s, const char *value,
                            struct err *e)
{
    int i = 0;

    TRY(pick("grad", value, qgrad_name, QGRAD_COUNT, &i, e));
    s->grad = (enum qgrad)i;
    return STATUS_OK;
}

static bool grad_differs(const struct qspec *s, const struct qspec *base)
{
    return s->grad != base->grad;
}

static void print_grad(const struct qspec *s, struct str *out)
{
    str_add(out, qgrad_name[s->grad]);
}

static enum status set_rule(struct qspec *s, const char *value,
                            struct err *e)
{
    const char *names[32];
    int i;

    for (i = 0; i < qparams_count; i++)
        names[i] = qparams_table[i].name;
    TRY(pick("rule", value, names, qparams_count, &i, e));
    s->rule = &qparams_table[i];
    return STATUS_OK;
}

static bool rule_differs(const struct qspec *s, const struct qspec *base)
{
    return s->rule != base->rule;
}

static void print_rule(const struct qspec *s, struct str *out)
{
    str_add(out, s->rule->name);
}

static void rows_default(const struct qrow *rows, double *value, int n)
{
    for (int i = 0; i < n; i++)
        value[i] = 0;
    for (int i = 0; rows && rows[i].name && i < n; i++)
        value[i] = rows[i].def;
}

static enum status set_obs(struct qspec *s, const char *value,
                           struct err *e)
{
    const char *names[32];
    int i;

    for (i = 0; i < observer_count; i++)
        names[i] = observer_table[i]->name;
    TRY(pick("obs", value, names, observer_count, &i, e));
    s->observer = observer_table[i];
    rows_default(s->observer->param, s->observer_param,
                 (int)(sizeof s->observer_param /
                       sizeof s->observer_param[0]));
    return STATUS_OK;
}

static bool obs_differs(const struct qspec *s, const struct qspec *base)
{
    return s->observer != base->observer;
}

static void print_obs(const struct qspec *s, struct str *out)
{
    str_add(out, s->observer->name);
}

static enum status set_eps(struct qspec *s, const char *value,
                           struct err *e)
{
    return str_to_double(value, &s->eps, e);
}

static bool eps_differs(const struct qspec *s, const struct qspec *base)
{
    return s->eps != base->eps;
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

static void print_eps(const struct qspec *s, struct str *out)
{
    print_number(s->eps, out);
}

static enum status set_noise(struct qspec *s, const char *value,
                             struct err *e)
{
    return str_to_double(value, &s->noise, e);
}

static bool noise_differs(const struct qspec *s, const struct qspec *base)
{
    return s->noise != base->noise;
}

static void print_noise(const struct qspec *s, struct str *out)
{
    print_number(s->noise, out);
}

static enum status set_delay(struct qspec *s, const char *value,
                             struct err *e)
{
    long long n;

    TRY(str_to_int(value, &n, e));
    s->delay = n;
    return STATUS_OK;
}

static bool delay_differs(const struct qspec *s, const struct qspec *base)
{
    return s->delay != base->delay;
}

static void print_delay(const struct qspec *s, struct str *out)
{
    str_printf(out, "%lld", (long long)s->delay);
}

static enum status set_group(struct qspec *s, const char *value,
                             struct err *e)
{
    long long n;

    TRY(str_to_int(value, &n, e));
    if (n < 1 || n > 1 << 30)
        return err_set(e, STATUS_ARG, "group=%s: not from 1 to %d", value,
                       1 << 30);
    s->grain = GRAIN_GROUP;
    s->group = (int)n;
    return STATUS_OK;
}

static bool group_differs(const struct qspec *s, const struct qspec *base)
{
    return s->grain == GRAIN_GROUP &&
           (base->grain != GRAIN_GROUP || s->group != base->group);
}

static void print_group(const struct qspec *s, struct str *out)
{
    str_printf(out, "%d", s->group);
}

/* codes=LO..HI: a range of codes given by the caller, as in torch. */
static enum status set_codes(struct qspec *s, const char *value,
                             struct err *e)
{
    char lo[WORD_MAX];
    const char *dots = strstr(value, "..");
    long long a, b;

    if (!dots)
        return err_set(e, STATUS_ARG, "codes=%s: not LO..HI", value);
    snprintf(lo, sizeof lo, "%.*s", (int)(dots - value), value);
    TRY(str_to_int(lo, &a, e));
    TRY(str_to_int(dots + 2, &b, e));
    if (a >= b || a < -(1LL << 31) || b > (1LL << 32) - 1)
        return err_set(e, STATUS_ARG,
                       "codes=%s: not a rising range of 32-bit codes",
                       value);
    s->custom_codes = true;
    s->lo_code = a;
    s->hi_code = b;
    return STATUS_OK;
}

static bool codes_differ(const struct qspec *s, const struct qspec *base)
{
    return s->custom_codes &&
           (!base->custom_codes || s->lo_code != base->lo_code ||
            s->hi_code != base->hi_code);
}

static void print_codes(const struct qspec *s, struct str *out)
{
    str_printf(out, "%lld..%lld", (long long)s->lo_code,
               (long long)s->hi_code);
}

static const struct key_word key_words[] = {
    {"group", "size", set_group, group_differs, print_group},
    {"codes", "LO..HI", set_codes, codes_differ, print_codes},
    {"zp", "after before float", set_zp, zp_differs, print_zp},
    {"clamp", "last first", set_clamp, clamp_differs, print_clamp},
    {"round", "rounding", set_round, round_differs, print_round},
    {"grad", "gradient family", set_grad, grad_differs, print_grad},
    {"rule", "scale rule", set_rule, rule_differs, print_rule},
    {"obs", "observer", set_obs, obs_differs, print_obs},
    {"eps", "smallest scale", set_eps, eps_differs, print_eps},
    {"noise", "share of quantized", set_noise, noise_differs, print_noise},
    {"delay", "training steps", set_delay, delay_differs, print_delay},
};
#define KEY_WORDS ((int)(sizeof key_words / sizeof key_words[0]))

/* obs.row=value or a setting of the kind. */
static enum status set_row(struct qspec *s, const char *key,
                           const char *value, struct err *e)
{
    size_t n = strlen(s->observer->name);
    int i = qrow_find(s->kind->param, key);
    enum status st;

    if (i >= 0) {
        st = str_to_double(value, &s->param[i], e);
        return st == STATUS_OK ? st : err_wrap(e, st, "%s", key);
    }
    if (!strncmp(key, s->observer->name, n) && key[n] == '.') {
        i = qrow_find(s->observer->param, key + n + 1);
        if (i >= 0) {
            st = str_to_double(value, &s->observer_param[i], e);
            return st == STATUS_OK ? st : err_wrap(e, st, "%s", key);
        }
    }
    return err_set(e, STATUS_ARG, "unknown setting '%s' of %s with "
                   "observer %s", key, s->kind->name, s->observer->name);
}

static const char *flag_get(const void *ctx, int i)
{
    (void)ctx;
    return i < FLAG_WORDS              ? flag_words[i].name
           : i < FLAG_WORDS + KEY_WORDS ? key_words[i - FLAG_WORDS].name
                                        : grain_name[i - FLAG_WORDS -
                                                     KEY_WORDS];
}

static enum status unknown_word(const char *word, struct err *e)
{
    const char *near = str_nearest(word, FLAG_WORDS + KEY_WORDS + 2,
                                   flag_get, NULL);

    return near ? err_set(e, STATUS_ARG,
                          "unknown word '%s', did you mean '%s'?", word,
                          near)
                : err_set(e, STATUS_ARG, "unknown word '%s'", word);
}

static enum status set_plain(struct qspec *s, const char *word,
                             struct err *e)
{
    for (int i = 0; i < FLAG_WORDS; i++)
        if (!strcmp(word, flag_words[i].name)) {
            *(bool *)((char *)s + flag_words[i].at) = flag_words[i].value;
            return STATUS_OK;
        }
    for (int i = 0; i < GRAIN_GROUP; i++)
        if (!strcmp(word, grain_name[i])) {
            s->grain = (enum granularity)i;
            s->group = 0;
            return STATUS_OK;
        }
    return unknown_word(word, e);
}

static enum status set_word(struct qspec *s, char *word, struct err *e)
{
    char *equals = strchr(word, '=');

    if (!equals)
        return set_plain(s, word, e);
    *equals = '\0';
    for (int i = 0; i < KEY_WORDS; i++)
        if (!strcmp(word, key_words[i].name)) {
            enum status st = key_words[i].set(s, equals + 1, e);

            return st;
        }
    return set_row(s, word, equals + 1, e);
}

/* Words separated by commas, from `text` (after a comma). */
static enum status set_words(struct qspec *s, const char *text,
                             struct err *e)
{
    while (text) {
        const char *comma = strchr(text, ',');
        size_t n = comma ? (size_t)(comma - text) : strlen(text);
        char word[WORD_MAX];

        if (n == 0 || n >= sizeof word)
            return err_set(e, STATUS_ARG, n ? "word of %zu characters is "
                           "too long" : "empty word between commas", n);
        memcpy(word, text, n);
        word[n] = '\0';
        TRY(set_word(s, word, e));
        text = comma ? comma + 1 : NULL;
    }
    return STATUS_OK;
}

/* A kind's own arithmetic, where the defaults differ from it. */
static void leave_arithmetic(struct qspec *s, const struct qspec *own,
                             const struct qspec *plain)
{
    static const size_t order[] = {FLAG(divide), FLAG(zp_before),
                                   FLAG(clamp_first), FLAG(float_zp)};

    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        bool *now = (bool *)((char *)s + order[i]);

        if (*now == *(const bool *)((const char *)own + order[i]))
            *now = *(const bool *)((const char *)plain + order[i]);
    }
    if (s->rounding == own->rounding)
        s->rounding = plain->rounding;
    if (s->grad == own->grad)
        s->grad = plain->grad;
    if (s->rule == own->rule)
        s->rule = plain->rule;
}

/* What choosing the kind brought along goes with it, as far as it still is
 * the kind's: arithmetic and observer. Width, sign and granularity stay. */
static void leave_kind(struct qspec *s)
{
    struct qspec own, plain;

    qspec_default(&plain);
    own = plain;
    own.kind = s->kind;
    if (!s->kind->defaults)
        return;
    s->kind->defaults(&own);
    leave_arithmetic(s, &own, &plain);
    if (s->observer == own.observer && own.observer != plain.observer) {
        s->observer = plain.observer;
        memcpy(s->observer_param, plain.observer_param,
               sizeof s->observer_param);
    }
}

static void choose_kind(struct qspec *s, const struct quantizer_kind *k)
{
    if (s->kind == k)
        return;
    leave_kind(s);
    s->kind = k;
    rows_default(k->param, s->param, QSPEC_PARAMS);
    if (k->defaults)
        k->defaults(s);
    if (s->rule->real_zero && !s->float_zp)
        s->rule = &qparams_table[0];
}

static const char *kind_get(const void *ctx, int i)
{
    (void)ctx;
    return quantizer_table[i]->name;
}

static enum status unknown_kind(const char *name, struct err *e)
{
    const char *near = str_nearest(name, quantizer_count, kind_get, NULL);

    return near ? err_set(e, STATUS_ARG,
                          "unknown quantizer '%s', did you mean '%s'?",
                          name, near)
                : err_set(e, STATUS_ARG, "unknown quantizer '%s'", name);
}

static enum status set_bits(struct qspec *s, const char *digits, size_t n,
                            struct err *e)
{
    char text[16];
    long long bits;

    if (n == 0 || n >= sizeof text)
        return err_set(e, STATUS_ARG, "bits missing after ':'");
    memcpy(text, digits, n);
    text[n] = '\0';
    TRY(str_to_int(text, &bits, e));
    if (bits < 1 || bits > 64)
        return err_set(e, STATUS_ARG, "%lld bits, not from 1 to 64", bits);
    qspec_set_bits(s, (int)bits);
    return STATUS_OK;
}

/* NAME(args) or NAME<args>; *rest: what follows the bracket. */
static enum status set_own(struct qspec *s, const char *open,
                           const char **rest, struct err *e)
{
    const char close = *open == '(' ? ')' : '>';
    char args[512];
    const char *end = NULL;
    int depth = 0;

    for (const char *p = open; *p && !end; p++) {
        depth += *p == *open;
        depth -= *p == close;
        if (!depth)
            end = p;
    }
    if (!end)
        return err_set(e, STATUS_ARG, "no '%c' for '%c'", close, *open);
    if ((size_t)(end - open) > sizeof args)
        return err_set(e, STATUS_ARG, "arguments of %s are too long",
                       s->kind->name);
    if (!s->kind->parse)
        return err_set(e, STATUS_ARG, "%s takes no '%c': write %s:BITS",
                       s->kind->name, *open, s->kind->name);
    snprintf(args, sizeof args, "%.*s", (int)(end - open - 1), open + 1);
    TRY(s->kind->parse(args, s, e));
    *rest = end + 1;
    return STATUS_OK;
}

static enum status parse_named(const char *text, struct qspec *s,
                               struct err *e)
{
    char name[64];
    size_t n = strcspn(text, ":,(<");
    const char *rest = text + n;

    if (n == 0 || n >= sizeof name)
        return err_set(e, STATUS_ARG, "no quantizer name");
    memcpy(name, text, n);
    name[n] = '\0';
    if (!quantizer_kind_find(name))
        return unknown_kind(name, e);
    choose_kind(s, quantizer_kind_find(name));
    if (*rest == '(' || *rest == '<')
        TRY(set_own(s, rest, &rest, e));
    if (*rest == ':') {
        n = strcspn(rest + 1, ",");
        TRY(set_bits(s, rest + 1, n, e));
        rest += 1 + n;
    }
    if (*rest == ',')
        return set_words(s, rest + 1, e);
    if (*rest)
        return err_set(e, STATUS_ARG, "'%s' after the quantizer", rest);
    return STATUS_OK;
}

enum status qspec_parse(const char *text, const struct qspec *base,
                        struct qspec *out, struct err *e)
{
    struct qspec s;
    enum status st;

    if (base)
        s = *base;
    else
        qspec_default(&s);
    if (strspn(text, "0123456789") == strlen(text) && *text)
        st = set_bits(&s, text, strlen(text), e);
    else
        st = parse_named(text, &s, e);
    if (st == STATUS_OK)
        st = qspec_check(&s, e);
    if (st != STATUS_OK)
        return err_wrap(e, st, "'%s'", text);
    *out = s;
    return STATUS_OK;
}

static void print_rows(const struct qrow *rows, const double *value,
                       const double *base, const char *prefix,
                       struct str *out)
{
    for (int i = 0; rows && rows[i].name; i++)
        if (value[i] != base[i]) {
            str_printf(out, ",%s%s=", prefix, rows[i].name);
            print_number(value[i], out);
        }
}

static void print_observer(const struct qspec *s, const struct qspec *base,
                           struct str *out)
{
    struct qspec fresh = *s;
    struct str prefix = {0};

    str_printf(&prefix, "%s.", s->observer->name);
    rows_default(s->observer->param, fresh.observer_param, 4);
    print_rows(s->observer->param, s->observer_param,
               s->observer == base->observer ? base->observer_param
                                             : fresh.observer_param,
               str_text(&prefix), out);
    str_fini(&prefix);
}

void qspec_print(const struct qspec *s, struct str *out)
{
    struct qspec base;

    qspec_default(&base);
    choose_kind(&base, s->kind);
    str_add(out, s->kind->name);
    if (s->kind->print) {
        size_t from = out->len;
        struct str own = {0};
        struct err ignored;
        const char *rest;

        s->kind->print(s, out);
        str_add(&own, str_text(out) + from);
        set_own(&base, str_text(&own), &rest, &ignored);
        str_fini(&own);
    } else {
        str_printf(out, ":%d", s->bits);
        qspec_set_bits(&base, s->bits);
    }
    for (int i = 0; i < FLAG_WORDS; i++) {
        bool now = *(const bool *)((const char *)s + flag_words[i].at);
        bool was = *(const bool *)((const char *)&base + flag_words[i].at);

        if (now != was && now == flag_words[i].value)
            str_printf(out, ",%s", flag_words[i].name);
    }
    if (s->grain != base.grain && s->grain != GRAIN_GROUP)
        str_printf(out, ",%s", grain_name[s->grain]);
    for (int i = 0; i < KEY_WORDS; i++)
        if (key_words[i].differs(s, &base)) {
            str_printf(out, ",%s=", key_words[i].name);
            key_words[i].print(s, out);
        }
    print_rows(s->kind->param, s->param, base.param, "", out);
    print_observer(s, &base, out);
}

/* Quantizers to and from bags, bit for bit.
 *
 * NAME: a text of lines `key value`; NAME.state: the state block.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "quant/quantizer.h"

#define TEXT_MAX 2048

enum status quantizer_save(const struct quantizer *q, const char *name,
                           struct bag *b, struct err *e)
{
    struct shape shape = shape_1(q->n_state);
    struct str text = {0}, key = {0};
    enum status st;

    str_add(&text, "spec ");
    qspec_print(&q->spec, &text);
    str_printf(&text, "\nchannels %lld\nflags %s%s%s%s%s\n",
               (long long)q->channels, q->fake ? "F" : "-",
               q->observe ? "O" : "-", q->learn ? "L" : "-",
               q->ready ? "R" : "-", q->stale ? "S" : "-");
    str_printf(&text, "noise %.17g\nsteps %lld\nelements %lld\n",
               q->noise_factor, (long long)q->steps, (long long)q->n_elem);
    str_printf(&key, "%s.state", name);
    if (text.failed || key.failed)
        st = err_memory(e, "a quantizer's text");
    else
        st = bag_put_text(b, name, str_text(&text), e);
    if (st == STATUS_OK)
        st = bag_put(b, str_text(&key), DTYPE_REAL, &shape, q->state, e);
    str_fini(&text);
    str_fini(&key);
    return st;
}

/* The value after `key ` at the start of a line, up to its end. */
static enum status take_line(const char *text, const char *key, char *out,
                             size_t room, struct err *e)
{
    size_t n = strlen(key);

    while (*text) {
        size_t line = strcspn(text, "\n");

        if (line > n && !strncmp(text, key, n) && text[n] == ' ') {
            if (line - n - 1 >= room)
                return err_set(e, STATUS_FORMAT, "'%s' is too long", key);
            memcpy(out, text + n + 1, line - n - 1);
            out[line - n - 1] = '\0';
            return STATUS_OK;
        }
        text += line + (text[line] == '\n');
    }
    return err_set(e, STATUS_FORMAT, "no line '%s'", key);
}

static enum status take_int(const char *text, const char *key,
                            long long *out, struct err *e)
{
    char value[64];

    TRY(take_line(text, key, value, sizeof value, e));
    TRY(str_to_int(value, out, e));
    if (*out < 0 || *out > 1LL << 40)
        return err_set(e, STATUS_FORMAT, "%s is %lld", key, *out);
    return STATUS_OK;
}

static bool has_flag(const char *flags, char c)
{
    return strchr(flags, c) != NULL;
}

static enum status read_text(const char *text, struct quantizer **out,
                             struct err *e)
{
    long long channels, steps, elements;
    char value[TEXT_MAX], flags[16];
    struct qspec spec;
    double noise;

    TRY(take_line(text, "spec", value, sizeof value, e));
    TRY(qspec_parse(value, NULL, &spec, e));
    TRY(take_int(text, "channels", &channels, e));
    TRY(take_int(text, "steps", &steps, e));
    TRY(take_int(text, "elements", &elements, e));
    TRY(take_line(text, "flags", flags, sizeof flags, e));
    TRY(take_line(text, "noise", value, sizeof value, e));
    TRY(str_to_double(value, &noise, e));
    if (!(noise >= 0 && noise <= 1))
        return err_set(e, STATUS_FORMAT, "noise is %g", noise);
    if (channels > 1 << 24)
        return err_set(e, STATUS_FORMAT, "%lld channels", channels);
    TRY(quantizer_new(&spec, channels, out, e));
    (*out)->fake = has_flag(flags, 'F');
    (*out)->observe = has_flag(flags, 'O');
    (*out)->learn = has_flag(flags, 'L') && (*out)->n_learned > 0;
    (*out)->ready = has_flag(flags, 'R');
    (*out)->stale = has_flag(flags, 'S');
    (*out)->steps = steps;
    (*out)->n_elem = elements;
    (*out)->noise_factor = noise;
    return STATUS_OK;
}

/* A ready quantizer's grid must be usable. */
static enum status check_state(const struct quantizer *q, struct err *e)
{
    for (int64_t c = 0; q->ready && c < q->channels; c++)
        if (!isfinite(q->scale[c]) || !(q->scale[c] > 0) ||
            !isfinite(q->zero_point[c]) || !isfinite(q->lo[c]) ||
            !isfinite(q->hi[c]))
            return err_set(e, STATUS_FORMAT,
                           "channel %lld has scale %g, zero point %g",
                           (long long)c, (double)q->scale[c],
                           (double)q->zero_point[c]);
    for (int64_t i = 0; i < q->n_learned; i++)
        if (!isfinite(q->learned[i]))
            return err_set(e, STATUS_FORMAT,
                           "learned parameter %lld is not finite",
                           (long long)i);
    return STATUS_OK;
}

static enum status read_state(const struct bag *b, const char *name,
                              struct quantizer *q, struct err *e)
{
    struct shape shape = shape_1(q->n_state);
    struct str key = {0};
    enum status st;

    str_printf(&key, "%s.state", name);
    st = key.failed ? err_memory(e, "a quantizer's name")
                    : bag_read(b, str_text(&key), DTYPE_REAL, &shape,
                               q->state, e);
    str_fini(&key);
    return st == STATUS_OK ? check_state(q, e) : st;
}

enum status quantizer_load(const struct bag *b, const char *name,
                           struct quantizer **out, struct err *e)
{
    const char *text = bag_text(b, name);
    enum status st;

    *out = NULL;
    if (!text)
        return err_set(e, STATUS_FORMAT, "no quantizer '%s'", name);
    st = read_text(text, out, e);
    if (st == STATUS_OK)
        st = read_state(b, name, *out, e);
    if (st == STATUS_OK)
        return st;
    quantizer_free(*out);
    *out = NULL;
    return err_wrap(e, STATUS_FORMAT, "%s", name);
}

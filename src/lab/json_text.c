/* Writing JSON into a string. SPDX-License-Identifier: GPL-3.0-or-later */
#include "lab/json_text.h"

#include <math.h>

#include "lab/num.h"

static void comma(struct str *s)
{
    char last = s->len ? s->text[s->len - 1] : '{';   /* nothing yet */
    if (last != '{' && last != '[' && last != ':' && last != '\n')
        str_char(s, ',');
}

/* Control characters and quotes escaped. Bytes that are no UTF-8 become the
 * visible \xHH of str_add_clean, so that the result is always valid. */
static void quoted(struct str *s, const char *v)
{
    str_char(s, '"');
    for (const char *p = v; *p;) {
        size_t plain = 0;
        while ((unsigned char)p[plain] >= 0x20 && p[plain] != '"' &&
               p[plain] != '\\')
            plain++;
        struct str part = { 0 }, clean = { 0 };
        str_add_n(&part, p, plain);
        str_add_clean(&clean, str_text(&part));
        for (const char *c = str_text(&clean); *c; c++) {
            if (*c == '\\')
                str_char(s, '\\');
            str_char(s, *c);
        }
        str_fini(&part);
        str_fini(&clean);
        p += plain;
        if (*p == '"' || *p == '\\')
            str_printf(s, "\\%c", *p++);
        else if (*p)
            str_printf(s, "\\u%04x", (unsigned char)*p++);
    }
    str_char(s, '"');
}

void json_key(struct str *s, const char *key)
{
    comma(s);
    quoted(s, key);
    str_char(s, ':');
}

void json_value_text(struct str *s, const char *v)
{
    comma(s);
    quoted(s, v);
}

void json_value_num(struct str *s, double v)
{
    comma(s);
    str_add(s, isfinite(v) ? num_exact(v).s : "null");
}

void json_raw(struct str *s, const char *v)
{
    comma(s);
    str_add(s, v);
}

void json_text(struct str *s, const char *key, const char *v)
{
    json_key(s, key);
    json_value_text(s, v);
}

void json_num(struct str *s, const char *key, double v)
{
    json_key(s, key);
    json_value_num(s, v);
}

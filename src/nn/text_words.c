/* Splitting the lines of a model's text into words.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "nn/text_words.h"

#include <stdio.h>
#include <string.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static enum status quoted(char **at, char **word, struct err *e)
{
    char *from = *at + 1, *to = from;
    *word = from;
    while (*from != '"') {
        if (*from == '\\' && (from[1] == '"' || from[1] == '\\'))
            from++;
        if (*from == '\0')
            return err_set(e, STATUS_FORMAT, "a quote is not closed");
        *to++ = *from++;
    }
    *at = from + 1;
    *to = '\0';
    if (**at && !is_blank(**at) && **at != '<' && **at != '#')
        return err_set(e, STATUS_FORMAT, "found '%c' after a quote, wanted a "
                       "blank", **at);
    return STATUS_OK;
}

enum status word_next(char **at, enum word_kind *kind, char **word,
                      struct err *e)
{
    char *p = *at;
    while (is_blank(*p))
        p++;
    *at = p;
    *word = p;
    *kind = *p == '\0' || *p == '#' ? WORD_END
            : *p == '<' ? WORD_ARROW : WORD_TEXT;
    if (*kind == WORD_ARROW)
        ++*at;
    if (*kind != WORD_TEXT)
        return STATUS_OK;
    if (*p == '"')
        return quoted(at, word, e);
    while (*p && !is_blank(*p)) {
        if (strchr("<#\"", *p))
            return err_set(e, STATUS_FORMAT, "found %c inside a word, wanted "
                           "a blank before it", *p);
        p++;
    }
    *at = p;
    if (*p) {
        *p = '\0';
        ++*at;
    }
    return STATUS_OK;
}

char *line_next(char **text)
{
    char *line = *text;
    if (*line == '\0')
        return NULL;
    char *end = line + strcspn(line, "\n");
    *text = *end ? end + 1 : end;
    *end = '\0';
    return line;
}

static bool is_bare(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || strchr("_.-/:", c) != NULL;
}

void word_add(struct str *out, const char *word)
{
    bool bare = *word != '\0';
    for (const char *p = word; *p; p++)
        bare = bare && is_bare(*p);
    if (!bare)
        str_char(out, '"');
    for (const char *p = word; *p; p++) {
        if (*p == '"' || *p == '\\')
            str_char(out, '\\');
        str_char(out, *p);
    }
    if (!bare)
        str_char(out, '"');
}

void err_clean_text(struct err *e)
{
    struct str clean = { 0 };
    if (!e)
        return;
    str_add_clean(&clean, e->text);
    if (!clean.failed)
        snprintf(e->text, sizeof e->text, "%s", str_text(&clean));
    str_fini(&clean);
}

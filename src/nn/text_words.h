/* Splitting the lines of a model's text into words.
 *
 * Words are parted by blanks; at the start of one, `<` is a word of its own
 * and `#` starts a comment. Double quotes take anything, with \" and \\ for
 * the two characters; they stand around a whole word only.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef NN_TEXT_WORDS_H
#define NN_TEXT_WORDS_H

#include "base/err.h"
#include "base/str.h"

enum word_kind { WORD_END, WORD_TEXT, WORD_ARROW };

/* Reads the next word at *at, within a line that it may write into; the word
 * ends with NUL, *at moves behind it. */
enum status word_next(char **at, enum word_kind *kind, char **word,
                      struct err *e);

/* Cuts off the first line of *text and returns it; NULL at the end. */
char *line_next(char **text);

/* The word as word_next reads it back, quoted where it must be. */
void word_add(struct str *out, const char *word);

/* Makes an error text that quotes a file fit for a terminal. */
void err_clean_text(struct err *e);

#endif

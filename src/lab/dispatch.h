/* From a command's text to its effect.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LAB_DISPATCH_H
#define LAB_DISPATCH_H

#include "lab/args.h"
#include "lab/script.h"

/* Runs one command and reports its failure: message, caret, exit cause. */
enum status dispatch_where(struct lab *l, const struct where *w);
/* Runs all commands of a text to their end, training included; the message
 * of the first that fails is left in e, not reported. */
enum status dispatch_nested(struct lab *l, const char *text,
                            const struct where *outer, struct err *e);
/* FILE:line:column: error: message, the line, a caret. */
void dispatch_report(struct lab *l, const struct where *w, int fault,
                     const struct err *e);
/* "FILE:line", or "prompt". */
void where_print(const struct where *w, struct str *out);

/* A table as the result: to the file of `-> file`, or shown; its rows go into
 * the machine stream. */
enum status result_table(struct lab *l, const struct args *a,
                         struct table *t, struct out *out, struct err *e);

#endif

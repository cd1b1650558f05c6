/* What `help` says about topics, and about each thing that has a name.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LAB_HELP_TEXT_H
#define LAB_HELP_TEXT_H

#include "lab/names.h"

struct help_topic {
    const char *name, *help;
    const char *text;         /* paragraphs, "\n\n" between; lines that begin
                                 with a blank stand as they are */
    const char *list;         /* names listed below it: a name_list, or NULL */
    void (*more)(struct lab *l, struct out *out);     /* or NULL */
};
extern const struct help_topic help_topic_table[];
extern const int help_topic_count;

/* Paragraphs filled to the sink's width. */
void help_wrap(struct out *out, const char *text);

/* The `more` of each list: row is one of its table. */
void help_command(struct lab *l, const void *row, struct out *out);
void help_topic_more(struct lab *l, const void *row, struct out *out);
void help_setting(struct lab *l, const void *row, struct out *out);
void help_quantizer(struct lab *l, const void *row, struct out *out);
void help_observer(struct lab *l, const void *row, struct out *out);
void help_qconfig(struct lab *l, const void *row, struct out *out);
void help_model(struct lab *l, const void *row, struct out *out);
void help_source(struct lab *l, const void *row, struct out *out);
void help_schedule(struct lab *l, const void *row, struct out *out);
void help_function(struct lab *l, const void *row, struct out *out);

#endif

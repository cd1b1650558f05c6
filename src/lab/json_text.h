/* Writing JSON into a string; commas come by themselves.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LAB_JSON_TEXT_H
#define LAB_JSON_TEXT_H

#include "base/str.h"

void json_key(struct str *s, const char *key);        /* `,"key":` */
void json_value_text(struct str *s, const char *v);   /* `,"v"` */
void json_value_num(struct str *s, double v);         /* null when not finite */
void json_raw(struct str *s, const char *v);
void json_text(struct str *s, const char *key, const char *v);
void json_num(struct str *s, const char *key, double v);

#endif

/* What the lab knows by name: `ans`, the result of the last command with
 * named fields; variables; metrics.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LAB_ANSWER_H
#define LAB_ANSWER_H

#include "lab/expr.h"

enum field_kind { FIELD_NUMBER, FIELD_TEXT, FIELD_RAW };

struct field {
    char name[32];
    enum field_kind kind;
    double num;
    char *text;               /* TEXT, or RAW: JSON as it stands */
};

struct answer {
    struct field *field;
    int n, cap;
    bool fresh;               /* set by the command that runs now */
};

/* The first field of a command's answer empties the old one. */
void answer_begin(struct lab *l);
void answer_num(struct lab *l, const char *name, double v);
void answer_text(struct lab *l, const char *name, const char *text);
void answer_raw(struct lab *l, const char *name, const char *json);
/* "acc" of `ans.acc`; false: no such field. */
bool answer_get(const struct lab *l, const char *name, struct value *out);
void answer_json(const struct lab *l, struct str *out);
void answer_fini(struct answer *a);

struct var {
    char name[48];
    struct value value;
};

struct vars {
    struct var *var;
    int n, cap;
};

void var_set(struct lab *l, const char *name, const struct value *v);
bool var_get(const struct lab *l, const char *name, struct value *out);
void vars_fini(struct vars *v);

/* Metrics by name: rows, for expressions, help and `show status`. */
struct metric_row {
    const char *name, *unit, *help;
    double (*get)(struct lab *l);
};
extern const struct metric_row metric_table[];
extern const int metric_count;
const struct metric_row *metric_find(const char *name);

/* Any of: variable, `ans.field`, metric. STATUS_NOTFOUND with a suggestion. */
enum status name_value(struct lab *l, const char *name, struct value *out,
                       struct err *e);

#endif

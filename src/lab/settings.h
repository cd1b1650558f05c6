/* The settings table: everything `set` can change.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LAB_SETTINGS_H
#define LAB_SETTINGS_H

#include "lab/lab.h"

enum setting_type { SET_BOOL, SET_INT, SET_SHORT, SET_REAL, SET_CHOICE };

enum setting_flags {
    SET_MODEL = 1 << 0,       /* changes results: undoable and recorded */
    SET_TRAINER = 1 << 1,     /* the trainer must be told */
    SET_PERCENT = 1 << 2,
};

/* A setting lies in struct lab at `offset` (bool, int64_t, int, double, int
 * by type), unless it has get and put. */
struct setting {
    const char *name, *help, *unit;
    enum setting_type type;
    unsigned flags;
    size_t offset;
    double lo, hi;
    const char *(*choice)(int i);         /* names, ended by NULL */
    const char *def;          /* as text; NULL: set by get at start */
    int (*get)(const struct lab *l);              /* choice index */
    enum status (*put)(struct lab *l, int choice, struct err *e);
    enum status (*apply)(struct lab *l, struct err *e);   /* after a change */
    /* Whether a user may have it so now; a snapshot is not asked. */
    enum status (*check)(struct lab *l, struct err *e);
    void (*note)(struct lab *l, struct out *out);  /* what else to know */
};
extern const struct setting setting_table[];
extern const int setting_count;

const struct setting *setting_find(const char *name);
const char *setting_choice(const struct setting *s, int i);   /* NULL: end */
void setting_print(const struct lab *l, const struct setting *s,
                   struct str *out);
double setting_number(const struct lab *l, const struct setting *s);
/* Checks type, bounds and choices; on failure the old value stands. */
enum status setting_set(struct lab *l, const struct setting *s,
                        const char *text, struct err *e);
void settings_default(struct lab *l);

/* Model settings as "name value" lines, for snapshots. */
void settings_save(const struct lab *l, struct str *out);
enum status settings_load(struct lab *l, const char *text, struct err *e);

#endif

/* The fields of the status row: one table for `show status`, JSON and panes.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LAB_STATUS_VIEW_H
#define LAB_STATUS_VIEW_H

#include "lab/view.h"

enum status_field_kind {
    STATUS_FIELD_TEXT, STATUS_FIELD_NUMBER, STATUS_FIELD_COUNT,
    STATUS_FIELD_PERCENT, STATUS_FIELD_SECONDS, STATUS_FIELD_BYTES
};

struct status_field {
    const char *name, *unit;
    enum status_field_kind kind;
    size_t offset;            /* in struct status_view */
    const char *help;
};
extern const struct status_field status_field_table[];
extern const int status_field_count;

/* NaN for texts and unknown numbers; "" for those. */
double status_field_number(const struct status_view *v,
                           const struct status_field *f);
void status_field_text(const struct status_view *v,
                       const struct status_field *f, struct str *out);

#endif

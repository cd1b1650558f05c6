/* The status row: model, precision, position, metric, run state.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UI_STATUS_H
#define UI_STATUS_H

#include "ui/pane.h"

/* Into row 0 of the area; parts that do not fit are left out, the least
 * important first. */
void status_draw(const struct area *a, const struct ui_model *m,
                 const struct look *look);

#endif

/* The reference, generated from the tables: --help, the manual page, the
 * JSON dump of the commands. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UI_REFERENCE_H
#define UI_REFERENCE_H

#include <stdio.h>

const char *reference_version(void);
/* Each returns the program's exit code. */
int reference_help(FILE *out);
int reference_man(FILE *out);
int reference_commands_json(FILE *out);

#endif

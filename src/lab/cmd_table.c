/* The table of commands. SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "lab/cmd.h"

const struct cmd *const cmd_table[] = {
#define CMD(name) &cmd_##name,
#include "lab/cmds.def"
#undef CMD
};
const int cmd_count = sizeof cmd_table / sizeof cmd_table[0];

const struct cmd *cmd_find(const char *name)
{
    for (int i = 0; i < cmd_count; i++)
        if (strcmp(cmd_table[i]->name, name) == 0)
            return cmd_table[i];
    return NULL;
}

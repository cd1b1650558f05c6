/* Records: replayable scripts and the machine stream.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LAB_RECORD_H
#define LAB_RECORD_H

#include <stdio.h>

#include "lab/args.h"
#include "lab/script.h"

struct record {
    FILE *qat, *jsonl;
    char *qat_path, *jsonl_path;
    int64_t seq;              /* of the stream */
    int64_t command_seq;      /* of the command that runs now */
    bool started, ended;
};

enum status record_open(struct lab *l, const char *path, struct err *e);
void record_close(struct lab *l);
/* One line of a replayable record; result: NULL or text for `#=`. */
void record_line(struct lab *l, const char *command, const char *result);
/* A command as executed: full names, layers listed. */
void record_command(struct lab *l, const struct args *a, const char *result);
/* Batches trained by the goal since the last entry. */
void record_steps(struct lab *l, const char *why);

/* The machine stream: `body` holds the members behind "type", without
 * braces; goes to the sink and the .jsonl. */
void stream_event(struct lab *l, const char *type, const char *body);
bool stream_wanted(const struct lab *l);
void stream_start(struct lab *l);

#endif

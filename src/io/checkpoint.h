/* Bags to and from files: safetensors, and the native .qlab (a safetensors
 * file whose __metadata__ carries the bag's texts under the key "qatlab").
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef IO_CHECKPOINT_H
#define IO_CHECKPOINT_H

#include "tensor/bag.h"

/* Atomic: written beside, fsynced, renamed. */
enum status checkpoint_write(const char *path, const struct bag *b,
                             struct err *e);
/* Hostile input is expected: every rule of safetensors is checked (sorted,
 * no holes, sizes, caps, duplicate keys). Errors: "PATH: ...". A plain
 * safetensors file gives a bag without texts. */
enum status checkpoint_read(const char *path, struct bag **out,
                            struct err *e);
enum status checkpoint_parse(const void *data, size_t size, const char *what,
                             struct bag **out, struct err *e);

#endif

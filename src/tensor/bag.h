/* A bag: named tensors and named texts. The form in which state travels
 * between the graph, quantizers, trainer and lab on one side, and files,
 * marks and undo on the other. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TENSOR_BAG_H
#define TENSOR_BAG_H

#include "tensor/tensor.h"

struct bag;

struct bag *bag_new(void);                     /* NULL: no memory */
void bag_free(struct bag *b);

/* Copies the data in; a name that exists is replaced. */
enum status bag_put(struct bag *b, const char *name, enum dtype type,
                    const struct shape *shape, const void *data,
                    struct err *e);
/* Takes over t's data (copies a view) and leaves t empty, on failure too. */
enum status bag_put_tensor(struct bag *b, const char *name, struct tensor *t,
                           struct err *e);
enum status bag_put_text(struct bag *b, const char *name, const char *text,
                         struct err *e);

const struct tensor *bag_get(const struct bag *b, const char *name); /* NULL */
const char *bag_text(const struct bag *b, const char *name);         /* NULL */

/* As bag_get, but copies into `data` after checking type and shape;
 * STATUS_FORMAT that names the tensor, found and wanted otherwise. */
enum status bag_read(const struct bag *b, const char *name, enum dtype type,
                     const struct shape *shape, void *data, struct err *e);

/* In the order in which they were put. */
size_t bag_count(const struct bag *b);
const char *bag_name(const struct bag *b, size_t i);
const struct tensor *bag_at(const struct bag *b, size_t i);
size_t bag_text_count(const struct bag *b);
const char *bag_text_name(const struct bag *b, size_t i);
const char *bag_text_at(const struct bag *b, size_t i);

size_t bag_bytes(const struct bag *b);

#endif

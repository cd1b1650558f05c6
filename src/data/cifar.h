/* CIFAR-10 and CIFAR-100, binary version.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DATA_CIFAR_H
#define DATA_CIFAR_H

#include "data/dataset.h"

struct cifar_form {
    int label_bytes, label_at;    /* the label is one of the leading bytes */
    int classes;
};
extern const struct cifar_form cifar10_form, cifar100_form;

/* Records of labels and 3x32x32 bytes: x (n,3,32,32), y (n). */
enum status cifar_read(const char *path, const struct cifar_form *form,
                       struct samples *out, struct err *e);

#endif

/* Shared by the reader and the writer of a graph's text form; for nn/ alone.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef NN_GRAPH_TEXT_H
#define NN_GRAPH_TEXT_H

#include "nn/graph_parts.h"
#include "nn/text_words.h"

#define GRAPH_TEXT_MAX ((size_t)4 << 20)         /* bytes that are read */

bool attrs_share_alias(const struct attr_row *a, const struct attr_row *b);

#endif

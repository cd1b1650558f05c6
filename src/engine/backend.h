/* The back ends, for engine/ only. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef ENGINE_BACKEND_H
#define ENGINE_BACKEND_H

#include "engine/plan_impl.h"

extern const struct backend backend_ref, backend_fast;

#endif

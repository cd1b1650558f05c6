#!/bin/sh
# The golden sessions under make check. SPDX-License-Identifier: GPL-3.0-or-later
exec "${srcdir:-.}/tests/sessions/run"

#!/bin/sh
# Runs the fuzz corpora. SPDX-License-Identifier: GPL-3.0-or-later
exec ./tests/fuzz/fuzz_run "${srcdir:-.}/tests/fuzz/corpus"

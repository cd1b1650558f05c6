#!/bin/sh
# The small copies of the golden suites, a TAP line a suite.
# SPDX-License-Identifier: GPL-3.0-or-later
out=$(mktemp) || exit 1
trap 'rm -f "$out"' EXIT
./tests/golden-run "${srcdir:-.}/tests/golden/data" > "$out" 2>&1
status=$?
awk '/^[a-z0-9-]+: [0-9]+ passed, [0-9]+ failed/ {
         n++
         bad = $4 != "0"
         print (bad ? "not ok " : "ok ") n " - " $0
         next
     }
     { print "# " $0 }' "$out"
n=$(grep -Ec '^[a-z0-9-]+: [0-9]+ passed, [0-9]+ failed' "$out")
if [ "$status" = 0 ]; then
    echo "ok $((n + 1)) - golden-run passes"
else
    echo "not ok $((n + 1)) - golden-run passes (exit $status)"
fi
echo "1..$((n + 1))"

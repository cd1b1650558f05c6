#!/bin/sh
# The rules of the house that a script can check: layers, forbidden calls,
# line and file lengths, licence lines, complete source lists.
# Prints TAP. SPDX-License-Identifier: GPL-3.0-or-later
srcdir=${srcdir:-.}
cd "$srcdir" || exit 1
n=0
found=$(mktemp) || exit 1
trap 'rm -f "$found"' EXIT

check() { # check "sentence": what was written to $found are the offences
    n=$((n + 1))
    if [ -s "$found" ]; then
        echo "not ok $n - $1"
        sed 's/^/# /' "$found" | head -40
    else
        echo "ok $n - $1"
    fi
    : > "$found"
}

sources=$(find src tests -name '*.[ch]' | sort)

# Layers: which folders each one may include from.
allowed() {
    case $1 in
    base) echo base ;;
    tensor) echo base tensor ;;
    nn) echo base tensor nn ;;
    quant) echo base tensor nn quant ;;
    engine) echo base tensor nn quant engine ;;
    data) echo base tensor data ;;
    train) echo base tensor nn quant engine data train ;;
    io) echo base tensor nn quant engine io ;;
    study) echo base tensor nn quant engine data train study ;;
    lab) echo base tensor nn quant engine data train io study lab ;;
    ui) echo base tensor nn quant engine data train io study lab ui ;;
    esac
}
for dir in src/*/; do
    layer=$(basename "$dir")
    ok=$(allowed "$layer" | tr ' ' '|')
    grep -Hn '^ *# *include "' "$dir"*.[ch] 2>/dev/null |
        grep -Ev "include \"($ok)/" >> "$found"
done
check "includes follow the arrows between the layers"

for f in $(find src tests/unit -name '*.[ch]'); do
    grep -Hn '^ *# *include "[^/"]*"' "$f" >> "$found"
done
check "includes name their layer"

grep -ln 'include <.*curses.h>' $sources | grep -v '^src/ui/term.c$' >> "$found"
grep -ln 'include <readline/' $sources | grep -v '^src/ui/prompt.c$' >> "$found"
grep -ln 'include .*dnnl' $sources | grep -v '^src/engine/onednn' |
    grep -v '^tests/' >> "$found"
check "curses, readline and oneDNN have one home each"

low=$(find src -name '*.c' | grep -Ev '^src/(lab|ui)/|^src/main.c')
grep -En '\b(exit|abort|_exit|printf|fprintf|puts|putchar|perror)\(' $low |
    grep -v 'src/base/arena.c.*exit' >> "$found"
check "nothing below lab/ ends the program or prints"

awk 'length($0) > 100 { print FILENAME ":" FNR ": " length($0) " columns" }' \
    $sources >> "$found"
check "no line is wider than 100 columns"

for f in $(find src -name '*.c'); do
    lines=$(wc -l < "$f")
    [ "$lines" -le 800 ] || echo "$f: $lines lines" >> "$found"
done
for f in $(find src -name '*.h'); do
    lines=$(wc -l < "$f")
    [ "$lines" -le 250 ] || echo "$f: $lines lines" >> "$found"
done
check "files stay within 800 lines, headers within 250"

# A function runs from a line that starts with `{` to the next `}` in
# column 1. Kernels and state machines may reach 100 lines.
awk 'FNR == 1 { start = 0 }
     /^\{/ { start = FNR }
     /^\}/ && start {
         if (FNR - start - 1 > 100)
             print FILENAME ":" start ": " FNR - start - 1 " lines"
         else if (FNR - start - 1 > 60) long[FILENAME ":" start] = 1
         start = 0
     }
     END { n = 0; for (k in long) n++
           if (n > 25) { print n " functions of more than 60 lines:"
                         for (k in long) print k } }' \
    $(find src -name '*.c') >> "$found"
check "functions stay within 60 lines, a few kernels within 100"

for f in $sources; do
    head -n 20 "$f" | grep -q 'SPDX-License-Identifier' || echo "$f" >> "$found"
done
check "every source file names its licence"

grep -nE '\b(TODO|FIXME|XXX)\b' $sources | grep -v mkstemp |
    grep -v 'XXXXXX' >> "$found"
check "no TODO is left in the sources"

for f in $(find src -name '*.[ch]' -o -name '*.def' | grep '^src/'); do
    grep -q "[[:space:]]$f\b" Makefile.am || echo "$f" >> "$found"
done
check "Makefile.am lists every source file"

grep -nE '[[:space:]]+$' $sources >> "$found"
check "no line ends in blanks"

for d in src/*/; do
    for f in "$d"*.c; do
        b=$(basename "$f")
        [ "$(find src -name "$b" | wc -l)" = 1 ] || echo "$f" >> "$found"
    done
done
check "file names are unique in the tree"

echo "1..$n"

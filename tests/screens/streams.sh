#!/bin/sh
# Batch mode's streams: what goes where, and nothing but text on pipes.
# Prints TAP; $QATLAB is the program. SPDX-License-Identifier: GPL-3.0-or-later
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
export XDG_STATE_HOME="$dir" XDG_CONFIG_HOME="$dir" OMP_NUM_THREADS=1
n=0

check() { # check "sentence" command...: succeeds when the command does
    n=$((n + 1))
    what=$1
    shift
    if "$@" > "$dir/log" 2>&1; then
        echo "ok $n - $what"
    else
        echo "not ok $n - $what"
        sed 's/^/# /' "$dir/log" | head -20
    fi
}

run() { # run args...: $dir/out, $dir/err, $dir/code
    "$QATLAB" "$@" > "$dir/out" 2> "$dir/err" < /dev/null
    echo $? > "$dir/code"
}

code_is() { [ "$(cat "$dir/code")" = "$1" ]; }
out_is() { [ "$(cat "$dir/out")" = "$1" ]; }
no_byte() { ! LC_ALL=C tr -d '\n' < "$2" | LC_ALL=C grep -q "$1"; }
escape=$(printf '\033') return=$(printf '\r')

if [ -z "$QATLAB" ]; then
    echo "1..0 # SKIP QATLAB does not name the program"
    exit 0
fi

run -b -c 'print 3*4'
check "results go to standard output" out_is 12
check "commands are echoed to standard error" grep -q '^> print' "$dir/err"

printf 'print 2*3\nprint 5\n' > "$dir/two.qat"
printf 'print 1\n' | "$QATLAB" > "$dir/out" 2> "$dir/err"
check "a pipe on standard input is a list of commands" out_is 1

run -b -c 'load data jets n=300' -c 'load model jet' -c 'train 2'
check "training ends well" code_is 0
check "progress goes to standard error" sh -c "! grep '^epoch' '$dir/out'"
cat "$dir/err" >> "$dir/out"
check "a line an epoch" [ "$(grep -c '^epoch' "$dir/out")" = 2 ]
check "no escape sequence on a pipe" no_byte "$escape" "$dir/out"
check "no carriage return on a pipe" no_byte "$return" "$dir/out"

rm -f "$dir/err"
"$QATLAB" -b --norc -c 'load data jets n=300' -c 'load model jet' \
    -c 'train 1000000' -c 'print 7' > "$dir/out" 2> "$dir/err" < /dev/null &
until grep -qs "^epoch" "$dir/err" || ! kill -0 $!; do sleep 0.1; done
kill -INT $!
wait $!
echo $? > "$dir/code"
check "Ctrl-C in batch is exit code 130" code_is 130
check "training ends at a batch" grep -q '^stopped at epoch' "$dir/err"
check "nothing of the script runs after it" out_is "$(grep '^j' "$dir/out")"

run -b -c 'nosuch'
check "an unknown command is exit code 1" code_is 1
check "its error has source, line and column" \
    grep -q '^-c:1:1: error: ' "$dir/err"
run -b -c 'expect 1 > 2' -c 'print 7'
check "the first error ends the run" out_is ""
check "an expectation that fails is exit code 3" code_is 3
run -b --keep-going -c 'expect 1 > 2' -c 'print 7'
check "--keep-going goes on" out_is 7
check "and keeps the worst exit code" code_is 3
run -b "$dir/nosuch.qat"
check "a script that is not there is exit code 4" code_is 4
run --nosuch
check "an unknown option is exit code 2" code_is 2
run -b "$dir/two.qat"
check "a script runs line by line" out_is "6
5"
run --check "$dir/two.qat"
check "--check runs nothing" out_is ""

run -b -c 'save screen '"$dir"'/s.txt'
check "a screen can be saved without a terminal" grep -q 'Layers' "$dir/s.txt"
run -b -c 'save screen '"$dir"'/s.svg'
check "as SVG, too" grep -q '^<svg' "$dir/s.svg"

"$QATLAB" -b -c 'print 3' > /dev/full 2> "$dir/err"
echo $? > "$dir/code"
check "a full disk is exit code 4" code_is 4
"$QATLAB" -b -c 'print 3' 2> "$dir/err" >&-
echo $? > "$dir/code"
check "a closed standard output is exit code 4" code_is 4
"$QATLAB" -b -c 'print 3' > "$dir/out" 2> "$dir/err" <&-
check "a closed standard input is no harm" out_is 3
"$QATLAB" -b -c 'print 3' > "$dir/out" 2> /dev/full
check "a full standard error is no harm" out_is 3

run --json -c 'print 3'
check "--json prints objects only" [ "$(grep -vc '^{.*}$' "$dir/out")" = 0 ]
run --man
missing=
for verb in $("$QATLAB" --commands=json |
    sed -n 's/^{"name":"\([a-z]*\)".*/\1/p'); do
    grep -q "^\.B $verb" "$dir/out" || missing="$missing $verb"
done
check "the manual page has every command:$missing" [ -z "$missing" ]
"$QATLAB" -b --norc -c 'show' 2> "$dir/err" |
    sed -n '2,$s/^\([a-z][a-z.]*\) .*/\1/p' > "$dir/names"
sed 's/\\-/-/g' "$dir/out" > "$dir/man"
while read -r name; do
    grep -q "^\.B $name\$" "$dir/man" || missing="$missing $name"
done < "$dir/names"
check "and every setting:$missing" [ -s "$dir/names" -a -z "$missing" ]
for name in '@first' '\[sqnr<20' ':conv :dense' '/re/' '^\.B weight$' \
    '^\.B grad$'; do
    grep -q "$name" "$dir/man" || missing="$missing $name"
done
check "and every form of selector:$missing" [ -z "$missing" ]
run --help
check "--help fits into 80 columns" \
    [ -z "$(awk 'length($0) > 80' "$dir/out")" ]

printf 'set fps 5\ntrain 3\n' > "$dir/rc"
mkdir -p "$dir/qatlab" && mv "$dir/rc" "$dir/qatlab/rc.qat"
run -b -c 'show fps'
check "batch does not read rc.qat" sh -c "! grep -q ' 5' '$dir/out'"

echo "1..$n"

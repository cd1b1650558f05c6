#!/bin/sh
# The scripts under examples/: each one parses and its names resolve (those
# for real data where $QATLAB_DATA has it); the first session runs whole.
# Prints TAP.
# SPDX-License-Identifier: GPL-3.0-or-later
program=${QATLAB:-./qatlab}
examples=${srcdir:-.}/examples
n=0
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT

result() { # result STATUS SENTENCE
    n=$((n + 1))
    if [ "$1" = 0 ]; then
        echo "ok $n - $2"
    else
        echo "not ok $n - $2 (exit $1)"
        tail -n 5 "$log" | sed 's/^/# /'
    fi
}

for f in "$examples"/*.qat; do
    name=$(basename "$f")
    case $name in
    mnist-*) data=${QATLAB_DATA:+$QATLAB_DATA/mnist} ;;
    cifar-*) data=${QATLAB_DATA:+$QATLAB_DATA/cifar10} ;;
    *) data=none ;;
    esac
    if [ -z "$data" ]; then
        n=$((n + 1))
        echo "ok $n # SKIP $name: no \$QATLAB_DATA"
        continue
    fi
    "$program" --batch --norc --check "$f" "$data" > "$log" 2>&1
    result $? "$name parses"
done
"$program" --batch --norc "$examples/first-session.qat" > "$log" 2>&1
result $? "first-session.qat falls to 4 bits and comes back"
echo "1..$n"

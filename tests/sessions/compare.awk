# Compares a session's expected output (first file) with what it gave (second).
# Words must be equal; whole numbers, too; a number with a decimal point may
# differ by `tolerance` of its size, a percentage by 100 * tolerance points.
# <any> in the expected text stands for one word.
# SPDX-License-Identifier: GPL-3.0-or-later

FNR == NR { want[++wants] = $0; next }
{ got[++gots] = $0 }

function size(x) { return x < 0 ? -x : x }

# A number with a point or an exponent, alone or in a word such as "12.3s",
# "[-0.15," or "95.60%": what stands before, the number, what stands behind.
function split_number(word, part)
{
    if (!match(word, /[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+[eE][-+]?[0-9])([eE]?[-+]?[0-9]+)?/))
        return 0
    part[1] = substr(word, 1, RSTART - 1)
    part[2] = substr(word, RSTART, RLENGTH)
    part[3] = substr(word, RSTART + RLENGTH)
    return 1
}

function near(a, b,    x, y, allowed)
{
    if (a == b || a == "<any>")
        return 1
    if (a ~ /^[-+]?[0-9.]+([eE][-+]?[0-9]+)?[^0-9]*$/ || split_number(a, x)) {
        # A tolerance can turn 0.5 into 0 or 1: one may be a whole number.
        if (!split_number(a, x) && !whole(a, x))
            return 0
        if (!split_number(b, y) && !whole(b, y))
            return 0
        if (x[2] !~ /[.eE]/ && y[2] !~ /[.eE]/)
            return 0
        if (x[1] != y[1] || x[3] != y[3])
            return 0
        allowed = tolerance * size(x[2]) + 1e-9
        if (x[3] ~ /^%/ && allowed < 100 * tolerance)
            allowed = 100 * tolerance
        return size(x[2] - y[2]) <= allowed
    }
    return 0
}

function whole(word, part)
{
    if (!match(word, /[-+]?[0-9]+/))
        return 0
    part[1] = substr(word, 1, RSTART - 1)
    part[2] = substr(word, RSTART, RLENGTH)
    part[3] = substr(word, RSTART + RLENGTH)
    return 1
}

# Machine streams are cut at their punctuation, so that numbers stand alone.
function line_near(a, b,    i, n, m, x, y)
{
    if (a == b)
        return 1
    if (a ~ /^\{/) {
        gsub(/[,:\[\]{}]/, " & ", a)
        gsub(/[,:\[\]{}]/, " & ", b)
    }
    n = split(a, x, /[ \t]+/)
    m = split(b, y, /[ \t]+/)
    if (n != m)
        return 0
    for (i = 1; i <= n; i++)
        if (!near(x[i], y[i]))
            return 0
    return 1
}

END {
    shown = 0
    most = wants > gots ? wants : gots
    for (i = 1; i <= most && shown < 8; i++) {
        if (i <= wants && i <= gots && line_near(want[i], got[i]))
            continue
        print "line " i
        print "  want: " (i <= wants ? want[i] : "(nothing)")
        print "  got:  " (i <= gots ? got[i] : "(nothing)")
        shown++
    }
    exit shown > 0
}
